"""A queue as the API shows it.

There may be ten thousand of them in one list, so what is said of an idle one costs little: no counters are added up, and what is the same
for many is one object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.admin import figures
from broker.admin.schemas import counted
from broker.admin.shapes.connection import GARBAGE, details_of_connection, time_text
from broker.admin.shapes.consumer import of_consumer
from broker.admin.shapes.contents import ContentsReader
from broker.admin.shapes.stats import QUERY as STATS
from broker.admin.shapes.stats import Reader
from broker.admin.shapes.table import json_of

if TYPE_CHECKING:
    from broker.admin.call import Call
    from broker.core.queue import Queue

QUERY: Final = STATS | {"enable_queue_totals": "boolean: With disable_stats: how many messages there are nevertheless."}
_QUEUE: Final = {
    "name vhost node state": "string",
    "type": "'classic'|'quorum'",
    "durable auto_delete exclusive": "boolean",
    "arguments effective_policy_definition": "object",
    "leader": "string",
    "members online": "[string]",
    "policy operator_policy": "string|null",
    **counted("messages messages_ready messages_unacknowledged reductions"),
    "message_stats": "MessageStats",
    "idle_since": "string",
    "consumers": "integer",
    "consumer_capacity consumer_utilisation": "number",
    "exclusive_consumer_tag single_active_consumer_tag": "string|null",
    "memory messages_ram messages_ready_ram messages_unacknowledged_ram messages_paged_out messages_persistent messages_dlx": "integer",
    "message_bytes message_bytes_ready message_bytes_unacknowledged message_bytes_ram message_bytes_paged_out": "integer",
    "message_bytes_persistent message_bytes_dlx": "integer",
    "head_message_timestamp": "integer|null",
    "recoverable_slaves": "null",
    "garbage_collection": "{integer}",
}
SCHEMAS: Final = {
    "Queue": _QUEUE,
    "QueueInDetail": _QUEUE | {"consumer_details": "[Consumer]", "deliveries incoming": "array", "owner_pid_details": "ConnectionDetails"},
}

RATES: Final = ("publish", *figures.TAKEN)


class QueueReader(Reader):
    """What one request reads of queues."""

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self.has_totals = call.context.config.management.enable_queue_totals or call.flag("enable_queue_totals")
        """How many messages there are is told though stats are disabled."""
        self._contents = ContentsReader(call.broker)
        self._members = [call.broker.node]

    def basics(self, queue: Queue) -> dict[str, Any]:
        """What lists are sorted and cut by: what a queue was declared with."""
        node = self._members[0]
        facts: dict[str, Any] = {
            "name": queue.name,
            "vhost": queue.vhost.name,
            "durable": queue.durable,
            "auto_delete": queue.auto_delete,
            "exclusive": queue.owner is not None,
            "arguments": json_of(queue.arguments.table),
            "type": queue.type,
            "state": "running",
            "node": node,
        }
        if queue.is_quorum:
            facts["leader"] = node
            facts["members"] = facts["online"] = self._members
        return facts

    def shape(self, queue: Queue) -> dict[str, Any]:
        """An item of GET /api/queues."""
        facts = self.basics(queue)
        policy, operator_policy = queue.policy, queue.operator_policy
        if self.is_disabled:
            if policy is not None:
                facts["policy"] = policy.name
            if self.has_totals:
                facts |= _totals(queue)
            return facts
        has_policies = policy is not None or operator_policy is not None
        facts["policy"] = None if policy is None else policy.name
        facts["operator_policy"] = None if operator_policy is None else operator_policy.name
        facts["effective_policy_definition"] = queue.effective_policy_definition if has_policies else {}
        stats = self.of("queue", figures.QUEUE, queue)
        facts |= stats.with_details(figures.LENGTHS, "lengths")
        if message_stats := stats.messages(RATES):
            facts["message_stats"] = message_stats
        if stats.idle_since_ms is not None:
            facts["idle_since"] = time_text(stats.idle_since_ms)
        facts |= _of_consumers(queue)
        facts |= self._sizes(queue)
        facts["garbage_collection"] = GARBAGE
        return facts

    def detailed(self, queue: Queue) -> dict[str, Any]:
        """GET /api/queues/{vhost}/{name}"""
        facts = self.shape(queue)
        if self.is_disabled:
            return facts
        facts["consumer_details"] = [of_consumer(consumer) for consumer in queue.consumers]
        facts["deliveries"] = facts["incoming"] = []
        if queue.owner is not None:
            facts["owner_pid_details"] = details_of_connection(queue.owner)
        return facts

    def _sizes(self, queue: Queue) -> dict[str, Any]:
        """How many messages and bytes there are, where, and what they take."""
        if not queue.unacked and not len(queue.ready):
            return _EMPTY_QUORUM if queue.is_quorum else _EMPTY
        count, body_bytes = len(queue.ready) + queue.unacked, queue.body_bytes
        held, held_bytes, memory = queue.in_memory
        contents = self._contents.of(queue)
        return {
            **(_EMPTY_QUORUM if queue.is_quorum else _EMPTY),
            "memory": memory,
            "messages_ram": held,
            "messages_ready_ram": held - queue.unacked,
            "messages_unacknowledged_ram": queue.unacked,
            "messages_paged_out": count - held,
            "messages_persistent": contents.persistent,
            "message_bytes": body_bytes,
            "message_bytes_ready": body_bytes - contents.leased_bytes,
            "message_bytes_unacknowledged": contents.leased_bytes,
            "message_bytes_ram": held_bytes,
            "message_bytes_paged_out": body_bytes - held_bytes,
            "message_bytes_persistent": contents.persistent_bytes,
            "head_message_timestamp": contents.timestamp,
        }


_EMPTY: Final[dict[str, Any]] = {
    "memory": 0,
    "messages_ram": 0,
    "messages_ready_ram": 0,
    "messages_unacknowledged_ram": 0,
    "messages_paged_out": 0,
    "messages_persistent": 0,
    "message_bytes": 0,
    "message_bytes_ready": 0,
    "message_bytes_unacknowledged": 0,
    "message_bytes_ram": 0,
    "message_bytes_paged_out": 0,
    "message_bytes_persistent": 0,
    "head_message_timestamp": None,
    "recoverable_slaves": None,
    "reductions": 0,
    "reductions_details": {"rate": 0.0},
    "garbage_collection": GARBAGE,
}
_EMPTY_QUORUM: Final[dict[str, Any]] = {**_EMPTY, "messages_dlx": 0, "message_bytes_dlx": 0}


def _totals(queue: Queue) -> dict[str, Any]:
    ready, unacked = len(queue.ready), queue.unacked
    return {"messages": ready + unacked, "messages_ready": ready, "messages_unacknowledged": unacked}


def _of_consumers(queue: Queue) -> dict[str, Any]:
    """How many there are, which are alone, and whether they keep up."""
    consumers = queue.consumers
    if not len(consumers):
        return _NO_CONSUMERS
    capacity = keeps_up(queue)
    return {
        "consumers": len(consumers),
        "consumer_capacity": capacity,
        "consumer_utilisation": capacity,
        "exclusive_consumer_tag": next(iter(consumers)).tag if queue.exclusive_consumer else None,
        "single_active_consumer_tag": None if consumers.active is None else consumers.active.tag,
    }


def keeps_up(queue: Queue) -> float:
    """RabbitMQ tells in which share of the time its consumers could take more; here it is whether one can now: 1 or 0."""
    return 1.0 if not len(queue.ready) or any(consumer.prefetch_left() > 0 for consumer in queue.consumers) else 0.0


_NO_CONSUMERS: Final[dict[str, Any]] = {
    "consumers": 0,
    "consumer_capacity": 0,
    "consumer_utilisation": 0,
    "exclusive_consumer_tag": None,
    "single_active_consumer_tag": None,
}

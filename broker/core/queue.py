"""A queue: what is ready, who consumes, and what is out on lease.

Nothing is delivered when a message arrives or an ack comes in: the queue is *touched*, and at the end of the turn each
touched queue is served once, so that the acks of one read free their credit together and deliveries go out in runs. Who
gets which message is decided as if one at a time, in ring order. Whatever looks at the head of the queue (get, purge, a
limit) serves it first, so that this is about work and not about meaning (docs/architecture.md, "The turn").

A durable queue is *logged*: what happens to its messages goes to the outbox as records.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate, cycle
from typing import TYPE_CHECKING

from broker.core.consumers import TURN_OUTPUT_BYTES, Consumers
from broker.core.limits import limit_of, ready_for
from broker.core.message import ID, body_of, id_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.core.arguments import QueueArguments
    from broker.core.consumers import Consumer
    from broker.core.limits import Limit
    from broker.core.message import Message
    from broker.core.outbox import Outbox
    from broker.core.session import Session
    from broker.core.vhost import VHost


def _size_bound(message: Message) -> int:
    """What a delivery takes on the wire, at the most (a body frame in each 4 KiB, the smallest frame_max)."""
    _, routing, header, body = message
    return 320 + len(routing) + len(header) + len(body) + (len(body) >> 9)


class Queue:
    """A classic or quorum queue. `id` is the catalog's, never reused; `owner` is the session of an exclusive queue."""

    is_queue = True

    __slots__ = (
        "__weakref__", "arguments", "auto_delete", "body_bytes", "consumers", "deleted", "delivered", "delivery_counts", "durable",
        "exclusive_consumer", "id", "limit", "logged", "mark", "name", "outbox", "owner", "published", "ready", "touched",
        "unacked", "vhost",
    )  # fmt: skip

    def __init__(
        self,
        vhost: VHost,
        name: str,
        queue_id: int,
        outbox: Outbox,
        arguments: QueueArguments,
        *,
        durable: bool = False,
        auto_delete: bool = False,
        owner: Session | None = None,
    ) -> None:
        self.vhost = vhost
        self.name = name
        self.id = queue_id
        self.outbox = outbox
        self.arguments = arguments
        self.durable = durable
        self.auto_delete = auto_delete
        self.owner = owner
        self.logged = durable and vhost.broker.logs
        self.limit = limit_of(arguments)
        self.ready = ready_for(self.limit)
        self.consumers = Consumers(arguments.single_active_consumer)
        self.exclusive_consumer = False
        self.touched = False
        self.deleted = False
        self.unacked = 0
        self.body_bytes = 0
        """Bodies, ready and unacked."""
        self.published = 0
        self.delivered = 0
        self.mark = 0
        """The highest id ever delivered; what a restart after a crash takes as redelivered (storage/records.py)."""
        self.delivery_counts: dict[int, int] = {}
        """How often a message came back, by id; only for those that did."""

    def __repr__(self) -> str:
        return f"Queue({self.name!r} in {self.vhost.name!r}: {len(self.ready)} ready, {self.unacked} unacked)"

    @property
    def type(self) -> str:
        """`classic` or `quorum`."""
        return self.arguments.type

    def touch(self) -> None:
        """Have it served at the end of the turn."""
        if not self.touched:
            self.touched = True
            self.outbox.touched.append(self)

    def add_consumer(self, consumer: Consumer) -> None:
        """A new consumer, after its consume-ok."""
        self.consumers.add(consumer)
        self.exclusive_consumer = consumer.exclusive
        self.touch()

    def remove_consumer(self, consumer: Consumer) -> None:
        """A consumer is gone; what it holds stays with its channel."""
        self.consumers.remove(consumer)
        if consumer.exclusive:
            self.exclusive_consumer = False

    # --- in ---------------------------------------------------------------------------------------------------------

    def enqueue(self, messages: list[Message], body_bytes: int) -> None:
        """Messages with rising ids, above all that came before. The caller has logged them."""
        self.ready.extend(messages)
        self.published += len(messages)
        self.body_bytes += body_bytes
        self.vhost.broker.memory.used += body_bytes + 200 * len(messages)
        if not self.touched:
            self.touched = True
            self.outbox.touched.append(self)

    def refuses(self, body: bytes) -> bool:
        """The queue is full and rejects what is published (contract 7.3); an idle consumer doesn't make room for this one."""
        if self.limit is None or not self.limit.rejects:
            return False
        self.serve()
        return self.limit.would_overflow(self, body)

    def restore(self, messages: list[Message], delivery_counts: dict[int, int], mark: int) -> None:
        """What recovery found, ids rising. Up to the mark a message may have been delivered, so it counts as redelivered."""
        self.mark = mark
        self.delivery_counts = delivery_counts
        self.body_bytes = sum(map(len, map(body_of, messages)))
        self.vhost.broker.memory.used += self.body_bytes + 200 * len(messages)
        back = [message for message in messages if message[ID] <= mark or message[ID] in delivery_counts]
        known = set(map(id_of, back))
        self.ready.extend(message for message in messages if message[ID] not in known)
        self.ready.give_back(back)

    # --- out --------------------------------------------------------------------------------------------------------

    def serve(self, budget: int = 1 << 30) -> int:
        """Deliver to whoever has credit, up to `budget` messages; returns how many went out.

        If the budget ends it, the queue stays touched.
        """
        ready, served, complete = self.ready, 0, True
        while count := len(ready):
            if served >= budget:
                self.touch()
                complete = False
                break
            consumers, most = self.consumers.next_round(count)
            if not consumers:
                break
            redelivered, run = ready.take(min(most, budget - served))
            left = self._deal(consumers, redelivered, run)
            if left:
                ready.put_back(redelivered, left)
            served += len(run) - len(left)
            self.consumers.served(consumers, len(run) - len(left))
        self.delivered += served
        if complete and self.limit is not None:
            self._trim(self.limit)
        return served

    def _trim(self, limit: Limit) -> None:
        """Everybody with credit was served: drop what is too much, but not what somebody takes in the next turn."""
        if not limit.rejects and limit.is_over(self) and not self.consumers.wait_for_output():
            self.settle(limit.excess(self))

    def _deal(self, consumers: list[Consumer], redelivered: bool, run: list[Message]) -> list[Message]:
        """Share `run` out one by one; returns what the connections didn't take, in order."""
        if len(consumers) == 1:
            return run[consumers[0].deliver(redelivered, run) :]
        if len({consumer.channel.session for consumer in consumers}) < len(consumers):
            # One connection hears several of them, so it sees the order among them.
            return self._deal_one_by_one(consumers, redelivered, run)
        # Nobody may stop short within a share: the others would be past what it left, and get that later, out of order.
        fitting = max(bisect_right(list(accumulate(map(_size_bound, run))), TURN_OUTPUT_BYTES), 1)
        dealt, left = run[:fitting], run[fitting:]
        step = len(consumers)
        for first, consumer in enumerate(consumers[: len(dealt)]):
            share = dealt[first::step]
            taken = consumer.deliver(redelivered, share)
            assert taken == len(share)
        return left

    def _deal_one_by_one(self, consumers: list[Consumer], redelivered: bool, run: list[Message]) -> list[Message]:
        for position, (message, consumer) in enumerate(zip(run, cycle(consumers), strict=False)):
            if consumer.channel.session.congested:
                return run[position:]
            consumer.deliver(redelivered, [message])
        return []

    def get(self) -> tuple[bool, Message] | None:
        """Take the head for basic.get: (redelivered, message), or None if nothing is ready. The caller leases or settles it."""
        self.serve()
        if not len(self.ready):
            return None
        redelivered, messages = self.ready.take(1)
        self.delivered += 1
        return redelivered, messages[0]

    def lease(self, messages: Sequence[Message]) -> None:
        """`messages` (ids rising) are with a holder until settled or requeued."""
        self.unacked += len(messages)
        if self.logged and messages[-1][ID] > self.mark:
            self.mark = messages[-1][ID]
            self.outbox.marked[self] = None

    # --- gone -------------------------------------------------------------------------------------------------------

    def settle_leased(self, messages: list[Message]) -> None:
        """Leased messages are acked, or rejected without requeue."""
        self.unacked -= len(messages)
        self.settle(messages)

    def settle(self, messages: list[Message]) -> None:
        """Messages are done with."""
        size = sum(map(len, map(body_of, messages)))
        self.body_bytes -= size
        self.vhost.broker.memory.used -= size + 200 * len(messages)
        if self.delivery_counts:
            for message in messages:
                self.delivery_counts.pop(message[ID], None)
        if self.logged:
            if self.deleted:
                self.outbox.bury(messages)
            else:
                self.outbox.settle(self, messages)

    def requeue(self, messages: list[Message]) -> None:
        """Leased messages come back to their old positions."""
        self.unacked -= len(messages)
        if self.deleted:
            self.settle(messages)
            return
        counts = self.delivery_counts
        for message in messages:
            counts[message[ID]] = counts.get(message[ID], 0) + 1
        if self.logged:
            self.outbox.requeue(self, messages)
        self.ready.give_back(messages)
        self.touch()

    def purge(self) -> int:
        """Drop what is ready; returns the count (contract 4.6)."""
        self.serve()
        messages = self.ready.clear()
        if messages:
            self.settle(messages)
        return len(messages)

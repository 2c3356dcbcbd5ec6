"""What is declared, as entries of the catalog: keys, and values as JSON that a person can read.

    vhost/<name>                                            {"description", "tags", "default_queue_type"}, as far as they were given
    parameter/<vhost>/<component>/<name>                    {"value"}
    global_parameter/<name>                                 {"value"}
    exchange/<vhost>/<name>                                 {"type", "auto_delete", "internal", "arguments"}
    queue/<vhost>/<name>                                    {"id", "auto_delete", "arguments"}, and the exchange if it is "kept_for" one
    policy/<vhost>/<name>                                   {"pattern", "apply_to", "priority", "definition"}
    operator_policy/<vhost>/<name>                          the same
    binding/<vhost>/<source>/<queue|exchange>/<name>/<n>    {"routing_key", "arguments"}
    meta/seeded                                             {}: the default user and vhost were made
    ids/queue                                               {"next": the first queue id that was never given out}
    testing/clock                                           {"offset_ms", "frozen_at_ms" if it is}: of a broker for tests
    testing/starts                                          {"count"}: how often it was served for tests

Names in keys are percent-encoded. `n` is a digest of routing key and arguments, so that a binding is put twice only once.
Everything in the catalog is durable; arguments keep their wire types (protocol.tables.to_json).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote
from zlib import crc32

from protocol.tables import encode_table, from_json, to_json

if TYPE_CHECKING:
    from broker.core.exchange import Destination, Exchange
    from broker.core.policy import Policy
    from broker.core.queue import Queue
    from broker.core.vhost import VHost
    from protocol.tables import Table

QUEUE_IDS = "ids/queue"
SEEDED = "meta/seeded"
TESTING_CLOCK = "testing/clock"
TESTING_STARTS = "testing/starts"


def key(*parts: str) -> str:
    """A catalog key."""
    return "/".join(quote(part, safe="", errors="surrogateescape") for part in parts)


def parts(of: str) -> list[str]:
    """The parts of a catalog key."""
    return [unquote(part, errors="surrogateescape") for part in of.split("/")]


def dump(value: dict[str, Any]) -> bytes:
    """A catalog value."""
    return json.dumps(value, separators=(",", ":")).encode()


def load(value: bytes) -> dict[str, Any]:
    """A catalog value, read."""
    loaded: dict[str, Any] = json.loads(value)
    return loaded


def vhost_entry(vhost: VHost) -> tuple[str, bytes]:
    """The entry of a vhost."""
    return key("vhost", vhost.name), dump(vhost.metadata)


def parameter_key(vhost: str, component: str, name: str) -> str:
    """The key of a vhost's parameter."""
    return key("parameter", vhost, component, name)


def parameter_entry(vhost: str, component: str, name: str, value: Any) -> tuple[str, bytes]:
    """The entry of a vhost's parameter."""
    return parameter_key(vhost, component, name), dump({"value": value})


def exchange_key(vhost: str, name: str) -> str:
    """The key of a durable exchange."""
    return key("exchange", vhost, name)


def exchange_entry(vhost: VHost, exchange: Exchange) -> tuple[str, bytes]:
    """The entry of a durable exchange."""
    value = {
        "type": exchange.type,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "declared_by": exchange.declared_by,
        "arguments": to_json(exchange.arguments),
    }
    return exchange_key(vhost.name, exchange.name), dump(value)


def queue_key(vhost: str, name: str) -> str:
    """The key of a durable queue."""
    return key("queue", vhost, name)


def queue_entry(queue: Queue) -> tuple[str, bytes]:
    """The entry of a durable queue."""
    value = {"id": queue.id, "auto_delete": queue.auto_delete, "arguments": to_json(queue.arguments.table)}
    if (exchange := queue.kept_for) is not None:
        value["kept_for"] = exchange
    return queue_key(queue.vhost.name, queue.name), dump(value)


def binding_key(vhost: str, source: str, destination: Destination, routing_key: str, arguments: Table) -> str:
    """The key of a durable binding."""
    kind = "queue" if destination.is_queue else "exchange"
    identity = routing_key.encode("utf-8", "surrogateescape") + b"\0" + encode_table({name: arguments[name] for name in sorted(arguments)})
    return key("binding", vhost, source, kind, destination.name, f"{len(identity):x}-{crc32(identity):08x}-{crc32(identity[::-1]):08x}")


def binding_entry(vhost: str, source: str, destination: Destination, routing_key: str, arguments: Table) -> tuple[str, bytes]:
    """The entry of a durable binding."""
    value = {"routing_key": routing_key, "arguments": to_json(arguments)}
    return binding_key(vhost, source, destination, routing_key, arguments), dump(value)


def policy_key(vhost: str, name: str, *, is_operator: bool) -> str:
    """The key of a policy, or operator policy."""
    return key("operator_policy" if is_operator else "policy", vhost, name)


def policy_entry(vhost: str, policy: Policy) -> tuple[str, bytes]:
    """The entry of a policy."""
    value = {
        "pattern": policy.pattern,
        "apply_to": policy.apply_to,
        "priority": policy.priority,
        "definition": policy.definition,
    }
    return policy_key(vhost, policy.name, is_operator=policy.is_operator), dump(value)


def arguments_of(value: dict[str, Any]) -> Table:
    """The arguments in a catalog value."""
    return from_json(value["arguments"])

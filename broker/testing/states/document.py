"""What is in a vhost as a JSON document: a file of RabbitMQ's definitions (RabbitMQ and Leveret import it as such, without the messages),
and in the same file what these leave out. An item stands on a line of its own.

    leveret_state               1: what follows is to be read as it stands here
    parameters, policies, queues, exchanges, bindings      as in definitions; `typed_arguments` where JSON can't tell their AMQP types
    messages                    {"queue", "exchange", "routing_key", "properties", "payload", "payload_encoding", "redelivered",
                                "delivery_count"}, in the order of delivery; `expires_in_ms` counts from the moment of the export, and goes
                                on counting when it is loaded; `held_by` is with whom it was, for the reader alone
    delayed                     the same of what the exchange `delayed_by` holds, and `due_in_ms`
    seen                        {"exchange", "value", "forgotten_in_ms"} of x-message-deduplication; null: never
    recent                      the same as messages, of what the exchange `kept_by` gives to new bindings, with all `routing_keys`
    exclusive_queues            with their messages, to be looked at: their connections can't be loaded

`properties` are AMQP's, by its names; each of its headers is [type, value] with the letter of the type on the wire, as in the catalog
(protocol.tables.to_json).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from broker import definitions, identity
from broker.admin.shapes.inspection import of_held
from broker.admin.shapes.message import text_of
from broker.core.duplicates import NEVER
from broker.core.message import split_routing
from broker.testing.states.pace import Pace
from protocol import content
from protocol.tables import MalformedTable, plain, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.core.envelope import Envelope
    from broker.core.steps import Steps
    from broker.definitions import Section
    from broker.operations import Operations
    from broker.testing.states.state import Kept, QueueState, VHostState
    from protocol.tables import Table

VERSION: Final = 1
STEP: Final = 64
"""Items that a step writes: about a millisecond."""

Item = dict[str, Any]


def write(operations: Operations, vhost: str, sections: list[Section], state: VHostState) -> Steps[list[bytes]]:
    """The text, in parts. `sections` are the definitions of the vhost at the same moment."""
    head = {"leveret_state": VERSION, "leveret_version": identity.LEVERET_VERSION, **definitions.head(operations, vhost)}
    head |= {"vhost": vhost, "taken_ms": state.taken_ms}
    parts = [b"{\n" + b",\n".join(b"%b:%b" % (_json(name), _json(value)) for name, value in head.items())]
    pace = Pace(STEP)
    for name, items in (*((section.name, _defined(section)) for section in sections), *_contents(state)):
        lines: list[bytes] = []
        for item in items:
            lines.append(_json(item))
            if pace.is_over():
                yield None
        parts.append(b",\n%b:[%b\n]" % (_json(name), b",".join(b"\n%b" % line for line in lines)) if lines else b",\n%b:[]" % _json(name))
    parts.append(b"\n}\n")
    return parts


def _json(value: Any) -> bytes:
    """Octets that are no UTF-8, which are lone surrogates in a text, stand as escapes."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _defined(section: Section) -> Iterable[Item]:
    for each in section.objects:
        item = section.shape(each)
        if "arguments" in item:
            given = each[1].arguments
            _add_types(item, given if isinstance(given, dict) else given.table)
        yield item


def _add_types(item: Item, table: Table) -> None:
    """The arguments with their types, where those that RabbitMQ would give them aren't theirs."""
    try:
        told = definitions.table_of_json(plain(table)) == table
    except MalformedTable:
        told = False
    if not told:
        item["typed_arguments"] = to_json(table)


def _contents(state: VHostState) -> Iterable[tuple[str, Iterable[Item]]]:
    now, queues, exchanges = state.taken_ms, state.queues.values(), state.exchanges.values()
    yield "messages", (_message({"queue": each.name}, kept, now) for each in queues if each.owner is None for kept in each.messages)
    yield "delayed", (_message({"delayed_by": each.name}, kept, now, "due_in_ms") for each in exchanges for kept in each.delayed)
    yield (
        "seen",
        (
            {
                "exchange": each.name,
                "value": to_json({"": value})[""],
                "forgotten_in_ms": None if deadline_ms >= NEVER else deadline_ms - now,
            }
            for each in exchanges
            for value, deadline_ms in each.seen
        ),
    )
    yield "recent", (_recent(each.name, envelope) for each in exchanges for envelope in each.recent)
    yield "exclusive_queues", (_exclusive(each, now) for each in queues if each.owner is not None)


def _message(first: Item, kept: Kept, now_ms: int, moment: str = "expires_in_ms") -> Item:
    item = first | _parts(kept.routing, kept.header, kept.body)
    item |= {"redelivered": kept.redelivered, "delivery_count": kept.delivery_count}
    if kept.until_ms is not None:
        item[moment] = kept.until_ms - now_ms
    if kept.held is not None:
        item["held_by"] = of_held(kept.held)
    return item


def _parts(routing: bytes, header: bytes, body: bytes) -> Item:
    exchange, routing_key = split_routing(routing)
    payload, encoding = text_of(body)
    return {
        "exchange": exchange,
        "routing_key": routing_key,
        "properties": _properties(header),
        "payload": payload,
        "payload_encoding": encoding,
    }


def _properties(header: bytes) -> Item:
    found = content.decode_properties(header)
    values = ((name, getattr(found, name)) for name in content.Properties.__slots__)
    return {name: to_json(value) if name == "headers" else value for name, value in values if value is not None}


def _recent(exchange: str, envelope: Envelope) -> Item:
    return {"kept_by": exchange, "routing_keys": list(envelope.keys)} | _parts(envelope.routing, envelope.header, envelope.body)


def _exclusive(queue: QueueState, now_ms: int) -> Item:
    assert queue.owner is not None
    item: Item = {"name": queue.name, "durable": queue.durable, "auto_delete": queue.auto_delete, "arguments": plain(queue.arguments.table)}
    item |= {"connection": queue.owner.peer.name, "user": queue.owner.user_name}
    return item | {"messages": [_message({}, kept, now_ms) for kept in queue.messages]}

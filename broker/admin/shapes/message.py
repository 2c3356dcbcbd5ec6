"""Messages as the API shows them, and as it takes them."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

from broker.admin.errors import BadRequest
from broker.core.message import BODY, HEADER, ROUTING, split_routing
from protocol.content import Properties, decode_properties, encode_properties
from protocol.tables import Field, MalformedTable, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.core.direct import Got
    from broker.core.explanation import Explanation, Judged, Stop
    from broker.core.inspection import Held, Look, Seen
    from broker.core.queue import Queue
    from broker.core.relocation import Relocation
    from protocol.tables import Table

AUTO: Final = "auto"
BASE64: Final = "base64"
NUMBERS: Final = {"delivery_mode": 0xFF, "priority": 0xFF, "timestamp": (1 << 64) - 1}
"""The properties that are numbers, and how high they go."""
DESTINATIONS: Final = 100

# --- properties and payloads ----------------------------------------------------------------------------------------------


def properties(given: Properties) -> dict[str, Any] | list[Any]:
    """The properties that are there; RabbitMQ has an empty list where none is."""
    shown: dict[str, Any] = {}
    for name in Properties.__slots__:
        value = getattr(given, name)
        if value is not None:
            shown[name] = plain(value) if name == "headers" else value
    return shown or []


def payload(body: bytes, encoding: str) -> dict[str, str]:
    """As text if it is UTF-8 and the encoding is `auto`, otherwise in base64."""
    if encoding == AUTO:
        try:
            return {"payload": body.decode("utf-8"), "payload_encoding": "string"}
        except UnicodeDecodeError:
            pass
    return {"payload": base64.b64encode(body).decode(), "payload_encoding": BASE64}


def encoding(given: str) -> str:
    """One of the encodings in which payloads are shown. Raises BadRequest."""
    if given not in (AUTO, BASE64):
        raise BadRequest("Unsupported encoding. Please use auto or base64.")
    return given


def decoded(given: str, encoding: str) -> bytes:
    """The body that a payload stands for. Raises BadRequest in RabbitMQ's words."""
    if encoding == "string":
        return given.encode("utf-8", "surrogatepass")
    if encoding != BASE64:
        raise BadRequest(["unsupported_encoding", encoding])
    try:
        return base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest(["not_base64", given]) from None


def header(given: dict[str, Any], body_size: int) -> bytes:
    """The content header with these properties; others than AMQP's are passed over. Raises BadRequest, where it can in RabbitMQ's words."""
    found = Properties()
    for name in Properties.__slots__:
        if name in given:
            setattr(found, name, _property(name, given[name]))
    try:
        return encode_properties(found, body_size)
    except MalformedTable as error:
        raise BadRequest(f"headers: {error}") from None
    except ValueError as error:
        raise BadRequest(f"properties: {error}") from None


def table(given: Any) -> Table:
    """Headers from a JSON object. Raises BadRequest."""
    if given == []:
        return {}
    if not isinstance(given, dict):
        raise BadRequest("headers: expected an object")
    return {key: _field(each) for key, each in given.items()}


def _property(name: str, value: Any) -> Any:
    if name == "headers":
        return table(value)
    if name in NUMBERS:
        if not isinstance(value, int) or isinstance(value, bool):
            raise BadRequest(["not_int", name])
        if not 0 <= value <= NUMBERS[name]:
            raise BadRequest(f"{name}: expected 0 to {NUMBERS[name]}")
        return value
    if not isinstance(value, str):
        raise BadRequest(["not_string", name])
    return value


def _field(value: Any) -> Field:
    """JSON's types as RabbitMQ's: whole numbers are of 64 bits."""
    match value:
        case bool():
            return Field("t", value)
        case int():
            if not -(1 << 63) <= value < 1 << 63:
                raise BadRequest(f"headers: {value} is no integer of 64 bits")
            return Field("l", value)
        case float():
            return Field("d", value)
        case str():
            return Field("S", value.encode("utf-8", "surrogatepass"))
        case list():
            return Field("A", [_field(each) for each in value])
        case dict():
            return Field("F", {key: _field(each) for key, each in value.items()})
    raise BadRequest("null_not_allowed")


# --- RabbitMQ's own -------------------------------------------------------------------------------------------------------


def of_got(got: Got, encoding: str, truncate: int | None) -> dict[str, Any]:
    """An item of POST /api/queues/{vhost}/{name}/get"""
    message = got.message
    exchange, routing_key = split_routing(message[ROUTING])
    return {
        "payload_bytes": len(message[BODY]),
        "redelivered": got.redelivered,
        "exchange": exchange,
        "routing_key": routing_key,
        "message_count": got.left,
        "properties": properties(decode_properties(message[HEADER])),
        **payload(message[BODY] if truncate is None else message[BODY][:truncate], encoding),
    }


# --- looking, moving, explaining ------------------------------------------------------------------------------------------


def of_look(look: Look, queue: Queue, encoding: str) -> dict[str, Any]:
    """GET /api/leveret/queues/{vhost}/{name}/messages"""
    return {
        "vhost": queue.vhost.name,
        "queue": queue.name,
        "messages_ready": len(queue.ready),
        "messages_unacknowledged": queue.unacked,
        "examined": look.examined,
        "damaged": look.damaged,
        "is_at_end": look.is_at_end,
        "items": [_of_seen(seen, encoding) for seen in look.seen],
    }


def _of_seen(seen: Seen, encoding: str) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "position": seen.position,
        "id": seen.message_id,
        "redelivered": seen.redelivered,
        "delivery_count": seen.delivery_count,
        "exchange": seen.exchange,
        "routing_key": seen.routing_key,
        "properties": properties(seen.properties),
        "payload_bytes": seen.body_bytes,
        "is_truncated": len(seen.body) < seen.body_bytes,
        "is_on_disk": seen.is_on_disk,
        **payload(seen.body, encoding),
    }
    if seen.expires_ms is not None:
        facts["expires_at"] = seen.expires_ms
    if seen.due_ms is not None:
        facts["due_at"] = seen.due_ms
    if seen.held is not None:
        facts["held_by"] = _of_held(seen.held)
    return facts


def _of_held(held: Held) -> dict[str, Any]:
    return {
        "connection": held.connection,
        "user": held.user,
        "channel": held.channel,
        "consumer_tag": held.consumer_tag,
        "delivery_tag": held.delivery_tag,
        "since": held.since_ms,
    }


def of_relocation(done: Relocation) -> dict[str, Any]:
    """POST /api/leveret/queues/{vhost}/{name}/move and /replay"""
    return {
        "moved": done.moved,
        "moved_bytes": done.moved_bytes,
        "destinations": [
            {"exchange": exchange, "routing_key": routing_key, "queue": queue, "count": count}
            for (exchange, routing_key, queue), count in done.destinations.most_common(DESTINATIONS)
        ],
        "left": [
            {"reason": reason, "count": count, "examples": done.examples.get(reason, [])} for reason, count in done.left.items() if count
        ],
    }


def of_explanation(explanation: Explanation) -> dict[str, Any]:
    """GET /api/leveret/route"""
    count = len(explanation.queues)
    if not count:
        verdict = "No queue gets it: it is returned if it is mandatory, and dropped if not."
    elif explanation.by_chance:
        verdict = f"It goes by chance: {count} {'queue' if count == 1 else 'queues'} may get it."
    else:
        verdict = f"{count} {'queue gets' if count == 1 else 'queues get'} it."
    return {
        "routed": bool(count),
        "by_chance": explanation.by_chance,
        "verdict": verdict,
        "routing_keys": explanation.keys,
        "queues": [_of_taker(queue) for queue in explanation.queues],
        "steps": [_of_stop(stop) for stop in explanation.stops],
        "nearest": _of_bindings(explanation.nearest, is_near=True),
    }


def _of_taker(queue: Queue) -> dict[str, Any]:
    is_full = queue.limit is not None and queue.limit.rejects and queue.limit.would_overflow(queue, b"")
    return {
        "name": queue.name,
        "type": queue.type,
        "messages_ready": len(queue.ready),
        "consumers": len(queue.consumers),
        "is_full": is_full,
    }


def _of_stop(stop: Stop) -> dict[str, Any]:
    return {
        "exchange": stop.exchange,
        "type": stop.type,
        "came_by": stop.came_by,
        "bindings": stop.bindings,
        "matching": stop.matching,
        "matched": _of_bindings(stop.matched),
        "notes": stop.notes,
    }


def _of_bindings(bindings: Sequence[Judged], *, is_near: bool = False) -> list[dict[str, Any]]:
    return [
        {
            "source": binding.source,
            "destination": binding.destination,
            "destination_type": binding.destination_type,
            "routing_key": binding.routing_key,
            "arguments": plain(binding.arguments),
            "why": binding.why,
        }
        | ({"closeness": round(binding.closeness, 2)} if is_near else {})
        for binding in bindings
    ]

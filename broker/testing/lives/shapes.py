"""A life as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.admin.shapes.message import properties_as_json, text_of
from broker.admin.shapes.table import json_of

if TYPE_CHECKING:
    from broker.testing.lives.life import Event, Life, Place, Who
    from broker.testing.lives.trace import Hop, Way

SCHEMAS: Final = {
    "Life": {
        "id previous": "integer|string|null",
        "origin state exchange routing_key payload": "string!",
        "published_ms payload_bytes": "integer!",
        "by": "Publisher!",
        "routing_keys": "[string]!",
        "properties": "Properties|array!",
        "payload_encoding": "'string'|'base64'!",
        "mandatory is_truncated": "boolean!",
        "confirm": "integer|null",
        "routed": "[RoutedTo]!",
        "unroutable": "string|null",
        "queues": "[InQueue]!",
        "events": "[LifeEvent]!",
        "events_left_out": "integer!",
        "next": "[integer]!",
    },
    "Publisher": {"connection client_name user": "string|null", "channel": "integer|null"},
    "RoutedTo": {"queue why": "string!", "through": "[Hop]!"},
    "Hop": {"exchange why": "string!", "binding_key": "string|null", "arguments": "object|null"},
    "InQueue": {"queue state": "string!", "since_ms": "integer!", "due_ms": "integer|null", "who": "Taker|null"},
    "LifeEvent": {
        "at_ms": "integer!",
        "what": "string!",
        "queue detail": "string|null",
        "who": "Taker|null",
        "life": "integer|string|null",
    },
    "Taker": {
        "connection client_name user": "string!",
        "channel": "integer!",
        "consumer_tag": "string|null",
        "delivery_tag": "integer|null",
    },
}


def of_life(life: Life) -> dict[str, Any]:
    """An item of GET .../history."""
    payload, payload_encoding = text_of(life.body)
    return {
        "id": life.id,
        "origin": life.origin,
        "published_ms": life.begun_ms,
        "by": _of_publisher(life.by),
        "exchange": life.exchange,
        "routing_key": life.routing_key,
        "routing_keys": list(life.keys),
        "properties": properties_as_json(life.properties) or {},
        "payload": payload,
        "payload_encoding": payload_encoding,
        "payload_bytes": life.body_bytes,
        "is_truncated": len(life.body) < life.body_bytes,
        "mandatory": life.mandatory,
        "confirm": life.confirm,
        "routed": [_of_way(queue, way) for queue, way in life.routes.items()],
        "unroutable": life.unroutable,
        "state": life.state,
        "queues": [_of_place(queue, place) for queue, place in life.places.items()],
        "events": list(map(_of_event, life.events)),
        "events_left_out": life.left_out,
        "previous": life.previous,
        "next": life.next,
    }


def _of_publisher(who: Who | None) -> dict[str, Any]:
    names = ("connection", "client_name", "user", "channel")
    return {name: None if who is None else getattr(who, name) for name in names}


def _of_way(queue: str, way: Way) -> dict[str, Any]:
    return {"queue": queue, "why": way.why, "through": list(map(_of_hop, way.hops))}


def _of_hop(hop: Hop) -> dict[str, Any]:
    return {
        "exchange": hop.exchange,
        "why": hop.why,
        "binding_key": hop.binding_key,
        "arguments": None if hop.arguments is None else json_of(hop.arguments),
    }


def _of_place(queue: str, place: Place) -> dict[str, Any]:
    return {"queue": queue, "state": place.state, "since_ms": place.since_ms, "due_ms": place.due_ms, "who": _of_who(place.who)}


def _of_who(who: Who | None) -> dict[str, Any] | None:
    return None if who is None else who._asdict()


def _of_event(event: Event) -> dict[str, Any]:
    return {**event._asdict(), "who": _of_who(event.who)}

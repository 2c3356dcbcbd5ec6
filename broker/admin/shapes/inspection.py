"""What is seen in queues, where messages were moved, and where they would go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.admin.shapes.message import MESSAGE, properties_as_json, text_of
from broker.admin.shapes.table import json_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.core.explanation import Explanation, Judged, Stop
    from broker.core.inspection import Held, Look, Seen
    from broker.core.queue import Queue
    from broker.core.relocation import Relocation

DESTINATIONS: Final = 100
"""Named in one answer, at the most."""

_TOLD: Final = {"source destination routing_key why": "string!", "destination_type": "'queue'|'exchange'!", "arguments": "object!"}
SCHEMAS: Final = {
    "Look": {
        "vhost queue": "string!",
        "messages_ready messages_unacknowledged examined damaged": "integer!",
        "is_at_end": "boolean!",
        "items": "[SeenMessage]!",
    },
    "SeenMessage": MESSAGE
    | {
        "position id delivery_count": "integer!",
        "is_truncated is_on_disk": "boolean!",
        "expires_at due_at": "integer",
        "held_by": "Holder",
    },
    "Holder": {"connection user consumer_tag": "string|null", "channel delivery_tag since": "integer|null"},
    "Relocation": {
        "moved moved_bytes": "integer!",
        "is_complete": "boolean!",
        "destinations": "[RelocatedTo]!",
        "left": "[LeftBehind]!",
    },
    "RelocatedTo": {"exchange routing_key queue": "string|null", "count": "integer!"},
    "LeftBehind": {"reason": "string!", "count": "integer!", "examples": "array!"},
    "Explanation": {
        "routed by_chance": "boolean!",
        "verdict": "string!",
        "routing_keys": "[string]!",
        "queues": "[Taker]!",
        "steps": "[Stop]!",
        "nearest": "[NearBinding]!",
    },
    "Taker": {"name type": "string!", "messages_ready consumers": "integer!", "is_full": "boolean!"},
    "Stop": {"exchange type came_by": "string!", "bindings matching": "integer!", "matched": "[ToldBinding]!", "notes": "[string]!"},
    "ToldBinding": _TOLD,
    "NearBinding": _TOLD | {"closeness": "number!"},
}


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
    payload, payload_encoding = text_of(seen.body, encoding)
    facts: dict[str, Any] = {
        "position": seen.position,
        "id": seen.message_id,
        "redelivered": seen.redelivered,
        "delivery_count": seen.delivery_count,
        "exchange": seen.exchange,
        "routing_key": seen.routing_key,
        "properties": properties_as_json(seen.properties),
        "payload_bytes": seen.body_bytes,
        "is_truncated": len(seen.body) < seen.body_bytes,
        "is_on_disk": seen.is_on_disk,
        "payload": payload,
        "payload_encoding": payload_encoding,
    }
    if seen.expires_ms is not None:
        facts["expires_at"] = seen.expires_ms
    if seen.due_ms is not None:
        facts["due_at"] = seen.due_ms
    if seen.held is not None:
        facts["held_by"] = of_held(seen.held)
    return facts


def of_held(held: Held) -> dict[str, Any]:
    """With whom a message is."""
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
        "is_complete": done.is_complete,
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
            "arguments": json_of(binding.arguments),
            "why": binding.why,
        }
        | ({"closeness": round(binding.closeness, 2)} if is_near else {})
        for binding in bindings
    ]

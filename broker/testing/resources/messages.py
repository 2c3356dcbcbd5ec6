"""What is in a queue, whoever holds it: nothing is taken out, or changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.admin import jsons
from broker.admin.call import Answer
from broker.admin.errors import Missing
from broker.admin.routing import Access, Route
from broker.admin.shapes.message import MESSAGE, properties_as_json, text_of
from broker.admin.steps import carry_out
from broker.core.inspection import MOST, look, look_at_unacked
from broker.testing.lives.history import history_of
from broker.testing.lives.kinds import DELAYED, READY, UNACKED
from broker.testing.resources.history import given, number
from broker.testing.resources.info import ROOT
from broker.testing.waiting.conditions import nearest

if TYPE_CHECKING:
    from broker.admin.call import Call
    from broker.core.inspection import Held, Seen
    from broker.core.queue import Queue
    from broker.core.steps import Steps
    from broker.core.vhost import VHost


async def get_messages(call: Call) -> Answer:
    """Shows all that is in a queue and who holds it, and takes nothing."""
    given(call, "limit")
    queue, limit = _queue_of(call.vhost, call.path["queue"]), number(call, "limit")
    return Answer(body=await carry_out(call, _messages(queue, limit)))


def _queue_of(vhost: VHost, name: str) -> Queue:
    queue = vhost.queues.get(name)
    if queue is None:
        names = [each.name for each in vhost.declared_queues]
        raise Missing(f"there is no queue '{name}' in vhost '{vhost.name}', {nearest(name, names, 'queue')}")
    return queue


def _messages(queue: Queue, limit: int | None) -> Steps[list[bytes]]:
    """What was delivered first goes first: unacked, then ready."""
    parts: list[bytes] = []
    for looks, state in ((look_at_unacked, UNACKED), (look, READY if queue.kept_for is None else DELAYED)):
        found, is_at_end = 0, False
        while not is_at_end and (limit is None or len(parts) < limit):
            most = MOST if limit is None else min(MOST, limit - len(parts))
            seen = yield from looks(queue, found, most)
            parts += [jsons.dumps(_of_seen(each, queue, state)) for each in seen.seen]
            found += len(seen.seen)
            is_at_end = seen.is_at_end
            yield None
    return [b"[", b",".join(parts), b"]"]


def _of_seen(seen: Seen, queue: Queue, state: str) -> dict[str, Any]:
    payload, payload_encoding = text_of(seen.body)
    life = history_of(queue.vhost).get(seen.message_id)
    # A time to live of 0 is over as soon as everybody had the chance to take the message.
    expires_ms = queue.outbox.clock() if seen.expires_ms == 0 else seen.expires_ms
    return {
        "id": seen.message_id if life is None else life.id,
        "state": state,
        "payload": payload,
        "payload_encoding": payload_encoding,
        "payload_bytes": seen.body_bytes,
        "exchange": seen.exchange,
        "routing_key": seen.routing_key,
        "redelivered": seen.redelivered,
        "delivery_count": seen.delivery_count,
        "properties": properties_as_json(seen.properties) or {},
        "held_by": None if seen.held is None else _of_held(seen.held, queue.vhost),
        "expires_at_ms": expires_ms,
        "due_at_ms": seen.due_ms,
    }


def _of_held(held: Held, vhost: VHost) -> dict[str, Any]:
    session = next((each for each in vhost.sessions if each.peer.name == held.connection), None)
    return {
        "connection": held.connection,
        "client_name": "" if session is None else session.own_name,
        "user": held.user,
        "channel": held.channel,
        "consumer_tag": held.consumer_tag,
        "delivery_tag": held.delivery_tag,
        "since_ms": held.since_ms,
    }


_SEEN: Final = {
    **MESSAGE,
    "id delivery_count": "integer!",
    "state": "'ready'|'unacked'|'delayed'!",
    "expires_at_ms due_at_ms": "integer|null",
    "held_by": "HeldBy|null",
}
SCHEMAS: Final = {
    "QueuedMessage": _SEEN,
    "HeldBy": {"connection client_name user": "string!", "channel": "integer!", "consumer_tag": "string|null"}
    | {"delivery_tag since_ms": "integer|null"},
}
ROUTES: Final = (
    Route(
        "GET",
        f"{ROOT}/vhosts/{{vhost}}/queues/{{queue}}/messages",
        get_messages,
        Access.TESTING,
        query={"limit": "integer: So many at the most."},
        shows="[QueuedMessage]",
    ),
)

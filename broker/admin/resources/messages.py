"""Messages, by RabbitMQ's two ways: publishing one, and getting some from a queue, as a client would."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from broker.admin import jsons
from broker.admin.call import METHOD_BYTES_MAX, exchange_name
from broker.admin.channel import channel, named_vhost, of_get, of_publish
from broker.admin.errors import BadRequest, Missing
from broker.admin.lists import joined
from broker.admin.pacing import Pacer
from broker.admin.resources.queues import check_name
from broker.admin.routing import Access, Route
from broker.admin.shapes import message as shape
from broker.core.direct import Confirmed, Got, Returned
from broker.core.message import BODY, join_routing
from protocol.events import MANDATORY
from protocol.methods import Basic, Confirm, make

if TYPE_CHECKING:
    from broker.admin.bodies import Body
    from broker.admin.call import Answer, Call
    from broker.admin.channel import DirectChannel

ANSWER_MAX_BYTES: Final = 64 * 2**20
"""Once the bodies of an answer have so many, no more are got."""
ENCODINGS: Final = ("auto", "base64")
ACK_MODES: Final = {"ack_requeue_false": None, "ack_requeue_true": True, "reject_requeue_false": False, "reject_requeue_true": True}
"""How messages are got: acked at once (None), or given back after all were got (True), or rejected then (False)."""


async def publish(call: Call) -> Any:
    """Publishes a message; `routed` says whether it reached a queue. The answer comes when the message is safe."""
    body = await call.body(None)
    body.require("routing_key", "properties", "payload", "payload_encoding")
    vhost, exchange = named_vhost(call), exchange_name(call.path["exchange"])
    if exchange not in vhost.exchanges:
        raise Missing("exchange_not_found")
    routing_key = body.text("routing_key")
    check_name("routing_key", routing_key)
    payload = shape.body_of(body)
    properties = body.object("properties")
    if len(jsons.dumps(properties)) > METHOD_BYTES_MAX:
        raise BadRequest(f"properties: more than {METHOD_BYTES_MAX} bytes")
    header = shape.header_of(properties, len(payload))
    async with channel(call, vhost, of_publish) as opened:
        await opened.do(make(Confirm.Select))
        await opened.publish(join_routing(exchange, routing_key), MANDATORY, header, payload)
        reply, is_routed = await opened.reply(), True
        if isinstance(reply, Returned):
            reply, is_routed = await opened.reply(), False
    if not isinstance(reply, Confirmed) or not reply.taken:
        raise BadRequest("rejected Unable to publish message. Check queue limits.")
    return {"routed": is_routed}


async def get(call: Call) -> Answer:
    """Gets messages from a queue, and acks them, puts them back or rejects them: see ackmode."""
    body = await call.body()
    body.require("ackmode", "count", "encoding")
    vhost, name = named_vhost(call), call.path["name"]
    if name not in vhost.queues:
        raise Missing("queue_not_found")
    if body.values["count"] is None:
        raise BadRequest("count: expected a whole number")
    count, requeue, encoding, truncate = body.number("count"), _requeue_of(body), body.text("encoding"), _truncate_of(body)
    if encoding not in ENCODINGS:
        raise BadRequest("Unsupported encoding. Please use auto or base64.")
    pacer = Pacer(call.context.turns)
    async with channel(call, vhost, of_get) as opened:
        got = await _get(opened, name, count, pacer, no_ack=requeue is None)
        if got and requeue is not None:
            await opened.send(make(Basic.Nack, delivery_tag=got[-1].tag, multiple=True, requeue=requeue))
    await call.commit()
    return await joined(None, got, partial(shape.of_got, encoding=encoding, truncate=truncate), None, pacer)


async def _get(opened: DirectChannel, name: str, count: int, pacer: Pacer, *, no_ack: bool) -> list[Got]:
    """So many messages, or what there is; a negative number is no limit."""
    got: list[Got] = []
    size = 0
    method = make(Basic.Get, queue=name, no_ack=no_ack)
    while len(got) != count and size < ANSWER_MAX_BYTES:
        reply = await opened.do(method)
        if not isinstance(reply, Got):
            break
        got.append(reply)
        size += len(reply.message[BODY])
        if pacer.is_due:
            await pacer.rest()
    return got


def _requeue_of(body: Body) -> bool | None:
    mode = body.text("ackmode")
    if mode not in ACK_MODES:
        raise BadRequest(f"unknown ackmode '{mode}': expected {', '.join(ACK_MODES)}")
    return ACK_MODES[mode]


def _truncate_of(body: Body) -> int | None:
    if body.values.get("truncate") is None:
        return None
    truncate = body.number("truncate")
    if truncate < 0:
        raise BadRequest(f"truncate is {truncate}: expected 0 or more")
    return truncate


_PUBLISH: Final = {"routing_key payload": "string!", "properties": "Properties!", "payload_encoding": "'string'|'base64'!"}
_GET: Final = {
    "ackmode": "|".join(f"'{mode}'" for mode in ACK_MODES) + "!",
    "count": "integer!",
    "encoding": "'auto'|'base64'!",
    "truncate": "integer",
}
SCHEMAS: Final = {"Published": {"routed": "boolean!"}}
ROUTES: Final = (
    Route("POST", "/api/exchanges/{vhost}/{exchange}/publish", publish, Access.VHOST, _PUBLISH, shows="Published"),
    Route("POST", "/api/queues/{vhost}/{name}/get", get, Access.VHOST, _GET, shows="[GotMessage]"),
)

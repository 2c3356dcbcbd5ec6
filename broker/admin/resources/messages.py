"""Messages: RabbitMQ's get, publish and purge; and Leveret's own: looking, moving, replaying, and where a message would go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import orjson

from broker.admin.call import Answer, done, exchange_name
from broker.admin.channel import channel
from broker.admin.errors import BadRequest, Missing, NoSuchObject, NotAuthorised
from broker.admin.routing import Access, Route
from broker.admin.shapes import message as shape
from broker.admin.steps import carry_out
from broker.core import relocation
from broker.core.direct import Confirmed, Got, Returned
from broker.core.explanation import explain
from broker.core.inspection import MOST, Filter, look, look_at_unacked
from broker.core.message import join_routing
from protocol.constants import ACCESS_REFUSED, NOT_FOUND
from protocol.errors import AmqpError, ChannelException
from protocol.events import MANDATORY
from protocol.methods import Basic, Confirm, make
from protocol.methods import Queue as QueueMethods

if TYPE_CHECKING:
    from broker.admin.bodies import Body
    from broker.admin.call import Call
    from broker.admin.channel import DirectChannel
    from broker.core.queue import Queue
    from broker.core.relocation import FindWay, Way
    from broker.core.vhost import VHost

ACK_MODES: Final = ("ack_requeue_true", "ack_requeue_false", "reject_requeue_true", "reject_requeue_false")
GETS_AT_ONCE: Final = 64
LIMIT: Final = 50
TRUNCATE: Final = 50_000
"""Bytes of a body that a look shows, if it isn't asked for more or less."""
IDS_MAX: Final = 100_000


def _named(call: Call, what: str) -> VHost:
    """The vhost in the path. Raises Missing with RabbitMQ 3.13's reason if it isn't there, or the queue or exchange isn't."""
    vhost = call.broker.vhosts.get(call.path["vhost"])
    if vhost is None:
        raise Missing("vhost_not_found")
    is_there = exchange_name(call.path["exchange"]) in vhost.exchanges if what == "exchange" else call.path["name"] in vhost.queues
    if not is_there:
        raise Missing(f"{what}_not_found")
    return vhost


def _whole(body: Body, name: str) -> int | None:
    """A number as RabbitMQ takes it. Raises BadRequest in its words."""
    value = body.values.get(name)
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            return int(value)
        except (ValueError, OverflowError):
            pass
    if value is None:
        return None
    raise BadRequest(["not_integer", str(value)])


# --- get, publish, purge --------------------------------------------------------------------------------------------------


async def get_messages(call: Call) -> Any:
    """Takes messages from a queue, and puts them back or not."""
    vhost = _named(call, "queue")
    body = await call.body()
    body.require("ackmode", "count", "encoding")
    mode, count, encoding = body.values["ackmode"], _whole(body, "count") or 0, shape.encoding(body.text("encoding"))
    if mode not in ACK_MODES:
        raise BadRequest(f"ackmode: expected one of {', '.join(ACK_MODES)}")
    truncate = _whole(body, "truncate")
    if truncate is not None and truncate < 0:
        raise BadRequest("truncate: expected a number of bytes, 0 or more")
    try:
        async with channel(call, vhost) as opened:
            found = await _get(opened, call.path["name"], count, no_ack=mode == "ack_requeue_false")
            if found and mode != "ack_requeue_false":
                # Only now, or each get would have the same message again.
                await opened.settle(found[-1].tag, requeue=mode != "reject_requeue_false")
    except AmqpError as error:
        if error.code == NOT_FOUND:
            raise Missing(error.reply_text) from error
        if error.code == ACCESS_REFUSED:
            raise NotAuthorised(error.reply_text) from error
        raise _refused(error) from error
    return [shape.of_got(got, encoding, truncate) for got in found]


async def _get(opened: DirectChannel, queue: str, count: int, *, no_ack: bool) -> list[Got]:
    """So many messages, or what there is; with a negative count all."""
    found: list[Got] = []
    while len(found) != count:
        reply = await opened.do(make(Basic.Get, queue=queue, no_ack=no_ack))
        if not isinstance(reply, Got):
            break
        found.append(reply)
        if len(found) % GETS_AT_ONCE == 0:
            await asyncio.sleep(0)
    return found


async def publish(call: Call) -> Any:
    """Publishes a message to an exchange; says whether any queue got it."""
    vhost = _named(call, "exchange")
    body = await call.body()
    body.require("routing_key", "properties", "payload", "payload_encoding")
    given = body.values["payload"]
    if not isinstance(given, str):
        raise BadRequest("payload_not_string")
    content = shape.decoded(given, body.text("payload_encoding"))
    header = shape.header(body.object("properties"), len(content))
    try:
        routing = join_routing(exchange_name(call.path["exchange"]), body.text("routing_key"))
    except OverflowError:
        raise BadRequest("routing_key: expected 255 bytes at the most") from None
    try:
        async with channel(call, vhost) as opened:
            await opened.do(make(Confirm.Select))
            await opened.publish(routing, MANDATORY, header, content)
            reply = await opened.reply()
            is_routed = not isinstance(reply, Returned)
            if not is_routed:
                reply = await opened.reply()
    except AmqpError as error:
        raise _refused(error) from error
    if isinstance(reply, Confirmed) and not reply.taken:
        raise BadRequest("rejected Unable to publish message. Check queue limits.")
    return {"routed": is_routed}


def _refused(error: AmqpError) -> BadRequest:
    """What a channel was closed with, as RabbitMQ's management plugin prints it."""
    return BadRequest(f"{error.code} {error.reply_text}")


async def purge(call: Call) -> Answer:
    """Drops what is ready in a queue."""
    queue = call.queue
    async with channel(call, queue.vhost) as opened:
        await opened.do(make(QueueMethods.Purge, queue=queue.name))
    return done()


# --- looking --------------------------------------------------------------------------------------------------------------


async def look_into(call: Call) -> Any:
    """Shows what is in a queue, and takes nothing."""
    queue = call.queue
    await _check(call, "read", "queue", queue.name, queue.vhost)
    offset, limit = _bounded(call, "offset", 0, 0, 1 << 62), _bounded(call, "limit", LIMIT, 0, MOST)
    truncate = _bounded(call, "truncate", TRUNCATE, 0, 1 << 31)
    encoding = shape.encoding(call.query.get("encoding", shape.AUTO))
    looks = {"ready": look, "unacked": look_at_unacked}
    state = call.query.get("state", "ready")
    if state not in looks:
        raise BadRequest("state: expected ready or unacked")
    wanted = call.query.get("filter")
    found = await carry_out(call, looks[state](queue, offset, limit, Filter(wanted) if wanted else None, truncate), only_while_asked=True)
    return shape.of_look(found, queue, encoding)


def _bounded(call: Call, name: str, default: int, least: int, most: int) -> int:
    value = call.integer(name)
    if value is None:
        return default
    if not least <= value <= most:
        raise BadRequest(f"{name}: expected {least} to {most}, not {value}")
    return value


async def _check(call: Call, kind: Any, resource: Any, name: str, vhost: VHost) -> None:
    """Raises NotAuthorised unless the user may."""
    try:
        await call.context.decide(lambda: call.identity.check(kind, resource, name, vhost.name))
    except ChannelException as refused:
        raise NotAuthorised(refused.text) from refused
    finally:
        call.identity.conclude()


# --- moving ---------------------------------------------------------------------------------------------------------------


async def move(call: Call) -> Any:
    """Moves or copies what is ready in a queue to another queue or to an exchange."""
    queue, body = await _source(call), await call.body()
    to_queue, to_exchange = body.text("to_queue"), body.values.get("to_exchange")
    if bool(to_queue) == (to_exchange is not None):
        raise BadRequest("expected either to_queue or to_exchange")
    way: FindWay
    if to_queue:
        if to_queue not in queue.vhost.queues:
            raise Missing(f"no {queue.vhost.queue_text(to_queue)}")
        way = relocation.to_queue(to_queue)
    else:
        name = exchange_name(body.text("to_exchange"))
        if name not in queue.vhost.exchanges:
            raise Missing(f"no {queue.vhost.exchange_text(name)}")
        way = relocation.to_exchange(name, body.text("routing_key") if "routing_key" in body else None)
    return await _relocate(call, queue, body, way)


async def replay(call: Call) -> Any:
    """Sends dead letters back to where they came from."""
    queue, body = await _source(call), await call.body()
    way = relocation.back(to_queue=body.flag("to_queue"), keeps_history=not body.flag("strip_history"))
    return await _relocate(call, queue, body, way)


async def _source(call: Call) -> Queue:
    """The queue in the path, if messages may be taken out of it. Raises HttpError."""
    queue = call.queue
    await _check(call, "read", "queue", queue.name, queue.vhost)
    text = queue.vhost.queue_text(queue.name)
    if queue.kept_for is not None:
        raise BadRequest(f"{text} is kept for an exchange: it can be looked at and purged")
    if queue.owner is not None:
        raise BadRequest(f"{text} is exclusive to a connection")
    return queue


async def _relocate(call: Call, queue: Queue, body: Body, way: FindWay) -> Any:
    count, ids = _whole(body, "count"), body.values.get("ids")
    if count is not None and count < 0:
        raise BadRequest("count: expected a number of messages, or nothing for all")
    if ids is not None and not (isinstance(ids, list) and len(ids) <= IDS_MAX and all(type(each) is int for each in ids)):
        raise BadRequest(f"ids: expected a list of up to {IDS_MAX} numbers, as a look shows them")
    identity, vhost = call.identity, queue.vhost

    def permit(way: Way) -> None:
        # What goes straight to a queue is as if it were published to the default exchange.
        name = "" if way.queue is not None else way.exchange
        identity.check("write", "exchange", name, vhost.name)
        exchange = vhost.exchanges.get(name)
        if exchange is not None and exchange.type == "topic":
            for key in way.keys:
                identity.check_topic("write", vhost.name, name, key)

    done = await carry_out(call, relocation.relocate(queue, way, permit, most=count, ids=ids, copies=body.flag("copy")))
    identity.conclude()
    return shape.of_relocation(done)


# --- where a message would go ---------------------------------------------------------------------------------------------


async def route(call: Call) -> Any:
    """Explains where a message would go, and why."""
    name = call.query.get("vhost", "/")
    vhost = call.broker.vhosts.get(name)
    if vhost is None or name not in call.visible:
        raise NoSuchObject
    exchange = vhost.exchanges.get(exchange_name(call.query.get("exchange", "")))
    if exchange is None:
        raise Missing(f"no {vhost.exchange_text(call.query.get('exchange', ''))}")
    key = call.query.get("routing_key", "")
    if len(key.encode("utf-8", "surrogateescape")) > 255:
        raise BadRequest("routing_key: expected 255 bytes at the most")
    try:
        headers = orjson.loads(call.query.get("headers") or "{}")
    except orjson.JSONDecodeError:
        raise BadRequest("headers: expected a JSON object") from None
    return shape.of_explanation(await carry_out(call, explain(vhost, exchange, key, shape.table(headers)), only_while_asked=True))


ROUTES: Final = (
    Route("POST", "/api/queues/{vhost}/{name}/get", get_messages, Access.VHOST),
    Route("DELETE", "/api/queues/{vhost}/{name}/contents", purge, Access.VHOST),
    Route("POST", "/api/exchanges/{vhost}/{exchange}/publish", publish, Access.VHOST),
    Route("GET", "/api/leveret/queues/{vhost}/{name}/messages", look_into, Access.VHOST),
    Route("POST", "/api/leveret/queues/{vhost}/{name}/move", move, Access.VHOST),
    Route("POST", "/api/leveret/queues/{vhost}/{name}/replay", replay, Access.VHOST),
    Route("GET", "/api/leveret/route", route),
)

"""What Leveret has beside RabbitMQ's API: looking into queues, moving and replaying messages, and where a message would go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.admin.access import is_administrator, may_enter
from broker.admin.bodies import Body
from broker.admin.call import exchange_name
from broker.admin.errors import BadRequest, Missing, NoSuchObject, NotAuthorised, Unavailable
from broker.admin.routing import Access, Route
from broker.admin.shapes import inspection as shape
from broker.admin.shapes.table import table_of
from broker.admin.steps import carry_out
from broker.core import relocation
from broker.core.explanation import explain
from broker.core.inspection import MOST, Filter, look, look_at_unacked
from protocol.errors import ChannelException

if TYPE_CHECKING:
    from broker.admin.call import Call
    from broker.core.queue import Queue
    from broker.core.relocation import FindWay, Way
    from broker.core.vhost import VHost

LIMIT: Final = 50
TRUNCATE: Final = 50_000
"""Bytes of a body that a look shows, if it isn't asked for more or less."""
IDS_MAX: Final = 100_000


# --- looking ----------------------------------------------------------------------------------------------------------


async def look_into(call: Call) -> Any:
    """Shows what is in a queue, and takes nothing."""
    queue = call.queue
    await _check(call, "read", "queue", queue.name, queue.vhost)
    offset, limit = _bounded(call, "offset", 0, 0, 1 << 62), _bounded(call, "limit", LIMIT, 0, MOST)
    truncate = _bounded(call, "truncate", TRUNCATE, 0, 1 << 31)
    encoding = _encoding(call)
    looks = {"ready": look, "unacked": look_at_unacked}
    state = call.query.get("state", "ready")
    if state not in looks:
        raise BadRequest("state: expected ready or unacked")
    wanted = call.query.get("filter")
    found = await carry_out(call, looks[state](queue, offset, limit, Filter(wanted) if wanted else None, truncate))
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
    count, ids = (body.number("count") if body.values.get("count") is not None else None), body.values.get("ids")
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

    def goes_on() -> bool:
        return not call.context.node.alarms

    if not goes_on():
        raise Unavailable(f"publishers are blocked by an alarm: {', '.join(call.context.node.alarms)}")
    work = relocation.relocate(queue, way, permit, most=count, ids=ids, copies=body.flag("copy"), goes_on=goes_on)
    done = await carry_out(call, work)
    identity.conclude()
    return shape.of_relocation(done)


# --- where a message would go ---------------------------------------------------------------------------------------------


async def route(call: Call) -> Any:
    """Explains where a message would go, and why."""
    name = call.query.get("vhost", "/")
    vhost = call.broker.vhosts.get(name)
    if vhost is None or not (is_administrator(call.identity) or await may_enter(call.context, call.identity, name)):
        raise NoSuchObject
    exchange = vhost.exchanges.get(exchange_name(call.query.get("exchange", "")))
    if exchange is None:
        raise Missing(f"no {vhost.exchange_text(call.query.get('exchange', ''))}")
    key = call.query.get("routing_key", "")
    if len(key.encode("utf-8", "surrogateescape")) > 255:
        raise BadRequest("routing_key: expected 255 bytes at the most")
    headers = Body.parse((call.query.get("headers") or "{}").encode("utf-8", "surrogateescape")).values
    return shape.of_explanation(await carry_out(call, explain(vhost, exchange, key, table_of(headers))))


def _encoding(call: Call) -> str:
    encoding = call.query.get("encoding", "auto")
    if encoding not in ("auto", "base64"):
        raise BadRequest("encoding: expected auto or base64")
    return encoding


_LOOK: Final = {
    "offset": "integer: Messages to pass over.",
    "limit": f"integer: Messages to show, {MOST} at the most.",
    "state": "'ready'|'unacked': Those that wait, or those that consumers have.",
    "filter": "string: A text in the body or the routing key, or NAME=VALUE of a header or property.",
    "truncate": "integer: Bytes of each body that are shown.",
    "encoding": "'auto'|'base64': How bodies are shown; auto is text where it is UTF-8.",
}
_ROUTE: Final = {
    "vhost": "string: A virtual host.",
    "exchange": "string: Where it would be published.",
    "routing_key": "string: Its routing key.",
    "headers": "string: Its headers, as a JSON object.",
}
_WHICH: Final = {"count": "integer", "ids": "[integer]", "copy": "boolean"}
_MOVE: Final = {"to_queue to_exchange routing_key": "string"} | _WHICH
_REPLAY: Final = {"to_queue strip_history": "boolean"} | _WHICH
_PATH: Final = "/api/leveret/queues/{vhost}/{name}"
ROUTES: Final = (
    Route("GET", f"{_PATH}/messages", look_into, Access.VHOST, query=_LOOK, shows="Look", refusals=(503,)),
    Route("POST", f"{_PATH}/move", move, Access.VHOST, _MOVE, shows="Relocation", refusals=(503,)),
    Route("POST", f"{_PATH}/replay", replay, Access.VHOST, _REPLAY, shows="Relocation", refusals=(503,)),
    Route("GET", "/api/leveret/route", route, query=_ROUTE, shows="Explanation", refusals=(404,)),
)

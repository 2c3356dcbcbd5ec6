"""Bindings: what leads where, binding and unbinding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from broker.admin import lists
from broker.admin.access import reachable
from broker.admin.call import Answer, created, done, exchange_name
from broker.admin.channel import channel, named_vhost
from broker.admin.errors import NoSuchObject
from broker.admin.resources.queues import check_name
from broker.admin.routing import Access, Route
from broker.admin.shapes import binding as shape
from broker.admin.shapes.table import table_of
from broker.core.exchange import Binding
from broker.core.queue import Queue as DeclaredQueue
from broker.core.vhost import DEFAULT_EXCHANGE
from protocol.methods import Exchange, Queue, make

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from broker.admin.call import Call
    from broker.admin.routing import Handler
    from broker.core.exchange import Destination
    from broker.core.exchange import Exchange as DeclaredExchange
    from broker.core.vhost import VHost
    from protocol.methods import Method
    from protocol.tables import Table

SORT: Final = ("vhost", "source", "type", "destination", "routing_key", "properties_key")
PATH: Final = "/api/bindings/{vhost}/e/{source}"


# --- what there is --------------------------------------------------------------------------------------------------


def _by_name(vhost: VHost, queue: DeclaredQueue) -> Binding:
    """The default exchange's, which nobody made."""
    return Binding(vhost.exchanges[DEFAULT_EXCHANGE], queue, queue.name, {})


def _from(vhost: VHost, exchange: DeclaredExchange) -> Iterator[Binding | DeclaredQueue]:
    """A queue stands for its binding by name."""
    if exchange.name != DEFAULT_EXCHANGE:
        return exchange.bindings()
    return iter(vhost.declared_queues)


def _shape(placed: tuple[VHost, Binding | DeclaredQueue]) -> dict[str, Any]:
    vhost, found = placed
    return shape.of_binding((vhost, found if isinstance(found, Binding) else _by_name(vhost, found)))


def _to(vhost: VHost, destination: Destination) -> Iterator[Binding]:
    if isinstance(destination, DeclaredQueue) and destination.kept_for is None:
        yield _by_name(vhost, destination)
    yield from vhost.bindings_to(destination)


def _between(vhost: VHost, source: str, destination: Destination | None) -> list[Binding]:
    """Where one of the two isn't there, nothing is between them."""
    if destination is None or source not in vhost.exchanges:
        return []
    return [binding for binding in _to(vhost, destination) if binding.source.name == source]


def _destination(call: Call, vhost: VHost) -> Destination | None:
    name = call.path["destination"]
    return vhost.queues.get(name) if _is_queue(call) else vhost.exchanges.get(exchange_name(name))


def _is_queue(call: Call) -> bool:
    """Of the two letters for what a binding leads to. Raises NoSuchObject for another."""
    if call.path["kind"] not in "qe":
        raise NoSuchObject
    return call.path["kind"] == "q"


async def _list(call: Call, vhost: VHost, bindings: Iterable[Binding | DeclaredQueue]) -> Answer:
    return await lists.answer(call, [(vhost, each) for each in bindings], _shape, default_sort=SORT, can_page=False)


async def list_bindings(call: Call) -> Answer:
    """Lists bindings, of one virtual host or of all that the user may enter; those of the default exchange too."""
    found = [
        (vhost, binding)
        for vhost in await reachable(call)
        for exchange in vhost.exchanges.values()
        for binding in _from(vhost, exchange)
    ]  # fmt: skip
    return await lists.answer(call, found, _shape, default_sort=SORT, can_page=False)


async def list_bindings_of_queue(call: Call) -> Answer:
    """Lists the bindings that lead to a queue."""
    queue = call.vhost.queues.get(call.path["name"])
    return await _list(call, call.vhost, [] if queue is None else _to(call.vhost, queue))


async def list_bindings_from(call: Call) -> Answer:
    """Lists the bindings of an exchange."""
    exchange = call.vhost.exchanges.get(exchange_name(call.path["exchange"]))
    return await _list(call, call.vhost, [] if exchange is None else _from(call.vhost, exchange))


async def list_bindings_to(call: Call) -> Answer:
    """Lists the bindings that lead to an exchange."""
    exchange = call.vhost.exchanges.get(exchange_name(call.path["exchange"]))
    return await _list(call, call.vhost, [] if exchange is None else _to(call.vhost, exchange))


async def list_bindings_between(call: Call) -> Answer:
    """Lists the bindings from an exchange (e) to a queue (q) or another exchange (e)."""
    vhost = call.vhost
    return await _list(call, vhost, _between(vhost, exchange_name(call.path["source"]), _destination(call, vhost)))


def _binding(call: Call) -> Binding:
    """The one in the path. Raises NoSuchObject."""
    vhost = call.vhost
    found = shape.find(_between(vhost, exchange_name(call.path["source"]), _destination(call, vhost)), call.path["properties_key"])
    if found is None:
        raise NoSuchObject
    return found


def get_binding(call: Call) -> Any:
    """Describes one binding."""
    return lists.only(call, shape.of_binding((call.vhost, _binding(call))))


# --- changes --------------------------------------------------------------------------------------------------------


async def post_binding(call: Call) -> Answer:
    """Binds; the answer's Location names the binding."""
    body = await call.body()
    vhost, is_queue = named_vhost(call), _is_queue(call)
    source, destination = exchange_name(call.path["source"]), call.path["destination"]
    routing_key, arguments = body.text("routing_key"), table_of(body.object("arguments"))
    for kind, name in (("exchange", source), ("queue" if is_queue else "exchange", destination), ("routing_key", routing_key)):
        check_name(kind, name)
    async with channel(call, vhost) as opened:
        await opened.do(_method(Queue.Bind if is_queue else Exchange.Bind, source, destination, routing_key, arguments))
    key = shape.quoted(shape.properties_key(routing_key, arguments))
    # Relative to the path that was asked, whose last part it begins with.
    return created(key if call.request.rel_url.raw_path.endswith("/") else f"{shape.quoted(destination)}/{key}")


async def delete_binding(call: Call) -> Answer:
    """Unbinds."""
    found = _binding(call)
    kind: Any = Queue.Unbind if _is_queue(call) else Exchange.Unbind
    async with channel(call, call.vhost) as opened:
        await opened.do(_method(kind, found.source.name, found.destination.name, found.routing_key, found.arguments))
    return done()


def _method(kind: Any, source: str, destination: str, routing_key: str, arguments: Table) -> Method:
    given = {"routing_key": routing_key, "arguments": cast("Any", arguments)}
    if kind in (Queue.Bind, Queue.Unbind):
        method: Method = make(kind, exchange=source, queue=destination, **given)
    else:
        method = make(kind, source=source, destination=exchange_name(destination), **given)
    return method


_POST: Final = {"routing_key": "string", "arguments": "object"}
_ONE: Final = f"{PATH}/{{kind}}/{{destination}}/{{properties_key}}"


def _lists(path: str, handler: Handler, access: Access = Access.VHOST) -> Route:
    return Route("GET", path, handler, access, query=lists.SORTED, shows="[Binding]")


ROUTES: Final = (
    _lists("/api/bindings", list_bindings, Access.MANAGEMENT),
    _lists("/api/bindings/{vhost}", list_bindings),
    _lists(PATH + "/{kind}/{destination}", list_bindings_between),
    Route("POST", PATH + "/{kind}/{destination}", post_binding, Access.VHOST, _POST, statuses=(201,)),
    Route("GET", _ONE, get_binding, Access.VHOST, query=lists.ONLY, shows="Binding"),
    Route("DELETE", _ONE, delete_binding, Access.VHOST),
    _lists("/api/queues/{vhost}/{name}/bindings", list_bindings_of_queue),
    _lists("/api/exchanges/{vhost}/{exchange}/bindings/source", list_bindings_from),
    _lists("/api/exchanges/{vhost}/{exchange}/bindings/destination", list_bindings_to),
)

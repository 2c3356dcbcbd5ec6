"""Exchanges: what there is, declaring and deleting them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from broker.admin import lists
from broker.admin.access import reachable
from broker.admin.call import Answer, created, done, exchange_name
from broker.admin.channel import channel, named_vhost
from broker.admin.resources.queues import check_name, check_node
from broker.admin.routing import Access, Route
from broker.admin.shapes import exchange as shape
from broker.admin.shapes.stats import QUERY as STATS
from broker.admin.shapes.stats import Reader
from broker.admin.shapes.table import table_of
from protocol.methods import Exchange, make

if TYPE_CHECKING:
    from broker.admin.call import Call

DEFAULT_TYPE: Final = "direct"


async def list_exchanges(call: Call) -> Answer:
    """Lists exchanges, of one virtual host or of all that the user may enter."""
    placed = [(vhost, exchange) for vhost in await reachable(call) for exchange in vhost.exchanges.values()]
    return await lists.answer(call, placed, partial(shape.of_exchange, reader=Reader(call)), basic=shape.basics)


def get_exchange(call: Call) -> Any:
    """Describes one exchange."""
    return lists.only(call, shape.detailed((call.vhost, call.exchange), Reader(call)))


async def put_exchange(call: Call) -> Answer:
    """Declares an exchange."""
    body = await call.body()
    vhost, name = named_vhost(call), exchange_name(call.path["exchange"])
    check_name("exchange", name)
    check_node(call, body)
    is_new = name not in vhost.exchanges
    method = make(
        Exchange.Declare,
        exchange=name,
        exchange_type=body.text("type", DEFAULT_TYPE),
        passive=body.flag("passive"),
        durable=body.flag("durable"),
        auto_delete=body.flag("auto_delete"),
        internal=body.flag("internal"),
        arguments=cast("Any", table_of(body.object("arguments"))),
    )
    async with channel(call, vhost) as opened:
        await opened.do(method)
    return created() if is_new else done()


async def delete_exchange(call: Call) -> Answer:
    """Deletes an exchange; with if-unused only one that nothing is bound to."""
    method = make(Exchange.Delete, exchange=call.exchange.name, if_unused=call.flag("if-unused"))
    async with channel(call, call.vhost) as opened:
        await opened.do(method)
    return done()


_LIST: Final = lists.PAGED | STATS
_ONE: Final = lists.ONLY | STATS
_PUT: Final = {"type": "string", "durable auto_delete internal passive": "boolean", "arguments": "object", "node": "string"}
_DELETE: Final = {"if-unused": "boolean: Only if nothing is bound to it."}
_PATH: Final = "/api/exchanges/{vhost}/{exchange}"
ROUTES: Final = (
    Route("GET", "/api/exchanges", list_exchanges, query=_LIST, shows="[Exchange]"),
    Route("GET", "/api/exchanges/{vhost}", list_exchanges, Access.VHOST, query=_LIST, shows="[Exchange]"),
    Route("GET", _PATH, get_exchange, Access.VHOST, query=_ONE, shows="ExchangeInDetail"),
    Route("PUT", _PATH, put_exchange, Access.VHOST, _PUT),
    Route("DELETE", _PATH, delete_exchange, Access.VHOST, query=_DELETE),
)

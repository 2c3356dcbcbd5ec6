"""The broker as a whole, and who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker import identity
from broker.admin import figures, lists
from broker.admin.access import is_monitor, visible
from broker.admin.routing import Route
from broker.admin.samples import KEPT_SECONDS
from broker.admin.schemas import counted
from broker.admin.shapes import node as node_shape
from broker.admin.shapes.queue import QUERY
from broker.admin.shapes.stats import Reader, add_up
from broker.core.counters import Churn

if TYPE_CHECKING:
    from broker.admin.call import Call
    from broker.core.vhost import VHost

_DISK: Final = ("disk_reads", "disk_writes")
"""RabbitMQ's classic queues count these; here a message is read and written with others."""


def whoami(call: Call) -> Any:
    """Tells who the user is."""
    is_internal = call.user_name in call.operations.users
    facts = {"name": call.user_name, "tags": sorted(call.identity.tags), "is_internal_user": is_internal}
    minutes = call.context.config.management.login_session_minutes
    return facts if minutes is None else facts | {"login_session_timeout": minutes}


async def overview(call: Call) -> Any:
    """Describes the broker: versions, totals of messages and objects, rates, and where it listens."""
    context, node = call.context, call.context.node
    reader = Reader(call)
    facts: dict[str, Any] = {
        "management_version": node.version,
        "rates_mode": "basic",
        "sample_retention_policies": {
            "global": list(KEPT_SECONDS),
            "basic": list(KEPT_SECONDS[:2]),
            "detailed": list(KEPT_SECONDS[:1]),
        },
        "exchange_types": node_shape.exchange_type_list(),
        "product_version": node.version,
        "product_name": identity.LEVERET_NAME,
        "rabbitmq_version": node.version,
        "leveret_version": identity.LEVERET_VERSION,
        "cluster_name": node.cluster_name,
        "cluster_tags": {},
        "node_tags": {},
        "erlang_version": node_shape.ERLANG_VERSION,
        "erlang_full_version": node_shape.erlang_full_version(),
        "release_series_support_status": "supported",
        "default_queue_type": context.config.default_queue_type,
        "disable_stats": reader.is_disabled,
        "is_op_policy_updating_enabled": True,
        "enable_queue_totals": context.config.management.enable_queue_totals or call.flag("enable_queue_totals"),
    }
    everything = is_monitor(call.identity)
    vhosts = await visible(call)
    totals = _object_totals(call, vhosts, everything)
    if reader.is_disabled:
        facts |= {"node": node.name, "object_totals": totals}
        return lists.only(call, facts)
    facts |= _figures(call, vhosts, reader, everything)
    facts |= {"object_totals": totals, "statistics_db_event_queue": 0}
    if everything:
        facts |= {"node": node.name, "listeners": node_shape.listeners(node), "contexts": node_shape.contexts(node)}
    return lists.only(call, facts)


def _figures(call: Call, vhosts: list[VHost], reader: Reader, everything: bool) -> dict[str, Any]:
    names = (*figures.GIVEN, *figures.TAKEN)
    broker = call.broker
    whole = reader.of("broker", figures.BROKER, broker)
    if everything:
        message_stats, queue_totals = whole.messages(names), whole.with_details(figures.LENGTHS, "lengths")
    else:
        of_vhosts = [reader.of("vhost", figures.VHOST, vhost) for vhost in vhosts]
        message_stats = add_up([stats.messages(names) for stats in of_vhosts])
        queue_totals = add_up([stats.with_details(figures.LENGTHS, "lengths") for stats in of_vhosts])
    return {
        "message_stats": message_stats and message_stats | reader.of_nothing(_DISK, "msg_rates"),
        "churn_rates": whole.with_details(Churn.__slots__, "node_stats"),
        "queue_totals": queue_totals,
    }


def _object_totals(call: Call, vhosts: list[VHost], everything: bool) -> dict[str, int]:
    sessions = [
        session for vhost in vhosts for session in vhost.sessions if everything or session.identity.name == call.user_name
    ]  # fmt: skip
    channels = [channel for session in sessions for channel in session.channels.values()]
    return {
        "channels": len(channels),
        "connections": len(sessions),
        "consumers": sum(len(channel.consumers) for channel in channels),
        "exchanges": sum(len(vhost.exchanges) for vhost in vhosts),
        "queues": sum(len(vhost.declared_queues) for vhost in vhosts),
    }


_QUERY: Final = lists.ONLY | QUERY
SCHEMAS: Final = {
    "Overview": {
        "management_version product_version product_name rabbitmq_version leveret_version rates_mode cluster_name node": "string",
        "erlang_version erlang_full_version release_series_support_status default_queue_type": "string",
        "disable_stats is_op_policy_updating_enabled enable_queue_totals": "boolean",
        "sample_retention_policies": "{[integer]}",
        "exchange_types": "[ExchangeType]",
        "cluster_tags node_tags": "object",
        "message_stats": "MessageStats",
        "churn_rates": "ChurnRates",
        "queue_totals": "QueueTotals",
        "object_totals": "{integer}",
        "statistics_db_event_queue": "integer",
        "listeners": "[Listener]",
        "contexts": "[HttpContext]",
    },
    "ChurnRates": counted(" ".join(Churn.__slots__)),
    "QueueTotals": counted(" ".join(figures.LENGTHS)),
    "WhoAmI": {"name": "string!", "tags": "[string]!", "is_internal_user": "boolean!", "login_session_timeout": "integer"},
}
ROUTES: Final = (
    Route("GET", "/api/overview", overview, query=_QUERY, shows="Overview"),
    Route("GET", "/api/whoami", whoami, shows="WhoAmI"),
)

"""Feature flags and deprecated features: RabbitMQ's, as far as they mean something to those who ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from broker.admin import lists
from broker.admin.call import Answer, done
from broker.admin.errors import BadRequest
from broker.admin.routing import Access, Route
from broker.admin.schemas import NO_BODY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.admin.call import Call


class Flag(NamedTuple):
    """One flag, always enabled. `stability` is `required` or `stable`."""

    name: str
    description: str
    stability: str = "required"
    provided_by: str = "rabbit"


FLAGS: Final = (
    Flag("classic_mirrored_queue_version", "Mirrored queues have versions"),
    Flag("classic_queue_type_delivery_support", "Deliveries from classic queues between versions"),
    Flag("detailed_queues_endpoint", "GET /api/queues/detailed", "stable", "rabbitmq_management"),
    Flag("direct_exchange_routing_v2", "Direct exchanges route by an index"),
    Flag("drop_unroutable_metric", "Unroutable messages that are dropped are counted", provided_by="rabbitmq_management_agent"),
    Flag("empty_basic_get_metric", "basic.get on empty queues is counted", provided_by="rabbitmq_management_agent"),
    Flag("feature_flags_v2", "Feature flags, second version"),
    Flag("implicit_default_bindings", "Bindings of the default exchange aren't stored"),
    Flag("listener_records_in_ets", "Listeners are kept in memory"),
    Flag("maintenance_mode_status", "Nodes can be drained"),
    Flag("message_containers", "Messages in one form for all protocols", "stable"),
    Flag("message_containers_deaths_v2", "Cycles of dead letters are found", "stable"),
    Flag("quorum_queue", "Queues of type quorum"),
    Flag("quorum_queue_non_voters", "New members of quorum queues don't vote at first", "stable"),
    Flag("restart_streams", "Streams can be restarted", "stable"),
    Flag("stream_filtering", "Streams can be filtered", "stable"),
    Flag("stream_queue", "Queues of type stream"),
    Flag("stream_sac_coordinator_unblock_group", "Groups of stream consumers don't get stuck", "stable"),
    Flag("stream_single_active_consumer", "Single active consumers of streams"),
    Flag("stream_update_config_command", "Policies change streams", "stable"),
    Flag("tracking_records_in_ets", "Connections and channels are counted in memory"),
    Flag("user_limits", "Users have limits of connections and channels"),
    Flag("virtual_host_metadata", "Virtual hosts have descriptions and tags"),
)
"""Those of 3.13. Clients look for some (NServiceBus for stream_queue) before they start; none of them switches anything here."""

_PERMITTED: Final = "permitted_by_default"


class Deprecated(NamedTuple):
    """What RabbitMQ is going to drop."""

    name: str
    description: str
    provided_by: str = "rabbit"


GLOBAL_QOS: Final = Deprecated("global_qos", "basic.qos with global = true: one prefetch for all consumers of a channel")
TRANSIENT_QUEUES: Final = Deprecated("transient_nonexcl_queues", "Queues that are neither durable nor exclusive")
DEPRECATED: Final = (
    Deprecated("classic_queue_mirroring", "Mirrored classic queues (there are none here)"),
    GLOBAL_QOS,
    Deprecated("management_metrics_collection", "Rates in the HTTP API", "rabbitmq_management_agent"),
    Deprecated("ram_node_type", "Nodes that keep metadata in memory alone (there are none here)"),
    TRANSIENT_QUEUES,
)


async def list_flags(call: Call) -> Answer:
    """Lists the feature flags; all are enabled."""
    return await _list(call, map(_shown_flag, FLAGS))


def _shown_flag(flag: Flag) -> dict[str, Any]:
    return {
        "name": flag.name,
        "desc": flag.description,
        "doc_url": "",
        "state": "enabled",
        "stability": flag.stability,
        "provided_by": flag.provided_by,
    }


def enable_flag(call: Call) -> Answer:
    """Enables a feature flag, which it is already."""
    if call.path["name"] not in {flag.name for flag in FLAGS} | {"all"}:
        raise BadRequest("unsupported")
    return done()


async def list_deprecated(call: Call) -> Answer:
    """Lists what RabbitMQ is going to drop."""
    return await _list(call, map(_shown_deprecated, DEPRECATED))


async def list_deprecated_in_use(call: Call) -> Answer:
    """Lists what of it is used now."""
    return await _list(call, [_shown_deprecated(each) for each in DEPRECATED if _is_used(call, each)])


def _is_used(call: Call, feature: Deprecated) -> bool:
    if feature is TRANSIENT_QUEUES:
        return any(not queue.durable and queue.owner is None for vhost in call.broker.vhosts.values() for queue in vhost.queues.values())
    if feature is GLOBAL_QOS:
        return any(channel.prefetch_shared for session in call.broker.sessions for channel in session.channels.values())
    return False


def _shown_deprecated(feature: Deprecated) -> dict[str, Any]:
    return {
        "name": feature.name,
        "desc": feature.description,
        "deprecation_phase": _PERMITTED,
        "doc_url": "",
        "provided_by": feature.provided_by,
    }


async def _list(call: Call, facts: Iterable[dict[str, Any]]) -> Answer:
    return await lists.answer(call, list(facts), lambda each: each, default_sort=("name",), can_page=False)


SCHEMAS: Final = {
    "FeatureFlag": {"name desc doc_url state stability provided_by": "string"},
    "DeprecatedFeature": {"name desc doc_url deprecation_phase provided_by": "string"},
}
ROUTES: Final = (
    Route("GET", "/api/feature-flags", list_flags, query=lists.SORTED, shows="[FeatureFlag]"),
    Route("PUT", "/api/feature-flags/{name}/enable", enable_flag, Access.ADMINISTRATOR, NO_BODY, statuses=(204,)),
    Route("GET", "/api/deprecated-features", list_deprecated, query=lists.SORTED, shows="[DeprecatedFeature]"),
    Route("GET", "/api/deprecated-features/used", list_deprecated_in_use, query=lists.SORTED, shows="[DeprecatedFeature]"),
)

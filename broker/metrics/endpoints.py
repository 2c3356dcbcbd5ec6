"""Which metrics each endpoint has.

/metrics                  sums over all queues, channels and connections
/metrics/per-object       the same of each of them
/metrics/detailed         the groups that are asked for, of each object: ?family=queue_coarse_metrics&vhost=%2F&queue=orders
/metrics/memory-breakdown where the memory is
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from broker.metrics import channels, connections, exchanges, identity, logins, messages, node, queues, raft

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from broker.metrics.scrape import Group, Scrape

PREFIX: Final = "rabbitmq_"
DETAILED: Final = "detailed"
PER_OBJECT: Final = "per-object"
MEMORY_BREAKDOWN: Final = "memory-breakdown"
AGGREGATED: Final = "aggregated"

GROUPS: Final = (
    node.CHURN, node.COARSE, node.LIMITS, node.PERSISTER, raft.RAFT, logins.ATTEMPTS, logins.SOURCES, queues.COARSE,
    queues.CONSUMER_COUNT, queues.METRICS, channels.METRICS, channels.PUBLISHED, channels.REDUCTIONS, channels.TAKEN, connections.COARSE,
    connections.METRICS, channels.ROUTED, exchanges.METRICS, queues.DELIVERY, exchanges.ROUTED,
)  # fmt: skip
"""What /metrics/detailed may be asked for, by name."""
CLUSTER: Final = (exchanges.VHOST_STATUS, exchanges.BINDINGS, exchanges.NAMES)
"""The same, but of the whole cluster."""
_GLOBAL: Final = (messages.BY_PROTOCOL, messages.BY_TYPE, messages.DEAD_LETTERED)


class Part(NamedTuple):
    """A group, and what its metrics' names begin with there."""

    group: Group
    prefix: str = PREFIX


def _whole(*, aggregated: bool) -> list[Part]:
    """What there is without being asked for."""
    # queue_metrics tells how many consumers there are; where logins come from is nothing to be summed up.
    left_out = {queues.CONSUMER_COUNT.name, logins.SOURCES.name * aggregated}
    parts = [Part(node.PROCESS, ""), Part(node.ALARMS), Part(node.PEERS)]
    parts += [Part(group) for group in GROUPS if group.name not in left_out]
    parts += [Part(identity.TOTALS), *([] if aggregated else [Part(queues.INFO)])]
    return parts + [Part(group, f"{PREFIX}global_") for group in _GLOBAL]


def _detailed(asked: Iterable[str]) -> list[Part]:
    wanted = set(asked)
    if queues.METRICS.name in wanted:
        wanted.discard(queues.CONSUMER_COUNT.name)
    parts = [Part(group, f"{PREFIX}detailed_") for group in GROUPS if group.name in wanted]
    parts += [Part(group, f"{PREFIX}cluster_") for group in CLUSTER if group.name in wanted]
    if wanted & {queues.COARSE.name, queues.CONSUMER_COUNT.name, queues.METRICS.name}:
        parts.append(Part(queues.INFO, f"{PREFIX}detailed_"))
    return parts


async def text(scrape: Scrape, endpoint: str, families: Iterable[str] = ()) -> AsyncIterator[str]:
    """All that an endpoint tells, in pieces; `families` names what `detailed` is asked for."""
    aggregated = endpoint == AGGREGATED
    match endpoint:
        case "detailed":
            parts = _detailed(families)
        case "memory-breakdown":
            parts = [Part(node.MEMORY)]
        case _:
            parts = _whole(aggregated=aggregated)
    for group, prefix in (*parts, Part(identity.BUILD), Part(identity.identity_of(endpoint))):
        async for piece in group.text(scrape, prefix, aggregated=aggregated):
            yield piece
    if endpoint in (AGGREGATED, PER_OBJECT):
        yield messages.sizes(scrape)

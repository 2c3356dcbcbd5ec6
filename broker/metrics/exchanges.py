"""Exchanges and vhosts: what was published where, and what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.core.vhost import DEFAULT_EXCHANGE
from broker.metrics.channels import given_families, given_totals
from broker.metrics.scrape import Group
from broker.metrics.text import COUNTER, GAUGE, Family, labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.exchange import Exchange
    from broker.core.vhost import VHost
    from broker.metrics.scrape import Row, Scrape, Values


def _metrics(scrape: Scrape) -> Iterator[Row | None]:
    for vhost, exchange in scrape.exchanges():
        if exchange.published_in:
            name = labels(vhost=vhost.name, exchange=exchange.name)
            yield name, (exchange.published_in, None, exchange.returned, exchange.dropped)
        else:
            yield None


METRICS: Final = Group("exchange_metrics", given_families("exchange"), _metrics, totals=given_totals)


def _routed(scrape: Scrape) -> Iterator[Row]:
    return iter(())


def _routed_total(scrape: Scrape) -> Values:
    return (scrape.given.routed,)


ROUTED: Final = Group(
    "queue_exchange_metrics",
    (
        Family(
            "queue_exchange_messages_published_total",
            COUNTER,
            "Total number of messages published into a queue through an exchange; not counted by queue",
        ),
    ),
    _routed,
    totals=_routed_total,
)

# --- what there is, in the whole cluster (of one) -------------------------------------------------------------------


def _status(scrape: Scrape) -> Iterator[Row]:
    for vhost in list(scrape.broker.vhosts.values()):
        yield labels(vhost=vhost.name), (1,)


def _shown(scrape: Scrape) -> Iterator[tuple[VHost, Exchange] | None]:
    """RabbitMQ tells of these exchanges, whatever the vhost asked for."""
    for vhost in list(scrape.broker.vhosts.values()):
        for exchange in list(vhost.exchanges.values()):
            yield None if exchange.internal or exchange.name == DEFAULT_EXCHANGE else (vhost, exchange)


def _label(vhost: VHost, exchange: Exchange) -> str:
    return labels(vhost=vhost.name, exchange=exchange.name, type=exchange.type)


def _bindings(scrape: Scrape) -> Iterator[Row | None]:
    for found in _shown(scrape):
        yield None if found is None else (_label(*found), (found[1].binding_count,))


def _names(scrape: Scrape) -> Iterator[Row | None]:
    for found in _shown(scrape):
        yield None if found is None else (_label(*found), (1,))


VHOST_STATUS: Final = Group("vhost_status", (Family("vhost_status", GAUGE, "Whether a given vhost is running"),), _status)
BINDINGS: Final = Group(
    "exchange_bindings",
    (Family("exchange_bindings", GAUGE, "Number of bindings for an exchange. This value is cluster-wide."),),
    _bindings,
)
NAMES: Final = Group("exchange_names", (Family("exchange_name", GAUGE, "Which exchanges there are. This value is cluster-wide."),), _names)

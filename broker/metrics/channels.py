"""Channels: what they hold, what they published where, and what they took from which queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from broker.core.counters import Taken
from broker.metrics.queues import taken_families, taken_totals, taken_values
from broker.metrics.scrape import Group
from broker.metrics.text import COUNTER, GAUGE, Family, escaped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.channel import Channel
    from broker.core.exchange import Exchange
    from broker.core.queue import Queue
    from broker.metrics.scrape import Row, Scrape, Values


def _label(channel: Channel, more: str = "") -> str:
    return f'{{channel="<0.{channel.process}.0>"{more}}} '


def _metrics(scrape: Scrape) -> Iterator[Row]:
    for channel in scrape.channels():
        confirms, transaction = channel.confirms, channel.transaction
        yield (
            _label(channel),
            (
                len(channel.consumers) + (channel.reply_consumer is not None),
                len(channel.unacked),
                0 if confirms is None else confirms.unconfirmed,
                0 if transaction is None else len(transaction.publishes),
                0 if transaction is None else sum(1 for _ in transaction.leases()),
                channel.prefetch,
                channel.prefetch_shared,
            ),
        )


METRICS: Final = Group(
    "channel_metrics",
    (
        Family("channel_consumers", GAUGE, "Consumers on a channel"),
        Family("channel_messages_unacked", GAUGE, "Delivered but not yet acknowledged messages"),
        Family("channel_messages_unconfirmed", GAUGE, "Published but not yet confirmed messages"),
        Family("channel_messages_uncommitted", GAUGE, "Messages received in a transaction but not yet committed"),
        Family("channel_acks_uncommitted", GAUGE, "Message acknowledgements in a transaction not yet committed"),
        Family("consumer_prefetch", GAUGE, "Limit of unacknowledged messages for each consumer"),
        Family("channel_prefetch", GAUGE, "Total limit of unacknowledged messages for all consumers on a channel"),
    ),
    _metrics,
    is_summed=True,
)


def _reductions(scrape: Scrape) -> Iterator[Row]:
    for channel in scrape.channels():
        yield _label(channel), (0,)


REDUCTIONS: Final = Group(
    "channel_process_metrics",
    (Family("channel_process_reductions_total", COUNTER, "Of Erlang's processes, which there are none of: 0"),),
    _reductions,
    is_summed=True,
)

# --- in -------------------------------------------------------------------------------------------------------------

_confirmed: WeakKeyDictionary[Channel, dict[Exchange | None, int]] = WeakKeyDictionary()
"""What was told last; None stands for the exchanges that are gone."""


def confirmed_of(channel: Channel) -> dict[Exchange | None, int]:
    """How many publishes were confirmed, by exchange.

    A channel counts its confirms without asking what they are for. What was confirmed since the last scrape is shared out among the
    exchanges with something unconfirmed, in the order in which they were first published to: so no figure ever falls, together they are
    right, and when all is confirmed each of them is.
    """
    known = _confirmed.setdefault(channel, {None: 0})
    for gone in [each for each in known if each is not None and each not in channel.published]:
        known[None] += known.pop(gone)
    new = channel.given.confirm - sum(known.values())
    for exchange, published in channel.published.items():
        before = known.get(exchange, 0)
        share = min(new, published - before)
        known[exchange] = before + share
        new -= share
    return known


def _published(scrape: Scrape) -> Iterator[Row]:
    for channel in scrape.channels():
        confirmed = confirmed_of(channel)
        vhost = escaped(channel.session.vhost.name)
        for exchange, published in list(channel.published.items()):
            label = _label(channel, f',vhost="{vhost}",exchange="{escaped(exchange.name)}"')
            yield label, (published, confirmed.get(exchange, 0), channel.returned.get(exchange, 0), channel.dropped.get(exchange, 0))


def given_totals(scrape: Scrape) -> Values:
    """Since the start: unlike the sum of what is there now, these never fall."""
    given = scrape.given
    return given.publish, given.confirm, given.return_unroutable, given.drop_unroutable


def given_families(prefix: str, where: str = "") -> tuple[Family, ...]:
    """What was published, through channels or to exchanges."""
    return (
        Family(f"{prefix}_messages_published_total", COUNTER, f"Total number of messages published into an exchange{where}"),
        Family(
            f"{prefix}_messages_confirmed_total",
            COUNTER,
            f"Total number of messages published into an exchange and confirmed{where}",
        ),
        Family(
            f"{prefix}_messages_unroutable_returned_total",
            COUNTER,
            "Total number of messages published as mandatory into an exchange and returned to the publisher as unroutable",
        ),
        Family(
            f"{prefix}_messages_unroutable_dropped_total",
            COUNTER,
            "Total number of messages published as non-mandatory into an exchange and dropped as unroutable",
        ),
    )


PUBLISHED: Final = Group("channel_exchange_metrics", given_families("channel", " on a channel"), _published, totals=given_totals)


def _routed(scrape: Scrape) -> Iterator[Row]:
    return iter(())


def _routed_total(scrape: Scrape) -> Values:
    return (scrape.given.routed,)


ROUTED: Final = Group(
    "channel_queue_exchange_metrics",
    (Family("queue_messages_published_total", COUNTER, "Total number of messages published to queues; not counted by queue"),),
    _routed,
    totals=_routed_total,
)

# --- out ------------------------------------------------------------------------------------------------------------


def _taken(scrape: Scrape) -> Iterator[Row]:
    for channel in scrape.channels():
        for queue, taken in _by_queue(channel).items():
            names = f',vhost="{escaped(queue.vhost.name)}",queue="{escaped(queue.name)}"'
            yield _label(channel, names), taken_values(taken)


def _by_queue(channel: Channel) -> dict[Queue, Taken]:
    found: dict[Queue, Taken] = {}
    for queue, taken in channel.taken.items():
        if not queue.deleted:
            found.setdefault(queue, Taken()).add(taken)
    for consumer in channel.consumers.values():
        consumer.count(found.setdefault(consumer.queue, Taken()))
    return found


TAKEN: Final = Group("channel_queue_metrics", taken_families("channel"), _taken, totals=taken_totals)

"""One scrape: which objects it is about, what is read once for all metrics, and pauses for everybody else.

A *group* is what RabbitMQ calls a family (`?family=queue_coarse_metrics`): metrics that are read of the same objects, one row an object.
Rows are read as they come, in slices, so the figures of one object belong together, and those of two may be a few milliseconds apart.
What must never fall (the counters of the whole broker) is read in one go.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from broker.admin.pacing import Pacer
from broker.core import counters
from broker.metrics.text import NO_LABELS, Family, Value, escaped, samples

if TYPE_CHECKING:
    from broker.admin.context import Context
    from broker.core.broker import Broker
    from broker.core.channel import Channel
    from broker.core.counters import Given, Taken
    from broker.core.exchange import Exchange
    from broker.core.queue import Queue
    from broker.core.session import Session
    from broker.core.vhost import VHost
    from broker.node import Node

Values = Sequence[Value | None]
Row = tuple[str, Values]
"""Labels (text.labels) and a value for each metric of the group."""

LINES: Final = 1000
"""Samples that are written in one go: a fraction of a millisecond."""


class Group(NamedTuple):
    """See the module. A row that is None is only a chance for a pause.

    `totals` is what the aggregate has, if that isn't the sum of the rows; `is_summed` says that it is. With neither (there are few rows,
    and they tell the same everywhere) it has the rows.
    """

    name: str
    families: Sequence[Family]
    rows: Callable[[Scrape], Iterable[Row | None]]
    is_summed: bool = False
    totals: Callable[[Scrape], Values] | None = None

    async def text(self, scrape: Scrape, prefix: str, *, aggregated: bool) -> AsyncIterator[str]:
        """Its part of the answer, in pieces."""
        labelled: list[str] = []
        rows: list[Values] = []
        if aggregated and self.totals is not None:
            labelled, rows = [NO_LABELS], [self.totals(scrape)]
        else:
            for row in self.rows(scrape):
                if row is not None:
                    labelled.append(row[0])
                    rows.append(row[1])
                if scrape.pacer.is_due:
                    await scrape.pacer.rest()
        columns: Iterable[Values] = zip(*rows, strict=True) if rows else [()] * len(self.families)
        if aggregated and self.is_summed:
            labelled = [NO_LABELS]
            columns = [[value] async for value in self._sums(scrape, columns)]
        for family, column in zip(self.families, columns, strict=True):
            yield family.head(prefix)
            for start in range(0, len(column), LINES):
                yield samples(prefix + family.name, labelled[start : start + LINES], column[start : start + LINES])
                if scrape.pacer.is_over:
                    await scrape.pacer.rest()

    async def _sums(self, scrape: Scrape, columns: Iterable[Values]) -> AsyncIterator[Value | None]:
        for family, column in zip(self.families, columns, strict=True):
            yield sum([value for value in column if value is not None]) if family.is_summed else None
            if scrape.pacer.is_over:
                await scrape.pacer.rest()


class Scrape:
    """What one scrape is about: all there is, or the queues of some vhosts and with some names (`vhosts` and `matches`)."""

    def __init__(self, context: Context, vhosts: frozenset[str] | None = None, matches: Callable[[str], bool] | None = None) -> None:
        self.context = context
        self.node: Node = context.node
        self.broker: Broker = context.broker
        self.pacer = Pacer(context.turns)
        self._vhosts = vhosts
        self._matches = matches
        self._labels: dict[Queue, str | None] = {}

    # --- objects ----------------------------------------------------------------------------------------------------

    def vhosts(self) -> list[VHost]:
        """Those that it is about."""
        return [vhost for name, vhost in self.broker.vhosts.items() if self._vhosts is None or name in self._vhosts]

    def queues(self) -> Iterator[tuple[Queue, str] | None]:
        """The queues that it is about, with their labels; None for each that it isn't about."""
        known, matches = self._labels, self._matches
        for vhost in self.vhosts():
            head = f'{{vhost="{escaped(vhost.name)}",queue="'
            for queue in vhost.declared_queues:
                if queue in known:
                    label = known[queue]
                elif matches is None or matches(queue.name):
                    label = known[queue] = f'{head}{escaped(queue.name)}"}} '
                else:
                    label = known[queue] = None
                yield None if label is None else (queue, label)

    def exchanges(self) -> Iterator[tuple[VHost, Exchange]]:
        """The exchanges of the vhosts that it is about."""
        for vhost in self.vhosts():
            for exchange in list(vhost.exchanges.values()):
                yield vhost, exchange

    def sessions(self) -> Iterator[Session]:
        """All connections that are in a vhost."""
        for session in list(self.broker.sessions):
            if session.entered:
                yield session

    def channels(self) -> Iterator[Channel]:
        """All open channels."""
        for session in self.sessions():
            yield from list(session.channels.values())

    # --- figures ----------------------------------------------------------------------------------------------------

    @cached_property
    def given(self) -> Given:
        """What was published since the start."""
        return counters.given_to(self.broker)

    @cached_property
    def taken(self) -> dict[str, Taken]:
        """What went out since the start, by type of queue."""
        return counters.taken_of(self.broker)

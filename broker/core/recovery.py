"""From the catalog and the log back to the state before the restart.

The catalog says what is declared; the log is read once, in order: an enqueue adds a message to its queues, a settle takes it
away, a requeue counts, a mark says up to where messages had been delivered. What is left at the end is what the queues hold.
Records that name a queue which the catalog doesn't know belong to a deleted one.
"""

from __future__ import annotations

import logging
from itertools import repeat
from typing import TYPE_CHECKING

from broker.core import entries
from broker.core.arguments import QueueArguments
from broker.core.exchanges import create
from broker.core.queue import Queue
from broker.core.vhost import VHost
from storage.records import TARGET_IS_SET, TRANSIENT, Delivered, Enqueue, Requeue, RouteSet, Settle, SettleRange, decode_records

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.core.broker import Broker
    from broker.core.exchange import Destination
    from broker.core.message import Message
    from storage.api import Commit, Entry
    from storage.records import Record

log = logging.getLogger("recovery")


def restore_catalog(broker: Broker, catalog: Iterable[Entry]) -> None:
    """Vhosts, exchanges, queues and bindings, in this order."""
    by_kind: dict[str, list[tuple[list[str], Entry]]] = {"vhost": [], "exchange": [], "queue": [], "binding": []}
    for entry in catalog:
        kind, *names = entries.parts(entry.key)
        if kind in by_kind:
            by_kind[kind].append((names, entry))
        elif entry.key == entries.QUEUE_IDS:
            broker.queue_ids = broker.queue_ids_taken = entries.load(entry.value)["next"]
    for (name,), _ in by_kind["vhost"]:
        broker.vhosts[name] = VHost(broker, name)
    for (vhost_name, name), entry in by_kind["exchange"]:
        value = entries.load(entry.value)
        exchange = create(
            value["type"],
            name,
            durable=True,
            auto_delete=value["auto_delete"],
            internal=value["internal"],
            arguments=entries.arguments_of(value),
        )
        broker.vhosts[vhost_name].exchanges[name] = exchange
    for (vhost_name, name), entry in by_kind["queue"]:
        value = entries.load(entry.value)
        vhost = broker.vhosts[vhost_name]
        arguments = QueueArguments(entries.arguments_of(value))
        queue = Queue(vhost, name, value["id"], broker.outbox, arguments, durable=True, auto_delete=value["auto_delete"])
        vhost.queues[name] = queue
        # The step is written with the first queue of a thousand, in the same transaction or before; still, never go below what is there.
        broker.queue_ids = max(broker.queue_ids, queue.id + 1)
    for names, entry in by_kind["binding"]:
        _restore_binding(broker, names, entry)


def _restore_binding(broker: Broker, names: list[str], entry: Entry) -> None:
    vhost_name, source, kind, name, _ = names
    vhost = broker.vhosts[vhost_name]
    value = entries.load(entry.value)
    exchange = vhost.exchanges.get(source)
    destination: Destination | None = vhost.queues.get(name) if kind == "queue" else vhost.exchanges.get(name)
    if exchange is None or destination is None:
        log.warning("binding %s leads nowhere and is left out", entry.key)
        return
    vhost.restore_binding(exchange, destination, value["routing_key"], entries.arguments_of(value))


class Replay:
    """Reads the log's commits into the queues of a broker whose catalog is restored."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._queues = {queue.id: queue for vhost in broker.vhosts.values() for queue in vhost.queues.values()}
        self._live: dict[int, dict[int, Message]] = {queue_id: {} for queue_id in self._queues}
        self._counts: dict[int, dict[int, int]] = {queue_id: {} for queue_id in self._queues}
        self._marks: dict[int, int] = {}
        self._sets: dict[int, tuple[int, ...]] = {}
        self._segment: int | None = None
        self._highest = 0
        """The highest message id that any record names: new ones go on behind it, though the message itself be long gone."""

    def apply(self, commits: Iterable[Commit]) -> None:
        """Replay everything and hand the queues what they hold."""
        for commit in commits:
            if commit.segment != self._segment:
                self._begin_segment(commit.segment)
            for data in commit.records:
                for record in decode_records(data):
                    self._apply(record)
        self._finish()

    def _begin_segment(self, position: int) -> None:
        """What is alive is counted by segment. (Route sets are defined anew in each, under the same ids: the later one counts.)"""
        if self._segment is not None:
            self._broker.outbox.ledger.begin_segment(self._highest + 1, position)
        self._segment = position

    def _apply(self, record: Record) -> None:
        match record:
            case Enqueue():
                self._enqueue(record)
            case Settle():
                self._highest = max(self._highest, max(record.message_ids, default=0))
                self._settle(record.queue_id, record.message_ids)
            case SettleRange():
                self._highest = max(self._highest, record.last_id)
                self._settle(record.queue_id, range(record.first_id, record.last_id + 1))
            case Requeue():
                self._highest = max(self._highest, max((message_id for message_id, _ in record.counts), default=0))
                counts = self._counts.get(record.queue_id)
                if counts is not None:
                    counts.update(record.counts)
            case Delivered():
                self._highest = max(self._highest, record.message_id)
                self._marks[record.queue_id] = record.message_id
            case RouteSet():
                self._sets[record.set_id] = tuple(record.queue_ids)

    def _enqueue(self, record: Enqueue) -> None:
        first, count = record.first_id, len(record.bodies)
        self._highest = max(self._highest, first + count - 1)
        if record.flags & TRANSIENT:
            return
        messages = dict(
            zip(
                range(first, first + count),
                zip(range(first, first + count), repeat(record.routing), repeat(record.header), record.bodies, strict=False),
                strict=True,
            )
        )
        targets: tuple[int, ...] = (record.target,)
        if record.flags & TARGET_IS_SET:
            targets = self._sets.get(record.target, ())
            if not targets:
                log.error("%d messages went to queues that a damaged part of the log named; they are lost", count)
        for queue_id in targets:
            live = self._live.get(queue_id)
            if live is not None:
                live.update(messages)

    def _settle(self, queue_id: int, ids: Iterable[int]) -> None:
        live, counts = self._live.get(queue_id), self._counts.get(queue_id)
        if live is None or counts is None:
            return
        for message_id in ids:
            live.pop(message_id, None)
            counts.pop(message_id, None)

    def _finish(self) -> None:
        ledger = self._broker.outbox.ledger
        ledger.next_id = self._highest + 1
        messages = 0
        for queue_id, live in self._live.items():
            queue = self._queues[queue_id]
            ordered = [live[message_id] for message_id in sorted(live)]
            messages += len(ordered)
            ledger.recovered(live)
            counts = {message_id: count for message_id, count in self._counts[queue_id].items() if message_id in live}
            queue.restore(ordered, counts, self._marks.get(queue_id, 0))
        if self._segment is not None:
            ledger.roll()
        log.info("recovered %d queues with %d messages", len(self._queues), messages)

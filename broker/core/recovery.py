"""From the catalog and the log back to the state before the restart.

The catalog says what is declared; the log is read once, in order: an enqueue adds a message to its queues, a settle takes it
away, a requeue counts, a mark says up to where messages had been delivered. What is left at the end is what the queues hold.
Records that name a queue which the catalog doesn't know belong to a deleted one.
"""

from __future__ import annotations

import logging
from array import array
from bisect import bisect_left, bisect_right
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from broker.core import entries
from broker.core.arguments import QueueArguments
from broker.core.exchanges import create
from broker.core.exchanges.delayed_message import DelayedMessage
from broker.core.exchanges.message_deduplication import MessageDeduplication
from broker.core.internal_events import INTERNAL_USER
from broker.core.pages import SIZE_BITS, SIZE_MASK, Pages
from broker.core.policy import Policy
from broker.core.priorities import PriorityReady
from broker.core.queue import Queue
from protocol.errors import ChannelException
from storage.api import Corrupt
from storage.records import (
    COPY,
    ENQUEUE,
    EXPIRES,
    HEAD_SIZE,
    MIXED,
    TARGET_IS_SET,
    TRANSIENT,
    Delivered,
    Other,
    Requeue,
    RouteSet,
    Settle,
    SettleRange,
    body_sizes,
    decode_enqueue,
    decode_heads,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from broker.core.broker import Broker
    from broker.core.duplicates import HeldValues
    from broker.core.exchange import Destination
    from storage.api import Commit, Entry
    from storage.records import Run

log = logging.getLogger("recovery")
NEVER = 1 << 63


def restore_catalog(broker: Broker, catalog: Iterable[Entry]) -> None:
    """Vhosts, exchanges, queues and bindings, in this order.

    Raises Corrupt where an entry makes no sense: going on without a queue would let go of its messages.
    """
    by_kind: dict[str, list[Entry]] = {kind: [] for kind in _RESTORE}
    for entry in catalog:
        kind, *_ = entries.parts(entry.key)
        if kind in by_kind:
            by_kind[kind].append(entry)
    for kind, restore in _RESTORE.items():
        for entry in by_kind[kind]:
            try:
                restore(broker, entry.key, entries.parts(entry.key)[1:], entries.load(entry.value))
            except (KeyError, ValueError, TypeError, ChannelException) as error:
                raise nonsense(entry.key, repr(error)) from error
    for vhost in broker.vhosts.values():
        vhost.apply_policies()


def nonsense(key: str, why: str) -> Corrupt:
    """An entry of the catalog that can't be restored."""
    return Corrupt(f"the catalog's entry {key} makes no sense ({why}); `leveret log repair` moves it to quarantine")


def _restore_ids(broker: Broker, key: str, _: list[str], value: dict[str, Any]) -> None:
    if key == entries.QUEUE_IDS:
        broker.queue_ids = broker.queue_ids_taken = int(value["next"])


def _restore_vhost(broker: Broker, _key: str, names: list[str], value: dict[str, Any]) -> None:
    (name,) = names
    broker.vhosts[name] = broker.vhost_type(broker, name)
    broker.vhosts[name].metadata = value


def _restore_parameter(broker: Broker, _key: str, names: list[str], value: dict[str, Any]) -> None:
    vhost, component, name = names
    broker.vhosts[vhost].parameters[component, name] = value["value"]


def _restore_global_parameter(broker: Broker, _key: str, names: list[str], value: dict[str, Any]) -> None:
    (name,) = names
    broker.global_parameters[name] = value["value"]


def _restore_exchange(broker: Broker, _: str, names: list[str], value: dict[str, Any]) -> None:
    vhost, name = names
    bits = {"durable": True, "auto_delete": value["auto_delete"], "internal": value["internal"]}
    exchange = create(value["type"], name, **bits, arguments=entries.arguments_of(value))
    exchange.declared_by = value.get("declared_by", INTERNAL_USER)
    broker.vhosts[vhost].restore_exchange(exchange)


def _restore_queue(broker: Broker, key: str, names: list[str], value: dict[str, Any]) -> None:
    vhost, name = broker.vhosts[names[0]], names[1]
    queue: Queue
    if "kept_for" in value:
        exchange = vhost.exchanges.get(value["kept_for"])
        if isinstance(exchange, DelayedMessage):
            queue = exchange.restore_delays(value["id"])
        elif isinstance(exchange, MessageDeduplication):
            queue = exchange.restore_seen(value["id"])
        else:
            # A crash came between the deletions of one batch.
            log.warning("%s was kept for an exchange that isn't there any more", vhost.queue_text(name))
            broker.outbox.delete(key)
            return
    else:
        arguments = QueueArguments(entries.arguments_of(value))
        queue = vhost.queue_type(vhost, name, value["id"], broker.outbox, arguments, durable=True, auto_delete=value["auto_delete"])
    vhost.queues[name] = queue
    # The step is written with the first queue of a thousand, in the same transaction or before; still, never go below what is there.
    broker.queue_ids = max(broker.queue_ids, queue.id + 1)


def _restore_policy(broker: Broker, key: str, names: list[str], value: dict[str, Any]) -> None:
    vhost, name = names
    options = {"priority": value["priority"], "apply_to": value["apply_to"], "is_operator": entries.parts(key)[0] == "operator_policy"}
    broker.vhosts[vhost].restore_policy(Policy(name, value["pattern"], value["definition"], **options))


def _restore_binding(broker: Broker, key: str, names: list[str], value: dict[str, Any]) -> None:
    vhost_name, source, kind, name, _ = names
    vhost = broker.vhosts[vhost_name]
    exchange = vhost.exchanges.get(source)
    destination: Destination | None = vhost.queues.get(name) if kind == "queue" else vhost.exchanges.get(name)
    if exchange is None or destination is None:
        # A crash came between the deletions of one batch.
        log.warning("binding %s leads nowhere any more", key)
        broker.outbox.delete(key)
        return
    vhost.restore_binding(exchange, destination, value["routing_key"], entries.arguments_of(value))


_RESTORE: Final[dict[str, Callable[[Broker, str, list[str], dict[str, Any]], None]]] = {
    "ids": _restore_ids,
    "vhost": _restore_vhost,
    "exchange": _restore_exchange,
    "queue": _restore_queue,
    "binding": _restore_binding,
    "parameter": _restore_parameter,
    "global_parameter": _restore_global_parameter,
    "policy": _restore_policy,
    "operator_policy": _restore_policy,
}
"""What restores an entry of each kind from (broker, key, names in the key, value), in the order in which they need each other."""


class _Backlog:
    """What the log says of one queue: runs of messages in the order of the log, and which ids are settled."""

    __slots__ = (
        "copied", "counts", "expires", "firsts", "held_values", "levels", "looks", "mark", "places", "priority_of", "settled",
        "settled_ids", "sizes",
    )  # fmt: skip

    def __init__(self, priority_of: Callable[[bytes], int] | None = None, held_values: HeldValues | None = None) -> None:
        """`priority_of` tells it from a content header; None for a queue without priorities. `held_values` are to be told of each."""
        self.priority_of = priority_of
        self.held_values = held_values
        self.looks = priority_of is not None or held_values is not None
        """The content headers have to be looked at."""
        self.levels: dict[int, _Backlog] = {}
        """Of a queue with priorities: the runs of each."""
        self.firsts = array("Q")
        self.places = array("Q")
        self.sizes = array("Q")
        self.settled: list[tuple[int, int]] = []
        self.settled_ids = array("Q")
        self.counts: dict[int, int] = {}
        self.mark = 0
        self.copied = False
        """There are copies, so ids don't rise, and may be there twice."""
        self.expires = False
        """Some have a time to live of their own."""

    def add(self, first: int, count: int, body_size: int, place: int) -> None:
        """A run of the record at that place."""
        self.firsts.append(first)
        self.places.append(place)
        self.sizes.append(count << SIZE_BITS | body_size)

    def level(self, header: bytes) -> _Backlog:
        """Where messages with this content header belong."""
        assert self.priority_of is not None
        priority = self.priority_of(header)
        found = self.levels.get(priority)
        if found is None:
            found = self.levels[priority] = _Backlog()
            found.settled, found.settled_ids = self.settled, self.settled_ids
        return found

    def by_level(self) -> dict[int, Pages]:
        """What is not settled, as Queue.restore takes it."""
        if self.priority_of is None:
            return {0: self.pages()}
        return {priority: level.pages() for priority, level in self.levels.items()}

    def pages(self) -> Pages:
        """What is not settled, ids rising. A settled message is gone wherever a copy of it stands; of a message and its copy, the one
        that is met first will do."""
        if self.copied:
            self._sort()
        pages, firsts, sizes = Pages(), self.firsts, self.sizes
        at = 0
        for low, high in _merged([*self.settled, *zip(self.settled_ids, self.settled_ids, strict=True)]):
            stop = bisect_left(firsts, low, at)
            self._keep(pages, at, stop, low)
            # What of the runs that begin below reaches beyond the gap is the next run.
            at = max(bisect_right(firsts, high, stop) - 1, at)
            while at < len(firsts) and firsts[at] <= high:
                end = firsts[at] + (sizes[at] >> SIZE_BITS)
                if end > high + 1:
                    firsts[at] = high + 1
                    sizes[at] = (end - high - 1) << SIZE_BITS | sizes[at] & SIZE_MASK
                    break
                at += 1
        self._keep(pages, at, len(firsts), NEVER)
        return pages

    def _keep(self, pages: Pages, at: int, stop: int, bound: int) -> None:
        """Take over the runs from `at` to `stop`, as far as they are below `bound`: only the last may not be."""
        if at >= stop:
            return
        firsts, places, sizes = self.firsts, self.places, self.sizes
        last = firsts[stop - 1]
        fitting = min(sizes[stop - 1] >> SIZE_BITS, bound - last)
        pages.extend(firsts[at : stop - 1], places[at : stop - 1], sizes[at : stop - 1])
        pages.append(last, fitting, sizes[stop - 1] & SIZE_MASK, places[stop - 1])

    def _sort(self) -> None:
        """Ids rising, and none twice."""
        order = sorted(range(len(self.firsts)), key=self.firsts.__getitem__)
        found = [(self.firsts[index], self.places[index], self.sizes[index]) for index in order]
        self.firsts, self.places, self.sizes = array("Q"), array("Q"), array("Q")
        following = 0
        for first, place, size in found:
            end = first + (size >> SIZE_BITS)
            first = max(first, following)
            if first < end:
                self.firsts.append(first)
                self.places.append(place)
                self.sizes.append((end - first) << SIZE_BITS | size & SIZE_MASK)
                following = end


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges in order, those that touch or overlap as one."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged


def _priority_of(queue: Queue) -> Callable[[bytes], int] | None:
    return queue.ready.priority_of if isinstance(queue.ready, PriorityReady) else None


class Replay:
    """Reads the log's commits into the queues of a broker whose catalog is restored. No body is kept: the queues learn where they are."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._queues = {queue.id: queue for vhost in broker.vhosts.values() for queue in vhost.queues.values()}
        self._backlogs = {queue_id: _Backlog(_priority_of(queue), queue.held_values) for queue_id, queue in self._queues.items()}
        self._sets: dict[int, tuple[int, ...]] = {}
        self._segment: int | None = None
        self._highest = 0
        """The highest message id that any record names: new ones go on behind it, though the message itself be long gone."""

    def apply(self, commits: Iterable[Commit]) -> None:
        """Replay everything and hand the queues what they hold."""
        for commit in commits:
            if commit.segment != self._segment:
                self._begin_segment(commit.segment)
            for place, data in commit.pieces:
                try:
                    self._apply(commit, place, data)
                except Corrupt as error:
                    log.error("what follows a record at position %d can't be read and is left out: %s", place, error)
            self._broker.outbox.ledger.end = commit.end
        self._finish()

    def _begin_segment(self, position: int) -> None:
        """What is alive is counted by segment. Route sets end with it: the ids begin again."""
        self._sets.clear()
        ledger = self._broker.outbox.ledger
        if self._segment is None:
            ledger.begin(position)
        else:
            ledger.begin_segment(self._highest + 1, position)
        self._segment = position

    def _apply(self, commit: Commit, place: int, data: bytes) -> None:
        ledger, backlogs = self._broker.outbox.ledger, self._backlogs
        lowest, highest, copied, size, pairs = NEVER, 0, 0, 0, 0
        heads: Iterator[tuple[int, Any]] = decode_heads(data)
        for offset, record in heads:
            if record.__class__ is not tuple:  # isinstance with a union takes half of the time that a message takes
                self._settle(record)
                continue
            kind, flags, _, payload, first, target, _, body_size, count, _ = record
            end = first + count
            if flags & COPY:
                copied = max(copied, end - 1)
                for each in ledger.ranges_of(first, end - 1):
                    each.add_span(first, end - 1, commit.position, commit.end)
            else:
                if first < lowest:
                    lowest = first
                if end > highest:
                    highest = end
            if flags & TRANSIENT:
                continue
            targets = self._targets(target, count) if flags & TARGET_IS_SET else (target,)
            if flags & COPY:
                ledger.range_of(first).came(count * len(targets), payload)
            else:
                size += payload
                pairs += count * len(targets)
            for queue_id in targets:
                backlog = backlogs.get(queue_id)
                if backlog is not None:
                    if flags & EXPIRES:
                        backlog.expires = True
                    if kind != ENQUEUE or backlog.looks:
                        self._add_each(backlog, place + offset, data, offset, record)
                        continue
                    backlog.firsts.append(first)
                    backlog.places.append(place + offset)
                    backlog.sizes.append(count << SIZE_BITS | body_size)
                    if flags & COPY:
                        backlog.copied = True
        self._highest = max(self._highest, highest - 1, copied)
        if highest:
            ledger.range.add_span(lowest, highest - 1, commit.position, commit.end)
            ledger.range.came(pairs, size)

    def _add_each(self, backlog: _Backlog, place: int, data: bytes, offset: int, run: Run) -> None:
        """Messages that may differ: a run for each stretch with one body size, and one priority."""
        first, count = run[4], run[8]
        if not backlog.looks:
            backlog.copied = backlog.copied or run[1] & COPY != 0
            sizes = body_sizes(data, offset, run) if run[7] == MIXED else ()
            if not sizes:
                backlog.add(first, count, run[7], place)
            for size, group in groupby(sizes):
                length = len(list(group))
                backlog.add(first, length, size, place)
                first += length
            return
        record = decode_enqueue(data[offset : offset + HEAD_SIZE + run[3]])
        for index, body in enumerate(record.bodies):
            header = record.header_of(index)
            if backlog.held_values is not None:
                backlog.held_values.add_one(first + index, header)
            level = backlog if backlog.priority_of is None else backlog.level(header)
            level.copied = level.copied or run[1] & COPY != 0
            level.add(first + index, 1, len(body), place)

    def _targets(self, set_id: int, count: int) -> tuple[int, ...]:
        targets = self._sets.get(set_id, ())
        if not targets:
            log.error("%d messages went to queues that a damaged part of the log named; they are lost", count)
        return targets

    def _settle(self, record: Other) -> None:
        """Any record but an enqueue."""
        match record:
            case Settle():
                self._name(record.message_ids)
                if backlog := self._backlogs.get(record.queue_id):
                    backlog.settled_ids.extend(record.message_ids)
            case SettleRange():
                self._name((record.last_id,))
                if backlog := self._backlogs.get(record.queue_id):
                    backlog.settled.append((record.first_id, record.last_id))
            case Requeue():
                self._name([message_id for message_id, _ in record.counts])
                if backlog := self._backlogs.get(record.queue_id):
                    backlog.counts.update(record.counts)
            case Delivered():
                self._name((record.message_id,))
                if backlog := self._backlogs.get(record.queue_id):
                    backlog.mark = max(backlog.mark, record.message_id)
            case RouteSet():
                self._sets[record.set_id] = tuple(record.queue_ids)

    def _name(self, ids: Sequence[int]) -> None:
        self._highest = max(self._highest, max(ids, default=0))

    def _finish(self) -> None:
        ledger = self._broker.outbox.ledger
        ledger.next_id = self._highest + 1
        messages = 0
        while self._backlogs:  # one after the other, so that not all is held twice
            queue_id, backlog = self._backlogs.popitem()
            levels = backlog.by_level()
            for pages in levels.values():
                messages += pages.count
                ledger.recovered(pages)
            found = levels.values()
            counts = {each: count for each, count in backlog.counts.items() if any(pages.holds(each) for pages in found)}
            if backlog.held_values is not None:
                backlog.held_values.keep(lambda message_id: any(pages.holds(message_id) for pages in found))  # noqa: B023 - called at once
            self._queues[queue_id].restore(levels, counts, backlog.mark, expires=backlog.expires)
        if self._segment is not None:
            ledger.roll()
        log.info("recovered %d queues with %d messages", len(self._queues), messages)

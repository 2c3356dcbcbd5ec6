"""Gives back the space of what is consumed while something old still lives: the live messages of the oldest segment are copied to the
end of the log, a slice of ids at a time, and then the segment goes.

    begin        which ranges of messages keep the oldest segment, and who holds any of them
    look         which messages of the next slice are alive, and where they lie
    read         a reader's thread fetches that stretch of the log                      (nothing is decided there)
    copy         what is *still* alive of it is written down again: in the same turn, so that a settle comes after its copy
    written      queues that have only a place to remember learn the new one
    finish       all copies are durable: the messages have a new home, and the ledger lets the segment go

A message may be ready now and leased a moment later. So a slice is looked at in one go, and what is leased of the slices to come is
noted from the beginning of the pass on.
"""

from __future__ import annotations

import logging
from itertools import chain, groupby
from typing import TYPE_CHECKING, NamedTuple

from broker.core.ledger import Range
from broker.core.message import ID
from broker.core.outbox import Target
from storage.records import ENQUEUES, Enqueue, decode_enqueue, split_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from broker.core.broker import Broker
    from broker.core.ledger import Segment
    from broker.core.message import Message
    from broker.core.outbox import Outbox
    from broker.core.pages import Pages
    from broker.core.queue import Queue
    from storage.api import Log, Receipt

log = logging.getLogger("compaction")

STEP_BYTES = 131_072
"""How much of the log a step reads, at least: a commit is read whole."""
STEP_OVERHEAD_BYTES = 256
"""What a step writes beside the copies: a block's header, route sets, marks. Were it dead from the beginning, small passes would follow
each other for ever."""
SLICE_IDS = 2048
SLICES_A_TURN = 16
"""Slices in which nothing lives are passed over, so many in a turn."""

Owners = tuple["Queue", ...]


class _Copy(NamedTuple):
    """`length` messages from `first_id` on were copied, for these queues, in the record with that index of the batch."""

    first_id: int
    length: int
    owners: Owners
    record: int


class Copies:
    """What one step has copied, until it is durable. `size` is in bytes of records."""

    def __init__(self, compaction: Compaction) -> None:
        self._compaction = compaction
        self.size = 0
        self.done: list[_Copy] = []

    def written(self, places: Sequence[int], receipt: Receipt, home: Segment) -> None:
        """The batch is durable, its records at these places."""
        for copy in self.done:
            for queue in copy.owners:
                queue.relocate(copy.first_id, copy.length, places[copy.record])
        self._compaction.step_done(self, receipt, home)


class Compaction:
    """One pass: everything that keeps the oldest segment of the log."""

    def __init__(self, broker: Broker, ranges: Sequence[tuple[Range, int]]) -> None:
        self._outbox: Outbox = broker.outbox
        self._ranges = [each for each, _ in ranges]
        self._intervals = [(each.first_id, end) for each, end in ranges]
        self._queues = [
            queue
            for vhost in broker.vhosts.values()
            for queue in vhost.queues.values()
            if queue.logged and any(True for _ in queue.ready.ids_in(self._intervals))
        ]
        self._cursor = 0
        """Below this id everything was looked at."""
        self._leased: dict[int, dict[Queue, None]] = {}
        """Of the slices to come, what is or was with a holder."""
        for holder, message in broker.leases():
            if holder.queue.logged:
                self.leased(holder.queue, (message,))
        self._slices = list(self._cut(self._intervals))
        self._kept = 0
        """How many of the (message, queue) pairs below the cursor are alive."""
        self._owners: dict[int, Owners] = {}
        """Who still has which message of this slice: what remains to be copied."""
        self._missed = 0
        self._spans: list[tuple[int, int]] = []
        """What is still to be read for this slice, the first last."""
        self._targets: dict[Owners, Target] = {}
        self._home: Segment | None = None
        self._copied = Range(0, self._ranges[0].home)
        self.is_waiting = False
        """A step is on its way to the disk."""

    @classmethod
    def begin(cls, broker: Broker) -> Compaction | None:
        """A pass over the oldest segment, if it is worth it. To be asked for when nothing waits in the outbox."""
        ranges = broker.outbox.ledger.oldest()
        return cls(broker, ranges) if ranges else None

    @staticmethod
    def _cut(intervals: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """The slices, the first last."""
        for low, high in reversed(list(intervals)):
            for start in reversed(range(low, high, SLICE_IDS)):
                yield start, min(start + SLICE_IDS, high)

    def look(self) -> None:
        """Go on to the next slice in which something lives. To be asked for when nothing waits in the outbox."""
        for _ in range(SLICES_A_TURN):
            if (self._spans and self._owners) or not self._slices:
                return
            self._missed += len(self._owners)
            self._look(self._slices.pop())

    def _look(self, ids: tuple[int, int]) -> None:
        found: dict[int, dict[Queue, None]] = {}
        for message_id in range(*ids) if self._leased else ():
            if message_id in self._leased:
                found[message_id] = self._leased.pop(message_id)
        for queue in self._queues:
            if not queue.deleted:
                for message_id in queue.ready.ids_in((ids,)):
                    found.setdefault(message_id, {})[queue] = None
        self._cursor = ids[1]
        self._kept += sum(map(len, found.values()))
        known: dict[Owners, Owners] = {}
        self._owners = {}
        for message_id, queues in found.items():
            owners = tuple(queue for queue in queues if not queue.deleted)
            if owners:
                self._owners[message_id] = known.setdefault(owners, owners)
        wanted = sorted(self._owners)
        spans = sorted(chain.from_iterable(each.spans(wanted) for each in self._ranges), reverse=True) if wanted else []
        self._spans = list(dict.fromkeys(spans))

    # --- steps ------------------------------------------------------------------------------------------------------

    @property
    def next_span(self) -> tuple[int, int] | None:
        """The stretch of the log to read next; None when there is none in this slice."""
        return self._spans[-1] if self._spans and self._owners else None

    @property
    def is_done(self) -> bool:
        """Everything was looked at, and what is alive was copied."""
        return not self._slices and self.next_span is None and not self.is_waiting

    def read(self, store_log: Log, span: tuple[int, int]) -> tuple[int, list[Enqueue]]:
        """On a reader's thread: the enqueues of interest from the beginning of `span`, and the position where to go on."""
        start, end = span
        owners = self._owners
        found: list[Enqueue] = []
        position = start
        for commit in store_log.scan(start, end):
            position = commit.end
            for _, data in commit.pieces:
                for record in split_records(data)[0]:
                    if record[0] in ENQUEUES:
                        enqueue = decode_enqueue(record)
                        if any(map(owners.__contains__, range(enqueue.first_id, enqueue.first_id + len(enqueue.bodies)))):
                            found.append(enqueue)
            if position - start >= STEP_BYTES:
                return position, found
        return end, found

    def copy(self, position: int, found: Iterable[Enqueue]) -> None:
        """Write down again what is still alive of what was read, up to `position`."""
        _, end = self._spans.pop()
        if position < end:
            self._spans.append((position, end))
        copies = Copies(self)
        counted: dict[Queue, list[tuple[int, int]]] = {}
        for record in found:
            for part, owners in self._alive(record):
                target = self._targets.get(owners)
                if target is None:
                    target = self._targets[owners] = Target(tuple(queue.id for queue in owners))
                first, count = part.first_id, len(part.bodies)
                index = self._outbox.copy(copies, part, target)
                copies.done.append(_Copy(first, count, owners, index))
                self._copied.pairs += count * len(owners)
                for queue in owners:
                    self._restate(queue, first, count, counted)
        for queue, counts in counted.items():
            self._outbox.state_counts(queue, counts)
        self.is_waiting = bool(copies.done)

    def _alive(self, record: Enqueue) -> Iterator[tuple[Enqueue, Owners]]:
        """The parts of a run that the same queues still have. They count as copied."""
        ids = range(record.first_id, record.first_id + len(record.bodies))
        for owners, group in groupby(ids, lambda message_id: self._owners.pop(message_id, ())):
            if owners := tuple(queue for queue in owners if not queue.deleted):
                members = list(group)
                yield record.part(members[0] - record.first_id, len(members)), owners

    def _restate(self, queue: Queue, first: int, count: int, counted: dict[Queue, list[tuple[int, int]]]) -> None:
        """What else the log knew of these messages, in segments that may go before they do."""
        if queue.mark >= first:
            self._outbox.marked[queue] = None
        if queue.delivery_counts:
            counts = [(each, queue.delivery_counts[each]) for each in range(first, first + count) if each in queue.delivery_counts]
            if counts:
                counted.setdefault(queue, []).extend(counts)

    def step_done(self, copies: Copies, receipt: Receipt, home: Segment) -> None:
        """The copies of a step are durable."""
        self.is_waiting = False
        self._home = self._home or home
        self._copied.size += copies.size + STEP_OVERHEAD_BYTES
        for first_id, length, _, _ in copies.done:
            self._copied.add_span(first_id, first_id + length - 1, receipt.start, receipt.end)

    def finish(self) -> None:
        """Everything was looked at, and what was copied is durable."""
        ledger = self._outbox.ledger
        self._missed += len(self._owners)
        alive = sum(each.live for each in self._ranges)
        if self._missed:
            log.error("%d live messages in the oldest segment of the log can't be read; it stays", self._missed)
            ledger.keep_oldest()
        elif alive != self._kept:
            # Giving back what somebody may still have would lose messages; keeping it costs no more than space.
            log.error("the oldest segment of the log should hold %d live messages, the queues have %d; it stays", alive, self._kept)
            ledger.keep_oldest()
        else:
            home = self._home or ledger.range.home
            for each in self._ranges:
                each.moved(home, self._copied)

    # --- meanwhile --------------------------------------------------------------------------------------------------

    def leased(self, queue: Queue, messages: Iterable[Message]) -> None:
        """The queue gave these to somebody."""
        for message in messages:
            message_id = message[ID]
            if message_id >= self._cursor and any(low <= message_id < high for low, high in self._intervals):
                self._leased.setdefault(message_id, {})[queue] = None

    def settled(self, queue: Queue, ids: Iterable[int]) -> None:
        """The queue is done with these messages: they need no copy."""
        for message_id in ids:
            if not any(low <= message_id < high for low, high in self._intervals):
                continue
            if message_id < self._cursor:
                self._kept -= 1
                if message_id in self._owners:
                    self._without(queue, message_id)
            elif message_id in self._leased:
                queues = self._leased[message_id]
                queues.pop(queue, None)
                if not queues:
                    del self._leased[message_id]

    def settled_pages(self, queue: Queue, pages: Pages) -> None:
        """The same for messages that aren't in memory."""
        for low, high in self._intervals:
            self.settled(queue, pages.ids_between(low, min(high, self._cursor)))

    def _without(self, queue: Queue, message_id: int) -> None:
        left = tuple(owner for owner in self._owners[message_id] if owner is not queue)
        if left:
            self._owners[message_id] = left
        else:
            del self._owners[message_id]

"""The spill: a second log for the messages of queues that aren't in the first. No restart reads it, and it is never synced.

A message there is in the pages of its queues and nowhere else: it is dead as soon as it was read back. When nothing in the oldest
segments is alive, they go (ledger.py). So that a few old messages don't hold all behind them, once more of the spill is dead than alive
what is alive in the oldest segment is written to the end again, step by step:

    next_step    which records hold some of the next slice of ids, and whose
    read         a reader's thread fetches them
    copy         what was alive then is written again
    written      the queues that still have it learn the new place
    finish       the ranges of messages have a new home

What is read back or dropped meanwhile was copied for nobody, which does no harm: so, unlike in compaction.py, nobody has to be told.
"""

from __future__ import annotations

import logging
from functools import partial
from itertools import groupby
from operator import attrgetter, is_
from typing import TYPE_CHECKING, NamedTuple

from broker.core.ledger import Ledger, Range
from broker.core.message import BODY, HEADER, ID, ROUTING
from broker.core.pages import Run
from broker.core.paging import PageOut
from storage import records
from storage.api import Corrupt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broker.core.broker import Broker
    from broker.core.ledger import Segment
    from broker.core.message import Message
    from broker.core.queue import Queue
    from storage.api import Log, Receipt

log = logging.getLogger("queue")

STEP_BYTES = 131_072
"""How much a step copies, in bodies; one record at least."""
STEP_OVERHEAD_BYTES = 256
"""What a step writes beside the copies. Were it dead from the beginning, small passes would follow each other for ever."""
SLICE_IDS = 1024
PARTS_MAX = 2048
"""What a slice may hold, or it is made shorter: of a fan-out each queue has a part."""
SLICES_A_TURN = 16
"""Slices of which nothing is there are passed over, so many in a turn."""

_first_id_of = attrgetter("run.first_id")
_place_of = attrgetter("run.place")


class SpillBatch(NamedTuple):
    """What a turn spills, records of `size` bytes together, into the segment `home`; `begins` if it is the first there."""

    ledger: Ledger
    records: list[bytes]
    size: int
    page_outs: list[PageOut]
    copies: SpillCopies | None
    home: Segment
    begins: bool

    def written(self, receipt: Receipt) -> None:
        """It is in the spill."""
        if self.begins:
            self.home.position = receipt.start
        self.ledger.end = receipt.end
        places = records.places(self.records, receipt.blocks)
        for page_out in self.page_outs:
            page_out.written(places)
        if self.copies is not None:
            self.copies.written(places, self.home)


class Spill:
    """What goes to the spill, and what is still alive there."""

    __slots__ = ("_copies", "_page_outs", "_records", "compaction", "ledger")

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.compaction: SpillCompaction | None = None
        """The pass that is under way."""
        self._records: list[bytes] = []
        self._page_outs: list[PageOut] = []
        self._copies: SpillCopies | None = None

    def add(self, queues: Sequence[Queue], messages: Sequence[Message], alike: bool, now_ms: int) -> None:
        """Messages with rising ids came into these queues just now; `alike` but for their bodies or not."""
        first = len(self._records)
        if alike:
            number, routing, header, _ = messages[0]
            bodies = [message[BODY] for message in messages]
            self._records.append(records.encode_enqueue(number, 0, now_ms, routing, header, bodies))
        else:
            number = messages[0][ID]
            routings = [message[ROUTING] for message in messages]
            headers, bodies = [message[HEADER] for message in messages], [message[BODY] for message in messages]
            if all(map(partial(is_, routings[0]), routings)):
                del routings[1:]
            self._records.append(records.encode_enqueue_each(number, 0, now_ms, routings, headers, bodies))
        self._page_outs += [PageOut(queue, messages, first) for queue in queues]
        self.ledger.enqueued(len(messages) * len(queues))
        self.ledger.next_id = messages[-1][ID] + 1

    def copy(self, copies: SpillCopies, record: records.Enqueue) -> int:
        """Write messages of the oldest segment again; returns the index of the record."""
        self._copies = copies
        encoded = record.encoded(0, 0)
        copies.size += len(encoded)
        self._records.append(encoded)
        return len(self._records) - 1

    @property
    def has_records(self) -> bool:
        """Something was added since the last take."""
        return bool(self._records)

    def take(self) -> SpillBatch | None:
        """What was added since the last take."""
        if not self._records:
            return None
        ledger, copies = self.ledger, self._copies
        size = sum(map(len, self._records))
        batch = SpillBatch(ledger, self._records, size, self._page_outs, copies, ledger.range.home, ledger.rolled is not None)
        ledger.rolled = None
        ledger.shipped(size, size - (copies.size if copies is not None else 0))
        self._records, self._page_outs, self._copies = [], [], None
        return batch


class _Part(NamedTuple):
    """A run that this queue has, of those that keep the oldest segment."""

    run: Run
    queue: Queue


class SpillStep:
    """The parts of some records that are to be written again."""

    def __init__(self, parts: Iterable[_Part]) -> None:
        in_order = sorted(parts, key=lambda part: (part.run.place, part.run.first_id))
        self.parts = {place: list(some) for place, some in groupby(in_order, _place_of)}

    def read(self, spill: Log) -> list[bytes | None]:
        """The records, on a reader's thread; None for what is damaged. Raises Closed if nothing of that is alive any more."""
        places = list(self.parts)
        try:
            return list(spill.read(places))
        except Corrupt:
            return [self._read_one(spill, place) for place in places]

    @staticmethod
    def _read_one(spill: Log, place: int) -> bytes | None:
        try:
            return spill.read([place])[0]
        except Corrupt as error:
            log.error("the spill can't be read at position %d: %s", place, error)
            return None


class _Copy(NamedTuple):
    """`length` messages from `first_id` on were copied, for these queues, in the record with that index of the batch."""

    first_id: int
    length: int
    queues: set[Queue]
    record: int


class SpillCopies:
    """What one step has copied, until it is written. `size` is in bytes of records."""

    def __init__(self, compaction: SpillCompaction) -> None:
        self._compaction = compaction
        self.size = 0
        self.done: list[_Copy] = []

    def written(self, places: Sequence[int], home: Segment) -> None:
        """The batch is in the spill, its records at these places."""
        for copy in self.done:
            for queue in copy.queues:
                queue.relocate(copy.first_id, copy.length, places[copy.record])
        self._compaction.step_done(self, home)


class SpillCompaction:
    """One pass: everything that keeps the oldest segment of the spill."""

    def __init__(self, broker: Broker, ranges: Sequence[tuple[Range, int]]) -> None:
        self._spill: Spill = broker.outbox.spill
        self._ranges = [each for each, _ in ranges]
        self._intervals = [(each.first_id, end) for each, end in ranges]
        self._left = self._intervals[::-1]
        """The ids that were not looked at, the first last."""
        self._slice = SLICE_IDS
        self._queues = [
            queue for vhost in broker.vhosts.values() for queue in vhost.queues.values() if not queue.logged and self._count(queue)
        ]
        self._home: Segment | None = None
        self._copied = Range(0, self._ranges[0].home)
        self._is_damaged = False
        self.is_waiting = False
        """A step is on its way."""

    @classmethod
    def begin(cls, broker: Broker) -> SpillCompaction | None:
        """A pass over the oldest segment, if it is worth it."""
        ranges = broker.outbox.spill.ledger.oldest()
        return cls(broker, ranges) if ranges else None

    def _count(self, queue: Queue) -> int:
        return sum(queue.ready.paged_in(low, high) for low, high in self._intervals)

    # --- steps ------------------------------------------------------------------------------------------------------

    def next_step(self) -> SpillStep | None:
        """What to read next; None if the next slices have nothing."""
        for _ in range(SLICES_A_TURN):
            if not self._left:
                break
            low, end = self._left.pop()
            parts, stop = self._look(low, end)
            if stop < end:
                self._left.append((stop, end))
            if parts:
                return SpillStep(parts)
        return None

    def _look(self, low: int, end: int) -> tuple[list[_Part], int]:
        """What there is of the ids from `low` on, and the id up to which it is enough for a step: `end` at the most."""
        while (parts := self._parts(low, high := min(low + self._slice, end))) is None:
            self._slice = max(self._slice // 4, 1)
        if len(parts) < PARTS_MAX // 4:
            self._slice = min(self._slice * 2, SLICE_IDS)
        parts.sort(key=_first_id_of)
        size, place = 0, -1
        for run, _ in parts:
            if size >= STEP_BYTES and run.first_id > low:
                cut = [part._replace(run=part.run.between(low, run.first_id)) for part in parts if part.run.first_id < run.first_id]
                return cut, run.first_id
            if run.place != place:
                place = run.place
                size += run.length * (run.body_size + 1)
        return parts, high

    def _parts(self, low: int, high: int) -> list[_Part] | None:
        """What there is of the ids from `low` on and below `high`; None if that is too much to look at."""
        parts: list[_Part] = []
        for queue in self._queues:
            parts += [_Part(run, queue) for run in queue.ready.runs_in(low, high)]
            if len(parts) > PARTS_MAX and high - low > 1:
                return None
        return parts

    @property
    def is_done(self) -> bool:
        """Everything was looked at, and what is alive was copied."""
        return not self._left and not self.is_waiting

    def copy(self, step: SpillStep, found: Sequence[bytes | None]) -> None:
        """Write again what was read for the step."""
        copies = SpillCopies(self)
        for parts, data in zip(step.parts.values(), found, strict=True):
            record = records.decode_enqueue(data) if data is not None else records.NO_ENQUEUE
            # Queues read from the head on, so what is left of a record is its end, for one of them more than for the other.
            first = min(run.first_id for run, _ in parts)
            length = max(run.first_id + run.length for run, _ in parts) - first
            begin = first - record.first_id
            if 0 <= begin <= len(record.bodies) - length:
                part = record.part(begin, length)
                queues = {queue for _, queue in parts}
                copies.done.append(_Copy(first, length, queues, self._spill.copy(copies, part)))
                self._copied.pairs += sum(run.length for run, _ in parts)
            else:
                self._is_damaged = True
        self.is_waiting = bool(copies.done)

    def step_done(self, copies: SpillCopies, home: Segment) -> None:
        """The copies of a step are written."""
        self.is_waiting = False
        self._home = self._home or home
        self._copied.size += copies.size + STEP_OVERHEAD_BYTES

    def finish(self) -> None:
        """Everything was looked at, and what was copied is written."""
        ledger = self._spill.ledger
        alive, known = sum(each.live for each in self._ranges), sum(map(self._count, self._queues))
        if not alive:
            return
        if self._is_damaged or alive != known:
            # Giving back what somebody may still have would lose messages; keeping it costs no more than space.
            text = "the oldest segment of the spill stays: it should hold %d live messages, the queues have %d%s"
            log.error(text, alive, known, ", and something in it can't be read" if self._is_damaged else "")
            ledger.keep_oldest()
            return
        for each in self._ranges:
            each.moved(self._home or ledger.range.home, self._copied)

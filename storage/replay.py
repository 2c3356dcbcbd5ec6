"""What the records of a log add up to, in little memory: which messages came to which queue, and which of them are left.

A message of a queue is a byte, and the ids that follow one another in a queue share sixteen: ten million messages in two
queues by turns take 170 MB, and in one queue 10 MB. `broker/core/recovery.py` does the same with the messages themselves.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Final

from storage.records import COPY, TARGET_IS_SET, TRANSIENT, Delivered, Enqueue, Record, Requeue, RouteSet, Settle, SettleRange

LIVE: Final = 0
SETTLED: Final = 1
PASSING: Final = 2  # transient: a start leaves it out
LOST: Final = 4  # read from damaged bytes
_SETTLE: Final = bytes(state | SETTLED for state in range(256))


class Run:
    """Ids that rise, each with a state (the bits above)."""

    __slots__ = ("_bases", "_starts", "end", "states")

    def __init__(self) -> None:
        self.end = 0
        """Behind the highest id."""
        self.states = bytearray()
        self._starts = array("Q")
        self._bases = array("Q")  # where in `states` the ids from `_starts` on are

    def add(self, first: int, count: int, state: int) -> None:
        """The ids from `first` on, which are `end` or above."""
        if first != self.end or not self.states:
            self._starts.append(first)
            self._bases.append(len(self.states))
        self.states += bytes((state,)) * count
        self.end = first + count

    def index(self, message_id: int) -> int:
        """Where in `states` the id is, -1 if it isn't there."""
        at = bisect_right(self._starts, message_id) - 1
        if at < 0:
            return -1
        index = self._bases[at] + message_id - self._starts[at]
        stop = self._bases[at + 1] if at + 1 < len(self._bases) else len(self.states)
        return index if index < stop else -1

    def settle_range(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Settle what is there of these ids, both included; gives the (first, last) of those that aren't there."""
        starts, bases = self._starts, self._bases
        at = max(bisect_right(starts, first) - 1, 0)
        while first <= last:
            if at >= len(starts) or last < starts[at]:
                yield first, last
                return
            stop = bases[at + 1] if at + 1 < len(bases) else len(self.states)
            begin, end = starts[at], starts[at] + stop - bases[at]
            if first < begin:
                yield first, begin - 1
                first = begin
            if first < end:
                index, upto = bases[at] + first - begin, bases[at] + min(last + 1, end) - begin
                self.states[index:upto] = self.states[index:upto].translate(_SETTLE)
                first = end
            at += 1

    def ids(self, state: int) -> Iterator[int]:
        """The ids that are in exactly this state, rising."""
        states = self.states
        for at, base in enumerate(self._bases):
            stop = self._bases[at + 1] if at + 1 < len(self._bases) else len(states)
            found = states.find(state, base, stop)
            while found >= 0:
                yield self._starts[at] + found - base
                found = states.find(state, found + 1, stop)


class QueueIds:
    """The ids that came to one queue. Those of copies don't rise with the others; each compaction makes a run of them."""

    __slots__ = ("runs",)

    def __init__(self) -> None:
        self.runs = [Run()]

    def add(self, first: int, count: int, state: int) -> None:
        """Messages that came new, with ids above all that did before (else they stand where copies do)."""
        if first >= self.runs[0].end:
            self.runs[0].add(first, count, state)
        else:
            self.copy(first, count, state)

    def copy(self, first: int, count: int, state: int) -> list[int]:
        """Messages that are stated again; returns the ids of those that were settled already, and are back."""
        back: list[int] = []
        for message_id in range(first, first + count):
            run, index = self.find(message_id)
            if run is not None:
                if run.states[index] & SETTLED:
                    back.append(message_id)
                run.states[index] = state
                continue
            if len(self.runs) == 1 or message_id < self.runs[-1].end:
                self.runs.append(Run())
            self.runs[-1].add(message_id, 1, state)
        return back

    def find(self, message_id: int) -> tuple[Run | None, int]:
        """The run that has the id, and where in its states."""
        for run in self.runs:
            index = run.index(message_id)
            if index >= 0:
                return run, index
        return None, -1

    def settle(self, ids: Iterable[int]) -> list[int]:
        """The ids leave the queue; returns those that never came."""
        run = self.runs[0]
        states, index_of, absent = run.states, run.index, []
        for message_id in ids:
            index = index_of(message_id)
            if index >= 0:
                states[index] |= SETTLED
            else:
                absent.append(message_id)
        return [message_id for message_id in absent if not self._settle_copy(message_id)] if absent else absent

    def settle_range(self, first: int, last: int) -> list[tuple[int, int]]:
        """The ids from first to last leave the queue; returns the ranges, both ends included, of those that never came."""
        absent = list(self.runs[0].settle_range(first, last))
        for run in self.runs[1:]:
            if absent:
                absent = [rest for low, high in absent for rest in run.settle_range(low, high)]
        return absent

    def count(self, state: int) -> int:
        """How many are in exactly this state."""
        return sum(run.states.count(state) for run in self.runs)

    def ids(self, state: int) -> array[int]:
        """The ids that are in exactly this state, rising, as an array of u64."""
        found = array("Q")
        for run in self.runs:
            found.extend(run.ids(state))
        return found if len(self.runs) == 1 else array("Q", sorted(found))

    def _settle_copy(self, message_id: int) -> bool:
        for run in self.runs[1:]:
            index = run.index(message_id)
            if index >= 0:
                run.states[index] |= SETTLED
                return True
        return False


class Losses:
    """Between which ids something of the log is gone, so that what is missing there is explained."""

    def __init__(self) -> None:
        self._lows = array("Q")  # a loss is behind `_lows[i]` and before `_highs[i]`
        self._highs = array("Q")

    def begin(self, highest: int) -> None:
        """Bytes are gone, behind those that named ids up to `highest`."""
        if not self._highs or self._highs[-1] != _OPEN:
            self._lows.append(highest)
            self._highs.append(_OPEN)

    def end(self, first: int) -> None:
        """What follows begins with the id `first`."""
        if self._highs and self._highs[-1] == _OPEN:
            self._highs[-1] = first

    def explain(self, message_id: int) -> bool:
        """Whether the message may have been in what is gone."""
        at = bisect_left(self._lows, message_id) - 1
        return at >= 0 and message_id < self._highs[at]

    def ids(self) -> Iterator[tuple[int, int]]:
        """The (first, last) ids of what may have been lost; last is 0 where nothing tells."""
        for low, high in zip(self._lows, self._highs, strict=True):
            if high == _OPEN or low + 1 < high:
                yield low + 1, 0 if high == _OPEN else high - 1


_OPEN: Final = (1 << 64) - 1


class Replay:
    """Applies records in order. `wanted` are the ids of the queues whose messages are followed (None: any), and
    `problem` hears, as a line, of what can't be."""

    def __init__(self, wanted: Container[int] | None, next_queue: int | None, start: int, problem: Callable[[str], None]) -> None:
        """`next_queue` is the first queue id that was never given out, None if nobody knows; `start` the log's first position."""
        self.queues: dict[int, QueueIds] = {}
        self.losses = Losses()
        self.messages = 0
        """Messages in enqueue records that aren't copies."""
        self.highest_queue = 0
        """The highest queue id that a record names."""
        self.unrouted = 0
        """Messages whose route set is in what is lost."""
        self.in_loss = False
        """What is lost may go on between the records that come: they are of one commit."""
        self._wanted = wanted
        self._next_queue = next_queue
        self._problem = problem
        self._sets: dict[int, tuple[int, ...]] = {}
        self._nowhere = QueueIds()  # messages whose route set is unknown
        self._segment_is_hurt = False
        self._highest = 0
        self._floor = 0 if start == 0 else None  # below it messages went with segments that are gone for good
        self._named: set[int] = set()

    def begin_segment(self) -> None:
        """Route sets are the segment's own."""
        self._sets.clear()
        self._segment_is_hurt = False

    def lose(self) -> None:
        """Here some of the log is gone."""
        self.losses.begin(self._highest)
        self._segment_is_hurt = True

    def apply(self, record: Record) -> None:
        """The next record."""
        match record:
            case Enqueue():
                self._enqueue(record)
            case Settle():
                if (ids := self._ids_of(record.queue_id, "settle")) is not None:
                    self._absent(record.queue_id, ((message_id, message_id) for message_id in ids.settle(record.message_ids)))
            case SettleRange():
                if (ids := self._ids_of(record.queue_id, "settle")) is not None:
                    self._absent(record.queue_id, ids.settle_range(record.first_id, record.last_id))
            case Requeue():
                self._ids_of(record.queue_id, "requeue")
            case Delivered():
                self._ids_of(record.queue_id, "delivered")
            case RouteSet():
                self._sets[record.set_id] = record.queue_ids

    def salvage(self, record: Record) -> None:
        """A record out of damaged bytes: a start doesn't have it; count what it would have brought, if it can be believed."""
        if isinstance(record, RouteSet):
            self._sets.setdefault(-1 - record.set_id, record.queue_ids)
        if not isinstance(record, Enqueue) or record.first_id <= self._highest or record.flags & (COPY | TRANSIENT):
            return
        for queue_id in self.targets(record) or self._sets.get(-1 - record.target, ()):
            if self._wanted is None or queue_id in self._wanted:
                self.queues.setdefault(queue_id, QueueIds()).add(record.first_id, len(record.bodies), LOST)

    def targets(self, record: Enqueue) -> tuple[int, ...]:
        """The ids of the queues that the messages go to; none where they aren't known."""
        return self._sets.get(record.target, ()) if record.flags & TARGET_IS_SET else (record.target,)

    def _enqueue(self, record: Enqueue) -> None:
        first, count = record.first_id, len(record.bodies)
        copy = bool(record.flags & COPY)
        state = PASSING if record.flags & TRANSIENT else LIVE
        if not copy:
            self.messages += count
            if self._floor is None:
                self._floor = first
            if not self.in_loss:
                self.losses.end(first)
            if first <= self._highest:
                self._problem(f"message {first} comes behind message {self._highest}: ids must rise, and come once")
            self._highest = max(self._highest, first + count - 1)
        targets = self.targets(record)
        if not targets:
            self.unrouted += count
            self._nowhere.copy(first, count, LIVE)
            if not self._segment_is_hurt:
                self._problem(f"message {first} goes to route set {record.target}, which its segment doesn't define")
        for queue_id in targets:
            ids = self._ids_of(queue_id, "enqueue")
            if ids is None:
                continue
            if not copy:
                ids.add(first, count, state)
                continue
            for message_id in ids.copy(first, count, state):
                self._problem(f"message {message_id} of queue {queue_id} was settled, and is copied afterwards")

    def _ids_of(self, queue_id: int, kind: str) -> QueueIds | None:
        """The ids of a queue that is followed; checks that there was such a queue."""
        ids = self.queues.get(queue_id)
        if ids is not None:
            return ids
        self.highest_queue = max(self.highest_queue, queue_id)
        if self._next_queue is not None and queue_id >= self._next_queue and queue_id not in self._named:
            self._named.add(queue_id)
            self._problem(f"a record ({kind}) names queue {queue_id}, an id that was never given out")
        if self._wanted is not None and queue_id not in self._wanted:
            return None
        return self.queues.setdefault(queue_id, QueueIds())

    def _absent(self, queue_id: int, ranges: Iterable[tuple[int, int]]) -> None:
        floor = self._floor
        for low, high in ranges:
            if floor is None or high < floor:
                continue
            odd = next((number for number in range(max(low, floor), high + 1) if not self._is_explained(number)), None)
            if odd is not None:
                self._problem(f"message {odd} of queue {queue_id} is settled, and was never put into it")

    def _is_explained(self, message_id: int) -> bool:
        return self.losses.explain(message_id) or self._nowhere.find(message_id)[0] is not None

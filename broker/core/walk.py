"""From message to message through what is ready in a queue, in the order of delivery, and nothing is changed by it.

    walk = Walk(queue)
    yield from walk.skip(1_000_000)                          counted, not read
    while (stretch := (yield from walk.onward())) is not None:
        ...                                                  a few messages that stand in a row

The queue lives on between two stretches. What never was delivered stands in a row of rising ids (`fresh`, the pages, the `tail`), so the
walk keeps the next id and looks where it stands by then: whatever was read in or paged out meanwhile, each message is met once at the
most, and one is missed only if somebody took it. What came back stands beside the row: the walk takes down what there was when it came
to that level, and passes by what comes back later (or is found to have been delivered before, when it is read in for a consumer). What is
published later isn't met either.

Bodies on the disk are fetched by the reader's thread, and go nowhere else: a `Glance` leaves pages, counts and read-ahead as they are.
"""

from __future__ import annotations

from bisect import bisect_left
from enum import Enum
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from broker.core.message import ID, id_of
from broker.core.paging import Reading

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterator, Sequence

    from broker.core.message import Message
    from broker.core.pages import Run
    from broker.core.queue import Queue
    from broker.core.ready import Ready
    from broker.core.steps import Steps
    from storage.api import Corrupt

STRETCH: Final = 256
"""Messages in a stretch, at the most."""
READ_BYTES: Final = 262_144
"""What one read fetches, at the most, in bodies; one message at least."""
SORT: Final = 2048
"""So many items beside the row are sorted at a time."""
ASIDES: Final = 4096
"""So many items beside the row are looked at before somebody else has a turn."""
NEAR: Final = 4
"""Wanted messages in memory are looked for in so many times as many."""
TRIES: Final = 5
NO_ID: Final = 1 << 62


class Unreadable(Exception):
    """What is on the disk can't be read now; the broker's log says why."""

    def __init__(self) -> None:
        super().__init__("the messages on the disk can't be read now, see the broker's log")


class Where(Enum):
    """Where in a level a stretch stood."""

    MEMORY = "in memory"
    DISK = "on the disk only"
    BESIDE = "came back, or is held"


class Stretch(NamedTuple):
    """Messages that are delivered one after the other; `damaged` of them can't be read and are left out."""

    level: Ready
    where: Where
    messages: list[Message]
    damaged: int = 0
    due_ms: Sequence[int] = ()
    """When each of them is to go on, if an exchange delays them."""
    times_ms: Sequence[int] = ()
    """When each of them was published, of those that were read from the disk."""


class Glance(Reading):
    """Messages that are read and stay where they are. `messages` is None if nothing came of it."""

    __slots__ = ("_go_on", "lost", "messages")

    def __init__(self, queue: Queue, runs: list[Run]) -> None:
        super().__init__(queue, runs)
        self.messages: Sequence[Message] | None = None
        self.lost = 0
        """How many of them are damaged."""
        self._go_on: Callable[[], None] | None = None

    def begin(self, go_on: Callable[[], None]) -> None:
        """A Wait (core/steps.py)."""
        self._go_on = go_on
        self.queue.outbox.loads.append(self)

    def damaged(self, run: Run, error: Corrupt) -> None:
        """See Reading. The log is told when somebody is to have it."""
        self.lost += run.length

    def done(self, messages: Sequence[Message] | None) -> None:
        """See Reading."""
        self.messages = messages
        assert self._go_on is not None
        self._go_on()


class Walk:
    """See the module. With `wanted`, ids that rise, it meets only those."""

    def __init__(self, queue: Queue, wanted: Sequence[int] | None = None) -> None:
        self.queue = queue
        self._wanted = wanted
        self._end = queue.outbox.ledger.next_id
        self._levels: Iterator[Ready] = iter(tuple(queue.ready.levels))
        self._course: _Course | None = None

    def _begin(self) -> Steps[_Course | None]:
        """The level that it is at; None behind the last one."""
        while self._course is None or self._course.is_done:
            level = next(self._levels, None)
            if level is None:
                return None
            self._course = _Course(level, self._end, self._wanted)
            yield from self._course.begin()
        return self._course

    def skip(self, count: int) -> Steps[None]:
        """Pass by so many messages."""
        while count and (course := (yield from self._begin())) is not None:
            count = yield from course.skip(count)

    def onward(self, most: int = STRETCH) -> Steps[Stretch | None]:
        """The next messages, so many at the most; None if there are no more. Raises Unreadable."""
        idle = 0
        while (course := (yield from self._begin())) is not None:
            found = course.next(most)
            if isinstance(found, list) and found:
                found = yield from self._read(course, found, most)
            if isinstance(found, Stretch):
                return found
            idle += 1
            if idle % STRETCH == 0:
                yield None
        return None

    def _read(self, course: _Course, runs: list[Run], most: int) -> Steps[Stretch | list[Run]]:
        """The messages of these runs; of what isn't there any more, whatever comes next."""
        for _ in range(TRIES):
            glance = Glance(self.queue, runs)
            yield glance.begin
            if glance.messages is not None:
                course.cursor = runs[-1].first_id + runs[-1].length
                return Stretch(course.level, Where.DISK, list(glance.messages), glance.lost, times_ms=glance.times_ms)
            # Copied elsewhere or gone meanwhile: see where it is now.
            found = course.next(most)
            if isinstance(found, Stretch) or not found:
                return found
            runs = found
        raise Unreadable

    def is_redelivered(self, stretch: Stretch, message: Message) -> bool:
        """What basic.deliver would say."""
        if stretch.where is Where.DISK:
            return message[ID] <= self.queue.recovered_mark or message[ID] in self.queue.delivery_counts
        return stretch.where is Where.BESIDE and stretch.level.came_back_redelivered


class _Course:
    """The way through one level. `cursor`: everything in the row with a lower id was met."""

    def __init__(self, level: Ready, end: int, wanted: Sequence[int] | None) -> None:
        self.level = level
        self.cursor = 0
        self.is_done = False
        self._end = end
        self._wanted = wanted
        self._is_wanted = None if wanted is None else frozenset(wanted)
        self._beside: Iterator[Any] = iter(())
        self._item: Any = None
        """The next one beside the row."""

    def begin(self) -> Steps[None]:
        """Bring what stands beside the row into order, a little at a time: it may be a million."""
        items = self.level.beside()
        parts: list[list[Any]] = []
        for start in range(0, len(items), SORT):
            parts.append(sorted(items[start : start + SORT]))
            if start + SORT < len(items):
                yield None
        self._beside = merge(*parts) if len(parts) > 1 else iter(parts[0] if parts else ())
        self._step_aside()

    def _step_aside(self) -> None:
        self._item = next(self._beside, None)

    @property
    def _stop(self) -> int:
        """The row goes first up to this id, exclusively."""
        return self._end if self._item is None else min(self._end, self.level.behind(self._item) + 1)

    # --- passing by -------------------------------------------------------------------------------------------------

    def skip(self, count: int) -> Steps[int]:
        """Pass by so many messages; returns how many are left to pass by behind this level."""
        asides = 0
        while True:
            stop = max(self._stop, self.cursor)
            before = _row_before(self.level, self.cursor)
            here = _row_before(self.level, stop) - before
            if here > count:
                self.cursor = _row_at(self.level, before + count)
                return 0
            count -= here
            self.cursor = stop
            if self._item is None:
                self.is_done = True
                return count
            if not count:
                return 0
            count -= self.level.message_of(self._item) is not None
            self._step_aside()
            asides += 1
            if asides % STRETCH == 0:
                yield None

    # --- stretches --------------------------------------------------------------------------------------------------

    def next(self, most: int) -> Stretch | list[Run]:
        """The next messages if they are in memory, or the runs that they lie in; an empty list: go on asking, until it is done."""
        first, stop = self._next_wanted(most)
        if first >= stop:
            self.cursor = max(self.cursor, self._stop)
            return self._aside(most)
        level = self.level
        found = self._part(level.fresh, first, stop, most)
        if not found and (runs := self._runs(first, stop, most)):
            return runs
        if not found and level.paged is not None:
            found = self._part(level.paged.tail, first, stop, most)
        self.cursor = found[-1][ID] + 1 if found else stop
        return Stretch(level, Where.MEMORY, found) if found else []

    def _part(self, messages: deque[Message], first: int, stop: int, most: int) -> list[Message]:
        """The next messages of those that are in memory; wanted ones that stand near each other go together."""
        if self._wanted is None or self._is_wanted is None:
            return _part(messages, first, stop, most)
        found = _part(messages, first, self._stop, NEAR * most)
        return [message for message in found if message[ID] in self._is_wanted][:most]

    def _next_wanted(self, most: int) -> tuple[int, int]:
        """The next id of the row to meet, and the one up to which, exclusively, to go on from there."""
        wanted = self._wanted
        if wanted is None:
            return self.cursor, self._stop
        at = bisect_left(wanted, self.cursor)
        if at == len(wanted):
            return self._stop, self._stop
        end = at + 1
        while end < len(wanted) and end - at < most and wanted[end] == wanted[end - 1] + 1:
            end += 1
        return wanted[at], min(wanted[end - 1] + 1, self._stop)

    def _runs(self, first: int, stop: int, most: int) -> list[Run]:
        """The runs on the disk that the next messages lie in, or parts of them."""
        runs: list[Run] = []
        size = 0
        for run in self.level.runs_in(first, stop):
            fitting = max((READ_BYTES - size) // (run.body_size + 1), 0 if runs else 1)
            length = min(run.length, most, fitting)
            if length:
                runs.append(run._replace(length=length))
                most -= length
                size += length * (run.body_size + 1)
            if length < run.length or not most:
                break
        return runs

    def _aside(self, most: int) -> Stretch | list[Run]:
        """What stands beside the row here."""
        messages: list[Message] = []
        due: list[int] = []
        level = self.level
        following = _row_first(level, self.cursor, self._end)
        for _ in range(ASIDES):
            if self._item is None or len(messages) == most or level.behind(self._item) >= following:
                break
            message = level.message_of(self._item)
            if message is not None and (self._is_wanted is None or message[ID] in self._is_wanted):
                messages.append(message)
                if (due_ms := level.due_ms(self._item)) is not None:
                    due.append(due_ms)
            self._step_aside()
        self.is_done = self._item is None and following >= self._end
        return Stretch(level, Where.BESIDE, messages, due_ms=due) if messages else []


def _rows(level: Ready) -> tuple[deque[Message], ...]:
    return (level.fresh,) if level.paged is None else (level.fresh, level.paged.tail)


def _row_before(level: Ready, message_id: int) -> int:
    """How many messages in the row have a lower id."""
    count = sum(bisect_left(messages, message_id, key=id_of) for messages in _rows(level))
    return count + level.paged_in(0, message_id)


def _row_at(level: Ready, index: int) -> int:
    """The id of the message in the row that has so many before it."""
    if index < len(level.fresh):
        return level.fresh[index][ID]
    index -= len(level.fresh)
    paged = level.paged
    assert paged is not None
    if index < paged.pages.count:
        return paged.pages.nth(index)
    return paged.tail[index - paged.pages.count][ID]


def _row_first(level: Ready, first: int, end: int) -> int:
    """The first id in the row from `first` on and below `end`; NO_ID if there is none."""
    ids = [found[0][ID] for messages in _rows(level) if (found := _part(messages, first, end, 1))]
    run = next(level.runs_in(first, end), None) if first < end else None
    if run is not None:
        ids.append(run.first_id)
    return min(ids, default=NO_ID)


def _part(messages: deque[Message], first: int, stop: int, most: int) -> list[Message]:
    """Up to `most` of the messages with ids from `first` on and below `stop`."""
    if not messages or messages[-1][ID] < first or messages[0][ID] >= stop:
        return []
    begin = bisect_left(messages, first, key=id_of)
    end = min(begin + most, len(messages))
    if begin < len(messages) // 2:
        found = list(islice(messages, begin, end))
    else:  # a deque is walked from its nearer end
        found = list(islice(reversed(messages), len(messages) - end, len(messages) - begin))[::-1]
    return found if found[-1][ID] < stop else found[: bisect_left(found, stop, key=id_of)]

"""What waits in a queue with priorities (x-max-priority, contract 7.4): strictly the highest first, first in, first out in each.

Each priority that is in use is a level, a Ready of its own, which also pages by itself. A level whose head is on the disk holds
up those below until it was read, or they would overtake it.
"""

from __future__ import annotations

from bisect import insort
from itertools import chain, groupby
from typing import TYPE_CHECKING

from broker.core.message import HEADER
from broker.core.pages import Pages
from broker.core.ready import Paged, Ready
from protocol import content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from broker.core.message import Message
    from broker.core.pages import Run


class PriorityReady(Ready):
    """See the module. Its own `fresh` and `returned` stay empty; `paged` only says that its levels page."""

    __slots__ = ("_by_priority", "_levels", "_max")

    def __init__(self, max_priority: int) -> None:
        super().__init__()
        self._max = max_priority
        self._by_priority: dict[int, Ready] = {}
        self._levels: list[tuple[int, Ready]] = []
        """(priority negated, level)"""

    def __len__(self) -> int:
        return sum([len(level) for _, level in self._levels])

    @property
    def levels(self) -> Sequence[Ready]:
        """See Ready."""
        return [level for _, level in self._levels]

    def priority_of(self, header: bytes) -> int:
        """The priority that a message with this content header has here."""
        return min(content.priority(header) or 0, self._max)

    def _level(self, priority: int) -> Ready:
        level = self._by_priority.get(priority)
        if level is None:
            level = self._by_priority[priority] = Ready()
            insort(self._levels, (-priority, level), key=lambda item: item[0])
            if self.paged is not None:
                level.start_paging()
        return level

    def _first(self) -> Ready | None:
        """The level that is served now."""
        return next((level for _, level in self._levels if len(level)), None)

    def _sorted(self, messages: Sequence[Message]) -> Iterator[tuple[Ready, list[Message]]]:
        """The messages by level, in stretches."""
        known: dict[bytes, Ready] = {}

        def level_of(message: Message) -> Ready:
            level = known.get(message[HEADER])
            if level is None:
                level = known[message[HEADER]] = self._level(self.priority_of(message[HEADER]))
            return level

        for level, group in groupby(messages, level_of):
            yield level, list(group)

    @property
    def available(self) -> int:
        """See Ready."""
        first = self._first()
        return 0 if first is None else first.available

    def head(self) -> Message:
        """See Ready."""
        first = self._first()
        assert first is not None
        return first.head()

    def extend(self, messages: Sequence[Message]) -> None:
        """See Ready."""
        for level, part in self._sorted(messages):
            level.extend(part)

    def take(self, count: int) -> tuple[bool, list[Message]]:
        """See Ready."""
        first = self._first()
        assert first is not None
        return first.take(count)

    def take_while(self, fits: Callable[[Message], bool], most: int) -> list[Message]:
        """See Ready."""
        messages: list[Message] = []
        for _, level in self._levels:
            if len(messages) < most:
                messages += level.take_while(fits, most - len(messages))
        return messages

    def put_back(self, redelivered: bool, messages: Sequence[Message]) -> None:
        """See Ready."""
        for level, part in self._sorted(messages):
            level.put_back(redelivered, part)

    def give_back(self, messages: Sequence[Message]) -> None:
        """See Ready."""
        for level, part in self._sorted(messages):
            level.give_back(part)

    def came_back(self) -> list[Message]:
        """See Ready."""
        return list(chain.from_iterable(level.came_back() for _, level in self._levels))

    def clear(self) -> tuple[list[Message], list[Pages]]:
        """See Ready."""
        self.paged = None
        messages: list[Message] = []
        paged: list[Pages] = []
        for _, level in self._levels:
            in_memory, pages = level.clear()
            messages += in_memory
            paged += pages
        return messages, paged

    def ids_in(self, intervals: Sequence[tuple[int, int]]) -> Iterator[int]:
        """See Ready."""
        return chain.from_iterable(level.ids_in(intervals) for _, level in self._levels)

    def runs_in(self, low: int, high: int) -> Iterator[Run]:
        """See Ready."""
        return chain.from_iterable(level.runs_in(low, high) for _, level in self._levels)

    def paged_in(self, low: int, high: int) -> int:
        """See Ready."""
        return sum([level.paged_in(low, high) for _, level in self._levels])

    # --- paging -----------------------------------------------------------------------------------------------------

    @property
    def runs(self) -> int:
        """See Ready."""
        return sum([level.runs for _, level in self._levels])

    def restore(self, pages: Mapping[int, Pages]) -> None:
        """See Ready; the levels are the priorities."""
        self.paged = Paged()
        for priority, found in pages.items():
            self._level(priority).paged = Paged(found)

    def start_paging(self) -> None:
        """See Ready."""
        self.paged = Paged()
        for _, level in self._levels:
            level.start_paging()

    def page_out(self, messages: Sequence[Message], runs: Sequence[tuple[int, int]]) -> Sequence[Message]:
        """See Ready. Messages of one record may differ: a run for each stretch of one level. Each level may have been quicker or not."""
        gone: list[Message] = []
        first = 0
        for count, place in runs:
            for level, part in self._sorted(messages[first : first + count]):
                gone += level.page_out(part, ((len(part), place),))
            first += count
        return gone

    def level_to_load(self) -> Ready | None:
        """See Ready."""
        return next((level for _, level in self._levels if level.level_to_load() is not None), None)

    def drop_paged(self, count: int) -> Pages:
        """See Ready."""
        first = self._first()
        assert first is not None
        return first.drop_paged(count)

    def stops_paging(self) -> bool:
        """See Ready. It ends when all levels have come to their end; one that has goes on paging with what comes in next."""
        is_at_end = True
        for _, level in self._levels:
            if level.stops_paging():
                level.start_paging()
            is_at_end = is_at_end and not len(level)
        if is_at_end:
            self.paged = None
            for _, level in self._levels:
                level.paged = None
        return is_at_end

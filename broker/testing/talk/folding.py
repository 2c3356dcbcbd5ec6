"""A long list of lines kept short: of like ones the first few stand there, the others are counted, and the last is kept.

A *stretch* is a part of the list in which kinds are counted, in whatever order they come: deliveries and acks that take turns a thousand
times are six lines, a count of each, and the last of each. A pause ends a stretch, and so does a line that is a landmark. Of what is
left the beginning and the end are kept.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

FIRST_MAX = 200
LAST_MAX = 800
"""What is kept of a list."""
KINDS_MAX = 16
"""Kinds that a stretch tells apart by what they are about; past that (a thousand routing keys) by their names alone."""
PAUSE_SECONDS = 0.5
FEW = 3


class Line(NamedTuple):
    """What was said: when, by the broker's clock and by time.monotonic, on which channel (0: none), which way, and the words. `is_mere`:
    no more than that what was asked for has been done."""

    at_ms: int
    at: float
    channel: int
    way: str
    text: Callable[[], str]
    is_mere: bool = False


class Kind(NamedTuple):
    """Lines of one kind are like each other. `about` tells them apart further; `shown` is how many of them a stretch has."""

    way: str
    channel: int
    name: str
    about: object = None
    shown: int = 3


@dataclass(slots=True)
class Fold:
    """Lines that are only counted, by kind, and the last of each kind, which isn't. As long as there are no more than FEW they are all in
    `few`, and counting them would save nothing."""

    counts: dict[Kind, int] = field(default_factory=dict)
    last: dict[Kind, Line] = field(default_factory=dict)
    few: list[Line] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many lines it stands for, beside the last ones."""
        return sum(self.counts.values())

    @property
    def is_small(self) -> bool:
        """All of its lines are there."""
        return self.total + len(self.last) <= len(self.few)

    def add(self, kind: Kind, lines: Sequence[Line], count: int, last: Line) -> None:
        """So many lines, of which these are the first."""
        self.few += lines[: FEW - len(self.few)]
        self.counts[kind] = self.counts.get(kind, -1) + count
        self.last[kind] = last


class Gap(NamedTuple):
    """So many lines that were not kept."""

    lines: int


class Folded:
    """See the module."""

    __slots__ = ("_first", "_fold", "_gap", "_last", "_seen", "_spoken_at")

    def __init__(self) -> None:
        self._first: list[Line | Fold] = []
        self._last: deque[Line | Fold] = deque()
        self._gap = 0
        self._seen: dict[Kind, int] = {}
        """How many of each kind this stretch has had."""
        self._fold: Fold | None = None
        """The end of the list, if that is one."""
        self._spoken_at = 0.0

    def __iter__(self) -> Iterator[Line | Fold | Gap]:
        yield from self._first
        if self._gap:
            yield Gap(self._gap)
        yield from self._last

    def add_landmark(self, line: Line) -> None:
        """A line that is like no other: a new stretch begins."""
        self._seen.clear()
        self._append(line)
        self._spoken_at = line.at

    def add(self, kind: Kind, line: Line) -> None:
        """One line."""
        self.add_run(kind, line.at, 1, lambda _: line)

    def add_run(self, kind: Kind, at: float, count: int, make: Callable[[int], Line]) -> None:
        """So many like lines at once, by time.monotonic; `make(i)` makes the i-th, and is called for those that are kept."""
        if at - self._spoken_at > PAUSE_SECONDS:
            self._seen.clear()
            self._fold = None
        self._spoken_at = at
        if len(self._seen) >= KINDS_MAX and kind not in self._seen:
            kind = kind._replace(about=None)
        seen = self._seen.get(kind, 0)
        self._seen[kind] = seen + count
        shown = min(max(kind.shown - seen, 0), count)
        for index in range(shown):
            self._append(make(index))
        if shown < count:
            if self._fold is None:
                fold = Fold()
                self._append(fold)
                self._fold = fold
            few = [make(index) for index in range(shown, min(count, shown + FEW - len(self._fold.few)))]
            self._fold.add(kind, few, count - shown, make(count - 1))

    def _append(self, item: Line | Fold) -> None:
        self._fold = None
        if len(self._first) < FIRST_MAX:
            self._first.append(item)
            return
        if len(self._last) == LAST_MAX:
            dropped = self._last.popleft()
            self._gap += dropped.total + len(dropped.last) if isinstance(dropped, Fold) else 1
        self._last.append(item)

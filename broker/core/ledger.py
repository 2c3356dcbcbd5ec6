"""What is still alive in the log, and where: how space comes back.

Message ids are divided into *ranges*, one for each segment that the log ever began: the messages that were published while it was
the last. A range counts its live (message, queue) pairs, and has a *home*, the oldest segment that it needs: at first that one.
When no range needs the oldest segments, the log is truncated up to the first that one does.

A few old messages would hold everything behind them. So, once more of the log is dead than alive, the live messages of the oldest
segment are copied to the end (compaction.py), and their ranges get a new home there.

The core decides when a segment begins (`roll`), so that a segment holds whole batches.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broker.core.pages import Pages

SEGMENT_BYTES = 67_108_864
SLACK_BYTES = 67_108_864
"""Dead bytes beyond the live ones that are left alone: the log takes about twice what is live and this, and the segment in use."""
SPAN_BYTES = 65_536


class Segment:
    """A segment of the log: where it begins (None until the log has told), and how many live pairs need it."""

    __slots__ = ("live", "position")

    def __init__(self, position: int | None) -> None:
        self.position = position
        self.live = 0


class Range:
    """The messages with ids from `first_id` on, up to the next range's."""

    __slots__ = ("_spans", "first_id", "home", "live", "pairs", "size")

    def __init__(self, first_id: int, home: Segment) -> None:
        self.first_id = first_id
        self.home = home
        self.live = 0
        self.pairs = 0
        """How many pairs there ever were, or were copied last."""
        self.size = 0
        """The bytes that they came with."""
        self._spans = array("Q")
        """First id, last id, start and end of each stretch of the log that holds some of it."""

    @property
    def live_bytes(self) -> int:
        """What its live pairs take in the log, by and large."""
        return self.size * self.live // self.pairs if self.pairs else 0

    def add_span(self, first_id: int, last_id: int, start: int, end: int) -> None:
        """Messages with ids in between lie in this stretch of the log."""
        spans = self._spans
        if spans and spans[-1] <= start and end - spans[-2] <= SPAN_BYTES:
            spans[-4:] = array("Q", (min(spans[-4], first_id), max(spans[-3], last_id), spans[-2], end))
        else:
            spans.extend((first_id, last_id, start, end))

    def came(self, pairs: int, size: int) -> None:
        """So many pairs came with so many bytes: a restart reads it."""
        self.pairs += pairs
        self.size += size

    def spans(self, wanted: Sequence[int]) -> Iterator[tuple[int, int]]:
        """The stretches of the log that may hold the `wanted` ids, which rise."""
        spans = self._spans
        for at in range(0, len(spans), 4):
            if bisect_left(wanted, spans[at]) < bisect_right(wanted, spans[at + 1]):
                yield spans[at + 2], spans[at + 3]

    def moved(self, home: Segment, copies: Range) -> None:
        """All that is live was copied; `copies` has counted it."""
        self.home.live -= self.live
        self.home = home
        home.live += self.live
        self.pairs, self.size, self._spans = copies.pairs, copies.size, copies._spans


class Ledger:
    """One per log."""

    __slots__ = ("_bytes", "_first_ids", "_kept", "_ranges", "_segments", "_sets", "end", "next_id", "rolled")

    def __init__(self) -> None:
        self.next_id = 1
        """The id of the next message of the broker."""
        self.rolled: Segment | None = None
        """The segment that the next batch of records begins."""
        self.end = 0
        """The log's end, as far as it has told."""
        self._segments = [Segment(0)]
        self._ranges = [Range(1, self._segments[0])]
        self._first_ids = [1]
        self._bytes = 0
        self._sets = 0
        self._kept: Segment | None = None

    @property
    def range(self) -> Range:
        """The range of the messages that are published now."""
        return self._ranges[-1]

    def next_set(self) -> int:
        """An id for a route set, unique within its segment."""
        self._sets += 1
        return self._sets

    # --- what lives -------------------------------------------------------------------------------------------------

    def enqueued(self, pairs: int) -> None:
        """Records put messages into queues: so many (message, queue) pairs."""
        now = self._ranges[-1]
        now.pairs += pairs
        now.live += pairs
        now.home.live += pairs

    def settled(self, ids: Sequence[int]) -> None:
        """One queue is done with these messages."""
        first_ids, ranges = self._first_ids, self._ranges
        if min(ids) >= first_ids[-1]:
            self._settled(ranges[-1], len(ids))
            return
        for message_id in ids:
            # Below the first id: settled twice over, after its range went; nothing to count.
            if (index := bisect_right(first_ids, message_id)) > 0:
                self._settled(ranges[index - 1], 1)

    def settled_pages(self, pages: Pages) -> None:
        """One queue is done with all of these."""
        for each, count in self._counts(pages):
            self._settled(each, count)

    def _settled(self, each: Range, pairs: int) -> None:
        each.live -= pairs
        each.home.live -= pairs

    def recovered(self, pages: Pages) -> None:
        """One queue still holds these messages, which were in the log before the start."""
        for each, count in self._counts(pages):
            each.live += count
            each.home.live += count
            each.pairs = max(each.pairs, each.live)

    def _counts(self, pages: Pages) -> Iterator[tuple[Range, int]]:
        """How many of the messages each range has."""
        if not pages.count:
            return
        first = max(bisect_right(self._first_ids, pages.first_id) - 1, 0)
        stop = bisect_right(self._first_ids, pages.last_id)
        before = 0
        bounds = [*self._first_ids[first + 1 : stop], pages.last_id + 1]
        for each, below in zip(self._ranges[first:], pages.counts_below(bounds), strict=False):
            yield each, below - before
            before = below

    def range_of(self, message_id: int) -> Range:
        """The range that the id belongs to."""
        return self._ranges[max(bisect_right(self._first_ids, message_id) - 1, 0)]

    def ranges_of(self, first_id: int, last_id: int) -> list[Range]:
        """The ranges that the ids from first to last belong to. (A run that was published in one range may lie in two after a restart,
        which doesn't know of ranges that are gone.)"""
        low = max(bisect_right(self._first_ids, first_id) - 1, 0)
        return self._ranges[low : max(bisect_right(self._first_ids, last_id), low + 1)]

    # --- segments ---------------------------------------------------------------------------------------------------

    def begin(self, position: int) -> None:
        """The log, as a restart finds it, begins here."""
        self._segments[0].position = position

    def shipped(self, size: int, enqueued: int) -> None:
        """A batch with so many bytes of records is complete, `enqueued` of them of new messages: the next one may begin a new segment."""
        self._bytes += size
        self._ranges[-1].size += enqueued
        if self._bytes >= SEGMENT_BYTES:
            self.roll()

    def roll(self) -> None:
        """The next batch of records begins a new segment."""
        self.rolled = self.begin_segment(self.next_id, None)

    def begin_segment(self, first_id: int, position: int | None) -> Segment:
        """From here on a new segment, and a new range; `position` if it is known already."""
        self._bytes = 0
        self._sets = 0
        segment = Segment(position)
        self._segments.append(segment)
        if self._first_ids[-1] == first_id and not self._ranges[-1].live:
            # Nothing was published meanwhile: one range is enough.
            self._ranges.pop()
            self._first_ids.pop()
        self._ranges.append(Range(first_id, segment))
        self._first_ids.append(first_id)
        return segment

    def truncation(self) -> int | None:
        """The position up to which the log is dead, if that is more than last time."""
        segments = self._segments
        dead = 0
        while dead < len(segments) - 1 and segments[dead].live == 0 and segments[dead + 1].position is not None:
            dead += 1
        if not dead:
            return None
        gone = set(map(id, segments[:dead]))
        del segments[:dead]
        self._ranges = [each for each in self._ranges if id(each.home) not in gone]
        self._first_ids = [each.first_id for each in self._ranges]
        return segments[0].position

    # --- compaction -------------------------------------------------------------------------------------------------

    @property
    def live_bytes(self) -> int:
        """What all that is live takes in the log, by and large."""
        return sum(each.live_bytes for each in self._ranges)

    def keep_oldest(self) -> None:
        """The oldest segment is not to be compacted: not all of it can be."""
        self._kept = self._segments[0]

    @property
    def live(self) -> int:
        """How many (message, queue) pairs are alive."""
        return sum(segment.live for segment in self._segments)

    def oldest(self) -> list[tuple[Range, int]]:
        """The ranges that keep the oldest segment, each with the id behind its last: they are to be copied. Empty while what is dead
        isn't worth it."""
        segments = self._segments
        start = segments[0].position
        if len(segments) < 2 or start is None or segments[1].position is None or not segments[0].live or segments[0] is self._kept:
            return []
        if self.end - start <= 2 * self.live_bytes + SLACK_BYTES:
            return []
        ends = [*self._first_ids[1:], self.next_id]
        return [(each, end) for each, end in zip(self._ranges, ends, strict=True) if each.home is segments[0] and each.live]

"""What is still alive in the log, by segment: how space comes back.

The core decides when a segment ends (`roll`), so that a segment holds whole batches and a known range of message ids. Each
segment counts the (message, queue) pairs in it that are not settled. When the oldest segments count none, the log is truncated
up to the first that does. A long-lived message holds everything behind it; copying live messages forward (compaction) will
free it, on the same counts.
"""

from bisect import bisect_right
from collections.abc import Iterable

SEGMENT_BYTES = 67_108_864


class Segment:
    """A segment of the log: where it begins (None until the log has told), its first message id, and its live pairs."""

    __slots__ = ("first_id", "live", "position")

    def __init__(self, first_id: int, position: int | None) -> None:
        self.first_id = first_id
        self.position = position
        self.live = 0


class Ledger:
    """One per log."""

    __slots__ = ("_bytes", "_first_ids", "_segments", "_sets", "next_id", "rolled", "segment")

    def __init__(self) -> None:
        self.next_id = 1
        """The id of the next message of the broker."""
        self.segment = 0
        """Counts segments; tells a route set whether this segment knows it."""
        self.rolled: Segment | None = None
        """The segment that the next batch of records begins."""
        self._segments = [Segment(1, 0)]
        self._first_ids = [1]
        self._bytes = 0
        self._sets = 0

    def next_set(self) -> int:
        """An id for a route set, unique within its segment."""
        self._sets += 1
        return self._sets

    def enqueued(self, pairs: int) -> None:
        """Records put messages into queues: so many (message, queue) pairs."""
        self._segments[-1].live += pairs

    def settled(self, ids: list[int]) -> None:
        """One queue is done with these messages."""
        first_ids, segments = self._first_ids, self._segments
        if min(ids) >= first_ids[-1]:
            segments[-1].live -= len(ids)
            return
        for message_id in ids:
            # Below the first id: settled twice over, after its segment went; nothing to count.
            if (index := bisect_right(first_ids, message_id)) > 0:
                segments[index - 1].live -= 1

    def recovered(self, ids: Iterable[int]) -> None:
        """One queue still holds these messages, which were in the log before the start."""
        for message_id in ids:
            self._segments[max(bisect_right(self._first_ids, message_id) - 1, 0)].live += 1

    def shipped(self, size: int) -> None:
        """A batch with so many bytes of records is complete: the next one may begin a new segment."""
        self._bytes += size
        if self._bytes >= SEGMENT_BYTES:
            self.roll()

    def roll(self) -> None:
        """The next batch of records begins a new segment."""
        self.rolled = self.begin_segment(self.next_id, None)

    def begin_segment(self, first_id: int, position: int | None) -> Segment:
        """From here on a new segment; `position` if it is known already."""
        self._bytes = 0
        self._sets = 0
        self.segment += 1
        segment = Segment(first_id, position)
        self._segments.append(segment)
        self._first_ids.append(first_id)
        return segment

    def truncation(self) -> int | None:
        """The position up to which the log is dead, if that is more than last time."""
        dead = 0
        while dead < len(self._segments) - 1 and self._segments[dead].live == 0 and self._segments[dead + 1].position is not None:
            dead += 1
        if not dead:
            return None
        del self._segments[:dead], self._first_ids[:dead]
        return self._segments[0].position

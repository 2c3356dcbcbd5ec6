"""The messages that a start would find in a stopped data directory, queue by queue and in queue order. Nothing is written.

The log is read twice: once to learn which messages are left, once to learn where they lie (16 bytes for each). Then each is
read where it lies, so that any number of them takes little memory.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from storage import declared
from storage.api import Corrupt, StorageError
from storage.offline import Found, OfflineLog, SegmentFile
from storage.records import (
    HEAD_SIZE,
    LAST,
    Delivered,
    Enqueue,
    Record,
    Requeue,
    Settle,
    SettleRange,
    decode_records,
    record_size,
    split_records,
)
from storage.replay import LIVE, Replay
from storage.segment import Block, join_records

_WINDOW: Final = 32 * 1024
_SPANS: Final = 1 << 63  # of a place: the record goes on in the blocks behind, and the place is that of its block


class Message(NamedTuple):
    """A message of a queue. `position` counts from 1 at the head, `deliveries` is how often it came back; `routing` is
    exchange and routing key, and `header` the content header's payload, as they came over the wire."""

    vhost: str
    queue: str
    position: int
    id: int
    timestamp_ms: int
    redelivered: bool
    deliveries: int
    routing: bytes
    header: bytes
    body: bytes


class _Replay(Replay):
    """Knows too what was delivered."""

    def __init__(self, wanted: set[int], start: int) -> None:
        super().__init__(wanted, None, start, lambda _: None)
        self.marks: dict[int, int] = {}
        self.counts: dict[int, dict[int, int]] = {queue_id: {} for queue_id in wanted}

    def apply(self, record: Record) -> None:
        super().apply(record)
        match record:
            case Requeue():
                if (counts := self.counts.get(record.queue_id)) is not None:
                    counts.update(record.counts)
            case Delivered():
                self.marks[record.queue_id] = record.message_id
            case Settle():
                if counts := self.counts.get(record.queue_id):
                    for message_id in record.message_ids:
                        counts.pop(message_id, None)
            case SettleRange():
                if counts := self.counts.get(record.queue_id):
                    for message_id in [number for number in counts if record.first_id <= number <= record.last_id]:
                        del counts[message_id]


class Messages:
    """The messages of a data directory, or of the queues of that name and in that vhost alone; iterate to read them.

    Raises StorageError where the log or the catalog can't be read, OSError where there is no log.
    """

    def __init__(self, directory: Path, vhost: str | None = None, queue: str | None = None) -> None:
        self._log = OfflineLog(directory)
        known = declared.read(directory)
        if known.broken:
            raise Corrupt(f"the catalog: {known.broken}")
        self.queues = {
            queue_id: names
            for queue_id, names in sorted(known.queues.items(), key=lambda item: item[1])
            if vhost in (None, names[0]) and queue in (None, names[1])
        }
        """(vhost, name) of the queues that are read, by id, in the order in which they are."""
        start = self._log.segments[0].start if self._log.segments else 0
        self._replay = _Replay(set(self.queues), start)
        for record in _records(self._log, self._replay.begin_segment):
            self._replay.apply(record)
        self._ids: dict[int, array[int]] = {}
        for queue_id, ids in self._replay.queues.items():
            self._ids[queue_id] = ids.ids(LIVE)
        self._replay.queues.clear()

    def count(self, queue_id: int) -> int:
        """How many messages the queue has."""
        return len(self._ids.get(queue_id, ()))

    def __iter__(self) -> Iterator[Message]:
        places = self._places()
        with ExitStack() as stack:
            reader = _Reader(self._log, stack)
            for queue_id, (vhost, queue) in self.queues.items():
                mark, counts = self._replay.marks.get(queue_id, 0), self._replay.counts[queue_id]
                pairs = zip(self._ids.get(queue_id, ()), places.get(queue_id, ()), strict=True)
                for position, (message_id, place) in enumerate(pairs, start=1):
                    record = reader.enqueue(place)
                    deliveries = counts.get(message_id, 0)
                    yield Message(
                        vhost,
                        queue,
                        position,
                        message_id,
                        record.timestamp_ms,
                        deliveries > 0 or message_id <= mark,
                        deliveries,
                        record.routing_of(message_id - record.first_id),
                        record.header_of(message_id - record.first_id),
                        record.bodies[message_id - record.first_id],
                    )

    def _places(self) -> dict[int, array[int]]:
        """Where the record of each message lies; of one that is there several times, the last."""
        places = {queue_id: array("Q", bytes(8 * len(ids))) for queue_id, ids in self._ids.items()}
        replay = Replay((), None, 0, lambda _: None)  # for the route sets
        segment = None
        for found in _commits(self._log):
            if found.segment is not segment:
                segment = found.segment
                replay.begin_segment()
            starts = [block.position for block in found.blocks]
            for position, data in found.placed():
                block = found.blocks[bisect_right(starts, position) - 1]
                place = position if position + len(data) <= block.end else block.position | _SPANS
                for record in _decoded(data):
                    replay.apply(record)
                    if isinstance(record, Enqueue):
                        for queue_id in replay.targets(record):
                            self._place(record, place, self._ids.get(queue_id), places.get(queue_id))
        return places

    @staticmethod
    def _place(record: Enqueue, place: int, ids: array[int] | None, places: array[int] | None) -> None:
        if not ids or places is None:
            return
        stop = record.first_id + len(record.bodies)
        index = bisect_left(ids, record.first_id)
        while index < len(ids) and ids[index] < stop:
            places[index] = place
            index += 1


class _Reader:
    """Reads enqueue records where they lie. Messages that follow one another often share one, or a window of the file."""

    def __init__(self, log: OfflineLog, stack: ExitStack) -> None:
        self._log = log
        self._files: list[tuple[SegmentFile, Callable[[int, int], bytes]]] = [
            (segment, stack.enter_context(segment.opened())) for segment in log.segments
        ]
        self._place = -1
        self._record: Enqueue | None = None
        self._window = b""
        self._base = 0

    def enqueue(self, place: int) -> Enqueue:
        """The record at a place. Raises StorageError if there is none any more."""
        if place != self._place or self._record is None:
            data = self._spanning(place ^ _SPANS) if place & _SPANS else self._bytes(place)
            record = next(decode_records(data))
            if not isinstance(record, Enqueue):
                raise StorageError(f"the log has changed meanwhile, at position {place}")
            self._place, self._record = place, record
        return self._record

    def _bytes(self, position: int) -> bytes:
        at = position - self._base
        if not 0 <= at <= len(self._window) - HEAD_SIZE or at + record_size(self._window, at) > len(self._window):
            segment, read = self._at(position)
            self._window, self._base, at = read(_WINDOW, position - segment.start), position, 0
            size = record_size(self._window)
            if size > len(self._window):
                self._window = read(size, position - segment.start)
        return self._window[at : at + record_size(self._window, at)]

    def _spanning(self, position: int) -> bytes:
        """A record that is bigger than its block, which it begins."""
        segment, _ = self._at(position)
        blocks: list[Block] = []
        with segment.items(self._log.log_id, position) as items:
            for item in items:
                if not isinstance(item, Block):
                    break
                blocks.append(item)
                if item.header.first < item.header.length and len(blocks) > 1:
                    break
                if item.header.flags & LAST:
                    break
        (_, record), *_ = join_records(blocks)[0]
        return split_records(record)[0][0]

    def _at(self, position: int) -> tuple[SegmentFile, Callable[[int, int], bytes]]:
        index = bisect_left(self._files, position + 1, key=lambda item: item[0].start) - 1
        return self._files[index]


def _commits(log: OfflineLog) -> Iterator[Found]:
    return (piece for piece in log.pieces() if isinstance(piece, Found))


def _records(log: OfflineLog, begin_segment: Callable[[], None]) -> Iterator[Record]:
    segment = None
    for found in _commits(log):
        if found.segment is not segment:
            segment = found.segment
            begin_segment()
        for data in found.records:
            yield from _decoded(data)


def _decoded(data: bytes) -> Iterator[Record]:
    """What can be read of the records."""
    try:
        yield from decode_records(data)
    except Corrupt:
        return

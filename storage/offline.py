"""A data directory read from outside, for the tools that look at a stopped broker's: nothing is written here.

`OfflineLog.pieces` gives what a start would read, in order, and says where something is missing from it.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from storage.files import Files
from storage.records import FIRST, HEAD_SIZE, LAST, record_size, split_records
from storage.segment import Block, Gap, Tail, find_tail, first_log_id, join_records, segment_name, segment_start, walk

LOG_NAME: Final = "log"
QUARANTINE_NAME: Final = "quarantine"
LOCK_NAME: Final = "lock"


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """A segment file as it lies there: `size` bytes of it are read, which ends where the next segment starts; the file
    has `file_size`. `following` is the start of the next segment, None in the last. Positions and sizes are in bytes."""

    path: Path
    start: int
    size: int
    file_size: int
    following: int | None

    @property
    def end(self) -> int:
        """The log position behind the last byte that is read."""
        return self.start + self.size

    @contextmanager
    def opened(self) -> Iterator[Callable[[int, int], bytes]]:
        """The function that reads (length, offset), while the file is open."""
        files = Files()
        descriptor = files.open(self.path, readonly=True)
        try:
            yield partial(files.read, descriptor)
        finally:
            files.close(descriptor)

    @contextmanager
    def items(self, log_id: int | None, position: int | None = None) -> Iterator[Iterator[Block | Gap]]:
        """Its blocks and gaps, from a block's position on if one is given, while the file is open."""
        with self.opened() as read:
            yield walk(read, self.start, self.size, log_id, 0 if position is None else position - self.start)


class Found(NamedTuple):
    """A commit, or what is left of one that isn't `whole`. `blocks` are those that hold it, `pieces` its records as in
    storage.api.Commit; `hurt` if something between them is lost, of late or before a repair."""

    segment: SegmentFile
    blocks: list[Block]
    pieces: list[tuple[int, bytes]]
    whole: bool
    hurt: bool

    @property
    def records(self) -> list[bytes]:
        """The records one by one."""
        return [record for _, record in self.placed()]

    def placed(self) -> Iterator[tuple[int, bytes]]:
        """Each record with the log position of its first byte."""
        for place, data in self.pieces:
            for record in split_records(data)[0]:
                yield place, record
                place += len(record)


class Lost(NamedTuple):
    """Bytes of the log from `position` to `end` that hold nothing any more.

    `kind` is "corrupt", "missing" or "torn" as in storage.api.Damage, "cut" for bytes of a segment's file that the next
    segment covers, and "filler" where `leveret log repair` has been.
    """

    kind: str
    segment: SegmentFile
    position: int
    end: int
    text: str


class OfflineLog:
    """The log of a data directory. Raises StorageError for a newer format, OSError where there is no log."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / LOG_NAME
        self.segments = _segments(self.directory)
        self.log_id = self._find_log_id()
        self.tail = self._find_tail()

    @property
    def end(self) -> int:
        """The position at which a start would go on writing."""
        return self.tail.end

    def pieces(self) -> Iterator[Found | Lost]:
        """Every commit and every loss, in the order of position; a loss within a commit stands before the commit."""
        behind: SegmentFile | None = None
        for segment in self.segments:
            if behind is not None and behind.end < segment.start:
                yield Lost("missing", behind, behind.end, segment.start, f"{segment.start - behind.end} bytes of the log are not there")
            behind = segment
            yield from self._pieces_of(segment)

    def _pieces_of(self, segment: SegmentFile) -> Iterator[Found | Lost]:
        end = segment.end if segment.following is not None else self.tail.end
        blocks: list[Block] = []
        with segment.items(self.log_id) as items:
            for item in items:
                if item.position >= end:
                    break
                if isinstance(item, Gap):
                    yield Lost("corrupt", segment, item.position, item.end, item.text)
                    continue
                if blocks and item.header.flags & FIRST:
                    yield from _joined(segment, blocks)
                    blocks = []
                blocks.append(item)
                if item.header.flags & LAST:
                    yield from _joined(segment, blocks)
                    blocks = []
        if blocks:
            yield from _joined(segment, blocks)
        if end < segment.end:
            yield Lost("torn", segment, end, segment.end, self.tail.text)
        if segment.size < segment.file_size:
            yield Lost("cut", segment, segment.end, segment.start + segment.file_size, "bytes behind the start of the next segment")

    def _find_log_id(self) -> int | None:
        with ExitStack() as stack:

            def opened(segment: SegmentFile, log_id: int | None) -> Iterator[Block | Gap]:
                return stack.enter_context(segment.items(log_id))

            return first_log_id([partial(opened, segment) for segment in self.segments])

    def _find_tail(self) -> Tail:
        if not self.segments:
            return Tail(0, 0, 0, 0, 0, 0, "")
        *before, last = self.segments
        number = 0
        if before:
            with last.items(self.log_id) as items:
                headed = getattr(next(items, None), "header", None) is not None
            if not headed:  # as FileLog does: nothing in it says what came before
                with before[-1].items(self.log_id) as items:
                    number = max((item.header.number for item in items if item.header is not None), default=0)
        with last.items(self.log_id) as items:
            return find_tail(items, last.start, number)


def fillers(blocks: list[Block]) -> list[Block]:
    """Those of a commit's blocks that `leveret log repair` put where others were: no record begins in them, and they go
    on with none."""
    found: list[Block] = []
    wanted, end = 0, blocks[0].position  # `wanted`: bytes still to come of a record that began in an earlier block
    for block in blocks:
        length, first = len(block.data), block.header.first
        wanted = wanted if block.position == end else 0
        if not wanted and length and first == length:
            found.append(block)
        wanted = max(wanted - first, 0)
        if first < length:
            _, rest = split_records(block.data, first)
            wanted = record_size(block.data, rest) - (length - rest) if length - rest >= HEAD_SIZE else 0
        end = block.end
    return found


def _joined(segment: SegmentFile, blocks: list[Block]) -> Iterator[Found | Lost]:
    filled = fillers(blocks) if any(0 < len(block.data) == block.header.first for block in blocks) else []
    for block in filled:
        yield Lost("filler", segment, block.position, block.end, "a filler")
    pieces, whole = join_records(blocks)
    yield Found(segment, blocks, pieces, whole, bool(filled) or not whole)


def _segments(directory: Path) -> list[SegmentFile]:
    starts = [start for start in map(segment_start, Files().names(directory)) if start is not None]
    segments = []
    for start, following in zip(starts, [*starts[1:], None], strict=False):
        path = directory / segment_name(start)
        size = path.stat().st_size
        segments.append(SegmentFile(path, start, size if following is None else min(size, following - start), size, following))
    return segments


@contextmanager
def stopped(directory: Path) -> Iterator[None]:
    """Keeps brokers from the data directory. Raises Fenced where one has it, which names its process.

    A directory without a lock file, a backup for one, has no broker: every broker makes the file first.
    """
    path = directory / LOCK_NAME
    if not path.exists():
        yield
        return
    files = Files()
    descriptor = files.lock(path)
    try:
        yield
    finally:
        files.close(descriptor)

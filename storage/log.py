"""The log as files: `log/<start>.segment`, appended to by one thread that joins what piles up into one write."""

import secrets
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, takewhile
from pathlib import Path
from threading import Event
from typing import Final, NamedTuple
from zlib import crc32

from storage.api import Closed, Commit, Corrupt, Damage, Receipt, StorageError, type_done
from storage.files import Files
from storage.quarantine import Quarantine, messages_in
from storage.records import (
    BLOCK_DATA,
    FIRST,
    HEADER_SIZE,
    LAST,
    NO_HEADER,
    BlockHeader,
    Buffer,
    cut_into_blocks,
    encode_block_header,
    split_records,
)
from storage.segment import BadBlock, Block, Gap, Segment, find_tail, first_log_id, join_records, segment_start
from storage.worker import Worker, answer

LOG_NAME: Final = "log"
SPILL_NAME: Final = "spill"
MAX_WRITE: Final = 8 * 1024 * 1024  # what piles up is joined up to here, so that a burst isn't held twice


class _Append(NamedTuple):
    records: Sequence[bytes]
    done: type_done
    sync: bool
    roll: bool


class _Truncate(NamedTuple):
    before: int


class _Close(NamedTuple):
    closed: Event


class _Plan:
    """The blocks of one write, in the making."""

    def __init__(self, log_id: int, epoch: int, number: int, synced: int, position: int) -> None:
        self._common = (log_id, epoch)
        self._synced = synced
        self._pieces: list[Buffer] = []
        self._headers: list[BlockHeader] = []
        self.number = number
        self.position = position
        self.blocks: list[int] = []
        self.last_data = 0

    def add(self, records: Sequence[bytes], block_size: int) -> Receipt:
        """Lay out a commit behind the others, in blocks of so many bytes; returns the receipt that it will get."""
        start = self.position
        places: list[tuple[int, int]] = []
        cuts = cut_into_blocks(records, block_size)
        for cut in cuts:
            self.number += 1
            flags = (FIRST if cut is cuts[0] else 0) | (LAST if cut is cuts[-1] else 0)
            self._headers.append(BlockHeader(flags, *self._common, self.number, self.position, self._synced, cut.length, cut.first, 0))
            self._pieces.append(NO_HEADER)
            self._pieces += cut.pieces
            self.blocks.append(self.position)
            if cut.first < cut.length:
                places.append((self.position + HEADER_SIZE + cut.first, cut.begins))
                self.last_data = self.number
            self.position += HEADER_SIZE + cut.length
        return Receipt(start, self.position, tuple(places))

    def encode(self) -> bytearray:
        """The bytes: joined once, the headers written over the room left for them."""
        buffer = bytearray().join(self._pieces)
        offset = 0
        for header in self._headers:
            end = offset + HEADER_SIZE + header.length
            with memoryview(buffer) as view:
                data_crc = crc32(view[offset + HEADER_SIZE : end])
            encode_block_header(buffer, offset, header._replace(data_crc=data_crc))
            offset = end
        return buffer


class FileLog:
    """A Log in the files of `directory`/log (or another `name`), damaged bytes in `directory`/quarantine.

    Opening finds the end of the log, cuts a torn tail off and makes what remains durable; it refuses only a log of a
    newer format (StorageError) and what the operating system refuses (OSError). Give it the `worker` of a store to
    share its order; it starts and stops one of its own otherwise. Damage is met, and noted, while scanning and reading.
    """

    def __init__(
        self,
        directory: Path,
        worker: Worker | None = None,
        files: Files | None = None,
        block_size: int = BLOCK_DATA,
        name: str = LOG_NAME,
    ) -> None:
        self._files = files or Files()
        self._directory = directory / name
        self._block_size = block_size
        self._quarantine = Quarantine(self._files, directory / "quarantine", "" if name == LOG_NAME else f"{name}-")
        self._closed = False  # nothing more is taken
        self._finished = False  # nothing more is done
        self._segments: tuple[Segment, ...] = ()  # replaced, never changed, so that readers need no lock
        self._log_id = secrets.randbits(64)
        self._epoch = 1
        self._number = 0  # of the last block that was ever written
        self._synced = 0  # the number of the last block known to be on the disk
        self._unsynced = False  # whether the last segment has blocks behind that one
        self._marked = 0  # the highest `synced` in a block's header
        self._last_data = 0  # the number of the last block that isn't empty
        self._open()
        self._own_worker = worker is None
        self._worker = worker or Worker()

    @property
    def epoch(self) -> int:
        """In every block that is written; grows with each opening (one that writes nothing leaves no trace)."""
        return self._epoch

    @property
    def start(self) -> int:
        """The position of the oldest byte."""
        return self._segments[0].start

    @property
    def end(self) -> int:
        """The position behind the newest byte that was written."""
        return self._segments[-1].end

    def segments(self) -> list[tuple[int, int]]:
        """(start, end) of each segment, the oldest first; the last is still growing."""
        return [(segment.start, segment.end) for segment in self._segments]

    def damage(self) -> list[Damage]:
        """What was found damaged so far, by opening and by scanning, in the order of position."""
        return self._quarantine.damage()

    def append(self, records: Sequence[bytes], done: type_done, *, sync: bool = True, roll: bool = False) -> None:
        """See `Log.append`. `records` must not change before `done`; on a closed log that is called at once."""
        if self._closed:
            answer(done, Closed("the log is closed"))
        else:
            self._worker.submit(self, _Append(records, done, sync, roll))

    def truncate(self, before: int) -> None:
        """See `Log.truncate`. The last segment stays in any case: `roll` first to have it go."""
        if not self._closed:
            self._worker.submit(self, _Truncate(before))

    def scan(self, start: int = 0, stop: int | None = None) -> Iterator[Commit]:
        """See `Log.scan`: the commits that begin at `start` or later, and before `stop`, up to the end as it is now.

        Damage is noted and scanned past; of a damaged commit those records are given that are still whole.
        Commits without records are not given. Raises Closed if the segment that it reads is truncated meanwhile.
        """
        segments = self._segments
        if self._closed:
            raise Closed("the log is closed")
        behind: Segment | None = None
        for segment in segments:
            if behind is not None and behind.end < segment.start:
                length = segment.start - behind.end
                self._quarantine.note("missing", behind.start, behind.end, length, f"{length} bytes of the log are gone")
            behind = segment
            if stop is not None and segment.start >= stop:
                return
            if start < segment.end:
                for commit in self._scan_segment(segment, start):
                    if stop is not None and commit.position >= stop:
                        return
                    if commit.position >= start and commit.pieces:
                        yield commit

    def read(self, places: Sequence[int]) -> list[bytes]:
        """See `Log.read`; for any one thread. Of a damaged block a copy is kept."""
        segments = self._segments
        found: list[bytes] = []
        while len(found) < len(places):
            place = places[len(found)]
            index = bisect_right(segments, place, key=lambda segment: segment.start) - 1
            if self._closed or index < 0:
                raise Closed(f"the log holds no position {place} any more")
            segment = segments[index]
            if place >= segment.end:
                raise Corrupt(f"the log holds no position {place}")
            inside = range(segment.start, segment.end)
            try:
                found += segment.records(list(takewhile(inside.__contains__, islice(places, len(found), None))), self._log_id)
            except BadBlock as bad:
                damage = self._damage_at(segment, bad.position)
                raise Corrupt(str(bad) if damage is None else damage.text) from bad
        return found

    def close(self) -> None:
        """See `Log.close`. Not to be called from a `done`. Raises Failed if what was written can't be synced."""
        if self._closed:
            return
        self._closed = True
        closed = Event()
        self._worker.submit(self, _Close(closed))
        closed.wait()
        if self._own_worker:
            self._worker.stop()
        if self._unsynced and self._worker.failure is not None:
            raise self._worker.failure

    def abandon(self) -> None:
        """Close without having anything on the disk: for a log that nobody wants back. What is not written yet won't be."""
        self._closed = self._finished = True
        if self._own_worker:
            self._worker.stop()
        for segment in self._segments:
            segment.close()

    def run(self, operations: Iterable[_Append | _Truncate | _Close]) -> None:
        """The worker's side: do the operations in order, appends that follow one another in one write."""
        group: list[_Append] = []
        size, roll = 0, False
        for operation in operations:
            if isinstance(operation, _Append):
                length = sum(map(len, operation.records))
                if group and (operation.roll or size + length > MAX_WRITE):
                    self._write(group, roll)
                    group, size = [], 0
                if not group:
                    roll = operation.roll
                group.append(operation)
                size += length
                continue
            if group:
                self._write(group, roll)
                group, size = [], 0
            if isinstance(operation, _Truncate):
                self._drop(operation.before)
            else:
                self._finish()
                operation.closed.set()
        if group:
            self._write(group, roll)

    def _write(self, group: list[_Append], roll: bool) -> None:
        """One write and at most one sync for all of the group; then their callbacks, in order."""
        failure: StorageError | None = self._worker.failure
        if self._finished:
            failure = Closed("the log is closed")
        receipts: list[Receipt] = []
        if failure is None:
            try:
                if roll:
                    self._roll()
                receipts = self._append([append.records for append in group], any(append.sync for append in group))
            except Exception as error:  # noqa: BLE001 - whatever it was, what the disk holds is unknown now
                failure = self._worker.fail(error)
        if failure is not None:
            for append in group:
                answer(append.done, failure)
        else:
            for append, receipt in zip(group, receipts, strict=True):
                answer(append.done, receipt)

    def _append(self, commits: list[Sequence[bytes]], sync: bool) -> list[Receipt]:
        segment = self._segments[-1]
        if segment.size == 0:
            self._append_to(segment, [()], sync=True)  # its head: see `find_tail`
        return self._append_to(segment, commits, sync)

    def _append_to(self, segment: Segment, commits: list[Sequence[bytes]], sync: bool) -> list[Receipt]:
        plan = _Plan(self._log_id, self._epoch, self._number, self._synced, segment.end)
        receipts = [plan.add(records, self._block_size) for records in commits]
        segment.append(plan.encode(), plan.blocks, sync=sync, alone=not self._unsynced)
        self._marked = self._synced
        self._number = plan.number
        self._last_data = plan.last_data or self._last_data
        self._unsynced = not sync
        if sync:
            self._synced = plan.number
        return receipts

    def _sync(self) -> None:
        if self._unsynced:
            self._segments[-1].sync()
            self._unsynced, self._synced = False, self._number

    def _roll(self) -> None:
        """Seal the last segment and begin the next; an empty one is as good as new."""
        last = self._segments[-1]
        if last.size == 0:
            return
        self._sync()
        self._segments = (*self._segments, Segment(self._files, self._directory, last.end, create=True))

    def _drop(self, before: int) -> None:
        """Unlink the oldest segments one after another: were a later one gone and an earlier one back after a crash,
        what the later one settled would come back too."""
        while self._worker.failure is None and not self._finished and len(self._segments) > 1:
            if self._segments[1].start > before:
                return
            oldest, *rest = self._segments
            try:
                self._sync()  # what was copied forward must be there before what it was copied from goes
                self._segments = tuple(rest)
                oldest.unlink()
            except OSError as error:
                self._worker.fail(error)

    def _finish(self) -> None:
        """Sync, vouch for the last blocks with an empty one (so that damage to them is told from a torn tail), close."""
        if self._worker.failure is None:
            try:
                self._sync()
                if self._last_data > self._marked:
                    self._append([()], sync=True)
            except Exception as error:  # noqa: BLE001 - as in _write
                self._worker.fail(error)
        self._finished = True
        for segment in self._segments:
            segment.close()

    def _open(self) -> None:
        self._files.make_directory(self._directory)
        starts = [start for start in map(segment_start, self._files.names(self._directory)) if start is not None]
        if not starts:
            self._segments = (Segment(self._files, self._directory, 0, create=True),)
            return
        self._segments = tuple(Segment(self._files, self._directory, start) for start in starts)
        try:
            for segment, following in zip(self._segments, starts[1:], strict=False):
                segment.size = min(segment.size, following - segment.start)
            self._find_end()
        except BaseException:
            for segment in self._segments:
                segment.close()
            raise

    def _find_end(self) -> None:
        """Learn from the blocks where the log ends, and what the next block's header has to say."""
        log_id = first_log_id([segment.walk for segment in self._segments])
        last = self._segments[-1]
        before = (0, 0)
        if len(self._segments) > 1 and last.header(0, log_id) is None:
            before = self._last_block(self._segments[-2], log_id)  # nothing in it says what came before
        tail = find_tail(last.walk(log_id), last.start, before[0])
        if log_id is not None:
            self._log_id = log_id
        self._epoch = max(tail.epoch, before[1]) + 1
        self._number, self._synced = tail.number, tail.last
        self._marked, self._last_data = tail.synced, tail.last_data
        if tail.end < last.end:
            cut = last.read(last.end - tail.end, tail.end - last.start)
            self._quarantine.keep("torn", last.start, tail.end, cut, tail.text)
            last.cut(tail.end - last.start)
        else:
            last.sync()  # killed, the broker may have left blocks that only the page cache has

    def _last_block(self, segment: Segment, log_id: int | None) -> tuple[int, int]:
        headers = [item.header for item in segment.walk(log_id) if item.header is not None]
        return max(((header.number, header.epoch) for header in headers), default=(0, 0))

    def _scan_segment(self, segment: Segment, start: int) -> Iterator[Commit]:
        """The commits of one segment, from `start` on if a block begins there, else from its beginning."""
        offset = max(start - segment.start, 0)
        if offset and segment.header(offset, self._log_id) is None:
            offset = 0
        positions = array("Q")
        size = segment.size
        blocks: list[Block] = []
        for item in segment.walk(self._log_id, offset):
            if item.header is not None:
                positions.append(item.position)
            if isinstance(item, Gap):
                self._keep(segment, item)
                continue
            if item.header.flags & FIRST and blocks:
                yield self._join(segment, blocks)  # its end is in a gap
                blocks = []
            blocks.append(item)
            if item.header.flags & LAST:
                yield self._join(segment, blocks)
                blocks = []
        if blocks:
            yield self._join(segment, blocks)
        if not offset:
            segment.scanned(positions, size)

    def _keep(self, segment: Segment, gap: Gap) -> None:
        data = segment.read(gap.end - gap.position, gap.position - segment.start)
        first = HEADER_SIZE + (gap.header.first if gap.header is not None else 0)
        self._quarantine.keep("corrupt", segment.start, gap.position, data, gap.text, messages_in(data[first:]))

    def _damage_at(self, segment: Segment, position: int) -> Damage | None:
        """A block that was read is damaged. Its header may be, so what lies there is looked at as in a scan, and kept once."""
        if (noted := self._quarantine.noted("corrupt", position)) is not None:
            return noted
        found = next(segment.walk(self._log_id, position - segment.start), None)
        if isinstance(found, Gap):  # if not, it was read well this time
            self._keep(segment, found)
        return self._quarantine.noted("corrupt", position)

    def _join(self, segment: Segment, blocks: list[Block]) -> Commit:
        pieces, whole = join_records(blocks)
        position, end = blocks[0].position, blocks[-1].end
        if not whole:
            left = sum(len(split_records(data)[0]) for _, data in pieces)
            text = f"a commit of which {left} records are left"
            self._quarantine.note("corrupt", segment.start, position, end - position, text)
        return Commit(position, end, segment.start, pieces)

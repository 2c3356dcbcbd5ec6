"""Mends a stopped data directory: what is broken is moved to quarantine/ and never deleted, what is sound stays where it is.

Blocks name their position, so nothing in a segment can move. Where bytes are bad the segment is written anew with *fillers*
in their place: blocks in which no record begins (`first` is `length`) and whose data are zeros. Every reader of the format
passes over them. They have the numbers of the blocks that were there, and open and close commits as those did.
"""

import sqlite3
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final
from zlib import crc32

from storage import declared
from storage.api import Corrupt, StorageError
from storage.catalog import CATALOG_NAME, SqliteCatalog
from storage.declared import QUEUE_IDS, Declared, opened
from storage.files import Files
from storage.offline import QUARANTINE_NAME, Found, Lost, OfflineLog, SegmentFile
from storage.quarantine import Quarantine
from storage.records import (
    BLOCK_DATA,
    FIRST,
    HEAD_SIZE,
    HEADER_SIZE,
    LAST,
    BlockHeader,
    decode_records,
    encode_block_header,
    record_size,
    split_records,
)
from storage.replay import LOST, Replay
from storage.segment import Block

HOLE_MAX: Final = 1 << 36
"""Missing bytes that are filled at the most: 64 GiB, whose fillers take 1 GiB on a disk that knows sparse files."""
_PIECE: Final = 1024 * 1024


@dataclass(slots=True)
class Range:
    """Bytes of a segment that go, log-wide; `text` says why. `there` is false for those that are missing."""

    position: int
    end: int
    text: str


@dataclass(slots=True)
class _Survey:
    """What is wrong with a log: bad ranges by the start of their segment."""

    bad: dict[int, list[Range]] = field(default_factory=dict)
    surplus: set[int] = field(default_factory=set)
    torn: Lost | None = None

    def add(self, segment: SegmentFile, position: int, end: int, text: str) -> None:
        self.bad.setdefault(segment.start, []).append(Range(position, end, text))


def repair(directory: Path) -> Iterator[str]:
    """Mend the directory, and tell line by line what was done. The caller has its lock (storage.offline.stopped).

    Raises StorageError for newer formats, and OSError: what can't be kept in quarantine stays where it is.
    """
    files = Files()
    quarantine = Quarantine(files, directory / QUARANTINE_NAME)
    log = OfflineLog(directory)
    known = declared.read(directory)
    if known.broken:
        yield from _rebuild_catalog(directory, known, files)
        known = declared.read(directory)
    if log.log_id is None:
        yield from _move_away(log, directory / QUARANTINE_NAME, files)
        log = OfflineLog(directory)
    start = log.segments[0].start if log.segments else 0
    replay = Replay(None, None, start, lambda _: None)
    survey = _survey(log, replay)
    yield from _mend_catalog(directory, known, replay.highest_queue + 1, quarantine)
    if survey.torn is not None:
        yield _cut_tail(survey.torn, quarantine, files)
    for index, segment in enumerate(log.segments):
        if segment.start in survey.bad or segment.start in survey.surplus:
            behind = _last_header(log, log.segments[index - 1]) if index else None
            yield from _mend_segment(log, segment, survey, behind, quarantine, files)
    if survey.bad:
        yield from _losses(replay, declared.read(directory))


# --- what is wrong ------------------------------------------------------------------------------------------------


def _survey(log: OfflineLog, replay: Replay) -> _Survey:
    """Find the bad ranges, and learn from the rest of the log (and from what can be read of them) what they held."""
    survey = _Survey()
    segment: SegmentFile | None = None
    for piece in log.pieces():
        if piece.segment is not segment:
            segment = piece.segment
            replay.begin_segment()
        if isinstance(piece, Found):
            _survey_commit(piece, replay, survey)
        elif piece.kind == "torn":
            survey.torn = piece
        elif piece.kind == "cut":
            survey.surplus.add(piece.segment.start)
        else:
            replay.lose()
            if piece.kind == "corrupt":
                with piece.segment.opened() as read:
                    _salvage(read(piece.end - piece.position, piece.position - piece.segment.start), replay)
            if piece.kind != "filler" and piece.end - piece.position <= HOLE_MAX:
                survey.add(piece.segment, piece.position, piece.end, piece.text)
    return survey


def _survey_commit(found: Found, replay: Replay, survey: _Survey) -> None:
    starts = [block.position for block in found.blocks]
    replay.in_loss = found.hurt
    if found.hurt:
        replay.lose()
    for position, data in found.placed():
        try:
            for record in decode_records(data):
                replay.apply(record)
        except Corrupt as error:
            block = found.blocks[bisect_right(starts, position) - 1]
            replay.lose()
            survey.add(found.segment, block.position, block.end, f"block {block.header.number} has a record that can't be read: {error}")
    if not found.whole:
        for begin, end in _unfinished(found.blocks):
            survey.add(found.segment, begin, end, "the beginning of a record whose end is lost")


def _unfinished(blocks: list[Block]) -> Iterator[tuple[int, int]]:
    """From where to where records lie that a loss has cut off: such a record begins its block, and fills it and those behind."""
    wanted, begin, end = 0, 0, blocks[0].position
    for block in blocks:
        if wanted and block.position != end:
            yield begin, end
            wanted = 0
        first, length = block.header.first, len(block.data)
        wanted = max(wanted - first, 0)
        if first < length:
            _, rest = split_records(block.data, first)
            if length - rest >= HEAD_SIZE:
                wanted, begin = record_size(block.data, rest) - (length - rest), block.position
        end = block.end
    if wanted:
        yield begin, end


def _salvage(data: bytes, replay: Replay) -> None:
    """Tell `replay` which messages the bad bytes of a block name, as far as they can be read."""
    header = int.from_bytes(data[52:56], "little")  # where the first record begins
    records, _ = split_records(data[HEADER_SIZE:], header if header < len(data) - HEADER_SIZE else 0)
    for record in records:
        with suppress(Corrupt):
            for decoded in decode_records(record):
                replay.salvage(decoded)


def _losses(replay: Replay, known: Declared) -> Iterator[str]:
    told = False
    for queue_id, ids in sorted(replay.queues.items()):
        if (count := ids.count(LOST)) and queue_id in known.queues:
            told = True
            lost = ids.ids(LOST)
            yield f"{known.name(queue_id)}: {count} messages that were not settled are lost, with ids from {lost[0]} to {lost[-1]}"
    for first, last in replay.losses.ids():
        upto = f"to {last}" if last else "on"
        yield f"what is lost may have held messages with ids from {first} {upto}; for which queues can be told only where it is said above"
        told = True
    if replay.unrouted:
        yield f"{replay.unrouted} messages are there, but not the names of their queues, which were in what is lost"
    if not told:
        yield "no message is known to be lost"
    yield "acknowledgements may be lost too: messages that were done with may come back"


# --- the log ------------------------------------------------------------------------------------------------------


def _move_away(log: OfflineLog, quarantine: Path, files: Files) -> Iterator[str]:
    """Not one block can be read: a start begins a new log."""
    for segment in log.segments:
        if not segment.file_size:
            continue
        files.make_directory(quarantine)
        place = _free_name(quarantine, segment.path.name)
        files.rename(segment.path, place)
        files.sync_directory(quarantine)
        files.sync_directory(log.directory)
        yield f"log/{segment.path.name}: nothing in it can be read; moved to {QUARANTINE_NAME}/{place.name}"


def _cut_tail(torn: Lost, quarantine: Quarantine, files: Files) -> str:
    """As a start does it."""
    descriptor = files.open(torn.segment.path)
    try:
        data = files.read(descriptor, torn.end - torn.position, torn.position - torn.segment.start)
        name = quarantine.save(f"{torn.position:020d}-{len(data)}.torn", data)
        files.truncate(descriptor, torn.position - torn.segment.start)
        files.sync(descriptor)
    finally:
        files.close(descriptor)
    return f"the torn tail of {len(data)} bytes ({torn.text}) was cut off, as a start does, and is {QUARANTINE_NAME}/{name}"


def _mend_segment(
    log: OfflineLog, segment: SegmentFile, survey: _Survey, behind: BlockHeader | None, quarantine: Quarantine, files: Files
) -> Iterator[str]:
    """Write the segment anew, fillers in place of what is bad. `behind` is the last header of the segments before."""
    end = segment.end if segment.following is not None else log.end
    ranges = _merged(survey.bad.get(segment.start, []))
    end = max([end, *(item.end for item in ranges)])
    fillers: list[BlockHeader] = []
    for item, (before, after) in zip(ranges, _neighbours(log, segment, ranges, end), strict=True):
        fillers += _fillers(log.log_id or 0, item, before, after, behind)
    with segment.opened() as read:
        for item in ranges:
            there = read(item.end - item.position, item.position - segment.start)
            if there:
                name = quarantine.save(f"{item.position:020d}-{len(there)}.corrupt", there)
                yield f"log/{segment.path.name}, {len(there)} bytes at position {item.position} ({item.text}): {QUARANTINE_NAME}/{name}"
            if len(there) < item.end - item.position:
                missing = item.end - item.position - len(there)
                yield f"log/{segment.path.name}, {missing} bytes before position {item.end} are missing: filled"
        if segment.file_size > end - segment.start and segment.following is not None:
            surplus = read(segment.file_size, end - segment.start)
            name = quarantine.save(f"{end:020d}-{len(surplus)}.corrupt", surplus)
            yield f"log/{segment.path.name}, {len(surplus)} bytes behind its end: {QUARANTINE_NAME}/{name}"
        path = segment.path.with_name(f"{segment.path.name}.repaired")
        with suppress(FileNotFoundError):
            files.unlink(path)  # of a repair that was interrupted
        descriptor = files.open(path, create=True)
        try:
            at = segment.start
            for item in [*ranges, Range(end, end, "")]:
                while at < item.position:
                    data = read(min(_PIECE, item.position - at), at - segment.start)
                    if not data:
                        raise StorageError(f"{segment.path} changes while it is read")
                    files.write(descriptor, data, at - segment.start)
                    at += len(data)
                at = item.end
            for header in fillers:
                encoded = bytearray(HEADER_SIZE)
                encode_block_header(encoded, 0, header)
                files.write(descriptor, encoded, header.position - segment.start)
            files.truncate(descriptor, end - segment.start)  # the zeros of the fillers need not be written
            files.sync(descriptor)
        finally:
            files.close(descriptor)
    files.rename(path, segment.path)
    files.sync_directory(segment.path.parent)


def _merged(ranges: list[Range]) -> list[Range]:
    merged: list[Range] = []
    for item in sorted(ranges, key=lambda item: item.position):
        if merged and item.position <= merged[-1].end:
            last = merged[-1]
            last.end = max(last.end, item.end)
            last.text = f"{last.text}; {item.text}"
        else:
            merged.append(Range(item.position, item.end, item.text))
    return merged


def _neighbours(
    log: OfflineLog, segment: SegmentFile, ranges: list[Range], end: int
) -> list[tuple[BlockHeader | None, BlockHeader | None]]:
    """For each range the headers of the nearest blocks before and behind it that stay."""
    pairs: list[tuple[BlockHeader | None, BlockHeader | None]] = []
    last: BlockHeader | None = None
    with segment.items(log.log_id) as items:
        for item in items:
            if item.position >= end or len(pairs) == len(ranges):
                break
            if not isinstance(item, Block) or any(bad.position <= item.position < bad.end for bad in ranges):
                continue
            while len(pairs) < len(ranges) and ranges[len(pairs)].end <= item.position:
                pairs.append((last, item.header))
            last = item.header
    return pairs + [(last, None)] * (len(ranges) - len(pairs))


def _fillers(
    log_id: int, item: Range, before: BlockHeader | None, after: BlockHeader | None, behind: BlockHeader | None
) -> list[BlockHeader]:
    """The headers of the blocks that fill a range: `before` and `after` are the nearest in the segment that stay."""
    length = item.end - item.position
    if length < HEADER_SIZE:
        raise StorageError(
            f"{length} bad bytes at position {item.position} are fewer than a block has: this is no damage that repair knows"
        )
    sizes = _sizes(length)
    known = before or behind
    if known is not None and after is not None and known.number + len(sizes) >= after.number and length < 1 << 32:
        sizes = [length]  # one number will do
    if known is not None:
        number, epoch, synced = known.number + 1, known.epoch, known.synced
    else:
        number, epoch, synced = (max(after.number - len(sizes), 1), after.epoch, 0) if after is not None else (1, 1, 0)
    opens = before is None or bool(before.flags & LAST)
    closes = after is None or bool(after.flags & FIRST)
    headers = []
    position = item.position
    for index, size in enumerate(sizes):
        flags = (FIRST if opens and index == 0 else 0) | (LAST if closes and index == len(sizes) - 1 else 0)
        data = size - HEADER_SIZE
        headers.append(BlockHeader(flags, log_id, epoch, number + index, position, synced, data, data, _crc_of_zeros(data)))
        position += size
    return headers


def _sizes(length: int) -> list[int]:
    """The sizes of blocks that take up `length` bytes together, each with room for its header."""
    biggest = HEADER_SIZE + BLOCK_DATA
    count = -(-length // biggest)
    sizes = [biggest] * (count - 1) + [length - biggest * (count - 1)]
    if sizes[-1] < HEADER_SIZE:
        sizes[-2] -= HEADER_SIZE
        sizes[-1] += HEADER_SIZE
    return sizes


@lru_cache(maxsize=8)
def _crc_of_zeros(length: int) -> int:
    return crc32(bytes(length))


def _last_header(log: OfflineLog, segment: SegmentFile) -> BlockHeader | None:
    """Of the segment as it is now: it may have been mended."""
    last = None
    now = SegmentFile(segment.path, segment.start, segment.path.stat().st_size, 0, segment.following)
    with now.items(log.log_id) as items:
        for item in items:
            if isinstance(item, Block):
                last = item.header
    return last


# --- the catalog --------------------------------------------------------------------------------------------------


def _rebuild_catalog(directory: Path, known: Declared, files: Files) -> Iterator[str]:
    """Put what can be read of a broken catalog into a new one, and keep the broken one."""
    path, quarantine = directory / CATALOG_NAME, directory / QUARANTINE_NAME
    rows: dict[str, bytes] = {}
    if path.exists():
        for order in ("", " ORDER BY key DESC"):  # from both ends up to what is broken
            with suppress(sqlite3.DatabaseError, TypeError), opened(path) as database:
                for key, value in database.execute(f"SELECT key, value FROM entries{order}"):
                    rows[key] = bytes(value)
        files.make_directory(quarantine)
        place = _free_name(quarantine, CATALOG_NAME)
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                files.rename(path.with_name(path.name + suffix), place.with_name(place.name + suffix))
        files.sync_directory(quarantine)
        files.sync_directory(directory)
        yield f"the catalog ({known.broken}) is {QUARANTINE_NAME}/{place.name}"
    _change(directory, rows, [])
    yield f"a new catalog has the {len(rows)} entries that could be read; queues that are not among them lose their messages"


def _mend_catalog(directory: Path, known: Declared, next_queue: int, quarantine: Quarantine) -> Iterator[str]:
    """Take out the entries that a start can't use, and see to it that queue ids are one queue's and never given out twice."""
    puts: dict[str, bytes] = {}
    next_queue = max(next_queue, known.next_queue)
    if known.shared:
        catalog = SqliteCatalog(directory)
        for key in known.shared:
            entry = catalog.get(key)
            if entry is not None:
                puts[key] = declared.with_id(entry.value, next_queue)
                yield f"the catalog's entry {key}: gets the id {next_queue}; the messages stay with the other queue"
                next_queue += 1
        catalog.close()
    if next_queue > known.next_queue:
        puts[QUEUE_IDS] = declared.next_id(next_queue)
        yield f"new queues get ids from {next_queue} on"
    for key, reason in known.bad.items():
        catalog = SqliteCatalog(directory)
        entry = catalog.get(key)
        catalog.close()
        name = quarantine.save(f"catalog.{_file_name(key)}.json", entry.value if entry is not None else b"")
        yield f"the catalog's entry {key} ({reason}): {QUARANTINE_NAME}/{name}"
    if puts or known.bad:
        _change(directory, puts, list(known.bad))
    again = declared.read(directory)
    if again.bad and again.bad.keys() != known.bad.keys():  # what led to an entry that is gone now
        yield from _mend_catalog(directory, again, 0, quarantine)


def _change(directory: Path, puts: dict[str, bytes], deletions: list[str]) -> None:
    """Raises StorageError if the catalog can't be written."""
    catalog = SqliteCatalog(directory)
    answers: list[StorageError | None] = []
    for key, value in puts.items():
        catalog.put(key, value, answers.append)
    for key in deletions:
        catalog.delete(key, answers.append)
    catalog.close()
    for answer in answers:
        if answer is not None:
            raise answer


def _file_name(key: str) -> str:
    """A catalog key as a file's name; its parts are percent-encoded already."""
    return key.replace("/", ".")[:150]


def _free_name(directory: Path, name: str) -> Path:
    taken = set(Files().names(directory))
    return directory / next(
        unique for unique in (name, *(f"{name}.{number}" for number in range(2, len(taken) + 3))) if unique not in taken
    )

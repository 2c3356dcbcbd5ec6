"""Reads and checks a data directory from outside: nothing is written, no lock is taken, no broker need be stopped.

What a running broker is writing at that moment may show as a torn tail.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote

from storage.api import Corrupt, Damage
from storage.catalog import CATALOG_NAME
from storage.files import Files
from storage.records import (
    COPY,
    FIRST,
    LAST,
    TARGET_IS_SET,
    TRANSIENT,
    Delivered,
    Enqueue,
    Record,
    Requeue,
    RouteSet,
    Settle,
    SettleRange,
    decode_records,
    split_records,
)
from storage.segment import Block, Gap, find_tail, first_log_id, join_records, segment_name, segment_start, walk

_SHOWN: Final = 8  # ids of a record, and bytes of its routing times four: a line is to be read


@dataclass(slots=True)
class Report:
    """What `verify` found. `catalog` says what is wrong with the catalog, "" if nothing is."""

    segments: int = 0
    blocks: int = 0
    commits: int = 0
    records: int = 0
    messages: int = 0
    size: int = 0
    entries: int = 0
    damage: list[Damage] = field(default_factory=list)
    catalog: str = ""

    @property
    def ok(self) -> bool:
        """Whether a start would find nothing damaged. A torn tail is none: it is what a crash leaves."""
        return not self.catalog and all(damage.kind == "torn" for damage in self.damage)


@dataclass(frozen=True, slots=True)
class _Segment:
    """A segment file as it lies there; `size` ends where the next segment begins."""

    path: Path
    start: int
    size: int
    last: bool

    @contextmanager
    def items(self, log_id: int | None) -> Iterator[Iterator[Block | Gap]]:
        """Its blocks and gaps, while the file is open."""
        files = Files()
        descriptor = files.open(self.path, readonly=True)
        try:
            yield walk(partial(files.read, descriptor), self.start, self.size, log_id)
        finally:
            files.close(descriptor)


def dump(directory: Path) -> Iterator[str]:
    """The log of a data directory as lines: segments, in them blocks, and the records behind the last of a commit.

    Raises StorageError for a newer format, OSError where there is no log.
    """
    segments = _segments(directory)
    log_id = _log_id(segments)
    for segment in segments:
        yield f"segment {segment.path.name}: {segment.size} bytes"
        with segment.items(log_id) as items:
            blocks: list[Block] = []
            for item in items:
                if isinstance(item, Gap):
                    yield f"  damage at {item.position}, {item.end - item.position} bytes: {item.text}"
                    continue
                yield f"  {_describe_block(item)}"
                blocks.append(item)
                if item.header.flags & LAST:
                    yield from (f"    {line}" for line in _describe_commit(blocks))
                    blocks = []
            if blocks:
                yield "    a commit without its end"


def verify(directory: Path) -> Report:
    """Read all of a data directory and check every checksum and every record.

    Raises StorageError for a newer format, OSError where there is no log.
    """
    report = Report()
    segments = _segments(directory)
    log_id = _log_id(segments)
    end = segments[0].start if segments else 0
    number = 0
    for segment in segments:
        if end < segment.start:
            report.damage.append(Damage("missing", segment.start, end, segment.start - end, "bytes of the log are gone"))
        end = segment.start + segment.size
        report.segments += 1
        report.size += segment.size
        number = _verify_segment(segment, log_id, number, report)
    _verify_catalog(directory / CATALOG_NAME, report)
    return report


def describe(record: Record) -> str:
    """A record as a line."""
    match record:
        case Enqueue():
            names = ((TRANSIENT, " transient"), (COPY, " copy"))
            flags = "".join(name for flag, name in names if record.flags & flag)
            target = "set" if record.flags & TARGET_IS_SET else "queue"
            time = datetime.fromtimestamp(record.timestamp_ms / 1000, UTC).isoformat(timespec="milliseconds")
            return (
                f"enqueue{flags} {record.first_id}+{len(record.bodies)} to {target} {record.target} at {time}: "
                f"{len(record.bodies)} * {len(record.bodies[0])} bytes, header {len(record.header)} bytes, "
                f"routing {record.routing[: 4 * _SHOWN]!r}"
            )
        case RouteSet():
            return f"route set {record.set_id}: {_some(record.queue_ids)}"
        case Settle():
            return f"settle queue {record.queue_id}: {_some(record.message_ids)}"
        case SettleRange():
            return f"settle queue {record.queue_id}: {record.first_id} to {record.last_id}"
        case Requeue():
            return f"requeue queue {record.queue_id}: {_some(tuple(f'{message} ({count})' for message, count in record.counts))}"
        case Delivered():
            return f"delivered queue {record.queue_id}: up to {record.message_id}"


def _some(values: tuple[object, ...]) -> str:
    shown = " ".join(map(str, values[:_SHOWN]))
    return shown if len(values) <= _SHOWN else f"{shown} and {len(values) - _SHOWN} more"


def _describe_block(block: Block) -> str:
    header = block.header
    flags = "".join(name for flag, name in ((FIRST, ", first"), (LAST, ", last")) if header.flags & flag)
    return f"block {header.number} at {block.position}: {header.length} bytes, epoch {header.epoch}, synced {header.synced}{flags}"


def _describe_commit(blocks: list[Block]) -> Iterator[str]:
    pieces, whole = join_records(blocks)
    records = [record for _, data in pieces for record in split_records(data)[0]]
    if not whole:
        yield f"a damaged commit, of which {len(records)} records are left"
    for data in records:
        try:
            yield from map(describe, decode_records(data))
        except Corrupt as error:
            yield f"unreadable record: {error}"


def _segments(directory: Path) -> list[_Segment]:
    log = directory / "log"
    starts = [start for start in map(segment_start, Files().names(log)) if start is not None]
    segments = []
    for start, following in zip(starts, [*starts[1:], None], strict=True):
        path = log / segment_name(start)
        size = path.stat().st_size
        segments.append(_Segment(path, start, size if following is None else min(size, following - start), following is None))
    return segments


def _log_id(segments: list[_Segment]) -> int | None:
    with ExitStack() as stack:

        def opened(segment: _Segment, log_id: int | None) -> Iterator[Block | Gap]:
            return stack.enter_context(segment.items(log_id))

        return first_log_id([partial(opened, segment) for segment in segments])


def _verify_segment(segment: _Segment, log_id: int | None, number: int, report: Report) -> int:
    """Check one segment into `report`; takes and returns the number of the last block."""
    end = segment.start + segment.size
    if segment.last:
        with segment.items(log_id) as items:
            tail = find_tail(items, segment.start, number)
        if tail.end < end:
            report.damage.append(Damage("torn", segment.start, tail.end, end - tail.end, tail.text))
            end = tail.end
    blocks: list[Block] = []
    with segment.items(log_id) as items:
        for item in items:
            if item.position >= end:
                break
            if isinstance(item, Gap):
                report.damage.append(Damage("corrupt", segment.start, item.position, item.end - item.position, item.text))
                continue
            number = item.header.number
            report.blocks += 1
            blocks.append(item)
            if item.header.flags & LAST:
                _verify_commit(segment, blocks, report)
                blocks = []
    if blocks:
        _verify_commit(segment, blocks, report)
    return number


def _verify_commit(segment: _Segment, blocks: list[Block], report: Report) -> None:
    pieces, whole = join_records(blocks)
    records = [record for _, data in pieces for record in split_records(data)[0]]
    report.commits += 1
    position, length = blocks[0].position, blocks[-1].end - blocks[0].position
    if not whole:
        report.damage.append(Damage("corrupt", segment.start, position, length, f"a commit of which {len(records)} records are left"))
    for data in records:
        try:
            for record in decode_records(data):
                report.records += 1
                report.messages += len(record.bodies) if isinstance(record, Enqueue) else 0
        except Corrupt as error:
            report.damage.append(Damage("corrupt", segment.start, position, length, str(error)))


def _verify_catalog(path: Path, report: Report) -> None:
    if not path.exists():
        report.catalog = f"{path.name} is not there"
        return
    # Without a write-ahead log nobody has it open, and SQLite can be kept from making its files beside it.
    mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True)) as database:
            problems = [text for (text,) in database.execute("PRAGMA integrity_check") if text != "ok"]
            (report.entries,) = database.execute("SELECT count(*) FROM entries").fetchone()
        report.catalog = "; ".join(problems)
    except sqlite3.DatabaseError as error:
        report.catalog = f"{path.name} can't be read: {error}"

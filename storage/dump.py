"""The log of a data directory as it lies there, block by block and record by record: nothing is written, no lock is taken, no
broker need be stopped. What a running broker is writing at that moment may show as damage at the end.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from storage.api import Corrupt
from storage.offline import OfflineLog
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
from storage.segment import Block, Gap, join_records

_SHOWN: Final = 8  # ids of a record, and bytes of its routing times four: a line is to be read


def dump(directory: Path) -> Iterator[str]:
    """The log of a data directory as lines: segments, in them blocks, and the records behind the last of a commit.

    Raises StorageError for a newer format, OSError where there is no log.
    """
    log = OfflineLog(directory)
    for segment in log.segments:
        yield f"segment {segment.path.name}: {segment.size} bytes"
        with segment.items(log.log_id) as items:
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
                f"{_sizes(record)}, "
                f"routing {record.routing_of(0)[: 4 * _SHOWN]!r}" + (" and others" if record.routings is not None else "")
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


def _sizes(record: Enqueue) -> str:
    if record.headers is None:
        return f"{len(record.bodies)} * {len(record.bodies[0])} bytes, header {len(record.header)} bytes"
    sizes = " ".join(str(len(body)) for body in record.bodies[:_SHOWN]) + (" ..." if len(record.bodies) > _SHOWN else "")
    return f"bodies of {sizes} bytes, headers {sum(map(len, record.headers))} bytes"


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

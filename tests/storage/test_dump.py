"""Reading a data directory from outside, broker running or not."""

from pathlib import Path

import pytest

from storage.dump import describe, dump
from storage.local import LocalStore
from storage.records import (
    COPY,
    TARGET_IS_SET,
    TRANSIENT,
    decode_records,
    encode_delivered,
    encode_enqueue,
    encode_requeue,
    encode_route_set,
    encode_settle,
    encode_settle_range,
)
from tests.storage.calls import append, message, put


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A data directory with three commits in two segments, one of them big; the store is closed."""
    store = LocalStore(tmp_path / "data")
    put(store.catalog, "queue/a", b"{}")
    append(store.log, [message(1), encode_settle(7, [1])])
    append(store.log, [message(2, 600_000)])
    append(store.log, [message(3)], roll=True)
    store.close()
    return tmp_path / "data"


def snapshot(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_every_record_is_a_line() -> None:
    records = [
        encode_enqueue(5, 7, 1_700_000_000_000, b"ex\x00key", b"hdr", [b"ab", b"cd"], TRANSIENT | TARGET_IS_SET | COPY),
        encode_route_set(9, [1, 2]),
        encode_settle(7, range(10)),
        encode_settle_range(7, 3, 5),
        encode_requeue(7, [(3, 2)]),
        encode_delivered(7, 4),
    ]
    assert [describe(record) for record in decode_records(b"".join(records))] == [
        "enqueue transient copy 5+2 to set 7 at 2023-11-14T22:13:20.000+00:00: 2 * 2 bytes, header 3 bytes, routing b'ex\\x00key'",
        "route set 9: 1 2",
        "settle queue 7: 0 1 2 3 4 5 6 7 and 2 more",
        "settle queue 7: 3 to 5",
        "requeue queue 7: 3 (2)",
        "delivered queue 7: up to 4",
    ]


def test_a_dump_shows_segments_blocks_and_records(directory: Path) -> None:
    before = snapshot(directory)
    lines = list(dump(directory))
    assert [line.split(":")[0] for line in lines if line.startswith("segment")] == [
        f"segment {path.name}" for path in sorted((directory / "log").iterdir())
    ]
    assert sum("enqueue" in line for line in lines) == 3
    assert sum("settle queue 7: 1" in line for line in lines) == 1
    assert sum(line.startswith("  block") for line in lines) == 8, "two heads, one, three, one, and the last that vouches"
    assert snapshot(directory) == before, "nothing is written"

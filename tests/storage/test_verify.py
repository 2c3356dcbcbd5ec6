"""What verify finds in a stopped data directory, and what it takes for granted."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest

from storage.api import Fenced, StorageError
from storage.catalog import CATALOG_NAME
from storage.local import LocalStore
from storage.offline import stopped
from storage.records import (
    COPY,
    HEADER_SIZE,
    NO_HEADER,
    TARGET_IS_SET,
    TRANSIENT,
    BlockHeader,
    Enqueue,
    decode_block_header,
    encode_block_header,
    encode_delivered,
    encode_enqueue,
    encode_requeue,
    encode_route_set,
    encode_settle,
    encode_settle_range,
)
from storage.replay import Replay
from storage.verify import Report, verify
from tests.storage.calls import append, message, put


def enqueue(first: int, target: int = 7, count: int = 1, flags: int = 0) -> bytes:
    return encode_enqueue(first, target, 0, b"\x00\x01q", b"header", [b"body"] * count, flags)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    """A store that declares the queues 7 and 8; `verify` reads it once it is closed."""
    store = LocalStore(tmp_path / "data")
    put(store.catalog, "ids/queue", b'{"next":1001}')
    put(store.catalog, "vhost/%2F", b"{}")
    for number in (7, 8):
        put(store.catalog, f"queue/%2F/q{number}", b'{"id":%d,"auto_delete":false,"arguments":{}}' % number)
    yield store
    store.close()


def checked(store: LocalStore, *commits: list[bytes]) -> Report:
    """What verify says of a log with these commits, each in a segment of its own."""
    for at, commit in enumerate(commits):
        append(store.log, commit, roll=at > 0)
    store.close()
    return verify(store.directory)


def test_a_sound_directory(store: LocalStore) -> None:
    report = checked(
        store,
        [encode_route_set(1, [7, 8]), enqueue(1, count=5), enqueue(6, 1, flags=TARGET_IS_SET), encode_settle_range(7, 1, 3)],
        [enqueue(9, flags=TRANSIENT), encode_settle(7, [5]), encode_requeue(7, [(4, 1)]), encode_delivered(7, 6), encode_settle(500, [3])],
        [enqueue(4, flags=COPY), message(10, 600_000)],
    )
    assert report.problems == [] and report.ok
    assert (report.segments, report.blocks, report.commits, report.records, report.messages) == (3, 10, 7, 11, 8)
    assert report.live == {7: 3, 8: 1}, "4, 6 and 10; 6"
    assert report.declared.entries == 4


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ([enqueue(1, 1001)], "a record (enqueue) names queue 1001, an id that was never given out"),
        ([encode_settle(2000, [1])], "a record (settle) names queue 2000, an id that was never given out"),
        ([encode_requeue(2000, [(1, 1)])], "a record (requeue) names queue 2000, an id that was never given out"),
        ([encode_delivered(2000, 1)], "a record (delivered) names queue 2000, an id that was never given out"),
        ([enqueue(1, 3, flags=TARGET_IS_SET)], "message 1 goes to route set 3, which its segment doesn't define"),
        ([enqueue(5), enqueue(4)], "message 4 comes behind message 5: ids must rise, and come once"),
        ([enqueue(5), enqueue(5)], "message 5 comes behind message 5: ids must rise, and come once"),
        ([enqueue(5), encode_settle(7, [4])], "message 4 of queue 7 is settled, and was never put into it"),
        ([enqueue(5), encode_settle(8, [5])], "message 5 of queue 8 is settled, and was never put into it"),
        ([enqueue(5, count=2), encode_settle_range(7, 5, 7)], "message 7 of queue 7 is settled, and was never put into it"),
        ([enqueue(5), encode_settle(7, [5]), enqueue(5, flags=COPY)], "message 5 of queue 7 was settled, and is copied afterwards"),
        ([b"\x09" + bytes(7)], "a record that can't be read: unknown record type 9"),
    ],
)
def test_records_that_do_not_fit_together(store: LocalStore, records: list[bytes], problem: str) -> None:
    report = checked(store, records)
    assert report.problems == [f"log/{0:020d}.segment at position {HEADER_SIZE}: {problem}"]


def test_a_route_set_ends_with_its_segment(store: LocalStore) -> None:
    report = checked(store, [encode_route_set(1, [7, 8]), enqueue(1, 1, flags=TARGET_IS_SET)], [enqueue(2, 1, flags=TARGET_IS_SET)])
    assert [problem.partition(": ")[2] for problem in report.problems] == [
        "message 2 goes to route set 1, which its segment doesn't define"
    ]


def test_what_went_with_the_oldest_segments_may_still_be_settled(store: LocalStore) -> None:
    append(store.log, [enqueue(1)])
    second = append(store.log, [encode_settle(7, [1]), enqueue(2)], roll=True)
    store.log.truncate(second.start)
    report = checked(store, [encode_settle(7, [1, 2])])
    assert report.problems == [] and report.segments == 1


def rewritten(path: Path, at: int, **changes: int) -> None:
    """Change fields of the block header at a byte of a file, with a right checksum."""
    content = bytearray(path.read_bytes())
    header = decode_block_header(content, at)
    assert header is not None
    encode_block_header(content, at, header._replace(**changes))
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"number": 1}, "block 1 follows block 1: numbers must rise"),
        ({"epoch": 0}, "block 2 is of epoch 0, behind one of epoch 1"),
        ({"synced": 2}, "block 2 says that block 2 was synced before it was written"),
    ],
)
def test_headers_that_do_not_follow_one_another(store: LocalStore, changes: dict[str, int], problem: str) -> None:
    append(store.log, [enqueue(1)])
    store.close()
    (segment,) = (store.directory / "log").iterdir()
    rewritten(segment, HEADER_SIZE, **changes)
    assert problem in verify(store.directory).problems[0]


def test_damage_is_named_with_its_file_and_position(store: LocalStore) -> None:
    append(store.log, [enqueue(1)])
    end = append(store.log, [enqueue(2)]).end
    store.close()
    (segment,) = (store.directory / "log").iterdir()
    content = bytearray(segment.read_bytes())
    content[end - 1] ^= 1
    segment.write_bytes(content)
    report = verify(store.directory)
    (problem,) = report.problems
    assert problem.startswith(f"log/{segment.name} at position ") and "block 3: the data don't match their checksum" in problem
    assert segment.read_bytes() == content, "nothing is written"


def test_a_torn_tail_is_told_and_is_no_damage(store: LocalStore) -> None:
    append(store.log, [enqueue(1)])
    store.close()
    (segment,) = (store.directory / "log").iterdir()
    segment.write_bytes(segment.read_bytes() + b"torn")
    report = verify(store.directory)
    assert report.ok and report.torn == 4


def test_a_missing_segment_and_a_broken_catalog_are_found(store: LocalStore) -> None:
    for number in (1, 2, 3):
        append(store.log, [enqueue(number)], roll=True)
    store.close()
    sorted((store.directory / "log").iterdir())[1].unlink()
    (store.directory / CATALOG_NAME).write_bytes(b"nothing that SQLite knows" * 50)
    catalog, missing = verify(store.directory).problems
    assert catalog.startswith("the catalog: catalog.sqlite3 can't be read")
    assert "bytes of the log are not there" in missing


def test_a_running_brokers_directory_is_refused(store: LocalStore) -> None:
    with pytest.raises(Fenced, match="in use by another broker, process"), stopped(store.directory):
        pass


def test_a_newer_block_is_refused(store: LocalStore) -> None:
    store.close()
    (segment,) = (store.directory / "log").iterdir()
    header = bytearray(NO_HEADER)
    encode_block_header(header, 0, BlockHeader(3, 1, 1, 1, 0, 0, 0, 0, 0))
    header[4] = 9
    header[-4:] = crc32(header[:-4]).to_bytes(4, "little")
    segment.write_bytes(header)
    with pytest.raises(StorageError, match="format 9"):
        verify(store.directory)


def test_many_messages_take_little_memory() -> None:
    """Messages by turns in two queues, so that no two ids of a queue follow one another: 17 bytes each."""
    replay = Replay(None, None, 0, pytest.fail)
    tracemalloc.start()
    try:
        for number in range(1, 100_001):
            replay.apply(Enqueue(number, 7 + number % 2, 0, b"", b"", [b""]))
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 100_000 * 25

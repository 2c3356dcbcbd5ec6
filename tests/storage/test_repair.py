"""What is broken goes to quarantine; a start serves all the rest, and finds nothing to complain of."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.catalog import CATALOG_NAME, SqliteCatalog
from storage.local import LocalStore
from storage.log import FileLog
from storage.records import TARGET_IS_SET, encode_delivered, encode_enqueue, encode_requeue, encode_route_set, encode_settle
from storage.repair import repair
from storage.verify import verify
from tests.storage.calls import append, put

QUEUES = (1, 2, 3)
BLOCK = 256


def fill(directory: Path, chance: random.Random, commits: int = 40) -> None:
    """A data directory with three queues and commits of every kind, several segments and several lives."""
    catalog = SqliteCatalog(directory)
    put(catalog, "vhost/%2F", b"{}")
    put(catalog, "ids/queue", b'{"next":1001}')
    for number in QUEUES:
        put(catalog, f"queue/%2F/q{number}", b'{"id":%d,"auto_delete":false,"arguments":{}}' % number)
    catalog.close()
    log = FileLog(directory, block_size=BLOCK)
    number, waiting, named = 1, [], False
    for at in range(commits):
        roll = at > 0 and chance.random() < 0.15
        records = []
        if roll or not named:
            records.append(encode_route_set(1, [2, 3]))
            named = True
        for _ in range(chance.choice((1, 1, 3, 8))):
            count, size = chance.choice(((1, 10), (3, 5), (1, 900), (1, 0)))
            bodies = [bytes([number % 256]) * size] * count
            flags = chance.choice((0, TARGET_IS_SET))
            records.append(encode_enqueue(number, 1, 1_700_000_000_000, b"\x00\x02q1", b"header", bodies, flags))
            waiting += [(queue, number + index) for index in range(count) for queue in ((2, 3) if flags else (1,))]
            number += count
        for queue in QUEUES:
            ids = [message for owner, message in waiting if owner == queue and chance.random() < 0.4]
            if ids:
                waiting = [pair for pair in waiting if pair not in {(queue, message) for message in ids}]
                records += [encode_delivered(queue, max(ids)), encode_requeue(queue, [(ids[0], 1)]), encode_settle(queue, ids)]
        append(log, records, sync=chance.random() < 0.7, roll=roll)
        if chance.random() < 0.1:
            log.close()
            log = FileLog(directory, block_size=BLOCK)
    log.close()


def served(directory: Path) -> tuple[list[bytes], list[str]]:
    """The records that a start of a copy of the directory finds, and the damage it tells of."""
    copy = directory.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(directory, copy)
    log = FileLog(copy)
    records = [record for commit in log.scan() for record in commit.records]
    damage = [damage.text for damage in log.damage()]
    log.close()
    return records, damage


def flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice((1, 1, 2, 5))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def wipe(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    first = chance.randrange(len(content))
    length = min(chance.choice((1, 64, 500, 3000)), len(content) - first)
    content[first : first + length] = bytes(length)
    path.write_bytes(content)


def shorten(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size)])


def lengthen(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes() + chance.randbytes(chance.choice((1, 100))))


def remove(path: Path, _: random.Random) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [flip, wipe, shorten, lengthen, remove])
@pytest.mark.parametrize("seed", range(12))
def test_after_a_repair_a_start_finds_what_it_would_have_found_and_no_damage(
    tmp_path: Path, seed: int, harm: Callable[[Path, random.Random], None]
) -> None:
    chance = random.Random(seed)
    directory = tmp_path / "data"
    fill(directory, chance)
    assert verify(directory).problems == []
    assert list(repair(directory)) == [], "nothing to do"
    segments = sorted((directory / "log").iterdir())
    for path in chance.sample(segments, min(len(segments), chance.choice((1, 2)))):
        harm(path, chance)
    before, _ = served(directory)
    bad = not verify(directory).ok
    lines = list(repair(directory))
    assert bool(lines) or not bad
    report = verify(directory)
    assert report.problems == []
    after, damage = served(directory)
    assert after == before, "a repair loses nothing that a start would still have found"
    assert damage == []
    assert list(repair(directory)) == [], "once is enough"


def broken(tmp_path: Path) -> tuple[Path, Path, list[int]]:
    """Three commits of a message each in one segment; where they begin."""
    directory = tmp_path / "data"
    store = LocalStore(directory)
    put(store.catalog, "vhost/%2F", b"{}")
    put(store.catalog, "ids/queue", b'{"next":1001}')
    put(store.catalog, "queue/%2F/tasks", b'{"id":7,"auto_delete":false,"arguments":{}}')
    starts = [append(store.log, [encode_enqueue(number, 7, 0, b"\x00\x05tasks", b"h", [b"body"])]).start for number in (1, 2, 3)]
    append(store.log, [encode_settle(7, [1])])
    store.close()
    return directory, next((directory / "log").iterdir()), starts


def test_it_tells_what_was_lost_and_keeps_the_bytes(tmp_path: Path) -> None:
    directory, segment, starts = broken(tmp_path)
    content = bytearray(segment.read_bytes())
    content[starts[1] + 121] ^= 1
    segment.write_bytes(content)
    lines = list(repair(directory))
    length = starts[2] - starts[1]
    kept = f"{starts[1]:020d}-{length}.corrupt"
    assert (directory / "quarantine" / kept).read_bytes() == content[starts[1] : starts[2]]
    assert lines[0].endswith(f"quarantine/{kept}")
    assert "queue 'tasks' in vhost '/': 1 messages that were not settled are lost, with ids from 2 to 2" in lines
    assert any("ids from 2 to 2;" in line for line in lines)
    assert [path.name for path in (directory / "log").iterdir()] == [segment.name], "and no file is left beside it"
    assert segment.stat().st_size == len(content)


def test_a_log_without_one_whole_block_is_moved_away(tmp_path: Path) -> None:
    directory, segment, _ = broken(tmp_path)
    size = segment.stat().st_size
    segment.write_bytes(b"x" * size)
    lines = list(repair(directory))
    assert (directory / "quarantine" / segment.name).read_bytes() == b"x" * size
    assert "nothing in it can be read" in lines[0]
    assert verify(directory).ok
    LocalStore(directory).close()


def test_entries_that_a_start_stumbles_over_are_taken_out(tmp_path: Path) -> None:
    directory, _, _ = broken(tmp_path)
    catalog = SqliteCatalog(directory)
    put(catalog, "queue/%2F/later", b'{"id":7,"auto_delete":false,"arguments":{}}')
    put(catalog, "queue/gone/q", b'{"id":8,"auto_delete":false,"arguments":{}}')
    put(catalog, "exchange/%2F/e", b"{not json")
    put(catalog, "binding/%2F/e/queue/tasks/1-a-b", b'{"routing_key":"k","arguments":{}}')
    catalog.close()
    problems = "\n".join(verify(directory).problems)
    for text in (
        "queue/gone/q: it needs vhost/gone",
        "exchange/%2F/e: ",
        "it needs exchange/%2F/e",
        "queue/%2F/later: another queue has its id 7",
    ):
        assert text in problems
    list(repair(directory))
    assert verify(directory).ok
    catalog = SqliteCatalog(directory)
    assert catalog.get("queue/gone/q") is None
    assert catalog.get("queue/%2F/tasks") is not None
    catalog.close()
    assert (directory / "quarantine" / "catalog.exchange.%2F.e.json").read_bytes() == b"{not json"


def test_a_broken_catalog_is_kept_and_queue_ids_are_not_given_out_again(tmp_path: Path) -> None:
    directory, _, _ = broken(tmp_path)
    (directory / CATALOG_NAME).write_bytes(b"nothing that SQLite knows" * 50)
    lines = list(repair(directory))
    assert (directory / "quarantine" / CATALOG_NAME).read_bytes().startswith(b"nothing that")
    assert "new queues get ids from 8 on" in lines
    assert verify(directory).ok


def test_a_record_that_a_start_would_stumble_over_goes_with_its_block(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    store = LocalStore(directory)
    put(store.catalog, "vhost/%2F", b"{}")
    put(store.catalog, "ids/queue", b'{"next":1001}')
    good = encode_enqueue(1, 7, 0, b"\x00\x05tasks", b"h", [b"body"])
    append(store.log, [good])
    append(store.log, [b"\x09" + bytes(7)])
    append(store.log, [encode_settle(7, [1])])
    store.close()
    lines = list(repair(directory))
    assert "has a record that can't be read: unknown record type 9" in lines[0]
    assert verify(directory).ok
    assert served(directory) == ([good, encode_settle(7, [1])], [])

"""`leveret log` and `leveret backup` as an operator types them, and `leveret serve` on a directory of a newer Leveret."""

import base64
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from zlib import crc32

import pytest

from protocol.content import Properties, encode_properties
from protocol.tables import table_of
from storage.catalog import CATALOG_NAME
from storage.local import LocalStore
from storage.records import (
    COPY,
    TARGET_IS_SET,
    TRANSIENT,
    encode_delivered,
    encode_enqueue,
    encode_requeue,
    encode_route_set,
    encode_settle,
)
from tests.house.conftest import Run
from tests.storage.calls import append, put


def enqueue(number: int, target: int, body: bytes, flags: int = 0, **properties: object) -> bytes:
    header = encode_properties(Properties(**properties), len(body))  # type: ignore[arg-type]
    return encode_enqueue(number, target, 1_700_000_000_000 + number, b"\x02ex\x03key", header, [body], flags)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Two queues, open: in `tasks` the messages 2, 3 (copied to the end), 5 and 6, in `other` 3 and 6."""
    store = LocalStore(tmp_path / "data")
    put(store.catalog, "ids/queue", b'{"next":1001}')
    put(store.catalog, "vhost/v%20h", b"{}")
    put(store.catalog, "queue/v%20h/tasks", b'{"id":1,"auto_delete":false,"arguments":{}}')
    put(store.catalog, "queue/v%20h/other", b'{"id":2,"auto_delete":false,"arguments":{}}')
    headers = table_of({"n": 5, "deep": {"text": "x"}})
    append(
        store.log,
        [
            encode_route_set(1, [1, 2]),
            enqueue(1, 1, b"gone"),
            enqueue(2, 1, b"hello\n", content_type="text/plain", headers=headers),
            enqueue(3, 1, b"\xff\x00", TARGET_IS_SET),
            enqueue(4, 1, b"transient", TRANSIENT),
        ],
    )
    append(store.log, [encode_requeue(1, [(2, 3)]), encode_delivered(1, 3), encode_settle(1, [1]), enqueue(5, 1, b"z" * 600_000)])
    append(store.log, [encode_route_set(1, [1, 2]), enqueue(6, 1, b"last", TARGET_IS_SET), enqueue(3, 1, b"\xff\x00", COPY)], roll=True)
    return store


def test_verify_counts_and_says_sound(store: LocalStore, leveret: Run) -> None:
    store.close()
    done = leveret("log", "verify", str(store.directory))
    assert (done.returncode, done.stderr) == (0, "")
    counts = dict(line.rsplit(maxsplit=1) for line in done.stdout.splitlines()[:10])
    assert counts["messages"] == "6" and counts["live messages"] == "6" and counts["segments"] == "2" and counts["catalog entries"] == "4"
    assert done.stdout.endswith("live in queue 'other' in vhost 'v h': 2\nlive in queue 'tasks' in vhost 'v h': 4\nsound\n")


def test_dump_as_json(store: LocalStore, leveret: Run) -> None:
    store.close()
    done = leveret("log", "dump", str(store.directory), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(message["queue"], message["position"], message["id"]) for message in found] == [
        ("other", 1, 3), ("other", 2, 6), ("tasks", 1, 2), ("tasks", 2, 3), ("tasks", 3, 5), ("tasks", 4, 6),
    ]  # fmt: skip
    assert found[2] == {
        "vhost": "v h",
        "queue": "tasks",
        "position": 1,
        "id": 2,
        "enqueued": "2023-11-14T22:13:20.002Z",
        "redelivered": True,
        "delivery_count": 3,
        "exchange": "ex",
        "routing_key": "key",
        "properties": {"content_type": "text/plain", "headers": {"n": 5, "deep": {"text": "x"}}},
        "body_bytes": 6,
        "body_encoding": "utf-8",
        "body": "hello\n",
    }
    assert (found[3]["body_encoding"], base64.b64decode(found[3]["body"])) == ("base64", b"\xff\x00")
    assert [message["redelivered"] for message in found] == [False, False, True, True, False, False]
    assert found[4]["body"] == "z" * 600_000, "a record over several blocks"


def test_dump_as_text_of_one_queue(store: LocalStore, leveret: Run) -> None:
    store.close()
    done = leveret("log", "dump", str(store.directory), "--queue", "tasks", "--vhost", "v h")
    assert done.returncode == 0
    assert done.stdout.startswith(
        "queue 'tasks' in vhost 'v h': 4 messages\n"
        "  1: id 2, enqueued 2023-11-14T22:13:20.002Z, redelivered, came back 3 times\n"
        "    exchange 'ex', routing key 'key'\n"
        "    content_type: text/plain\n"
        "    header n: 5\n"
        '    header deep: {"text": "x"}\n'
        "    body, 6 bytes: hello\\n\n"
        "  2: id 3, enqueued 2023-11-14T22:13:20.003Z, redelivered\n"
        "    exchange 'ex', routing key 'key'\n"
        "    body, 2 bytes in base64: /wA=\n"
    )
    assert "other" not in done.stdout
    assert leveret("log", "dump", str(store.directory), "--queue", "none").returncode == 1


def test_dump_of_the_records(store: LocalStore, leveret: Run) -> None:
    store.close()
    lines = leveret("log", "dump", str(store.directory), "--records").stdout.splitlines()
    assert lines[0].startswith("segment 00000000000000000000.segment: ")
    assert any(line.startswith("    enqueue copy 3+1 to queue 1") for line in lines)


def test_repair_says_what_it_did_and_then_all_is_sound(store: LocalStore, leveret: Run) -> None:
    store.close()
    segment = min((store.directory / "log").iterdir())
    content = bytearray(segment.read_bytes())
    content[300_000] ^= 1
    segment.write_bytes(content)
    assert leveret("log", "verify", str(store.directory)).returncode == 1
    done = leveret("log", "repair", str(store.directory))
    assert done.returncode == 0 and done.stdout.endswith("\nsound\n"), done.stdout
    assert "quarantine/" in done.stdout and "ids from 5 to 5" in done.stdout
    assert leveret("log", "verify", str(store.directory)).returncode == 0
    found = leveret("log", "dump", str(store.directory), "--json").stdout.splitlines()
    assert [json.loads(line)["id"] for line in found] == [3, 6, 2, 3, 6]


@pytest.mark.parametrize("command", ["verify", "dump", "repair"])
def test_a_running_brokers_directory_is_refused(store: LocalStore, leveret: Run, command: str) -> None:
    done = leveret("log", command, str(store.directory))
    lock = (store.directory / "lock").read_text().strip()
    store.close()
    text = f"leveret: the data directory {store.directory} is in use by another broker, process {lock}; stop it first\n"
    assert (done.returncode, done.stdout, done.stderr) == (69, "", text)


def test_what_is_no_data_directory_is_refused(leveret: Run, tmp_path: Path) -> None:
    for command in ("verify", "dump", "repair"):
        done = leveret("log", command, str(tmp_path))
        assert done.returncode == 69 and str(tmp_path) in done.stderr and "Traceback" not in done.stderr, command
    done = leveret("backup", "--data-dir", str(tmp_path), str(tmp_path / "backup"))
    assert done.returncode == 69 and "is no data directory" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_backup_of_an_open_and_of_a_closed_store(store: LocalStore, leveret: Run, tmp_path: Path) -> None:
    for name in ("open", "closed"):
        done = leveret("backup", "--data-dir", str(store.directory), str(tmp_path / name))
        assert done.returncode == 0 and done.stdout.startswith("2 segments, "), done.stderr
        store.close()
        assert leveret("log", "verify", str(tmp_path / name)).stdout.endswith("tasks' in vhost 'v h': 4\nsound\n")
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == [CATALOG_NAME, "log"]
    again = leveret("backup", "--data-dir", str(store.directory), str(tmp_path / "open"))
    assert (again.returncode, again.stderr) == (69, f"leveret: no backup: {tmp_path / 'open'} is there already\n")


def newer_log(directory: Path) -> str:
    segment = max((directory / "log").iterdir())
    content = bytearray(segment.read_bytes())
    content[4] = 4
    content[60:64] = crc32(content[:60]).to_bytes(4, "little")
    segment.write_bytes(content)
    return "the log has blocks of format 4; this Leveret reads formats up to 3"


def newer_catalog(directory: Path) -> str:
    with closing(sqlite3.connect(directory / CATALOG_NAME)) as database:
        database.execute("PRAGMA user_version = 2")
    return f"the catalog {directory / CATALOG_NAME} has schema 2; this Leveret reads schemas up to 1"


@pytest.mark.parametrize("make_newer", [newer_log, newer_catalog])
def test_a_newer_leverets_directory_is_refused_politely_and_left_alone(store: LocalStore, leveret: Run, make_newer) -> None:
    store.close()
    text = make_newer(store.directory)
    before = {path: path.read_bytes() for path in store.directory.rglob("*") if path.is_file() and path.name != "lock"}
    done = leveret("serve", "--port", "0", "--data-dir", str(store.directory))
    assert done.returncode == 69
    assert done.stderr.rstrip().endswith(f"cannot start: {text}") or done.stdout.rstrip().endswith(f"cannot start: {text}"), done
    assert "Traceback" not in done.stderr + done.stdout
    for command in (("log", "verify"), ("log", "dump"), ("log", "repair")):
        refused = leveret(*command, str(store.directory))
        assert (refused.returncode, refused.stderr) == (69, f"leveret: {text}\n")
    refused = leveret("backup", "--data-dir", str(store.directory), str(store.directory.with_name("backup")))
    assert (refused.returncode, refused.stderr) == (69, f"leveret: no backup: {text}\n")
    assert {path: path.read_bytes() for path in store.directory.rglob("*") if path.is_file() and path.name != "lock"} == before

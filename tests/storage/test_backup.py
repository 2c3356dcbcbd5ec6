"""A backup of a store in this process: what is copied, and what may happen meanwhile. Under load: tests/runtime/test_backup.py."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from storage.api import StorageError
from storage.backup import backup
from storage.catalog import CATALOG_NAME
from storage.files import Files
from storage.local import LocalStore
from storage.records import encode_settle
from storage.verify import verify
from tests.storage.calls import append, message, put, records_of


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """An open store with four segments, a message each in queue 7."""
    store = LocalStore(tmp_path / "data")
    put(store.catalog, "ids/queue", b'{"next":1001}')
    put(store.catalog, "vhost/%2F", b"{}")
    put(store.catalog, "queue/%2F/q", b'{"id":7,"auto_delete":false,"arguments":{}}')
    for number in range(1, 5):
        append(store.log, [message(number)], roll=True)
    return store


def restored(directory: Path) -> list[list[bytes]]:
    assert verify(directory).problems == []
    store = LocalStore(directory)
    assert store.log.damage() == []
    records = records_of(store.log)
    store.close()
    return records


def test_log_and_catalog_are_copied_and_nothing_else(store: LocalStore, tmp_path: Path) -> None:
    for name in ("spill", "quarantine"):
        (store.directory / name).mkdir()
        (store.directory / name / "00000000000000000000.segment").write_bytes(b"nothing that is needed")
    done = backup(store.directory, tmp_path / "copy")
    store.close()
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["catalog.sqlite3", "log"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "copy").rglob("*") if path.is_file()} == {0o600}
    assert (done.segments, done.size) == (4, sum(path.stat().st_size for path in (tmp_path / "copy" / "log").iterdir()))
    assert restored(tmp_path / "copy") == [[message(number)] for number in range(1, 5)]


def test_of_an_unfinished_commit_nothing_is_copied(store: LocalStore, tmp_path: Path) -> None:
    store.close()
    segment = max((store.directory / "log").iterdir())
    content = segment.read_bytes()
    segment.write_bytes(content[:-70])  # into the commit that holds message 4; the last 64 bytes are the stop's
    backup(store.directory, tmp_path / "copy")
    assert verify(tmp_path / "copy").torn == 0
    assert restored(tmp_path / "copy") == [[message(number)] for number in range(1, 4)]


def test_a_segment_that_goes_between_listing_and_opening(store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, listings = Files.names, []

    def names_and_then_truncate(self: Files, directory: Path) -> list[str]:
        found = names(self, directory)
        listings.append(found)
        if len(listings) == 1:
            append(store.log, [encode_settle(7, [1, 2])])
            store.log.truncate(store.log.segments()[2][0])
            append(store.log, [message(5)])  # truncated by now: the store does one thing after another
        return found

    monkeypatch.setattr(Files, "names", names_and_then_truncate)
    backup(store.directory, tmp_path / "copy")
    monkeypatch.undo()
    store.close()
    assert len(listings) == 2
    assert restored(tmp_path / "copy") == [[message(3)], [message(4)], [encode_settle(7, [1, 2])], [message(5)]]


def test_nobody_changes_the_catalog_while_the_log_is_looked_at(store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, tried = Files.names, []

    def names_while_locked(self: Files, directory: Path) -> list[str]:
        with closing(sqlite3.connect(store.directory / CATALOG_NAME, isolation_level=None, timeout=0)) as other:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
            tried.append(directory)
        return names(self, directory)

    monkeypatch.setattr(Files, "names", names_while_locked)
    backup(store.directory, tmp_path / "copy")
    monkeypatch.undo()
    put(store.catalog, "vhost/later", b"{}")  # and now they may
    store.close()
    assert tried


def test_a_backup_that_fails_leaves_nothing(store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Files, "write", full)
    with pytest.raises(OSError, match="No space"):
        backup(store.directory, tmp_path / "copy")
    monkeypatch.undo()
    store.close()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_what_is_there_is_not_written_over(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "copy.partial").mkdir()
    with pytest.raises(FileExistsError, match=r"copy\.partial is there already"):
        backup(store.directory, tmp_path / "copy")
    store.close()
    assert (tmp_path / "copy.partial").exists()


def test_a_directory_without_a_catalog_is_none(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is no data directory"):
        backup(tmp_path, tmp_path / "copy")

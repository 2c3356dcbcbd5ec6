"""The catalog in SQLite: what the contract doesn't say."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from storage.api import Corrupt, Failed, Receipt, StorageError
from storage.catalog import CATALOG_NAME, SqliteCatalog
from storage.local import LocalStore
from tests.storage.calls import Answers, append, message, put


def test_anybody_can_open_it(tmp_path: Path) -> None:
    catalog = SqliteCatalog(tmp_path)
    put(catalog, "queue/a", b'{"durable":true}')
    with closing(sqlite3.connect(tmp_path / CATALOG_NAME)) as database:
        assert database.execute("SELECT key, value, revision FROM entries").fetchall() == [("queue/a", b'{"durable":true}', 1)]
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    catalog.close()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    SqliteCatalog(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / CATALOG_NAME)) as database:
        database.execute("PRAGMA user_version = 7")
    with pytest.raises(StorageError, match="schema 7; this Leveret reads schemas up to 1"):
        SqliteCatalog(tmp_path)
    with closing(sqlite3.connect(tmp_path / CATALOG_NAME)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (7,)


def test_what_is_no_database_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / CATALOG_NAME).write_bytes(b"no database at all" * 100)
    with pytest.raises(Corrupt, match=CATALOG_NAME):
        SqliteCatalog(tmp_path)


def test_changes_that_pile_up_are_one_transaction(tmp_path: Path) -> None:
    """Each transaction writes the one row of `counter` once, so its changes count the transactions."""
    store, answers = LocalStore(tmp_path / "data"), Answers()
    with closing(sqlite3.connect(tmp_path / "data" / CATALOG_NAME)) as database:
        # Held by another writer, the first transaction waits (SQLite's own busy timeout) while the others pile up.
        database.execute("BEGIN IMMEDIATE")
        for number in range(100):
            store.catalog.put(f"queue/{number}", b"", answers)
            store.catalog.delete(f"queue/{number - 1}", answers)
        store.log.append([message(1)], answers)
        database.execute("CREATE TABLE writes (revision)")
        database.execute("CREATE TRIGGER count AFTER UPDATE ON counter BEGIN INSERT INTO writes VALUES (new.revision); END")
        database.execute("COMMIT")
        assert [result for result in answers.take(201) if result is not None] == answers.all[-1:]
        assert isinstance(answers.all[-1], Receipt)
        assert database.execute("SELECT count(*) FROM writes").fetchone()[0] <= 3
        assert database.execute("SELECT key FROM entries").fetchall() == [("queue/99",)]
    store.close()


def test_a_failing_transaction_stops_the_log_too(tmp_path: Path) -> None:
    store, answers = LocalStore(tmp_path / "data"), Answers()
    append(store.log, [message(1)])
    with closing(sqlite3.connect(tmp_path / "data" / CATALOG_NAME)) as database:
        database.execute("CREATE TRIGGER full BEFORE INSERT ON entries BEGIN SELECT raise(FAIL, 'database or disk is full'); END")
    store.catalog.put("a", b"", answers)
    store.log.append([message(2)], answers)
    store.catalog.delete("a", answers)
    results = answers.take(3)
    assert all(isinstance(result, Failed) and "disk is full" in str(result) for result in results)
    store.close()
    store = LocalStore(tmp_path / "data")
    assert len(list(store.log.scan())) == 1
    assert store.catalog.scan() == []
    store.close()

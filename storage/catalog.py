"""The catalog: keys and values for what is declared, in memory to read and in SQLite to last."""

import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event
from typing import Final, NamedTuple

from storage.api import Closed, Conflict, Corrupt, Entry, StorageError
from storage.files import Files
from storage.worker import Worker, answer

SCHEMA_VERSION: Final = 1
CATALOG_NAME: Final = "catalog.sqlite3"

_SCHEMA: Final = f"""
    BEGIN;
    CREATE TABLE entries (key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE counter (revision INTEGER NOT NULL);
    INSERT INTO counter VALUES (0);
    PRAGMA user_version = {SCHEMA_VERSION};
    COMMIT;
"""

Done = Callable[[StorageError | None], None]
Changed = Callable[[str, Entry | None], None]


class Change(NamedTuple):
    """A put, or with `entry` None a delete, on its way to where it lasts."""

    key: str
    entry: Entry | None
    revision: int
    done: Done | None


class BaseCatalog(ABC):
    """A Catalog whose truth is in memory; what lasts follows in order through `_store`."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._revision = 0  # the last that was given away: not even a deleted entry's comes again
        self._watches: dict[object, tuple[str, Changed]] = {}
        self._closed = False

    @abstractmethod
    def _store(self, change: Change) -> None:
        """Make the change last, and answer it then."""

    def get(self, key: str) -> Entry | None:
        """See `Catalog.get`."""
        return self._entries.get(key)

    def scan(self, prefix: str = "") -> list[Entry]:
        """See `Catalog.scan`."""
        return [self._entries[key] for key in sorted(key for key in self._entries if key.startswith(prefix))]

    def put(self, key: str, value: bytes, done: Done | None = None, expect: int | None = None) -> int:
        """See `Catalog.put`. Raises Conflict and Closed, at once."""
        self._check(key, expect)
        self._revision += 1
        entry = self._entries[key] = Entry(key, value, self._revision)
        self._store(Change(key, entry, self._revision, done))
        self._notify(key, entry)
        return entry.revision

    def delete(self, key: str, done: Done | None = None, expect: int | None = None) -> None:
        """See `Catalog.delete`. Raises Conflict and Closed, at once."""
        self._check(key, expect)
        gone = self._entries.pop(key, None)
        self._store(Change(key, None, self._revision, done))
        if gone is not None:
            self._notify(key, None)

    def watch(self, prefix: str, changed: Changed) -> Callable[[], None]:
        """See `Catalog.watch`. `changed` is called in the thread that puts or deletes, before that returns."""
        token = object()
        self._watches[token] = (prefix, changed)
        return lambda: void(self._watches.pop(token, None))

    def _check(self, key: str, expect: int | None) -> None:
        if self._closed:
            raise Closed("the catalog is closed")
        entry = self._entries.get(key)
        revision = entry.revision if entry is not None else 0
        if expect is not None and expect != revision:
            raise Conflict(f"{key} has revision {revision}, not {expect}")

    def _notify(self, key: str, entry: Entry | None) -> None:
        for prefix, changed in list(self._watches.values()):
            if key.startswith(prefix):
                changed(key, entry)


def void(_: object) -> None:
    """For a lambda whose value nobody wants."""


class SqliteCatalog(BaseCatalog):
    """A Catalog in `directory`/catalog.sqlite3 that anybody can open.

    Written on the `worker`, what piles up there in one transaction. Raises StorageError for a newer schema, Corrupt
    where SQLite says so, and OSError.
    """

    def __init__(self, directory: Path, worker: Worker | None = None, files: Files | None = None) -> None:
        super().__init__()
        self._path = directory / CATALOG_NAME
        self._database = _open(self._path, files or Files())
        try:
            self._load()
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise Corrupt(f"the catalog {self._path} can't be read: {error}") from error
        except StorageError:
            self._database.close()
            raise
        self._own_worker = worker is None
        self._worker = worker or Worker()
        self._finished = False

    def close(self) -> None:
        """See `Catalog.close`. Not to be called from a `done`."""
        if self._closed:
            return
        self._closed = True
        closed = Event()
        self._worker.submit(self, closed)
        closed.wait()
        if self._own_worker:
            self._worker.stop()

    def run(self, operations: Iterable[Change | Event]) -> None:
        """The worker's side: changes in one transaction, an event (of `close`) ends it."""
        operations = list(operations)
        changes = [operation for operation in operations if isinstance(operation, Change)]
        if changes:
            self._commit(changes)
        for operation in operations:
            if isinstance(operation, Event):
                self._finished = True
                self._database.close()
                operation.set()

    def _store(self, change: Change) -> None:
        self._worker.submit(self, change)

    def _commit(self, changes: list[Change]) -> None:
        result: StorageError | None = Closed("the catalog is closed") if self._finished else self._worker.failure
        if result is None:
            try:
                self._write(changes)
            except Exception as error:  # noqa: BLE001 - whatever it was, what the disk holds is unknown now
                result = self._worker.fail(error)
        for change in changes:
            answer(change.done, result)

    def _write(self, changes: list[Change]) -> None:
        last = {change.key: change.entry for change in changes}
        database = self._database
        database.execute("BEGIN IMMEDIATE")
        database.executemany(
            "INSERT OR REPLACE INTO entries (key, value, revision) VALUES (?, ?, ?)",
            [entry for entry in last.values() if entry is not None],
        )
        database.executemany("DELETE FROM entries WHERE key = ?", [(key,) for key in last if last[key] is None])
        database.execute("UPDATE counter SET revision = ?", (changes[-1].revision,))
        database.execute("COMMIT")

    def _load(self) -> None:
        database = self._database
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise StorageError(f"the catalog {self._path} has schema {version}; this Leveret reads schemas up to {SCHEMA_VERSION}")
        if version == 0:
            database.executescript(_SCHEMA)
        for key, value, revision in database.execute("SELECT key, value, revision FROM entries ORDER BY key"):
            self._entries[key] = Entry(key, bytes(value), revision)
        (self._revision,) = database.execute("SELECT revision FROM counter").fetchone()


def _open(path: Path, files: Files) -> sqlite3.Connection:
    """Open the database, made beforehand for the owner only: SQLite gives its other files the same mode."""
    files.make_directory(path.parent)
    if not path.exists():
        files.close(files.open(path, create=True))
        files.sync_directory(path.parent)
    return sqlite3.connect(os.fspath(path), isolation_level=None, check_same_thread=False)

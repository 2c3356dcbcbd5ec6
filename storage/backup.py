"""Copies a data directory, whether its broker runs or not, as it is at one moment.

The broker's thread writes what a turn declares, then what it logs, then what it deletes, in this order. While another process
holds the catalog's write lock, that thread stops before its next change to the catalog. What the log has then is therefore a
moment that a crash could have left: every queue that it names is in the catalog, or was. So under the lock (a few
milliseconds) a snapshot of the catalog is begun, the segments are opened, and their sizes noted; the copying comes after.
A segment that the broker unlinks meanwhile is still there for who has it open.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Final

from storage.api import Corrupt, StorageError
from storage.catalog import CATALOG_NAME, SCHEMA_VERSION
from storage.files import Files
from storage.offline import LOG_NAME
from storage.segment import find_tail, first_log_id, segment_name, segment_start, walk

_PIECE: Final = 4 * 1024 * 1024
_LISTINGS_MAX: Final = 1000
_LOCK_TIMEOUT_SECONDS: Final = 30.0


@dataclass(slots=True)
class Backup:
    """What was copied: `size` in bytes, of the log; `locked_seconds` is how long the catalog could not be written."""

    segments: int = 0
    size: int = 0
    locked_seconds: float = 0.0


@dataclass(slots=True)
class _Moment:
    """The open segments, as (start, descriptor) from the oldest on, and how much the last of them held."""

    segments: list[tuple[int, int]] = field(default_factory=list)
    last_size: int = 0
    locked_seconds: float = 0.0


def backup(directory: Path, destination: Path) -> Backup:
    """Copy a data directory to `destination`, which must not exist; it is there whole or not at all.

    Raises FileExistsError for a destination (or its .partial) that is there, StorageError where there is nothing to copy or it
    can't be read, and OSError.
    """
    if not (directory / CATALOG_NAME).exists():
        raise StorageError(f"{directory} is no data directory: it has no {CATALOG_NAME}")
    partial_path = destination.with_name(f"{destination.name}.partial")
    for path in (destination, partial_path):
        if os.path.lexists(path):
            raise FileExistsError(f"{path} is there already")
    files = Files()
    try:
        done = _copy_all(directory, partial_path, files)
    except BaseException:
        shutil.rmtree(partial_path, ignore_errors=True)
        raise
    files.rename(partial_path, destination)
    files.sync_directory(destination.parent)
    return done


def _copy_all(directory: Path, partial_path: Path, files: Files) -> Backup:
    done = Backup()
    with closing(_connect(directory)) as snapshot, _moment(directory, snapshot, files) as moment:
        files.make_directory(partial_path / LOG_NAME)
        done.locked_seconds = moment.locked_seconds
        _copy_catalog(snapshot, partial_path / CATALOG_NAME, files)
        for number, (start, descriptor) in enumerate(moment.segments, start=1):
            size = files.size(descriptor)
            if number == len(moment.segments):
                size = _last_whole(moment, files)
            _copy(descriptor, partial_path / LOG_NAME / segment_name(start), size, files)
            done.segments += 1
            done.size += size
    for path in (partial_path / LOG_NAME, partial_path):
        files.sync_directory(path)
    return done


def _connect(directory: Path) -> sqlite3.Connection:
    return sqlite3.connect(directory / CATALOG_NAME, isolation_level=None, timeout=_LOCK_TIMEOUT_SECONDS)


@contextmanager
def _moment(directory: Path, snapshot: sqlite3.Connection, files: Files) -> Iterator[_Moment]:
    """Begin `snapshot`'s view of the catalog and open the log that belongs to it."""
    moment = _Moment()
    try:
        with closing(_connect(directory)) as lock:
            try:
                _check_version(snapshot, directory)
                lock.execute("BEGIN IMMEDIATE")
                begin = monotonic()
                snapshot.execute("BEGIN")
                snapshot.execute("SELECT count(*) FROM counter").fetchone()  # only reading makes it a view of this moment
                moment.segments = _open_segments(directory / LOG_NAME, files)
                # The size last: what has the broker drop a segment was written before that was gone from the list.
                moment.last_size = files.size(moment.segments[-1][1]) if moment.segments else 0
                lock.execute("ROLLBACK")
                moment.locked_seconds = monotonic() - begin
            except sqlite3.DatabaseError as error:
                raise Corrupt(f"the catalog {directory / CATALOG_NAME} can't be read: {error}") from error
        yield moment
    finally:
        for _, descriptor in moment.segments:
            files.close(descriptor)


def _check_version(snapshot: sqlite3.Connection, directory: Path) -> None:
    (version,) = snapshot.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        path = directory / CATALOG_NAME
        raise StorageError(f"the catalog {path} has schema {version}; this Leveret reads schemas up to {SCHEMA_VERSION}")


def _open_segments(directory: Path, files: Files) -> list[tuple[int, int]]:
    """Open all the segments. If one is unlinked between listing and opening, those before it are as well: list again."""
    for _ in range(_LISTINGS_MAX):
        opened: list[tuple[int, int]] = []
        try:
            names = files.names(directory)
            opened.extend(
                (start, files.open(directory / segment_name(start), readonly=True))
                for start in map(segment_start, names)
                if start is not None
            )
        except FileNotFoundError:
            for _, descriptor in opened:
                files.close(descriptor)
            if not directory.exists():
                raise
            continue
        return opened
    raise StorageError(f"the segments in {directory} come and go too quickly")


def _last_whole(moment: _Moment, files: Files) -> int:
    """How many bytes of the last segment hold whole commits."""
    walks = [
        partial(walk, partial(files.read, descriptor), start, files.size(descriptor) if at + 1 < len(moment.segments) else moment.last_size)
        for at, (start, descriptor) in enumerate(moment.segments)
    ]
    log_id = first_log_id(walks)
    return find_tail(walks[-1](log_id), moment.segments[-1][0], 0).end - moment.segments[-1][0]


def _copy(source: int, path: Path, size: int, files: Files) -> None:
    descriptor = files.open(path, create=True)
    try:
        at = 0
        while at < size:
            data = files.read(source, min(_PIECE, size - at), at)
            if not data:
                raise StorageError(f"{path.name} ends at byte {at}, before its {size}")
            files.write(descriptor, data, at)
            at += len(data)
        files.sync(descriptor)
    finally:
        files.close(descriptor)


def _copy_catalog(snapshot: sqlite3.Connection, path: Path, files: Files) -> None:
    files.close(files.open(path, create=True))  # for the owner only, and so is what SQLite puts beside it
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as copy:
            snapshot.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
        snapshot.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        raise Corrupt(f"the catalog can't be copied: {error}") from error
    descriptor = files.open(path)
    try:
        files.sync(descriptor)
    finally:
        files.close(descriptor)

"""The store of one broker on local files: a log and a catalog on one thread, locked against a second broker."""

from pathlib import Path
from typing import ClassVar, Final

from storage.api import Failed
from storage.catalog import SqliteCatalog
from storage.files import Files
from storage.log import SPILL_NAME, FileLog
from storage.worker import Worker

LOCK_NAME: Final = "lock"


class LocalStore:
    """A Store in a data directory, which is made (0700) if it isn't there:

    lock              held while the store is open; names the process
    catalog.sqlite3   what is declared
    log/              the segments of the log
    spill/            what was paged out and is not to survive; emptied at every start
    quarantine/       damaged bytes, if there ever were any

    Raises Fenced where another process has it, StorageError for newer formats, Corrupt where the catalog can't be read,
    OSError.
    """

    catalog_type: ClassVar[type[SqliteCatalog]] = SqliteCatalog

    def __init__(self, directory: Path, files: Files | None = None) -> None:
        self._files = files or Files()
        self.directory = directory
        self._files.make_directory(directory)
        self._lock = self._files.lock(directory / LOCK_NAME)
        self._worker = Worker()
        self._closed = False
        self._spill: FileLog | None = None
        try:
            self._empty_spill()
            # First, for it changes nothing where it is refused; opening the log cuts a torn tail off.
            self.catalog = self.catalog_type(directory, self._worker, self._files)
            try:
                self.log = FileLog(directory, self._worker, self._files)
            except BaseException:
                self.catalog.close()
                raise
        except BaseException:
            self._release()
            raise

    @property
    def epoch(self) -> int:
        """Grows with each opening of the directory (one that writes nothing leaves no trace)."""
        return self.log.epoch

    @property
    def failure(self) -> Failed | None:
        """The failure after which nothing is written any more; None while all is well."""
        return self._worker.failure

    def spill(self) -> FileLog | None:
        """See `Store.spill`. It has a thread of its own, so that its failures are. Opened here, without waiting for a descriptor: the
        event loop asks for it. Raises OSError; then it may be tried again."""
        if self._spill is None and not self._closed:
            with self._files.at_once():
                self._spill = FileLog(self.directory, files=self._files, name=SPILL_NAME)
        return self._spill

    def free(self) -> int:
        """The bytes free on the disk that holds the directory."""
        return self._files.free(self.directory)

    def close(self) -> None:
        """Finish what was handed in, close log and catalog and give the lock back. Blocks; not from a `done`.

        Raises Failed if what was written without sync can't be synced; everything is released nevertheless.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self.catalog.close()
            self.log.close()
        finally:
            if self._spill is not None:
                self._spill.abandon()
                self._empty_spill()
            self._release()

    def _empty_spill(self) -> None:
        directory = self.directory / SPILL_NAME
        for name in self._files.names(directory) if directory.exists() else ():
            self._files.unlink(directory / name)

    def _release(self) -> None:
        self._worker.stop()
        self._files.close(self._lock)

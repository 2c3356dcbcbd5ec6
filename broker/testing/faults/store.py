"""The store of a broker under test, on a disk that does what a test has ordered; or in memory, where it is as if there were one."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from broker.testing.faults.disk import SYNC, WRITE, Disk, FaultyCatalog, FaultyFiles
from storage.api import Closed
from storage.local import LocalStore
from storage.memory import MemoryCatalog, MemoryLog, MemoryStore
from storage.worker import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from storage.api import Receipt, StorageError, type_done
    from storage.catalog import Change


class FaultyLocalStore(LocalStore):
    """In a directory."""

    catalog_type = FaultyCatalog

    def __init__(self, directory: Path) -> None:
        self.disk = Disk()
        super().__init__(directory, FaultyFiles(self.disk))


class FaultyMemoryLog(MemoryLog):
    """A log in memory that fails as one on a disk does."""

    store: FaultyMemoryStore

    def append(self, records: Sequence[bytes], done: type_done, *, sync: bool = True, roll: bool = False) -> None:
        """See Log."""
        if self._closed:
            answer(done, Closed("the log is closed"))
            return
        operations = (WRITE, SYNC) if sync else (WRITE,)
        self._defer(lambda: answer(done, self._written(records, roll, operations)))

    def _written(self, records: Sequence[bytes], roll: bool, operations: Sequence[str]) -> Receipt | StorageError:
        self.store.ask(operations)
        return self._write(records, roll)


class FaultyMemoryCatalog(MemoryCatalog):
    """A catalog in memory that fails likewise."""

    store: FaultyMemoryStore

    def _store(self, change: Change) -> None:
        self._defer(lambda: answer(change.done, self._written(change)))

    def _written(self, change: Change) -> StorageError | None:
        self.store.ask((WRITE, SYNC))
        return self._write(change)


class FaultyMemoryStore(MemoryStore):
    """In memory. It keeps its log, so that everything goes the way that it goes on a disk: what is durable waits for the store, and what
    the store can't do is missing. While the disk is slow operations are done by a thread, in their order."""

    def __init__(self) -> None:
        super().__init__(self._run, keep=True)
        self.disk = Disk()
        self._slowly: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._undone = 0
        self._counting = threading.Lock()
        self.log: FaultyMemoryLog = FaultyMemoryLog(self._medium, self._run, True)
        self.catalog: FaultyMemoryCatalog = FaultyMemoryCatalog(self._medium, self._run)
        self.log.store = self.catalog.store = self

    def ask(self, operations: Sequence[str]) -> None:
        """Have the disk do it; what it can't do is the end of the store."""
        if self.failure is None:
            try:
                for operation in operations:
                    self.disk.ask(operation)
            except OSError as error:
                self.fail(str(error))

    def close(self) -> None:
        """See Store. What is under way is finished first."""
        super().close()
        if self._thread is not None:
            self._slowly.put(None)
            self._thread.join()
            self._thread = None

    def _run(self, operation: Callable[[], None]) -> None:
        with self._counting:
            is_next = not self._undone and not self.disk.is_slow
            self._undone += not is_next
        if is_next:
            operation()
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="slow-memory", daemon=True)
            self._thread.start()
        self._slowly.put(operation)

    def _work(self) -> None:
        while (operation := self._slowly.get()) is not None:
            operation()
            with self._counting:
                self._undone -= 1


def open_store(directory: Path | None) -> FaultyLocalStore | FaultyMemoryStore:
    """For a broker under test. Raises what LocalStore does."""
    return FaultyMemoryStore() if directory is None else FaultyLocalStore(directory)

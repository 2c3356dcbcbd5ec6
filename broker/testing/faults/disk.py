"""A disk that does what a test has ordered. It is asked by the threads that write; rules are counted there."""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import TYPE_CHECKING, Final

from broker.testing.faults.moment import Moment
from storage.catalog import SqliteCatalog
from storage.files import Files

if TYPE_CHECKING:
    from pathlib import Path

    from broker.testing.faults.actions.machine import DiskFault
    from broker.testing.faults.rule import Rule
    from storage.catalog import Change
    from storage.records import Buffer
    from storage.worker import Worker

WRITE: Final = "write"
SYNC: Final = "sync"


class Disk:
    """One per broker."""

    def __init__(self) -> None:
        self._rules: dict[Rule, DiskFault] = {}
        self._counting = threading.Lock()

    def order(self, rule: Rule, fault: DiskFault) -> None:
        """From now on."""
        self._rules[rule] = fault

    def release(self, rule: Rule) -> None:
        """No more."""
        self._rules.pop(rule, None)

    @property
    def is_slow(self) -> bool:
        """Operations take time."""
        return any(fault.seconds and not rule.is_spent for rule, fault in list(self._rules.items()))

    def ask(self, *operations: str) -> None:
        """Something is to be written, or to be had on the disk: raises OSError, or takes its time."""
        if not self._rules:
            return
        seconds = 0.0
        with self._counting:
            for rule, fault in list(self._rules.items()):
                if fault.operation in operations and rule.hits_now(Moment(f"disk.{fault.operation}")):
                    seconds += fault.seconds
                    if fault.error:
                        raise OSError(getattr(errno, fault.error), os.strerror(getattr(errno, fault.error)))
        if seconds:
            time.sleep(seconds)


class FaultyFiles(Files):
    """Files on that disk."""

    def __init__(self, disk: Disk) -> None:
        super().__init__()
        self.disk = disk

    def write(self, descriptor: int, data: Buffer, offset: int) -> None:
        """See Files."""
        self.disk.ask(WRITE)
        super().write(descriptor, data, offset)

    def write_synced(self, descriptor: int, data: Buffer, offset: int) -> None:
        """See Files. Where the sync fails the kernel has the bytes, and nobody knows what the disk has of them."""
        self.disk.ask(WRITE)
        try:
            self.disk.ask(SYNC)
        except OSError:
            super().write(descriptor, data, offset)
            raise
        super().write_synced(descriptor, data, offset)

    def sync(self, descriptor: int) -> None:
        """See Files."""
        self.disk.ask(SYNC)
        super().sync(descriptor)


class FaultyCatalog(SqliteCatalog):
    """What is declared, on that disk: SQLite writes and syncs its own files."""

    def __init__(self, directory: Path, worker: Worker | None = None, files: Files | None = None) -> None:
        assert isinstance(files, FaultyFiles)
        self._disk = files.disk
        super().__init__(directory, worker, files)

    def _write(self, changes: list[Change]) -> None:
        self._disk.ask(WRITE)
        self._disk.ask(SYNC)
        super()._write(changes)

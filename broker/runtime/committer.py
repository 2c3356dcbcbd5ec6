"""Ships batches to the store, and hears when they are durable.

A batch goes in as a chain of operations, which the store runs in order on its own thread: creations, the commit of the log,
deletions. Several batches may be under way. The last operation of a batch reports; reports are handed to the event loop
together, with one wake-up however many there are.
"""

from __future__ import annotations

import errno
import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from storage.api import Receipt, StorageError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from broker.core.outbox import Batch, Outbox
    from broker.core.spill import SpillBatch
    from storage.api import Store

log = logging.getLogger("storage")

BEHIND_BYTES = 33_554_432
"""With more than this under way, to the log and the spill together, the disk is behind, and publishers are not read from."""
CAUGHT_UP_BYTES = 8_388_608
OPEN_SPILL_SECONDS_MAX = 10.0

Outcome = Receipt | StorageError | None


class Committer:
    """See the module. `changed` is called when batches were released: there is output, and perhaps room again."""

    def __init__(self, store: Store, outbox: Outbox, loop: asyncio.AbstractEventLoop, changed: Callable[[], None]) -> None:
        self._store = store
        self._outbox = outbox
        self._loop = loop
        self._changed = changed
        self._under_way: deque[Batch] = deque()
        self._reports: deque[Outcome] = deque()
        self._waking = False
        self._unspilled: list[SpillBatch] = []
        self._spill_deadline: float | None = None
        """By the event loop's clock: from when on a spill that can't be opened is given up."""
        self._spilled: deque[tuple[SpillBatch, Receipt | StorageError]] = deque()
        self.spill_failed = False
        """It is not written to any more."""
        self.pending_bytes = 0
        """What was handed to the store and isn't written yet: it is in memory, whatever paging does."""
        self.failed: StorageError | None = None
        self.is_behind = False

    def ship(self, batch: Batch) -> None:
        """Hand a batch to the store; whoever waits for it is told when it, and all before it, is durable."""
        if batch.spill is not None and not self.spill_failed:
            self._unspilled.append(batch.spill)
        if self._unspilled:
            self._spill()
        if self.failed is not None:
            batch.release(False)
            return
        if batch.is_empty:
            if not batch.has_waiters:
                self.give_back()
                return
            if self._under_way:
                # Nothing of its own, but what it speaks of may be in a batch that is on its way.
                self._store.log.append([], self._report, sync=False)
                self._under_way.append(batch)
            else:
                batch.release(True)
            return
        self._under_way.append(batch)
        self._add_pending(batch.size)
        catalog, report = self._store.catalog, self._report
        where: list[Outcome] = [None]
        last_put = None if batch.records or batch.deletions else next(reversed(batch.puts))
        for key, value in batch.puts.items():
            catalog.put(key, value, report if key == last_put else None)
        if batch.records:
            done = partial(where.__setitem__, 0) if batch.deletions else report
            self._store.log.append(batch.records, done, sync=batch.sync, roll=batch.segment is not None)
        for key in batch.deletions:
            catalog.delete(key, (lambda error: report(error or where[0])) if key == batch.deletions[-1] else None)

    @property
    def is_busy(self) -> bool:
        """Something is under way."""
        return bool(self._under_way)

    @property
    def oldest(self) -> Batch | None:
        """The first of what is under way."""
        return self._under_way[0] if self._under_way else None

    def _add_pending(self, size: int) -> None:
        self.pending_bytes += size
        self.is_behind = self.is_behind or self.pending_bytes > BEHIND_BYTES

    def _report(self, outcome: Outcome) -> None:
        """On the store's thread: a batch is done."""
        self._reports.append(outcome)
        self._wake()

    def _wake(self) -> None:
        if not self._waking:
            self._waking = True
            self._loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        self._waking = False
        reports = self._reports
        while reports:
            outcome = reports.popleft()
            batch = self._under_way.popleft()
            self.pending_bytes -= batch.size
            if isinstance(outcome, StorageError):
                self._fail(outcome)
            elif isinstance(outcome, Receipt):
                batch.written(outcome)
            batch.release(self.failed is None)
        while self._spilled:
            spill, written = self._spilled.popleft()
            self.pending_bytes -= spill.size
            if isinstance(written, StorageError):
                self.spill_failed = True
            else:
                spill.written(written)
        self.is_behind = self.is_behind and self.pending_bytes > CAUGHT_UP_BYTES
        self.give_back()
        self._changed()

    def give_back(self) -> None:
        """Have the log go where it is dead."""
        if self.failed is None and (before := self._outbox.ledger.truncation()) is not None:
            self._store.log.truncate(before)
        self.give_back_spill()

    def give_back_spill(self) -> None:
        """The same for the spill, which nothing else may speak of."""
        if self._unspilled or self.spill_failed:
            return
        if (before := self._outbox.spill.ledger.truncation()) is not None and (spill := self._store.spill()) is not None:
            spill.truncate(before)

    def _spill(self) -> None:
        """What can't be spilled stays in memory, and the spill is not written to any more. For a descriptor to open it with, the next turns
        try again, while connections that took them all are being turned away. What waits for that isn't counted: were all publishers
        paused, there might be no such turn."""
        try:
            spill = self._store.spill()
        except OSError as error:
            now = self._loop.time()
            self._spill_deadline = self._spill_deadline or now + OPEN_SPILL_SECONDS_MAX
            if error.errno not in (errno.EMFILE, errno.ENFILE) or now > self._spill_deadline:
                log.error("transient messages can't be paged out, they stay in memory: %s", error)
                self.spill_failed = True
                self._unspilled.clear()
            return
        waiting, self._unspilled = self._unspilled, []
        if spill is not None:
            for batch in waiting:
                self._add_pending(batch.size)
                spill.append(batch.records, partial(self._report_spilled, batch), sync=False, roll=batch.begins)

    def _report_spilled(self, batch: SpillBatch, outcome: Receipt | StorageError) -> None:
        """On the spill's thread."""
        self._spilled.append((batch, outcome))
        if not self._loop.is_closed():  # it may be before the spill is
            self._wake()

    def _fail(self, error: StorageError) -> None:
        if self.failed is None:
            self.failed = error
            log.critical("nothing can be made durable any more, restart the broker: %s", error)

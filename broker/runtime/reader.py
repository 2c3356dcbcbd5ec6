"""Reads the log for the core, on a thread of its own: messages back into memory, and what compaction looks at.

Compaction goes on whenever a step is due and the disk isn't behind; reads for queues, which somebody waits for, go first.
"""

from __future__ import annotations

import logging
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from broker.core.compaction import Compaction
from storage.api import Closed

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from broker.core.broker import Broker
    from broker.core.message import Message
    from broker.core.paging import Load
    from broker.runtime.committer import Committer
    from storage.api import Store
    from storage.records import Enqueue

log = logging.getLogger("storage")

COMPACTION_CHECK_SECONDS = 0.25


class Reader:
    """See the module. `changed` is called when something has come back to the core."""

    def __init__(
        self, broker: Broker, store: Store, committer: Committer, loop: asyncio.AbstractEventLoop, changed: Callable[[], None]
    ) -> None:
        self._broker = broker
        self._store = store
        self._committer = committer
        self._loop = loop
        self._changed = changed
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._started = False
        self._reading = False
        """A step of compaction is being read."""
        self._next_check = 0.0
        self._will_check = False
        self._checked_end = 0

    def after_turn(self) -> None:
        """Nothing waits in the outbox: read what queues ask for, and see to compaction."""
        outbox = self._broker.outbox
        self._committer.give_back_spill()
        if outbox.loads:
            loads, outbox.loads = outbox.loads, []
            for load in loads:
                self._submit(lambda load=load: self._load(load))  # type: ignore[misc]
        if outbox.compaction is not None:
            self._compact(outbox.compaction)
        elif self._loop.time() >= self._next_check:
            self._next_check = self._loop.time() + COMPACTION_CHECK_SECONDS
            outbox.compaction = Compaction.begin(self._broker)
            if outbox.compaction is not None:
                self._compact(outbox.compaction)
        elif not self._will_check:
            # What a queue lets go of last must not wait for somebody to say something.
            self._will_check = True
            self._loop.call_later(COMPACTION_CHECK_SECONDS, self._check)

    def _check(self) -> None:
        self._will_check = False
        if self._broker.outbox.ledger.end > self._checked_end:
            self._checked_end = self._broker.outbox.ledger.end
            self._changed()

    def _submit(self, job: Callable[[], None]) -> None:
        if not self._started:
            self._started = True
            threading.Thread(target=self._run, name="leveret-reader", daemon=True).start()
        self._jobs.put(job)

    def _run(self) -> None:
        while True:
            self._jobs.get()()

    # --- loads ------------------------------------------------------------------------------------------------------

    def _load(self, load: Load) -> None:
        """On the reader's thread."""
        source = self._store.spill() if load.spilled else self._store.log
        messages: Sequence[Message] | None = None
        try:
            assert source is not None
            messages = load.read(source)
        except Closed:
            pass  # copied elsewhere meanwhile, or the store is being closed: the queue asks again
        self._loop.call_soon_threadsafe(self._loaded, load, messages)

    def _loaded(self, load: Load, messages: Sequence[Message] | None) -> None:
        load.queue.loaded(load, messages)
        self._changed()

    # --- compaction -------------------------------------------------------------------------------------------------

    def _compact(self, compaction: Compaction) -> None:
        if self._reading or compaction.is_waiting or self._committer.is_behind or self._committer.failed is not None:
            return
        span = compaction.next_span
        if span is None:
            compaction.finish()
            self._broker.outbox.compaction = None
            self._committer.give_back()
            return
        self._reading = True
        self._submit(lambda: self._look(compaction, span))

    def _look(self, compaction: Compaction, span: tuple[int, int]) -> None:
        """On the reader's thread."""
        try:
            position, found = compaction.read(self._store.log, span)
        except Closed:
            position, found = span[1], []  # nothing of it is alive any more, so it was given back; or the store is being closed
        self._loop.call_soon_threadsafe(self._looked, compaction, position, found)

    def _looked(self, compaction: Compaction, position: int, found: list[Enqueue]) -> None:
        self._reading = False
        compaction.copy(position, found)
        self._changed()

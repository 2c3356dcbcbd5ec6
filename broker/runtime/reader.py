"""Reads the log and the spill for the core, on a thread of its own: messages back into memory, and what compaction looks at.

Compaction goes on whenever a step is due and the disk isn't behind. Log and spill have one each, which know nothing of each other.
"""

from __future__ import annotations

import logging
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from broker.core.compaction import Compaction
from broker.core.spill import SpillCompaction
from storage.api import Closed

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from broker.core.broker import Broker
    from broker.core.message import Message
    from broker.core.paging import Reading
    from broker.core.spill import SpillStep
    from broker.runtime.committer import Committer
    from storage.api import Store
    from storage.records import Enqueue

log = logging.getLogger("storage")

COMPACTION_CHECK_SECONDS = 0.25
AGAIN_SECONDS = 1.0
"""After a read that failed."""


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
        self._reading_spill = False
        """One of the spill's is."""
        self._next_check = 0.0
        self._will_check = False
        self._checked = (0, 0, 0)
        """What there was to see at the last check that nobody else asked for."""

    def after_turn(self) -> None:
        """Nothing waits in the outbox: read what queues, and those who look into them, ask for, and see to compaction."""
        outbox = self._broker.outbox
        self._committer.give_back_spill()
        if outbox.loads:
            loads, outbox.loads = outbox.loads, []
            for load in loads:
                self._submit(lambda load=load: self._load(load))  # type: ignore[misc]
        spill = outbox.spill
        if self._loop.time() >= self._next_check:
            self._next_check = self._loop.time() + COMPACTION_CHECK_SECONDS
            outbox.compaction = outbox.compaction or Compaction.begin(self._broker)
            spill.compaction = spill.compaction or SpillCompaction.begin(self._broker)
        elif outbox.compaction is None and not self._will_check:
            # What a queue lets go of last must not wait for somebody to say something.
            self._will_check = True
            self._loop.call_later(COMPACTION_CHECK_SECONDS, self._check)
        if outbox.compaction is not None:
            self._compact(outbox.compaction)
        if spill.compaction is not None:
            self._compact_spill(spill.compaction)

    def _check(self) -> None:
        self._will_check = False
        ledger, of_spill = self._broker.outbox.ledger, self._broker.outbox.spill.ledger
        there = (ledger.end, of_spill.end, of_spill.live)
        if there != self._checked:
            self._checked = there
            self._next_check = 0.0
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

    def _load(self, load: Reading) -> None:
        """On the reader's thread."""
        source = self._store.spill() if load.spilled else self._store.log
        assert source is not None
        try:
            self._tell(self._loaded, load, load.read(source))
        except Closed:
            self._tell(self._loaded, load, None)  # copied elsewhere meanwhile: the queue asks again
        except Exception:
            # A disk that can't be read now may be readable later, and nothing is given up for lost; the thread must live on.
            log.exception("%s can't be read, trying again in %.0f s", load.queue, AGAIN_SECONDS)
            self._tell(self._loop.call_later, AGAIN_SECONDS, self._loaded, load, None)

    def _tell(self, call: Callable[..., object], *arguments: object) -> None:
        """Have the event loop call this, if there still is one."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *arguments)

    def _loaded(self, load: Reading, messages: Sequence[Message] | None) -> None:
        load.done(messages)
        self._changed()

    # --- compaction -------------------------------------------------------------------------------------------------

    def _compact(self, compaction: Compaction) -> None:
        if self._reading or compaction.is_waiting or self._committer.is_behind or self._committer.failed is not None:
            return
        compaction.look()
        span = compaction.next_span
        if span is None:
            if compaction.is_done:
                compaction.finish()
                self._broker.outbox.compaction = None
                self._next_check = 0.0
                self._committer.give_back()
            self._changed()
            return
        self._reading = True
        self._submit(lambda: self._look(compaction, span))

    def _look(self, compaction: Compaction, span: tuple[int, int]) -> None:
        """On the reader's thread."""
        try:
            position, found = compaction.read(self._store.log, span)
        except Closed:
            position, found = span[1], []  # its last live message was settled meanwhile, and the segment went
        except Exception:
            log.exception("the log can't be read from position %d to %d", *span)
            position, found = span[1], []  # what isn't copied keeps its segment
        self._tell(self._looked, compaction, position, found)

    def _looked(self, compaction: Compaction, position: int, found: list[Enqueue]) -> None:
        self._reading = False
        compaction.copy(position, found)
        self._changed()

    # --- compaction of the spill ------------------------------------------------------------------------------------

    def _compact_spill(self, compaction: SpillCompaction) -> None:
        if self._reading_spill or compaction.is_waiting or self._committer.spill_failed:
            return
        step = compaction.next_step()
        if step is not None:
            self._reading_spill = True
            self._submit(lambda: self._read_step(compaction, step))
            return
        if compaction.is_done:
            compaction.finish()
            self._broker.outbox.spill.compaction = None
            self._next_check = 0.0
            self._committer.give_back_spill()
        self._changed()

    def _read_step(self, compaction: SpillCompaction, step: SpillStep) -> None:
        """On the reader's thread."""
        spill = self._store.spill()
        assert spill is not None
        found: list[bytes | None] | None = None
        try:
            found = step.read(spill)
        except Closed:
            pass  # the last that lived there was read or dropped meanwhile, and the segment went
        except Exception:
            log.exception("the spill can't be read")
            found = [None] * len(step.parts)  # what isn't copied keeps its segment
        self._tell(self._step_read, compaction, step, found)

    def _step_read(self, compaction: SpillCompaction, step: SpillStep, found: list[bytes | None] | None) -> None:
        self._reading_spill = False
        if found is not None:
            compaction.copy(step, found)
        self._changed()

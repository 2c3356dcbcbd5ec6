"""The turn: once per round of the event loop, what the reads of that round have left.

    every socket that has something    connection.data_received: parse, apply to the core
    then, once                         serve each touched queue
                                       see whether the queues hold too much (runtime.alarms)
                                       hand the batch to the store's thread
                                       see when the next timer is due (runtime.wakeups)
                                       write each connection's output, once
                                       wake the connections that drained, read on where the budget stopped a read

`schedule` makes sure that a turn comes; it costs nothing to call it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from broker.runtime.committer import Committer
from broker.runtime.descriptors import Descriptors, file_limit
from broker.runtime.reader import Reader
from broker.runtime.wakeups import Wakeups

if TYPE_CHECKING:
    import asyncio

    from broker.core.broker import Broker
    from broker.runtime.alarms import Alarms
    from broker.runtime.connection import Connection
    from broker.runtime.decider import Decider
    from storage.api import Store


OUTRUN_SECONDS = 0.002
"""How long a publisher that outruns consumers waits at the most before each read, so that it gets rid of 128 MiB a second even so."""


class Turn:
    """One per event loop."""

    wakeups_type: ClassVar[type[Wakeups]] = Wakeups

    def __init__(self, broker: Broker, store: Store, loop: asyncio.AbstractEventLoop, alarms: Alarms, decider: Decider) -> None:
        self.broker = broker
        self.alarms = alarms
        self.decider = decider
        self.descriptors = Descriptors(file_limit())
        self.is_suspended = False
        """Whoever connects is turned away at once."""
        self.committer = Committer(store, broker.outbox, loop, self._committed)
        self.reader = Reader(broker, store, self.committer, loop, self.schedule)
        self._wakeups = self.wakeups_type(broker, loop, self.schedule)
        self._loop = loop
        self._scheduled = False
        self._unflushed: list[Connection] = []
        self._unread: list[Connection] = []
        self._waiting_for_disk: list[Connection] = []
        self._outrunning: dict[Connection, asyncio.TimerHandle] = {}
        """Who waits for consumers to catch up, and what ends that at the latest."""

    def schedule(self) -> None:
        """There is something to do at the end of this round."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._end)

    def flush_later(self, connection: Connection) -> None:
        """`connection` has output."""
        self._unflushed.append(connection)
        self.schedule()

    def read_later(self, connection: Connection) -> None:
        """`connection` has complete frames left that are beyond its budget for this turn."""
        self._unread.append(connection)
        self.schedule()

    def read_when_durable(self, connection: Connection) -> None:
        """`connection` publishes faster than the disk takes it."""
        self._waiting_for_disk.append(connection)

    def read_when_taken(self, connection: Connection) -> None:
        """`connection` publishes faster than consumers take it: they go first, for a moment."""
        self._outrunning[connection] = self._loop.call_later(OUTRUN_SECONDS, self._go_on, connection)

    def _go_on(self, connection: Connection) -> None:
        timer = self._outrunning.pop(connection, None)
        if timer is not None:
            timer.cancel()
        connection.consumers_caught_up()

    def _end(self) -> None:
        broker = self.broker
        try:
            self._serve()
        finally:
            self._scheduled = False  # what was to do until here is done, or comes up below
        self.reader.after_turn()
        self._wakeups.after_turn()
        if self._outrunning:
            for connection in [each for each in self._outrunning if not each.session.publisher.outruns]:
                self._go_on(connection)
        unflushed, self._unflushed = self._unflushed, []
        for connection in unflushed:
            connection.flush()
        if self._unread or self._unflushed or broker.has_work:
            self.schedule()

    def _serve(self) -> None:
        """Read on, serve the queues, ship what they leave."""
        broker = self.broker
        unread, self._unread = self._unread, []
        for connection in unread:
            connection.read_on()
        broker.serve()
        if broker.memory.used > self.alarms.queued_max_bytes:
            self.alarms.check_memory()
        if broker.outbox.has_batch:
            self.committer.ship(broker.outbox.take())

    def _committed(self) -> None:
        if self.committer.failed is not None:
            self.alarms.store_failed()
        if self._waiting_for_disk and not self.committer.is_behind:
            waiting, self._waiting_for_disk = self._waiting_for_disk, []
            for connection in waiting:
                connection.disk_caught_up()
        self.schedule()

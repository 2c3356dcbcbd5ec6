"""The turn of a broker under test, and what calls its timers: others hear when a turn is over, and the clock may stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from broker.runtime.turn import Turn
from broker.runtime.wakeups import Wakeups
from broker.testing.timing.scheduling import TICK_SECONDS

if TYPE_CHECKING:
    from broker.runtime.connection import Connection
    from broker.testing.broker import WatchedBroker


class WatchedWakeups(Wakeups):
    """Sleeps while the clock stands, and looks again when somebody has moved it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._clock = cast("WatchedBroker", self._broker).rig.clock
        self._clock.on_change.append(self.look_again)

    def look_again(self) -> None:
        """The clock was moved, stopped or let go."""
        self._set(self._broker.timers.next_ms)

    def _set(self, deadline_ms: int | None) -> None:
        super()._set(deadline_ms)
        clock = self._clock
        if self._handle is not None and deadline_ms is not None and clock.stands and (clock.is_held or deadline_ms > clock.now_ms()):
            self._handle.cancel()
            self._handle = None


class WatchedTurn(Turn):
    """See the module."""

    wakeups_type: ClassVar[type[Wakeups]] = WatchedWakeups

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._rig = cast("WatchedBroker", self.broker).rig
        self._ticks = False
        """A tick is to come, for those who have to wait (broker.testing.timing.scheduling)."""
        self.count = 0
        """How many there were."""
        self.said = 0
        """Counts up when clients are told something."""

    def take(self) -> None:
        """Take a turn now."""
        self._end()

    def flush_later(self, connection: Connection) -> None:
        """See Turn."""
        self.said += 1
        super().flush_later(connection)

    def _end(self) -> None:
        self.count += 1
        super()._end()
        if self._rig.scheduling.is_holding and not self._ticks:
            self._ticks = True
            self._loop.call_later(TICK_SECONDS, self._tick)
        for look in self._rig.after_turn:
            look()

    def _tick(self) -> None:
        self._ticks = False
        self._rig.scheduling.tick()
        self.schedule()

    @property
    def is_reading(self) -> bool:
        """Something is to come from the disk."""
        return bool(self.broker.outbox.loads) or self.broker.memory.loading > 0

    @property
    def is_at_rest(self) -> bool:
        """All that was said has had its consequences, on the disk too; what was told may still be on its way to the peers."""
        outbox = self.broker.outbox
        if outbox.touched or self.broker.announcements.waiting or self.is_reading:
            return False
        # A compaction has always something on its way, which is nobody's.
        return outbox.compaction is not None or not (outbox.has_batch or self.committer.is_busy)

"""Calls the core's timers when they are due: one timer of the event loop for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from broker.core.broker import Broker

WAIT_SECONDS_MAX = 1.0
"""The core's deadlines are wall time, the loop's aren't: so seldom does it look whether somebody has put the clock forward."""


class Wakeups:
    """See the module. `changed` has a turn follow."""

    def __init__(self, broker: Broker, loop: asyncio.AbstractEventLoop, changed: Callable[[], None]) -> None:
        self._broker = broker
        self._loop = loop
        self._changed = changed
        self._deadline_ms: int | None = None
        self._handle: asyncio.TimerHandle | None = None

    def after_turn(self) -> None:
        """See when to come back; most turns end with one comparison."""
        deadline_ms = self._broker.timers.next_ms
        if deadline_ms != self._deadline_ms:
            self._set(deadline_ms)

    def _set(self, deadline_ms: int | None) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._deadline_ms = deadline_ms
        if deadline_ms is not None:
            seconds = (deadline_ms - self._broker.outbox.clock()) / 1000
            self._handle = self._loop.call_later(min(max(seconds, 0), WAIT_SECONDS_MAX), self._look)

    def _look(self) -> None:
        self._deadline_ms = self._handle = None
        self._broker.run_timers()
        self._changed()

"""Deadlines of the whole broker: one heap, driven by the clock that the core was given.

Whoever runs the core asks `next_ms` when to come back, and calls `run`. Times are wall time in milliseconds, as in the log, so that a
deadline means the same after a restart.
"""

from __future__ import annotations

import logging
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("timers")

DEAD_MAX = 64
"""So many cancelled timers, and as many as there are others, may stay in the heap."""


class Timer:
    """One call that is to come; `deadline_ms` is None once it came or was cancelled."""

    __slots__ = ("_action", "_timers", "deadline_ms")

    def __init__(self, timers: Timers, deadline_ms: int, action: Callable[[], None]) -> None:
        self.deadline_ms: int | None = deadline_ms
        self._timers = timers
        self._action = action

    def cancel(self) -> None:
        """Never call it; again is fine."""
        if self.deadline_ms is not None:
            self.deadline_ms = None
            self._timers.live -= 1

    def fire(self) -> None:
        """Call it, unless it was called or cancelled before."""
        if self.deadline_ms is not None:
            self.cancel()
            self._action()


class Timers:
    """One per broker. `live` is how many calls are to come."""

    __slots__ = ("_count", "_heap", "live")

    def __init__(self) -> None:
        self.live = 0
        self._heap: list[tuple[int, int, Timer]] = []
        self._count = 0

    def at(self, deadline_ms: int, action: Callable[[], None]) -> Timer:
        """Call `action` once when the clock has reached `deadline_ms`; those of one moment in the order in which they were asked for."""
        self._count += 1
        self.live += 1
        if len(self._heap) > 2 * self.live + DEAD_MAX:
            self._heap = [item for item in self._heap if item[2].deadline_ms is not None]
            heapify(self._heap)
        timer = Timer(self, deadline_ms, action)
        heappush(self._heap, (deadline_ms, self._count, timer))
        return timer

    @property
    def next_ms(self) -> int | None:
        """The deadline of the first timer; None without any."""
        heap = self._heap
        while heap and heap[0][2].deadline_ms is None:
            heappop(heap)
        return heap[0][0] if heap else None

    def run(self, now_ms: int) -> None:
        """Call what is due; what is asked for meanwhile waits for the next time."""
        heap = self._heap
        due: list[Timer] = []
        while heap and heap[0][0] <= now_ms:
            due.append(heappop(heap)[2])
        for timer in due:
            _fire(timer)

    def run_first(self) -> None:
        """Call the one that comes first, whatever the time; none is fine."""
        if self.next_ms is not None:
            _fire(heappop(self._heap)[2])


def _fire(timer: Timer) -> None:
    try:
        timer.fire()
    except Exception:
        # A bug costs what this timer was for, and nobody else's; the log has the traceback.
        log.exception("a timer failed")

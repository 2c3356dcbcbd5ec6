"""The broker's clock: wall time at the start, what has passed since by the monotonic clock, and what it was moved by."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Milliseconds since 1970 that can be moved forward, and stopped. It never goes back."""

    def __init__(
        self,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self._monotonic_ms = monotonic_ms
        self._start_ms = wall_ms() - monotonic_ms()
        self.offset_ms = 0
        """How far it was moved, less the time it stood still: what is kept for the next start."""
        self._frozen_at_ms: int | None = None

    def now_ms(self) -> int:
        """What time it is for the broker."""
        if self._frozen_at_ms is not None:
            return self._frozen_at_ms
        return self._start_ms + self._monotonic_ms() + self.offset_ms

    @property
    def is_frozen(self) -> bool:
        """It stands still, but for `advance`."""
        return self._frozen_at_ms is not None

    def freeze(self) -> None:
        """Stand still from now on; again is fine."""
        if self._frozen_at_ms is None:
            self._frozen_at_ms = self.now_ms()

    def resume(self) -> None:
        """Go on from where it stood; again is fine."""
        if self._frozen_at_ms is not None:
            self.offset_ms = self._frozen_at_ms - self._start_ms - self._monotonic_ms()
            self._frozen_at_ms = None

    def move_to(self, ms: int) -> None:
        """Go forward to that moment; one that is over changes nothing."""
        now = self.now_ms()
        if ms > now:
            if self._frozen_at_ms is not None:
                self._frozen_at_ms = ms
            self.offset_ms += ms - now

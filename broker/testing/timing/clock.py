"""The broker's clock: wall time at the start, what has passed since by the monotonic clock, and what it was moved by.

It may stand still for two reasons: a test has *frozen* it, or it is *held* while timers are called one after the other
(broker.testing.timing.advance), so that each of them finds exactly its own moment.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from broker.core import entries

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.outbox import Outbox
    from storage.api import Catalog

LATEST_MS: Final = 253_370_764_800_000
"""The year 9999 begins. Many clients can't read timestamps past its end."""


class Clock:
    """Milliseconds since 1970 that can be moved forward, and stopped. It never goes back."""

    def __init__(
        self,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self._monotonic_ms = monotonic_ms
        self._start_ms = wall_ms() - monotonic_ms()
        self._offset_ms = 0
        self._stands_at_ms: int | None = None
        self.is_frozen = False
        """A test has stopped it."""
        self.frozen_by: set[str] = set()
        """Those who have, by the names that they gave."""
        self.is_held = False
        """Whoever holds it calls the timers, and nobody else."""
        self.on_change: list[Callable[[], None]] = []
        """Called when it was moved, stopped or let go, but for moves while it is held."""

    def now_ms(self) -> int:
        """What time it is for the broker."""
        if self._stands_at_ms is not None:
            return self._stands_at_ms
        return self._start_ms + self._monotonic_ms() + self._offset_ms

    @property
    def offset_ms(self) -> int:
        """How far ahead of the wall's time it is: what it was moved by, less the time that it stood still."""
        if self._stands_at_ms is None:
            return self._offset_ms
        return self._stands_at_ms - self._start_ms - self._monotonic_ms()

    @property
    def stands(self) -> bool:
        """It stands still, for whatever reason."""
        return self._stands_at_ms is not None

    def freeze(self) -> None:
        """Stand still from now on, but for `move_to`; again is fine."""
        self._set(is_frozen=True, is_held=self.is_held)

    def resume(self) -> None:
        """Go on from where it stood; again is fine."""
        self._set(is_frozen=False, is_held=self.is_held)

    def hold(self) -> None:
        """Stand still until `release`."""
        self._set(is_frozen=self.is_frozen, is_held=True)

    def release(self) -> None:
        """Go on, unless it is frozen."""
        self._set(is_frozen=self.is_frozen, is_held=False)

    def _set(self, *, is_frozen: bool, is_held: bool) -> None:
        if is_frozen or is_held:
            self._stands_at_ms = self.now_ms()
        else:
            self._offset_ms, self._stands_at_ms = self.offset_ms, None
        self.is_frozen, self.is_held = is_frozen, is_held
        self._changed()

    def move_to(self, ms: int) -> None:
        """Go forward to that moment; one that is over changes nothing."""
        now = self.now_ms()
        if ms <= now:
            return
        if self._stands_at_ms is None:
            self._offset_ms += ms - now
        else:
            self._stands_at_ms = ms
        if not self.is_held:
            self._changed()

    def _changed(self) -> None:
        for tell in self.on_change:
            tell()

    # --- what a restart finds ---------------------------------------------------------------------------------------

    def keep(self, outbox: Outbox, ahead_ms: int = 0) -> None:
        """Have the next start go on from here, or from `ahead_ms` later: what is published meanwhile must not be of its future."""
        value: dict[str, Any] = {"offset_ms": self.offset_ms + ahead_ms}
        if self.is_frozen:
            value["frozen_at_ms"] = self.now_ms() + ahead_ms
        outbox.put(entries.TESTING_CLOCK, entries.dump(value))

    def restore(self, catalog: Catalog) -> None:
        """Go on as it was kept: frozen, at the same moment; or so far ahead of the wall's time, which has passed meanwhile."""
        kept = catalog.get(entries.TESTING_CLOCK)
        if kept is not None:
            value = entries.load(kept.value)
            self._offset_ms, self._stands_at_ms = value["offset_ms"], value.get("frozen_at_ms")
            self.is_frozen = self.stands

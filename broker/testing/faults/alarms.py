"""Alarms of a broker under test: real ones (runtime/alarms.py), which a test can also order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.runtime.alarms import DISK, MEMORY, Alarms

if TYPE_CHECKING:
    from collections.abc import Callable

WHY = "a test has ordered it"
ADVICE = "take the fault away"


class OrderedAlarms(Alarms):
    """See the module. What is ordered stays on, whatever the machine says."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._ordered: dict[str, list[object]] = {DISK: [], MEMORY: []}

    def order(self, name: str, who: object) -> None:
        """Have the alarm on until `release`."""
        self._ordered[name].append(who)
        if name not in self.active:
            self._raise(name, WHY, ADVICE)

    def release(self, name: str, who: object) -> None:
        """It is over, unless somebody else has ordered it, or the machine says so; again is fine."""
        if who not in self._ordered[name]:
            return
        self._ordered[name].remove(who)
        if name == MEMORY:
            self.check_memory()
        elif self._free is not None:
            self.check_disk()
        elif not self._ordered[name]:
            self._clear(name, "the fault was taken away")

    def check_disk(self) -> None:
        """See Alarms."""
        self._unless_ordered(DISK, super().check_disk)

    def check_memory(self) -> None:
        """See Alarms."""
        self._unless_ordered(MEMORY, super().check_memory)

    def _unless_ordered(self, name: str, check: Callable[[], None]) -> None:
        if not self._ordered[name]:
            check()

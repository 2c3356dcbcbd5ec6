"""How much of long work is done before somebody else has a turn."""

from __future__ import annotations


class Pace:
    """Counts what was done, over as many objects as it takes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._done = 0

    def is_over(self, count: int = 1) -> bool:
        """So much more was done, and that is enough for one step (core/steps.py): yield."""
        self._done += count
        if self._done < self._most:
            return False
        self._done = 0
        return True

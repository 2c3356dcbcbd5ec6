"""Gives memory back to the system after a backlog went.

CPython frees what is consumed, but the C library keeps it: it returns what is free at the end of the heap, and among what is left there
is always something in use. glibc returns the rest when it is asked to, in milliseconds. No other C library has that call; there
this does nothing.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from broker.core.memory import Memory

CHECK_SECONDS: Final = 1.0
DROP_BYTES: Final = 67_108_864
"""Worth asking when so much went; an eighth of it where nothing else happens."""


def malloc_trim() -> Callable[[], object] | None:
    """The C library's function, if it has it."""
    if sys.platform != "linux":
        return None
    import ctypes  # only whoever once had a backlog needs it

    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # musl
        return None
    return lambda: trim(ctypes.c_size_t(0))


class Trimming:
    """See the module. `trim` may take some milliseconds, and is called on a thread of its own."""

    def __init__(self, memory: Memory, loop: asyncio.AbstractEventLoop, trim: Callable[[], object] | None = None) -> None:
        self._memory = memory
        self._loop = loop
        self._trim = trim
        self._most = 0
        """Accounted bytes: the most since the last time."""
        self._last = 0
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin the timer."""
        self._handle = self._loop.call_later(CHECK_SECONDS, self._tick)

    def stop(self) -> None:
        """End it."""
        if self._handle is not None:
            self._handle.cancel()

    def _tick(self) -> None:
        if self.is_due():
            threading.Thread(target=self._run, name="leveret-trim", daemon=True).start()
        self.start()

    def is_due(self) -> bool:
        """Look, once a second, whether enough went since it was due last."""
        used = self._memory.used
        is_quiet, self._last = used == self._last, used
        self._most = max(self._most, used)
        if self._most - used < (DROP_BYTES >> 3 if is_quiet else DROP_BYTES):
            return False
        self._most = used
        return True

    def _run(self) -> None:
        self._trim = self._trim or malloc_trim() or (lambda: None)
        self._trim()

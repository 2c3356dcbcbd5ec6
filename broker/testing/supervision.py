"""A broker that a program has started for itself: it tells where it listens, and ends with the program.

The program holds the other end of stdin; when that is closed, by the program or because there is no program any more (however it
ended), the broker stops. A program that has forked may leave a child that keeps the pipe open, so it also ends when its parent changes.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

EXIT_SOFTWARE = 70
"""sysexits.h."""
log = logging.getLogger("leveret")

PARENT_CHECK_SECONDS = 0.5
GRACE_SECONDS = 10.0
"""For an orderly end: nobody is there any more who would end a broker that hangs."""


def tell(facts: Mapping[str, Any]) -> None:
    """One line of JSON on stdout."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def end_with_parent(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    """Have `stop` called on the event loop when the parent is gone, or has closed stdin. Who hasn't ended GRACE_SECONDS later is ended."""
    parent = os.getppid()

    def end() -> None:
        try:
            loop.call_soon_threadsafe(stop)
        except RuntimeError:
            # The loop is closed: the broker has ended.
            return
        time.sleep(GRACE_SECONDS)
        os._exit(EXIT_SOFTWARE)

    def read_to_the_end() -> None:
        while True:
            try:
                if not os.read(0, 4096):
                    break
            except OSError:
                break
        end()

    def watch_parent() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_SECONDS)
        end()

    for target in (read_to_the_end, watch_parent):
        threading.Thread(target=target, name="supervision", daemon=True).start()

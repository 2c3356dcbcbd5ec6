"""`python -m bench.gc_pauses serve ...`: the broker, which notes how long each garbage collection stops it.

When it has stopped, the file that LEVERET_GC_FILE names holds a JSON list: for each generation how many collections there were, the
longest in seconds, and all of them together in seconds. It counts from where the broker freezes what it has (gc.freeze), which is the
last thing before the server is up.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from broker.cli.main import main
from tests.oracle.leveret import Leveret

VARIABLE = "LEVERET_GC_FILE"


class WatchedLeveret(Leveret):
    """That broker as a process."""

    module = "bench.gc_pauses"


class Pauses:
    """A callback for `gc.callbacks`."""

    def __init__(self) -> None:
        self.begin = 0.0
        self.generations: list[list[float]] = []
        """Count, longest and sum of the seconds."""
        self.restart()

    def restart(self) -> None:
        """Forget all."""
        self.generations = [[0, 0.0, 0.0] for _ in range(3)]

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self.begin = time.perf_counter()
            return
        seconds = time.perf_counter() - self.begin
        pauses = self.generations[info["generation"]]
        pauses[0] += 1
        pauses[1] = max(pauses[1], seconds)
        pauses[2] += seconds


def frozen(pauses: Pauses, freeze: Callable[[], None]) -> None:
    """In place of gc.freeze."""
    freeze()
    pauses.restart()


if __name__ == "__main__":
    watched = Pauses()
    gc.callbacks.append(watched)
    gc.freeze = partial(frozen, watched, gc.freeze)
    status = main(sys.argv[1:])
    gc.callbacks.remove(watched)
    Path(os.environ[VARIABLE]).write_text(json.dumps(watched.generations))
    sys.exit(status)

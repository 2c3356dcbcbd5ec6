"""`python -m bench.gc_pauses serve ...`: the broker, which notes how long each garbage collection stops it.

When it has stopped, the file that LEVERET_GC_FILE names holds a JSON list: for each generation how many collections there were, the
longest in seconds, and all of them together in seconds. The collection before the server is up counts too.
"""

import gc
import json
import os
import sys
import time
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
        self.generations = [[0, 0.0, 0.0] for _ in range(3)]
        """Count, longest and sum of the seconds."""

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self.begin = time.perf_counter()
            return
        seconds = time.perf_counter() - self.begin
        pauses = self.generations[info["generation"]]
        pauses[0] += 1
        pauses[1] = max(pauses[1], seconds)
        pauses[2] += seconds


if __name__ == "__main__":
    watched = Pauses()
    gc.callbacks.append(watched)
    status = main(sys.argv[1:])
    gc.callbacks.remove(watched)
    Path(os.environ[VARIABLE]).write_text(json.dumps(watched.generations))
    sys.exit(status)

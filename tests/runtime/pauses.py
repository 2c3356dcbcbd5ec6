"""`python -m tests.runtime.pauses serve ...`: the broker, which says at its end how long the garbage collector held it up at the most, in
time of the processor: on a busy machine others hold it up as well."""

import gc
import sys
import time

from broker.cli.main import main
from tests.oracle.leveret import Leveret


class Pauses(Leveret):
    """That broker as a process."""

    module = "tests.runtime.pauses"


class _Stopwatch:
    def __init__(self) -> None:
        self.longest = (0.0, 0)
        """In seconds, and of which generation."""
        self.count = 0
        self._begin = 0.0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._begin = time.thread_time()
        elif gc.get_freeze_count():  # the start-up is over
            self.longest = max(self.longest, (time.thread_time() - self._begin, info["generation"]))
            self.count += 1


if __name__ == "__main__":
    stopwatch = _Stopwatch()
    gc.callbacks.append(stopwatch)
    try:
        status = main(sys.argv[1:])
    finally:
        seconds, generation = stopwatch.longest
        print(f"collections: {stopwatch.count}, longest: {seconds * 1000:.3f} ms, of generation {generation}", flush=True)
    sys.exit(status)

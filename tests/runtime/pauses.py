"""`python -m tests.runtime.pauses serve ...`: the broker, which says at its end how long the garbage collector held it up at the most."""

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
        self.longest = 0.0
        self.count = 0
        self._begin = 0.0

    def __call__(self, phase: str, _info: object) -> None:
        if phase == "start":
            self._begin = time.perf_counter()
        else:
            self.longest = max(self.longest, time.perf_counter() - self._begin)
            self.count += 1


if __name__ == "__main__":
    stopwatch = _Stopwatch()
    gc.callbacks.append(stopwatch)
    try:
        status = main(sys.argv[1:])
    finally:
        print(f"collections: {stopwatch.count}, longest: {stopwatch.longest * 1000:.3f} ms", flush=True)
    sys.exit(status)

"""The one thread of a store: it runs what log and catalog are handed in strict order, adjacent operations together."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from storage.api import Failed

_log = logging.getLogger("leveret.storage")

T = TypeVar("T")
Operation = TypeVar("Operation", contravariant=True)


class Part(Protocol[Operation]):
    """A log or a catalog, as its worker sees it."""

    def run(self, operations: Iterable[Operation]) -> None:
        """Do the operations in order, on the worker's thread, and answer each. Must not raise. What was answered must not be kept:
        it would stay in memory until a slow disk has done the rest."""


class Worker:
    """Runs operations in the order in which they were submitted; those that pile up meanwhile are one batch.

    `failure` is set by the first write or sync that fails; from then on nothing is written any more. The thread is a
    daemon: a process that dies without closing the store loses nothing that was answered.
    """

    def __init__(self, name: str = "leveret-storage") -> None:
        self.failure: Failed | None = None
        # Written in C: a put is one append, and touches a lock only when the thread sleeps.
        self._queue: SimpleQueue[tuple[Part[Any], Any] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, part: Part[T], operation: T) -> None:
        """Hand in an operation. Never blocks."""
        self._queue.put((part, operation))

    def fail(self, error: Exception) -> Failed:
        """Note that a write failed; returns the failure that this and all later operations get."""
        if self.failure is None:
            self.failure = Failed(f"storage failed and is not written to any more: {error}")
            self.failure.__cause__ = error
            _log.error("%s", self.failure)
        return self.failure

    def stop(self) -> None:
        """Finish what was submitted and end the thread. Blocks; not to be called from a `done`."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        stopped = False
        while not stopped:
            batch = deque([self._queue.get()])
            batch += [self._queue.get() for _ in range(self._queue.qsize())]
            stopped = None in batch
            self._run_all(batch)

    @staticmethod
    def _run_all(batch: deque[tuple[Part[Any], Any] | None]) -> None:
        """What is being done is no longer in the batch."""
        for part, operations in groupby(filter(None, _emptied(batch)), key=itemgetter(0)):
            part.run(operation for _, operation in operations)


def _emptied(batch: deque[T]) -> Iterator[T]:
    while batch:
        yield batch.popleft()


def answer(done: Callable[[T], None] | None, result: T) -> None:
    """Call `done`. It must not raise; if it does, that is logged, for the thread has the others to answer yet."""
    if done is None:
        return
    try:
        done(result)
    except Exception:  # noqa: BLE001 - the caller's, and it is not ours to die of
        _log.exception("a storage callback raised")

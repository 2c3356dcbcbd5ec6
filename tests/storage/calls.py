"""Waiting for what a store answers, with a deadline and without a sleep."""

from collections.abc import Sequence
from queue import Queue

from storage.api import Catalog, Log, Receipt, StorageError
from storage.records import encode_enqueue

DEADLINE = 20.0


def message(number: int, size: int = 10) -> bytes:
    """A record that tells which it is."""
    return encode_enqueue(number, 7, 1_700_000_000_000, b"key", b"header", [bytes([number % 256]) * size])


class Answers:
    """Collects what `done` is called with, in order."""

    def __init__(self) -> None:
        self._queue: Queue[object] = Queue()
        self.all: list[object] = []

    def __call__(self, result: object) -> None:
        self._queue.put(result)

    def take(self, count: int) -> list[object]:
        """The next `count` answers."""
        taken = [self._queue.get(timeout=DEADLINE) for _ in range(count)]
        self.all += taken
        return taken


def append(log: Log, records: Sequence[bytes], *, sync: bool = True, roll: bool = False) -> Receipt:
    """Append and wait; raises what the log answers if it isn't a receipt."""
    answers = Answers()
    log.append(records, answers, sync=sync, roll=roll)
    (result,) = answers.take(1)
    if isinstance(result, StorageError):
        raise result
    assert isinstance(result, Receipt)
    return result


def put(catalog: Catalog, key: str, value: bytes, expect: int | None = None) -> int:
    """Put and wait until it is durable; returns the revision."""
    answers = Answers()
    revision = catalog.put(key, value, answers, expect)
    assert answers.take(1) == [None]
    return revision


def records_of(log: Log) -> list[list[bytes]]:
    """The records of every commit."""
    return [commit.records for commit in log.scan()]

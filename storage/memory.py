"""A store in memory, with the contract of the one on files: for tests, for the simulation and for `--memory`."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

from storage.api import Closed, Commit, Corrupt, Damage, Entry, Failed, Receipt, StorageError, type_done
from storage.catalog import BaseCatalog, Change
from storage.records import HEADER_SIZE, record_size
from storage.worker import answer

Defer = Callable[[Callable[[], None]], None]


def at_once(operation: Callable[[], None]) -> None:
    """The plainest `defer`: a call is durable, and answered, before it returns."""
    operation()


class _Medium:
    """What survives a crash of the simulated machine, and the failure that stops all writing."""

    def __init__(self) -> None:
        self.commits: list[Commit] = []
        self.entries: dict[str, Entry] = {}
        self.revision = 0
        self.segments = [0]
        self.end = 0
        self.failure: Failed | None = None


class MemoryLog:
    """A Log that makes each commit one block. Without `keep` it forgets the records: `scan` gives nothing."""

    def __init__(self, medium: _Medium, defer: Defer, keep: bool) -> None:
        self.keep = keep
        self._medium = medium
        self._defer = defer
        self._closed = False

    @property
    def start(self) -> int:
        """The position of the oldest byte."""
        return self._medium.segments[0]

    @property
    def end(self) -> int:
        """The position behind the newest byte."""
        return self._medium.end

    def segments(self) -> list[tuple[int, int]]:
        """(start, end) of each segment, the oldest first; the last is still growing."""
        starts = self._medium.segments
        return list(zip(starts, [*starts[1:], self._medium.end], strict=True))

    def damage(self) -> list[Damage]:
        """Memory isn't damaged."""
        return []

    def append(self, records: Sequence[bytes], done: type_done, *, sync: bool = True, roll: bool = False) -> None:
        """See `Log.append`. `done` is called by `defer`, which is also when the commit becomes durable."""
        if self._closed:
            answer(done, Closed("the log is closed"))
        else:
            self._defer(lambda: answer(done, self._write(records, roll)))

    def scan(self, start: int = 0, stop: int | None = None) -> Iterator[Commit]:
        """See `Log.scan`."""
        if self._closed:
            raise Closed("the log is closed")
        for commit in list(self._medium.commits):
            if start <= commit.position and (stop is None or commit.position < stop) and commit.pieces:
                yield commit

    def read(self, places: Sequence[int]) -> list[bytes]:
        """See `Log.read`."""
        return list(map(self._read, places))

    def _read(self, place: int) -> bytes:
        if self._closed or place < self.start:
            raise Closed(f"the log holds no position {place} any more")
        commits = self._medium.commits
        at = bisect_right(commits, place, key=lambda commit: commit.position) - 1
        for start, data in commits[at].pieces if at >= 0 else ():
            offset = place - start
            if 0 <= offset < len(data):
                return data[offset : offset + record_size(data, offset)]
        raise Corrupt(f"no record at position {place}")

    def truncate(self, before: int) -> None:
        """See `Log.truncate`. The last segment stays in any case."""
        if not self._closed:
            self._defer(lambda: self._drop(before))

    def close(self) -> None:
        """See `Log.close`. What was deferred is up to who deferred it."""
        self._closed = True

    def _write(self, records: Sequence[bytes], roll: bool) -> Receipt | StorageError:
        medium = self._medium
        if medium.failure is not None:
            return medium.failure
        start = medium.end
        size = HEADER_SIZE + sum(map(len, records))
        if start > medium.segments[-1] and roll:
            medium.segments.append(start)
        medium.end += size
        place = start + HEADER_SIZE
        if self.keep:
            medium.commits.append(Commit(start, medium.end, medium.segments[-1], [(place, b"".join(records))] if records else []))
        return Receipt(start, medium.end, ((place, 0),) if records else ())

    def _drop(self, before: int) -> None:
        medium = self._medium
        while medium.failure is None and len(medium.segments) > 1 and medium.segments[1] <= before:
            del medium.segments[0]
        medium.commits = [commit for commit in medium.commits if commit.position >= medium.segments[0]]


class MemoryCatalog(BaseCatalog):
    """A Catalog in memory."""

    def __init__(self, medium: _Medium, defer: Defer) -> None:
        super().__init__()
        self._medium = medium
        self._defer = defer
        self._entries = dict(medium.entries)
        self._revision = medium.revision

    def close(self) -> None:
        """See `Catalog.close`."""
        self._closed = True

    def _store(self, change: Change) -> None:
        self._defer(lambda: answer(change.done, self._write(change)))

    def _write(self, change: Change) -> StorageError | None:
        medium = self._medium
        if medium.failure is not None:
            return medium.failure
        if change.entry is not None:
            medium.entries[change.key] = change.entry
        else:
            medium.entries.pop(change.key, None)
        medium.revision = max(medium.revision, change.revision)
        return None


class MemoryStore:
    """A Store in memory.

    Every operation goes through `defer`, which must run what it is given once and in order, now or later: a commit is
    durable when it was run. With `keep` the log remembers, and `reopen` gives what a restart would find.
    """

    def __init__(
        self,
        defer: Defer = at_once,
        *,
        keep: bool = False,
        medium: _Medium | None = None,
    ) -> None:
        self._medium = medium or _Medium()
        self._defer, self._keep = defer, keep
        self.epoch = 1
        self.log = MemoryLog(self._medium, defer, keep)
        self._spill: MemoryLog | None = None
        self.catalog = MemoryCatalog(self._medium, defer)

    @property
    def failure(self) -> Failed | None:
        """The failure after which nothing is written any more; None while all is well."""
        return self._medium.failure

    def fail(self, text: str) -> None:
        """Have every operation from now on fail, as after a disk's failure."""
        self._medium.failure = Failed(f"storage failed and is not written to any more: {text}")

    def spill(self) -> MemoryLog | None:
        """See `Store.spill`: one that remembers, if the log does."""
        if self._spill is None and self._keep:
            self._spill = MemoryLog(_Medium(), self._defer, keep=True)
        return self._spill

    def close(self) -> None:
        """See `Store.close`."""
        self.catalog.close()
        self.log.close()

    def reopen(self, defer: Defer | None = None) -> "MemoryStore":
        """The store as a restart finds it: what was durable. This one is closed, and what it deferred has no effect."""
        self.close()
        old = self._medium
        new = _Medium()
        new.commits, new.entries, new.revision = list(old.commits), dict(old.entries), old.revision
        new.segments, new.end = list(old.segments), old.end
        store = MemoryStore(defer or self._defer, keep=self._keep, medium=new)
        store.epoch = self.epoch + 1
        return store

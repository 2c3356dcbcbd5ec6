"""All that the rest of Leveret may see of storage: a Log, a Catalog, and their errors.

Thread-safety: every method may be called from any one thread at a time (the event loop's). Callbacks (`done`) are
called on the engine's own thread, in the order in which the calls were made, across the log and the catalog of one
store; they must be short and must not raise. A store runs its operations strictly in the order they were handed in.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol


class StorageError(Exception):
    """Base of everything that storage reports."""


class Closed(StorageError):
    """The store was closed, or is being closed."""


class Conflict(StorageError):
    """The key's revision is not the expected one."""


class Corrupt(StorageError):
    """Bytes that were once durable don't match their checksum."""


class Fenced(StorageError):
    """Another owner holds the store: a second broker on the same data directory."""


class Failed(StorageError):
    """A write or sync failed. The store never writes again in this process; a restart finds what was durable."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where a commit lies once it is durable (or, without `sync`, written).

    `start` and `end` are log positions in bytes. `blocks` holds, for each block of the commit in which a record begins,
    the place of the first that does and its index in the appended sequence (`storage.records.places` has those of all).
    """

    start: int
    end: int
    blocks: tuple[tuple[int, int], ...]


class Commit(NamedTuple):
    """What one `append` wrote, as `scan` gives it back: whole records, in order.

    `position` and `end` are log positions, `segment` is the start position of the segment that holds it. Each of the
    `pieces` is some records that follow one another, with the place of the first.
    """

    position: int
    end: int
    segment: int
    pieces: list[tuple[int, bytes]]

    @property
    def records(self) -> list[bytes]:
        """The records one by one."""
        from storage.records import split_records  # it needs the errors of this module

        return [record for _, data in self.pieces for record in split_records(data)[0]]


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that a log should hold and doesn't.

    `kind` is "torn" for the end of the log, cut back to its last whole commit after an unclean stop (nothing in it was
    known to be durable); "corrupt" for bytes that were durable once and no longer match their checksum; "missing" for
    a segment, or the end of one, that isn't there. `position` and `length` are log-wide and in bytes, `segment` is the
    start position of the segment. `messages` is what can still be made out of what was in it: how many messages were put
    there into which queue, by the queue's id.
    """

    kind: Literal["torn", "corrupt", "missing"]
    segment: int
    position: int
    length: int
    text: str
    messages: tuple[tuple[int, int], ...] = ()


type_done = Callable[["Receipt | StorageError"], None]


class Log(Protocol):
    """An append-only sequence of commits."""

    def append(self, records: Sequence[bytes], done: type_done, *, sync: bool = True, roll: bool = False) -> None:
        """Write `records` as one commit: after a crash it is there whole or not at all.

        Each element is one whole record. `sync=False` asks for the write alone (a later sync covers it). `roll=True`
        starts a new segment with this commit, so that segments hold whole epochs of the caller's choosing.
        Never blocks and never raises: `done` gets the receipt, or Closed or Failed.
        """

    def scan(self, start: int = 0, stop: int | None = None) -> Iterator[Commit]:
        """The commits from `start` on (synchronous: recovery and compaction). Raises Corrupt where nothing can be
        read round the damage; otherwise damage is quarantined and reported by `damage()`."""

    def damage(self) -> list[Damage]:
        """What opening and scanning found damaged so far, in the order of position."""

    def read(self, places: Sequence[int]) -> list[bytes]:
        """The records at these places, which are the log positions of their first bytes (synchronous: for a reader's
        thread). Fastest where they rise. Raises Corrupt if one of them is damaged, Closed if one was truncated away."""

    def truncate(self, before: int) -> None:
        """Give back the space of whole segments that end at or before `before`. Ordered with the appends."""

    def close(self) -> None:
        """Finish what was handed in, sync, and release the store. Blocks."""


class Entry(NamedTuple):
    """A catalog entry. `revision` grows with every put, over the whole catalog."""

    key: str
    value: bytes
    revision: int


class Catalog(Protocol):
    """Keys and values for what is declared; small, transactional. Keys are `kind/...` paths, values JSON text."""

    def get(self, key: str) -> Entry | None:
        """The entry as last put, whether durable yet or not."""

    def scan(self, prefix: str = "") -> list[Entry]:
        """All entries whose key starts with `prefix`, in key order."""

    def put(
        self,
        key: str,
        value: bytes,
        done: Callable[[StorageError | None], None] | None = None,
        expect: int | None = None,
    ) -> int:
        """Store, and return the new revision. `expect` is the revision the key must have (0: must not exist), else
        Conflict is raised at once. Puts and deletes handed in between two other operations commit together."""

    def delete(self, key: str, done: Callable[[StorageError | None], None] | None = None, expect: int | None = None) -> None:
        """Remove the key; deleting a missing one is fine unless `expect` says otherwise."""

    def watch(self, prefix: str, changed: Callable[[str, Entry | None], None]) -> Callable[[], None]:
        """Call `changed(key, entry or None)` after each put or delete under `prefix`; returns the function that ends it."""

    def close(self) -> None:
        """Finish what was handed in and release. Blocks."""


class Store(Protocol):
    """A log and a catalog that share one order of operations, and one thread."""

    @property
    def log(self) -> Log:
        """The log."""

    @property
    def catalog(self) -> Catalog:
        """The catalog."""

    def spill(self) -> Log | None:
        """A second log, for messages that nobody wants back after a restart: never synced, empty at every start. A failure
        to write it is its own. None where there is no room but memory. Raises OSError where it can't be opened; never waits."""

    def close(self) -> None:
        """Close both. Blocks."""

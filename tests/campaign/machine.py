"""A machine that can lose its power: the real Broker, Committer and FileLog over a disk in memory, one step at a time.

    machine = Machine()
    channel = machine.connect().channel()       # as tests/core/playbook.py, whose broker's disk this one is
    channel.declare("q", durable=True)
    machine.turn()                              # ships
    machine.step()                              # the store's worker does some of what it was handed, in one group
    machine.settle()                            # everything is durable
    again = Machine(machine.power.after_power_cut(Random(1)))
    again.contents()                            # what every durable queue holds now; takes it

What SQLite does inside a commit is trusted: the catalog here is a dictionary that changes as one operation of the disk, in
its place among the writes, syncs, creations and unlinks of the log.
"""

from __future__ import annotations

from collections import deque
from itertools import groupby
from operator import itemgetter
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from storage.catalog import BaseCatalog, Change
from storage.log import FileLog
from storage.memory import MemoryStore
from storage.worker import Worker, answer
from tests.campaign.promises import Broken
from tests.core.playbook import Delivered, Playbook
from tests.storage.disk import DIRECTORY, Disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from storage.api import Commit, Entry, Failed, Log

BLOCK_BYTES = 256
"""Small, so that one message goes over several blocks."""


class PowerOff(BaseException):
    """The power goes, in the middle of an operation of the disk. Nothing in the broker catches it."""


class PowerDisk(Disk):
    """A disk in memory with the durable part of a catalog on it."""

    def __init__(self, fault: Callable[[int, str], None] | None = None) -> None:
        super().__init__(fault)
        self.entries: dict[str, Entry] = {}
        self.revision = 0

    def commit(self, changes: Sequence[Change]) -> None:
        """Changes of the catalog, all or none."""
        self._change("commit")
        entries = dict(self.entries)
        for change in changes:
            if change.entry is None:
                entries.pop(change.key, None)
            else:
                entries[change.key] = change.entry
        self.entries, self.revision = entries, changes[-1].revision

    def after_power_cut(self, chance: Random) -> PowerDisk:
        return self._with_files(super().after_power_cut(chance))

    def copy(self) -> PowerDisk:
        return self._with_files(super().copy())

    def _with_files(self, files: Disk) -> PowerDisk:
        disk = PowerDisk()
        for name, content in files.files().items():
            disk.replace(name, content)
        disk.entries, disk.revision = self.entries, self.revision
        return disk


class SteppedWorker(Worker):
    """The store's worker without its thread: it works when it is told to."""

    def __init__(self) -> None:
        self.failure = None
        self.at_once = False
        """Nobody is left to tell it to: the store is being closed."""
        self.waiting: deque[tuple[Any, Any]] = deque()

    def submit(self, part: Any, operation: Any) -> None:
        self.waiting.append((part, operation))
        if self.at_once:
            self.work(len(self.waiting))

    def work(self, count: int) -> None:
        """Do what comes next, up to `count` operations as one batch: as the thread does with what piled up."""
        batch = [self.waiting.popleft() for _ in range(min(count, len(self.waiting)))]
        for part, operations in groupby(batch, key=itemgetter(0)):
            part.run([operation for _, operation in operations])

    def stop(self) -> None:
        self.work(len(self.waiting))


class DiskCatalog(BaseCatalog):
    """A catalog whose commits are operations of the disk."""

    def __init__(self, disk: PowerDisk, worker: SteppedWorker) -> None:
        super().__init__()
        self._disk, self._worker = disk, worker
        self._entries, self._revision = dict(disk.entries), disk.revision

    def close(self) -> None:
        self._closed = True

    def run(self, operations: Sequence[Change]) -> None:
        """The worker's side: one transaction."""
        failure = self._worker.failure
        if failure is None:
            try:
                self._disk.commit(operations)
            except OSError as error:
                failure = self._worker.fail(error)
        for change in operations:
            answer(change.done, failure)

    def _store(self, change: Change) -> None:
        self._worker.submit(self, change)


class Store:
    """What Playbook takes for its disk: the log and the catalog on one worker, which does `group()` operations a step."""

    def __init__(self, disk: PowerDisk, group: Callable[[], int]) -> None:
        self.batch = 0
        self._group = group
        self._worker = SteppedWorker()
        self._spill: Log | None = None
        self.catalog = DiskCatalog(disk, self._worker)
        self.log = FileLog(DIRECTORY, self._worker, disk, BLOCK_BYTES)

    def entries(self) -> list[Entry]:
        return self.catalog.scan()

    def scan(self) -> Iterator[Commit]:
        return self.log.scan()

    def spill(self) -> Log:
        """What is in it is nothing to a start, so it need not be on the disk."""
        if self._spill is None:
            self._spill = MemoryStore(keep=True).spill()
        assert self._spill is not None
        return self._spill

    @property
    def failure(self) -> Failed | None:
        return self._worker.failure

    @property
    def is_idle(self) -> bool:
        return not self._worker.waiting

    def step(self) -> None:
        self._worker.work(self._group())

    def close(self) -> None:
        self._worker.at_once = True
        self.catalog.close()
        self.log.close()


class Found(NamedTuple):
    """A message in a queue."""

    body: bytes
    redelivered: bool
    count: int
    """How often it came back."""


class Machine(Playbook):
    """A broker's life on a disk, from its start; an empty disk gets the vhost /."""

    def __init__(self, disk: PowerDisk | None = None, chance: Random | None = None) -> None:
        self.now_ms = 1_700_000_000_000
        self.logs = True
        self.power = disk or PowerDisk()
        self.chance = chance or Random(1)
        self.paging_bytes = self.chance.choice((0, 1 << 30))
        self._random = Random(1)
        self.disk: Any = Store(self.power, lambda: self.chance.choice((1, 1, 1, 2, 3, 20)))
        self._start()
        if "/" not in self.broker.vhosts:
            self.broker.add_vhost("/")
            self.settle()

    def background(self) -> None:
        """What the broker does beside the turns: a step of compaction."""
        self.compact()
        if any(ledger._kept is not None for ledger in (self.broker.outbox.ledger, self.broker.outbox.spill.ledger)):
            raise Broken("a pass of compaction was given up")

    def crash(self, *, keep_unsynced: bool = False) -> None:
        raise NotImplementedError("take power.after_power_cut and start another machine")

    def stop(self) -> PowerDisk:
        """A graceful end, as broker/runtime/server.py has it; returns the disk."""
        self.settle()
        for peer in self.peers:
            if not peer.lost:
                peer.session.force_close("shutdown")
                peer.lost = True
        self.settle()
        self.disk.close()
        return self.power

    def queue_ids(self) -> dict[str, int]:
        """The durable queues that are there, and which of that name each is."""
        return {name: queue.id for name, queue in self.broker.vhosts["/"].queues.items() if queue.durable}

    def bound(self, exchange: str) -> list[int]:
        """The durable queues that are bound to an exchange, by their ids."""
        ids, known = self.queue_ids(), self.broker.vhosts["/"].exchanges.get(exchange)
        return [ids[each.destination.name] for each in known.bindings() if each.destination.name in ids] if known is not None else []

    def contents(self) -> dict[int, list[Found]]:
        """What the durable queues hold, by their ids, in the order in which it comes out. It is out then."""
        counts = {queue_id: dict(self.queue(name).delivery_counts) for name, queue_id in self.queue_ids().items()}
        peer = self.connect()
        found: dict[int, list[Found]] = {}
        for name, queue_id in self.queue_ids().items():
            channel = peer.channel()
            channel.consume(name, no_ack=True)
            self.settle()
            delivered = [reply for reply in channel.take() if isinstance(reply, Delivered)]
            found[queue_id] = [Found(each.body, each.redelivered, counts[queue_id].get(each.message[0], 0)) for each in delivered]
            channel.cancel()
        return found

    def bodies(self, queue: str) -> list[bytes]:
        """The same of one queue, bodies alone."""
        return [found.body for found in self.contents()[self.queue_ids()[queue]]]

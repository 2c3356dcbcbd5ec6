"""What one turn leaves behind for the disk, and what waits for it.

The core never waits: it writes down here what must become durable and who must hear of it, and the turn ships it all as one
`Batch`: creations to the catalog, then the records as one commit of the log, then deletions (docs/architecture.md, "The order
law"). When the batch is durable, `Batch.release` sends what waited: confirms, and the replies that channels hold.

Records of a batch stand in the order in which things happened, but for settles and marks, which are collected by queue and
come last: nothing can happen to a message after it is settled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from broker.core.ledger import Ledger
from broker.core.memory import HEADER_BYTES, MESSAGE_BYTES, Memory
from broker.core.message import id_of
from broker.core.paging import PageOut
from broker.core.spill import Spill
from protocol.content import PERSISTENT
from storage import records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from broker.core.compaction import Compaction, Copies
    from broker.core.confirms import Confirms
    from broker.core.ledger import Segment
    from broker.core.message import Message
    from broker.core.pages import Pages
    from broker.core.paging import Reading
    from broker.core.queue import Queue
    from broker.core.spill import SpillBatch
    from storage.api import Receipt


RECORD_BYTES = 65_536
"""A record of messages that have little in common is about so big at the most: a damaged block costs no more than what is in it."""


class Waiting(Protocol):
    """Somebody who is told when a batch is durable: a channel that holds replies, or an operator."""

    def release(self, batch: int, durable: bool) -> None:
        """Batch number `batch` is durable, or (False) will never be."""


class Target:
    """The durable queues that a publish goes to, as the log names them: one queue's id, or a set of ids defined once a batch."""

    __slots__ = ("batch", "flags", "id", "queue_ids")

    def __init__(self, queue_ids: tuple[int, ...]) -> None:
        self.queue_ids = queue_ids
        self.id = queue_ids[0]
        self.flags = 0
        self.batch = 0


def target_of(queues: Sequence[Queue]) -> Target | None:
    """What the log calls the durable ones of these queues."""
    logged = tuple([queue.id for queue in queues if queue.logged])
    return Target(logged) if logged else None


def _stretches(facts: Sequence[int], size: int) -> Iterator[tuple[int, int, bool]]:
    """How messages with these facts, of so many bytes together, are cut into records: (begin, end, persistent)."""
    most = max(RECORD_BYTES * len(facts) // (size + 1), 1)
    persistent = facts[0] & PERSISTENT
    begin = 0
    for index, each in enumerate(facts):
        if each & PERSISTENT != persistent or index - begin >= most:
            yield begin, index, persistent != 0
            begin, persistent = index, each & PERSISTENT
    yield begin, len(facts), persistent != 0


class Batch:
    """What a turn asks of the disk. `number` counts batches; `segment` is the one that its records begin, if they do; `size` is theirs
    in bytes. `first_id` and `last_id` bound the messages that it brings, which are of `range`."""

    __slots__ = (
        "confirms", "copies", "deletions", "first_id", "last_id", "number", "outbox", "page_outs", "puts", "range", "records",
        "segment", "size", "spill", "sync", "waiting",
    )  # fmt: skip

    def __init__(self, outbox: Outbox, number: int) -> None:
        self.outbox = outbox
        self.number = number
        self.range = outbox.ledger.range
        self.first_id = self.last_id = 0
        self.page_outs: list[PageOut] = []
        self.copies: Copies | None = None
        self.spill: SpillBatch | None = None
        self.puts: dict[str, bytes] = {}
        self.records: list[bytes] = []
        self.deletions: list[str] = []
        self.sync = False
        self.segment: Segment | None = None
        self.size = 0
        self.confirms: list[tuple[Confirms, int, int]] = []
        self.waiting: dict[Waiting, None] = {}

    @property
    def is_empty(self) -> bool:
        """Nothing for the disk (somebody may wait for it all the same)."""
        return not (self.records or self.puts or self.deletions)

    @property
    def has_waiters(self) -> bool:
        """Somebody is to be told."""
        return bool(self.confirms or self.waiting)

    def written(self, receipt: Receipt) -> None:
        """The records are where the receipt says: whoever kept messages in memory until then may let go of them."""
        if self.segment is not None:
            self.segment.position = receipt.start
        self.outbox.ledger.end = receipt.end
        if self.last_id >= self.first_id:
            self.range.add_span(self.first_id, self.last_id, receipt.start, receipt.end)
        if self.page_outs or self.copies is not None:
            places = records.places(self.records, receipt.blocks)
            for page_out in self.page_outs:
                page_out.written(places)
            if self.copies is not None:
                self.copies.written(places, receipt, self.range.home)

    def release(self, durable: bool) -> None:
        """The batch, and all before it, is durable; or the disk failed and it never will be."""
        self.outbox.released = self.number
        for confirms, first, last in self.confirms:
            if not confirms.channel.closed:
                (confirms.settle if durable else confirms.refuse)(first, last)
        for waiting in self.waiting:
            waiting.release(self.number, durable)


class Outbox:
    """One per broker. `touched` are the queues to serve at the end of the turn."""

    __slots__ = (
        "_buried", "_catalog", "_confirms", "_copies", "_earlier_confirms", "_first_id", "_logged", "_page_outs", "_records",
        "_requeued_bytes", "_settled",
        "_settled_pages", "_sync", "_waiting",
        "clock", "compaction", "ledger", "loads", "marked", "memory", "number", "released", "settled_confirms",
        "spill", "touched",
    )  # fmt: skip

    def __init__(self, clock: Callable[[], int]) -> None:
        """`clock` tells the wall time in milliseconds."""
        self.clock = clock
        self.ledger = Ledger()
        self.memory = Memory()
        self.spill = Spill()
        self.compaction: Compaction | None = None
        """The one that is under way."""
        self.loads: list[Reading] = []
        """What is to be read out of the log; whoever reads takes it."""
        self.number = 1
        """The number of the batch that is being collected."""
        self.released = 0
        """The number of the last batch that is durable."""
        self.touched: list[Queue] = []
        self.marked: dict[Queue, None] = {}
        self.settled_confirms: dict[Confirms, tuple[int, int]] = {}
        """Publishes that need no disk, acked at the end of the turn: first and last sequence number."""
        self._records: list[bytes] = []
        self._sync = False
        self._first_id = 0
        self._requeued_bytes = 0
        self._page_outs: list[PageOut] = []
        self._logged: list[tuple[int, int, int]] = []
        """Where the messages that were logged last are: the index of a record, and from which of them to which it has."""
        self._copies: Copies | None = None
        self._settled: dict[Queue, list[int]] = {}
        self._settled_pages: list[tuple[Queue, Pages]] = []
        self._buried: list[tuple[Queue, list[int] | Pages]] = []
        self._catalog: dict[str, bytes | None] = {}
        self._confirms: dict[Confirms, tuple[int, int]] = {}
        self._earlier_confirms: list[tuple[Confirms, int, int]] = []
        self._waiting: dict[Waiting, None] = {}

    # --- the log ----------------------------------------------------------------------------------------------------

    def enqueue(
        self,
        first_id: int,
        target: Target,
        routing: bytes,
        header: bytes,
        bodies: Sequence[bytes],
        persistent: bool,
        *,
        expires: bool = False,
        time_ms: int | None = None,
    ) -> None:
        """A run of like messages went to the queues of `target`, with ids from `first_id` on. `expires`: they have a time to live of
        their own; `time_ms` is when it began, if not now."""
        if target.batch != self.number:
            self._name(target)
        flags = target.flags
        if persistent:
            self._sync = True
        else:
            flags |= records.TRANSIENT
        if expires:
            flags |= records.EXPIRES
        record = records.encode_enqueue(first_id, target.id, self.clock() if time_ms is None else time_ms, routing, header, bodies, flags)
        self._logged = [(len(self._records), 0, len(bodies))]
        self._records.append(record)
        self.ledger.enqueued(len(bodies) * len(target.queue_ids))

    def enqueue_each(
        self,
        first_id: int,
        target: Target,
        routings: Sequence[bytes],
        headers: Sequence[bytes],
        bodies: Sequence[bytes],
        facts: Sequence[int],
    ) -> None:
        """The same for messages that have nothing in common but where they went, and maybe the routing, if there is but one. `facts` are
        those of their headers (protocol.content.scan)."""
        if target.batch != self.number:
            self._name(target)
        now, self._logged = self.clock(), []
        for begin, end, persistent in _stretches(facts, sum(map(len, headers)) + sum(map(len, bodies))):
            flags = target.flags
            if persistent:
                self._sync = True
            else:
                flags |= records.TRANSIENT
            self._logged.append((len(self._records), begin, end))
            part = routings if len(routings) == 1 else routings[begin:end]
            self._records.append(
                records.encode_enqueue_each(first_id + begin, target.id, now, part, headers[begin:end], bodies[begin:end], flags)
            )
        self.ledger.enqueued(len(bodies) * len(target.queue_ids))

    def enqueue_one(
        self,
        queues: Sequence[Queue],
        target: Target | None,
        routing: bytes,
        header: bytes,
        body: bytes,
        persistent: bool,
        expiration_ms: int | None = None,
    ) -> Message:
        """Number one message and put it into these queues, the durable ones of which are `target`; returns it."""
        number = self.ledger.next_id
        self.ledger.next_id = number + 1
        message: Message = (number, routing, header, body)
        overhead = MESSAGE_BYTES + HEADER_BYTES + len(header)
        for queue in queues:
            queue.enqueue([message], len(body), overhead, expiration_ms)
        if target is not None:
            self.enqueue(number, target, routing, header, (body,), persistent, expires=expiration_ms is not None)
        if self.memory.paging:
            self.page_out(queues, (message,), alike=True)
        return message

    def page_out(self, queues: Sequence[Queue], messages: Sequence[Message], alike: bool) -> None:
        """These messages, which were logged last if the queue is logged at all, need not stay in the memory of paged queues."""
        spilling: list[Queue] = []
        for queue in queues:
            if queue.ready.paged is None:
                continue
            if queue.logged:
                self._page_outs += [PageOut(queue, messages[begin:end], record) for record, begin, end in self._logged]
            else:
                spilling.append(queue)
        if spilling:
            self.spill.add(spilling, messages, alike, self.clock())

    def copy(self, copies: Copies, record: records.Enqueue, target: Target) -> int:
        """Write a live message of the oldest segment down again; returns the index of the record."""
        if target.batch != self.number:
            self._name(target)
        self._copies = copies
        self._sync = True
        flags = target.flags | records.COPY | record.flags & (records.TRANSIENT | records.EXPIRES)
        encoded = record.encoded(target.id, flags)
        copies.size += len(encoded)
        self._records.append(encoded)
        return len(self._records) - 1

    def state_counts(self, queue: Queue, counts: Sequence[tuple[int, int]]) -> None:
        """Write down how often messages (by id) came back."""
        record = records.encode_requeue(queue.id, counts)
        self._requeued_bytes += len(record)
        self._records.append(record)

    def _name(self, target: Target) -> None:
        """A fan-out names a route set, which every batch defines for itself: what becomes of the others doesn't matter to it."""
        target.batch = self.number
        if len(target.queue_ids) > 1:
            target.flags = records.TARGET_IS_SET
            target.id = self.ledger.next_set()
            self._records.append(records.encode_route_set(target.id, target.queue_ids))

    def settle(self, queue: Queue, messages: list[Message]) -> None:
        """Messages of a logged queue are done with."""
        ids = self._settled.get(queue)
        if ids is None:
            self._settled[queue] = list(map(id_of, messages))
        else:
            ids += map(id_of, messages)

    def settle_ids(self, queue: Queue, ids: list[int]) -> None:
        """The same for messages that are damaged."""
        self._settled.setdefault(queue, []).extend(ids)

    def settle_pages(self, queue: Queue, pages: Pages) -> None:
        """The same for messages that aren't in memory. Without priorities, no live one of the queue has an id between theirs."""
        self._settled_pages.append((queue, pages))

    def requeue(self, queue: Queue, messages: list[Message]) -> None:
        """Messages of a logged queue came back; their delivery counts are up to date."""
        counts = queue.delivery_counts
        self.state_counts(queue, [(message[0], counts[message[0]]) for message in messages])

    def bury(self, queue: Queue, messages: list[Message]) -> None:
        """Messages of a deleted queue are done with. They count as dead when the deletion is on its way, so that space never comes back
        from under a queue that a crash would bring back."""
        self._buried.append((queue, list(map(id_of, messages))))

    def bury_pages(self, queue: Queue, pages: Pages) -> None:
        """The same for messages that aren't in memory."""
        self._buried.append((queue, pages))

    # --- the catalog ------------------------------------------------------------------------------------------------

    def put(self, key: str, value: bytes) -> None:
        """Something durable was declared, or changed. What was there keeps its place: others may refer to it."""
        if self._catalog.get(key, value) is None:
            del self._catalog[key]
        self._catalog[key] = value

    def delete(self, key: str) -> None:
        """Something durable is gone: behind all that referred to it, which has to be deleted before."""
        self._catalog.pop(key, None)
        self._catalog[key] = None

    # --- who waits --------------------------------------------------------------------------------------------------

    def confirm(self, confirms: Confirms, first: int, last: int) -> None:
        """Ack the publishes `first` to `last` when this batch is durable."""
        run = self._confirms.get(confirms)
        if run is None:
            self._confirms[confirms] = (first, last)
        elif run[1] + 1 == first:
            self._confirms[confirms] = (run[0], last)
        else:
            # A gap between two waiting runs was settled at once or refused; answering for it again would be wrong.
            self._confirms[confirms] = (first, last)
            self._earlier_confirms.append((confirms, *run))

    def confirm_now(self, confirms: Confirms, first: int, last: int) -> None:
        """Ack the publishes `first` to `last` at the end of the turn."""
        run = self.settled_confirms.get(confirms)
        if run is not None and run[1] + 1 != first:
            confirms.settle(*run)
            run = None
        self.settled_confirms[confirms] = (first, last) if run is None else (run[0], last)

    def hold(self, waiting: Waiting) -> None:
        """`waiting` is to be told when this batch is durable."""
        self._waiting[waiting] = None
        self._sync = True

    def settle_confirms(self) -> None:
        """Send the acks that wait for nothing."""
        for confirms, (first, last) in self.settled_confirms.items():
            if not confirms.channel.closed:
                confirms.settle(first, last)
        self.settled_confirms.clear()

    # --- shipping ---------------------------------------------------------------------------------------------------

    @property
    def has_records(self) -> bool:
        """Something for the log was written down this turn."""
        return bool(self._records or self._settled or self._settled_pages)

    @property
    def has_batch(self) -> bool:
        """Whether `take` would have something to give."""
        return bool(
            self._records or self._settled or self._settled_pages or self._buried or self._catalog or self.marked or self._confirms
            or self._waiting
        ) or self.spill.has_records  # fmt: skip

    def take(self) -> Batch:
        """Everything collected since the last take, as the next batch."""
        batch = Batch(self, self.number)
        self.number += 1
        batch.first_id, self._first_id = self._first_id, self.ledger.next_id
        batch.last_id = self.ledger.next_id - 1
        batch.page_outs, self._page_outs = self._page_outs, []
        batch.copies, self._copies = self._copies, None
        batch.spill = self.spill.take()
        batch.sync = self._sync or bool(self._catalog)
        batch.records, self._records, self._sync = self._records, [], False
        enqueued = batch.size = sum(map(len, batch.records))
        enqueued -= self._requeued_bytes + (batch.copies.size if batch.copies is not None else 0)
        self._requeued_bytes = 0
        unsettled = len(batch.records)
        self._take_settled(batch)
        for queue in self.marked:
            batch.records.append(records.encode_delivered(queue.id, queue.mark))
        self.marked.clear()
        if batch.records:
            batch.segment, self.ledger.rolled = self.ledger.rolled, None
            batch.size += sum(map(len, batch.records[unsettled:]))
        for key, value in self._catalog.items():
            if value is None:
                batch.deletions.append(key)
            else:
                batch.puts[key] = value
        self._catalog.clear()
        batch.confirms = [*self._earlier_confirms, *((confirms, first, last) for confirms, (first, last) in self._confirms.items())]
        self._earlier_confirms.clear()
        self._confirms.clear()
        batch.waiting, self._waiting = self._waiting, {}
        self.ledger.shipped(batch.size, enqueued)
        return batch

    def _take_settled(self, batch: Batch) -> None:
        for queue, ids in self._settled.items():
            first, last = ids[0], ids[-1]
            if len(ids) == last - first + 1 and ids == list(range(first, last + 1)):
                batch.records.append(records.encode_settle_range(queue.id, first, last))
            else:
                batch.records.append(records.encode_settle(queue.id, ids))
            self.ledger.settled(ids)
            if self.compaction is not None:
                self.compaction.settled(queue, ids)
        self._settled.clear()
        for queue, pages in self._settled_pages:
            ranges = [(pages.first_id, pages.last_id)] if len(queue.ready.levels) == 1 else pages.ranges()
            batch.records += [records.encode_settle_range(queue.id, first, last) for first, last in ranges]
            self.ledger.settled_pages(pages)
            if self.compaction is not None:
                self.compaction.settled_pages(queue, pages)
        self._settled_pages.clear()
        for queue, buried in self._buried:
            if isinstance(buried, list):
                self.ledger.settled(buried)
                if self.compaction is not None:
                    self.compaction.settled(queue, buried)
            else:
                self.ledger.settled_pages(buried)
                if self.compaction is not None:
                    self.compaction.settled_pages(queue, buried)
        self._buried.clear()

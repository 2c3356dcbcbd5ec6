"""A queue: what is ready, who consumes, and what is out on lease.

Nothing is delivered when a message arrives or an ack comes in: the queue is *touched*, and at the end of the turn each
touched queue is served once, so that the acks of one read free their credit together and deliveries go out in runs. Who
gets which message is decided as if one at a time, in ring order. Whatever looks at the head of the queue (get, purge, a
limit) serves it first, so that this is about work and not about meaning (docs/architecture.md, "The turn").

A durable queue is *logged*: what happens to its messages goes to the outbox as records.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from itertools import accumulate, cycle
from typing import TYPE_CHECKING

from broker.core.consumers import TURN_OUTPUT_BYTES, Consumers
from broker.core.dead_letter import MAXLEN, REJECTED, DeadLetters
from broker.core.limits import limit_of, ready_for
from broker.core.memory import DEEP_BYTES, HEADER_BYTES, MESSAGE_BYTES
from broker.core.message import HEADER, ID, body_of, id_of
from broker.core.pages import RUN_BYTES
from broker.core.paging import Load
from broker.core.ready import Paged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.core.arguments import QueueArguments
    from broker.core.consumers import Consumer
    from broker.core.limits import Limit
    from broker.core.message import Message
    from broker.core.outbox import Outbox
    from broker.core.pages import Pages, Run
    from broker.core.session import Session
    from broker.core.vhost import VHost

    WaitingGet = Callable[[], None]


def _size_bound(message: Message) -> int:
    """What a delivery takes on the wire, at the most (a body frame in each 4 KiB, the smallest frame_max)."""
    _, routing, header, body = message
    return 320 + len(routing) + len(header) + len(body) + (len(body) >> 9)


class Queue:
    """A classic or quorum queue. `id` is the catalog's, never reused; `owner` is the session of an exclusive queue."""

    is_queue = True

    __slots__ = (
        "__weakref__", "_held", "_overhead", "arguments", "auto_delete", "body_bytes", "can_page", "consumers", "dead_letters", "deleted",
        "delivered",
        "delivery_counts", "durable", "exclusive_consumer", "getters", "id", "limit", "logged", "mark", "memory", "name", "outbox", "owner",
        "published", "ready", "recovered_mark", "touched", "unacked", "vhost",
    )  # fmt: skip

    def __init__(
        self,
        vhost: VHost,
        name: str,
        queue_id: int,
        outbox: Outbox,
        arguments: QueueArguments,
        *,
        durable: bool = False,
        auto_delete: bool = False,
        owner: Session | None = None,
    ) -> None:
        self.vhost = vhost
        self.name = name
        self.id = queue_id
        self.outbox = outbox
        self.arguments = arguments
        self.durable = durable
        self.auto_delete = auto_delete
        self.owner = owner
        self.logged = durable and vhost.broker.logs
        self.can_page = vhost.broker.logs
        self.memory = outbox.memory
        self.limit = limit_of(arguments)
        exchange = arguments.dead_letter_exchange
        self.dead_letters = DeadLetters(self, exchange, arguments.dead_letter_routing_key) if exchange is not None else None
        self.ready = ready_for(self.limit)
        self.consumers = Consumers(arguments.single_active_consumer)
        self.exclusive_consumer = False
        self.touched = False
        self.deleted = False
        self.unacked = 0
        self.body_bytes = 0
        """Bodies, ready and unacked, in memory or not."""
        self._held = 0
        """Messages in memory, ready and unacked."""
        self._overhead = 0
        """Accounted bytes of those, but for the bodies."""
        self.getters: deque[WaitingGet] = deque()
        """Each basic.get that waits until the head of the queue is in memory."""
        self.published = 0
        self.delivered = 0
        self.mark = 0
        """The highest id ever delivered; what a restart after a crash takes as redelivered (storage/records.py)."""
        self.recovered_mark = 0
        """The mark as the last restart found it."""
        self.delivery_counts: dict[int, int] = {}
        """How often a message came back, by id; only for those that did."""

    def __repr__(self) -> str:
        return f"Queue({self.name!r} in {self.vhost.name!r}: {len(self.ready)} ready, {self.unacked} unacked)"

    @property
    def type(self) -> str:
        """`classic` or `quorum`."""
        return self.arguments.type

    def touch(self) -> None:
        """Have it served at the end of the turn."""
        if not self.touched:
            self.touched = True
            self.outbox.touched.append(self)

    def add_consumer(self, consumer: Consumer) -> None:
        """A new consumer, after its consume-ok."""
        self.consumers.add(consumer)
        self.exclusive_consumer = consumer.exclusive
        self.touch()

    def remove_consumer(self, consumer: Consumer) -> None:
        """A consumer is gone; what it holds stays with its channel."""
        self.consumers.remove(consumer)
        if consumer.exclusive:
            self.exclusive_consumer = False

    # --- in ---------------------------------------------------------------------------------------------------------

    def enqueue(self, messages: list[Message], body_bytes: int, overhead: int) -> None:
        """Messages with rising ids, above all that came before; `overhead` is what they take in memory beside their bodies. The caller
        logs them, and pages them out once the queue is paged."""
        memory = self.memory
        if memory.used > memory.paging_bytes and self.ready.paged is None and self._is_deep:
            self.ready.paged = Paged()
            memory.paging += 1
        self.ready.extend(messages)
        count = len(messages)
        self.published += count
        self.body_bytes += body_bytes
        self._held += count
        self._overhead += overhead
        memory.used += body_bytes + overhead
        if not self.touched:
            self.touched = True
            self.outbox.touched.append(self)

    def refuses(self, body: bytes) -> bool:
        """The queue is full and rejects what is published (contract 7.3); an idle consumer doesn't make room for this one."""
        if self.limit is None or not self.limit.rejects:
            return False
        self.serve()
        return self.limit.would_overflow(self, body) and not self._head_is_awaited

    def restore(self, pages: Pages, delivery_counts: dict[int, int], mark: int) -> None:
        """What recovery found. Up to the mark a message may have been delivered, so it counts as redelivered."""
        self.mark = self.recovered_mark = mark
        self.delivery_counts = delivery_counts
        self.body_bytes = pages.body_bytes
        if pages.count:
            self.ready.restore(pages)
            self.memory.paging += 1
            self.memory.used += pages.runs * RUN_BYTES

    # --- out --------------------------------------------------------------------------------------------------------

    def serve(self, budget: int = 1 << 30) -> int:
        """Deliver to whoever has credit, up to `budget` messages; returns how many went out.

        If the budget ends it, the queue stays touched.
        """
        ready, served, complete = self.ready, 0, True
        while count := self.available():
            if served >= budget:
                self.touch()
                complete = False
                break
            consumers, most = self.consumers.next_round(count)
            if not consumers:
                break
            redelivered, run = ready.take(min(most, budget - served))
            left = self._deal(consumers, redelivered, run)
            if left:
                ready.put_back(redelivered, left)
            served += len(run) - len(left)
            self.consumers.served(consumers, len(run) - len(left))
        self.delivered += served
        if complete and self.limit is not None:
            self._trim(self.limit)
        if self.getters:
            self._answer_gets()
        if ready.paged is not None:
            self._read_ahead(ready.paged)
        return served

    def _trim(self, limit: Limit) -> None:
        """Everybody with credit was served: drop what is too much, but not what somebody takes in the next turn."""
        if limit.rejects or not limit.surplus(self) or self.consumers.wait_for_output() or self._head_is_awaited:
            return
        dropped: list[Message] = []
        while surplus := limit.surplus(self):
            if self.available():
                dropped += self.ready.take(surplus)[1]
            elif self.dead_letters is None:
                self._drop_paged(surplus)
            else:
                break  # what is to go elsewhere has to be read first
        if dropped:
            if self.dead_letters is not None:
                self.dead_letters.publish(dropped, MAXLEN)
            self.settle(dropped)

    def _deal(self, consumers: list[Consumer], redelivered: bool, run: list[Message]) -> list[Message]:
        """Share `run` out one by one; returns what the connections didn't take, in order."""
        if len(consumers) == 1:
            return run[consumers[0].deliver(redelivered, run) :]
        if len({consumer.channel.session for consumer in consumers}) < len(consumers):
            # One connection hears several of them, so it sees the order among them.
            return self._deal_one_by_one(consumers, redelivered, run)
        # Nobody may stop short within a share: the others would be past what it left, and get that later, out of order.
        fitting = max(bisect_right(list(accumulate(map(_size_bound, run))), TURN_OUTPUT_BYTES), 1)
        dealt, left = run[:fitting], run[fitting:]
        step = len(consumers)
        for first, consumer in enumerate(consumers[: len(dealt)]):
            share = dealt[first::step]
            taken = consumer.deliver(redelivered, share)
            assert taken == len(share)
        return left

    def _deal_one_by_one(self, consumers: list[Consumer], redelivered: bool, run: list[Message]) -> list[Message]:
        for position, (message, consumer) in enumerate(zip(run, cycle(consumers), strict=False)):
            if consumer.channel.session.congested:
                return run[position:]
            consumer.deliver(redelivered, [message])
        return []

    def get(self) -> tuple[bool, Message] | None:
        """Take the head for basic.get: (redelivered, message), or None if nothing is ready. The caller leases or settles it.

        Where `is_cold` says so the head has to be read first: `wait_for_head`.
        """
        if not self.available():
            return None
        redelivered, messages = self.ready.take(1)
        self.delivered += 1
        return redelivered, messages[0]

    def lease(self, messages: Sequence[Message]) -> None:
        """`messages` (ids rising) are with a holder until settled or requeued."""
        self.unacked += len(messages)
        if self.logged and messages[-1][ID] > self.mark:
            self.mark = messages[-1][ID]
            self.outbox.marked[self] = None
        if self.logged and self.outbox.compaction is not None:
            self.outbox.compaction.leased(self, messages)

    # --- gone -------------------------------------------------------------------------------------------------------

    def settle_leased(self, messages: list[Message]) -> None:
        """Leased messages are acked."""
        self.unacked -= len(messages)
        self.settle(messages)

    def reject(self, messages: list[Message]) -> None:
        """Leased messages are rejected and don't come back."""
        self.unacked -= len(messages)
        if self.dead_letters is not None and not self.deleted:
            self.dead_letters.publish(messages, REJECTED)
        self.settle(messages)

    def settle(self, messages: list[Message]) -> None:
        """Messages are done with."""
        self.body_bytes -= self._let_go(messages)
        if self.delivery_counts:
            for message in messages:
                self.delivery_counts.pop(message[ID], None)
        if self.logged:
            if self.deleted:
                self.outbox.bury(self, messages)
            else:
                self.outbox.settle(self, messages)

    def requeue(self, messages: list[Message]) -> None:
        """Leased messages come back to their old positions."""
        self.unacked -= len(messages)
        if self.deleted:
            self.settle(messages)
            return
        counts = self.delivery_counts
        for message in messages:
            counts[message[ID]] = counts.get(message[ID], 0) + 1
        if self.logged:
            self.outbox.requeue(self, messages)
        self.ready.give_back(messages)
        self.touch()

    def purge(self) -> int:
        """Drop what is ready; returns the count (contract 4.6)."""
        self.serve()
        return self.drop_ready()

    def drop_ready(self) -> int:
        """Drop what is ready, in memory or not; returns the count."""
        count = len(self.ready)
        if self.ready.paged is not None:
            self.memory.paging -= 1
        messages, pages = self.ready.clear()
        if pages is not None and pages.count:
            self._settle_pages(pages, pages.runs)
        if messages:
            self.settle(messages)
        self._answer_gets()
        return count

    # --- memory -----------------------------------------------------------------------------------------------------

    def _let_go(self, messages: Sequence[Message]) -> int:
        """Messages leave memory; returns the bytes of their bodies."""
        size = sum(map(len, map(body_of, messages)))
        count = len(messages)
        overhead = self._overhead * count // self._held
        self._overhead -= overhead
        self._held -= count
        self.memory.used -= size + overhead
        return size

    def available(self) -> int:
        """How many messages, at the most, can be taken from the head now; 0 where there are none, or where the head is on the disk."""
        ready = self.ready
        if ready.paged is not None and not ready.fresh and not ready.paged.pages.count:
            ready.stop_paging()
            self.memory.paging -= 1
        return ready.available

    @property
    def _is_deep(self) -> bool:
        """So much is in memory already that it should page out what comes in."""
        return self.can_page and self.body_bytes + self._overhead > DEEP_BYTES

    @property
    def is_cold(self) -> bool:
        """There is something, but its head is on the disk."""
        return not self.available() and len(self.ready) > 0

    @property
    def _head_is_awaited(self) -> bool:
        """Somebody will have it as soon as it was read."""
        return self.is_cold and bool(self.consumers.next_round(1)[0])

    def page_out(self, messages: Sequence[Message], runs: Sequence[tuple[int, int]]) -> None:
        """Messages that came in while the queue was paged are in the log: so many of them in the record at that place, and so on. They
        leave memory, unless somebody was quicker."""
        paged = self.ready.paged
        if paged is None or not paged.tail or paged.tail[0][ID] != messages[0][ID]:
            if not self.logged:
                self.outbox.spill.ledger.settled(list(map(id_of, messages)))
            return
        first = 0
        for count, place in runs:
            number, _, _, body = messages[first]
            paged.pages.append(number, count, len(body), place)
            first += count
        self._let_go(messages)
        self.memory.used += len(runs) * RUN_BYTES
        popleft = paged.tail.popleft
        for _ in messages:
            popleft()

    def _read_ahead(self, paged: Paged) -> None:
        """Ask for the head of the pages if somebody will want it soon."""
        if paged.loading is not None or not paged.pages.count or len(self.ready.fresh) >= paged.low:
            return
        is_over = self.limit is not None and not self.limit.rejects and self.limit.surplus(self) > 0
        if self.getters or is_over or self.consumers.next_round(1)[0]:
            paged.loading = Load(self, paged, paged.pages.head(self.memory.read_ahead_bytes), not self.logged)
            self.memory.loading += paged.loading.size
            self.outbox.loads.append(paged.loading)

    def loaded(self, load: Load, messages: Sequence[Message] | None) -> None:
        """The head of the pages was read; None: it has been copied elsewhere meanwhile and must be asked for again."""
        self.memory.loading -= load.size
        paged = self.ready.paged
        if paged is None or paged.loading is not load:
            return  # purged, or deleted
        paged.loading = None
        runs = load.runs
        if messages is not None and paged.pages.count and paged.pages.first_id == runs[0].first_id:
            self._take_in(paged, runs, messages)
        self.touch()
        self._answer_gets()

    def _take_in(self, paged: Paged, runs: list[Run], messages: Sequence[Message]) -> None:
        before = paged.pages.body_bytes
        paged.pages.drop(len(runs))
        size = sum(map(len, map(body_of, messages)))
        overhead = len(messages) * MESSAGE_BYTES + sum(len(messages[0][HEADER]) + HEADER_BYTES for _ in runs) if messages else 0
        self._held += len(messages)
        self._overhead += overhead
        self.memory.used += size + overhead - len(runs) * RUN_BYTES
        damaged = before - paged.pages.body_bytes - size
        self.body_bytes -= damaged
        self.ready.forget(damaged)
        mark, counts = self.recovered_mark, self.delivery_counts
        if messages and (messages[0][ID] <= mark or counts):
            returned = [message for message in messages if message[ID] <= mark or message[ID] in counts]
            known = set(map(id_of, returned))
            self.ready.read_in([message for message in messages if message[ID] not in known], returned)
        else:
            self.ready.read_in(messages, ())
        paged.low = max(len(messages) // 2, 1)
        if not self.logged:
            for run in runs:
                self.outbox.spill.ledger.settled(range(run.first_id, run.first_id + run.length))
        elif len(messages) < sum(run.length for run in runs):
            whole = set(map(id_of, messages))
            lost = [each for run in runs for each in range(run.first_id, run.first_id + run.length) if each not in whole]
            self.outbox.settle_ids(self, lost)
            for each in lost:
                counts.pop(each, None)

    def relocate(self, first_id: int, count: int, place: int) -> None:
        """These messages were copied to another place of the log."""
        paged = self.ready.paged
        if paged is not None and paged.pages.count:
            before = paged.pages.runs
            paged.pages.relocate(first_id, count, place)
            self.memory.used += (paged.pages.runs - before) * RUN_BYTES
            if paged.pages.runs != before and paged.loading is not None:
                # Runs were split: what is being read is no longer so many of them.
                paged.loading = None
                self.touch()

    def _drop_paged(self, count: int) -> None:
        """Drop so many messages (at the most) from the head of the pages."""
        assert self.ready.paged is not None
        pages = self.ready.paged.pages
        before = pages.runs
        dropped = pages.take(count)
        self.ready.forget(dropped.body_bytes)
        self._settle_pages(dropped, before - pages.runs)

    def _settle_pages(self, pages: Pages, runs: int) -> None:
        """Messages that aren't in memory are done with; so many runs are no longer remembered."""
        self.body_bytes -= pages.body_bytes
        self.memory.used -= runs * RUN_BYTES
        if self.delivery_counts:
            first, last, counts = pages.first_id, pages.last_id, self.delivery_counts
            few = range(first, last + 1) if last - first < len(counts) else [each for each in counts if first <= each <= last]
            for message_id in few:
                counts.pop(message_id, None)
        if not self.logged:
            self.outbox.spill.ledger.settled_pages(pages)
        elif self.deleted:
            self.outbox.bury_pages(self, pages)
        else:
            self.outbox.settle_pages(self, pages)

    # --- basic.get at a cold head -----------------------------------------------------------------------------------

    def wait_for_head(self, answer: WaitingGet) -> None:
        """Call `answer` once the head is in memory, or nothing is left."""
        self.getters.append(answer)
        self.touch()

    def _answer_gets(self) -> None:
        while self.getters and not self.is_cold:
            self.getters.popleft()()

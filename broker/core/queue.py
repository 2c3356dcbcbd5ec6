"""A queue: what is ready, who consumes, and what is out on lease.

Nothing is delivered when a message arrives or an ack comes in: the queue is *touched*, and at the end of the turn each
touched queue is served once, so that the acks of one read free their credit together and deliveries go out in runs. Who
gets which message is decided as if one at a time, in ring order. Whatever looks at the head of the queue (get, purge, a
limit) serves it first, so that this is about work and not about meaning (docs/architecture.md, "The turn").

A durable queue is *logged*: what happens to its messages goes to the outbox as records.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, ClassVar

from broker.core.consumers import TURN_OUTPUT_BYTES, Consumers
from broker.core.counters import Taken
from broker.core.dead_letter import DELIVERY_LIMIT, EXPIRED, MAXLEN, REJECTED, DeadLetters
from broker.core.delivery_counts import DeliveryCounts
from broker.core.duplicates import HeldValues
from broker.core.expiry import MessageExpiry, QueueExpiry
from broker.core.limits import delivery_limit_of, limit_of, measure, ready_for
from broker.core.memory import DEEP_BYTES, HEADER_BYTES, MESSAGE_BYTES
from broker.core.message import BODY, HEADER, ID, body_of, id_of
from broker.core.pages import RUN_BYTES
from broker.core.paging import Load
from broker.core.policy import effective, merged
from broker.core.returns import QuorumReady

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from broker.core.arguments import QueueArguments
    from broker.core.consumers import Consumer
    from broker.core.limits import Limit
    from broker.core.message import Message
    from broker.core.outbox import Outbox
    from broker.core.pages import Pages, Run
    from broker.core.policy import Definition, Policy
    from broker.core.ready import Paged, Ready
    from broker.core.session import Session
    from broker.core.vhost import VHost

    WaitingGet = Callable[[], None]


class Queue:
    """A classic or quorum queue. `id` is the catalog's, never reused; `owner` is the session of an exclusive queue."""

    is_queue = True
    consumers_type: ClassVar[type[Consumers]] = Consumers
    dead_letters_type: ClassVar[type[DeadLetters]] = DeadLetters
    kept_for: str | None = None
    """The exchange that keeps something in it (core/delays.py, core/deduplication.py): nobody consumes it."""

    __slots__ = (
        "__weakref__", "_held", "_overhead", "arguments", "auto_delete", "body_bytes", "can_page", "consumer_timeout_ms", "consumers",
        "dead_letters", "deleted", "delivery_counts", "delivery_limit", "durable", "exclusive_consumer", "expiry", "getters",
        "held_values", "id", "limit", "logged", "mark", "memory", "message_expiry", "name", "operator_policy", "outbox", "owner", "policy",
        "published", "ready", "recovered_mark", "taken", "touched", "unacked", "vhost",
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
        self.expiry: QueueExpiry | None = None
        """When the queue itself goes, if it may."""
        self.message_expiry: MessageExpiry | None = None
        """When its messages do; None while none that is here ever will."""
        self.delivery_limit: int | None = None
        """A message that came back more often than this is a dead letter (quorum queues)."""
        self.consumer_timeout_ms: int | None = None
        """In which a delivery has to be acked, if that is less than the broker's."""
        self.policy: Policy | None = None
        self.operator_policy: Policy | None = None
        self.limit: Limit | None = None
        self.held_values = HeldValues() if arguments.message_deduplication else None  # to tell duplicates, if those are to be dropped
        self.ready = ready_for(arguments)
        self.unacked = 0
        self.configure(arguments)
        self.consumers = self.consumers_type(arguments.single_active_consumer)
        self.exclusive_consumer = False
        self.touched = False
        self.deleted = False
        self.body_bytes = 0
        """Bodies, ready and unacked, in memory or not."""
        self._held = 0
        """Messages in memory, ready and unacked."""
        self._overhead = 0
        """Accounted bytes of those, but for the bodies."""
        self.getters: deque[WaitingGet] = deque()
        """Each basic.get that waits until the head of the queue is in memory."""
        self.published = 0
        """How many messages came in."""
        self.taken = Taken()
        """What went out, but for the figures of its consumers."""
        self.mark = 0
        """The highest id ever delivered; what a restart after a crash takes as redelivered (storage/records.py)."""
        self.recovered_mark = 0
        """The mark as the last restart found it."""
        self.delivery_counts = DeliveryCounts()
        """How often a message came back, by id; only for those that did."""

    def __repr__(self) -> str:
        return f"Queue({self.name!r} in {self.vhost.name!r}: {len(self.ready)} ready, {self.unacked} unacked)"

    @property
    def type(self) -> str:
        """`classic` or `quorum`."""
        return self.arguments.type

    @property
    def is_quorum(self) -> bool:
        """Its type is quorum."""
        return isinstance(self.ready, QuorumReady)

    def apply_policies(self, policy: Policy | None, operator_policy: Policy | None) -> None:
        """From now on these policies apply. What was published before keeps its time to live; a limit acts at once."""
        if policy is self.policy and operator_policy is self.operator_policy:
            return
        self.policy, self.operator_policy = policy, operator_policy
        self.configure(effective(self.arguments, self.effective_policy_definition))
        self.touch()

    @property
    def effective_policy_definition(self) -> Definition:
        """What its policies say together."""
        return merged(self.policy, self.operator_policy)

    def configure(self, effective: QueueArguments) -> None:
        """Live by these arguments from now on: the queue's own, and what policies add to them."""
        self.limit = limit_of(effective)
        if self.limit is not None and self.limit.max_bytes is not None:
            measure(self.ready)
        exchange = effective.dead_letter_exchange
        self.dead_letters = self.dead_letters_type(self, exchange, effective.dead_letter_routing_key) if exchange is not None else None
        if effective.consumer_timeout_ms != self.consumer_timeout_ms:
            self.consumer_timeout_ms = effective.consumer_timeout_ms
            self.vhost.broker.consumer_timeout.changed(self)
        if isinstance(self.ready, QuorumReady):
            self.delivery_limit = delivery_limit_of(effective, self.vhost.broker.compat)
            self.ready.to_end = self.delivery_limit is None
        if self.message_expiry is not None:
            self.message_expiry.ttl_ms = effective.message_ttl_ms
        elif effective.message_ttl_ms is not None:
            self.message_expiry = MessageExpiry(self, effective.message_ttl_ms)
        if self.expiry is not None:
            self.expiry.stop()
        self.expiry = QueueExpiry(self, effective.expires_ms) if effective.expires_ms is not None else None

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
        self.used()

    def stop_timers(self) -> None:
        """The queue is gone. What still happens to it (its consumers go) is no use of it any more."""
        if self.expiry is not None:
            self.expiry.stop()
            self.expiry = None
        if self.message_expiry is not None:
            self.message_expiry.stop()

    def used(self) -> None:
        """Somebody declared it again, got from it, or consumed until now: x-expires counts from here."""
        if self.expiry is not None:
            self.expiry.used()

    # --- in ---------------------------------------------------------------------------------------------------------

    def enqueue(self, messages: list[Message], body_bytes: int, overhead: int, expiration_ms: int | None = None) -> None:
        """Messages with rising ids, above all that came before; `overhead` is what they take in memory beside their bodies, and
        `expiration_ms` their own time to live. The caller logs them, and pages them out once the queue is paged."""
        memory = self.memory
        if memory.used > memory.paging_bytes and self.ready.paged is None and self._is_deep:
            self.ready.start_paging()
            memory.paging += 1
        self.ready.extend(messages)
        count = len(messages)
        self.published += count
        self.body_bytes += body_bytes
        self._held += count
        self._overhead += overhead
        memory.used += body_bytes + overhead
        if expiration_ms is not None and self.message_expiry is None:
            self.message_expiry = MessageExpiry(self, None)
        if self.message_expiry is not None:
            self.message_expiry.entered(messages, expiration_ms)
        if self.held_values is not None:
            self.held_values.add(messages)
        if not self.touched:
            self.touched = True
            self.outbox.touched.append(self)

    def ignores(self, header: bytes) -> bool:
        """A message with this content header is a duplicate, and doesn't come in (contract 7.10)."""
        return self.held_values is not None and self.held_values.has(header)

    def refuses(self, routing: bytes, header: bytes, body: bytes) -> bool:
        """The queue is full and rejects what is published (contract 7.3); an idle consumer doesn't make room for this one."""
        if self.limit is None or not self.limit.rejects:
            return False
        self.serve()
        if not self.limit.would_overflow(self, body) or self._head_is_awaited:
            return False
        if self.limit.dead_letters:
            self._die([(0, routing, header, body)], MAXLEN)
        return True

    def restore(self, pages: Mapping[int, Pages], delivery_counts: dict[int, int], mark: int, *, expires: bool) -> None:
        """What recovery found, by level (see Ready.restore). Up to the mark a message may have been delivered, so it counts as
        redelivered. `expires`: some have a time to live of their own."""
        self.mark = self.recovered_mark = mark
        self.delivery_counts = DeliveryCounts(delivery_counts)
        self.body_bytes = sum(each.body_bytes for each in pages.values())
        if any(each.count for each in pages.values()):
            self.ready.restore(pages)
            self.memory.paging += 1
            self.memory.used += self.ready.runs * RUN_BYTES
            if expires and self.message_expiry is None:
                self.message_expiry = MessageExpiry(self, None)
            if self.message_expiry is not None:
                self.touch()  # the head has to be read to know when it expires

    # --- out --------------------------------------------------------------------------------------------------------

    def serve(self, budget: int = 1 << 30) -> int:
        """Deliver to whoever has credit, and drop what has expired, up to `budget` messages; returns how many that were.

        If the budget ends it, the queue stays touched.
        """
        ready, expiry, served, dropped, complete = self.ready, self.message_expiry, 0, 0, True
        while count := self.available():
            if served + dropped >= budget:
                self.touch()
                complete = False
                break
            if expiry is not None and (expired := expiry.drop(budget - served - dropped)):
                dropped += expired
                continue
            consumers, most = self.consumers.next_round(count)
            if not consumers:
                break
            fitting = len(consumers) * (TURN_OUTPUT_BYTES // (len(ready.head()[BODY]) + 1) + 1)  # the others would be put back
            redelivered, run = ready.take(min(most, budget - served - dropped, fitting))
            if expiry is not None:
                run = expiry.hold_back(redelivered, run)
            left = self.consumers.deal(consumers, redelivered, run)
            if left:
                ready.put_back(redelivered, left)
            served += len(run) - len(left)
            self.consumers.served(consumers, len(run) - len(left))
        if complete and self.limit is not None:
            self._trim(self.limit)
        if expiry is not None:
            if complete and not self.consumers.wait_for_output():
                most = max(budget - served - dropped, 1)
                expired = expiry.drop(most, offered=True)
                dropped += expired
                if expired == most:
                    self.touch()
            expiry.watch_head()
        if self.getters:
            self._answer_gets()
        if ready.paged is not None:
            self._read_ahead()
        return served + dropped

    def _trim(self, limit: Limit) -> None:
        """Everybody with credit was served: drop what is too much, but not what somebody takes in the next turn."""
        if limit.rejects or not limit.surplus(self) or self.consumers.wait_for_output() or self._head_is_awaited:
            return
        dropped: list[Message] = []
        while surplus := limit.surplus(self):
            if self.available():
                dropped += self.ready.take(surplus)[1]
            elif self.dead_letters is None:
                self._count_dead(self._drop_paged(surplus), MAXLEN)
            else:
                break  # what is to go elsewhere has to be read first
        if dropped:
            self._die(dropped, MAXLEN)
            self.settle(dropped)

    def get(self) -> tuple[bool, Message] | None:
        """Take the head for basic.get: (redelivered, message), or None if nothing is ready. The caller leases or settles it.

        Where `is_cold` says so the head has to be read first: `wait_for_head`.
        """
        if not self.available():
            return None
        redelivered, messages = self.ready.take(1)
        if self.message_expiry is not None:
            self.touch()  # the next one's time may be over
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
        if not self.deleted:
            self._die(messages, REJECTED)
        self.settle(messages)

    def expire(self, messages: list[Message]) -> None:
        """Messages that were ready have expired."""
        self._die(messages, EXPIRED)
        self.settle(messages)

    def _die(self, messages: Sequence[Message], reason: str) -> None:
        """Messages are dropped, and are dead letters if the queue has an exchange for them. The caller settles them."""
        self._count_dead(len(messages), reason)
        if self.dead_letters is not None:
            self.dead_letters.publish(messages, reason)

    def _count_dead(self, count: int, reason: str) -> None:
        strategy = "disabled" if self.dead_letters is None else "at_most_once"
        self.vhost.broker.dead_lettered[self.type, strategy, reason] += count

    def settle(self, messages: list[Message]) -> None:
        """Messages are done with."""
        self.body_bytes -= self._let_go(messages)
        if self.delivery_counts:
            self.delivery_counts.forget(map(id_of, messages))
        if self.held_values is not None:
            self.held_values.forget(map(id_of, messages))
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
        self.delivery_counts.came_back(messages)
        if self.delivery_limit is not None:
            messages = self._give_up_on(messages, self.delivery_limit)
        if self.logged and messages:
            self.outbox.requeue(self, messages)
        self.ready.give_back(messages)
        self.touch()

    def _give_up_on(self, messages: list[Message], limit: int) -> list[Message]:
        """Drop what came back too often; returns the others (contract 7.8)."""
        over = [message for message in messages if self.delivery_counts[message[ID]] > limit]
        if not over:
            return messages
        self._die(over, DELIVERY_LIMIT)
        self.settle(over)
        gone = set(map(id_of, over))
        return [message for message in messages if message[ID] not in gone]

    def purge(self) -> int:
        """Drop what is ready; returns the count (contract 4.6)."""
        self.serve()
        return self.drop_ready()

    def drop_ready(self) -> int:
        """Drop what is ready, in memory or not; returns the count."""
        count = len(self.ready)
        if self.ready.paged is not None:
            self.memory.paging -= 1
        messages, paged = self.ready.clear()
        for pages in paged:
            self._settle_pages(pages, pages.runs)
        if messages:
            self.settle(messages)
        self._answer_gets()
        return count

    # --- memory -----------------------------------------------------------------------------------------------------

    def _let_go(self, messages: Sequence[Message]) -> int:
        """Messages leave memory; returns the bytes of their bodies."""
        if self.message_expiry is not None:
            self.message_expiry.forget(messages)
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
        if ready.paged is not None and ready.stops_paging():
            self.memory.paging -= 1
        return ready.available

    @property
    def in_memory(self) -> tuple[int, int, int]:
        """Of its messages, ready and unacked, those in memory: how many, the bytes of their bodies, and what they are taken to weigh."""
        body_bytes, runs_bytes = self.body_bytes, 0
        if self.ready.paged is not None:
            body_bytes -= sum([level.paged.pages.body_bytes for level in self.ready.levels if level.paged is not None])
            runs_bytes = self.ready.runs * RUN_BYTES
        return self._held, body_bytes, body_bytes + self._overhead + runs_bytes

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
        """Messages that came in while the queue was paged are in the log (see Ready.page_out). They leave memory, unless somebody was
        quicker."""
        before = self.ready.runs
        gone = self.ready.page_out(messages, runs)
        if gone:
            self._let_go(gone)
            self.memory.used += (self.ready.runs - before) * RUN_BYTES
        if len(gone) < len(messages) and not self.logged:
            paged = set(map(id_of, gone))
            self.outbox.spill.ledger.settled([message[ID] for message in messages if message[ID] not in paged])

    def _read_ahead(self) -> None:
        """Ask for the head of the pages if somebody will want it soon."""
        level = self.ready.level_to_load()
        if level is None:
            return
        is_over = self.limit is not None and not self.limit.rejects and self.limit.surplus(self) > 0
        # When the head expires is known once it was read.
        if self.getters or is_over or self.message_expiry is not None or self.consumers.next_round(1)[0]:
            self._load(level)

    def _load(self, level: Ready) -> None:
        """Have the head of its pages read."""
        assert level.paged is not None
        level.paged.loading = Load(self, level, level.paged.pages.head(self.memory.read_ahead_bytes))
        self.memory.loading += level.paged.loading.size
        self.outbox.loads.append(level.paged.loading)

    def loaded(self, load: Load, messages: Sequence[Message] | None) -> None:
        """The head of the pages was read; None: it has been copied elsewhere meanwhile and must be asked for again."""
        self.memory.loading -= load.size
        paged = load.level.paged
        if paged is None or paged.loading is not load:
            return  # purged, or deleted
        paged.loading = None
        if messages is not None and paged.pages.count and paged.pages.first_id == load.runs[0].first_id:
            self._take_in(load.level, paged, load.runs, messages)
            if self.message_expiry is not None:
                self.message_expiry.loaded(messages, load.times_ms)
        self.touch()
        self._answer_gets()

    def _take_in(self, level: Ready, paged: Paged, runs: list[Run], messages: Sequence[Message]) -> None:
        before = paged.pages.body_bytes
        paged.pages.drop(len(runs))
        size = sum(map(len, map(body_of, messages)))
        overhead = len(messages) * MESSAGE_BYTES
        header: bytes | None = None
        for message in messages:
            if message[HEADER] is not header:
                header = message[HEADER]
                overhead += len(header) + HEADER_BYTES
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
            level.read_in([message for message in messages if message[ID] not in known], returned)
        else:
            level.read_in(messages, ())
        paged.low = max(len(messages) // 2, 1)
        if not self.logged:
            for run in runs:
                self.outbox.spill.ledger.settled(range(run.first_id, run.first_id + run.length))
        elif len(messages) < sum(run.length for run in runs):
            whole = set(map(id_of, messages))
            lost = [each for run in runs for each in range(run.first_id, run.first_id + run.length) if each not in whole]
            self.outbox.settle_ids(self, lost)
            if self.held_values is not None:
                self.held_values.forget(lost)
            counts.forget(lost)

    def relocate(self, first_id: int, count: int, place: int) -> None:
        """These messages were copied to another place of the log."""
        for level in self.ready.levels:
            before = level.runs
            if level.relocate(first_id, count, place):
                self.touch()
            self.memory.used += (level.runs - before) * RUN_BYTES

    def _drop_paged(self, count: int) -> int:
        """Drop so many messages (at the most) from the head of the pages; returns how many."""
        before = self.ready.runs
        dropped = self.ready.drop_paged(count)
        self.ready.forget(dropped.body_bytes)
        self._settle_pages(dropped, before - self.ready.runs)
        return dropped.count

    def _settle_pages(self, pages: Pages, runs: int) -> None:
        """Messages that aren't in memory are done with; so many runs are no longer remembered."""
        if self.held_values is not None:
            self.held_values.forget_pages(pages)
        self.body_bytes -= pages.body_bytes
        self.memory.used -= runs * RUN_BYTES
        if self.delivery_counts:
            self.delivery_counts.forget_pages(pages, is_only_level=len(self.ready.levels) == 1)
        if not self.logged:
            self.outbox.spill.ledger.settled_pages(pages)
        elif self.deleted:
            self.outbox.bury_pages(self, pages)
        else:
            self.outbox.settle_pages(self, pages)

    def settle_paged(self, level: Ready, first_id: int, count: int) -> int:
        """The messages with these ids, all of which were in the pages of a level a moment ago, are done with, as far as they still are
        there; returns how many. Of ids between two of them none may live."""
        assert level.paged is not None
        before = level.paged.pages.runs
        gone = level.paged.pages.cut(first_id, count)
        if gone.count:
            level.paged.loading = None  # what is being read is no longer what stands there
            self.ready.forget(gone.body_bytes)
            self._settle_pages(gone, before - level.paged.pages.runs)
            self.touch()
        return gone.count

    # --- basic.get at a cold head -----------------------------------------------------------------------------------

    def wait_for_head(self, answer: WaitingGet) -> None:
        """Call `answer` once the head is in memory, or nothing is left."""
        self.getters.append(answer)
        self.touch()

    def _answer_gets(self) -> None:
        while self.getters and not self.is_cold:
            self.getters.popleft()()

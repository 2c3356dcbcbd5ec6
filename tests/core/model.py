"""What a broker must do, told as plainly as can be: lists of messages, who holds which, and which replies are due.

`World` plays operations to a real Broker (tests/core/playbook.py) and checks all that is heard against this model. It doesn't
predict who gets a message; it knows what may and what must not happen.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from broker.core.pages import Pages
from protocol.methods import Basic, Channel, Tx
from storage.records import Delivered as DeliveredMark
from storage.records import Enqueue, Requeue, Settle, SettleRange, decode_records
from tests.core.playbook import Acked, Delivered, Got, Nacked, Playbook, Reply, Returned, Said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from protocol.events import Message
    from tests.core.playbook import PlayedChannel, PlayedPeer

READY, HELD, GONE = "ready", "held", "gone"


@dataclass(eq=False)
class Entry:
    """A message in a queue."""

    body: bytes
    persistent: bool
    state: str = READY
    ever: bool = False
    """It was delivered before."""
    id: int = 0
    leased: int | None = None
    """The batch in which it was delivered last."""
    returned: list[int] = field(default_factory=list)
    """The batches in which it came back; 0 for before the last crash."""


@dataclass(eq=False)
class Consumer:
    channel: OpenChannel
    queue: Queue
    tag: str
    no_ack: bool
    prefetch: int
    priority: int
    exclusive: bool
    heard: bool = False
    """consume-ok was heard."""
    cancelled: bool = False
    unacked: int = 0
    last: int = 0
    """The highest id that it was sent for the first time."""


@dataclass(eq=False)
class Queue:
    name: str
    id: int
    core: Any
    durable: bool
    auto_delete: bool = False
    single_active: bool = False
    owner: PlayedPeer | None = None
    declared: bool = False
    """declare-ok was heard."""
    deleting: bool = False
    """Somebody wants it gone."""
    entries: dict[bytes, Entry] = field(default_factory=dict)
    """In order of publishing; without what is settled."""
    past: dict[bytes, Entry] = field(default_factory=dict)
    """What is settled."""
    consumers: list[Consumer] = field(default_factory=list)
    active: Consumer | None = None
    enqueued: int = 0
    settled: int = 0

    def ready(self) -> list[Entry]:
        return [entry for entry in self.entries.values() if entry.state is READY]

    def held(self) -> list[Entry]:
        return [entry for entry in self.entries.values() if entry.state is HELD]

    def settle(self, entry: Entry) -> None:
        entry.state = GONE
        self.past[entry.body] = self.entries.pop(entry.body)
        self.settled += 1


@dataclass(eq=False)
class Exchange:
    name: str
    kind: str
    durable: bool
    auto_delete: bool
    declared: bool = False


@dataclass(frozen=True)
class Binding:
    source: str
    destination: Queue | str
    key: str

    @property
    def names(self) -> tuple[str, str, str]:
        """How the catalog knows it, which can't tell queues of one name apart: source, destination and key."""
        return self.source, self.destination if isinstance(self.destination, str) else self.destination.name, self.key


@dataclass(eq=False)
class Bound:
    """A binding from bind to unbind. Bound again it is another one: the -ok of the one before says nothing about it, and neither does it
    have to be durable because the other was."""

    durable: bool
    sure: bool = False
    """bind-ok was heard."""
    gone: bool = False
    """Its end was told."""


@dataclass(eq=False)
class Due:
    """A reply that must come, in its place."""

    type: type
    step: int
    check: Callable[[Any], None] | None = None


@dataclass(eq=False)
class Publish:
    queues: list[Queue]
    body: bytes
    persistent: bool
    mandatory: bool


@dataclass(eq=False)
class OpenChannel:
    peer: PlayedPeer
    played: PlayedChannel
    mode: str = ""
    prefetch: int = 0
    shared: int = 0
    next_tag: int = 1
    consumers: dict[str, Consumer] = field(default_factory=dict)
    leases: dict[int, tuple[Queue, Entry, Consumer | None]] = field(default_factory=dict)
    has_got: bool = False
    """It holds, or held, something by basic.get, which makes RabbitMQ's channel-wide count its own."""
    due: deque[Due] = field(default_factory=deque)
    dues: int = 0
    """How many replies were ever due."""
    published: int = 0
    unanswered: dict[int, tuple[list[bytes], int]] = field(default_factory=dict)
    """Sequence number to the bodies that must be on the disk, and `dues` at the time."""
    publishes: list[Publish] = field(default_factory=list)
    settles: list[tuple[list[int], bool]] = field(default_factory=list)
    """Of the open transaction: the tags, and whether they go back."""

    @property
    def committing(self) -> bool:
        """It takes nothing until commit-ok (8.1)."""
        return any(due.type is Tx.CommitOk for due in self.due)

    @property
    def known(self) -> list[int]:
        """The tags that may be settled."""
        taken = {tag for tags, _ in self.settles for tag in tags}
        return [tag for tag in self.leases if tag not in taken]


class World:
    """The model, and the broker that is held against it."""

    def __init__(self) -> None:
        self.book = Playbook()
        self.steps = 0
        self.bodies = 0
        self.channels: list[OpenChannel] = []
        self.closing: list[OpenChannel] = []
        """Closed, but the last word wasn't heard yet."""
        self.queues: dict[str, Queue] = {}
        self.by_id: dict[int, Queue] = {}
        """All queues there ever were, durable ones over crashes."""
        self.exchanges: dict[str, Exchange] = {}
        self.bindings: dict[Binding, Bound] = {}
        self.last_bound: dict[tuple[str, str, str], Bound] = {}
        """By a binding's names, whether it is still there or not."""
        self.on_disk: set[bytes] = set()
        self.settled_on_disk: set[tuple[int, int]] = set()
        """Queue id and message id."""
        self.named = 0
        """The highest message id in the log."""
        self.heads: dict[Queue, list[Entry]] = {}
        """What this step delivered."""

    @property
    def free(self) -> list[OpenChannel]:
        """The channels on which something may be said."""
        return [channel for channel in self.channels if not channel.committing]

    # --- a step ---------------------------------------------------------------------------------------------------------

    def step(self, action: Callable[[], object], effect: Callable[[], None] | None = None) -> None:
        """Play `action`. Deliveries count first (whatever looks at a queue serves it), then `effect`, then what is heard is checked."""
        self.steps += 1
        self.batch = self.book.broker.outbox.number
        action()
        self._absorb(self.book.disk.synced)
        self.book.disk.synced = []
        heard = {channel: channel.played.take() for channel in [*self.channels, *self.closing]}
        for channel, replies in heard.items():
            self._take_leases(channel, replies)
        self._check_heads()
        if effect is not None:
            effect()
        for channel, replies in heard.items():
            for reply in replies:
                self._hear(channel, reply)
        self.check_counts()
        self.check_ledger()

    def _absorb(self, records: Iterable[bytes]) -> None:
        for data in records:
            for record in decode_records(data):
                named: Iterable[int] = ()
                match record:
                    case Enqueue():
                        self.on_disk.update(record.bodies)
                        named = (record.first_id + len(record.bodies) - 1,)
                    case Settle() | SettleRange():
                        named = record.message_ids if isinstance(record, Settle) else range(record.first_id, record.last_id + 1)
                        self.settled_on_disk.update((record.queue_id, number) for number in named)
                    case Requeue():
                        named = dict(record.counts)
                    case DeliveredMark():
                        named = (record.message_id,)
                self.named = max(self.named, *named, 0)

    def due(self, channel: OpenChannel, cls: type, check: Callable[[Any], None] | None = None) -> None:
        """`cls` must come on the channel, after all that is due already."""
        channel.due.append(Due(cls, self.steps, check))
        channel.dues += 1

    # --- leases ---------------------------------------------------------------------------------------------------------

    def _take_leases(self, channel: OpenChannel, replies: list[Reply]) -> None:
        for reply in replies:
            if not isinstance(reply, Delivered):
                continue
            consumer = channel.consumers[reply.consumer]
            queue = consumer.queue
            assert not consumer.cancelled, "a delivery after cancel-ok (6.1)"
            assert not (queue.single_active and queue.active is not consumer), "only the active consumer is served (6.2)"
            assert reply.body in queue.entries, "what was settled came back, or what was never published"
            entry = queue.entries[reply.body]
            assert entry.state is READY, "two hold one message"
            assert reply.redelivered is entry.ever, f"redelivered is {reply.redelivered} (6.4)"
            entry.id = reply.message[0]
            if not entry.ever:
                assert entry.id > consumer.last, "out of order (5.5)"
                consumer.last = entry.id
            self.heads.setdefault(queue, []).append(entry)
            self.lease(channel, queue, entry, consumer, reply.tag)

    def lease(self, channel: OpenChannel, queue: Queue, entry: Entry, consumer: Consumer | None, tag: int, no_ack: bool = False) -> None:
        """`entry` was delivered or got."""
        assert tag == channel.next_tag, "tags go from 1 up (6.4)"
        channel.next_tag += 1
        if no_ack or (consumer is not None and consumer.no_ack):
            queue.settle(entry)
            return
        entry.state, entry.ever, entry.leased = HELD, True, self.batch
        channel.leases[tag] = queue, entry, consumer
        if consumer is not None:
            consumer.unacked += 1
            assert not consumer.prefetch or consumer.unacked <= consumer.prefetch, "over the prefetch (6.3)"
            assert not channel.shared or self.shared_used(channel) <= channel.shared, "over the channel's prefetch (6.3)"

    @staticmethod
    def shared_used(channel: OpenChannel) -> int:
        """What counts against a limit over the whole channel."""
        return sum(consumer is not None for _, _, consumer in channel.leases.values())

    def backlog(self, queue: Queue) -> list[Message]:
        """What is ready, in memory or not, in no particular order."""
        fresh, returned = self.book.waiting(queue.core)
        return [*fresh, *returned]

    def _check_heads(self) -> None:
        """What was delivered is what stood at the head."""
        for queue, taken in self.heads.items():
            bodies = {entry.body for entry in queue.ready()}
            left = [message[0] for message in self.backlog(queue) if message[3] in bodies]
            assert not left or max(entry.id for entry in taken) < min(left), "not from the head"
        self.heads = {}

    def release(self, channel: OpenChannel, tag: int, requeue: bool) -> None:
        """A tag is settled, or its message goes back."""
        queue, entry, consumer = channel.leases.pop(tag)
        if consumer is not None:
            consumer.unacked -= 1
        if requeue and not queue.deleting:
            entry.state = READY
            entry.returned.append(self.batch)
        else:
            queue.settle(entry)

    # --- replies --------------------------------------------------------------------------------------------------------

    def _hear(self, channel: OpenChannel, reply: Reply) -> None:
        match reply:
            case Delivered():
                assert channel.consumers[reply.consumer].heard, "a delivery before consume-ok (6.1)"
                assert not channel.due or channel.due[0].step == self.steps, "a delivery overtook a held reply"
            case Acked():
                self._hear_ack(channel, reply)
            case Nacked():
                raise AssertionError("nothing failed, nothing may be nacked (5.4)")
            case Got() | Returned() | Said():
                kind = type(reply.method) if isinstance(reply, Said) else type(reply)
                assert channel.due, f"{kind} was not asked for"
                due = channel.due.popleft()
                assert kind is due.type, f"{kind} where {due.type} is due"
                if due.check is not None:
                    due.check(reply.method if isinstance(reply, Said) else reply)

    def _hear_ack(self, channel: OpenChannel, reply: Acked) -> None:
        assert reply.tag in channel.unanswered, f"publish {reply.tag} was answered before, or never made (5.4)"
        heard = channel.dues - len(channel.due)
        for number in [each for each in channel.unanswered if each <= reply.tag] if reply.multiple else [reply.tag]:
            bodies, before = channel.unanswered.pop(number)
            assert self.on_disk.issuperset(bodies), f"publish {number} is confirmed before it is on the disk"
            assert before <= heard, "a confirm overtook a held reply"

    # --- routing --------------------------------------------------------------------------------------------------------

    def route(self, exchange: str, key: str) -> list[Queue]:
        """The queues of a message, each once."""
        if not exchange:
            return [self.queues[key]] if key in self.queues else []
        found: list[Queue] = []
        seen, todo = {exchange}, [exchange]
        while todo:
            source = todo.pop()
            for binding in self.bindings:
                if binding.source != source or (self.exchanges[source].kind == "direct" and binding.key != key):
                    continue
                if isinstance(binding.destination, Queue):
                    found.append(binding.destination)
                elif binding.destination not in seen:
                    seen.add(binding.destination)
                    todo.append(binding.destination)
        return list(dict.fromkeys(found))

    def enter(self, publish: Publish) -> list[bytes]:
        """The message goes into its queues; returns its body if that must be on the disk."""
        queues = [queue for queue in publish.queues if not queue.deleting]
        for queue in queues:
            queue.entries[publish.body] = Entry(publish.body, publish.persistent)
            queue.enqueued += 1
        return [publish.body] if publish.persistent and any(queue.durable for queue in queues) else []

    def bind(self, binding: Binding) -> Bound:
        """A binding is there; twice is once (3.6)."""
        if (bound := self.bindings.get(binding)) is not None:
            return bound
        destination = self.exchanges[binding.destination] if isinstance(binding.destination, str) else binding.destination
        bound = Bound(self.exchanges[binding.source].durable and destination.durable)
        self.bindings[binding] = self.last_bound[binding.names] = bound
        return bound

    # --- ends -----------------------------------------------------------------------------------------------------------

    def unbind(self, binding: Binding) -> None:
        """A binding is gone; an auto-delete exchange may follow (3.4)."""
        self.bindings.pop(binding, None)
        source = self.exchanges.get(binding.source)
        if source is not None and source.auto_delete and not any(each.source == binding.source for each in self.bindings):
            self.delete_exchange(source)

    def delete_exchange(self, exchange: Exchange) -> None:
        """An exchange is gone with its bindings."""
        del self.exchanges[exchange.name]
        for binding in [each for each in self.bindings if each.source == exchange.name]:
            del self.bindings[binding]
        for binding in [each for each in self.bindings if each.destination == exchange.name]:
            self.unbind(binding)

    def delete_queue(self, queue: Queue) -> None:
        """A queue is gone: what is ready goes, what is held stays held (4.5); consumers are told (6.6)."""
        queue.deleting = True
        del self.queues[queue.name]
        if queue.owner is not None:
            queue.owner = None
        for entry in queue.ready():
            queue.settle(entry)
        for binding in [each for each in self.bindings if each.destination is queue]:
            self.unbind(binding)
        for consumer in list(queue.consumers):
            self.remove_consumer(consumer)
            self.due(consumer.channel, Basic.Cancel, self.expect("consumer_tag", consumer.tag))

    @staticmethod
    def expect(name: str, value: object) -> Callable[[Any], None]:
        def check(method: Any) -> None:
            assert getattr(method, name) == value

        return check

    def remove_consumer(self, consumer: Consumer) -> None:
        """A consumer is gone, with an auto-delete queue if it was the last (4.4)."""
        consumer.cancelled = True
        queue = consumer.queue
        queue.consumers.remove(consumer)
        if queue.active is consumer:
            queue.active = max(queue.consumers, key=lambda each: each.priority, default=None)
        if queue.auto_delete and not queue.consumers and self.queues.get(queue.name) is queue:
            self.delete_queue(queue)

    def close_channel(self, channel: OpenChannel, last: type[Channel.Close | Channel.CloseOk]) -> None:
        """A channel is gone, and its peer hears of it after all that is due."""
        self.end_channel(channel)
        self.closing.append(channel)
        self.due(channel, last, lambda _: self.closing.remove(channel))

    def end_channel(self, channel: OpenChannel) -> None:
        """A channel is gone: what it held goes back (1.12)."""
        self.channels.remove(channel)
        channel.settles = []
        for consumer in [each for each in channel.consumers.values() if not each.cancelled]:
            self.remove_consumer(consumer)
        for tag in list(channel.leases):
            self.release(channel, tag, True)

    def end_peer(self, peer: PlayedPeer) -> None:
        """A connection is gone, with its exclusive queues (1.12)."""
        for channel in [each for each in self.channels if each.peer is peer]:
            self.end_channel(channel)
        self.closing = [each for each in self.closing if each.peer is not peer]
        for queue in [each for each in self.queues.values() if each.owner is peer]:
            self.delete_queue(queue)
        self.book.peers.remove(peer)

    # --- a crash --------------------------------------------------------------------------------------------------------

    def crash(self, keep_unsynced: bool) -> None:
        """What was promised is there, what was never published isn't, and what was settled stays settled."""
        book, on_disk = self.book, set(self.on_disk)
        book.crash(keep_unsynced=keep_unsynced)
        self.channels, self.closing = [], []
        vhost = book.broker.vhosts["/"]
        survivors: dict[str, Queue] = {}
        for core in vhost.queues.values():
            queue = self.by_id[core.id]
            assert queue.durable and queue.name == core.name
            survivors[core.name] = queue
            queue.core = core
            self._check_contents(queue, on_disk)
        for queue in self.queues.values():
            assert queue.deleting or not (queue.durable and queue.declared) or survivors.get(queue.name) is queue, (
                "a declared queue is lost"
            )
        self.queues = survivors
        self.named = 0
        self._check_exchanges()
        self.by_id = {queue.id: queue for queue in survivors.values()}
        self._absorb(record for commit in book.disk.scan() for record in commit.records)
        next_id = book.broker.outbox.ledger.next_id
        assert self.named < next_id, "ids go on behind all that the log names"
        self.settled_on_disk = {(queue_id, number) for queue_id, number in self.settled_on_disk if number < next_id}

    def _check_contents(self, queue: Queue, on_disk: set[bytes]) -> None:
        fresh, returned = self.book.waiting(queue.core)
        found = {message[3]: message for message in [*fresh, *returned]}
        flagged = {message[3] for message in returned}
        assert len(found) == len(fresh) + len(returned), "a message is there twice"
        ids = [message[0] for message in fresh]
        assert ids == sorted(ids), "out of order"
        lost = [body for body, entry in queue.entries.items() if entry.persistent and body in on_disk and body not in found]
        assert not lost or queue.deleting, f"lost: {lost}"
        kept: dict[bytes, Entry] = {}
        for body, message in sorted(found.items(), key=lambda item: cast("int", item[1][0])):
            assert (queue.id, message[0]) not in self.settled_on_disk, "what was settled for good came back"
            entry = queue.entries.get(body) or queue.past.pop(body)
            assert entry.persistent, "transient messages don't survive (5.3)"
            if entry.leased is not None and entry.leased <= self.book.kept_batch:
                assert body in flagged, "delivered before the crash, and not redelivered after it (6.4)"
            if entry.state is not GONE:
                count = sum(batch <= self.book.kept_batch for batch in entry.returned)
                assert queue.core.delivery_counts.get(message[0], 0) == count, "the delivery count is lost"
            entry.returned = [0] * queue.core.delivery_counts.get(message[0], 0)
            entry.state, entry.ever, entry.leased, entry.id = READY, body in flagged, None, message[0]
            kept[body] = entry
        queue.entries = kept
        queue.enqueued, queue.settled = len(kept), 0
        queue.consumers, queue.active, queue.declared, queue.deleting = [], None, True, False

    def _check_exchanges(self) -> None:
        vhost = self.book.broker.vhosts["/"]
        found = {exchange.name: exchange for exchange in vhost.exchanges.values() if exchange.name and not exchange.name.startswith("amq.")}
        for exchange in self.exchanges.values():
            assert exchange.name in found or not (exchange.durable and exchange.declared), "a declared exchange is lost"
        self.exchanges = {name: Exchange(name, core.type, True, core.auto_delete, declared=True) for name, core in found.items()}
        bindings: dict[Binding, Bound] = {}
        for name, core in found.items():
            for each in core.bindings():
                destination: Queue | str = self.queues[each.destination.name] if each.destination.is_queue else each.destination.name
                binding = Binding(name, destination, each.routing_key)
                bindings[binding] = Bound(durable=True, sure=True)
                last = self.last_bound[binding.names]
                assert not (last.durable and last.gone), "a binding is back"
                self.last_bound[binding.names] = bindings[binding]
        for binding, bound in self.bindings.items():
            assert not (bound.durable and bound.sure) or binding in bindings, "a binding is lost"
        self.bindings = bindings

    # --- invariants -----------------------------------------------------------------------------------------------------

    def check_counts(self) -> None:
        """Counts add up, in each queue that is there or still has messages out."""
        vhost = self.book.broker.vhosts["/"]
        assert vhost.queues.keys() == self.queues.keys()
        assert {name for name in vhost.exchanges if name and not name.startswith("amq.")} == self.exchanges.keys()
        held: dict[Queue, int] = {}
        for channel in self.channels:
            core = channel.played.open
            in_transaction = {tag for tags, _ in channel.settles for tag in tags}
            assert list(core.unacked) == [tag for tag in channel.leases if tag not in in_transaction]
            for queue, _, _ in channel.leases.values():
                held[queue] = held.get(queue, 0) + 1
            if channel.shared and not channel.has_got:
                assert core.shared_used == self.shared_used(channel)
        for queue in {*self.queues.values(), *held}:
            core = queue.core
            ready = queue.ready()
            assert len(core.ready) == len(ready)
            assert core.unacked == len(queue.held()) == held.get(queue, 0)
            assert len(ready) + core.unacked + queue.settled == queue.enqueued
            assert core.body_bytes == sum(map(len, queue.entries))
            assert len(core.consumers) == len(queue.consumers)

    def check_ledger(self) -> None:
        """Live pairs by segment are what is not settled in it."""
        broker = self.book.broker
        ledger, outbox = broker.outbox.ledger, broker.outbox
        ids = [message[0] for queue in self.queues.values() if queue.durable for message in self.backlog(queue)]
        ids += [entry.id for channel in self.channels for queue, entry, _ in channel.leases.values() if queue.durable]
        for settled in [
            *outbox._settled.values(),
            *(buried for _, buried in outbox._buried),
            *(pages for _, pages in outbox._settled_pages),
        ]:
            ids += settled.ids_between(0, 1 << 62) if isinstance(settled, Pages) else settled
        firsts = [each.first_id for each in ledger._ranges]
        live = [0] * len(firsts)
        assert min(ids, default=firsts[0]) >= firsts[0], "a live message's segment is gone"
        for number in ids:
            live[max(index for index, first in enumerate(firsts) if first <= number)] += 1
        assert [each.live for each in ledger._ranges] == live
        for segment in ledger._segments:
            assert segment.live == sum(each.live for each in ledger._ranges if each.home is segment)
        assert all(any(each.home is segment for segment in ledger._segments) for each in ledger._ranges), "a live message has no home"

    def check_no_stall(self) -> None:
        """Nothing is ready where somebody could take it."""
        for queue in self.queues.values():
            if not queue.ready():
                continue
            for consumer in queue.consumers:
                if queue.single_active and queue.active is not consumer:
                    continue
                core = consumer.channel.played.open
                if core.held is not None or core.session.congested:
                    continue
                has_credit = consumer.no_ack or not consumer.prefetch or consumer.unacked < consumer.prefetch
                shared = consumer.channel.shared
                if shared and not consumer.no_ack:
                    used = core.shared_used if consumer.channel.has_got else self.shared_used(consumer.channel)
                    has_credit = has_credit and used < shared
                assert not has_credit, f"{queue.name} has messages, and {consumer.tag} credit"

    def check_answers(self) -> None:
        """When all is quiet, nothing is owed."""
        for channel in self.channels:
            assert not channel.unanswered, "publishes were never confirmed (5.4)"
            assert not channel.due, f"replies never came: {channel.due}"
        assert not self.closing, "a close was never heard"

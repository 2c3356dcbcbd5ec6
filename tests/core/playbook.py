"""Plays clients, a disk and a crash to a real Broker: no sockets, no event loop, no clock but the test's.

    book = Playbook()
    channel = book.connect().channel()
    channel.declare("q", durable=True)
    channel.publish("q", b"1")
    book.turn()                          # serve what was touched, ship the batch, flush
    assert not channel.take()            # nothing is durable yet: declare-ok is held
    book.sync()                          # the disk has done all it was given
    assert channel.take() == [...]
    book.crash()                         # what the disk had not done is lost; a new broker over the rest

Batches go to the disk through the real Committer. The disk does one step at a time: the puts of a batch, its commit of the
log, its deletions (storage.api says that puts and deletes between two other operations commit together). What was written
without `sync` survives a crash only if a later synced commit took it along, or if the test is kind.
"""

from __future__ import annotations

import struct
from collections import deque
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from broker.core.broker import Broker
from broker.core.compaction import Compaction
from broker.core.compat import V3_13
from broker.core.login import Attempt, Question, Undecided
from broker.core.message import join_routing
from broker.core.paging import Load
from broker.core.permissions import Identity, Permissions
from broker.core.recovery import Replay, restore_catalog
from broker.core.session import Peer, Session
from broker.core.spill import SpillCompaction
from broker.runtime.committer import Committer
from protocol.content import Properties, encode_properties
from protocol.errors import AmqpError, ConnectionException
from protocol.events import MANDATORY, Tuning
from protocol.methods import Basic, Channel, Connection, Exchange, Method, Queue, Tx, make
from protocol.tables import Table, table_of
from storage.memory import MemoryStore

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Sequence

    from broker.core.outbox import Batch
    from broker.core.queue import Queue as CoreQueue
    from protocol.events import Message
    from storage.api import Catalog, Commit, Entry, Log, Receipt, StorageError, Store, type_done

M = TypeVar("M", bound=Method)
_TOKEN = struct.Struct(">Q")


# --- what a peer hears ----------------------------------------------------------------------------------------------------


class Said(NamedTuple):
    """Any method but those below."""

    channel: int
    method: Method


class Acked(NamedTuple):
    """basic.ack of publishes."""

    channel: int
    tag: int
    multiple: bool


class Nacked(NamedTuple):
    """basic.nack of one publish."""

    channel: int
    tag: int


class Delivered(NamedTuple):
    """basic.deliver."""

    channel: int
    consumer: str
    tag: int
    redelivered: bool
    message: Message

    @property
    def body(self) -> bytes:
        return self.message[3]


class Got(NamedTuple):
    """basic.get-ok."""

    channel: int
    tag: int
    redelivered: bool
    left: int
    message: Message

    @property
    def body(self) -> bytes:
        return self.message[3]


class Returned(NamedTuple):
    """basic.return."""

    channel: int
    code: int
    text: str
    routing: bytes
    header: bytes
    body: bytes


Reply = Said | Acked | Nacked | Delivered | Got | Returned


class Wire:
    """protocol.events.Wire whose frames are tokens for what they say, so that `heard` has it as it was written."""

    def __init__(self) -> None:
        self.tuning = Tuning(2047, 131_072, 60)
        self.output_bytes = 0
        self.message_weight = 0
        """Bytes that a delivery counts for beyond its parts; together they must stay below the core's estimate."""
        self.heard: list[Reply] = []
        self.closed: AmqpError | None = None
        self._said: list[Reply] = []

    def _token(self, reply: Reply) -> bytes:
        self._said.append(reply)
        return _TOKEN.pack(len(self._said) - 1)

    def write(self, frames: bytes) -> None:
        self.heard += [self._said[index] for (index,) in _TOKEN.iter_unpack(frames)]
        self.output_bytes += len(frames)

    def method(self, channel: int, method: Method) -> bytes:
        return self._token(Said(channel, method))

    def ack(self, channel: int, tag: int, multiple: bool) -> bytes:
        return self._token(Acked(channel, tag, multiple))

    def nack(self, channel: int, tag: int) -> bytes:
        return self._token(Nacked(channel, tag))

    def get_ok(self, channel: int, tag: int, redelivered: bool, message_count: int, message: Message) -> bytes:
        return self._token(Got(channel, tag, redelivered, message_count, message))

    def delivered(self, channel: int, consumer_tag: str, tag: int, message: Message) -> bytes:
        return self._token(Delivered(channel, consumer_tag, tag, False, message))

    def returned(self, channel: int, code: int, text: str, routing: bytes, header: bytes, body: bytes) -> bytes:
        return self._token(Returned(channel, code, text, routing, header, body))

    def deliveries(self, channel: int, consumer_tag: str) -> _Deliveries:
        return _Deliveries(self, channel, consumer_tag)

    def tuned(self, tuning: Tuning) -> None:
        self.tuning = tuning

    def close(self, error: AmqpError) -> None:
        self.closed = error
        self.heard.append(Said(0, _close(Connection.Close, error)))

    def close_channel(self, channel: int, error: AmqpError) -> bytes:
        return self._token(Said(channel, _close(Channel.Close, error)))

    def start(self, properties: Table, mechanisms: str, locales: str) -> None:
        self.heard.append(Said(0, make(Connection.Start, server_properties=properties, mechanisms=mechanisms.encode())))


class _Deliveries:
    """protocol.events.DeliveryEncoder."""

    def __init__(self, wire: Wire, channel: int, consumer: str) -> None:
        self._wire, self._channel, self._consumer = wire, channel, consumer

    def encode(self, tag: int, redelivered: bool, messages: Sequence[Message], limit_bytes: int) -> int:
        wire, count, written = self._wire, 0, 0
        for message in messages:
            if written > limit_bytes:
                break
            wire.heard.append(Delivered(self._channel, self._consumer, tag + count, redelivered, message))
            written += len(message[1]) + len(message[2]) + len(message[3]) + wire.message_weight
            count += 1
        wire.output_bytes += written
        return count


def _close(cls: type[Method], error: AmqpError) -> Method:
    return make(cls, reply_code=error.code, reply_text=error.reply_text, class_id=error.class_id, method_id=error.method_id)


# --- the disk ---------------------------------------------------------------------------------------------------------------


class Disk:
    """The log and the catalog of a MemoryStore, in steps that the test takes (storage.api.Store)."""

    def __init__(self, memory: MemoryStore, work: deque[tuple[str, Callable[[], None]]]) -> None:
        self._memory = memory
        self._work = work
        self.batch = 0
        """The batch that is being handed in."""
        self.written: list[tuple[int, int]] = []
        """The batches whose commit was written, each with its end in the log."""
        self.synced_end = 0
        """Up to here the log survives any crash."""
        self.synced: list[bytes] = []
        """The records that were synced, in order; the reader may take them out."""
        self._unsynced: list[bytes] = []

    @classmethod
    def open(cls, memory: MemoryStore | None = None) -> Disk:
        """An empty one, or what survived in `memory`."""
        work: deque[tuple[str, Callable[[], None]]] = deque()

        def defer(operation: Callable[[], None]) -> None:
            work.append(("catalog" if "Catalog" in operation.__qualname__ else "log", operation))

        disk = cls(memory.reopen(defer) if memory else MemoryStore(defer, keep=True), work)
        disk.synced_end = disk._memory.log.end
        return disk

    @property
    def log(self) -> Log:
        return cast("Log", self)

    @property
    def catalog(self) -> Catalog:
        return self._memory.catalog

    def append(self, records: Sequence[bytes], done: type_done, *, sync: bool = True, roll: bool = False) -> None:
        """storage.api.Log.append"""
        batch = self.batch

        def written(outcome: Receipt | StorageError) -> None:
            if not isinstance(outcome, Exception):
                self.written.append((batch, outcome.end))
                self._unsynced += records
                if sync:
                    self.synced_end = outcome.end
                    self.synced += self._unsynced
                    self._unsynced = []
            done(outcome)

        self._memory.log.append(records, written, sync=sync, roll=roll)

    def scan(self, start: int = 0, stop: int | None = None) -> Iterator[Commit]:
        """storage.api.Log.scan"""
        return self._memory.log.scan(start, stop)

    def read(self, places: Sequence[int]) -> list[bytes]:
        """storage.api.Log.read"""
        return self._memory.log.read(places)

    def spill(self) -> Log | None:
        """storage.api.Store.spill"""
        return self._memory.spill()

    def truncate(self, before: int) -> None:
        """storage.api.Log.truncate"""
        self._memory.log.truncate(before)

    def segments(self) -> list[tuple[int, int]]:
        """(start, end) of each segment of the log."""
        return self._memory.log.segments()

    def entries(self) -> list[Entry]:
        """The catalog, durable or not."""
        return self._memory.catalog.scan()

    def durable_keys(self) -> set[str]:
        """What of the catalog survives a crash."""
        return set(self._memory._medium.entries)

    def fail(self) -> None:
        """Nothing is written from now on."""
        self._memory.fail("a test's")

    @property
    def is_idle(self) -> bool:
        return not self._work

    def step(self) -> None:
        """Do what comes next: a commit of the log, or puts and deletes up to the next one."""
        kind, operation = self._work.popleft()
        operation()
        while kind == "catalog" and self._work and self._work[0][0] == kind:
            self._work.popleft()[1]()

    def survivor(self, keep_unsynced: bool) -> Disk:
        """What a crash leaves."""
        if not keep_unsynced:
            medium = self._memory._medium
            medium.commits = [commit for commit in medium.commits if commit.position < self.synced_end]
            medium.segments = [start for start in medium.segments if start < self.synced_end] or [0]
            medium.end = self.synced_end
        return Disk.open(self._memory)


class _Loop:
    """As much of an event loop as the Committer needs."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []
        self.seconds = 0.0

    def time(self) -> float:
        return self.seconds

    def is_closed(self) -> bool:
        return False

    def call_soon_threadsafe(self, call: Callable[[], None]) -> None:
        self.calls.append(call)

    def run(self) -> None:
        while self.calls:
            self.calls.pop(0)()


class _Login:
    """Lets everybody in."""

    def mechanisms(self, peer: Peer) -> tuple[str, ...]:
        return ("PLAIN",)

    def authenticate(self, mechanism: str, response: bytes, peer: Peer, attempt: Attempt) -> Identity:
        identity = Identity("guest")
        identity.grant("/", Permissions(".*", ".*", ".*"))
        return identity


# --- the play ---------------------------------------------------------------------------------------------------------------


class Playbook:
    """A broker, its disk and its peers."""

    paging_bytes: int | None = None
    """If given, how much may be in memory before deep queues are paged; for this broker and those after a crash."""

    compat = V3_13

    def __init__(self, *, logs: bool = True) -> None:
        self.now_ms = 1_700_000_000_000
        self.logs = logs
        self._random = Random(1)
        self.disk = Disk.open()
        self.shipped: list[Batch] = []
        """All batches of this broker's life."""
        self._start()
        self.broker.add_vhost("/")
        self.settle()

    def _start(self) -> None:
        self.peers: list[PlayedPeer] = []
        self.shipped = []
        self._loop = _Loop()
        self.broker = Broker(_Login(), {}, lambda: self.now_ms, self._random.randbytes, logs=self.logs)
        self.broker.compat = self.compat
        if self.paging_bytes is not None:
            self.broker.memory.paging_bytes = self.paging_bytes
        restore_catalog(self.broker, self.disk.entries())
        Replay(self.broker).apply(self.disk.scan())
        loop = cast("asyncio.AbstractEventLoop", self._loop)
        self.committer = Committer(cast("Store", self.disk), self.broker.outbox, loop, lambda: None)

    def connect(self, *capabilities: str, user: str = "guest", vhost: str = "/") -> PlayedPeer:
        """A client that has asked to open its connection to a vhost; what the user's name means is the broker's authenticator's."""
        peer = PlayedPeer(self, capabilities or ("consumer_cancel_notify", "publisher_confirms", "basic.nack"), user, vhost)
        self.peers.append(peer)
        return peer

    def decide(self, question: Question) -> None:
        """Answer what the core left undecided (broker/runtime/decider.py); the event is tried again afterwards."""
        raise AssertionError(f"nobody here answers {question!r}")

    def turn(self) -> bool:
        """broker/runtime/turn.py, once; returns whether there is more to do."""
        self.broker.serve()
        self.ship()
        self.read()
        for peer in self.peers:
            peer.flush()
        return self.broker.has_work

    def advance(self, ms: int) -> None:
        """Time goes by, timer by timer (broker/runtime/wakeups.py), and all comes to rest."""
        end = self.now_ms + ms
        while (deadline := self.broker.timers.next_ms) is not None and deadline <= end:
            self.now_ms = max(self.now_ms, deadline)
            self.broker.run_timers()
            self.settle()
        self.now_ms = end

    def ship(self) -> None:
        """Hand the batch to the disk."""
        outbox = self.broker.outbox
        if outbox.has_batch:
            batch = outbox.take()
            self.shipped.append(batch)
            self.disk.batch = batch.number
            self.committer.ship(batch)
        self.committer.give_back_spill()

    def read(self) -> None:
        """Carry out what queues want to have in memory (broker/runtime/reader.py)."""
        loads, self.broker.outbox.loads = self.broker.outbox.loads, []
        for load in loads:
            load.done(load.read(self._source(load.spilled)))

    def _source(self, spilled: bool) -> Log:
        source = self.disk.spill() if spilled else self.disk.log
        assert source is not None
        return source

    def compact(self) -> bool:
        """A step of compaction, or its beginning or its end, of either log; returns whether there was any."""
        of_spill = self.compact_spill()
        return self._compact_log() or of_spill

    def compact_spill(self) -> bool:
        """The same of the spill alone."""
        spill = self.broker.outbox.spill
        if self.committer.spill_failed:
            return False
        if spill.compaction is None:
            spill.compaction = SpillCompaction.begin(self.broker)
            return spill.compaction is not None
        if spill.compaction.is_waiting:
            return False
        if step := spill.compaction.next_step():
            spill.compaction.copy(step, step.read(self._source(True)))
        elif spill.compaction.is_done:
            spill.compaction.finish()
            spill.compaction = None
            self.committer.give_back_spill()
        return True

    def _compact_log(self) -> bool:
        outbox = self.broker.outbox
        if outbox.has_batch:
            return False
        if outbox.compaction is None:
            outbox.compaction = Compaction.begin(self.broker)
            return outbox.compaction is not None
        if outbox.compaction.is_waiting:
            return False
        outbox.compaction.look()
        span = outbox.compaction.next_span
        if span is not None:
            outbox.compaction.copy(*outbox.compaction.read(self.disk.log, span))
        elif outbox.compaction.is_done:
            outbox.compaction.finish()
            outbox.compaction = None
            self.committer.give_back()
        return True

    def turns(self) -> None:
        """Turns until there is nothing to do."""
        for _ in range(1000):
            if not self.turn():
                return
        raise AssertionError("the broker never comes to rest")

    def step(self) -> bool:
        """One step of the disk, and whoever hears of it; False if it has nothing to do."""
        if self.disk.is_idle:
            return False
        self.disk.step()
        self._loop.run()
        return True

    def sync(self) -> None:
        """Let the disk do all it was given."""
        while self.step():
            pass

    def settle(self) -> None:
        """Turns and syncs until all is quiet."""
        while True:
            self.turns()
            if not self.step() and not self.broker.outbox.has_batch:
                return
            self.sync()

    def crash(self, *, keep_unsynced: bool = False) -> None:
        """The machine goes down and comes back: a new broker over what the disk had done."""
        for peer in self.peers:
            peer.lost = True
        self.kept_batch = max((batch for batch, end in self.disk.written if keep_unsynced or end <= self.disk.synced_end), default=0)
        """The last batch whose records survived the last crash."""
        self.disk = self.disk.survivor(keep_unsynced)
        self._start()

    def restart(self) -> None:
        """A crash when all is durable: what a restart should find."""
        self.settle()
        self.crash(keep_unsynced=True)

    def queue(self, name: str) -> Any:
        """The broker's queue."""
        return self.broker.vhosts["/"].queues[name]

    def ready(self, name: str) -> list[bytes]:
        """The bodies that are ready in a queue, in order."""
        fresh, returned = self.waiting(self.queue(name))
        return [message[3] for message in sorted([*fresh, *returned])]

    def waiting(self, queue: CoreQueue) -> tuple[list[Message], list[Message]]:
        """What is ready in a queue, in memory or not: what was never delivered, and what was."""
        fresh: list[Message] = []
        returned: list[Message] = []
        for level in queue.ready.levels:
            fresh += level.fresh
            returned += level.came_back()
            if level.paged is not None:
                runs = level.paged.pages.head(1 << 60, 1 << 60)
                for message in Load(queue, level, runs).read(self._source(not queue.logged)):
                    (returned if message[0] <= queue.recovered_mark or message[0] in queue.delivery_counts else fresh).append(message)
                fresh += level.paged.tail
        return fresh, returned

    def warm(self) -> None:
        """Read until no basic.get waits for the head of its queue."""
        while waiting := [queue for vhost in self.broker.vhosts.values() for queue in vhost.queues.values() if queue.getters]:
            for queue in waiting:
                queue.serve()
            assert self.broker.outbox.loads or not any(queue.getters for queue in waiting), "a get waits, and nobody reads"
            self.read()


class PlayedPeer:
    """One connection."""

    def __init__(self, book: Playbook, capabilities: Sequence[str], user: str, vhost: str | None) -> None:
        self.book = book
        self.wire = Wire()
        self.full = False
        self.lost = False
        self.channels: dict[int, PlayedChannel] = {}
        self.session: Session = book.broker.open_session(Peer("peer", True))
        self.session.wire = self.wire
        self.session.on_protocol_header()
        properties = table_of({"capabilities": dict.fromkeys(capabilities, True)})
        self.do(0, make(Connection.StartOk, mechanism="PLAIN", response=user.encode(), client_properties=properties))
        self.do(0, make(Connection.TuneOk, channel_max=2047, frame_max=131_072))
        if vhost is not None:
            self.open(vhost)

    def open(self, vhost: str) -> None:
        """connection.open"""
        self.do(0, make(Connection.Open, virtual_host=vhost))
        self.take()

    def do(self, channel: int, method: Method) -> None:
        """Send a method, as protocol.connection and runtime.connection hand it on."""
        self._call(lambda: self.session.on_method(channel, method))

    def _call(self, event: Callable[[], object]) -> None:
        assert not self.lost, "the connection is gone"
        try:
            event()
        except Undecided as undecided:
            self.book.decide(undecided.question)
            self._call(self.session.retry)
        except ConnectionException as error:
            self.session.close_connection(error)
        if self.wire.closed is not None:
            self.lost = True

    def channel(self, number: int = 0) -> PlayedChannel:
        """Open a channel; by default with a number that was never used."""
        number = number or len(self.channels) + 1
        channel = self.channels[number] = PlayedChannel(self, number)
        self.do(number, make(Channel.Open))
        self.take(number)
        return channel

    def take(self, channel: int | None = None) -> list[Reply]:
        """What was heard since last time, on one channel or on all."""
        heard = self.wire.heard
        if channel is None:
            self.wire.heard = []
            return heard
        self.wire.heard = [reply for reply in heard if reply.channel != channel]
        return [reply for reply in heard if reply.channel == channel]

    def congest(self) -> None:
        """The socket is full."""
        self.full = True
        self.session.congest()

    def drain(self) -> None:
        """It isn't any more."""
        self.full = False
        self.session.drained()

    def flush(self) -> None:
        """The end of the turn: all is written, and the peer takes more unless its socket is full."""
        self.wire.output_bytes = 0
        if self.session.congested and not self.full:
            self.session.drained()

    def close(self) -> None:
        """connection.close"""
        self.do(0, make(Connection.Close))
        self.lost = True
        self.channels.clear()

    def lose(self) -> None:
        """The socket is gone."""
        self.session.terminate()
        self.lost = True
        self.channels.clear()


class PlayedChannel:
    """One open channel. A method sends and returns nothing; `call` lets everything settle and returns the answer."""

    def __init__(self, peer: PlayedPeer, number: int) -> None:
        self.peer = peer
        self.book = peer.book
        self.number = number

    def do(self, cls: type[Method], **arguments: Any) -> None:
        """Send a method."""
        self.peer.do(self.number, make(cls, **arguments))

    def call(self, cls: type[Method], **arguments: Any) -> Method:
        """Send a method, settle, and return the one method that came back."""
        self.do(cls, **arguments)
        self.book.settle()
        replies = self.take()
        assert len(replies) == 1, replies
        reply = replies[0]
        assert isinstance(reply, Said), reply
        return reply.method

    def take(self) -> list[Reply]:
        """What was heard here since last time."""
        return self.peer.take(self.number)

    def names(self) -> list[str]:
        """What was heard, by name: methods as "Queue.DeclareOk", contents by body, acks as "ack 1" or "ack ..2"."""
        return [_name(reply) for reply in self.take()]

    def refusal(self) -> tuple[int, str]:
        """Code and text of the channel.close that came last."""
        last = self.take()[-1]
        assert isinstance(last, Said) and isinstance(last.method, Channel.Close), last
        return last.method.reply_code or 0, last.method.reply_text

    def bodies(self) -> list[bytes]:
        """The bodies delivered or got since last time; nothing else may have come."""
        replies = self.take()
        assert all(isinstance(reply, Delivered | Got) for reply in replies), replies
        return [reply.body for reply in replies if isinstance(reply, Delivered | Got)]

    @property
    def open(self) -> Any:
        """The core's channel."""
        return self.peer.session.channels[self.number]

    # --- shortcuts ------------------------------------------------------------------------------------------------------

    def declare(self, queue: str, *, durable: bool = False, arguments: dict[str, Any] | None = None, **bits: bool) -> None:
        self.do(Queue.Declare, queue=queue, durable=durable, arguments=table_of(arguments or {}), **bits)

    def exchange(self, name: str, kind: str = "direct", *, arguments: dict[str, Any] | None = None, **bits: bool) -> None:
        self.do(Exchange.Declare, exchange=name, exchange_type=kind, arguments=table_of(arguments or {}), **bits)

    def bind(self, queue: str, exchange: str, key: str = "") -> None:
        self.do(Queue.Bind, queue=queue, exchange=exchange, routing_key=key)

    def publish(
        self, key: str, *bodies: bytes, exchange: str = "", mandatory: bool = False, persistent: bool = True, **properties: Any
    ) -> None:
        """A run with one header; all bodies of one size."""
        header = encode_properties(Properties(delivery_mode=2 if persistent else 1, **properties), len(bodies[0]))
        self.publish_run(key, [header], list(bodies), exchange=exchange, mandatory=mandatory)

    def publish_run(self, key: str, headers: list[bytes], bodies: list[bytes], *, exchange: str = "", mandatory: bool = False) -> None:
        """A run: one header for all, or one each."""
        session, routing, bits = self.peer.session, join_routing(exchange, key), MANDATORY if mandatory else 0
        self.peer._call(lambda: session.on_publishes(self.number, routing, bits, headers, bodies))

    def consume(self, queue: str, tag: str = "c", *, no_ack: bool = False, exclusive: bool = False, priority: int | None = None) -> None:
        arguments = {} if priority is None else table_of({"x-priority": priority})
        self.do(Basic.Consume, queue=queue, consumer_tag=tag, no_ack=no_ack, exclusive=exclusive, arguments=arguments)

    def qos(self, count: int, *, shared: bool = False) -> None:
        self.do(Basic.Qos, prefetch_count=count, global_=shared)

    def get(self, queue: str, *, no_ack: bool = False) -> None:
        self.do(Basic.Get, queue=queue, no_ack=no_ack)
        self.peer.book.warm()

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        self.peer._call(lambda: self.peer.session.on_ack(self.number, tag, multiple))

    def acks(self, *tags: int) -> None:
        """A run of single acks."""
        self.peer._call(lambda: self.peer.session.on_acks(self.number, tags))

    def nack(self, tag: int, *, multiple: bool = False, requeue: bool = True) -> None:
        self.do(Basic.Nack, delivery_tag=tag, multiple=multiple, requeue=requeue)

    def reject(self, tag: int, *, requeue: bool = True) -> None:
        self.do(Basic.Reject, delivery_tag=tag, requeue=requeue)

    def cancel(self, tag: str = "c") -> None:
        self.do(Basic.Cancel, consumer_tag=tag)

    def commit(self) -> None:
        self.do(Tx.Commit)

    def close(self) -> None:
        self.do(Channel.Close)


def _name(reply: Reply) -> str:
    match reply:
        case Said(_, method):
            return str(method.name)
        case Acked(_, tag, multiple):
            return f"ack {'..' if multiple else ''}{tag}"
        case Nacked(_, tag):
            return f"nack {tag}"
        case Returned(_, _, text, _, _, _):
            return text
        case Delivered() | Got():
            return reply.body.decode()

"""Clients of a Machine that do anything, from a seed, and write down what they are promised."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from protocol.content import Properties, encode_properties
from protocol.methods import Basic, Confirm, Queue, Tx
from tests.campaign.promises import NEVER, Broken
from tests.core.playbook import Acked, Delivered, Got, Nacked, Said

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.campaign.machine import Machine
    from tests.campaign.promises import Place, Promises
    from tests.core.playbook import PlayedChannel, PlayedPeer, Reply

QUEUES = ("a", "b", "c")
DEAD_LETTERS = {"a": "dead"}
MAX_PRIORITIES = {"b": 3}
"""Queues with priorities."""
FAN_OUT = "x"
SIZES = (0, 0, 0, 30, 300, 700)
"""Of bodies, in bytes beyond their number; the last go over several blocks."""


class Due(NamedTuple):
    """A reply that waits for a batch."""

    batch: int
    synced: bool


class Client:
    """A channel, and what is open on it."""

    def __init__(self, channel: PlayedChannel, mode: str) -> None:
        self.channel = channel
        self.mode = mode
        self.due: deque[Due] = deque()
        self.published = 0
        self.unconfirmed: dict[int, Due] = {}
        self.consumers: dict[str, tuple[int, bool]] = {}
        """Tag to the queue's id, and whether it is no-ack."""
        self.consumed = 0
        self.leases: dict[int, Place] = {}
        self.pending: list[tuple[set[int], bytes, bool]] = []
        """Publishes of the open transaction."""
        self.pending_settles: list[tuple[list[int], bool]] = []

    @property
    def free_tags(self) -> list[int]:
        taken = {tag for tags, _ in self.pending_settles for tag in tags}
        return [tag for tag in self.leases if tag not in taken]


class Workload:
    """One broker's clients: a publisher with confirms, one with transactions, and one without any mode."""

    def __init__(self, machine: Machine, promises: Promises, chance: Random) -> None:
        self.machine = machine
        self.promises = promises
        self.chance = chance
        self.peers: list[PlayedPeer] = []
        self.clients: list[Client] = []
        self.getting = (0, False)
        """The queue's id of the last get, and whether it was no-ack."""
        self.ids = machine.queue_ids()
        """The durable queues by name, as clients see them."""
        self.connect("confirm", "")
        self.connect("tx", "confirm")

    @property
    def batch(self) -> int:
        """What happens now belongs to this one."""
        return self.machine.broker.outbox.number

    # --- turns ------------------------------------------------------------------------------------------------------------

    def release(self) -> None:
        """All connections are about to be closed: what they hold goes back."""
        for client in self.clients:
            for place in client.leases.values():
                self.promises.returned(place, self.batch)

    def furnish(self) -> None:
        """What there is to work with, declared and durable."""
        first = self.clients[0]
        first.channel.exchange(FAN_OUT, "fanout", durable=True)
        first.due.append(Due(self.batch, False))
        for name in (*QUEUES, *DEAD_LETTERS.values()):
            self.declare(first, name)
            if name in QUEUES and name != "c":
                self.bind(first, name)
        first.channel.declare("passing")
        first.channel.bind("passing", FAN_OUT)
        first.due += [Due(0, False)] * 2
        self.rest()

    def live(self, turns: int) -> None:
        """So many turns, each with a few events, and the disk somewhere behind."""
        for _ in range(turns):
            for _ in range(self.chance.choice((1, 1, 2, 4))):
                self.act()
                self.hear()
                if self.chance.random() < 0.2:  # the store's reports come when they come
                    self.machine.step()
                    self.hear()
            self.turn()

    def turn(self) -> None:
        """One turn of the broker, and some steps of the disk."""
        machine, chance = self.machine, self.chance
        stamp = self.batch
        machine.turn()
        self.hear(stamp)
        if chance.random() < 0.3:
            machine.background()
        for _ in range(chance.choice((0, 0, 1, 2, 20))):
            if not machine.step():
                break
            self.hear()

    def rest(self) -> None:
        """Until all is quiet and durable."""
        while True:
            self._turns()
            if not self.machine.step() and not self.machine.broker.outbox.has_batch:
                return

    def _turns(self) -> None:
        """Turns until there is nothing to do. Each has a batch of its own: what is read in at the end of one is delivered in the next."""
        for _ in range(1000):
            stamp = self.batch
            more = self.machine.turn()
            self.hear(stamp)
            if not more:
                return
        raise Broken("the broker never comes to rest")

    # --- what is heard ----------------------------------------------------------------------------------------------------

    def hear(self, stamp: int = 0) -> None:
        """All that came; deliveries belong to the batch `stamp`."""
        for client in self.clients:
            for reply in client.channel.take():
                self._hear(client, reply, stamp or self.batch)

    def _hear(self, client: Client, reply: Reply, stamp: int) -> None:
        promises = self.promises
        match reply:
            case Delivered():
                self._take(client, reply, client.consumers[reply.consumer], stamp)
            case Got():
                self._take(client, reply, self.getting, stamp)
            case Acked():
                for number in [each for each in client.unconfirmed if each == reply.tag or (reply.multiple and each < reply.tag)]:
                    due = client.unconfirmed.pop(number)
                    if due.batch:
                        promises.told(due.batch, synced=due.synced)
            case Nacked():
                raise Broken("nothing failed, nothing may be nacked")
            case Said(_, method):
                if not isinstance(method, Basic.GetEmpty):
                    due = client.due.popleft()
                    if due.batch:
                        promises.told(due.batch, synced=due.synced)

    def _take(self, client: Client, reply: Delivered | Got, source: tuple[int, bool], stamp: int) -> None:
        queue_id, no_ack = source
        place = self.promises.delivered(queue_id, reply.body, reply.redelivered, stamp, leased=not no_ack)
        if not no_ack:
            client.leases[reply.tag] = place

    # --- what is done -----------------------------------------------------------------------------------------------------

    def act(self) -> None:
        """Any one thing."""
        actions: list[tuple[int, Callable[[Client], None]]] = [
            (10, self.publish),
            (4, self.publish_unlike),
            (6, self.fan_out),
            (10, self.settle),
            (4, self.settle_all),
            (3, self.requeue),
            (3, self.get),
            (3, self.consume),
            (1, self.cancel),
            (2, self.purge),
            (1, self.delete),
            (2, self.declare_any),
            (1, self.bind_any),
            (1, self.lose),
            (5, self.commit),
            (1, self.rollback),
        ]
        weights, choices = zip(*actions, strict=True)
        (action,) = self.chance.choices(choices, weights)
        free = [client for client in self.clients if not self._is_committing(client)]
        if free:
            action(self.chance.choice(free))

    @staticmethod
    def _is_committing(client: Client) -> bool:
        return client.mode == "tx" and bool(client.due)

    def connect(self, *modes: str) -> None:
        peer = self.machine.connect()
        self.peers.append(peer)
        for mode in modes:
            client = Client(peer.channel(), mode)
            self.clients.append(client)
            if mode:
                client.channel.do(Confirm.Select if mode == "confirm" else Tx.Select)
                client.channel.take()

    def lose(self, client: Client) -> None:
        """A connection is gone: what it held goes back."""
        peer = client.channel.peer
        gone = [each for each in self.clients if each.channel.peer is peer]
        for each in gone:
            each.pending_settles = []
            for place in each.leases.values():
                self.promises.returned(place, self.batch)
        peer.lose()
        self.machine.peers.remove(peer)
        self.clients = [each for each in self.clients if each not in gone]
        self.connect(*[each.mode for each in gone])

    # publishing

    def body(self, size: int) -> bytes:
        self.promises.orders += 1
        return b"%08d" % self.promises.orders + b"." * size

    def priority(self, *bodies: bytes) -> int | None:
        """A priority for these messages."""
        priority = self.chance.choice((None, 0, 1, 2, 9))
        self.promises.priorities.update(dict.fromkeys(bodies, priority or 0))
        return priority

    def _published(self, client: Client, queue_ids: set[int], bodies: list[bytes], persistent: list[bool]) -> None:
        """A run: into its queues now, or at the commit."""
        unit = self.promises.unit() if len(queue_ids) > 1 else 0
        for body, each in zip(bodies, persistent, strict=True):
            if client.mode == "tx":
                client.pending.append((queue_ids, body, each))
            else:
                self.promises.published(queue_ids, body, each, self.batch, unit)
        if client.mode == "confirm":
            # A run is confirmed when all of it is durable, and batches are durable in order.
            for each in persistent:
                client.published += 1
                waits = each and bool(queue_ids)
                client.unconfirmed[client.published] = Due(self.batch if waits else 0, waits)

    def publish(self, client: Client) -> None:
        """A run of like messages to one queue."""
        name, size = self.chance.choice(QUEUES), self.chance.choice(SIZES)
        bodies = [self.body(size) for _ in range(self.chance.choice((1, 1, 2, 5)))]
        persistent = self.chance.random() < 0.8
        client.channel.publish(name, *bodies, persistent=persistent, priority=self.priority(*bodies))
        self._published(client, {self.ids[name]} if name in self.ids else set(), bodies, [persistent] * len(bodies))

    def publish_unlike(self, client: Client) -> None:
        """A run of messages that differ in size and in what they are."""
        name = self.chance.choice(QUEUES)
        bodies = [self.body(self.chance.choice(SIZES)) for _ in range(self.chance.choice((2, 3)))]
        persistent = [self.chance.random() < 0.6 for _ in bodies]
        headers = [
            encode_properties(
                Properties(delivery_mode=2 if each else 1, message_id=str(len(body)), priority=self.priority(body)), len(body)
            )
            for each, body in zip(persistent, bodies, strict=True)
        ]
        client.channel.publish_run(name, headers, bodies)
        self._published(client, {self.ids[name]} if name in self.ids else set(), bodies, persistent)

    def fan_out(self, client: Client) -> None:
        """To all queues that are bound."""
        exchange = self.machine.broker.vhosts["/"].exchanges.get(FAN_OUT)
        if exchange is None:
            return
        queue_ids = {self.ids[each.destination.name] for each in exchange.bindings() if each.destination.name in self.ids}
        bodies = [self.body(self.chance.choice(SIZES))]
        persistent = self.chance.random() < 0.8
        client.channel.publish("", *bodies, exchange=FAN_OUT, persistent=persistent, priority=self.priority(*bodies))
        self._published(client, queue_ids, bodies, [persistent])

    # taking

    def consume(self, client: Client) -> None:
        name = self.chance.choice(QUEUES)
        if name not in self.ids or len(client.consumers) > 1:
            return
        client.consumed += 1
        tag, no_ack = f"c{client.consumed}", self.chance.random() < 0.15
        client.channel.qos(self.chance.choice((1, 3, 10)))
        client.due.append(Due(0, False))
        client.consumers[tag] = (self.ids[name], no_ack)
        client.channel.consume(name, tag, no_ack=no_ack)
        client.due.append(Due(0, False))

    def cancel(self, client: Client) -> None:
        for tag in list(client.consumers)[:1]:
            client.channel.cancel(tag)
            client.due.append(Due(0, False))
            del client.consumers[tag]

    def get(self, client: Client) -> None:
        name = self.chance.choice(QUEUES)
        if name not in self.ids or client.due:
            return
        no_ack = self.chance.random() < 0.3
        client.channel.get(name, no_ack=no_ack)
        self.getting = (self.ids[name], no_ack)
        self.hear()

    def settle(self, client: Client) -> None:
        """Ack one or several, or reject one for good."""
        self._settle(client, requeue=False)

    def requeue(self, client: Client) -> None:
        """Nack one or several back to the queue."""
        self._settle(client, requeue=True)

    def settle_all(self, client: Client) -> None:
        """Ack whatever is out."""
        if tags := client.free_tags:
            client.channel.ack(0, multiple=True)
            if client.mode == "tx":
                client.pending_settles.append((tags, False))
            else:
                self._settled(client, tags, False)

    def _settle(self, client: Client, *, requeue: bool) -> None:
        if not (tags := client.free_tags):
            return
        tag, multiple = self.chance.choice(tags), self.chance.random() < 0.3
        tags = [each for each in tags if each <= tag] if multiple else [tag]
        if requeue:
            client.channel.nack(tag, multiple=multiple)
        elif not multiple and client.mode != "tx" and self.chance.random() < 0.4:
            self._reject(client, tag)
            return
        else:
            client.channel.ack(tag, multiple=multiple)
        if client.mode == "tx":
            client.pending_settles.append((tags, requeue))
        else:
            self._settled(client, tags, requeue)

    def _reject(self, client: Client, tag: int) -> None:
        """What is rejected goes on to the queue for dead letters, if its queue has one: all of that or nothing."""
        place = client.leases[tag]
        source = self.promises.queues[place.queue]
        unit = self.promises.unit()
        client.channel.reject(tag, requeue=False)
        self._settled(client, [tag], False, unit)
        target = DEAD_LETTERS.get(source.name)
        if target in self.ids and source.deleted == NEVER:
            self.promises.published({self.ids[target]}, place.body, place.persistent, self.batch, unit)

    def _settled(self, client: Client, tags: list[int], requeue: bool, unit: int = 0) -> None:
        for tag in tags:
            place = client.leases.pop(tag)
            if requeue:
                self.promises.returned(place, self.batch)
            else:
                self.promises.settled(place, self.batch, unit)

    def commit(self, client: Client) -> None:
        if client.mode != "tx":
            return
        promises, unit = self.promises, self.promises.unit()
        durable = any(
            persistent and any(promises.queues[queue_id].deleted == NEVER for queue_id in queue_ids)
            for queue_ids, _, persistent in client.pending
        )
        for queue_ids, body, persistent in client.pending:
            promises.published(queue_ids, body, persistent, self.batch, unit)
        for tags, requeue in client.pending_settles:
            durable = durable or any(promises.queues[client.leases[tag].queue].deleted == NEVER for tag in tags)
            self._settled(client, tags, requeue, unit)
        client.pending, client.pending_settles = [], []
        client.channel.commit()
        client.due.append(Due(self.batch if durable else 0, durable))

    def rollback(self, client: Client) -> None:
        if client.mode != "tx":
            return
        client.pending, client.pending_settles = [], []
        client.channel.do(Tx.Rollback)
        client.due.append(Due(0, False))

    # queues

    def declare(self, client: Client, name: str) -> None:
        target = DEAD_LETTERS.get(name)
        arguments: dict[str, Any] = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": target} if target else {}
        if name in MAX_PRIORITIES:
            arguments["x-max-priority"] = MAX_PRIORITIES[name]
        client.channel.declare(name, durable=True, arguments=arguments)
        client.due.append(Due(self.batch, False))
        self.ids[name] = self.machine.queue(name).id
        self.promises.declared(self.ids[name], name, self.batch, MAX_PRIORITIES.get(name, 0))

    def declare_any(self, client: Client) -> None:
        self.declare(client, self.chance.choice(QUEUES))

    def bind(self, client: Client, name: str) -> None:
        if FAN_OUT not in self.machine.broker.vhosts["/"].exchanges:
            return  # the crash came before it was declared
        client.channel.bind(name, FAN_OUT)
        client.due.append(Due(self.batch, False))
        self.promises.bound(self.ids[name], self.batch)

    def bind_any(self, client: Client) -> None:
        name = self.chance.choice(QUEUES)
        if name in self.ids:
            self.bind(client, name)

    def purge(self, client: Client) -> None:
        name = self.chance.choice(QUEUES)
        if name not in self.ids:
            return
        client.channel.do(Queue.Purge, queue=name)
        self.hear()
        ready = [place for place in self.promises.of(self.ids[name]) if place.ready]
        for place in ready:
            self.promises.settled(place, self.batch)
        client.due.append(Due(self.batch, bool(ready)))

    def delete(self, client: Client) -> None:
        """Delete, and as often as not declare again in the same turn."""
        name = self.chance.choice(QUEUES)
        if name not in self.ids:
            return
        client.channel.do(Queue.Delete, queue=name)
        self._hear_deliveries()
        queue_id = self.ids.pop(name)
        self.promises.deleted(queue_id, self.batch)
        client.due.append(Due(self.batch, False))
        for each in self.clients:
            gone = [tag for tag, (consumed, _) in each.consumers.items() if consumed == queue_id]
            for tag in gone:
                del each.consumers[tag]
                each.due.append(Due(0, False))  # basic.cancel
        if self.chance.random() < 0.5:
            self.declare(client, name)
            if self.chance.random() < 0.7:
                self.bind(client, name)

    def _hear_deliveries(self) -> None:
        """What the queue served before it went."""
        for client in self.clients:
            heard = client.channel.take()
            for reply in heard:
                if isinstance(reply, Delivered):
                    self._hear(client, reply, self.batch)
            client.channel.peer.wire.heard += [reply for reply in heard if not isinstance(reply, Delivered)]

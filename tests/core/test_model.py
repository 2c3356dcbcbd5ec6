"""Whatever clients, disk and crashes do, in any order: the broker keeps its promises (tests/core/model.py says which)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from broker.core import compaction, consumers, entries, ledger, memory, queue, spill
from protocol.content import Properties, encode_properties
from protocol.methods import Basic, Channel, Confirm, Exchange, Method, Queue, Tx
from tests.core import model
from tests.core.model import Binding, Consumer, OpenChannel, Publish, World
from tests.core.playbook import Got, Returned

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")
NUMBERS = st.integers(0, 11)
QUEUES = st.sampled_from(["q0", "q1", "q2", "q3", "q4"])
EXCHANGES = st.sampled_from(["x0", "x1"])
KEYS = st.sampled_from(["a", "b"])
SIZES = st.sampled_from([0, 0, 300])
MODES = ["", "confirm", "tx"]
PERSISTENT = st.lists(st.sampled_from([True, True, False]), min_size=1, max_size=5)
SEGMENT_BYTES = 1500
TURN_OUTPUT_BYTES = 1500
HEAVY = 250
"""Bytes that each delivery to a heavy peer counts for: a few fill its turn."""
REST_TURNS_MAX = 1000
"""A pass of compaction takes up to some two hundred here: with slices of three ids it reads most stretches of the log many times."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of a few messages, turns of a few deliveries."""
    monkeypatch.setattr(ledger, "SEGMENT_BYTES", SEGMENT_BYTES)
    monkeypatch.setattr(consumers, "TURN_OUTPUT_BYTES", TURN_OUTPUT_BYTES)
    monkeypatch.setattr(ledger, "SLACK_BYTES", 500)
    monkeypatch.setattr(compaction, "STEP_BYTES", 300)
    monkeypatch.setattr(compaction, "SLICE_IDS", 3)
    monkeypatch.setattr(spill, "STEP_BYTES", 300)
    monkeypatch.setattr(spill, "SLICE_IDS", 3)
    monkeypatch.setattr(queue, "DEEP_BYTES", 0)
    monkeypatch.setattr(memory, "READ_AHEAD_BYTES", 8)


def pick(some: Sequence[T], number: int) -> T:
    return some[number % len(some)]


class BrokerMachine(RuleBasedStateMachine):
    """One broker's life."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.tags = 0
        self.crashed = 0

    # --- connections and channels ---------------------------------------------------------------------------------------

    @initialize(
        modes=st.lists(st.sampled_from(MODES), min_size=3, max_size=3),
        heavy=st.booleans(),
        prefetch=st.integers(0, 3),
        paging=st.sampled_from([0, 0, 1 << 30]),
    )
    def begin(self, modes: list[str], heavy: bool, prefetch: int, paging: int) -> None:
        """Something to start from: two connections, four queues, an exchange, two consumers."""
        self.world.book.paging_bytes = self.world.book.broker.memory.paging_bytes = paging
        self.connect(heavy=False)
        self.connect(heavy=heavy)
        for number, mode in enumerate(modes):
            self.open_channel(number, mode)
        self.furnish(prefetch)

    def furnish(self, prefetch: int) -> None:
        for name, durable, kind in (("q0", True, ""), ("q1", True, "single_active"), ("q2", False, "")):
            self.declare_queue(0, name, durable, kind)
        self.declare_queue(1, "q3", False, "exclusive")
        self.declare_exchange(0, "x0", "fanout", True, False)
        for number in range(3):
            self.bind(0, 0, number, "a", False)
        for number in range(2):
            self.qos(number, prefetch, False)
            self.consume(number, number, False, 0, 1)
        self.rest()

    def connect(self, heavy: bool) -> None:
        self.world.book.connect().wire.message_weight = HEAVY if heavy else 0

    def open_channel(self, who: int, mode: str) -> None:
        world, peer = self.world, pick(self.world.book.peers, who)
        channel = OpenChannel(peer, peer.channel(), mode)
        world.channels.append(channel)
        if mode:
            method, ok = (Tx.Select, Tx.SelectOk) if mode == "tx" else (Confirm.Select, Confirm.SelectOk)
            world.step(lambda: channel.played.do(method), lambda: world.due(channel, ok))

    def close_channel(self, who: int) -> None:
        channel = pick(self.world.free, who)
        self.world.step(channel.played.close, lambda: self.world.close_channel(channel, Channel.CloseOk))

    def end_connection(self, who: int, politely: bool) -> None:
        peer = pick(self.world.book.peers, who)
        self.world.step(peer.close if politely else peer.lose, lambda: self.world.end_peer(peer))

    def settle_an_unknown_tag(self, who: int) -> None:
        channel = pick(self.world.free, who)
        self.world.step(lambda: channel.played.ack(99_999), lambda: self.world.close_channel(channel, Channel.Close))

    # --- what is declared -----------------------------------------------------------------------------------------------

    def declare_queue(self, who: int, name: str, durable: bool, kind: str) -> None:
        world, channel = self.world, pick(self.world.free, who)
        there = world.queues.get(name)
        if there is not None and there.owner not in (None, channel.peer):
            return
        if there is not None:
            durable, auto_delete, single_active, exclusive = there.durable, there.auto_delete, there.single_active, there.owner is not None
        else:
            auto_delete, single_active, exclusive = kind == "auto_delete", kind == "single_active", kind == "exclusive"
            durable = durable and not exclusive

        def effect() -> None:
            core = world.book.queue(name)
            queue = world.queues.get(name)
            if queue is None:
                queue = world.queues[name] = model.Queue(name, core.id, core, durable, auto_delete, single_active)
                queue.owner = channel.peer if exclusive else None
                assert core.id not in world.by_id, "a queue's id is never used again"
                world.by_id[core.id] = queue
            ready = len(queue.ready())

            def check(method: Any) -> None:
                assert method.message_count == ready
                queue.declared = True
                assert queue.deleting or not durable or entries.queue_key("/", name) in world.book.disk.durable_keys()

            world.due(channel, Queue.DeclareOk, check)

        arguments = {"x-single-active-consumer": True} if single_active else {}
        world.step(
            lambda: channel.played.declare(name, durable=durable, exclusive=exclusive, auto_delete=auto_delete, arguments=arguments),
            effect,
        )

    def usable(self, channel: OpenChannel) -> list[model.Queue]:
        return [queue for queue in self.world.queues.values() if queue.owner in (None, channel.peer)]

    def delete_queue(self, who: int, which: int) -> None:
        world, channel = self.world, pick(self.world.free, who)
        if not (queues := self.usable(channel)):
            return
        queue = pick(queues, which)

        def effect() -> None:
            ready = len(queue.ready())
            bindings = [bound for each, bound in world.bindings.items() if each.destination is queue]

            def check(method: Any) -> None:
                assert method.message_count == ready
                if queue.durable and queue.name not in world.queues:
                    assert entries.queue_key("/", queue.name) not in world.book.disk.durable_keys()
                for bound in bindings:
                    bound.gone = True

            world.due(channel, Queue.DeleteOk, check)
            world.delete_queue(queue)

        world.step(lambda: channel.played.do(Queue.Delete, queue=queue.name), effect)

    def purge(self, who: int, which: int) -> None:
        world, channel = self.world, pick(self.world.free, who)
        if not (queues := self.usable(channel)):
            return
        queue = pick(queues, which)

        def effect() -> None:
            ready = queue.ready()
            world.due(channel, Queue.PurgeOk, world.expect("message_count", len(ready)))
            for entry in ready:
                queue.settle(entry)

        world.step(lambda: channel.played.do(Queue.Purge, queue=queue.name), effect)

    def declare_exchange(self, who: int, name: str, kind: str, durable: bool, auto_delete: bool) -> None:
        world, channel = self.world, pick(self.world.free, who)
        exchange = world.exchanges.get(name) or model.Exchange(name, kind, durable, auto_delete)

        def effect() -> None:
            world.exchanges[name] = exchange

            def check(_: Any) -> None:
                exchange.declared = True

            world.due(channel, Exchange.DeclareOk, check)

        world.step(lambda: channel.played.exchange(name, exchange.kind, durable=exchange.durable, auto_delete=exchange.auto_delete), effect)

    def delete_exchange(self, who: int, which: int) -> None:
        world, channel = self.world, pick(self.world.free, who)
        exchange = pick(list(world.exchanges.values()), which)

        def effect() -> None:
            world.delete_exchange(exchange)
            world.due(channel, Exchange.DeleteOk)

        world.step(lambda: channel.played.do(Exchange.Delete, exchange=exchange.name), effect)

    def bind(self, who: int, source: int, which: int, key: str, to_exchange: bool) -> None:
        world, channel = self.world, pick(self.world.free, who)
        exchange = pick(list(world.exchanges.values()), source)
        queues = self.usable(channel)
        if not queues and not to_exchange:
            return
        destination = pick(list(world.exchanges), which) if to_exchange else pick(queues, which)
        binding = Binding(exchange.name, destination, key)
        name = destination if isinstance(destination, str) else destination.name

        def effect() -> None:
            bound = world.bind(binding)

            def check(_: Any) -> None:
                bound.sure = True

            world.due(channel, Exchange.BindOk if to_exchange else Queue.BindOk, check)

        if to_exchange:
            world.step(lambda: channel.played.do(Exchange.Bind, source=exchange.name, destination=name, routing_key=key), effect)
        else:
            world.step(lambda: channel.played.bind(name, exchange.name, key), effect)

    def unbind(self, who: int, which: int) -> None:
        world, channel = self.world, pick(self.world.free, who)
        binding = pick(list(world.bindings), which)
        cls: type[Method]
        ok: type[Method]
        if isinstance(binding.destination, str):
            cls, ok, names = Exchange.Unbind, Exchange.UnbindOk, {"source": binding.source, "destination": binding.destination}
        elif binding.destination.owner not in (None, channel.peer):
            return
        else:
            cls, ok, names = Queue.Unbind, Queue.UnbindOk, {"exchange": binding.source, "queue": binding.destination.name}

        def effect() -> None:
            bound = world.bindings[binding]
            world.unbind(binding)

            def check(_: Any) -> None:
                bound.gone = True

            world.due(channel, ok, check)

        world.step(lambda: channel.played.do(cls, routing_key=binding.key, **names), effect)

    # --- publishing -----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.free and self.world.queues)
    @rule(who=NUMBERS, where=NUMBERS, persistent=PERSISTENT, size=SIZES, alike=st.booleans(), mandatory=st.booleans())
    def publish_to_queue(self, who: int, where: int, persistent: list[bool], size: int, alike: bool, mandatory: bool) -> None:
        self.publish(who, "", pick(list(self.world.queues), where), persistent, size, alike, mandatory)

    @precondition(lambda self: self.world.free and self.world.exchanges)
    @rule(who=NUMBERS, where=NUMBERS, key=KEYS, persistent=PERSISTENT, size=SIZES, alike=st.booleans(), mandatory=st.booleans())
    def publish_to_exchange(self, who: int, where: int, key: str, persistent: list[bool], size: int, alike: bool, mandatory: bool) -> None:
        self.publish(who, pick(list(self.world.exchanges), where), key, persistent, size, alike, mandatory)

    def publish(self, who: int, exchange: str, key: str, persistent: list[bool], size: int, alike: bool, mandatory: bool) -> None:
        world, channel = self.world, pick(self.world.free, who)
        bodies = []
        for _ in persistent:
            world.bodies += 1
            bodies.append(b"%05d" % world.bodies + bytes(size))
        if alike:
            persistent = persistent[:1] * len(bodies)
        headers = [encode_properties(Properties(delivery_mode=1 + each), 5 + size) for each in (persistent[:1] if alike else persistent)]

        def effect() -> None:
            queues = world.route(exchange, key)
            for body, each in zip(bodies, persistent, strict=True):
                publish = Publish(queues, body, each, mandatory)
                if channel.mode == "tx":
                    channel.publishes.append(publish)
                else:
                    self.enter(channel, publish)

        world.step(lambda: channel.played.publish_run(key, headers, bodies, exchange=exchange, mandatory=mandatory), effect)

    def enter(self, channel: OpenChannel, publish: Publish) -> list[bytes]:
        needed = self.world.enter(publish)
        if publish.mandatory and all(queue.deleting for queue in publish.queues):
            self.world.due(channel, Returned, self.world.expect("body", publish.body))
        if channel.mode == "confirm":
            channel.published += 1
            channel.unanswered[channel.published] = needed, channel.dues
        return needed

    @precondition(lambda self: any(channel.publishes or channel.settles for channel in self.world.free))
    @rule(who=NUMBERS, commit=st.sampled_from([True, True, False]))
    def end_transaction(self, who: int, commit: bool) -> None:
        world = self.world
        channel = pick([each for each in world.free if each.publishes or each.settles], who)

        def effect() -> None:
            publishes, settles, channel.publishes, channel.settles = channel.publishes, channel.settles, [], []
            if not commit:
                world.due(channel, Tx.RollbackOk)
                return
            needed = [body for publish in publishes for body in self.enter(channel, publish)]
            settled: list[tuple[model.Queue, int]] = []
            for tags, requeue in settles:
                for tag in tags:
                    queue, entry, _ = channel.leases[tag]
                    if queue.durable and not requeue and not queue.deleting and entry.persistent:
                        settled.append((queue, entry.id))
                    world.release(channel, tag, requeue)

            def check(_: Any) -> None:
                assert world.on_disk.issuperset(needed), "commit-ok before the publishes are on the disk (8.1)"
                pairs = {(queue.id, number) for queue, number in settled if not queue.deleting}
                assert world.settled_on_disk.issuperset(pairs), "commit-ok before the acks are on the disk (8.1)"

            world.due(channel, Tx.CommitOk, check)

        world.step(lambda: channel.played.do(Tx.Commit if commit else Tx.Rollback), effect)

    # --- consuming ------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.free and self.world.queues)
    @rule(
        who=NUMBERS,
        which=NUMBERS,
        no_ack=st.sampled_from([False, False, True]),
        priority=st.sampled_from([0, 0, 5]),
        exclusive=st.integers(0, 5),
    )
    def consume(self, who: int, which: int, no_ack: bool, priority: int, exclusive: int) -> None:
        world, channel = self.world, pick(self.world.free, who)
        if not (queues := self.usable(channel)):
            return
        queue, alone = pick(queues, which), exclusive == 0
        if any(each.exclusive for each in queue.consumers) or (alone and (queue.consumers or queue.single_active)):
            return
        self.tags += 1
        tag = f"c{self.tags}"

        def effect() -> None:
            consumer = Consumer(channel, queue, tag, no_ack, channel.prefetch, priority, alone)
            channel.consumers[tag] = consumer
            queue.consumers.append(consumer)
            queue.active = queue.active or consumer

            def check(_: Any) -> None:
                consumer.heard = True

            world.due(channel, Basic.ConsumeOk, check)

        world.step(lambda: channel.played.consume(queue.name, tag, no_ack=no_ack, exclusive=alone, priority=priority or None), effect)

    def consumers(self) -> list[Consumer]:
        return [each for channel in self.world.free for each in channel.consumers.values() if not each.cancelled]

    def cancel(self, which: int) -> None:
        consumer = pick(self.consumers(), which)

        def effect() -> None:
            self.world.remove_consumer(consumer)
            self.world.due(consumer.channel, Basic.CancelOk)

        self.world.step(lambda: consumer.channel.played.cancel(consumer.tag), effect)

    def qos(self, who: int, count: int, shared: bool) -> None:
        channel = pick(self.world.free, who)
        if channel.settles:
            return  # RabbitMQ's count leaves out what an open transaction acked

        def effect() -> None:
            if shared:
                channel.shared = count
            else:
                channel.prefetch, channel.shared = count, 0
            self.world.due(channel, Basic.QosOk)

        self.world.step(lambda: channel.played.qos(count, shared=shared), effect)

    @precondition(lambda self: self.world.free and self.world.queues)
    @rule(who=NUMBERS, which=NUMBERS, no_ack=st.booleans())
    def get(self, who: int, which: int, no_ack: bool) -> None:
        world, channel = self.world, pick(self.world.free, who)
        if not (queues := self.usable(channel)):
            return
        queue = pick(queues, which)

        def effect() -> None:
            ready = queue.ready()
            if not ready:
                world.due(channel, Basic.GetEmpty)
                return
            head, tag, ever = ready[0], channel.next_tag, ready[0].ever
            channel.has_got = channel.has_got or not no_ack

            def check(got: Any) -> None:
                assert (got.body, got.tag, got.redelivered, got.left) == (head.body, tag, ever, len(ready) - 1)

            core = {message[3]: message[0] for message in world.backlog(queue)}
            assert head.body not in core, "basic.get takes the head"
            if not no_ack:
                head.id = world.book.peers[world.book.peers.index(channel.peer)].session.channels[channel.played.number].unacked[tag][1][0]
            world.lease(channel, queue, head, None, tag, no_ack)
            world.due(channel, Got, check)

        world.step(lambda: channel.played.get(queue.name, no_ack=no_ack), effect)

    @precondition(lambda self: any(channel.known for channel in self.world.free))
    @rule(who=NUMBERS, which=NUMBERS)
    def ack(self, who: int, which: int) -> None:
        self.settle_tags(who, which, "ack")

    @precondition(lambda self: any(channel.known for channel in self.world.free))
    @rule(who=NUMBERS, which=NUMBERS, how=st.sampled_from(["ack", "acks", "multiple", "all", "nack", "reject", "drop"]))
    def settle_tags(self, who: int, which: int, how: str) -> None:
        channel = pick([each for each in self.world.free if each.known], who)
        known = channel.known
        tag = pick(known, which)
        if how in ("multiple", "nack"):
            tags = [each for each in known if each <= tag]
        elif how in ("all", "acks"):
            tags = known
        else:
            tags = [tag]
        requeue = how in ("nack", "reject")
        play = channel.played
        actions = {
            "ack": lambda: play.ack(tag),
            "acks": lambda: play.acks(*tags),
            "multiple": lambda: play.ack(tag, multiple=True),
            "all": lambda: play.ack(0, multiple=True),
            "nack": lambda: play.nack(tag, multiple=True),
            "reject": lambda: play.reject(tag),
            "drop": lambda: play.nack(tag, requeue=False),
        }

        def effect() -> None:
            if channel.mode == "tx":
                channel.settles.append((tags, requeue))
            else:
                for each in tags:
                    self.world.release(channel, each, requeue)

        self.world.step(actions[how], effect)

    def recover(self, who: int) -> None:
        channel = pick([each for each in self.world.free if each.known], who)

        def effect() -> None:
            for tag in channel.known:
                self.world.release(channel, tag, True)
            self.world.due(channel, Basic.RecoverOk)

        self.world.step(lambda: channel.played.do(Basic.Recover, requeue=True), effect)

    # --- the rules ------------------------------------------------------------------------------------------------------

    @rule(
        what=st.sampled_from(["connect", "open", "open", "close", "end", "unknown", "congest", "congest", "rest"]),
        who=NUMBERS, mode=st.sampled_from(MODES), flag=st.booleans(),
    )  # fmt: skip
    def come_and_go(self, what: str, who: int, mode: str, flag: bool) -> None:
        world = self.world
        peers = world.book.peers
        if what == "connect" and len(peers) < 3:
            self.connect(flag)
        elif what == "open" and peers and len(world.channels) < 6:
            self.open_channel(who, mode)
        elif what == "close" and len(world.free) > 2:
            self.close_channel(who)
        elif what == "end" and len(peers) > 1:
            self.end_connection(who, flag)
        elif what == "unknown" and len(world.free) > 2:
            self.settle_an_unknown_tag(who)
        elif what == "congest" and peers:
            self.congest_or_drain(who)
        elif what == "rest":
            self.rest()

    @precondition(lambda self: self.world.free)
    @rule(
        what=st.sampled_from(["declare", "declare", "delete", "purge", "exchange", "delete exchange", "bind", "bind", "unbind"]),
        who=NUMBERS, which=NUMBERS, source=NUMBERS, queue=QUEUES, exchange=EXCHANGES, key=KEYS, durable=st.booleans(), flag=st.booleans(),
        kind=st.sampled_from(["", "", "exclusive", "auto_delete", "single_active"]),
    )  # fmt: skip
    def administer(
        self, what: str, who: int, which: int, source: int, queue: str, exchange: str, key: str, durable: bool, flag: bool, kind: str
    ) -> None:
        world = self.world
        if what == "declare":
            self.declare_queue(who, queue, durable, kind)
        elif what == "exchange":
            self.declare_exchange(who, exchange, "fanout" if flag else "direct", durable, kind == "auto_delete")
        elif what == "delete" and world.queues:
            self.delete_queue(who, which)
        elif what == "purge" and world.queues:
            self.purge(who, which)
        elif what == "delete exchange" and world.exchanges:
            self.delete_exchange(who, which)
        elif what == "bind" and world.exchanges:
            self.bind(who, source, which, key, flag)
        elif what == "unbind" and world.bindings:
            self.unbind(who, which)

    @precondition(lambda self: self.world.free)
    @rule(what=st.sampled_from(["cancel", "qos", "recover"]), who=NUMBERS, count=st.integers(0, 3), shared=st.booleans())
    def adjust(self, what: str, who: int, count: int, shared: bool) -> None:
        if what == "qos":
            self.qos(who, count, shared)
        elif what == "cancel" and self.consumers():
            self.cancel(who)
        elif what == "recover" and any(channel.known for channel in self.world.free):
            self.recover(who)

    @rule(turns=st.integers(0, 2), steps=st.integers(0, 3))
    def run(self, turns: int, steps: int) -> None:
        """So many turns, then so many steps of the disk, or with 3 all of them."""
        for _ in range(turns):
            if not self.turn():
                self.world.check_no_stall()
        if steps == 3:
            self.world.step(self.world.book.sync)
        else:
            for _ in range(steps):
                self.world.step(self.world.book.step)

    @rule()
    def run_a_turn(self) -> None:
        self.run(1, 1)

    def turn(self) -> bool:
        more = False

        def action() -> None:
            nonlocal more
            more = self.world.book.turn()
            more = self.world.book.compact() or more
            outbox = self.world.book.broker.outbox
            assert outbox.ledger._kept is outbox.spill.ledger._kept is None, "a pass of compaction was given up"

        self.world.step(action)
        return more

    def congest_or_drain(self, who: int) -> None:
        peer = pick(self.world.book.peers, who)
        self.world.step(peer.drain if peer.full else peer.congest)

    def rest(self) -> None:
        """All sockets drain, the disk catches up, nobody does anything."""
        world = self.world
        for peer in world.book.peers:
            if peer.full:
                world.step(peer.drain)
        for _ in range(REST_TURNS_MAX):
            more = self.turn()
            if world.book.disk.is_idle and not more:
                break
            world.step(world.book.sync)
        else:
            raise AssertionError("the broker never comes to rest")
        world.check_no_stall()
        world.check_answers()

    @precondition(lambda self: self.world.steps > self.crashed + 25)
    @rule(keep_unsynced=st.booleans(), rested=st.booleans(), mode=st.sampled_from(MODES), prefetch=st.integers(0, 3))
    def crash(self, keep_unsynced: bool, rested: bool, mode: str, prefetch: int) -> None:
        if rested:
            self.rest()
        self.world.crash(keep_unsynced)
        self.crashed = self.world.steps
        self.connect(heavy=False)
        self.open_channel(0, mode)
        self.open_channel(0, "")
        self.furnish(prefetch)

    def teardown(self) -> None:
        self.rest()


COMMON = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)


class TestBoundAgain:
    """The model asks nothing of a binding because of one that was there before, under the same names."""

    @pytest.fixture
    def machine(self) -> BrokerMachine:
        machine = BrokerMachine()
        machine.begin(modes=["", "", ""], heavy=False, prefetch=0, paging=0)
        return machine

    def unbind_last(self, machine: BrokerMachine, who: int) -> None:
        machine.unbind(who, len(machine.world.bindings) - 1)

    @pytest.mark.parametrize("unbind", [False, True])
    def test_from_a_transient_exchange(self, machine: BrokerMachine, unbind: bool) -> None:
        """Its bindings never come back; the durable exchange does, with its own, while nobody was told that it is deleted."""
        machine.delete_exchange(0, 0)
        machine.declare_exchange(1, "x0", "fanout", False, False)
        machine.bind(1, 0, 0, "a", not unbind)
        if unbind:
            self.unbind_last(machine, 1)
        machine.world.crash(keep_unsynced=False)
        bindings = machine.world.book.broker.vhosts["/"].exchanges["x0"].bindings()
        assert [(each.destination.name, each.routing_key) for each in bindings] == [("q0", "a"), ("q1", "a")]

    def test_before_the_first_bind_ok(self, machine: BrokerMachine) -> None:
        machine.bind(0, 0, 0, "b", False)
        machine.turn()
        self.unbind_last(machine, 0)
        machine.turn()
        machine.bind(1, 0, 0, "b", False)
        machine.world.step(machine.world.book.step)
        machine.world.crash(keep_unsynced=False)

    def test_and_unbound_before_the_first_unbind_ok(self, machine: BrokerMachine) -> None:
        machine.bind(0, 0, 0, "b", False)
        machine.rest()
        self.unbind_last(machine, 0)
        machine.turn()
        machine.bind(1, 0, 0, "b", False)
        machine.turn()
        self.unbind_last(machine, 2)
        machine.world.step(machine.world.book.step)
        machine.world.crash(keep_unsynced=False)


def test_the_broker_keeps_its_promises() -> None:
    profile = settings(COMMON, max_examples=500, stateful_step_count=60, derandomize=True, database=None)
    run_state_machine_as_test(BrokerMachine, settings=profile)


@pytest.mark.soak
def test_the_broker_keeps_its_promises_for_long() -> None:
    examples = int(os.environ.get("LEVERET_SOAK_EXAMPLES", "5000"))
    run_state_machine_as_test(BrokerMachine, settings=settings(COMMON, max_examples=examples, stateful_step_count=100))

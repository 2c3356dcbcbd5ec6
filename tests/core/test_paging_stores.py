"""Paged queues and what they lie on: the log, the spill, damage to either, and crashes."""

from __future__ import annotations

import logging
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from broker.runtime import committer
from protocol.methods import Confirm, Queue, Tx
from storage.api import Closed, Corrupt, Failed
from tests.core.deep import (
    ask,
    assert_nothing_left,
    assert_nothing_left_when_settled,
    bodies,
    deliveries,
    drain,
    filled,
    put,
    serve,
    text_of,
    to_cold_head,
    where,
)
from tests.core.playbook import Acked, Got, Nacked, Playbook, PlayedChannel, Returned
from tests.spec import spec

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.usefixtures("deep_queues")


class TestSpill:
    """Where the messages of transient queues go."""

    @pytest.mark.parametrize("exclusive", [False, True])
    def test_there_and_back(self, book: Playbook, channel: PlayedChannel, small_segments: None, exclusive: bool) -> None:
        channel.declare("q", exclusive=exclusive)
        texts = [b"%050d" % number for number in range(30)]
        for body in texts:
            channel.publish("q", body)
            book.settle()
        spill: Any = book.disk.spill()
        assert where(book.queue("q")) == (1, 29, 0)
        assert len(spill.segments()) > 5
        assert book.disk.synced == [], "nothing of it is in the log"
        channel.take()
        channel.consume("q", no_ack=True)
        assert [reply.body for reply in deliveries(book, channel)] == texts
        assert len(spill.segments()) == 1
        assert_nothing_left(book)

    def test_what_was_read_is_dead_there_though_unacked(self, book: Playbook, channel: PlayedChannel, small_segments: None) -> None:
        channel.declare("q")
        for number in range(30):
            channel.publish("q", b"%050d" % number)
            book.settle()
        channel.consume("q")
        assert len(deliveries(book, channel)) == 30
        spill: Any = book.disk.spill()
        assert len(spill.segments()) == 1
        channel.cancel()
        channel.nack(0, multiple=True)
        assert [body for body, _ in drain(book)] == [f"{number:050}" for number in range(30)]
        assert_nothing_left_when_settled(book)

    def test_nothing_of_it_after_a_crash(self, book: Playbook, channel: PlayedChannel) -> None:
        filled(book, channel, durable=False)
        channel.declare("d", durable=True)
        put(book, channel, "d", "abc")
        book.restart()
        assert set(book.broker.vhosts["/"].queues) == {"d"}
        spill: Any = book.disk.spill()
        assert list(spill.scan()) == []
        assert text_of(drain(book, "d")) == "abc"
        assert_nothing_left_when_settled(book)

    def test_exclusive_queues_go_with_their_connection(self, book: Playbook, channel: PlayedChannel, small_segments: None) -> None:
        channel.declare("q", exclusive=True)
        for number in range(20):
            channel.publish("q", b"%050d" % number)
            book.settle()
        channel.publish("q", b"in the tail")
        channel.peer.lose()
        book.settle()
        spill: Any = book.disk.spill()
        assert len(spill.segments()) == 1
        assert_nothing_left(book)

    def test_gone_from_the_tail_before_it_is_written(self, book: Playbook, channel: PlayedChannel) -> None:
        filled(book, channel, "12", durable=False)
        channel.publish("q", b"3")
        book.turn()
        channel.do(Queue.Purge, queue="q")
        channel.publish("q", b"4")
        channel.publish("q", b"5")
        book.settle()
        assert text_of(drain(book)) == "45"
        assert_nothing_left(book)

    def test_a_spill_that_is_behind(self, book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch) -> None:
        """Publishers wait for it as they do for the log: the two are counted together."""
        monkeypatch.setattr(committer, "BEHIND_BYTES", 1000)
        monkeypatch.setattr(committer, "CAUGHT_UP_BYTES", 500)
        core = filled(book, channel, "12", durable=False)
        channel.declare("d", durable=True)
        book.settle()
        assert book.committer.pending_bytes == 0
        for name in ("q", "d"):
            assert not book.committer.is_behind
            channel.publish(name, b"x" * 600)
            book.turn()
        assert book.committer.is_behind and book.committer.pending_bytes > 1200
        assert where(core) == (1, 1, 1)
        book.step()
        assert book.committer.is_behind, "one is written, and with the other it isn't caught up"
        book.step()
        assert not book.committer.is_behind and book.committer.pending_bytes == 0
        assert where(core) == (1, 2, 0)
        assert text_of(drain(book)) == "12" + "x" * 600

    def test_a_spill_that_fails_is_not_waited_for(self, book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(committer, "BEHIND_BYTES", 1000)
        filled(book, channel, "12", durable=False)
        spill: Any = book.disk.spill()
        spill._medium.failure = Failed("no space for it")
        channel.publish("q", b"x" * 1000)
        book.turn()
        channel.publish("q", b"y")
        book.turn()
        assert book.committer.is_behind and not book.committer.spill_failed
        book.sync()
        assert book.committer.spill_failed and not book.committer.is_behind and book.committer.pending_bytes == 0
        assert text_of(drain(book)) == "12" + "x" * 1000 + "y"

    def test_a_spill_that_fails(self, book: Playbook, channel: PlayedChannel) -> None:
        """What was spilled is still read; everything else stays in memory; the log goes on."""
        core = filled(book, channel, "123", durable=False)
        spill: Any = book.disk.spill()
        spill._medium.failure = Failed("no space for it")
        put(book, channel, "q", "456")
        assert where(core) == (1, 2, 3)
        channel.do(Confirm.Select)
        channel.declare("d", durable=True)
        put(book, channel, "d", "abc")
        assert channel.names()[-1] == "ack ..3"
        assert text_of(drain(book)) == "123456"
        put(book, channel, "q", "789")
        assert text_of(drain(book)) == "789"
        assert text_of(drain(book, "d")) == "abc"
        book.settle()
        assert (book.broker.memory.used, book.broker.memory.paging) == (0, 0)


class TestFanOut:
    NAMES = ("deep", "shallow", "transient", "empty", "plain")

    @pytest.fixture
    def fan(self, book: Playbook, channel: PlayedChannel) -> PlayedChannel:
        """Deep queues, durable and not, and ones that are always drained."""
        for name in self.NAMES:
            channel.declare(name, durable=name in ("deep", "shallow"))
            channel.bind(name, "amq.fanout")
        book.settle()
        for name in ("shallow", "empty"):
            book.connect().channel().consume(name, no_ack=True)
        book.settle()
        channel.take()
        return channel

    def test_to_each_its_own_way(self, book: Playbook, fan: PlayedChannel) -> None:
        fan.declare("unbound")
        for body in bodies("123456789"):
            fan.publish("", body, exchange="amq.fanout")
            book.turn()
        book.settle()
        assert {name: where(book.queue(name)) for name in self.NAMES} == {
            "deep": (1, 8, 0),
            "transient": (1, 8, 0),
            "plain": (1, 8, 0),
            "shallow": (0, 0, 0),
            "empty": (0, 0, 0),
        }
        heard = [bytes(reply.body) for peer in book.peers[1:] for reply in peer.take() if hasattr(reply, "body")]
        assert sorted(heard) == sorted(2 * bodies("123456789"))
        for name in ("transient", "deep", "plain"):
            assert text_of(drain(book, name)) == "123456789"
        assert_nothing_left(book)

    def test_over_a_crash(self, book: Playbook, fan: PlayedChannel) -> None:
        for body in bodies("123456789"):
            fan.publish("", body, exchange="amq.fanout")
            fan.publish("", b"t", exchange="amq.fanout", persistent=False)
        book.restart()
        assert set(book.broker.vhosts["/"].queues) == {"deep", "shallow"}
        assert text_of(drain(book, "deep")) == "123456789"
        assert text_of(drain(book, "shallow")) == ""
        assert_nothing_left_when_settled(book)


class TestTransactions:
    def test_published_and_acked_by_commit(self, book: Playbook, channel: PlayedChannel) -> None:
        core = filled(book, channel, "123")
        channel.do(Tx.Select)
        ask(channel)
        ask(channel)
        book.settle()
        channel.take()
        for body in bodies("456"):
            channel.publish("q", body)
        channel.ack(1)
        channel.ack(2)
        assert len(core.ready) == 1
        channel.commit()
        book.settle()
        assert channel.names() == ["Tx.CommitOk"]
        assert core.unacked == 0
        book.restart()
        assert drain(book) == [("3", False), ("4", False), ("5", False), ("6", False)]

    def test_rolled_back(self, book: Playbook, channel: PlayedChannel) -> None:
        core = filled(book, channel, "123")
        channel.do(Tx.Select)
        ask(channel)
        ask(channel)
        channel.publish("q", b"4")
        book.settle()
        channel.ack(2, multiple=True)
        channel.do(Tx.Rollback)
        channel.close()
        book.settle()
        assert core.unacked == 0
        assert drain(book) == [("1", True), ("2", True), ("3", False)]
        assert_nothing_left_when_settled(book)

    @pytest.mark.parametrize("durable", [True, False])
    def test_mandatory(self, book: Playbook, channel: PlayedChannel, durable: bool) -> None:
        filled(book, channel, "12", durable=durable)
        for body in bodies("34"):
            channel.publish("q", body, mandatory=True)
        channel.publish("nobody", b"5", mandatory=True)
        book.settle()
        (returned,) = channel.take()
        assert isinstance(returned, Returned) and returned.body == b"5"
        assert text_of(drain(book)) == "1234"

    def test_confirms_wait_for_the_disk(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.do(Confirm.Select)
        filled(book, channel, "123")
        channel.publish("q", b"4")
        book.turn()
        assert channel.take() == []
        book.sync()
        assert [type(reply) for reply in channel.take()] == [Acked]


def damage(book: Playbook, monkeypatch: pytest.MonkeyPatch, *places: int) -> None:
    """The log's records at these places can't be read."""
    read = book.disk.read

    def damaged(wanted: Sequence[int]) -> list[bytes]:
        if not set(places).isdisjoint(wanted):
            raise Corrupt("a bit flipped")
        return read(wanted)

    monkeypatch.setattr(book.disk, "read", damaged)


class TestDamage:
    @pytest.mark.parametrize("which", [(0,), (3,), (7,), (0, 1, 2), (2, 5), tuple(range(8))])
    @pytest.mark.parametrize("limit", [{}, {"x_max_length_bytes": 100}])
    def test_the_others_are_delivered(
        self,
        book: Playbook,
        channel: PlayedChannel,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        which: tuple[int, ...],
        limit: dict[str, int],
    ) -> None:
        core = filled(book, channel, **limit)
        runs = core.ready.paged.pages.head(1 << 40)
        damage(book, monkeypatch, *[runs[each].place for each in which])
        left = "1" + "".join(letter for number, letter in enumerate("23456789") if number not in which)
        channel.consume("q")
        assert [reply.body for reply in deliveries(book, channel)] == bodies(left)
        texts = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        assert texts == [
            f"1 messages of queue 'q' in vhost '/', from number {runs[each].first_id} on, can't be read and are lost: a bit flipped"
            for each in which
        ]
        assert (core.unacked, len(core.ready), core.body_bytes) == (len(left), 0, len(left))
        channel.nack(0, multiple=True)
        if limit:
            assert core.ready.body_bytes == len(left)
        channel.cancel()
        assert text_of(drain(book)) == left
        assert core.body_bytes == 0
        assert_nothing_left_when_settled(book)
        book.restart()
        assert drain(book) == []

    def test_a_get_that_waits_for_what_is_lost(self, book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch) -> None:
        core = to_cold_head(book, channel, "123")
        damage(book, monkeypatch, *[run.place for run in core.ready.paged.pages.head(1 << 40)])
        ask(channel)
        book.settle()
        assert channel.names() == ["Basic.GetEmpty"]
        assert len(core.ready) == 0
        assert_nothing_left(book)

    def test_copied_elsewhere_while_it_is_read(self, book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the reader says for Closed: the queue asks again, and nothing is lost."""
        core = to_cold_head(book, channel)
        ask(channel)
        serve(book)
        (load,) = book.broker.outbox.loads
        with monkeypatch.context() as patch:

            def closed(_: Sequence[int]) -> list[bytes]:
                raise Closed("the log holds no such position any more")

            patch.setattr(book.disk, "read", closed)
            with pytest.raises(Closed):
                load.read(book.disk.log)
        book.broker.outbox.loads.clear()
        core.loaded(load, None)
        assert channel.take() == []
        book.settle()
        assert channel.names() == ["2"]
        assert text_of(drain(book)) == "3456789"

    def test_a_log_that_fails(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        """Nothing more is written: what comes in stays in memory, behind what was written."""
        core = filled(book, channel, "1234")
        channel.do(Confirm.Select)
        book.disk.fail()
        channel.take()
        put(book, channel, "q", "567")
        assert sorted(reply.tag for reply in channel.take() if isinstance(reply, Nacked)) == [1, 2, 3]
        assert where(core) == (1, 3, 3)
        other.consume("q", no_ack=True)
        assert [reply.body for reply in deliveries(book, other)] == bodies("1234567")
        put(book, channel, "q", "89")
        assert [reply.body for reply in deliveries(book, other)] == bodies("89")
        assert (book.broker.memory.used, book.broker.memory.paging) == (0, 0)


class TestRecovered:
    @spec("6.4", "redelivered from the second delivery on")
    @pytest.mark.parametrize("fates", list(product(["out", "back", "twice", "acked"], repeat=3)), ids="-".join)
    def test_flags_and_counts(self, book: Playbook, channel: PlayedChannel, fates: tuple[str, ...]) -> None:
        """Three of five were delivered, and then acked, kept, or requeued once or twice."""
        core = filled(book, channel, "12345")
        for _ in fates:
            channel.get("q")
        tags = [reply.tag for reply in channel.take() if isinstance(reply, Got)]
        for number, fate in enumerate(fates):
            if fate == "twice":
                channel.reject(tags[number])
                channel.get("q")
                (got,) = channel.take()
                assert isinstance(got, Got) and got.body == b"%d" % (number + 1)
                tags[number] = got.tag
        for number, fate in enumerate(fates):
            if fate == "acked":
                channel.ack(tags[number])
            elif fate != "out":
                channel.reject(tags[number])
        book.restart()
        counts = {number: {"back": 1, "twice": 2}[fate] for number, fate in enumerate(fates, 1) if fate in ("back", "twice")}
        core = book.queue("q")
        assert core.delivery_counts == counts
        assert len(core.ready) == 5 - fates.count("acked")
        new = book.connect().channel()
        put(book, new, "q", "6")
        for _ in range(2):
            new.get("q")
        new.nack(0, multiple=True)
        book.restart()
        for number in [number for number, fate in enumerate([*fates, "", "", ""], 1) if fate != "acked"][:2]:
            counts[number] = counts.get(number, 0) + 1
        assert book.queue("q").delivery_counts == counts
        known = {number for number, fate in enumerate(fates, 1) if fate != "acked"} | set(counts)
        assert drain(book) == [(str(number), number in known) for number in range(1, 7) if fates[number - 1 : number] != ("acked",)]
        assert book.queue("q").delivery_counts == {}
        assert_nothing_left_when_settled(book)

    @pytest.mark.parametrize("how", ["drain", "purge", "delete", "drain and purge", "get and delete"])
    def test_nothing_left_after_a_crash(self, book: Playbook, channel: PlayedChannel, how: str) -> None:
        filled(book, channel)
        channel.consume("q")
        book.settle()
        channel.acks(2, 4)
        channel.nack(5, multiple=True)
        book.crash()
        channel = book.connect().channel()
        put(book, channel, "q", "abc")
        if how == "drain":
            drain(book)
        elif how == "drain and purge":
            channel.qos(3)
            channel.consume("q")
            book.settle()
            channel.cancel()
            channel.do(Queue.Purge, queue="q")
            channel.ack(0, multiple=True)
        elif how == "get and delete":
            channel.get("q")
            channel.get("q")
            channel.do(Queue.Delete, queue="q")
            channel.ack(1)
            channel.reject(2)
        else:
            channel.do(Queue.Purge if how == "purge" else Queue.Delete, queue="q")
        book.settle()
        assert_nothing_left(book)
        book.restart()
        if "delete" not in how:
            assert drain(book) == []
        assert_nothing_left(book)

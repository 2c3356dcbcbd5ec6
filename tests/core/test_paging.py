"""Queues too deep for memory: out of it, and back into it, in order and counted (docs/architecture.md, "The log")."""

from __future__ import annotations

from typing import Any

import pytest

from broker.core.pages import Pages
from broker.core.ready import Ready
from protocol.content import Properties, encode_properties
from protocol.methods import Basic, Confirm, Queue
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
from tests.core.playbook import Acked, Delivered, Got, Nacked, Playbook, PlayedChannel

pytestmark = pytest.mark.usefixtures("deep_queues")


# --- order


class TestOrder:
    def test_what_comes_in_goes_to_the_tail_and_then_to_the_log(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.declare("q", durable=True)
        for body in b"1234":
            channel.publish("q", bytes([body]))
        core = book.queue("q")
        assert where(core) == (1, 0, 3)
        book.turn()
        assert where(core) == (1, 0, 3), "not in the log yet"
        book.sync()
        assert where(core) == (1, 3, 0)
        channel.publish("q", b"5")
        assert where(core) == (1, 3, 1)
        assert len(core.ready) == 5

    @pytest.mark.parametrize("durable", [True, False])
    def test_memory_then_pages_then_tail(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel, durable: bool) -> None:
        core = filled(book, channel, "12345", durable=durable)
        put(book, channel, "q", "678")
        channel.publish("q", b"9")
        assert where(core) == (1, 7, 1)
        other.consume("q", no_ack=True)
        assert text_of([(str(reply.body, "ascii"), False) for reply in deliveries(book, other)]) == "123456789"
        assert core.ready.paged is None
        assert_nothing_left(book)

    def test_a_run_of_like_messages_is_one_run(self, book: Playbook, channel: PlayedChannel) -> None:
        core = filled(book, channel, "1")
        channel.publish("q", *bodies("2345"))
        book.settle()
        assert core.ready.paged.pages.runs == 1
        assert text_of(drain(book)) == "12345"

    def test_a_run_of_messages_with_headers_of_their_own(self, book: Playbook, channel: PlayedChannel) -> None:
        core = filled(book, channel, "1")
        headers = [encode_properties(Properties(delivery_mode=2, message_id=str(number)), 1) for number in (2, 3, 4)]
        channel.publish_run("q", headers, bodies("234"))
        book.settle()
        assert where(core) == (1, 3, 0)
        assert [message[2] for message in book.waiting(core)[0]][1:] == headers
        assert text_of(drain(book)) == "1234"

    def test_publishers_and_a_slow_consumer(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        core = filled(book, channel, "123")
        other.qos(2)
        other.consume("q")
        heard: list[bytes] = []
        for body in "456789":
            channel.publish("q", body.encode())
            book.settle()
            replies = [reply for reply in other.take() if isinstance(reply, Delivered)]
            heard += [reply.body for reply in replies]
            other.acks(*[reply.tag for reply in replies][:1])
        assert core.ready.paged is not None
        book.settle()
        other.ack(0, multiple=True)
        while replies := deliveries(book, other):
            heard += [reply.body for reply in replies]
            other.ack(0, multiple=True)
        assert heard == bodies("123456789")
        book.settle()
        assert_nothing_left(book)

    def test_many_turns_of_reading(self, book: Playbook, channel: PlayedChannel) -> None:
        """Never more than it asked for is in memory, however much is in the log."""
        core = filled(book, channel, "1" * 40)
        serve(book)
        assert not book.broker.outbox.loads, "nobody wants it"
        ask(channel, no_ack=True)
        most = 0
        for _ in range(39):
            ask(channel, no_ack=True)
            book.turn()
            most = max(most, where(core)[0])
        assert 0 < most <= 4
        assert_nothing_left_when_settled(book)


class TestRequeue:
    """Contract 6.5: to the exact old position."""

    def test_a_lower_id_goes_before_the_pages(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        core = filled(book, channel)
        channel.get("q")
        (got,) = channel.take()
        assert isinstance(got, Got)
        assert core.is_cold
        channel.reject(got.tag)
        assert core.available() == 1
        serve(book)
        assert not book.broker.outbox.loads
        assert drain(book)[:2] == [("1", True), ("2", False)]

    def test_a_higher_id_waits_behind_the_pages(self, book: Playbook, channel: PlayedChannel) -> None:
        """A message can only have been delivered after those before it came into memory, unless they came back: none may pass the pages."""
        core = filled(book, channel)
        for _ in range(5):
            channel.get("q")
        assert [reply.body for reply in channel.take() if isinstance(reply, Got)] == bodies("12345")
        first = core.ready.paged.pages.first_id if core.ready.paged else None
        channel.nack(5, multiple=True)
        assert core.ready.returned[0][0] == 1 and (first is None or first > 5)
        found = drain(book)
        assert found == [(str(number), number <= 5) for number in range(1, 10)]

    def test_a_higher_id_is_not_available(self) -> None:
        """As the structure sees it, however it came about."""
        ready, pages = Ready(), Pages()
        pages.append(5, 3, 1, 100)
        ready.restore({0: pages})
        ready.give_back([(7, b"", b"", b"7")])
        assert (len(ready), ready.available) == (4, 0)
        ready.give_back([(4, b"", b"", b"4"), (6, b"", b"", b"6")])
        assert ready.available > 0
        assert ready.take(5) == (True, [(4, b"", b"", b"4")])
        assert ready.available == 0

    def test_what_was_delivered_before_the_crash_comes_between_what_was_not(self, book: Playbook, channel: PlayedChannel) -> None:
        filled(book, channel, "12345")
        channel.consume("q")
        book.settle()
        channel.acks(1, 3)
        book.restart()
        channel = book.connect().channel()
        put(book, channel, "q", "67")
        channel.get("q")
        channel.get("q")
        channel.reject(2)
        channel.reject(1)
        assert drain(book) == [("2", True), ("4", True), ("5", True), ("6", False), ("7", False)]
        assert_nothing_left_when_settled(book)

    def test_all_of_it_again_and_again(self, book: Playbook, channel: PlayedChannel) -> None:
        filled(book, channel)
        for times in range(3):
            channel.consume("q", tag=str(times))
            replies = deliveries(book, channel)
            assert [(reply.body, reply.redelivered) for reply in replies] == [(body, times > 0) for body in bodies("123456789")]
            channel.cancel(str(times))
            channel.nack(0, multiple=True)
            book.settle()
            channel.take()
        channel.do(Queue.Purge, queue="q")
        assert_nothing_left_when_settled(book)


# --- basic.get at a cold head


class TestGet:
    def test_pipelined(self, book: Playbook, channel: PlayedChannel) -> None:
        """Answered in order, each with the count behind it and the next tag."""
        to_cold_head(book, channel)
        for _ in range(3):
            ask(channel)
        assert channel.take() == []
        serve(book)
        book.read()
        serve(book)
        book.read()
        assert [(reply.body, reply.tag, reply.left) for reply in channel.take() if isinstance(reply, Got)] == [
            (b"2", 2, 7),
            (b"3", 3, 6),
            (b"4", 4, 5),
        ]

    def test_other_replies_stay_behind_it(self, book: Playbook, channel: PlayedChannel) -> None:
        to_cold_head(book, channel)
        ask(channel)
        channel.do(Basic.Qos, prefetch_count=1)
        channel.declare("r", durable=True)
        ask(channel)
        channel.do(Basic.Qos, prefetch_count=2)
        serve(book)
        book.sync()
        assert channel.take() == []
        book.read()
        assert channel.names() == ["2", "Basic.QosOk", "Queue.DeclareOk", "3", "Basic.QosOk"]

    def test_a_durable_reply_in_front_of_it(self, book: Playbook, channel: PlayedChannel) -> None:
        """The head is there before the disk is: the order stays."""
        to_cold_head(book, channel)
        channel.declare("r", durable=True)
        ask(channel)
        channel.do(Basic.Qos, prefetch_count=1)
        book.turn()
        assert channel.take() == []
        book.sync()
        assert channel.names() == ["Queue.DeclareOk", "2", "Basic.QosOk"]

    def test_other_channels_do_not_wait(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        to_cold_head(book, channel)
        ask(channel)
        other.do(Basic.Qos, prefetch_count=1)
        assert other.names() == ["Basic.QosOk"]

    def test_the_queue_is_purged(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        to_cold_head(book, channel)
        ask(channel)
        serve(book)
        other.do(Queue.Purge, queue="q")
        assert channel.names() == ["Basic.GetEmpty"]
        book.settle()
        (purged,) = other.take()
        assert purged.method.message_count == 8  # type: ignore[union-attr]
        assert channel.take() == []
        assert_nothing_left(book)

    def test_the_queue_is_deleted(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        to_cold_head(book, channel)
        ask(channel)
        serve(book)
        other.do(Queue.Delete, queue="q")
        book.settle()
        assert channel.names() == ["Basic.GetEmpty"]
        assert_nothing_left(book)

    @pytest.mark.parametrize("reading", [True, False])
    def test_the_channel_closes(self, book: Playbook, channel: PlayedChannel, reading: bool) -> None:
        """The message stays, and close-ok comes."""
        core = to_cold_head(book, channel)
        ask(channel)
        if reading:
            serve(book)
        channel.close()
        book.settle()
        assert channel.names() == ["Channel.CloseOk"]
        assert (len(core.ready), core.unacked) == (8, 0)
        assert text_of(drain(book)) == "23456789"

    def test_the_channel_is_closed_by_an_error(self, book: Playbook, channel: PlayedChannel) -> None:
        to_cold_head(book, channel)
        ask(channel)
        channel.do(Queue.Declare, queue="none", passive=True)
        book.settle()
        assert channel.names() == ["Channel.Close"]

    @pytest.mark.parametrize("politely", [True, False])
    def test_the_connection_ends(self, book: Playbook, channel: PlayedChannel, politely: bool) -> None:
        core = to_cold_head(book, channel)
        ask(channel)
        serve(book)
        (channel.peer.close if politely else channel.peer.lose)()
        book.settle()
        assert channel.take() == []
        assert not core.getters
        assert text_of(drain(book)) == "23456789"

    def test_everybody_asks(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        """Each channel in its order, to the last message and beyond."""
        to_cold_head(book, channel, "1234")
        for _ in range(2):
            ask(channel)
            ask(other)
        book.settle()
        assert (channel.names(), other.names()) == (["2", "3"], ["4", "Basic.GetEmpty"])

    def test_a_message_comes_back_to_the_head_meanwhile(self, book: Playbook, channel: PlayedChannel) -> None:
        """Tags rise, and who asked first has the lowest message."""
        core = filled(book, channel)
        ask(channel)
        ask(channel)
        channel.reject(1)
        ask(channel)
        book.settle()
        assert core.unacked == 2
        assert [(reply.body, reply.tag) for reply in channel.take() if isinstance(reply, Got)] == [(b"1", 1), (b"1", 2), (b"2", 3)]

    def test_a_consumer_is_there_too(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        to_cold_head(book, channel)
        ask(channel)
        other.qos(1)
        other.consume("q")
        book.settle()
        assert channel.names() + other.names()[2:] in (["2", "3"], ["3", "2"])


# --- purge, delete, limits


class TestGone:
    @pytest.mark.parametrize("durable", [True, False])
    @pytest.mark.parametrize("how", [Queue.Purge, Queue.Delete])
    def test_counted_and_the_space_returns(
        self, book: Playbook, channel: PlayedChannel, small_segments: None, durable: bool, how: type[Any]
    ) -> None:
        channel.declare("q", durable=durable)
        for number in range(20):
            channel.publish("q", b"%050d" % number)
            book.settle()
        channel.get("q")
        channel.publish("q", b"in the tail")
        channel.take()
        source: Any = book.disk if durable else book.disk.spill()
        assert len(source.segments()) > 3
        core = book.queue("q")
        assert len(core.ready) == 20
        channel.do(how, queue="q")
        book.settle()
        (reply,) = channel.take()
        assert reply.method.message_count == 20  # type: ignore[union-attr]
        channel.ack(1)
        book.settle()
        assert len(source.segments()) <= 2
        assert_nothing_left(book)

    def test_purged_while_reading(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        core = to_cold_head(book, channel)
        other.consume("q")
        serve(book)
        assert book.broker.outbox.loads
        channel.do(Queue.Purge, queue="q")
        put(book, channel, "q", "abc")
        assert [reply.body for reply in deliveries(book, other)] == bodies("abc")
        assert len(core.ready) == 0

    def test_not_back_after_a_crash(self, book: Playbook, channel: PlayedChannel) -> None:
        filled(book, channel)
        channel.do(Queue.Purge, queue="q")
        put(book, channel, "q", "abc")
        book.restart()
        assert text_of(drain(book)) == "abc"
        assert_nothing_left_when_settled(book)


class TestLimits:
    @pytest.mark.parametrize("durable", [True, False])
    @pytest.mark.parametrize("limit", [{"x_max_length": 4}, {"x_max_length_bytes": 4}])
    def test_drop_head(self, book: Playbook, channel: PlayedChannel, limit: dict[str, int], durable: bool) -> None:
        core = filled(book, channel, "123456789", durable=durable, **limit)
        assert book.ready("q") == bodies("6789")
        for body in "abcdefgh":
            put(book, channel, "q", body)
            assert len(core.ready) == 4
        if durable:
            book.restart()
        assert text_of(drain(book)) == "efgh"
        assert_nothing_left_when_settled(book)

    @pytest.mark.parametrize("limit", [{"x_max_length": 4}, {"x_max_length_bytes": 4}])
    def test_reject_publish(self, book: Playbook, channel: PlayedChannel, limit: dict[str, int]) -> None:
        channel.do(Confirm.Select)
        filled(book, channel, "", x_overflow="reject-publish", **limit)
        put(book, channel, "q", "123456")
        replies = channel.take()
        assert sorted(reply.tag for reply in replies if isinstance(reply, Nacked)) == [5, 6]
        assert max(reply.tag for reply in replies if isinstance(reply, Acked)) == 4
        assert where(book.queue("q"))[1] == 3
        channel.get("q", no_ack=True)
        put(book, channel, "q", "78")
        assert text_of(drain(book)) == "2347"
        assert_nothing_left_when_settled(book)

    @pytest.mark.parametrize("count", [2, 4, 5])
    def test_dropped_while_it_is_read(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel, count: int) -> None:
        """Somebody was about to have the head: part of it, or all that there was."""
        core = to_cold_head(book, channel, "1234", x_max_length=4)
        ask(other)
        serve(book)
        assert book.broker.outbox.loads
        for body in "abcde"[:count]:
            channel.publish("q", body.encode())
        serve(book)
        assert len(core.ready) + core.unacked == 4
        book.settle()
        everything = "234abcde"[: 3 + count]
        assert other.names() == [everything[-4]]
        assert text_of(drain(book)) == everything[-3:]
        assert_nothing_left_when_settled_by(book, other)

    def test_dropped_before_it_is_read(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        to_cold_head(book, channel, "1234", x_max_length=4)
        ask(other)
        for body in "abcd":
            channel.publish("q", body.encode())
        book.settle()
        assert other.names() == ["a"]


def assert_nothing_left_when_settled_by(book: Playbook, channel: PlayedChannel) -> None:
    channel.ack(0, multiple=True)
    assert_nothing_left_when_settled(book)


class TestManyQueues:
    def test_what_all_ask_for_at_once_fits(self, book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch) -> None:
        """Twenty queues become cold in one turn: one of them may read at length, and then memory is spoken for."""
        names = [f"q{number}" for number in range(20)]
        for name in names:
            channel.declare(name, durable=True)
            put(book, channel, name, "0123456789abcdefghij")
        book.restart()
        memory = book.broker.memory
        memory.paging_bytes = memory.used + 300
        readers = [book.connect().channel() for _ in names]
        for name, reader in zip(names, readers, strict=True):
            reader.consume(name, no_ack=True)
        with monkeypatch.context() as patch:
            patch.setattr(book, "read", lambda: None)
            serve(book)
        loads = book.broker.outbox.loads
        assert [len(load.runs) for load in loads] == [20, *[2] * 19]
        assert memory.loading == sum(load.size for load in loads)
        for name, reader in zip(names, readers, strict=True):
            assert b"".join(reply.body for reply in deliveries(book, reader)) == b"0123456789abcdefghij", name
        assert_nothing_left(book)

"""Contract 7.1 and 7.2: when messages and queues expire."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.methods import Basic, Queue, Tx
from tests.core.deep import drain as consumed
from tests.core.deep import text_of, where
from tests.core.playbook import Playbook, PlayedChannel
from tests.spec import spec

HOUR_MS = 3_600_000


def declared(book: Playbook, channel: PlayedChannel, name: str = "q", *, durable: bool = False, **arguments: Any) -> Any:
    table = {key.replace("_", "-"): value for key, value in arguments.items()}
    channel.declare(name, durable=durable, arguments=table)
    book.settle()
    channel.take()
    return book.queue(name)


class TestMessages:
    """x-message-ttl and the expiration property."""

    @spec("7.1", "exact to 10 ms")
    def test_the_queues_time(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel, x_message_ttl=1000)
        channel.publish("q", b"1")
        book.settle()
        book.advance(500)
        channel.publish("q", b"2")
        book.settle()
        book.advance(499)
        assert book.ready("q") == [b"1", b"2"]
        book.advance(1)
        assert book.ready("q") == [b"2"]
        book.advance(500)
        assert book.ready("q") == []
        assert book.broker.timers.live == 0

    def test_a_timer_is_one_per_queue(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel)
        for number in range(100):
            channel.publish("q", b"1", expiration=str(1000 + number))
        book.settle()
        assert book.broker.timers.live == 1
        book.advance(1050)
        assert len(book.ready("q")) == 49
        assert book.broker.timers.live == 1

    @spec("7.1", "the lower of per-queue and per-message")
    @pytest.mark.parametrize(("queue", "message", "lives"), [(100, "50", 50), (50, "100", 50), (None, "70", 70)])
    def test_the_lower_counts(self, book: Playbook, channel: PlayedChannel, queue: int | None, message: str, lives: int) -> None:
        declared(book, channel, **({} if queue is None else {"x_message_ttl": queue}))
        channel.publish("q", b"1", expiration=message)
        book.settle()
        book.advance(lives - 1)
        assert book.ready("q") == [b"1"]
        book.advance(1)
        assert book.ready("q") == []

    @spec("7.1", "looked at from the head only (a live head shields what expires behind it)")
    def test_behind_a_live_head(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel)
        channel.publish("q", b"1")
        channel.publish("q", b"2", expiration="10")
        channel.publish("q", b"3")
        book.settle()
        book.advance(HOUR_MS)
        assert book.ready("q") == [b"1", b"2", b"3"]
        channel.get("q", no_ack=True)
        book.settle()
        assert book.ready("q") == [b"3"]

    @spec("7.1", "Leveret never delivers an expired message")
    def test_one_that_expired_between_two_that_live_is_not_delivered(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel)
        for body, expiration in ((b"1", None), (b"2", "10"), (b"3", None), (b"4", "10"), (b"5", "10000")):
            channel.publish("q", body, expiration=expiration)
        book.settle()
        book.advance(20)
        channel.consume("q", no_ack=True)
        book.settle()
        assert channel.names() == ["Basic.ConsumeOk", "1", "3", "5"]

    @spec("7.1", "0 = only to a consumer that takes it at once")
    def test_zero(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        declared(book, channel, x_message_ttl=0)
        channel.publish("q", b"1")
        book.settle()
        assert book.ready("q") == []
        other.qos(1)
        other.consume("q")
        book.settle()
        other.take()
        channel.publish("q", b"2")
        channel.publish("q", b"3")
        book.turn()
        assert other.bodies() == [b"2"]
        assert book.ready("q") == []

    def test_zero_waits_for_a_connection_that_had_its_share(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        declared(book, channel, x_message_ttl=0)
        other.consume("q", no_ack=True)
        book.settle()
        other.take()
        body = b"x" * 100_000
        channel.publish("q", body, body, body, body, body)
        book.settle()
        assert len(other.bodies()) == 5

    def test_a_requeued_message_keeps_its_time(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel, x_message_ttl=1000)
        channel.publish("q", b"1")
        book.settle()
        channel.get("q")
        book.advance(999)
        channel.take()
        channel.nack(1)
        book.settle()
        assert book.ready("q") == [b"1"]
        book.advance(1)
        assert book.ready("q") == []

    def test_one_that_is_out_on_lease_does_not_expire(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel, x_message_ttl=10)
        channel.publish("q", b"1")
        book.settle()
        channel.get("q")
        book.advance(60_000)
        assert book.queue("q").unacked == 1
        channel.nack(1)
        book.settle()
        assert (book.ready("q"), book.queue("q").unacked) == ([], 0)

    def test_a_get_never_gives_what_expired_while_no_timer_ran(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel, x_message_ttl=10)
        channel.publish("q", b"1")
        book.settle()
        book.now_ms += 10
        channel.get("q")
        assert channel.names() == ["Basic.GetEmpty"]

    def test_64_bits(self, book: Playbook, channel: PlayedChannel) -> None:
        """Celery's longest delay is 2^27 s."""
        declared(book, channel, x_message_ttl=(1 << 27) * 1000)
        channel.publish("q", b"1")
        book.settle()
        book.advance((1 << 27) * 1000 - 1)
        assert book.ready("q") == [b"1"]
        book.advance(1)
        assert book.ready("q") == []

    def test_many_that_expire_together_do_not_hold_up_the_turn(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel, x_message_ttl=10)
        for _ in range(12):
            channel.publish("q", *[b"1"] * 1000)
        book.settle()
        book.now_ms += 10
        book.broker.run_timers()
        assert book.turn()
        assert len(book.ready("q")) == 7000
        book.settle()
        assert book.ready("q") == []

    def test_a_transactions_messages_live_from_the_commit(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel)
        channel.call(Tx.Select)
        channel.publish("q", b"1", expiration="10")
        book.advance(100)
        channel.call(Tx.Commit)
        assert book.ready("q") == [b"1"]
        book.advance(10)
        assert book.ready("q") == []

    def test_a_purge_or_a_delete_leaves_no_timer(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel, x_message_ttl=10)
        channel.publish("q", b"1")
        book.settle()
        channel.call(Queue.Delete, queue="q")
        assert book.broker.timers.live == 0

    def test_a_queue_without_any_has_nothing_of_it(self, book: Playbook, channel: PlayedChannel) -> None:
        queue = declared(book, channel)
        channel.publish("q", b"1")
        book.settle()
        assert queue.message_expiry is None and queue.expiry is None


class TestDead:
    """What has expired is a dead letter."""

    def test_it_goes_on_and_leaves_the_expiration(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel, "dead")
        declared(book, channel, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
        channel.publish("q", b"1", expiration="10")
        book.settle()
        book.advance(10)
        assert (book.ready("q"), book.ready("dead")) == ([], [b"1"])
        book.advance(HOUR_MS)
        assert book.ready("dead") == [b"1"]

    def test_a_chain_of_delays(self, book: Playbook, channel: PlayedChannel) -> None:
        """What Celery's delayed delivery is made of."""
        declared(book, channel, "q0")
        for level in range(1, 20):
            arguments = {"x_message_ttl": (1 << level) * 1000, "x_dead_letter_exchange": "", "x_dead_letter_routing_key": f"q{level - 1}"}
            declared(book, channel, f"q{level}", durable=True, **arguments)
        channel.publish("q19", b"1")
        book.settle()
        book.advance(((1 << 20) - 2) * 1000 - 1)
        assert (book.ready("q1"), book.ready("q0")) == ([b"1"], [])
        book.advance(1)
        assert book.ready("q0") == [b"1"]


class TestDurable:
    """Deadlines survive a restart: they are counted from the publish."""

    def test_the_queues_time_goes_on(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel, durable=True, x_message_ttl=1000)
        channel.publish("q", b"1")
        book.settle()
        book.advance(600)
        channel.publish("q", b"2")
        book.restart()
        book.settle()
        book.advance(399)
        assert book.ready("q") == [b"1", b"2"]
        book.advance(1)
        assert book.ready("q") == [b"2"]
        book.advance(600)
        assert book.ready("q") == []

    def test_a_messages_own_time_goes_on(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel, durable=True)
        channel.publish("q", b"1", expiration="1000")
        channel.publish("q", b"2")
        book.restart()
        book.settle()
        book.advance(999)
        assert book.ready("q") == [b"1", b"2"]
        book.advance(1)
        assert book.ready("q") == [b"2"]

    def test_over_while_the_broker_was_down(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel, "dead", durable=True)
        declared(book, channel, durable=True, x_message_ttl=1000, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
        channel.publish("q", b"1")
        book.restart()
        book.now_ms += HOUR_MS
        book.settle()
        assert (book.ready("q"), book.ready("dead")) == ([], [b"1"])

    def test_a_plain_queue_is_not_read_at_the_start(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel, durable=True)
        channel.publish("q", b"1")
        book.restart()
        book.settle()
        assert where(book.queue("q")) == (0, 1, 0)

    def test_copied_by_compaction(self, book: Playbook, channel: PlayedChannel, small_segments: None, monkeypatch: Any) -> None:
        monkeypatch.setattr("broker.core.ledger.SLACK_BYTES", 0)
        declared(book, channel, durable=True)
        declared(book, channel, "flow", durable=True)
        channel.publish("q", b"1", expiration="100000")
        book.settle()
        first = book.disk.segments()[0]
        for _ in range(60):
            channel.publish("flow", b"x" * 50)
            channel.get("flow", no_ack=True)
            book.settle()
            while book.compact():
                book.settle()
        assert book.disk.segments()[0] != first
        book.restart()
        book.settle()
        book.advance(99_999)
        assert book.ready("q") == [b"1"]
        book.advance(1)
        assert book.ready("q") == []


@pytest.mark.usefixtures("deep_queues")
class TestPaged:
    """Messages that are on the disk only."""

    @pytest.mark.parametrize("durable", [True, False])
    def test_they_expire_in_their_time(self, book: Playbook, channel: PlayedChannel, durable: bool) -> None:
        queue = declared(book, channel, durable=durable, x_message_ttl=1000)
        for number in range(9):
            channel.publish("q", b"%d" % number)
            book.settle()
            book.advance(10)
        assert where(queue)[1] > 0
        book.advance(909)
        assert text_of(consumed(book)) == "012345678"

    @pytest.mark.parametrize("durable", [True, False])
    def test_the_head_is_read_to_expire(self, book: Playbook, channel: PlayedChannel, durable: bool) -> None:
        declared(book, channel, durable=durable, x_message_ttl=1000)
        for number in range(9):
            channel.publish("q", b"%d" % number)
            book.settle()
            book.advance(10)
        for left in range(8, -1, -1):
            book.advance(10 if left < 8 else 910)
            assert len(book.ready("q")) == left
        assert book.broker.timers.live == 0
        assert len(book.queue("q").message_expiry._deadlines) == 0

    def test_own_times(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel)
        for number in range(9):
            channel.publish("q", b"%d" % number, expiration=str(100 * (9 - number)))
            book.settle()
        book.advance(899)
        assert len(book.ready("q")) == 9, "the first shields the others"
        book.advance(1)
        assert book.ready("q") == []


class TestQueues:
    """x-expires."""

    def test_unused(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel, x_expires=1000)
        channel.publish("q", b"1")
        book.settle()
        book.advance(999)
        assert "q" in book.broker.vhosts["/"].queues
        book.advance(1)
        assert "q" not in book.broker.vhosts["/"].queues

    @pytest.mark.parametrize("use", ["get", "declare", "passive"])
    def test_a_use_begins_it_anew(self, book: Playbook, channel: PlayedChannel, use: str) -> None:
        declared(book, channel, x_expires=1000)
        book.advance(900)
        if use == "get":
            channel.do(Basic.Get, queue="q")
        else:
            channel.declare("q", arguments={"x-expires": 1000}, passive=use == "passive")
        book.settle()
        book.advance(999)
        assert "q" in book.broker.vhosts["/"].queues
        book.advance(1)
        assert "q" not in book.broker.vhosts["/"].queues

    def test_a_consumer_keeps_it_and_its_end_begins_it_anew(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel, x_expires=1000)
        channel.consume("q")
        book.settle()
        book.advance(HOUR_MS)
        channel.cancel()
        book.settle()
        book.advance(999)
        assert "q" in book.broker.vhosts["/"].queues
        book.advance(1)
        assert "q" not in book.broker.vhosts["/"].queues
        assert book.broker.timers.live == 0

    @spec("7.2", "its messages are not dead-lettered")
    def test_no_dead_letters(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel, "dead")
        declared(book, channel, x_expires=1000, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
        channel.publish("q", b"1")
        book.settle()
        book.advance(1000)
        assert book.ready("dead") == []

    def test_durable_ones_begin_anew_with_a_start(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel, durable=True, x_expires=1000)
        book.advance(900)
        book.restart()
        book.advance(999)
        assert "q" in book.broker.vhosts["/"].queues
        book.advance(1)
        assert "q" not in book.broker.vhosts["/"].queues
        book.restart()
        assert "q" not in book.broker.vhosts["/"].queues

    def test_one_that_was_deleted_does_not_take_the_next_of_its_name_along(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel, durable=True, x_expires=1000)
        channel.consume("q")
        book.settle()
        channel.do(Queue.Delete, queue="q")
        book.settle()
        assert book.broker.timers.live == 0
        declared(book, channel, durable=True)
        channel.publish("q", b"1")
        book.settle()
        book.advance(1000)
        assert book.ready("q") == [b"1"]
        book.restart()
        assert book.ready("q") == [b"1"]

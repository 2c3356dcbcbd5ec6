"""Contract 6.7: who doesn't ack in time loses the channel."""

from __future__ import annotations

import pytest

from protocol.methods import Tx
from tests.core.playbook import Playbook, PlayedChannel
from tests.spec import spec

TEXT = (
    "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: {} ms. "
    "This timeout value can be configured, see consumers doc guide to learn more"
)
HALF_AN_HOUR_MS = 1_800_000


def one_out(book: Playbook, channel: PlayedChannel, how: str = "consume", timeout: int | None = None) -> None:
    """A delivery that nobody acks yet."""
    channel.declare("q", arguments={} if timeout is None else {"x-consumer-timeout": timeout})
    channel.publish("q", b"1")
    if how == "consume":
        channel.consume("q")
    else:
        channel.get("q")
    book.settle()
    channel.take()


@spec("6.7", "30 min, checked against the oldest unacked, gets included: 406, and it goes back")
@pytest.mark.parametrize("how", ["consume", "get"])
def test_half_an_hour(book: Playbook, channel: PlayedChannel, how: str) -> None:
    one_out(book, channel, how)
    book.advance(HALF_AN_HOUR_MS)
    assert channel.take() == []
    book.advance(2000)
    assert channel.refusal() == (406, TEXT.format(HALF_AN_HOUR_MS))
    assert book.ready("q") == [b"1"]


@spec("6.7", "global, policy, x-consumer-timeout, the lower wins")
@pytest.mark.parametrize(("own", "broker", "used"), [(10_000, 20_000, 10_000), (20_000, 10_000, 10_000), (5_000, None, 5_000)])
def test_the_lower_counts(book: Playbook, channel: PlayedChannel, own: int, broker: int | None, used: int) -> None:
    book.broker.consumer_timeout.limit_ms = broker
    one_out(book, channel, timeout=own)
    book.advance(used)
    assert channel.take() == []
    book.advance(2000)
    assert channel.refusal() == (406, TEXT.format(used))


def test_none(book: Playbook, channel: PlayedChannel) -> None:
    book.broker.consumer_timeout.limit_ms = None
    one_out(book, channel)
    book.advance(10 * HALF_AN_HOUR_MS)
    assert channel.take() == []


def test_an_ack_ends_it_and_the_next_one_counts_from_its_own_delivery(book: Playbook, channel: PlayedChannel) -> None:
    one_out(book, channel, timeout=10_000)
    book.advance(8_000)
    channel.publish("q", b"2")
    book.settle()
    channel.ack(1)
    book.settle()
    channel.take()
    book.advance(9_000)
    assert channel.take() == []
    book.advance(4_000)
    assert channel.refusal()[0] == 406


def test_nothing_is_watched_while_nothing_is_unacked(book: Playbook, channel: PlayedChannel) -> None:
    one_out(book, channel)
    channel.ack(1)
    book.advance(HALF_AN_HOUR_MS + 2_000)
    assert book.broker.timers.live == 0
    channel.publish("q", b"2")
    book.settle()
    assert book.broker.timers.live == 2


def looks_in(book: Playbook, seconds: int) -> int:
    """How many timers it takes to let so much time pass."""
    end_ms, count = book.now_ms + seconds * 1000, 0
    while (deadline_ms := book.broker.timers.next_ms) is not None and deadline_ms <= end_ms:
        assert deadline_ms >= book.now_ms
        count += 1
        book.advance(deadline_ms - book.now_ms)
    book.advance(end_ms - book.now_ms)
    return count


@pytest.mark.parametrize(("limit", "closed"), [(None, False), (HALF_AN_HOUR_MS, True), (86_400_000, True)])
def test_looks_are_few_however_long_it_takes(book: Playbook, channel: PlayedChannel, limit: int | None, closed: bool) -> None:
    book.broker.consumer_timeout.limit_ms = limit
    one_out(book, channel)
    assert looks_in(book, 2**27) < 5
    assert bool(channel.take()) == closed


def test_one_of_a_queue_with_a_lower_limit_counts_once_it_is_the_oldest(book: Playbook, channel: PlayedChannel) -> None:
    """However long that takes, nobody looks each second."""
    book.broker.consumer_timeout.limit_ms = None
    one_out(book, channel)
    channel.declare("quick", arguments={"x-consumer-timeout": 10_000})
    channel.consume("quick", "c2")
    channel.publish("quick", b"2")
    book.settle()
    channel.take()
    assert looks_in(book, 2**27) < 200
    assert channel.take() == []
    channel.ack(1)
    book.advance(2**27 * 1000 // 4)
    assert channel.refusal() == (406, TEXT.format(10_000))


def test_a_limit_that_is_set_counts_for_what_is_out(book: Playbook, channel: PlayedChannel) -> None:
    book.broker.consumer_timeout.limit_ms = None
    one_out(book, channel)
    book.advance(20_000)
    book.broker.consumer_timeout.limit_ms = 30_000
    book.advance(9_000)
    assert channel.take() == []
    book.advance(2_000)
    assert channel.refusal() == (406, TEXT.format(30_000))


def test_the_times_of_what_is_acked_are_forgotten(book: Playbook, channel: PlayedChannel) -> None:
    one_out(book, channel)
    for tag in range(1, 50):
        channel.publish("q", b"more")
        book.settle()
        channel.ack(tag)
        book.advance(1_100)
    assert len(channel.open.delivery_times) <= 2


def test_what_a_transaction_has_acked_counts_as_acked(book: Playbook, channel: PlayedChannel) -> None:
    channel.call(Tx.Select)
    one_out(book, channel, timeout=1_000)
    channel.do(Tx.Commit)
    book.settle()
    channel.take()
    channel.ack(1)
    book.advance(10_000)
    assert channel.take() == []


def test_only_that_channel_goes(book: Playbook, channel: PlayedChannel) -> None:
    second = channel.peer.channel()
    one_out(book, channel, timeout=1_000)
    book.advance(5_000)
    assert channel.refusal()[0] == 406
    second.get("q")
    assert second.bodies() == [b"1"]

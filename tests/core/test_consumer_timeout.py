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
    book.advance(2_000)
    assert book.broker.timers.live == 0
    channel.publish("q", b"2")
    book.settle()
    assert book.broker.timers.live == 1


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

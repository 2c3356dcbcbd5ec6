"""Who gets the next message (contract 6.1 to 6.4)."""

import pytest

from broker.core import consumers
from protocol.methods import Basic
from tests.core.playbook import Delivered, Playbook, PlayedChannel
from tests.spec import spec


def numbers(count: int, first: int = 0) -> list[bytes]:
    return [b"%02d" % number for number in range(first, first + count)]


def by_consumer(*channels: PlayedChannel) -> dict[str, list[bytes]]:
    """What was delivered since last time."""
    found: dict[str, list[bytes]] = {}
    for channel in channels:
        for reply in channel.take():
            if isinstance(reply, Delivered):
                found.setdefault(reply.consumer, []).append(reply.body)
    return found


@spec("6.2", "Round robin among consumers of equal x-priority that have credit")
@pytest.mark.parametrize("one_connection", [True, False])
def test_round_robin_is_exact(book: Playbook, channel: PlayedChannel, other: PlayedChannel, one_connection: bool) -> None:
    channel.declare("q")
    channel.consume("q", "a", no_ack=True)
    (channel if one_connection else other).consume("q", "b", no_ack=True)
    channel.consume("q", "c", no_ack=True)
    channel.publish("q", *numbers(7))
    book.settle()
    assert by_consumer(channel, other) == {"a": [b"00", b"03", b"06"], "b": [b"01", b"04"], "c": [b"02", b"05"]}
    channel.publish("q", *numbers(3, 7))
    book.settle()
    assert by_consumer(channel, other) == {"b": [b"07"], "c": [b"08"], "a": [b"09"]}, "the ring goes on where it was"


@spec("6.2", "Round robin among consumers of equal x-priority that have credit")
def test_who_has_no_credit_is_passed_over(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("q")
    channel.qos(1)
    channel.consume("q", "one")
    channel.qos(3)
    channel.consume("q", "three")
    channel.publish("q", *numbers(6))
    book.settle()
    assert by_consumer(channel) == {"one": [b"00"], "three": [b"01", b"02", b"03"]}
    assert book.ready("q") == [b"04", b"05"]


@spec("6.2", "higher first")
def test_a_higher_priority_is_served_first(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("q")
    channel.qos(2)
    channel.consume("q", "low", priority=-1)
    channel.consume("q", "plain")
    channel.consume("q", "high", priority=7)
    channel.publish("q", *numbers(5))
    book.settle()
    assert by_consumer(channel) == {"high": [b"00", b"01"], "plain": [b"02", b"03"], "low": [b"04"]}
    channel.acks(1, 2)  # tags 1 and 2 are the high one's
    channel.publish("q", *numbers(3, 5))
    book.settle()
    assert by_consumer(channel) == {"high": [b"05", b"06"], "low": [b"07"]}


@spec("6.2", "Round robin among consumers of equal x-priority that have credit")
def test_a_parked_consumer_goes_to_the_end(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("q")
    channel.qos(1)
    channel.consume("q", "a")
    channel.consume("q", "b")
    channel.publish("q", *numbers(3))
    book.settle()
    assert by_consumer(channel) == {"a": [b"00"], "b": [b"01"]}
    channel.ack(2)
    book.settle()
    assert by_consumer(channel) == {"b": [b"02"]}
    channel.acks(3, 1)
    channel.publish("q", *numbers(2, 3))
    book.settle()
    assert by_consumer(channel) == {"b": [b"03"], "a": [b"04"]}


@spec("6.2", "Round robin among consumers of equal x-priority that have credit")
def test_a_congested_connection_is_passed_over_until_it_drains(book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
    channel.declare("q")
    channel.consume("q", "slow", no_ack=True)
    other.consume("q", "fast", no_ack=True)
    book.settle()
    channel.peer.congest()
    channel.publish("q", *numbers(3))
    book.settle()
    assert by_consumer(channel, other) == {"fast": numbers(3)}
    channel.peer.drain()
    channel.publish("q", *numbers(2, 3))
    book.settle()
    assert by_consumer(channel, other) == {"fast": [b"03"], "slow": [b"04"]}


@spec("5.5", "delivered to one consumer: in order")
def test_a_full_turn_keeps_the_order(book: Playbook, channel: PlayedChannel, other: PlayedChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "TURN_OUTPUT_BYTES", 1500)
    channel.peer.wire.message_weight = 300
    channel.declare("q")
    channel.consume("q", "heavy", no_ack=True)
    other.consume("q", "light", no_ack=True)
    channel.publish("q", *numbers(40))
    book.settle()
    got = by_consumer(channel, other)
    assert sorted(got["heavy"] + got["light"]) == numbers(40)
    assert got == {tag: sorted(bodies) for tag, bodies in got.items()}
    assert len(got["light"]) > 20 > len(got["heavy"]) > 4


@spec("6.1", "No delivery before consume-ok")
def test_nothing_is_delivered_while_a_reply_is_held(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("q", durable=True)
    channel.publish("q", b"1", persistent=False)
    channel.consume("q")
    book.turns()
    assert channel.names() == []
    book.settle()
    assert channel.names() == ["Queue.DeclareOk", "Basic.ConsumeOk", "1"]


class TestPrefetch:
    @spec("6.3", "prefetch_count per consumer for those started after it")
    def test_counts_for_consumers_to_come(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.declare("q")
        channel.consume("q", "before")
        channel.qos(1)
        channel.consume("q", "after")
        channel.publish("q", *numbers(6))
        book.settle()
        assert {tag: len(bodies) for tag, bodies in by_consumer(channel).items()} == {"before": 5, "after": 1}

    @spec("6.3", "global=true shared over the channel")
    def test_shared_holds_over_all_consumers(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.declare("q")
        channel.declare("r")
        channel.qos(3, shared=True)
        channel.consume("q", "a")
        channel.consume("r", "b")
        channel.publish("q", *numbers(2))
        channel.publish("r", *numbers(4, 2))
        book.settle()
        assert by_consumer(channel) == {"a": [b"00", b"01"], "b": [b"02"]}
        channel.ack(1)
        book.settle()
        assert by_consumer(channel) == {"b": [b"03"]}, "an ack of one consumer's is credit for the other"
        channel.ack(0, multiple=True)
        book.settle()
        assert by_consumer(channel) == {"b": [b"04", b"05"]}

    @spec("6.3", "global=false, which also removes the channel-wide limit")
    def test_per_consumer_takes_the_shared_limit_away(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.declare("q")
        channel.qos(1, shared=True)
        channel.consume("q", "a")
        channel.publish("q", *numbers(3))
        book.settle()
        assert by_consumer(channel) == {"a": [b"00"]}
        channel.qos(0)
        book.settle()
        assert by_consumer(channel) == {"a": [b"01", b"02"]}

    @spec("6.3", "no_ack consumers ignore it")
    def test_no_ack_ignores_it(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.declare("q")
        channel.qos(1)
        channel.qos(1, shared=True)
        channel.consume("q", "a", no_ack=True)
        channel.publish("q", *numbers(3))
        book.settle()
        assert by_consumer(channel) == {"a": numbers(3)}

    @spec("6.3", "Messages taken by get don't use a consumer's prefetch")
    def test_get_uses_none_of_a_consumers(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.declare("q")
        channel.declare("r")
        channel.publish("r", b"got")
        channel.get("r")
        channel.qos(1)
        channel.consume("q", "a")
        channel.publish("q", *numbers(1))
        book.settle()
        assert by_consumer(channel) == {"a": [b"00"]}

    @spec("6.6", "unacked stay unacked")
    def test_what_a_cancelled_consumer_holds_still_counts_for_the_channel(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.declare("q")
        channel.qos(1, shared=True)
        channel.consume("q", "a")
        channel.publish("q", *numbers(2))
        book.settle()
        channel.cancel("a")
        channel.consume("q", "b")
        book.settle()
        assert by_consumer(channel) == {"a": [b"00"]}
        channel.ack(1)
        book.settle()
        assert by_consumer(channel) == {"b": [b"01"]}


class TestSingleActiveConsumer:
    @pytest.fixture(autouse=True)
    def declared(self, channel: PlayedChannel) -> None:
        channel.declare("q", arguments={"x-single-active-consumer": True})

    @spec("6.2", "Single active consumer: one is served")
    def test_the_first_one_is_served_alone(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        channel.qos(1)
        channel.consume("q", "first")
        other.consume("q", "second", priority=9)
        channel.publish("q", *numbers(2))
        book.settle()
        assert by_consumer(channel, other) == {"first": [b"00"]}, "and not the second, though the first has no credit"

    @spec("6.2", "on takeover the highest x-priority waiting wins")
    def test_the_highest_waiting_takes_over(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        channel.consume("q", "first")
        other.consume("q", "low", priority=1)
        other.consume("q", "high", priority=2)
        other.consume("q", "late", priority=2)
        channel.publish("q", b"1")
        book.settle()
        channel.cancel("first")
        channel.publish("q", b"2")
        book.settle()
        assert by_consumer(channel, other) == {"first": [b"1"], "high": [b"2"]}
        other.cancel("high")
        channel.publish("q", b"3")
        book.settle()
        assert by_consumer(channel, other) == {"late": [b"3"]}

    @spec("1.12", "On any loss: consumers gone, unacked back in their old positions with redelivered")
    def test_takeover_by_loss_hands_the_unacked_on(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        channel.consume("q", "first")
        other.consume("q", "second")
        channel.publish("q", b"1", b"2")
        book.settle()
        channel.take()
        other.take()
        channel.peer.lose()
        book.settle()
        assert [(reply.body, reply.redelivered) for reply in other.take()] == [(b"1", True), (b"2", True)]  # type: ignore[union-attr]

    @spec("6.1", "on a single-active queue exclusive is 403")
    def test_exclusive_is_refused(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.consume("q", exclusive=True)
        book.settle()
        assert channel.refusal() == (403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use")


@spec("6.6", "cancel-ok even for an unknown tag")
def test_cancel_of_an_unknown_tag(channel: PlayedChannel) -> None:
    assert isinstance(channel.call(Basic.Cancel, consumer_tag="nobody"), Basic.CancelOk)


@spec("4.4", "auto_delete: when its last consumer goes, not before it had one")
def test_auto_delete(book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
    channel.declare("q", auto_delete=True)
    book.settle()
    assert "q" in book.broker.vhosts["/"].queues
    channel.consume("q", "a")
    other.consume("q", "b")
    channel.cancel("a")
    book.settle()
    assert "q" in book.broker.vhosts["/"].queues
    other.peer.lose()
    assert "q" not in book.broker.vhosts["/"].queues


@spec("6.4", "tags from 1 per channel and increasing; redelivered from the second delivery on")
def test_tags_and_redelivered(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("q")
    channel.publish("q", b"1", b"2")
    channel.consume("q")
    book.settle()
    channel.reject(1)
    book.settle()
    delivered = [reply for reply in channel.take() if isinstance(reply, Delivered)]
    assert [(each.tag, each.body, each.redelivered) for each in delivered] == [(1, b"1", False), (2, b"2", False), (3, b"1", True)]

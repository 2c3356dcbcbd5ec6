"""Contract 6.5, 7.8: how a quorum queue takes messages back."""

from __future__ import annotations

from typing import Any

import pytest

from protocol import content
from protocol.tables import plain
from tests.core.deep import where
from tests.core.playbook import Delivered, Got, Playbook, PlayedChannel
from tests.spec import spec


def declared(book: Playbook, channel: PlayedChannel, name: str = "q", **arguments: Any) -> Any:
    table = {"x-queue-type": "quorum", **{key.replace("_", "-"): value for key, value in arguments.items()}}
    channel.declare(name, durable=True, arguments=table)
    book.settle()
    channel.take()
    return book.queue(name)


def filled(book: Playbook, channel: PlayedChannel, bodies: str = "123456", **arguments: Any) -> Any:
    queue = declared(book, channel, **arguments)
    for body in bodies:
        channel.publish("q", body.encode())
        book.settle()
    return queue


def got(channel: PlayedChannel, count: int = 1) -> list[Got]:
    for _ in range(count):
        channel.get("q")
    replies = channel.take()
    return [reply for reply in replies if isinstance(reply, Got)]


def text(replies: list[Got]) -> str:
    return "".join(reply.body.decode() for reply in replies)


def count_of(reply: Got | Delivered) -> Any:
    return plain(content.headers(reply.message[2])).get("x-delivery-count")


@spec("6.5", "quorum without a delivery limit: to the tail")
def test_to_the_end(book: Playbook, channel: PlayedChannel) -> None:
    filled(book, channel)
    tags = {reply.body: reply.tag for reply in got(channel, 3)}
    for body in (b"3", b"1", b"2"):
        channel.nack(tags[body])
    channel.publish("q", b"7")
    book.settle()
    assert text(got(channel, 9)) == "4563127"


@spec("6.5", "quorum with a delivery limit: to a returns list served first")
def test_to_the_front(book: Playbook, channel: PlayedChannel) -> None:
    filled(book, channel, x_delivery_limit=5)
    tags = {reply.body: reply.tag for reply in got(channel, 3)}
    for body in (b"3", b"1", b"2"):
        channel.nack(tags[body])
    book.settle()
    assert text(got(channel, 9)) == "312456"


def test_what_a_congested_consumer_does_not_take_keeps_its_place(book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
    declared(book, channel)
    bodies = [b"%d" % number + b"x" * 100_000 for number in range(6)]
    for body in bodies:
        channel.publish("q", body)
    book.settle()
    for reply in got(channel, 6):
        channel.nack(reply.tag)
    channel.take()
    other.consume("q")
    book.settle()
    assert [reply.body for reply in other.take() if isinstance(reply, Delivered)] == bodies


@spec("7.8", "x-delivery-count header absent on the first delivery")
def test_the_count_is_in_the_headers(book: Playbook, channel: PlayedChannel) -> None:
    filled(book, channel, "1")
    seen = []
    for _ in range(4):
        (reply,) = got(channel)
        seen.append((count_of(reply), reply.redelivered))
        channel.nack(reply.tag)
        book.settle()
    assert seen == [(None, False), (1, True), (2, True), (3, True)]
    channel.consume("q", no_ack=True)
    book.settle()
    (delivery,) = [reply for reply in channel.take() if isinstance(reply, Delivered)]
    assert count_of(delivery) == 4


def test_a_classic_queue_has_no_count(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("q")
    channel.publish("q", b"1")
    book.settle()
    channel.take()
    channel.nack(got(channel)[0].tag)
    book.settle()
    (reply,) = got(channel)
    assert count_of(reply) is None and reply.redelivered


@spec("7.8", "N allows N+1 deliveries, then dead-letters with delivery_limit")
@pytest.mark.parametrize("limit", [0, 1, 3])
def test_a_limit(book: Playbook, channel: PlayedChannel, limit: int) -> None:
    channel.declare("dead")
    filled(book, channel, "1", x_delivery_limit=limit, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
    for _ in range(limit + 1):
        (reply,) = got(channel)
        channel.nack(reply.tag)
        book.settle()
    assert got(channel) == []
    channel.get("dead")
    (letter,) = [reply for reply in channel.take() if isinstance(reply, Got)]
    deaths = plain(content.headers(letter.message[2]))["x-death"]
    assert [(death["reason"], death["count"]) for death in deaths] == [("delivery_limit", 1)]
    assert book.queue("q").delivery_counts == {}


def test_without_a_dead_letter_exchange_it_is_dropped(book: Playbook, channel: PlayedChannel) -> None:
    queue = filled(book, channel, "12", x_delivery_limit=0)
    channel.nack(got(channel)[0].tag)
    book.settle()
    assert (book.ready("q"), queue.unacked) == ([b"2"], 0)
    book.restart()
    assert book.ready("q") == [b"2"]


@spec("7.8", "on channel loss the return counts")
@pytest.mark.parametrize("end", ["close", "lose"])
def test_a_lost_channel_counts(book: Playbook, channel: PlayedChannel, other: PlayedChannel, end: str) -> None:
    filled(book, channel, "1", x_delivery_limit=1)
    for _ in range(2):
        consumer = book.connect()
        consuming = consumer.channel()
        consuming.consume("q")
        book.settle()
        if end == "lose":
            consumer.lose()
        else:
            consuming.close()
        book.settle()
    assert book.ready("q") == []


def test_counts_survive_a_restart(book: Playbook, channel: PlayedChannel) -> None:
    filled(book, channel, "1", x_delivery_limit=2)
    for _ in range(2):
        channel.nack(got(channel)[0].tag)
        book.settle()
    book.restart()
    book.settle()
    channel = book.connect().channel()
    (reply,) = got(channel)
    assert count_of(reply) == 2
    channel.nack(reply.tag)
    book.settle()
    assert book.ready("q") == []


@pytest.mark.usefixtures("deep_queues")
class TestPaged:
    """The same with messages that are on the disk only."""

    def test_to_the_end(self, book: Playbook, channel: PlayedChannel) -> None:
        queue = filled(book, channel, "123456789")
        assert where(queue)[1] > 0
        first, second = got(channel, 2)
        channel.nack(second.tag)
        channel.nack(first.tag)
        book.settle()
        channel.publish("q", b"a")
        book.settle()
        assert text(got(channel, 20)) == "345678921a"

    def test_to_the_front(self, book: Playbook, channel: PlayedChannel) -> None:
        filled(book, channel, "123456789", x_delivery_limit=5)
        first, second = got(channel, 2)
        channel.nack(second.tag)
        channel.nack(first.tag)
        book.settle()
        assert text(got(channel, 20)) == "213456789"

    def test_after_a_crash(self, book: Playbook, channel: PlayedChannel) -> None:
        filled(book, channel, "123456789")
        got(channel, 3)
        book.settle()
        book.crash(keep_unsynced=True)
        channel = book.connect().channel()
        replies = got(channel, 20)
        assert text(replies) == "123456789"
        assert [reply.redelivered for reply in replies] == [True] * 3 + [False] * 6

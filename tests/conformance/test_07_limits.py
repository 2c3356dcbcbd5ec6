"""Contract 7.3: max-length and max-length-bytes, and what gives way."""

from typing import Any

import pytest

from tests.fixtures import Unique
from tests.spec import spec
from tests.wire import WireChannel, eventually


def limited(channel: WireChannel, **arguments: Any) -> str:
    return channel.queue(arguments={name.replace("_", "-"): value for name, value in arguments.items()})


def publish(channel: WireChannel, queue: str, *bodies: bytes, **properties: Any) -> list[bool]:
    """Publish in confirm mode; returns for each whether it was acked."""
    publisher = channel.wire.open_channel()
    publisher.confirm_select()
    for body in bodies:
        publisher.publish("", queue, body, **properties)
    answers = publisher.confirms(len(bodies))
    publisher.close()
    return [answers[number] for number in sorted(answers)]


@spec("7.3", "drop-head drops the head")
@pytest.mark.parametrize("limit", [{"x_max_length": 2}, {"x_max_length_bytes": 2}], ids=str)
@pytest.mark.parametrize("overflow", [None, "drop-head"])
def test_the_head_goes(channel: WireChannel, limit: dict[str, int], overflow: str | None) -> None:
    queue = limited(channel, **limit, **({} if overflow is None else {"x_overflow": overflow}))
    assert publish(channel, queue, b"1", b"2", b"3") == [True] * 3
    assert channel.bodies(queue) == [b"2", b"3"]


@spec("7.3", "reject-publish nacks")
@pytest.mark.parametrize("limit", [{"x_max_length": 2}, {"x_max_length_bytes": 2}], ids=str)
def test_the_newcomer_is_refused(channel: WireChannel, limit: dict[str, int]) -> None:
    queue = limited(channel, x_overflow="reject-publish", **limit)
    assert publish(channel, queue, b"1", b"2", b"3") == [True, True, False]
    assert channel.bodies(queue) == [b"1", b"2"]


@spec("7.3", "reject-publish-dlx also dead-letters the new one")
def test_the_refused_one_is_a_dead_letter(channel: WireChannel) -> None:
    dead = channel.queue()
    arguments = {"x_dead_letter_exchange": "", "x_dead_letter_routing_key": dead}
    queue = limited(channel, x_overflow="reject-publish-dlx", x_max_length=1, **arguments)
    assert publish(channel, queue, b"1", b"2", expiration="50000") == [True, False]
    channel.expect_counts(dead, 1, 0)
    letter = channel.take(dead)
    death = letter.headers["x-death"][0]
    assert (letter.body, death["reason"], death["queue"], death["original-expiration"]) == (b"2", "maxlen", queue, "50000")
    assert "expiration" not in letter.properties
    assert channel.bodies(queue) == [b"1"]


@spec("7.3", "reject-publish alone: what is refused is no dead letter")
def test_a_refused_one_is_no_dead_letter(channel: WireChannel) -> None:
    dead = channel.queue()
    arguments = {"x_dead_letter_exchange": "", "x_dead_letter_routing_key": dead}
    queue = limited(channel, x_overflow="reject-publish", x_max_length=1, **arguments)
    assert publish(channel, queue, b"1", b"2") == [True, False]
    channel.nothing_more(dead)


@spec("7.3", "(classic only): a quorum queue drops the head")
def test_a_quorum_queue_knows_no_reject_publish_dlx(channel: WireChannel, unique: Unique) -> None:
    arguments = {"x-queue-type": "quorum", "x-max-length": 1, "x-overflow": "reject-publish-dlx"}
    queue = channel.queue(unique("quorum"), durable=True, arguments=arguments)
    assert publish(channel, queue, b"1", b"2", b"3")[0] is True
    eventually(lambda: channel.counts(queue)[0] == 1)
    assert channel.bodies(queue) == [b"3"]


@spec("7.3", "count ready messages")
def test_what_is_unacked_does_not_count(channel: WireChannel) -> None:
    queue = limited(channel, x_max_length=1)
    publish(channel, queue, b"1")
    channel.take(queue, no_ack=False)
    publish(channel, queue, b"2")
    assert channel.bodies(queue) == [b"2"]


@spec("7.3", "at publish and at requeue")
@pytest.mark.parametrize(("overflow", "left"), [("drop-head", [b"2"]), ("reject-publish", [b"1", b"2"])])
def test_what_comes_back_counts(channel: WireChannel, overflow: str, left: list[bytes]) -> None:
    queue = limited(channel, x_max_length=1, x_overflow=overflow)
    publish(channel, queue, b"1")
    taken = channel.take(queue, no_ack=False)
    publish(channel, queue, b"2")
    channel.nack(taken.tag)
    channel.expect_counts(queue, len(left), 0)
    assert channel.bodies(queue) == left


@spec("7.3", "a limit of 0 lets only through what a consumer takes at once")
def test_zero(channel: WireChannel) -> None:
    queue = limited(channel, x_max_length=0)
    publish(channel, queue, b"1")
    assert channel.get(queue) is None
    second = channel.wire.open_channel()
    second.consume(queue, "c", no_ack=True)
    publish(channel, queue, b"2")
    assert second.deliver().body == b"2"

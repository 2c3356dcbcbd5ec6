"""Contract 7.4: priorities of messages."""

from typing import Any

import pytest

from tests.fixtures import Unique
from tests.spec import Broker, differs, expect_on, spec
from tests.wire import WireChannel


def filled(channel: WireChannel, messages: str, most: int = 10, **arguments: Any) -> str:
    """`a1 b- c3`: bodies and priorities. Nobody consumes meanwhile."""
    table = {"x-max-priority": most, **{name.replace("_", "-"): value for name, value in arguments.items()}}
    queue = channel.queue(arguments=table)
    publish(channel, queue, messages)
    return queue


def publish(channel: WireChannel, queue: str, messages: str) -> None:
    publisher = channel.wire.open_channel()
    publisher.confirm_select()
    for body, *priority in messages.split():
        text = "".join(priority)
        publisher.publish("", queue, body.encode(), **({} if text == "-" else {"priority": int(text)}))
    publisher.confirms(len(messages.split()))
    publisher.close()


def order(channel: WireChannel, queue: str) -> str:
    return b"".join(channel.bodies(queue)).decode()


@spec("7.4", "strict, FIFO in one; higher than the maximum counts as the maximum; none = 0")
def test_the_order(channel: WireChannel) -> None:
    queue = filled(channel, "a1 b5 c- d3 e9 f0 g5 h255", most=5)
    assert order(channel, queue) == "beghdacf"


@spec("7.4", "strict")
def test_ten_five_one(channel: WireChannel) -> None:
    queue = filled(channel, "a1 b5 c10 d1 e10 f5")
    assert order(channel, queue) == "cebfad"


@spec("7.4", "drop-head drops the head, which is the oldest of the highest priority: 1,5,3,0,2,-,9 leaves 1,0,-")
def test_a_limit_drops_the_head(channel: WireChannel) -> None:
    queue = filled(channel, "a1 b5 c3 d0 e2 f- g9", most=3, x_max_length=3)
    assert order(channel, queue) == "adf"


@spec("7.4", "a consumer gets the highest that is there when it has credit")
def test_one_at_a_time(channel: WireChannel) -> None:
    queue = filled(channel, "a1 b2")
    second = channel.wire.open_channel()
    second.qos(1)
    second.consume(queue, "c")
    first = second.deliver()
    assert first.body == b"b"
    publish(channel, queue, "c0 d3")
    second.ack(first.tag)
    assert second.deliver().body == b"d"


@spec("6.5", "requeue to the exact old position, in its level")
def test_a_requeued_message_finds_its_place(channel: WireChannel) -> None:
    queue = filled(channel, "a1 b2 c1 d2")
    tags = {}
    for _ in range(4):
        message = channel.take(queue, no_ack=False)
        tags[message.body] = message.tag
    for body in (b"d", b"a", b"b"):
        channel.nack(tags[body])
    channel.expect_counts(queue, 3, 0)
    assert order(channel, queue) == "bda"


@spec("7.1", "a live head shields what expires behind it, per priority")
@differs(rabbitmq="3.10", why="a live head of a higher priority shields those of lower ones, too")
def test_each_priority_expires_by_itself(broker: Broker, channel: WireChannel) -> None:
    queue = channel.queue(arguments={"x-max-priority": 5})
    publisher = channel.wire.open_channel()
    publisher.confirm_select()
    publisher.publish("", queue, b"a", priority=5)
    publisher.publish("", queue, b"b", priority=5, expiration="20")
    publisher.publish("", queue, b"c", priority=1, expiration="20")
    publisher.publish("", queue, b"d", priority=1)
    publisher.confirms(4)
    channel.expect_counts(queue, expect_on(broker, leveret=3, rabbitmq=4), 0)
    assert channel.take(queue).body == b"a"
    channel.expect_counts(queue, 1, 0)
    assert order(channel, queue) == "d"


@spec("4.7", "x-max-priority (0-255); with 0 all are alike")
@pytest.mark.parametrize(("most", "expected"), [(0, "abc"), (1, "bca"), (2, "cba"), (255, "cba")])
def test_the_maximum(channel: WireChannel, most: int, expected: str) -> None:
    queue = filled(channel, "a0 b1 c255", most=most)
    assert order(channel, queue) == expected


@spec("7.4", "a durable queue keeps them apart")
def test_a_durable_one(channel: WireChannel, unique: Unique) -> None:
    queue = channel.queue(unique("priority"), durable=True, arguments={"x-max-priority": 3})
    publish(channel, queue, "a1 b3 c2")
    assert order(channel, queue) == "bca"

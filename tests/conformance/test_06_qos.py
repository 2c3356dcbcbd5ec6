"""Contract 6.3, prefetch."""

import pytest
from pamqp.commands import Basic

from tests.spec import spec
from tests.wire import WireChannel


def filled(channel: WireChannel, count: int) -> str:
    queue = channel.queue()
    for number in range(count):
        channel.publish("", queue, b"%d" % number)
    channel.expect_counts(queue, count, 0)
    return queue


@spec("6.3", "prefetch_count per consumer for those started after it")
def test_each_consumer_has_the_prefetch_it_was_started_with(channel: WireChannel) -> None:
    queue = filled(channel, 20)
    channel.qos(2)
    channel.consume(queue, "two")
    assert {message.method.consumer_tag for message in channel.deliveries(2)} == {"two"}
    channel.nothing_more(queue)
    channel.qos(3)
    channel.consume(queue, "three")
    assert {message.method.consumer_tag for message in channel.deliveries(3)} == {"three"}
    channel.nothing_more(queue)


@spec("6.3", "an ack makes room for one more")
def test_an_ack_makes_room(channel: WireChannel) -> None:
    queue = filled(channel, 10)
    channel.qos(3)
    channel.consume(queue)
    messages = channel.deliveries(3)
    channel.nothing_more(queue)
    channel.ack(messages[1].tag)
    assert channel.deliver().body == b"3"
    channel.nothing_more(queue)
    channel.ack(4, multiple=True)
    assert [message.body for message in channel.deliveries(3)] == [b"4", b"5", b"6"]
    channel.nothing_more(queue)


@spec("6.3", "so do reject and nack without requeue")
def test_a_reject_makes_room(channel: WireChannel) -> None:
    queue = filled(channel, 4)
    channel.qos(1)
    channel.consume(queue)
    channel.reject(channel.deliver().tag, requeue=False)
    channel.nack(channel.deliver().tag, requeue=False)
    assert channel.deliver().body == b"2"
    channel.nothing_more(queue)


@spec("6.3", "global=true shared over the channel")
def test_a_channel_wide_prefetch(channel: WireChannel) -> None:
    first, second = filled(channel, 5), filled(channel, 5)
    channel.qos(3, everywhere=True)
    channel.consume(first, "first")
    assert len(channel.deliveries(3)) == 3
    channel.consume(second, "second")
    channel.nothing_more(second)
    channel.ack(3, multiple=True)
    assert len(channel.deliveries(3)) == 3
    channel.nothing_more(first)
    channel.nothing_more(second)


@spec("6.3", "global=true takes effect on consumers that are there already")
def test_a_channel_wide_prefetch_for_running_consumers(channel: WireChannel) -> None:
    queue = filled(channel, 2)
    channel.consume(queue)
    channel.deliveries(2)
    channel.qos(3, everywhere=True)
    for number in range(3):
        channel.publish("", queue, b"more %d" % number)
    assert channel.deliver().body == b"more 0"
    channel.nothing_more(queue)


@spec("6.3", "both limits hold")
def test_both_limits_hold(channel: WireChannel) -> None:
    first, second = filled(channel, 5), filled(channel, 5)
    channel.qos(2)
    channel.qos(3, everywhere=True)
    channel.consume(first, "first")
    assert {message.method.consumer_tag for message in channel.deliveries(2)} == {"first"}
    channel.nothing_more(first)
    channel.consume(second, "second")
    assert channel.deliver().method.consumer_tag == "second"
    channel.nothing_more(second)


@spec("6.3", "global=false, which also removes the channel-wide limit")
def test_a_prefetch_per_consumer_removes_the_channel_wide_one(channel: WireChannel) -> None:
    queue = filled(channel, 10)
    channel.qos(1, everywhere=True)
    channel.consume(queue, "a")
    channel.deliver()
    channel.nothing_more(queue)
    channel.qos(4)
    assert [message.method.consumer_tag for message in channel.deliveries(9)] == ["a"] * 9


@spec("6.3", "0 = none")
@pytest.mark.parametrize("everywhere", [False, True])
def test_no_prefetch_means_no_limit(channel: WireChannel, everywhere: bool) -> None:
    queue = filled(channel, 100)
    channel.qos(1, everywhere=everywhere)
    channel.qos(0, everywhere=everywhere)
    channel.consume(queue)
    assert len(channel.deliveries(100)) == 100


@spec("6.3", "lifting the channel-wide limit lets the deliveries go on")
def test_lifting_the_channel_wide_limit(channel: WireChannel) -> None:
    queue = filled(channel, 10)
    channel.qos(1, everywhere=True)
    channel.consume(queue)
    channel.deliver()
    channel.nothing_more(queue)
    channel.qos(5, everywhere=True)
    assert len(channel.deliveries(4)) == 4
    channel.nothing_more(queue)
    channel.qos(0, everywhere=True)
    assert len(channel.deliveries(5)) == 5


@spec("6.3", "prefetch_size [h] 540")
@pytest.mark.parametrize("everywhere", [False, True])
def test_a_prefetch_size(channel: WireChannel, everywhere: bool) -> None:
    channel.send(Basic.Qos, prefetch_size=10, prefetch_count=1, global_=everywhere)
    channel.expect_connection_close(540, "NOT_IMPLEMENTED - prefetch_size!=0 (10)", (60, 10))


@spec("6.3", "no_ack consumers ignore it")
def test_no_ack_consumers_ignore_the_prefetch(channel: WireChannel) -> None:
    queue = filled(channel, 10)
    channel.qos(1)
    channel.qos(1, everywhere=True)
    channel.consume(queue, no_ack=True)
    assert len(channel.deliveries(10)) == 10


@spec("6.3", "messages taken by get don't use a consumer's prefetch")
def test_gets_leave_a_consumers_prefetch_alone(channel: WireChannel) -> None:
    queue = filled(channel, 10)
    for _ in range(3):
        channel.take(queue, no_ack=False)
    channel.qos(2)
    channel.consume(queue)
    assert len(channel.deliveries(2)) == 2
    channel.nothing_more(queue)


@spec("6.3", "nor a channel-wide one that was set before")
def test_gets_leave_the_channel_wide_prefetch_alone(channel: WireChannel) -> None:
    queue = filled(channel, 10)
    channel.qos(3, everywhere=True)
    channel.take(queue, no_ack=False)
    channel.take(queue, no_ack=False)
    channel.consume(queue)
    assert [message.body for message in channel.deliveries(3)] == [b"2", b"3", b"4"]
    channel.nothing_more(queue)
    channel.ack(1)
    channel.nothing_more(queue)
    channel.ack(3)
    assert channel.deliver().body == b"5"
    channel.nothing_more(queue)


@spec("6.3", "a get is never refused for the prefetch")
def test_a_get_passes_the_channel_wide_prefetch(channel: WireChannel) -> None:
    queue = filled(channel, 3)
    channel.qos(1, everywhere=True)
    for _ in range(3):
        channel.take(queue, no_ack=False)


@spec("6.3", "the largest prefetch")
def test_the_largest_prefetch(channel: WireChannel) -> None:
    queue = filled(channel, 10)
    channel.qos(65535)
    channel.consume(queue)
    assert len(channel.deliveries(10)) == 10


@spec("6.3", "what is unacked stays counted when its consumer is cancelled, but for the next consumer not")
def test_a_new_consumer_has_its_own_prefetch(channel: WireChannel) -> None:
    queue = filled(channel, 6)
    channel.qos(2)
    tag = channel.consume(queue)
    channel.deliveries(2)
    channel.cancel(tag)
    channel.consume(queue)
    assert [message.body for message in channel.deliveries(2)] == [b"2", b"3"]
    channel.nothing_more(queue)


@spec("6.3", "a burst larger than the prefetch, with a limit on the queue's length")
def test_consumers_are_served_before_the_queue_drops(channel: WireChannel) -> None:
    queue = channel.queue(arguments={"x-max-length": 1})
    channel.qos(5)
    channel.consume(queue)
    for number in range(10):
        channel.publish("", queue, b"%d" % number)
    assert [message.body for message in channel.deliveries(5)] == [b"0", b"1", b"2", b"3", b"4"]
    channel.nothing_more(queue)
    assert channel.bodies(queue) == [b"9"]

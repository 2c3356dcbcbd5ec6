"""Contract 6.1, 6.2, 6.4 and 6.6: consuming, competing consumers, priorities, single active consumer, cancel."""

import re
from collections import Counter
from typing import Any

import pytest
from pamqp.commands import Basic, Channel, Queue

from tests.fixtures import Connect, Unique
from tests.spec import spec
from tests.wire import CAPABILITIES, Wire, WireChannel, eventually

# --- 6.1 consume


@spec("6.1")
def test_a_server_named_consumer(channel: WireChannel) -> None:
    queue = channel.queue()
    first, second = channel.consume(queue), channel.consume(queue)
    assert re.fullmatch(r"amq\.ctag-[A-Za-z0-9_-]{22}", first)
    assert first != second


@spec("6.1")
@pytest.mark.parametrize("tag", ["mine", "x" * 255, "with space", "日本語"])
def test_a_consumer_tag_of_ones_own(channel: WireChannel, tag: str) -> None:
    queue = channel.queue()
    assert channel.consume(queue, tag) == tag
    channel.publish("", queue, b"x")
    assert channel.deliver(consumer_tag=tag).body == b"x"


@spec("6.1", "reuse [h] 530")
def test_a_consumer_tag_in_use(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.consume(queue, "t")
    channel.send(Basic.Consume, queue=queue, consumer_tag="t")
    channel.expect_connection_close(530, "NOT_ALLOWED - attempt to reuse consumer tag 't'", (60, 20))


@spec("6.1", "tags belong to the channel, and are free again after cancel")
def test_consumer_tags_belong_to_the_channel(wire: Wire) -> None:
    first, second = wire.open_channel(), wire.open_channel()
    queue = first.queue()
    first.consume(queue, "t")
    second.consume(queue, "t")
    first.cancel("t")
    first.consume(queue, "t")


@spec("6.1", "exclusive against others [s] 403")
@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True), (True, True)])
def test_an_exclusive_consumer_wants_the_queue_for_itself(channel: WireChannel, unique: Unique, first: bool, second: bool) -> None:
    queue = channel.queue(unique("q"), durable=True)
    channel.consume(queue, exclusive=first)
    late = channel.wire.open_channel()
    late.send(Basic.Consume, queue=queue, exclusive=second)
    late.expect_close(403, f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use", (60, 20))


@spec("6.1", "the queue is free again when the exclusive consumer has gone")
def test_an_exclusive_consumer_leaves(channel: WireChannel) -> None:
    queue = channel.queue()
    tag = channel.consume(queue, exclusive=True)
    channel.cancel(tag)
    channel.consume(queue)


@spec("6.1", "basic.get is not hindered by an exclusive consumer")
def test_get_beside_an_exclusive_consumer(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.qos(1)
    channel.consume(queue, exclusive=True)
    for body in (b"1", b"2"):
        channel.publish("", queue, body)
    assert channel.deliver().body == b"1"
    assert channel.take(queue).body == b"2"


@spec("6.1", "a missing queue [s] 404")
def test_consuming_from_a_missing_queue(channel: WireChannel) -> None:
    channel.send(Basic.Consume, queue="missing")
    channel.expect_close(404, "NOT_FOUND - no queue 'missing' in vhost '/'", (60, 20))


@spec("6.1", "no_local ignored")
def test_no_local_is_ignored(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.consume(queue, no_local=True)
    channel.publish("", queue, b"my own")
    assert channel.deliver().body == b"my own"


@spec("6.1", "an argument of another queue type (x-stream-offset on classic) [s] 406")
def test_an_argument_for_another_queue_type(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.send(Basic.Consume, queue=queue, arguments={"x-stream-offset": "first"})
    text = f"PRECONDITION_FAILED - invalid arg 'x-stream-offset' for queue '{queue}' in vhost '/' of queue type rabbit_classic_queue"
    channel.expect_close(406, text, (60, 20))


@spec("6.1", "arguments that nobody knows are ignored")
def test_unknown_consumer_arguments_are_ignored(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.consume(queue, arguments={"mine": 1, "x-other": "text"})


@spec("6.1", "no delivery before consume-ok")
def test_consume_ok_comes_before_the_deliveries(channel: WireChannel) -> None:
    queue = channel.queue()
    for number in range(50):
        channel.publish("", queue, b"%d" % number)
    channel.send(Basic.Consume, queue=queue, consumer_tag="t")
    channel.expect(Basic.ConsumeOk, consumer_tag="t")
    assert [message.body for message in channel.deliveries(50)] == [b"%d" % number for number in range(50)]


@spec("6.1", "no delivery after cancel-ok")
def test_nothing_is_delivered_after_cancel_ok(channel: WireChannel) -> None:
    queue = channel.queue()
    tag = channel.consume(queue)
    channel.publish("", queue, b"1")
    assert channel.deliver().body == b"1"
    channel.cancel(tag)
    channel.publish("", queue, b"2")
    channel.nothing_more(queue)
    assert channel.take(queue).body == b"2"


@spec("6.1", "nowait")
def test_consume_and_cancel_without_waiting(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.send(Basic.Consume, queue=queue, consumer_tag="t", nowait=True)
    channel.publish("", queue, b"x")
    assert channel.deliver(consumer_tag="t").body == b"x"
    channel.send(Basic.Cancel, consumer_tag="t", nowait=True)
    channel.expect_counts(queue, 0, 0)


# --- 6.2 who gets what


@spec("6.2", "round robin among consumers that have credit")
def test_competing_consumers_share_evenly(channel: WireChannel, connect: Connect, unique: Unique) -> None:
    queue = channel.queue(unique("work"), durable=True)
    workers = [connect().open_channel() for _ in range(3)]
    for worker in workers:
        worker.consume(queue, no_ack=True)
    for number in range(30):
        channel.publish("", queue, b"%d" % number)
    shares = [[int(message.body) for message in worker.deliveries(10)] for worker in workers]
    assert sorted(number for share in shares for number in share) == list(range(30))
    for share in shares:
        assert share == sorted(share)
    for worker in workers:
        worker.nothing_more(queue)


@spec("6.2", "one at a time, in the order of the ring")
def test_two_consumers_take_turns(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.consume(queue, "a", no_ack=True)
    channel.consume(queue, "b", no_ack=True)
    for number in range(6):
        channel.publish("", queue, b"%d" % number)
    taken = [(message.method.consumer_tag, message.body) for message in channel.deliveries(6)]
    tags = [tag for tag, _ in taken]
    assert sorted(tags[:2]) == ["a", "b"]
    assert tags == tags[:2] * 3
    assert [body for _, body in taken] == [b"%d" % number for number in range(6)]


@spec("6.2", "a thousand messages to two no_ack consumers are 500 and 500")
def test_a_burst_is_shared_evenly(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.consume(queue, "a", no_ack=True)
    channel.consume(queue, "b", no_ack=True)
    for _ in range(1000):
        channel.publish("", queue, b"x")
    shares = Counter(message.method.consumer_tag for message in channel.deliveries(1000))
    assert shares == {"a": 500, "b": 500}


@spec("6.2", "that have credit: a busy consumer is passed over (fair dispatch)")
def test_a_busy_worker_gets_no_more_than_its_prefetch(channel: WireChannel, connect: Connect, unique: Unique) -> None:
    queue = channel.queue(unique("work"), durable=True)
    busy, idle = connect().open_channel(), connect().open_channel()
    for worker in (busy, idle):
        worker.qos(1)
        worker.consume(queue)
    for number in range(10):
        channel.publish("", queue, b"%d" % number)
    stuck_with = busy.deliver().body
    done = []
    for _ in range(9):
        message = idle.deliver()
        done.append(message.body)
        idle.ack(message.tag)
    assert sorted([stuck_with, *done]) == [b"%d" % number for number in range(10)]
    busy.nothing_more(queue)


@spec("6.2", "higher x-priority first")
def test_consumers_of_higher_priority_come_first(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.qos(2)
    channel.consume(queue, "low", arguments={"x-priority": -5})
    channel.consume(queue, "high", arguments={"x-priority": 10})
    channel.consume(queue, "normal")
    for number in range(7):
        channel.publish("", queue, b"%d" % number)
    taken = [message.method.consumer_tag for message in channel.deliveries(6)]
    assert taken == ["high", "high", "normal", "normal", "low", "low"]
    channel.nothing_more(queue)


@spec("6.2", "a high consumer that has credit again takes the next one")
def test_a_high_priority_consumer_that_acks_is_served_on(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.qos(1)
    channel.consume(queue, "high", arguments={"x-priority": 1})
    channel.consume(queue, "low")
    for number in range(4):
        channel.publish("", queue, b"%d" % number)
    first, second = channel.deliver(), channel.deliver()
    assert [first.method.consumer_tag, second.method.consumer_tag] == ["high", "low"]
    channel.ack(first.tag)
    assert channel.deliver().method.consumer_tag == "high"
    channel.nothing_more(queue)


@spec("6.2")
@pytest.mark.parametrize(("value", "kind"), [("high", "longstr"), (1.5, "double"), (True, "bool")])
def test_a_priority_must_be_an_integer(channel: WireChannel, value: Any, kind: str) -> None:
    queue = channel.queue()
    channel.send(Basic.Consume, queue=queue, arguments={"x-priority": value})
    text = f"PRECONDITION_FAILED - invalid arg 'x-priority' for queue '{queue}' in vhost '/': \"expected integer, got {kind}\""
    channel.expect_close(406, text, (60, 20))


@spec("6.2", "single active consumer: one is served; the next takes over in order")
def test_a_single_active_consumer(channel: WireChannel) -> None:
    queue = channel.queue(arguments={"x-single-active-consumer": True})
    for tag in ("a", "b", "c"):
        channel.consume(queue, tag, no_ack=True)

    def served() -> set[str]:
        for _ in range(3):
            channel.publish("", queue, b"x")
        return {message.method.consumer_tag for message in channel.deliveries(3)}

    assert served() == {"a"}
    channel.cancel("b")
    assert served() == {"a"}
    channel.cancel("a")
    assert served() == {"c"}
    channel.expect_counts(queue, 0, 1)


@spec("6.2", "on takeover the highest x-priority waiting wins, and nobody is displaced before")
def test_the_next_active_consumer_is_the_one_of_highest_priority(channel: WireChannel) -> None:
    queue = channel.queue(arguments={"x-single-active-consumer": True})
    for tag, priority in (("a", 0), ("b", 1), ("c", 5), ("d", 5)):
        channel.consume(queue, tag, no_ack=True, arguments={"x-priority": priority})
    served = []
    for leaving in ("a", "c", "d", "b"):
        channel.publish("", queue, b"x")
        served.append(channel.deliver().method.consumer_tag)
        channel.cancel(leaving)
    assert served == ["a", "c", "d", "b"]


@spec("6.2", "on a single-active queue exclusive is 403")
def test_exclusive_on_a_single_active_queue(channel: WireChannel) -> None:
    queue = channel.queue(arguments={"x-single-active-consumer": True})
    channel.send(Basic.Consume, queue=queue, exclusive=True)
    channel.expect_close(403, f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use", (60, 20))


@spec("6.2", "basic.get works on a classic single-active queue")
def test_get_on_a_single_active_queue(channel: WireChannel) -> None:
    queue = channel.queue(arguments={"x-single-active-consumer": True})
    channel.qos(1)
    channel.consume(queue)
    for body in (b"1", b"2"):
        channel.publish("", queue, body)
    assert channel.deliver().body == b"1"
    assert channel.take(queue).body == b"2"


@spec("6.2", "what the active consumer held goes to the next with redelivered")
def test_the_next_active_consumer_gets_what_was_left(channel: WireChannel, other: WireChannel, unique: Unique) -> None:
    queue = channel.queue(unique("q"), durable=True, arguments={"x-single-active-consumer": True})
    channel.consume(queue)
    other.consume(queue)
    for body in (b"1", b"2", b"3"):
        channel.publish("", queue, body)
    assert len(channel.deliveries(3)) == 3
    channel.wire.close()
    assert [(message.body, message.method.redelivered) for message in other.deliveries(3)] == [(b"1", True), (b"2", True), (b"3", True)]


# --- 6.4 deliver


@spec("6.4")
def test_delivery_tags_count_from_1_per_channel(wire: Wire) -> None:
    first, second = wire.open_channel(), wire.open_channel()
    queue = first.queue()
    for _ in range(6):
        first.publish("", queue, b"x")
    assert [first.take(queue, no_ack=False).tag for _ in range(2)] == [1, 2]
    assert [second.take(queue).tag for _ in range(2)] == [1, 2]
    first.consume(queue)
    assert [message.tag for message in first.deliveries(2)] == [3, 4]


@spec("6.4")
def test_a_delivery_says_where_the_message_came_from(channel: WireChannel, unique: Unique) -> None:
    exchange = channel.exchange(unique("x"), "topic")
    queue = channel.bound_queue(exchange, "a.*")
    channel.consume(queue, "t")
    channel.publish(exchange, "a.b", b"x")
    method = channel.deliver().method
    assert (method.consumer_tag, method.delivery_tag, method.redelivered, method.exchange, method.routing_key) == (
        "t",
        1,
        False,
        exchange,
        "a.b",
    )


@spec("6.4", "redelivered from the second delivery on")
def test_redelivered_is_set_from_the_second_delivery_on(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.publish("", queue, b"x")
    channel.consume(queue)
    for expected in (False, True, True):
        message = channel.deliver()
        assert (message.body, message.method.redelivered) == (b"x", expected)
        channel.nack(message.tag)
    channel.deliver(redelivered=True)


@spec("6.4", "what came back without being seen by anybody else is redelivered for the next one too")
def test_redelivered_for_another_consumer(channel: WireChannel, other: WireChannel, unique: Unique) -> None:
    queue = channel.queue(unique("q"), durable=True)
    channel.publish("", queue, b"x")
    channel.reject(channel.take(queue, no_ack=False).tag)
    channel.nothing_more(queue)
    assert other.take(queue).method.redelivered


# --- 6.6 cancel


@spec("6.6", "cancel-ok even for an unknown tag")
def test_cancel_of_an_unknown_tag(channel: WireChannel) -> None:
    assert channel.call(Basic.Cancel, consumer_tag="nobody").consumer_tag == "nobody"
    channel.nothing_more()


@spec("6.6", "unacked stay unacked")
def test_a_cancelled_consumer_keeps_what_it_has(channel: WireChannel) -> None:
    queue = channel.queue()
    tag = channel.consume(queue)
    channel.publish("", queue, b"x")
    message = channel.deliver()
    channel.cancel(tag)
    channel.expect_counts(queue, 0, 0)
    channel.nack(message.tag)
    assert channel.take(queue).body == b"x"


@spec("6.6", "queue gone: basic.cancel to consumers that declare consumer_cancel_notify, and to no others")
def test_only_consumers_that_asked_hear_that_the_queue_is_gone(connect: Connect, channel: WireChannel, unique: Unique) -> None:
    queue = channel.queue(unique("q"), durable=True)
    silent = connect(capabilities={**CAPABILITIES, "consumer_cancel_notify": False}).open_channel()
    told = connect().open_channel()
    silent.consume(queue, "silent")
    told.consume(queue, "told")
    channel.call(Queue.Delete, queue=queue)
    told.expect(Basic.Cancel, consumer_tag="told", nowait=True)
    silent.nothing_more()
    assert silent.call(Basic.Cancel, consumer_tag="silent").consumer_tag == "silent"


@spec("6.6", "the tag is free again after the server's cancel")
def test_a_tag_can_be_used_again_after_the_server_cancelled_it(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.consume(queue, "t")
    channel.call(Queue.Delete, queue=queue)
    channel.expect(Basic.Cancel, consumer_tag="t")
    channel.consume(channel.queue(), "t")


@spec("6.6", "consumers end with their channel; the connection's others live on")
def test_a_channel_takes_its_consumers_along(wire: Wire) -> None:
    first, second = wire.open_channel(), wire.open_channel()
    queue = first.queue()
    first.consume(queue)
    second.consume(queue, "second")
    first.close()
    second.expect_counts(queue, 0, 1)
    second.publish("", queue, b"x")
    assert second.deliver(consumer_tag="second").body == b"x"


@spec("6.6", "a channel that the server closed gives back what it had")
def test_a_failed_channel_gives_back_what_it_had(channel: WireChannel, other: WireChannel, unique: Unique) -> None:
    queue = channel.queue(unique("q"), durable=True)
    channel.publish("", queue, b"x")
    channel.consume(queue)
    channel.deliver()
    channel.send(Queue.Declare, queue="missing", passive=True)
    channel.wire.expect(Channel.Close)
    eventually(lambda: other.counts(queue) == (1, 0))
    assert other.take(queue).method.redelivered

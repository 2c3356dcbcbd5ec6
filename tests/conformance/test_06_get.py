"""Contract 6.4, basic.get."""

from pamqp.commands import Basic

from tests.fixtures import Unique
from tests.spec import spec
from tests.wire import WireChannel


@spec("6.4", "get-ok with the remaining count / get-empty")
def test_get_counts_what_remains(channel: WireChannel) -> None:
    queue = channel.queue()
    for number in range(3):
        channel.publish("", queue, b"%d" % number)
    messages = [channel.take(queue) for _ in range(3)]
    assert [(message.body, message.method.message_count) for message in messages] == [(b"0", 2), (b"1", 1), (b"2", 0)]
    channel.send(Basic.Get, queue=queue)
    channel.expect(Basic.GetEmpty, cluster_id="")


@spec("6.4")
def test_get_says_where_the_message_came_from(channel: WireChannel, unique: Unique) -> None:
    exchange = channel.exchange(unique("x"), "topic")
    queue = channel.bound_queue(exchange, "#")
    channel.publish(exchange, "a.b", b"x")
    method = channel.take(queue).method
    assert (method.exchange, method.routing_key, method.redelivered, method.delivery_tag) == (exchange, "a.b", False, 1)


@spec("6.4", "no_ack: gone at once; else it comes back with its channel")
def test_get_with_and_without_ack(channel: WireChannel) -> None:
    queue = channel.queue()
    for body in (b"1", b"2"):
        channel.publish("", queue, body)
    channel.take(queue, no_ack=True)
    channel.take(queue, no_ack=False)
    channel.close()
    channel.reopen()
    message = channel.take(queue)
    assert (message.body, message.method.redelivered, message.method.message_count) == (b"2", True, 0)


@spec("6.4", "delivery tags are one series over gets and deliveries, no_ack or not")
def test_tags_of_gets_and_deliveries_are_one_series(channel: WireChannel) -> None:
    queue = channel.queue()
    for number in range(4):
        channel.publish("", queue, b"%d" % number)
    assert channel.take(queue, no_ack=True).tag == 1
    assert channel.take(queue, no_ack=False).tag == 2
    channel.consume(queue, no_ack=True)
    assert [message.tag for message in channel.deliveries(2)] == [3, 4]


@spec("6.4", "a missing queue [s] 404")
def test_get_from_a_missing_queue(channel: WireChannel) -> None:
    channel.send(Basic.Get, queue="missing")
    channel.expect_close(404, "NOT_FOUND - no queue 'missing' in vhost '/'", (60, 70))


@spec("6.4", "gets without waiting for the answers")
def test_many_gets_at_once(channel: WireChannel) -> None:
    queue = channel.queue()
    for number in range(50):
        channel.publish("", queue, b"%d" % number)
    for _ in range(51):
        channel.send(Basic.Get, queue=queue, no_ack=True)
    assert [channel.wire.expect_content(Basic.GetOk).body for _ in range(50)] == [b"%d" % number for number in range(50)]
    channel.expect(Basic.GetEmpty)


@spec("6.4", "a consumer and a get share a queue: nobody gets what the other has")
def test_get_beside_a_consumer(channel: WireChannel, other: WireChannel, unique: Unique) -> None:
    queue = channel.queue(unique("q"), durable=True)
    channel.qos(2)
    channel.consume(queue)
    for number in range(4):
        channel.publish("", queue, b"%d" % number)
    assert [message.body for message in channel.deliveries(2)] == [b"0", b"1"]
    assert other.bodies(queue) == [b"2", b"3"]

"""Deadlines of a real broker: its clock, its timers, and what a kill -9 leaves of them."""

import time

from pamqp.commands import Basic

from tests.runtime.conftest import Start
from tests.spec import spec
from tests.wire import Wire, eventually


@spec("7.1", "exact to 10 ms")
def test_a_message_expires_on_time(start: Start) -> None:
    broker = start(memory=True)
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        dead, queue = channel.queue(), channel.queue()
        channel.consume(dead, no_ack=True)
        late = []
        for _ in range(20):
            arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead, "x-message-ttl": 50}
            queue = channel.queue(arguments=arguments)
            begin = time.monotonic()
            channel.publish("", queue, b"1")
            channel.deliver()
            late.append((time.monotonic() - begin) * 1000 - 50)
        assert min(late) > -5, "no earlier than asked for, but for the millisecond that a clock is read in"
        assert sorted(late)[10] < 10, "a busy machine may delay some of them"
        wire.close()


@spec("6.7", "406, and it goes back")
def test_who_does_not_ack_in_time(start: Start) -> None:
    broker = start(memory=True, consumer_timeout="200")
    with Wire.connect(broker) as wire:
        slow, other = wire.open_channel(), wire.open_channel()
        queue = slow.queue()
        slow.consume(queue, "c")
        other.publish("", queue, b"1")
        slow.deliver()
        text = (
            "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 200 ms. "
            "This timeout value can be configured, see consumers doc guide to learn more"
        )
        slow.expect_close(406, text, (0, 0))
        assert other.take(queue).body == b"1"
        wire.close()


def test_too_many_consumers(start: Start) -> None:
    broker = start(memory=True, consumer_max_per_channel="2")
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        queue = channel.queue()
        channel.consume(queue)
        channel.consume(queue)
        channel.send(Basic.Consume, queue=queue)
        channel.expect_connection_close(530, "NOT_ALLOWED - reached maximum (2) of consumers per channel", (60, 20))


def test_deadlines_after_kill_9(start: Start) -> None:
    """What was published with a time to live expires when its time is over, however often the broker is killed."""
    broker = start()
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        channel.queue("dead", durable=True)
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
        channel.queue("queue", durable=True, arguments=arguments | {"x-message-ttl": 600_000})
        channel.confirm_select()
        begin = time.monotonic()
        channel.publish_confirmed("", "queue", b"1", expiration="1500", delivery_mode=2)
        channel.publish_confirmed("", "queue", b"2", delivery_mode=2)
    broker.kill()
    broker.start()
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        waiting = channel.counts("queue")[0]
        if time.monotonic() - begin < 1.4:
            assert waiting == 2
        eventually(lambda: channel.counts("dead")[0] == 1)
        assert 1.4 < time.monotonic() - begin < 4
        assert channel.counts("queue")[0] == 1
        letter = channel.take("dead")
        assert letter.body == b"1" and letter.headers["x-death"][0]["original-expiration"] == "1500"
        wire.close()


@spec("7.9", "keeps delays durable")
@spec("7.10", "x-cache-persistence")
def test_delays_and_what_was_seen_after_kill_9(start: Start) -> None:
    broker = start()
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        channel.queue("queue", durable=True)
        channel.exchange("delayed", "x-delayed-message", durable=True, arguments={"x-delayed-type": "fanout"})
        channel.exchange("once", "x-message-deduplication", durable=True, arguments={"x-cache-size": 10, "x-cache-persistence": "disk"})
        channel.bind("queue", "delayed")
        channel.bind("queue", "once")
        begin = time.monotonic()
        channel.publish_confirmed("delayed", "", b"late", headers={"x-delay": 1500}, delivery_mode=2)
        channel.publish_confirmed("once", "", b"first", headers={"x-deduplication-header": "a"}, delivery_mode=2)
    broker.kill()
    broker.start()
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        assert channel.take("queue").body == b"first"
        channel.publish_confirmed("once", "", b"again", headers={"x-deduplication-header": "a"}, delivery_mode=2)
        channel.publish_confirmed("once", "", b"other", headers={"x-deduplication-header": "b"}, delivery_mode=2)
        eventually(lambda: channel.counts("queue")[0] == 2)
        assert 1.4 < time.monotonic() - begin < 4
        assert channel.bodies("queue") == [b"other", b"late"]
        wire.close()


def test_the_profile_is_told(start: Start) -> None:
    for compat, version in (("3.13", b"3.13.7"), ("4.x", b"4.3.5")):
        broker = start(memory=True, compat=compat)
        with Wire(broker) as wire:
            properties = wire.greet().server_properties
            assert (properties["product"], properties["version"]) == ("RabbitMQ", version.decode())

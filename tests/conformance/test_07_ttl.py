"""Contract 7.1 and 7.2: times to live, of messages and of queues. The times are short, and waited for."""

from typing import Any

import pytest
from pamqp.commands import Basic

from tests.fixtures import Connect, Unique
from tests.spec import Broker, differs, expect_on, spec
from tests.wire import WireChannel, eventually


def mortal(channel: WireChannel, target: str, **arguments: Any) -> str:
    """A queue whose dead letters go to that queue."""
    table = {name.replace("_", "-"): value for name, value in arguments.items()}
    return channel.queue(arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": target, **table})


@pytest.fixture
def second(channel: WireChannel) -> WireChannel:
    """Another channel of the same connection, so that the queues can be exclusive."""
    return channel.wire.open_channel()


def is_there(channel: WireChannel, queue: str) -> bool:
    """Ask with a mandatory publish, for that is no use of the queue: x-expires goes on."""
    channel.publish("", queue, b"x", mandatory=True)
    channel.send(Basic.Qos, prefetch_count=0)
    found = isinstance(channel.wire.peek_frame(channel.number).method, Basic.QosOk)
    if not found:
        channel.returned()
    channel.expect(Basic.QosOk)
    return found


@spec("7.1", "TTL: per queue")
def test_a_queues_messages_expire(channel: WireChannel) -> None:
    queue = channel.queue(arguments={"x-message-ttl": 50})
    channel.publish_confirmed("", queue, b"1", b"2")
    channel.expect_counts(queue, 0, 0)
    assert channel.get(queue) is None


@spec("7.1", "TTL: per message")
def test_a_message_expires(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.publish_confirmed("", queue, b"1", expiration="50")
    channel.publish_confirmed("", queue, b"2")
    channel.expect_counts(queue, 1, 0)
    assert channel.take(queue).body == b"2"


@spec("7.1", "the lower of per-queue and per-message")
@pytest.mark.parametrize(("queue_ms", "message_ms"), [(50, "100000"), (100_000, "50")])
def test_the_lower_counts(channel: WireChannel, queue_ms: int, message_ms: str) -> None:
    queue = channel.queue(arguments={"x-message-ttl": queue_ms})
    channel.publish_confirmed("", queue, b"1", expiration=message_ms)
    channel.expect_counts(queue, 0, 0)


@spec("7.1", "a live head shields what expires behind it")
def test_behind_a_live_head_nothing_expires(channel: WireChannel) -> None:
    shield, queue = channel.queue(arguments={"x-message-ttl": 60}), channel.queue()
    channel.publish_confirmed("", queue, b"1")
    channel.publish_confirmed("", queue, b"2", expiration="20")
    channel.publish_confirmed("", shield, b"x")
    channel.expect_counts(shield, 0, 0)
    assert channel.counts(queue) == (2, 0), "its time is over, for the clock has gone 60 ms on"
    assert channel.take(queue).body == b"1"
    channel.expect_counts(queue, 0, 0)


@spec("7.1", "0 = only to a consumer that takes it at once")
def test_zero_goes_to_a_consumer_or_nowhere(channel: WireChannel, second: WireChannel) -> None:
    dead = channel.queue()
    queue = mortal(channel, dead, x_message_ttl=0)
    channel.publish_confirmed("", queue, b"1")
    channel.expect_counts(dead, 1, 0)
    second.qos(1)
    second.consume(queue, "c")
    channel.publish_confirmed("", queue, b"2")
    assert second.deliver().body == b"2"
    channel.publish_confirmed("", queue, b"3")
    channel.expect_counts(dead, 2, 0)
    assert channel.bodies(dead) == [b"1", b"3"]


@spec("7.1", "of an expiration of 0 likewise")
def test_an_expiration_of_zero(channel: WireChannel, second: WireChannel) -> None:
    queue = channel.queue()
    second.consume(queue, "c", no_ack=True)
    channel.publish_confirmed("", queue, b"1", expiration="0")
    assert second.deliver().body == b"1"
    second.cancel("c")
    channel.publish_confirmed("", queue, b"2", expiration="0")
    channel.expect_counts(queue, 0, 0)


@spec("7.1", "what came back keeps its deadline")
def test_a_requeued_message_expires(channel: WireChannel) -> None:
    queue = channel.queue(arguments={"x-message-ttl": 200})
    channel.publish_confirmed("", queue, b"1")
    taken = channel.take(queue, no_ack=False)
    channel.nack(taken.tag)
    channel.expect_counts(queue, 0, 0)


@spec("7.5", "reasons: expired")
@spec("7.6", "[original-expiration], count, reason, queue, time, exchange, routing-keys; expiration is removed")
@differs(rabbitmq="3.10", why="original-expiration stands last there, and first since 3.13")
def test_an_expired_message_is_a_dead_letter(broker: Broker, channel: WireChannel) -> None:
    dead = channel.queue()
    queue = mortal(channel, dead)
    channel.publish_confirmed("", queue, b"1", expiration="30", headers={"a": 1})
    channel.expect_counts(dead, 1, 0)
    letter = channel.take(dead)
    assert "expiration" not in letter.properties
    death = letter.headers["x-death"][0]
    others, original = ["count", "reason", "queue", "time", "exchange", "routing-keys"], ["original-expiration"]
    assert list(death) == expect_on(broker, leveret=original + others, rabbitmq=others + original)
    assert (death["original-expiration"], death["count"], death["reason"], death["queue"]) == ("30", 1, "expired", queue)
    assert letter.headers["x-first-death-reason"] == "expired" and letter.headers["a"] == 1


@spec("7.6", "original-expiration is the message's own")
def test_a_queues_time_is_no_original_expiration(channel: WireChannel) -> None:
    dead = channel.queue()
    queue = mortal(channel, dead, x_message_ttl=30)
    channel.publish_confirmed("", queue, b"1")
    channel.expect_counts(dead, 1, 0)
    assert "original-expiration" not in channel.take(dead).headers["x-death"][0]


@spec("7.7", "expired messages don't go round for ever")
def test_a_cycle_of_expiries_ends(channel: WireChannel, unique: Unique) -> None:
    one, two = unique("one"), unique("two")
    for queue, following in ((one, two), (two, one)):
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": following, "x-message-ttl": 20}
        channel.queue(queue, arguments=arguments)
    channel.publish_confirmed("", one, b"1")
    eventually(lambda: channel.counts(one) == (0, 0) and channel.counts(two) == (0, 0))


@spec("7.5", "delayed retry through a queue with a time to live")
def test_retry_after_a_delay(channel: WireChannel, unique: Unique) -> None:
    work, retry = unique("work"), unique("retry")
    channel.queue(work, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": retry})
    channel.queue(retry, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": work, "x-message-ttl": 30})
    channel.publish_confirmed("", work, b"1")
    for attempt in range(3):
        channel.expect_counts(work, 1, 0)
        taken = channel.take(work, no_ack=False)
        counts = {death["queue"]: death["count"] for death in (taken.headers or {}).get("x-death", [])}
        assert counts == ({} if not attempt else {work: attempt, retry: attempt})
        channel.reject(taken.tag, requeue=False)
    channel.expect_counts(work, 1, 0)


@spec("7.2", "the queue goes after that long without consumers, gets or redeclares")
def test_an_unused_queue_goes(channel: WireChannel, unique: Unique) -> None:
    queue = channel.queue(unique("unused"), arguments={"x-expires": 100})
    eventually(lambda: not is_there(channel, queue))


@spec("7.2", "its messages are not dead-lettered")
def test_the_messages_of_an_unused_queue_are_no_dead_letters(channel: WireChannel, second: WireChannel) -> None:
    dead = channel.queue()
    queue = mortal(channel, dead, x_expires=100)
    channel.publish_confirmed("", queue, b"1")
    eventually(lambda: not is_there(second, queue))
    assert channel.counts(dead) == (0, 0)


@spec("7.2", "a consumer keeps it")
def test_a_queue_with_a_consumer_stays(channel: WireChannel, second: WireChannel) -> None:
    clock = channel.queue(arguments={"x-expires": 150})
    queue = channel.queue(arguments={"x-expires": 50})
    second.consume(queue, "c")
    eventually(lambda: not is_there(channel, clock))
    assert channel.counts(queue) == (0, 1)
    second.cancel("c")
    eventually(lambda: not is_there(channel, queue))


@spec("7.1", "a quorum queue's messages expire too")
def test_a_quorum_queues_messages_expire(channel: WireChannel, unique: Unique) -> None:
    queue = channel.queue(unique("quorum"), durable=True, arguments={"x-queue-type": "quorum", "x-message-ttl": 50})
    channel.publish_confirmed("", queue, b"1")
    channel.expect_counts(queue, 0, 0)
    assert channel.get(queue) is None


@spec("1.12", "what a lost connection held expires when it comes back")
def test_what_comes_back_late_has_expired(connect: Connect, channel: WireChannel, unique: Unique) -> None:
    clock = channel.queue(arguments={"x-message-ttl": 100})
    queue = channel.queue(unique("shared"), exclusive=False, arguments={"x-message-ttl": 50})
    lost = connect()
    channel.publish_confirmed("", queue, b"1")
    lost.open_channel().take(queue, no_ack=False)
    channel.publish_confirmed("", clock, b"x")
    channel.expect_counts(clock, 0, 0)
    lost.abort()
    channel.expect_counts(queue, 0, 0)
    assert channel.get(queue) is None

"""Contract 7.5 to 7.7: where dead letters go, and what their headers say. (What expires, and delivery limits, come with times to live.)"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pamqp.commands import Queue

from tests.fixtures import Unique
from tests.spec import Broker, differs, expect_on, spec
from tests.wire import WireChannel

DEATH_KEYS = ["count", "reason", "queue", "time", "exchange", "routing-keys"]


def mortal(channel: WireChannel, key: str | None = None, exchange: str = "", **arguments: Any) -> str:
    """A queue whose dead letters go there."""
    table = {"x-dead-letter-exchange": exchange, **{name.replace("_", "-"): value for name, value in arguments.items()}}
    return channel.queue(arguments=table | ({} if key is None else {"x-dead-letter-routing-key": key}))


def reject(channel: WireChannel, queue: str, count: int = 1) -> None:
    for _ in range(count):
        channel.reject(channel.take(queue, no_ack=False).tag, requeue=False)


def arrived(channel: WireChannel, queue: str) -> Any:
    """The dead letter, once it is there."""
    channel.expect_counts(queue, 1, 0)
    return channel.take(queue, no_ack=True)


@spec("7.5", "its name and the new key are what the consumer sees")
@spec("7.6", "x-death: count, reason, queue, time, exchange, routing-keys")
def test_a_rejected_message_goes_to_the_dead_letter_exchange(channel: WireChannel) -> None:
    target = channel.queue()
    source = mortal(channel, target)
    channel.publish("", source, b"1", headers={"a": 1}, message_id="m")
    reject(channel, source)
    letter = arrived(channel, target)
    assert (letter.method.exchange, letter.method.routing_key, letter.body) == ("", target, b"1")
    assert letter.properties["message_id"] == "m" and letter.headers["a"] == 1
    (death,) = letter.headers["x-death"]
    assert sorted(death) == sorted(DEATH_KEYS)
    assert abs(death.pop("time") - datetime.now(UTC)) < timedelta(minutes=1)
    assert death == {"count": 1, "reason": "rejected", "queue": source, "exchange": "", "routing-keys": [source]}


@spec("7.6", "x-first-death-reason/-queue/-exchange never change; x-last-death-* follow (3.13)")
@differs(rabbitmq="3.10", why="x-last-death-* came with 3.13")
def test_the_first_death_and_the_last(broker: Broker, channel: WireChannel) -> None:
    last = channel.queue()
    second = mortal(channel, last)
    first = mortal(channel, second)
    channel.publish("", first, b"1")
    reject(channel, first)
    channel.expect_counts(second, 1, 0)
    reject(channel, second)
    headers = arrived(channel, last).headers
    names = ("reason", "queue", "exchange")
    assert [headers[f"x-first-death-{name}"] for name in names] == ["rejected", first, ""]
    last_death = expect_on(broker, leveret=["rejected", second, ""], rabbitmq=[None] * 3)
    assert [headers.get(f"x-last-death-{name}") for name in names] == last_death
    assert [death["queue"] for death in headers["x-death"]] == [second, first], "most recent first"


@spec("7.6", "A repeat raises count and moves to the front; time, exchange, keys stay those of the first")
def test_a_repeat_counts_up_and_moves_to_the_front(channel: WireChannel, unique: Unique) -> None:
    one, two = unique("one"), unique("two")
    for queue, other in ((one, two), (two, one)):
        channel.queue(queue, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": other})
    channel.publish("", one, b"1", headers={"CC": ["nowhere"]})
    for queue in (one, two, one, two):
        channel.expect_counts(queue, 1, 0)
        reject(channel, queue)
    deaths = arrived(channel, one).headers["x-death"]
    assert [(death["queue"], death["count"], death["routing-keys"]) for death in deaths] == [(two, 2, [two]), (one, 2, [one, "nowhere"])]


@spec("7.5", "published with the original routing keys")
@spec("7.6", "routing-keys (CC in, BCC out)")
def test_without_a_key_of_its_own_a_dead_letter_keeps_its_keys(channel: WireChannel, unique: Unique) -> None:
    target, copy = channel.queue(), channel.queue()
    dlx = channel.exchange(unique("dlx"), auto_delete=True)
    source = mortal(channel, exchange=dlx)
    channel.call(Queue.Bind, queue=target, exchange=dlx, routing_key=source)
    channel.call(Queue.Bind, queue=copy, exchange=dlx, routing_key="copy")
    channel.publish("", source, b"1", headers={"CC": ["copy"], "BCC": ["hidden"]})
    reject(channel, source)
    letter = arrived(channel, target)
    assert (letter.method.exchange, letter.method.routing_key) == (dlx, source)
    assert letter.headers["x-death"][0]["routing-keys"] == [source, "copy"]
    assert letter.headers["CC"] == ["copy"] and "BCC" not in letter.headers
    assert arrived(channel, copy).body == b"1"


@spec("7.5", "missing exchange: dropped")
def test_without_the_exchange_it_is_dropped(channel: WireChannel) -> None:
    source = mortal(channel, exchange="not.there")
    channel.publish("", source, b"1")
    reject(channel, source)
    channel.nothing_more(source)


@spec("7.3", "drop-head drops the head and dead-letters it (maxlen)")
@pytest.mark.parametrize("limit", [{"x_max_length": 2}, {"x_max_length_bytes": 2}], ids=str)
def test_what_a_limit_drops_is_dead_lettered(channel: WireChannel, limit: dict[str, int]) -> None:
    target = channel.queue()
    source = mortal(channel, target, **limit)
    channel.publish_confirmed("", source, b"1", b"2", b"3", b"4")
    channel.expect_counts(target, 2, 0)
    letters = [channel.take(target, no_ack=True) for _ in range(2)]
    assert [letter.body for letter in letters] == [b"1", b"2"]
    assert [letter.headers["x-death"][0]["reason"] for letter in letters] == ["maxlen"] * 2


@spec("7.7", "a queue already in the death list with no `rejected` from the head up to that entry is skipped")
def test_what_was_not_rejected_does_not_go_round(channel: WireChannel, unique: Unique) -> None:
    other = channel.queue()
    fan_out = channel.exchange(unique("round"), "fanout", auto_delete=True)
    source = mortal(channel, exchange=fan_out, x_max_length=1)
    for queue in (source, other):
        channel.call(Queue.Bind, queue=queue, exchange=fan_out)
    channel.publish_confirmed("", source, b"1", b"2")
    assert arrived(channel, other).body == b"1", "the other queue gets it all the same"
    assert channel.take(source, no_ack=True).body == b"2"
    channel.nothing_more(source)


@spec("7.7")
def test_what_was_rejected_does_go_round(channel: WireChannel) -> None:
    name = channel.queue(arguments={"x-dead-letter-exchange": ""})
    channel.publish("", name, b"1")
    for count in (1, 2, 3):
        channel.expect_counts(name, 1, 0)
        taken = channel.take(name, no_ack=False)
        deaths = taken.headers.get("x-death", []) if taken.headers else []
        assert [death["count"] for death in deaths] == ([count - 1] if count > 1 else [])
        channel.reject(taken.tag, requeue=False)


@spec("7.5", "a delete, a purge and an ack are no death")
def test_what_is_deleted_purged_or_acked_is_no_dead_letter(channel: WireChannel) -> None:
    target = channel.queue()
    source = mortal(channel, target)
    channel.publish("", source, b"1")
    channel.publish("", source, b"2")
    channel.ack(channel.take(source, no_ack=False).tag)
    channel.call(Queue.Purge, queue=source)
    channel.publish("", source, b"3")
    channel.call(Queue.Delete, queue=source)
    channel.nothing_more(target)

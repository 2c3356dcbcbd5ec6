"""Contract 4.8, quorum queues: what they refuse, and that they work at first contact."""

from typing import Any

import pytest
from pamqp.commands import Basic, Queue

from tests.fixtures import Connect, Unique
from tests.spec import Broker, differs, expect_on, spec
from tests.wire import WireChannel, eventually

QUORUM = {"x-queue-type": "quorum"}


def quorum(channel: WireChannel, name: str, **arguments: Any) -> str:
    return channel.queue(name, durable=True, arguments=QUORUM | arguments)


@spec("4.8", "auto_delete, exclusive, non-durable [s] 406, looked at in that order")
@pytest.mark.parametrize(
    ("flags", "wrong"),
    [
        ({}, "non-durable"),
        ({"exclusive": True}, "exclusive-owner"),
        ({"exclusive": True, "durable": True}, "exclusive-owner"),
        ({"auto_delete": True}, "auto-delete"),
        ({"auto_delete": True, "exclusive": True}, "auto-delete"),
        ({"durable": True, "auto_delete": True}, "auto-delete"),
    ],
)
def test_properties_that_a_quorum_queue_can_not_have(channel: WireChannel, unique: Unique, flags: dict[str, bool], wrong: str) -> None:
    queue = unique("quorum")
    channel.send(Queue.Declare, queue=queue, arguments=QUORUM, **flags)
    channel.expect_close(406, f"PRECONDITION_FAILED - invalid property '{wrong}' for queue '{queue}' in vhost '/'", (50, 10))


@spec("4.8", "server-named")
def test_a_quorum_queue_needs_a_name(channel: WireChannel) -> None:
    channel.send(Queue.Declare, queue="", durable=True, arguments=QUORUM)
    channel.expect_close(406, "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue", (50, 10))


@spec("4.8", "x-max-priority and other arguments of classic queues and streams")
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("x-max-priority", 3),
        ("x-queue-mode", "lazy"),
        ("x-queue-version", 2),
        ("x-queue-master-locator", "min-masters"),
        ("x-max-age", "1h"),
        ("x-stream-max-segment-size-bytes", 1000),
    ],
)
def test_an_argument_of_another_queue_type(channel: WireChannel, unique: Unique, argument: str, value: Any) -> None:
    queue = unique("quorum")
    channel.send(Queue.Declare, queue=queue, durable=True, arguments=QUORUM | {argument: value})
    text = f"PRECONDITION_FAILED - invalid arg '{argument}' for queue '{queue}' in vhost '/' of queue type rabbit_quorum_queue"
    channel.expect_close(406, text, (50, 10))


@spec("4.8")
@pytest.mark.parametrize(
    ("argument", "value", "reason"),
    [
        ("x-quorum-initial-group-size", 0, "{value_zero,0}"),
        ("x-quorum-initial-group-size", -1, "{value_negative,-1}"),
        ("x-dead-letter-strategy", "foo", "invalid_dlx_strategy"),
        ("x-max-length", -1, "{value_negative,-1}"),
        ("x-message-ttl", "soon", '"expected integer, got longstr"'),
        ("x-queue-leader-locator", "foo", "invalid_queue_locator_arg"),
    ],
)
def test_an_argument_out_of_its_range(channel: WireChannel, unique: Unique, argument: str, value: Any, reason: str) -> None:
    queue = unique("quorum")
    channel.send(Queue.Declare, queue=queue, durable=True, arguments=QUORUM | {argument: value})
    channel.expect_close(406, f"PRECONDITION_FAILED - invalid arg '{argument}' for queue '{queue}' in vhost '/': {reason}", (50, 10))


@spec("4.8")
@pytest.mark.parametrize(
    "arguments",
    [
        {"x-delivery-limit": 5},
        {"x-max-length": 10},
        {"x-overflow": "reject-publish"},
        {"x-dead-letter-exchange": "amq.fanout", "x-dead-letter-routing-key": "k", "x-dead-letter-strategy": "at-most-once"},
        {"x-single-active-consumer": True},
        {"x-quorum-initial-group-size": 1},
        {"x-queue-leader-locator": "client-local"},
        {"x-expires": 3_600_000, "x-message-ttl": 3_600_000},
        {"mine": 1},
    ],
)
def test_arguments_of_a_quorum_queue(channel: WireChannel, unique: Unique, arguments: dict[str, Any]) -> None:
    queue = unique("quorum")
    for _ in range(2):
        quorum(channel, queue, **arguments)


@spec("4.8", "served from the same log: a quorum queue is declared, published to, consumed from, acked")
def test_work_through_a_quorum_queue(channel: WireChannel, unique: Unique) -> None:
    queue = quorum(channel, unique("quorum"))
    channel.publish_confirmed("", queue, b"1", b"2", b"3", delivery_mode=2)
    eventually(lambda: channel.counts(queue) == (3, 0))
    channel.qos(1)
    channel.consume(queue)
    for body in (b"1", b"2", b"3"):
        message = channel.deliver(redelivered=False)
        assert message.body == body
        channel.ack(message.tag)
    eventually(lambda: channel.counts(queue) == (0, 1))


@spec("4.8")
def test_a_quorum_queue_gives_back_what_is_not_acked(channel: WireChannel, other: WireChannel, unique: Unique) -> None:
    queue = quorum(channel, unique("quorum"))
    channel.publish_confirmed("", queue, b"x")
    eventually(lambda: channel.counts(queue)[0] == 1)
    assert channel.take(queue, no_ack=False).body == b"x"
    channel.wire.close()
    message = eventually(lambda: other.get(queue))
    assert (message.body, message.method.redelivered) == (b"x", True)


@spec("4.8", "delete with if-unused or if-empty [h] 540")
@pytest.mark.parametrize("flag", ["if_unused", "if_empty"])
def test_conditional_delete_of_a_quorum_queue(channel: WireChannel, unique: Unique, flag: str) -> None:
    queue = quorum(channel, unique("quorum"))
    channel.send(Queue.Delete, queue=queue, **{flag: True})
    name = flag.replace("_", "-")
    reason = f"queue.delete operations with {name} flag set are not supported by quorum queues"
    channel.expect_connection_close(540, f"NOT_IMPLEMENTED - cannot delete queue '{queue}' in vhost '/'. {reason}", (50, 40))


@spec("4.8", "consuming under global QoS [h] 540")
def test_no_global_qos_for_a_quorum_queue(channel: WireChannel, unique: Unique) -> None:
    queue = quorum(channel, unique("quorum"))
    channel.qos(5, everywhere=True)
    channel.send(Basic.Consume, queue=queue)
    text = f"NOT_IMPLEMENTED - queue '{queue}' in vhost '/' does not support global qos"
    channel.expect_connection_close(540, text, (60, 20))


@spec("6.2", "basic.get on a single-active quorum queue: 405")
def test_get_on_a_single_active_quorum_queue(channel: WireChannel, unique: Unique) -> None:
    queue = quorum(channel, unique("quorum"), **{"x-single-active-consumer": True})
    channel.consume(queue)
    channel.send(Basic.Get, queue=queue)
    channel.expect_close(405, None, (60, 70))


@spec("4.8", "a quorum queue is purged and deleted like any other")
def test_purge_and_delete(channel: WireChannel, unique: Unique) -> None:
    queue = quorum(channel, unique("quorum"))
    channel.publish_confirmed("", queue, b"1", b"2")
    eventually(lambda: channel.counts(queue)[0] == 2)
    assert channel.call(Queue.Purge, queue=queue).message_count == 2
    channel.publish_confirmed("", queue, b"3")
    eventually(lambda: channel.counts(queue)[0] == 1)
    assert channel.call(Queue.Delete, queue=queue).message_count == 1


def _taken(channel: WireChannel, queue: str, count: int) -> dict[bytes, int]:
    """The tags of so many messages, by body."""
    taken = [channel.take(queue, no_ack=False) for _ in range(count)]
    return {message.body: message.tag for message in taken}


@spec("6.5", "requeue: quorum with a delivery limit to a returns list served first, without to the tail")
@pytest.mark.parametrize(("arguments", "order"), [({}, "456312"), ({"x-delivery-limit": 5}, "312456")], ids=["tail", "first"])
def test_what_comes_back_waits_elsewhere(channel: WireChannel, unique: Unique, arguments: dict[str, int], order: str) -> None:
    queue = quorum(channel, unique("quorum"), **arguments)
    channel.publish_confirmed("", queue, b"1", b"2", b"3", b"4", b"5", b"6")
    eventually(lambda: channel.counts(queue)[0] == 6)
    tags = _taken(channel, queue, 3)
    for body in (b"3", b"1", b"2"):
        channel.nack(tags[body])
    eventually(lambda: channel.counts(queue)[0] == 6)
    assert b"".join(channel.bodies(queue)).decode() == order


@spec("7.8", "x-delivery-count header absent on the first delivery (3.13; 0 on the oracle)")
@differs(rabbitmq="3.10", why="it says 0 on the first delivery")
def test_the_delivery_count(broker: Broker, channel: WireChannel, unique: Unique) -> None:
    queue = quorum(channel, unique("quorum"))
    channel.publish_confirmed("", queue, b"1")
    seen = []
    for _ in range(3):
        eventually(lambda: channel.counts(queue)[0] == 1)
        message = channel.take(queue, no_ack=False)
        seen.append((message.headers or {}).get("x-delivery-count"))
        channel.nack(message.tag)
    assert seen == [expect_on(broker, leveret=None, rabbitmq=0), 1, 2]


@spec("7.8", "x-delivery-limit: N allows N+1 deliveries, then dead-letters with delivery_limit")
@pytest.mark.parametrize("how", ["nack", "reject", "close"])
def test_the_delivery_limit(connect: Connect, channel: WireChannel, unique: Unique, how: str) -> None:
    dead = channel.queue()
    queue = quorum(channel, unique("quorum"), **{"x-delivery-limit": 1, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    channel.publish_confirmed("", queue, b"1")
    second = connect().open_channel()
    for _ in range(2):
        eventually(lambda: channel.counts(queue)[0] == 1)
        message = second.take(queue, no_ack=False)
        if how == "close":
            second.close()
            second = second.wire.open_channel()
        else:
            getattr(second, how)(message.tag)
    eventually(lambda: channel.counts(dead)[0] == 1)
    letter = channel.take(dead)
    assert [(death["reason"], death["queue"], death["count"]) for death in letter.headers["x-death"]] == [("delivery_limit", queue, 1)]
    assert channel.counts(queue) == (0, 0)


@spec("7.8", "a negative limit is below every count")
def test_a_negative_delivery_limit(channel: WireChannel, unique: Unique) -> None:
    queue = quorum(channel, unique("quorum"), **{"x-delivery-limit": -1})
    channel.publish_confirmed("", queue, b"1")
    eventually(lambda: channel.counts(queue)[0] == 1)
    channel.nack(channel.take(queue, no_ack=False).tag)
    channel.nothing_more(queue)

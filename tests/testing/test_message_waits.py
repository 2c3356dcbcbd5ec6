"""Waiting for what becomes of messages."""

from typing import Any

import pytest
from pamqp.commands import Basic, Exchange, Queue

from tests.testing.box import Box
from tests.testing.supervised import Supervised
from tests.testing.test_waits import waiting, waits
from tests.wire import WireChannel


@pytest.fixture
def channel(box: Box) -> WireChannel:
    """With an exchange `shop`, a queue `orders` bound to it by `orders.*`, and `dead` for its dead letters."""
    channel = box.wire("worker").open_channel()
    channel.call(Exchange.Declare, exchange="shop", exchange_type="topic")
    channel.queue("dead", exclusive=False)
    channel.queue("orders", exclusive=False, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
    channel.bind("orders", "shop", "orders.*")
    return channel


def test_each_step_of_a_life(box: Box, channel: WireChannel) -> None:
    def wait_for(state: str, queue: str | None = "orders") -> Any:
        return waiting(box, "message", queue=queue, message_id="m1", state=state)

    with wait_for("published") as published, wait_for("routed") as routed, wait_for("ready") as ready:
        channel.publish("shop", "orders.new", b"x", message_id="m1")
        assert [done()["status"] for done in (published, routed, ready)] == [200] * 3
    with wait_for("delivered") as delivered, wait_for("unacked") as unacked:
        channel.consume("orders", "c")
        first = channel.deliver()
        assert delivered()["status"] == unacked()["status"] == 200
    with wait_for("requeued") as requeued:
        channel.nack(first.tag)
        assert requeued()["status"] == 200
    with wait_for("rejected") as rejected, wait_for("dead-lettered") as dead, wait_for("ready", "dead") as there:
        channel.reject(channel.deliver().tag, requeue=False)
        assert [done()["status"] for done in (rejected, dead, there)] == [200] * 3
    with wait_for("acked", "dead") as acked:
        channel.ack(channel.take("dead", no_ack=False).tag)
        assert acked()["status"] == 200
    # What has happened counts, what is so no more doesn't.
    box.wait("message", queue="orders", message_id="m1", state="delivered")
    box.reason("message", queue="orders", message_id="m1", state="unacked")


def test_what_else_happens_to_it_is_not_it(box: Box, channel: WireChannel) -> None:
    with waiting(box, "message", queue="orders", state="acked") as acked:
        channel.publish("shop", "orders.new", b"x")
        tag = channel.take("orders", no_ack=False).tag
        box.wait("message", queue="orders", state="delivered")
        assert waits(box) == 1
        channel.ack(tag)
        assert acked()["status"] == 200


def test_so_many(box: Box, channel: WireChannel) -> None:
    """A number is the least: they may go by three at a time."""
    with waiting(box, "message", queue="orders", state="acked", count=2) as two:
        with waiting(box, "message", exchange="shop", routing_key="orders.new", count={"min": 3}) as three:
            for _ in range(3):
                channel.publish("shop", "orders.new", b"x")
            assert three()["status"] == 200
        for _ in range(3):
            tag = channel.take("orders", no_ack=False).tag
        channel.ack(tag, multiple=True)
        assert two()["status"] == 200
    assert box.reason("message", queue="orders", state="acked", count=5) == (
        "waited 0.05 s for at least 5 messages of queue 'orders' to be acked; there are 3"
    )


def test_unroutable(box: Box, channel: WireChannel) -> None:
    with waiting(box, "message", exchange="shop", state="unroutable") as done:
        channel.publish("shop", "order.new", b"x")
        assert done()["status"] == 200


def test_what_is_told_of_those_that_are_not_so(box: Box, channel: WireChannel) -> None:
    assert box.reason("message", queue="orders", state="acked") == (
        "waited 0.05 s for a message of queue 'orders' to be acked; there is none: nothing was published"
    )
    channel.publish("shop", "order.new", b"x")
    box.wait("message", state="unroutable")
    assert box.reason("message", queue="orders") == (
        "waited 0.05 s for a message of queue 'orders' to be published; there is none; "
        "1 was published to exchange 'shop' with key 'order.new' and matched no binding; nearest: 'orders.*'"
    )
    for _ in range(3):
        channel.publish("shop", "orders.new", b"x")
    channel.take("orders", no_ack=False)
    assert box.reason("message", queue="orders", state="acked", message_id="m1").startswith(
        "waited 0.05 s for a message of queue 'orders' with message_id 'm1' to be acked; there is none; 1 was published to exchange 'shop'"
    )
    assert box.reason("message", queue="orders", state="acked") == (
        "waited 0.05 s for a message of queue 'orders' to be acked; there is none; "
        "what became last of those that fit otherwise: 2 ready, 1 unacked"
    )
    channel.ack(1)
    assert box.reason("message", queue="orders", state="acked", count=2) == (
        "waited 0.05 s for at least 2 messages of queue 'orders' to be acked; there is 1; "
        "what became last of the others that fit otherwise: 2 ready"
    )


def test_a_state_that_there_is_not(box: Box) -> None:
    reason = box.ask("POST", "/wait", {"for": "message", "state": "eaten"}, status=400)["reason"]
    assert reason.startswith("state: expected one of acked, announced, ") and reason.endswith(', not "eaten"')


def test_those_that_were_there_at_the_start(tmp_path: Any) -> None:
    """They are read from the disk to be told apart."""
    with Supervised(tmp_path / "data") as broker:
        box = Box(broker)
        channel = box.wire().open_channel()
        channel.call(Queue.Declare, queue="q", durable=True)
        channel.confirm_select()
        for index in range(3):
            channel.publish("", "q", b"x", delivery_mode=2, message_id=f"m{index}")
        channel.expect(Basic.Ack)
        box.wait("idle")
        broker.stop()
        broker.start()
        box.wait("message", queue="q", message_id="m1", state="ready")
        box.wait("message", routing_key="q", count=3)
        assert "there is none" in box.reason("message", message_id="m3")

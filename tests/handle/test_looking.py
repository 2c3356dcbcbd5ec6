"""Looking at messages and their lives, and assertions that say why, through the handle."""

import asyncio
import threading
from datetime import UTC
from typing import Any

import pika
import pytest

from leveret import Broker, Refused
from tests.handle.clients import channel_of

SECONDS = 0.05
"""For what is not going to happen."""


def test_messages_are_seen_and_not_taken(sandbox: Broker) -> None:
    with channel_of(sandbox, "orders", confirms=True) as channel:
        properties = pika.BasicProperties(message_id="m1", headers={"n": 1}, expiration="60000", content_type="application/json")
        channel.basic_publish("", "orders", b'{"a": 1}', properties)
        channel.basic_publish("", "orders", b"\xff")
        channel.basic_get("orders")
        for _ in range(2):
            held, ready = sandbox.messages("orders")
            assert (held.state, ready.state) == ("unacked", "ready")
            assert held.json() == {"a": 1} and held.text == '{"a": 1}' and ready.body == b"\xff"
            assert (held.message_id, held.headers, held.properties["content_type"]) == ("m1", {"n": 1}, "application/json")
            assert (held.exchange, held.routing_key) == ("", "orders")
            assert held.held_by is not None and ready.held_by is None and not ready.redelivered
            assert ready.expires_at is None
    with pytest.raises(Refused, match="404"):
        sandbox.messages("nothing")


def test_the_life_of_a_message(sandbox: Broker) -> None:
    with channel_of(sandbox, "orders", confirms=True) as channel:
        channel.queue_bind("orders", "amq.topic", "order.*")
        channel.basic_publish("amq.topic", "order.new", b"1", pika.BasicProperties(message_id="m1"))
        channel.basic_publish("amq.topic", "orders.new", b"2")
        tag = channel.basic_get("orders")[0].delivery_tag
        channel.basic_ack(tag)
        sandbox.wait_for("orders", messages=0)
        (life,) = sandbox.history(queue="orders")
        assert (life.message_id, life.body, life.state, life.queues) == ("m1", b"1", "acked", ["orders"])
        assert [event.what for event in life.events][-1] == "acked" and life.published_at.tzinfo is UTC
        assert life.unroutable is None and "order.*" in str(life.routed) and life.by["user"] == sandbox.user
        assert all(str(event) for event in life.events)
        (lost,) = sandbox.history(routing_key="orders.new")
        assert lost.unroutable and lost.queues == []
        assert len(sandbox.history()) == 2 and len(sandbox.history(limit=1)) == 1
        assert "order.new" in sandbox.report()


def test_assertions_that_hold(sandbox: Broker) -> None:
    with channel_of(sandbox, "orders", "dead", confirms=True) as channel:
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
        channel.queue_declare("work", arguments=arguments)
        sandbox.assert_empty("orders")
        sandbox.assert_published(count=0)
        for queue in ("orders", "orders", "work"):
            channel.basic_publish("", queue, b"1", pika.BasicProperties(message_id=queue))
        channel.basic_publish("", "nothing", b"1")
        assert len(sandbox.assert_messages("orders", 2)) == 2
        assert len(sandbox.assert_published(routing_key="orders", count=2)) == 2
        sandbox.assert_published(exchange="", message_id="work")
        (life,) = sandbox.assert_unroutable(routing_key="nothing")
        assert life.unroutable
        channel.basic_ack(channel.basic_get("orders")[0].delivery_tag)
        channel.basic_reject(channel.basic_get("work")[0].delivery_tag, requeue=False)
        sandbox.assert_acked("orders", count=1)
        sandbox.assert_delivered("orders", message_id="orders")
        sandbox.assert_rejected("work")
        sandbox.assert_dead_lettered("work", count=1)
        sandbox.assert_messages("dead", 1)
        sandbox.assert_expired("orders", count=0)


def test_assertions_say_why(sandbox: Broker) -> None:
    with channel_of(sandbox, "orders", confirms=True) as channel:
        channel.exchange_declare("shop", "topic")
        channel.queue_bind("orders", "shop", "orders.*")
        channel.basic_publish("shop", "order.new", b"1")
        text = r"expected 1 message in 'orders', found 0; .*'shop' with key 'order.new'.*nearest: 'orders\.\*'"
        with pytest.raises(AssertionError, match=text):
            sandbox.assert_messages("orders", 1, timeout=SECONDS)
        with pytest.raises(AssertionError, match=r"expected a message acked in queue 'orders', found none"):
            sandbox.assert_acked("orders", timeout=SECONDS)
        with pytest.raises(AssertionError, match=r"expected no messages unroutable to exchange 'shop', found 1"):
            sandbox.assert_unroutable(exchange="shop", count=0, timeout=SECONDS)
        channel.basic_publish("", "orders", b"1")
        with pytest.raises(AssertionError, match=r"expected no messages in 'orders', found 1"):
            sandbox.assert_empty("orders", timeout=SECONDS)


def test_one_message_too_many_is_seen(sandbox: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it comes when there were enough already: somebody was still at work."""
    begun = threading.Event()
    really_wait = Broker._wait_for

    def wait(broker: Broker, what: str, *arguments: Any, **keywords: Any) -> None:
        if what == "idle":
            begun.set()
        really_wait(broker, what, *arguments, **keywords)

    def work() -> None:
        begun.wait(10)
        transaction.tx_commit()

    with channel_of(sandbox, "orders", confirms=True) as channel, channel_of(sandbox) as transaction:
        transaction.tx_select()
        transaction.basic_publish("", "orders", b"2")
        channel.basic_publish("", "orders", b"1")
        monkeypatch.setattr(Broker, "_wait_for", wait)
        working = threading.Thread(target=work)
        working.start()
        with pytest.raises(AssertionError, match="expected 1 message in 'orders', found 2"):
            sandbox.assert_messages("orders", 1)
        working.join()


def test_coroutines(sandbox: Broker) -> None:
    async def main() -> None:
        with channel_of(sandbox, "orders", confirms=True) as channel:
            channel.basic_publish("", "orders", b"1")
        await sandbox.aio.assert_messages("orders", 1)
        with pytest.raises(AssertionError, match="found 1"):
            await sandbox.aio.assert_empty("orders", timeout=SECONDS)

    asyncio.run(main())


def test_an_assertion_about_a_queue_that_is_not_there_fails(sandbox: Broker) -> None:
    with channel_of(sandbox, "pay", confirms=True) as channel:
        channel.basic_publish("", "pya", b"1")
        text = r"expected 1 message in 'pya', but there is no queue 'pya' in vhost .*, nearest: 'pay'; 1 was published .*'pya'"
        with pytest.raises(AssertionError, match=text):
            sandbox.assert_messages("pya", 1, timeout=SECONDS)
        with pytest.raises(AssertionError, match="expected no messages in 'pya', but there is no queue"):
            sandbox.assert_empty("pya", timeout=SECONDS)


@pytest.mark.parametrize("timeout", [float("inf"), float("nan"), None, "1"], ids=str)
def test_a_timeout_is_a_number_of_seconds(sandbox: Broker, timeout: Any) -> None:
    with pytest.raises(ValueError, match=r"timeout: expected seconds, not "):
        sandbox.wait_until_idle(timeout=timeout)


@pytest.mark.parametrize("seconds", [float("inf"), float("nan")], ids=str)
def test_the_broker_takes_finite_numbers(sandbox: Broker, seconds: float) -> None:
    with pytest.raises(ValueError, match="finite numbers only"):
        sandbox.advance(seconds)

"""What may do harm: each found with a client that does it, and not with one that does it right."""

from typing import Any

from tests.runtime.process import soon
from tests.testing.sandboxed import Sandboxed
from tests.testing.test_findings_losses import publish


def risks(sandbox: Sandboxed) -> list[str]:
    return sandbox.codes(severity="risks")


def ignore(*_arguments: Any) -> None:
    """A callback that takes anything."""


def test_a_fanout_exchange_without_anybody(sandbox: Sandboxed) -> None:
    with sandbox.channel(confirms=True) as channel:
        channel.queue_declare("news", exclusive=True)
        channel.queue_bind("news", "amq.fanout")
        channel.basic_publish("amq.fanout", "", b"1")
        assert sandbox.findings() == []
        channel.queue_unbind("news", "amq.fanout")
        channel.basic_publish("amq.fanout", "", b"1")
    assert sandbox.codes() == ["no-subscriber"]


def test_a_get_without_acknowledgement(sandbox: Sandboxed) -> None:
    with sandbox.channel() as channel:
        channel.queue_declare("own", exclusive=True)
        channel.queue_declare("orders", durable=True)
        channel.basic_get("own", auto_ack=True)
        channel.basic_get("orders")
        assert risks(sandbox) == []
        channel.basic_get("orders", auto_ack=True)
    assert risks(sandbox) == ["get-auto-ack"]


def test_unlimited_prefetch(sandbox: Sandboxed) -> None:
    with sandbox.channel() as channel:
        channel.queue_declare("orders", durable=True)
        channel.queue_declare("own", exclusive=True)
        channel.basic_consume("own", ignore)
    with sandbox.channel() as channel:
        channel.basic_qos(prefetch_count=10)
        channel.basic_consume("orders", ignore)
    assert risks(sandbox) == []
    with sandbox.channel() as channel:
        channel.basic_consume("orders", ignore)
    assert risks(sandbox) == ["unlimited-prefetch"]


def test_a_message_that_is_requeued_for_ever(sandbox: Sandboxed) -> None:
    with sandbox.channel(confirms=True) as channel:
        channel.queue_declare("orders", durable=True)
        publish(channel, "orders")
        for count in range(11):
            assert risks(sandbox) == (["polling"] if count >= 10 else [])
            channel.basic_nack(channel.basic_get("orders")[0].delivery_tag)
        channel.queue_declare("orders", passive=True)
    assert sandbox.one("requeue-loop")["where"]["queue"] == "orders"


def test_a_connection_for_each_message(sandbox: Sandboxed) -> None:
    with sandbox.channel("right", confirms=True) as channel:
        channel.queue_declare("orders", durable=True)
        publish(channel, "orders", 10)
    for count in range(6):
        with sandbox.channel("wrong", confirms=True) as channel:
            publish(channel, "orders")
        assert risks(sandbox) == (["connection-churn"] if count >= 4 else [])
    found = sandbox.one("connection-churn")
    assert (found["count"], found["where"]["client_name"]) == (6, "wrong")


def test_a_channel_for_each_message(sandbox: Sandboxed) -> None:
    with sandbox.channel("setup") as channel:
        channel.queue_declare("orders", durable=True)
    with sandbox.connect() as connection:
        for count in range(6):
            channel = connection.channel()
            channel.confirm_delivery()
            publish(channel, "orders")
            channel.close()
            assert risks(sandbox) == (["channel-churn"] if count >= 4 else [])
    assert sandbox.one("channel-churn")["count"] == 6


def test_what_is_unacknowledged_at_the_end(sandbox: Sandboxed) -> None:
    with sandbox.channel("setup", confirms=True) as channel:
        channel.queue_declare("orders", durable=True)
        publish(channel, "orders", 3)
    with sandbox.channel() as channel:
        channel.basic_ack(channel.basic_get("orders")[0].delivery_tag)
    assert risks(sandbox) == []
    with sandbox.channel() as channel:
        channel.basic_get("orders")
        channel.basic_get("orders")
    assert risks(sandbox) == ["unacked-at-close"]
    assert "2 unacknowledged messages of queue 'orders'" in sandbox.one("unacked-at-close")["what"]


def test_polling(sandbox: Sandboxed) -> None:
    with sandbox.channel() as channel:
        for queue in ("a", "b"):
            channel.queue_declare(queue, durable=True)
        for queue in ("a", "b") * 9:
            channel.basic_get(queue)
        assert risks(sandbox) == []
        channel.basic_get("a")
        channel.basic_get("a")
    assert (sandbox.one("polling")["where"]["queue"], sandbox.one("polling")["count"]) == ("a", 11)


def test_one_connection_for_both(sandbox: Sandboxed) -> None:
    with sandbox.channel("setup") as channel:
        channel.queue_declare("orders", durable=True)
    with sandbox.channel(confirms=True) as publisher, sandbox.channel() as consumer:
        consumer.basic_qos(prefetch_count=10)
        consumer.basic_consume("orders", lambda channel, method, *_: channel.basic_ack(method.delivery_tag))
        publish(publisher, "orders")
        consumer.connection.process_data_events(0)
        own = publisher.queue_declare("", exclusive=True).method.queue
        publisher.basic_consume(own, ignore, auto_ack=True)  # who asks hears the answer on the same connection
        publish(publisher, "orders")
        _take_all(consumer, "orders")
        assert risks(sandbox) == []
        consumer.confirm_delivery()
        publish(consumer, "orders")
        publish(consumer, "orders")
        _take_all(consumer, "orders")
    assert risks(sandbox) == ["shared-connection"]
    assert sandbox.one("shared-connection")["count"] == 1


def _take_all(channel: Any, queue: str) -> None:
    """Let the consumer have what was published, and acknowledge it."""
    soon(lambda: not channel.queue_declare(queue, passive=True).method.message_count)
    channel.connection.process_data_events(0.01)


def test_no_heartbeat(sandbox: Sandboxed) -> None:
    with sandbox.connect(heartbeat=30):
        pass
    assert risks(sandbox) == []
    with sandbox.connect(heartbeat=0):
        pass
    assert risks(sandbox) == ["no-heartbeat"]


def test_durable_and_exclusive(sandbox: Sandboxed) -> None:
    with sandbox.channel() as channel:
        channel.queue_declare("a", durable=True)
        channel.queue_declare("b", exclusive=True)
        assert risks(sandbox) == []
        channel.queue_declare("c", durable=True, exclusive=True)
    assert sandbox.one("exclusive-durable")["where"]["queue"] == "c"


def test_auto_delete_queues_that_go_with_their_messages(sandbox: Sandboxed) -> None:
    with sandbox.channel(confirms=True) as publisher, sandbox.channel() as channel:
        channel.basic_qos(prefetch_count=1)
        for queue in ("empty", "deleted", "full"):
            channel.queue_declare(queue, durable=True, auto_delete=True)
        channel.basic_cancel(channel.basic_consume("empty", ignore))
        publish(publisher, "deleted")
        channel.queue_delete("deleted")
        assert risks(sandbox) == []
        publish(publisher, "full", 2)
        channel.basic_cancel(channel.basic_consume("full", ignore))
    found = sandbox.one("queue-gone")
    assert (found["where"]["queue"], found["count"]) == ("full", 2)
    assert "(auto-delete)" in found["what"]


def test_queues_that_expire_with_their_messages(sandbox: Sandboxed) -> None:
    with sandbox.channel(confirms=True) as channel:
        for queue in ("empty", "full"):
            channel.queue_declare(queue, durable=True, arguments={"x-expires": 200})
        publish(channel, "full")
        soon(lambda: len(sandbox.findings()) and not sandbox.broker.http.ask("GET", f"/api/queues/{sandbox.vhost}").json)
    found = sandbox.one("queue-gone")
    assert (found["where"], found["count"]) == ({"vhost": sandbox.vhost, "queue": "full"}, 1)

"""What loses messages: each found with a client that does it, and not with one that does it right."""

import asyncio
from typing import Any

import aio_pika
import pika
import pytest
from pamqp.commands import Basic, Confirm, Connection, Queue, Tx

from tests.runtime.process import soon
from tests.testing.sandboxed import PERSISTENT, Sandboxed
from tests.wire import METHOD, Wire, content_frames, encode_method, frame_bytes

TRANSIENT = pika.BasicProperties(delivery_mode=1)


def losses(sandbox: Sandboxed) -> list[str]:
    return sandbox.codes(severity="loses")


def publish(channel: Any, queue: str, count: int = 1, properties: Any = PERSISTENT) -> None:
    """And wait until the broker has seen it."""
    for _ in range(count):
        channel.basic_publish("", queue, b"1", properties)
    channel.queue_declare(queue, passive=True)


def test_without_confirms(sandbox: Sandboxed) -> None:
    with sandbox.channel(confirms=True) as channel:
        channel.queue_declare("orders", durable=True)
        publish(channel, "orders")
    with sandbox.channel() as channel:
        channel.tx_select()
        publish(channel, "orders")
        channel.tx_commit()
        assert losses(sandbox) == []
    with sandbox.channel("shop") as channel:
        publish(channel, "orders", 3)
    found = sandbox.one("no-confirms")
    assert (found["severity"], found["since"], found["count"]) == ("loses", None, 3)
    assert (found["where"]["queue"], found["where"]["exchange"], found["where"]["client_name"]) == ("orders", "", "shop")


def test_aio_pika_confirms_unless_told_not_to(sandbox: Sandboxed) -> None:
    async def talk() -> None:
        message = aio_pika.Message(b"1", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        async with await aio_pika.connect_robust(sandbox.url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue("orders", durable=True)
            await channel.default_exchange.publish(message, "orders")
            assert losses(sandbox) == []
            careless = await connection.channel(publisher_confirms=False)
            await careless.default_exchange.publish(message, queue.name)
            await careless.get_queue(queue.name)

    asyncio.run(talk())
    assert losses(sandbox) == ["no-confirms"]


def test_without_confirms_to_a_delayed_exchange(sandbox: Sandboxed) -> None:
    with sandbox.channel() as channel:
        channel.exchange_declare("later", "x-delayed-message", durable=True, arguments={"x-delayed-type": "direct"})
        channel.basic_publish("later", "orders", b"1", pika.BasicProperties(delivery_mode=2, headers={"x-delay": 60_000}))
    assert losses(sandbox) == ["no-confirms"]


def test_transient_messages_in_durable_queues(sandbox: Sandboxed) -> None:
    with sandbox.channel(confirms=True) as channel:
        channel.queue_declare("own", exclusive=True)
        channel.queue_declare("quorum", durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_declare("orders", durable=True)
        publish(channel, "own", properties=TRANSIENT)
        publish(channel, "quorum", properties=TRANSIENT)
        publish(channel, "orders")
        assert losses(sandbox) == []
        publish(channel, "orders", properties=TRANSIENT)
        publish(channel, "orders", properties=None)
    assert losses(sandbox) == ["transient-message"]
    assert sandbox.one("transient-message")["count"] == 2
    assert sandbox.one("transient-message")["where"]["queue"] == "orders"


def test_persistent_messages_in_transient_queues(sandbox: Sandboxed) -> None:
    with sandbox.channel(confirms=True) as channel:
        channel.queue_declare("own", exclusive=True)
        channel.queue_declare("tasks")
        channel.queue_declare("log", durable=True)
        for queue in ("tasks", "log"):
            channel.queue_bind(queue, "amq.fanout")
        publish(channel, "own")
        publish(channel, "tasks", properties=TRANSIENT)
        channel.basic_publish("amq.fanout", "", b"1", PERSISTENT)  # the durable queue has it too
        assert losses(sandbox) == []
        publish(channel, "tasks")
    assert losses(sandbox) == ["persistent-to-transient"]
    assert sandbox.one("persistent-to-transient")["count"] == 1


def test_consumers_that_do_not_acknowledge(sandbox: Sandboxed) -> None:
    def ignore(*_arguments: Any) -> None:
        pass

    with sandbox.channel("right") as channel:
        channel.basic_qos(prefetch_count=1)
        channel.queue_declare("orders", durable=True)
        channel.queue_declare("own", exclusive=True)
        channel.queue_declare("answers", auto_delete=True)
        channel.basic_consume("orders", ignore)
        channel.basic_consume("own", ignore, auto_ack=True)
        channel.basic_consume("answers", ignore, auto_ack=True)  # the queue goes with it
        channel.basic_consume("amq.rabbitmq.reply-to", ignore, auto_ack=True)
    assert losses(sandbox) == []
    with sandbox.channel("hasty") as channel:
        channel.basic_consume("orders", ignore, auto_ack=True)
    assert losses(sandbox) == ["auto-ack"]
    assert sandbox.one("auto-ack")["where"]["client_name"] == "hasty"


def test_unroutable_messages(sandbox: Sandboxed) -> None:
    with sandbox.channel(confirms=True) as channel:
        channel.exchange_declare("lost", "fanout", durable=True)
        channel.queue_declare("lost", durable=True)
        channel.queue_bind("lost", "lost")
        channel.exchange_declare("with-alternate", "direct", durable=True, arguments={"alternate-exchange": "lost"})
        channel.exchange_declare("shop", "topic", durable=True)
        channel.basic_publish("with-alternate", "nobody", b"1", PERSISTENT)
        with pytest.raises(pika.exceptions.UnroutableError):
            channel.basic_publish("shop", "order.new", b"1", PERSISTENT, mandatory=True)
        assert losses(sandbox) == []
        channel.basic_publish("shop", "order.new", b"1", PERSISTENT)
        channel.basic_publish("shop", "order.old", b"1", PERSISTENT)
    found = sandbox.one("unroutable")
    assert (found["where"]["exchange"], found["count"]) == ("shop", 2)
    assert "'order.new'" in found["what"]


def test_an_alternate_exchange_that_is_not_there(sandbox: Sandboxed) -> None:
    with sandbox.channel(confirms=True) as channel:
        channel.exchange_declare("shop", "topic", durable=True, arguments={"alternate-exchange": "gone"})
        channel.basic_publish("shop", "order.new", b"1", PERSISTENT)
    assert losses(sandbox) == ["no-alternate-exchange"]


def test_duplicates_are_not_lost(sandbox: Sandboxed) -> None:
    properties = pika.BasicProperties(delivery_mode=2, headers={"x-deduplication-header": "one"})
    with sandbox.channel(confirms=True) as channel:
        channel.exchange_declare("once", "x-message-deduplication", durable=True, arguments={"x-cache-size": 9})
        channel.queue_declare("orders", durable=True)
        channel.queue_bind("orders", "once")
        for _ in range(2):
            channel.basic_publish("once", "", b"1", properties)
    assert losses(sandbox) == []


def test_unroutable_in_a_transaction(sandbox: Sandboxed) -> None:
    with sandbox.channel() as channel:
        channel.tx_select()
        channel.basic_publish("", "nowhere", b"1", PERSISTENT)
        channel.tx_rollback()
        assert losses(sandbox) == []
        channel.basic_publish("", "nowhere", b"1", PERSISTENT)
        channel.tx_commit()
    assert losses(sandbox) == ["unroutable"]


def test_transactions_that_are_not_committed(sandbox: Sandboxed) -> None:
    with sandbox.channel() as channel:
        channel.queue_declare("orders", durable=True)
        channel.tx_select()
        publish(channel, "orders", 2)
        channel.tx_commit()
    assert losses(sandbox) == []
    with sandbox.channel() as channel:
        channel.tx_select()
        publish(channel, "orders", 2)
    assert losses(sandbox) == ["uncommitted"]
    assert sandbox.one("uncommitted")["count"] == 2


def test_confirms_that_nobody_waits_for(sandbox: Sandboxed) -> None:
    with sandbox.channel(confirms=True) as channel:
        channel.queue_declare("orders", durable=True)
        publish(channel, "orders", 2)
    assert losses(sandbox) == []
    with Wire.connect(sandbox.broker, user=sandbox.user, password=sandbox.password, vhost=sandbox.vhost) as wire:
        wire.open_channel(1).call(Tx.Select)
        wire.publish(1, routing_key="orders", properties={"delivery_mode": 2})
        wire.call(1, Queue.Declare, queue="orders", passive=True)
    soon(lambda: not sandbox.broker.http.ask("GET", f"/api/vhosts/{sandbox.vhost}/connections").json)
    assert losses(sandbox) == []  # it broke, and may come again
    with Wire.connect(sandbox.broker, user=sandbox.user, password=sandbox.password, vhost=sandbox.vhost) as wire:
        wire.open_channel(1).call(Confirm.Select)
        # All at once, so that the close is heard before the turn ends in which the disk is asked.
        one = frame_bytes(METHOD, 1, encode_method(Basic.Publish, exchange="", routing_key="orders"))
        one += content_frames(1, b"1", {"delivery_mode": 2}, 131072)
        close = encode_method(Connection.Close, reply_code=200, reply_text="", class_id=0, method_id=0)
        wire.send_raw(one * 2 + frame_bytes(METHOD, 0, close))
        wire.expect(Connection.CloseOk, 0)
    assert losses(sandbox) == ["unconfirmed"]
    assert sandbox.one("unconfirmed")["count"] == 2


def test_full_queues_that_refuse(sandbox: Sandboxed) -> None:
    arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
    with sandbox.channel(confirms=True) as channel:
        channel.queue_declare("orders", durable=True, arguments=arguments)
        publish(channel, "orders")
        with pytest.raises(pika.exceptions.NackError):
            publish(channel, "orders")
        assert losses(sandbox) == []
    with sandbox.channel() as channel:
        publish(channel, "orders", properties=PERSISTENT)
    assert losses(sandbox) == ["refused"]


DEAD = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}


def reject(channel: Any, queue: str) -> None:
    method = channel.basic_get(queue)[0]
    channel.basic_reject(method.delivery_tag, requeue=False)
    channel.queue_declare(queue, passive=True)


def overflow(channel: Any, queue: str) -> None:
    publish(channel, queue, 2)


def expire(channel: Any, queue: str) -> None:
    channel.basic_publish("", queue, b"2", pika.BasicProperties(delivery_mode=2, expiration="0"))
    channel.queue_declare(queue, passive=True)
    channel.queue_purge(queue)


def come_back(channel: Any, queue: str) -> None:
    for _ in range(3):
        channel.basic_reject(channel.basic_get(queue)[0].delivery_tag)
    channel.queue_declare(queue, passive=True)


DEATHS: list[tuple[str, dict[str, Any], Any]] = [
    ("rejected", {}, reject),
    ("dropped", {"x-max-length": 1}, overflow),
    ("expired", {"x-message-ttl": 0}, expire),
    ("given-up", {"x-queue-type": "quorum", "x-delivery-limit": 2}, come_back),
]


@pytest.mark.parametrize(("code", "arguments", "kill"), DEATHS, ids=[row[0] for row in DEATHS])
def test_deaths_without_a_dead_letter_exchange(sandbox: Sandboxed, code: str, arguments: dict[str, Any], kill: Any) -> None:
    with sandbox.channel(confirms=True) as channel:
        channel.queue_declare("dead", durable=True)
        channel.queue_declare("right", durable=True, arguments=arguments | DEAD)
        channel.queue_declare("wrong", durable=True, arguments=arguments)
        publish(channel, "right")
        kill(channel, "right")
        assert channel.queue_declare("dead", passive=True).method.message_count >= 1
        assert losses(sandbox) == []
        publish(channel, "wrong")
        kill(channel, "wrong")
    assert losses(sandbox) == [code]
    assert sandbox.one(code)["where"]["queue"] == "wrong"


def test_what_dies_in_an_exclusive_queue_was_its_owners(sandbox: Sandboxed) -> None:
    with sandbox.channel(confirms=True) as channel:
        channel.queue_declare("own", exclusive=True)
        publish(channel, "own")
        reject(channel, "own")
    assert losses(sandbox) == []


def test_a_dead_letter_exchange_that_is_not_there(sandbox: Sandboxed) -> None:
    with sandbox.channel(confirms=True) as channel:
        channel.queue_declare("orders", durable=True, arguments={"x-dead-letter-exchange": "dlx"})
        channel.queue_declare("dead", durable=True)
        publish(channel, "orders", 2)
        channel.exchange_declare("dlx", "fanout", durable=True)
        channel.queue_bind("dead", "dlx")
        reject(channel, "orders")
        assert losses(sandbox) == []
        channel.exchange_delete("dlx")
        reject(channel, "orders")
    assert losses(sandbox) == ["no-dead-letter-exchange"]
    assert sandbox.one("no-dead-letter-exchange")["where"]["exchange"] == "dlx"


def test_dead_letters_that_no_binding_takes(sandbox: Sandboxed) -> None:
    with sandbox.channel(confirms=True) as channel:
        channel.exchange_declare("dlx", "direct", durable=True)
        channel.queue_declare("orders", durable=True, arguments={"x-dead-letter-exchange": "dlx"})
        channel.queue_declare("dead", durable=True)
        channel.queue_bind("dead", "dlx", "orders")
        publish(channel, "orders", 2)
        reject(channel, "orders")
        assert losses(sandbox) == []
        channel.queue_unbind("dead", "dlx", "orders")
        reject(channel, "orders")
    assert losses(sandbox) == ["dead-letter-unroutable"]
    assert "with key 'orders'" in sandbox.one("dead-letter-unroutable")["what"]


def test_dead_letters_that_go_round(sandbox: Sandboxed) -> None:
    round_trip = {"x-message-ttl": 1, "x-dead-letter-exchange": ""}
    with sandbox.channel(confirms=True) as channel:
        channel.queue_declare("wait", durable=True, arguments=round_trip | {"x-dead-letter-routing-key": "orders"})
        channel.queue_declare("orders", durable=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "wait"})
        publish(channel, "orders")
        reject(channel, "orders")  # rejected, so it may come back
        soon(lambda: channel.queue_declare("orders", passive=True).method.message_count)
        assert losses(sandbox) == []
        channel.queue_declare("circle", durable=True, arguments=round_trip)
        publish(channel, "circle")
        soon(lambda: not channel.queue_declare("circle", passive=True).method.message_count)
    assert losses(sandbox) == ["dead-letter-cycle"]

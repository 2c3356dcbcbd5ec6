"""Real clients keep their connections over restores and resets, whatever they are doing then, and go on."""

import asyncio
import threading
from typing import Any

import aio_pika
import pika
from aio_pika.abc import AbstractIncomingMessage

from tests.admin.client import Http
from tests.runtime.process import soon
from tests.testing.state_box import StateBox

RESTORES = 15
SECONDS = 20.0


class PikaWorker(threading.Thread):
    """Consumes and acks, with a prefetch, until it is stopped; what was delivered is in `bodies`."""

    def __init__(self, vhost: StateBox) -> None:
        super().__init__(daemon=True)
        credentials = pika.PlainCredentials(vhost.user, vhost.password)
        self.parameters = pika.ConnectionParameters(vhost.broker.host, vhost.broker.port, vhost.vhost, credentials)
        self.bodies: list[bytes] = []
        self.error: Exception | None = None
        self._connection = pika.BlockingConnection(self.parameters)
        self._channel = self._connection.channel()
        self._channel.basic_qos(prefetch_count=10)
        self._channel.basic_consume("work", self._hear)

    def _hear(self, channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        self.bodies.append(body)
        if len(self.bodies) % 3 == 0:
            channel.basic_nack(method.delivery_tag, multiple=True, requeue=False)
        elif len(self.bodies) % 2 == 0:
            channel.basic_ack(method.delivery_tag, multiple=True)

    def run(self) -> None:
        try:
            self._channel.start_consuming()
        except Exception as error:  # noqa: BLE001 - told by the test
            self.error = error

    def stop(self) -> None:
        self._connection.add_callback_threadsafe(self._channel.stop_consuming)
        self.join(SECONDS)
        self._connection.close()


def test_pika_consumes_on(vhost: StateBox) -> None:
    with vhost.wire() as wire:
        channel = wire.open_channel()
        channel.queue("work", durable=True)
        for number in range(50):
            channel.publish("", "work", b"%d" % number)
        channel.counts("work")
        taken = vhost.snapshot()
        worker = PikaWorker(vhost)
        worker.start()
        for turn in range(RESTORES):
            seen = len(worker.bodies)
            if turn % 3 == 2:
                vhost.reset()
                channel.publish("", "work", b"after a reset")
                channel.publish("", "work", b"after a reset")
            else:
                vhost.restore(taken)
            soon(lambda seen=seen: len(worker.bodies) > seen, what="the next delivery")
        vhost.reset()
        channel.publish("", "work", b"last")
        soon(lambda: worker.bodies[-1] == b"last", what="the last delivery")
        worker.stop()
        assert worker.error is None
        assert {b"0", b"after a reset"} <= set(worker.bodies)
        channel.nothing_more()


def test_aio_pika_publishes_and_consumes_on(vhost: StateBox) -> None:
    """Publishers with confirms, and consumers with a prefetch, while the vhost is restored again and again. No connection is lost, no
    confirm is missing, and in the end the queue holds what the snapshot had."""

    async def conversation() -> None:
        publishing, consuming = await aio_pika.connect(vhost.url), await aio_pika.connect(vhost.url)
        channel, confirmed = await consuming.channel(), await publishing.channel(publisher_confirms=True)
        await channel.set_qos(20)
        queue = await confirmed.declare_queue("q", durable=True)
        exchange = await confirmed.declare_exchange("e", "topic", durable=True)
        await queue.bind(exchange, "#")
        delivered = published = 0
        stop, moved = asyncio.Event(), asyncio.Event()

        async def consume(message: AbstractIncomingMessage) -> None:
            nonlocal delivered
            delivered += 1
            moved.set()
            await (message.nack() if delivered % 10 == 0 else message.ack())

        async def publish() -> None:
            nonlocal published
            while not stop.is_set():
                await exchange.publish(aio_pika.Message(b"x" * 100, delivery_mode=2), "k")
                published += 1
                moved.set()

        await (await channel.get_queue("q")).consume(consume)
        for _ in range(500):
            await exchange.publish(aio_pika.Message(b"in the snapshot"), "k", timeout=SECONDS)
        taken = await asyncio.to_thread(vhost.snapshot)
        publishers = [asyncio.create_task(publish()) for _ in range(5)]
        for turn in range(RESTORES):
            before = delivered, published
            await asyncio.to_thread(vhost.reset if turn % 4 == 3 else lambda: vhost.restore(taken))
            while delivered == before[0] or published == before[1]:
                moved.clear()
                await moved.wait()
        stop.set()
        await asyncio.gather(*publishers)
        assert not publishing.is_closed and not consuming.is_closed
        await consuming.close()
        count = (await asyncio.to_thread(vhost.restore, taken))["messages"]
        assert (await confirmed.declare_queue("q", passive=True)).declaration_result.message_count == count
        await publishing.close()

    asyncio.run(asyncio.wait_for(conversation(), SECONDS))


def test_one_at_a_time(vhost: StateBox) -> None:
    """What is under way in the vhost is over before the next, which is told so; other vhosts needn't wait."""
    with vhost.wire(timeout=60) as wire:
        channel = wire.open_channel()
        for name in ("a", "b"):
            channel.queue(name, durable=True)
            for _ in range(10_000):
                channel.publish("", name, b"x")
        channel.counts("b")
        statuses: list[int] = []
        other = StateBox(vhost.broker)

        def ask() -> None:
            with Http(vhost.broker.host, vhost.broker.http_port) as http:
                token = {"Authorization": f"Bearer {vhost.broker.card['token']}"}
                path = f"/api/leveret/testing/vhosts/{vhost.vhost}/snapshots"
                statuses.append(http.ask("POST", path, headers=token, credentials=("", "")).status)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for each in threads:
            each.start()
        other.snapshot()
        for each in threads:
            each.join(SECONDS)
        assert sorted(set(statuses)) in ([201], [201, 409])
        assert channel.counts("a") == (10_000, 0)
        other.end()

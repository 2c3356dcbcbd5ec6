"""aio-pika, its robust connections in the first place."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aio_pika
import pytest
from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustChannel, AbstractRobustConnection
from aio_pika.exceptions import ChannelNotFoundEntity, DeliveryError
from aio_pika.patterns import RPC, Master

from tests.fixtures import Unique
from tests.oracle.leveret import Leveret

T = TypeVar("T")
SECONDS = 20


def run(conversation: Awaitable[T]) -> T:
    async def with_deadline() -> T:
        return await asyncio.wait_for(conversation, SECONDS)

    return asyncio.run(with_deadline())


@asynccontextmanager
async def connected(url: str, count: int = 1) -> AsyncIterator[list[AbstractRobustChannel]]:
    """Channels, each on a robust connection of its own."""
    connections: list[AbstractRobustConnection] = [await aio_pika.connect_robust(url) for _ in range(count)]
    try:
        yield [await connection.channel() for connection in connections]  # type: ignore[misc]
    finally:
        for connection in connections:
            await connection.close()


class Inbox:
    """A consumer that acks, and can be waited for."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()

    async def __call__(self, message: AbstractIncomingMessage) -> None:
        async with message.process():
            await self.messages.put(message)

    async def take(self, count: int) -> list[bytes]:
        return [(await self.messages.get()).body for _ in range(count)]


@pytest.mark.parametrize("arguments", [None, {"x-queue-type": "quorum"}], ids=["classic", "quorum"])
def test_work_queue(url: str, unique: Unique, arguments: Any) -> None:
    async def conversation() -> None:
        async with connected(url, 3) as (boss, *workers):
            name = unique("task_queue")
            await boss.declare_queue(name, durable=True, arguments=arguments)
            done: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
            for index, worker in enumerate(workers):
                await worker.set_qos(prefetch_count=1)
                queue = await worker.declare_queue(name, durable=True, arguments=arguments)

                async def work(message: AbstractIncomingMessage, index: int = index) -> None:
                    async with message.process():
                        await done.put((index, message.body))

                await queue.consume(work)
            for number in range(20):
                message = Message(b"%d" % number, delivery_mode=DeliveryMode.PERSISTENT)
                await boss.default_exchange.publish(message, routing_key=name)
            taken = [await done.get() for _ in range(20)]
            assert sorted(int(body) for _, body in taken) == list(range(20))
            assert {index for index, _ in taken} == {0, 1}

    run(conversation())


def test_fanout_and_topic(url: str, unique: Unique) -> None:
    async def conversation() -> None:
        async with connected(url, 3) as (publisher, *listeners):
            events = await publisher.declare_exchange(unique("events"), ExchangeType.FANOUT)
            logs = await publisher.declare_exchange(unique("logs"), ExchangeType.TOPIC)
            inboxes = [Inbox() for _ in listeners]
            for listener, inbox, pattern in zip(listeners, inboxes, ("order.*.*", "#"), strict=True):
                queue = await listener.declare_queue(exclusive=True)
                await queue.bind(events.name)
                await queue.bind(logs.name, pattern)
                await queue.consume(inbox)
            await events.publish(Message(b"to all"), routing_key="")
            for key in ("order.new.europe", "user.login"):
                await logs.publish(Message(key.encode()), routing_key=key)
            assert await inboxes[0].take(2) == [b"to all", b"order.new.europe"]
            assert await inboxes[1].take(3) == [b"to all", b"order.new.europe", b"user.login"]

    run(conversation())


def test_rpc_pattern(url: str) -> None:
    async def conversation() -> None:
        async with connected(url, 2) as (client_channel, server_channel):

            async def multiply(*, x: int, y: int) -> int:
                return x * y

            server, client = await RPC.create(server_channel), await RPC.create(client_channel)
            await server.register("leveret_multiply", multiply, auto_delete=True)
            answers = await asyncio.gather(*(client.call("leveret_multiply", kwargs={"x": number, "y": 7}) for number in range(20)))
            assert answers == [number * 7 for number in range(20)]

    run(conversation())


def test_master_and_worker_pattern(url: str, unique: Unique) -> None:
    async def conversation() -> None:
        async with connected(url, 2) as (boss, worker):
            done: asyncio.Queue[int] = asyncio.Queue()

            async def task(*, number: int) -> None:
                await done.put(number)

            name = unique("tasks")
            working = await Master(worker).create_worker(name, task, durable=True)
            master = Master(boss)
            for number in range(10):
                await master.create_task(name, kwargs={"number": number})
            assert [await done.get() for _ in range(10)] == list(range(10))
            await working.close()

    run(conversation())


def test_confirms_and_returns(url: str, unique: Unique) -> None:
    async def conversation() -> None:
        connection = await aio_pika.connect_robust(url)
        async with connection:
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            queue = await channel.declare_queue(unique("confirmed"), durable=True)
            confirmations = await asyncio.gather(
                *(channel.default_exchange.publish(Message(b"x"), routing_key=queue.name, mandatory=True) for _ in range(50))
            )
            assert len(confirmations) == 50
            with pytest.raises(DeliveryError):
                await channel.default_exchange.publish(Message(b"lost"), routing_key="nowhere-at-all", mandatory=True)
            messages = [await queue.get(timeout=SECONDS, no_ack=True) for _ in range(50)]
            assert all(message is not None and message.body == b"x" for message in messages)
            assert await queue.get(fail=False) is None

    run(conversation())


def test_nack_with_requeue_and_without(url: str, unique: Unique) -> None:
    async def conversation() -> None:
        async with connected(url) as [channel]:
            queue = await channel.declare_queue(unique("nacked"), durable=True)
            await channel.default_exchange.publish(Message(b"x"), routing_key=queue.name)
            message = await queue.get(timeout=SECONDS)
            assert message is not None and not message.redelivered
            await message.nack(requeue=True)
            again = await queue.get(timeout=SECONDS)
            assert again is not None and again.redelivered
            await again.reject(requeue=False)
            assert await queue.get(fail=False) is None

    run(conversation())


def test_the_iterator(url: str, unique: Unique) -> None:
    async def conversation() -> None:
        async with connected(url) as [channel]:
            await channel.set_qos(prefetch_count=3)
            queue = await channel.declare_queue(unique("iterated"), durable=True)
            for number in range(10):
                message = Message(b"%d" % number, headers={"number": number, "nested": {"list": [1, "two"]}})
                await channel.default_exchange.publish(message, routing_key=queue.name)
            seen = []
            async with queue.iterator() as messages:
                async for message in messages:
                    async with message.process():
                        seen.append((message.body, message.headers["number"], message.headers["nested"]))
                    if len(seen) == 10:
                        break
            assert seen == [(b"%d" % number, number, {"list": [1, "two"]}) for number in range(10)]

    run(conversation())


def test_transactions(url: str, unique: Unique) -> None:
    async def conversation() -> None:
        connection = await aio_pika.connect(url)
        async with connection:
            channel = await connection.channel(publisher_confirms=False)
            queue = await channel.declare_queue(unique("tx"), durable=True)
            async with channel.transaction():
                await channel.default_exchange.publish(Message(b"kept"), routing_key=queue.name)
            transaction = channel.transaction()
            await transaction.select()
            await channel.default_exchange.publish(Message(b"dropped"), routing_key=queue.name)
            await transaction.rollback()
            message = await queue.get(timeout=SECONDS, no_ack=True)
            assert message is not None and message.body == b"kept"
            assert await queue.get(fail=False) is None

    run(conversation())


def test_errors_close_the_channel(url: str) -> None:
    async def conversation() -> None:
        connection = await aio_pika.connect(url)
        async with connection:
            channel = await connection.channel()
            with pytest.raises(ChannelNotFoundEntity, match="NOT_FOUND - no queue 'missing' in vhost '/'"):
                await channel.declare_queue("missing", passive=True)

    run(conversation())


def test_a_large_message(url: str, unique: Unique) -> None:
    async def conversation() -> None:
        async with connected(url) as [channel]:
            queue = await channel.declare_queue(unique("large"), durable=True)
            body = bytes(range(256)) * 40_000
            await channel.default_exchange.publish(Message(body, delivery_mode=DeliveryMode.PERSISTENT), routing_key=queue.name)
            message = await queue.get(timeout=SECONDS, no_ack=True)
            assert message is not None and message.body == body

    run(conversation())


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_robust_connection_survives_a_restart(leveret: Leveret, how: str) -> None:
    async def conversation() -> None:
        connection = await aio_pika.connect_robust(f"amqp://guest:guest@{leveret.host}:{leveret.port}/", reconnect_interval=0.1)
        again = asyncio.Event()
        connection.reconnect_callbacks.add(lambda *_arguments: again.set())
        async with connection:
            channel = await connection.channel()
            exchange = await channel.declare_exchange("events", ExchangeType.TOPIC, durable=True)
            queue = await channel.declare_queue("kept", durable=True)
            await queue.bind(exchange, "a.#")
            temporary = await channel.declare_queue("mine", exclusive=True)
            inbox, own = Inbox(), Inbox()
            await temporary.consume(own)
            message = Message(b"before", delivery_mode=DeliveryMode.PERSISTENT)
            await exchange.publish(message, routing_key="a.b")

            def bounce() -> None:
                if how == "kill":
                    leveret.kill()
                    leveret.start()
                else:
                    leveret.restart()

            await asyncio.to_thread(bounce)
            await again.wait()
            await connection.ready()
            await channel.ready()
            await exchange.publish(Message(b"after"), routing_key="a.b")
            await queue.consume(inbox)
            assert await inbox.take(2) == [b"before", b"after"]
            await channel.default_exchange.publish(Message(b"own"), routing_key="mine", mandatory=True)
            assert await own.take(1) == [b"own"]

    run(conversation())

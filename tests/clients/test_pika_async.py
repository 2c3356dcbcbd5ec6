"""pika's asynchronous adapters: SelectConnection, and AsyncioConnection in asyncio's loop."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.adapters.select_connection import SelectConnection

from tests.fixtures import Unique
from tests.spec import Broker

COUNT = 100


def parameters(broker: Broker) -> pika.ConnectionParameters:
    return pika.ConnectionParameters(host=broker.host, port=broker.port)


class Conversation:
    """Publishes with confirms, consumes with acks and closes, step by step in callbacks as pika's examples do."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.bodies: list[bytes] = []
        self.confirmed: set[int] = set()
        self.closed: list[int] = []
        self.channel: Any = None

    def opened(self, connection: Any) -> None:
        connection.channel(on_open_callback=self.channel_opened)

    def channel_opened(self, channel: Any) -> None:
        self.channel = channel
        channel.queue_declare(self.queue, durable=True, callback=self.declared)

    def declared(self, _frame: Any) -> None:
        self.channel.confirm_delivery(self.confirm, callback=self.publish)

    def publish(self, _frame: Any) -> None:
        for number in range(COUNT):
            self.channel.basic_publish("", self.queue, b"%d" % number, pika.BasicProperties(delivery_mode=2))
        self.channel.basic_qos(prefetch_count=7, callback=lambda _frame: self.channel.basic_consume(self.queue, self.deliver))

    def confirm(self, frame: Any) -> None:
        tag = frame.method.delivery_tag
        assert isinstance(frame.method, pika.spec.Basic.Ack)
        self.confirmed |= set(range(1, tag + 1)) if frame.method.multiple else {tag}
        self.close_when_done()

    def deliver(self, channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        self.bodies.append(body)
        channel.basic_ack(method.delivery_tag)
        self.close_when_done()

    def close_when_done(self) -> None:
        if len(self.bodies) == COUNT == len(self.confirmed):
            self.channel.connection.close()

    def check(self) -> None:
        assert self.bodies == [b"%d" % number for number in range(COUNT)]
        assert self.confirmed == set(range(1, COUNT + 1))


def test_select_connection(broker: Broker, unique: Unique) -> None:
    conversation = Conversation(unique("select"))
    connection = SelectConnection(
        parameters(broker),
        on_open_callback=conversation.opened,
        on_close_callback=lambda connection, _reason: connection.ioloop.stop(),
        on_open_error_callback=lambda connection, _reason: connection.ioloop.stop(),
    )
    connection.ioloop.call_later(20, connection.ioloop.stop)
    connection.ioloop.start()
    conversation.check()


def test_asyncio_connection(broker: Broker, unique: Unique) -> None:
    async def main() -> None:
        conversation = Conversation(unique("asyncio"))
        closed = asyncio.get_running_loop().create_future()
        AsyncioConnection(
            parameters(broker),
            on_open_callback=conversation.opened,
            on_close_callback=lambda _connection, reason: closed.set_result(reason),
            on_open_error_callback=lambda _connection, error: closed.set_exception(error),
        )
        await asyncio.wait_for(closed, 20)
        conversation.check()

    asyncio.run(main())


def test_asyncio_connection_is_told_of_channel_errors(broker: Broker) -> None:
    async def main() -> tuple[int, str]:
        loop = asyncio.get_running_loop()
        opened, channel_opened, channel_closed, closed = (loop.create_future() for _ in range(4))
        connection = AsyncioConnection(
            parameters(broker),
            on_open_callback=opened.set_result,
            on_open_error_callback=lambda _connection, error: opened.set_exception(error),
            on_close_callback=lambda _connection, reason: closed.set_result(reason),
        )
        await within(opened)
        connection.channel(on_open_callback=channel_opened.set_result)
        channel = await within(channel_opened)
        channel.add_on_close_callback(lambda _channel, reason: channel_closed.set_result(reason))
        channel.basic_publish("nowhere", "", b"x")
        reason = await within(channel_closed)
        connection.close()
        await within(closed)
        return reason.reply_code, reason.reply_text

    assert asyncio.run(main()) == (404, "NOT_FOUND - no exchange 'nowhere' in vhost '/'")


within: Callable[[Any], Awaitable[Any]] = lambda future: asyncio.wait_for(future, 20)  # noqa: E731

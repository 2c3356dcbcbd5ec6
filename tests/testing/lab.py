"""A sandbox in which things go wrong: `with lab.fault("drop_connection", on="basic.ack") as fault: ...; fault.hits`."""

import asyncio
import select
from collections.abc import Awaitable
from contextlib import ExitStack
from typing import Any, Self, TypeVar

import aio_pika
import pika
from pika.adapters.blocking_connection import BlockingChannel

from tests.runtime.process import soon
from tests.testing.box import Box
from tests.testing.supervised import Supervised
from tests.wire import Wire, WireChannel

T = TypeVar("T")
SECONDS = 20
PERSISTENT = pika.BasicProperties(delivery_mode=2)
LOST = (pika.exceptions.AMQPConnectionError, pika.exceptions.StreamLostError)
"""What pika says when the connection is gone."""


def run(conversation: Awaitable[T]) -> T:
    async def with_deadline() -> T:
        return await asyncio.wait_for(conversation, SECONDS)

    return asyncio.run(with_deadline())


def is_quiet(wire: Wire, seconds: float) -> bool:
    """Nothing comes in that time."""
    return not select.select([wire._socket], [], [], seconds)[0]


class Fault:
    """One rule; taken away at the end of the block."""

    def __init__(self, broker: Supervised, order: dict[str, Any]) -> None:
        self._broker = broker
        self.id: str = broker.ask("POST", "/faults", order, status=201)["id"]
        self.is_there = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.remove()

    @property
    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = self._broker.ask("GET", f"/faults/{self.id}")
        return facts

    @property
    def hits(self) -> int:
        hits: int = self.facts["hits"]
        return hits

    def remove(self) -> None:
        if self.is_there:
            self.is_there = False
            self._broker.ask("DELETE", f"/faults/{self.id}", status=204)


class Lab(Box):
    """A vhost and a user for one test, and clients of all kinds there."""

    def __init__(self, broker: Supervised) -> None:
        super().__init__(broker)
        self.clients = ExitStack()

    def fault(self, do: str, **order: Any) -> Fault:
        return Fault(self.broker, {"do": do, "vhost": self.vhost, **order})

    def of_the_broker(self, do: str, **order: Any) -> Fault:
        return Fault(self.broker, {"do": do, **order})

    def connection(self, name: str = "", **options: Any) -> pika.BlockingConnection:
        """pika's, closed when the test ends."""
        connection = pika.BlockingConnection(self.pika(name, **options))

        def close() -> None:
            if connection.is_open:
                connection.close()

        self.clients.callback(close)
        return connection

    def channel(self, queue: str = "", name: str = "", **options: Any) -> BlockingChannel:
        """On a connection of its own; the queue is there then."""
        channel = self.connection(name, **options).channel()
        if queue:
            channel.queue_declare(queue, durable=True)
        return channel

    def publisher(self, queue: str = "q", name: str = "") -> BlockingChannel:
        """Waits for the confirm of each publish."""
        channel = self.channel(queue, name)
        channel.confirm_delivery()
        return channel

    def wire_channel(self, queue: str = "", name: str = "", **options: Any) -> WireChannel:
        channel = self.wire(name, **options).open_channel()
        if queue:
            channel.queue(queue, durable=True)
        return channel

    async def aio_pika(self, **options: Any) -> aio_pika.abc.AbstractConnection:
        return await aio_pika.connect(self.url, **options)

    def count(self, queue: str = "q") -> int:
        """What is ready."""
        with self.wire() as wire:
            return wire.open_channel().counts(queue)[0]

    def bodies(self, queue: str = "q") -> list[bytes]:
        """All that is ready, taken."""
        with self.wire() as wire:
            return wire.open_channel().bodies(queue)

    def wait_for(self, count: int, queue: str = "q") -> None:
        soon(lambda: self.count(queue) == count, what=f"{queue} has {self.count(queue)}, not {count}")

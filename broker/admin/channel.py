"""A channel in the user's name, for one request: what RabbitMQ's management plugin opens a direct connection for."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from broker.core.direct import Closed, Direct, Reply
from broker.core.login import Undecided
from broker.core.session import Peer
from protocol.methods import Basic, make

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from broker.admin.call import Call
    from broker.core.vhost import VHost
    from protocol.methods import Method


class DirectChannel:
    """Send one method after the other."""

    def __init__(self, call: Call, vhost: VHost) -> None:
        self._call = call
        self._replies: asyncio.Queue[Reply] = asyncio.Queue()
        self._direct = Direct(call.broker, vhost, call.identity, Peer("management", True), self._replies.put_nowait)
        self._replies.get_nowait()  # channel.open-ok

    async def do(self, method: Method) -> Reply:
        """Send a method, and return what it is answered with, once that is durable.

        Raises ChannelException and ConnectionException, as a client would hear of them.
        """
        await self._feed(lambda: self._direct.send(method))
        return await self.reply()

    async def settle(self, tag: int, *, requeue: bool) -> None:
        """Put back what was got, up to a delivery tag, or reject it for good."""
        await self._feed(lambda: self._direct.send(make(Basic.Nack, delivery_tag=tag, multiple=True, requeue=requeue)))

    async def publish(self, routing: bytes, bits: int, header: bytes, body: bytes) -> None:
        """basic.publish; what comes of it is for `reply`. Raises likewise."""
        await self._feed(lambda: self._direct.publish(routing, bits, header, body))

    async def reply(self) -> Reply:
        """The next reply. Raises ChannelException if it is channel.close."""
        self._call.context.node.schedule_turn()
        reply = await self._replies.get()
        if isinstance(reply, Closed):
            raise reply.error
        return reply

    async def _feed(self, event: Callable[[], Any]) -> None:
        try:
            event()
            return
        except Undecided as undecided:
            question = undecided.question
        await self._call.context.answer(question)
        await self._call.context.decide(self._direct.session.retry)

    def close(self) -> None:
        """What it holds goes back."""
        self._direct.close()
        self._call.context.node.schedule_turn()


@asynccontextmanager
async def channel(call: Call, vhost: VHost) -> AsyncIterator[DirectChannel]:
    """`async with channel(call, vhost) as opened: await opened.do(...)`"""
    opened = DirectChannel(call, vhost)
    try:
        yield opened
    finally:
        opened.close()

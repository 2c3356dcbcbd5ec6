"""A channel in the user's name, for one request: what RabbitMQ's management plugin opens a direct connection for."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from broker.admin.access import may_enter
from broker.admin.errors import BadRequest, HttpError, Missing, NotAuthorised
from broker.core.direct import Closed, Direct, Reply
from broker.core.login import Undecided
from broker.core.session import Peer
from protocol.constants import ACCESS_REFUSED, NOT_ALLOWED, NOT_FOUND
from protocol.errors import AmqpError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from broker.admin.call import Call
    from broker.core.vhost import VHost
    from protocol.methods import Method

log = logging.getLogger("management")

REFUSED: Final = "Access refused."


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
        await self.send(method)
        return await self.reply()

    async def send(self, method: Method) -> None:
        """A method that has no reply. Raises likewise."""
        await self._feed(lambda: self._direct.send(method))

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


def of_command(error: AmqpError) -> HttpError:
    """What declaring, binding, purging and deleting say of a refusal: the text alone. Who may not is told no more, the log is."""
    log.warning("the HTTP API was refused: %s", error.text)
    if error.code == NOT_FOUND:
        return Missing(error.text)
    if error.code in (ACCESS_REFUSED, NOT_ALLOWED):
        return NotAuthorised(REFUSED)
    return BadRequest(error.text)


def of_get(error: AmqpError) -> HttpError:
    """What getting messages says of it: as a client would hear it."""
    if error.code == NOT_FOUND:
        return Missing(error.reply_text)
    if error.code == ACCESS_REFUSED:
        return NotAuthorised(error.reply_text)
    return BadRequest(str(error))


def of_publish(error: AmqpError) -> HttpError:
    """What publishing says of it: everything is a bad request."""
    return BadRequest(str(error))


@asynccontextmanager
async def channel(call: Call, vhost: VHost, refused: Callable[[AmqpError], HttpError] = of_command) -> AsyncIterator[DirectChannel]:
    """`async with channel(call, vhost) as opened: await opened.do(...)`. What AMQP refuses is raised as `refused` says it."""
    if not await may_enter(call.context, call.identity, vhost.name):
        raise NotAuthorised(REFUSED)
    if call.broker.vhosts.get(vhost.name) is not vhost:
        raise Missing("vhost_not_found")  # it went while somebody was asked
    opened: DirectChannel | None = None
    try:
        opened = DirectChannel(call, vhost)
        yield opened
    except AmqpError as error:
        raise refused(error) from error
    finally:
        if opened is not None:
            opened.close()


def named_vhost(call: Call) -> VHost:
    """The vhost in the path, for what changes something in it. Raises Missing."""
    vhost = call.broker.vhosts.get(call.path["vhost"])
    if vhost is None:
        raise Missing("vhost_not_found")
    return vhost

"""One request: who asks, for what, and the answers it may get."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from broker.admin.bodies import Body
from broker.admin.errors import BadRequest, HttpError, NoSuchObject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Container, Mapping

    from aiohttp.web import BaseRequest

    from broker.admin.context import Context
    from broker.core.broker import Broker
    from broker.core.exchange import Exchange
    from broker.core.permissions import Identity
    from broker.core.queue import Queue
    from broker.core.vhost import VHost
    from broker.operations import Operations

BODY_SECONDS: Final = 30.0
BODY_BYTES_PER_SECOND: Final = 16_384
"""A body has half a minute, and longer for each of its bytes: whoever sends one a second is done soon."""
METHOD_BYTES_MAX: Final = 262_144
"""Of a body that tells of one object: twice what AMQP's clients may send in a frame, for JSON takes more room. It costs up to 200 bytes of
memory a byte to read."""
DEFAULT_EXCHANGE = "amq.default"
"""What stands in a path for the exchange without a name."""


@dataclass(slots=True)
class Answer:
    """What is sent back, if it isn't just 200 with what a handler returned as JSON. `body` is JSON text, a long one in parts.

    Parts may also be made while the first ones are sent; if that fails, the connection ends.
    """

    status: int = 200
    body: bytes | list[bytes] | AsyncIterator[bytes] = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


def created(location: str | None = None) -> Answer:
    """201: it wasn't there before."""
    return Answer(201, headers={} if location is None else {"Location": location})


def done() -> Answer:
    """204: nothing to add."""
    return Answer(204)


def redirect(location: str) -> Answer:
    """301: it is elsewhere, for good."""
    return Answer(301, headers={"Location": location})


class Call:
    """One request of one user. `path` has the names of the route's path."""

    def __init__(self, context: Context, request: BaseRequest, path: Mapping[str, str], identity: Identity, peer_address: str) -> None:
        self.context = context
        self.request = request
        self.path = path
        self.identity = identity
        self.peer_address = peer_address
        self.query = request.query

    @property
    def broker(self) -> Broker:
        """The core."""
        return self.context.broker

    @property
    def operations(self) -> Operations:
        """The way to change it."""
        return self.context.operations

    @property
    def user_name(self) -> str:
        """Whose doing it is."""
        return self.identity.name

    # --- what the path names ----------------------------------------------------------------------------------------

    @property
    def vhost(self) -> VHost:
        """The vhost in the path. Raises NoSuchObject."""
        found = self.broker.vhosts.get(self.path["vhost"])
        if found is None:
            raise NoSuchObject
        return found

    @property
    def queue(self) -> Queue:
        """The queue in the path (`name`). Raises NoSuchObject."""
        found = self.vhost.queues.get(self.path["name"])
        if found is None:
            raise NoSuchObject
        return found

    @property
    def exchange(self) -> Exchange:
        """The exchange in the path (`exchange`). Raises NoSuchObject."""
        found = self.vhost.exchanges.get(exchange_name(self.path["exchange"]))
        if found is None:
            raise NoSuchObject
        return found

    # --- what was sent ----------------------------------------------------------------------------------------------

    async def read(self, most: int | None = None, *, exactly: bool = False) -> bytes:
        """The body. Raises BadRequest if it is longer than `most`, or than may be; `exactly`: whatever is configured."""
        if most is None or not exactly:
            configured = self.context.config.management.max_body_size_bytes
            most = configured if most is None else min(most, configured)
        body = bytearray()
        if self.request.headers.get("Expect", "").lower() == "100-continue" and self.request.transport is not None:
            # Who has much to send asks first, and has no need to if it isn't wanted.
            self.request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            async with asyncio.timeout(BODY_SECONDS) as deadline:
                async for chunk in self.request.content.iter_any():
                    body += chunk
                    if len(body) > most:
                        raise BadRequest("Exceeded HTTP request body size limit")
                    deadline.reschedule(cast("float", deadline.when()) + len(chunk) / BODY_BYTES_PER_SECOND)
        except TimeoutError:
            raise HttpError(408, "request_timeout", f"only {len(body)} bytes of the body came in time") from None
        return bytes(body)

    async def body(self, most: int | None = METHOD_BYTES_MAX) -> Body:
        """The body as a JSON object. Raises BadRequest, also for one of more bytes than `most` (None: than may be)."""
        return Body.parse(await self.read(most))

    def flag(self, name: str) -> bool:
        """Whether the query has the name, with `true`."""
        return self.query.get(name, "").lower() == "true"

    def integer(self, name: str) -> int | None:
        """A number in the query, None if it isn't given. Raises BadRequest."""
        text = self.query.get(name)
        if text is None:
            return None
        try:
            return int(text)
        except ValueError:
            raise BadRequest(f"{name}: expected a whole number, not '{text[:80]}'") from None

    async def commit(self) -> None:
        """Wait until what was changed is durable. Raises HttpError 500."""
        await self.context.commit()


def with_spaces(broker: Broker, path: dict[str, str]) -> dict[str, str]:
    """Several tools write a space as `+`, which is right in a query and not in a path: so it is taken where nothing else fits."""
    if not any("+" in value for value in path.values()):
        return path
    vhost = broker.vhosts.get(path.get("vhost", "")) or broker.vhosts.get(path.get("vhost", "").replace("+", " "))
    names: dict[str, Container[str]] = {"vhost": broker.vhosts}
    if vhost is not None:
        names |= {"name": vhost.queues, "exchange": vhost.exchanges, "source": vhost.exchanges}
        names["destination"] = vhost.exchanges if path.get("kind") == "e" else vhost.queues
    spaced = {name: value.replace("+", " ") for name, value in path.items()}
    return {
        name: spaced[name] if name in names and value not in names[name] and spaced[name] in names[name] else value
        for name, value in path.items()
    }


def exchange_name(named: str) -> str:
    """The name that a path means."""
    return "" if named == DEFAULT_EXCHANGE else named

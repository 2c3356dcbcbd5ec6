"""The HTTP sockets: listened on from the start, served once somebody comes.

What speaks HTTP takes 0.2 s to import and 17 MiB to have. A broker that nobody asks over HTTP (most of those in test runs)
never pays that; the first request waits in the backlog while a thread imports it, and AMQP goes on meanwhile.
"""

from __future__ import annotations

import gc
import importlib
import logging
import socket
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from broker.admin.context import Context
    from broker.admin.server import Api

log = logging.getLogger("management")

SERVER: Final = "broker.admin.server"


class Accepting(Protocol):
    """What listens."""

    def close(self) -> None:
        """Listen no more."""


class Opening(NamedTuple):
    """One socket that listens, and what is served there (`management`, `local` or `prometheus`). `accept` is given for TLS: it begins to
    accept, and makes the protocol of each peer that has come through (runtime.acceptor)."""

    socket: socket.socket
    kind: str
    accept: Callable[[Callable[[Any], asyncio.Protocol]], Accepting] | None = None


class Door:
    """See the module."""

    def __init__(self, openings: list[Opening], context: Context, loop: asyncio.AbstractEventLoop) -> None:
        self._openings = openings
        self._context = context
        self._loop = loop
        self._servers: list[Accepting] = []
        self._apis: list[Api] = []
        self._is_open = False
        self._is_closed = False
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Wait for the first connection on any of the sockets."""
        for opening in self._openings:
            try:
                self._loop.add_reader(opening.socket.fileno(), self.open)
            except NotImplementedError:  # Windows: an event loop that watches no sockets
                self.open()
                return

    def open(self) -> None:
        """Import what is needed, on a thread, then serve."""
        if self._is_open:
            return
        self._is_open = True
        for opening in self._openings:
            try:
                self._loop.remove_reader(opening.socket.fileno())
            except NotImplementedError:  # Windows
                break
        threading.Thread(target=self._import, name="http import", daemon=True).start()

    def _import(self) -> None:
        try:
            importlib.import_module(SERVER)
        except Exception:
            # Whoever waits, or comes, hears at once that there is nothing to be had.
            log.exception("the HTTP API can't be served")
            self._call_soon(self._give_up)
            return
        self._call_soon(lambda: self._run(self._serve()))

    def _give_up(self) -> None:
        for server in self._servers:
            server.close()
        for opening in self._openings:
            opening.socket.close()

    def _call_soon(self, call: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            # The loop is closed: the broker has ended.
            pass

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ran)

    def _ran(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the HTTP API can't be served", exc_info=error)
            self._give_up()

    async def _serve(self) -> None:
        if self._is_closed:
            return
        from broker.admin.server import api_for

        # What was imported stays: the collector needn't look at it again and again.
        gc.freeze()
        apis: dict[str, Api] = {}
        for opening in self._openings:
            if opening.kind not in apis:
                apis[opening.kind] = api_for(opening.kind, self._context)
            make = apis[opening.kind].protocol
            if opening.accept is not None:
                server: Accepting = opening.accept(lambda _peer, make=make: make())  # type: ignore[misc]
            elif opening.socket.family == getattr(socket, "AF_UNIX", None):
                server = await self._loop.create_unix_server(make, sock=opening.socket)
            else:
                server = await self._loop.create_server(make, sock=opening.socket)
            self._servers.append(server)
        self._apis = list(apis.values())

    async def close(self) -> None:
        """Listen no more, and end what connections there are."""
        self._is_closed = True
        if not self._is_open:
            self._is_open = True
            for opening in self._openings:
                self._loop.remove_reader(opening.socket.fileno())
        for server in self._servers:
            server.close()
        for api in self._apis:
            await api.close()
        for opening in self._openings:
            opening.socket.close()

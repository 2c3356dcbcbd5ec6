"""The running server: listeners, connections, heartbeats, alarms, the turn, signals, the service manager, and its end.

A graceful stop takes nothing more in, confirms what it has taken, tells every connection 320 CONNECTION_FORCED, gives the
peers a moment to answer, ships what is left and waits until it is durable.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, ClassVar

from broker.runtime import tls
from broker.runtime.acceptor import Acceptor
from broker.runtime.alarms import Alarms
from broker.runtime.connection import Connection
from broker.runtime.decider import Decider
from broker.runtime.heartbeats import Heartbeats
from broker.runtime.machine import memory_bytes
from broker.runtime.service import Manager
from broker.runtime.trimming import Trimming
from broker.runtime.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.config import Config
    from broker.core.broker import Broker
    from broker.core.internal_events import FactsOf
    from broker.core.session import Peer
    from broker.runtime.http_client import HttpClient
    from broker.runtime.listeners import Bound
    from storage.api import Store

log = logging.getLogger("server")

STOP_CHECK_SECONDS = 0.005
NOTICE = logging.INFO + 5
"""RabbitMQ's level between info and warning."""
COMPLAINT_SECONDS = 60.0
SHUTDOWN = "broker forced connection closure with reason 'shutdown'"


class Server:
    """Serves one broker on one event loop."""

    turn_type: ClassVar[type[Turn]] = Turn
    connection_type: ClassVar[type[Connection]] = Connection
    alarms_type: ClassVar[type[Alarms]] = Alarms
    stop_seconds_max: ClassVar[float] = 3.0
    """How long a graceful stop waits for the peers' close-ok."""

    def __init__(
        self,
        broker: Broker,
        store: Store,
        config: Config,
        loop: asyncio.AbstractEventLoop,
        free: Callable[[], int] | None,
        client: HttpClient | None = None,
        manager: Manager | None = None,
    ) -> None:
        """`free` tells the bytes that are free on the store's disk, if it has one; `client` asks the server of an HTTP backend;
        `manager` is told how far it has got."""
        self._broker = broker
        self._config = config
        self._loop = loop
        self.connections: set[Connection] = set()
        self.alarms = self.alarms_type(config, broker.memory, self.connections, free, memory_bytes())
        self.turn = self.turn_type(broker, store, loop, self.alarms, Decider(loop, client))
        self.alarms.node = broker.node
        self.alarms.emit = self._emit
        self.on_hangup: list[Callable[[], None]] = []
        """Called one after the other on SIGHUP; what goes wrong there is theirs to log."""
        self.on_state: Callable[[], None] = lambda: None
        """Called on SIGUSR1."""
        self._manager = manager or Manager({})
        self._lives_with_terminal = False
        self._next_complaint = 0.0
        """By the event loop's clock: when it may be said again that nobody can be accepted."""
        self._servers: list[asyncio.Server] = []
        self._acceptors: list[Acceptor] = []
        self._bound: list[Bound] = []
        self._heartbeats = Heartbeats(self.connections)
        self._trimming = Trimming(broker.memory, loop)
        self._stop = asyncio.Event()

    async def run(self, sockets: list[Bound], contexts: tls.Contexts | None, ready: Callable[[], None]) -> None:
        """Serve until a signal (or `stop`) asks for the end; `ready` is called once connections are accepted.

        `contexts` are those of the TLS listeners, None without one.
        """
        self._loop.set_exception_handler(self._report)
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                self._loop.add_signal_handler(number, self._signalled, number)
            except NotImplementedError:  # Windows
                signal.signal(number, lambda *_: self._loop.call_soon_threadsafe(self.stop))
        if hasattr(signal, "SIGHUP"):
            # Whoever starts it with nohup wants it to outlive the terminal.
            self._lives_with_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _has_terminal()
            self._loop.add_signal_handler(signal.SIGHUP, self._hangup)
            self._loop.add_signal_handler(signal.SIGUSR1, lambda: self.on_state())
        log.info("Ready to start client connection listeners")
        for bound in sockets:
            await self._listen(bound, contexts)
        self._heartbeats.start()
        self._trimming.start()
        self.alarms.start()
        ready()
        self._manager.ready()
        self._manager.watch(self._loop)
        await self._stop.wait()
        self._manager.stopping()
        await self._end()
        self._manager.close()

    def reload_at_hangup(self, contexts: tls.Contexts) -> None:
        """Have SIGHUP read the certificates again, before whatever else it does."""
        sys.unraisablehook = tls.unraisable
        self.on_hangup.insert(0, lambda: _reload(contexts))

    async def _listen(self, bound: Bound, contexts: tls.Contexts | None) -> None:
        if bound.tls or self._config.proxy_protocol:
            has_room_for = self.turn.descriptors.has_room_for
            acceptor = Acceptor(bound, self._config, contexts if bound.tls else None, self._connection, self._loop, has_room_for)
            acceptor.start()
            self._acceptors.append(acceptor)
        else:
            backlog = self._config.tcp_options.backlog
            self._servers.append(await self._loop.create_server(self._connection, sock=bound.socket, backlog=backlog))
        log.info("started %s listener on %s", _kind(bound), bound.address)
        self._bound.append(bound)

    def _connection(self, peer: Peer | None = None) -> Connection:
        return self.connection_type(self.turn, self._config, self.connections, peer)

    def _hangup(self) -> None:
        """The signal has two meanings: from an operator, to read files again; from a terminal, that it is closed."""
        if self._lives_with_terminal and not _has_terminal():
            log.info("SIGHUP: the terminal is closed")
            self.stop()
            return
        log.info("SIGHUP: files are read and opened again")
        self._manager.reloading()
        for act in self.on_hangup:
            act()
        self._manager.ready()

    def _report(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The event loop's own complaints, with a traceback; but for those that are about the world and not about the program."""
        message = str(context.get("message", ""))
        if message.startswith("SSL handshake failed"):
            return  # the acceptor tells it in one line, whatever it was
        if message.startswith("socket.accept() out of system resource"):
            # asyncio says so a thousand times a second.
            if loop.time() >= self._next_complaint:
                self._next_complaint = loop.time() + COMPLAINT_SECONDS
                log.error("cannot accept connections: %s", context.get("exception"))
            return
        loop.default_exception_handler(context)

    @property
    def is_suspended(self) -> bool:
        """Whether nobody may connect."""
        return self.turn.is_suspended

    def suspend(self) -> None:
        """Close all connections, and let nobody connect until `resume`."""
        self.turn.is_suspended = True
        log.info("suspended: %d connections to close, no new ones are accepted", len(self.connections))
        for connection in list(self.connections):
            connection.force_close(SHUTDOWN)
        self.turn.schedule()

    def resume(self) -> None:
        """Let clients connect again."""
        self.turn.is_suspended = False
        log.info("resumed: connections are accepted")

    def stop(self) -> None:
        """Ask for a graceful end."""
        self._stop.set()

    def _signalled(self, number: signal.Signals) -> None:
        log.log(NOTICE, "%s received - shutting down", number.name)
        self.stop()

    def wake(self) -> None:
        """Have a turn follow; for any thread."""
        self._loop.call_soon_threadsafe(self.turn.schedule)

    def _emit(self, name: str, facts: FactsOf) -> None:
        self._broker.emit(name, facts)
        self.turn.schedule()

    async def _end(self) -> None:
        log.info("stopping: %d connections to close", len(self.connections))
        for bound in self._bound:
            log.info("stopped %s listener on %s", _kind(bound), bound.address)
        for server in self._servers:
            server.close()
        for acceptor in self._acceptors:
            acceptor.close()
        self._heartbeats.stop()
        self._trimming.stop()
        self.alarms.stop()
        # Whoever waits for a confirm of what was taken in gets it before the close.
        for connection in list(self.connections):
            connection.stop_reading()
        await self._until(lambda: not self._is_writing, self.stop_seconds_max)
        for connection in list(self.connections):
            connection.force_close(SHUTDOWN)
        await self._until(lambda: not self.connections, self.stop_seconds_max)
        for connection in list(self.connections):
            connection.abort()
        await self._until(lambda: not (self.connections or self._is_writing), None)

    @property
    def is_serving(self) -> bool:
        """Connections are accepted: all listeners are there, and nobody asked for the end yet."""
        return bool(self._bound) and not self._stop.is_set()

    @property
    def _is_writing(self) -> bool:
        """Something isn't durable yet."""
        return self._broker.outbox.has_batch or self.turn.committer.is_busy

    async def _until(self, reached: Callable[[], bool], seconds: float | None) -> None:
        """Turn after turn, until `reached()` or, if `seconds` is given, for so long."""
        deadline = None if seconds is None else self._loop.time() + seconds
        while not reached() and (deadline is None or self._loop.time() < deadline):
            self.turn.schedule()
            await asyncio.sleep(STOP_CHECK_SECONDS)


def _kind(bound: Bound) -> str:
    """RabbitMQ's name for a listener's protocol."""
    return "TLS (SSL)" if bound.tls else "TCP"


def _has_terminal() -> bool:
    """There is a terminal that this process belongs to."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _reload(contexts: tls.Contexts) -> None:
    try:
        contexts.reload()
    except tls.Unusable as error:
        log.error("certificates are not reloaded, the old ones stay in use: %s", error)
    else:
        log.info("certificates reloaded, for new connections")

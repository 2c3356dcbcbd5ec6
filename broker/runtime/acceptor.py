"""Connections to TLS listeners and from proxies, until they are connections like any other.

    accepted             the socket alone, watched by the event loop
    PROXY header         read from the socket to its last byte and no further        (handshake_timeout)
    the first bytes      looked at and left there: is it TLS?                        (ssl_handshake_timeout, from here on)
    TLS                  the event loop's; a context as it is now, so that a reload needs no new listener
    Connection           with a Peer who is known better than by its address

A peer that says nothing costs its socket and an `Arrival`: transports and TLS come with its first bytes. Plain listeners without
proxies have none of this (runtime.server).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import TYPE_CHECKING, Any, Final, cast

from broker.runtime import certificates, proxy_protocol, tls
from broker.runtime.connection import peer_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.config import Config
    from broker.core.session import Peer
    from broker.runtime.listeners import Bound

log = logging.getLogger("connection")

ACCEPTS_MAX: Final = 64
"""Sockets taken in one turn of the event loop."""
NO_MORE: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
RETRY_SECONDS: Final = 1.0
PEEK_BYTES: Final = 4096
HELLO_BYTES: Final = 16
HANDSHAKE_SECONDS_MIN: Final = 0.001
"""A time-out of nothing isn't one to the event loop."""
GOODBYE_SECONDS: Final = 5.0
"""How long the peer has to answer TLS's last word."""


class Acceptor:
    """Accepts the connections of one listening socket."""

    def __init__(
        self,
        bound: Bound,
        config: Config,
        contexts: tls.Contexts | None,
        connect: Callable[[Peer], asyncio.Protocol],
        loop: asyncio.AbstractEventLoop,
        has_room_for: Callable[[int], bool],
    ) -> None:
        """`contexts` are those of a TLS listener; `connect` makes the protocol of a peer that has come through; `has_room_for` is
        Descriptors'."""
        self._listening = bound.socket
        self._is_full = False
        self._retry: asyncio.TimerHandle | None = None
        self.config = config
        self.contexts = contexts
        self.connect = connect
        self.loop = loop
        self._has_room_for = has_room_for
        self.arrivals: set[Arrival] = set()
        """Who hasn't come through yet."""

    def start(self) -> None:
        """Begin to accept. Raises NotImplementedError on an event loop that can't watch sockets (Windows')."""
        self.loop.add_reader(self._listening.fileno(), self._accept)

    def close(self) -> None:
        """Accept nothing more, and let go of whom hasn't come through."""
        self.loop.remove_reader(self._listening.fileno())
        if self._retry is not None:
            self._retry.cancel()
        self._listening.close()
        for arrival in list(self.arrivals):
            arrival.end()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_MAX):
            try:
                accepted, remote = self._listening.accept()
            except OSError as error:
                if error.errno in NO_MORE:
                    self._rest(error)
                else:
                    # Nobody is waiting any more, or one that was has gone.
                    self._is_full = False
                return
            if not self._has_room_for(accepted.fileno()):
                accepted.close()
                continue
            accepted.setblocking(False)
            Arrival(self, accepted, remote).begin()

    def _rest(self, error: OSError) -> None:
        """Out of files or memory: the socket stays readable, so it isn't looked at for a while. Told once, until all that waited
        are accepted."""
        if not self._is_full:
            log.error("cannot accept connections: %s; trying again each %.0f s", error.strerror, RETRY_SECONDS)
        self._is_full = True
        self.loop.remove_reader(self._listening.fileno())
        self._retry = self.loop.call_later(RETRY_SECONDS, self.start)


class Arrival:
    """One accepted socket on its way."""

    __slots__ = ("_acceptor", "_deadline", "_reader", "_remote", "_socket", "_task", "_timer", "endpoints")

    def __init__(self, acceptor: Acceptor, accepted: socket.socket, remote: Any) -> None:
        self._acceptor = acceptor
        self._socket = accepted
        self._remote = remote
        self._reader: proxy_protocol.Reader | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        """By the event loop's clock: when what it waits for must have come, and the TLS handshake be finished."""
        self._task: asyncio.Task[None] | None = None
        self.endpoints: proxy_protocol.Endpoints | None = None
        """Where the peer comes from, if a proxy says so."""

    def begin(self) -> None:
        """Wait for the first that the peer has to say."""
        self._acceptor.arrivals.add(self)
        if self._acceptor.config.proxy_protocol:
            self._reader = proxy_protocol.Reader()
            self._expect(self._header_ready, self._acceptor.config.handshake_timeout_seconds)
        else:
            self._expect(self._hello_ready, self._acceptor.config.ssl_handshake_timeout_seconds)

    @property
    def peer(self) -> Peer:
        """Who it is, by address."""
        if self.endpoints is not None:
            return peer_of(*self.endpoints)
        local = self._socket.getsockname() if self._socket.fileno() >= 0 else None
        return peer_of(self._remote, local)

    def _expect(self, ready: Callable[[], None], seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._deadline = self._acceptor.loop.time() + seconds
        self._timer = self._acceptor.loop.call_at(self._deadline, self._timed_out)
        self._acceptor.loop.add_reader(self._socket.fileno(), ready)

    def _timed_out(self) -> None:
        config = self._acceptor.config
        if self._reader is not None:
            what = f"no whole PROXY header came within {config.handshake_timeout_seconds:g} s (handshake_timeout)"
        else:
            what = f"the TLS handshake did not begin within {config.ssl_handshake_timeout_seconds:g} s (ssl_handshake_timeout)"
        self._refuse(what)

    def _header_ready(self) -> None:
        """Read what belongs to the PROXY header, and leave the rest to those that come next."""
        reader = self._reader
        data = self._peek(PEEK_BYTES)
        if data is None or reader is None:
            return
        if not data:
            self._gone(reader.has_begun)
            return
        try:
            self._socket.recv(reader.feed(data))
        except proxy_protocol.MalformedHeader as malformed:
            speaks = tls.looks_like(data)
            hint = "" if reader.has_begun or "PROXY" in speaks else f" (the peer speaks {speaks.partition(':')[0]})"
            self._refuse(f"no PROXY header, which proxy_protocol = true asks for: {malformed}{hint}")
            return
        if reader.whole:
            self.endpoints = reader.endpoints
            self._reader = None
            if self._acceptor.contexts is None:
                self._hand_over()
            else:
                self._expect(self._hello_ready, self._acceptor.config.ssl_handshake_timeout_seconds)

    def _hello_ready(self) -> None:
        """The first bytes tell TLS from what isn't, and OpenSSL would not say what that is."""
        data = self._peek(HELLO_BYTES)
        if data is None:
            return
        if not data:
            self._gone(False)
        elif data[0] != tls.HANDSHAKE_RECORD:
            self._answer_no_tls()
            self._refuse(f"this is a TLS listener, and the peer speaks {tls.looks_like(data)}")
        else:
            self._hand_over()

    def _peek(self, size: int) -> bytes | None:
        """What has come in, left where it is: empty at the end, None if there is nothing yet or the peer is gone."""
        try:
            return self._socket.recv(size, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            self._gone(False)
            return None

    def _answer_no_tls(self) -> None:
        """Say it in TLS, as RabbitMQ does. What was sent is read, so that the system closes and doesn't reset."""
        try:
            self._socket.recv(PEEK_BYTES)
            self._socket.send(tls.ALERT)
        except OSError as error:
            log.debug("<%s> %s", self.peer.name, error)

    # --- to the event loop's transports

    def _hand_over(self) -> None:
        self._stop_waiting()
        self._task = self._acceptor.loop.create_task(self._connect())

    async def _connect(self) -> None:
        acceptor, peer = self._acceptor, self.peer
        gate = Gate(self, acceptor)
        options: dict[str, Any] = {}
        if acceptor.contexts is not None:
            tls.arriving.set(self._socket)
            options = {
                "ssl": acceptor.contexts.current,
                "ssl_handshake_timeout": max(self._deadline - acceptor.loop.time(), HANDSHAKE_SECONDS_MIN),
                "ssl_shutdown_timeout": GOODBYE_SECONDS,
            }
        try:
            await acceptor.loop.connect_accepted_socket(lambda: gate, self._socket, **options)
        except (OSError, ValueError) as error:  # ValueError: the ssl module can't read the client's certificate
            why = tls.failure(error)
        else:
            # asyncio also returns if the connection was lost before the handshake was finished.
            why = "" if gate.is_open or not options else tls.LOST
        finally:
            acceptor.arrivals.discard(self)
        if why and options and acceptor.loop.time() >= self._deadline:
            why = f"not finished within {acceptor.config.ssl_handshake_timeout_seconds:g} s (ssl_handshake_timeout)"
        if why:
            log.error("<%s> %s failed: %s", peer.name, "TLS handshake" if options else "connection", why)

    # --- ends

    def end(self) -> None:
        """Close the socket, wherever it is."""
        self._acceptor.arrivals.discard(self)
        if self._task is not None:
            self._task.cancel()
        else:
            self._stop_waiting()
            self._socket.close()

    def _refuse(self, why: str) -> None:
        log.error("<%s> closing connection: %s", self.peer.name, why)
        self.end()

    def _gone(self, has_begun: bool) -> None:
        """The peer closed. Whoever only looks whether the port is open (a load balancer) isn't worth a line."""
        log.log(logging.WARNING if has_begun else logging.DEBUG, "<%s> client unexpectedly closed TCP connection", self.peer.name)
        self.end()

    def _stop_waiting(self) -> None:
        self._acceptor.loop.remove_reader(self._socket.fileno())
        if self._timer is not None:
            self._timer.cancel()


class Gate(asyncio.Protocol):
    """The protocol of a new transport for one moment: it looks at the peer, and lets the Connection in."""

    def __init__(self, arrival: Arrival, acceptor: Acceptor) -> None:
        self._arrival = arrival
        self._acceptor = acceptor
        self.is_open = False
        """The handshake is finished."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self.is_open = True
        peer = self._arrival.peer
        session = transport.get_extra_info("ssl_object")
        if session is not None and self._acceptor.contexts is not None:
            objection = self._acceptor.contexts.objection(session)
            if objection is not None:
                log.error("<%s> closing connection: %s", peer.name, objection)
                cast("asyncio.Transport", transport).abort()
                return
            certificate = session.getpeercert(binary_form=True)
            name = certificates.user_name(certificate, self._acceptor.config) if certificate else None
            cipher = session.cipher()
            version = session.version() or ""
            peer = peer._replace(is_tls=True, tls_version=version, tls_cipher=cipher[0] if cipher else "", certificate_name=name)
        connection = self._acceptor.connect(peer)
        cast("asyncio.Transport", transport).set_protocol(connection)
        connection.connection_made(transport)

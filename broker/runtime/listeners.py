"""Listening sockets: all bound before the first connection is accepted."""

from __future__ import annotations

import errno
import logging
import socket
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.config import Listener, TcpOptions

log = logging.getLogger("listeners")

PORT_TRIES = 20
NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class CannotListen(Exception):
    """An address can't be bound; the text names it and says why."""


class Bound(NamedTuple):
    """A socket that listens, and whether TLS is spoken there."""

    socket: socket.socket
    tls: bool

    @property
    def address(self) -> str:
        """`127.0.0.1:5672` or `[::1]:5672`."""
        host, port = self.socket.getsockname()[:2]
        return f"[{host}]:{port}" if self.socket.family == socket.AF_INET6 else f"{host}:{port}"


def bind(listeners: Iterable[Listener], options: TcpOptions) -> list[Bound]:
    """Bind and listen. Port 0 means one free port, the same for all hosts (another one for TLS). An address family that this machine
    doesn't have is left out as long as something else is there. Raises CannotListen."""
    wanted = list(listeners)
    for _ in range(PORT_TRIES):
        try:
            return _bind_all(wanted, options)
        except _PortTaken:
            continue
    raise CannotListen("no port is free on all of " + ", ".join(listener.host for listener in wanted))


class _PortTaken(Exception):
    """The free port that the first host gave is taken on another one."""


def _bind_all(listeners: list[Listener], options: TcpOptions) -> list[Bound]:
    sockets: list[Bound] = []
    free_ports: dict[bool, int] = {}
    missing: OSError | None = None
    try:
        for listener in listeners:
            host, port, tls = listener
            free_port = free_ports.get(tls, 0)
            for family, address in _resolve(host, port or free_port):
                try:
                    bound = _listen(family, address, options)
                except OSError as error:
                    if error.errno in NO_SUCH_ADDRESS:
                        missing = error
                        continue
                    if port == 0 and free_port and error.errno == errno.EADDRINUSE:
                        raise _PortTaken from error
                    raise CannotListen(f"cannot listen on {host}:{port}: {error.strerror}") from error
                sockets.append(Bound(bound, tls))
                if port == 0:
                    free_port = free_ports[tls] = bound.getsockname()[1]
    except BaseException:
        for each in sockets:
            each.socket.close()
        raise
    if not sockets:
        raise CannotListen(f"cannot listen anywhere: {missing.strerror if missing else 'no listener is configured'}")
    return sockets


def _resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, Any]]:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListen(f"cannot listen on {host}: {error.strerror}") from error
    return [(family, address) for family, _, _, _, address in dict.fromkeys(found)]


def _listen(family: socket.AddressFamily, address: Any, options: TcpOptions) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _set_options(bound, options)
        bound.bind(address)
        bound.listen(options.backlog)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


def _set_options(listening: socket.socket, options: TcpOptions) -> None:
    """What accepted sockets inherit. Before listening: the window's scale is fixed when a connection begins."""
    if options.nodelay:
        # asyncio sets it for itself only on sockets that were made with the protocol's number.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if options.keepalive:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if options.sndbuf is not None:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options.sndbuf)
    if options.recbuf is not None:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.recbuf)
    if options.linger_seconds == 0:
        # Only this: close drops what is unsent. With more seconds close would stop the event loop until the peer has taken all; without
        # the option the system sends it behind our back.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

"""Listening sockets: all bound before the first connection is accepted."""

from __future__ import annotations

import errno
import logging
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.config import Listener

log = logging.getLogger("listeners")

BACKLOG = 1024
"""Connections that wait to be accepted; a burst of a thousand clients is normal after a restart."""
PORT_TRIES = 20
NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class CannotListen(Exception):
    """An address can't be bound; the text names it and says why."""


def bind(listeners: Iterable[Listener]) -> list[socket.socket]:
    """Bind and listen. Port 0 means one free port, the same for all hosts. An address family that this machine doesn't have is
    left out as long as something else is there. Raises CannotListen."""
    wanted = list(listeners)
    for _ in range(PORT_TRIES):
        try:
            return _bind_all(wanted)
        except _PortTaken:
            continue
    raise CannotListen("no port is free on all of " + ", ".join(listener.host for listener in wanted))


class _PortTaken(Exception):
    """The free port that the first host gave is taken on another one."""


def _bind_all(listeners: list[Listener]) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    free_port = 0
    missing: OSError | None = None
    try:
        for listener in listeners:
            host, port = listener.host, listener.port
            for family, address in _resolve(host, port or free_port):
                try:
                    bound = _listen(family, address)
                except OSError as error:
                    if error.errno in NO_SUCH_ADDRESS:
                        missing = error
                        continue
                    if port == 0 and free_port and error.errno == errno.EADDRINUSE:
                        raise _PortTaken from error
                    raise CannotListen(f"cannot listen on {host}:{port}: {error.strerror}") from error
                sockets.append(bound)
                if port == 0:
                    free_port = bound.getsockname()[1]
    except BaseException:
        for each in sockets:
            each.close()
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


def _listen(family: socket.AddressFamily, address: Any) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


def address_text(bound: socket.socket) -> str:
    """`127.0.0.1:5672` or `[::1]:5672`."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if bound.family == socket.AF_INET6 else f"{host}:{port}"

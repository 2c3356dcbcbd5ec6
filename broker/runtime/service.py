"""Running as a service: what the service manager is told (sd_notify), and its watchdog.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html: each message is one datagram of lines `NAME=value` to the socket
that NOTIFY_SOCKET names, a path or (with `@`) a name in Linux's abstract namespace. Without the variable nobody is told anything.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

log = logging.getLogger("service")

SEND_SECONDS_MAX: Final = 0.5
"""A manager that doesn't read may hold the event loop for so long a message."""


class Manager:
    """The service manager that started this process, if one did that wants to know."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Of the environment it is NOTIFY_SOCKET, WATCHDOG_USEC (microseconds) and WATCHDOG_PID that count."""
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._watchdog_seconds = _watchdog_seconds(environ)
        self._socket: socket.socket | None = None
        self._is_told = True
        """The last message went out; the log has a line when that changes."""
        self._handle: asyncio.TimerHandle | None = None

    def starting(self) -> None:
        """The start has begun."""
        self._tell("STATUS=Startup in progress")

    def ready(self) -> None:
        """Connections are accepted, or accepted again as ever. RabbitMQ's words, and which process it is: a script may have started it."""
        self._tell("READY=1", "STATUS=", f"MAINPID={os.getpid()}")

    def reloading(self) -> None:
        """Files are read again; `ready` has to follow."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The end has begun. Nobody is to be restarted for taking its time over it."""
        self._tell("STOPPING=1", "STATUS=Closing connections")

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give a sign of life twice in each interval, from the event loop: one that hangs gives none. Until `close`."""
        if self._watchdog_seconds is not None and self._address is not None:
            self._tell("WATCHDOG=1")
            self._handle = loop.call_later(self._watchdog_seconds / 2, self.watch, loop)

    def close(self) -> None:
        """Say nothing more."""
        if self._handle is not None:
            self._handle.cancel()
        if self._socket is not None:
            self._socket.close()
        self._socket = self._address = None

    def _tell(self, *lines: str) -> None:
        if self._address is None:
            return
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0))
                self._socket.settimeout(SEND_SECONDS_MAX)
            self._socket.sendto("\n".join(lines).encode(), self._address)
            self._is_told = True
        except OSError as error:
            if self._is_told:
                log.warning("the service manager can't be told %s: NOTIFY_SOCKET: %s", lines[0], error)
            self._is_told = False


def _address(named: str) -> str | None:
    """What the socket is sent to; None where nobody listens, or at something that isn't a Unix socket."""
    if named.startswith("@"):
        return "\0" + named[1:]
    return named if named.startswith("/") and hasattr(socket, "AF_UNIX") else None


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """The interval in which a sign of life is wanted, if one is wanted of this process."""
    try:
        seconds = int(environ.get("WATCHDOG_USEC", "0")) / 1_000_000
        watched = int(environ.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    return seconds if seconds > 0 and watched == os.getpid() else None

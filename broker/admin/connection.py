"""One connection to an HTTP port: what a peer may take before, between and after the requests that aiohttp reads.

    connected      the first request has to be whole within handshake_timeout, and no head is longer than HEAD_BYTES_MAX
    a request      aiohttp's and the handlers'; a body has a deadline of its own (call.Call.read)
    an answer      what isn't taken for SEND_SECONDS ends the connection; so nobody who doesn't read is waited for
    between two    KEEPALIVE_SECONDS, aiohttp's

Who comes when there are too many is told so and turned away, so that AMQP's clients and the log keep their descriptors.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp.http_exceptions import HttpProcessingError

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("management")

CONNECTIONS_MAX: Final = 1024
"""To all ports of a kind; RabbitMQ has it so (Ranch's max_connections)."""
SHARE: Final = 4
"""And no more than one in so many of the descriptors that connections may have."""
HEAD_BYTES_MAX: Final = 65_536
"""Of a request without its body. aiohttp alone takes 128 lines of 8 KiB."""
HEAD_END: Final = b"\r\n\r\n"
SEND_SECONDS: Final = 30.0
SHOWN_MAX: Final = 200
"""Characters of what a peer sent that the log is told."""
AMQP: Final = b"AMQP"
TLS_RECORD: Final = b"\x16\x03"
_TLS_ALERT: Final = b"\x15\x03\x01\x00\x02\x02\x0a"
"""Fatal, unexpected message: what TLS clients understand."""
_BUSY: Final = "too many connections: try again"
_TEXT: Final = "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"


class Crowd:
    """The connections to all ports of a kind. `most` is how many there may be (None: nobody is turned away); `has_room_for` tells whether
    a socket's number leaves descriptors enough for others (runtime.descriptors)."""

    def __init__(self, most: int | None, has_room_for: Callable[[int], bool], first_request_seconds: float) -> None:
        self._most = most
        self._has_room_for = has_room_for
        self.first_request_seconds = first_request_seconds
        self.count = 0
        self._is_full = False

    def admits(self, number: int) -> bool:
        """Whether one more may stay, whose socket has this number. The log has a line when that changes."""
        if self._most is None:
            return True
        is_full = self.count >= self._most
        if is_full and not self._is_full:
            log.warning("%d HTTP connections are open, which is all there may be: new ones are turned away", self.count)
        self._is_full = is_full or (self._is_full and self.count > self._most * 0.9)
        return not is_full and self._has_room_for(number)


def most_of(sockets_max: int) -> int:
    """How many HTTP connections there may be where connections may have so many descriptors (0: as many as they like)."""
    return min(CONNECTIONS_MAX, max(sockets_max // SHARE, 1)) if sockets_max else CONNECTIONS_MAX


class Connection(asyncio.Protocol):
    """Stands between the transport and aiohttp's protocol, `inner`."""

    def __init__(self, inner: asyncio.Protocol, crowd: Crowd) -> None:
        self._inner = inner
        self._crowd = crowd
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._unsent: asyncio.TimerHandle | None = None
        self._is_admitted = False
        self._has_begun = False
        """A first byte came."""
        self._requests = 0
        """Being answered now."""
        self._idle_bytes = 0
        """Read since the last answer, until a head is whole."""
        self._idle_bytes_max = HEAD_BYTES_MAX
        self._last_bytes = b""
        self._has_head = False
        """A head is whole, and aiohttp is about to make a request of it."""

    # --- asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._crowd.admits(transport.get_extra_info("socket").fileno()):
            self._say("503 Service Unavailable", _BUSY)
            return
        self._is_admitted = True
        self._crowd.count += 1
        # All is sent before an answer counts as given, so that none waits in a closed connection.
        self._transport.set_write_buffer_limits(high=0)
        self._deadline = asyncio.get_running_loop().call_later(self._crowd.first_request_seconds, self._transport.abort)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if not self._is_admitted:
            return
        if not self._has_begun:
            self._has_begun = True
            if data.startswith((AMQP, TLS_RECORD)):
                self._refuse_other_protocol(is_amqp=data.startswith(AMQP))
                return
        if not self._requests and not self._has_head and not self._is_short(data):
            self._say("431 Request Header Fields Too Large", "the head of the request is too long")
            return
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """See asyncio.Protocol."""
        return self._inner.eof_received() if self._is_admitted else None

    def pause_writing(self) -> None:
        """See asyncio.Protocol: something couldn't be sent at once."""
        if self._unsent is None and self._transport is not None:
            self._unsent = asyncio.get_running_loop().call_later(SEND_SECONDS, self._transport.abort)
        if self._is_admitted:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """See asyncio.Protocol: all was sent."""
        self._stop(self._unsent)
        self._unsent = None
        if self._is_admitted:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._stop(self._deadline)
        self._stop(self._unsent)
        self._transport = None
        if self._is_admitted:
            self._is_admitted = False
            self._crowd.count -= 1
            self._inner.connection_lost(exc)

    # --- requests ---------------------------------------------------------------------------------------------------

    def begins(self) -> None:
        """The head of a request is whole."""
        self._stop(self._deadline)
        self._requests += 1

    def ends(self, unread_bytes_max: int) -> None:
        """It is answered. Of a body that nobody wanted so much is still read, and dropped; 0 if there is none."""
        self._requests -= 1
        self._idle_bytes = 0
        self._idle_bytes_max = max(HEAD_BYTES_MAX, unread_bytes_max)
        self._has_head = False

    def _is_short(self, data: bytes) -> bool:
        """What came outside of requests: a head, maybe behind the rest of a body; whether it isn't too long yet."""
        self._idle_bytes += len(data)
        if self._idle_bytes_max == HEAD_BYTES_MAX:
            self._has_head = HEAD_END in self._last_bytes + data
            self._last_bytes = (self._last_bytes + data)[1 - len(HEAD_END) :]
        return self._has_head or self._idle_bytes <= self._idle_bytes_max

    # --- ends -------------------------------------------------------------------------------------------------------

    def _refuse_other_protocol(self, *, is_amqp: bool) -> None:
        transport = cast("asyncio.Transport", self._transport)
        (host, port, *_), name = transport.get_extra_info("sockname"), "AMQP" if is_amqp else "TLS"
        log.error("closing connection from %s: this is an HTTP port, %s:%s, and the peer speaks %s", _peer(transport), host, port, name)
        if is_amqp:
            self._say("400 Bad Request", "this is an HTTP port: AMQP is spoken at another one, which is 5672 by default")
        else:
            transport.write(_TLS_ALERT)
            self._end()

    def _say(self, status: str, text: str) -> None:
        cast("asyncio.Transport", self._transport).write((_TEXT % (status, len(text), text)).encode())
        self._end()

    def _end(self) -> None:
        """Nothing more is read; what was said leaves within SEND_SECONDS or not at all (pause_writing)."""
        cast("asyncio.Transport", self._transport).close()

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


class Complaints:
    """What aiohttp has to say, for the log: of a peer's mistakes a line each, of everything else what there is. (A logger, to aiohttp.)"""

    def debug(self, text: str, *args: Any, exc_info: BaseException | None = None) -> None:
        """Noise, mostly: peers that speak no HTTP at all."""
        log.debug(text, *args, exc_info=exc_info)

    def exception(self, text: str, *args: Any, exc_info: BaseException | None = None) -> None:
        """An error."""
        if isinstance(exc_info, HttpProcessingError):
            log.error("malformed HTTP request from %s: %s", *args, " ".join(exc_info.message.split())[:SHOWN_MAX])
        elif isinstance(exc_info, ConnectionError):
            log.debug("an HTTP client didn't wait for its answer: %s (%s)", *args, exc_info)
        else:
            log.error(text, *args, exc_info=exc_info)


def _peer(transport: asyncio.BaseTransport) -> str:
    name = transport.get_extra_info("peername")
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "the control socket"

"""A channel without a socket: what an operator does in a user's name, with all the checks that a client's channel has.

RabbitMQ's management plugin opens a direct connection for this. `Direct` is a session that no connection list shows: methods go in, what
the channel says comes out as `Reply`s, in their order and only once they are durable.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from protocol.constants import CHANNEL_MAX, CONNECTION_FORCED, FRAME_MAX_BYTES
from protocol.errors import ConnectionException
from protocol.events import Tuning
from protocol.methods import Channel

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.broker import Broker
    from broker.core.permissions import Identity
    from broker.core.session import Peer
    from broker.core.vhost import VHost
    from protocol.errors import AmqpError
    from protocol.events import DeliveryEncoder, Message
    from protocol.methods import Method
    from protocol.tables import Table

NUMBER: Final = 1
"""Of the one channel."""
_TOKEN: Final = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Said:
    """Any method but those below."""

    method: Method


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The answer to publishes up to `tag`; `taken` is False for basic.nack."""

    tag: int
    taken: bool


@dataclass(frozen=True, slots=True)
class Got:
    """basic.get-ok; `left` messages are ready behind it."""

    tag: int
    redelivered: bool
    left: int
    message: Message


@dataclass(frozen=True, slots=True)
class Returned:
    """basic.return."""

    text: str


@dataclass(frozen=True, slots=True)
class Closed:
    """channel.close, or connection.close."""

    error: AmqpError


Reply = Said | Confirmed | Got | Returned | Closed


class Direct:
    """One channel of a user in a vhost; `heard` is called with each reply. Close it in the end.

    Once it is closed, or the vhost is gone (which is heard as Closed), nothing that is sent does anything.
    """

    def __init__(self, broker: Broker, vhost: VHost, identity: Identity, peer: Peer, heard: Callable[[Reply], None]) -> None:
        """Raises ConnectionException where one more channel is too many."""
        self.session = broker.session_type(broker, peer)
        self.session.wire = _Wire(heard)
        self.session.vhost = vhost
        self.session.identity = identity
        self.session.on_method(NUMBER, Channel.Open())
        self._heard = heard
        broker.directs[self] = None

    def send(self, method: Method) -> None:
        """A method; its reply comes by `heard`. Raises ConnectionException for a hard error, and Undecided (then `session.retry`)."""
        if NUMBER in self.session.channels:
            self.session.on_method(NUMBER, method)

    def publish(self, routing: bytes, bits: int, header: bytes, body: bytes) -> None:
        """basic.publish of one message, in the forms of protocol.events. Raises likewise."""
        if NUMBER in self.session.channels:
            self.session.on_publishes(NUMBER, routing, bits, (header,), [body])

    def close(self) -> None:
        """What it holds goes back."""
        if NUMBER in self.session.channels:
            self.session.end_channel(NUMBER)
        self.session.ended = True
        self.session.broker.directs.pop(self, None)

    def force_close(self, reason: str) -> None:
        """The same, for a reason of the operator's, which is heard."""
        self.close()
        self._heard(Closed(ConnectionException(CONNECTION_FORCED, reason)))


class _Wire:
    """protocol.events.Wire whose frames are tokens for what they say, so that `write` hears it in its place and time."""

    tuning = Tuning(CHANNEL_MAX, FRAME_MAX_BYTES, 0)
    output_bytes = 0

    def __init__(self, heard: Callable[[Reply], None]) -> None:
        self._heard = heard
        self._said: dict[int, Reply] = {}
        self._next = 0

    def _token(self, reply: Reply) -> bytes:
        self._next += 1
        self._said[self._next] = reply
        return _TOKEN.pack(self._next)

    def write(self, frames: bytes) -> None:
        for (number,) in _TOKEN.iter_unpack(frames):
            self._heard(self._said.pop(number))

    def method(self, channel: int, method: Method) -> bytes:
        return self._token(Said(method))

    def ack(self, channel: int, tag: int, multiple: bool) -> bytes:
        return self._token(Confirmed(tag, True))

    def nack(self, channel: int, tag: int) -> bytes:
        return self._token(Confirmed(tag, False))

    def get_ok(self, channel: int, tag: int, redelivered: bool, message_count: int, message: Message) -> bytes:
        return self._token(Got(tag, redelivered, message_count, message))

    def returned(self, channel: int, code: int, text: str, routing: bytes, header: bytes, body: bytes) -> bytes:
        return self._token(Returned(text))

    def close_channel(self, channel: int, error: AmqpError) -> bytes:
        return self._token(Closed(error))

    def delivered(self, channel: int, consumer_tag: str, tag: int, message: Message) -> bytes:
        raise NotImplementedError("nobody consumes here")

    def deliveries(self, channel: int, consumer_tag: str) -> DeliveryEncoder:
        raise NotImplementedError("nobody consumes here")

    def tuned(self, tuning: Tuning) -> None:
        """There is nothing to tune."""

    def close(self, error: AmqpError) -> None:
        self._heard(Closed(error))

    def start(self, properties: Table, mechanisms: str, locales: str) -> None:
        """There is no handshake."""

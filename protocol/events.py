"""What a connection tells the broker, and what the broker may say back.

An event is a call, not an object: a busy publisher makes half a million of them a second. `ServerConnection` calls the
methods of `Events` in the order of the bytes; a run of like frames (publishes by one template, single acks of one
channel) is one call. The broker answers through `Wire`. Both are interfaces only: the core imports nothing else of the
machinery in this package.

A *message* travels as a plain tuple, so that a backlog of millions costs the garbage collector nothing:

    (id, routing, header, body)

    id        the broker's number of the message: order of publishing
    routing   exchange and routing key as they stood in basic.publish: two short strings in wire form
    header    the payload of the content header frame: class, weight, body size, property flags, properties
    body      the whole body
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from protocol.errors import AmqpError, ChannelException
from protocol.methods import Method
from protocol.tables import Table

Message = tuple[int, bytes, bytes, bytes]

MANDATORY = 1
IMMEDIATE = 2
"""Bits of basic.publish, as they stand in its last octet."""


class PublishMethod:
    """A basic.publish without its content: its whole method frame, and what that says. The same frame on a channel is mostly the same
    object."""

    __slots__ = ("bits", "channel", "frame", "routing")

    def __init__(self, frame: bytes, channel: int, routing: bytes, bits: int) -> None:
        self.frame = frame
        self.channel = channel
        self.routing = routing
        """Exchange and routing key, two short strings in wire form."""
        self.bits = bits
        """MANDATORY, IMMEDIATE."""


class Tuning(NamedTuple):
    """What connection.tune offers: limits in channels, bytes and seconds (0 seconds: no heartbeats)."""

    channel_max: int
    frame_max: int
    heartbeat: int


class Events(Protocol):
    """What the peer did. A method may raise ChannelException or ConnectionException where it says so; nothing else.

    A *cost* is the work that the call made, in messages put into queues: the connection stops for this turn when the
    sum passes its budget.
    """

    def on_protocol_header(self) -> None:
        """The peer speaks AMQP 0-9-1: start the handshake."""

    def on_publishes(self, channel: int, routing: bytes, bits: int, headers: Sequence[bytes], bodies: list[bytes]) -> int:
        """A run of basic.publish on one channel with the same exchange, routing key and bits; returns its cost.

        `headers` has one element for each body, or a single one that holds for all.
        """

    def on_mixed_publishes(self, methods: list[PublishMethod], headers: list[bytes], bodies: list[bytes]) -> int:
        """A run of basic.publish, one method, header and body each, on any channels; returns its cost. It means the same as `on_publishes`
        for one after the other, but for those on a channel that one of them has closed."""

    def on_acks(self, channel: int, tags: Sequence[int]) -> int:
        """A run of basic.ack with multiple=false and tags other than 0; returns its cost."""

    def on_ack(self, channel: int, tag: int, multiple: bool) -> int:
        """Any other basic.ack; returns its cost."""

    def on_method(self, channel: int, method: Method) -> int:
        """Any other method that is legal in the connection's and the channel's state; returns its cost."""

    def on_channel_error(self, channel: int, error: ChannelException) -> None:
        """The protocol layer found a soft error (a message over the size limit); the broker closes the channel."""


class DeliveryEncoder(Protocol):
    """Encodes basic.deliver for one consumer; keeps what is the same from one message to the next."""

    def encode(self, tag: int, redelivered: bool, messages: Sequence[Message], limit_bytes: int) -> int:
        """Write deliveries with the tags `tag`, `tag + 1`, ...; stop once more than `limit_bytes` are written.
        Returns how many messages went out (at least one)."""


class Wire(Protocol):
    """The way back to the peer. Frames are encoded at once and leave at the end of the turn."""

    @property
    def tuning(self) -> Tuning:
        """The limits that hold, or are offered."""

    @property
    def output_bytes(self) -> int:
        """What was written since the last flush, about."""

    def write(self, frames: bytes) -> None:
        """Queue encoded frames."""

    def method(self, channel: int, method: Method) -> bytes:
        """The frame of a method."""

    def ack(self, channel: int, tag: int, multiple: bool) -> bytes:
        """basic.ack, to a publisher that asked for confirms."""

    def nack(self, channel: int, tag: int) -> bytes:
        """basic.nack of one publish."""

    def delivered(self, channel: int, consumer_tag: str, tag: int, message: Message) -> bytes:
        """One basic.deliver with its content, for a consumer without an encoder (direct reply-to)."""

    def get_ok(self, channel: int, tag: int, redelivered: bool, message_count: int, message: Message) -> bytes:
        """basic.get-ok with its content."""

    def returned(self, channel: int, code: int, text: str, routing: bytes, header: bytes, body: bytes) -> bytes:
        """basic.return with its content."""

    def deliveries(self, channel: int, consumer_tag: str) -> DeliveryEncoder:
        """The encoder for a new consumer."""

    def tuned(self, tuning: Tuning) -> None:
        """The peer accepted these limits."""

    def close(self, error: AmqpError) -> None:
        """connection.close; from here on only close and close-ok are heard."""

    def close_channel(self, channel: int, error: AmqpError) -> bytes:
        """channel.close; from here on the channel's frames are dropped until close-ok."""

    def start(self, properties: Table, mechanisms: str, locales: str) -> None:
        """Send connection.start."""

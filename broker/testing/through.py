"""What stands between protocol and session: events go through on their way in, and what the broker says on its way out.

    socket -> ServerConnection -> Hearing -> Session -> Saying -> ServerConnection -> socket

`Hearing` is an Events that hands everything on to another one, and `Saying` a Wire; subclasses hear, or change, what goes through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.errors import AmqpError, ChannelException
    from protocol.events import DeliveryEncoder, Events, Message, PublishMethod, Tuning, Wire
    from protocol.methods import Method
    from protocol.tables import Table


class Hearing:
    """protocol.events.Events that hands everything on."""

    def __init__(self, to: Events) -> None:
        self._to = to

    def on_protocol_header(self) -> None:
        """See Events."""
        self._to.on_protocol_header()

    def on_publishes(self, channel: int, routing: bytes, bits: int, headers: Sequence[bytes], bodies: list[bytes]) -> int:
        """See Events."""
        return self._to.on_publishes(channel, routing, bits, headers, bodies)

    def on_mixed_publishes(self, methods: list[PublishMethod], headers: list[bytes], bodies: list[bytes]) -> int:
        """See Events: a WatchedWire has none."""
        raise AssertionError("runs are of one exchange and key here")

    def on_acks(self, channel: int, tags: Sequence[int]) -> int:
        """See Events."""
        return self._to.on_acks(channel, tags)

    def on_ack(self, channel: int, tag: int, multiple: bool) -> int:
        """See Events."""
        return self._to.on_ack(channel, tag, multiple)

    def on_method(self, channel: int, method: Method) -> int:
        """See Events."""
        return self._to.on_method(channel, method)

    def on_channel_error(self, channel: int, error: ChannelException) -> None:
        """See Events."""
        self._to.on_channel_error(channel, error)


class Saying:
    """protocol.events.Wire that hands everything on."""

    def __init__(self, to: Wire) -> None:
        self._to = to

    @property
    def tuning(self) -> Tuning:
        """See Wire."""
        return self._to.tuning

    @property
    def output_bytes(self) -> int:
        """See Wire."""
        return self._to.output_bytes

    def write(self, frames: bytes) -> None:
        """See Wire."""
        self._to.write(frames)

    def method(self, channel: int, method: Method) -> bytes:
        """See Wire."""
        return self._to.method(channel, method)

    def ack(self, channel: int, tag: int, multiple: bool) -> bytes:
        """See Wire."""
        return self._to.ack(channel, tag, multiple)

    def nack(self, channel: int, tag: int) -> bytes:
        """See Wire."""
        return self._to.nack(channel, tag)

    def delivered(self, channel: int, consumer_tag: str, tag: int, message: Message) -> bytes:
        """See Wire."""
        return self._to.delivered(channel, consumer_tag, tag, message)

    def get_ok(self, channel: int, tag: int, redelivered: bool, message_count: int, message: Message) -> bytes:
        """See Wire."""
        return self._to.get_ok(channel, tag, redelivered, message_count, message)

    def returned(self, channel: int, code: int, text: str, routing: bytes, header: bytes, body: bytes) -> bytes:
        """See Wire."""
        return self._to.returned(channel, code, text, routing, header, body)

    def deliveries(self, channel: int, consumer_tag: str) -> DeliveryEncoder:
        """See Wire."""
        return self._to.deliveries(channel, consumer_tag)

    def tuned(self, tuning: Tuning) -> None:
        """See Wire."""
        self._to.tuned(tuning)

    def close(self, error: AmqpError) -> None:
        """See Wire."""
        self._to.close(error)

    def close_channel(self, channel: int, error: AmqpError) -> bytes:
        """See Wire."""
        return self._to.close_channel(channel, error)

    def start(self, properties: Table, mechanisms: str, locales: str) -> None:
        """See Wire."""
        self._to.start(properties, mechanisms, locales)

"""The slow twin of ServerConnection: one frame after the other, as the specification (4.2.3, 4.2.6) and the contract (1.7, 1.8, 2.1) say.

It knows no runs and no templates. What it tells the broker, and how it ends, is what ServerConnection must tell, however the bytes
arrive. The arguments of methods it leaves to protocol.codec, which has tests of its own.
"""

import struct

from protocol import codec
from protocol.erlang import binary
from protocol.errors import AmqpError, ChannelException, ConnectionException, FramingException
from protocol.methods import Channel, Connection, Method, ids
from protocol.states import CLIENT_CHANNEL_METHODS
from tests.protocol.playbook import BASIC_CLASS, BODY, HEADER, HEARTBEAT, METHOD, Broker

PUBLISH, ACK = b"\x00\x3c\x00\x28", b"\x00\x3c\x00\x50"
PUBLISH_IDS = (60, 40)


class Slot:
    """A channel: what it waits for, and what it has of a message."""

    def __init__(self) -> None:
        self.closing = False
        self.expects = "method"
        self.routing = b""
        self.bits = 0
        self.header = b""
        self.body = b""
        self.size = 0


class Twin:
    """A connection after the handshake. Raises what ServerConnection raises, and answers the fake as it does (close_channel)."""

    def __init__(self, broker: Broker, frame_max: int, message_size_max: int) -> None:
        self.broker = broker
        self.broker.wire = self
        self.frame_max = frame_max
        self.message_size_max = message_size_max
        self.data = b""
        self.slots: dict[int, Slot] = {}
        self.state = "running"

    # what the fake calls

    def write(self, frames: bytes) -> None:
        """Nobody listens."""

    def method(self, channel: int, method: Method) -> bytes:
        """Nobody listens."""
        return b""

    def close_channel(self, channel: int, error: AmqpError) -> bytes:
        """From here on the channel's frames are dropped."""
        self.slots[channel].closing = True
        self.slots[channel].expects = "method"
        return b""

    def close(self) -> None:
        """The broker closes the connection."""
        self.state = "closing"

    # frames

    def receive_data(self, data: bytes) -> None:
        """Frame by frame."""
        self.data += data
        while self.state != "closed" and len(self.data) >= 7:
            kind, number, size = struct.unpack(">BHI", self.data[:7])
            if size > self.frame_max:
                raise FramingException(501, f"type {kind}, all octets = <<>>: {{frame_too_large,{size},{self.frame_max - 8}}}")
            if len(self.data) < size + 8:
                return
            payload, end = self.data[7 : 7 + size], self.data[7 + size]
            if end != 0xCE:
                raise FramingException(501, f"{_described(kind, payload)}: {{invalid_frame_end_marker,{end}}}")
            self.data = self.data[size + 8 :]
            self._frame(kind, number, payload)

    def _frame(self, kind: int, number: int, payload: bytes) -> None:
        if self.state == "closing":
            if kind == METHOD and number == 0 and payload[:4] in (b"\0\x0a\0\x32", b"\0\x0a\0\x33"):
                self._closed(payload)
        elif kind == METHOD:
            self._method(number, payload)
        elif kind == BODY or (kind == HEADER and len(payload) >= 12):
            self._content(number, kind, payload)
        elif kind == HEARTBEAT and not payload:
            if number:
                raise ConnectionException(505, "type 8, all octets = <<>>")
        else:
            raise ConnectionException(501, f"{_described(kind, payload)}: unknown_frame")

    def _closed(self, payload: bytes) -> None:
        method = codec.decode_method(payload)
        self.state = "closed"
        self.broker.on_method(0, method)

    # methods

    def _method(self, number: int, payload: bytes) -> None:
        slot = self.slots.get(number)
        if slot is not None and slot.expects != "method":
            raise _unexpected(slot.expects)
        method = codec.decode_method(payload)
        if number == 0:
            if isinstance(method, Connection.Close):
                self._closed(payload)
            elif isinstance(method, Connection.UpdateSecret):
                self.broker.on_method(0, method)
            else:
                raise ConnectionException(504, "unexpected method in connection state running", *ids(method))
        elif slot is None:
            if not isinstance(method, Channel.Open):
                raise ConnectionException(504, "expected 'channel.open'", *ids(method))
            self.slots[number] = Slot()
            self.broker.on_method(number, method)
        elif isinstance(method, Channel.Open):
            raise ConnectionException(504, "second 'channel.open' seen", *ids(method))
        elif slot.closing:
            if isinstance(method, Channel.CloseOk):
                del self.slots[number]
        elif method.name not in CLIENT_CHANNEL_METHODS:
            raise ConnectionException(503, "unimplemented method", *ids(method))
        else:
            self._channel_method(number, slot, method, payload)

    def _channel_method(self, number: int, slot: Slot, method: Method, payload: bytes) -> None:
        if payload[:4] == PUBLISH:
            slot.expects, slot.routing, slot.bits = "header", payload[6:-1], payload[-1]
        elif payload[:4] == ACK:
            tag, bits = struct.unpack(">QB", payload[4:])
            self.broker.on_ack(number, tag, bool(bits & 1))
        else:
            if isinstance(method, Channel.Close):
                del self.slots[number]
            self.broker.on_method(number, method)

    # content

    def _content(self, number: int, kind: int, payload: bytes) -> None:
        slot = self.slots.get(number)
        if number == 0:
            raise ConnectionException(505, _described(kind, payload))
        if slot is not None and slot.closing:
            return
        if slot is None or slot.expects == "method":
            raise _unexpected("method")
        if (slot.expects == "header") != (kind == HEADER):
            raise _unexpected(slot.expects)
        if kind == HEADER:
            self._header(number, slot, payload)
        elif len(payload) > slot.size - len(slot.body):
            raise _unexpected("body")
        else:
            slot.body += payload
        if slot.expects == "body" and len(slot.body) == slot.size:
            slot.expects = "method"
            self.broker.on_publishes(number, slot.routing, slot.bits, (slot.header,), [slot.body])

    def _header(self, number: int, slot: Slot, payload: bytes) -> None:
        class_id, weight, slot.size = struct.unpack_from(">HHQ", payload)
        if class_id != BASIC_CLASS:
            text = f"expected content header for class 60, got one for class {class_id} instead"
            raise ConnectionException(505, text, *PUBLISH_IDS)
        if weight:
            raise _unexpected("header")
        if slot.size > self.message_size_max:
            text = f"message size {slot.size} is larger than configured max size {self.message_size_max}"
            self.broker.on_channel_error(number, ChannelException(406, text, *PUBLISH_IDS))
        else:
            slot.expects, slot.header, slot.body = "body", payload, b""


def _described(kind: int, payload: bytes) -> str:
    if len(payload) > 16:
        return f"type {kind}, first 16 octets = {binary(payload[:16])}"
    return f"type {kind}, all octets = {binary(payload)}"


def _unexpected(expects: str) -> ConnectionException:
    if expects == "method":
        return ConnectionException(505, "expected method frame, got non method frame instead")
    names = {"header": "content header for class 60, got non content header", "body": "content body, got non content body"}
    return ConnectionException(505, f"expected {names[expects]} frame instead", *PUBLISH_IDS)

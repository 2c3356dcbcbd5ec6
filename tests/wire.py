"""A small synchronous AMQP 0-9-1 client over a real socket, for tests: it sends what no client library would.

A test holds a conversation with the broker: each `expect...` takes the next frame and says what came instead if it is another one.
Every wait has a deadline (`Wire.timeout`). pamqp's command classes serve as the schema; values are written and read here, because
pamqp refuses or loses some of them.

    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        channel.call(Queue.Declare, queue="q", exclusive=True)
        channel.publish("", "q", b"hello")
        assert channel.get("q").body == b"hello"
"""

import os
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, Protocol, Self

from pamqp import commands
from pamqp.base import Frame as Command
from pamqp.commands import Basic, Channel, Confirm, Connection, Exchange, Queue, Tx

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE
FRAME_OVERHEAD = 8
TIMEOUT_SECONDS = float(os.environ.get("LEVERET_TEST_SECONDS", "10"))  # a broker that is known to fail fails sooner with less
BASIC_CLASS = 60

CAPABILITIES = {
    "publisher_confirms": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
}


class Endpoint(Protocol):
    """Where a broker listens."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...


class Access:
    """access.request of AMQP 0-8, which old clients send and pamqp doesn't know."""

    class Request(Command):
        __slots__ = ["realm", "exclusive", "passive", "active", "write", "read"]  # noqa: RUF023 (the order on the wire)
        index = 0x001E000A
        name = "Access.Request"
        _realm = "shortstr"
        _exclusive = _passive = _active = _write = _read = "bit"

        def __init__(self) -> None:
            self.realm = ""
            self.exclusive = self.passive = self.active = self.write = self.read = False

    class RequestOk(Command):
        __slots__ = ["ticket"]
        index = 0x001E000B
        name = "Access.RequestOk"
        _ticket = "short"


COMMANDS: dict[int, type[Command]] = {
    **commands.INDEX_MAPPING,
    Access.Request.index: Access.Request,
    Access.RequestOk.index: Access.RequestOk,
}
REPLIES: dict[str, str] = {
    "Connection.UpdateSecret": "Connection.UpdateSecretOk",
    "Access.Request": "Access.RequestOk",
    "Basic.Recover": "Basic.RecoverOk",
}
BY_NAME = {command.name: command for command in COMMANDS.values()}
FIXED = {"octet": ">B", "short": ">H", "long": ">I", "longlong": ">Q", "timestamp": ">Q"}

# --- values


@dataclass(frozen=True)
class Typed:
    """A field-table value with the type it must have on the wire: `Typed("I", -1)`.

    `Typed("?", b"...")` is written as it is, its type byte included.
    """

    kind: str
    value: Any


NUMBERS = {"b": ">b", "B": ">B", "s": ">h", "u": ">H", "I": ">i", "i": ">I", "l": ">q", "f": ">f", "d": ">d", "T": ">Q"}


def octets(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)


def text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def shortstr(value: str | bytes) -> bytes:
    raw = octets(value)
    return bytes([len(raw)]) + raw


def longstr(value: str | bytes) -> bytes:
    raw = octets(value)
    return struct.pack(">I", len(raw)) + raw


def table(fields: dict[str, Any] | bytes | None) -> bytes:
    """A field table with its length; bytes are the pairs already encoded."""
    if isinstance(fields, bytes):
        return longstr(fields)
    return longstr(b"".join(shortstr(key) + value_of(value) for key, value in (fields or {}).items()))


def value_of(value: Any) -> bytes:
    """A field-table value with its type byte; the types that RabbitMQ's own clients choose, unless `Typed` says otherwise."""
    if isinstance(value, Typed):
        return typed_value(value.kind, value.value)
    if isinstance(value, bool):
        return typed_value("t", value)
    if isinstance(value, int):
        return typed_value("I" if -(2**31) <= value < 2**31 else "l", value)
    kinds = {float: "d", str: "S", bytes: "S", dict: "F", list: "A", type(None): "V", Decimal: "D", datetime: "T", bytearray: "x"}
    return typed_value(kinds[type(value)], value)


def typed_value(kind: str, value: Any) -> bytes:
    tag = kind.encode()
    if kind == "?":
        return octets(value)
    if kind == "t":
        return tag + bytes([bool(value)])
    if kind in "Sx":
        return tag + longstr(bytes(value) if isinstance(value, bytearray) else value)
    if kind == "F":
        return tag + table(value)
    if kind == "A":
        return tag + longstr(b"".join(value_of(item) for item in value))
    if kind == "V":
        return tag
    if kind == "D":
        scale = max(0, -int(value.as_tuple().exponent))
        return tag + struct.pack(">BI", scale, int(value.scaleb(scale)))
    if kind == "T" and isinstance(value, datetime):
        value = int(value.timestamp())
    return tag + struct.pack(NUMBERS[kind], value)


class Reader:
    """Reads values from the payload of a frame."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.offset = 0

    def take(self, count: int) -> bytes:
        piece = self.data[self.offset : self.offset + count]
        assert len(piece) == count, f"the frame ends early: {self.data!r}"
        self.offset += count
        return piece

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def shortstr(self) -> str:
        return text(self.take(self.number(">B")))

    def longstr(self) -> bytes:
        return self.take(self.number(">I"))

    def table(self) -> dict[str, Any]:
        inner, fields = Reader(self.longstr()), {}
        while inner.offset < len(inner.data):
            key = inner.shortstr()
            fields[key] = inner.field()
        return fields

    def field(self) -> Any:
        kind = self.take(1).decode("latin-1")
        if kind == "t":
            return bool(self.number(">B"))
        if kind == "S":
            return text(self.longstr())
        if kind == "x":
            return bytearray(self.longstr())
        if kind == "F":
            return self.table()
        if kind == "A":
            inner, items = Reader(self.longstr()), []
            while inner.offset < len(inner.data):
                items.append(inner.field())
            return items
        if kind == "V":
            return None
        if kind == "D":
            scale = self.number(">B")
            return Decimal(self.number(">I")).scaleb(-scale)
        if kind == "T":
            seconds = self.number(">Q")
            return datetime.fromtimestamp(seconds, UTC) if seconds < 2**37 else seconds
        return self.number(NUMBERS[kind])

    def value(self, kind: str) -> Any:
        if kind == "table":
            return self.table()
        if kind == "shortstr":
            return self.shortstr()
        return text(self.longstr()) if kind == "longstr" else self.number(FIXED[kind])


def encode_method(command: Command | type[Command], **fields: Any) -> bytes:
    """The payload of a method frame; nothing is validated, so that wrong things can be said."""
    source = command() if isinstance(command, type) else command
    unknown = set(fields) - set(type(source).attributes())
    assert not unknown, f"{source.name} has no {unknown}"
    parts, bits = [struct.pack(">I", source.index)], []
    for attribute in type(source).attributes():
        kind, value = source.amqp_type(attribute), fields.get(attribute, getattr(source, attribute, None))
        if kind == "bit":
            bits.append(bool(value))
            continue
        parts += _packed(bits)
        bits = []
        if kind == "table":
            parts.append(table(value))
        elif kind in ("shortstr", "longstr"):
            parts.append((shortstr if kind == "shortstr" else longstr)(value if value is not None else ""))
        else:
            parts.append(struct.pack(FIXED[kind], value or 0))
    return b"".join(parts + _packed(bits))


def _packed(bits: list[bool]) -> list[bytes]:
    return [bytes([sum(bit << position for position, bit in enumerate(bits))])] if bits else []


def decode_method(payload: bytes) -> Command:
    """The pamqp object for a method frame's payload, filled without pamqp's decoders."""
    reader = Reader(payload)
    cls = COMMANDS[reader.number(">I")]
    method, bits, position = cls.__new__(cls), 0, 8
    for attribute in cls.attributes():
        kind = cls.amqp_type(attribute)
        if kind != "bit":
            position = 8
            setattr(method, attribute, reader.value(kind))
            continue
        if position == 8:
            bits, position = reader.number(">B"), 0
        setattr(method, attribute, bool(bits >> position & 1))
        position += 1
    assert reader.offset == len(payload), f"{cls.name} has trailing bytes: {payload!r}"
    return method


def describe(method: Command) -> str:
    values = ", ".join(f"{name}={getattr(method, name)!r}" for name in type(method).attributes())
    return f"{method.name}({values})"


PROPERTIES: list[tuple[str, str, int]] = [
    (name, Basic.Properties.amqp_type(name), Basic.Properties.flags[name]) for name in Basic.Properties.attributes()
]


def encode_properties(properties: dict[str, Any] | bytes | None) -> bytes:
    """Flags and values; bytes are taken as they are."""
    if isinstance(properties, bytes):
        return properties
    given = dict(properties or {})
    flags, parts = 0, []
    for name, kind, flag in PROPERTIES:
        if name not in given:
            continue
        flags |= flag
        value = given.pop(name)
        if kind == "table":
            parts.append(table(value))
        elif kind == "shortstr":
            parts.append(shortstr(value))
        else:
            parts.append(struct.pack(FIXED[kind], value))
    assert not given, f"no such property: {given}"
    return struct.pack(">H", flags) + b"".join(parts)


def decode_properties(raw: bytes) -> dict[str, Any]:
    reader = Reader(raw)
    flags = reader.number(">H")
    properties = {name: reader.value(kind) for name, kind, flag in PROPERTIES if flags & flag}
    assert reader.offset == len(raw), f"trailing bytes in the properties: {raw!r}"
    return properties


# --- frames


@dataclass
class Frame:
    """One frame as it came."""

    type: int
    channel: int
    payload: bytes

    @property
    def method(self) -> Command:
        return decode_method(self.payload)

    def __str__(self) -> str:
        if self.type == METHOD:
            return f"{describe(self.method)} on channel {self.channel}"
        kind = {HEADER: "a content header", BODY: "a content body", HEARTBEAT: "a heartbeat"}.get(self.type, f"a frame of type {self.type}")
        return f"{kind} of {len(self.payload)} bytes on channel {self.channel}"


@dataclass
class Message:
    """A method with content (deliver, get-ok or return): its properties, raw with the flags and decoded, the body and its frames' sizes."""

    method: Any
    raw_properties: bytes
    body: bytes
    frames: list[int] = field(default_factory=list)

    @cached_property
    def properties(self) -> dict[str, Any]:
        return decode_properties(self.raw_properties)

    @property
    def headers(self) -> dict[str, Any]:
        headers: dict[str, Any] = self.properties.get("headers", {})
        return headers

    @property
    def tag(self) -> int:
        tag: int = self.method.delivery_tag
        return tag


class ConnectionEnded(AssertionError):
    """The broker closed the socket where a frame was expected."""


def content_frames(channel: int, body: bytes, properties: dict[str, Any] | bytes | None, frame_max: int) -> bytes:
    """Header and body frames."""
    header = struct.pack(">HHQ", BASIC_CLASS, 0, len(body)) + encode_properties(properties)
    size = (frame_max or 131072) - FRAME_OVERHEAD
    pieces = [frame_bytes(HEADER, channel, header)]
    pieces += [frame_bytes(BODY, channel, body[start : start + size]) for start in range(0, len(body), size)]
    return b"".join(pieces)


def frame_bytes(kind: int, channel: int, payload: bytes, end: int = FRAME_END) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + bytes([end])


class Wire:
    """One connection.

    `channel=None` in an `expect` takes the next frame of any channel; a number leaves frames of other channels for later.
    """

    def __init__(self, broker: Endpoint, *, timeout: float = TIMEOUT_SECONDS, receive_buffer: int | None = None) -> None:
        self.timeout = timeout
        self.frame_max = 131072
        self.channels = 0
        self._buffer = bytearray()
        self._pending: list[Frame] = []
        self._socket = socket.socket()
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(timeout)
        self._socket.connect((broker.host, broker.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    def connect(
        cls,
        broker: Endpoint,
        *,
        user: str = "guest",
        password: str = "guest",
        vhost: str = "/",
        capabilities: dict[str, Any] | None = None,
        properties: dict[str, Any] | None = None,
        channel_max: int = 2047,
        frame_max: int = 131072,
        heartbeat: int = 0,
        timeout: float = TIMEOUT_SECONDS,
        receive_buffer: int | None = None,
    ) -> "Wire":
        """The whole handshake; `properties` are added to what the client says of itself."""
        wire = cls(broker, timeout=timeout, receive_buffer=receive_buffer)
        wire.greet()
        wire.start_ok(user, password, capabilities=capabilities, properties=properties)
        wire.expect(Connection.Tune)
        wire.tune_ok(channel_max, frame_max, heartbeat)
        wire.open_vhost(vhost)
        return wire

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.abort()

    # the handshake, step by step

    def greet(self, header: bytes = PROTOCOL_HEADER) -> Any:
        """The protocol header; the answer is connection.start."""
        self.send_raw(header)
        return self.expect(Connection.Start)

    def start_ok(
        self,
        user: str = "guest",
        password: str = "guest",
        *,
        mechanism: str = "PLAIN",
        response: bytes | None = None,
        capabilities: dict[str, Any] | None = None,
        properties: dict[str, Any] | None = None,
        locale: str = "en_US",
    ) -> None:
        said = {"product": "tests.wire", "capabilities": CAPABILITIES if capabilities is None else capabilities} | (properties or {})
        answer = response if response is not None else b"\x00" + octets(user) + b"\x00" + octets(password)
        self.send_method(0, Connection.StartOk, client_properties=said, mechanism=mechanism, response=answer, locale=locale)

    def tune_ok(self, channel_max: int = 2047, frame_max: int = 131072, heartbeat: int = 0) -> None:
        self.frame_max = frame_max
        self.send_method(0, Connection.TuneOk, channel_max=channel_max, frame_max=frame_max, heartbeat=heartbeat)

    def open_vhost(self, vhost: str = "/") -> None:
        self.send_method(0, Connection.Open, virtual_host=vhost)
        self.expect(Connection.OpenOk, 0)

    # sending

    def send_raw(self, data: bytes) -> None:
        self._socket.sendall(data)

    def send_frame(self, kind: int, channel: int, payload: bytes, end: int = FRAME_END) -> None:
        self.send_raw(frame_bytes(kind, channel, payload, end))

    def send_method(self, channel: int, command: Command | type[Command], **fields: Any) -> None:
        """A pamqp command, or its class with the fields that aren't the default."""
        self.send_frame(METHOD, channel, encode_method(command, **fields))

    def publish(
        self,
        channel: int,
        exchange: str = "",
        routing_key: str = "",
        body: bytes = b"",
        properties: dict[str, Any] | bytes | None = None,
        *,
        mandatory: bool = False,
        immediate: bool = False,
    ) -> None:
        """Method, header and body frames in one write."""
        method = encode_method(Basic.Publish, exchange=exchange, routing_key=routing_key, mandatory=mandatory, immediate=immediate)
        self.send_raw(frame_bytes(METHOD, channel, method) + content_frames(channel, body, properties, self.frame_max))

    def call(self, channel: int, command: Command | type[Command], **fields: Any) -> Any:
        """Send a method and take its reply, which must be the next frame on the channel."""
        self.send_method(channel, command, **fields)
        return self.expect(BY_NAME[REPLIES.get(command.name) or command.valid_responses[0]], channel)

    # receiving

    def next_frame(self, channel: int | None = None, *, heartbeats: bool = False) -> Frame:
        """The next frame (of that channel); heartbeats are passed over unless asked for."""
        for position, frame in enumerate(self._pending):
            if channel is None or frame.channel == channel:
                return self._pending.pop(position)
        deadline = time.monotonic() + self.timeout
        while True:
            frame = self._read_frame(deadline)
            if frame.type == HEARTBEAT and not heartbeats:
                continue
            if channel is None or frame.channel == channel:
                return frame
            if frame.channel == 0 and frame.type == METHOD and isinstance(frame.method, Connection.Close):
                raise AssertionError(f"the broker closed the connection: {frame}")
            self._pending.append(frame)

    def peek_frame(self, channel: int | None = None) -> Frame:
        """The next frame (of that channel), left where it is."""
        frame = self.next_frame(channel)
        self._pending.insert(0, frame)
        return frame

    def expect(self, command: type[Command], channel: int | None = None, **fields: Any) -> Any:
        """The next frame is this method, with these values."""
        frame = self.next_frame(channel)
        assert frame.type == METHOD, f"expected {command.name}, got {frame}"
        method = frame.method
        assert isinstance(method, command), f"expected {command.name}, got {frame}"
        for name, value in fields.items():
            assert getattr(method, name) == value, f"expected {name}={value!r}, got {frame}"
        return method

    def expect_content(self, command: type[Command] = Basic.Deliver, channel: int | None = None, **fields: Any) -> Message:
        """The next method carries content: all of it."""
        number = self.peek_frame(channel).channel
        method = self.expect(command, number, **fields)
        header = self.next_frame(number)
        assert header.type == HEADER, f"expected a content header, got {header}"
        class_id, weight, size = struct.unpack_from(">HHQ", header.payload)
        assert (class_id, weight) == (BASIC_CLASS, 0), f"an odd content header: {header.payload!r}"
        pieces, received = [], 0
        while received < size:
            piece = self.next_frame(number)
            assert piece.type == BODY, f"expected a content body, got {piece}"
            pieces.append(piece.payload)
            received += len(piece.payload)
        assert received == size, f"{received} bytes of body where the header said {size}"
        return Message(method, header.payload[12:], b"".join(pieces), [len(piece) for piece in pieces])

    def expect_close(
        self, code: int, text: "str | re.Pattern[str] | None" = None, ids: tuple[int, int] | None = None, *, reply: bool = True
    ) -> Any:
        """The broker closes the connection with this code, text and (class, method); answered with close-ok, upon which the socket ends."""
        close = self.expect(Connection.Close, 0)
        _check_reply(close, code, text, ids)
        if reply:
            self.send_method(0, Connection.CloseOk)
            self.expect_eof()
        return close

    def expect_channel_close(
        self,
        code: int,
        text: "str | re.Pattern[str] | None" = None,
        ids: tuple[int, int] | None = None,
        *,
        channel: int | None = None,
        reply: bool = True,
    ) -> Any:
        """The broker closes a channel; answered with close-ok, so that the number can be opened again."""
        frame = self.next_frame(channel)
        assert frame.type == METHOD and isinstance(frame.method, Channel.Close), f"expected Channel.Close, got {frame}"
        _check_reply(frame.method, code, text, ids)
        if reply:
            self.send_method(frame.channel, Channel.CloseOk)
        return frame.method

    def expect_eof(self, within: float | None = None) -> float:
        """The broker closes the socket and says nothing more; returns the seconds that it took."""
        begin = time.monotonic()
        assert not self._pending, f"unread: {self._pending[0]}"
        try:
            while True:
                frame = self._read_frame(begin + (within or self.timeout))
                assert frame.type == HEARTBEAT, f"expected the end of the connection, got {frame}"
        except ConnectionEnded:
            return time.monotonic() - begin

    def read_to_eof(self) -> bytes:
        """All bytes until the end, frames or not."""
        data, deadline = bytes(self._buffer), time.monotonic() + self.timeout
        while piece := self._receive(deadline):
            data += piece
        return data

    def nothing_more(self, channel: int = 0, queue: str | None = None) -> None:
        """Nothing is on its way, proven by round trips and not by waiting: their replies are the very next frames.

        On an open channel: passive declares, through the queue named (so that what it was about to deliver comes first) or through
        amq.direct.
        On channel 0: a channel is opened and closed.
        """
        if channel == 0:
            number = self.channels + 1000
            self.send_method(number, Channel.Open)
            self.expect(Channel.OpenOk)
            self.send_method(number, Channel.Close, reply_code=200, reply_text="")
            self.expect(Channel.CloseOk)
            return
        for _ in range(3):
            if queue is None:
                self.send_method(channel, Exchange.Declare, exchange="amq.direct", exchange_type="direct", passive=True)
                self.expect(Exchange.DeclareOk)
            else:
                self.send_method(channel, Queue.Declare, queue=queue, passive=True)
                self.expect(Queue.DeclareOk)

    # channels, and the end

    def open_channel(self, number: int | None = None) -> "WireChannel":
        self.channels = number if number is not None else self.channels + 1
        self.send_method(self.channels, Channel.Open)
        self.expect(Channel.OpenOk, self.channels)
        return WireChannel(self, self.channels)

    def close(self) -> None:
        """A clean close; what is still unread is dropped."""
        self.send_method(0, Connection.Close, reply_code=200, reply_text="bye")
        while True:
            frame = self.next_frame()
            if frame.type == METHOD and isinstance(frame.method, Connection.CloseOk):
                break
        self._socket.close()

    def abort(self) -> None:
        """Just the socket."""
        self._socket.close()

    def reset(self) -> None:
        """The socket with RST, as if the client's machine had gone."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def half_close(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def _receive(self, deadline: float) -> bytes:
        self._socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            return self._socket.recv(262144)
        except ConnectionResetError:
            return b""
        except TimeoutError:
            raise AssertionError(f"the broker sent nothing more before the deadline; unread: {bytes(self._buffer[:64])!r}") from None
        finally:
            self._socket.settimeout(self.timeout)

    def _read_frame(self, deadline: float) -> Frame:
        while True:
            if len(self._buffer) >= 7:
                kind, channel, size = struct.unpack_from(">BHI", self._buffer)
                assert kind != ord("A"), f"the broker sent a protocol header: {bytes(self._buffer[:8])!r}"
                if len(self._buffer) >= size + FRAME_OVERHEAD:
                    payload, end = bytes(self._buffer[7 : 7 + size]), self._buffer[7 + size]
                    del self._buffer[: size + FRAME_OVERHEAD]
                    assert end == FRAME_END, f"the broker's frame ends in {end:#x}"
                    return Frame(kind, channel, payload)
            data = self._receive(deadline)
            if not data:
                raise ConnectionEnded(f"the broker closed the socket; unread: {bytes(self._buffer[:64])!r}")
            self._buffer += data


def _check_reply(close: Any, code: int, text: "str | re.Pattern[str] | None", ids: tuple[int, int] | None) -> None:
    got = f"{close.reply_code} {close.reply_text!r} ({close.class_id}, {close.method_id})"
    assert close.reply_code == code, f"expected {code} {text!r}, got {got}"
    if isinstance(text, re.Pattern):
        assert text.fullmatch(close.reply_text), f"expected {text.pattern!r}, got {got}"
    elif text is not None:
        assert close.reply_text == text, f"expected {code} {text!r}, got {got}"
    if ids is not None:
        assert (close.class_id, close.method_id) == ids, f"expected ids {ids}, got {got}"


class WireChannel:
    """One channel of a `Wire`: the same verbs without the number, and short forms of what most tests need."""

    def __init__(self, wire: Wire, number: int) -> None:
        self.wire = wire
        self.number = number

    def send(self, command: Command | type[Command], **fields: Any) -> None:
        self.wire.send_method(self.number, command, **fields)

    def call(self, command: Command | type[Command], **fields: Any) -> Any:
        return self.wire.call(self.number, command, **fields)

    def expect(self, command: type[Command], **fields: Any) -> Any:
        return self.wire.expect(command, self.number, **fields)

    def expect_close(
        self, code: int, text: "str | re.Pattern[str] | None" = None, ids: tuple[int, int] | None = None, *, reply: bool = True
    ) -> Any:
        return self.wire.expect_channel_close(code, text, ids, channel=self.number, reply=reply)

    def expect_connection_close(self, code: int, text: "str | re.Pattern[str] | None" = None, ids: tuple[int, int] | None = None) -> Any:
        return self.wire.expect_close(code, text, ids)

    def nothing_more(self, queue: str | None = None) -> None:
        self.wire.nothing_more(self.number, queue)

    def reopen(self) -> None:
        self.call(Channel.Open)

    def close(self) -> None:
        """channel.close, dropping deliveries that were on their way."""
        self.send(Channel.Close, reply_code=200, reply_text="bye")
        while True:
            frame = self.wire.next_frame(self.number)
            if frame.type == METHOD and isinstance(frame.method, Channel.CloseOk):
                return

    # queues and exchanges

    def queue(self, name: str = "", **fields: Any) -> str:
        """Declare a queue, exclusive unless it says what it is; returns its name."""
        if not {"durable", "auto_delete", "exclusive"} & set(fields):
            fields["exclusive"] = True
        queue: str = self.call(Queue.Declare, queue=name, **fields).queue
        return queue

    def exchange(self, name: str, kind: str = "direct", **fields: Any) -> str:
        self.call(Exchange.Declare, exchange=name, exchange_type=kind, **fields)
        return name

    def bind(self, queue: str, exchange: str, key: str = "", arguments: dict[str, Any] | None = None) -> None:
        self.call(Queue.Bind, queue=queue, exchange=exchange, routing_key=key, arguments=arguments)

    def unbind(self, queue: str, exchange: str, key: str = "", arguments: dict[str, Any] | None = None) -> None:
        self.call(Queue.Unbind, queue=queue, exchange=exchange, routing_key=key, arguments=arguments)

    def bound_queue(self, exchange: str, *keys: str, arguments: dict[str, Any] | None = None) -> str:
        """A new exclusive queue bound with each key."""
        queue = self.queue()
        for key in keys or ("",):
            self.bind(queue, exchange, key, arguments)
        return queue

    def counts(self, queue: str) -> tuple[int, int]:
        """Ready messages and consumers."""
        declared = self.call(Queue.Declare, queue=queue, passive=True)
        return declared.message_count, declared.consumer_count

    def expect_counts(self, queue: str, ready: int, consumers: int) -> None:
        """Ready messages and consumers, soon: RabbitMQ's declare-ok overtakes what is on its way to the queue."""
        deadline = time.monotonic() + self.wire.timeout
        while (counts := self.counts(queue)) != (ready, consumers):
            assert time.monotonic() < deadline, f"{queue} still has {counts}, not {(ready, consumers)}"

    # messages

    def publish(
        self,
        exchange: str = "",
        routing_key: str = "",
        body: bytes = b"",
        *,
        mandatory: bool = False,
        immediate: bool = False,
        raw_properties: bytes | None = None,
        **properties: Any,
    ) -> None:
        self.wire.publish(
            self.number,
            exchange,
            routing_key,
            body,
            raw_properties if raw_properties is not None else properties,
            mandatory=mandatory,
            immediate=immediate,
        )

    def get(self, queue: str, *, no_ack: bool = True) -> Message | None:
        """basic.get: the message, or None for get-empty."""
        self.send(Basic.Get, queue=queue, no_ack=no_ack)
        frame = self.wire.peek_frame(self.number)
        if frame.type == METHOD and isinstance(frame.method, Basic.GetEmpty):
            self.expect(Basic.GetEmpty)
            return None
        return self.wire.expect_content(Basic.GetOk, self.number)

    def take(self, queue: str, *, no_ack: bool = True) -> Message:
        """basic.get of a message that must be there."""
        message = self.get(queue, no_ack=no_ack)
        assert message is not None, f"{queue} is empty"
        return message

    def bodies(self, queue: str) -> list[bytes]:
        """All that is ready, taken from the queue."""
        return list(self._drain(queue))

    def _drain(self, queue: str) -> Iterator[bytes]:
        while (message := self.get(queue)) is not None:
            yield message.body

    def consume(self, queue: str, tag: str = "", **fields: Any) -> str:
        consumer: str = self.call(Basic.Consume, queue=queue, consumer_tag=tag, **fields).consumer_tag
        return consumer

    def deliver(self, **fields: Any) -> Message:
        """The next frame on the channel begins a delivery."""
        return self.wire.expect_content(Basic.Deliver, self.number, **fields)

    def deliveries(self, count: int) -> list[Message]:
        return [self.deliver() for _ in range(count)]

    def returned(self) -> Message:
        return self.wire.expect_content(Basic.Return, self.number)

    def cancel(self, tag: str) -> None:
        self.call(Basic.Cancel, consumer_tag=tag)

    def qos(self, count: int, *, everywhere: bool = False, size: int = 0) -> None:
        self.call(Basic.Qos, prefetch_count=count, global_=everywhere, prefetch_size=size)

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        self.send(Basic.Ack, delivery_tag=tag, multiple=multiple)

    def nack(self, tag: int, *, multiple: bool = False, requeue: bool = True) -> None:
        self.send(Basic.Nack, delivery_tag=tag, multiple=multiple, requeue=requeue)

    def reject(self, tag: int, *, requeue: bool = True) -> None:
        self.send(Basic.Reject, delivery_tag=tag, requeue=requeue)

    # confirms and transactions

    def confirm_select(self) -> None:
        self.call(Confirm.Select)

    def confirms(self, count: int) -> dict[int, bool]:
        """Read acks and nacks until tags 1 to `count` are settled: tag -> acked.

        A tag is settled once; `multiple` covers those open below it.
        """
        settled: dict[int, bool] = {}
        while len(settled) < count:
            frame = self.wire.next_frame(self.number)
            assert frame.type == METHOD and isinstance(frame.method, Basic.Ack | Basic.Nack), f"expected a confirm, got {frame}"
            method: Any = frame.method
            tags = range(1, method.delivery_tag + 1) if method.multiple else [method.delivery_tag]
            fresh = [tag for tag in tags if tag not in settled]
            assert fresh, f"settled twice: {frame}"
            settled |= dict.fromkeys(fresh, isinstance(method, Basic.Ack))
        assert max(settled, default=0) <= count, f"a confirm for what wasn't published: {settled}"
        return settled

    def publish_confirmed(self, exchange: str, routing_key: str, *bodies: bytes, **properties: Any) -> None:
        """On a fresh channel, so that whatever broker has them in the queue when this returns."""
        other = self.wire.open_channel()
        other.confirm_select()
        for body in bodies:
            other.publish(exchange, routing_key, body, **properties)
        assert all(other.confirms(len(bodies)).values())
        other.close()

    def tx_select(self) -> None:
        self.call(Tx.Select)

    def commit(self) -> None:
        self.call(Tx.Commit)

    def rollback(self) -> None:
        self.call(Tx.Rollback)


def eventually(condition: Callable[[], Any], seconds: float = TIMEOUT_SECONDS) -> Any:
    """Ask again until the answer is true; each look is a round trip to the broker, so there is no sleep between them."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"still {answer!r} after {seconds} s"
    return answer

"""A conversation with a ServerConnection, without a socket: a test reads as what the peer says and what the broker hears.

    peer = running(channels=[1])
    peer.says(publish(1, "x", "k"), header(1, 3), body(1, b"abc"))
    assert peer.broker.hears() == [Published(1, "x", "k", 0, content_header(3), b"abc")]
    peer.breaks(body(1, b"d"), 505, "UNEXPECTED_FRAME - expected method frame, got non method frame instead")

`peer.broker` is a fake that writes down what it hears, with the runs taken apart, and answers the handshake as a broker does.
What the peer says is encoded by pamqp, or by hand where pamqp can't say it wrong. How the bytes reach the connection (whole, one
by one, cut anywhere) is the peer's `feed`.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from pamqp import body as pamqp_body
from pamqp import commands, frame
from pamqp import header as pamqp_header
from pamqp import heartbeat as pamqp_heartbeat
from pamqp.commands import Basic

from protocol import codec, methods
from protocol.connection import ServerConnection
from protocol.errors import ChannelException, ConnectionException, FramingException, HandshakeFailed
from protocol.events import PublishMethod, Tuning
from protocol.methods import Connection, Method, make
from protocol.states import ConnectionState

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
BASIC_CLASS = 60
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
TUNING = Tuning(channel_max=2047, frame_max=131072, heartbeat=60)
MESSAGE_SIZE_MAX = 134_217_728
BUDGET = 5000
REFUSED = b"refuse"
"""The fake refuses a message whose body starts so, and an ack of REFUSED_TAG, and closes the channel."""
REFUSED_TAG = 404

# --- what the broker hears


class Published(NamedTuple):
    """basic.publish with its content; `header` is the payload of the content header."""

    channel: int
    exchange: str
    routing_key: str
    bits: int
    header: bytes
    body: bytes


class Acked(NamedTuple):
    """basic.ack"""

    channel: int
    tag: int
    multiple: bool


class Said(NamedTuple):
    """Any other method: its payload, which codec.encode_method gives back losslessly."""

    channel: int
    payload: bytes


class ChannelFailed(NamedTuple):
    """on_channel_error"""

    channel: int
    code: int
    text: str
    class_id: int
    method_id: int


Heard = Published | Acked | Said | ChannelFailed


class Broker:
    """A fake of the broker (protocol.events.Events)."""

    def __init__(self, *, cost_each: int = 1, answers: bool = True) -> None:
        self.cost_each = cost_each
        self.answers = answers
        self.heard: list[Heard] = []
        self.runs: list[int] = []
        """How many publishes or acks each call brought."""
        self.greeted = 0
        self.wire: Any = None

    def hears(self) -> list[Heard]:
        """What it heard since it was last asked."""
        heard, self.heard = self.heard, []
        return heard

    # protocol.events.Events

    def on_protocol_header(self) -> None:
        self.greeted += 1
        if self.answers:
            self.wire.start({}, "PLAIN AMQPLAIN", "en_US")

    def on_publishes(self, channel: int, routing: bytes, bits: int, headers: Sequence[bytes], bodies: list[bytes]) -> int:
        assert bodies
        assert len(headers) in (1, len(bodies))
        exchange, key = split_routing(routing)
        self.runs.append(len(bodies))
        for each, body in zip(headers if len(headers) == len(bodies) else list(headers) * len(bodies), bodies, strict=True):
            self.heard.append(Published(channel, exchange, key, bits, each, body))
            if body.startswith(REFUSED):
                return self._refuse(channel, methods.Basic.Publish)
        return self.cost_each * len(bodies)

    def on_mixed_publishes(self, publishes: list[PublishMethod], headers: list[bytes], bodies: list[bytes]) -> int:
        assert len(publishes) == len(headers) == len(bodies)
        assert len(set(publishes)) > 1
        self.runs.append(len(bodies))
        refused: set[int] = set()
        for method, header, body in zip(publishes, headers, bodies, strict=True):
            if method.channel in refused:
                continue
            exchange, key = split_routing(method.routing)
            self.heard.append(Published(method.channel, exchange, key, method.bits, header, body))
            if body.startswith(REFUSED):
                self._refuse(method.channel, methods.Basic.Publish)
                refused.add(method.channel)
        return self.cost_each * len(bodies)

    def on_acks(self, channel: int, tags: Sequence[int]) -> int:
        assert tags
        assert 0 not in tags
        self.runs.append(len(tags))
        for tag in tags:
            self.heard.append(Acked(channel, tag, False))
            if tag == REFUSED_TAG:
                return self._refuse(channel, methods.Basic.Ack)
        return self.cost_each * len(tags)

    def on_ack(self, channel: int, tag: int, multiple: bool) -> int:
        self.heard.append(Acked(channel, tag, multiple))
        return self._refuse(channel, methods.Basic.Ack) if tag == REFUSED_TAG else self.cost_each

    def on_method(self, channel: int, method: Method) -> int:
        self.heard.append(Said(channel, codec.encode_method(method)))
        if channel == 0 and self.answers:
            self._answer(method)
        return self.cost_each

    def on_channel_error(self, channel: int, error: ChannelException) -> None:
        self.heard.append(ChannelFailed(channel, error.code, error.reply_text, error.class_id, error.method_id))
        self.wire.write(self.wire.close_channel(channel, error))

    def _refuse(self, channel: int, method: type[Method]) -> int:
        self.wire.write(self.wire.close_channel(channel, ChannelException(404, "refused", *methods.ids(method))))
        return 1

    def _answer(self, method: Method) -> None:
        match method:
            case Connection.StartOk():
                offered = self.wire.tuning
                tune = make(Connection.Tune, channel_max=offered.channel_max, frame_max=offered.frame_max, heartbeat=offered.heartbeat)
                self._reply(tune)
            case Connection.TuneOk():
                assert method.channel_max is not None
                assert method.frame_max is not None
                assert method.heartbeat is not None
                self.wire.tuned(Tuning(method.channel_max, method.frame_max, method.heartbeat))
            case Connection.Open():
                self._reply(make(Connection.OpenOk))
            case Connection.UpdateSecret():
                self._reply(make(Connection.UpdateSecretOk))
            case Connection.Close():
                self._reply(make(Connection.CloseOk))

    def _reply(self, method: Method) -> None:
        self.wire.write(self.wire.method(0, method))


def split_routing(routing: bytes) -> tuple[str, str]:
    """Exchange and routing key out of their wire form."""
    size = routing[0]
    assert len(routing) == size + 2 + routing[size + 1]
    return routing[1 : size + 1].decode("latin-1"), routing[size + 2 :].decode("latin-1")


def said(channel: int, method: Method) -> Said:
    return Said(channel, codec.encode_method(method))


def heard(frame: bytes) -> Said:
    """What the broker hears of a method frame."""
    return Said(int.from_bytes(frame[1:3], "big"), frame[7:-1])


# --- what the peer says


def raw(kind: int, channel: int, payload: bytes, end: int = 0xCE) -> bytes:
    """Any frame, right or wrong."""
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + bytes((end,))


def method(channel: int, what: Method) -> bytes:
    """A method frame, by pamqp."""
    return frame.marshal(what, channel)


def any_method(channel: int, cls: type[Method], **values: Any) -> bytes:
    """A method frame of any class, empty where nothing is given; pamqp doesn't know all of them, nor empty values."""
    return codec.encode_method_frame(channel, make(cls, **values))


def publish(channel: int, exchange: str, routing_key: str, *, mandatory: bool = False) -> bytes:
    return method(channel, Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory))


def ack(channel: int, tag: int, multiple: bool = False) -> bytes:
    return method(channel, Basic.Ack(delivery_tag=tag, multiple=multiple))


def open_channel(channel: int) -> bytes:
    return method(channel, commands.Channel.Open())


def close_channel(channel: int) -> bytes:
    return method(channel, commands.Channel.Close(reply_code=200, reply_text="", class_id=0, method_id=0))


def close_channel_ok(channel: int) -> bytes:
    return method(channel, commands.Channel.CloseOk())


def close_connection() -> bytes:
    return method(0, commands.Connection.Close(reply_code=200, reply_text="", class_id=0, method_id=0))


def close_connection_ok() -> bytes:
    return method(0, commands.Connection.CloseOk())


def content_header(size: int, **properties: Any) -> bytes:
    """The payload of a content header frame."""
    return header(0, size, **properties)[7:-1]


def header(channel: int, size: int, **properties: Any) -> bytes:
    return frame.marshal(pamqp_header.ContentHeader(0, size, Basic.Properties(**properties)), channel)


def body(channel: int, piece: bytes) -> bytes:
    return frame.marshal(pamqp_body.ContentBody(piece), channel)


def content(channel: int, data: bytes, piece_bytes: int = 131064, **properties: Any) -> list[bytes]:
    """The header frame and body frames of a message."""
    pieces = [data[at : at + piece_bytes] for at in range(0, len(data), piece_bytes)]
    return [header(channel, len(data), **properties), *(body(channel, piece) for piece in pieces)]


def message(channel: int, exchange: str, routing_key: str, data: bytes, piece_bytes: int = 131064, **properties: Any) -> bytes:
    """basic.publish with all of its content."""
    return publish(channel, exchange, routing_key) + b"".join(content(channel, data, piece_bytes, **properties))


def heartbeat() -> bytes:
    return frame.marshal(pamqp_heartbeat.Heartbeat(), 0)


def start_ok(mechanism: str = "PLAIN", response: str = "\0guest\0guest") -> bytes:
    return method(0, commands.Connection.StartOk({}, mechanism, response, "en_US"))


def tune_ok(tuning: Tuning = TUNING) -> bytes:
    return method(0, commands.Connection.TuneOk(*tuning))


def open_connection(vhost: str = "/") -> bytes:
    return method(0, commands.Connection.Open(vhost))


def handshake(tuning: Tuning = TUNING) -> bytes:
    """All that a client says until the connection is open."""
    return PROTOCOL_HEADER + start_ok() + tune_ok(tuning) + open_connection()


# --- how the bytes arrive

Feed = Callable[[bytes], Iterable[bytes]]


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def one_by_one(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        yield data[at : at + 1]


def cut_at(cuts: Iterable[int]) -> Feed:
    """In pieces that end at these positions (modulo the length)."""
    chosen = list(cuts)

    def feed(data: bytes) -> Iterator[bytes]:
        start = 0
        for cut in sorted({each % (len(data) + 1) for each in chosen}):
            yield data[start:cut]
            start = cut
        yield data[start:]

    return feed


# --- the conversation


class Peer:
    """The client's end. `budget` is what the broker spends on one turn."""

    def __init__(
        self,
        feed: Feed = whole,
        *,
        broker: Broker | None = None,
        tuning: Tuning = TUNING,
        message_size_max: int = MESSAGE_SIZE_MAX,
        budget: int = BUDGET,
    ) -> None:
        self.feed = feed
        self.budget = budget
        self.flushes = 0
        self.sent = b""
        """What the broker sent in the turns that are over."""
        self.broker = broker or Broker()
        self.connection = ServerConnection(self.broker, tuning, message_size_max, self._output_ready)
        self.broker.wire = self.connection

    def _output_ready(self) -> None:
        self.flushes += 1

    @property
    def state(self) -> ConnectionState:
        return self.connection.state

    def says(self, *frames: bytes) -> None:
        """The bytes reach the connection, and it reads all of them, in as many turns as it wants."""
        for data in self.feed(b"".join(frames)):
            done = self.connection.receive_data(data, self.budget)
            while not done:
                self.sent += self.connection.data_to_send()
                done = self.connection.receive_data(b"", self.budget)

    def hears(self) -> list[tuple[int, Method]]:
        """The methods that were written since it was last asked, and their channels."""
        data, self.sent = self.sent + self.connection.data_to_send(), b""
        heard = []
        while data:
            size = 8 + struct.unpack_from(">BHI", data)[2]
            kind, channel, _ = struct.unpack_from(">BHI", data)
            assert kind == METHOD, f"not a method frame: {data[:size]!r}"
            assert data[size - 1] == 0xCE
            heard.append((channel, codec.decode_method(data[7 : size - 1])))
            data = data[size:]
        return heard

    def hears_only(self, channel: int, cls: type[Method]) -> Any:
        """The one method that was written."""
        (only,) = self.hears()
        assert (only[0], type(only[1])) == (channel, cls)
        return only[1]

    def breaks(self, frames: bytes, code: int, reply_text: str, ids: tuple[int, int] = (0, 0), *, framing: bool = False) -> None:
        """The bytes are a hard error; the broker answers with connection.close, as the runtime does."""
        self.hears()
        with pytest.raises(ConnectionException) as caught:
            self.says(frames)
        error = caught.value
        assert (error.code, error.reply_text, error.class_id, error.method_id) == (code, reply_text, *ids)
        assert isinstance(error, FramingException) is framing
        self.connection.close(error)
        close = self.hears_only(0, Connection.Close)
        assert (close.reply_code, close.reply_text, close.class_id, close.method_id) == (code, reply_text, *ids)
        assert self.state is ConnectionState.CLOSING

    def is_turned_away(self, frames: bytes) -> str:
        """The handshake is broken: nothing is said to the peer; returns the reason for the log."""
        self.hears()
        with pytest.raises(HandshakeFailed) as caught:
            self.says(frames)
        assert self.hears() == []
        return caught.value.reason


def running(
    feed: Feed = whole,
    *,
    channels: Iterable[int] = (),
    broker: Broker | None = None,
    tuning: Tuning = TUNING,
    message_size_max: int = MESSAGE_SIZE_MAX,
    budget: int = BUDGET,
) -> Peer:
    """A conversation after the handshake, with these channels open, and all that was said so far forgotten."""
    peer = Peer(feed, broker=broker, tuning=tuning, message_size_max=message_size_max, budget=budget)
    peer.says(handshake(tuning), *map(open_channel, channels))
    assert peer.state is ConnectionState.RUNNING
    peer.hears()
    peer.broker.hears()
    peer.broker.runs.clear()
    return peer

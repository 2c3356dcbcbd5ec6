"""The protocol machine, a conversation a test: handshake, states, frames, content, and how it ends."""

import struct
import tracemalloc
from typing import Any

import pytest

from protocol import codec
from protocol.connection import INITIAL_FRAME_MAX_BYTES, PARTS_MAX, ServerConnection
from protocol.constants import FRAME_MAX_BYTES
from protocol.errors import ChannelException, ConnectionException, FramingException, HandshakeFailed
from protocol.events import MANDATORY, Tuning
from protocol.methods import CLASSES, Basic, Channel, Connection, Exchange, Method, Queue, Tx, ids, make
from protocol.states import CLIENT_CHANNEL_METHODS, CONNECTION_TABLE, HANDSHAKE, SENT_TABLE, ConnectionState
from tests.protocol import state_page
from tests.protocol.playbook import (
    BODY,
    HEADER,
    HEARTBEAT,
    METHOD,
    PROTOCOL_HEADER,
    REFUSED,
    TUNING,
    Acked,
    Broker,
    ChannelFailed,
    Feed,
    Peer,
    Published,
    Said,
    ack,
    any_method,
    body,
    close_channel,
    close_channel_ok,
    close_connection,
    close_connection_ok,
    content_header,
    cut_at,
    header,
    heartbeat,
    message,
    one_by_one,
    open_channel,
    open_connection,
    publish,
    raw,
    running,
    start_ok,
    tune_ok,
    whole,
)
from tests.spec import spec

every_feed = pytest.mark.parametrize("feed", [whole, one_by_one], ids=["whole", "one by one"])
every_method = pytest.mark.parametrize("cls", CLASSES.values(), ids=lambda cls: cls.name)

EXPECTED_METHOD = "UNEXPECTED_FRAME - expected method frame, got non method frame instead"
EXPECTED_HEADER = "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead"
EXPECTED_BODY = "UNEXPECTED_FRAME - expected content body, got non content body frame instead"
PUBLISH_IDS = (60, 40)


def said(channel: int, method: Method) -> Said:
    return Said(channel, codec.encode_method(method))


def heard(frame: bytes) -> Said:
    """What the broker hears of a method frame."""
    return Said(int.from_bytes(frame[1:3], "big"), frame[7:-1])


# --- the handshake


@spec("1.2")
@every_feed
def test_the_handshake(feed: Feed) -> None:
    peer = Peer(feed)
    peer.says(PROTOCOL_HEADER)
    start = peer.hears_only(0, Connection.Start)
    assert (start.version_major, start.version_minor, start.mechanisms, start.locales) == (0, 9, b"PLAIN AMQPLAIN", b"en_US")
    peer.says(start_ok())
    tune = peer.hears_only(0, Connection.Tune)
    assert Tuning(tune.channel_max, tune.frame_max, tune.heartbeat) == TUNING
    peer.says(tune_ok(Tuning(100, 4096, 7)))
    assert peer.connection.tuning == Tuning(100, 4096, 7)
    peer.says(open_connection("/"))
    peer.hears_only(0, Connection.OpenOk)
    assert peer.state is ConnectionState.RUNNING
    assert peer.broker.hears() == [heard(start_ok()), heard(tune_ok(Tuning(100, 4096, 7))), heard(open_connection("/"))]


@spec("1.1", "AMQP 1 1 0 9 and 1 1 9 1 are old forms of 0-9 and go on to connection.start")
@every_feed
@pytest.mark.parametrize(
    ("protocol_header", "version"),
    [(b"AMQP\0\0\x09\x01", (0, 9)), (b"AMQP\1\1\0\x09", (0, 9)), (b"AMQP\1\1\x09\1", (8, 0)), (b"AMQP\1\1\x08\0", (8, 0))],
)
def test_old_protocol_headers(feed: Feed, protocol_header: bytes, version: tuple[int, int]) -> None:
    peer = Peer(feed)
    peer.says(protocol_header)
    start = peer.hears_only(0, Connection.Start)
    assert (start.version_major, start.version_minor) == version
    assert peer.broker.greeted == 1


@spec("1.1", "answer AMQP 0 0 9 1 and close; HTTP or TLS on the port: the same")
@every_feed
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"AMQP\0\1\0\0", "bad protocol header b'AMQP"),
        (b"AMQP\3\1\0\0", "speaks AMQP 0-9-1 only"),
        (b"AMQP\0\0\x09\x02", "bad protocol header b'AMQP"),
        (b"amqp\0\0\x09\x01", "bad protocol header b'amqp"),
        (b"GET / HTTP/1.1\r\n\r\n", "HTTP"),
        (b"OPTIONS * HTTP/1.1\r\n", "HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS"),
        (b"\0" * 8, "bad protocol header"),
        (heartbeat(), "bad protocol header"),
    ],
)
def test_another_protocol(feed: Feed, data: bytes, reason: str) -> None:
    peer = Peer(feed)
    with pytest.raises(HandshakeFailed) as caught:
        peer.says(data)
    assert reason in caught.value.reason or feed is one_by_one  # of the first 8 bytes alone HTTP isn't always known
    assert peer.connection.data_to_send() == PROTOCOL_HEADER
    assert peer.state is ConnectionState.CLOSED
    assert peer.broker.greeted == 0


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_protocol_header_in_two_reads(cut: int) -> None:
    peer = Peer(cut_at([cut]))
    peer.says(PROTOCOL_HEADER + start_ok())
    assert [type(method) for _, method in peer.hears()] == [Connection.Start, Connection.Tune]


@spec("1.1", "fewer than 8 bytes: closed at the handshake deadline")
def test_less_than_a_protocol_header_is_waited_for() -> None:
    for size in range(8):
        peer = Peer()
        peer.says(b"GET / HT"[:size])
        assert (peer.state, peer.connection.buffered_bytes, peer.flushes) == (ConnectionState.WAITING_HEADER, size, 0)


def peer_in(state: ConnectionState, feed: Feed = whole) -> Peer:
    """A conversation that stands in `state`; what was said so far is forgotten."""
    peer = Peer(feed) if state in HANDSHAKE else running(feed)
    for step in (PROTOCOL_HEADER, start_ok(), tune_ok()) if state in HANDSHAKE else ():
        if peer.state is state:
            break
        peer.says(step)
        if state is ConnectionState.SECURING:
            peer.connection.send(0, make(Connection.Secure, challenge=b"?"))
    if state is ConnectionState.CLOSING:
        peer.connection.close(ConnectionException(320, "bye"))
    if state is ConnectionState.CLOSED:
        peer.says(close_connection())
    assert peer.state is state
    peer.hears()
    peer.broker.hears()
    return peer


@spec("1.3", "methods out of the handshake's order: no frame, closed after 3 s")
@spec("1.5", "a channel method on channel 0: 504 `CHANNEL_ERROR - unexpected method in connection state running`")
@pytest.mark.parametrize("state", ConnectionState, ids=lambda state: state.name)
@every_method
def test_every_state_and_method(state: ConnectionState, cls: type[Method]) -> None:
    peer = peer_in(state)
    peer.broker.answers = False
    frame = any_method(0, cls)
    after = CONNECTION_TABLE.get((state, cls))
    if after is not None:
        peer.says(frame)
        assert peer.broker.hears() == [said(0, make(cls))]
        assert peer.state is after
        return
    if state is ConnectionState.WAITING_HEADER:
        with pytest.raises(HandshakeFailed):
            peer.says(frame)
        assert peer.connection.data_to_send() == PROTOCOL_HEADER
    elif state in HANDSHAKE:
        assert peer.is_turned_away(frame) == f"{cls.name} in state {state.value}"
    elif state is ConnectionState.RUNNING:
        peer.breaks(frame, 504, "CHANNEL_ERROR - unexpected method in connection state running", ids(cls))
    else:
        peer.says(frame)
        assert peer.state is state
    assert peer.broker.hears() == []


@pytest.mark.parametrize("state", ConnectionState, ids=lambda state: state.name)
@pytest.mark.parametrize(("cls", "after"), SENT_TABLE.items(), ids=lambda value: getattr(value, "name", None))
def test_what_is_sent_moves_the_state(state: ConnectionState, cls: type[Method], after: ConnectionState) -> None:
    peer = peer_in(state)
    peer.connection.send(0, make(cls))
    assert peer.state is after
    peer.hears_only(0, cls)


@pytest.mark.parametrize("state", [ConnectionState.STARTING, ConnectionState.TUNING, ConnectionState.OPENING], ids=lambda state: state.name)
@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (open_channel(1), "frame of type 1 on channel 1 in state"),
        (raw(HEADER, 0, bytes(14)), "frame of type 2 on channel 0 in state"),
        (raw(BODY, 1, b"x"), "frame of type 3 on channel 1 in state"),
        (raw(9, 0, b""), "frame of type 9 on channel 0 in state"),
        (raw(HEARTBEAT, 1, b""), "frame of type 8 on channel 1 in state"),
        (raw(HEARTBEAT, 0, b"x"), "frame of type 8 on channel 0 in state"),
        (raw(HEARTBEAT, 0, b"", 0), "type 8, all octets = <<>>: {invalid_frame_end_marker,0}"),
        (raw(METHOD, 0, b"\0\x0a\0\x0b"), "cannot decode <<>>"),
        (raw(METHOD, 0, b"\0\x0a\0\x63"), "unknown method {10,99}"),
        (raw(METHOD, 0, b""), "unknown_frame"),
        (struct.pack(">BHI", METHOD, 0, FRAME_MAX_BYTES + 1), "frame_too_large"),
    ],
)
def test_a_broken_handshake_is_not_answered(state: ConnectionState, frame: bytes, reason: str) -> None:
    assert reason in peer_in(state).is_turned_away(frame)


@spec("1.7", "a heartbeat is welcome at any time")
@pytest.mark.parametrize("state", [ConnectionState.STARTING, ConnectionState.TUNING, ConnectionState.OPENING], ids=lambda state: state.name)
def test_heartbeats_in_the_handshake(state: ConnectionState) -> None:
    peer = peer_in(state)
    peer.says(heartbeat(), heartbeat())
    assert peer.state is state
    assert peer.broker.hears() == []


def test_before_tune_ok_frames_are_short() -> None:
    fits = any_method(0, Connection.StartOk, mechanism="PLAIN", response=b"x" * (INITIAL_FRAME_MAX_BYTES - 19))
    assert len(fits) == INITIAL_FRAME_MAX_BYTES + 8
    peer = Peer()
    peer.says(PROTOCOL_HEADER, fits)
    assert peer.state is ConnectionState.TUNING
    other = Peer()
    other.says(PROTOCOL_HEADER)
    other.is_turned_away(any_method(0, Connection.StartOk, mechanism="PLAIN", response=b"x" * (INITIAL_FRAME_MAX_BYTES - 18)))


# --- channels


def test_what_a_client_sends() -> None:
    """RabbitMQ 3.10.8 was sent every method on an open channel: what it called unimplemented is what this rule leaves out."""
    asked = {cls.name for cls in CLASSES.values() if not cls.name.startswith("Connection.")}
    answers = {name for name in asked if name.endswith("Ok")}
    assert asked - answers - {"Basic.Return", "Basic.Deliver", "Basic.GetEmpty"} == CLIENT_CHANNEL_METHODS


@spec("1.7", "any method on a channel not open 504")
@every_method
@pytest.mark.parametrize("was_open", [False, True])
def test_every_method_on_an_absent_channel(cls: type[Method], was_open: bool) -> None:
    peer = running(channels=[1, 7])
    if was_open:
        peer.says(close_channel(7))
        peer.broker.hears()
    number = 7 if was_open else 9
    if cls is Channel.Open:
        peer.says(any_method(number, cls))
        assert peer.broker.hears() == [said(number, make(cls))]
    else:
        peer.breaks(any_method(number, cls), 504, "CHANNEL_ERROR - expected 'channel.open'", ids(cls))
        assert peer.broker.hears() == []


@spec("1.5", "connection.* on another channel: 503 `COMMAND_INVALID - unimplemented method`")
@spec("2.1", "open twice 504 `second 'channel.open' seen`")
@every_method
def test_every_method_on_an_open_channel(cls: type[Method]) -> None:
    peer = running(channels=[1])
    frame = any_method(1, cls)
    if cls is Channel.Open:
        peer.breaks(frame, 504, "CHANNEL_ERROR - second 'channel.open' seen", ids(cls))
    elif cls.name not in CLIENT_CHANNEL_METHODS:
        peer.breaks(frame, 503, "COMMAND_INVALID - unimplemented method", ids(cls))
    elif cls is Basic.Publish:
        peer.says(frame)
        assert peer.broker.hears() == []
        peer.says(header(1, 0))
        assert peer.broker.hears() == [Published(1, "", "", 0, content_header(0), b"")]
    elif cls is Basic.Ack:
        peer.says(frame)
        assert peer.broker.hears() == [Acked(1, 0, False)]
    else:
        peer.says(frame)
        assert peer.broker.hears() == [said(1, make(cls))]
    assert peer.broker.hears() == []


@spec("2.1", "after the server closed a channel, until close-ok: channel.close gets close-ok, open is 504, all else is dropped")
@every_method
def test_every_method_on_a_closing_channel(cls: type[Method]) -> None:
    peer = running(channels=[1])
    peer.connection.write(peer.connection.close_channel(1, ChannelException(404, "no queue")))
    assert peer.hears_only(1, Channel.Close).reply_text == "NOT_FOUND - no queue"
    frame = any_method(1, cls)
    if cls is Channel.Open:
        peer.breaks(frame, 504, "CHANNEL_ERROR - second 'channel.open' seen", ids(cls))
        return
    peer.says(frame)
    assert peer.broker.hears() == []
    if cls is Channel.Close:
        peer.hears_only(1, Channel.CloseOk)
    assert peer.hears() == []
    if cls is not Channel.CloseOk:
        peer.says(raw(HEADER, 1, bytes(14)), raw(BODY, 1, b"dropped"), close_channel_ok(1))
    peer.says(open_channel(1), message(1, "x", "k", b"again"))
    assert peer.broker.hears() == [heard(open_channel(1)), Published(1, "x", "k", 0, content_header(5), b"again")]


@spec("1.8", "a method where the header belongs; a method inside a body")
@every_method
def test_every_method_inside_a_message(cls: type[Method]) -> None:
    for said_before, text in (
        (publish(1, "x", "k"), EXPECTED_HEADER),
        (publish(1, "x", "k") + header(1, 5) + body(1, b"ab"), EXPECTED_BODY),
    ):
        peer = running(channels=[1])
        peer.says(said_before)
        peer.breaks(any_method(1, cls), 505, text, PUBLISH_IDS)
        assert peer.broker.hears() == []


@spec("2.1", "numbers can be reused after close")
@every_feed
def test_a_channel_number_is_used_again(feed: Feed) -> None:
    peer = running(feed, channels=[1])
    peer.says(message(1, "x", "k", b"one"), close_channel(1), open_channel(1), message(1, "x", "k", b"two"))
    assert peer.broker.hears() == [
        Published(1, "x", "k", 0, content_header(3), b"one"),
        heard(close_channel(1)),
        heard(open_channel(1)),
        Published(1, "x", "k", 0, content_header(3), b"two"),
    ]


@spec("1.11", "channel_max limits how many channels are open, not their numbers")
def test_channel_max() -> None:
    peer = running(tuning=Tuning(2, 4096, 0))
    peer.says(open_channel(65535), open_channel(3), close_channel(3), open_channel(9))
    text = "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)"
    peer.breaks(open_channel(1), 530, text)


def test_a_channel_that_closes_counts_until_close_ok() -> None:
    peer = running(tuning=Tuning(1, 4096, 0), channels=[1])
    peer.connection.close_channel(1, ChannelException(404, "no queue"))
    peer.says(close_channel_ok(1), open_channel(2))
    peer.connection.close_channel(2, ChannelException(404, "no queue"))
    peer.breaks(open_channel(1), 530, "NOT_ALLOWED - number of channels opened (1) has reached the negotiated channel_max (1)")


def test_channel_max_0_is_no_limit() -> None:
    peer = running(tuning=Tuning(0, 4096, 0), channels=range(1, 3000))
    peer.says(open_channel(3000))
    assert peer.broker.hears() == [heard(open_channel(3000))]


# --- frames


@spec("1.7", "payload above frame_max, on the 7-byte header alone")
@every_feed
@pytest.mark.parametrize("kind", [METHOD, HEADER, BODY, HEARTBEAT, 77])
@pytest.mark.parametrize("size", [4097, 2**31, 2**32 - 1])
def test_a_frame_too_large(feed: Feed, kind: int, size: int) -> None:
    peer = running(feed, channels=[1], tuning=Tuning(2047, 4096, 60))
    peer.says(struct.pack(">BHI", kind, 1, size)[:6])
    text = f"FRAME_ERROR - type {kind}, all octets = <<>>: {{frame_too_large,{size},4088}}"
    peer.breaks(struct.pack(">BHI", kind, 1, size)[6:], 501, text, framing=True)


def test_a_frame_of_2_gb_costs_no_memory() -> None:
    peer = running(channels=[1])
    tracemalloc.start()
    try:
        with pytest.raises(FramingException):
            peer.says(struct.pack(">BHI", BODY, 1, 2**31))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000
    assert peer.connection.buffered_bytes == 7


@spec("1.7", "a payload of up to frame_max passes")
@every_feed
@pytest.mark.parametrize("size", [4088, 4089, 4095, 4096])
def test_a_frame_of_frame_max(feed: Feed, size: int) -> None:
    peer = running(feed, channels=[1], tuning=Tuning(2047, 4096, 60))
    for _ in range(3):  # the first frame by frame, the second and third by the shorter ways
        peer.says(message(1, "x", "k", b"x" * size))
    assert peer.broker.hears() == [Published(1, "x", "k", 0, content_header(size), b"x" * size)] * 3
    again = publish(1, "x", "k") + header(1, 4097)
    peer.breaks(
        again + raw(BODY, 1, bytes(4097)), 501, "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,4097,4088}", framing=True
    )


def test_frame_max_0_is_no_limit() -> None:
    peer = running(channels=[1], tuning=Tuning(2047, 0, 60))
    large = bytes(FRAME_MAX_BYTES + 1)
    peer.says(message(1, "x", "k", large, len(large)))
    assert peer.broker.hears() == [Published(1, "x", "k", 0, content_header(len(large)), large)]
    peer.connection.deliveries(1, "c").encode(1, False, [(1, b"\x01x\x01k", content_header(len(large)), large)], 0)
    assert peer.connection.data_to_send().endswith(raw(BODY, 1, large))


@spec("1.7", "wrong end byte")
@every_feed
@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (raw(HEARTBEAT, 0, b"", 0), "type 8, all octets = <<>>: {invalid_frame_end_marker,0}"),
        (raw(METHOD, 1, b"\0\x14\0\x14\1", 207), "type 1, all octets = <<0,20,0,20,1>>: {invalid_frame_end_marker,207}"),
        (raw(BODY, 1, b"abc", 65), 'type 3, all octets = <<"abc">>: {invalid_frame_end_marker,65}'),
        (raw(9, 1, b"a" * 17, 0), 'type 9, first 16 octets = <<"aaaaaaaaaaaaaaaa">>: {invalid_frame_end_marker,0}'),
    ],
)
def test_a_wrong_frame_end(feed: Feed, frame: bytes, text: str) -> None:
    peer = running(feed, channels=[1])
    peer.says(publish(1, "x", "k"))
    peer.breaks(frame, 501, f"FRAME_ERROR - {text}", framing=True)


@pytest.mark.parametrize("position", ["method", "header", "body"])
@pytest.mark.parametrize("repeats", [0, 1, 2, 5])
def test_a_wrong_frame_end_within_a_run(position: str, repeats: int) -> None:
    good = [publish(1, "x", "k"), header(1, 3), body(1, b"abc")]
    bad = [frame[:-1] + b"\0" if name == position else frame for name, frame in zip(("method", "header", "body"), good, strict=True)]
    peer = running(channels=[1])
    with pytest.raises(FramingException) as caught:
        peer.says(b"".join(good) * repeats + b"".join(bad))
    assert "{invalid_frame_end_marker,0}" in caught.value.text
    assert peer.broker.hears() == [Published(1, "x", "k", 0, content_header(3), b"abc")] * repeats


@spec("1.7", "unknown frame type or a heartbeat with payload 501 `...: unknown_frame`")
@pytest.mark.parametrize("channel", [0, 1, 9])
@pytest.mark.parametrize(("kind", "payload"), [(0, b""), (4, b""), (7, b""), (9, b""), (255, b""), (HEARTBEAT, b"\1")])
def test_an_unknown_frame(channel: int, kind: int, payload: bytes) -> None:
    shown = "<<1>>" if payload else "<<>>"
    peer = running(channels=[1])
    peer.breaks(raw(kind, channel, payload), 501, f"FRAME_ERROR - type {kind}, all octets = {shown}: unknown_frame")


@spec("1.7", "heartbeat on a channel 505 `UNEXPECTED_FRAME - type 8, all octets = <<>>`")
@pytest.mark.parametrize("channel", [1, 9])
def test_a_heartbeat_on_a_channel(channel: int) -> None:
    running(channels=[1]).breaks(raw(HEARTBEAT, channel, b""), 505, "UNEXPECTED_FRAME - type 8, all octets = <<>>")


@spec("1.7")
@pytest.mark.parametrize("channel", [0, 1])
@pytest.mark.parametrize(
    ("payload", "code", "text", "at_fault"),
    [
        (b"\0\x32\0\x0a\0\0\5ab", 501, "FRAME_ERROR - cannot decode <<0,0,5,97,98>>", (50, 10)),
        (b"\0\x3c\0\x50abc", 501, "FRAME_ERROR - cannot decode <<97,98,99>>", (60, 80)),
        (b"\0\x63\0\x63", 540, "NOT_IMPLEMENTED - unknown method {99,99}", (99, 99)),
        (b"\0\x3c", 501, "FRAME_ERROR - type 1, all octets = <<0,60>>: unknown_frame", (0, 0)),
    ],
)
def test_an_undecodable_method(channel: int, payload: bytes, code: int, text: str, at_fault: tuple[int, int]) -> None:
    running(channels=[1]).breaks(raw(METHOD, channel, payload), code, text, at_fault)


@spec("1.7", "undecodable arguments 501 `FRAME_ERROR - cannot decode <<...>>` with the method's ids")
@pytest.mark.parametrize("rest", [b"", b"\0", b"\0\0", b"\0\0\1", b"\0\0\1x", b"\0\0\1x\5k", b"\0\0\1x\1k", b"\0\0\1x\1k\0\0"])
def test_an_undecodable_publish(rest: bytes) -> None:
    peer = running(channels=[1])
    peer.says(message(1, "x", "k", b"fine"))
    peer.broker.hears()
    octets = ",".join(map(str, rest))
    peer.breaks(raw(METHOD, 1, b"\0\x3c\0\x28" + rest), 501, f"FRAME_ERROR - cannot decode <<{octets}>>", PUBLISH_IDS)
    peer.says(header(1, 0), message(1, "x", "k", b"late"))
    assert peer.broker.hears() == []


@pytest.mark.parametrize("size", [*range(4, 13), 14, 20])
def test_an_ack_of_the_wrong_size(size: int) -> None:
    """Whatever lies where a whole ack would have its multiple bit and frame end."""
    payload = b"\0\x3c\0\x50" + b"\0" * 9 + b"\xce" * 7
    good = ack(1, 5)
    peer = running(channels=[1])
    shown = ",".join(map(str, payload[4:size]))
    peer.breaks(raw(METHOD, 1, payload[:size]) + good, 501, f"FRAME_ERROR - cannot decode <<{shown}>>", (60, 80))
    assert peer.broker.hears() == []


# --- acks


@every_feed
def test_acks(feed: Feed) -> None:
    peer = running(feed, channels=[1, 2])
    frames = [ack(1, 1), ack(1, 2), ack(2, 1), ack(1, 5, multiple=True), ack(1, 0, multiple=True), ack(1, 0), ack(1, 6), ack(1, 2**63 - 1)]
    odd = raw(METHOD, 1, b"\0\x3c\0\x50" + struct.pack(">QB", 7, 254))  # only the lowest bit is `multiple`
    peer.says(*frames, odd)
    assert peer.broker.hears() == [
        Acked(1, 1, False),
        Acked(1, 2, False),
        Acked(2, 1, False),
        Acked(1, 5, True),
        Acked(1, 0, True),
        Acked(1, 0, False),
        Acked(1, 6, False),
        Acked(1, 2**63 - 1, False),
        Acked(1, 7, False),
    ]


# --- content


@every_feed
@pytest.mark.parametrize("pieces", [[b""], [b"abc"], [b"a", b"b", b"c"], [b"", b"ab", b"", b"", b"c"], [b"ab", b"c"]])
def test_a_message(feed: Feed, pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    peer = running(feed, channels=[1])
    frames = [body(1, piece) if piece else raw(BODY, 1, b"") for piece in pieces] if data else []
    for _ in range(3):
        peer.says(publish(1, "x", "k", mandatory=True), header(1, len(data), content_type="text/plain"), *frames)
    expected = Published(1, "x", "k", MANDATORY, content_header(len(data), content_type="text/plain"), data)
    assert peer.broker.hears() == [expected] * 3


@spec("1.7", "heartbeats between the frames of a message")
@every_feed
def test_heartbeats_within_a_message(feed: Feed) -> None:
    peer = running(feed, channels=[1])
    for _ in range(3):
        peer.says(publish(1, "", "q"), heartbeat(), header(1, 2), heartbeat(), body(1, b"a"), heartbeat(), body(1, b"b"))
    assert peer.broker.hears() == [Published(1, "", "q", 0, content_header(2), b"ab")] * 3


@spec("1.8", "header or body without a method")
@every_feed
@pytest.mark.parametrize("channel", [1, 9])
@pytest.mark.parametrize("frame", [(HEADER, content_header(0)), (BODY, b"abc"), (BODY, b"")], ids=["header", "body", "empty body"])
@pytest.mark.parametrize("before", [b"", message(1, "x", "k", b""), message(1, "x", "k", b"abc") * 3])
def test_content_without_a_method(feed: Feed, channel: int, frame: tuple[int, bytes], before: bytes) -> None:
    peer = running(feed, channels=[1])
    peer.says(before)
    peer.breaks(raw(frame[0], channel, frame[1]), 505, EXPECTED_METHOD)


@spec("1.8")
def test_content_on_channel_0() -> None:
    running().breaks(raw(BODY, 0, b"abc"), 505, 'UNEXPECTED_FRAME - type 3, all octets = <<"abc">>')
    shown = ",".join("0" * 14)
    running().breaks(raw(HEADER, 0, bytes(14)), 505, f"UNEXPECTED_FRAME - type 2, all octets = <<{shown}>>")


@spec("1.8", "a body where the header belongs, or weight not 0")
@every_feed
@pytest.mark.parametrize("before", [b"", message(1, "x", "k", b"abc") * 3], ids=["at once", "after a run"])
@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (raw(BODY, 1, b"abc"), EXPECTED_HEADER),
        (raw(BODY, 1, b""), EXPECTED_HEADER),
        (raw(HEADER, 1, struct.pack(">HHQH", 60, 1, 3, 0)), EXPECTED_HEADER),
        (
            raw(HEADER, 1, struct.pack(">HHQH", 10, 0, 3, 0)),
            "UNEXPECTED_FRAME - expected content header for class 60, got one for class 10 instead",
        ),
    ],
    ids=["body", "empty body", "weight", "class"],
)
def test_no_content_header_where_it_belongs(feed: Feed, before: bytes, frame: bytes, text: str) -> None:
    peer = running(feed, channels=[1])
    peer.says(before)
    peer.breaks(publish(1, "x", "k") + frame + body(1, b"abc"), 505, text, PUBLISH_IDS)


@spec("1.8", "a header inside a body, and a body past its size")
@every_feed
@pytest.mark.parametrize("before", [b"", message(1, "x", "k", b"abcde") * 3], ids=["at once", "after a run"])
@pytest.mark.parametrize(
    "frames",
    [header(1, 5), body(1, b"ab") + header(1, 5), body(1, b"abcdef"), body(1, b"abcd") + body(1, b"ef")],
    ids=["header", "header in the middle", "past its size", "past its size in two"],
)
def test_no_content_body_where_it_belongs(feed: Feed, before: bytes, frames: bytes) -> None:
    peer = running(feed, channels=[1])
    peer.says(before)
    peer.breaks(publish(1, "x", "k") + header(1, 5) + frames, 505, EXPECTED_BODY, PUBLISH_IDS)


@spec("1.8", "a content header that ends early")
@pytest.mark.parametrize("before", [b"", publish(1, "x", "k"), publish(1, "x", "k") + header(1, 5)])
@pytest.mark.parametrize("channel", [0, 1, 9])
def test_a_content_header_that_ends_early(before: bytes, channel: int) -> None:
    peer = running(channels=[1])
    peer.says(before)
    peer.breaks(raw(HEADER, channel, b"\0\x3c\0"), 501, "FRAME_ERROR - type 2, all octets = <<0,60,0>>: unknown_frame")


@spec("1.8", "frames of several channels may alternate, those of one message may not")
@every_feed
def test_messages_of_two_channels_interleave(feed: Feed) -> None:
    peer = running(feed, channels=[1, 2])
    frames = [[publish(number, "x", "k"), header(number, 2), body(number, b"a"), body(number, b"b")] for number in (1, 2)]
    peer.says(*(frame for pair in zip(*frames, strict=True) for frame in pair))
    assert peer.broker.hears() == [Published(number, "x", "k", 0, content_header(2), b"ab") for number in (1, 2)]


@spec("5.1", "size (406; 128 MiB default)")
@every_feed
@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("size", [1001, 4096, 5000, 2**64 - 1])
def test_a_message_too_large(feed: Feed, before: int, size: int) -> None:
    """Also where the limit is smaller than a frame, and whatever came before it."""
    peer = running(feed, channels=[1, 2], tuning=Tuning(2047, 4096, 0), message_size_max=1000)
    peer.says(message(1, "x", "k", bytes(1000)) * before)
    assert len(peer.broker.hears()) == before
    pieces = min(size, 9000)
    peer.says(publish(1, "x", "k"), raw(HEADER, 1, struct.pack(">HHQH", 60, 0, size, 0)))
    peer.says(*(body(1, bytes(min(4088, pieces - at))) for at in range(0, pieces, 4088)))
    text = f"PRECONDITION_FAILED - message size {size} is larger than configured max size 1000"
    assert peer.broker.hears() == [ChannelFailed(1, 406, text, *PUBLISH_IDS)]
    close = peer.hears_only(1, Channel.Close)
    assert (close.reply_code, close.reply_text, close.class_id, close.method_id) == (406, text, *PUBLISH_IDS)
    peer.says(message(1, "x", "k", b"dropped"), message(2, "x", "k", b"heard"), close_channel_ok(1), open_channel(1))
    assert peer.broker.hears() == [Published(2, "x", "k", 0, content_header(5), b"heard"), heard(open_channel(1))]


def test_a_message_in_the_smallest_frames_costs_about_its_size() -> None:
    frames, batch = 100 * PARTS_MAX, PARTS_MAX // 2
    peer = running(channels=[1])
    peer.says(publish(1, "x", "k"), header(1, 2 * frames + 1))
    piece = body(1, b"ab") * batch
    tracemalloc.start()
    try:
        for _ in range(0, frames, batch):
            peer.says(piece)
        now, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now < 2 * frames + 200_000
    peer.says(body(1, b"!"))
    (published,) = peer.broker.hears()
    assert isinstance(published, Published)
    assert published.body == b"ab" * frames + b"!"


@pytest.mark.parametrize("rest", [0, 1, 6])
def test_what_has_been_read_is_let_go(rest: int) -> None:
    """An idle connection must not hold the last 256 KiB that were read from it."""
    qos = any_method(1, Basic.Qos)
    peer = running(channels=[1])
    tracemalloc.start()
    try:
        peer.says(message(1, "x", "k", b"x" * 100) * 1000 + qos[:rest])
        assert len(peer.broker.hears()) == 1000
        now, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now < 20_000
    assert peer.connection.buffered_bytes == rest
    peer.says(qos[rest:])
    assert peer.broker.hears() == [heard(qos)]


# --- the end


@spec("1.9", "connection.close in both directions")
@every_feed
def test_the_peer_closes(feed: Feed) -> None:
    peer = running(feed, channels=[1])
    peer.says(message(1, "x", "k", b"abc") * 3, close_connection())
    assert len(peer.broker.hears()) == 4
    peer.hears_only(0, Connection.CloseOk)
    assert peer.state is ConnectionState.CLOSED


@spec("1.9", "what follows the client's close is not answered")
@every_feed
@pytest.mark.parametrize(
    "after",
    [
        message(1, "x", "k", b"abc") * 2,
        ack(1, 1),
        any_method(1, Queue.Declare),
        close_connection(),
        close_connection_ok(),
        header(1, 3),
        raw(99, 1, b"", 0),
        struct.pack(">BHI", BODY, 1, 2**31),
        b"GET / HTTP/1.1\r\n",
    ],
    ids=["publish", "ack", "method", "close", "close-ok", "header", "frame end", "too large", "rubbish"],
)
def test_nothing_counts_behind_the_peer_s_close(feed: Feed, after: bytes) -> None:
    peer = running(feed, channels=[1])
    peer.says(message(1, "x", "k", b"abc") * 3, close_connection(), after)
    assert len(peer.broker.hears()) == 4
    peer.hears_only(0, Connection.CloseOk)
    peer.says(after)
    peer.connection.close(ConnectionException(541, "too late"))
    assert (peer.broker.hears(), peer.hears(), peer.connection.buffered_bytes) == ([], [], 0)


@spec("1.9", "after an error the server waits for close-ok and answers a client's close with close-ok")
@every_feed
@pytest.mark.parametrize(("last", "answers"), [(close_connection_ok(), []), (close_connection(), [Connection.CloseOk])])
def test_the_broker_closes(feed: Feed, last: bytes, answers: list[type[Method]]) -> None:
    peer = running(feed, channels=[1])
    peer.says(message(1, "x", "k", b"abc") * 3, publish(1, "x", "k"))
    peer.broker.hears()
    peer.connection.close(ConnectionException(320, "bye", 1, 2))
    close = peer.hears_only(0, Connection.Close)
    assert (close.reply_code, close.reply_text, close.class_id, close.method_id) == (320, "CONNECTION_FORCED - bye", 1, 2)
    peer.says(header(1, 3), body(1, b"abc"), message(1, "x", "k", b"abc") * 3, ack(1, 1), heartbeat(), open_channel(2))
    assert peer.state is ConnectionState.CLOSING
    assert (peer.broker.hears(), peer.hears()) == ([], [])
    peer.says(last)
    assert peer.state is ConnectionState.CLOSED
    assert [type(method) for _, method in peer.hears()] == answers


@spec("1.9", "close is said once, whatever the peer does meanwhile")
@pytest.mark.parametrize(
    "after",
    [
        raw(99, 0, b"abc"),
        raw(HEARTBEAT, 1, b""),
        raw(HEARTBEAT, 0, b"x"),
        raw(HEADER, 0, b""),
        raw(METHOD, 0, b"\0"),
        raw(METHOD, 1, b"\xff" * 9),
        any_method(0, Tx.Select),
        any_method(9, Tx.Select),
    ],
)
def test_errors_while_closing_are_dropped(after: bytes) -> None:
    peer = running(channels=[1])
    peer.breaks(any_method(1, Channel.Open), 504, "CHANNEL_ERROR - second 'channel.open' seen", (20, 10))
    peer.says(after)
    peer.connection.close(ConnectionException(541, "again"))
    assert (peer.hears(), peer.state) == ([], ConnectionState.CLOSING)
    peer.says(close_connection_ok())
    assert peer.state is ConnectionState.CLOSED


def test_what_came_with_the_error_is_read_when_the_broker_has_closed() -> None:
    peer = running(channels=[1])
    with pytest.raises(ConnectionException) as caught:
        peer.says(any_method(1, Channel.Open), message(1, "x", "k", b"abc"), close_connection())
    peer.connection.close(caught.value)
    peer.says(b"")
    assert [type(method) for _, method in peer.hears()] == [Connection.Close, Connection.CloseOk]
    assert peer.broker.hears() == [heard(close_connection())]


@spec("2.1", "content for a channel that the broker closed is dropped")
@every_feed
@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("how", ["in the event", "in the middle of a message"])
def test_the_broker_closes_a_channel(feed: Feed, before: int, how: str) -> None:
    peer = running(feed, channels=[1, 2])
    peer.says(message(1, "x", "k", b"refusal") * before)
    if how == "in the event":
        peer.says(message(1, "x", "k", REFUSED))
    else:
        peer.says(publish(1, "x", "k"), header(1, 7), body(1, b"ref"))
        peer.connection.write(peer.connection.close_channel(1, ChannelException(404, "refused", *PUBLISH_IDS)))
        peer.says(body(1, b"usal"))
    peer.broker.hears()
    assert peer.hears_only(1, Channel.Close).reply_text == "NOT_FOUND - refused"
    peer.says(message(1, "x", "k", b"refusal") * 3, ack(1, 1), raw(BODY, 1, b"stray"), message(2, "x", "k", b"refusal"))
    assert peer.broker.hears() == [Published(2, "x", "k", 0, content_header(7), b"refusal")]
    peer.says(close_channel_ok(1))
    peer.breaks(message(1, "x", "k", b"refusal"), 504, "CHANNEL_ERROR - expected 'channel.open'", PUBLISH_IDS)


# --- writing


def test_the_runtime_is_asked_for_a_flush_once_a_turn() -> None:
    peer = running()
    peer.flushes = 0
    connection = peer.connection
    for _ in range(3):
        connection.write(connection.ack(1, 1, False))
        connection.heartbeat()
        connection.wrote(0)
    assert peer.flushes == 1
    assert connection.output_bytes == 3 * (21 + 8 + 1)
    assert connection.data_to_send() == (ack(1, 1) + heartbeat()) * 3
    assert (connection.output_bytes, connection.data_to_send()) == (0, b"")
    connection.wrote(0)
    assert peer.flushes == 2


def test_a_method_for_the_peer() -> None:
    peer = running()
    declare_ok = make(Queue.DeclareOk, queue="q", message_count=3, consumer_count=1)
    peer.connection.send(5, declare_ok)
    assert peer.connection.data_to_send() == raw(METHOD, 5, codec.encode_method(declare_ok))
    assert peer.state is ConnectionState.RUNNING
    assert peer.connection.method(7, make(Exchange.DeclareOk)) == raw(METHOD, 7, b"\0\x28\0\x0b")
    assert peer.connection.data_to_send() == b""


def test_the_names_of_the_states_are_rabbitmq_s() -> None:
    names: dict[str, Any] = {state.name: state.value for state in ConnectionState}
    assert names["RUNNING"] == "running"
    assert len(set(names.values())) == len(names)
    assert isinstance(ServerConnection(Broker(), TUNING, 1, lambda: None).state, ConnectionState)


def test_the_page_about_the_states_is_up_to_date() -> None:
    assert state_page.PAGE.read_text(encoding="utf-8") == state_page.render(), "run python -m tests.protocol.state_page"

"""Contract 1.7 and 1.8: what is wrong with a frame, and with content."""

import re
import struct
from collections.abc import Callable

import pytest
from pamqp.commands import Basic, Channel, Connection, Queue, Tx

from tests.fixtures import Connect
from tests.spec import Broker, differs, expect_on, spec
from tests.wire import BASIC_CLASS, BODY, HEADER, HEARTBEAT, METHOD, Wire, WireChannel, encode_method, frame_bytes

FRAME_MAX = 131072


def header(size: int, *, class_id: int = BASIC_CLASS, weight: int = 0, flags: int = 0, properties: bytes = b"") -> bytes:
    return struct.pack(">HHQH", class_id, weight, size, flags) + properties


def begin_publish(channel: WireChannel) -> None:
    channel.wire.send_frame(METHOD, channel.number, encode_method(Basic.Publish, routing_key="nowhere"))


# --- 1.7 frames


@spec("1.7")
@pytest.mark.parametrize(
    ("kind", "payload", "end", "text"),
    [
        (HEARTBEAT, b"", 0, "type 8, all octets = <<>>: {invalid_frame_end_marker,0}"),
        (HEARTBEAT, b"", 0xCF, "type 8, all octets = <<>>: {invalid_frame_end_marker,207}"),
        (METHOD, b"\x00\x14\x00\x14\x01", 0xCF, "type 1, all octets = <<0,20,0,20,1>>: {invalid_frame_end_marker,207}"),
        (BODY, b"abc", 65, 'type 3, all octets = <<"abc">>: {invalid_frame_end_marker,65}'),
    ],
)
def test_a_wrong_frame_end(channel: WireChannel, kind: int, payload: bytes, end: int, text: str) -> None:
    channel.wire.send_frame(kind, 0 if kind == HEARTBEAT else 1, payload, end)
    channel.wire.expect_close(501, "FRAME_ERROR - " + text, (0, 0), reply=False)


@spec("1.7", "payload above frame_max, on the 7-byte header alone")
@pytest.mark.parametrize(
    ("kind", "size"), [(METHOD, FRAME_MAX + 1), (HEADER, FRAME_MAX + 1), (BODY, FRAME_MAX + 1), (BODY, 2**31), (BODY, 2**32 - 1)]
)
def test_a_frame_that_is_too_large_is_refused_before_it_arrives(channel: WireChannel, kind: int, size: int) -> None:
    channel.wire.send_raw(struct.pack(">BHI", kind, 1, size))
    text = f"FRAME_ERROR - type {kind}, all octets = <<>>: {{frame_too_large,{size},131064}}"
    channel.wire.expect_close(501, text, (0, 0), reply=False)


@spec("1.7", "the limit is the negotiated one")
def test_the_negotiated_frame_max_counts(connect: Connect) -> None:
    wire = connect(frame_max=4096)
    wire.send_raw(struct.pack(">BHI", BODY, 1, 4097))
    wire.expect_close(501, "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,4097,4088}", (0, 0), reply=False)


@spec("1.7", "a payload of up to frame_max passes")
@pytest.mark.parametrize("size", [FRAME_MAX - 8, FRAME_MAX - 7, FRAME_MAX])
def test_a_payload_of_frame_max_passes(channel: WireChannel, size: int) -> None:
    queue = channel.queue()
    body = b"x" * size
    channel.wire.send_frame(METHOD, 1, encode_method(Basic.Publish, routing_key=queue))
    channel.wire.send_frame(HEADER, 1, header(size))
    channel.wire.send_frame(BODY, 1, body)
    assert channel.take(queue).body == body


@spec("1.9", "frame-end and size errors close after 3 s, without waiting for close-ok")
def test_frame_errors_close_by_themselves(connect: Connect) -> None:
    ending, large = connect(), connect()
    ending.send_frame(HEARTBEAT, 0, b"", 0)
    large.send_raw(struct.pack(">BHI", BODY, 1, FRAME_MAX + 1))
    for wire in (ending, large):
        wire.expect_close(501, reply=False)
    assert 2 < ending.expect_eof() < 6
    large.expect_eof()


@spec("1.7")
@pytest.mark.parametrize("channel_number", [0, 1])
@pytest.mark.parametrize(
    ("kind", "payload"), [(0, b"abc"), (4, b"abc"), (5, b""), (9, b""), (255, b"\x01\xfe"), (9, b"x" * 17), (HEARTBEAT, b"abc")]
)
def test_an_unknown_frame_type_or_a_heartbeat_with_payload(channel: WireChannel, kind: int, payload: bytes, channel_number: int) -> None:
    channel.wire.send_frame(kind, channel_number, payload)
    shown = {
        b"abc": 'all octets = <<"abc">>',
        b"": "all octets = <<>>",
        b"\x01\xfe": "all octets = <<1,254>>",
        b"x" * 17: 'first 16 octets = <<"xxxxxxxxxxxxxxxx">>',
    }
    channel.wire.expect_close(501, f"FRAME_ERROR - type {kind}, {shown[payload]}: unknown_frame", (0, 0))


@spec("1.7")
@pytest.mark.parametrize("number", [1, 5])
def test_a_heartbeat_on_a_channel(channel: WireChannel, number: int) -> None:
    channel.wire.send_frame(HEARTBEAT, number, b"")
    channel.wire.expect_close(505, "UNEXPECTED_FRAME - type 8, all octets = <<>>", (0, 0))


@spec("1.7", "a heartbeat is welcome at any time, between frames of a content too")
def test_heartbeats_between_the_frames_of_a_message(channel: WireChannel) -> None:
    queue = channel.queue()
    wire = channel.wire
    wire.send_frame(METHOD, 1, encode_method(Basic.Publish, routing_key=queue))
    wire.send_frame(HEARTBEAT, 0, b"")
    wire.send_frame(HEADER, 1, header(4))
    wire.send_frame(HEARTBEAT, 0, b"")
    wire.send_frame(BODY, 1, b"body")
    assert channel.take(queue).body == b"body"


@spec("1.7", "unknown class or method: RabbitMQ resets without a frame, Leveret sends 540 first")
@differs(rabbitmq="3.10", why="it resets the connection without a word")
@pytest.mark.parametrize(("number", "ids"), [(1, (99, 99)), (1, (60, 99)), (1, (0, 0)), (0, (10, 99))])
def test_an_unknown_method(channel: WireChannel, broker: Broker, number: int, ids: tuple[int, int]) -> None:
    channel.wire.send_frame(METHOD, number, struct.pack(">HH", *ids))
    if expect_on(broker, leveret=True, rabbitmq=False):
        close = channel.wire.expect_close(540, reply=False)
        assert close.reply_text.startswith("NOT_IMPLEMENTED - ")
        channel.wire.send_method(0, type(close)(reply_code=200, reply_text=""))
    else:
        channel.wire.expect_eof()


@spec("1.7")
@pytest.mark.parametrize(
    ("payload", "octets", "ids"),
    [
        (b"\x00\x32\x00\x0a\x00\x00\xffabc", "<<0,0,255,97,98,99>>", (50, 10)),
        (b"\x00\x14\x00\x14\x01extra", "<<1,101,120,116,114,97>>", (20, 20)),
        (b"\x00\x3c\x00\x0a", "<<>>", (60, 10)),
        (b"\x00\x3c\x00\x50abc", "<<97,98,99>>", (60, 80)),
    ],
)
def test_undecodable_arguments(channel: WireChannel, payload: bytes, octets: str, ids: tuple[int, int]) -> None:
    channel.wire.send_frame(METHOD, 1, payload)
    channel.wire.expect_close(501, f"FRAME_ERROR - cannot decode {octets}", ids)


@spec("1.7")
@pytest.mark.parametrize(
    ("payload", "octets"),
    [(b"", "<<>>"), (b"\x00", "<<0>>"), (b"\x00\x3c\x00", "<<0,60,0>>")],
)
def test_a_method_frame_without_a_method(channel: WireChannel, payload: bytes, octets: str) -> None:
    channel.wire.send_frame(METHOD, 1, payload)
    channel.wire.expect_close(501, f"FRAME_ERROR - type 1, all octets = {octets}: unknown_frame", (0, 0))


@spec("1.7")
@pytest.mark.parametrize(
    ("method", "ids"),
    [(Basic.Qos, (60, 10)), (Tx.Select, (90, 10)), (Channel.Close, (20, 40)), (Channel.CloseOk, (20, 41)), (Queue.Declare, (50, 10))],
)
def test_a_method_on_a_channel_that_is_not_open(wire: Wire, method: type, ids: tuple[int, int]) -> None:
    wire.send_method(7, method)
    wire.expect_close(504, "CHANNEL_ERROR - expected 'channel.open'", ids)


@spec("1.7", "a method that only a server sends")
@pytest.mark.parametrize(
    ("method", "ids"), [(Basic.QosOk, (60, 11)), (Queue.DeclareOk, (50, 11)), (Channel.CloseOk, (20, 41)), (Channel.FlowOk, (20, 21))]
)
def test_a_method_that_no_client_sends(channel: WireChannel, method: type, ids: tuple[int, int]) -> None:
    channel.send(method, **({"queue": "q", "message_count": 0, "consumer_count": 0} if method is Queue.DeclareOk else {}))
    channel.expect_connection_close(503, "COMMAND_INVALID - unimplemented method", ids)


@spec("1.7", "names of 255 bytes are fine, and so is every byte of them in a reply")
def test_the_longest_name(channel: WireChannel, unique: Callable[[str], str]) -> None:
    name = unique("q").ljust(255, "x")
    assert channel.queue(name) == name


@spec("1.7", "deeply nested tables")
def test_a_table_nested_a_thousand_deep(channel: WireChannel, other: WireChannel) -> None:
    fields = b""
    for _ in range(1000):
        fields = b"\x01nF" + struct.pack(">I", len(fields)) + fields
    queue = channel.queue()
    channel.publish("", queue, b"deep", raw_properties=b"\x20\x00" + struct.pack(">I", len(fields)) + fields)
    channel.send(Basic.Get, queue=queue, no_ack=True)
    frame = channel.wire.next_frame()
    if isinstance(frame.method, Connection.Close):  # a broker may set a limit, but says so and serves the others
        assert frame.method.reply_code in (501, 502, 541)
    else:
        assert channel.wire.next_frame().payload.endswith(fields)
    other.nothing_more()


# --- 1.8 content


@spec("1.8", "header or body without a method")
@pytest.mark.parametrize(("kind", "payload"), [(HEADER, header(0)), (BODY, b"abc"), (BODY, b"")])
@pytest.mark.parametrize("number", [1, 7])
def test_content_without_a_method(channel: WireChannel, kind: int, payload: bytes, number: int) -> None:
    channel.wire.send_frame(kind, number, payload)
    channel.wire.expect_close(505, "UNEXPECTED_FRAME - expected method frame, got non method frame instead", (0, 0))


@spec("1.8")
def test_a_content_header_on_channel_0(wire: Wire) -> None:
    wire.send_frame(HEADER, 0, b"\x00" * 14)
    wire.expect_close(505, "UNEXPECTED_FRAME - type 2, all octets = <<0,0,0,0,0,0,0,0,0,0,0,0,0,0>>", (0, 0))


@spec("1.8", "a method or body where the header belongs, or weight not 0")
@pytest.mark.parametrize(
    "frame",
    [
        frame_bytes(METHOD, 1, encode_method(Basic.Qos)),
        frame_bytes(METHOD, 1, encode_method(Basic.Publish)),
        frame_bytes(BODY, 1, b"x"),
        frame_bytes(HEADER, 1, header(0, weight=1)),
    ],
    ids=["method", "publish", "body", "weight"],
)
def test_no_content_header_where_it_belongs(channel: WireChannel, frame: bytes) -> None:
    begin_publish(channel)
    channel.wire.send_raw(frame)
    text = "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead"
    channel.wire.expect_close(505, text, (60, 40))


@spec("1.8")
def test_a_content_header_of_another_class(channel: WireChannel) -> None:
    begin_publish(channel)
    channel.wire.send_frame(HEADER, 1, header(0, class_id=10))
    text = "UNEXPECTED_FRAME - expected content header for class 60, got one for class 10 instead"
    channel.wire.expect_close(505, text, (60, 40))


@spec("1.8", "a method or header inside a body, and a body past its size")
@pytest.mark.parametrize(
    "frames",
    [
        frame_bytes(METHOD, 1, encode_method(Basic.Qos)),
        frame_bytes(HEADER, 1, header(5)),
        frame_bytes(BODY, 1, b"ab") + frame_bytes(METHOD, 1, encode_method(Basic.Qos)),
        frame_bytes(BODY, 1, b"123456") + frame_bytes(METHOD, 1, encode_method(Basic.Qos)),
        frame_bytes(BODY, 1, b"1234") + frame_bytes(BODY, 1, b"56") + frame_bytes(METHOD, 1, encode_method(Basic.Qos)),
    ],
    ids=["method", "header", "method after half", "past its size", "past its size in two"],
)
def test_no_content_body_where_it_belongs(channel: WireChannel, frames: bytes) -> None:
    begin_publish(channel)
    channel.wire.send_frame(HEADER, 1, header(5))
    channel.wire.send_raw(frames)
    text = "UNEXPECTED_FRAME - expected content body, got non content body frame instead"
    channel.wire.expect_close(505, text, (60, 40))


@spec("1.8", "a body frame after a content of size 0")
@pytest.mark.parametrize("body", [b"", b"x"])
def test_a_body_after_an_empty_content(channel: WireChannel, body: bytes) -> None:
    begin_publish(channel)
    channel.wire.send_frame(HEADER, 1, header(0))
    channel.wire.send_frame(BODY, 1, body)
    channel.wire.expect_close(505, "UNEXPECTED_FRAME - expected method frame, got non method frame instead", (0, 0))


@spec("1.8", "empty body frames are fine")
def test_empty_body_frames(channel: WireChannel) -> None:
    queue = channel.queue()
    wire = channel.wire
    wire.send_frame(METHOD, 1, encode_method(Basic.Publish, routing_key=queue))
    wire.send_frame(HEADER, 1, header(3))
    for piece in (b"", b"a", b"", b"", b"bc"):
        wire.send_frame(BODY, 1, piece)
    assert channel.take(queue).body == b"abc"


@spec("1.8", "undecodable properties")
@pytest.mark.parametrize(
    ("flags", "properties"),
    [
        (0x8000, b"\xffabc"),
        (0x8000, b""),
        (0x2000, b"\x00\x00\x00\x06\x01aZ123"),
        (0x2000, b"\x00\x00\x00\x09\x01a"),
        (0x0000, b"trailing"),
        (0x0001, b"\x00\x00"),
    ],
    ids=["short text", "no text", "unknown field type", "short table", "trailing bytes", "continued flags"],
)
def test_undecodable_properties(channel: WireChannel, flags: int, properties: bytes) -> None:
    begin_publish(channel)
    channel.wire.send_frame(HEADER, 1, header(0, flags=flags, properties=properties))
    channel.wire.expect_close(541, re.compile("INTERNAL_ERROR.*"), reply=False)


@spec("1.8")
def test_a_content_header_that_ends_early(channel: WireChannel) -> None:
    begin_publish(channel)
    channel.wire.send_frame(HEADER, 1, b"\x00\x3c\x00")
    channel.wire.expect_close(501, "FRAME_ERROR - type 2, all octets = <<0,60,0>>: unknown_frame", (0, 0))


@spec("1.8", "frames of several channels may alternate, those of one message may not")
def test_messages_of_two_channels_interleave(wire: Wire) -> None:
    first, second = wire.open_channel(), wire.open_channel()
    queue = first.queue()
    for channel in (first, second):
        wire.send_frame(METHOD, channel.number, encode_method(Basic.Publish, routing_key=queue))
    for channel in (second, first):
        wire.send_frame(HEADER, channel.number, header(2))
    for piece in (b"a", b"b"):
        for channel in (first, second):
            wire.send_frame(BODY, channel.number, piece)
    first.nothing_more()
    second.nothing_more()
    assert [first.take(queue).body for _ in range(2)] == [b"ab", b"ab"]

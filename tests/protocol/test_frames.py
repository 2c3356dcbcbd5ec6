"""Frames, acks and content: what is wrong with them, with RabbitMQ's texts, and how little memory they may cost."""

import struct
import tracemalloc
from typing import Any

import pytest

from protocol.assembly import PARTS_MAX
from protocol.constants import FRAME_MAX_BYTES
from protocol.errors import FramingException
from protocol.events import MANDATORY, Tuning
from protocol.methods import CLASSES, Basic, Channel
from tests.protocol.playbook import (
    BODY,
    HEADER,
    HEARTBEAT,
    METHOD,
    Acked,
    ChannelFailed,
    Feed,
    Published,
    ack,
    any_method,
    body,
    close_channel_ok,
    content_header,
    header,
    heard,
    heartbeat,
    message,
    one_by_one,
    open_channel,
    publish,
    raw,
    running,
    whole,
)
from tests.spec import spec

every_feed = pytest.mark.parametrize("feed", [whole, one_by_one], ids=["whole", "one by one"])
every_method = pytest.mark.parametrize("cls", CLASSES.values(), ids=lambda cls: cls.name)

EXPECTED_METHOD = "UNEXPECTED_FRAME - expected method frame, got non method frame instead"
EXPECTED_HEADER = "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead"
EXPECTED_BODY = "UNEXPECTED_FRAME - expected content body, got non content body frame instead"
PUBLISH_IDS = (60, 40)


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


@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_content_header_too_large(before: int) -> None:
    peer = running(channels=[1], tuning=Tuning(2047, 4096, 60))
    peer.says(message(1, "x", "k", b"abc") * before)
    large = publish(1, "x", "k") + raw(HEADER, 1, struct.pack(">HHQ", 60, 0, 3) + bytes(4085)) + body(1, b"abc")
    peer.breaks(large, 501, "FRAME_ERROR - type 2, all octets = <<>>: {frame_too_large,4097,4088}", framing=True)
    assert len(peer.broker.hears()) == before


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
    payload = (b"\0\x3c\0\x50" + struct.pack(">QB", 5, 0) + b"\xce" * 7)[:size]
    behind = bytes(max(12 - size, 0)) + b"\xce"
    peer = running(channels=[1])
    shown = ",".join(map(str, payload[4:]))
    peer.breaks(raw(METHOD, 1, payload) + behind, 501, f"FRAME_ERROR - cannot decode <<{shown}>>", (60, 80))
    assert peer.broker.hears() == []


# --- acks


@pytest.mark.parametrize("before", [0, 1, 5])
def test_a_wrong_frame_end_within_a_run_of_acks(before: int) -> None:
    peer = running(channels=[1])
    with pytest.raises(FramingException) as caught:
        peer.says(ack(1, 5) * before + ack(1, 6)[:-1] + b"\0" + ack(1, 7))
    assert "{invalid_frame_end_marker,0}" in caught.value.text
    assert peer.broker.hears() == [Acked(1, 5, False)] * before


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


@spec("1.8", "a content header that ends early")
@every_feed
@pytest.mark.parametrize("before", [0, 3])
def test_a_content_header_that_ends_within_its_body_size(feed: Feed, before: int) -> None:
    """Its frame end, 206, stands where a body size of 206 would, and a body of 206 bytes follows."""
    peer = running(feed, channels=[1])
    peer.says(message(1, "x", "k", bytes(206)) * before)
    short = publish(1, "x", "k") + raw(HEADER, 1, b"\0\x3c" + bytes(9)) + body(1, bytes(206))
    text = "FRAME_ERROR - type 2, all octets = <<0,60,0,0,0,0,0,0,0,0,0>>: unknown_frame"
    peer.breaks(short, 501, text)
    assert len(peer.broker.hears()) == before


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
    bodies = [body(1, bytes(min(4096, pieces - at))) for at in range(0, pieces, 4096)]
    peer.says(publish(1, "x", "k"), raw(HEADER, 1, struct.pack(">HHQH", 60, 0, size, 0)), *bodies)
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
    contents: Any = peer.connection._channels[1].content
    assert {len(part) for part in contents.parts} == {2 * PARTS_MAX}  # each piece is copied once, and not with every PARTS_MAX frames
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

"""The frames that every message needs, held against pamqp's encoding of them."""

import struct
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp import body as pamqp_body
from pamqp import frame
from pamqp.commands import Basic

from protocol.events import Message, Tuning
from protocol.fastcodec import HEADS_MAX, Deliveries, encode_ack, encode_content, encode_get_ok, encode_nack, encode_return
from protocol.framing import encode_body_frames, encode_frame
from tests.protocol.playbook import Peer, content_header, raw, running
from tests.spec import spec

FRAME_MAX = 4096
PAYLOAD_MAX = FRAME_MAX - 8
SIZES = (0, 1, 2, 100, PAYLOAD_MAX - 1, PAYLOAD_MAX, PAYLOAD_MAX + 1, FRAME_MAX, 2 * PAYLOAD_MAX, 2 * PAYLOAD_MAX + 1, 5 * PAYLOAD_MAX)

names = st.text("abcXYZ019-_.:", max_size=127)
keys = st.text(max_size=60).filter(lambda text: len(text.encode()) <= 255)
channels = st.integers(1, 65535)
tags = st.integers(1, 2**63 - 1)
some_properties = st.fixed_dictionaries(
    {},
    optional={
        "content_type": st.just("application/json"),
        "delivery_mode": st.sampled_from([1, 2]),
        "message_id": st.text("abc", max_size=5),
        "headers": st.dictionaries(st.text("abc", min_size=1, max_size=3), st.booleans(), max_size=2),
    },
)


ROUTINGS: dict[tuple[str, str], bytes] = {}
"""One object for each routing, as the broker's cache of routes has it."""


class Kind:
    """What several messages may have in common: the very same routing and header objects."""

    def __init__(self, exchange: str, key: str, size: int, properties: dict[str, Any]) -> None:
        self.exchange = exchange
        self.key = key
        self.size = size
        self.routing = ROUTINGS.setdefault((exchange, key), short(exchange) + short(key))
        self.properties = properties
        self.header = content_header(size, **properties)

    def message(self, number: int, *, own_header: bool = False) -> Message:
        header = content_header(self.size, **{**self.properties, "correlation_id": f"{number:04}"}) if own_header else self.header
        return number, self.routing, header, (struct.pack(">I", number) * (self.size // 4 + 1))[: self.size]


def short(text: str) -> bytes:
    encoded = text.encode()
    return bytes((len(encoded),)) + encoded


few = st.sampled_from(["", "q", "longer"])
kinds = st.builds(Kind, few | names, few | keys, st.sampled_from(SIZES) | st.integers(0, 3 * FRAME_MAX), some_properties)


def bodies_by_pamqp(channel: int, body: bytes) -> bytes:
    pieces = (body[at : at + PAYLOAD_MAX] for at in range(0, len(body), PAYLOAD_MAX))
    return b"".join(frame.marshal(pamqp_body.ContentBody(piece), channel) for piece in pieces)


def by_pamqp(channel: int, method: Any, message: Message) -> bytes:
    return frame.marshal(method, channel) + raw(2, channel, message[2]) + bodies_by_pamqp(channel, message[3])


def deliveries_by_pamqp(channel: int, consumer: str, tag: int, redelivered: bool, sent: Sequence[tuple[Kind, Message]]) -> bytes:
    return b"".join(
        by_pamqp(channel, Basic.Deliver(consumer, tag + number, redelivered, kind.exchange, kind.key), message)
        for number, (kind, message) in enumerate(sent)
    )


def peer() -> Peer:
    return running(tuning=Tuning(2047, FRAME_MAX, 0))


# --- deliver


@settings(deadline=None)
@given(channels, names, st.lists(kinds, min_size=1, max_size=3), st.data())
def test_deliveries_are_pamqp_s(channel: int, consumer: str, some: list[Kind], data: st.DataObject) -> None:
    """Several calls of one encoder: like and unlike messages in any order, fresh ones and returned ones."""
    connection = peer().connection
    encoder = connection.deliveries(channel, consumer)
    tag = data.draw(st.integers(1, 2**62))
    for _ in range(data.draw(st.integers(1, 4))):
        redelivered = data.draw(st.booleans())
        runs = data.draw(st.lists(st.tuples(st.sampled_from(some), st.integers(1, 4)), min_size=1, max_size=4))
        chosen = [kind for kind, count in runs for _ in range(count)]
        own_header = data.draw(st.booleans())
        sent = [(kind, kind.message(number, own_header=own_header)) for number, kind in enumerate(chosen)]
        assert encoder.encode(tag, redelivered, [message for _, message in sent], 2**40) == len(sent)
        assert connection.data_to_send() == deliveries_by_pamqp(channel, consumer, tag, redelivered, sent)
        tag += len(sent)


@spec("5.2", "Zero-length bodies, bodies over many frames")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 3])
def test_bodies_around_frame_max(size: int, count: int) -> None:
    kind = Kind("x", "k", size, {})
    sent = [(kind, kind.message(number)) for number in range(count)]
    connection = peer().connection
    assert connection.deliveries(9, "c").encode(1, False, [message for _, message in sent], 2**40) == count
    data = connection.data_to_send()
    assert data == deliveries_by_pamqp(9, "c", 1, False, sent)
    while data:
        payload_size = struct.unpack_from(">BHI", data)[2]
        assert payload_size <= PAYLOAD_MAX
        data = data[payload_size + 8 :]


def test_equal_headers_that_are_not_the_same_object_are_as_good() -> None:
    first, second = Kind("x", "k", 3, {"message_id": "1"}), Kind("x", "k", 3, {"message_id": "1"})
    sent = [(kind, kind.message(number)) for number, kind in enumerate([first, second, first, first])]
    connection = peer().connection
    connection.deliveries(1, "c").encode(1, True, [message for _, message in sent], 2**40)
    assert connection.data_to_send() == deliveries_by_pamqp(1, "c", 1, True, sent)


def test_a_consumer_tag_of_any_bytes() -> None:
    connection = peer().connection
    kind = Kind("x", "k", 1, {})
    connection.deliveries(1, "\udcff" * 255).encode(1, False, [kind.message(0)], 0)
    payload = b"\0\x3c\0\x3c" + b"\xff" * 256 + struct.pack(">QB", 1, 0) + kind.routing
    assert connection.data_to_send().startswith(raw(1, 1, payload))


# --- limit_bytes


def sizes_of(count: int, kind: Kind) -> list[int]:
    """What each of `count` deliveries takes, of the tags from 1 on."""
    return [len(deliveries_by_pamqp(1, "c", 1 + number, False, [(kind, kind.message(number))])) for number in range(count)]


@settings(deadline=None)
@given(st.lists(st.tuples(kinds, st.integers(1, 6)), min_size=1, max_size=5), st.integers(0, 60_000), st.booleans())
def test_the_limit(runs: list[tuple[Kind, int]], limit: int, warm: bool) -> None:
    """At least one message goes out; nothing more once the limit is passed; and the rest when it is asked for."""
    chosen = [kind for kind, count in runs for _ in range(count)]
    sent = [(kind, kind.message(number)) for number, kind in enumerate(chosen)]
    connection = peer().connection
    encoder = connection.deliveries(1, "c")
    if warm:  # the encoder remembers the last message's kind
        encoder.encode(1, False, [chosen[0].message(0)], 0)
        connection.data_to_send()
    tag, written = 1, b""
    while sent[tag - 1 :]:
        count = encoder.encode(tag, False, [message for _, message in sent[tag - 1 :]], limit)
        assert count >= 1
        data = connection.data_to_send()
        last = deliveries_by_pamqp(1, "c", tag + count - 1, False, sent[tag + count - 2 : tag + count - 1])
        assert len(data) - len(last) <= limit + slack(sent[tag - 1 : tag + count - 1])
        if sent[tag + count - 1 :]:
            assert len(data) > limit - slack(sent[tag - 1 : tag + count - 1])
        written += data
        tag += count
    assert written == deliveries_by_pamqp(1, "c", 1, False, sent)


def slack(sent: Sequence[tuple[Kind, Message]]) -> int:
    """The encoder reckons 8 bytes for the frame of a body, where there may be several frames or none."""
    return 8 * sum(len(message[3]) // PAYLOAD_MAX + 1 for _, message in sent)


@pytest.mark.parametrize("size", [100, 10_000])
@pytest.mark.parametrize("count", [1, 100, 5000])
def test_the_limit_holds_within_a_run_of_like_messages(size: int, count: int) -> None:
    """5000 messages of one template share a header: they must not go out in one write, whatever their size."""
    kind = Kind("x", "k", size, {})
    messages = [kind.message(0)] * count
    connection = peer().connection
    sent = connection.deliveries(1, "c").encode(1, False, messages, 262_144)
    assert connection.output_bytes < 262_144 + 2 * (size + 200)
    assert sent == count or len(connection.data_to_send()) > 262_144 - 8 * sent


@settings(deadline=None)
@given(st.lists(st.tuples(kinds, st.integers(1, 4)), min_size=1, max_size=3))
def test_output_bytes_is_about_what_was_written(runs: list[tuple[Kind, int]]) -> None:
    chosen = [kind for kind, count in runs for _ in range(count)]
    messages = [kind.message(number) for number, kind in enumerate(chosen)]
    connection = peer().connection
    connection.deliveries(1, "c").encode(1, False, messages, 2**40)
    about = connection.output_bytes
    assert abs(about - len(connection.data_to_send())) <= slack([(kind, message) for kind, message in zip(chosen, messages, strict=True)])


# --- get-ok, return, confirms


@settings(deadline=None)
@given(channels, names, tags, kinds)
def test_one_delivery_is_pamqp_s(channel: int, consumer: str, tag: int, kind: Kind) -> None:
    sent = (kind, kind.message(1))
    assert peer().connection.delivered(channel, consumer, tag, sent[1]) == deliveries_by_pamqp(channel, consumer, tag, False, [sent])


@settings(deadline=None)
@given(channels, tags, st.booleans(), st.integers(0, 2**32 - 1), kinds)
def test_get_ok_is_pamqp_s(channel: int, tag: int, redelivered: bool, count: int, kind: Kind) -> None:
    message = kind.message(1)
    expected = by_pamqp(channel, Basic.GetOk(tag, redelivered, kind.exchange, kind.key, count), message)
    assert peer().connection.get_ok(channel, tag, redelivered, count, message) == expected
    assert (
        encode_get_ok(tag, redelivered, kind.routing, count)
        == frame.marshal(Basic.GetOk(tag, redelivered, kind.exchange, kind.key, count), 1)[7:-1]
    )


@settings(deadline=None)
@given(channels, st.sampled_from([(312, "NO_ROUTE"), (313, "NO_CONSUMERS"), (312, "")]), kinds)
def test_return_is_pamqp_s(channel: int, reply: tuple[int, str], kind: Kind) -> None:
    code, text = reply
    message = kind.message(1)
    expected = by_pamqp(channel, Basic.Return(code, text, kind.exchange, kind.key), message)
    assert peer().connection.returned(channel, code, text, kind.routing, kind.header, message[3]) == expected
    method = encode_return(code, text, kind.routing)
    assert encode_content(channel, method, kind.header, message[3], PAYLOAD_MAX) == expected


@settings(deadline=None)
@given(channels, tags, st.booleans())
def test_confirms_are_pamqp_s(channel: int, tag: int, multiple: bool) -> None:
    acked = frame.marshal(Basic.Ack(tag, multiple), channel)
    nacked = frame.marshal(Basic.Nack(tag, multiple=False, requeue=False), channel)
    assert encode_ack(channel, tag, multiple) == peer().connection.ack(channel, tag, multiple) == acked
    assert encode_nack(channel, tag) == peer().connection.nack(channel, tag) == nacked


# --- frames


@settings(deadline=None)
@given(channels, st.binary(max_size=300), st.integers(1, 50))
def test_body_frames(channel: int, body: bytes, payload_max: int) -> None:
    pieces = [body[at : at + payload_max] for at in range(0, len(body), payload_max)]
    assert encode_body_frames(channel, body, payload_max) == b"".join(raw(3, channel, piece) for piece in pieces)


@settings(deadline=None)
@given(st.integers(0, 255), st.integers(0, 65535), st.binary(max_size=300))
def test_any_frame(kind: int, channel: int, payload: bytes) -> None:
    assert encode_frame(kind, channel, payload) == raw(kind, channel, payload)


def test_what_an_encoder_remembers_is_bounded() -> None:
    """Routing keys may be made up by the thousand, and there may be thousands of consumers."""
    sent = [(kind, kind.message(number)) for number in range(3 * HEADS_MAX) for kind in [Kind("x", f"k{number}", 10, {})]]
    connection = peer().connection
    encoder = connection.deliveries(1, "c")
    encoder.encode(1, False, [message for _, message in sent], 2**40)
    assert connection.data_to_send() == deliveries_by_pamqp(1, "c", 1, False, sent)
    assert isinstance(encoder, Deliveries)
    assert 0 < len(encoder._heads) <= HEADS_MAX

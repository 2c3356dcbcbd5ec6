"""Contract 5.3: properties and headers reach the consumer byte for byte, every field type included."""

import re
import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.spec import Broker, differs, expect_on, spec
from tests.wire import Typed, WireChannel, encode_properties, table, value_of

EVERYTHING = {
    "content_type": "application/json",
    "content_encoding": "utf-8",
    "headers": {"a": 1},
    "delivery_mode": 2,
    "priority": 9,
    "correlation_id": "c-1",
    "reply_to": "somewhere",
    "expiration": "60000",
    "message_id": "m-1",
    "timestamp": 1_700_000_000,
    "message_type": "greeting",
    "user_id": "guest",
    "app_id": "tests",
    "cluster_id": "old",
}


def through_the_broker(channel: WireChannel, raw_properties: bytes, body: bytes = b"x") -> bytes:
    """The properties as basic.get and as basic.deliver bring them, which must be the same."""
    queue = channel.queue()
    for _ in range(2):
        channel.publish("", queue, body, raw_properties=raw_properties)
    got = channel.take(queue).raw_properties
    tag = channel.consume(queue, no_ack=True)
    assert channel.deliver().raw_properties == got
    channel.cancel(tag)
    return got


@spec("5.3")
def test_no_properties(channel: WireChannel) -> None:
    assert through_the_broker(channel, b"\x00\x00") == b"\x00\x00"


@spec("5.3")
def test_all_properties_at_once(channel: WireChannel) -> None:
    raw = encode_properties(EVERYTHING)
    assert raw[:2] == b"\xff\xfc"
    assert through_the_broker(channel, raw) == raw


@spec("5.3")
@pytest.mark.parametrize("name", list(EVERYTHING))
def test_each_property_alone(channel: WireChannel, name: str) -> None:
    raw = encode_properties({name: EVERYTHING[name]})
    assert through_the_broker(channel, raw) == raw


@spec("5.3")
@pytest.mark.parametrize(
    "properties",
    [
        {"content_type": ""},
        {"headers": {}},
        {"message_id": ""},
        {"correlation_id": "x" * 255},
        {"correlation_id": "日本語"},
        {"correlation_id": b"\xff\xfe not text"},
        {"priority": 0},
        {"priority": 255},
        {"timestamp": 0},
        {"timestamp": 2**63 - 1},
        {"timestamp": 2**64 - 1},
        {"reply_to": "amq.gen-not-mine"},
        {"app_id": "\x00\r\n"},
    ],
    ids=repr,
)
def test_values_at_the_edges(channel: WireChannel, properties: dict[str, Any]) -> None:
    raw = encode_properties(properties)
    assert through_the_broker(channel, raw) == raw


@spec("5.3", "delivery-mode 2 is persistent, anything else isn't")
@differs(rabbitmq="3.10", why="a delivery-mode other than 1 and 2 was 406 before messages became containers")
@pytest.mark.parametrize("mode", [0, 3, 255])
def test_an_unusual_delivery_mode(channel: WireChannel, broker: Broker, mode: int) -> None:
    raw = encode_properties({"delivery_mode": mode})
    if expect_on(broker, leveret=True, rabbitmq=False):
        assert through_the_broker(channel, raw) == raw
    else:
        channel.publish("", "q", b"x", raw_properties=raw)
        channel.expect_close(406, f"PRECONDITION_FAILED - invalid message: {{delivery_mode_unknown,{mode}}}", (60, 40))


VALUES: dict[str, Any] = {
    "t": [True, False],
    "b": [0, -128, 127],
    "B": [0, 255],
    "s": [-32768, 32767],
    "u": [0, 65535],
    "I": [0, -(2**31), 2**31 - 1],
    "i": [0, 2**32 - 1],
    "l": [0, -(2**63), 2**63 - 1],
    "f": [0.0, 1.5, -1e30],
    "d": [0.0, -0.0, 1.1, 1e300],
    "D": [Decimal(0), Decimal("1.5"), Decimal("0.00001")],
    "S": ["", "text", "日本語", b"\xff\xfe", "x" * 70_000],
    "x": [b"", b"\x00\x01\xff"],
    "T": [0, 1_700_000_000, datetime(2024, 2, 29, tzinfo=UTC)],
    "V": [None],
    "F": [{}, {"a": 1}, {"a": {"b": {"c": [1, {"d": None}]}}}],
    "A": [[], [1, "two", None, [3, [4]], {"five": 5.0}]],
}


@spec("5.3", "every field type included (t b B s u I i l f d D S A T F V x)")
@pytest.mark.parametrize("kind", list(VALUES))
def test_every_field_type_in_headers(channel: WireChannel, kind: str) -> None:
    headers = {f"{kind}-{number}": Typed(kind, value) for number, value in enumerate(VALUES[kind])}
    raw = encode_properties({"headers": headers})
    assert through_the_broker(channel, raw) == raw


@spec("5.3", "inside arrays and tables, too")
def test_every_field_type_nested(channel: WireChannel) -> None:
    every = [Typed(kind, value) for kind, values in VALUES.items() for value in values if value != "x" * 70_000]
    raw = encode_properties({"headers": {"array": every, "table": {str(number): value for number, value in enumerate(every)}}})
    assert through_the_broker(channel, raw) == raw


@spec("5.3", "floats that are no numbers: Erlang has none, so RabbitMQ can't decode them (1.8)")
@pytest.mark.parametrize(("kind", "layout"), [("f", ">f"), ("d", ">d")])
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_floats_that_are_no_numbers(channel: WireChannel, kind: str, layout: str, value: float) -> None:
    raw = encode_properties({"headers": {"a": Typed("?", kind.encode() + struct.pack(layout, value))}})
    channel.publish("", "q", b"x", raw_properties=raw)
    channel.expect_connection_close(541, re.compile("INTERNAL_ERROR.*"))


@spec("5.3", "byte for byte: the order of the keys, keys that repeat, and keys that are no text")
@pytest.mark.parametrize(
    "pairs",
    [
        b"\x01b" + value_of(1) + b"\x01a" + value_of(2),
        b"\x01a" + value_of(1) + b"\x01a" + value_of(2),
        b"\x00" + value_of("empty key"),
        b"\x02\xff\xfe" + value_of("not text"),
        b"\xff" + b"k" * 255 + value_of(True),
        b"\x01t" + b"t\x02",
        b"\x01D" + b"D\xff\x00\x00\x00\x01",
    ],
    ids=["order", "repeated", "empty", "not text", "long", "true as 2", "scale 255"],
)
def test_odd_headers_stay_as_they_were(channel: WireChannel, pairs: bytes) -> None:
    raw = b"\x20\x00" + table(pairs)
    assert through_the_broker(channel, raw) == raw


@spec("5.3", "a header as large as a frame allows")
def test_headers_that_fill_a_frame(channel: WireChannel) -> None:
    room = 131072 - 8 - 12 - 2 - 4 - 6  # frame, content header, flags, table length, key, value's type and length
    raw = encode_properties({"headers": {"": Typed("S", "x" * room)}})
    assert 12 + len(raw) == 131072 - 8
    assert through_the_broker(channel, raw) == raw


@spec("5.3", "many headers")
def test_a_thousand_headers(channel: WireChannel) -> None:
    raw = encode_properties({"headers": {f"key-{number}": number for number in range(1000)}})
    assert through_the_broker(channel, raw) == raw


@spec("5.3", "bodies are any bytes")
def test_a_body_that_looks_like_frames(channel: WireChannel) -> None:
    queue = channel.queue()
    body = b"\xce\x01\x00\x01\x00\x00\x00\x04AMQP\x00\x00\x09\x01" * 1000
    channel.publish("", queue, body)
    assert channel.take(queue).body == body


@spec("5.3", "a message fanned out is the same for all, and one consumer's copy isn't another's")
def test_a_message_in_many_queues_is_the_same_in_all(channel: WireChannel) -> None:
    raw = encode_properties(EVERYTHING)
    queues = [channel.bound_queue("amq.fanout") for _ in range(5)]
    channel.publish("amq.fanout", "", b"all", raw_properties=raw)
    for queue in queues:
        message = channel.take(queue)
        assert (message.raw_properties, message.body) == (raw, b"all")


@spec("5.3", "a redelivered message is the same, too")
def test_a_requeued_message_is_the_same(channel: WireChannel) -> None:
    raw = encode_properties(EVERYTHING)
    queue = channel.queue()
    channel.publish("", queue, b"x", raw_properties=raw)
    channel.nack(channel.take(queue, no_ack=False).tag)
    message = channel.take(queue)
    assert (message.raw_properties, message.body, message.method.redelivered) == (raw, b"x", True)

"""Content headers: scan against decode_properties, its slow twin; replacing one property leaves the others' bytes alone."""

import struct
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic

from protocol import content
from protocol.content import (
    HAS_CC,
    HAS_DIRECT_REPLY_TO,
    HAS_EXPIRATION,
    HAS_HEADERS,
    HAS_PRIORITY,
    HAS_USER_ID,
    PERSISTENT,
    MalformedProperties,
    Properties,
    decode_properties,
    encode_properties,
    scan,
    with_expiration,
    with_headers,
    with_reply_to,
)
from protocol.tables import Field, MalformedTable, table_of
from tests.protocol.test_tables import tables
from tests.spec import spec

texts = st.binary(max_size=255).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
octets = st.integers(0, 255)
kinds: dict[str, st.SearchStrategy[Any]] = {
    "headers": tables,
    "delivery_mode": octets | st.just(2),
    "priority": octets,
    "timestamp": st.integers(0, 2**64 - 1),
}
property_names = list(Properties.__slots__)
some_properties = st.builds(Properties, **{name: st.none() | kinds.get(name, texts) for name in property_names})
sizes = st.integers(0, 2**64 - 1)


def facts_of(properties: Properties) -> int:
    """What scan must find, from the decoded properties."""
    return (
        (HAS_HEADERS if properties.headers is not None else 0)
        | (HAS_PRIORITY if properties.priority is not None else 0)
        | (HAS_DIRECT_REPLY_TO if properties.reply_to == "amq.rabbitmq.reply-to" else 0)
        | (HAS_EXPIRATION if properties.expiration is not None else 0)
        | (HAS_USER_ID if properties.user_id is not None else 0)
        | (PERSISTENT if properties.delivery_mode == 2 else 0)
        | (HAS_CC if {"CC", "BCC"} & set(properties.headers or ()) else 0)
    )


def same_verdict(header: bytes) -> None:
    """scan finds the facts of the decoded properties, or both refuse."""
    try:
        expected = facts_of(decode_properties(header))
    except MalformedProperties:
        with pytest.raises(MalformedProperties):
            scan(header)
    else:
        assert scan(header) == expected


@given(some_properties, sizes)
def test_there_and_back(properties: Properties, size: int) -> None:
    header = encode_properties(properties, size)
    assert decode_properties(header) == properties
    assert encode_properties(decode_properties(header), size) == header
    assert content.body_size(header) == size
    assert header[:4] == b"\x00\x3c\x00\x00"
    same_verdict(header)


@given(some_properties)
def test_the_accessors_read_what_decode_properties_reads(properties: Properties) -> None:
    header = encode_properties(properties, 1)
    assert content.expiration(header) == properties.expiration
    assert content.reply_to(header) == properties.reply_to
    assert content.user_id(header) == properties.user_id
    assert content.priority(header) == properties.priority
    assert content.headers(header) == (properties.headers or {})


simple = st.builds(
    Basic.Properties,
    **{
        name: st.text("abc/é", min_size=1, max_size=20) | st.none()
        for name in property_names
        if name not in kinds and name not in ("type", "cluster_id")
    },
    message_type=st.text("abc", min_size=1, max_size=20) | st.none(),
    delivery_mode=st.sampled_from([None, 1, 2]),
    priority=octets | st.none(),
    headers=st.dictionaries(st.text("abc", min_size=1), st.text("xyz") | st.booleans(), min_size=1, max_size=3) | st.none(),
)


@given(simple)
def test_as_pamqp_does_it(theirs: Any) -> None:
    ours = Properties(
        **{
            name: getattr(theirs, "message_type" if name == "type" else name) or None
            for name in property_names
            if name not in ("headers", "priority")
        }
    )
    ours.priority = theirs.priority
    ours.headers = table_of(dict(sorted(theirs.headers.items()))) if theirs.headers is not None else None
    assert encode_properties(ours, 5)[12:] == theirs.marshal()


@given(some_properties, tables | st.none(), texts | st.none(), texts | st.none())
def test_replacing_one_property(properties: Properties, headers: Any, reply_to: str | None, expiration: str | None) -> None:
    header = encode_properties(properties, 77)
    assert with_headers(header, headers) == encode_properties(replace(properties, headers=headers), 77)
    assert with_reply_to(header, reply_to) == encode_properties(replace(properties, reply_to=reply_to), 77)
    assert with_expiration(header, expiration) == encode_properties(replace(properties, expiration=expiration), 77)


def test_replacing_keeps_what_it_doesn_t_know() -> None:
    """The low bits of the flags, and a header whose `true` isn't 1: bytes of the publisher, none of our business."""
    header = struct.pack(">HHQH", 60, 0, 5, 0x2003) + b"\x00\x00\x00\x04\x01kt\x07"
    assert with_reply_to(with_reply_to(header, "q"), None) == header


@pytest.mark.parametrize(
    ("properties", "facts"),
    [
        (Properties(), 0),
        (Properties(delivery_mode=2), PERSISTENT),
        (Properties(delivery_mode=1), 0),
        (Properties(delivery_mode=9), 0),
        (Properties(content_type="a", message_id="b", timestamp=1, type="t", app_id="x", cluster_id="c"), 0),
        (Properties(priority=0, expiration="", reply_to="", user_id=""), HAS_PRIORITY | HAS_EXPIRATION | HAS_USER_ID),
        (Properties(reply_to="amq.rabbitmq.reply-to"), HAS_DIRECT_REPLY_TO),
        (Properties(reply_to="amq.rabbitmq.reply-t0"), 0),
        (Properties(headers={}), HAS_HEADERS),
        (Properties(headers=table_of({"CC": ["a"]})), HAS_HEADERS | HAS_CC),
        (Properties(headers=table_of({"a": 1, "BCC": 5})), HAS_HEADERS | HAS_CC),
        (Properties(headers=table_of({"ACC": 1, "CCA": 1, "cc": 1, "d": 1.5})), HAS_HEADERS),
        (Properties(headers=table_of({"a": {"CC": ["a"]}, "b": "CC"})), HAS_HEADERS),
        (Properties(content_type="CC", headers=table_of({"f": Field("f", 1.0), "x": Field("x", b"\x02CC")})), HAS_HEADERS),
        (Properties(content_type="CC", headers=table_of({"f": Field("f", 1.0), "CC": None})), HAS_HEADERS | HAS_CC),
    ],
)
def test_facts(properties: Properties, facts: int) -> None:
    assert scan(encode_properties(properties, 10)) == facts


def header_of(flags: int, rest: bytes = b"") -> bytes:
    return struct.pack(">HHQH", 60, 0, 0, flags) + rest


@spec("1.8", "undecodable properties `[h]` 541")
@pytest.mark.parametrize(
    "header",
    [
        b"",
        header_of(0)[:12],
        header_of(0)[:13],
        header_of(0, b"z"),  # trailing
        header_of(0x8000),
        header_of(0x8000, b"\x05ab"),
        header_of(0x1000),
        header_of(0x0040, b"\x00" * 7),
        header_of(0x0004, b"\x01"),
        header_of(0x2000, b"\x00\x00\x00"),
        header_of(0x2000, b"\x00\x00\x00\x05\x01kV"),
        header_of(0x2000, b"\x00\x00\x00\x03\x01k?"),
        header_of(0x2000, b"\x00\x00\x00\x02\x01kV"),
        header_of(0x3000, b"\x00\x00\x00\x04\x01kV\x02"),  # the table takes the delivery mode
        header_of(0x2000, b"\x00\x00\x00\x0b\x01kd\x7f\xf8" + bytes(6)),  # NaN
    ],
)
def test_malformed(header: bytes) -> None:
    """[O] RabbitMQ closes with 541 for each of these."""
    with pytest.raises(MalformedProperties):
        scan(header)
    with pytest.raises(MalformedProperties):
        decode_properties(header)


@pytest.mark.parametrize("flags", [0x8001, 0x8002, 0x8003])
def test_the_low_bits_of_the_flags_mean_nothing(flags: int) -> None:
    """[O] RabbitMQ delivers such a message; a continuation of the flags it doesn't read."""
    header = header_of(flags, b"\x01x")
    assert scan(header) == 0
    assert decode_properties(header) == Properties(content_type="x")


@given(st.integers(0, 0xFFFF), st.binary(max_size=60))
def test_any_bytes_scan_or_are_malformed_and_the_twin_agrees(flags: int, rest: bytes) -> None:
    same_verdict(header_of(flags, rest))


@given(some_properties, st.data())
def test_a_damaged_header_scans_or_is_malformed_and_the_twin_agrees(properties: Properties, data: st.DataObject) -> None:
    header = bytearray(encode_properties(properties, 1))
    header[data.draw(st.integers(12, len(header) - 1))] = data.draw(octets)
    same_verdict(bytes(header))
    same_verdict(bytes(header[: data.draw(st.integers(0, len(header)))]))


@given(st.integers(0, 0xFFFF), st.binary(max_size=40))
def test_the_accessors_raise_nothing_but_malformed(flags: int, rest: bytes) -> None:
    header = header_of(flags, rest)
    for use in (
        content.expiration,
        content.reply_to,
        content.user_id,
        content.priority,
        content.headers,
        lambda given_header: with_headers(given_header, {}),
        lambda given_header: with_reply_to(given_header, None),
    ):
        try:
            use(header)
        except MalformedProperties:
            pass


@pytest.mark.parametrize("wrong", [{"priority": 256}, {"timestamp": -1}, {"message_id": "x" * 256}, {"priority": "1"}, {"app_id": 5}])
def test_what_can_t_be_encoded(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        encode_properties(Properties(**wrong), 0)


def test_headers_that_can_t_be_encoded() -> None:
    with pytest.raises(MalformedTable):
        with_headers(header_of(0), {"k": Field("b", 300)})
    with pytest.raises(ValueError):
        with_reply_to(header_of(0), "x" * 256)

"""The responses of connection.start-ok: what RabbitMQ logs in, and what it can't read (tried on 3.10.8)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import HandshakeFailed
from protocol.sasl import Credentials, MalformedResponse, parse, parse_amqplain, parse_nothing, parse_plain
from protocol.tables import Field, encode_fields, table_of
from tests.spec import spec


def test_plain() -> None:
    assert parse_plain(b"\0guest\0secret") == Credentials("guest", b"secret")
    assert parse_plain(b"\0\0") == Credentials("", b"")
    assert parse_plain(b"\0gu\xff\0\xfe") == Credentials("gu\udcff", b"\xfe")


@spec("1.3", "malformed response: no frame, closed after 3 s")
@pytest.mark.parametrize("response", [b"", b"guest", b"\0guest", b"other\0guest\0secret", b"\0guest\0secret\0", b"\0a\0b\0c"])
def test_plain_malformed(response: bytes) -> None:
    with pytest.raises(MalformedResponse) as caught:
        parse_plain(response)
    assert "secret" not in caught.value.reason


@given(st.binary().filter(lambda raw: b"\0" not in raw), st.binary().filter(lambda raw: b"\0" not in raw))
def test_plain_of_any_user_and_password(user: bytes, password: bytes) -> None:
    credentials = parse_plain(b"\0" + user + b"\0" + password)
    assert credentials.user.encode("utf-8", "surrogateescape") == user
    assert credentials.password == password


def test_amqplain() -> None:
    assert parse_amqplain(encode_fields(table_of({"LOGIN": "guest", "PASSWORD": "secret"}))) == Credentials("guest", b"secret")
    binary = {"PASSWORD": Field("x", b"\xff"), "other": Field("V", None), "LOGIN": Field("x", b"guest")}
    assert parse_amqplain(encode_fields(binary)) == Credentials("guest", b"\xff")


def test_amqplain_takes_the_first_of_two() -> None:
    first = encode_fields(table_of({"LOGIN": "guest", "PASSWORD": "secret"}))
    second = encode_fields(table_of({"LOGIN": "other", "PASSWORD": "wrong"}))
    assert parse_amqplain(first + second) == Credentials("guest", b"secret")


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"", "is missing"),
        (encode_fields(table_of({"LOGIN": "guest"})), "is missing"),
        (encode_fields(table_of({"PASSWORD": "secret"})), "is missing"),
        (encode_fields(table_of({"LOGIN": "guest", "PASSWORD": 5})), "unsupported type"),
        (encode_fields(table_of({"LOGIN": None, "PASSWORD": "secret"})), "unsupported type"),
        (b"\xff\xff", "invalid"),
        (b"\0\0\0\x09" + encode_fields(table_of({"LOGIN": "guest", "PASSWORD": "secret"})), "invalid"),  # with a length
    ],
)
def test_amqplain_malformed(response: bytes, reason: str) -> None:
    with pytest.raises(MalformedResponse, match=reason) as caught:
        parse_amqplain(response)
    assert "secret" not in caught.value.reason


def test_external_and_anonymous_say_nothing() -> None:
    parse_nothing(b"whatever")


def test_by_mechanism() -> None:
    assert parse("PLAIN", b"\0a\0b") == Credentials("a", b"b")
    assert parse("EXTERNAL", b"") is None and parse("ANONYMOUS", b"trace@example.org") is None
    with pytest.raises(HandshakeFailed, match="unsupported authentication mechanism 'plain'"):
        parse("plain", b"\0a\0b")


@given(st.sampled_from(["PLAIN", "AMQPLAIN", "EXTERNAL", "ANONYMOUS"]), st.binary(max_size=60))
def test_any_response_is_read_or_ends_the_handshake(mechanism: str, response: bytes) -> None:
    try:
        parse(mechanism, response)
    except HandshakeFailed:
        pass

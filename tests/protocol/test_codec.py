"""Method frames: every method there and back, as pamqp does it where pamqp is lossless, and RabbitMQ's errors for the rest."""

from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp.base import Frame

from protocol.codec import cannot_decode, decode_method, encode_method, encode_method_frame, numbers
from protocol.errors import ConnectionException
from protocol.methods import CLASSES, Access, Basic, Connection, Exchange, Method, Queue, arguments, ids, make
from protocol.tables import Field, table_of
from tests.protocol.test_tables import tables
from tests.spec import spec

every_method = pytest.mark.parametrize("cls", CLASSES.values(), ids=lambda cls: cls.name)

utf8 = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
any_text = st.binary(max_size=255).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
values: dict[str, st.SearchStrategy[Any]] = {
    "bit": st.booleans(),
    "octet": st.integers(0, 2**8 - 1),
    "short": st.integers(0, 2**16 - 1),
    "long": st.integers(0, 2**32 - 1),
    "longlong": st.integers(0, 2**64 - 1),
    "shortstr": utf8,
    "longstr": st.binary(max_size=300),
    "table": tables,
}
plain_tables = st.dictionaries(
    st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=40),
    st.recursive(utf8.map(str) | st.booleans() | st.none(), lambda inner: st.lists(inner, max_size=3), max_leaves=5),
    max_size=5,
)
"""What pamqp keeps: it sorts the names, and text, booleans, None and lists of them come back as they were."""


def argument_values(cls: type[Frame], **instead: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({name: instead.get(kind, values[kind]) for name, kind in arguments(cls)})


def values_of(method: Method) -> dict[str, Any]:
    return {name: getattr(method, name) for name, _ in arguments(type(method))}


def refusal(payload: bytes) -> tuple[int, str, int, int]:
    with pytest.raises(ConnectionException) as caught:
        decode_method(payload)
    error = caught.value
    return error.code, error.reply_text, error.class_id, error.method_id


def code_of(payload: bytes) -> int:
    """0 for a payload that decodes to the method that its first four bytes name, else the reply code."""
    try:
        method = decode_method(payload)
    except ConnectionException as error:
        return error.code
    assert ids(method) == (int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:4], "big"))
    return 0


def test_every_method_is_there() -> None:
    assert len(CLASSES) == 66
    assert all(ids(cls) == (index >> 16, index & 0xFFFF) for index, cls in CLASSES.items())


@every_method
@settings(max_examples=20)
@given(data=st.data())
def test_there_and_back(cls: type[Frame], data: st.DataObject) -> None:
    given_values = data.draw(argument_values(cls))
    payload = encode_method(make(cls, **given_values))
    method = decode_method(payload)
    assert type(method) is cls
    assert values_of(method) == given_values
    assert encode_method(method) == payload
    frame = encode_method_frame(7, method)
    assert frame == b"\x01\x00\x07" + len(payload).to_bytes(4, "big") + payload + b"\xce"


@pytest.mark.parametrize(
    "cls", [cls for cls in CLASSES.values() if cls not in (Access.Request, Access.RequestOk)], ids=lambda cls: cls.name
)
@settings(max_examples=20)
@given(data=st.data())
def test_as_pamqp_does_it(cls: type[Frame], data: st.DataObject) -> None:
    theirs_given = data.draw(argument_values(cls, table=plain_tables, longstr=utf8, longlong=st.integers(0, 2**63 - 1)))
    theirs = cls.__new__(cls)
    ours = make(cls)
    for name, kind in arguments(cls):
        setattr(theirs, name, theirs_given[name])
        setattr(ours, name, table_of(dict(sorted(theirs_given[name].items()))) if kind == "table" else theirs_given[name])
    with patch.object(cls, "validate", lambda self: None, create=True):
        expected = theirs.marshal()
    payload = encode_method(ours)
    assert payload[4:] == expected
    back = cls.__new__(cls)
    back.unmarshal(payload[4:])
    method = decode_method(payload)
    for name, kind in arguments(cls):
        mine, pamqp_s = getattr(method, name), getattr(back, name)
        if kind == "table":
            assert mine == table_of(pamqp_s)
        elif kind == "longstr":
            assert mine == pamqp_s.encode()
        else:
            assert mine == pamqp_s


def test_make_fills_in_nothing_but_emptiness() -> None:
    declare = make(Queue.Declare, queue="q")
    assert values_of(declare) == {
        "ticket": 0,
        "queue": "q",
        "passive": False,
        "durable": False,
        "exclusive": False,
        "auto_delete": False,
        "nowait": False,
        "arguments": {},
    }
    assert make(Queue.Declare).arguments is not make(Queue.Declare).arguments
    assert values_of(make(Connection.SecureOk)) == {"response": b""}
    with pytest.raises(TypeError, match=r"Queue\.Declare has no argument name"):
        make(Queue.Declare, name="q")


@spec("1.13", "access.request gets request-ok with ticket 1")
def test_access() -> None:
    request = decode_method(b"\x00\x1e\x00\x0a\x05/data\x1d")
    assert isinstance(request, Access.Request)
    assert values_of(request) == {"realm": "/data", "exclusive": True, "passive": False, "active": True, "write": True, "read": True}
    assert encode_method(make(Access.RequestOk, ticket=1)) == b"\x00\x1e\x00\x0b\x00\x01"


def test_names_that_pamqp_refuses() -> None:
    method = make(Exchange.Declare, exchange="sch\u00f6n & gut/*", exchange_type="x-" + "y" * 200)
    assert values_of(decode_method(encode_method(method))) == values_of(method)


def test_unused_bits_are_ignored() -> None:
    payload = encode_method(make(Basic.Get, queue="q", no_ack=True))
    assert values_of(decode_method(payload[:-1] + b"\xff")) == values_of(decode_method(payload))


@spec("1.7", "undecodable arguments `[h]` 501 `FRAME_ERROR - cannot decode <<...>>` with the method's ids")
@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b"\x00\x32\x00\x0a", "<<>>"),
        (b"\x00\x32\x00\x0a\x00\x00\x05\xffb", "<<0,0,5,255,98>>"),
        (b"\x00\x32\x00\x0a\x00\x00\x02q1\x00\x00\x00\x00\x00zz", "<<0,0,2,113,49,0,0,0,0,0,122,122>>"),  # trailing bytes
        (b"\x00\x32\x00\x0a\x00\x00\x00\x00\x00\x00\x00\x03\x01k?", "<<0,0,0,0,0,0,0,3,1,107,63>>"),  # RabbitMQ resets
        (b"\x00\x32\x00\x0a\x00\x00\x00\x00\x00\x00\x00\x09\x01kV", "<<0,0,0,0,0,0,0,9,1,107,86>>"),
    ],
)
def test_cannot_decode(payload: bytes, shown: str) -> None:
    assert refusal(payload) == (501, f"FRAME_ERROR - cannot decode {shown}", 50, 10)


def test_a_long_text_is_cut() -> None:
    payload = b"\x00\x32\x00\x0a" + b"\xff" * 100_000
    code, text, *_ = refusal(payload)
    assert code == 501
    assert len(text) == 255
    assert text == f"FRAME_ERROR - cannot decode {numbers(payload[4:])}"[:252] + "..."
    assert str(cannot_decode(payload)) == f"501 {text}"
    assert numbers(b"\x00" * 256).endswith("0>>")


@spec("1.7", "unknown class or method: Leveret sends 540 first")
def test_unknown_method() -> None:
    assert refusal(b"\x00\x32\x00\x63") == (540, "NOT_IMPLEMENTED - unknown method {50,99}", 50, 99)
    assert refusal(b"\xff\xff\x00\x0a123") == (540, "NOT_IMPLEMENTED - unknown method {65535,10}", 65535, 10)


@pytest.mark.parametrize(("payload", "shown"), [(b"", "<<>>"), (b"\x00\x32", "<<0,50>>"), (b"ab", '<<"ab">>')])
def test_no_room_for_the_ids(payload: bytes, shown: str) -> None:
    assert refusal(payload) == (501, f"FRAME_ERROR - type 1, all octets = {shown}: unknown_frame", 0, 0)


@spec("3.2", "Not UTF-8: `[h]` 501")
@pytest.mark.parametrize(
    "method",
    [
        make(Queue.Declare, queue="q\udcff"),
        make(Queue.Bind, routing_key="\udcff"),
        make(Basic.Consume, consumer_tag="\udcff"),
        make(Basic.Get, queue="\udcff"),
        make(Access.Request, realm="\udcff"),
        make(Exchange.Declare, exchange=b"\xc0\x80"),  # overlong
        make(Exchange.Declare, exchange=b"\xe0\x80\x80"),
        make(Exchange.Declare, exchange=b"\xf8\x88\x80\x80\x80"),  # five bytes
        make(Exchange.Declare, exchange=b"ok\xe2\x82"),  # cut
    ],
    ids=lambda method: method.name,
)
def test_text_that_is_not_utf8(method: Method) -> None:
    """[O] for every shortstr of every method without content, and without the method's ids."""
    assert refusal(encode_method(method)) == (501, "FRAME_ERROR - Malformed UTF-8 in shortstr", 0, 0)


@pytest.mark.parametrize("raw", [b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf7\xbf\xbf\xbf", b"\xef\xbf\xbf", b"\x00"])
def test_what_erlang_takes_for_utf8(raw: bytes) -> None:
    """[O] Surrogates, and code points above 0x10FFFF: RabbitMQ declares such queues."""
    method = decode_method(encode_method(make(Queue.Declare, queue=raw)))
    assert isinstance(method, Queue.Declare)
    assert method.queue.encode("utf-8", "surrogateescape") == raw
    assert encode_method(method) == encode_method(make(Queue.Declare, queue=raw))


@pytest.mark.parametrize("cls", [Basic.Publish, Basic.Return, Basic.Deliver, Basic.GetOk], ids=lambda cls: cls.name)
@settings(max_examples=20)
@given(data=st.data())
def test_methods_with_content_may_carry_any_bytes_as_text(cls: type[Frame], data: st.DataObject) -> None:
    given_values = data.draw(argument_values(cls, shortstr=any_text))
    assert values_of(decode_method(encode_method(make(cls, **given_values)))) == given_values


def test_text_and_bytes_are_the_same_to_the_encoder() -> None:
    assert encode_method(make(Queue.Declare, queue=b"q\xff")) == encode_method(make(Queue.Declare, queue="q\udcff"))
    assert encode_method(make(Connection.Secure, challenge="é")) == encode_method(make(Connection.Secure, challenge="é".encode()))


@pytest.mark.parametrize(
    "method",
    [
        make(Queue.Declare, queue="q" * 256),
        make(Queue.Declare, queue="é" * 128),
        make(Queue.Declare, queue=None),
        make(Queue.Declare, queue="\ud800"),
        make(Queue.Declare, ticket=-1),
        make(Queue.Declare, arguments=5),
        make(Queue.Declare, arguments={"k": Field("b", 300)}),
        make(Connection.Tune, frame_max=2**32),
        make(Connection.Tune, heartbeat="60"),
        make(Connection.Secure, challenge=None),
    ],
    ids=lambda method: str(method.name),
)
def test_what_can_t_be_encoded(method: Method) -> None:
    with pytest.raises(ValueError):
        encode_method(method)


@given(st.sampled_from([index.to_bytes(4, "big") for index in CLASSES]), st.binary(max_size=80))
def test_any_arguments_decode_or_are_refused(head: bytes, rest: bytes) -> None:
    assert code_of(head + rest) in (0, 501)


@given(st.binary(max_size=80))
def test_any_payload_decodes_or_is_refused(payload: bytes) -> None:
    assert code_of(payload) in (0, 501, 540)


@every_method
@settings(max_examples=20)
@given(data=st.data())
def test_a_damaged_method_decodes_or_is_refused(cls: type[Frame], data: st.DataObject) -> None:
    payload = bytearray(encode_method(make(cls, **data.draw(argument_values(cls)))))
    payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    assert code_of(bytes(payload[: data.draw(st.integers(0, len(payload)))])) in (0, 501, 540)

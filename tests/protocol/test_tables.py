"""Field tables: every type there and back, byte for byte, and nothing but MalformedTable for whatever else."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.tables import (
    DEPTH_MAX,
    Field,
    MalformedTable,
    Table,
    decode_fields,
    decode_table,
    encode_fields,
    encode_table,
    field,
    from_json,
    has_name,
    plain,
    skip_table,
    table_of,
    to_json,
    type_name,
    validate,
)
from tests.spec import spec


def integers(bits: int, *, signed: bool) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else st.integers(0, 2**bits - 1)


def of(kind: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Field]:
    return values.map(lambda value: Field(kind, value))


names = st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
scalars = st.one_of(
    of("t", st.booleans()),
    of("b", integers(8, signed=True)),
    of("B", integers(8, signed=False)),
    of("s", integers(16, signed=True)),
    of("u", integers(16, signed=False)),
    of("I", integers(32, signed=True)),
    of("i", integers(32, signed=False)),
    of("l", integers(64, signed=True)),
    of("L", integers(64, signed=True)),
    of("f", st.floats(width=32, allow_nan=False, allow_infinity=False)),
    of("d", st.floats(allow_nan=False, allow_infinity=False)),
    of("D", st.tuples(integers(8, signed=False), integers(32, signed=False))),
    of("S", st.binary(max_size=300)),
    of("x", st.binary(max_size=300)),
    of("T", integers(64, signed=False)),
    of("V", st.none()),
)
fields = st.recursive(
    scalars,
    lambda inner: of("A", st.lists(inner, max_size=4)) | of("F", st.dictionaries(names, inner, max_size=4)),
    max_leaves=12,
)
tables: st.SearchStrategy[Table] = st.dictionaries(names, fields, max_size=5)


def wire(*parts: bytes) -> bytes:
    """A table of the given encoded fields, with its length."""
    content = b"".join(parts)
    return struct.pack(">I", len(content)) + content


def nested(depth: int) -> bytes:
    """A table in a table in a table..., `depth` of them, with the length of the outermost."""
    content = b""
    for _ in range(depth - 1):
        content = b"\x01kF" + struct.pack(">I", len(content)) + content
    return struct.pack(">I", len(content)) + content


@spec("5.3", "every field type included (t b B s u I i l f d D S A T F V x)")
@pytest.mark.parametrize(
    ("encoded", "expected", "name"),
    [
        (b"t\x01", Field("t", True), "bool"),
        (b"t\x00", Field("t", False), "bool"),
        (b"b\xff", Field("b", -1), "byte"),
        (b"B\xff", Field("B", 255), "unsignedbyte"),
        (b"s\x80\x00", Field("s", -32768), "short"),
        (b"u\x80\x00", Field("u", 32768), "unsignedshort"),
        (b"I\xff\xff\xff\xfe", Field("I", -2), "signedint"),
        (b"i\xff\xff\xff\xfe", Field("i", 2**32 - 2), "unsignedint"),
        (b"l" + b"\xff" * 8, Field("l", -1), "long"),
        (b"L" + b"\xff" * 8, Field("L", -1), "long"),
        (b"f\x3f\xc0\x00\x00", Field("f", 1.5), "float"),
        (b"d\xbf\xf8" + bytes(6), Field("d", -1.5), "double"),
        (b"D\x02\xff\xff\xff\xff", Field("D", (2, 2**32 - 1)), "decimal"),
        (b"S\x00\x00\x00\x02\xff\x00", Field("S", b"\xff\x00"), "longstr"),
        (b"x\x00\x00\x00\x01a", Field("x", b"a"), "binary"),
        (b"A\x00\x00\x00\x03t\x01V", Field("A", [Field("t", True), Field("V", None)]), "array"),
        (b"F\x00\x00\x00\x03\x01aV", Field("F", {"a": Field("V", None)}), "table"),
        (b"T" + b"\xff" * 8, Field("T", 2**64 - 1), "timestamp"),
        (b"V", Field("V", None), "void"),
    ],
)
def test_each_type(encoded: bytes, expected: Field, name: str) -> None:
    data = wire(b"\x01k", encoded)
    table, end = decode_table(data)
    assert table == {"k": expected}
    assert type(table["k"].value) is type(expected.value)
    assert end == len(data)
    assert encode_table(table) == data
    assert type_name(table["k"]) == name
    assert skip_table(data) == len(data)


@given(tables)
def test_what_is_encoded_decodes_the_same_and_to_the_same_bytes(table: Table) -> None:
    data = encode_table(table)
    decoded, end = decode_table(b"??" + data + b"??", 2)
    assert decoded == table
    assert list(decoded) == list(table)
    assert end == 2 + len(data)
    assert encode_table(decoded) == data
    assert skip_table(b"??" + data + b"??", 2) == end
    assert decode_fields(encode_fields(table)) == table


@given(tables)
def test_the_catalog_s_json_loses_nothing(table: Table) -> None:
    document = json.loads(json.dumps(to_json(table)))
    assert encode_table(from_json(document)) == encode_table(table)


@given(tables)
def test_plain_values_are_json(table: Table) -> None:
    json.dumps(plain(table), ensure_ascii=False).encode("utf-8")


def outcome(data: bytes) -> Table | None:
    try:
        return decode_table(data)[0]
    except MalformedTable:
        return None


def passes(data: bytes) -> bool:
    try:
        skip_table(data)
    except MalformedTable:
        return False
    return True


@given(st.binary(max_size=60).map(lambda content: wire(content)) | st.binary(max_size=20))
def test_any_bytes_decode_or_are_malformed_and_the_validator_agrees(data: bytes) -> None:
    assert passes(data) == (outcome(data) is not None)


@given(tables, st.data())
def test_a_damaged_table_decodes_or_is_malformed_and_the_validator_agrees(table: Table, data: st.DataObject) -> None:
    damaged = bytearray(encode_table(table))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    for hostile in (bytes(damaged), cut):
        assert passes(hostile) == (outcome(hostile) is not None)


@pytest.mark.parametrize(
    "content",
    [
        b"\x01",  # a name that is cut
        b"\x01k",  # no type
        b"\x01k?",  # no such type
        b"\x01kI\x00\x00\x00",  # a number that is cut
        b"\x01kS\x00\x00\x00\xffabc",  # text beyond the table
        b"\x01kS\xff\xff\xff\xffabc",
        b"\x01kF\x00\x00\x00\x09\x01aV",  # a table beyond its table
        b"\x01kF\x00\x00\x00\x02\x01aV",  # a field across its table's end
        b"\x01kA\x00\x00\x00\x01I\x00\x00\x00\x01",  # an element across its array's end
        b"\x01kA\x00\x00\x00\x01s\x01kV",  # the same, and what follows would do as a field
        b"\x01kF\x00\x00\x00\x03\x01ks\x01kV",
        b"\x01kA\x00\x00\x00\x01?",
        b"\x01kd\x7f\xf0" + bytes(6),  # infinity; Erlang has none, RabbitMQ 3.10.8 refuses it [O]
        b"\x01kd\xff\xf8" + bytes(6),  # NaN
        b"\x01kf\x7f\x80\x00\x00",
        b"\x01kf\x7f\xc0\x00\x00",
    ],
)
def test_malformed(content: bytes) -> None:
    data = wire(content)
    for hostile in (data, data + b"\x00" * 300):  # what lies behind a table must not rescue it
        assert outcome(hostile) is None
        assert not passes(hostile)


def test_the_length_itself_must_be_there() -> None:
    for data in (b"", b"\x00\x00\x00", b"\x00\x00\x00\x01"):
        with pytest.raises(MalformedTable):
            decode_table(data)
        with pytest.raises(MalformedTable):
            skip_table(data)
    with pytest.raises(MalformedTable):
        decode_fields(b"abc", 2, 9)
    with pytest.raises(MalformedTable):
        validate(b"abc", 2, 1)


def test_the_largest_finite_floats_pass() -> None:
    data = wire(b"\x01ad\x7f\xef" + b"\xff" * 6, b"\x01bf\xff\x7f\xff\xff")
    assert encode_table(decode_table(data)[0]) == data
    assert passes(data)


def test_depth() -> None:
    deepest = nested(DEPTH_MAX)
    table, _ = decode_table(deepest)
    assert passes(deepest)
    assert encode_table(table) == deepest
    with pytest.raises(MalformedTable):
        encode_table({"k": Field("F", table)})
    for depth in (DEPTH_MAX + 1, 20_000):
        assert outcome(nested(depth)) is None
        assert not passes(nested(depth))


def test_depth_counts_arrays_too() -> None:
    content = b""
    for _ in range(DEPTH_MAX):
        content = b"A" + struct.pack(">I", len(content)) + content
    assert outcome(wire(b"\x01k", content)) is None
    assert not passes(wire(b"\x01k", content))
    value: Any = []
    for _ in range(DEPTH_MAX + 1):
        value = [value]
    with pytest.raises(MalformedTable):
        field(value)


def test_of_two_fields_with_one_name_the_first_counts() -> None:
    """lists:keysearch, with which RabbitMQ looks into its tables."""
    table, _ = decode_table(wire(b"\x01kB\x01", b"\x01kB\x02"))
    assert table == {"k": Field("B", 1)}


def test_any_octet_but_0_is_true() -> None:
    table, _ = decode_table(wire(b"\x01kt\x07"))
    assert table == {"k": Field("t", True)}


@given(tables)
def test_has_name_looks_at_the_table_itself_only(table: Table) -> None:
    data = encode_fields({"outer": Field("F", {"CC": Field("V", None)}), **table})
    assert has_name(data, 0, len(data), {b"CC"}) == ("CC" in table)
    data = encode_fields({**table, "CC": Field("V", None)})
    assert has_name(data, 0, len(data), {b"CC"})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, Field("t", True)),
        (5, Field("I", 5)),
        (-(2**31), Field("I", -(2**31))),
        (2**31, Field("l", 2**31)),
        (1.5, Field("d", 1.5)),
        ("é", Field("S", b"\xc3\xa9")),
        (b"\xff", Field("S", b"\xff")),
        (None, Field("V", None)),
        ((1, "a"), Field("A", [Field("I", 1), Field("S", b"a")])),
        ({"a": False}, Field("F", {"a": Field("t", False)})),
        (Field("b", 1), Field("b", 1)),
    ],
)
def test_field_of_a_python_value(value: Any, expected: Field) -> None:
    made = field(value)
    assert made == expected
    assert type(made.value) is type(expected.value)


@pytest.mark.parametrize("value", [2**63, object(), {1, 2}])
def test_no_field_for(value: Any) -> None:
    with pytest.raises(MalformedTable):
        field(value)


@pytest.mark.parametrize(
    "wrong",
    [
        Field("b", 128),
        Field("I", "5"),
        Field("T", -1),
        Field("d", float("nan")),
        Field("f", float("inf")),
        Field("f", 1e300),
        Field("S", "text"),
        Field("S", None),
        Field("D", (1,)),
        Field("D", 5),
        Field("A", 5),
        Field("F", []),
        Field("?", 5),
        Field("", b""),
        Field("Sx", b""),
        Field("é", 5),
    ],
)
def test_values_that_can_t_be_encoded(wrong: Field) -> None:
    with pytest.raises(MalformedTable):
        encode_table({"k": wrong})


def test_a_name_has_at_most_255_bytes() -> None:
    assert decode_table(encode_table({"n" * 255: Field("V", None)}))[0]
    with pytest.raises(MalformedTable):
        encode_table({"é" * 128: Field("V", None)})


def test_the_catalog_s_json_is_readable() -> None:
    table = table_of({"x-max-length": 5, "x-queue-type": "quorum"})
    assert to_json(table) == {"x-max-length": ["I", 5], "x-queue-type": ["S", "quorum"]}
    assert to_json({"k": Field("S", b"\xff")}) == {"k": ["S", {"hex": "ff"}]}


@pytest.mark.parametrize("document", [{"k": 5}, {"k": ["?", 5]}, {"k": ["S", {}]}, {"k": ["F", 5]}, {"k": ["D", [1]]}, []])
def test_other_json_is_refused(document: Any) -> None:
    with pytest.raises(MalformedTable):
        from_json(document)


def test_plain() -> None:
    table = {
        "text": Field("S", "é".encode()),
        "raw": Field("S", b"\xff"),
        "list": Field("A", [Field("D", (2, 314)), Field("V", None), Field("F", {"n": Field("l", 1)})]),
    }
    assert plain(table) == {"text": "é", "raw": "ÿ", "list": [3.14, None, {"n": 1}]}

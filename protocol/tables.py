"""Field tables with their types kept (amqp0-9-1.pdf, 4.2.5.5, in the letters that RabbitMQ uses).

pamqp's own table codec loses types (l, s and I become b), refuses text that isn't UTF-8 and recurses without end, so
this one is ours. What it accepts is what RabbitMQ accepts (rabbit_binary_parser at v3.13.7), plus a limit on depth:

- of two fields with one name the first counts, as with lists:keysearch in RabbitMQ;
- any octet but 0 is a true `t`;
- `L` is a signed 64-bit integer like `l`;
- a NaN or an infinity is malformed: Erlang has no such floats.

Whatever the bytes, decoding and validating raise `MalformedTable` or nothing.
"""

import struct
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

DEPTH_MAX: Final = 64
"""How deep tables and arrays may nest, the outermost table included. RabbitMQ has no limit; Python's stack has one."""
NAME_MAX_BYTES: Final = 255


class MalformedTable(ValueError):
    """Bytes that are no field table, or values that no field table can hold."""


class Field(NamedTuple):
    """One typed value: `kind` is the letter on the wire, `value` what it stands for.

    t bool; b s I l L signed and B u i unsigned int of 8, 16, 32, 64 bits; f d float; D (scale, unsigned int);
    S and x bytes; A list[Field]; F Table; T int (seconds since 1970, unsigned 64 bits); V None.
    """

    kind: str
    value: Any


_NOTHING: Final = Field("V", None)
_TRUE: Final = Field("t", True)
_FALSE: Final = Field("t", False)
"""An array of nothings is a byte each on the wire; objects of their own would be sixty each in memory."""

Table = dict[str, Field]
"""Names to fields, in the order on the wire. Names are UTF-8; other bytes survive as lone surrogates (PEP 383)."""

_TYPE_NAMES: Final = {
    "t": "bool",
    "b": "byte",
    "B": "unsignedbyte",
    "s": "short",
    "u": "unsignedshort",
    "I": "signedint",
    "i": "unsignedint",
    "l": "long",
    "L": "long",
    "f": "float",
    "d": "double",
    "D": "decimal",
    "S": "longstr",
    "x": "binary",
    "A": "array",
    "F": "table",
    "T": "timestamp",
    "V": "void",
}

_NUMBERS: Final = {
    letter: struct.Struct(form)
    for letter, form in {
        "b": ">b",
        "B": ">B",
        "s": ">h",
        "u": ">H",
        "I": ">i",
        "i": ">I",
        "l": ">q",
        "L": ">q",
        "f": ">f",
        "d": ">d",
        "T": ">Q",
    }.items()
}
_LENGTH: Final = struct.Struct(">I")
_DECIMAL: Final = struct.Struct(">BI")
_length_at: Final = _LENGTH.unpack_from
_decimal_at: Final = _DECIMAL.unpack_from

_BOOL, _DOUBLE, _FLOAT = b"tdf"
_STRING, _BINARY, _TABLE, _ARRAY, _VOID, _DECIMAL_KIND = b"SxFAVD"

_READERS: Final[dict[int, tuple[str, Callable[..., tuple[Any, ...]], int]]] = {
    ord(letter): (letter, form.unpack_from, 1 + form.size) for letter, form in _NUMBERS.items()
}
"""Octet of the kind to its letter, its reader, and its size with the kind's octet."""

_SIZES: Final = {**{ord(letter): 1 + form.size for letter, form in _NUMBERS.items()}, _BOOL: 2, _DECIMAL_KIND: 6, _VOID: 1}
_STEPS: Final = bytes(0 if kind in (_DOUBLE, _FLOAT) else _SIZES.get(kind, 0) for kind in range(256))
"""Octet of the kind to the size of the field with that octet; 0: of no fixed size, unknown, or a float, which needs a look."""


def fixed_size(kind: str) -> int | None:
    """How many octets a field of this kind takes, with that of its kind; None if that depends on its value, or there is no such kind."""
    return _SIZES.get(ord(kind))


def decode_table(data: bytes, offset: int = 0) -> tuple[Table, int]:
    """The table at `offset`, its four octets of length first; and the offset behind it."""
    try:
        start = offset + 4
        end = start + int(_length_at(data, offset)[0])
    except struct.error as error:
        raise MalformedTable("no room for the length of a table") from error
    return decode_fields(data, start, end), end


def decode_fields(data: bytes, start: int = 0, end: int | None = None) -> Table:
    """The table whose fields fill data[start:end], without a length in front (as AMQPLAIN sends it)."""
    stop = len(data) if end is None else end
    if not 0 <= start <= stop <= len(data):
        raise MalformedTable("a table reaches beyond the data")
    try:
        return _read_table(data, start, stop, 1)
    except (IndexError, struct.error) as error:
        raise MalformedTable("a field reaches beyond the data") from error


def _read_table(data: bytes, position: int, end: int, depth: int) -> Table:
    table: Table = {}
    while position < end:
        start = position + 1
        position = start + data[position]
        name = data[start:position].decode("utf-8", "surrogateescape")
        field_read, position = _read_field(data, position, end, depth)
        if name not in table:
            table[name] = field_read
    if position != end:
        raise MalformedTable("a field reaches beyond its table")
    return table


def _read_array(data: bytes, position: int, end: int, depth: int) -> list[Field]:
    array: list[Field] = []
    while position < end:
        element, position = _read_field(data, position, end, depth)
        array.append(element)
    if position != end:
        raise MalformedTable("an element reaches beyond its array")
    return array


def _read_field(data: bytes, position: int, end: int, depth: int) -> tuple[Field, int]:
    """The field whose kind is at `position`, and the offset behind it, which the caller holds against its own end."""
    kind = data[position]
    reader = _READERS.get(kind)
    if reader is not None:
        letter, read, step = reader
        if kind in (_DOUBLE, _FLOAT) and not _is_finite(data, position):
            raise MalformedTable("a float that is not a finite number")
        return Field(letter, read(data, position + 1)[0]), position + step
    if kind == _BOOL:
        return _TRUE if data[position + 1] else _FALSE, position + 2
    if kind == _VOID:
        return _NOTHING, position + 1
    if kind == _DECIMAL_KIND:
        return Field("D", _decimal_at(data, position + 1)), position + 6
    if kind not in (_STRING, _BINARY, _TABLE, _ARRAY):
        raise MalformedTable(f"unknown field type {kind}")
    start = position + 5
    stop = start + _length_at(data, position + 1)[0]
    if stop > end:
        raise MalformedTable("a field reaches beyond its table")
    if kind in (_STRING, _BINARY):
        return Field(chr(kind), data[start:stop]), stop
    if depth >= DEPTH_MAX:
        raise MalformedTable(f"nested deeper than {DEPTH_MAX}")
    if kind == _TABLE:
        return Field("F", _read_table(data, start, stop, depth + 1)), stop
    return Field("A", _read_array(data, start, stop, depth + 1)), stop


def _is_finite(data: bytes, position: int) -> bool:
    """Whether the float of the kind at `position` is a number: its exponent isn't all ones."""
    threshold = 0xF0 if data[position] == _DOUBLE else 0x80
    return data[position + 1] & 0x7F != 0x7F or data[position + 2] < threshold


def validate(data: bytes, start: int, end: int) -> None:
    """Raises MalformedTable unless data[start:end] decodes as the fields of a table. Builds nothing.

    A publish whose headers are new is walked by this: it takes a fifth of the time of decode_fields.
    """
    if not 0 <= start <= end <= len(data):
        raise MalformedTable("a table reaches beyond the data")
    try:
        walk(data, start, end)
    except (IndexError, struct.error) as error:
        raise MalformedTable("a field reaches beyond the data") from error


def skip_table(data: bytes, offset: int = 0) -> int:
    """Validates the table at `offset`, its four octets of length first; the offset behind it."""
    try:
        start = offset + 4
        end = start + int(_length_at(data, offset)[0])
    except struct.error as error:
        raise MalformedTable("no room for the length of a table") from error
    validate(data, start, end)
    return end


def walk(data: bytes, position: int, end: int, named: bool = True, depth: int = 1) -> None:
    """`validate` for a caller that catches IndexError and struct.error itself: they mean a malformed table too.

    Walks the fields of a table (`named`) or the elements of an array.

    Nothing is checked against `end` on the way: positions only grow, so a field that is too long is seen behind
    the loop, or it ends the data with an IndexError. Text comes first because most headers are text.
    """
    steps, length_at = _STEPS, _length_at
    while position < end:
        if named:
            position += data[position] + 1
        kind = data[position]
        if kind == 83:  # S
            position += 5 + length_at(data, position + 1)[0]
            continue
        step = steps[kind]
        if step:
            position += step
        elif kind == 70 or kind == 65:  # F, A
            start = position + 5
            position = start + length_at(data, position + 1)[0]
            if depth >= DEPTH_MAX:
                raise MalformedTable(f"nested deeper than {DEPTH_MAX}")
            walk(data, start, position, kind == 70, depth + 1)
        elif kind == 100 or kind == 102:  # d, f
            if not _is_finite(data, position):
                raise MalformedTable("a float that is not a finite number")
            position += 9 if kind == 100 else 5
        elif kind == 120:  # x
            position += 5 + length_at(data, position + 1)[0]
        else:
            raise MalformedTable(f"unknown field type {kind}")
    if position != end:
        raise MalformedTable("a field reaches beyond its table")


def has_name(data: bytes, start: int, end: int, names: Iterable[bytes]) -> bool:
    """Whether one of `names` is in the table that fills data[start:end], itself and not one nested in it.

    For a table that `validate` has passed.
    """
    position = start
    while position < end:
        first = position + 1
        position = first + data[position]
        if data[first:position] in names:
            return True
        position += _SIZES.get(data[position]) or 5 + _length_at(data, position + 1)[0]
    return False


def encode_table(table: Table) -> bytes:
    """The table with its four octets of length. Raises MalformedTable for what the wire can't hold."""
    fields = encode_fields(table)
    return _LENGTH.pack(len(fields)) + fields


def encode_fields(table: Table) -> bytes:
    """The fields alone, without the length in front."""
    out: list[bytes] = []
    try:
        _write_table(table, out, 1)
    except (struct.error, OverflowError, TypeError, AttributeError, UnicodeError) as error:
        raise MalformedTable(f"a value that its type can't hold: {error}") from error
    return b"".join(out)


def _write_table(table: Table, out: list[bytes], depth: int) -> None:
    if depth > DEPTH_MAX:
        raise MalformedTable(f"nested deeper than {DEPTH_MAX}")
    for name, (kind, value) in table.items():
        encoded = name.encode("utf-8", "surrogateescape")
        if len(encoded) > NAME_MAX_BYTES:
            raise MalformedTable("a name longer than 255 bytes")
        out.append(bytes((len(encoded),)))
        out.append(encoded)
        _write_field(kind, value, out, depth)


def _write_array(array: list[Field], out: list[bytes], depth: int) -> None:
    if depth > DEPTH_MAX:
        raise MalformedTable(f"nested deeper than {DEPTH_MAX}")
    for kind, value in array:
        _write_field(kind, value, out, depth)


def _write_field(kind: str, value: Any, out: list[bytes], depth: int) -> None:
    if kind not in _TYPE_NAMES:
        raise MalformedTable(f"unknown field type {kind!r}")
    out.append(kind.encode("ascii"))
    form = _NUMBERS.get(kind)
    if form is not None:
        number = form.pack(value)
        if kind in "df" and not _is_finite(kind.encode("ascii") + number, 0):
            raise MalformedTable("a float that is not a finite number")
        out.append(number)
    elif kind in "Sx":
        out.append(_LENGTH.pack(len(value)))
        out.append(bytes(value))
    elif kind == "t":
        out.append(b"\x01" if value else b"\x00")
    elif kind == "D":
        out.append(_DECIMAL.pack(*value))
    elif kind in "FA":
        nested: list[bytes] = []
        (_write_table if kind == "F" else _write_array)(value, nested, depth + 1)
        content = b"".join(nested)
        out.append(_LENGTH.pack(len(content)))
        out.append(content)


def type_name(field_given: Field) -> str:
    """RabbitMQ's name of the type, as its error texts have it: `longstr`, `signedint`, `void`..."""
    return _TYPE_NAMES[field_given.kind]


def field(value: Any) -> Field:
    """The field that a client would send for a Python value.

    bool t; int I, or l where 32 bits don't hold it; float d; str and bytes S; dict F; list and tuple A; None V; a Field
    is itself. Raises MalformedTable for an int beyond 64 bits, for what nests too deep and for other types.
    """
    return _field(value, 0)


def _field(value: Any, depth: int) -> Field:
    if depth >= DEPTH_MAX:
        raise MalformedTable(f"nested deeper than {DEPTH_MAX}")
    if isinstance(value, Field):
        return value
    if isinstance(value, bool):
        return Field("t", value)
    if isinstance(value, int):
        if -(2**31) <= value < 2**31:
            return Field("I", value)
        if -(2**63) <= value < 2**63:
            return Field("l", value)
        raise MalformedTable("an integer beyond 64 bits")
    if isinstance(value, float):
        return Field("d", value)
    if isinstance(value, str):
        return Field("S", value.encode("utf-8", "surrogateescape"))
    if isinstance(value, bytes | bytearray | memoryview):
        return Field("S", bytes(value))
    if value is None:
        return Field("V", None)
    if isinstance(value, dict):
        return Field("F", {str(name): _field(nested, depth + 1) for name, nested in value.items()})
    if isinstance(value, list | tuple):
        return Field("A", [_field(element, depth + 1) for element in value])
    raise MalformedTable(f"no field type for {type(value).__name__}")


def table_of(values: dict[str, Any]) -> Table:
    """A table of `field(value)` for each value."""
    return {name: field(value) for name, value in values.items()}


def text(value: bytes) -> str:
    """Bytes as text for people: UTF-8, or Latin-1 where they aren't UTF-8. Never lone surrogates, so JSON takes it."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def plain(table: Table) -> dict[str, Any]:
    """The table as JSON-friendly Python values, types dropped: text for S and x, a float for D, seconds for T."""
    return {text(name.encode("utf-8", "surrogateescape")): plain_value(value) for name, value in table.items()}


def plain_value(field_given: Field) -> Any:
    """One value as `plain` shows it."""
    kind, value = field_given
    if kind in "Sx":
        return text(value)
    if kind == "F":
        return plain(value)
    if kind == "A":
        return [plain_value(element) for element in value]
    if kind == "D":
        scale, digits = value
        return digits / 10**scale
    return value


def to_json(table: Table) -> dict[str, list[Any]]:
    """The table with its types, for the catalog: {"x-max-length": ["I", 5], "x-queue-type": ["S", "quorum"]}.

    x, and S that isn't UTF-8, stand as {"hex": "00ff"}. Nothing is lost; a name that isn't UTF-8 has lone surrogates,
    which the standard library's json keeps with ensure_ascii (its default).
    """
    return {name: _to_json(value) for name, value in table.items()}


def _to_json(field_given: Field) -> list[Any]:
    kind, value = field_given
    if kind == "F":
        return [kind, to_json(value)]
    if kind == "A":
        return [kind, [_to_json(element) for element in value]]
    if kind == "D":
        return [kind, list(value)]
    if kind == "x":
        return [kind, {"hex": value.hex()}]
    if kind == "S":
        try:
            return [kind, value.decode("utf-8")]
        except UnicodeDecodeError:
            return [kind, {"hex": value.hex()}]
    return [kind, value]


def from_json(document: dict[str, Any]) -> Table:
    """What `to_json` wrote. Raises MalformedTable for anything else."""
    try:
        return {name: _from_json(value) for name, value in document.items()}
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise MalformedTable(f"no typed table: {error}") from error


def _from_json(document: Any) -> Field:
    kind, value = document
    if kind not in _TYPE_NAMES:
        raise MalformedTable(f"unknown field type {kind!r}")
    if kind == "F":
        return Field(kind, from_json(value))
    if kind == "A":
        return Field(kind, [_from_json(element) for element in value])
    if kind == "D":
        scale, digits = value
        return Field(kind, (scale, digits))
    if kind in "Sx":
        return Field(kind, value.encode("utf-8") if isinstance(value, str) else bytes.fromhex(value["hex"]))
    if kind in "fd":
        return Field(kind, float(value))
    return Field(kind, value)

"""Method frames: payload to method and back, for every method but the few that protocol.fastcodec takes.

pamqp's command classes are the schema (argument order and types); the values are read and written here, because pamqp
loses what RabbitMQ keeps (see protocol.tables). What is refused, and with which text, is what RabbitMQ 3.10.8 does:

- arguments cut short, or followed by anything: 501 `cannot decode <<...>>` with the method's ids;
- text that isn't UTF-8, in a method without content: 501 `Malformed UTF-8 in shortstr` without ids. RabbitMQ checks it for
  every shortstr here and not only for names in declare; its UTF-8 includes surrogates and goes on up to 0x1FFFFF;
- a malformed table, and an unknown method: RabbitMQ crashes and resets; here it is 501 and 540 (contract 1.7).
"""

import re
import struct
from typing import Any, Final

from pamqp.base import Frame

from protocol.constants import FRAME_END, FRAME_ERROR, FRAME_METHOD, NOT_IMPLEMENTED, SHORTSTR_MAX_BYTES
from protocol.errors import ConnectionException
from protocol.framing import unknown_frame
from protocol.methods import CARRY_CONTENT, CLASSES, Method, arguments
from protocol.tables import MalformedTable, Table, decode_fields, encode_table

_BITS, _SHORTSTR, _LONG_RAW, _NUMBER = range(4)
_NUMBERS: Final = {"octet": struct.Struct(">B"), "short": struct.Struct(">H"), "long": struct.Struct(">I"), "longlong": struct.Struct(">Q")}
_LONG: Final = _NUMBERS["long"]
_IDS: Final = struct.Struct(">HH")
_FRAME_HEADER: Final = struct.Struct(">BHI")
_FRAME_END_BYTE: Final = bytes((FRAME_END,))

_ERLANG_UTF8: Final = re.compile(
    rb"(?:[\x00-\x7f]|[\xc2-\xdf][\x80-\xbf]|(?:\xe0[\xa0-\xbf]|[\xe1-\xef][\x80-\xbf])[\x80-\xbf]"
    rb"|(?:\xf0[\x90-\xbf]|[\xf1-\xf7][\x80-\xbf])[\x80-\xbf]{2})*+"
)
"""What xmerl_ucs:from_utf8 takes, by which RabbitMQ judges."""


class _UndecodableError(Exception):
    """The arguments don't have the method's shape."""


class _Plan:
    """How to read and write one method: worked out once per class at import."""

    __slots__ = ("check_utf8", "cls", "groups", "head", "tables", "texts")

    def __init__(self, index: int, cls: type[Frame]) -> None:
        self.cls = cls
        self.head = struct.pack(">I", index)
        self.check_utf8 = cls not in CARRY_CONTENT
        self.texts = tuple(name for name, kind in arguments(cls) if kind == "shortstr")
        self.tables = tuple(name for name, kind in arguments(cls) if kind == "table")
        self.groups = _groups(cls)


def _groups(cls: type[Frame]) -> tuple[tuple[int, Any, Any], ...]:
    """Steps in wire order: (what, attribute name or names, struct or attribute type). Adjoining bits share an octet."""
    groups: list[tuple[int, Any, Any]] = []
    for name, kind in arguments(cls):
        if kind == "bit":
            if groups and groups[-1][0] == _BITS and len(groups[-1][1]) < 8:
                groups[-1] = (_BITS, (*groups[-1][1], name), None)
            else:
                groups.append((_BITS, (name,), None))
        elif kind == "shortstr":
            groups.append((_SHORTSTR, name, None))
        elif kind in ("longstr", "table"):
            groups.append((_LONG_RAW, name, kind == "table"))
        else:
            groups.append((_NUMBER, name, _NUMBERS[kind]))
    return tuple(groups)


_PLANS: Final = {index: _Plan(index, cls) for index, cls in CLASSES.items()}
_PLANS_BY_CLASS: Final = {plan.cls: plan for plan in _PLANS.values()}


def decode_method(payload: bytes) -> Method:
    """The method in a method frame's payload.

    shortstr arguments become str (what isn't UTF-8 as lone surrogates), longstr bytes, tables protocol.tables.Table.
    Raises ConnectionException 501 or 540 as the module says, and nothing else whatever the bytes.
    """
    if len(payload) < 4:
        raise unknown_frame(FRAME_METHOD, payload)
    index = _LONG.unpack_from(payload)[0]
    plan = _PLANS.get(index)
    if plan is None:
        class_id, method_id = index >> 16, index & 0xFFFF
        raise ConnectionException(NOT_IMPLEMENTED, f"unknown method {{{class_id},{method_id}}}", class_id, method_id)
    method = plan.cls.__new__(plan.cls)
    try:
        _read_arguments(plan, method, payload)
        for name in plan.texts:
            setattr(method, name, _text(getattr(method, name), plan.check_utf8))
        for name in plan.tables:
            setattr(method, name, decode_fields(getattr(method, name)))
    except (_UndecodableError, MalformedTable, IndexError, struct.error) as error:
        raise cannot_decode(payload) from error
    return method


def cannot_decode(payload: bytes) -> ConnectionException:
    """The 501 for a method frame's payload (of four bytes or more) whose arguments don't have the method's shape."""
    class_id, method_id = _IDS.unpack_from(payload)
    return ConnectionException(FRAME_ERROR, f"cannot decode {numbers(payload[4:])}", class_id, method_id)


def _read_arguments(plan: _Plan, method: Method, payload: bytes) -> None:
    """Sets every argument, those of text and tables to their bytes: RabbitMQ looks into them when the whole has the right shape."""
    position = 4
    for what, name, extra in plan.groups:
        if what == _SHORTSTR:
            start = position + 1
            position = start + payload[position]
            setattr(method, name, payload[start:position])
        elif what == _NUMBER:
            setattr(method, name, extra.unpack_from(payload, position)[0])
            position += extra.size
        elif what == _BITS:
            octet = payload[position]
            position += 1
            for bit_name in name:
                setattr(method, bit_name, bool(octet & 1))
                octet >>= 1
        else:
            start = position + 4
            position = start + _LONG.unpack_from(payload, position)[0]
            setattr(method, name, payload[start:position])
    if position != len(payload):
        raise _UndecodableError


def _text(raw: bytes, check_utf8: bool) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        if check_utf8 and not _ERLANG_UTF8.fullmatch(raw):
            raise ConnectionException(FRAME_ERROR, "Malformed UTF-8 in shortstr") from None
        return raw.decode("utf-8", "surrogateescape")


def encode_method(method: Method) -> bytes:
    """The payload of the method's frame: class id, method id, arguments.

    Text may be str or bytes. Raises ValueError for a shortstr above 255 bytes, a number out of its range, or a value of
    another type than the argument's.
    """
    plan = _PLANS_BY_CLASS[type(method)]
    parts = [plan.head]
    try:
        for what, name, extra in plan.groups:
            if what == _SHORTSTR:
                parts.append(shortstr(getattr(method, name)))
            elif what == _NUMBER:
                parts.append(extra.pack(getattr(method, name)))
            elif what == _BITS:
                octet = 0
                for position, bit_name in enumerate(name):
                    if getattr(method, bit_name):
                        octet |= 1 << position
                parts.append(bytes((octet,)))
            else:
                parts.append(_encode_long(getattr(method, name), extra))
    except (struct.error, TypeError, AttributeError) as error:
        raise ValueError(f"{method.name}: {error}") from error
    return b"".join(parts)


def _encode_long(value: str | bytes | Table, is_table: bool) -> bytes:
    if is_table:
        return encode_table(value)  # type: ignore[arg-type]
    raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)  # type: ignore[arg-type]
    return _LONG.pack(len(raw)) + raw


def encode_method_frame(channel: int, method: Method) -> bytes:
    """The whole frame, ready to be sent on `channel`."""
    payload = encode_method(method)
    return _FRAME_HEADER.pack(FRAME_METHOD, channel, len(payload)) + payload + _FRAME_END_BYTE


def shortstr(value: str | bytes) -> bytes:
    """A shortstr with its octet of length. Raises ValueError above 255 bytes."""
    raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    if len(raw) > SHORTSTR_MAX_BYTES:
        raise ValueError(f"a shortstr of {len(raw)} bytes")
    return bytes((len(raw),)) + raw


def numbers(data: bytes) -> str:
    """Bytes as Erlang's ~w shows them, printable or not: <<0,0,5,97>>.

    A reply text is cut at 252 bytes, so it ends early, unclosed, where more could not be seen anyway.
    """
    if len(data) > 256:
        return "<<" + ",".join(map(str, data[:256])) + ","
    return "<<" + ",".join(map(str, data)) + ">>"

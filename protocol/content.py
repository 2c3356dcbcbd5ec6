"""Content headers (amqp0-9-1.pdf, 2.3.5.2; the properties of class basic): the payload of a header frame.

    class id (2)  weight (2)  body size (8)  property flags (2)  the properties that the flags announce, in flag order

Properties stay the bytes that the publisher sent. `scan` walks them once per publish and says what is worth knowing, the
accessors read one, `with_...` replace one and leave the rest as it is, byte for byte.

As in RabbitMQ, the two low bits of the flags (one would announce a second flags word) mean nothing, text may be any bytes,
and the properties must end where the header ends.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from protocol.tables import MalformedTable, Table, decode_fields, encode_table, has_name, walk

CLASS_BASIC: Final = 60
CONTENT_HEADER_MIN_BYTES: Final = 12
"""Class id, weight and body size. A shorter header frame is no header at all to RabbitMQ (501 `unknown_frame`)."""

CONTENT_TYPE: Final = 0x8000
CONTENT_ENCODING: Final = 0x4000
HEADERS: Final = 0x2000
DELIVERY_MODE: Final = 0x1000
PRIORITY: Final = 0x0800
CORRELATION_ID: Final = 0x0400
REPLY_TO: Final = 0x0200
EXPIRATION: Final = 0x0100
MESSAGE_ID: Final = 0x0080
TIMESTAMP: Final = 0x0040
TYPE: Final = 0x0020
USER_ID: Final = 0x0010
APP_ID: Final = 0x0008
CLUSTER_ID: Final = 0x0004
"""Bits of the property flags, the first property highest."""

HAS_HEADERS: Final = HEADERS
HAS_PRIORITY: Final = PRIORITY
HAS_EXPIRATION: Final = EXPIRATION
HAS_USER_ID: Final = USER_ID
PERSISTENT: Final = 0x0001
"""delivery-mode is 2."""
HAS_CC: Final = 0x0002
"""The headers have a CC or a BCC of their own (whatever its type)."""
HAS_DIRECT_REPLY_TO: Final = 0x0004
"""reply-to is DIRECT_REPLY_TO."""
DIRECT_REPLY_TO: Final = b"amq.rabbitmq.reply-to"
"""The pseudo-queue of direct reply-to (https://www.rabbitmq.com/docs/direct-reply-to)."""

_FACTS: Final = HAS_HEADERS | HAS_PRIORITY | HAS_EXPIRATION | HAS_USER_ID
_SENDERS_KEYS: Final = frozenset((b"CC", b"BCC"))
_OCTET_PROPERTIES: Final = DELIVERY_MODE | PRIORITY
_PROPERTIES_START: Final = 14
_HEAD: Final = struct.Struct(">HHQ")
_FLAGS: Final = struct.Struct(">H")
_TIMESTAMP: Final = struct.Struct(">Q")
_LENGTH: Final = struct.Struct(">I")
_length_at: Final = _LENGTH.unpack_from


class MalformedProperties(ValueError):
    """A content header whose properties don't add up. RabbitMQ answers 541 (contract 1.8)."""


@dataclass(slots=True)
class Properties:
    """The properties of class basic; None is an absent one, which is not the same as an empty one.

    `timestamp` is in seconds since 1970, `expiration` the text that was sent (milliseconds if it is valid).
    """

    content_type: str | None = None
    content_encoding: str | None = None
    headers: Table | None = None
    delivery_mode: int | None = None
    priority: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    message_id: str | None = None
    timestamp: int | None = None
    type: str | None = None
    user_id: str | None = None
    app_id: str | None = None
    cluster_id: str | None = None


_NAMES: Final = tuple((name, 0x8000 >> position) for position, name in enumerate(Properties.__slots__))


def scan(header: bytes) -> int:
    """The facts about a header payload, as the bits PERSISTENT and HAS_...; raises MalformedProperties.

    This runs on each publish whose header differs from the one before. Plain tests in groups are the quickest of what was
    measured: a cached tuple of steps per flags word costs more than the tests it saves.
    No step looks whether it passes the end: the offset only grows, so the last comparison or an IndexError shows it.
    """
    try:
        flags = header[12] << 8 | header[13]
        facts = flags & 0x2910  # _FACTS, as a literal
        end = 14
        if flags & 0xE000:
            if flags & 0x8000:
                end += header[end] + 1
            if flags & 0x4000:
                end += header[end] + 1
            if flags & 0x2000:
                start = end + 4
                end = start + _length_at(header, end)[0]
                walk(header, start, end)
                if b"CC" in header and has_name(header, start, end, _SENDERS_KEYS):
                    facts |= 0x0002
        if flags & 0x1000:
            if header[end] == 2:
                facts |= 0x0001
            end += 1
        if flags & 0x0F00:
            if flags & 0x0800:
                end += 1
            if flags & 0x0400:
                end += header[end] + 1
            if flags & 0x0200:
                if header[end] == 21 and header[end + 1 : end + 22] == DIRECT_REPLY_TO:
                    facts |= 0x0004
                end += header[end] + 1
            if flags & 0x0100:
                end += header[end] + 1
        if flags & 0x0080:
            end += header[end] + 1
        if flags & 0x007C:
            if flags & 0x0040:
                end += 8
            if flags & 0x0020:
                end += header[end] + 1
            if flags & 0x0010:
                end += header[end] + 1
            if flags & 0x0008:
                end += header[end] + 1
            if flags & 0x0004:
                end += header[end] + 1
    except (IndexError, struct.error, MalformedTable) as error:
        raise MalformedProperties(f"undecodable properties: {error}") from error
    if end != len(header):
        raise MalformedProperties("the properties don't end with the header")
    return facts


def property_flags(header: bytes) -> int:
    """The 16-bit flags word: which properties are there."""
    try:
        return int(_FLAGS.unpack_from(header, 12)[0])
    except struct.error as error:
        raise MalformedProperties("no property flags") from error


def body_size(header: bytes) -> int:
    """The size in bytes that the header announces for the body."""
    try:
        return int(_HEAD.unpack_from(header)[2])
    except struct.error as error:
        raise MalformedProperties("no body size") from error


def _size(header: bytes, position: int, bit: int) -> int:
    """The size in bytes of the property with the flag `bit` at `position`."""
    if bit & _OCTET_PROPERTIES:
        return 1
    if bit == HEADERS:
        return 4 + int(_length_at(header, position)[0])
    if bit == TIMESTAMP:
        return 8
    return 1 + header[position]


def _place(header: bytes, flags: int, wanted: int) -> tuple[int, int]:
    """Where the property with the flag `wanted` starts and ends; if it isn't there, both are where it would start."""
    position = _PROPERTIES_START
    bit = CONTENT_TYPE
    try:
        while bit > wanted:
            if flags & bit:
                position += _size(header, position, bit)
            bit >>= 1
        end = position + _size(header, position, wanted) if flags & wanted else position
    except (IndexError, struct.error) as error:
        raise MalformedProperties("a property reaches beyond the header") from error
    if end > len(header):
        raise MalformedProperties("a property reaches beyond the header")
    return position, end


def place_of_headers(header: bytes) -> tuple[int, int]:
    """Where the headers start (with the length of their table) and end; if there are none, both are where they would start."""
    return _place(header, property_flags(header), HEADERS)


def _raw(header: bytes, bit: int) -> bytes | None:
    """The bytes of one property, its length included; None if it isn't there."""
    flags = property_flags(header)
    if not flags & bit:
        return None
    start, end = _place(header, flags, bit)
    return header[start:end]


def _replace(header: bytes, bit: int, value: bytes | None) -> bytes:
    """The header with one property put in, replaced or (None) taken out."""
    flags = property_flags(header)
    start, end = _place(header, flags, bit)
    flags = flags & ~bit if value is None else flags | bit
    return b"".join((header[:12], _FLAGS.pack(flags), header[_PROPERTIES_START:start], value or b"", header[end:]))


def _text(raw: bytes) -> str:
    return raw[1:].decode("utf-8", "surrogateescape")


def _text_of(header: bytes, bit: int) -> str | None:
    raw = _raw(header, bit)
    return None if raw is None else _text(raw)


def _shortstr(text: str | bytes) -> bytes:
    raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    if len(raw) > 255:
        raise ValueError(f"a shortstr of {len(raw)} bytes")
    return bytes((len(raw),)) + raw


def _headers(raw: bytes) -> Table:
    return decode_fields(raw, 4)


# The accessors are for headers that `scan` has passed; on others they raise MalformedProperties at most.


def expiration(header: bytes) -> str | None:
    """The expiration as it was sent; None if there is none."""
    return _text_of(header, EXPIRATION)


def reply_to(header: bytes) -> str | None:
    """The reply-to; None if there is none."""
    return _text_of(header, REPLY_TO)


def user_id(header: bytes) -> str | None:
    """The user-id that the publisher claims; None if there is none."""
    return _text_of(header, USER_ID)


def correlation_id(header: bytes) -> str | None:
    """The correlation-id; None if there is none."""
    return _text_of(header, CORRELATION_ID)


def message_id(header: bytes) -> str | None:
    """The message-id; None if there is none."""
    return _text_of(header, MESSAGE_ID)


def timestamp(header: bytes) -> int | None:
    """The timestamp in seconds since 1970; None if there is none."""
    raw = _raw(header, TIMESTAMP)
    return None if raw is None else int(_TIMESTAMP.unpack(raw)[0])


def priority(header: bytes) -> int | None:
    """The priority, 0 to 255; None if there is none."""
    raw = _raw(header, PRIORITY)
    return None if raw is None else raw[0]


def headers(header: bytes) -> Table:
    """The headers; an empty table if there are none."""
    raw = _raw(header, HEADERS)
    if raw is None:
        return {}
    try:
        return _headers(raw)
    except MalformedTable as error:
        raise MalformedProperties(str(error)) from error


def with_headers(header: bytes, table: Table | None) -> bytes:
    """The header payload with other headers, put in if it had none; None takes them out, {} leaves an empty table.

    Raises MalformedTable for a table that can't be encoded.
    """
    return _replace(header, HEADERS, None if table is None else encode_table(table))


def with_reply_to(header: bytes, text: str | None) -> bytes:
    """The header payload with another reply-to; None takes it out. Raises ValueError above 255 bytes."""
    return _replace(header, REPLY_TO, None if text is None else _shortstr(text))


def with_expiration(header: bytes, text: str | None) -> bytes:
    """The header payload with another expiration; None takes it out, as dead-lettering does."""
    return _replace(header, EXPIRATION, None if text is None else _shortstr(text))


_READ: Final[dict[int, Callable[[bytes], Any]]] = {
    HEADERS: _headers,
    DELIVERY_MODE: lambda raw: raw[0],
    PRIORITY: lambda raw: raw[0],
    TIMESTAMP: lambda raw: _TIMESTAMP.unpack(raw)[0],
}
_WRITE: Final[dict[int, Callable[[Any], bytes]]] = {
    HEADERS: encode_table,
    DELIVERY_MODE: lambda value: bytes((value,)),
    PRIORITY: lambda value: bytes((value,)),
    TIMESTAMP: _TIMESTAMP.pack,
}


def decode_properties(header: bytes) -> Properties:
    """All the properties of a header payload. Raises MalformedProperties exactly where `scan` does."""
    flags = property_flags(header)
    properties = Properties()
    position = _PROPERTIES_START
    try:
        for name, bit in _NAMES:
            if flags & bit:
                end = position + _size(header, position, bit)
                if end > len(header):
                    raise MalformedProperties("a property reaches beyond the header")
                setattr(properties, name, _READ.get(bit, _text)(header[position:end]))
                position = end
    except (IndexError, struct.error, MalformedTable) as error:
        raise MalformedProperties(f"undecodable properties: {error}") from error
    if position != len(header):
        raise MalformedProperties("the properties don't end with the header")
    return properties


def encode_properties(properties: Properties, body_size: int) -> bytes:
    """The payload of a header frame. Raises ValueError for a value that doesn't fit (MalformedTable for headers)."""
    flags = 0
    parts = []
    try:
        for name, bit in _NAMES:
            value = getattr(properties, name)
            if value is not None:
                flags |= bit
                parts.append(_WRITE.get(bit, _shortstr)(value))
        return b"".join((_HEAD.pack(CLASS_BASIC, 0, body_size), _FLAGS.pack(flags), *parts))
    except (struct.error, TypeError, AttributeError) as error:
        raise ValueError(f"a property that doesn't fit: {error}") from error

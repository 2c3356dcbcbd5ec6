"""Frames: where one ends, and what is wrong with it (specification 4.2.3; contract 1.7).

    0      1         3             7                  size+7      size+8
    +------+---------+-------------+-------------------+-----------+
    | type | channel | size        | payload           | frame-end |
    +------+---------+-------------+-------------------+-----------+
      octet  short     long          size octets         0xCE

The texts are those of rabbit_reader.erl: `type 3, all octets = <<"abc">>: {invalid_frame_end_marker,0}`.
"""

from struct import Struct

from protocol.constants import FRAME_BODY, FRAME_END, FRAME_ERROR, FRAME_OVERHEAD_BYTES
from protocol.erlang import binary
from protocol.errors import ConnectionException, FramingException

frame_header = Struct(">BHI")
FRAME_HEADER_BYTES = 7
END = b"\xce"
SNIPPET_BYTES = 16


def encode_frame(kind: int, channel: int, payload: bytes) -> bytes:
    """One whole frame."""
    return b"%b%b\xce" % (frame_header.pack(kind, channel, len(payload)), payload)


def encode_body_frames(channel: int, body: bytes, payload_max: int) -> bytes:
    """The body frames of one content: none for an empty body, else pieces of up to `payload_max` bytes."""
    size = len(body)
    if size <= payload_max:
        return b"%b%b\xce" % (frame_header.pack(FRAME_BODY, channel, size), body) if size else b""
    view = memoryview(body)
    pieces: list[bytes | memoryview] = []
    for start in range(0, size, payload_max):
        piece = view[start : start + payload_max]
        pieces += (frame_header.pack(FRAME_BODY, channel, len(piece)), piece, END)
    return b"".join(pieces)


def too_large(kind: int, size: int, frame_max: int) -> FramingException:
    """The payload is announced larger than `frame_max`; the header alone tells."""
    limit = frame_max - FRAME_OVERHEAD_BYTES
    return FramingException(FRAME_ERROR, f"type {kind}, all octets = <<>>: {{frame_too_large,{size},{limit}}}")


def bad_end(kind: int, payload: bytes, end: int) -> FramingException:
    """The byte after the payload isn't the frame-end marker."""
    assert end != FRAME_END
    return FramingException(FRAME_ERROR, f"{describe(kind, payload)}: {{invalid_frame_end_marker,{end}}}")


def unknown_frame(kind: int, payload: bytes) -> ConnectionException:
    """No such frame type, or a payload that can't be of its type; the stream is still in step."""
    return ConnectionException(FRAME_ERROR, f"{describe(kind, payload)}: unknown_frame")


def describe(kind: int, payload: bytes) -> str:
    """RabbitMQ's way to name a frame in a text."""
    if len(payload) > SNIPPET_BYTES:
        return f"type {kind}, first {SNIPPET_BYTES} octets = {binary(payload[:SNIPPET_BYTES])}"
    return f"type {kind}, all octets = {binary(payload)}"


def looks_like(data: bytes) -> str:
    """What a peer that doesn't speak AMQP 0-9-1 seems to speak, for the log."""
    if data[:4] == b"AMQP":
        return f"bad protocol header {data[:8]!r}: this server speaks AMQP 0-9-1 only"
    if data[:3] in (b"\x16\x03\x00", b"\x16\x03\x01", b"\x16\x03\x02", b"\x16\x03\x03"):
        return "the client speaks TLS to a port without TLS"
    if data.split(b" ", 1)[0] in (b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT"):
        return "the client speaks HTTP to an AMQP port"
    return f"bad protocol header {data[:8]!r}"

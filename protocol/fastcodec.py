"""The frames that every message needs, encoded by hand: deliver, get-ok, return, and confirms.

pamqp costs 8 us a frame; here a delivery costs what one bytes concatenation costs. The trick is that exchange and routing
key travel through the broker in wire form (`routing`, see protocol/events.py), and that consecutive deliveries to one
consumer mostly share everything but the tag and the body:

    head     frame header, class and method, consumer tag           same for one routing
    tag      8 octets                                               counts up
    tail     redelivered, routing, frame-end, header frame,         same for one routing and header
             header of the body frame
    body     the body and the frame-end
"""

from collections.abc import Sequence
from struct import Struct

from protocol.constants import FRAME_BODY, FRAME_HEADER, FRAME_METHOD, FRAME_OVERHEAD_BYTES
from protocol.events import Message
from protocol.framing import END, encode_body_frames, frame_header

PUBLISH = b"\x00\x3c\x00\x28"
RETURN = b"\x00\x3c\x00\x32"
DELIVER = b"\x00\x3c\x00\x3c"
GET_OK = b"\x00\x3c\x00\x47"
ACK = b"\x00\x3c\x00\x50"
REJECT = b"\x00\x3c\x00\x5a"
NACK = b"\x00\x3c\x00\x78"

u16 = Struct(">H")
u32 = Struct(">I")
u64 = Struct(">Q")
ack_frame = Struct(">11sQBB")
"""Frame header and ids, delivery tag, multiple, frame-end: a whole basic.ack."""
ACK_FRAME_BYTES = 21
ACK_PAYLOAD_BYTES = 13
NACK_PAYLOAD_BYTES = 13
content_frame_header = Struct(">BHIHHQ")
"""Frame header (type, channel, size) and the fixed part of a content header: class, weight, body size."""

pack_tag = u64.pack


def encode_ack(channel: int, tag: int, multiple: bool) -> bytes:
    """The frame of basic.ack."""
    return frame_header.pack(FRAME_METHOD, channel, ACK_PAYLOAD_BYTES) + ACK + pack_tag(tag) + (b"\x01\xce" if multiple else b"\x00\xce")


def encode_nack(channel: int, tag: int) -> bytes:
    """The frame of basic.nack for one tag; requeue is meaningless to a publisher and 0, as RabbitMQ sends it."""
    return frame_header.pack(FRAME_METHOD, channel, NACK_PAYLOAD_BYTES) + NACK + pack_tag(tag) + b"\x00\xce"


def encode_content(channel: int, method: bytes, header: bytes, body: bytes, payload_max: int) -> bytes:
    """Method, header and body frames of one content, from payloads."""
    return b"%b%b\xce%b%b\xce%b" % (
        frame_header.pack(FRAME_METHOD, channel, len(method)),
        method,
        frame_header.pack(FRAME_HEADER, channel, len(header)),
        header,
        encode_body_frames(channel, body, payload_max),
    )


def encode_get_ok(tag: int, redelivered: bool, routing: bytes, message_count: int) -> bytes:
    """The payload of basic.get-ok."""
    return GET_OK + pack_tag(tag) + (b"\x01" if redelivered else b"\x00") + routing + u32.pack(message_count)


def encode_return(code: int, text: str, routing: bytes) -> bytes:
    """The payload of basic.return."""
    encoded = text.encode()
    return b"%b%b%c%b%b" % (RETURN, u16.pack(code), len(encoded), encoded, routing)


class Deliveries:
    """The encoder of one consumer's deliveries (protocol.events.DeliveryEncoder)."""

    __slots__ = (
        "_channel",
        "_head",
        "_header",
        "_output",
        "_payload_max",
        "_prefix",
        "_redelivered",
        "_routing",
        "_size",
        "_tail",
        "_wire",
    )

    def __init__(self, wire: "Output", channel: int, consumer_tag: str, frame_max: int) -> None:
        tag = consumer_tag.encode("utf-8", "surrogateescape")
        self._wire = wire
        self._output = wire.output
        self._channel = channel
        self._prefix = DELIVER + bytes((len(tag),)) + tag
        self._payload_max = frame_max - FRAME_OVERHEAD_BYTES
        self._routing = self._header = self._head = self._tail = b""
        self._redelivered = False
        self._size = -1

    def encode(self, tag: int, redelivered: bool, messages: Sequence[Message], limit_bytes: int) -> int:
        """See DeliveryEncoder."""
        write, pack = self._output.append, pack_tag
        routing, header, head, tail, size = self._routing, self._header, self._head, self._tail, self._size
        if redelivered is not self._redelivered:
            self._redelivered, routing, header = redelivered, b"", b""
        first, counted, written = tag, tag, 0
        # Like messages are of one size, so how many of them fit is known before the first.
        stop = tag + limit_bytes // (len(head) + len(tail) + max(size, 0) + 9) + 1
        for _, message_routing, message_header, body in messages:
            if message_header is not header or message_routing is not routing:
                written += (tag - counted) * (len(head) + len(tail) + size + 9)
                counted = tag
                if written > limit_bytes:
                    break
                routing, header, size = message_routing, message_header, len(body)
                head = frame_header.pack(FRAME_METHOD, self._channel, len(self._prefix) + 9 + len(routing)) + self._prefix
                tail = self._build_tail(routing, header, size)
                stop = tag + (limit_bytes - written) // (len(head) + len(tail) + size + 9) + 1
            elif tag == stop:
                break
            if 0 < size <= self._payload_max:
                write(head + pack(tag) + tail + body + END)
            else:
                write(head + pack(tag) + tail)
                if size:
                    write(encode_body_frames(self._channel, body, self._payload_max))
            tag += 1
        written += (tag - counted) * (len(head) + len(tail) + size + 9)
        self._routing, self._header, self._head, self._tail, self._size = routing, header, head, tail, size
        self._wire.wrote(written)
        return tag - first

    def _build_tail(self, routing: bytes, header: bytes, size: int) -> bytes:
        tail = b"%c%b\xce%b%b\xce" % (self._redelivered, routing, frame_header.pack(FRAME_HEADER, self._channel, len(header)), header)
        if 0 < size <= self._payload_max:
            tail += frame_header.pack(FRAME_BODY, self._channel, size)
        return tail


class Output:
    """Frames on their way out; joined into one write at the end of the turn."""

    __slots__ = ("output", "output_bytes")

    def __init__(self) -> None:
        self.output: list[bytes] = []
        self.output_bytes = 0

    def wrote(self, size: int) -> None:
        """`size` more bytes stand in `output`."""
        self.output_bytes += size

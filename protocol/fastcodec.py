"""The frames that every message needs, encoded by hand: deliver, get-ok, return, and confirms.

pamqp costs 8 us a frame; here a delivery costs what it costs to put its pieces on a list. The trick is that exchange and routing
key travel through the broker in wire form (`routing`, see protocol/events.py), and that consecutive deliveries to one
consumer mostly share everything but the tag, the header and the body:

    head     frame header, class and method, consumer tag           same for one routing
    tag      8 octets                                               counts up
    before   redelivered, routing, frame-end, frame header          same for one routing and size of the header
    header   the payload of the header frame                        often the same
    after    frame-end, frame header of the body                    same for one size of the body
    body     the body, and a frame-end
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
NACK = b"\x00\x3c\x00\x78"

u16 = Struct(">H")
u32 = Struct(">I")
u64 = Struct(">Q")
ack_frame = Struct(">11sQBB")
"""Frame header and ids, delivery tag, multiple, frame-end: a whole basic.ack."""
ACK_FRAME_BYTES = 21
ACK_PAYLOAD_BYTES = 13
NACK_PAYLOAD_BYTES = 13
header_start = Struct(">BHIIQ")
"""Of a header frame: type, channel, size; class and weight as one number, body size."""

HEADS_MAX = 32
"""Routings, and sizes of headers, that a consumer's encoder remembers: there may be many consumers."""

pack_tag, pack_frame_header = u64.pack, frame_header.pack


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


def encode_deliver(consumer_tag: str, tag: int, routing: bytes) -> bytes:
    """The payload of basic.deliver, not redelivered."""
    name = consumer_tag.encode("utf-8", "surrogateescape")
    return b"%b%c%b%b\0%b" % (DELIVER, len(name), name, pack_tag(tag), routing)


def encode_get_ok(tag: int, redelivered: bool, routing: bytes, message_count: int) -> bytes:
    """The payload of basic.get-ok."""
    return GET_OK + pack_tag(tag) + (b"\x01" if redelivered else b"\x00") + routing + u32.pack(message_count)


def encode_return(code: int, text: str, routing: bytes) -> bytes:
    """The payload of basic.return."""
    encoded = text.encode()
    return b"%b%b%c%b%b" % (RETURN, u16.pack(code), len(encoded), encoded, routing)


class Deliveries:
    """The encoder of one consumer's deliveries (protocol.events.DeliveryEncoder).

    Messages are of one *shape* if routing, length of the header payload and body size are the same: then only the tag, the
    header and the body differ from one delivery to the next, and `head`, `before` and `after` stand round them.
    """

    __slots__ = (
        "_channel", "_header_size", "_heads", "_output", "_payload_max", "_prefix", "_redelivered", "_routing", "_shape", "_size", "_wire",
    )  # fmt: skip

    def __init__(self, wire: "Output", channel: int, consumer_tag: str, frame_max: int) -> None:
        tag = consumer_tag.encode("utf-8", "surrogateescape")
        self._wire = wire
        self._output = wire.output
        self._channel = channel
        self._prefix = DELIVER + bytes((len(tag),)) + tag
        self._payload_max = frame_max - FRAME_OVERHEAD_BYTES
        self._redelivered = False
        self._routing: bytes | None = None
        self._header_size = self._size = 0
        self._shape = (b"", b"", b"", 1)
        """What stands before the tag, between tag and header, and between header and body; the size of the whole delivery."""
        self._heads: dict[tuple[bytes, int], tuple[bytes, bytes, int]] = {}
        """What stands before the tag, and between tag and header, by routing and size of the header; and how big all but the body is."""

    def encode(self, tag: int, redelivered: bool, messages: Sequence[Message], limit_bytes: int) -> int:
        """See DeliveryEncoder."""
        output, pack, payload_max = self._output, pack_tag, self._payload_max
        if redelivered is not self._redelivered:
            self._redelivered, self._routing = redelivered, None
            self._heads.clear()
        routing, size, header_size = self._routing, self._size, self._header_size
        heads, channel = self._heads, self._channel
        head, before, after, whole = self._shape
        first = counted = tag
        # Messages of one shape are of one size, so how many of them may go out is known before the first.
        written, stop = 0, tag + limit_bytes // whole + 1
        for _, message_routing, header, body in messages:
            if message_routing is not routing or len(header) != header_size or len(body) != size:
                written += (tag - counted) * whole
                counted = tag
                if written > limit_bytes:
                    break
                routing, header_size, size = message_routing, len(header), len(body)
                head, before, whole = heads.get((routing, header_size)) or self._new_head(routing, header_size)
                after = END + pack_frame_header(FRAME_BODY, channel, size) if 0 < size <= payload_max else END
                whole += len(after) + size
                stop = tag + (limit_bytes - written) // whole + 1
            if tag == stop:
                break
            # In pieces: they are joined, and so copied, once for the whole turn.
            if 0 < size <= payload_max:
                output += (head, pack(tag), before, header, after, body, END)
            elif size:
                output += (head, pack(tag), before, header, after, encode_body_frames(channel, body, payload_max))
            else:
                output += (head, pack(tag), before, header, after)
            tag += 1
        written += (tag - counted) * whole
        self._routing, self._header_size, self._size = routing, header_size, size
        self._shape = head, before, after, whole
        self._wire.wrote(written)
        return tag - first

    def _new_head(self, routing: bytes, header_size: int) -> tuple[bytes, bytes, int]:
        """See `_heads`."""
        channel, prefix = self._channel, self._prefix
        head = pack_frame_header(FRAME_METHOD, channel, len(prefix) + 9 + len(routing)) + prefix
        before = b"%c%b\xce%b" % (self._redelivered, routing, pack_frame_header(FRAME_HEADER, channel, header_size))
        if len(self._heads) >= HEADS_MAX:
            self._heads.clear()
        self._heads[routing, header_size] = found = head, before, len(head) + len(before) + header_size + 9
        return found


class Output:
    """Frames on their way out; joined into one write at the end of the turn."""

    __slots__ = ("output", "output_bytes")

    def __init__(self) -> None:
        self.output: list[bytes] = []
        self.output_bytes = 0

    def wrote(self, size: int) -> None:
        """`size` more bytes stand in `output`."""
        self.output_bytes += size

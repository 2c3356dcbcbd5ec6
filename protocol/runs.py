"""Frames that are like the ones before them, read a run at a time: what makes a busy connection fast.

    template      The method frame, header frame and body-frame header of the last publish, when it was like the one before:
                  as long as the bytes repeat, nothing is parsed, one `startswith` and one slice a message.
    method frame  Where headers and bodies differ (a message_id each) the method frame is mostly the last one, or else one that
                  was there before (another key, another channel): it is looked up and not parsed. What a header frame begins with
                  says how long everything is, so only that is read.
    acks          A run of single acks is unpacked in one go.

Each of them is only a shorter way to what `_frame` does frame by frame, and gives up, changing nothing, wherever the
bytes are not exactly what it expects.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar

from protocol import codec
from protocol.assembly import BASIC, ChannelInput, Content
from protocol.constants import FRAME_BODY, FRAME_END, FRAME_HEADER, FRAME_OVERHEAD_BYTES
from protocol.content import CONTENT_HEADER_MIN_BYTES
from protocol.events import Events, PublishMethod, Tuning
from protocol.fastcodec import ACK_FRAME_BYTES, ack_frame, header_start
from protocol.framing import END, FRAME_HEADER_BYTES, frame_header
from protocol.replies import Replies

SHAPE_BYTES = FRAME_HEADER_BYTES + CONTENT_HEADER_MIN_BYTES
"""What says how long the parts of a publish are: a header frame up to the body size."""
KNOWN_MAX = 2048
"""Method frames that a connection remembers; past it they are all forgotten."""
SHAPES_MAX = 512
"""Shapes of publishes that a connection remembers; others are measured each time, for who sends so many may go on sending others."""
KNOWN_FRAME_MAX = 255 + FRAME_OVERHEAD_BYTES
"""Of a method frame that is remembered: its last size octet alone says how long it is."""
RUN_MAX = 1024
"""Messages in one run at most: keeps the budget's grain fine."""
Shape = tuple[int, int, int, int, bytes]
"""Of a publish with one body frame: its channel; then, counted from its header frame, where the header ends, the body begins and all of it
ends; and the octets between header and body."""
INCOMPLETE = -1
"""In place of a cost: more bytes must come first."""
NOT_SO = -2
"""In place of a cost: the shorter way doesn't fit, nothing was read."""


class Runs(Replies):
    """See the module. What has been read and not been heard is `_buffer`, from `_at` on."""

    __slots__ = (
        "_at", "_body_max", "_body_size", "_buffer", "_channels", "_cost_each", "_events", "_header", "_known", "_publishing", "_shapes",
        "_template", "_unfinished",
    )  # fmt: skip

    known_type: ClassVar[type[dict[bytes, PublishMethod]]] = dict

    def __init__(self, events: Events, tuning: Tuning, output_ready: Callable[[], None]) -> None:
        super().__init__(tuning, output_ready)
        self._events = events
        self._body_max = 0
        self._buffer = b""
        self._at = 0
        self._channels: dict[int, ChannelInput] = {}
        self._template = self._header = b""
        self._publishing: PublishMethod | None = None
        """The last publish's."""
        self._known = self.known_type()
        """Method frames of publishes, on channels that are open."""
        self._shapes: dict[bytes, Shape] = {}
        self._unfinished = 0
        """Channels with a content that is still coming in."""
        self._body_size = 0
        self._cost_each = 1

    # --- publishes ---------------------------------------------------------------------------------------------------

    def _publish(self, channel: ChannelInput, number: int, payload: bytes, after: int) -> int:
        """basic.publish: take note of its method frame, and read the content at once if it is there."""
        frame = self._buffer[self._at : after]
        method = self._known.get(frame)
        if method is None:
            method = PublishMethod(frame, number, *_split_publish(payload))
            if len(frame) <= KNOWN_FRAME_MAX:
                if len(self._known) >= KNOWN_MAX:
                    self._known.clear()
                self._known[frame] = method
        if method is not self._publishing:
            self._template, self._header, self._publishing = b"", b"", method
        cost = self._publish_run(1)
        if cost == NOT_SO:
            self._at, self._template = after, b""
            channel.content = Content(method.routing, method.bits)
            self._unfinished += 1
            return 0
        return cost

    def _template_run(self, budget: int) -> int:
        """Publishes that are byte for byte the last one but for the body.

        Returns the cost, INCOMPLETE if not even one is whole, or NOT_SO.
        """
        buffer, at, template = self._buffer, self._at, self._template
        size, body_at, whole = len(buffer), len(template), len(template) + self._body_size + 1
        limit = min(RUN_MAX, budget // self._cost_each + 1)
        startswith = buffer.startswith
        bodies: list[bytes] = []
        while size - at >= whole and startswith(template, at) and len(bodies) < limit:
            end = at + whole
            if buffer[end - 1] != FRAME_END:
                break
            bodies.append(buffer[at + body_at : end - 1])
            at = end
        if not bodies:
            return INCOMPLETE if size - at < whole else NOT_SO
        self._at = at
        return self._publishes((self._header,), bodies)

    def _publish_run(self, budget: int) -> int:
        """Publishes with method frames that were there before, each with a header frame and at most one body frame of its own. Returns
        the cost, or NOT_SO."""
        method = self._publishing
        if method is None or self._unfinished:
            return NOT_SO
        buffer, at, known = self._buffer, self._at, self._known
        size, shapes = len(buffer), self._shapes
        limit = min(RUN_MAX, budget // self._cost_each + 1)
        startswith = buffer.startswith
        methods: list[PublishMethod] = []  # empty as long as they all are the same
        headers: list[bytes] = []
        bodies: list[bytes] = []
        last, like = self._header, False
        before: PublishMethod | None = None
        """That of the messages so far, if this is the first one with another."""
        frame = method.frame
        skip = len(frame)
        # What the last header frame began with, up to the body size, and the lengths that come of it, counted from that frame.
        shape = joint = b""
        header_end = body_at = whole = 0
        while len(bodies) < limit and not like:
            if not startswith(frame, at):
                # Where less than a frame's header is left, the frame is not a known one.
                found = known.get(buffer[at : at + buffer[at + 6] + FRAME_OVERHEAD_BYTES]) if size - at > FRAME_HEADER_BYTES else None
                if found is None:
                    break
                if found.channel != method.channel:
                    shape = b""
                before = method if bodies and not methods else None
                method, frame, last = found, found.frame, b""
                skip = len(frame)
            start = at + skip
            if not (shape and startswith(shape, start)):
                shape = buffer[start : start + SHAPE_BYTES]
                measured = shapes.get(shape) or self._measure(shape)
                if measured is None or measured[0] != method.channel:
                    break
                _, header_end, body_at, whole, joint = measured
            end = start + whole
            if end > size or buffer[end - 1] != FRAME_END or not startswith(joint, start + header_end):
                break
            header = buffer[start + FRAME_HEADER_BYTES : start + header_end]
            like = header == last
            if like:
                if headers:
                    break
                # Two alike in a row: from here on, compare and don't parse.
                self._template, self._body_size = buffer[at : start + body_at], whole - body_at - 1
            if methods:
                methods.append(method)
            elif before is not None:
                methods = [before] * len(bodies)
                methods.append(method)
            headers.append(header)
            bodies.append(buffer[start + body_at : end - 1])
            last = header
            at = end
        if not bodies:
            return NOT_SO
        self._at = at
        if methods:
            method = methods[-1]
        elif before is not None:
            method = before
        if method is not self._publishing or last != self._header:
            self._publishing, self._header = method, last
            if not like:
                self._template = b""
        if not methods:
            return self._publishes(headers, bodies)
        cost = self._events.on_mixed_publishes(methods, headers, bodies)
        self._cost_each = cost // len(bodies) or 1
        return cost

    def _measure(self, shape: bytes) -> Shape | None:
        """The lengths that come of what a header frame begins with, up to the body size; None unless that is a header frame as it should
        be, and the body fits into one frame."""
        if len(shape) < SHAPE_BYTES:
            return None
        kind, number, length, class_and_weight, body_size = header_start.unpack(shape)
        if kind != FRAME_HEADER or class_and_weight != BASIC << 16:
            return None
        if not CONTENT_HEADER_MIN_BYTES <= length <= self._frame_max or body_size > self._body_max:
            return None
        header_end = FRAME_HEADER_BYTES + length
        if body_size:
            joint = END + frame_header.pack(FRAME_BODY, number, body_size)
            body_at = header_end + len(joint)
            measured = number, header_end, body_at, body_at + body_size + 1, joint
        else:
            measured = number, header_end, header_end + 1, header_end + 1, END
        if len(self._shapes) < SHAPES_MAX:
            self._shapes[shape] = measured
        return measured

    def _publishes(self, headers: Sequence[bytes], bodies: list[bytes]) -> int:
        """A run of the template's or the method frame's kind; what it cost says how long the next may be."""
        method = self._publishing
        assert method is not None
        cost = self._events.on_publishes(method.channel, method.routing, method.bits, headers, bodies)
        self._cost_each = cost // len(bodies) or 1
        return cost

    def _drop_templates(self, number: int) -> None:
        if self._publishing is not None and self._publishing.channel == number:
            self._template, self._publishing = b"", None
        for frame in [frame for frame, method in self._known.items() if method.channel == number]:
            del self._known[frame]

    # --- acks --------------------------------------------------------------------------------------------------------

    def _ack_run(self, channel: int) -> int:
        """Single acks, one frame after the other. Returns the cost, or NOT_SO."""
        buffer, at = self._buffer, self._at
        count = min((len(buffer) - at) // ACK_FRAME_BYTES, RUN_MAX)
        head = buffer[at : at + 11]
        tags: list[int] = []
        for head_of_ack, tag, multiple, end in ack_frame.iter_unpack(buffer[at : at + count * ACK_FRAME_BYTES]):
            if head_of_ack != head or multiple or end != FRAME_END or not tag:
                break
            tags.append(tag)
        if not tags:
            return NOT_SO
        self._at = at + len(tags) * ACK_FRAME_BYTES
        return self._events.on_acks(channel, tags)


def _split_publish(payload: bytes) -> tuple[bytes, int]:
    """The routing (two short strings, as they stand) and the bits of a basic.publish payload."""
    size = len(payload)
    at = 7 + payload[6] if size > 6 else size
    end = at + 1 + payload[at] if at < size else size
    if end + 1 != size:
        raise codec.cannot_decode(payload)
    return payload[6:end], payload[end]

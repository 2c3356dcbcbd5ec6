"""The server's side of one AMQP 0-9-1 connection, without I/O.

`receive_data` takes what the socket gave and calls the broker's `Events`; what the broker says back collects in `output`
until the runtime takes it with `data_to_send`. The connection checks everything that bytes and states can tell (framing,
method order, content order, limits); what names mean is the broker's business.

How a busy connection is read (docs/architecture.md, "The turn"): most frames are like the ones before them.

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
from protocol.assembly import BASIC, ChannelInput, Content, stray, unexpected
from protocol.constants import (
    CHANNEL_ERROR,
    COMMAND_INVALID,
    FRAME_BODY,
    FRAME_END,
    FRAME_HEADER,
    FRAME_HEARTBEAT,
    FRAME_METHOD,
    FRAME_OVERHEAD_BYTES,
    NOT_ALLOWED,
    PRECONDITION_FAILED,
    PROTOCOL_HEADER,
    PROTOCOL_VERSIONS,
    UNEXPECTED_FRAME,
)
from protocol.content import CONTENT_HEADER_MIN_BYTES
from protocol.errors import AmqpError, ChannelException, ConnectionException, HandshakeFailed, without_octets
from protocol.events import Events, PublishMethod, Tuning
from protocol.fastcodec import (
    ACK,
    ACK_FRAME_BYTES,
    ACK_PAYLOAD_BYTES,
    PUBLISH,
    ack_frame,
    header_start,
    u16,
    u64,
)
from protocol.framing import END, FRAME_HEADER_BYTES, bad_end, frame_header, looks_like, too_large, unknown_frame
from protocol.methods import Basic, Channel, Connection, Method, ids, make
from protocol.replies import Replies
from protocol.states import (
    CLIENT_CHANNEL_METHODS,
    CLOSING_CHANNEL_METHODS,
    CONNECTION_TABLE,
    HANDSHAKE,
    ChannelState,
    ConnectionState,
)

WAITING_HEADER, RUNNING = ConnectionState.WAITING_HEADER, ConnectionState.RUNNING
CLOSING, CLOSED = ConnectionState.CLOSING, ConnectionState.CLOSED
OPEN, CHANNEL_CLOSING = ChannelState.OPEN, ChannelState.CLOSING
"""In Python 3.11 it takes 100 ns to find a member through its class."""
FRAME_UNLIMITED_BYTES = 0xFFFFFFFF
"""What a frame_max of 0 means: whatever the size field can say."""
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
HANDSHAKE_FRAMES_MAX = 64
"""Frames before connection.open-ok. A handshake has three, or five with a challenge; heartbeats among them are legal."""
CHUNKS_MAX = 1024
"""Pieces of one incomplete frame that are kept apart."""
UNSENT_MAX_BYTES = 524_288
"""Replies written in one turn: no more is read for as much as stands here (pipelined basic.get of large messages)."""
INCOMPLETE = -1
"""In place of a cost: more bytes must come first."""
NOT_SO = -2
"""In place of a cost: the shorter way doesn't fit, nothing was read."""
CONNECTION_CLOSE = b"\x00\x0a\x00\x32"
CONNECTION_CLOSE_OK = b"\x00\x0a\x00\x33"


class ServerConnection(Replies):
    """See the module. Raises ConnectionException (send connection.close), FramingException (the same, and read no more)
    and HandshakeFailed (send nothing) from `receive_data`; the caller answers with `close`."""

    __slots__ = (
        "_at",
        "_bodies_size",
        "_body_max",
        "_body_size",
        "_buffer",
        "_channels",
        "_chunks",
        "_chunks_joined",
        "_chunks_size",
        "_cost_each",
        "_events",
        "_handshake_frames",
        "_header",
        "_known",
        "_missing",
        "_publishing",
        "_shapes",
        "_template",
        "_unfinished",
        "held",
        "holding",
        "message_size_max",
    )

    known_type: ClassVar[type[dict[bytes, PublishMethod]]] = dict

    def __init__(self, events: Events, tuning: Tuning, message_size_max: int, output_ready: Callable[[], None]) -> None:
        """`tuning` is what the server offers; `output_ready` is called when `output` stops being empty."""
        super().__init__(tuning, output_ready)
        self.message_size_max = message_size_max
        self.holding = False
        """Nothing is read from the next basic.publish on; a message that has begun is finished."""
        self.held = False
        """While `holding`: a publish is next, and waits."""
        self._events = events
        self._body_max = 0
        self._bodies_size = 0
        self._buffer = b""
        self._at = 0
        self._chunks: list[bytes] = []
        self._chunks_joined = 0
        """So many of `_chunks`, from the first on, are made of CHUNKS_MAX pieces each."""
        self._chunks_size = 0
        self._handshake_frames = 0
        self._missing = 0
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

    # --- reading ---------------------------------------------------------------------------------------------------

    def receive_data(self, data: bytes, budget: int) -> bool:
        """Read `data` (may be empty: go on with what is left), but stop when the events' costs pass `budget`.

        Returns whether everything that is complete was read; False asks to be called again in the next turn.
        """
        state = self.state
        if state is CLOSED:
            return True
        if self._chunks:
            # A frame larger than what has come in so far: wait for the whole of it, don't copy it again with each read.
            self._chunks.append(data)
            self._chunks_size += len(data)
            if self._chunks_size < self._missing:
                if len(self._chunks) - self._chunks_joined > CHUNKS_MAX:
                    # By the byte or two they would cost twenty times their size, were they kept one by one.
                    self._chunks[self._chunks_joined :] = [b"".join(self._chunks[self._chunks_joined :])]
                    self._chunks_joined += 1
                return True
            data, self._chunks, self._chunks_size = b"".join(self._chunks), [], 0
        self._buffer = self._buffer[self._at :] + data if self._at < len(self._buffer) else data
        self._at = 0
        if state is WAITING_HEADER and not self._protocol_header():
            return True
        return self._read_up_to_publish(budget) if self.holding else self._read(budget)

    @property
    def buffered_bytes(self) -> int:
        """What has been received and not been read."""
        return len(self._buffer) - self._at + self._chunks_size

    @property
    def unfinished_bytes(self) -> int:
        """The same, and the headers and bodies of messages that are still coming in."""
        return len(self._buffer) - self._at + self._chunks_size + self._bodies_size

    def _protocol_header(self) -> bool:
        head = self._buffer[:8]
        if len(head) < 8:
            return False
        if head not in PROTOCOL_VERSIONS:
            self.write(PROTOCOL_HEADER)
            self.state = CLOSED
            raise HandshakeFailed(looks_like(self._buffer))
        self._at = 8
        self._version = PROTOCOL_VERSIONS[head]
        self._events.on_protocol_header()
        return True

    def _read(self, budget: int) -> bool:
        """Frames, one or a run at a time, until bytes or budget run out."""
        buffer = self._buffer
        while budget > 0 and self.output_bytes < UNSENT_MAX_BYTES:
            at = self._at
            if self._template and buffer.startswith(self._template, at):
                cost = self._template_run(budget)
            elif self._publishing is not None:
                cost = self._publish_run(budget)
            else:
                cost = NOT_SO
            if cost == NOT_SO:
                cost = self._frame()
            if cost == INCOMPLETE:
                self._keep_rest()
                return True
            budget -= cost or 1
        return self._at >= len(buffer)

    def _read_up_to_publish(self, budget: int) -> bool:
        """Frame by frame, but no publish: those who publish without a pause pay nothing for the question."""
        self.held = False
        while budget > 0 and self.output_bytes < UNSENT_MAX_BYTES:
            if self._is_at_publish():
                self.held = True
                return False
            cost = self._frame()
            if cost == INCOMPLETE:
                self._keep_rest()
                return True
            budget -= cost or 1
        return self._at >= len(self._buffer)

    def _is_at_publish(self) -> bool:
        """The next frame is a basic.publish on an open channel, whole and sound."""
        buffer, at = self._buffer, self._at
        begin = at + FRAME_HEADER_BYTES
        if self.state is not RUNNING or buffer[begin : begin + len(PUBLISH)] != PUBLISH:
            return False
        kind, number, length = frame_header.unpack_from(buffer, at)
        channel = self._channels.get(number)
        if kind != FRAME_METHOD or channel is None or channel.state is not OPEN or channel.content is not None:
            return False
        return length <= self._frame_max and buffer[begin + length : begin + length + 1] == END

    def _keep_rest(self) -> None:
        """Remember how many bytes what is incomplete at the end will have."""
        buffer, at = self._buffer, self._at
        have = len(buffer) - at
        if have < FRAME_HEADER_BYTES:
            # Let go of what has been read: an idle connection would hold its last 256 KiB.
            self._buffer, self._at = buffer[at:], 0
            return
        self._missing = frame_header.unpack_from(buffer, at)[2] + FRAME_OVERHEAD_BYTES
        if self._template and buffer.startswith(self._template, at):
            self._missing = len(self._template) + self._body_size + 1
        self._chunks, self._chunks_joined, self._chunks_size = [buffer[at:]], 0, have
        self._buffer, self._at = b"", 0

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

    def _frame(self) -> int:
        """One frame of any kind. Returns its cost, or INCOMPLETE."""
        buffer, at = self._buffer, self._at
        left = len(buffer) - at
        if left < FRAME_HEADER_BYTES:
            return INCOMPLETE
        kind, number, length = frame_header.unpack_from(buffer, at)
        if length > self._frame_max:
            raise self._in_handshake(too_large(kind, length, self._frame_max), number)
        if left < length + FRAME_OVERHEAD_BYTES:
            return INCOMPLETE
        end = at + FRAME_HEADER_BYTES + length
        payload = buffer[at + FRAME_HEADER_BYTES : end]
        if buffer[end] != FRAME_END:
            raise self._in_handshake(bad_end(kind, payload, buffer[end]), number)
        if self.state is not RUNNING:
            self._at = end + 1
            return self._frame_outside_running(kind, number, payload)
        if kind == FRAME_METHOD and number:
            channel = self._channels.get(number)
            if channel is not None and channel.state is OPEN and channel.content is None:
                ids = payload[:4]
                if ids == ACK and length == ACK_PAYLOAD_BYTES:
                    cost = self._ack_run(number)
                    if cost != NOT_SO:
                        return cost
                elif ids == PUBLISH:
                    return self._publish(channel, number, payload, end + 1)
        self._at = end + 1
        try:
            if kind == FRAME_METHOD:
                return self._method(number, payload)
            if kind == FRAME_HEADER:
                return self._content_header(number, payload)
            if kind == FRAME_BODY:
                return self._content_body(number, payload)
            if kind == FRAME_HEARTBEAT and not payload:
                if number:
                    raise ConnectionException(UNEXPECTED_FRAME, "type 8, all octets = <<>>")
                return 0
            raise unknown_frame(kind, payload)
        except ConnectionException as error:
            error.channel = number
            raise

    def _frame_outside_running(self, kind: int, number: int, payload: bytes) -> int:
        """In the handshake, methods on channel 0 and heartbeats; after our connection.close, close and close-ok (see states)."""
        if self.state is CLOSING:
            if kind == FRAME_METHOD and number == 0 and payload[:4] in (CONNECTION_CLOSE, CONNECTION_CLOSE_OK):
                return self._connection_method(codec.decode_method(payload))
            return 0
        self._handshake_frames += 1
        if self._handshake_frames > HANDSHAKE_FRAMES_MAX:
            raise HandshakeFailed(f"more than {HANDSHAKE_FRAMES_MAX} frames before connection.open-ok")
        if kind == FRAME_HEARTBEAT and number == 0 and not payload:
            return 0
        if kind != FRAME_METHOD or number:
            raise HandshakeFailed(f"frame of type {kind} on channel {number} in state {self.state.value}")
        try:
            method = codec.decode_method(payload)
        except ConnectionException as error:
            raise self._in_handshake(error) from error
        return self._connection_method(method)

    def _in_handshake(self, error: ConnectionException, number: int = 0) -> ConnectionException | HandshakeFailed:
        """The error as it is, but in the handshake, where RabbitMQ says nothing to the peer, and we nothing to the log of what it sent."""
        error.channel = number
        return HandshakeFailed(without_octets(error.text)) if self.state in HANDSHAKE else error

    # --- methods ---------------------------------------------------------------------------------------------------

    def _method(self, number: int, payload: bytes) -> int:
        if number == 0:
            return self._connection_method(codec.decode_method(payload))
        channel = self._channels.get(number)
        if channel is not None and channel.content is not None:
            raise unexpected(channel)
        method = codec.decode_method(payload)
        if channel is None:
            if isinstance(method, Channel.Open):
                return self._open_channel(number, method)
            raise ConnectionException(CHANNEL_ERROR, "expected 'channel.open'", *ids(method))
        if channel.state is CHANNEL_CLOSING:
            return self._method_on_closing_channel(number, method)
        if isinstance(method, Channel.Open):
            raise ConnectionException(CHANNEL_ERROR, "second 'channel.open' seen", *ids(method))
        if method.name not in CLIENT_CHANNEL_METHODS:
            raise ConnectionException(COMMAND_INVALID, "unimplemented method", *ids(method))
        if isinstance(method, Channel.Close):
            self._forget_channel(number)
        if isinstance(method, Basic.Ack):
            return self._events.on_ack(number, method.delivery_tag, method.multiple)
        return self._events.on_method(number, method)

    def _open_channel(self, number: int, method: Method) -> int:
        limit = self.tuning.channel_max
        if limit and len(self._channels) >= limit:
            text = f"number of channels opened ({len(self._channels)}) has reached the negotiated channel_max ({limit})"
            raise ConnectionException(NOT_ALLOWED, text)
        self._channels[number] = ChannelInput()
        return self._events.on_method(number, method)

    def _forget_channel(self, number: int) -> None:
        del self._channels[number]
        self._drop_templates(number)

    def _drop_templates(self, number: int) -> None:
        if self._publishing is not None and self._publishing.channel == number:
            self._template, self._publishing = b"", None
        for frame in [frame for frame, method in self._known.items() if method.channel == number]:
            del self._known[frame]

    def _connection_method(self, method: Method) -> int:
        state = CONNECTION_TABLE.get((self.state, type(method)))
        if state is None:
            if self.state in HANDSHAKE:
                raise HandshakeFailed(f"{method.name} in state {self.state.value}")
            text = f"unexpected method in connection state {self.state.value}"
            raise ConnectionException(CHANNEL_ERROR, text, *ids(method))
        self.state = state
        if state is CLOSED:
            # Nothing counts after the last handshake: what else has come is not even looked at.
            self._at = len(self._buffer)
        return self._events.on_method(0, method)

    def _method_on_closing_channel(self, number: int, method: Method) -> int:
        """We sent channel.close: close gets close-ok, open is an error, close-ok ends it, all else is dropped."""
        if not isinstance(method, CLOSING_CHANNEL_METHODS):
            return 0
        if isinstance(method, Channel.Open):
            raise ConnectionException(CHANNEL_ERROR, "second 'channel.open' seen", *ids(method))
        if isinstance(method, Channel.Close):
            self.write(self.method(number, make(Channel.CloseOk)))
        else:
            self._forget_channel(number)
        return 0

    # --- content ---------------------------------------------------------------------------------------------------

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

    def _content_header(self, number: int, payload: bytes) -> int:
        channel = self._channels.get(number)
        if len(payload) < CONTENT_HEADER_MIN_BYTES:
            raise unknown_frame(FRAME_HEADER, payload)
        if channel is None:
            raise stray(number, FRAME_HEADER, payload)
        if channel.state is CHANNEL_CLOSING:
            return 0
        content = channel.content
        if content is None or content.header is not None:
            raise unexpected(channel)
        class_id, weight = u16.unpack_from(payload)[0], payload[2:4]
        if class_id != BASIC:
            text = f"expected content header for class 60, got one for class {class_id} instead"
            raise ConnectionException(UNEXPECTED_FRAME, text, BASIC, 40)
        if weight != b"\0\0":
            raise unexpected(channel)
        content.header = payload
        self._bodies_size += len(payload)
        content.missing = u64.unpack_from(payload, 4)[0]
        if content.missing > self.message_size_max:
            text = f"message size {content.missing} is larger than configured max size {self.message_size_max}"
            self._events.on_channel_error(number, ChannelException(PRECONDITION_FAILED, text, BASIC, 40))
            return 0
        return self._complete(channel, number) if not content.missing else 0

    def _content_body(self, number: int, payload: bytes) -> int:
        channel = self._channels.get(number)
        if channel is None:
            raise stray(number, FRAME_BODY, payload)
        if channel.state is CHANNEL_CLOSING:
            return 0
        content = channel.content
        if content is None or content.header is None or len(payload) > content.missing:
            raise unexpected(channel)
        if payload:
            content.add(payload)
            self._bodies_size += len(payload)
        return self._complete(channel, number) if not content.missing else 0

    def _complete(self, channel: ChannelInput, number: int) -> int:
        content, channel.content = channel.content, None
        self._unfinished -= 1
        assert content is not None
        assert content.header is not None
        body = content.parts[0] if len(content.parts) == 1 else b"".join(content.parts)
        self._bodies_size -= len(body) + len(content.header)
        return self._events.on_publishes(number, content.routing, content.bits, (content.header,), [body])

    # --- limits and ends ----------------------------------------------------------------------------------------------

    def tuned(self, tuning: Tuning) -> None:
        """The peer accepted these limits."""
        self.tuning = tuning
        self._frame_max = tuning.frame_max or FRAME_UNLIMITED_BYTES
        self._body_max = min(self._frame_max, self.message_size_max)

    def close_channel(self, channel: int, error: AmqpError) -> bytes:
        """See Wire."""
        state = self._channels[channel]
        self._drop_content(state)
        state.state = CHANNEL_CLOSING
        self._drop_templates(channel)
        return codec.encode_method_frame(channel, _close(Channel.Close, error))

    def close(self, error: AmqpError) -> None:
        """Queue connection.close, once; from here on only close and close-ok are heard."""
        if self.state in (CLOSING, CLOSED):
            return
        self._template, self._publishing = b"", None
        for channel in self._channels.values():
            self._drop_content(channel)
        self.send(0, _close(Connection.Close, error))

    def _drop_content(self, channel: ChannelInput) -> None:
        """A message that was coming in won't be needed any more."""
        content = channel.content
        if content is not None:
            self._bodies_size -= content.size
            self._unfinished -= 1
            channel.content = None


def _close(cls: type[Method], error: AmqpError) -> Method:
    """connection.close or channel.close."""
    return make(cls, reply_code=error.code, reply_text=error.reply_text, class_id=error.class_id, method_id=error.method_id)


def _split_publish(payload: bytes) -> tuple[bytes, int]:
    """The routing (two short strings, as they stand) and the bits of a basic.publish payload."""
    size = len(payload)
    at = 7 + payload[6] if size > 6 else size
    end = at + 1 + payload[at] if at < size else size
    if end + 1 != size:
        raise codec.cannot_decode(payload)
    return payload[6:end], payload[end]

"""The server's side of one AMQP 0-9-1 connection, without I/O.

`receive_data` takes what the socket gave and calls the broker's `Events`; what the broker says back collects in `output`
until the runtime takes it with `data_to_send`. The connection checks everything that bytes and states can tell (framing,
method order, content order, limits); what names mean is the broker's business.
"""

from collections.abc import Callable

from protocol import codec
from protocol.assembly import BASIC, ChannelInput, stray, unexpected
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
from protocol.events import Events, Tuning
from protocol.fastcodec import (
    ACK,
    ACK_PAYLOAD_BYTES,
    PUBLISH,
    u16,
    u64,
)
from protocol.framing import END, FRAME_HEADER_BYTES, bad_end, frame_header, looks_like, too_large, unknown_frame
from protocol.methods import Basic, Channel, Connection, Method, ids, make
from protocol.runs import INCOMPLETE, NOT_SO, Runs
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
HANDSHAKE_FRAMES_MAX = 64
"""Frames before connection.open-ok. A handshake has three, or five with a challenge; heartbeats among them are legal."""
CHUNKS_MAX = 1024
"""Pieces of one incomplete frame that are kept apart."""
UNSENT_MAX_BYTES = 524_288
"""Replies written in one turn: no more is read for as much as stands here (pipelined basic.get of large messages)."""
CONNECTION_CLOSE = b"\x00\x0a\x00\x32"
CONNECTION_CLOSE_OK = b"\x00\x0a\x00\x33"


class ServerConnection(Runs):
    """See the module. Raises ConnectionException (send connection.close), FramingException (the same, and read no more)
    and HandshakeFailed (send nothing) from `receive_data`; the caller answers with `close`."""

    __slots__ = (
        "_bodies_size",
        "_chunks",
        "_chunks_joined",
        "_chunks_size",
        "_handshake_frames",
        "_missing",
        "held",
        "holding",
        "message_size_max",
    )

    def __init__(self, events: Events, tuning: Tuning, message_size_max: int, output_ready: Callable[[], None]) -> None:
        """`tuning` is what the server offers; `output_ready` is called when `output` stops being empty."""
        super().__init__(events, tuning, output_ready)
        self.message_size_max = message_size_max
        self.holding = False
        """Nothing is read from the next basic.publish on; a message that has begun is finished."""
        self.held = False
        """While `holding`: a publish is next, and waits."""
        self._bodies_size = 0
        self._chunks: list[bytes] = []
        self._chunks_joined = 0
        """So many of `_chunks`, from the first on, are made of CHUNKS_MAX pieces each."""
        self._chunks_size = 0
        self._handshake_frames = 0
        self._missing = 0

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
            if at == len(buffer):
                self._buffer, self._at = b"", 0
                return True
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

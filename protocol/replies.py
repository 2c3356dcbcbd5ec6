"""What the server says on one connection: replies in, bytes out (the sending half of protocol.events.Wire).

Frames are encoded at once and collect in `output`, which leaves as one write at the end of the turn. What is sent on channel 0 moves
the connection through the state table.
"""

from collections.abc import Callable

from protocol import codec
from protocol.constants import FRAME_OVERHEAD_BYTES, HEARTBEAT
from protocol.events import Message, Tuning
from protocol.fastcodec import (
    Deliveries,
    Output,
    encode_ack,
    encode_content,
    encode_deliver,
    encode_get_ok,
    encode_nack,
    encode_return,
)
from protocol.methods import Connection, Method, make
from protocol.states import SENT_TABLE, ConnectionState
from protocol.tables import Table

INITIAL_FRAME_MAX_BYTES = 8192
"""Until connection.tune-ok; what RabbitMQ 4 grants (3.x: 4096, which long client properties overrun)."""


class Replies(Output):
    """See the module. `output_ready` is called when `output` stops being empty."""

    __slots__ = ("_frame_max", "_output_ready", "_version", "state", "tuning")

    def __init__(self, tuning: Tuning, output_ready: Callable[[], None]) -> None:
        super().__init__()
        self.state = ConnectionState.WAITING_HEADER
        self.tuning = tuning
        self._output_ready = output_ready
        self._frame_max = INITIAL_FRAME_MAX_BYTES
        self._version = (0, 9)

    def data_to_send(self) -> bytes:
        """Everything written since the last call, as one buffer."""
        data = b"".join(self.output)
        self.output.clear()
        self.output_bytes = 0
        return data

    def wrote(self, size: int) -> None:
        """See Output: the first bytes of a turn ask the runtime for a flush."""
        if not self.output_bytes:
            self._output_ready()
        self.output_bytes += size or 1

    def write(self, frames: bytes) -> None:
        """See Wire."""
        self.output.append(frames)
        self.wrote(len(frames))

    def send(self, number: int, method: Method) -> None:
        """Encode and queue a method, and follow it through the state table."""
        self.write(self.method(number, method))

    def method(self, channel: int, method: Method) -> bytes:
        """See Wire."""
        if channel == 0 and (state := SENT_TABLE.get(type(method))) is not None:
            self.state = state
        return codec.encode_method_frame(channel, method)

    def ack(self, channel: int, tag: int, multiple: bool) -> bytes:
        """See Wire."""
        return encode_ack(channel, tag, multiple)

    def nack(self, channel: int, tag: int) -> bytes:
        """See Wire."""
        return encode_nack(channel, tag)

    def delivered(self, channel: int, consumer_tag: str, tag: int, message: Message) -> bytes:
        """See Wire."""
        _, routing, header, body = message
        method = encode_deliver(consumer_tag, tag, routing)
        return encode_content(channel, method, header, body, self._frame_max - FRAME_OVERHEAD_BYTES)

    def get_ok(self, channel: int, tag: int, redelivered: bool, message_count: int, message: Message) -> bytes:
        """See Wire."""
        _, routing, header, body = message
        method = encode_get_ok(tag, redelivered, routing, message_count)
        return encode_content(channel, method, header, body, self._frame_max - FRAME_OVERHEAD_BYTES)

    def returned(self, channel: int, code: int, text: str, routing: bytes, header: bytes, body: bytes) -> bytes:
        """See Wire."""
        return encode_content(channel, encode_return(code, text, routing), header, body, self._frame_max - FRAME_OVERHEAD_BYTES)

    def deliveries(self, channel: int, consumer_tag: str) -> Deliveries:
        """See Wire."""
        return Deliveries(self, channel, consumer_tag, self._frame_max)

    def heartbeat(self) -> None:
        """Queue a heartbeat frame."""
        self.write(HEARTBEAT)

    def start(self, properties: Table, mechanisms: str, locales: str) -> None:
        """See Wire."""
        start = make(
            Connection.Start,
            version_major=self._version[0],
            version_minor=self._version[1],
            server_properties=properties,
            mechanisms=mechanisms.encode(),
            locales=locales.encode(),
        )
        self.send(0, start)

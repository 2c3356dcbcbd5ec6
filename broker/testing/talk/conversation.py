"""What clients and broker said to each other, kept for the report of a test that failed.

One `Conversation` a connection, from its first byte. What the client says is written down as it comes in, what the broker says as it is
written to the connection: what a fault has changed stands there as it became. Heartbeats, passwords and tokens don't.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import deque
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple, cast

from broker.testing.talk import wording
from broker.testing.talk.folding import Folded, Kind, Line
from broker.testing.talk.wording import BODY_KEPT
from broker.testing.through import Hearing, Saying
from protocol import codec
from protocol.constants import FRAME_BODY, FRAME_HEADER, FRAME_METHOD, FRAME_OVERHEAD_BYTES, REPLY_SUCCESS
from protocol.errors import ConnectionException
from protocol.fastcodec import ACK, NACK, u64
from protocol.framing import FRAME_HEADER_BYTES, frame_header
from protocol.methods import Basic, Channel, Confirm, Connection, Exchange, Method, Queue, Tx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from broker.core.session import Session
    from broker.testing.vhost import WatchedVHost
    from protocol.errors import AmqpError
    from protocol.events import DeliveryEncoder, Events, Message, Wire
    from protocol.tables import Table

FROM_CLIENT, FROM_BROKER, NOTED = "->", "<-", "--"
"""Which way it went; a note says what happened and nobody said."""
METHODS_SHOWN = 10
"""Like methods that a stretch shows: a declare says more by itself than a message."""
HEADER_KEPT_BYTES = 2048
"""A longer content header is put into words at once."""
GIVEN_MAX = 2000
"""Runs of deliveries of a channel whose time is remembered."""
REMARKS_MAX = 20
WithContent = Basic.Deliver | Basic.GetOk | Basic.Return
HANDSHAKE_MAX = 50
NO_ERROR = (REPLY_SUCCESS, 0)
"""Reply codes of those who just go; py-amqp (kombu, Celery) says 0."""
LANDMARKS = (Basic.Consume, Basic.Cancel, Channel.Open, Channel.Close, Channel.CloseOk)
MERE = frozenset(
    (
        Basic.CancelOk, Basic.ConsumeOk, Basic.QosOk, Channel.CloseOk, Channel.OpenOk, Confirm.SelectOk, Connection.CloseOk,
        Exchange.BindOk, Exchange.DeclareOk, Exchange.DeleteOk, Exchange.UnbindOk, Queue.BindOk, Queue.UnbindOk, Tx.CommitOk,
        Tx.RollbackOk, Tx.SelectOk,
    )
)  # fmt: skip
"""Answers that say nothing else."""


class Remark(NamedTuple):
    """Something that the report is to have: when, by the broker's clock, on which channel (0: none), and what."""

    at_ms: int
    channel: int
    text: str


class Conversation:
    """One connection's. `clock_ms` is the broker's."""

    def __init__(self, session: Session, clock_ms: Callable[[], int]) -> None:
        self._session: Session | None = session
        self._clock_ms = clock_ms
        self.handshake: list[Line] = []
        """What came before it was let in; its lines otherwise."""
        self.lines = Folded()
        self.is_let_in = False
        self.client = ""
        """What software the client says it is."""
        self.begun_at, self.begun_ms = time.monotonic(), clock_ms()
        self.errors: deque[Remark] = deque(maxlen=REMARKS_MAX)
        """Why its channels or the connection were closed, or how it was lost."""
        self.notes: deque[Remark] = deque(maxlen=REMARKS_MAX)
        """What faults did."""
        self._given: dict[int, deque[tuple[int, int]]] = {}
        """Of each channel, when deliveries went out: (first tag, time), rising."""
        self._known = ("", "", "")
        self._delivered_at: float | None = None
        """When the client was given something, if it has said nothing since."""

    # --- who --------------------------------------------------------------------------------------------------------

    @property
    def who(self) -> tuple[str, str, str]:
        """The name that the client gave, the peer's address, and the user; empty where there is none."""
        session = self._session
        return self._known if session is None else (session.own_name, session.peer.name, session.user_name or "")

    @property
    def is_open(self) -> bool:
        """There still is a connection."""
        return self._session is not None

    def end(self) -> None:
        """The connection is gone: hold on to nothing of it."""
        self._known = self.who
        self._session = None
        self._given.clear()

    # --- what was said ----------------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """A fault did something here: a remark, which the report has among the faults too."""
        self.notes.append(Remark(self._clock_ms(), 0, text))
        self.remark(text)

    def remark(self, text: str) -> None:
        """Something happened that nobody said."""
        self._add(self._line(0, NOTED, partial(str, text)))

    def failed(self, channel: int, way: str, text: str) -> None:
        """It was closed, or lost, for a reason."""
        self.errors.append(Remark(self._clock_ms(), channel, text))
        self._add(self._line(channel, way, partial(str, text)))

    def method(self, channel: int, way: str, method: Method) -> None:
        """Any method without content."""
        self.stir(way)
        cls = type(method)
        text = partial(wording.method_text, method)
        if isinstance(method, Connection.Close | Channel.Close) and method.reply_code not in NO_ERROR:
            self.failed(channel, way, f"{wording.method_name(method)} {method.reply_code} {method.reply_text}")
            return
        if isinstance(method, Channel.Open):
            self._given.pop(channel, None)
        if isinstance(method, Connection.StartOk):
            self.client = wording.client_text(method)
        if isinstance(method, Connection.StartOk | Connection.UpdateSecret):
            text = partial(str, text())  # the secret isn't to be kept, either
        line = self._line(channel, way, text, is_mere=cls in MERE)
        if not channel or cls in LANDMARKS:
            self._add(line)
            self.is_let_in = self.is_let_in or cls is Connection.OpenOk
        else:
            self.lines.add(Kind(way, channel, wording.method_name(method), None, METHODS_SHOWN), line)

    def settled(self, channel: int, way: str, name: str, count: int, text: Callable[[int], str]) -> None:
        """So many acks or nacks; `text(i)` is the i-th."""
        self.stir(way)
        now, now_ms = time.monotonic(), self._clock_ms()
        kind = Kind(way, channel, name)
        self.lines.add_run(kind, now, count, lambda i: Line(now_ms, now, channel, way, partial(text, i)))

    def published(self, channel: int, routing: bytes, bits: int, headers: Sequence[bytes], bodies: Sequence[bytes]) -> None:
        """A run of basic.publish, as Events has it."""
        self.stir(FROM_CLIENT)
        now, now_ms = time.monotonic(), self._clock_ms()

        def make(index: int) -> Line:
            header, body = headers[index if len(headers) > 1 else 0], bodies[index]
            text = _kept(wording.publish_text, header, body, routing, bits)
            return Line(now_ms, now, channel, FROM_CLIENT, text)

        kind = Kind(FROM_CLIENT, channel, "basic.publish", (routing, bits))
        self.lines.add_run(kind, now, len(bodies), make)

    def delivered(self, channel: int, consumer_tag: str, queue: str, tag: int, redelivered: bool, messages: Sequence[Message]) -> None:
        """A run of basic.deliver, with tags from `tag` on."""
        self.stir()
        now, now_ms = time.monotonic(), self._clock_ms()
        self._was_given(channel, tag, now_ms)
        self._delivered_at = self._delivered_at or now
        flag = " redelivered" * redelivered

        def make(index: int) -> Line:
            _, routing, header, body = messages[index]
            head = f"basic.deliver #{tag + index} consumer={wording.quoted(consumer_tag)}{flag} queue={wording.quoted(queue)}"
            text = _kept(wording.content_text, header, body)
            return Line(now_ms, now, channel, FROM_BROKER, lambda: f"{head}, {text()}, {wording.routing_text(routing)}")

        kind = Kind(FROM_BROKER, channel, "basic.deliver", (consumer_tag, redelivered, messages[0][1]))
        self.lines.add_run(kind, now, len(messages), make)

    def content(self, channel: int, method: WithContent, header: bytes, body: bytes) -> None:
        """A method with content that came by itself: basic.get-ok, basic.return, and what goes to direct reply-to."""
        self.stir()
        if isinstance(method, Basic.GetOk):
            self._was_given(channel, method.delivery_tag or 0, self._clock_ms())
        head, text = wording.method_text(method), _kept(wording.content_text, header, body)
        kind = Kind(FROM_BROKER, channel, wording.method_name(method), (method.exchange, method.routing_key))
        self.lines.add(kind, self._line(channel, FROM_BROKER, lambda: f"{head}, {text()}"))

    def _line(self, channel: int, way: str, text: Callable[[], str], *, is_mere: bool = False) -> Line:
        return Line(self._clock_ms(), time.monotonic(), channel, way, text, is_mere)

    def _add(self, line: Line) -> None:
        """One that no other is like."""
        if self.is_let_in:
            self.lines.add_landmark(line)
        elif len(self.handshake) < HANDSHAKE_MAX:
            self.handshake.append(line)

    def stir(self, way: str = NOTED) -> None:
        """Something was said: the vhost isn't quiet. How long a client took from a delivery to its next word is its pace."""
        vhost = getattr(self._session, "vhost", None)
        if vhost is None:
            return
        activity, now = cast("WatchedVHost", vhost).activity, time.monotonic()
        activity.at, activity.batch = now, vhost.broker.outbox.number
        if way == FROM_CLIENT and self._delivered_at is not None:
            activity.pace(now - self._delivered_at)
            self._delivered_at = None

    # --- when -------------------------------------------------------------------------------------------------------

    def _was_given(self, channel: int, tag: int, now_ms: int) -> None:
        given = self._given.get(channel)
        if given is None:
            given = self._given[channel] = deque(maxlen=GIVEN_MAX)
        if not given or given[-1][1] != now_ms:
            given.append((tag, now_ms))

    def given_ms(self, channel: int, tag: int) -> int | None:
        """When that delivery went out, by the broker's clock; None if that was too long ago."""
        given = self._given.get(channel, ())
        at = bisect_right(given, tag, key=itemgetter(0))
        return given[at - 1][1] if at else None


def _kept(words: Callable[..., str], header: bytes, body: bytes, *before: object) -> Callable[[], str]:
    """What puts a message into words, later; of a big one not much is kept."""
    text = partial(words, *before, header, body[:BODY_KEPT], len(body))
    return text if len(header) <= HEADER_KEPT_BYTES else partial(str, text())


# --- between protocol and session -----------------------------------------------------------------------------------------


class Overheard(Hearing):
    """Writes down what the client says. It is the first to hear, whatever faults do to it later."""

    def __init__(self, to: Events, conversation: Conversation) -> None:
        super().__init__(to)
        self._conversation = conversation

    def on_publishes(self, channel: int, routing: bytes, bits: int, headers: Sequence[bytes], bodies: list[bytes]) -> int:
        """See Events."""
        self._conversation.published(channel, routing, bits, headers, bodies)
        return super().on_publishes(channel, routing, bits, headers, bodies)

    def on_acks(self, channel: int, tags: Sequence[int]) -> int:
        """See Events."""
        self._conversation.settled(channel, FROM_CLIENT, "basic.ack", len(tags), lambda i: f"basic.ack #{tags[i]}")
        return super().on_acks(channel, tags)

    def on_ack(self, channel: int, tag: int, multiple: bool) -> int:
        """See Events."""
        text = f"basic.ack {'all' if not tag else f'up to #{tag}' if multiple else f'#{tag}'}"
        self._conversation.settled(channel, FROM_CLIENT, "basic.ack", 1, lambda _: text)
        return super().on_ack(channel, tag, multiple)

    def on_method(self, channel: int, method: Method) -> int:
        """See Events."""
        self._conversation.method(channel, FROM_CLIENT, method)
        return super().on_method(channel, method)


class Repeated(Saying):
    """Writes down what the broker says. It is the last to speak, so it hears what faults have left."""

    def __init__(self, to: Wire, conversation: Conversation, session: Session) -> None:
        super().__init__(to)
        self._conversation = conversation
        self._session = session

    def write(self, frames: bytes) -> None:
        """See Wire."""
        self._to.write(frames)
        _write_down(self._conversation, frames)

    def start(self, properties: Table, mechanisms: str, locales: str) -> None:
        """See Wire."""
        self._to.start(properties, mechanisms, locales)
        self._conversation.remark(f"connection.start mechanisms='{mechanisms}'")

    def close(self, error: AmqpError) -> None:
        """See Wire."""
        self._to.close(error)
        self._conversation.stir()
        self._conversation.failed(0, FROM_BROKER, f"connection.close {error.code} {error.reply_text}")

    def deliveries(self, channel: int, consumer_tag: str) -> DeliveryEncoder:
        """See Wire."""
        return _Deliveries(self._to.deliveries(channel, consumer_tag), self._conversation, self._session, channel, consumer_tag)


class _Deliveries:
    """protocol.events.DeliveryEncoder that writes down what goes out."""

    def __init__(self, to: DeliveryEncoder, conversation: Conversation, session: Session, channel: int, consumer_tag: str) -> None:
        self._to = to
        self._conversation = conversation
        self._session = session
        self._channel = channel
        self._consumer_tag = consumer_tag

    def encode(self, tag: int, redelivered: bool, messages: Sequence[Message], limit_bytes: int) -> int:
        """See DeliveryEncoder."""
        count = self._to.encode(tag, redelivered, messages, limit_bytes)
        if count:
            channel = self._session.channels.get(self._channel)
            consumer = None if channel is None else channel.consumers.get(self._consumer_tag)
            queue = "" if consumer is None else consumer.queue.name
            self._conversation.delivered(self._channel, self._consumer_tag, queue, tag, redelivered, messages[:count])
        return count


def _write_down(conversation: Conversation, data: bytes) -> None:
    """Frames that the broker says."""
    waiting: WithContent | None = None
    header, body = b"", b""
    for kind, channel, payload in _frames(data):
        if kind == FRAME_METHOD and payload.startswith((ACK, NACK)):
            _confirmed(conversation, channel, payload)
        elif kind == FRAME_METHOD:
            try:
                method = codec.decode_method(payload)
            except ConnectionException:
                conversation.remark(f"{len(payload)} bytes in a frame that is no method")
                continue
            if isinstance(method, WithContent):
                waiting = method
            else:
                conversation.method(channel, FROM_BROKER, method)
        elif waiting is not None and kind in (FRAME_HEADER, FRAME_BODY):
            header, body = (payload, b"") if kind == FRAME_HEADER else (header, body + payload)
            if len(body) >= u64.unpack_from(header, 4)[0]:
                conversation.content(channel, waiting, header, body)
                waiting = None
        elif not kind:
            conversation.remark(f"{len(payload)} bytes that are no whole frame")


def _confirmed(conversation: Conversation, channel: int, payload: bytes) -> None:
    tag, multiple = u64.unpack_from(payload, 4)[0], payload[12] & 1
    name = "basic.ack" if payload.startswith(ACK) else "basic.nack"
    text = f"{name} of {f'all publishes up to {tag}' if multiple else f'publish {tag}'}"
    conversation.settled(channel, FROM_BROKER, f"{name} of publishes", 1, lambda _: text)


def _frames(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, channel and payload of each; type 0 is what is left and no whole frame."""
    at, end = 0, len(data)
    while at < end:
        if end - at < FRAME_OVERHEAD_BYTES or (whole := frame_header.unpack_from(data, at)[2] + FRAME_OVERHEAD_BYTES) > end - at:
            yield 0, 0, data[at:]
            return
        kind, channel, length = frame_header.unpack_from(data, at)
        yield kind, channel, data[at + FRAME_HEADER_BYTES : at + FRAME_HEADER_BYTES + length]
        at += whole

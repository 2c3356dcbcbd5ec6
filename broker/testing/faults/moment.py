"""A moment: one thing that a client says or hears, or that the disk does. Rules are asked about it, before it happens and after it has.

What it is about (queue, exchange, routing key, consumer) is found out when a rule wants to know: a publish that goes to several queues, or
an ack of several messages, is about each of them, and a rule fits if one does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast

from broker.core.explanation import explain
from broker.core.message import split_routing
from broker.testing.talk.wording import METHOD_NAMES, method_name
from protocol import content
from protocol.errors import HandshakeFailed
from protocol.methods import Basic, Connection, ids
from protocol.sasl import parse
from protocol.states import CLIENT_CHANNEL_METHODS
from protocol.tables import Table, text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.core.channel import Channel
    from broker.core.consumers import Holder
    from broker.core.session import Session
    from broker.testing.faults.connection import FaultyConnection
    from broker.testing.faults.consumers import FaultyConsumer
    from broker.testing.faults.queue import FaultyQueue
    from broker.testing.faults.session import FaultySession
    from protocol.events import Message
    from protocol.methods import Method

BEFORE: Final = "before"
AFTER: Final = "after"
HOLD: Final = "hold"
"""In place of these: whether a message may be delivered yet is asked before anything else."""


class About(NamedTuple):
    """One thing that a moment is about, as far as there is such a thing."""

    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    consumer_tag: str | None = None


NOTHING: Final = (About(),)


class Moment:
    """See the module. `method` is AMQP's name for it; basic.ack and basic.nack to a publisher are called `confirm`."""

    def __init__(
        self,
        method: str,
        session: Session | None = None,
        number: int = 0,
        about: Callable[[], Sequence[About]] | None = None,
        method_ids: tuple[int, int] = (0, 0),
        *,
        is_heard: bool = False,
    ) -> None:
        self.method = method
        self.session = cast("FaultySession | None", session)
        self.number = number
        """Of the channel."""
        self.method_ids = method_ids
        self.is_heard = is_heard
        """The client says it: what goes wrong then can be an answer to it."""
        self.vhost = None if session is None else session.vhost_name
        self.user = None if session is None else session.user_name
        self.client_name = None if session is None else session.own_name
        self.holder: Holder | None = None
        """Who has the message that it is about, or is about to get it."""
        self.tag = 0
        """The delivery tag of that message."""
        self.message: Message | None = None
        """What is to be delivered."""
        self.is_redelivered = False
        self.event: Callable[[], object] = lambda: None
        """What the client's words do, and what comes after that."""
        self.is_nacked = False
        """A confirm is to be basic.nack."""
        self.cut_bytes: int | None = None
        """So much of it is sent, and then nothing more; 0 for half of it."""
        self.afterwards: list[Callable[[], None]] = []
        """What has to be put right when it has happened, or failed."""
        self._about = about
        self._found: Sequence[About] | None = None

    @property
    def about(self) -> Sequence[About]:
        """One of these at the least."""
        if self._found is None:
            self._found = (self._about() if self._about is not None else NOTHING) or NOTHING
        return self._found

    def has_taken_place(self) -> None:
        """It is over: a new consumer is there now."""
        if self.method == "basic.consume":
            self._found = None

    @property
    def connection(self) -> FaultyConnection:
        """Where it happens."""
        assert self.session is not None
        assert self.session.connection is not None
        return self.session.connection

    @property
    def channel(self) -> Channel | None:
        """Its channel, if that is open."""
        return None if self.session is None else self.session.channels.get(self.number)

    @property
    def consumer(self) -> FaultyConsumer | None:
        """The consumer that it is about."""
        channel = self.channel
        if self.holder is not None or channel is None:
            found = self.holder
        else:
            found = channel.consumers.get(self.about[0].consumer_tag or "")
        return cast("FaultyConsumer", found) if hasattr(found, "tag") else None

    @property
    def queue(self) -> FaultyQueue | None:
        """The first queue that it is about, if that is there."""
        vhost = getattr(self.session, "vhost", None)
        found = None if vhost is None else vhost.queues.get(self.about[0].queue)
        return found if hasattr(found, "gets_nothing") else None

    def confirm(self) -> Moment:
        """The moment in which this publish is confirmed."""
        return Moment("confirm", self.session, self.number, lambda: self.about)

    # --- what clients say -------------------------------------------------------------------------------------------

    @classmethod
    def of_publish(cls, session: Session, number: int, routing: bytes, header: bytes) -> Moment:
        """One basic.publish."""
        exchange, routing_key = split_routing(routing)
        return cls(
            "basic.publish", session, number, lambda: _routed(session, exchange, routing_key, header), ids(Basic.Publish), is_heard=True
        )

    @classmethod
    def of_method(cls, session: Session, number: int, method: Method) -> Moment:
        """Any other method of the client, or of the broker."""
        if isinstance(method, Basic.Ack | Basic.Nack | Basic.Reject):
            return cls._of_settle(session, number, method)
        name = method_name(method)
        moment = cls(name, session, number, lambda: _about(session, number, method), ids(method), is_heard=name in CLIENT_METHODS)
        if isinstance(method, Connection.StartOk):
            moment.user, moment.client_name = _user(method), _client_name(method)
        elif isinstance(method, Connection.Open):
            moment.vhost = method.virtual_host
        return moment

    @classmethod
    def _of_settle(cls, session: Session, number: int, method: Basic.Ack | Basic.Nack | Basic.Reject) -> Moment:
        """A basic.nack with `multiple` is one moment, about all its messages; an ack with it doesn't come here (interference)."""
        channel = session.channels.get(number)
        unacked = {} if channel is None else channel.unacked
        tag = method.delivery_tag or 0
        if getattr(method, "multiple", False):
            leases = [lease for each, lease in unacked.items() if each <= tag or not tag]
        else:
            leases = [unacked[tag]] if tag in unacked else []
        moment = cls(
            method_name(method), session, number, lambda: [_leased(*lease) for lease in leases], ids(method), is_heard=True
        )  # fmt: skip
        moment.tag = tag
        if leases:
            moment.holder, moment.message = leases[0]
        return moment

    # --- what the broker says ---------------------------------------------------------------------------------------

    @classmethod
    def of_delivery(cls, consumer: FaultyConsumer, redelivered: bool, message: Message) -> Moment:
        """One basic.deliver."""
        channel = consumer.channel
        moment = cls(
            "basic.deliver", channel.session, channel.number, lambda: [_leased(consumer, message)], ids(Basic.Deliver)
        )  # fmt: skip
        moment.holder, moment.message, moment.is_redelivered = consumer, message, redelivered
        return moment

    @classmethod
    def of_content(cls, method: str, session: Session, number: int, routing: bytes, queue: str | None, tag: str | None = None) -> Moment:
        """basic.get-ok, basic.return, or the basic.deliver of a direct reply."""
        exchange, routing_key = split_routing(routing)
        return cls(method, session, number, lambda: (About(queue, exchange, routing_key, tag),))


def _leased(holder: Holder, message: Message) -> About:
    exchange, routing_key = split_routing(message[1])
    return About(holder.queue.name, exchange, routing_key, getattr(holder, "tag", None))


def _about(session: Session, number: int, method: Method) -> Sequence[About]:
    """What the method names; an empty queue name is that of the channel's last one."""
    channel = session.channels.get(number)
    queue, tag = getattr(method, "queue", None), getattr(method, "consumer_tag", None)
    if queue == "" and channel is not None:
        queue = channel.last_queue
    if tag and channel is not None and tag in channel.consumers:
        queue = channel.consumers[tag].queue.name
    elif tag == "" and channel is not None and channel.consumers:
        tag = next(reversed(channel.consumers))  # the broker has made one up meanwhile
    exchange = getattr(method, "exchange", None)
    return (About(queue, getattr(method, "source", None) if exchange is None else exchange, getattr(method, "routing_key", None), tag),)


def _routed(session: Session, exchange: str, routing_key: str, header: bytes) -> Sequence[About]:
    """Where a message would go; nothing is asked that keeps something of each message, or draws lots."""
    source = session.vhost.exchanges.get(exchange)
    if source is None:
        return (About(None, exchange, routing_key),)
    try:
        headers: Table = content.headers(header)
        steps = explain(session.vhost, source, routing_key, headers)
        while True:
            next(steps)
    except StopIteration as done:
        queues = done.value.queues
    except ValueError:
        queues = []  # its headers make no sense; the broker says so
    return [About(queue.name, exchange, routing_key) for queue in queues] or (About(None, exchange, routing_key),)


def _user(method: Connection.StartOk) -> str | None:
    """Who it says it is."""
    try:
        said = parse(method.mechanism, cast("bytes", method.response))
    except HandshakeFailed:
        return None
    return None if said is None else said.user


def _client_name(method: Connection.StartOk) -> str:
    name = cast("Table", method.client_properties).get("connection_name")
    return text(name.value) if name is not None and name.kind == "S" else ""


# --- names ------------------------------------------------------------------------------------------------------------


CLIENT_METHODS: Final = frozenset(
    {name for cls, name in METHOD_NAMES.items() if cls.name in CLIENT_CHANNEL_METHODS}
    | {f"connection.{name}" for name in ("start-ok", "secure-ok", "tune-ok", "open", "update-secret", "close")}
)
"""What clients say."""
BROKER_METHODS: Final = frozenset(
    {"confirm", "basic.deliver", "basic.get-ok", "basic.get-empty", "basic.return", "basic.consume-ok", "basic.cancel-ok", "basic.qos-ok"}
    | {"basic.recover-ok", "channel.open-ok", "channel.close-ok", "channel.flow-ok", "confirm.select-ok", "access.request-ok"}
    | {f"queue.{name}-ok" for name in ("declare", "bind", "unbind", "purge", "delete")}
    | {f"exchange.{name}-ok" for name in ("declare", "bind", "unbind", "delete")}
    | {f"tx.{name}-ok" for name in ("select", "commit", "rollback")}
    | {f"connection.{name}" for name in ("secure", "tune", "open-ok", "close-ok", "update-secret-ok")}
)
"""What the broker says."""

"""A session: what one authenticated connection does. It hears the protocol's events and answers through the wire.

The connection class's methods are here, for they make and end the session; those of every other class are functions in
`classes/`, one file per AMQP class, found through the table in `classes/__init__.py`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, TypeVar, cast

from broker.core import facts, titles
from broker.core.channel import Channel
from broker.core.classes import HANDLERS
from broker.core.internal_events import INTERNAL_USER
from broker.core.login import Attempt, LoginRefused, Undecided
from broker.core.publisher import Publisher
from protocol import methods
from protocol.constants import ACCESS_REFUSED, CONNECTION_FORCED, FRAME_MIN_BYTES, NOT_ALLOWED
from protocol.errors import AmqpError, ChannelException, ConnectionException, HandshakeFailed
from protocol.events import Tuning
from protocol.methods import Basic, Connection, Method, make
from protocol.tables import Table, decode_fields, encode_fields, plain, text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.core.broker import Broker
    from broker.core.consumers import Consumer
    from broker.core.message import Message
    from broker.core.permissions import Identity
    from broker.core.queue import Queue
    from broker.core.vhost import VHost
    from protocol.events import PublishMethod, Wire

log = logging.getLogger("connection")
channel_log = logging.getLogger("channel")

CAPABILITIES: Final = frozenset({"authentication_failure_close", "connection.blocked", "consumer_cancel_notify"})
"""Of what clients say that they can, what makes a difference here. A peer may make up a thousand others."""
E = TypeVar("E", bound=AmqpError)


class Peer(NamedTuple):
    """Who is at the other end: `name` is RabbitMQ's for a connection, `127.0.0.1:50512 -> 127.0.0.1:5672`."""

    name: str
    is_loopback: bool
    address: str = ""
    """The IP address that it comes from, as text; with a PROXY header, the one that the proxy names."""
    is_tls: bool = False
    tls_version: str = ""
    """OpenSSL's name, TLSv1.3."""
    tls_cipher: str = ""
    certificate_name: str | None = None
    """The user name in the client certificate (ssl_cert_login_from), if it presented one that was verified."""


class Session:
    """One connection of one client (protocol.events.Events)."""

    __slots__ = (
        "__weakref__", "_again", "_client_properties", "blocked", "broker", "capabilities", "channels", "congested", "connected_at_ms",
        "ended", "entered", "exclusive_queues", "generated_name", "had_its_share", "identity", "is_introduced", "mechanism", "own_name",
        "peer", "process", "publisher", "received_bytes", "received_reads", "sent_bytes", "sent_writes", "vhost", "wire",
    )  # fmt: skip

    channel_type: ClassVar[type[Channel]] = Channel
    publisher_type: ClassVar[type[Publisher]] = Publisher
    wire: Wire
    identity: Identity
    vhost: VHost

    def __init__(self, broker: Broker, peer: Peer) -> None:
        self.broker = broker
        self.peer = peer
        self.process = broker.next_process()
        self.connected_at_ms = broker.outbox.clock()
        self.channels: dict[int, Channel] = {}
        self.exclusive_queues: dict[Queue, None] = {}
        self.publisher = self.publisher_type(self)
        self.congested = False
        """The peer doesn't take what it was sent, or has had its share of this turn: no deliveries until it drains."""
        self.had_its_share = False
        """It is only this turn that is over for it."""
        self.blocked = False
        """A publish of its waits for the end of an alarm."""
        self.entered = False
        """It is in its vhost, and counts against limits."""
        self.ended = False
        """Nothing more is said on its channels."""
        self.generated_name = ""
        """The name that a queue without one is to get, if a decision about it is still to come."""
        self._again: Callable[[], object] | None = None
        """The event that is undecided."""
        self.received_bytes = self.received_reads = self.sent_bytes = self.sent_writes = 0
        """What its socket has counted."""
        self.mechanism = ""
        self._client_properties = b""
        self.capabilities: frozenset[str] = frozenset()
        self.own_name = ""
        """The connection_name that the client gave."""
        self.is_introduced = False
        """The log has it at level info: it was let in."""

    def __repr__(self) -> str:
        return f"Session({self.peer.name})"

    @property
    def client_properties(self) -> Table:
        """What the client says of itself in connection.start-ok; empty before the login.

        Kept as bytes and decoded for each call: a table of nothing but empty values takes sixty times as much as what the peer sent.
        """
        return decode_fields(self._client_properties)

    @property
    def uncommitted_bytes(self) -> int:
        """What its transactions hold for their commits."""
        return sum(channel.transaction.bytes for channel in self.channels.values() if channel.transaction is not None)

    # --- events -----------------------------------------------------------------------------------------------------

    def on_protocol_header(self) -> None:
        """See Events."""
        broker = self.broker
        self.wire.start(broker.server_properties, " ".join(broker.authenticator.mechanisms(self.peer)), "en_US")

    def on_publishes(self, channel: int, routing: bytes, bits: int, headers: Sequence[bytes], bodies: list[bytes]) -> int:
        """See Events."""
        try:
            return self.publisher.publish(self.channels[channel], routing, bits, headers, bodies)
        except ChannelException as error:
            self._close_channel(channel, error, Basic.Publish)
        except ConnectionException as error:
            error.channel = channel
            raise _located(error, Basic.Publish) from error
        except Undecided:
            self._try_again(channel, lambda: self.on_publishes(channel, routing, bits, headers, bodies))
            raise
        return 1

    def on_mixed_publishes(self, methods: list[PublishMethod], headers: list[bytes], bodies: list[bytes]) -> int:
        """See Events."""
        cost = self.publisher.publish_mixed(methods, headers, bodies)
        return self._publish_each(methods, headers, bodies) if cost is None else cost

    def _publish_each(self, methods: list[PublishMethod], headers: list[bytes], bodies: list[bytes], first: int = 0) -> int:
        """One after the other, from `first` on."""
        cost = 0
        for index in range(first, len(methods)):
            method = methods[index]
            if method.channel in self.channels:
                try:
                    cost += self.on_publishes(method.channel, method.routing, method.bits, (headers[index],), [bodies[index]])
                except Undecided:
                    self._again = lambda: self._publish_each(methods, headers, bodies, index)  # noqa: B023 - raised at once
                    raise
        return cost

    def on_acks(self, channel: int, tags: Sequence[int]) -> int:
        """See Events."""
        found = self.channels[channel]
        if found.transaction is not None:
            found.check_not_committing()
            return sum(self.on_ack(channel, tag, False) for tag in tags if channel in self.channels)
        try:
            found.ack(tags)
        except ChannelException as error:
            self._close_channel(channel, error, Basic.Ack)
        return 1

    def on_ack(self, channel: int, tag: int, multiple: bool) -> int:
        """See Events."""
        found = self.channels[channel]
        try:
            return found.on_settle(tag, multiple, None)
        except ChannelException as error:
            self._close_channel(channel, error, Basic.Ack)
        return 1

    def on_method(self, channel: int, method: Method) -> int:
        """See Events."""
        if channel == 0:
            self._connection_method(method)
            return 1
        if isinstance(method, methods.Channel.Open):
            self._check_channel_limits()
            self.channels[channel] = self.channel_type(self, channel)
            self.identity.channels += 1
            self.broker.channels += 1
            self.broker.churn.channel_created += 1
            self.broker.emit("channel.created", lambda: facts.of_channel(self.channels[channel]))
            self.channels[channel].send(make(methods.Channel.OpenOk))
            return 1
        found, broker = self.channels[channel], self.broker
        try:
            if not isinstance(method, methods.Channel.Close):
                found.check_not_committing()
                broker.acting_user = self.identity.name
            HANDLERS[type(method)](self, found, method)
        except ChannelException as error:
            self._close_channel(channel, error, type(method))
        except ConnectionException as error:
            error.channel = channel
            raise _located(error, type(method)) from error
        except Undecided:
            self._try_again(channel, lambda: self.on_method(channel, method))
            raise
        finally:
            broker.acting_user = INTERNAL_USER
        return 1

    def on_channel_error(self, channel: int, error: ChannelException) -> None:
        """See Events."""
        self._close_channel(channel, error, Basic.Publish)

    # --- what is undecided ------------------------------------------------------------------------------------------

    def _try_again(self, channel: int, event: Callable[[], object]) -> None:
        """Keep an event for `retry`. A channel that the broker closes meanwhile takes it along: its frames are dropped anyway."""
        found = self.channels.get(channel)
        self._again = lambda: event() if self.channels.get(channel) is found else None

    def retry(self) -> None:
        """Try the event again that raised Undecided, now that its question was answered. Raises what events raise, Undecided included;
        until it comes back no other event may be heard."""
        again, self._again = self._again, None
        if again is None or self.ended:
            return
        again()
        self.generated_name = ""
        self.identity.conclude()

    # --- channels ---------------------------------------------------------------------------------------------------

    def _close_channel(self, number: int, error: ChannelException, method: type[Method]) -> None:
        self.close_channel(number, _located(error, method))

    def close_channel(self, number: int, error: ChannelException) -> None:
        """Send channel.close; what the channel held goes back."""
        channel = self.channels[number]
        channel_log.error("%s", titles.channel_error(channel, error), extra={"tag": titles.tag(channel.process)})
        self.end_channel(number).write(self.wire.close_channel(number, error))

    def end_channel(self, number: int) -> Channel:
        """The channel is gone, whoever closed it: what it held goes back. The last word, which is the caller's, has its place behind
        the replies that still wait for the disk."""
        channel = self.channels.pop(number)
        self.identity.channels -= 1
        self.broker.channels -= 1
        self.broker.churn.channel_closed += 1
        channel.close()
        self.broker.emit("channel.closed", lambda: facts.of_closed_channel(channel))
        return channel

    def consumer_cancelled(self, consumer: Consumer) -> None:
        """The queue is gone: drop the consumer, and tell the client if it can hear it (contract 6.6)."""
        channel = consumer.channel
        self.broker.cancel(consumer)
        channel.consumers.pop(consumer.tag, None)
        if "consumer_cancel_notify" in self.capabilities and not channel.closed:
            channel.send(make(Basic.Cancel, consumer_tag=consumer.tag, nowait=True))

    def deliver_reply(self, channel: Channel, message: Message) -> None:
        """A reply to this session's direct reply-to consumer (contract 6.8)."""
        tag = channel.reply_consumer
        assert tag is not None
        channel.write(self.wire.delivered(channel.number, tag, channel.take_tag(), message))

    # --- flow -------------------------------------------------------------------------------------------------------

    def congest(self) -> None:
        """The socket is full: no deliveries until `drained`."""
        self.congested = True
        self.had_its_share = False

    def drained(self) -> None:
        """The peer takes more."""
        if self.congested:
            self.congested = self.had_its_share = False
            for channel in self.channels.values():
                for consumer in channel.consumers.values():
                    consumer.wake()

    # --- the connection class ---------------------------------------------------------------------------------------

    def _connection_method(self, method: Method) -> None:
        match method:
            case Connection.StartOk():
                self._start_ok(method, Attempt())
            case Connection.TuneOk():
                self._tune_ok(method)
            case Connection.Open():
                self._open(method)
            case Connection.UpdateSecret():
                self._reply(make(Connection.UpdateSecretOk))
            case Connection.Close():
                self.terminate()
                self._reply(make(Connection.CloseOk))
            case _:
                assert isinstance(method, Connection.CloseOk)

    def _reply(self, method: Method) -> None:
        self.wire.write(self.wire.method(0, method))

    def _start_ok(self, method: Connection.StartOk, attempt: Attempt) -> None:
        properties = cast("Table", method.client_properties)
        said = properties.get("capabilities")
        if said is not None and said.kind == "F":
            self.capabilities = frozenset(name for name, value in plain(said.value).items() if value is True and name in CAPABILITIES)
        self.mechanism = method.mechanism
        own_name = properties.get("connection_name")
        if own_name is not None and own_name.kind == "S":
            self.own_name = text(own_name.value)
        self._log_in(cast("bytes", method.response), encode_fields(properties), attempt)

    def _log_in(self, response: bytes, client_properties: bytes, attempt: Attempt) -> None:
        """Whoever has to wait for a decision is kept as bytes, too."""
        try:
            self.identity = self.broker.authenticator.authenticate(self.mechanism, response, self.peer, attempt)
        except Undecided:
            self._try_again(0, lambda: self._log_in(response, client_properties, attempt))
            raise
        except LoginRefused as refused:
            raise self._refusal(refused) from refused
        self._client_properties = client_properties
        self.broker.emit("user.authentication.success", lambda: facts.of_login(self, self.identity.name))
        tuning = self.wire.tuning
        self._reply(make(Connection.Tune, channel_max=tuning.channel_max, frame_max=tuning.frame_max, heartbeat=tuning.heartbeat))

    def _refusal(self, refused: LoginRefused) -> HandshakeFailed:
        """Tell the peer that its login is refused, if it wants to know, and not why; returns what ends the handshake."""
        reason = str(refused).rpartition("login refused: ")[2]
        self.broker.emit("user.authentication.failure", lambda: facts.of_login(self, refused.user, reason))
        if "authentication_failure_close" in self.capabilities:
            answer = f"Login was refused using authentication mechanism {self.mechanism}. For details see the broker logfile."
            error = ConnectionException(ACCESS_REFUSED, answer)
            self._reply(make(Connection.Close, reply_code=error.code, reply_text=error.reply_text))
        return HandshakeFailed(str(refused), is_refusal=True)

    def _tune_ok(self, method: Connection.TuneOk) -> None:
        offered = self.wire.tuning
        for name, value, limit, least in (
            ("frame_max", method.frame_max, offered.frame_max, FRAME_MIN_BYTES),
            ("channel_max", method.channel_max, offered.channel_max, 1),
        ):
            if limit and (value or 0) > limit:
                raise HandshakeFailed(f"negotiated {name} = {value} is higher than the maximum allowed value ({limit})")
            # 0 is no limit at all, and fine where the server has none either.
            if (value or 0) < least and (limit or value):
                raise HandshakeFailed(f"negotiated {name} = {value} is lower than the minimum allowed value ({least})")
        self.wire.tuned(Tuning(method.channel_max or 0, method.frame_max or 0, method.heartbeat or 0))

    def _open(self, method: Connection.Open) -> None:
        name = method.virtual_host
        try:
            vhost = self._enter(name)
        except ConnectionException as error:
            raise _located(error, type(method)) from error
        except Undecided:
            self._try_again(0, lambda: self._open(method))
            raise
        self.vhost, self.entered = vhost, True
        vhost.sessions[self] = None
        self.identity.connections += 1
        self.broker.connections += 1
        self.broker.churn.connection_created += 1
        self._reply(make(Connection.OpenOk))
        self.introduce(logging.INFO)
        granted = "connection %s: user '%s' authenticated and granted access to vhost '%s'"
        self._log(logging.INFO, granted, titles.named(self), self.user_name, name)
        self.broker.emit("connection.created", lambda: facts.of_connection(self))

    def _enter(self, name: str) -> VHost:
        """The vhost, if it is there and neither a limit nor the user's permissions forbid it: in RabbitMQ's order (contract 1.5)."""
        broker, identity = self.broker, self.identity
        if broker.connection_max is not None and broker.connections >= broker.connection_max:
            text = f"connection refused: node connection limit ({broker.connection_max}) is reached"
            raise ConnectionException(NOT_ALLOWED, text)
        vhost = broker.vhosts.get(name)
        if vhost is None:
            raise ConnectionException(NOT_ALLOWED, f"vhost {name} not found")
        most = vhost.limit("max-connections")
        if most is not None and len(vhost.sessions) >= most:
            text = f"access to vhost '{name}' refused for user '{identity.name}': connection limit ({most}) is reached"
            raise ConnectionException(NOT_ALLOWED, text)
        most = identity.limit("max-connections")
        if most is not None and identity.connections >= most:
            text = f"connection refused for user '{identity.name}': user connection limit ({most}) is reached"
            raise ConnectionException(NOT_ALLOWED, text)
        identity.check_vhost(name)
        return vhost

    def _check_channel_limits(self) -> None:
        """One more channel, if neither the user's limit nor the node's forbids it. RabbitMQ 3.13 names the node where it means the user."""
        broker, identity = self.broker, self.identity
        most = identity.limit("max-channels")
        if most is not None and identity.channels >= most:
            text = f"number of channels opened for user '{identity.name}' has reached the maximum allowed user limit of ({most})"
            raise ConnectionException(NOT_ALLOWED, text)
        most = broker.channel_max_per_node
        if most is not None and broker.channels >= most:
            text = f"number of channels opened on node '{broker.node}' has reached the maximum allowed limit of ({most})"
            raise ConnectionException(NOT_ALLOWED, text)

    # --- the log ----------------------------------------------------------------------------------------------------

    @property
    def user_name(self) -> str | None:
        """Who it is, once that is known."""
        identity: Identity | None = getattr(self, "identity", None)
        return None if identity is None else identity.name

    @property
    def vhost_name(self) -> str | None:
        """The vhost that it has entered."""
        vhost: VHost | None = getattr(self, "vhost", None)
        return None if vhost is None else vhost.name

    def introduce(self, level: int) -> None:
        """Write that it is accepted. That waits until it is let in, and is of interest to nobody where it isn't: a storm of refused
        connections leaves a line for each, the one that says why."""
        if not self.is_introduced:
            self.is_introduced = level >= logging.INFO
            self._log(level, "accepting AMQP connection %s", titles.address(self))
            if self.own_name:
                self._log(level, "connection %s has a client-provided name: %s", titles.address(self), self.own_name)

    def _log(self, level: int, text: str, *arguments: object) -> None:
        log.log(level, text, *arguments, extra={"tag": titles.tag(self.process)})

    # --- the end ----------------------------------------------------------------------------------------------------

    def terminate(self) -> None:
        """The connection is gone or going: everything it held goes back or is deleted (contract 1.12)."""
        for number in list(self.channels):
            self.end_channel(number)
        for queue in list(self.exclusive_queues):
            queue.vhost.delete_queue(queue)
        self.broker.sessions.pop(self, None)
        if not self.ended:
            self.broker.emit("connection.closed", lambda: facts.of_closed_connection(self))
        self.ended = True
        if self.entered:
            self.entered = False
            del self.vhost.sessions[self]
            self.vhost.received_bytes += self.received_bytes
            self.vhost.sent_bytes += self.sent_bytes
            self.identity.connections -= 1
            self.broker.connections -= 1
            self.broker.churn.connection_closed += 1

    def close_connection(self, error: AmqpError) -> None:
        """Send connection.close; what the session held goes at once."""
        if self.vhost_name is None:
            self.introduce(logging.DEBUG)
        self._log(logging.ERROR, "%s", titles.connection_error(self, error))
        self.terminate()
        self.wire.close(error)

    def force_close(self, reason: str) -> None:
        """Close for a reason of the operator's (contract 1.9)."""
        self.close_connection(ConnectionException(CONNECTION_FORCED, reason))


def _located(error: E, method: type[Method]) -> E:
    """The error with the ids of the method at fault, unless it has some."""
    if not error.class_id:
        error.class_id, error.method_id = methods.ids(method)
    return error

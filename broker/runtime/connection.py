"""One TCP connection: bytes in, bytes out, and what the socket can and can't take.

Between the socket and the session lies protocol.connection. A connection stops being read while its budget for the turn is
spent, while the disk is behind its publishes, for a moment each time while it floods a queue and outruns its consumers, from its first
publish during an alarm to the end of all alarms, while it leaves far more unread than deliveries alone can amount to, and while
somebody else decides what it may do (the *decision* that its last event waits for; see broker.core.login). It stops being delivered to
(the session is *congested*) as soon as the socket's buffer is full.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, ClassVar, ParamSpec, TypeVar, cast

from broker.core import titles
from broker.core.consumers import TURN_OUTPUT_BYTES
from broker.core.login import Undecided
from broker.core.session import Peer
from protocol import methods
from protocol.connection import ServerConnection
from protocol.constants import CLOSE_DELAY_SECONDS, INTERNAL_ERROR, RESOURCE_ERROR
from protocol.errors import ConnectionException, FramingException, HandshakeFailed
from protocol.events import Tuning
from protocol.states import HANDSHAKE, ConnectionState

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.config import Config
    from broker.core.login import Question
    from broker.runtime.decider import Asked
    from broker.runtime.turn import Turn
    from protocol.events import Events

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("connection")

FLOOD_BYTES = 65_536
"""Who sends so much at a time may be asked to wait; others would only wait for an answer."""
TURN_COST = 5000
"""Messages put into queues by one connection's read in one turn."""
UNSENT_HIGH_BYTES = 2 * TURN_OUTPUT_BYTES
UNSENT_MAX_BYTES = 16_777_216
"""Replies alone can fill a socket whose peer doesn't read: past this it isn't read from either."""
DRAINED_MAX_BYTES = 1_048_576
"""What is still taken from a peer whose end is settled, and thrown away, so that closing doesn't reset the connection under our last
words. Who floods on isn't read from."""
REASON_MAX = 500
"""Characters of what a log line says of a broken handshake: a user name may fill a frame."""
CLOSE_OK_SECONDS_MAX = 30.0
FINISH_SECONDS = 1.0
"""How long the peer has to close its side after the last word."""


class Connection(asyncio.Protocol):
    """See the module; made by the listeners, one per socket."""

    wire_type: ClassVar[type[ServerConnection]] = ServerConnection

    def __init__(self, turn: Turn, config: Config, connections: set[Connection], peer: Peer | None = None) -> None:
        """`peer` is given where more is known of it than its address (runtime.acceptor)."""
        self._peer = peer
        self._turn = turn
        self._config = config
        self._connections = connections
        self._pauses: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._asked: Asked | None = None
        """The question that a decision waits for."""
        self._ending = False
        """Nothing more is read: the socket is to be closed."""
        self._is_leaving = False
        """Told that it is closed; its close-ok is waited for."""
        self._drained_bytes = 0
        self.heard = False
        """Something came in since the last heartbeat check."""
        self.spoke = True

    # --- asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        if self._turn.is_suspended or not self._turn.descriptors.has_room_for(self._transport.get_extra_info("socket").fileno()):
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=UNSENT_HIGH_BYTES)
        self._connections.add(self)
        if not self._config.tcp_options.nodelay:
            _delay(self._transport)
        peer = self._peer or peer_of(self._transport.get_extra_info("peername"), self._transport.get_extra_info("sockname"))
        self.name = peer.name
        self.session = self._turn.broker.open_session(peer)
        self._connect(self.session)
        self.wire.holding = bool(self._turn.alarms.active)
        self._timer = asyncio.get_running_loop().call_later(self._config.handshake_timeout_seconds, self._handshake_timeout)

    def _connect(self, events: Events) -> None:
        """Put the protocol between the socket and the session, which hears the `events`."""
        self.wire = self.wire_type(events, _tuning(self._config), self._config.max_message_size_bytes, self._output_ready)
        self.session.wire = self.wire

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self.heard = True
        session = self.session
        session.received_bytes += len(data)
        session.received_reads += 1
        if not self._ending:
            self._read(data)
            return
        self._drained_bytes += len(data)
        if self._drained_bytes > DRAINED_MAX_BYTES:
            self._pause("ended")

    def eof_received(self) -> bool:
        """See asyncio.Protocol: the peer won't write any more, so it is gone."""
        return False

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self.session.congest()
        if self._transport.get_write_buffer_size() > UNSENT_MAX_BYTES:
            self._pause("unsent")

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._resume("unsent")
        self.session.drained()
        self._turn.schedule()

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        if self not in self._connections:
            return
        self._connections.discard(self)
        self._cancel_timer()
        self._drop_question()
        if self.wire.state is ConnectionState.WAITING_HEADER and not self.heard:
            # Somebody looks whether the port is open.
            self._log(logging.DEBUG, "closing AMQP connection %s:\nconnection_closed_with_no_data_received", titles.named(self.session))
        elif self.wire.state not in (ConnectionState.CLOSED, ConnectionState.CLOSING) and not self._ending:
            state = "" if self.wire.state is ConnectionState.RUNNING else f" in state {self.wire.state.value}"
            text = "closing AMQP connection %s:\nclient unexpectedly closed TCP connection%s"
            self._log(logging.WARNING, text, titles.full(self.session), state)
        self._ending = True
        self.session.terminate()
        self._turn.schedule()

    # --- reading ----------------------------------------------------------------------------------------------------

    def read_on(self) -> None:
        """Go on where the budget stopped, unless the disk or the peer isn't ready for more: then once it is."""
        if self._pauses - {"budget"}:
            return
        self._resume("budget")
        if not self._ending:
            self._read(b"")

    def consumers_caught_up(self) -> None:
        """The same, or they have waited long enough."""
        self._resume("flow")

    def disk_caught_up(self) -> None:
        """Publishes may come in again."""
        self._resume("disk")

    def _read(self, data: bytes) -> None:
        turn = self._turn
        whole = self._heard(self.wire.receive_data, data, TURN_COST)
        if whole is not None:
            if not whole:
                self._pause("budget")
                if self.wire.holding and self.wire.held:
                    self._block()
                else:
                    turn.read_later(self)
            if turn.committer.is_behind and self.session.publisher.has_published:
                self._pause("disk")
                turn.read_when_durable(self)
            if len(data) >= FLOOD_BYTES and self.session.publisher.outruns:
                self._pause("flow")
                turn.read_when_taken(self)
        if self.wire.state is ConnectionState.CLOSED:
            turn.flush_later(self)
        turn.schedule()

    def _heard(self, hear: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T | None:
        """What `hear` returns; None if what it heard was wrong, and has been answered, or is undecided, and waits."""
        try:
            return hear(*arguments, **keywords)
        except HandshakeFailed as error:
            self._refuse(error)
        except FramingException as error:
            self._fail(error)
            self._end_after(CLOSE_DELAY_SECONDS)
        except ConnectionException as error:
            self._fail(error)
        except Undecided as undecided:
            self._wait_for(undecided.question)
        except Exception:
            # A bug in the broker costs the connection that met it, and no other; the log has the traceback.
            tag = titles.tag(self.session.process)
            log.exception("internal error on AMQP connection %s", titles.full(self.session), extra={"tag": tag})
            self._fail(ConnectionException(INTERNAL_ERROR, "the broker met an internal error, see its log"))
        return None

    def _pause(self, why: str) -> None:
        if not self._pauses and not self._transport.is_closing():
            self._transport.pause_reading()
        self._pauses.add(why)

    def _resume(self, why: str) -> None:
        if why in self._pauses:
            self._pauses.discard(why)
            if self._pauses == {"budget"}:
                self._turn.read_later(self)
            elif not self._pauses and not self._transport.is_closing():
                self.heard = True
                self._transport.resume_reading()

    # --- decisions --------------------------------------------------------------------------------------------------

    def _wait_for(self, question: Question) -> None:
        """The last event waits for an answer, and all that comes after it waits too. What was read and not heard goes on as after a
        spent budget."""
        self._pause("decision")
        self._pause("budget")
        self._asked = self._turn.decider.ask(question, self._decided)

    def _decided(self) -> None:
        """There is an answer: try the event again, which may lead to the next question."""
        self._asked = None
        self._heard(self.session.retry)
        if self._asked is None:
            self._resume("decision")
        if self.wire.state is ConnectionState.CLOSED:
            self._turn.flush_later(self)
        self._turn.schedule()

    def _drop_question(self) -> None:
        """The connection is going: the answer doesn't matter any more."""
        if self._asked is not None:
            self._asked.cancel()
            self._asked = None
            self._resume("decision")

    # --- alarms -----------------------------------------------------------------------------------------------------

    def hold_publishes(self) -> None:
        """An alarm is on: the next publish blocks the connection."""
        self.wire.holding = True

    def release_publishes(self) -> None:
        """No alarm is on any more: go on with the publish that waits, if one does."""
        self.wire.holding = False
        if self.is_blocked:
            self.session.blocked = False
            self._say(methods.Connection.Unblocked())
            self._resume("alarm")

    def _block(self) -> None:
        """A publish came during an alarm: it waits, and all that comes after it, acks too, as in RabbitMQ."""
        self._pause("alarm")
        self.session.blocked = True
        self._say(methods.make(methods.Connection.Blocked, reason=self.blocked_reason))

    @property
    def blocked_reason(self) -> str:
        """Why its publishes wait, if they do."""
        return self._turn.alarms.reason

    def _say(self, method: methods.Method) -> None:
        """What only clients hear that asked for it."""
        if "connection.blocked" in self.session.capabilities and self.wire.state is ConnectionState.RUNNING:
            self.wire.send(0, method)

    @property
    def is_blocked(self) -> bool:
        """A publish of its waits for the end of the alarms."""
        return "alarm" in self._pauses

    @property
    def held_bytes(self) -> int:
        """What it holds beside the queues: unsent output, input that isn't finished, and publishes that aren't committed.

        Blocked input doesn't count, but for what was taken in before: it waits for the end of the alarm, which it could put off for ever.
        """
        wire = self.wire
        held = self._transport.get_write_buffer_size() + wire.unfinished_bytes + self.session.uncommitted_bytes
        return held - wire.buffered_bytes if "alarm" in self._pauses else held

    @property
    def stuck_bytes(self) -> int:
        """What of it only this peer can end: input that isn't finished, publishes that aren't committed, and replies far past what a peer
        that doesn't read is otherwise sent (direct reply-to)."""
        unsent = self._transport.get_write_buffer_size() - UNSENT_MAX_BYTES
        return self.wire.unfinished_bytes - self.wire.buffered_bytes + self.session.uncommitted_bytes + max(unsent, 0)

    def give_up(self) -> None:
        """It holds too much: end it, so that others can go on. One that doesn't read needn't be told why."""
        if self.session.congested or self.wire.state is not ConnectionState.RUNNING:
            text = "closing AMQP connection %s:\nwhat it doesn't finish, commit or read takes too much memory"
            self._log(logging.ERROR, text, titles.full(self.session))
            self.abort()
            return
        self.session.close_connection(ConnectionException(RESOURCE_ERROR, "unfinished or uncommitted messages take too much memory"))

    @property
    def pauses(self) -> list[str]:
        """Why it isn't read from."""
        return sorted(self._pauses)

    @property
    def is_paused(self) -> bool:
        """It isn't read from, so its silence means nothing."""
        return bool(self._pauses)

    # --- writing ----------------------------------------------------------------------------------------------------

    def _output_ready(self) -> None:
        self._turn.flush_later(self)

    def flush(self) -> None:
        """Write the turn's output, once."""
        transport = self._transport
        data = self.wire.data_to_send()
        if transport.is_closing():
            return
        if data:
            transport.write(data)
            self.spoke = True
            session = self.session
            session.sent_bytes += len(data)
            session.sent_writes += 1
        state = self.wire.state
        if state is ConnectionState.RUNNING:
            if self.session.congested and transport.get_write_buffer_size() <= UNSENT_HIGH_BYTES:
                self.session.drained()
            elif transport.get_write_buffer_size() > UNSENT_MAX_BYTES:
                self._pause("unsent")
            if self._timer is not None:
                self._cancel_timer()
        elif state is ConnectionState.CLOSED and not self._ending:
            level = logging.INFO if self.session.is_introduced else logging.DEBUG
            self._log(level, "closing AMQP connection %s", titles.full(self.session))
            self._finish()
        elif state is ConnectionState.CLOSING and not self._ending and not self._is_leaving:
            self._await_close_ok()

    # --- ends -------------------------------------------------------------------------------------------------------

    def _await_close_ok(self) -> None:
        """Whoever had it closed, its close-ok is to be heard, whatever the alarms and what nobody has decided yet. What it published is
        dropped."""
        self._is_leaving = True
        # That of the handshake, if the connection was opened in this turn.
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(self._patience, self.abort)
        self._drop_question()
        self.wire.holding = False
        self._resume("alarm")

    def _handshake_timeout(self) -> None:
        self._timer = None
        if self._asked is not None:
            # It is not the peer who takes long.
            self._timer = asyncio.get_running_loop().call_later(self._config.handshake_timeout_seconds, self._handshake_timeout)
        elif self.wire.state in HANDSHAKE:
            text = "closing AMQP connection %s:\nhandshake_timeout: the client did not finish the handshake (state %s)"
            self._log(logging.ERROR, text, titles.named(self.session), self.wire.state.value)
            self.abort()

    def _refuse(self, error: HandshakeFailed) -> None:
        """The handshake is broken: say nothing more, and close after a while, as RabbitMQ does."""
        if error.is_refusal:
            self._log(logging.ERROR, "%s", titles.refusal(self.session, error.reason[:REASON_MAX]))
        else:
            why = "failed to negotiate connection parameters: " if self.wire.state is ConnectionState.TUNING else ""
            self._log(logging.ERROR, "closing AMQP connection %s:\n%s%s", titles.named(self.session), why, error.reason[:REASON_MAX])
        self.session.terminate()
        if self.wire.state is ConnectionState.CLOSED:
            self.flush()
        else:
            self._end_after(CLOSE_DELAY_SECONDS)

    def _fail(self, error: ConnectionException) -> None:
        """The peer broke the protocol: tell it with connection.close, and hear on for its close-ok. What is wrong later only ends it."""
        if self.wire.state is ConnectionState.CLOSING:
            self._end_after(CLOSE_DELAY_SECONDS)
            return
        self._cancel_timer()
        self.session.close_connection(error)
        self._pause("budget")
        self._turn.read_later(self)

    def _finish(self) -> None:
        """Everything is said: close our side, and let the peer close its own. Closing at once, with bytes of the peer's unread, would
        make the kernel reset the connection, and the peer lose our last words."""
        self._end_after(FINISH_SECONDS)
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _end_after(self, seconds: float) -> None:
        self._ending = True
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._close)

    def _close(self) -> None:
        """Close the socket as soon as all is sent; a peer that doesn't read won't hold it for ever."""
        self._timer = asyncio.get_running_loop().call_later(self._patience, self.abort)
        self._transport.close()

    @property
    def _patience(self) -> float:
        """Seconds that a peer has for the last step of its end."""
        return min(self.wire.tuning.heartbeat or CLOSE_OK_SECONDS_MAX, CLOSE_OK_SECONDS_MAX)

    def stop_reading(self) -> None:
        """Nothing more is taken from the peer until `force_close`."""
        self._pause("stop")

    def force_close(self, reason: str) -> None:
        """Tell the peer that the broker ends it; during the handshake there is nobody to tell."""
        if self.wire.state is ConnectionState.RUNNING:
            self.session.force_close(reason)
        elif self.wire.state is not ConnectionState.CLOSING:
            self.abort()
        self._drop_question()
        self._resume("stop")

    def end_for_silence(self) -> None:
        """Heartbeats were agreed on and none came (contract 1.6)."""
        text = "closing AMQP connection %s:\nmissed heartbeats from client, timeout: %ds"
        self._log(logging.ERROR, text, titles.named(self.session), self.wire.tuning.heartbeat)
        self._ending = True
        self.abort()

    def abort(self) -> None:
        """Close the socket now, whatever is unsent."""
        self._ending = True
        self._cancel_timer()
        self._transport.abort()

    def _log(self, level: int, text: str, *arguments: object) -> None:
        if log.isEnabledFor(level):
            self.session.introduce(logging.DEBUG)
            log.log(level, text, *arguments, extra={"tag": titles.tag(self.session.process)})

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _tuning(config: Config) -> Tuning:
    return Tuning(config.channel_max, config.frame_max_bytes, config.heartbeat_seconds)


def _delay(transport: asyncio.Transport) -> None:
    """Small writes may wait for others (tcp_listen_options.nodelay = false); asyncio has set the opposite."""
    bare = transport.get_extra_info("socket")
    if bare is not None:
        bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)


def peer_of(remote: tuple[str, int] | None, local: tuple[str, int] | None) -> Peer:
    """The peer at `remote`, an address and a port (and more, for IPv6), that came in at `local`."""
    if not remote or not local:
        return Peer("unknown", False)
    host = str(remote[0])
    loopback = host.startswith(("127.", "::ffff:127.")) or host == "::1"
    return Peer(f"{_address(remote)} -> {_address(local)}", loopback, host)


def _address(name: tuple[str, int]) -> str:
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

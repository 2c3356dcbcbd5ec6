"""A connection of a broker under test: what is said on it passes those who write it down, and faults (broker.testing.through).

While the clock is frozen each frame has a turn of its own (broker.testing.timing.wire), which begins when all that came before is done.

client -> WatchedWire -> Overheard -> FaultyHearing -> Witness -> Session
client <- WatchedWire <- Repeated  <- FaultySaying             <- Session
"""

from __future__ import annotations

import asyncio
import select
import struct
import time
from typing import TYPE_CHECKING, ClassVar, Final, cast

from broker.testing.faults.connection import FaultyConnection
from broker.testing.faults.interference import FaultyHearing, FaultySaying
from broker.testing.findings.witness import Witness
from broker.testing.talk.conversation import FROM_BROKER, NOTED, Overheard, Repeated
from broker.testing.talk.wording import method_text
from broker.testing.timing.backlog import address_of
from broker.testing.timing.wire import WatchedWire
from protocol.states import ConnectionState

if TYPE_CHECKING:
    from broker.testing.broker import WatchedBroker
    from broker.testing.rig import Rig
    from broker.testing.talk.conversation import Conversation
    from broker.testing.timing.backlog import Address
    from broker.testing.turn import WatchedTurn
    from protocol.connection import ServerConnection
    from protocol.errors import HandshakeFailed
    from protocol.events import Events
    from protocol.methods import Method

DISK_SECONDS_MAX: Final = 1.0
"""While the clock is frozen, frames wait for the disk; but not for one that fails."""
MUCH_BYTES: Final = 4096
LATELY_SECONDS: Final = 1.0
LAST_WORDS_SECONDS: Final = 0.1
"""How long a peer whose test is over has to take connection.close, before its socket goes."""


class WatchedConnection(FaultyConnection):
    """See the module."""

    wire_type: ClassVar[type[ServerConnection]] = WatchedWire
    conversation: Conversation

    @property
    def rig(self) -> Rig:
        """The broker's."""
        return cast("WatchedBroker", self._turn.broker).rig

    def _connect(self, events: Events) -> None:
        self.conversation = self.rig.conversations.begin(self.session)
        self.session.connection = self
        hearing = FaultyHearing(self, self.session, Witness(events, self.session))
        super()._connect(Overheard(hearing, self.conversation))
        self._early = b""
        """What came in while others were not done yet."""
        self._waits_since: float | None = None
        self._sent_much_at = 0.0
        cast("WatchedWire", self.wire).clock = self.rig.clock
        self.session.wire = FaultySaying(self, Repeated(self.wire, self.conversation, self.session))
        if self.rig.time.is_deaf:
            self.hold("time")

    def hold(self, why: str) -> None:
        """Don't hear the peer until `go_on`; its silence means nothing."""
        self._pause(why)

    def go_on(self, why: str) -> None:
        """Hear it again, unless there is another reason not to."""
        self._resume(why)

    def _read(self, data: bytes) -> None:
        if len(data) >= MUCH_BYTES:
            self._sent_much_at = time.monotonic()
        if self.rig.clock.is_frozen and self._has_to_wait():
            self._early += data
            self._pause("budget")
            self._turn.read_later(self)
            return
        self._waits_since = None
        if self._early:
            data, self._early = self._early + data, b""
        self.rig.scheduling.heard(self.session)
        super()._read(data)

    def _has_to_wait(self) -> bool:
        """What was said before isn't done yet, on the disk too; but one that fails is not waited for for ever."""
        if cast("WatchedTurn", self._turn).is_at_rest:
            return False
        now = time.monotonic()
        if self._waits_since is None:
            self._waits_since = now
        return now - self._waits_since < DISK_SECONDS_MAX

    def end(self, reason: str) -> None:
        """Tell the peer that it is over, and close the socket whether it listens or not; what the session held goes at once."""
        if self.wire.state is ConnectionState.RUNNING:
            self.force_close(reason)
            self.flush()
        if self.wire.state is not ConnectionState.CLOSING or self._transport.is_closing():
            self.abort()
            return
        self._cancel_timer()
        self._ending = True
        self._timer = asyncio.get_running_loop().call_later(LAST_WORDS_SECONDS, self.abort)
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    # --- what nobody says -------------------------------------------------------------------------------------------

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        if self not in self._connections:
            return
        self.conversation.stir()
        if self._ending or self.wire.state in (ConnectionState.CLOSING, ConnectionState.CLOSED):
            self.conversation.remark("closed")
        else:
            self.conversation.failed(0, NOTED, "the client is gone without connection.close")
        super().connection_lost(error)
        self.rig.conversations.end(self.session, has_spoken=self.session.received_bytes > 0)

    def end_for_silence(self) -> None:
        """See Connection."""
        self.conversation.failed(0, NOTED, f"no heartbeat from the client ({self.wire.tuning.heartbeat} s were agreed on)")
        super().end_for_silence()

    def _refuse(self, error: HandshakeFailed) -> None:
        self.conversation.failed(0, NOTED, error.reason)
        super()._refuse(error)

    def _say(self, method: Method) -> None:
        if "connection.blocked" in self.session.capabilities:
            self.conversation.method(0, FROM_BROKER, method)
        else:
            self.conversation.remark(f"{method_text(method)}, which the client hasn't asked to be told")
        super()._say(method)

    # --- what is on its way -----------------------------------------------------------------------------------------

    @property
    def unsent_bytes(self) -> int:
        """What the socket hasn't taken yet."""
        return int(self._transport.get_write_buffer_size()) + self.wire.output_bytes

    @property
    def unread_bytes(self) -> int:
        """What the socket has and nobody has read; where the system doesn't say how much, 1 for some."""
        descriptor = self.descriptor
        return 0 if descriptor < 0 or self._transport.is_closing() else _unread_bytes(descriptor)

    @property
    def addresses(self) -> tuple[Address, Address]:
        """This end's, and the peer's."""
        return address_of(self._transport.get_extra_info("sockname")), address_of(self._transport.get_extra_info("peername"))

    @property
    def sent_much_lately(self) -> bool:
        """The peer may have more to send than fits into the socket's buffers."""
        return time.monotonic() - self._sent_much_at < LATELY_SECONDS

    @property
    def heard_bytes(self) -> int:
        """What was read, and understood."""
        return self.session.received_bytes - self.wire.buffered_bytes - len(self._early)

    @property
    def has_more(self) -> bool:
        """The peer has sent something that can be heard and isn't yet."""
        return not (self._ending or self._pauses - {"budget", "disk"}) and ("budget" in self._pauses or self.unread_bytes > 0)

    @property
    def descriptor(self) -> int:
        """The socket's number."""
        return int(self._transport.get_extra_info("socket").fileno())


def _unread_bytes(descriptor: int) -> int:
    try:
        import fcntl
        import termios
    except ImportError:  # Windows
        return len(select.select([descriptor], (), (), 0)[0])
    count: int = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))[0]
    return count

"""A connection of a broker under test: what is said on it passes those who write it down, and faults (broker.testing.through).

client -> ServerConnection -> Overheard -> FaultyHearing -> Witness -> Session
client <- ServerConnection <- Repeated  <- FaultySaying             <- Session
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from broker.testing.conversation import FROM_BROKER, NOTED, Overheard, Repeated
from broker.testing.faults.connection import FaultyConnection
from broker.testing.faults.interference import FaultyHearing, FaultySaying
from broker.testing.findings.witness import Witness
from broker.testing.wording import method_text
from protocol.states import ConnectionState

if TYPE_CHECKING:
    from broker.testing.broker import WatchedBroker
    from broker.testing.conversation import Conversation
    from broker.testing.rig import Rig
    from protocol.errors import HandshakeFailed
    from protocol.events import Events
    from protocol.methods import Method

LAST_WORDS_SECONDS: Final = 0.1
"""How long a peer whose test is over has to take connection.close, before its socket goes."""


class WatchedConnection(FaultyConnection):
    """See the module."""

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
        self.session.wire = FaultySaying(self, Repeated(self.wire, self.conversation, self.session))

    def hold(self) -> None:
        """Don't hear the peer until `go_on`."""
        self._pause("standstill")

    def go_on(self) -> None:
        """Hear it again."""
        self._resume("standstill")

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
            self.conversation.note("closed")
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
            self.conversation.note(f"{method_text(method)}, which the client hasn't asked to be told")
        super()._say(method)

    # --- what is on its way -----------------------------------------------------------------------------------------

    @property
    def unsent_bytes(self) -> int:
        """What the socket hasn't taken yet."""
        return int(self._transport.get_write_buffer_size()) + self.wire.output_bytes

    @property
    def descriptor(self) -> int:
        """The socket's number."""
        return int(self._transport.get_extra_info("socket").fileno())

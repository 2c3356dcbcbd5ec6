"""A connection of a broker under test: what is said on it passes those who write it down, and faults (broker.testing.through).

client -> ServerConnection -> Overheard -> FaultyHearing -> Witness -> Session
client <- ServerConnection <- Repeated  <- FaultySaying             <- Session
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from broker.runtime.connection import Connection
from broker.testing.conversation import Overheard, Repeated
from broker.testing.faults.interference import FaultyHearing, FaultySaying
from broker.testing.findings.witness import Witness
from protocol.states import ConnectionState

if TYPE_CHECKING:
    from protocol.events import Events

LAST_WORDS_SECONDS: Final = 0.1
"""How long a peer whose test is over has to take connection.close, before its socket goes."""


class WatchedConnection(Connection):
    """See the module."""

    def _connect(self, events: Events) -> None:
        super()._connect(Overheard(FaultyHearing(Witness(events, self.session))))
        self.session.wire = FaultySaying(Repeated(self.wire))

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

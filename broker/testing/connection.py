"""A connection of a broker under test: what is said on it passes those who write it down, and faults (broker.testing.through).

client -> ServerConnection -> Overheard -> FaultyHearing -> Session
client <- ServerConnection <- Repeated  <- FaultySaying  <- Session
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.runtime.connection import Connection
from broker.testing.conversation import Overheard, Repeated
from broker.testing.faults.interference import FaultyHearing, FaultySaying

if TYPE_CHECKING:
    from protocol.events import Events


class WatchedConnection(Connection):
    """See the module."""

    def _connect(self, events: Events) -> None:
        super()._connect(Overheard(FaultyHearing(events)))
        self.session.wire = FaultySaying(Repeated(self.wire))

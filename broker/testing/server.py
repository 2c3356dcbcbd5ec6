"""The server of a broker under test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from broker.runtime.server import Server
from broker.testing.connection import WatchedConnection
from broker.testing.faults.alarms import OrderedAlarms
from broker.testing.timing.advance import Advance
from broker.testing.turn import WatchedTurn

if TYPE_CHECKING:
    from broker.testing.broker import WatchedBroker


class WatchedServer(Server):
    """See the module."""

    turn_type = WatchedTurn
    connection_type = WatchedConnection
    alarms_type = OrderedAlarms
    stop_seconds_max = 0.1
    """Clients of a test that is over don't answer any more."""

    def __init__(self, broker: WatchedBroker, *arguments: Any) -> None:
        """`arguments` are those of Server."""
        super().__init__(broker, *arguments)
        broker.rig.server = self
        turn = cast("WatchedTurn", self.turn)
        broker.rig.time = Advance(broker, turn, cast("set[WatchedConnection]", self.connections), self._loop)

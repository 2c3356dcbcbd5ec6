"""The server of a broker under test."""

from __future__ import annotations

from broker.runtime.server import Server
from broker.testing.connection import WatchedConnection
from broker.testing.turn import WatchedTurn


class WatchedServer(Server):
    """See the module."""

    turn_type = WatchedTurn
    connection_type = WatchedConnection
    stop_seconds_max = 0.1
    """Clients of a test that is over don't answer any more."""

"""Heartbeats (contract 1.6), all by one timer.

Twice a second each connection is looked at: not a timer per connection, and no clock read per message. A connection that
said nothing for half its interval is sent a heartbeat; one that was not heard from for two and a half intervals is gone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from protocol.states import ConnectionState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.runtime.connection import Connection

CHECK_SECONDS = 0.5
SILENT_INTERVALS_MAX = 2.5


class Heartbeats:
    """Watches the connections it was given, live."""

    def __init__(self, connections: Iterable[Connection]) -> None:
        self._connections = connections
        self._silence: dict[Connection, list[float]] = {}
        """Seconds since the connection was heard, and since it was spoken to."""
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin; needs a running loop."""
        self._handle = asyncio.get_running_loop().call_later(CHECK_SECONDS, self._check)

    def stop(self) -> None:
        """End."""
        if self._handle is not None:
            self._handle.cancel()

    def _check(self) -> None:
        self.start()
        known, self._silence = self._silence, {}
        for connection in list(self._connections):
            if connection.wire.state is ConnectionState.RUNNING and connection.wire.tuning.heartbeat:
                self._silence[connection] = self._check_one(connection, *known.get(connection, (0.0, 0.0)))

    def _check_one(self, connection: Connection, unheard: float, unspoken: float) -> list[float]:
        interval = connection.wire.tuning.heartbeat
        unheard = 0.0 if connection.heard or connection.is_paused else unheard + CHECK_SECONDS
        unspoken = 0.0 if connection.spoke else unspoken + CHECK_SECONDS
        connection.heard = connection.spoke = False
        if unheard >= interval * SILENT_INTERVALS_MAX:
            connection.end_for_silence()
        elif unspoken >= interval / 2:
            connection.wire.heartbeat()
            unspoken = 0.0
        return [unheard, unspoken]

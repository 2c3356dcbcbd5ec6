"""The turn of a broker under test."""

from __future__ import annotations

from broker.runtime.turn import Turn


class WatchedTurn(Turn):
    """See the module."""

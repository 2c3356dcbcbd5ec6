"""The turn of a broker under test: others hear when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from broker.runtime.turn import Turn

if TYPE_CHECKING:
    from broker.testing.broker import WatchedBroker


class WatchedTurn(Turn):
    """See the module."""

    def _end(self) -> None:
        super()._end()
        for look in cast("WatchedBroker", self.broker).rig.after_turn:
            look()

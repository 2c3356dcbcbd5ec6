"""The protocol of a connection of a broker under test: while the clock is frozen it is read frame by frame.

How a client's bytes are cut into packets depends on time, and runs of like frames on how they are cut. One frame a turn makes what the
broker does a matter of the frames alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from protocol.connection import ServerConnection
from protocol.runs import NOT_SO

if TYPE_CHECKING:
    from broker.testing.timing.clock import Clock
    from protocol.events import PublishMethod

BUDGET_MAX: Final = 500
"""A broker that remembers everything takes longer for each message; what others want, over HTTP too, must not wait longer for that."""


class Forgetful(dict[bytes, "PublishMethod"]):
    """Method frames that are not remembered, so that a run of publishes has one exchange and key: whoever watches tells of each run."""

    def __setitem__(self, frame: bytes, method: PublishMethod) -> None:
        """Do nothing."""


class WatchedWire(ServerConnection):
    """See the module. `clock` is to be set before anything is read."""

    known_type: ClassVar[type[dict[bytes, PublishMethod]]] = Forgetful

    clock: Clock

    def receive_data(self, data: bytes, budget: int) -> bool:
        """See ServerConnection."""
        return super().receive_data(data, 1 if self.clock.is_frozen else min(budget, BUDGET_MAX))

    def _template_run(self, budget: int) -> int:
        return NOT_SO if self.clock.is_frozen else super()._template_run(budget)

    def _publish_run(self, budget: int) -> int:
        return NOT_SO if self.clock.is_frozen else super()._publish_run(budget)

    def _ack_run(self, channel: int) -> int:
        return NOT_SO if self.clock.is_frozen else super()._ack_run(channel)

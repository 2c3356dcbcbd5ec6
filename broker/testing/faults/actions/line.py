"""What can be wrong with the bytes between client and broker. It is about sockets, so seconds are real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from broker.testing.faults.actions.action import ANY_METHOD, Action, Option, State
from broker.testing.faults.line import Impediment
from broker.testing.faults.moment import AFTER, BEFORE, BROKER_METHODS
from protocol.constants import FRAME_OVERHEAD_BYTES
from protocol.framing import frame_header

if TYPE_CHECKING:
    from broker.testing.faults.connection import FaultyConnection
    from broker.testing.faults.line import Flow
    from broker.testing.faults.moment import Moment
    from broker.testing.faults.rule import Rule

TO_CLIENT, FROM_CLIENT, BOTH = DIRECTIONS = ("to_client", "from_client", "both")
DIRECTION = Option("|".join(DIRECTIONS), "which way", BOTH)
GARBAGE_BYTES = 64
NO_TYPE = 0xFF
"""Of no frame."""


class CutFrame(Action):
    """Of what the broker says then only the first `bytes` are sent (half of it, if that isn't given), and the connection is dropped."""

    name = "cut_frame"
    methods = BROKER_METHODS
    on = "basic.deliver"
    options: ClassVar = {"bytes": Option("whole number", "how much of it is sent, 0 for half of it", 0)}

    def act(self, rule: Rule, moment: Moment) -> bool:
        """See Action."""
        moment.cut_bytes = self.given["bytes"]
        return False


class SendGarbage(Action):
    """The broker sends `bytes` bytes (8 at the least) that look like a frame and are none: its type is unknown, its end is wrong, and the
    rest is from the seed. The connection stays; what the client makes of it is its business."""

    name = "send_garbage"
    methods = ANY_METHOD
    on = "*"
    whens = (AFTER, BEFORE)
    options: ClassVar = {"bytes": Option("whole number", "how many", GARBAGE_BYTES)}

    def act(self, rule: Rule, moment: Moment) -> bool:
        """See Action."""
        # With any size nobody would see that it is wrong: clients wait for the end of a frame first.
        size = max(self.given["bytes"] - FRAME_OVERHEAD_BYTES, 0)
        moment.connection.send_bytes(frame_header.pack(NO_TYPE, moment.number, size) + rule.random.randbytes(size) + b"\0")
        return False


class LineFault(State):
    """Something is wrong with the line, for as long as the rule is there. Without `on` it begins at once, on all connections that fit,
    those to come too (once they are open)."""

    def impediment(self) -> Impediment:
        """What is wrong."""
        raise NotImplementedError

    def _flows(self, connection: FaultyConnection) -> list[Flow]:
        direction = self.given["direction"]
        line = connection.line
        return [line.to_client] * (direction != FROM_CLIENT) + [line.from_client] * (direction != TO_CLIENT)

    def begin(self, rule: Rule, connection: FaultyConnection) -> None:
        """See Action."""
        for flow in self._flows(connection):
            flow.impede(rule, self.impediment())

    def end(self, rule: Rule, connection: FaultyConnection) -> None:
        """See Action."""
        for flow in self._flows(connection):
            flow.relieve(rule)


class SlowDown(LineFault):
    """So many bytes a second pass, at the most; with 0 nothing passes, as if the network were gone."""

    name = "slow_down"
    options: ClassVar = {
        "bytes_per_second": Option("number", "how many pass in a second, in each direction", is_required=True),
        "direction": DIRECTION,
    }

    def impediment(self) -> Impediment:
        """See LineFault."""
        return Impediment(bytes_per_second=self.given["bytes_per_second"])


class AddLatency(LineFault):
    """Everything arrives so many (real) seconds later, in each direction."""

    name = "add_latency"
    options: ClassVar = {"seconds": Option("number", "how much later", is_required=True), "direction": DIRECTION}

    def impediment(self) -> Impediment:
        """See LineFault."""
        return Impediment(late_seconds=self.given["seconds"])

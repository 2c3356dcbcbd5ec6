"""Answers that take long, and heartbeats that don't come. It is about sockets, so seconds are real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from broker.testing.faults.actions.action import Action, Option, State
from broker.testing.faults.actions.line import DIRECTION, FROM_CLIENT, TO_CLIENT
from broker.testing.faults.line import Impediment
from broker.testing.faults.moment import CLIENT_METHODS

if TYPE_CHECKING:
    from broker.testing.faults.connection import FaultyConnection
    from broker.testing.faults.moment import Moment
    from broker.testing.faults.rule import Rule


class DelayMethod(Action):
    """What the client says takes effect, and is answered, so many (real) seconds later; what it says on this connection meanwhile waits
    behind it."""

    name = "delay_method"
    methods = CLIENT_METHODS - {"connection.start-ok", "connection.secure-ok", "connection.tune-ok", "connection.open", "connection.close"}
    on = "*"
    options: ClassVar = {"seconds": Option("number", "how much later", is_required=True)}

    def act(self, rule: Rule, moment: Moment) -> bool:
        """See Action."""
        assert moment.session is not None
        moment.session.put_off(moment.number, moment.event, self.given["seconds"])


class StopHeartbeats(State):
    """`to_client`: the broker sends no heartbeats. `from_client`: nothing that the client sends arrives, heartbeats or anything else, so
    the broker ends the connection after two and a half intervals of silence, if heartbeats were agreed on; when the rule is taken away
    before that, what the client sent arrives."""

    name = "stop_heartbeats"
    options: ClassVar = {"direction": DIRECTION}

    def begin(self, rule: Rule, connection: FaultyConnection) -> None:
        """See Action."""
        direction = self.given["direction"]
        if direction != FROM_CLIENT:
            connection.sends_heartbeats = False
        if direction != TO_CLIENT:
            connection.is_deaf = True
            connection.line.from_client.impede(rule, Impediment(bytes_per_second=0))

    def end(self, rule: Rule, connection: FaultyConnection) -> None:
        """See Action."""
        connection.sends_heartbeats, connection.is_deaf = True, False
        connection.line.from_client.relieve(rule)

"""Publishes that no queue gets, and publishers that are blocked."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from broker.testing.faults.actions.action import Action, Option, State
from broker.testing.faults.publisher import UNROUTABLE, Fate
from broker.testing.faults.rule import Pattern

if TYPE_CHECKING:
    from broker.testing.faults.connection import FaultyConnection
    from broker.testing.faults.moment import Moment
    from broker.testing.faults.rule import Rule

PUBLISH = "basic.publish"


class PublishFault(Action):
    """A publish has another end."""

    methods = frozenset({PUBLISH})
    on = PUBLISH


class ReturnPublish(PublishFault):
    """The message is treated as unroutable: one that is mandatory is returned (312 NO_ROUTE), any other is dropped, and both are
    confirmed, as always."""

    name = "return_publish"

    def act(self, rule: Rule, moment: Moment) -> bool:
        """See Action."""
        assert moment.session is not None
        moment.session.publisher.fate = UNROUTABLE
        return False


class QueueFull(PublishFault):
    """The queues that the rule is about (all that the message goes to, if it names none) are full, as with x-overflow=reject-publish: they
    don't get it, and the publisher gets basic.nack. Only a message that some queue would get fits."""

    name = "queue_full"

    def fits(self, moment: Moment) -> bool:
        """See Action."""
        return any(about.queue is not None for about in moment.about)

    def act(self, rule: Rule, moment: Moment) -> bool:
        """See Action."""
        assert moment.session is not None
        queue = rule.order.get("queue")
        moment.session.publisher.fate = Fate(full=None if queue is None else Pattern(queue))
        return False


class BlockPublishers(State):
    """The connection is blocked with its next publish, as by an alarm: connection.blocked with the text as its reason, and nothing more is
    read from it. It ends after `seconds` of the broker's clock, or when the rule is taken away: connection.unblocked, and the publish goes
    on. Connections that only consume don't notice. Without `on` it begins at once, on all connections that fit, those to come too."""

    name = "block_publishers"
    options: ClassVar = {
        "seconds": Option("number", "how long, by the broker's clock"),
        "text": Option("text", "the reason that the client is told", "low on memory"),
    }

    def begin(self, rule: Rule, connection: FaultyConnection) -> None:
        """See Action."""
        connection.block(rule, self.given["text"])
        if self.given["seconds"] is not None:
            rule.hold(self.given["seconds"], lambda: rule.end(connection))

    def end(self, rule: Rule, connection: FaultyConnection) -> None:
        """See Action."""
        connection.unblock(rule)

"""Confirms that go wrong. Which publish is meant is decided when it comes in; the other confirms stay right."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from broker.testing.faults.actions.action import Action, Option

if TYPE_CHECKING:
    from broker.testing.faults.moment import Moment
    from broker.testing.faults.rule import Rule

CONFIRM = "confirm"


class ConfirmFault(Action):
    """A confirm goes wrong."""

    methods = frozenset({CONFIRM})
    on = CONFIRM


class NackConfirms(ConfirmFault):
    """The publisher gets basic.nack though the broker has taken the message, as when a disk fails: whoever publishes again makes a second
    one. For a nack of what was not taken: queue_full."""

    name = "nack_confirms"

    def act(self, rule: Rule, moment: Moment) -> bool:
        """See Action."""
        moment.is_nacked = True
        return False


class WithholdConfirms(ConfirmFault):
    """The confirm never comes, not even when the rule is taken away."""

    name = "withhold_confirms"

    def act(self, rule: Rule, moment: Moment) -> bool:
        """See Action."""
        return True


class DelayConfirms(ConfirmFault):
    """The confirm comes so many seconds of the broker's clock later, or when the rule is taken away."""

    name = "delay_confirms"
    options: ClassVar = {"seconds": Option("number", "how much later, by the broker's clock", is_required=True)}

    def act(self, rule: Rule, moment: Moment) -> bool:
        """See Action."""
        rule.hold(self.given["seconds"], lambda: void(moment.event()))
        return True


def void(_: object) -> None:
    """For a call whose value nobody wants."""

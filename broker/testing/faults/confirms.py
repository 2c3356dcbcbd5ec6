"""Confirms that go wrong: which ones is decided when the publish comes in, so in the order of the client's frames and not of the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from broker.core.confirms import Confirms
from broker.testing.faults.moment import AFTER, BEFORE

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.channel import Channel
    from broker.testing.faults.moment import Moment
    from broker.testing.faults.rule import Rule
    from broker.testing.faults.rules import Rules

    Say = Callable[[int, int], None]


class Ordered(NamedTuple):
    """What is to go wrong when one publish is confirmed."""

    moment: Moment
    before: list[Rule]
    after: list[Rule]


class FaultyConfirms(Confirms):
    """Confirm mode of one channel. Whatever goes wrong with one confirm, the others are right: they leave it out."""

    __slots__ = ("_held_back", "_ordered")

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self._ordered: dict[int, Ordered] = {}
        self._held_back = 0

    @property
    def awaited(self) -> int:
        """How many publishes will be answered without a fault being taken away or the broker's time moving."""
        return self.unconfirmed - self._held_back

    def order(self, moment: Moment, rules: Rules) -> None:
        """Ask the rules about the confirm of the publish that comes next."""
        before, after = rules.hitting(BEFORE, moment), rules.hitting(AFTER, moment)
        if before or after:
            self._ordered[self.published + 1] = Ordered(moment, before, after)

    def settle(self, first: int, last: int) -> None:
        """See Confirms."""
        self._answer(first, last, super().settle)

    def refuse(self, first: int, last: int) -> None:
        """See Confirms."""
        self._answer(first, last, super().refuse)

    def _answer(self, first: int, last: int, say: Say) -> None:
        begin = first
        for tag in sorted(tag for tag in self._ordered if first <= tag <= last):
            if begin < tag:
                say(begin, tag - 1)
            self._answer_one(tag, self._ordered.pop(tag), say)
            begin = tag + 1
        if begin <= last:
            say(begin, last)

    def _answer_one(self, tag: int, ordered: Ordered, say: Say) -> None:
        moment = ordered.moment
        moment.event = lambda: self._say_late(tag, ordered, say)
        for rule in ordered.before:
            if not rule.is_removed and rule.action.act(rule, moment):
                self._held_back += 1
                return
        self._say(tag, ordered, say)

    def _say_late(self, tag: int, ordered: Ordered, say: Say) -> None:
        self._held_back -= 1
        self._say(tag, ordered, say)

    def _say(self, tag: int, ordered: Ordered, say: Say) -> None:
        channel = self.channel
        if channel.closed:
            return
        moment = ordered.moment
        say = super().refuse if moment.is_nacked else say
        with moment.connection.saying(moment, ordered.after):
            say(tag, tag)

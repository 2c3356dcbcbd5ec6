"""Confirms of a channel under test: each publish's life hears what its publisher is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.confirms import Confirms
from broker.testing.lives import kinds
from broker.testing.lives.history import history_of

if TYPE_CHECKING:
    from broker.core.channel import Channel
    from broker.testing.lives.life import Life


class RememberingConfirms(Confirms):
    """See the module."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self.lives: dict[int, Life] = {}
        """By sequence number, of publishes that aren't answered yet."""

    def settle(self, first: int, last: int) -> None:
        """See Confirms."""
        super().settle(first, last)
        self._note(kinds.CONFIRMED, first, last)

    def refuse(self, first: int, last: int) -> None:
        """See Confirms."""
        super().refuse(first, last)
        self._note(kinds.NACKED, first, last)

    def _note(self, what: str, first: int, last: int) -> None:
        history = history_of(self.channel.session.vhost)
        for number in range(first, last + 1):
            life = self.lives.pop(number, None)
            if life is not None:
                history.note(life, what, who=life.by)

"""Deliveries that clients hold and that are no more: a snapshot was restored, or messages were thrown away.

A client can't be told that a delivery has vanished, and will answer for it. So its tag is accepted once, in whatever form (single,
multiple, in a transaction), and nothing comes of it. Everything else about tags stays as AMQP has it: one that was never given, or was
answered before, is still unknown (406).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.core.channel import Channel
from broker.core.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broker.core.consumers import Holder
    from broker.core.message import Message

Leases = dict[int, "tuple[Holder, Message]"]


class ForgivingTransaction(Transaction):
    """A transaction in which vanished deliveries may be answered: a rollback makes their tags known again."""

    __slots__ = ("_answered",)

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self._answered: set[int] = set()
        """Tags of vanished deliveries that were answered in it."""

    def answer(self, tags: Iterable[int]) -> None:
        """These were answered."""
        self._answered.update(tags)

    def vanish(self) -> Leases:
        """What was to be settled by the commit vanishes: what it was, by tag."""
        leases, self._leases, self._settled = self._leases, {}, []
        self._answered.update(leases)
        return leases

    def commit(self) -> None:
        """See Transaction."""
        self._answered.clear()
        super().commit()

    def rollback(self) -> None:
        """See Transaction."""
        channel = self.channel
        assert isinstance(channel, ForgivingChannel)
        channel.vanished |= self._answered
        self._answered.clear()
        super().rollback()


class ForgivingChannel(Channel):
    """A channel that knows which of its deliveries vanished."""

    transaction_type = ForgivingTransaction

    __slots__ = ("vanished",)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.vanished: set[int] = set()
        """The tags that are to be answered yet."""

    def vanish(self) -> Leases:
        """All that it holds vanishes: what it was, by tag. The queues have to be told, and the holders for their credit."""
        leases, self.unacked = self.unacked, {}
        self.vanished.update(leases)
        self.shared_used = 0
        if isinstance(self.transaction, ForgivingTransaction):
            leases |= self.transaction.vanish()
        return leases

    def ack(self, tags: Sequence[int]) -> None:
        """See Channel."""
        if self.vanished:
            tags = [tag for tag in tags if not self._answers(tag)]
        if tags:
            super().ack(tags)

    def requeue(self, tags: Sequence[int]) -> None:
        """See Channel: all is taken back, so nothing is left to be answered."""
        self.vanished.clear()
        super().requeue(tags)

    def _answers(self, tag: int) -> bool:
        if tag not in self.vanished:
            return False
        self.vanished.discard(tag)
        return True

    def on_settle(self, tag: int, multiple: bool, requeue: bool | None) -> int:
        """See Channel."""
        if not self.vanished:
            return super().on_settle(tag, multiple, requeue)
        gone = {each for each in self.vanished if not tag or each <= tag} if multiple else {tag} & self.vanished
        # What lives was given later, so an answer up to a vanished one means none of it.
        count = 0 if tag in gone else super().on_settle(tag, multiple, requeue)
        self.vanished -= gone
        if isinstance(self.transaction, ForgivingTransaction):
            self.transaction.answer(gone)
        return count + len(gone)

"""Consumers of a broker under test: rules are asked about each delivery, and may hold it back."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any, cast

from broker.core.consumers import Consumer, Consumers
from broker.core.message import ID
from broker.testing.faults.moment import BEFORE, HOLD, Moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.core.message import Message
    from broker.testing.faults.queue import FaultyQueue
    from broker.testing.faults.session import FaultySession


class FaultyConsumer(Consumer):
    """One basic.consume."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.holds: dict[object, None] = {}
        """Who keeps it from being delivered anything."""

    @property
    def is_held(self) -> bool:
        """Something keeps it from being delivered anything."""
        return bool(self.holds or cast("FaultyQueue", self.queue).holds)

    def prefetch_left(self) -> int:
        """See Consumer."""
        return 0 if self.is_held else super().prefetch_left()

    def hold(self, who: object) -> None:
        """Nothing is delivered to it until `let_go`."""
        self.holds[who] = None

    def let_go(self, who: object) -> None:
        """It may have messages again, if nobody else holds it; again is fine."""
        self.holds.pop(who, None)
        self.wake()

    def deliver_one(self, redelivered: bool, message: Message) -> bool:
        """Deliver it, if nothing holds it back; whether it went out."""
        queue = cast("FaultyQueue", self.queue)
        connection = cast("FaultySession", self.channel.session).connection
        assert connection is not None
        rules = connection.rules
        moment = Moment.of_delivery(self, redelivered, message)
        if not (queue.lets_all_through or message[ID] in queue.let_through) and rules.act(HOLD, moment):
            return False
        if rules.act(BEFORE, moment):
            return False
        queue.let_through.discard(message[ID])
        with connection.saying(moment):
            self.deliver(redelivered, [message])
        return True


class FaultyConsumers(Consumers):
    """The consumers of one queue."""

    __slots__ = ()

    def deal(self, consumers: Sequence[Consumer], redelivered: bool, run: list[Message]) -> list[Message]:
        """See Consumers. With a rule for any of their connections, it is one message at a time."""
        if not any(_is_concerned(consumer) for consumer in consumers):
            return super().deal(consumers, redelivered, run)
        for position, (message, consumer) in enumerate(zip(run, cycle(consumers), strict=False)):
            if consumer.channel.session.congested or not cast("FaultyConsumer", consumer).deliver_one(redelivered, message):
                return run[position:]
        return []


def _is_concerned(consumer: Consumer) -> bool:
    session = cast("FaultySession", consumer.channel.session)
    return session.connection is not None and session.connection.rules.concern(session)

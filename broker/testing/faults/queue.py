"""A queue of a broker under test, as far as faults go: it may have to wait with its messages."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, cast

from broker.core.message import ID
from broker.core.queue import Queue
from broker.testing.faults.consumers import FaultyConsumers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.core.consumers import Consumer
    from broker.core.message import Message
    from broker.testing.broker import WatchedBroker
    from broker.testing.faults.consumers import FaultyConsumer

ARRIVALS_MAX = 100_000


class FaultyQueue(Queue):
    """See the module."""

    consumers_type = FaultyConsumers

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.holds: dict[object, None] = {}
        """Who keeps it from delivering anything."""
        self.let_through: set[int] = set()
        """Ids of messages that have waited, and may be delivered now."""
        self.lets_all_through = False
        self.gets_nothing = False
        """A basic.get finds nothing, whatever is there."""
        self._kept: dict[int, FaultyConsumer] = {}
        """Who gets nothing until this message has gone to another."""
        self._arrivals: deque[tuple[int, int, int]] = deque(maxlen=ARRIVALS_MAX)
        """First and last id of each run that came in while there was a rule, and when."""
        super().__init__(*arguments, **options)
        self._rules = cast("WatchedBroker", self.vhost.broker).rig.faults

    def enqueue(self, messages: list[Message], body_bytes: int, overhead: int, expiration_ms: int | None = None) -> None:
        """See Queue."""
        super().enqueue(messages, body_bytes, overhead, expiration_ms)
        if self._rules.are_active:
            self._arrivals.append((messages[0][ID], messages[-1][ID], self.outbox.clock()))

    def arrived_ms(self, message_id: int) -> int | None:
        """When the message came in; None if there was no rule then. To be asked in the order of ids: what is older is forgotten."""
        arrivals = self._arrivals
        while arrivals and arrivals[0][1] < message_id:
            arrivals.popleft()
        return arrivals[0][2] if arrivals and arrivals[0][0] <= message_id else None

    def get(self) -> tuple[bool, Message] | None:
        """See Queue."""
        return None if self.gets_nothing else super().get()

    def keep_from(self, consumer: FaultyConsumer, message_id: int) -> None:
        """A message that comes back is for another consumer: this one gets nothing until it has gone."""
        self._kept[message_id] = consumer
        consumer.hold(message_id)

    def lease(self, messages: Sequence[Message]) -> None:
        """See Queue."""
        super().lease(messages)
        self._have_gone(messages)

    def settle(self, messages: list[Message]) -> None:
        """See Queue."""
        super().settle(messages)
        self._have_gone(messages)

    def remove_consumer(self, consumer: Consumer) -> None:
        """See Queue. Where there is no other one left, the last one gets it."""
        super().remove_consumer(consumer)
        if len(self.consumers) < 2:
            self._let_go_of(list(self._kept))

    def _have_gone(self, messages: Sequence[Message]) -> None:
        if self._kept:
            self._let_go_of([message[ID] for message in messages])

    def _let_go_of(self, ids: Sequence[int]) -> None:
        for message_id in ids:
            consumer = self._kept.pop(message_id, None)
            if consumer is not None:
                consumer.let_go(message_id)

    def hold(self, who: object) -> None:
        """Deliver nothing until `let_go`."""
        self.holds[who] = None

    def let_go(self, who: object) -> None:
        """Go on, if nobody else holds it; again is fine."""
        self.holds.pop(who, None)
        if not self.holds:
            for consumer in self.consumers:
                consumer.wake()

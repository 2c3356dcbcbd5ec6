"""A queue of a broker under test."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from broker.core.ready import Ready
from broker.testing.faults.queue import FaultyQueue
from broker.testing.findings.queue import JudgedDeadLetters, JudgedQueue
from broker.testing.lives.dead_letters import RememberingDeadLetters
from broker.testing.lives.queue import RememberingQueue
from broker.testing.timing.consumers import WatchedConsumers

if TYPE_CHECKING:
    from broker.core.dead_letter import DeadLetters
    from broker.testing.vhost import WatchedVHost


class WatchedDeadLetters(JudgedDeadLetters, RememberingDeadLetters):
    """Where its dead letters go."""

    __slots__ = ()


class WatchedQueue(JudgedQueue, RememberingQueue, FaultyQueue):
    """See the module."""

    dead_letters_type: ClassVar[type[DeadLetters]] = WatchedDeadLetters
    consumers_type = WatchedConsumers
    vhost: WatchedVHost

    def serve(self, budget: int = 1 << 30) -> int:
        """See Queue. In an unfair vhost what came back may have to wait for another turn, as if it had come a little later."""
        unfairness = self.vhost.unfairness
        if unfairness is None or not self._may_pass_what_came_back or not unfairness.happens():
            return super().serve(budget)
        came_back, self.ready.returned = self.ready.returned, []
        try:
            return super().serve(budget)
        finally:
            self.ready.give_back(came_back)
            self.touch()

    @property
    def _may_pass_what_came_back(self) -> bool:
        """RabbitMQ puts it back to its place, but only one consumer alone can rely on that. A queue that drops from its head, or can't
        tell where that is, stays out of it."""
        ready = self.ready
        is_plain = type(ready) is Ready and ready.paged is None and self.limit is None and self.message_expiry is None
        return is_plain and len(ready.returned) > 0 and len(ready.fresh) > 0 and len(self.consumers) > 1

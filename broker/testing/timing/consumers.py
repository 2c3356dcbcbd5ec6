"""The consumers of a queue of a broker under test: in an unfair vhost it is left to chance who gets how much."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from broker.testing.faults.consumers import FaultyConsumers

if TYPE_CHECKING:
    from broker.core.consumers import Consumer
    from broker.testing.vhost import WatchedVHost


class WatchedConsumers(FaultyConsumers):
    """See the module. Priorities and single active consumers are as ever; each consumer gets what it gets in order."""

    __slots__ = ()

    def next_round(self, ready: int) -> tuple[list[Consumer], int]:
        """See Consumers: one of those who have credit, and one message or all that it has credit for."""
        first = next(iter(self._all), None)
        unfairness = None if first is None else cast("WatchedVHost", first.queue.vhost).unfairness
        if unfairness is None:
            return super().next_round(ready)
        while self._ring:
            ring = self._ring[next(iter(self._ring))]
            ready_to_take: list[Consumer] = []
            for consumer in list(ring):
                if consumer.credit() > 0:
                    ready_to_take.append(consumer)
                else:
                    self._park(consumer)
            if ready_to_take:
                chosen = unfairness.choose(ready_to_take)
                return [chosen], 1 if chosen.channel.prefetch_shared or unfairness.happens() else chosen.credit()
        return [], 0

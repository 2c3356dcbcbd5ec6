"""In which order queues and consumers are served: fairly, as ever, or as a seed will have it.

AMQP promises an order within one queue, to one consumer. Whatever else seems to be in order (one queue's message before another's, each
consumer in turn) is so by chance, and an application that relies on it fails some day. In an *unfair* vhost it fails soon:

    queues       those that have something to deliver are served in another order each turn
    turns        one of them may have to wait while others go on: until something else came in, or for a moment
    consumers    one gets all that it has credit for, or the next message goes to another (broker.testing.timing.consumers)
    what came back may be passed by others, if more than one consumes the queue (broker.testing.queue)

What chance decides is counted by vhost, so that one test's order doesn't depend on what others do.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final, TypeVar, cast
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.core.outbox import Outbox
    from broker.core.queue import Queue
    from broker.core.session import Session
    from broker.core.vhost import VHost
    from broker.testing.vhost import WatchedVHost

T = TypeVar("T")

TICK_SECONDS: Final = 0.0025
QUIET_TICKS: Final = 2
"""A queue that has to wait does so for no longer, if nothing comes in. Ticks are counted and not the time: between two of them the event
loop has looked whether there is anything, however late they come."""
HOLD_CHANCE: Final = 0.3
HOLD_INPUTS_MAX: Final = 3


class Unfairness:
    """What chance decides in one vhost."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._chance = Random(seed)
        self.inputs = 0
        """How often something came in."""
        self.heard_at = 0
        """And at which tick it did last."""

    def happens(self) -> bool:
        """One of two."""
        return self._chance.random() < 0.5

    def choose(self, from_: Sequence[T]) -> T:
        """One of them."""
        return self._chance.choice(from_)

    def shuffled(self, queues: list[Queue]) -> list[Queue]:
        """In any order."""
        return self._chance.sample(queues, len(queues))

    def holds(self) -> int:
        """For so many inputs a queue has to wait; mostly 0."""
        return self._chance.randint(1, HOLD_INPUTS_MAX) if self._chance.random() < HOLD_CHANCE else 0


class _Held:
    """A queue that has to wait, and until when."""

    def __init__(self, queue: Queue, unfairness: Unfairness, inputs: int, tick: int) -> None:
        self.queue = queue
        self.unfairness = unfairness
        self._until = unfairness.inputs + inputs
        self._since = tick

    def is_over(self, tick: int) -> bool:
        """It may be served."""
        return self.unfairness.inputs >= self._until or tick >= max(self._since, self.unfairness.heard_at) + QUIET_TICKS


class Scheduling:
    """One per broker."""

    def __init__(self) -> None:
        self._held: list[_Held] = []
        self._unfair: WeakSet[WatchedVHost] = WeakSet()
        self._ticks = 0
        self.is_suspended = False
        """Nobody waits: time passes."""

    def set(self, vhost: WatchedVHost, unfairness: Unfairness | None) -> None:
        """Serve a vhost unfairly, or (None) fairly again. A turn has to follow."""
        vhost.unfairness = unfairness
        (self._unfair.discard if unfairness is None else self._unfair.add)(vhost)

    def forget(self, name: str) -> None:
        """A vhost is gone."""
        for vhost in [each for each in self._unfair if each.name == name]:
            self.set(vhost, None)

    def tick(self) -> None:
        """To be called each TICK_SECONDS while somebody has to wait, with a turn to follow."""
        self._ticks += 1

    @property
    def is_holding(self) -> bool:
        """Somebody has to wait."""
        return bool(self._held)

    def busy(self, vhost: VHost) -> str | None:
        """For broker.testing.waiting.idle."""
        held = next((each.queue for each in self._held if each.queue.vhost is vhost), None)
        return None if held is None else f"queue '{held.name}' is served a moment later (adversarial scheduling)"

    def heard(self, session: Session) -> None:
        """Something came in."""
        vhost = session.vhost if self._unfair and session.entered else None
        if vhost is not None and (unfairness := cast("WatchedVHost", vhost).unfairness) is not None:
            unfairness.inputs += 1
            unfairness.heard_at = self._ticks

    def arrange(self, outbox: Outbox) -> None:
        """Put the queues that are to be served in order, and keep those back that have to wait: they count as touched meanwhile."""
        if not self._unfair and not self._held:
            return
        over = [each for each in self._held if self._is_over(each)]
        self._held = [each for each in self._held if each not in over]
        exempt = {each.queue for each in over}
        touched: list[Queue] = [each.queue for each in over]
        for queue in outbox.touched:
            unfairness = _unfairness_of(queue)
            inputs = unfairness.holds() if unfairness is not None and not self.is_suspended and _would_deliver(queue) else 0
            if unfairness is not None and inputs and queue not in exempt:
                self._held.append(_Held(queue, unfairness, inputs, self._ticks))
            else:
                touched.append(queue)
        outbox.touched = _shuffled(touched)

    def _is_over(self, held: _Held) -> bool:
        return self.is_suspended or held.is_over(self._ticks) or _unfairness_of(held.queue) is not held.unfairness


def _unfairness_of(queue: Queue) -> Unfairness | None:
    return cast("WatchedVHost", queue.vhost).unfairness


def _would_deliver(queue: Queue) -> bool:
    return bool(queue.available()) and any(consumer.credit() > 0 for consumer in queue.consumers)


def _shuffled(queues: list[Queue]) -> list[Queue]:
    """Those of each unfair vhost change places with each other."""
    by_unfairness: dict[Unfairness, list[Queue]] = {}
    for queue in queues:
        if (unfairness := _unfairness_of(queue)) is not None:
            by_unfairness.setdefault(unfairness, []).append(queue)
    shuffled = {unfairness: unfairness.shuffled(found) for unfairness, found in by_unfairness.items()}
    return [queue if (unfairness := _unfairness_of(queue)) is None else shuffled[unfairness].pop() for queue in queues]

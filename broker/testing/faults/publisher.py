"""The publishing side of a session under test: publishes that no queue gets, because a test has ordered it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from broker.core.limits import Limit
from broker.core.login import Undecided
from broker.core.publisher import Publisher

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broker.core.channel import Channel
    from broker.core.publisher import Publish
    from broker.core.queue import Queue
    from broker.core.session import Session
    from broker.testing.faults.rule import Pattern


class Fate(NamedTuple):
    """What becomes of a publish: it is `unroutable`, or the queues that fit are full (None: all)."""

    is_unroutable: bool = False
    full: Pattern | None = None


UNROUTABLE: Final = Fate(is_unroutable=True)


class Full(Limit):
    """The limit of a queue that takes nothing more."""

    __slots__ = ()

    def would_overflow(self, queue: Queue, body: bytes) -> bool:
        """See Limit."""
        return True

    def surplus(self, queue: Queue) -> int:
        """See Limit."""
        return 0


class FaultyPublisher(Publisher):
    """See the module. `fate` is that of the next publish."""

    __slots__ = ("_fates", "fate")

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.fate: Fate | None = None
        self._fates: dict[Publish, Fate] = {}
        """Of what a transaction holds for its commit."""

    def publish(self, channel: Channel, routing: bytes, bits: int, headers_given: Sequence[bytes], bodies: list[bytes]) -> int:
        """See Publisher."""
        if self.fate is None:
            return super().publish(channel, routing, bits, headers_given, bodies)
        transaction = channel.transaction
        held = 0 if transaction is None else len(transaction.publishes)
        keeps_fate = False
        try:
            # So that it goes the long way, which ends in `apply`.
            self._routes[routing] = route = self._resolve(routing)
            route.plain = False
            cost = super().publish(channel, routing, bits, headers_given, bodies)
            if transaction is not None and len(transaction.publishes) > held:
                self._fates[transaction.publishes[-1]] = self.fate
        except Undecided:
            keeps_fate = True  # it is tried again
            raise
        finally:
            self._routes.pop(routing, None)
            if not keeps_fate:
                self.fate = None
        return cost

    def apply(self, channel: Channel, publish: Publish) -> bool:
        """See Publisher."""
        fate = self._fates.pop(publish, self.fate)
        if fate is None:
            return super().apply(channel, publish)
        if fate.is_unroutable:
            publish.queues, publish.target, publish.reply = (), None, None
            return super().apply(channel, publish)
        with _filled([queue for queue in publish.queues if fate.full is None or fate.full.fits(queue.name)]):
            return super().apply(channel, publish)


@contextmanager
def _filled(queues: Sequence[Queue]) -> Iterator[None]:
    """Meanwhile these take nothing. What overflows is a dead letter where the queue says so."""
    limits = [(queue, queue.limit) for queue in queues]
    for queue, limit in limits:
        queue.limit = full = Full(None, None, None)
        full.rejects, full.dead_letters = True, limit is not None and limit.dead_letters
    try:
        yield
    finally:
        for queue, limit in limits:
            queue.limit = limit

"""Moving what is ready in a queue elsewhere: to another queue, through an exchange, or back to where dead letters came from.

    way       where a message is to go, or why it has to stay
    step      a few messages: what takes them enqueues them, and the source settles them, at once, so in one commit of the log

After a crash each message is in the source or in the target. A message that nothing takes stays where it is, at its place; so does
what is unacked. The messages that are there at the beginning are gone through once, in the order of delivery, in steps (core/steps.py).
A moved message is a new one: its time to live begins anew, it isn't redelivered, and it counts as published where it comes in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from broker.core.dead_letter import first_death, never_died
from broker.core.envelope import Envelope
from broker.core.message import BODY, HEADER, ID, ROUTING, Message, join_routing, split_routing
from broker.core.steps import decided, until_durable
from broker.core.walk import Walk, Where
from protocol import content
from protocol.errors import ChannelException

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.core.queue import Queue
    from broker.core.ready import Ready
    from broker.core.steps import Steps
    from broker.core.vhost import VHost
    from broker.core.walk import Stretch

STEP: Final = 128
"""Messages that a step moves: about two milliseconds."""
UNWRITTEN: Final = 1024
UNWRITTEN_BYTES: Final = 4_194_304
"""After so much the disk is waited for."""
EXAMPLES: Final = 10
DESTINATIONS: Final = 1000

NOT_READY = "not ready"
NO_DEATH = "no x-death"
NO_EXCHANGE = "no exchange"
NO_QUEUE = "no queue"
UNROUTABLE = "unroutable"
FULL = "queue full"
DUPLICATE = "duplicate"
REFUSED = "access refused"
DAMAGED = "damaged"
"""Why a message stays."""


class Way(NamedTuple):
    """Where a message is to go: with these routing keys through an exchange, or, if a `queue` is given, straight into that one; and the
    content header that it has there."""

    exchange: str
    keys: Sequence[str]
    queue: str | None
    header: bytes


FindWay = Callable[[Message], Way | str]
"""The way of a message, or why it has to stay."""


@dataclass(slots=True)
class Relocation:
    """What became of it. `moved` messages are at their destinations (if they were copied, too), counted by exchange, routing key and, for
    those that went straight there, queue. `left` says how many stay and why, `examples` which, by the broker's numbers."""

    moved: int = 0
    moved_bytes: int = 0
    destinations: Counter[tuple[str, str, str | None]] = field(default_factory=Counter)
    """Not more than DESTINATIONS: those that come later are counted as `moved` alone."""
    is_complete: bool = True
    """False: it was broken off before it had gone through all."""
    left: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[int]] = field(default_factory=dict)

    def stays(self, message_id: int, reason: str) -> None:
        """A message stays."""
        self.left[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append(message_id)


def to_queue(name: str) -> FindWay:
    """Into a queue, as if published to the default exchange with its name."""
    return lambda message: Way("", (name,), name, message[HEADER])


def to_exchange(exchange: str, routing_key: str | None) -> FindWay:
    """Through an exchange, with this routing key or (None) the message's own. CC and BCC play no part."""

    def way(message: Message) -> Way:
        return Way(exchange, (routing_key if routing_key is not None else split_routing(message[ROUTING])[1],), None, message[HEADER])

    return way


def back(*, to_queue: bool = False, keeps_history: bool = True) -> FindWay:
    """Dead letters go back to the exchange where they were published, with the routing keys of then, as their first death noted them; or
    straight to the queue in which they died first. Without `keeps_history` nothing in their headers tells of their deaths any more."""

    def way(message: Message) -> Way | str:
        death = first_death(content.headers(message[HEADER]))
        if death is None:
            return NO_DEATH
        header = message[HEADER] if keeps_history else never_died(message[HEADER])
        return Way(death.exchange, death.routing_keys or ("",), death.queue if to_queue else None, header)

    return way


def relocate(
    queue: Queue,
    way_of: FindWay,
    permit: Callable[[Way], None],
    *,
    most: int | None = None,
    ids: Sequence[int] | None = None,
    copies: bool = False,
    goes_on: Callable[[], bool] = lambda: True,
) -> Steps[Relocation]:
    """Move up to `most` messages (None: all), of those with these `ids` if they are given, from a queue to where each is to go; or copy
    them. `permit` raises ChannelException for a way that isn't allowed (and Undecided, core/login.py). When `goes_on` says no, it ends.

    Raises StoreFailed, and Unreadable. What was moved by then stays moved.
    """
    queue.serve()
    work = _Work(queue, way_of, permit, copies)
    wanted = None if ids is None else sorted(set(ids))
    walk, found = Walk(queue, wanted), 0
    while most is None or work.done.moved < most:
        stretch = yield from walk.onward(STEP if most is None else min(STEP, most - work.done.moved))
        if stretch is None:
            break
        if not goes_on():
            work.done.is_complete = False
            break
        yield from work.find_ways(stretch)
        found += len(stretch.messages) + stretch.damaged
        work.done.left += Counter({DAMAGED: stretch.damaged})
        if stretch.messages:
            work.hand_over(stretch)
        if work.unwritten >= UNWRITTEN or work.unwritten_bytes >= UNWRITTEN_BYTES:
            work.unwritten = work.unwritten_bytes = 0
            yield from until_durable(queue.outbox)
        else:
            yield None
    yield from until_durable(queue.outbox)
    if wanted is not None and found < len(wanted) and work.done.is_complete:
        work.done.left[NOT_READY] += len(wanted) - found
    return work.done


class _Work:
    def __init__(self, queue: Queue, way_of: FindWay, permit: Callable[[Way], None], copies: bool) -> None:
        self.done = Relocation()
        self.unwritten = self.unwritten_bytes = 0
        self._queue = queue
        self._vhost: VHost = queue.vhost
        self._way_of = way_of
        self._permit = permit
        self._copies = copies
        self._ways: dict[int, Way | str] = {}
        self._permitted: dict[tuple[str, str | None, Sequence[str]], bool] = {}

    def find_ways(self, stretch: Stretch) -> Steps[None]:
        """What doesn't depend on the moment: where the messages are to go, and whether they may."""
        self._ways = {}
        for message in stretch.messages:
            way = self._way_of(message)
            if isinstance(way, Way) and not (yield from self._is_permitted(way)):
                way = REFUSED
            self._ways[message[ID]] = way

    def _is_permitted(self, way: Way) -> Steps[bool]:
        key = way.exchange, way.queue, tuple(way.keys)
        known = self._permitted.get(key)
        if known is None:
            try:
                yield from decided(lambda: self._permit(way))
                known = True
            except ChannelException:
                known = False
            if len(self._permitted) > 4096:
                self._permitted.clear()
            self._permitted[key] = known
        return known

    def hand_over(self, stretch: Stretch) -> None:
        """The messages of a stretch that are still there go where they can; all at once."""
        if stretch.where is Where.BESIDE:
            self._hand_over_beside(stretch)
        else:
            self._hand_over_row(stretch)

    def _hand_over_beside(self, stretch: Stretch) -> None:
        queue, level = self._queue, stretch.level
        items = queue.ready.pick_beside(level, {message[ID] for message in stretch.messages})
        gone: dict[int, Message] = {}
        try:
            for index, item in enumerate(items):
                message = level.message_of(item)
                if message is not None and self._publish(message) and not self._copies:
                    gone[index] = message
        finally:
            queue.ready.put_beside(level, [item for index, item in enumerate(items) if index not in gone])
            if gone:
                queue.settle(list(gone.values()))
                queue.touch()

    def _hand_over_row(self, stretch: Stretch) -> None:
        """What stood in the row may have been read in or paged out meanwhile, so each is where it is now."""
        level = stretch.level
        there = set(level.ids_in_row(stretch.messages[0][ID], stretch.messages[-1][ID] + 1))
        gone: list[int] = []
        try:
            for message in stretch.messages:
                if message[ID] in there and self._publish(message):
                    gone.append(message[ID])  # noqa: PERF401  what raises must not lose what went before it
        finally:
            if gone and not self._copies:
                self._settle_row(level, gone)

    def _settle_row(self, level: Ready, gone: list[int]) -> None:
        queue = self._queue
        if in_memory := queue.ready.pick(level, gone):
            queue.settle(in_memory)
            queue.touch()
        known = {message[ID] for message in in_memory}
        first = count = 0
        for each in [each for each in gone if each not in known]:
            if each != first + count:
                if count:
                    queue.settle_paged(level, first, count)
                first, count = each, 0
            count += 1
        if count:
            queue.settle_paged(level, first, count)

    def _publish(self, message: Message) -> bool:
        """Put a message where it is to go; False if it stays."""
        way = self._ways[message[ID]]
        queues = self._queues(way, message) if isinstance(way, Way) else way
        if isinstance(queues, str):
            self.done.stays(message[ID], queues)
            return False
        assert isinstance(way, Way)
        self._vhost.move(self._queue, message, queues, join_routing(way.exchange, way.keys[0]), way.header, stays=self._copies)
        self.done.moved += 1
        self.done.moved_bytes += len(message[BODY])
        destination, destinations = (way.exchange, way.keys[0], way.queue), self.done.destinations
        if destination in destinations or len(destinations) < DESTINATIONS:
            destinations[destination] += 1
        self.unwritten += 1
        self.unwritten_bytes += len(message[BODY])
        return True

    def _queues(self, way: Way, message: Message) -> Sequence[Queue] | str:
        """The queues that take it, or why it has to stay: also if one of several is full, for nothing is to be half moved."""
        vhost, header, body = self._vhost, way.header, message[BODY]
        found: Sequence[Queue]
        if way.queue is not None:
            queue = vhost.queues.get(way.queue)
            if queue is None or queue.kept_for is not None:
                return NO_QUEUE
            found = (queue,)
        else:
            exchange = vhost.exchanges.get(way.exchange)
            if exchange is None:
                return NO_EXCHANGE
            found = vhost.route(exchange, Envelope(way.keys, join_routing(way.exchange, way.keys[0]), header, body))
            if not found:
                return UNROUTABLE
        taken = [queue for queue in found if not queue.ignores(header)]
        if not taken:
            return DUPLICATE
        if any(queue.limit is not None and queue.limit.rejects and queue.limit.would_overflow(queue, body) for queue in taken):
            return FULL
        return taken

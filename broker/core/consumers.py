"""Who gets the next message: consumers, their credit, and the order in which a queue serves them (contract 6.2, 6.3).

A queue hands out *leases*: a message, and who holds it until it is settled or comes back. The holder is a consumer, or a
`Getter` for what basic.get took. The queue knows holders, not channels.

Only consumers that may have credit stand in the ring. One that is found without is parked, and whoever gives it credit
again (an ack, a larger prefetch, a connection that drains) puts it back at the end, as RabbitMQ does with its blocked
consumers: a queue with a thousand busy consumers looks at none of them in vain.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from itertools import accumulate, cycle, repeat
from typing import TYPE_CHECKING

from broker.core.message import Message
from broker.core.returns import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broker.core.channel import Channel
    from broker.core.counters import Taken
    from broker.core.queue import Queue
    from protocol.events import DeliveryEncoder
    from protocol.tables import Table

UNLIMITED = 1 << 62
DEALT_MAX = 1024
"""Messages that are shared out at a time among several consumers: what their connections don't take is put back."""
TURN_OUTPUT_BYTES = 262_144
"""What one connection is given to write in a turn (docs/architecture.md, "The turn")."""


class Holder:
    """Somebody who holds messages of one queue until they are settled."""

    __slots__ = ("acked", "channel", "delivered", "queue", "redelivered", "unacked")

    def __init__(self, channel: Channel, queue: Queue) -> None:
        self.channel = channel
        self.queue = queue
        self.unacked = 0
        self.delivered = 0
        self.redelivered = 0
        self.acked = 0
        """Counted since it came, or was last retired (core.counters)."""

    def settled(self, count: int) -> None:
        """`count` of its messages were acked or came back."""
        self.unacked -= count

    def count(self, taken: Taken) -> None:
        """Add what it has counted."""
        taken.redeliver += self.redelivered
        taken.ack += self.acked

    def retire(self) -> None:
        """Leave what it has counted to its channel, queue and vhost."""
        queue = self.queue
        for taken in (self.channel.taken_from(queue), queue.taken, queue.vhost.taken[queue.type]):
            self.count(taken)
        self.delivered = self.redelivered = self.acked = 0


class Getter(Holder):
    """What a channel took from a queue with basic.get, in one mode; has no credit."""

    __slots__ = ("empty", "no_ack")

    def __init__(self, channel: Channel, queue: Queue, *, no_ack: bool) -> None:
        super().__init__(channel, queue)
        self.no_ack = no_ack
        self.empty = 0
        """How often there was nothing."""

    def count(self, taken: Taken) -> None:
        """See Holder."""
        super().count(taken)
        taken.get_empty += self.empty
        if self.no_ack:
            taken.get_no_ack += self.delivered
        else:
            taken.get += self.delivered

    def settled(self, count: int) -> None:
        """See Holder. A queue doesn't know who gets from it, so it is told at once."""
        self.unacked -= count
        self.retire()

    def got(self, redelivered: bool | None) -> None:
        """It was given a message, or (None) there was none."""
        if redelivered is None:
            self.empty = 1
        else:
            self.delivered, self.redelivered = 1, int(redelivered)
        self.retire()
        self.empty = 0


class Consumer(Holder):
    """One basic.consume."""

    __slots__ = ("arguments", "cancelled", "encoder", "exclusive", "no_ack", "parked", "prefetch", "priority", "tag")

    def __init__(self, channel: Channel, queue: Queue, tag: str, *, no_ack: bool, exclusive: bool, priority: int, arguments: Table) -> None:
        super().__init__(channel, queue)
        self.tag = tag
        self.no_ack = no_ack
        self.exclusive = exclusive
        self.priority = priority
        self.arguments = arguments
        self.prefetch = channel.prefetch
        self.encoder: DeliveryEncoder = channel.session.wire.deliveries(channel.number, tag)
        self.parked = False
        self.cancelled = False

    def count(self, taken: Taken) -> None:
        """See Holder."""
        super().count(taken)
        if self.no_ack:
            taken.deliver_no_ack += self.delivered
        else:
            taken.deliver += self.delivered

    def credit(self) -> int:
        """How many messages it may be given now."""
        channel = self.channel
        if channel.held is not None or channel.session.congested:
            return 0
        return self.prefetch_left()

    def prefetch_left(self) -> int:
        """How many more messages it is ready to hold, whatever its connection takes now."""
        channel = self.channel
        if self.no_ack:
            return UNLIMITED
        credit = self.prefetch - self.unacked if self.prefetch else UNLIMITED
        if channel.prefetch_shared:
            credit = min(credit, channel.prefetch_shared - channel.shared_used)
        return credit

    def settled(self, count: int) -> None:
        """See Holder; gives credit."""
        self.unacked -= count
        if self.cancelled:
            self.retire()
        channel = self.channel
        if channel.prefetch_shared:
            channel.shared_used = max(channel.shared_used - count, 0)
        self.wake()

    def wake(self) -> None:
        """It may have credit again."""
        if self.cancelled:
            return
        if self.parked:
            self.parked = False
            self.queue.consumers.wake(self)
        self.queue.touch()

    def deliver(self, redelivered: bool, messages: list[Message]) -> int:
        """Send as many as the connection takes in this turn; returns how many went out."""
        channel = self.channel
        session = channel.session
        first = channel.next_tag
        shown = counted(messages, self.queue.delivery_counts) if redelivered and self.queue.is_quorum else messages
        count = self.encoder.encode(first, redelivered, shown, TURN_OUTPUT_BYTES)
        channel.next_tag = first + count
        self.delivered += count
        if redelivered:
            self.redelivered += count
        if session.wire.output_bytes > TURN_OUTPUT_BYTES:
            session.congested = session.had_its_share = True
        if count < len(messages):
            messages = messages[:count]
        if self.no_ack:
            self.queue.settle(messages)
        else:
            channel.unacked.update(zip(range(first, first + count), zip(repeat(self), messages, strict=False), strict=True))
            self.unacked += count
            channel.shared_used += count
            timeout = session.broker.consumer_timeout
            if channel.delivery_round != timeout.round and count:
                timeout.delivered(channel, first)
            self.queue.lease(messages)
        return count


class Consumers:
    """The consumers of one queue."""

    __slots__ = ("_all", "_ring", "active", "single_active")

    def __init__(self, single_active: bool) -> None:
        self._all: dict[Consumer, None] = {}
        self._ring: dict[int, deque[Consumer]] = {}
        """Priority to the consumers that may have credit; kept with the highest priority first."""
        self.single_active = single_active
        self.active: Consumer | None = None
        """With single active consumer, the one that is served."""

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Consumer]:
        return iter(self._all)

    def add(self, consumer: Consumer) -> None:
        """A new consumer; with single active consumer it waits if one is there."""
        self._all[consumer] = None
        if self.single_active:
            if self.active is None:
                self.active = consumer
            else:
                consumer.parked = True
                return
        self.wake(consumer)

    def remove(self, consumer: Consumer) -> None:
        """A consumer is gone; with single active consumer the waiting one of the highest priority takes over."""
        del self._all[consumer]
        if not consumer.parked:
            self._park(consumer)
        if consumer is self.active:
            self.active = max(self._all, key=lambda waiting: waiting.priority, default=None)
            if self.active is not None:
                self.active.parked = True
                self.active.wake()

    def wake(self, consumer: Consumer) -> None:
        """Put a consumer that isn't in the ring at the end of its priority's turn."""
        if self.single_active and consumer is not self.active:
            consumer.parked = True
            return
        consumer.parked = False
        ring = self._ring.get(consumer.priority)
        if ring is None:
            self._ring[consumer.priority] = ring = deque()
            self._ring = dict(sorted(self._ring.items(), reverse=True))
        ring.append(consumer)

    def _park(self, consumer: Consumer) -> None:
        ring = self._ring[consumer.priority]
        ring.remove(consumer)
        if not ring:
            del self._ring[consumer.priority]
        consumer.parked = True

    def wait_for_output(self) -> bool:
        """Somebody would take more, and can't only because its connection had its share of this turn or a reply is held."""
        return any(
            consumer.prefetch_left() > 0 and (consumer.channel.held is not None or consumer.channel.session.had_its_share)
            for consumer in self._all
            if not self.single_active or consumer is self.active
        )

    def next_round(self, ready: int) -> tuple[list[Consumer], int]:
        """Who is served now, in order, and how many messages they may share out one by one: (consumers, messages).

        The consumers are those of the highest priority that have credit. No consumer at all: ([], 0).
        """
        while self._ring:
            priority = next(iter(self._ring))
            ring = self._ring[priority]
            consumers: list[Consumer] = []
            least = UNLIMITED
            shared = False
            for consumer in list(ring):
                credit = consumer.credit()
                if credit > 0:
                    consumers.append(consumer)
                    least = min(least, credit)
                    shared = shared or consumer.channel.prefetch_shared > 0
                else:
                    self._park(consumer)
                if len(consumers) >= ready:
                    break
            if consumers:
                # With a limit over the whole channel one consumer's message is another one's credit: one at a time.
                if shared:
                    return consumers[:1], 1
                return consumers, min(least * len(consumers), DEALT_MAX) if len(consumers) > 1 else least
        return [], 0

    def served(self, consumers: list[Consumer], count: int) -> None:
        """`count` messages went round `consumers`: who was served last goes to the end."""
        ring = self._ring.get(consumers[0].priority)
        if ring is not None and len(ring) > 1:
            ring.rotate(-(count % len(consumers)) if len(consumers) == len(ring) else -min(count, len(consumers)))

    def deal(self, consumers: Sequence[Consumer], redelivered: bool, run: list[Message]) -> list[Message]:
        """Share messages of the queue out among these of its consumers one by one, in order; returns what the connections didn't take, in
        order."""
        if len(consumers) == 1:
            return run[consumers[0].deliver(redelivered, run) :]
        if len({consumer.channel.session for consumer in consumers}) < len(consumers):
            # One connection hears several of them, so it sees the order among them.
            return _deal_one_by_one(consumers, redelivered, run)
        # Nobody may stop short within a share: the others would be past what it left, and get that later, out of order.
        step = len(consumers)
        sizes = list(map(_size_bound, run))
        fitting = step * (TURN_OUTPUT_BYTES // max(sizes))
        if fitting < len(run):
            fitting = max(bisect_right(list(accumulate(sizes)), TURN_OUTPUT_BYTES), fitting, 1)
        dealt, left = run[:fitting], run[fitting:]
        for first, consumer in enumerate(consumers[: len(dealt)]):
            share = dealt[first::step]
            taken = consumer.deliver(redelivered, share)
            assert taken == len(share)
        return left


def _deal_one_by_one(consumers: Sequence[Consumer], redelivered: bool, run: list[Message]) -> list[Message]:
    for position, (message, consumer) in enumerate(zip(run, cycle(consumers), strict=False)):
        if consumer.channel.session.congested:
            return run[position:]
        consumer.deliver(redelivered, [message])
    return []


def _size_bound(message: Message) -> int:
    """What a delivery takes on the wire, at the most (a body frame in each 4 KiB, the smallest frame_max)."""
    _, routing, header, body = message
    return 320 + len(routing) + len(header) + len(body) + (len(body) >> 9)

"""What is counted: plain integers where things happen, added up by whoever asks.

    channel.published[exchange]            publishes, by the exchange they named          exchange.published_in, .published_out
    channel.returned[exchange], .dropped   what couldn't be routed                        exchange.returned, .dropped
    channel.given    confirms                                                             queue.published: what came in
    holder           delivered, redelivered, acked: of one consumer, or of what one channel gets from one queue
    channel.taken[queue]                   what such holders left

A holder that goes leaves its figures to its queue, channel and vhost (`retire`), a channel to its vhost, an exchange or queue to its
vhost, and a vhost to the broker. So the figures of a queue are what it was left plus those of the consumers it has now (`taken_from`),
and likewise of a channel, a vhost, the broker: a busy consumer costs an integer or two a run, and an idle queue nothing.

Names and meaning are RabbitMQ's (https://www.rabbitmq.com/docs/monitoring, message_stats of the HTTP API): a message that comes back
or is rejected isn't acked; what is delivered again counts as delivered and as redelivered.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broker.core.broker import Broker
    from broker.core.channel import Channel
    from broker.core.queue import Queue
    from broker.core.vhost import VHost

SIZE_BUCKETS_BYTES: Final = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000, 100_000_000)
"""Upper bounds of the buckets in which published bodies are counted; one more takes what is bigger (rabbitmq_message_size_bytes)."""


class Counters:
    """Named integers that begin with 0 and can be added to others of their kind."""

    __slots__: tuple[str, ...] = ()

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in self.items() if value)})"

    def items(self) -> Iterable[tuple[str, int]]:
        """Name and value of each."""
        return [(name, getattr(self, name)) for name in self.__slots__]

    def add(self, other: Self) -> None:
        """Add all of the other's."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Taken(Counters):
    """What went out of queues, and how."""

    __slots__ = ("ack", "deliver", "deliver_no_ack", "get", "get_empty", "get_no_ack", "redeliver")

    ack: int
    deliver: int
    deliver_no_ack: int
    get: int
    get_empty: int
    get_no_ack: int
    redeliver: int

    @property
    def deliver_get(self) -> int:
        """All that was given out."""
        return self.deliver + self.deliver_no_ack + self.get + self.get_no_ack


class Given(Counters):
    """What publishers gave, and what became of it. `routed` counts queues, `publish` messages."""

    __slots__ = ("confirm", "drop_unroutable", "publish", "publish_confirm", "return_unroutable", "routed")

    confirm: int
    drop_unroutable: int
    publish: int
    publish_confirm: int
    """Of those, on channels in confirm mode."""
    return_unroutable: int
    routed: int


class Churn(Counters):
    """What came and went since the start."""

    __slots__ = (
        "channel_closed", "channel_created", "connection_closed", "connection_created", "queue_created", "queue_declared", "queue_deleted",
    )  # fmt: skip

    channel_closed: int
    channel_created: int
    connection_closed: int
    connection_created: int
    queue_created: int
    queue_declared: int
    queue_deleted: int


class Sizes:
    """How big the published bodies are: a count for each of SIZE_BUCKETS_BYTES and one beyond, and the sum in bytes."""

    __slots__ = ("counts", "total_bytes")

    def __init__(self) -> None:
        self.counts = [0] * (len(SIZE_BUCKETS_BYTES) + 1)
        self.total_bytes = 0

    def add(self, count: int, size: int, total: int) -> None:
        """So many bodies that are all in the bucket of this size, so many bytes together."""
        self.counts[bisect_left(SIZE_BUCKETS_BYTES, size)] += count
        self.total_bytes += total

    def add_each(self, bodies: Sequence[bytes], total: int) -> None:
        """Bodies of any size, so many bytes together."""
        sizes = sorted(map(len, bodies))
        bucket, counted = bisect_left(SIZE_BUCKETS_BYTES, sizes[0]), 0
        while counted < len(sizes):
            end = bisect_right(sizes, SIZE_BUCKETS_BYTES[bucket]) if bucket < len(SIZE_BUCKETS_BYTES) else len(sizes)
            self.counts[bucket] += end - counted
            bucket, counted = bucket + 1, end
        self.total_bytes += total


# --- adding up ------------------------------------------------------------------------------------------------------


def taken_from(queue: Queue) -> Taken:
    """What went out of a queue since it was declared (or since the start)."""
    taken = Taken()
    taken.add(queue.taken)
    for consumer in queue.consumers:
        consumer.count(taken)
    return taken


def taken_by(channel: Channel) -> Taken:
    """What a channel took."""
    taken = total((channel.taken_before, *channel.taken.values()))
    for consumer in channel.consumers.values():
        consumer.count(taken)
    return taken


def given_by(channel: Channel) -> Given:
    """What a channel published."""
    given = Given()
    _count_given(channel, given)
    return given


def _count_given(channel: Channel, given: Given) -> None:
    """Add what a channel published: one by one, for a broker may have ten thousand of them."""
    before = channel.given
    given.confirm += before.confirm
    given.publish += before.publish + sum(channel.published.values())
    given.return_unroutable += before.return_unroutable + sum(channel.returned.values())
    given.drop_unroutable += before.drop_unroutable + sum(channel.dropped.values())
    if channel.confirms is not None:
        given.publish_confirm += channel.confirms.published


def given_in(vhost: VHost) -> Given:
    """What was published in a vhost."""
    given = Given()
    given.add(vhost.given)
    for session in vhost.sessions:
        for channel in session.channels.values():
            _count_given(channel, given)
    given.routed += sum(exchange.published_out for exchange in vhost.exchanges.values())
    return given


def taken_in(vhost: VHost) -> dict[str, Taken]:
    """What went out of the queues of a vhost, by their type."""
    types = {kind: Taken() for kind in vhost.taken}
    for kind, taken in vhost.taken.items():
        types[kind].add(taken)
    for session in vhost.sessions:
        for channel in session.channels.values():
            for consumer in channel.consumers.values():
                consumer.count(types[consumer.queue.type])
    return types


def given_to(broker: Broker) -> Given:
    """What was published since the start."""
    given = Given()
    given.add(broker.given)
    for vhost in broker.vhosts.values():
        given.add(given_in(vhost))
    return given


def taken_of(broker: Broker) -> dict[str, Taken]:
    """What went out since the start, by type of queue."""
    types = {kind: Taken() for kind in broker.taken}
    for kind, taken in broker.taken.items():
        types[kind].add(taken)
    for vhost in broker.vhosts.values():
        for kind, taken in taken_in(vhost).items():
            types[kind].add(taken)
    return types


def total(counters: Iterable[Taken]) -> Taken:
    """The sum of several."""
    sum_of = Taken()
    for each in counters:
        sum_of.add(each)
    return sum_of

"""The consumer timeout: who doesn't ack in time loses the channel (contract 6.7; https://www.rabbitmq.com/docs/consumers).

A channel notes, once a second at the most, the first tag that it gave out and when; so its oldest delivery is known to a second, and a
delivery costs one comparison. One timer looks at all channels, at the moment when the first of them may be too late: while nothing is
delivered and nothing is overdue, nothing happens.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from protocol.constants import PRECONDITION_FAILED
from protocol.errors import ChannelException

if TYPE_CHECKING:
    from broker.core.broker import Broker
    from broker.core.channel import Channel
    from broker.core.queue import Queue
    from broker.core.timers import Timer

log = logging.getLogger("channel")

ROUND_MS = 1000
DEFAULT_MS = 1_800_000
NEVER = 1 << 62
PATIENCE = 8
"""What waits behind a delivery that may stay out longer is looked for again after an eighth of the time that it is late already."""


class ConsumerTimeout:
    """One per broker."""

    __slots__ = ("_broker", "_is_counting", "_limit_ms", "_lowest_ms", "_timer", "round")

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._limit_ms: int | None = DEFAULT_MS
        self._lowest_ms = NEVER
        """Of the limits that queues have or had."""
        self._timer: Timer | None = None
        self._is_counting = False
        self.round = 1
        """Counts up once a second while anything is delivered: deliveries of one round are taken to be as old as its first."""

    @property
    def limit_ms(self) -> int | None:
        """The broker's own, None for none; a queue's own counts if it is lower. A change counts for what is out already."""
        return self._limit_ms

    @limit_ms.setter
    def limit_ms(self, limit_ms: int | None) -> None:
        self._limit_ms = limit_ms
        if self._broker.sessions:
            self._look_at(self._broker.outbox.clock())

    def changed(self, queue: Queue) -> None:
        """The queue has another limit."""
        if queue.consumer_timeout_ms is not None:
            self._lowest_ms = min(self._lowest_ms, queue.consumer_timeout_ms)
            if queue.unacked:
                self._look_at(self._broker.outbox.clock())

    def delivered(self, channel: Channel, tag: int) -> None:
        """The channel gave out its first tag of this round."""
        now = self._broker.outbox.clock()
        channel.delivery_round = self.round
        channel.delivery_times.append((tag, now))
        _forget_settled(channel)
        if not self._is_counting:
            self._is_counting = True
            self._broker.timers.at(now + ROUND_MS, self._next_round)
        # Others of this round may be of a queue with a lower limit, so the lowest of all counts; it costs a look in vain at the most.
        self._look_at(now + ROUND_MS + self._lowest(self._lowest_ms))

    def _next_round(self) -> None:
        self.round += 1
        self._is_counting = False

    def _look_at(self, when_ms: int) -> None:
        """Look then, or before."""
        timer = self._timer
        if when_ms < NEVER and (timer is None or timer.deadline_ms is None or timer.deadline_ms > when_ms):
            if timer is not None:
                timer.cancel()
            self._timer = self._broker.timers.at(when_ms, self._look)

    def _look(self) -> None:
        now, first = self._broker.outbox.clock(), NEVER
        for session in list(self._broker.sessions):
            for channel in list(session.channels.values()):
                if channel.unacked:
                    first = min(first, self._check(channel, now))
        self._look_at(first)

    def _check(self, channel: Channel, now_ms: int) -> int:
        """Close the channel if its oldest delivery waits too long; returns when to look again."""
        tag = _forget_settled(channel)
        # The delivery may be as much younger than what was noted.
        given_ms = channel.delivery_times[0][1] + ROUND_MS
        queue = channel.unacked[tag][0].queue
        limit = self._limit_of(queue)
        if now_ms >= given_ms + limit:
            self._close(channel, tag, queue, limit)
            return NEVER
        # As soon as it is acked, one of a queue that allows less may be the oldest.
        lowest = limit
        if self._lowest(self._lowest_ms) < limit:
            lowest = min(self._limit_of(each) for each in {holder.queue for holder, _ in channel.unacked.values()})
        if now_ms < given_ms + lowest:
            return given_ms + lowest
        return min(given_ms + limit, now_ms + max((now_ms - given_ms - lowest) // PATIENCE, ROUND_MS))

    def _limit_of(self, queue: Queue) -> int:
        """NEVER for none."""
        if not (queue.is_quorum or self._broker.compat.times_out_classic_consumers):
            return NEVER
        return self._lowest(NEVER if queue.consumer_timeout_ms is None else queue.consumer_timeout_ms)

    def _lowest(self, limit_ms: int) -> int:
        """That limit, or the broker's."""
        return limit_ms if self._limit_ms is None else min(limit_ms, self._limit_ms)

    def _close(self, channel: Channel, tag: int, queue: Queue, limit_ms: int) -> None:
        advice = "This timeout value can be configured, see consumers doc guide to learn more"
        where = queue.vhost.queue_text(queue.name)
        log.warning(
            "a delivery (tag %d) of %s on channel %d wasn't acknowledged in time. Timeout used: %d ms. %s",
            tag, where, channel.number, limit_ms, advice,
        )  # fmt: skip
        text = f"delivery acknowledgement on channel {channel.number} timed out. Timeout value used: {limit_ms} ms. {advice}"
        channel.session.close_channel(channel.number, ChannelException(PRECONDITION_FAILED, text))


def _forget_settled(channel: Channel) -> int:
    """Let go of the times of tags below the oldest that is out; returns that."""
    tag = next(iter(channel.unacked))
    times = channel.delivery_times
    while len(times) > 1 and times[1][0] <= tag:
        times.popleft()
    return tag

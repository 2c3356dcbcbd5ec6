"""The consumer timeout: who doesn't ack in time loses the channel (contract 6.7; https://www.rabbitmq.com/docs/consumers).

A channel notes, once a second at the most, the first tag that it gave out and when; so its oldest delivery is known to a second, and a
delivery costs one comparison. One timer looks at all channels, and only while anything is unacked.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from protocol.constants import PRECONDITION_FAILED
from protocol.errors import ChannelException

if TYPE_CHECKING:
    from broker.core.broker import Broker
    from broker.core.channel import Channel

log = logging.getLogger("channel")

CHECK_MS = 1000
DEFAULT_MS = 1_800_000


class ConsumerTimeout:
    """One per broker. `limit_ms` is the broker's own, None for none; a queue's own counts if it is lower."""

    __slots__ = ("_broker", "_is_watching", "limit_ms", "round")

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.limit_ms: int | None = DEFAULT_MS
        self.round = 1
        """Counts up with each look: deliveries of one round are taken to be as old as its first."""
        self._is_watching = False

    def delivered(self, channel: Channel, tag: int) -> None:
        """The channel gave out its first tag of this round."""
        now = self._broker.outbox.clock()
        channel.delivery_round = self.round
        channel.delivery_times.append((tag, now))
        if not self._is_watching:
            self._watch(now)

    def _watch(self, now_ms: int) -> None:
        self._is_watching = True
        self._broker.timers.at(now_ms + CHECK_MS, self._look)

    def _look(self) -> None:
        self.round += 1
        self._is_watching = False
        now, waiting = self._broker.outbox.clock(), False
        for session in list(self._broker.sessions):
            for channel in list(session.channels.values()):
                if channel.unacked and not self._is_overdue(channel, now):
                    waiting = True
        if waiting:
            self._watch(now)

    def _is_overdue(self, channel: Channel, now_ms: int) -> bool:
        """Close the channel if its oldest delivery waits too long."""
        tag = next(iter(channel.unacked))
        times = channel.delivery_times
        while len(times) > 1 and times[1][0] <= tag:
            times.popleft()
        holder, _ = channel.unacked[tag]
        queue = holder.queue
        limit = min((each for each in (self.limit_ms, queue.consumer_timeout_ms) if each is not None), default=None)
        if not (queue.is_quorum or self._broker.compat.times_out_classic_consumers):
            limit = None
        # The delivery may be as much younger than what was noted.
        if limit is None or now_ms - times[0][1] - CHECK_MS < limit:
            return False
        advice = "This timeout value can be configured, see consumers doc guide to learn more"
        where = queue.vhost.queue_text(queue.name)
        log.warning(
            "a delivery (tag %d) of %s on channel %d wasn't acknowledged in time. Timeout used: %d ms. %s",
            tag, where, channel.number, limit, advice,
        )  # fmt: skip
        text = f"delivery acknowledgement on channel {channel.number} timed out. Timeout value used: {limit} ms. {advice}"
        channel.session.close_channel(channel.number, ChannelException(PRECONDITION_FAILED, text))
        return True

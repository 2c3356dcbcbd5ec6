"""Throwing away all messages of a vhost, by steps, while it stands still: what is ready, what exchanges keep, and what clients hold, whose
deliveries vanish (vanished.py). Nothing of it is a dead letter, and who held something has its credit back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.core.exchanges.message_deduplication import MessageDeduplication
from broker.core.exchanges.recent_history import RecentHistory
from broker.testing.lives.history import BY_TEST, history_of
from broker.testing.lives.queue import RememberingQueue
from broker.testing.states.capture import parts_of
from broker.testing.states.pace import Pace
from broker.testing.states.vanished import ForgivingChannel

if TYPE_CHECKING:
    from broker.core.consumers import Holder
    from broker.core.message import Message
    from broker.core.queue import Queue
    from broker.core.steps import Steps
    from broker.core.vhost import VHost

STEP: Final = 256
"""Messages that a step throws away: two milliseconds, if all have histories."""


def clear(vhost: VHost, why: str) -> Steps[int]:
    """Throw all away; returns how many messages there were in queues. `why` is for their histories."""
    pace = Pace(STEP)
    count = yield from _take_back(vhost, why, pace)
    for queue in list(vhost.queues.values()):
        dropped = yield from _drop(queue, why, pace)
        count += dropped if queue.kept_for is None else 0
    for exchange in vhost.exchanges.values():
        for part in parts_of(exchange):
            if isinstance(part, MessageDeduplication | RecentHistory):
                part.forget()
    return count


def _take_back(vhost: VHost, why: str, pace: Pace) -> Steps[int]:
    """What clients hold."""
    by_holder: dict[Holder, list[Message]] = {}
    channels = [each for each in vhost.broker.open_channels() if getattr(each.session, "vhost", None) is vhost]
    for channel in channels:
        assert isinstance(channel, ForgivingChannel)
        for holder, message in channel.vanish().values():
            by_holder.setdefault(holder, []).append(message)
    count = 0
    for holder, messages in by_holder.items():
        for begin in range(0, len(messages), STEP):
            part = messages[begin : begin + STEP]
            holder.queue.unacked -= len(part)
            _throw_away(holder.queue, part, why)
            holder.settled(len(part))
            count += len(part)
            if pace.is_over(len(part)):
                yield None
    for channel in channels:
        for consumer in channel.consumers.values():
            consumer.wake()
    return count


def _drop(queue: Queue, why: str, pace: Pace) -> Steps[int]:
    """What is ready."""
    count = 0
    while len(queue.ready) > STEP and queue.available():
        _, messages = queue.ready.take(STEP)
        _throw_away(queue, messages, why)
        count += len(messages)
        if pace.is_over(len(messages)):
            yield None
    left = len(queue.ready)
    with history_of(queue.vhost).because(why, BY_TEST):
        queue.drop_ready()
    if pace.is_over(left):
        yield None
    return count + left


def _throw_away(queue: Queue, messages: list[Message], why: str) -> None:
    if isinstance(queue, RememberingQueue):
        queue.throw_away(messages, why)
    else:
        queue.settle(messages)  # what an exchange keeps for itself

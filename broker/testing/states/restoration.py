"""From what was in a vhost to a vhost in which that is, and nothing else; by steps, while it stands still.

    clear      what is there goes (clearing.py)
    declare    what was declared since goes, what was deleted comes back, what was changed is as it was (topology.py)
    fill       every message, under a new id, so that the log has it in its order

A queue that is there as it was stays the same object, with its consumers. A message keeps its moments: one that should have expired
meanwhile expires when clients are heard again, and its death is what it would have been.
"""

from __future__ import annotations

from heapq import heappush
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from broker.core.delays import DelayQueue, delay_of
from broker.core.exchanges.delayed_message import DelayedMessage
from broker.core.exchanges.message_deduplication import MessageDeduplication
from broker.core.exchanges.recent_history import RecentHistory
from broker.core.expiry import MessageExpiry
from broker.core.memory import HEADER_BYTES, MESSAGE_BYTES
from broker.core.message import HEADER, ID
from broker.core.outbox import target_of
from broker.core.queue import Queue
from broker.core.returns import QuorumReady
from broker.core.steps import until_durable
from broker.testing.lives.history import LIVES_MAX, history_of
from broker.testing.states.capture import parts_of
from broker.testing.states.clearing import clear
from broker.testing.states.pace import Pace
from broker.testing.states.topology import declare
from protocol import content

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.core.exchange import Exchange
    from broker.core.message import Message
    from broker.core.outbox import Outbox, Target
    from broker.core.ready import Ready
    from broker.core.steps import Steps
    from broker.core.vhost import VHost
    from broker.testing.states.state import ExchangeState, Kept, VHostState

STEP: Final = 256
"""Messages that a step puts in: about two milliseconds."""
UNWRITTEN_BYTES: Final = 4_194_304
"""After so much the disk is waited for."""


class Restored(NamedTuple):
    """What is there now, and what could not come back, as texts."""

    queues: int
    messages: int
    left_out: list[str]


def restore(vhost: VHost, state: VHostState, why: str) -> Steps[Restored]:
    """Make the vhost what it was. Raises StoreFailed. The caller waits until it is durable. `why` is for the histories of messages."""
    yield from clear(vhost, why)
    left_out = declare(vhost, state)
    filling = _Filling(vhost.broker.outbox, state.messages + sum(len(each.delayed) for each in state.exchanges.values()))
    for exchange_state in state.exchanges.values():
        yield from _fill_exchange(filling, vhost.exchanges[exchange_state.name], exchange_state)
    for queue_state in state.queues.values():
        queue = vhost.queues.get(queue_state.name)
        if queue is not None:
            yield from filling.fill(queue, queue_state.messages)
    return Restored(len(vhost.declared_queues), filling.count, left_out)


def _fill_exchange(filling: _Filling, exchange: Exchange, state: ExchangeState) -> Steps[None]:
    """What its type keeps."""
    for part in parts_of(exchange):
        if isinstance(part, DelayedMessage) and state.delayed:
            yield from filling.fill(part.delay_queue(), state.delayed)
        elif isinstance(part, MessageDeduplication):
            for value, deadline_ms in state.seen:
                part.remember(value, deadline_ms)
        elif isinstance(part, RecentHistory):
            for envelope in state.recent:
                part.keep(envelope)


class _Filling:
    """Puts messages into queues, past all that refuses, counts or drops them."""

    def __init__(self, outbox: Outbox, most: int) -> None:
        """`most`: so many there will be."""
        self.count = 0
        self._forgettable = max(most - LIVES_MAX, 0)
        self._outbox = outbox
        self._facts: dict[bytes, int] = {}
        self._unwritten_bytes = 0
        self._pace = Pace(STEP)

    def fill(self, queue: Queue, messages: Sequence[Kept]) -> Steps[None]:
        """The messages of one queue, in the order of delivery."""
        for begin in range(0, len(messages), STEP):
            if queue.deleted:
                return  # its connection has ended
            part = messages[begin : begin + STEP]
            self._put(queue, part)
            if queue.kept_for is None:
                self.count += len(part)
            if self._unwritten_bytes >= UNWRITTEN_BYTES:
                self._unwritten_bytes = 0
                yield from until_durable(self._outbox)
            elif self._pace.is_over(len(part)):
                yield None

    def _put(self, queue: Queue, part: Sequence[Kept]) -> None:
        ledger = self._outbox.ledger
        first = ledger.next_id
        ledger.next_id = first + len(part)
        messages: list[Message] = [(first + index, each.routing, each.header, each.body) for index, each in enumerate(part)]
        size = sum([len(each.body) for each in part])
        overhead = sum([len(each.header) for each in part]) + len(part) * (MESSAGE_BYTES + HEADER_BYTES)
        # That of a queue: one that an exchange delays with would begin to count anew.
        Queue.enqueue(queue, messages, size, overhead)
        queue.published -= len(part)
        self._remember(queue, messages, part)
        _keep_moments(queue, first, part)
        self._log(queue, messages, part)
        _redeliver(queue, messages, part)
        self._unwritten_bytes += size

    def _remember(self, queue: Queue, messages: list[Message], part: Sequence[Kept]) -> None:
        """Each begins a life, but for those that would be forgotten for later ones at once."""
        skipped = min(self._forgettable, len(part))
        self._forgettable -= skipped
        history = history_of(queue.vhost)
        history.restored(queue, messages[skipped:], [each.until_ms for each in part[skipped:]])

    def _log(self, queue: Queue, messages: list[Message], part: Sequence[Kept]) -> None:
        """Write the messages down, those that have something in common together."""
        target = target_of([queue])
        alone = queue.message_expiry is not None or isinstance(queue, DelayQueue)
        for (_, lonely), group in groupby(range(len(part)), lambda index: (part[index].routing, alone and index)):
            indexes = list(group)
            run = messages[indexes[0] : indexes[-1] + 1]
            if target is not None:
                if lonely is False:
                    self._log_run(target, run)
                else:
                    self._log_alone(queue, target, run[0], part[indexes[0]])
            if self._outbox.memory.paging:
                self._outbox.page_out([queue], run, alike=False)

    def _log_run(self, target: Target, run: list[Message]) -> None:
        headers = [message[HEADER] for message in run]
        facts = [self._facts_of(header) for header in headers]
        self._outbox.enqueue_each(run[0][ID], target, (run[0][1],), headers, [message[3] for message in run], facts)

    def _log_alone(self, queue: Queue, target: Target, message: Message, kept: Kept) -> None:
        """With when its time began, from which a restart works out its moment."""
        number, routing, header, body = message
        facts = self._facts_of(header)
        expires = facts & content.HAS_EXPIRATION != 0
        began_ms: int | None = None
        if kept.until_ms is not None:
            began_ms = max(kept.until_ms - _time_of(queue, header), 0)
        persistent = facts & content.PERSISTENT != 0
        self._outbox.enqueue(number, target, routing, header, (body,), persistent, expires=expires, time_ms=began_ms)

    def _facts_of(self, header: bytes) -> int:
        facts = self._facts.get(header)
        if facts is None:
            if len(self._facts) >= STEP:
                self._facts.clear()
            facts = self._facts[header] = content.scan(header)
        return facts


def _time_of(queue: Queue, header: bytes) -> int:
    """The ms that a message with this content header has, or is held for."""
    if isinstance(queue, DelayQueue):
        return delay_of(content.headers(header))
    assert queue.message_expiry is not None
    return queue.message_expiry.deadline_for(header, 0) or 0


def _keep_moments(queue: Queue, first: int, part: Sequence[Kept]) -> None:
    """Each message goes on, or expires, when it would have."""
    if isinstance(queue, DelayQueue):
        for number, kept in enumerate(part, first):
            heappush(queue.ready.due, (kept.until_ms or 0, number))
        return
    if queue.message_expiry is None and any(kept.until_ms is not None for kept in part):
        queue.message_expiry = MessageExpiry(queue, None)
    if queue.message_expiry is not None:
        for number, kept in enumerate(part, first):
            queue.message_expiry.keep(number, kept.until_ms)


def _redeliver(queue: Queue, messages: list[Message], part: Sequence[Kept]) -> None:
    """Those that had been delivered stand where what came back does, at their places."""
    came_back = {message[ID]: kept for message, kept in zip(messages, part, strict=True) if kept.redelivered}
    if not came_back:
        return
    ids = list(came_back)
    for level in queue.ready.levels:
        picked = queue.ready.pick(level, ids)
        if picked:
            queue.ready.put_beside(level, _items(level, picked))
    queue.delivery_counts.update((number, kept.delivery_count) for number, kept in came_back.items() if kept.delivery_count)
    if queue.logged:
        queue.outbox.state_counts(queue, [(number, kept.delivery_count) for number, kept in came_back.items()])


def _items(level: Ready, messages: list[Message]) -> Sequence[object]:
    """As they stand beside the row of a level: each behind all that is before it."""
    return [(message[ID], 0, message) for message in messages] if isinstance(level, QuorumReady) else messages

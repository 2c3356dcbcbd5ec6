"""From a vhost to what is in it, by steps, while it stands still (standstill.py)."""

from __future__ import annotations

from heapq import merge
from itertools import repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from broker.core.delays import DelayQueue, delay_of
from broker.core.exchanges.delayed_message import DelayedMessage
from broker.core.exchanges.message_deduplication import MessageDeduplication
from broker.core.exchanges.recent_history import RecentHistory
from broker.core.inspection import held_by
from broker.core.message import ID
from broker.core.priorities import PriorityReady
from broker.core.returns import QuorumReady
from broker.core.walk import Walk
from broker.testing.states.pace import Pace
from broker.testing.states.state import BindingState, ExchangeState, Kept, QueueState, VHostState
from protocol import content
from protocol.tables import Field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broker.core.consumers import Holder
    from broker.core.exchange import Exchange
    from broker.core.inspection import Held
    from broker.core.message import Message
    from broker.core.queue import Queue
    from broker.core.steps import Steps
    from broker.core.vhost import VHost
    from broker.core.walk import Stretch

STEP: Final = 512
"""Messages, leases or objects that a step looks at: about a millisecond."""

Numbered = tuple[Any, Kept]
"""What says where a message stands among those of its queue, and the message."""
Lease = tuple["Message", "Held"]


def capture(vhost: VHost) -> Steps[VHostState]:
    """All that is in a vhost. Raises Unreadable for messages that the disk doesn't give now. A message that is damaged is left out."""
    state = VHostState(vhost.broker.outbox.clock())
    state.policies = [*vhost.policies.values(), *vhost.operator_policies.values()]
    state.parameters = dict(vhost.parameters)
    pace = Pace(STEP)
    for exchange in list(vhost.exchanges.values()):
        if exchange.name:
            state.exchanges[exchange.name] = yield from _capture_exchange(exchange, pace)
    leases = yield from _leases(vhost, pace)
    for queue in vhost.declared_queues:
        found = QueueState(queue.name, queue.durable, queue.auto_delete, queue.arguments, queue.owner)
        found.messages = yield from _messages(queue, leases.get(queue, []), pace)
        state.queues[queue.name] = found
    return state


# --- exchanges ------------------------------------------------------------------------------------------------------


def parts_of(exchange: Exchange) -> Iterator[Exchange]:
    """The exchange, and the one that routes for it if it delays: either may keep something."""
    yield exchange
    if isinstance(exchange, DelayedMessage):
        yield exchange.inner


def _capture_exchange(exchange: Exchange, pace: Pace) -> Steps[ExchangeState]:
    state = ExchangeState(
        exchange.name, exchange.type, exchange.durable, exchange.auto_delete, exchange.internal, exchange.arguments,
        exchange.declared_by,
    )  # fmt: skip
    state.bindings = [
        BindingState(each.destination.name, each.destination.is_queue, each.routing_key, each.arguments) for each in exchange.bindings()
    ]
    for part in parts_of(exchange):
        if isinstance(part, DelayedMessage) and part.delays is not None:
            state.delayed = yield from _messages(part.delays, [], pace)
        elif isinstance(part, MessageDeduplication):
            state.seen = [(_field(value), deadline) for value, deadline in part.seen.items()]
        elif isinstance(part, RecentHistory):
            state.recent = list(part.kept)
    if pace.is_over(1 + exchange.binding_count):
        yield None
    return state


def _field(exact: Any) -> Field:
    """The field that core.exchange.exact has made this of."""
    kind, value = exact
    if kind == "A":
        return Field(kind, [_field(each) for each in value])
    if kind == "F":
        return Field(kind, {name: _field(each) for name, each in value})
    return Field(kind, value)


# --- messages -------------------------------------------------------------------------------------------------------


def _leases(vhost: VHost, pace: Pace) -> Steps[dict[Queue, list[Lease]]]:
    """What is with somebody, by queue."""
    found: dict[Queue, list[Lease]] = {}
    for channel in list(vhost.broker.open_channels()):
        if getattr(channel.session, "vhost", None) is not vhost:
            continue
        leases: list[tuple[int | None, tuple[Holder, Message]]] = list(channel.unacked.items())
        if channel.transaction is not None:
            leases += zip(repeat(None), channel.transaction.leases(), strict=False)
        for tag, (holder, message) in leases:
            found.setdefault(holder.queue, []).append((message, held_by(holder, tag)))
            if pace.is_over():
                yield None
    return found


def _messages(queue: Queue, leases: list[Lease], pace: Pace) -> Steps[list[Kept]]:
    """What is in a queue, ready or not, in the order in which it would be delivered if all of it were."""
    ready: list[Numbered] = []
    place = _place_of(queue)
    walk = Walk(queue)
    while (stretch := (yield from walk.onward())) is not None:
        ready += _kept(queue, walk, stretch, place)
        if pace.is_over(len(stretch.messages)):
            yield None
    unacked: list[Numbered] = []
    expiry = queue.message_expiry
    for message, held in sorted(leases, key=_id_of_lease):
        number, routing, header, body = message
        until_ms = None if expiry is None else expiry.deadline_ms(number)
        kept = Kept(routing, header, body, True, queue.delivery_counts.get(number, 0) + 1, until_ms, held)
        unacked.append((place(message), kept))
        if pace.is_over():
            yield None
    return [kept for _, kept in _merged(queue, ready, unacked)]


def _id_of_lease(lease: Lease) -> int:
    return lease[0][ID]


def _place_of(queue: Queue) -> Callable[[Message], Any]:
    """What the places of messages in the queue are told by: ids rise, after priorities where there are any."""
    ready = queue.ready
    if isinstance(ready, PriorityReady):
        return lambda message: (-ready.priority_of(message[2]), message[ID])
    return itemgetter(ID)


def _kept(queue: Queue, walk: Walk, stretch: Stretch, place: Callable[[Message], Any]) -> Iterator[Numbered]:
    counts, expiry = queue.delivery_counts, queue.message_expiry
    times_ms = stretch.times_ms or repeat(None)
    due_ms = stretch.due_ms or repeat(None)
    for message, published_ms, until_ms in zip(stretch.messages, times_ms, due_ms, strict=False):
        number, routing, header, body = message
        if published_ms is not None:
            # It isn't in memory, so nobody has worked out its moment yet.
            if isinstance(queue, DelayQueue):
                until_ms = published_ms + delay_of(content.headers(header))
            elif expiry is not None:
                until_ms = expiry.deadline_for(header, published_ms)
        elif expiry is not None:
            until_ms = expiry.deadline_ms(number)
        yield place(message), Kept(routing, header, body, walk.is_redelivered(stretch, message), counts.get(number, 0), until_ms)


def _merged(queue: Queue, ready: list[Numbered], unacked: list[Numbered]) -> list[Numbered]:
    """Where what is unacked stands among the others once it is requeued (contract 6.5)."""
    if not isinstance(queue.ready, QuorumReady):
        return list(merge(ready, unacked, key=itemgetter(0))) if unacked else ready
    if queue.ready.to_end:
        return ready + unacked
    first = next((index for index, (_, kept) in enumerate(ready) if not kept.redelivered), len(ready))
    return [*ready[:first], *unacked, *ready[first:]]

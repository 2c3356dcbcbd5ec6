"""What became of one message, as a sentence that holds for all that shared its fate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.testing.lives import kinds
from broker.testing.lives.sentences import Sentence, holder
from broker.testing.lives.words import exchange_text, listed, quotes
from broker.testing.talk.wording import quoted, seconds
from broker.testing.waiting.holders import untaken_text

if TYPE_CHECKING:
    from broker.core.vhost import VHost
    from broker.testing.lives.history import History
    from broker.testing.lives.life import Life, Place


def sent(life: Life) -> str:
    """Where it was published: `published to exchange 'shop' with key 'order.new'`."""
    keys = listed(quotes(life.keys or (life.routing_key,)))
    return f"published to {exchange_text(life.exchange)} with key {keys}"


def beginning(life: Life) -> Sentence:
    """How it came to be."""
    by = "" if life.by is None else f" by {quoted(life.by.name)}"
    first = life.events[0] if life.events else None
    detail = "" if first is None or first.detail is None else first.detail
    match life.origin:
        case kinds.DEAD_LETTER:
            return Sentence(f"dead-lettered: {detail}")
        case kinds.MOVED_HERE:
            return Sentence(f"put there by an operator, {detail}")
        case kinds.KEPT:
            return Sentence(f"kept {detail}")
        case kinds.ANNOUNCED:
            return Sentence(f"said by the broker itself, to {exchange_text(life.exchange)} with key {quoted(life.routing_key)}")
        case kinds.RECOVERED:
            return Sentence("there when the broker started")
        case kinds.RESTORED:
            return Sentence("there before: a snapshot brought it back")
    return Sentence(f"{sent(life)}{by}")


def of_attempt(life: Life) -> Sentence:
    """It never became a message."""
    detail = life.events[0].detail or ""
    by = "a client" if life.by is None else quoted(life.by.name)
    if life.origin == kinds.ROLLED_BACK:
        return Sentence(f"{sent(life)} in a transaction of {by} that was not committed ({detail})")
    return Sentence(f"{sent(life)}, but {detail}")


def unroutable(life: Life) -> Sentence:
    """No queue got it."""
    return Sentence(f"{sent(life)} and {life.unroutable}")


def elsewhere(life: Life, queue: str = "", instead: str = "") -> Sentence:
    """It went to other queues, and not to that one, because of `instead`."""
    went = listed(quotes(list(life.routes)))
    return Sentence(f"{sent(life)} and went to {went}{f', not to {quoted(queue)}' if queue else ''}{instead}")


def in_queue(vhost: VHost, history: History, life: Life, queue: str) -> Sentence | None:
    """What became of it in a queue; None if it was never meant for it."""
    place = life.places.get(queue)
    if place is None:
        return _kept_out(life, queue)
    if place.is_open:
        return _there(vhost, life, queue, place)
    return _gone(history, life, queue, place)


def _kept_out(life: Life, queue: str) -> Sentence | None:
    event = life.last(queue, kinds.REFUSED, kinds.IGNORED)
    if event is None:
        return None
    if event.what == kinds.IGNORED:
        return Sentence(f"not taken by {quoted(queue)}: {event.detail}")
    after = _after(None, life, queue)
    return Sentence(f"refused by {quoted(queue)}: {event.detail}{after}")


def _there(vhost: VHost, life: Life, queue: str, place: Place) -> Sentence:
    times = sum(event.what == kinds.DELIVERED and event.queue == queue for event in life.events)
    again = f", delivered {times:,} times" if times > 1 else ""
    if place.state == kinds.UNACKED:
        return Sentence(f"unacked with {holder(place.who)}{again}", "is")
    if place.state == kinds.DELAYED:
        due_ms = (place.due_ms or 0) - vhost.broker.outbox.clock()
        return Sentence(f"held by exchange {quoted(life.exchange)} for another {seconds(max(due_ms, 0))}", "is")
    found = vhost.queues.get(queue)
    why = "" if found is None else f": {untaken_text(found)}"
    return Sentence(f"ready in {quoted(queue)}{again}{why}", "is")


def _gone(history: History, life: Life, queue: str, place: Place) -> Sentence:
    name, detail = quoted(queue), ""
    event = life.last(queue, place.state)
    if event is not None and event.detail is not None:
        detail = event.detail
    after = _after(history, life, queue)
    match place.state:
        case kinds.ACKED:
            return Sentence(f"acked by {holder(place.who)}")
        case kinds.DELIVERED:
            return Sentence(f"delivered to {holder(place.who)}, which doesn't ack")
        case kinds.REJECTED:
            how = f" ({detail})" if detail else ""
            return Sentence(f"rejected by {holder(place.who)}{how}{after or f': {name} has no dead-letter exchange'}")
        case kinds.EXPIRED:
            return Sentence(f"expired in {name}{after}", "")
        case kinds.DROPPED | kinds.GIVEN_UP:
            return Sentence(f"dropped from {name}: {detail}{after}")
        case kinds.PURGED:
            how = f" ({detail})" if detail else ""
            return Sentence(f"purged from {name}{how}")
        case kinds.QUEUE_DELETED:
            return Sentence(f"went with {name} when it was deleted: {detail}", "")
        case kinds.MOVED:
            return Sentence(f"moved by an operator {detail}")
    return Sentence(f"{place.state} in {name}: {detail}" if detail else f"{place.state} in {name}")


def _after(history: History | None, life: Life, queue: str) -> str:
    """Where its dead letter went, if it has one, or was to have."""
    event = life.last(queue, kinds.DEAD_LETTERED, kinds.LOST)
    if event is None or event.detail is None:
        return ""
    if event.what == kinds.LOST:
        return f", and {event.detail}"
    where = event.detail.partition(": ")[2]
    dead = history.get(event.life) if history is not None and isinstance(event.life, int) else None
    into = "" if dead is None else f", into {listed(quotes([each for each in dead.places if each in dead.routes]))}"
    return f", and dead-lettered {where}{into}"

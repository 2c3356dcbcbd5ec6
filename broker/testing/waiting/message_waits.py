"""Waiting for what becomes of messages: that one is acked, that three are dead letters (broker.testing.lives)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from broker.testing.lives import kinds
from broker.testing.lives.history import history_of
from broker.testing.lives.words import exchange_text, listed, quotes
from broker.testing.talk.wording import quoted
from broker.testing.waiting.conditions import AT_LEAST_ONE, Number, OfVHost

if TYPE_CHECKING:
    from broker.core.vhost import VHost
    from broker.testing.lives.life import Event, Life

UNROUTABLE_TOLD = 2


class MessageIs(OfVHost):
    """To so many messages that fit this has happened (kinds.WORDS); what has happened before counts, and `ready` and `unacked` are what
    they are now. Without a state: there are so many. What is None may be any.

    Looked through are all lives once, and then only those that something happens to."""

    def __init__(
        self,
        vhost: VHost,
        queue: str | None = None,
        exchange: str | None = None,
        routing_key: str | None = None,
        message_id: str | None = None,
        state: str | None = None,
        count: Number = AT_LEAST_ONE,
    ) -> None:
        super().__init__(vhost)
        self._history = history_of(vhost)
        self._queue = queue
        self._exchange = exchange
        self._routing_key = routing_key
        self._message_id = message_id
        self._state = state
        self._count = count
        self._found = {life.number for life in self._history if self._fits(life) and self._is_so(life)}
        self._history.on_event.append(self._hear)

    def close(self) -> None:
        """See broker.testing.waiting.waits.Condition."""
        self._history.on_event.remove(self._hear)

    def _hear(self, life: Life, _event: Event) -> None:
        (self._found.add if self._fits(life) and self._is_so(life) else self._found.discard)(life.number)

    def _is_met(self) -> bool:
        return len(self._found) in self._count

    def _fits(self, life: Life) -> bool:
        return life.fits(queue=self._queue, exchange=self._exchange, routing_key=self._routing_key, message_id=self._message_id)

    def _is_so(self, life: Life) -> bool:
        return self._state is None or life.has_been(self._state, self._queue)

    # --- in words ---------------------------------------------------------------------------------------------------

    def wanted(self) -> str:
        """See broker.testing.waiting.waits.Condition."""
        facts = [
            f"of queue {quoted(self._queue)}" if self._queue is not None else "",
            f"to {exchange_text(self._exchange)}" if self._exchange is not None else "",
            f"with key {quoted(self._routing_key)}" if self._routing_key is not None else "",
            f"with message_id {quoted(self._message_id)}" if self._message_id is not None else "",
        ]
        what = "a message" if self._count == AT_LEAST_ONE else f"{self._count} messages"
        return " ".join(filter(None, (what, *facts, f"to be {self._state or 'published'}")))

    def found(self) -> str:
        """See broker.testing.waiting.waits.Condition."""
        there = f"there {'is' if len(self._found) == 1 else 'are'} {len(self._found):,}" if self._found else "there is none"
        others = [life for life in self._history if life.number not in self._found and self._fits(life)]
        if others:
            states = Counter(_last(life, self._queue) for life in others)
            told = ", ".join(f"{count:,} {state}" for state, count in states.most_common())
            return f"{there}; what became last of {'the others' if self._found else 'those'} that fit otherwise: {told}"
        lives = [life for life in self._history if life.number not in self._found]
        if unroutable := [life for life in lives if life.unroutable is not None][-UNROUTABLE_TOLD:]:
            told = "; ".join(map(unroutable_text, unroutable))
            return f"{there}; {told}"
        if lives:
            keys = list(dict.fromkeys(f"{exchange_text(life.exchange)} with key {quoted(life.routing_key)}" for life in reversed(lives)))
            return f"{there}; others went to {listed(keys)}"
        if self._queue is not None and self._queue not in self.vhost.queues:
            return f"{there}, and {self._no_queue(self._queue)}"
        return f"{there}{'' if self._found else ': nothing was published'}"


def _last(life: Life, queue: str | None) -> str:
    """What it is in that queue, or what happened to it last."""
    place = life.places.get(queue) if queue is not None else None
    return life.state if place is None else place.state


def unroutable_text(life: Life) -> str:
    """`1 was published to exchange 'shop' with key 'order.new' and matched no binding; nearest: 'orders.*'`"""
    keys = listed(quotes(life.keys))
    what = "is a dead letter that" if life.origin == kinds.DEAD_LETTER else "was published"
    where = "went" if life.origin == kinds.DEAD_LETTER else ""
    return " ".join(filter(None, ("1", what, where, f"to {exchange_text(life.exchange)} with key {keys} and {life.unroutable}")))

"""Why there are so many messages, and not the others: what a failed assertion says after `expected 1 message in 'orders', found 0; `.

What was missed is looked for in the lives of the vhost's messages: those that were meant for it and are gone, those that came close, and
if there is nothing of that kind, whatever else was published.
"""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from broker.core.envelope import Envelope
from broker.core.explanation import Stop, judge_of
from broker.testing.lives import fates, kinds
from broker.testing.lives.history import history_of
from broker.testing.lives.sentences import Sentence, told
from broker.testing.lives.words import binding_text, listed, quotes
from broker.testing.talk.wording import quoted
from broker.testing.waiting.conditions import nearest
from broker.testing.waiting.holders import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.exchange import Exchange
    from broker.core.publisher import Publish
    from broker.core.queue import Queue
    from broker.core.vhost import VHost
    from broker.testing.lives.history import History
    from broker.testing.lives.life import Life, Place
    from broker.testing.lives.vhost import RememberingVHost

SENTENCES: Final = 4
"""That an answer has, at the most."""
NEAR: Final = 0.5
"""What is less like it isn't near: 1 is the same."""
HERE, CLOSE, GONE, DONE, FAR = range(5)
"""How much a sentence explains: it is there, and something else is still to happen; something went wrong close to what was wanted; it was
there and went another way; it was there and is done with; it has nothing to do with it, as far as one can see."""


class Question(NamedTuple):
    """What was asserted: that there are `wanted` messages, where there are `found`. Those in a queue; or those of it, or of an exchange,
    key or message_id, to which something has happened (`state`)."""

    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    message_id: str | None = None
    state: str | None = None
    wanted: int | None = None
    found: int | None = None

    def fits(self, life: Life) -> bool:
        """It is one of those that are meant, whatever has happened to it."""
        return life.fits(queue=self.queue, exchange=self.exchange, routing_key=self.routing_key, message_id=self.message_id)

    @property
    def is_about_publishing(self) -> bool:
        """No queue is named: it is about what was published."""
        return self.queue is None


def why(vhost: VHost, asked: Question) -> str:
    """The answer; empty if there is nothing to explain."""
    answer = _Answer(cast("RememberingVHost", vhost), asked)
    found, wanted = asked.found, asked.wanted
    if found is not None and wanted is not None and found == wanted:
        return ""
    too_many = found is not None and wanted is not None and found > wanted
    sentences = answer.those_there() if too_many else answer.the_missing()
    history = answer.history
    if history.forgotten and not too_many:
        lives = "life" if history.forgotten == 1 else "lives"
        sentences.append(f"the {history.forgotten:,} oldest {lives} are forgotten")
    return "; ".join(sentences)


class _Answer:
    def __init__(self, vhost: RememberingVHost, asked: Question) -> None:
        self.history: History = vhost.history
        self._vhost = vhost
        self._asked = asked
        self._queue = None if asked.queue is None else vhost.queues.get(asked.queue)
        self._misses_those_there = self._counts_otherwise()
        self._ranked: dict[int, list[Sentence]] = {}

    def _add(self, rank: int, sentence: Sentence | None) -> None:
        if sentence is not None:
            self._ranked.setdefault(rank, []).append(sentence)

    # --- too many -----------------------------------------------------------------------------------------------------

    def those_there(self) -> list[str]:
        """What is there, and where it came from."""
        asked = self._asked
        lives = [life for life in self.history if asked.fits(life)]
        if asked.state is not None:
            lives = [life for life in lives if life.has_been(asked.state, asked.queue)]
        elif asked.queue is not None:
            lives = [life for life in lives if life.is_in(asked.queue)]
        return told(map(self._came, lives), SENTENCES)

    def _came(self, life: Life) -> Sentence:
        sentence = fates.beginning(life)
        queue = self._asked.queue
        if queue is not None and life.has_been(kinds.READY, queue):
            back = life.last(queue, kinds.REQUEUED)
            if back is not None:
                return sentence._replace(rest=f"{sentence.rest}, and came back ({back.detail})")
        return sentence

    # --- too few ------------------------------------------------------------------------------------------------------

    def the_missing(self) -> list[str]:
        """What became of those that aren't there."""
        asked = self._asked
        heads = []
        if asked.queue is not None and self._queue is None:
            names = [each.name for each in self._vhost.declared_queues]
            heads.append(f"there is no queue {quoted(asked.queue)}, {nearest(asked.queue, names, 'queue')}")
        elif asked.exchange and asked.exchange not in self._vhost.exchanges:
            names = [each for each in self._vhost.exchanges if each and not each.startswith("amq.")]
            heads.append(f"there is no exchange {quoted(asked.exchange)}, {nearest(asked.exchange, names, 'exchange')}")
        for life in self.history:
            if asked.is_about_publishing:
                self._look_at_published(life)
            else:
                self._look_at_queued(life, asked.queue or "")
        self._look_at_transactions()
        found = [sentence for rank in (HERE, CLOSE, GONE, DONE) for sentence in told(self._ranked.get(rank, ()), SENTENCES)]
        if len(found) > SENTENCES:
            found = found[:SENTENCES]
        return [*heads, *(found or self._what_else())]

    # what is known of a queue's messages

    def _look_at_queued(self, life: Life, name: str) -> None:
        asked = self._asked
        if asked.message_id is not None and life.message_id != asked.message_id:
            return
        if life.origin in (kinds.FAILED, kinds.ROLLED_BACK):
            is_close = name in life.routes or life.origin == kinds.FAILED
            self._add(CLOSE if is_close else FAR, fates.of_attempt(life))
            return
        place = life.places.get(name)
        if place is not None and place.is_open and not self._misses_those_there:
            return
        if asked.state is not None and life.has_been(asked.state, name):
            return
        sentence = fates.in_queue(self._vhost, self.history, life, name)
        if sentence is not None:
            self._add(_rank_of(place), sentence)
        elif life.unroutable is not None and not life.places:
            self._look_at_unroutable(life, name)
        else:
            self._look_at_another_queues(life, name)

    def _counts_otherwise(self) -> bool:
        """What is in the queue isn't what was counted."""
        asked = self._asked
        if asked.queue is None or asked.state is not None:
            return True
        return asked.found is not None and sum(life.is_in(asked.queue) for life in self.history) != asked.found

    def _look_at_unroutable(self, life: Life, name: str) -> None:
        assert life.miss is not None
        if self._queue is not None and self._would_match(life, self._queue):
            then = life.miss.text.partition(";")[0].partition(":")[0]
            self._add(CLOSE, Sentence(f"{fates.sent(life)} too early: it {then} then, and would get to {quoted(name)} now"))
            return
        is_close = name in life.miss.near or any(self._is_bound(each, name) for each in life.miss.exchanges)
        if not life.exchange:
            is_close = _likeness(life.routing_key, name) >= NEAR
        self._add(CLOSE if is_close else FAR, fates.unroutable(life))

    def _look_at_another_queues(self, life: Life, name: str) -> None:
        """It went to other queues, or waits for its time."""
        delayed = next((each for each, place in life.places.items() if place.state == kinds.DELAYED), None)
        exchange = self._vhost.exchanges.get(life.exchange)
        if delayed is not None:
            is_close = exchange is not None and self._is_bound(life.exchange, name)
            self._add(GONE if is_close else FAR, fates.in_queue(self._vhost, self.history, life, delayed))
        elif not life.exchange and life.origin == kinds.PUBLISHED and _likeness(life.routing_key, name) >= NEAR:
            self._add(CLOSE, fates.elsewhere(life, name))
        elif exchange is not None and life.exchange and self._is_bound(life.exchange, name) and self._queue is not None:
            keys = [binding_text(each.routing_key, each.arguments) for each in exchange.bindings_of(self._queue)]
            if self._would_match(life, self._queue):
                self._add(CLOSE, fates.elsewhere(life, name, ", which was not bound like that then"))
            else:
                self._add(CLOSE, fates.elsewhere(life, name, f", which is bound with {listed(keys)}"))
        else:
            self._add(FAR, fates.elsewhere(life) if life.routes else fates.beginning(life))

    def _is_bound(self, exchange: str, queue: str) -> bool:
        found = self._vhost.exchanges.get(exchange)
        return found is not None and self._queue is not None and self._queue.name == queue and bool(found.bindings_of(self._queue))

    def _would_match(self, life: Life, queue: Queue) -> bool:
        """As things are now, it would be routed there at once."""
        exchange = self._vhost.exchanges.get(life.exchange)
        if exchange is None or life.header is None or (life.miss is not None and "duplicate" in life.miss.text):
            return False
        if not exchange.name:
            return queue.name in life.keys
        return _matches(exchange, queue, life)

    # what is known of what was published

    def _look_at_published(self, life: Life) -> None:
        asked = self._asked
        if life.origin in (kinds.FAILED, kinds.ROLLED_BACK):
            self._add(CLOSE if self._is_like(life) else FAR, fates.of_attempt(life))
            return
        if asked.fits(life):
            if asked.state is None or not life.has_been(asked.state):
                self._add(CLOSE, self._what_became(life))
        elif asked.message_id is not None and life.fits(exchange=asked.exchange, routing_key=asked.routing_key):
            own = "without message_id" if life.message_id is None else f"with message_id {quoted(life.message_id)}"
            self._add(
                CLOSE if life.message_id and _likeness(life.message_id, asked.message_id) >= NEAR else FAR,
                Sentence(f"{fates.sent(life)} {own}"),
            )
        elif life.origin == kinds.PUBLISHED:
            self._add(CLOSE if self._is_like(life) else FAR, _went(life))

    def _what_became(self, life: Life) -> Sentence:
        """Of one that is meant, and hasn't been through what was wanted."""
        sentence = None
        if self._asked.state is not None and len(life.places) == 1:
            (name,) = life.places
            sentence = fates.in_queue(self._vhost, self.history, life, name)
        return sentence or _went(life)

    def _is_like(self, life: Life) -> bool:
        """Exchange and key are like those that were asked for."""
        asked = self._asked
        wanted = (asked.exchange, life.exchange), (asked.routing_key, life.routing_key)
        given = [(one, other) for one, other in wanted if one is not None]
        return bool(given) and all(_likeness(one, other) >= NEAR for one, other in given)

    # --- what isn't a message yet, or is one of others ------------------------------------------------------------------

    def _look_at_transactions(self) -> None:
        for session in self._vhost.sessions:
            for channel in session.channels.values():
                for publish in [] if channel.transaction is None else channel.transaction.publishes:
                    if self._concerns(publish):
                        self._add(CLOSE, Sentence(f"in a transaction of {quoted(name_of(session))} that isn't committed yet", "is"))

    def _concerns(self, publish: Publish) -> bool:
        asked = self._asked
        if asked.queue is not None:
            return any(queue.name == asked.queue for queue in publish.queues)
        return asked.exchange is None or publish.exchange.name == asked.exchange

    def _what_else(self) -> list[str]:
        """Nothing comes close: what there is beside."""
        elsewhere = list(self._in_other_vhosts())
        far = told(self._ranked.get(FAR, ()), SENTENCES - 1)
        if elsewhere or far:
            return [*elsewhere, *far]
        if len(self.history) or self.history.forgotten:
            return ["nothing else was published"] if self._asked.found else ["nothing was published that fits"]
        sessions = list(self._vhost.sessions)
        if not sessions:
            return [f"nothing was published, and nobody is connected to vhost {quoted(self._vhost.name)}"]
        return [f"nothing was published; connected: {listed(quotes([name_of(each) for each in sessions]))}"]

    def _in_other_vhosts(self) -> Iterator[str]:
        asked = self._asked
        for vhost in self._vhost.broker.vhosts.values():
            if vhost is self._vhost:
                continue
            history = history_of(vhost)
            count = sum(
                life.origin == kinds.PUBLISHED and (asked.exchange != "" or bool(life.places)) and asked.fits(life) for life in history
            )
            if count and asked.queue is not None:
                yield Sentence(f"published to a queue of the same name in vhost {quoted(vhost.name)}").of(count)
            elif count and asked.exchange:
                yield Sentence(f"published to the same exchange name in vhost {quoted(vhost.name)}").of(count)


def _rank_of(place: Place | None) -> int:
    """Of what became of a message in the queue that was asked for; None: it was kept out."""
    if place is None:
        return CLOSE
    if place.is_open:
        return HERE
    return DONE if place.state in (kinds.ACKED, kinds.DELIVERED) else GONE


def _went(life: Life) -> Sentence:
    """Where it was published, and where it went."""
    if life.unroutable is not None and not life.places:
        return fates.unroutable(life)
    return fates.elsewhere(life) if life.routes else fates.beginning(life)


def _matches(exchange: Exchange, queue: Queue, life: Life) -> bool:
    envelope = Envelope(life.keys or (life.routing_key,), life.routing, life.header or b"", life.body)
    try:
        judge = judge_of(exchange, envelope, Stop("", "", ""))
        return any(judge(binding)[0] for binding in exchange.bindings_of(queue))
    except ValueError:
        return False  # headers that make no sense


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, one.casefold(), other.casefold(), autojunk=False).ratio()

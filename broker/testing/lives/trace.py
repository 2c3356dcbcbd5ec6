"""How a message came to its queues, or why to none: written down while the vhost routes it, in the words of core/explanation.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from broker.core.delays import DelayQueue
from broker.core.envelope import Envelope
from broker.core.exchange import Exchange
from broker.core.explanation import Stop, difference, judge_of, nearest
from broker.core.message import join_routing
from broker.core.properties import REPLY_TO
from broker.core.queue import Queue
from broker.testing.lives.words import binding_text, exchange_text, listed, quotes
from broker.testing.talk.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.core.exchange import Binding, Destination
    from broker.core.explanation import Judge, Judged
    from broker.core.vhost import VHost
    from protocol.tables import Table

EXPLAINED: Final = 100
"""Destinations of one exchange whose bindings are looked at; a fanout may have ten thousand."""
NEAREST_STEPS: Final = 64
"""So far bindings are compared to find the nearest: some eight thousand."""
NEAR: Final = 0.5
"""What is less like it isn't near: 1 is the same."""
SHOWN: Final = 3
NOTHING: Final = Envelope(())
UNEXPLAINED: Final = "one of its many bindings matches"


class Hop(NamedTuple):
    """One step of the way: an exchange, and the binding that leads on from there, if one does."""

    exchange: str
    why: str
    binding_key: str | None = None
    arguments: Table | None = None


class Way(NamedTuple):
    """The hops to a queue, the first one first."""

    hops: tuple[Hop, ...]

    @property
    def why(self) -> str:
        """In words."""
        if len(self.hops) == 1:
            return self.hops[0].why
        return "; ".join(f"{exchange_text(hop.exchange)}: {hop.why}" for hop in self.hops)


class Miss(NamedTuple):
    """Why no queue gets it: `text` goes on from `it was published to exchange 'shop' with key 'order' and ...`. `near` are the queues and
    exchanges that the nearest bindings lead to, `exchanges` those that it came to."""

    text: str
    near: tuple[str, ...] = ()
    exchanges: tuple[str, ...] = ()


class Trace:
    """The way of one message, or of all with one key. `ways` are those to its queues."""

    def __init__(self, exchange: Exchange, envelope: Envelope) -> None:
        self.keys = envelope.keys
        self.routing = join_routing(exchange.name, envelope.keys[0])
        self.ways: dict[str, Way] = {}
        self.miss: Miss | None = None
        self._envelope = _legible(envelope)
        self._hops: dict[Destination, tuple[Exchange, Hop]] = {}
        """By what it leads to: from where, and why."""
        self._exchanges: list[Exchange] = [exchange]
        self._missing_alternates: dict[Exchange, str] = {}
        self._notes: list[str] = []

    def pass_through(self, vhost: VHost, source: Exchange, route: Callable[[], Sequence[Destination]]) -> Sequence[Destination]:
        """Let an exchange `route` the message, and write down why it does so; returns where it leads."""
        stop = Stop(source.name, source.type, "")
        judge = judge_of(source, self._envelope, stop) if source.name else None  # before it has seen the message
        found = route()
        self._notes += stop.notes
        for index, destination in enumerate(found):
            if destination not in self._hops:
                hop = _hop(vhost, source, destination, judge, stop) if index < EXPLAINED else Hop(source.name, UNEXPLAINED)
                self._hops[destination] = (source, hop)
                if isinstance(destination, Exchange) and destination not in self._exchanges:
                    self._exchanges.append(destination)
        if not found and source.alternate is not None:
            self._missing_alternates[source] = source.alternate
        return found

    def end(self, vhost: VHost, queues: Sequence[Queue]) -> None:
        """It goes to these queues."""
        if not queues:
            self.miss = self._missed(vhost)
        for queue in queues:
            self.ways[queue.name] = Way(tuple(self._hops_to(queue)))
        self._hops.clear()
        self._envelope = NOTHING

    def _hops_to(self, queue: Queue) -> list[Hop]:
        hops: list[Hop] = []
        destination: Destination = queue
        while destination in self._hops and len(hops) < len(self._hops):
            source, hop = self._hops[destination]
            hops.append(hop)
            if source is self._exchanges[0]:
                break
            destination = source
        return hops[::-1]

    def _missed(self, vhost: VHost) -> Miss:
        exchanges, envelope = self._exchanges, self._envelope
        names = tuple(exchange.name for exchange in exchanges)
        if any("x-deduplication-header" in note for note in self._notes):
            return Miss("was a duplicate: a message with the same x-deduplication-header was there lately", (), names)
        first = exchanges[0]
        near = _nearest(vhost, exchanges, envelope)
        found = tuple(dict.fromkeys(judged.destination for judged in near))
        shown = [f"{binding_text(judged.routing_key, judged.arguments)}{_remark(judged, envelope.keys[0])}" for judged in near]
        if not first.name:
            if envelope.keys[0].startswith(f"{REPLY_TO}."):
                return Miss("found nobody who waits for that reply", (), names)
            others = quotes([each.name for each in vhost.declared_queues])
            return Miss(f"found no queue of that name{_instead(shown, others, 'queue')}", found, names)
        bindings = [binding for exchange in exchanges if exchange.name for binding in exchange.bindings()]
        others = [binding_text(each.routing_key, each.arguments) for each in bindings[: SHOWN + 1]]
        return Miss(f"{self._came_to()}{_instead(shown, others, 'binding', len(bindings))}", found, names)

    def _came_to(self) -> str:
        """`matched no binding`, and where."""
        first, others = self._exchanges[0], self._exchanges[1:]
        alternates = [each for each in others if each.name == first.alternate and not first.bindings_of(each)]
        if alternates:
            return f"matched no binding, nor one of its alternate exchange {quoted(alternates[0].name)}"
        if others:
            return f"went on to {listed([exchange_text(each.name) for each in others])}, but matched no binding there"
        if first in self._missing_alternates:
            return f"matched no binding, and its alternate exchange {quoted(self._missing_alternates[first])} doesn't exist"
        return "matched no binding"


def _legible(envelope: Envelope) -> Envelope:
    """The same with headers that can be looked at: a route by the key has none, and others may make no sense, which nobody notices
    otherwise."""
    try:
        headers = envelope.headers if envelope.header else {}
    except ValueError:
        headers = {}
    return Envelope(envelope.keys, envelope.routing, envelope.header, envelope.body, headers)


def _hop(vhost: VHost, source: Exchange, destination: Destination, judge: Judge | None, stop: Stop) -> Hop:
    if judge is None:
        if destination.is_queue:
            return Hop("", "the routing key is the queue's name")
    elif isinstance(destination, DelayQueue):
        return Hop(source.name, next(iter(stop.notes), "it is held there"))
    else:
        binding, why = _matching(source, destination, judge)
        if binding is not None:
            return Hop(source.name, why, binding.routing_key, binding.arguments)
    if destination is vhost.exchanges.get(source.alternate or ""):
        return Hop(source.name, f"nothing matches there, and {quoted(destination.name)} is its alternate exchange")
    return Hop(source.name, "it leads there")


def _matching(source: Exchange, destination: Destination, judge: Judge) -> tuple[Binding | None, str]:
    for binding in source.bindings_of(destination):
        matches, why = judge(binding)
        if matches:
            return binding, why
    return None, ""


def _nearest(vhost: VHost, exchanges: Sequence[Exchange], envelope: Envelope) -> list[Judged]:
    steps = nearest(vhost, exchanges, envelope)
    try:
        for _ in range(NEAREST_STEPS):
            next(steps)
    except StopIteration as stop:
        found: list[Judged] = stop.value
        return [judged for judged in found if judged.closeness >= NEAR][:SHOWN]
    finally:
        steps.close()
    return []


def _remark(judged: Judged, key: str) -> str:
    """What the eye may miss."""
    told = difference(judged.routing_key, key)
    return f" ({told})" if " differ in " in told else ""


def _instead(near: Sequence[str], others: Sequence[str], noun: str, count: int | None = None) -> str:
    """What there is: `others` are so many, of which the first are given."""
    if near:
        return f"; nearest: {', '.join(near)}"
    if not others:
        return f": there is no {noun} at all" if noun == "queue" else ": there is none"
    count = len(others) if count is None else count
    more = f" and {count - SHOWN:,} more" if count > SHOWN else ""
    return f"; there {'is' if count == 1 else 'are'} {', '.join(others[:SHOWN])}{more}"

"""Where a message would go, and why: each exchange on its way, which bindings match, by what, and if nothing takes it, what nearly would.

It follows `VHost.route` step by step, and publishes nothing: exchanges that keep something of each message, or draw lots, aren't asked to
route but say what they would do. It goes in steps (core/steps.py), for an exchange may have any number of bindings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from heapq import heappush, heapreplace
from typing import TYPE_CHECKING, Final

from broker.core.delays import delay_of
from broker.core.envelope import Envelope
from broker.core.exchange import Binding, Exchange
from broker.core.exchanges.delayed_message import DelayedMessage
from broker.core.exchanges.headers import conditions_of, fulfilled
from broker.core.exchanges.message_deduplication import MessageDeduplication
from broker.core.exchanges.random_choice import RandomChoice
from broker.core.exchanges.topic import words_of
from broker.core.message import join_routing
from broker.core.properties import senders
from broker.core.queue import Queue
from protocol.content import Properties, encode_properties

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broker.core.exchange import Destination
    from broker.core.steps import Steps
    from broker.core.vhost import VHost
    from protocol.tables import Table

SHOWN: Final = 100
"""Bindings of an exchange that are shown, at the most."""
NEAREST: Final = 5
STEP: Final = 128
"""Bindings that a step looks at, if keys are short and headers few."""
COMPARED: Final = 100
"""Characters of keys that are compared to tell how like they are: what it takes grows with their square."""
NEAR: Final = 0.4
"""What is less like it than this isn't near: 1 is the same."""


@dataclass(slots=True)
class Judged:
    """A binding, whether it matches, and why or why not. For the default exchange, which has none, `routing_key` is a queue's name."""

    source: str
    destination: str
    destination_type: str
    routing_key: str
    arguments: Table
    why: str
    closeness: float = 1.0


@dataclass(slots=True)
class Stop:
    """An exchange on the way: how the message comes there, how many bindings it has and how many match, and the first of those."""

    exchange: str
    type: str
    came_by: str
    bindings: int = 0
    matching: int = 0
    matched: list[Judged] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Explanation:
    """The stops, in the order in which they are made, and the queues at the end; `nearest` is for a message that no queue gets.
    `by_chance`: an exchange on the way takes any one of its bindings, and `queues` are all that may get it."""

    keys: list[str]
    stops: list[Stop] = field(default_factory=list)
    queues: list[Queue] = field(default_factory=list)
    nearest: list[Judged] = field(default_factory=list)
    by_chance: bool = False


def explain(vhost: VHost, exchange: Exchange, routing_key: str, headers: Table) -> Steps[Explanation]:
    """What would become of a message with this routing key and these headers. Raises ValueError for a key of more than 255 bytes, and
    MalformedTable (a ValueError) for headers that nobody could send."""
    keys = [routing_key, *senders(headers, "CC"), *senders(headers, "BCC")]
    header = encode_properties(Properties(headers=headers), 0)
    envelope = Envelope(keys, join_routing(exchange.name, routing_key), header, b"", headers)
    done = Explanation(keys)
    queues: dict[Queue, None] = {}
    seen: dict[Exchange, None] = {exchange: None}
    to_do: list[tuple[Exchange, str]] = [(exchange, "it is published there")]
    cost, cost_of = 0, _cost_of(envelope)
    while to_do:
        source, came_by = to_do.pop()
        stop = Stop(source.name, source.type, came_by)
        done.stops.append(stop)
        found: dict[Destination, None] = {}
        judge = judge_of(source, envelope, stop)
        done.by_chance = done.by_chance or isinstance(_acting(source), RandomChoice)
        for binding in list(source.bindings()) if source.name else _by_name(vhost, source, keys):
            cost += cost_of(binding)
            if cost >= STEP:
                cost = 0
                yield None
            stop.bindings += 1
            matches, why = judge(binding)
            if matches:
                found[binding.destination] = None
                stop.matching += 1
                if len(stop.matched) < SHOWN:
                    stop.matched.append(_judged(binding, why))
        if not found and source.alternate is not None:
            alternate = vhost.exchanges.get(source.alternate)
            what = "leads nowhere: there is no such exchange" if alternate is None else "gets it"
            stop.notes.append(f"nothing matches, and the alternate exchange '{source.alternate}' {what}")
            if alternate is not None:
                found[alternate] = None
        _go_on(found, source, seen, queues, to_do)
    done.queues = list(queues)
    if not queues:
        done.nearest = yield from nearest(vhost, list(seen), envelope)
    return done


def _cost_of(envelope: Envelope) -> Callable[[Binding], int]:
    """What it takes to judge a binding, at the most: 1 is a few microseconds."""
    key_length, base = sum(map(len, envelope.keys)), 1 + len(envelope.headers) // 4
    return lambda binding: base + len(binding.routing_key) * key_length // 256


def _go_on(
    found: Iterable[Destination],
    source: Exchange,
    seen: dict[Exchange, None],
    queues: dict[Queue, None],
    to_do: list[tuple[Exchange, str]],
) -> None:
    for destination in found:
        if isinstance(destination, Queue):
            queues[destination] = None
        elif isinstance(destination, Exchange) and destination not in seen:
            seen[destination] = None
            to_do.append((destination, f"exchange '{source.name}' leads there"))


def _judged(binding: Binding, why: str, closeness: float = 1.0) -> Judged:
    destination = binding.destination
    kind = "queue" if destination.is_queue else "exchange"
    return Judged(binding.source.name, destination.name, kind, binding.routing_key, binding.arguments, why, closeness)


# --- why a binding matches, by type ---------------------------------------------------------------------------------------

Judge = Callable[[Binding], tuple[bool, str]]


def _acting(exchange: Exchange) -> Exchange:
    """The exchange whose type decides."""
    return exchange.inner if isinstance(exchange, DelayedMessage) else exchange


def judge_of(exchange: Exchange, envelope: Envelope, stop: Stop) -> Judge:
    """What says of a binding whether it matches, and why or why not; what there is to say about the exchange goes to the stop."""
    acting = _acting(exchange)
    if isinstance(exchange, DelayedMessage):
        delay_ms = delay_of(envelope.headers)
        if delay_ms > 0:
            stop.notes.append(f"it is held there for {delay_ms} ms, then it goes on as by an exchange of type {acting.type}")
    if isinstance(acting, MessageDeduplication) and acting.has_seen(envelope):
        stop.notes.append("a message with the same x-deduplication-header was there lately: this one is dropped")
        return lambda binding: (False, "it is a duplicate")
    match acting.type:
        case "direct":
            return lambda binding: _by_key(binding, envelope.keys)
        case "topic":
            return lambda binding: _by_pattern(binding, envelope.keys)
        case "headers":
            return lambda binding: _by_headers(binding, envelope)
        case "fanout" | "x-recent-history" | "x-message-deduplication":
            return lambda binding: (True, f"an exchange of type {acting.type} sends everything to every binding")
    if isinstance(acting, RandomChoice):
        stop.notes.append("one of its bindings gets it, by chance")
        return lambda binding: (True, "any binding may be the one")
    winners = acting.route(envelope)
    stop.notes.append(f"an exchange of type {acting.type} chooses one destination by a hash")
    return lambda binding: (True, "the hash falls to it") if binding.destination in winners else (False, "the hash falls to another")


def _by_key(binding: Binding, keys: Sequence[str]) -> tuple[bool, str]:
    bound = binding.routing_key
    if bound == keys[0]:
        return True, f"the routing key is its binding key '{bound}'"
    if bound in keys:
        return True, f"its binding key '{bound}' is one of the keys in CC and BCC"
    return False, difference(bound, keys[0])


def difference(bound: str, key: str) -> str:
    """How a routing key is other than a binding key."""
    if bound.casefold() == key.casefold():
        return f"'{bound}' and '{key}' differ in upper and lower case"
    if bound.strip() == key.strip():
        return f"'{bound}' and '{key}' differ in spaces at their ends"
    return f"its binding key is '{bound}', not '{key}'"


def _by_pattern(binding: Binding, keys: Sequence[str]) -> tuple[bool, str]:
    pattern = words_of(binding.routing_key)
    for key in keys:
        stands = _stands_for(pattern, words_of(key))
        if stands is not None:
            told = ", ".join(f"{word} is '{'.'.join(taken)}'" for word, taken in stands)
            return True, f"'{key}' fits '{binding.routing_key}'" + (f": {told}" if told else "")
    return False, _misfit(pattern, words_of(keys[0]), binding.routing_key, keys[0])


def _stands_for(pattern: Sequence[str], words: Sequence[str]) -> list[tuple[str, Sequence[str]]] | None:
    """What each `*` and `#` of the pattern stands for; None if it doesn't fit."""
    count = len(words)
    reached: list[dict[int, int]] = [{0: 0}]
    """For each word of the pattern: up to where the key may be used, and from where it came there."""
    for word in pattern:
        before = reached[-1]
        if word == "#":
            first = min(before, default=count + 1)
            reached.append(dict.fromkeys(range(first, count + 1), first))
        else:
            reached.append({at + 1: at for at in before if at < count and word in ("*", words[at])})
    if count not in reached[-1]:
        return None
    stands: list[tuple[str, Sequence[str]]] = []
    end = count
    for index in range(len(pattern), 0, -1):
        start = reached[index][end]
        if pattern[index - 1] in ("*", "#"):
            stands.append((pattern[index - 1], words[start:end]))
        end = start
    return stands[::-1]


def _misfit(pattern: Sequence[str], words: Sequence[str], bound: str, key: str) -> str:
    if "#" not in pattern:
        if len(pattern) != len(words):
            return f"'{bound}' has {len(pattern)} words, '{key}' {len(words)}"
        for at, (wanted, word) in enumerate(zip(pattern, words, strict=True)):
            if wanted not in ("*", word):
                return f"word {at + 1} is '{word}', and '{bound}' wants '{wanted}'"
    return f"'{key}' doesn't fit '{bound}'"


def _by_headers(binding: Binding, envelope: Envelope) -> tuple[bool, str]:
    one_is_enough, conditions = conditions_of(binding.arguments)
    met = fulfilled(conditions, envelope.headers)
    have, lack = sorted(name for name, _ in met), sorted(name for name, _ in conditions - met)
    if one_is_enough:
        return (True, f"one is enough: {_names(have)}") if have else (False, f"none of {_names(lack)} is as it should be")
    if not lack:
        return True, f"all are as they should be: {_names(have)}" if have else "it asks for no header"
    return False, f"{_names(lack)} {'is' if len(lack) == 1 else 'are'} missing or other than they should be" + (
        f" ({_names(have)} would do)" if have else ""
    )


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


# --- the default exchange, and what is near -------------------------------------------------------------------------------


def _by_name(vhost: VHost, default: Exchange, keys: Sequence[str]) -> list[Binding]:
    """The default exchange binds every queue by its name."""
    return [Binding(default, vhost.queues[key], key, {}) for key in keys if key in vhost.queues]


def nearest(vhost: VHost, exchanges: Sequence[Exchange], envelope: Envelope) -> Steps[list[Judged]]:
    """The bindings, or for the default exchange queues, that would take something most like it."""
    best: list[tuple[float, int, Judged]] = []
    number, cost, cost_of = 0, 0, _cost_of(envelope)
    for exchange in exchanges:
        bindings = list(exchange.bindings()) if exchange.name else _by_name(vhost, exchange, list(vhost.queues))
        judge = judge_of(exchange, envelope, Stop("", "", ""))
        for binding in bindings:
            number += 1
            cost += 2 * cost_of(binding)
            if cost >= STEP:
                cost = 0
                yield None
            closeness = _closeness(binding, exchange, envelope, best[0][0] if len(best) == NEAREST else NEAR)
            if closeness is None:
                continue
            why = judge(binding)[1] if exchange.name else difference(binding.routing_key, envelope.keys[0])
            (heappush if len(best) < NEAREST else heapreplace)(best, (closeness, -number, _judged(binding, why, closeness)))
    return [judged for _, _, judged in sorted(best, key=lambda item: item[:2], reverse=True)]


def _closeness(binding: Binding, exchange: Exchange, envelope: Envelope, least: float) -> float | None:
    """How like the message is to one that the binding takes, if that is more than `least`."""
    if _acting(exchange).type == "headers":
        _, conditions = conditions_of(binding.arguments)
        met = fulfilled(conditions, envelope.headers)
        closeness = len(met) / len(conditions) if conditions else 0.0
        return closeness if closeness > least else None
    key, bound = envelope.keys[0][:COMPARED].casefold(), binding.routing_key[:COMPARED].casefold()
    matcher = SequenceMatcher(None, bound, key, autojunk=False)
    if matcher.real_quick_ratio() <= least or matcher.quick_ratio() <= least:
        return None
    closeness = matcher.ratio()
    return closeness if closeness > least else None

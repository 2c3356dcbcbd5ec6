"""What became of the messages of a vhost, in sentences that stand for all that are alike: for the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from broker.testing.findings.versions import LATEST
from broker.testing.lives import kinds
from broker.testing.lives.words import exchange_text, quotes
from broker.testing.talk.wording import number, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from broker.testing.findings.finding import Findings
    from broker.testing.lives.history import History
    from broker.testing.lives.life import Event, Life
    from broker.testing.talk.transcript import Moments

NOWHERE: Final = frozenset((kinds.UNROUTABLE, kinds.REFUSED, kinds.IGNORED, kinds.FAILED, kinds.ROLLED_BACK, kinds.LOST))
"""Events after which a message is nowhere, or not everywhere that it was to be."""
LOSSES: Final = frozenset(
    "dropped expired given-up no-subscriber rejected requeue-loop unacked-at-close uncommitted unconfirmed queue-gone".split()
)
"""Findings that tell what became of messages, and not only what might, as far as `nowhere` doesn't."""


class _Group(NamedTuple):
    """Messages that one sentence tells of: when the first of it happened, and to how many it did."""

    at_ms: int
    size: int


def grouped(found: Iterable[tuple[int, str]], moments: Moments, noun: str = "message") -> Iterator[str]:
    """Sentences, each with its time; like ones are one, with how many they are in place of the first `{}`."""
    groups: dict[str, _Group] = {}
    for at_ms, sentence in found:
        group = groups.get(sentence, _Group(at_ms, 0))
        groups[sentence] = group._replace(size=group.size + 1)
    for sentence, group in sorted(groups.items(), key=lambda item: item[1].at_ms):
        yield f"{moments.text(group.at_ms)} {sentence.replace('{}', number(group.size, noun), 1)}"


def nowhere(history: History, moments: Moments) -> Iterator[str]:
    """Messages that no queue got, or that some didn't, and why."""
    return grouped(((event.at_ms, _nowhere(life, event)) for life in history for event in life.events if event.what in NOWHERE), moments)


def _nowhere(life: Life, event: Event) -> str:
    to = f"to {exchange_text(life.exchange)} with key {', '.join(quotes(life.keys or (life.routing_key,)))}"
    by = "" if life.by is None else f" of {quoted(life.by.name)}"
    match event.what:
        case kinds.UNROUTABLE:
            returned = " (returned)" * life.mandatory
            return f"{{}}{by} {to}: {event.detail}{returned}"
        case kinds.REFUSED:
            return f"{{}}{by} {to}: queue {quoted(event.queue or '')} was full, {event.detail}"
        case kinds.IGNORED:
            return f"{{}}{by} {to}: not into queue {quoted(event.queue or '')}, {event.detail}"
        case kinds.LOST:
            return f"{{}} died in queue {quoted(event.queue or '')}: {event.detail}"
        case kinds.ROLLED_BACK:
            why = f": {event.detail}" if event.detail else ""
            return f"{{}}{by} {to}: published in a transaction that was not committed{why}"
    return f"{{}}{by} {to}: {event.detail}"


def dead_letters(history: History, moments: Moments) -> Iterator[str]:
    """Where they died, why, and where they went."""
    found = ((event.at_ms, _dead(history, event)) for life in history for event in life.events if event.what == kinds.DEAD_LETTERED)
    return grouped(found, moments)


def _dead(history: History, event: Event) -> str:
    after = history.get(event.life) if isinstance(event.life, int) else None
    queues = [] if after is None else [name for name in after.places if name in after.routes] or list(after.places)
    into = f", into {', '.join(quotes(queues))}" if queues else ""
    return f"{{}} of {quoted(event.queue or '')} {event.detail}{into}"


def losses(findings: Findings) -> Iterator[str]:
    """What else was lost, as far as there are findings about it."""
    for finding in findings.of(LATEST):
        if finding.rule.code in LOSSES:
            times = f"{finding.count:,} times: " if finding.count > 1 else ""
            yield f"{times}{finding.facts()['what']}"


def so_far(life: Life, queue: str, moments: Moments) -> str:
    """How a message came to be as it is in that queue: `by 'worker' +0.012, delivered 2 times, came back +0.400`"""
    parts = []
    if life.origin == kinds.PUBLISHED and life.by is not None:
        parts.append(f"by {quoted(life.by.name)} {moments.text(life.begun_ms)}")
    elif life.origin == kinds.DEAD_LETTER:
        parts.append(f"there since {moments.text(life.begun_ms)}")
    given = sum(event.what == kinds.DELIVERED and event.queue == queue for event in life.events)
    if given:
        parts.append(f"delivered {'once' if given == 1 else f'{given:,} times'}")
    back = life.last(queue, kinds.REQUEUED)
    if back is not None:
        why = f" ({back.detail})" if back.detail else ""
        parts.append(f"came back {moments.text(back.at_ms)}{why}")
    return ", ".join(parts)

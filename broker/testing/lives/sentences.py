"""Sentences that stand for any number of messages to which the same has happened: `2 were acked by consumer 'c1' of 'worker'`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from broker.testing.talk.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.testing.lives.life import Who

_PLURALS: Final = {"is": "are", "was": "were", "has": "have", "is a": "are"}


class Sentence(NamedTuple):
    """`verb` follows the number (is, was, has, or nothing), and `rest` the verb."""

    rest: str
    verb: str = "was"

    def of(self, count: int) -> str:
        """The sentence about so many."""
        verb = self.verb if count == 1 else _PLURALS.get(self.verb, self.verb)
        rest = self.rest if count == 1 else self.rest.replace("its dead letter ", "the dead letter of each ")
        return " ".join(filter(None, (f"{count:,}", verb, rest)))


def told(found: Iterable[Sentence], most: int) -> list[str]:
    """Each different sentence once, those that came last first; of more than so many the last says how many others there are."""
    counts = Counter(found)
    groups = list(reversed(counts.items()))
    texts = [sentence.of(count) for sentence, count in groups[:most]]
    if others := sum(count for _, count in groups[most:]):
        texts.append(f"and {others:,} {'other' if others == 1 else 'others'}")
    return texts


def holder(who: Who | None) -> str:
    """`consumer 'c1' of 'worker'`, or for who used basic.get `'worker' (basic.get)`."""
    if who is None:
        return "somebody"
    if who.consumer_tag is not None:
        return f"consumer {quoted(who.consumer_tag)} of {quoted(who.name)}"
    return f"{quoted(who.name)} (basic.get)"

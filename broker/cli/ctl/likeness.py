"""How alike two words are, as Elixir measures it, whose "did you mean" RabbitMQ's tools have."""

from __future__ import annotations

from typing import Final

ALIKE: Final = 0.77
"""From here on one is taken for a slip of the other."""


def jaro(one: str, other: str) -> float:
    """Jaro's similarity (https://en.wikipedia.org/wiki/Jaro-Winkler_distance): 0 nothing in common, 1 the same."""
    if one == other:
        return 1.0
    reach = max(len(one), len(other), 2) // 2 - 1
    taken = [False] * len(other)
    matches: list[int] = []
    for at, letter in enumerate(one):
        for there in range(max(at - reach, 0), min(at + reach + 1, len(other))):
            if not taken[there] and other[there] == letter:
                taken[there] = True
                matches.append(at)
                break
    if not matches:
        return 0.0
    there_too = [letter for letter, is_taken in zip(other, taken, strict=True) if is_taken]
    swapped = sum(one[at] != letter for at, letter in zip(matches, there_too, strict=True)) / 2
    count = len(matches)
    return (count / len(one) + count / len(other) + (count - swapped) / count) / 3

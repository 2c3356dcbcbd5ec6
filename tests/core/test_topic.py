"""The topic exchange against a twin that makes a regular expression of every pattern (contract 3.5)."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core.exchanges import create
from broker.core.exchanges.topic import Topic


class Queue:
    is_queue = True
    type = "classic"

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


QUEUES = [Queue(f"q{number}") for number in range(4)]


def pattern_twin(pattern: str) -> re.Pattern[str]:
    """Every word of the key is written `.word`, so that the empty key is nothing and `.` two empty words."""
    parts = {"*": r"\.[^.]*", "#": r"(\.[^.]*)*"}
    words = pattern.split(".") if pattern else []
    return re.compile("".join(parts.get(word, re.escape("." + word)) for word in words), re.DOTALL)


def twin_matches(pattern: str, key: str) -> bool:
    return pattern_twin(pattern).fullmatch("." + key if key else "") is not None


def matches(pattern: str, key: str) -> bool:
    exchange = create("topic", "x")
    exchange.bind(QUEUES[0], pattern, {})
    return list(exchange.matches(key, {})) == [QUEUES[0]]


@pytest.mark.parametrize(
    ("pattern", "key", "matched"),
    [
        ("", "", True),
        ("#", "", True),
        ("*", "", False),
        ("*.*", ".", True),
        (".", ".", True),
        ("*", "*", True),
        ("a.*", "a.#", True),
        ("#.#", "", True),
        ("#.a", "a", True),
        ("a.#.#", "a", True),
        ("*.#", "", False),
        ("#.*", "", False),
        ("a#", "a#", True),
        ("a#", "ab", False),
        ("#.", "", False),
        ("#.", ".", True),
        ("*.", "a.", True),
        (".#", ".", True),
        (".#", "", False),
        ("*.stock.#", "usd.stock", True),
        ("*.stock.#", "eur.stock.db", True),
        ("*.stock.#", "stock.nasdaq", False),
    ],
)
def test_words(pattern: str, key: str, matched: bool) -> None:
    """All but the last three, which the specification gives (3.1.3.3), as the oracle answered."""
    assert matches(pattern, key) is matched
    assert twin_matches(pattern, key) is matched


words = st.sampled_from(["a", "b", "", "*", "#", "#", "*", "a#"])
patterns = st.lists(words, max_size=6).map(".".join)
keys = st.lists(st.sampled_from(["a", "b", "", "*", "#", "a#"]), max_size=7).map(".".join)


@given(patterns, keys)
def test_one_pattern_as_the_twin(pattern: str, key: str) -> None:
    assert matches(pattern, key) is twin_matches(pattern, key)


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["bind", "bind", "bind", "unbind", "delete"]), st.sampled_from(QUEUES), patterns), max_size=25
    ),
    published=st.lists(keys, min_size=1, max_size=5),
)
def test_binding_and_unbinding_as_the_twin(steps: list[tuple[str, Queue, str]], published: list[str]) -> None:
    exchange = create("topic", "x")
    assert isinstance(exchange, Topic)
    bound: set[tuple[Queue, str]] = set()
    for verb, queue, pattern in steps:
        if verb == "bind":
            assert exchange.bind(queue, pattern, {}) is ((queue, pattern) not in bound)
            bound.add((queue, pattern))
        elif verb == "unbind":
            assert exchange.unbind(queue, pattern, {}) is ((queue, pattern) in bound)
            bound.discard((queue, pattern))
        else:
            gone = {(queue, binding.routing_key) for binding in exchange.unbind_destination(queue)}
            assert gone == {pair for pair in bound if pair[0] is queue}
            bound -= gone
        for key in published:
            found = list(exchange.matches(key, {}))
            assert len(found) == len(set(found))
            assert set(found) == {queue for queue, pattern in bound if twin_matches(pattern, key)}
    for queue in QUEUES:
        exchange.unbind_destination(queue)
    assert exchange._root.is_empty and not exchange._by_key  # nothing is left behind by what comes and goes


def test_a_hostile_pattern_costs_no_exponential_time() -> None:
    """Trying one branch after the other would never come to an end with 30 `#` and 120 words."""
    exchange = create("topic", "x")
    exchange.bind(QUEUES[0], ".".join(["#", "a"] * 30 + ["b"]), {})
    exchange.bind(QUEUES[1], ".".join(["#", "*"] * 30), {})
    key = ".".join("a" * 120)
    begin = time.process_time()
    assert list(exchange.matches(key, {})) == [QUEUES[1]]
    assert time.process_time() - begin < 1.0

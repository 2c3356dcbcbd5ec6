"""Regular expressions over names, in bounded time.

Python's `re` tries one way after the other, and a pattern such as `(a+)+$` has more ways through a name of 255 letters than there is time:
a careless policy and one queue's name would stop the broker for everybody. RabbitMQ's engine gives up after ten million steps, and then
takes the name for one that doesn't match. Here a pattern that could take long is searched for in all ways at once:

    a(b|c)*d     a node for each step; of each node, as the bits of an integer, the positions from which the rest matches

Each bit is set once at the most, so a search costs nodes times positions. Patterns that can't take long, nearly all, are left to `re`.
What neither can do in bounded time (a backreference or an atomic group beside several repetitions) is refused.
"""

from __future__ import annotations

import re
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any, Final, Literal, NamedTuple

DEGREE_MAX: Final = 1
"""Repetitions without an end, one after the other, that are left to `re`: it takes the name's length to the power of one more."""
WAYS_MAX: Final = 16
"""Other ways through a pattern (alternatives, short repetitions) that are left to `re`."""
SHORT_REPEAT_MAX: Final = 16
NODES_MAX: Final = 4000
"""Steps of a pattern, repetitions written out: a search for the biggest takes some tens of milliseconds."""
_MANY: Final = 1 << 30
_REPEATS: Final = (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT)
_LOOKS: Final = (sre.ASSERT, sre.ASSERT_NOT)
_UNBOUNDED: Final = (sre.GROUPREF, sre.GROUPREF_EXISTS, sre.ATOMIC_GROUP, sre.POSSESSIVE_REPEAT)
_CATEGORIES: Final = {
    sre.CATEGORY_DIGIT: rb"\d", sre.CATEGORY_NOT_DIGIT: rb"\D", sre.CATEGORY_SPACE: rb"\s", sre.CATEGORY_NOT_SPACE: rb"\S",
    sre.CATEGORY_WORD: rb"\w", sre.CATEGORY_NOT_WORD: rb"\W",
}  # fmt: skip
_EVERY: Final = frozenset(range(256))
_WORD: Final = frozenset(octet for octet in range(256) if re.match(rb"\w", bytes((octet,))))

Items = Any
"""What re's parser returns: pairs of an operation and its argument."""


class TooComplex(ValueError):
    """A pattern that can't be searched for in bounded time."""


class Pattern:
    """A regular expression over octets. Raises re.error, OverflowError and RecursionError as re.compile does, and TooComplex."""

    __slots__ = ("_automaton", "_quick")

    def __init__(self, pattern: bytes) -> None:
        compiled = re.compile(pattern)
        parsed = _parser.parse(pattern)
        ways, degree = _cost(parsed)
        self._quick: re.Pattern[bytes] | None = None
        self._automaton: _Automaton | None = None
        if degree <= DEGREE_MAX and ways <= WAYS_MAX:
            self._quick = compiled
        else:
            self._automaton = _Automaton(parsed, compiled.flags)

    def search(self, data: bytes) -> Literal[True] | None:
        """True if the pattern is found anywhere in `data`, else None (as of re's, what is returned can be held against None)."""
        if self._quick is not None:
            return True if self._quick.search(data) else None
        assert self._automaton is not None
        return True if self._automaton.search(data) else None


def _cost(items: Items) -> tuple[int, int]:
    """How many ways lead through: a factor, and how often the name's length goes into it. Too much rather than too little."""
    ways, degree = 1, 0
    for operation, argument in items:
        factor, power = _cost_of(operation, argument)
        ways, degree = min(ways * factor, _MANY), degree + power
    return ways, degree


def _cost_of(operation: Any, argument: Any) -> tuple[int, int]:
    if operation in _REPEATS:
        least, most, body = argument
        inner, power = _cost(body)
        if least == most == 1 or (least == most and inner == 1 and not power):
            return inner, power
        if most > SHORT_REPEAT_MAX:
            return (1, 1) if inner == 1 and not power else (_MANY, 0)
        return min((most - least + 1) * inner**most, _MANY), power * most
    if operation is sre.BRANCH:
        costs = [_cost(branch) for branch in argument[1]]
        return min(sum(ways for ways, _ in costs), _MANY), max(degree for _, degree in costs)
    if operation is sre.SUBPATTERN:
        return _cost(argument[3])
    if operation in _LOOKS:
        return _cost(argument[1])
    if operation is sre.ATOMIC_GROUP:
        return _cost(argument)
    if operation is sre.GROUPREF:
        return 1, 1
    return (_MANY, 0) if operation is sre.GROUPREF_EXISTS else (1, 0)


class _Node(NamedTuple):
    """A step. `kind` is char (what: a set of octets), at (what: an anchor, and whether lines count), look (what: the first node of what has
    to match here or before here, its width if it is before, and whether it mustn't), split, or accept."""

    kind: str
    what: Any
    after: list[int]


class _Automaton:
    """The pattern as nodes: each says what it needs and which come after it."""

    def __init__(self, parsed: Items, flags: int) -> None:
        self._nodes: list[_Node] = [_Node("accept", None, [])]
        self._first = self._build(parsed, 0, flags)
        self._before: list[list[int]] = [[] for _ in self._nodes]
        for number, node in enumerate(self._nodes):
            for after in (*node.after, *([node.what[0]] if node.kind == "look" else [])):
                self._before[after].append(number)

    def search(self, data: bytes) -> bool:
        return _Search(self._nodes, self._before, data).mask(self._first) != 0

    # --- building, from the end to the beginning

    def _node(self, kind: str, what: Any, *after: int) -> int:
        if len(self._nodes) >= NODES_MAX:
            raise TooComplex("it repeats too much")
        self._nodes.append(_Node(kind, what, list(after)))
        return len(self._nodes) - 1

    def _build(self, items: Items, after: int, flags: int) -> int:
        for operation, argument in reversed(list(items)):
            after = self._build_one(operation, argument, after, flags)
        return after

    def _build_one(self, operation: Any, argument: Any, after: int, flags: int) -> int:
        if operation in _UNBOUNDED:
            raise TooComplex("a backreference or an atomic group beside that many repetitions could take for ever")
        if operation in _REPEATS:
            least, most, body = argument
            return self._repeat(least, most, body, after, flags)
        if operation is sre.BRANCH:
            return self._node("split", None, *[self._build(branch, after, flags) for branch in argument[1]])
        if operation is sre.SUBPATTERN:
            _, added, removed, body = argument
            return self._build(body, after, (flags | added) & ~removed)
        if operation in _LOOKS:
            direction, body = argument
            width = 0 if direction > 0 else body.getwidth()[0]
            # What looks back has one width, so where it begins says where it ends.
            return self._node("look", (self._build(body, 0, flags), direction, width, operation is sre.ASSERT_NOT), after)
        if operation is sre.AT:
            return self._node("at", (argument, bool(flags & re.MULTILINE)), after)
        return self._node("char", _octets_of(operation, argument, flags), after)

    def _repeat(self, least: int, most: int, body: Items, after: int, flags: int) -> int:
        if most is sre.MAXREPEAT:
            loop = self._node("split", None, after)
            self._nodes[loop].after.append(self._build(body, loop, flags))
            after = loop
        else:
            end = after
            for _ in range(most - least):
                after = self._node("split", None, end, self._build(body, after, flags))
        for _ in range(least):
            after = self._build(body, after, flags)
        return after


def _octets_of(operation: Any, argument: Any, flags: int) -> frozenset[int]:
    """The octets that one step takes."""
    if operation is sre.ANY:
        return _EVERY if flags & re.DOTALL else _EVERY - {10}
    if operation is sre.LITERAL:
        return _any_case(frozenset((argument,)), flags)
    if operation is sre.NOT_LITERAL:
        return _EVERY - _any_case(frozenset((argument,)), flags)
    if operation is sre.FAILURE:
        return frozenset()
    if operation is not sre.IN:
        raise TooComplex(f"{operation} beside that many repetitions could take for ever")
    found: set[int] = set()
    negated = False
    for kind, value in argument:
        if kind is sre.NEGATE:
            negated = True
        elif kind is sre.LITERAL:
            found.add(value)
        elif kind is sre.RANGE:
            found.update(range(value[0], value[1] + 1))
        else:
            found.update(octet for octet in range(256) if re.match(_CATEGORIES[value], bytes((octet,))))
    taken = _any_case(frozenset(found), flags)
    return _EVERY - taken if negated else taken


def _any_case(octets: frozenset[int], flags: int) -> frozenset[int]:
    return frozenset(bytes(octets).lower() + bytes(octets).upper()) if flags & re.IGNORECASE else octets


class _Search:
    """One search: of each node the positions from which the rest matches, as bits."""

    def __init__(self, nodes: list[_Node], before: list[list[int]], data: bytes) -> None:
        self._nodes = nodes
        self._data = data
        self._every: int = (1 << (len(data) + 1)) - 1
        self._where: dict[int, int] = {}
        for position, octet in enumerate(data):
            self._where[octet] = self._where.get(octet, 0) | 1 << position
        self._steps: dict[frozenset[int], int] = {}
        self._masks = [0] * len(nodes)
        self._before = before
        self._solve()

    def mask(self, node: int) -> int:
        return self._masks[node]

    def _solve(self) -> None:
        """Set bits until nothing changes. Nodes are built from the end, so most are done the first time; what a node that has to look
        ahead needs was built before it, and is complete when its turn comes."""
        masks, nodes = self._masks, self._nodes
        masks[0] = self._every
        for number in range(1, len(nodes)):
            self._update(number)

    def _update(self, first: int) -> None:
        changed = [first]
        masks = self._masks
        while changed:
            number = changed.pop()
            mask = self._of(self._nodes[number])
            if mask != masks[number]:
                masks[number] = mask
                changed += [each for each in self._before[number] if each <= first]

    def _of(self, node: _Node) -> int:
        masks = self._masks
        after = 0
        for each in node.after:
            after |= masks[each]
        if node.kind == "char":
            return after >> 1 & self._step(node.what)
        if node.kind == "at":
            return after & self._at(*node.what)
        if node.kind == "look":
            first, direction, width, mustnt = node.what
            found: int = masks[first] if direction > 0 else masks[first] << width & self._every
            return after & (~found if mustnt else found)
        return after

    def _step(self, octets: frozenset[int]) -> int:
        mask = self._steps.get(octets)
        if mask is None:
            mask = 0
            for octet, where in self._where.items():
                if octet in octets:
                    mask |= where
            self._steps[octets] = mask
        return mask

    def _at(self, anchor: Any, lines: bool) -> int:
        begin, end = 1, 1 << len(self._data)
        breaks = self._where.get(10, 0)
        if anchor is sre.AT_BEGINNING:
            return (begin | breaks << 1) if lines else begin
        if anchor is sre.AT_BEGINNING_STRING:
            return begin
        if anchor is sre.AT_END:
            return end | (breaks if lines else breaks & end >> 1)
        if anchor is sre.AT_END_STRING:
            return end
        words = self._step(_WORD)
        edges: int = words ^ words << 1
        return edges if anchor is sre.AT_BOUNDARY else self._every & ~edges

"""The topic exchange: keys are words between dots, `*` stands for one word and `#` for any number (amqp0-9-1.pdf, 3.1.3.3).

Patterns with neither are in a dictionary, as a direct exchange's. The others are a tree of words:

    stock.*.nyse   stock.#   #.nyse        root --stock--> o --*--> o --nyse--> [stock.*.nyse]
                                            |              \\--#--> [stock.#]
                                            \\--#--> o --nyse--> [#.nyse]

A key walks down all branches at once: a set of nodes, moved on word by word, each node at most once. Trying the branches one after
the other instead would let a pattern of many `#` and a key of many dots cost exponential time.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

from broker.core.exchange import Binding, Destination, Destinations, Exchange
from protocol.tables import Table


def words_of(key: str) -> list[str]:
    """The words of a routing or binding key. The empty key has none, `.` has two empty ones (contract 3.5)."""
    return key.split(".") if key else []


def pattern_of(key: str) -> list[str]:
    """The words of a binding key, runs of `#` made one: they match the same, and a node is then never reached through two in a row."""
    words = words_of(key)
    return [word for at, word in enumerate(words) if word != "#" or at == 0 or words[at - 1] != "#"]


class Node:
    """A place in the tree of words. `stays` marks the node behind a `#`, which takes in any further word."""

    __slots__ = ("any_words", "destinations", "one_word", "stays", "words")

    def __init__(self, stays: bool = False) -> None:
        self.words: dict[str, Node] = {}
        self.one_word: Node | None = None
        self.any_words: Node | None = None
        self.stays = stays
        self.destinations: Destinations | None = None

    @property
    def is_empty(self) -> bool:
        """Nothing ends here and nothing goes on from here."""
        return not (self.words or self.destinations or self.one_word or self.any_words)

    def child(self, word: str) -> "Node | None":
        """Where a pattern's word leads."""
        if word == "*":
            return self.one_word
        if word == "#":
            return self.any_words
        return self.words.get(word)

    def grow(self, word: str) -> "Node":
        """Where a pattern's word leads, made if need be."""
        node = self.child(word)
        if node is not None:
            return node
        if word == "*":
            node = self.one_word = Node()
        elif word == "#":
            node = self.any_words = Node(stays=True)
        else:
            node = self.words[word] = Node()
        return node

    def cut(self, word: str) -> None:
        """Forget where a pattern's word leads."""
        if word == "*":
            self.one_word = None
        elif word == "#":
            self.any_words = None
        else:
            del self.words[word]


class Topic(Exchange):
    """Routes to whatever was bound with a pattern that the message's key fits."""

    type: ClassVar[str] = "topic"
    __slots__ = ("_by_key", "_root")

    def __init__(self, name: str, **properties: Any) -> None:
        super().__init__(name, **properties)
        self._by_key: dict[str, Destinations] = {}
        self._root = Node()

    def matches(self, routing_key: str, headers: Table) -> tuple[Destination, ...]:
        plain = self._by_key.get(routing_key)
        if self._root.is_empty:
            return tuple(plain) if plain is not None else ()
        found = [node.destinations for node in self._reached(routing_key) if node.destinations]
        if plain is not None:
            found.append(plain)
        if not found:
            return ()
        if len(found) == 1:
            return tuple(found[0])
        distinct: dict[Destination, int] = {}
        for destinations in found:
            distinct.update(destinations)
        return tuple(distinct)

    def _reached(self, routing_key: str) -> Iterable[Node]:
        """The nodes that all words of the key lead to.

        A `#` also stands for no word, so whoever reaches a node reaches the one behind its `#`.
        """
        root = self._root
        reached: dict[Node, None] = {root: None}
        if root.any_words is not None:
            reached[root.any_words] = None
        for word in words_of(routing_key):
            onward: dict[Node, None] = {}
            for node in reached:
                if node.stays:  # and no `#` follows on a `#`: pattern_of sees to that
                    onward[node] = None
                for after in (node.words.get(word), node.one_word):
                    if after is not None:
                        onward[after] = None
                        if after.any_words is not None:
                            onward[after.any_words] = None
            if not onward:
                return ()
            reached = onward
        return reached

    def _added(self, binding: Binding) -> None:
        key = binding.routing_key
        if "*" not in key and "#" not in key:
            plain = self._by_key.get(key)
            if plain is None:
                plain = self._by_key[key] = Destinations()
            plain.add(binding.destination)
            return
        node = self._root
        for word in pattern_of(key):
            node = node.grow(word)
        if node.destinations is None:
            node.destinations = Destinations()
        node.destinations.add(binding.destination)

    def _removed(self, binding: Binding) -> None:
        key = binding.routing_key
        if "*" not in key and "#" not in key:
            plain = self._by_key[key]
            plain.discard(binding.destination)
            if not plain:
                del self._by_key[key]
            return
        path: list[tuple[Node, str]] = []
        node = self._root
        for word in pattern_of(key):
            path.append((node, word))
            node = node.grow(word)
        assert node.destinations is not None
        node.destinations.discard(binding.destination)
        while path and node.is_empty:  # a queue that comes and goes must not leave its branch behind
            node, word = path.pop()
            node.cut(word)

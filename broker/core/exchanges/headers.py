"""The headers exchange: matches a message's headers with a binding's arguments (amqp0-9-1.pdf, section 3.1.3.4).

`x-match` says how: `all` (the default) or `any`, and with the suffix `-with-x` also by arguments whose name starts with `x-`
(https://www.rabbitmq.com/tutorials/amqp-concepts#exchange-headers). The routing key plays no part.
"""

from collections import Counter
from collections.abc import Collection, Hashable, Iterable
from typing import Any, ClassVar

from broker.core.envelope import Envelope
from broker.core.exchange import Binding, Destination, Destinations, Exchange, LooksAt, exact
from protocol import erlang
from protocol.constants import PRECONDITION_FAILED
from protocol.errors import ChannelException
from protocol.tables import Field, Table, type_name

X_MATCH = "x-match"
MATCH_MODES = {b"all": (False, False), b"any": (True, False), b"all-with-x": (False, True), b"any-with-x": (True, True)}
"""The value of x-match to (one is enough, names with x- take part)."""

INTEGERS = frozenset("bBsuIilLT")

Condition = tuple[str, Hashable]
"""A header's name and what it has to be."""

PRESENT: Hashable = ("V", None)
"""The condition of a void argument: whatever the header's value is. A void header is no more than present, too."""


def comparable(field: Field) -> Hashable:
    """A value as headers compare it: equal across the integer types (timestamps among them) and across text and bytes.

    The integer 1, the float 1.0 and the bool true differ, as since RabbitMQ 3.13. What is inside an array or a table has to have
    the same type. RabbitMQ 3.13 compares a message's timestamp in milliseconds with the binding's in seconds, so they never
    match; here they do, as they did before.
    """
    kind, value = field
    if kind in INTEGERS:
        return "int", value
    if kind == "V":
        return PRESENT
    if kind == "S" or kind == "x":
        return "text", value
    if kind == "f" or kind == "d":
        return "float", value
    return exact(field)


def conditions_of(arguments: Table) -> tuple[bool, frozenset[Condition]]:
    """A binding's arguments as (one is enough, the conditions)."""
    field = arguments.get(X_MATCH)
    value = field.value if field is not None and field.kind == "S" else b"all"
    one_is_enough, with_x = MATCH_MODES.get(value, MATCH_MODES[b"all"])
    return one_is_enough, frozenset(
        (name, comparable(field)) for name, field in arguments.items() if name != X_MATCH and (with_x or not name.startswith("x-"))
    )


def fulfilled(conditions: frozenset[Condition], headers: Table) -> frozenset[Condition]:
    """Those conditions that a message with these headers fulfils."""
    return conditions & {each for name, header in headers.items() for each in ((name, comparable(header)), (name, PRESENT))}


class Rule:
    """The bindings that ask for the same, which are looked at once. `filed_under`: a message fulfils one of these, or not the rule."""

    __slots__ = ("conditions", "destinations", "filed_under", "one_is_enough")

    def __init__(self, one_is_enough: bool, conditions: frozenset[Condition], filed_under: Iterable[Condition]) -> None:
        self.one_is_enough = one_is_enough
        self.conditions = conditions
        self.destinations = Destinations()
        self.filed_under = filed_under


class Headers(Exchange):
    """Routes to whatever was bound with arguments that the message's headers fulfil.

    Rules are filed under their conditions, so that a message meets those that ask for a header it has, and not every binding.
    """

    type: ClassVar[str] = "headers"
    looks_at = LooksAt.HEADERS
    __slots__ = ("_asked", "_by_condition", "_rules", "_unconditional")

    def __init__(self, name: str, **properties: Any) -> None:
        super().__init__(name, **properties)
        self._rules: dict[tuple[bool, frozenset[Condition]], Rule] = {}
        self._by_condition: dict[Condition, dict[Rule, None]] = {}
        self._unconditional = Destinations()
        self._asked: Counter[str] = Counter()
        """The names of headers in rules: how many conditions there are for each."""

    @property
    def asked_headers(self) -> Collection[str]:
        """See Exchange."""
        return self._asked.keys()

    def validate_binding(self, destination: Destination, routing_key: str, arguments: Table) -> None:
        """Raise ChannelException 406 for an x-match that is none of the four (contract 3.5)."""
        field = arguments.get(X_MATCH)
        if field is None or (field.kind == "S" and field.value in MATCH_MODES):
            return
        if field.kind == "S":
            text = f"Invalid x-match field value {term(field)}; expected all, any, all-with-x, or any-with-x"
        else:
            text = f"Invalid x-match field type {type_name(field)} (value {term(field)}); expected longstr"
        raise ChannelException(PRECONDITION_FAILED, text)

    def route(self, envelope: Envelope) -> tuple[Destination, ...]:
        return self.matches("", envelope.headers)  # once for all keys

    def matches(self, routing_key: str, headers: Table) -> tuple[Destination, ...]:
        found: dict[Destination, int] = dict(self._unconditional)
        if self._by_condition:
            has: dict[Condition, None] = {}
            for name, field in headers.items():
                has[name, comparable(field)] = None
                has[name, PRESENT] = None
            for condition in has:
                for rule in self._by_condition.get(condition, ()):
                    if rule.one_is_enough or rule.conditions <= has.keys():
                        found.update(rule.destinations)
        return tuple(found)

    def _added(self, binding: Binding) -> None:
        one_is_enough, conditions = asked = conditions_of(binding.arguments)
        if not conditions:
            if not one_is_enough:  # all of nothing is fulfilled, one of nothing never
                self._unconditional.add(binding.destination)
            return
        rule = self._rules.get(asked)
        if rule is None:
            filed_under = conditions if one_is_enough else (min(conditions, key=self._crowd),)
            rule = self._rules[asked] = Rule(one_is_enough, conditions, filed_under)
            for condition in rule.filed_under:
                self._by_condition.setdefault(condition, {})[rule] = None
            self._asked.update(name for name, _ in conditions)
        rule.destinations.add(binding.destination)

    def _removed(self, binding: Binding) -> None:
        one_is_enough, conditions = asked = conditions_of(binding.arguments)
        if not conditions:
            if not one_is_enough:
                self._unconditional.discard(binding.destination)
            return
        rule = self._rules[asked]
        rule.destinations.discard(binding.destination)
        if rule.destinations:
            return
        del self._rules[asked]
        for condition in rule.filed_under:
            filed = self._by_condition[condition]
            del filed[rule]
            if not filed:
                del self._by_condition[condition]
        for name, _ in conditions:
            self._asked[name] -= 1
            if not self._asked[name]:
                del self._asked[name]

    def _crowd(self, condition: Condition) -> tuple[int, bool, str]:
        """Sorts first the condition that the fewest rules wait behind: a thousand `format=pdf, id=N` are told apart by their id.

        The name and value at the end only make the choice the same in every run.
        """
        return len(self._by_condition.get(condition, ())), condition[1] == PRESENT, repr(condition)


def term(field: Field) -> str:
    """A field's value the way RabbitMQ prints it in a reply text."""
    kind, value = field
    if kind in ("S", "x"):
        return erlang.binary(value)
    if kind == "t":
        return "true" if value else "false"
    if kind == "V":
        return "undefined"
    if kind == "A":
        return "[" + ",".join(f"{{{type_name(item)},{term(item)}}}" for item in value) + "]"
    if kind == "F":
        named = ((erlang.binary(name.encode("utf-8", "surrogateescape")), item) for name, item in value.items())
        return "[" + ",".join(f"{{{name},{type_name(item)},{term(item)}}}" for name, item in named) + "]"
    if kind == "D":
        return f"{{{value[0]},{value[1]}}}"
    if kind in ("f", "d"):
        mantissa, exponent, power = repr(value).partition("e")  # 1e+30 is 1.0e30 there
        return f"{mantissa}{'' if '.' in mantissa else '.0'}{exponent}{power.removeprefix('+')}"
    return str(value)

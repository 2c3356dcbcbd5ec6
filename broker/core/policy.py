"""Policies: arguments that an operator gives to queues and exchanges by their names (contract 9.3;
https://www.rabbitmq.com/docs/policies).

Of each kind, policies and operator policies, one applies to a queue: that of the highest priority whose pattern is found in the name.
One with a key that the queue's type doesn't have is passed over. What both say is merged, and then with what the queue was declared
with: of numbers the lowest counts, of texts the queue's own. Policies are set at run time and act at once.

Keys and texts are RabbitMQ's (rabbit_policies, rabbit_policy), observed on 3.10.8; consumer-timeout, and overflow in operator policies, are
3.13's. What they don't say is which of two policies with one priority counts: here the first by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.core.arguments import EXPIRY_MAX_MS, QueueArguments
from broker.core.permissions import InvalidPattern, compiled, octets
from protocol import erlang
from protocol.tables import Field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from protocol.tables import Table

Definition = dict[str, Any]
"""Keys of a policy and their values: integers and texts, as JSON has them."""

APPLY_TO: Final = ("queues", "classic_queues", "quorum_queues", "streams", "exchanges", "all")
_INTEGER_MAX: Final = (1 << 63) - 1


class InvalidPolicy(ValueError):
    """A policy that can't be taken; the text is RabbitMQ's."""


def _integer(low: int, high: int = _INTEGER_MAX) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _text(*values: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and (not values or value in values)


def _age(value: Any) -> bool:
    return isinstance(value, str) and value[:-1].isdigit() and value[-1:] in "YMDhms"


def _any(_value: Any) -> bool:
    return True


_SIZE: Final = _integer(0)
_LEADERS: Final = ("client-local", "balanced", "random", "least-leaders")
_MASTERS: Final = ("min-masters", "client-local", "random")
_HA_MODES: Final = ("all", "exactly", "nodes")

KEYS: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "alternate-exchange": (_text(), "is not a valid alternate exchange name"),
    "consumer-timeout": (_SIZE, "is not a valid consumer timeout"),
    "dead-letter-exchange": (_text(), "is not a valid dead letter exchange name"),
    "dead-letter-routing-key": (_text(), "is not a valid dead letter routing key"),
    "dead-letter-strategy": (_text("at-most-once", "at-least-once"), "is not a valid dead letter strategy"),
    "delivery-limit": (_SIZE, "is not a valid delivery limit"),
    "expires": (_integer(1, EXPIRY_MAX_MS), "is not a valid queue expiry"),
    "ha-mode": (_text(*_HA_MODES), "is not a valid ha-mode value"),
    "ha-params": (_any, ""),
    "ha-promote-on-failure": (_text("always", "when-synced"), "is not a valid ha-promote-on-failure value"),
    "ha-promote-on-shutdown": (_text("always", "when-synced"), "is not a valid ha-promote-on-shutdown value"),
    "ha-sync-batch-size": (_integer(1), "is not a valid ha-sync-batch-size value"),
    "ha-sync-mode": (_text("automatic", "manual"), "is not a valid ha-sync-mode value"),
    "initial-cluster-size": (_integer(1), "is not a valid cluster size"),
    "max-age": (_age, "is not a valid max age"),
    "max-in-memory-bytes": (_SIZE, "is not a valid maximum memory in bytes"),
    "max-in-memory-length": (_SIZE, "is not a valid maximum memory in bytes"),
    "max-length": (_SIZE, "is not a valid maximum length"),
    "max-length-bytes": (_SIZE, "is not a valid maximum length in bytes"),
    "message-ttl": (_integer(0, EXPIRY_MAX_MS), "is not a valid message TTL"),
    "overflow": (_text("drop-head", "reject-publish", "reject-publish-dlx"), "is not a valid overflow value"),
    "queue-leader-locator": (_text(*_LEADERS), "is not a valid queue leader locator value"),
    "queue-master-locator": (_text(*_MASTERS), "invalid queue-master-locator value"),
    "queue-mode": (_text("default", "lazy"), "is not a valid queue-mode value"),
    "queue-version": (_integer(1, 2), "is not a valid queue-version value"),
    "stream-max-segment-size-bytes": (_SIZE, "is not a valid segment size"),
}
"""Each key that a policy may have: what its value must be, and what RabbitMQ says otherwise."""

OPERATOR_KEYS: Final = (
    "delivery-limit", "expires", "max-in-memory-bytes", "max-in-memory-length", "max-length", "max-length-bytes", "message-ttl", "overflow",
    "queue-version",
)  # fmt: skip
"""The keys of operator policies."""

_STREAM_KEYS: Final = ("max-age", "stream-max-segment-size-bytes", "initial-cluster-size")
UNKNOWN_TO: Final = {
    "classic": frozenset((*_STREAM_KEYS, "queue-leader-locator", "delivery-limit", "dead-letter-strategy")),
    "quorum": frozenset(
        (
            *_STREAM_KEYS, "queue-mode", "queue-master-locator", "ha-mode", "ha-params", "ha-sync-mode", "ha-promote-on-shutdown",
            "ha-promote-on-failure",
        )
    ),
}  # fmt: skip
"""The keys that each queue type doesn't have: a policy with one of them isn't applied to such a queue."""

LOWEST: Final = ("consumer-timeout", "delivery-limit", "expires", "max-length", "max-length-bytes", "message-ttl")
TEXTS: Final = ("dead-letter-exchange", "dead-letter-routing-key", "dead-letter-strategy", "overflow")
"""The keys that act on queues here: of the first the lowest counts, of the second the queue's own argument."""


class Policy:
    """One policy, or operator policy. Never changed: a change makes a new one.

    Raises InvalidPolicy.
    """

    __slots__ = ("_pattern", "apply_to", "definition", "is_operator", "name", "pattern", "priority")

    def __init__(
        self, name: str, pattern: str, definition: Definition, *, priority: int = 0, apply_to: str = "all", is_operator: bool = False
    ) -> None:
        self.name = name
        self.pattern = pattern
        self.definition = definition
        self.priority = priority
        self.apply_to = apply_to
        self.is_operator = is_operator
        try:
            self._pattern = compiled(pattern) if pattern else compiled(".*")
        except InvalidPattern as error:
            raise InvalidPolicy(f"pattern should be regular expression but is invalid: {error.reason}") from error
        if apply_to not in APPLY_TO:
            raise InvalidPolicy(f"apply-to '{apply_to}' unrecognised; should be one of: {', '.join(map(repr, APPLY_TO[:-1]))}, or 'all'")
        if not isinstance(priority, int | float) or isinstance(priority, bool):
            raise InvalidPolicy(f"priority should be number, actually was {_term(priority)}")
        _validate(definition, OPERATOR_KEYS if is_operator else KEYS)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Policy) and self._said == other._said

    def __hash__(self) -> int:
        return hash((self.name, self.pattern))

    @property
    def _said(self) -> tuple[object, ...]:
        return self.name, self.pattern, self.definition, self.priority, self.apply_to, self.is_operator

    def __repr__(self) -> str:
        return f"Policy({self.name!r}, {self.pattern!r}, {self.definition!r})"

    def is_for(self, kind: str, name: str) -> bool:
        """It applies to a queue of this type (or with `exchange`, an exchange) of this name, as far as it goes by itself."""
        if self.apply_to not in ("all", *_APPLIED[kind]) or self._pattern.search(octets(name)) is None:
            return False
        return kind == "exchange" or UNKNOWN_TO[kind].isdisjoint(self.definition)


_APPLIED: Final = {
    "classic": ("queues", "classic_queues"),
    "quorum": ("queues", "quorum_queues"),
    "exchange": ("exchanges",),
}


def _validate(definition: Definition, known: Iterable[str]) -> None:
    if not definition:
        raise InvalidPolicy("no policy provided")
    unknown = {key: value for key, value in definition.items() if key not in known}
    if unknown:
        pairs = ",".join(f"{{{_term(key)},{_term(value)}}}" for key, value in unknown.items())
        raise InvalidPolicy(f"[{pairs}] are not recognised policy settings")
    for key, value in definition.items():
        fits, problem = KEYS[key]
        if not fits(value):
            raise InvalidPolicy(f"{_term(value)} {problem}")


def _term(value: Any) -> str:
    """A JSON value as Erlang prints it."""
    if isinstance(value, str):
        return erlang.binary(octets(value))
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(_term, value))}]"
    return str(value)


def best(policies: Mapping[str, Policy], kind: str, name: str) -> Policy | None:
    """The policy that applies to a queue of this type, or to an exchange."""
    fitting = [policy for policy in policies.values() if policy.is_for(kind, name)]
    return min(fitting, key=lambda policy: (-policy.priority, policy.name), default=None)


def merged(policy: Policy | None, operator: Policy | None) -> Definition:
    """What both say together, as the HTTP API shows it in effective_policy_definition: an operator's overflow overrides, of numbers the
    lower counts."""
    definition = dict(policy.definition) if policy is not None else {}
    for key, value in operator.definition.items() if operator is not None else ():
        definition[key] = min(value, definition[key]) if key in definition and key != "overflow" else value
    return definition


def effective(arguments: QueueArguments, definition: Definition) -> QueueArguments:
    """What a queue lives by: the arguments that it was declared with, and what policies say."""
    if not definition:
        return arguments
    table: Table = dict(arguments.table)
    for key in LOWEST:
        if key in definition:
            own = table.get(f"x-{key}")
            value = definition[key]
            table[f"x-{key}"] = Field("l", value if own is None or not isinstance(own.value, int) else min(value, own.value))
    for key in TEXTS:
        # A quorum queue's overflow is the one text that a policy has the last word on (rabbit_quorum_queue).
        if key in definition and (f"x-{key}" not in table or (key == "overflow" and arguments.type == "quorum")):
            table[f"x-{key}"] = Field("S", octets(definition[key]))
    return QueueArguments(table)

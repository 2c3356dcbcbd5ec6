"""The arguments of queue.declare and basic.consume: what they are called, what they take, and what they mean (contract 4.7, 6.1).

`ARGUMENTS` is the one table: a new argument is a row there, a slot and an annotation in `QueueArguments`, and a name in
`KNOWN` if its queue type compares it when the queue is declared again. Texts and order are those of rabbit_amqqueue at
v3.13.7, held against RabbitMQ 3.10.8. Where they crash and answer 541, this refuses with 406 or, an x-credit, ignores.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, Self

from protocol import erlang
from protocol.constants import PRECONDITION_FAILED
from protocol.errors import ChannelException
from protocol.tables import Field, Table, text, type_name

EXPIRY_MAX_MS: Final = 315_360_000_000
"""The longest x-message-ttl and x-expires: ten years (rabbit_misc:check_expiry)."""
PRIORITY_MAX: Final = 255
X_QUEUE_TYPE: Final = "x-queue-type"
X_DEAD_LETTER_EXCHANGE: Final = "x-dead-letter-exchange"

QUEUE_TYPES: Final = ("classic", "quorum")
"""What x-queue-type may name. `stream` is known as well, and refused with a text of its own."""
_DEFAULT_TYPE: Final = "classic"
_UNSET_TYPE: Final = b"undefined"
"""An x-queue-type of this text counts as absent since 3.13 (on the oracle: an unsupported queue type)."""

KNOWN: Final = {
    "classic": (
        "x-expires", "x-message-ttl", X_DEAD_LETTER_EXCHANGE, "x-dead-letter-routing-key", "x-max-length", "x-max-length-bytes",
        "x-max-priority", "x-overflow", "x-queue-mode", "x-queue-version", "x-single-active-consumer", X_QUEUE_TYPE,
        "x-queue-master-locator",
    ),
    "quorum": (
        X_DEAD_LETTER_EXCHANGE, "x-dead-letter-routing-key", "x-dead-letter-strategy", "x-expires", "x-max-length",
        "x-max-length-bytes", "x-max-in-memory-length", "x-max-in-memory-bytes", "x-overflow", "x-single-active-consumer",
        X_QUEUE_TYPE, "x-quorum-initial-group-size", "x-delivery-limit", "x-message-ttl", "x-queue-leader-locator",
    ),
    "stream": (
        "x-max-length-bytes", X_QUEUE_TYPE, "x-max-age", "x-stream-max-segment-size-bytes", "x-initial-cluster-size",
        "x-queue-leader-locator",
    ),
}  # fmt: skip
"""The arguments of each queue type, in the order in which they are compared when the queue is declared again.

One that only other types know is refused. What no type knows (x-consumer-timeout, x-message-deduplication, misspelt names)
is neither refused nor compared.
"""

KNOWN_TO_CONSUMERS: Final = {
    "classic": ("x-cancel-on-ha-failover", "x-priority", "x-credit"),
    "quorum": ("x-priority", "x-credit"),
    "stream": ("x-stream-offset", "x-credit"),
}
"""The same for the arguments of basic.consume."""

INTEGERS: Final = "bBsuIilL"
"""The kinds of field that count as integers. A timestamp doesn't."""
ANY: Final = ""

Check = Callable[[Any, Table], str | None]
"""Of the value and the whole table: what is wrong with it, in Erlang's notation, or None."""


class Argument(NamedTuple):
    """One row.

    `kinds` are the letters of the types that it takes (`ANY`: RabbitMQ doesn't look), `check` what else it asks of the value,
    `attribute` what it sets in QueueArguments, if anything, and `read` how the value gets there.
    """

    name: str
    kinds: str
    check: Check | None
    attribute: str | None
    read: Callable[[Field], Any]
    doc: str

    @property
    def queue_types(self) -> tuple[str, ...]:
        """The queue types that know it; none for what RabbitMQ neither checks nor compares."""
        return tuple(kind for kind, names in KNOWN.items() if self.name in names)

    def error(self, given: Field, table: Table) -> str | None:
        """What is wrong with `given`, in Erlang's notation, or None."""
        if self.kinds != ANY and given.kind not in self.kinds:
            if self.kinds == INTEGERS:
                return _string(f"expected integer, got {type_name(given)}")
            return f"{{unacceptable_type,{type_name(given)}}}"
        return None if self.check is None else self.check(given.value, table)

    def value(self, given: Field | None) -> Any:
        """What the attribute is set to; None for an absent one, and for a type that it doesn't take."""
        if given is None or (self.kinds != ANY and given.kind not in self.kinds):
            return None
        return self.read(given)


# --- checks ------------------------------------------------------------------------------------------------------------


def _not_negative(value: Any, _table: Table) -> str | None:
    return f"{{value_negative,{value}}}" if value < 0 else None


def _positive(value: Any, table: Table) -> str | None:
    return f"{{value_zero,{value}}}" if value == 0 else _not_negative(value, table)


def _expiry(value: Any, table: Table) -> str | None:
    return f"{{value_too_large,{value}}}" if value > EXPIRY_MAX_MS else _not_negative(value, table)


def _expires(value: Any, table: Table) -> str | None:
    return f"{{value_zero,{value}}}" if value == 0 else _expiry(value, table)


def _priority(value: Any, table: Table) -> str | None:
    return f"{{max_value_exceeded,{value}}}" if value > PRIORITY_MAX else _not_negative(value, table)


def _version(value: Any, table: Table) -> str | None:
    return _not_negative(value, table) or (None if value in (1, 2) else _string(f"unsupported queue version '{value}'"))


def _mode(value: Any, _table: Table) -> str | None:
    return None if value in (b"default", b"lazy") else _string(f"unsupported queue mode '{text(value)}'")


def _type(value: Any, _table: Table) -> str | None:
    if value == b"stream":
        return _string("unsupported queue type 'stream': streams are not served yet")
    if value == _UNSET_TYPE or value in _TYPES:
        return None
    return _string(f"unsupported queue type '{text(value)}'")


def _with_exchange(_value: Any, table: Table) -> str | None:
    return None if X_DEAD_LETTER_EXCHANGE in table else "routing_key_but_no_dlx_defined"


def _one_of(error: str, *values: bytes) -> Check:
    def check(value: Any, _table: Table) -> str | None:
        return None if value in values else error

    return check


# --- readers -----------------------------------------------------------------------------------------------------------


def _value(given: Field) -> Any:
    return given.value


def _text(given: Field) -> str:
    """Other bytes than UTF-8 survive as lone surrogates, as in every name and routing key."""
    value: bytes = given.value
    return value.decode("utf-8", "surrogateescape")


def _integer(given: Field) -> int | None:
    """For what RabbitMQ doesn't check: None for anything but an integer."""
    return int(given.value) if given.kind in INTEGERS else None


_TYPES: Final = {name.encode(): name for name in QUEUE_TYPES}
_LEADER_LOCATORS: Final = (b"client-local", b"balanced", b"random", b"least-leaders")
_MASTER_LOCATORS: Final = (b"min-masters", b"client-local", b"random")

ARGUMENTS: Final = (
    Argument("x-expires", INTEGERS, _expires, "expires_ms", _value, "Unused for so many ms, the queue is deleted."),
    Argument("x-message-ttl", INTEGERS, _expiry, "message_ttl_ms", _value, "The ms that a message may wait in the queue."),
    Argument(X_DEAD_LETTER_EXCHANGE, "S", None, "dead_letter_exchange", _text, "Where its dead letters go; empty: the default exchange."),
    Argument("x-dead-letter-routing-key", "S", _with_exchange, "dead_letter_routing_key", _text, "Their key instead of their own."),
    Argument(
        "x-dead-letter-strategy", "S", _one_of("invalid_dlx_strategy", b"at-most-once", b"at-least-once"),
        "dead_letter_strategy", _text, "How sure dead-lettering is; Leveret's always is at-least-once.",
    ),
    Argument("x-max-length", INTEGERS, _not_negative, "max_length", _value, "How many ready messages it may hold."),
    Argument("x-max-length-bytes", INTEGERS, _not_negative, "max_length_bytes", _value, "How many bytes their bodies may have."),
    Argument("x-max-in-memory-length", INTEGERS, _not_negative, None, _value, "Without effect since RabbitMQ 3.10."),
    Argument("x-max-in-memory-bytes", INTEGERS, _not_negative, None, _value, "Without effect since RabbitMQ 3.10."),
    Argument(
        "x-max-priority", INTEGERS, _priority, "max_priority", _value,
        "The highest priority that counts, 1 to 255; with 0 all are alike.",
    ),
    Argument(
        "x-overflow", "S", _one_of("invalid_overflow", b"drop-head", b"reject-publish", b"reject-publish-dlx"),
        "overflow", _text, "Which message has to go when a limit is reached.",
    ),
    Argument("x-queue-mode", "S", _mode, "queue_mode", _text, "default or lazy; without effect since RabbitMQ 3.12."),
    Argument("x-queue-version", INTEGERS, _version, "queue_version", _value, "The classic queue's files, 1 or 2; without effect."),
    Argument("x-single-active-consumer", "t", None, "single_active_consumer", _value, "Only one consumer at a time is served."),
    Argument(
        X_QUEUE_TYPE, "S", _type, "type", lambda given: _TYPES.get(given.value, _DEFAULT_TYPE), "classic or quorum; absent means classic."
    ),
    Argument("x-quorum-initial-group-size", INTEGERS, _positive, "initial_group_size", _value, "How many replicas; without effect."),
    Argument("x-max-age", "S", None, None, _text, "Of streams, which are not served yet: how long a message is kept."),
    Argument("x-stream-max-segment-size-bytes", INTEGERS, _not_negative, None, _value, "Of streams: the size of a segment, in bytes."),
    Argument("x-initial-cluster-size", INTEGERS, _positive, None, _value, "Of streams: how many replicas."),
    Argument(
        "x-queue-leader-locator", "S", _one_of("invalid_queue_locator_arg", *_LEADER_LOCATORS),
        "leader_locator", _text, "Where a quorum queue's leader starts; without effect.",
    ),
    Argument(
        "x-queue-master-locator", "Sx", _one_of("invalid_queue_locator_arg", *_MASTER_LOCATORS),
        "master_locator", _text, "The same of a classic queue. Another value is a 541 in RabbitMQ.",
    ),
    Argument("x-delivery-limit", ANY, None, "delivery_limit", _integer, "N: dead-lettered instead of delivered more than N + 1 times."),
    Argument("x-consumer-timeout", ANY, None, "consumer_timeout_ms", _integer, "The ms in which a delivery has to be acked."),
    Argument(
        "x-message-deduplication", ANY, None, "message_deduplication", lambda given: given.kind != "t" or bool(given.value),
        "A message is dropped while one with its x-deduplication-header is queued. Anything but false turns it on, as in the plugin.",
    ),
    Argument("x-cache-size", ANY, None, "cache_size", _integer, "How many values of that header are remembered."),
)  # fmt: skip
"""All queue arguments, in the order in which RabbitMQ checks them."""

CONSUMER_ARGUMENTS: Final = (
    Argument("x-priority", INTEGERS, None, None, _value, "Consumers of a higher priority are served first; absent means 0."),
    Argument("x-cancel-on-ha-failover", "t", None, None, _value, "Of mirrored queues; without effect."),
)
"""The arguments of basic.consume that have a check, in the order of the checks."""

_OF_TYPE: Final = {kind: tuple(row for row in ARGUMENTS if row.name in names) for kind, names in KNOWN.items()}
_CONSUMERS_OF_TYPE: Final = {
    kind: tuple(row for row in CONSUMER_ARGUMENTS if row.name in names) for kind, names in KNOWN_TO_CONSUMERS.items()
}
_FOREIGN: Final = {kind: frozenset().union(*KNOWN.values()) - frozenset(names) for kind, names in KNOWN.items()}
_FOREIGN_TO_CONSUMERS: Final = {
    kind: frozenset().union(*KNOWN_TO_CONSUMERS.values()) - frozenset(names) for kind, names in KNOWN_TO_CONSUMERS.items()
}
_BY_NAME: Final = {row.name: row for row in ARGUMENTS}
_SETTERS: Final = tuple((row.attribute, row) for row in ARGUMENTS if row.attribute is not None)


class QueueArguments:
    """The validated arguments of one queue, None where not given. `table` keeps them as they were sent, unknown ones too.

    What an attribute means, and its unit, is the doc of its row in ARGUMENTS. Policies aren't in here.
    """

    __slots__ = (
        "cache_size", "consumer_timeout_ms", "dead_letter_exchange", "dead_letter_routing_key", "dead_letter_strategy", "delivery_limit",
        "expires_ms", "initial_group_size", "leader_locator", "master_locator", "max_length", "max_length_bytes", "max_priority",
        "message_deduplication", "message_ttl_ms", "overflow", "queue_mode", "queue_version", "single_active_consumer", "table", "type",
    )  # fmt: skip

    table: Table
    type: str
    expires_ms: int | None
    message_ttl_ms: int | None
    dead_letter_exchange: str | None
    dead_letter_routing_key: str | None
    dead_letter_strategy: str | None
    max_length: int | None
    max_length_bytes: int | None
    max_priority: int | None
    overflow: str | None
    queue_mode: str | None
    queue_version: int | None
    single_active_consumer: bool
    initial_group_size: int | None
    leader_locator: str | None
    master_locator: str | None
    delivery_limit: int | None
    consumer_timeout_ms: int | None
    message_deduplication: bool
    cache_size: int | None

    def __init__(self, table: Table) -> None:
        """Of a table that has been validated before: one out of the catalog. Nothing is checked, and nothing raised."""
        self.table = table
        for attribute, row in _SETTERS:
            setattr(self, attribute, row.value(table.get(row.name)))
        self.type = self.type or _DEFAULT_TYPE
        self.single_active_consumer = bool(self.single_active_consumer)
        self.message_deduplication = bool(self.message_deduplication)

    @classmethod
    def parse(cls, table: Table, name: str, vhost: str, *, durable: bool, exclusive: bool, auto_delete: bool, server_named: bool) -> Self:
        """Validate for a new queue, in RabbitMQ's order. Raises ChannelException 406."""
        kind = _type_of(table)
        if server_named and kind not in (None, "classic"):
            raise _refused(f"Cannot declare a server-named queue for type {_module(str(kind))}")
        resource = _resource(name, vhost)
        dead_letter_exchange(table, name, vhost)
        _check((_BY_NAME[X_QUEUE_TYPE],), table, resource)
        parsed = cls(table)
        _check(_OF_TYPE[parsed.type], table, resource)
        _check_foreign(_in_order_of_refusal(table), _FOREIGN[parsed.type], parsed.type, resource)
        if parsed.type == "quorum":
            for refused, named in ((auto_delete, "auto-delete"), (exclusive, "exclusive-owner"), (not durable, "non-durable")):
                if refused:
                    raise _refused(f"invalid property '{named}' for {resource}")
        return parsed

    def check_equivalent(self, received: Table, name: str, vhost: str) -> None:
        """The queue is declared again with `received`. Raises ChannelException 406 for the first difference (contract 4.2).

        RabbitMQ compares before it validates, so `received` may hold anything: whether it's valid is not asked.
        """
        if received == self.table:
            return
        for key in KNOWN[self.type]:
            now, then = received.get(key), self.table.get(key)
            if not _equivalent(key, now, then):
                if now is None or then is None:
                    difference = f"received {_described(now)} but current is {_described(then)}"
                else:
                    difference = f"received {_quoted(now)} but current is {_quoted(then)}"
                raise _refused(f"inequivalent arg '{key}' for {_resource(name, vhost)}: {difference}")


def dead_letter_exchange(table: Table, name: str, vhost: str) -> str | None:
    """The dead-letter exchange that a queue asks for. Raises ChannelException 406 if it isn't text.

    RabbitMQ reads it before everything else, because the permissions for it are checked before the other arguments
    (contract 9.2): read on the queue, write on that exchange.
    """
    given = table.get(X_DEAD_LETTER_EXCHANGE)
    if given is not None and given.kind != "S":
        raise _refused(f"invalid type '{type_name(given)}' for arg '{X_DEAD_LETTER_EXCHANGE}' in {_resource(name, vhost)}")
    return None if given is None else _text(given)


def consumer_priority(arguments: Table, queue: QueueArguments, name: str, vhost: str) -> int:
    """Validate the arguments of basic.consume; returns x-priority. Raises ChannelException 406."""
    if not arguments:
        return 0
    resource = _resource(name, vhost)
    _check(_CONSUMERS_OF_TYPE[queue.type], arguments, resource)
    _check_foreign(arguments, _FOREIGN_TO_CONSUMERS[queue.type], queue.type, resource)
    priority = arguments.get("x-priority")
    return int(priority.value) if priority is not None else 0


def _check(rows: Iterable[Argument], table: Table, resource: str) -> None:
    for row in rows:
        given = table.get(row.name)
        error = None if given is None else row.error(given, table)
        if error is not None:
            raise _refused(f"invalid arg '{row.name}' for {resource}: {error}")


def _check_foreign(names: Iterable[str], foreign: frozenset[str], kind: str, resource: str) -> None:
    """Refuse what only other queue types know."""
    for name in names:
        if name in foreign:
            raise _refused(f"invalid arg '{name}' for {resource} of queue type {_module(kind)}")


def _in_order_of_refusal(table: Table) -> Iterable[str]:
    """As sent if there is an x-queue-type; else by name, because RabbitMQ 3.13 fills the type in and sorts (the oracle: always as sent)."""
    kind = table.get(X_QUEUE_TYPE)
    if kind is not None and kind.value != _UNSET_TYPE:
        return table
    return sorted(table, key=lambda name: name.encode("utf-8", "surrogateescape"))


def _type_of(table: Table) -> str | None:
    """The queue type that is asked for, a known one, or None."""
    given = table.get(X_QUEUE_TYPE)
    return None if given is None or given.kind != "S" else next((kind for kind in KNOWN if kind.encode() == given.value), None)


def _module(kind: str) -> str:
    """What RabbitMQ calls a queue type in its texts."""
    return f"rabbit_{kind}_queue"


def _resource(name: str, vhost: str) -> str:
    return f"queue '{name}' in vhost '{vhost}'"


def _refused(explanation: str) -> ChannelException:
    return ChannelException(PRECONDITION_FAILED, explanation)


# --- equivalence -------------------------------------------------------------------------------------------------------


def _equivalent(key: str, now: Field | None, then: Field | None) -> bool:
    """Whether they are the same Erlang term: the integer types are alike, text and binary too, 1 and 1.0 aren't."""
    if now is None or then is None:
        return now is then or (key == X_QUEUE_TYPE and (now or then) == ("S", b"classic"))
    if now.kind in "fd" and then.kind in "fd":
        return bool(now.value == then.value)
    return _term(now) == _term(then)


def _described(given: Field | None) -> str:
    """An argument where the other side has none."""
    return "none" if given is None else f"the value '{_shown(given)}' of type '{type_name(given)}'"


def _quoted(given: Field) -> str:
    """An argument where both sides have one."""
    return "none" if given.kind == "V" else f"'{_shown(given)}'"


def _shown(given: Field) -> str:
    return text(given.value) if given.kind in "Sx" else _term(given)


# --- Erlang's notation -------------------------------------------------------------------------------------------------


def _term(given: Field) -> str:
    """A value as `~p` prints it, on one line (RabbitMQ breaks a table or array that has more than 80 characters)."""
    kind, value = given
    if kind in "Sx":
        return erlang.binary(value)
    if kind == "t":
        return "true" if value else "false"
    if kind == "V":
        return "undefined"
    if kind in "fd":
        return _float(value)
    if kind == "D":
        return f"{{{value[0]},{value[1]}}}"
    if kind == "A":
        return f"[{','.join(f'{{{type_name(item)},{_term(item)}}}' for item in value)}]"
    if kind == "F":
        fields = ((erlang.binary(name.encode("utf-8", "surrogateescape")), item) for name, item in value.items())
        return f"[{','.join(f'{{{name},{type_name(item)},{_term(item)}}}' for name, item in fields)}]"
    return str(value)


def _float(value: float) -> str:
    """The shortest digits that read back as `value`; with an exponent from 2^53 on, and where that is shorter (Erlang/OTP 25)."""
    if value == 0:
        return str(value)
    digits, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = digits.partition(".")
    point = len(whole) + int(exponent or 0)
    significant = (whole + fraction).lstrip("0")
    point -= len(whole + fraction) - len(significant)
    significant = significant.rstrip("0")
    scientific = f"{significant[0]}.{significant[1:] or '0'}e{point - 1}"
    plain = f"{abs(value):.{max(1, len(significant) - point)}f}"
    return ("-" if value < 0 else "") + (scientific if abs(value) >= 2**53 or len(scientific) < len(plain) else plain)


def _string(value: str) -> str:
    """A string as `~p` prints it: in quotes where every character is printable Latin-1, else a list of numbers."""
    binary = erlang.binary(value.encode("latin-1", "replace"))
    if all(ord(character) < 256 for character in value) and binary.startswith('<<"'):
        return binary[2:-2]
    return f"[{','.join(str(ord(character)) for character in value)}]"

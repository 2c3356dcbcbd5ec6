"""What an exchange is: a name, a few properties, and bindings; each type adds where a message goes.

    queue.bind --------> Exchange.bind ----> Binding, filed by destination   (what delete and list ask for)
                                      \\---> the type's own routes            (what a publish asks for)
    basic.publish -----> Exchange.route(envelope) -> the destinations of this one exchange; for most types, Exchange.matches for each key

What lies between exchanges (bindings to other exchanges, alternate exchanges, CC and BCC, the default exchange) is the vhost's.
Everything here keeps the order in which it was bound: the same commands route the same way in every run.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Protocol

from broker.core.internal_events import INTERNAL_USER
from protocol.constants import PRECONDITION_FAILED
from protocol.errors import ChannelException
from protocol.tables import type_name

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterator

    from broker.core.envelope import Envelope
    from broker.core.policy import Policy
    from broker.core.vhost import VHost
    from protocol.tables import Field, Table

ALTERNATE_EXCHANGE = "alternate-exchange"
NO_HEADERS: Table = {}


class Destination(Protocol):
    """What a binding leads to: a queue or another exchange. Two are the same if they are the same object, whatever their names."""

    @property
    def name(self) -> str: ...

    @property
    def is_queue(self) -> bool: ...

    @property
    def type(self) -> str: ...


class LooksAt(Enum):
    """What an exchange has to see of a message to say where it goes."""

    KEY = "key"
    """The routing key alone. Only these routes are kept for the next message; any other is asked for anew."""
    HEADERS = "headers"
    PROPERTIES = "properties"
    MESSAGE = "message"
    """Every single one: chance decides, or the exchange keeps something of it."""


class Binding:
    """One binding, never changed after it was made. An exchange holds at most one of each (destination, key, arguments)."""

    __slots__ = ("arguments", "destination", "routing_key", "source")

    def __init__(self, source: Exchange, destination: Destination, routing_key: str, arguments: Table) -> None:
        self.source = source
        self.destination = destination
        self.routing_key = routing_key
        self.arguments = arguments

    def __repr__(self) -> str:
        return f"Binding({self.source.name!r} -> {self.destination.name!r}, {self.routing_key!r}, {self.arguments!r})"


def exact(field: Field) -> Hashable:
    """A field as a hashable value, equal only for the same type and value, inside arrays and tables too (where order counts)."""
    kind, value = field
    if kind == "A":
        return kind, tuple([exact(item) for item in value])
    if kind == "F":
        return kind, tuple([(name, exact(item)) for name, item in value.items()])
    return "l" if kind == "L" else kind, value  # two letters for one type


def identity_of(arguments: Table) -> Hashable:
    """What tells the arguments of two bindings apart: names, types and values, but not the order of the names.

    RabbitMQ sorts the table by name when it binds and when it unbinds (rabbit_binding), and compares types with values.
    """
    if not arguments:
        return ()
    return tuple([(name, exact(arguments[name])) for name in sorted(arguments)])


def _name_in(field: Field) -> str:
    name: str = field.value.decode("utf-8", "surrogateescape")
    return name


def alternate_of(arguments: Table, name: str, vhost: str) -> str | None:
    """The alternate exchange that the arguments of exchange `name` ask for, None without one.

    Raises ChannelException 406 if it is something other than text (https://www.rabbitmq.com/docs/ae).
    """
    field = arguments.get(ALTERNATE_EXCHANGE)
    if field is None:
        return None
    if field.kind != "S":
        where = f"'{ALTERNATE_EXCHANGE}' in exchange '{name}' in vhost '{vhost}'"
        raise ChannelException(PRECONDITION_FAILED, f"invalid type '{type_name(field)}' for arg {where}")
    return _name_in(field)


class Exchange:
    """A named exchange and its bindings as source (amqp0-9-1.pdf, section 2.1.2 and 3.1.3).

    A type is a subclass with a `type`, either `matches` or `route`, what it `looks_at`, and the two hooks that keep its routes. A type
    that needs something of its broker, or acts by itself later, gets its vhost with `attach` and lets go of it with `detach`.
    `binds_once` says that a second binding to the same destination is ignored.
    `published_in`, `published_out`, and `returned` and `dropped` of what couldn't be routed, are for whoever counts.
    """

    type: ClassVar[str]
    looks_at: LooksAt = LooksAt.KEY
    binds_once: ClassVar[bool] = False
    is_queue: ClassVar[bool] = False

    __slots__ = (
        "_by_destination", "alternate", "arguments", "auto_delete", "binding_count", "declared_by", "dropped", "durable", "had_binding",
        "internal", "name", "own_alternate", "policy", "published_in", "published_out", "returned",
    )  # fmt: skip

    def __init__(
        self, name: str, *, durable: bool = False, auto_delete: bool = False, internal: bool = False, arguments: Table | None = None
    ) -> None:
        self.name = name
        self.durable = durable
        self.auto_delete = auto_delete
        self.internal = internal
        self.arguments: Table = {} if arguments is None else arguments
        field = self.arguments.get(ALTERNATE_EXCHANGE)
        self.own_alternate = _name_in(field) if field is not None and field.kind == "S" else None
        """The alternate exchange that its arguments name."""
        self.alternate = self.own_alternate
        """The one that counts: its own, or else a policy's."""
        self.policy: Policy | None = None
        self.declared_by = INTERNAL_USER
        """The user who did."""
        self.had_binding = False
        """auto_delete acts when the last binding as source goes, so not on an exchange that never had one (contract 3.4)."""
        self.binding_count = 0
        self.published_in = 0
        self.published_out = 0
        self.returned = 0
        self.dropped = 0
        # Filed by destination, so that deleting one queue costs its own bindings and not those of everybody else.
        self._by_destination: dict[Destination, dict[tuple[str, Hashable], Binding]] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def is_unused(self) -> bool:
        """No bindings as source: what if-unused and auto_delete ask for (contract 3.4)."""
        return not self._by_destination

    def apply_policy(self, policy: Policy | None) -> None:
        """From now on this policy applies."""
        self.policy = policy
        named = policy.definition.get(ALTERNATE_EXCHANGE) if policy is not None else None
        self.alternate = named if self.own_alternate is None else self.own_alternate

    def bind(self, destination: Destination, routing_key: str, arguments: Table) -> bool:
        """Add a binding; False if that very one (destination, key and arguments) is there already (contract 3.6), or is to be ignored.

        `arguments` belongs to the exchange from then on. Raises what `validate_binding` raises, and then nothing has changed.
        """
        self.validate_binding(destination, routing_key, arguments)
        filed = self._by_destination.get(destination)
        key = routing_key, identity_of(arguments)
        if filed is None:
            filed = self._by_destination[destination] = {}
        elif key in filed or self.binds_once:
            return False
        binding = filed[key] = Binding(self, destination, routing_key, arguments)
        self.binding_count += 1
        self.had_binding = True
        self._added(binding)
        return True

    def unbind(self, destination: Destination, routing_key: str, arguments: Table) -> bool:
        """Take a binding away; False if there is no such one, which is no error (contract 3.6)."""
        filed = self._by_destination.get(destination)
        if filed is None:
            return False
        binding = filed.pop((routing_key, identity_of(arguments)), None)
        if binding is None:
            return False
        if not filed:
            del self._by_destination[destination]
        self.binding_count -= 1
        self._removed(binding)
        return True

    def unbind_destination(self, destination: Destination) -> list[Binding]:
        """Take away all that leads to a queue or exchange, which is being deleted: the bindings that went."""
        gone = list(self._by_destination.pop(destination, {}).values())
        self.binding_count -= len(gone)
        for binding in gone:
            self._removed(binding)
        return gone

    def bindings(self) -> Iterator[Binding]:
        """All bindings as source; don't bind or unbind meanwhile."""
        for filed in self._by_destination.values():
            yield from filed.values()

    def bindings_of(self, destination: Destination) -> list[Binding]:
        """The bindings that lead to one queue or exchange."""
        return list(self._by_destination.get(destination, {}).values())

    def validate_binding(self, destination: Destination, routing_key: str, arguments: Table) -> None:
        """Raise ChannelException 406 for a binding that this type doesn't take. Most take any."""

    def attach(self, vhost: VHost) -> None:
        """The exchange is the vhost's from now on. Bindings follow; at a restart without `bound`."""

    def detach(self) -> None:
        """The exchange is deleted."""

    def bound(self, destination: Destination) -> None:
        """A client has bound something to it, which counts already."""

    def route(self, envelope: Envelope) -> tuple[Destination, ...]:
        """The destinations of a message; called once for each, unless the exchange looks at the key alone. It may have one several times.

        For types that look at one key at a time this is what `matches` each of the keys.
        """
        keys = envelope.keys
        if len(keys) == 1:
            return self.matches(keys[0], NO_HEADERS)
        return tuple([destination for key in keys for destination in self.matches(key, NO_HEADERS)])

    def matches(self, routing_key: str, headers: Table) -> tuple[Destination, ...]:
        """The distinct destinations of a message with this key and these headers, for the types that don't `route` by themselves.

        What is returned is the caller's to keep: it doesn't change with later bindings.
        """
        raise NotImplementedError

    @property
    def asked_headers(self) -> Collection[str] | None:
        """The names of the headers that decide, with the key, where a message goes, if nothing else does and it is the same every time."""
        return None

    def _added(self, binding: Binding) -> None:
        """`binding` is new: route by it."""
        raise NotImplementedError

    def _removed(self, binding: Binding) -> None:
        """`binding` is gone: stop routing by it. Called when `_by_destination` no longer holds it."""
        raise NotImplementedError


class Destinations(dict[Destination, int]):
    """The destinations under one key: how many bindings lead to each, for bindings may differ in nothing but their arguments."""

    __slots__ = ()

    def add(self, destination: Destination) -> None:
        """One more binding leads to `destination`."""
        self[destination] = self.get(destination, 0) + 1

    def discard(self, destination: Destination) -> None:
        """One binding fewer leads to `destination`, which goes with its last one."""
        left = self[destination] - 1
        if left:
            self[destination] = left
        else:
            del self[destination]

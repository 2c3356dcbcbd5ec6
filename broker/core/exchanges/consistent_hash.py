"""The consistent-hash exchange: each message goes to one destination, the same for the same value (rabbitmq_consistent_hash_exchange).

The binding key is a weight: with weights 1 and 2 the second queue gets two thirds. What is hashed is the routing key, or what the
arguments `hash-header` or `hash-property` name; without that header or property a message is hashed by an empty value.

RabbitMQ numbers the weights of all bindings and jumps from number to number (jump hash), so a binding that goes renumbers those
behind it, and their values move too. Here every destination draws a number from the value and its own name, stretched by its weight,
and the highest wins (weighted rendezvous hashing). The shares are as even; a new destination takes only what it wins, one that goes
gives up only what it had; and as nothing depends on the order of the bindings, a restart moves nothing. A value costs a look at each
destination (0.6 us), so the winners of late are remembered.
"""

import re
from collections.abc import Callable
from math import log
from typing import Any, ClassVar, Final

from broker.core.envelope import Envelope
from broker.core.exchange import Binding, Destination, Exchange, LooksAt
from broker.core.exchanges.hashes import stable_hash
from broker.core.exchanges.headers import comparable, term
from protocol import content, erlang
from protocol.constants import PRECONDITION_FAILED
from protocol.errors import ChannelException
from protocol.tables import Field, Table

HASH_HEADER: Final = "hash-header"
HASH_PROPERTY: Final = "hash-property"
REMEMBERED_MAX: Final = 4096
"""Values whose destination is remembered; past it they are all forgotten."""

_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_MASK: Final = (1 << 64) - 1

Value = Callable[[Envelope], bytes]


class ConsistentHash(Exchange):
    """Routes to one of its destinations. A destination counts once: another binding of it is ignored, as by RabbitMQ."""

    type: ClassVar[str] = "x-consistent-hash"
    binds_once: ClassVar[bool] = True
    __slots__ = ("_remembered", "_shares", "_value", "looks_at")

    def __init__(self, name: str, **properties: Any) -> None:
        """Raises ChannelException 406 for arguments that make no sense."""
        super().__init__(name, **properties)
        self.looks_at, self._value = _hashed(self.arguments)
        self._shares: dict[Destination, tuple[int, int]] = {}
        """Seed and weight of each destination."""
        self._remembered: dict[int, tuple[Destination]] = {}

    def validate_binding(self, destination: Destination, routing_key: str, arguments: Table) -> None:
        """Raise ChannelException 406 for a key that is no weight (contract 3.9)."""
        if _INTEGER.fullmatch(routing_key) is None:
            key = erlang.binary(routing_key.encode("utf-8", "surrogateescape"))
            raise ChannelException(PRECONDITION_FAILED, f"The binding key must be an integer: {key}")
        if int(routing_key) < 1:
            raise ChannelException(PRECONDITION_FAILED, "The binding key must be greater than 0")

    def route(self, envelope: Envelope) -> tuple[Destination, ...]:
        if not self._shares:
            return ()
        hashed = stable_hash(self._value(envelope))
        found = self._remembered.get(hashed)
        if found is None:
            if len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.clear()
            found = self._remembered[hashed] = (self._winner(hashed),)
        return found

    def _winner(self, hashed: int) -> Destination:
        winner, highest = None, float("-inf")
        for destination, (seed, weight) in self._shares.items():
            # The end of splitmix64: a bit of difference before makes half of them differ afterwards.
            mixed = hashed ^ seed
            mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _MASK
            mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _MASK
            mixed ^= mixed >> 31
            # The logarithm of a number between 0 and 1: of n draws, the chance to be the highest is weight / sum of weights.
            drawn = log(((mixed >> 11) + 0.5) * 2.0**-53) / weight
            if drawn > highest:
                winner, highest = destination, drawn
        assert winner is not None
        return winner

    def _added(self, binding: Binding) -> None:
        destination = binding.destination
        name = destination.name.encode("utf-8", "surrogateescape")
        seed = stable_hash((b"queue " if destination.is_queue else b"exchange ") + name)
        self._shares[destination] = seed, int(binding.routing_key)
        self._remembered.clear()

    def _removed(self, binding: Binding) -> None:
        del self._shares[binding.destination]
        self._remembered.clear()


def _hashed(arguments: Table) -> tuple[LooksAt, Value]:
    """What an exchange with these arguments looks at, and how it gets the value. Raises ChannelException 406.

    RabbitMQ answers 541 for arguments that are no text; this refuses them.
    """
    header, name = arguments.get(HASH_HEADER), arguments.get(HASH_PROPERTY)
    for argument, field in ((HASH_HEADER, header), (HASH_PROPERTY, name)):
        if field is not None and field.kind != "S":
            raise ChannelException(PRECONDITION_FAILED, f"Invalid argument {term(field)}, '{argument}' must be a longstr")
    if header is not None and name is not None:
        raise ChannelException(PRECONDITION_FAILED, "hash-header and hash-property are mutually exclusive")
    if header is not None:
        return LooksAt.HEADERS, _of_header(header.value.decode("utf-8", "surrogateescape"))
    if name is not None:
        found = _PROPERTIES.get(name.value)
        if found is None:
            text = name.value.decode("utf-8", "surrogateescape")
            raise ChannelException(PRECONDITION_FAILED, f"Unsupported property: {text}")
        return LooksAt.PROPERTIES, found
    return LooksAt.KEY, _of_key


def _of_key(envelope: Envelope) -> bytes:
    return envelope.keys[0].encode("utf-8", "surrogateescape")


def _of_header(name: str) -> Value:
    def value(envelope: Envelope) -> bytes:
        return _of_field(envelope.headers.get(name))

    return value


def _of_field(field: Field | None) -> bytes:
    """Text as its bytes. The rest can't be taken for text: 5 and "5" are two values, 5 as a short and as a long is one."""
    if field is None or field.kind == "V":
        return b""
    if field.kind in ("S", "x"):
        value: bytes = field.value
        return value
    return b"\0" + repr(comparable(field)).encode("utf-8", "surrogateescape")


def _of_text(read: Callable[[bytes], str | None]) -> Value:
    return lambda envelope: (read(envelope.header) or "").encode("utf-8", "surrogateescape")


def _of_timestamp(envelope: Envelope) -> bytes:
    seconds = content.timestamp(envelope.header)
    return b"" if seconds is None else b"%d" % seconds


_PROPERTIES: Final[dict[bytes, Value]] = {
    b"correlation_id": _of_text(content.correlation_id),
    b"message_id": _of_text(content.message_id),
    b"timestamp": _of_timestamp,
}

"""The modulus-hash exchange: one binding, by the hash of the routing key modulo how many there are (rabbitmq_sharding).

A destination that is bound twice counts twice. Every new binding moves nearly all keys: for bindings that come and go there is
x-consistent-hash.
"""

from typing import Any, ClassVar

from broker.core.envelope import Envelope
from broker.core.exchange import Binding, Destination, Exchange
from broker.core.exchanges.hashes import stable_hash


class ModulusHash(Exchange):
    """Routes to one of its bindings; CC and BCC are part of what is hashed, as in RabbitMQ."""

    type: ClassVar[str] = "x-modulus-hash"
    __slots__ = ("_choices",)

    def __init__(self, name: str, **properties: Any) -> None:
        super().__init__(name, **properties)
        self._choices: list[tuple[Destination]] | None = []

    def route(self, envelope: Envelope) -> tuple[Destination, ...]:
        choices = self._choices
        if choices is None:
            # In the order of their names: what was bound first is forgotten at a restart.
            found = sorted([binding.destination for binding in self.bindings()], key=lambda each: (each.name, each.is_queue))
            choices = self._choices = [(each,) for each in found]
        if not choices:
            return ()
        # No key holds a NUL in earnest, and if one does it only shares its place with others.
        return choices[stable_hash("\0".join(envelope.keys).encode("utf-8", "surrogateescape")) % len(choices)]

    def _added(self, binding: Binding) -> None:
        self._choices = None

    def _removed(self, binding: Binding) -> None:
        self._choices = None

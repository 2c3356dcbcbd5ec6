"""The direct exchange: the routing key is the binding key (amqp0-9-1.pdf, section 3.1.3.1)."""

from typing import Any, ClassVar

from broker.core.exchange import Binding, Destination, Destinations, Exchange
from protocol.tables import Table


class Direct(Exchange):
    """Routes to whatever was bound with exactly the message's key: one look-up, however many bindings there are."""

    type: ClassVar[str] = "direct"
    __slots__ = ("_by_key",)

    def __init__(self, name: str, **properties: Any) -> None:
        super().__init__(name, **properties)
        self._by_key: dict[str, Destinations] = {}

    def matches(self, routing_key: str, headers: Table) -> tuple[Destination, ...]:
        found = self._by_key.get(routing_key)
        return tuple(found) if found is not None else ()

    def _added(self, binding: Binding) -> None:
        found = self._by_key.get(binding.routing_key)
        if found is None:
            found = self._by_key[binding.routing_key] = Destinations()
        found.add(binding.destination)

    def _removed(self, binding: Binding) -> None:
        found = self._by_key[binding.routing_key]
        found.discard(binding.destination)
        if not found:
            del self._by_key[binding.routing_key]

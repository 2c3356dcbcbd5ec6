"""The fanout exchange: every binding matches, whatever the key (amqp0-9-1.pdf, section 3.1.3.2)."""

from typing import Any, ClassVar

from broker.core.exchange import Binding, Destination, Exchange
from protocol.tables import Table


class Fanout(Exchange):
    """Routes to every destination there is: the list is made once after a change, not per message."""

    type: ClassVar[str] = "fanout"
    __slots__ = ("_everybody",)

    def __init__(self, name: str, **properties: Any) -> None:
        super().__init__(name, **properties)
        self._everybody: tuple[Destination, ...] | None = ()

    def matches(self, routing_key: str, headers: Table) -> tuple[Destination, ...]:
        everybody = self._everybody
        if everybody is None:
            everybody = self._everybody = tuple(self._by_destination)
        return everybody

    def _added(self, binding: Binding) -> None:
        self._everybody = None

    def _removed(self, binding: Binding) -> None:
        self._everybody = None

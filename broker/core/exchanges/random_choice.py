"""The random exchanges: any one binding, whatever the keys (rabbitmq_random_exchange, and x-local-random of RabbitMQ 4.0).

A destination that is bound three times is three times as likely as one that is bound once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from broker.core.exchange import Destination, Exchange, LooksAt
from protocol.constants import PRECONDITION_FAILED
from protocol.errors import ChannelException

if TYPE_CHECKING:
    from broker.core.envelope import Envelope
    from broker.core.exchange import Binding
    from broker.core.ids import RandomBytes
    from broker.core.vhost import VHost
    from protocol.tables import Table


class RandomChoice(Exchange):
    """Routes to one of its bindings, by the vhost's random bytes."""

    type: ClassVar[str] = "x-random"
    looks_at = LooksAt.MESSAGE
    __slots__ = ("_choices", "_random_bytes")

    def __init__(self, name: str, **properties: Any) -> None:
        super().__init__(name, **properties)
        self._choices: list[tuple[Destination]] | None = []
        self._random_bytes: RandomBytes | None = None

    def attach(self, vhost: VHost) -> None:
        self._random_bytes = vhost.random_bytes

    def route(self, envelope: Envelope) -> tuple[Destination, ...]:
        choices = self._choices
        if choices is None:
            choices = self._choices = [(binding.destination,) for binding in self.bindings()]
        if len(choices) < 2:
            return choices[0] if choices else ()
        assert self._random_bytes is not None
        return choices[int.from_bytes(self._random_bytes(8)) % len(choices)]

    def _added(self, binding: Binding) -> None:
        self._choices = None

    def _removed(self, binding: Binding) -> None:
        self._choices = None


class LocalRandom(RandomChoice):
    """The same for classic queues of this node, bound with an empty key; and there is only this node."""

    type: ClassVar[str] = "x-local-random"
    __slots__ = ()

    def validate_binding(self, destination: Destination, routing_key: str, arguments: Table) -> None:
        """Raise ChannelException 406 for a key, and for anything but a classic queue (contract 3.9)."""
        if routing_key:
            raise ChannelException(PRECONDITION_FAILED, f"Non empty binding '{routing_key}' key not permitted")
        if not destination.is_queue:
            raise ChannelException(PRECONDITION_FAILED, "Destination not found")
        if destination.type != "classic":
            raise ChannelException(PRECONDITION_FAILED, f"Queue type rabbit_{destination.type}_queue not valid for this exchange type")

"""The delayed-message exchange: holds a message for the ms that its x-delay header says, then routes it as the exchange type does that
x-delayed-type names (rabbitmq_delayed_message_exchange; core/delays.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from broker.core.delays import delay_of
from broker.core.exchange import Exchange, LooksAt
from protocol.constants import PRECONDITION_FAILED
from protocol.errors import ChannelException

if TYPE_CHECKING:
    from broker.core.delays import DelayQueue
    from broker.core.envelope import Envelope
    from broker.core.exchange import Binding, Destination
    from broker.core.vhost import VHost
    from protocol.tables import Table

X_DELAYED_TYPE = "x-delayed-type"
_X_DELAY_BYTES = b"x-delay"


class DelayedMessage(Exchange):
    """Delays, and leaves the rest to an exchange of another type that has the same name, arguments and bindings."""

    type: ClassVar[str] = "x-delayed-message"
    looks_at = LooksAt.MESSAGE
    __slots__ = ("_inner", "_vhost", "delays")

    def __init__(self, name: str, **properties: Any) -> None:
        """Raises ChannelException 406 without an x-delayed-type that is another exchange type."""
        super().__init__(name, **properties)
        self._inner = _inner_type(self.arguments)(name, **properties)
        self._inner._by_destination = self._by_destination
        self._vhost: VHost | None = None
        self.delays: DelayQueue | None = None
        """What it holds; there from the first message on that was to be delayed."""

    @property
    def inner(self) -> Exchange:
        """The exchange that routes what is due."""
        return self._inner

    def restore_delays(self, queue_id: int) -> DelayQueue:
        """What it held before the restart is in the queue with this id."""
        assert self._vhost is not None
        self.delays = self._vhost.delay_queue_type(self._vhost, self, queue_id)
        return self.delays

    @property
    def binds_once(self) -> bool:  # type: ignore[override]
        """See Exchange."""
        return self._inner.binds_once

    def attach(self, vhost: VHost) -> None:
        self._vhost = vhost
        self._inner.attach(vhost)

    def detach(self) -> None:
        assert self._vhost is not None
        if self.delays is not None:
            self._vhost.delete_queue(self.delays)
        self._inner.detach()

    def route(self, envelope: Envelope) -> tuple[Destination, ...]:
        # Most headers don't have the name in them, and needn't be decoded.
        if _X_DELAY_BYTES not in envelope.header or delay_of(envelope.headers) <= 0:
            return self._inner.route(envelope)
        return (self.delay_queue(),)

    def delay_queue(self) -> DelayQueue:
        """Where it holds what is delayed."""
        if self.delays is None:
            assert self._vhost is not None
            self._vhost.add_internal_queue(self.restore_delays(self._vhost.broker.next_queue_id(self.durable)))
        assert self.delays is not None
        return self.delays

    def bound(self, destination: Destination) -> None:
        self._inner.bound(destination)

    def validate_binding(self, destination: Destination, routing_key: str, arguments: Table) -> None:
        self._inner.validate_binding(destination, routing_key, arguments)

    def _added(self, binding: Binding) -> None:
        self._inner._added(binding)

    def _removed(self, binding: Binding) -> None:
        self._inner._removed(binding)


def _inner_type(arguments: Table) -> type[Exchange]:
    from broker.core.exchanges import exchange_type  # the table of all types has this one too

    field = arguments.get(X_DELAYED_TYPE)
    if field is None or field.kind != "S":
        raise ChannelException(PRECONDITION_FAILED, f"Invalid argument, '{X_DELAYED_TYPE}' must be an existing exchange type")
    kind = exchange_type(field.value.decode("utf-8", "surrogateescape"))
    if kind is DelayedMessage:
        raise ChannelException(PRECONDITION_FAILED, f"Invalid argument, '{X_DELAYED_TYPE}' can't be {kind.type} itself")
    return kind

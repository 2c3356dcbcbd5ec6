"""Internal events: what happens in the broker, for whoever listens on amq.rabbitmq.event.

They are RabbitMQ's (https://www.rabbitmq.com/docs/event-exchange): a topic exchange in the default vhost, routing keys like
`queue.created`, an empty body, and the facts as headers. `protocol.events` is something else: what a peer says.

The seam is `Broker.emit(name, facts)`. `facts` is called only if somebody has bound a queue; until there is an EventExchange, nothing
is: then `emit` is `ignore`. What the facts are of is in `core/facts.py`.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from protocol.content import Properties, encode_properties
from protocol.tables import Field, Table

if TYPE_CHECKING:
    from broker.core.broker import Broker
    from broker.core.vhost import VHost

Facts = dict[str, Any]
"""Names to str, bool, int, float, and dicts and lists of these."""
FactsOf = Callable[[], Facts]

log = logging.getLogger("events")

EVENT_EXCHANGE: Final = "amq.rabbitmq.event"
INTERNAL_USER: Final = "rmq-internal"
"""Who acts where nobody is logged in."""
PERSISTENT: Final = 2


def ignore(name: str, facts: FactsOf) -> None:
    """Nobody listens."""


class EventExchange:
    """amq.rabbitmq.event of one vhost, made if it isn't there."""

    def __init__(self, broker: Broker, vhost: VHost) -> None:
        self._broker = broker
        self._vhost = vhost
        self._exchange = vhost.system_exchange(EVENT_EXCHANGE)

    def emit(self, name: str, facts: FactsOf) -> None:
        """Something has happened: `name` is the routing key."""
        if not self._exchange.binding_count:
            return
        now = self._broker.outbox.clock()
        try:
            headers = fields(facts() | {"timestamp_in_ms": now})
            header = encode_properties(Properties(headers=headers, delivery_mode=PERSISTENT, timestamp=now // 1000), 0)
        except (ValueError, OverflowError, struct.error) as error:
            # It has happened all the same.
            log.error("event %s can't be told of: %s", name, error)
            return
        self._broker.announcements.add(self._vhost, self._exchange, name, header, b"")


def fields(facts: Facts) -> Table:
    """Facts with the types that RabbitMQ gives them: every integer is a long, every float has 32 bits."""
    return {name: _field(value) for name, value in facts.items()}


def _field(value: Any) -> Field:
    match value:
        case bool():
            return Field("t", value)
        case int():
            return Field("l", min(max(value, -(2**63)), 2**63 - 1))
        case float():
            return Field("f", value)
        case dict():
            return Field("F", fields(value))
        case list() | tuple():
            return Field("A", [_field(element) for element in value])
        case None:
            return Field("S", b"undefined")
        case _:
            return Field("S", str(value).encode("utf-8", "surrogateescape"))

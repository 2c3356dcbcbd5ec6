"""An exchange as the API shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.admin import figures
from broker.admin.shapes.table import json_of
from broker.core.exchanges.delayed_message import DelayedMessage

if TYPE_CHECKING:
    from broker.admin.shapes.stats import Reader
    from broker.core.exchange import Exchange
    from broker.core.vhost import VHost

Placed = tuple["VHost", "Exchange"]
"""An exchange doesn't know where it is."""

_EXCHANGE: Final = {
    "name vhost type": "string",
    "durable auto_delete internal": "boolean",
    "arguments": "object",
    "policy": "string",
    "user_who_performed_action": "string",
    "messages_delayed": "integer",
    "message_stats": "MessageStats",
}
SCHEMAS: Final = {"Exchange": _EXCHANGE, "ExchangeInDetail": _EXCHANGE | {"incoming outgoing": "array"}}


def basics(placed: Placed) -> dict[str, Any]:
    """What lists are sorted and cut by: what it was declared with."""
    vhost, exchange = placed
    return {
        "name": exchange.name,
        "vhost": vhost.name,
        "type": exchange.type,
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": json_of(exchange.arguments),
    }


def of_exchange(placed: Placed, reader: Reader) -> dict[str, Any]:
    """An item of GET /api/exchanges."""
    _, exchange = placed
    facts = basics(placed)
    if exchange.policy is not None:
        facts["policy"] = exchange.policy.name
    facts["user_who_performed_action"] = exchange.declared_by
    if isinstance(exchange, DelayedMessage):
        facts["messages_delayed"] = 0 if exchange.delays is None else len(exchange.delays.ready)
    if reader.is_disabled:
        return facts
    if message_stats := reader.of("exchange", figures.EXCHANGE, exchange).messages(figures.EXCHANGE):
        facts["message_stats"] = message_stats
    return facts


def detailed(placed: Placed, reader: Reader) -> dict[str, Any]:
    """GET /api/exchanges/{vhost}/{exchange}"""
    facts = of_exchange(placed, reader)
    return facts if reader.is_disabled else {**facts, "incoming": [], "outgoing": []}

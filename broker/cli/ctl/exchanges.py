"""Commands about exchanges and bindings."""

from __future__ import annotations

from typing import Any, Final

from broker.cli.ctl.columns import check_columns, columns_of
from broker.cli.ctl.command import ANY, Call, Command
from broker.cli.ctl.errors import Refused
from broker.cli.ctl.formats import Output
from broker.cli.ctl.terms import Table

COLUMNS: Final = ("name", "type", "durable", "auto_delete", "internal", "arguments", "policy")
BINDING_COLUMNS: Final = ("source_name", "source_kind", "destination_name", "destination_kind", "routing_key", "arguments")
_FIELDS: Final = {
    "source_name": "source",
    "destination_name": "destination",
    "destination_kind": "destination_type",
    "routing_key": "routing_key",
}


def list_exchanges(call: Call) -> Output:
    """The columns asked for."""
    columns = columns_of(call, "name", "type")
    rows = [{name: _exchange_value(exchange, name) for name in columns} for exchange in _all(call, "exchanges")]
    return Output(rows=rows)


def list_bindings(call: Call) -> Output:
    """The columns asked for. Bindings of the default exchange are among them."""
    columns = columns_of(call, *BINDING_COLUMNS)
    rows = [{name: _binding_value(binding, name) for name in columns} for binding in _all(call, "bindings")]
    return Output(rows=rows)


def _all(call: Call, what: str) -> list[dict[str, Any]]:
    """In a vhost that isn't there, none: so says RabbitMQ, too."""
    try:
        found: list[dict[str, Any]] = call.api.get(what, call.vhost)
    except Refused as refused:
        if refused.status == 404:
            return []
        raise
    return found


def _exchange_value(exchange: dict[str, Any], column: str) -> Any:
    return Table(exchange["arguments"] or {}) if column == "arguments" else exchange.get(column)


def _binding_value(binding: dict[str, Any], column: str) -> Any:
    if column == "source_kind":
        return "exchange"
    if column == "arguments":
        return Table(sorted((binding["arguments"] or {}).items()))
    return binding[_FIELDS[column]]


COMMANDS: Final = {
    "list_exchanges": Command(
        list_exchanges,
        "list_exchanges [--vhost <vhost>] [--no-table-headers] [<column> ...]",
        (0, ANY),
        "Listing exchanges for vhost {vhost} ...",
        options={"timeout": int},
        check=check_columns(COLUMNS),
        formatter="table",
        details=(("<column>", f"one of {', '.join(sorted(COLUMNS))}"),),
    ),
    "list_bindings": Command(
        list_bindings,
        "list_bindings [--vhost <vhost>] [--no-table-headers] [<column> ...]",
        (0, ANY),
        "Listing bindings for vhost {vhost}...",
        options={"timeout": int},
        check=check_columns(BINDING_COLUMNS),
        formatter="table",
        details=(("<column>", f"one of {', '.join(sorted(BINDING_COLUMNS))}"),),
    ),
}

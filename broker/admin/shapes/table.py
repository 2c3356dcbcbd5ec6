"""Field tables as JSON, and JSON as field tables, as RabbitMQ has them (rabbit_misc:amqp_table, to_amqp_table)."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from broker.admin.errors import BadRequest
from protocol.tables import DEPTH_MAX, Field, MalformedTable, encode_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from protocol.tables import Table

NOT_TEXT = "Not UTF-8, base64 is: "


def json_of(table: Table) -> dict[str, Any]:
    """The table's names and values; octets that are no text say so, and are in base64."""
    if not table:
        return {}
    return {name: _json_of(value) for name, value in table.items()}


def _json_of(field: Field) -> Any:
    kind, value = field
    if kind in "Sx":
        try:
            return value.decode()
        except UnicodeDecodeError:
            return NOT_TEXT + b64encode(value).decode()
    if kind == "F":
        return json_of(value)
    if kind == "A":
        return [_json_of(each) for each in value]
    if kind == "D":
        scale, digits = value
        return digits / 10**scale
    return value


def table_of(values: Mapping[str, Any]) -> Table:
    """The table that JSON stands for: whole numbers are `l`, others `d`. Raises BadRequest for null, and for what no table can hold."""
    if not values:
        return {}
    table = _table_of(values, 1)
    try:
        encode_table(table)
    except MalformedTable as error:
        raise BadRequest(str(error)) from error
    return table


def _table_of(values: Mapping[str, Any], depth: int) -> Table:
    if depth > DEPTH_MAX:
        raise BadRequest(f"nested deeper than {DEPTH_MAX}")
    return {name: _field_of(value, depth) for name, value in values.items()}


def _field_of(value: Any, depth: int) -> Field:
    match value:
        case bool():
            return Field("t", value)
        case int():
            if not -(2**63) <= value < 2**63:
                raise BadRequest(f"{value}: an integer beyond 64 bits")
            return Field("l", value)
        case float():
            return Field("d", value)
        case str():
            return Field("S", value.encode())
        case dict():
            return Field("F", _table_of(value, depth + 1))
        case list():
            if depth >= DEPTH_MAX:
                raise BadRequest(f"nested deeper than {DEPTH_MAX}")
            return Field("A", [_field_of(each, depth + 1) for each in value])
        case _:
            raise BadRequest("null_not_allowed")

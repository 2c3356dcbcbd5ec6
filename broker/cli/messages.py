"""Messages as an operator reads them, and as JSON for a program."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from protocol.content import MalformedProperties, Properties, decode_properties
from storage.declared import printable

if TYPE_CHECKING:
    from protocol.tables import Field, Table
    from storage.messages import Message, Messages


def as_json(message: Message) -> str:
    """The message as one JSON object: bytes that are no UTF-8 stand as {"base64": "..."}."""
    exchange, routing_key = _routing(message.routing)
    body, encoding = _body(message.body)
    return json.dumps(
        {
            "vhost": message.vhost,
            "queue": message.queue,
            "position": message.position,
            "id": message.id,
            "enqueued": _time(message),
            "redelivered": message.redelivered,
            "delivery_count": message.deliveries,
            "exchange": exchange,
            "routing_key": routing_key,
            "properties": _properties(message.header),
            "body_bytes": len(message.body),
            "body_encoding": encoding,
            "body": body,
        }
    )


def as_text(messages: Messages) -> Iterator[str]:
    """All the messages as lines, below the names of their queues."""
    counts = {names: messages.count(queue_id) for queue_id, names in messages.queues.items()}
    for (vhost, queue), count in counts.items():
        if not count:
            yield f"queue '{printable(queue)}' in vhost '{printable(vhost)}': empty"
    behind: tuple[str, str] | None = None
    for message in messages:
        names = (message.vhost, message.queue)
        if names != behind:
            behind = names
            yield f"queue '{printable(message.queue)}' in vhost '{printable(message.vhost)}': {counts[names]} messages"
        yield from _lines(message)


def _lines(message: Message) -> Iterator[str]:
    exchange, routing_key = _routing(message.routing)
    back = ", redelivered" if message.redelivered else ""
    back += f", came back {message.deliveries} times" if message.deliveries else ""
    yield f"  {message.position}: id {message.id}, enqueued {_time(message)}{back}"
    yield f"    exchange '{printable(exchange)}', routing key '{printable(routing_key)}'"
    properties = _properties(message.header)
    headers = properties.pop("headers", {})
    for name, value in properties.items():
        yield f"    {name}: {_shown(value)}"
    for name, value in headers.items():
        yield f"    header {printable(name)}: {_shown(value)}"
    body, encoding = _body(message.body)
    yield f"    body, {len(message.body)} bytes{' in base64' if encoding == 'base64' else ''}: {_shown(body)}"


def _shown(value: Any) -> str:
    return printable(value) if isinstance(value, str) else json.dumps(value)


def _time(message: Message) -> str:
    return datetime.fromtimestamp(message.timestamp_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _routing(routing: bytes) -> tuple[str, str]:
    """Exchange and routing key, each behind its length in one octet."""
    at = 1 + (routing[0] if routing else 0)
    return routing[1:at].decode("utf-8", "surrogateescape"), routing[at + 1 :].decode("utf-8", "surrogateescape")


def _body(body: bytes) -> tuple[str, str]:
    try:
        return body.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), "base64"


def _properties(header: bytes) -> dict[str, Any]:
    """The properties that are there, the headers as plain values."""
    try:
        decoded = decode_properties(header)
    except MalformedProperties as error:
        return {"undecodable": str(error), "raw": {"base64": base64.b64encode(header).decode()}}
    values = {name: getattr(decoded, name) for name in Properties.__slots__}
    values["headers"] = None if decoded.headers is None else _table(decoded.headers)
    return {name: value for name, value in values.items() if value is not None}


def _table(table: Table) -> dict[str, Any]:
    return {name: _plain(field) for name, field in table.items()}


def _plain(field: Field) -> Any:
    kind, value = field
    if kind == "F":
        return _table(value)
    if kind == "A":
        return [_plain(element) for element in value]
    if kind == "D":
        scale, digits = value
        return digits / 10**scale
    if kind in "Sx":
        text, encoding = _body(value)
        return text if encoding == "utf-8" else {"base64": text}
    return value

"""A message as the API shows it, and as it is given to it."""

from __future__ import annotations

import binascii
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

from broker.admin.errors import BadRequest
from broker.admin.shapes.table import json_of, table_of
from broker.core.message import BODY, HEADER, ROUTING, split_routing
from protocol.content import Properties, decode_properties, encode_properties

if TYPE_CHECKING:
    from broker.admin.bodies import Body
    from broker.core.direct import Got

_NUMBERS: Final = {"delivery_mode": (1, 2), "priority": (0, 255), "timestamp": (0, 2**64 - 1)}
"""The properties that are numbers, the lowest and the highest."""

MESSAGE: Final = {
    "exchange routing_key payload": "string!",
    "payload_encoding": "'string'|'base64'!",
    "payload_bytes": "integer!",
    "redelivered": "boolean!",
    "properties": "Properties|array!",
}
SCHEMAS: Final = {
    "GotMessage": MESSAGE | {"message_count": "integer!"},
    "Properties": {
        "content_type content_encoding correlation_id reply_to expiration message_id type user_id app_id cluster_id": "string",
        "headers": "object",
        "delivery_mode priority timestamp": "integer",
    },
}


def of_got(got: Got, encoding: str, truncate: int | None) -> dict[str, Any]:
    """An item of what POST /api/queues/{vhost}/{name}/get answers. `encoding` is auto or base64; `truncate` the bytes that are shown."""
    message = got.message
    exchange, routing_key = split_routing(message[ROUTING])
    body = message[BODY]
    payload, payload_encoding = text_of(body if truncate is None else body[:truncate], encoding)
    return {
        "payload_bytes": len(body),
        "redelivered": got.redelivered,
        "exchange": exchange,
        "routing_key": routing_key,
        "message_count": got.left,
        "properties": properties_of(message[HEADER]),
        "payload": payload,
        "payload_encoding": payload_encoding,
    }


def text_of(body: bytes, encoding: str = "auto") -> tuple[str, str]:
    """A body as text, and how: `string` where it is UTF-8, unless base64 is asked for."""
    if encoding != "base64":
        try:
            return body.decode(), "string"
        except UnicodeDecodeError:
            pass
    return b64encode(body).decode(), "base64"


def properties_of(header: bytes) -> dict[str, Any] | list[Any]:
    """Those of a content header that are there, as `properties_as_json` has them."""
    return properties_as_json(decode_properties(header))


def properties_as_json(properties: Properties) -> dict[str, Any] | list[Any]:
    """Those that are there, by AMQP's names; none at all is an empty list, as in RabbitMQ."""
    found: dict[str, Any] = {}
    for name in Properties.__slots__:
        value = getattr(properties, name)
        if value is not None:
            found[name] = json_of(value) if name == "headers" else value
    return found or []


def body_of(body: Body) -> bytes:
    """The payload of POST .../publish. Raises BadRequest."""
    payload, encoding = body.values["payload"], body.values["payload_encoding"]
    if not isinstance(payload, str):
        raise BadRequest("payload_not_string")
    match encoding:
        case "string":
            return payload.encode()
        case "base64":
            try:
                return binascii.a2b_base64("".join(payload.split()), strict_mode=True)
            except ValueError as error:
                raise BadRequest(f"payload is not base64: {error}") from error
        case _:
            raise BadRequest(f"unsupported payload_encoding {encoding!r}: expected string or base64")


def header_of(given: dict[str, Any], body_bytes: int) -> bytes:
    """The content header with the properties of POST .../publish; what is unknown is ignored. Raises BadRequest."""
    properties = Properties()
    for name in Properties.__slots__:
        if name in given:
            setattr(properties, name, _property(name, given[name]))
    try:
        return encode_properties(properties, body_bytes)
    except ValueError as error:
        raise BadRequest(str(error)) from error


def _property(name: str, value: Any) -> Any:
    if name == "headers":
        if value is not None and not isinstance(value, dict) and value != []:
            raise BadRequest("headers: expected an object")
        return table_of(value or {})
    if name in _NUMBERS:
        lowest, highest = _NUMBERS[name]
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise BadRequest(f"{name}: expected a whole number from {lowest} to {highest}")
        return value
    if not isinstance(value, str):
        raise BadRequest(f"{name}: expected text")
    if len(value.encode()) > 255:
        raise BadRequest(f"{name}: expected no more than 255 bytes")
    return value

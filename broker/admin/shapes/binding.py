"""A binding as the API shows it, and what it is called in a path.

key "a.*", no arguments          a.%2A            the key as in a query
no key, no arguments             ~
key "a.*", {"x": 1}              a.%2A~Wxxf3g     with a hash of the arguments, which nobody has to understand
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus, unquote_plus

from broker.admin.shapes.table import json_of
from protocol.tables import encode_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.core.exchange import Binding
    from broker.core.vhost import VHost
    from protocol.tables import Table

Placed = tuple["VHost", "Binding"]
"""A binding doesn't know where it is."""
NOTHING: Final = "~"
SCHEMAS: Final = {
    "Binding": {
        "source vhost destination routing_key properties_key": "string",
        "destination_type": "'queue'|'exchange'",
        "arguments": "object",
    },
}


def of_binding(placed: Placed) -> dict[str, Any]:
    """An item of GET /api/bindings."""
    vhost, binding = placed
    return {
        "source": binding.source.name,
        "vhost": vhost.name,
        "destination": binding.destination.name,
        "destination_type": "queue" if binding.destination.is_queue else "exchange",
        "routing_key": binding.routing_key,
        "arguments": json_of(binding.arguments),
        "properties_key": properties_key(binding.routing_key, binding.arguments),
    }


def properties_key(routing_key: str, arguments: Table) -> str:
    """What tells the bindings between two objects apart."""
    key = quoted(routing_key).replace("~", "%7E")
    if arguments:
        return f"{key}~{_hash_of(arguments)}"
    return key or NOTHING


def find(bindings: Iterable[Binding], key: str) -> Binding | None:
    """The binding with that properties_key, which may have been decoded once more than it should."""
    if key.count("~") > 1:
        return None
    quoted_key, _, hash_of = key.partition("~")
    routing_key = unquote_plus(quoted_key, errors="surrogateescape")
    for binding in bindings:
        if binding.routing_key == routing_key and hash_of == (_hash_of(binding.arguments) if binding.arguments else ""):
            return binding
    return None


def quoted(text: str) -> str:
    """As it stands in a path."""
    return quote_plus(text, errors="surrogateescape")


def _hash_of(arguments: Table) -> str:
    """The same for the same arguments, in whatever order."""
    ordered = encode_table(dict(sorted(arguments.items())))
    return urlsafe_b64encode(blake2b(ordered, digest_size=6).digest()).decode()

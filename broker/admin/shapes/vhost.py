"""A virtual host as the API shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.admin import figures
from broker.admin.schemas import counted
from broker.operations import PROTECTED

if TYPE_CHECKING:
    from broker.admin.shapes.stats import Reader
    from broker.core.vhost import VHost

SCHEMAS: Final = {
    "VirtualHost": {
        "name description default_queue_type": "string",
        "tags": "[string]",
        "metadata": "object",
        "protected_from_deletion tracing": "boolean",
        "cluster_state": "{string}",
        **counted("messages messages_ready messages_unacknowledged recv_oct send_oct"),
        "message_stats": "MessageStats",
    },
}


def of_vhost(vhost: VHost, reader: Reader) -> dict[str, Any]:
    """GET /api/vhosts/{vhost}"""
    metadata = vhost.metadata
    facts: dict[str, Any] = {
        "name": vhost.name,
        "description": metadata.get("description", ""),
        "tags": metadata.get("tags", []),
        "default_queue_type": metadata.get("default_queue_type", "undefined"),
        "metadata": {"description": "", "tags": [], **metadata},
        "protected_from_deletion": bool(metadata.get(PROTECTED)),
        "tracing": vhost.tracer is not None,
        "cluster_state": {vhost.broker.node: "running"},
    }
    if reader.is_disabled:
        return facts
    stats = reader.of("vhost", figures.VHOST, vhost)
    facts |= stats.with_details(figures.LENGTHS, "lengths")
    facts |= stats.with_details(("recv_oct", "send_oct"), "data_rates")
    if message_stats := stats.messages((*figures.GIVEN, *figures.TAKEN)):
        facts["message_stats"] = message_stats
    return facts

"""A consumer as the API shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.admin.shapes.connection import details_of_channel
from broker.admin.shapes.table import json_of

if TYPE_CHECKING:
    from broker.core.consumers import Consumer

SCHEMAS: Final = {
    "Consumer": {
        "arguments": "object",
        "ack_required active exclusive": "boolean",
        "activity_status": "'up'|'single_active'|'waiting'",
        "channel_details": "ChannelDetails",
        "consumer_tag": "string",
        "consumer_timeout": "integer|null",
        "prefetch_count": "integer",
        "queue": "Named",
    },
    "Named": {"name vhost": "string"},
}


def of_consumer(consumer: Consumer) -> dict[str, Any]:
    """An item of GET /api/consumers."""
    queue = consumer.queue
    is_active = not queue.consumers.single_active or consumer is queue.consumers.active
    broker = queue.vhost.broker
    return {
        "arguments": json_of(consumer.arguments),
        "ack_required": not consumer.no_ack,
        "active": is_active,
        "activity_status": "single_active" if queue.consumers.single_active and is_active else "up" if is_active else "waiting",
        "channel_details": details_of_channel(consumer.channel),
        "consumer_tag": consumer.tag,
        "consumer_timeout": queue.consumer_timeout_ms or broker.consumer_timeout.limit_ms,
        "exclusive": consumer.exclusive,
        "prefetch_count": consumer.prefetch,
        "queue": {"name": queue.name, "vhost": queue.vhost.name},
    }

"""Who the broker says it is, on the wire and on the command line.

Clients gate on the product and version in connection.start (kombu uses global QoS only for product "RabbitMQ" below 4.0), so
those name the RabbitMQ that Leveret behaves like; its own name and version stand beside.
"""

from typing import Final

from broker.core.compat import V3_13
from leveret import __version__

PRODUCT: Final = "RabbitMQ"
RABBITMQ_VERSION: Final = V3_13.version
"""By default: see broker/core/compat.py."""
PLUGINS: Final = (
    "rabbitmq_consistent_hash_exchange", "rabbitmq_delayed_message_exchange", "rabbitmq_message_deduplication", "rabbitmq_random_exchange",
    "rabbitmq_recent_history_exchange", "rabbitmq_sharding",
)  # fmt: skip
"""What RabbitMQ needs a plugin for, and Leveret always has."""
LEVERET_NAME: Final = "Leveret"
LEVERET_VERSION: Final = __version__


def text() -> str:
    """Name and version, and which RabbitMQ it behaves like."""
    return f"{LEVERET_NAME} {LEVERET_VERSION} (RabbitMQ {RABBITMQ_VERSION} compatible)"

"""Which RabbitMQ the broker behaves like: `compat = 3.13` or `4.x` (docs/compatibility.md).

Where the two differ in what clients see. Everything else is 3.13's.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Compat(NamedTuple):
    """One profile. `version` is what server-properties say, and clients gate on."""

    version: str
    delivery_limit: int | None
    """Of quorum queues that don't name one."""
    negative_delivery_limit_is_none: bool
    trusts_published_x_death: bool
    """A publisher's own x-death is taken over and counted on."""
    has_transient_shared_queues: bool
    """Queues that are neither durable nor exclusive can be declared."""
    has_queue_modes: bool
    """x-queue-mode, and x-queue-version 1."""
    has_shared_prefetch: bool
    """basic.qos with global=true limits the channel; else it means what global=false does."""
    times_out_classic_consumers: bool


V3_13: Final = Compat(
    version="3.13.7",
    delivery_limit=None,
    negative_delivery_limit_is_none=False,
    trusts_published_x_death=True,
    has_transient_shared_queues=True,
    has_queue_modes=True,
    has_shared_prefetch=True,
    times_out_classic_consumers=True,
)
V4_X: Final = Compat(
    version="4.3.5",
    delivery_limit=20,
    negative_delivery_limit_is_none=True,
    trusts_published_x_death=False,
    has_transient_shared_queues=False,
    has_queue_modes=False,
    has_shared_prefetch=False,
    times_out_classic_consumers=False,
)
PROFILES: Final = {"3.13": V3_13, "4.x": V4_X}

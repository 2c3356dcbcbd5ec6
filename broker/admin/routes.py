"""All routes, in one table."""

from __future__ import annotations

from typing import Final

from broker.admin.resources import bindings, connections, consumers, exchanges, messages, nodes, overview, queues, vhosts
from broker.admin.routing import Route

ROUTES: Final[tuple[Route, ...]] = (
    *overview.ROUTES,
    *nodes.ROUTES,
    *connections.ROUTES,
    *queues.ROUTES,
    *exchanges.ROUTES,
    *bindings.ROUTES,
    *consumers.ROUTES,
    *messages.ROUTES,
    *vhosts.ROUTES,
)

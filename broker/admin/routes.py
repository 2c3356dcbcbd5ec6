"""All routes, in one table."""

from __future__ import annotations

from typing import Final

from broker.admin.resources import (
    bindings,
    connections,
    consumers,
    exchanges,
    inspection,
    messages,
    nodes,
    overview,
    pages,
    queues,
    vhosts,
)
from broker.admin.routing import Route

ROUTES: Final[tuple[Route, ...]] = (
    *pages.ROUTES,
    *overview.ROUTES,
    *bindings.ROUTES,
    *connections.ROUTES,
    *consumers.ROUTES,
    *exchanges.ROUTES,
    *inspection.ROUTES,
    *messages.ROUTES,
    *nodes.ROUTES,
    *queues.ROUTES,
    *vhosts.ROUTES,
)

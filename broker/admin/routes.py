"""All routes, in one table."""

from __future__ import annotations

from typing import Final

from broker.admin.resources import connections, messages, nodes, overview, vhosts
from broker.admin.routing import Route

ROUTES: Final[tuple[Route, ...]] = (*overview.ROUTES, *nodes.ROUTES, *connections.ROUTES, *vhosts.ROUTES, *messages.ROUTES)

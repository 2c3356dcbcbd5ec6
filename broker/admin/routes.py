"""All routes, in one table."""

from __future__ import annotations

from typing import Final

from broker.admin.resources import connections, nodes, overview, pages, vhosts
from broker.admin.routing import Route

ROUTES: Final[tuple[Route, ...]] = (*pages.ROUTES, *overview.ROUTES, *nodes.ROUTES, *connections.ROUTES, *vhosts.ROUTES)

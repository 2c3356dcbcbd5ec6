"""All routes, in one table."""

from __future__ import annotations

from typing import Final

from broker.admin.resources import (
    auth,
    bindings,
    cluster,
    connections,
    consumers,
    control,
    definitions,
    exchanges,
    features,
    health,
    inspection,
    limits,
    messages,
    nodes,
    overview,
    pages,
    parameters,
    permissions,
    policies,
    queues,
    script,
    users,
    vhosts,
)
from broker.admin.routing import Route
from broker.metrics import serving as metrics

ROUTES: Final[tuple[Route, ...]] = (
    *pages.ROUTES,
    *overview.ROUTES,
    *auth.ROUTES,
    *bindings.ROUTES,
    *cluster.ROUTES,
    *connections.ROUTES,
    *consumers.ROUTES,
    *control.ROUTES,
    *definitions.ROUTES,
    *exchanges.ROUTES,
    *features.ROUTES,
    *health.ROUTES,
    *inspection.ROUTES,
    *limits.ROUTES,
    *messages.ROUTES,
    *nodes.ROUTES,
    *parameters.ROUTES,
    *permissions.ROUTES,
    *policies.ROUTES,
    *queues.ROUTES,
    *script.ROUTES,
    *users.ROUTES,
    *vhosts.ROUTES,
    *metrics.ROUTES,
)

"""The conversations, by the names of their recordings."""

from collections.abc import Callable

from tests.admin.scenarios import (
    access,
    bindings,
    configured,
    connections,
    definitions,
    exchanges,
    lists,
    node,
    policies,
    queues,
    users,
    vhosts,
)
from tests.admin.walk import Walk

SCENARIOS: dict[str, Callable[[Walk], None]] = {
    "overview": node.overview,
    "health": node.health,
    "attempts": node.attempts,
    "logins": access.logins,
    "tags": access.tags,
    "permitted": access.permissions,
    "methods": access.methods,
    "users": users.users,
    "permissions": users.permissions,
    "limits": users.limits,
    "vhosts": vhosts.vhosts,
    "vhost-totals": vhosts.totals,
    "exchanges": exchanges.exchanges,
    "publish": exchanges.publish,
    "queues": queues.queues,
    "queues-busy": queues.busy,
    "messages": queues.messages,
    "bindings": bindings.bindings,
    "binding-arguments": bindings.arguments,
    "bindings-refused": bindings.refused,
    "policies": policies.policies,
    "operator-policies": policies.operator_policies,
    "parameters": policies.parameters,
    "definitions-export": definitions.export,
    "definitions-import": definitions.imports,
    "connections": connections.connections,
    "connections-idle": connections.blocked,
    "paging": lists.paging,
    "columns": lists.columns,
    "rates": lists.rates,
    "stats-off": configured.stats_off,
    "totals-only": configured.stats_off,
    "prefix": configured.prefix,
}


def settings_of(scenario: str) -> tuple[str, ...]:
    """The lines that its broker's configuration has more."""
    return configured.SETTINGS.get(scenario, ())

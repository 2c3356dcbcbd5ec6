"""The API as an OpenAPI document (https://spec.openapis.org/oas/v3.1.0), made of the routes and of what shapes say of themselves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from broker import identity
from broker.admin import figures, schemas
from broker.admin.resources import (
    auth,
    cluster,
    control,
    definitions,
    features,
    health,
    limits,
    messages,
    nodes,
    overview,
    parameters,
    policies,
    vhosts,
)
from broker.admin.routing import Access
from broker.admin.shapes import binding, connection, consumer, exchange, message, node, queue, stats, user, vhost
from broker.admin.shapes import inspection as inspection_shapes

if TYPE_CHECKING:
    from broker.admin.routing import Route

_MODULES: Final = (
    auth, binding, cluster, connection, consumer, control, definitions, exchange, features, figures, health, inspection_shapes, limits,
    message, messages, node, nodes, overview, parameters, policies, queue, stats, user, vhost, vhosts,
)  # fmt: skip
"""Those that have SCHEMAS."""
_NAME: Final = re.compile(r"\{(\w+)\}")
_SCHEMAS: Final = {
    "Error": {"error": "string!", "reason": "string|[string]!"},
    "Page": {"total_count item_count filtered_count page page_size page_count": "integer!"},
}
_NAMES: Final = {
    "application": "An application of RabbitMQ's: rabbit.",
    "channel": "A channel by its name: the connection's, and its number in parentheses.",
    "component": "What the parameter is of, such as vhost-limits.",
    "connection": "A connection by its name.",
    "destination": "A queue or an exchange.",
    "endpoint": "per-object, detailed or memory-breakdown.",
    "exchange": "An exchange; amq.default is the one without a name.",
    "file": "The name of a file.",
    "kind": "What the destination is: q, a queue, or e, an exchange.",
    "node": "The node, as GET /api/overview has it.",
    "pattern": "A regular expression.",
    "properties_key": "A binding's properties_key.",
    "source": "An exchange; amq.default is the one without a name.",
    "unit": "days, weeks, months or years.",
    "vhost": "A virtual host; %2F is /.",
    "within": "How many of the unit.",
}
_STATUSES: Final = {
    200: "Here it is.",
    201: "It is new.",
    204: "Done.",
    301: "See Location.",
    303: "Done; see Location.",
    400: "What was sent makes no sense.",
    401: "Log in, or ask somebody who may.",
    403: "A page of another origin may change nothing.",
    404: "Something in the path isn't there.",
    412: "Something stands in the way.",
    415: "What was sent is of a kind that isn't taken.",
    500: "The message store failed: nothing more can be made durable until a restart.",
    503: "Not now; the body says why.",
}
_USUAL: Final = {"GET": (200,), "PUT": (201, 204), "DELETE": (204,)}
_DESCRIPTION: Final = """\
The management API of RabbitMQ {version}, and what Leveret has beside it under /api/leveret.

Bodies are taken as RabbitMQ takes them: "true" is as good as true, "1" as 1, no body as an empty object, and fields that nobody asked for
are passed over. Of answers, only fields that can't be left out by `columns` and `disable_stats` are marked as required."""


def document(version: str, path_prefix: str) -> dict[str, Any]:
    """The whole document. `version` is that of the RabbitMQ that the broker behaves like."""
    from broker.admin.routes import ROUTES

    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    named = _SCHEMAS | {name: fields for module in _MODULES for name, fields in module.SCHEMAS.items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Leveret HTTP API",
            "version": identity.LEVERET_VERSION,
            "description": _DESCRIPTION.format(version=version),
        },
        "servers": [{"url": path_prefix or "/"}],
        "security": [{"basic": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"basic": {"type": "http", "scheme": "basic"}},
            "schemas": {name: schemas.of_fields(fields) for name, fields in sorted(named.items())},
        },
    }


def operation_id(route: Route) -> str:
    """A name for one method of one path."""
    words = [word for part in route.path.split("/") if (word := re.sub(r"\W+", "_", part).strip("_"))]
    return "_".join([route.method.lower(), *words])


def success_of(route: Route) -> tuple[int, ...]:
    """The statuses that say that it worked."""
    return route.statuses or _USUAL.get(route.method) or ((200,) if route.shows else (204,))


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": operation_id(route),
        "summary": route.summary,
        "x-access": route.access.value,
        "responses": {str(status): _response(route, status) for status in sorted({*success_of(route), *_refusals(route)})},
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": schemas.of("string"), "description": _NAMES.get(name, f"A {name}.")}
        for name in _NAME.findall(route.path)
    ]
    for place, given in (("query", route.query), ("header", route.headers)):
        for name, text in (given or {}).items():
            kind, _, description = text.partition(": ")
            parameters.append({"name": name, "in": place, "schema": schemas.of(kind), "description": description})
    if parameters:
        operation["parameters"] = parameters
    if route.body:
        content = {kind: {"schema": schemas.of_fields(route.body)} for kind in route.body_types}
        operation["requestBody"] = {"required": any(kind.endswith("!") for kind in route.body.values()), "content": content}
    if route.access is Access.ANYBODY:
        operation["security"] = []
    return operation


def _refusals(route: Route) -> set[int]:
    """What it may answer with beside success: what follows from what it is, and what it says itself."""
    found = set(route.refusals)
    if route.access is not Access.ANYBODY:
        found.add(401)
    if _NAME.search(route.path):
        found.add(404)
    if route.query or route.method != "GET":
        found.add(400)
    if route.method != "GET":
        found |= {403, 500}
    return found


def _response(route: Route, status: int) -> dict[str, Any]:
    response: dict[str, Any] = {"description": _STATUSES[status]}
    if status in (301, 303):
        response["headers"] = {"Location": {"schema": {"type": "string"}}}
    elif status == 200 and "/" in route.shows:
        response["content"] = {route.shows: {"schema": {"type": "string"}}}
    elif status == 200 and route.shows:
        response["content"] = {"application/json": {"schema": _shown(route)}}
    elif status >= 400:
        error = "Health" if status == 503 and route.shows == "Health" else "Error"
        response["content"] = {"application/json": {"schema": schemas.of(error)}}
        if "/" in route.shows:
            response["content"]["text/plain"] = {"schema": {"type": "string"}}
    return response


def _shown(route: Route) -> dict[str, Any]:
    """The schema of what is answered; of a list that has pages, that of one of them too."""
    items = schemas.of(route.shows)
    if "page" not in (route.query or {}):
        return items
    page = {"allOf": [schemas.of("Page"), {"type": "object", "properties": {"items": items}, "required": ["items"]}]}
    return {"anyOf": [items, page]}

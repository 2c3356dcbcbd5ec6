"""The API as an OpenAPI document (https://spec.openapis.org/oas/v3.1.0), made of the routes, so that it can't say anything else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from broker import identity
from broker.admin.routing import Access

if TYPE_CHECKING:
    from broker.admin.context import Context
    from broker.admin.routing import Route

_NAME: Final = re.compile(r"\{(\w+)\}")
_ERROR: Final = {
    "type": "object",
    "required": ["error", "reason"],
    "properties": {"error": {"type": "string"}, "reason": {"type": ["string", "array"]}},
}
_NAMES: Final = {
    "vhost": "A virtual host; %2F is /.",
    "exchange": "An exchange; amq.default is the one without a name.",
    "source": "An exchange; amq.default is the one without a name.",
    "props": "A binding's properties_key.",
}
_LIST: Final = {
    "columns": "Parts of each item, separated by commas; a dot leads deeper.",
    "sort": "A column to sort by.",
    "sort_reverse": "true: the other way round.",
    "page": "A page of the list, from 1.",
    "page_size": "Items on a page, 500 at the most.",
    "name": "With page: only items whose name contains this.",
    "use_regex": "true: that is a regular expression.",
}


def document(context: Context) -> dict[str, Any]:
    """The whole document."""
    from broker.admin.routes import ROUTES

    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Leveret HTTP API",
            "version": identity.LEVERET_VERSION,
            "description": f"RabbitMQ {context.node.version}'s management API, and what Leveret has beside it under /api/leveret.",
        },
        "servers": [{"url": context.config.management.path_prefix.rstrip("/") or "/"}],
        "security": [{"basic": []}],
        "paths": paths,
        "components": {"securitySchemes": {"basic": {"type": "http", "scheme": "basic"}}, "schemas": {"Error": _ERROR}},
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": operation_id(route),
        "summary": route.summary,
        "x-access": route.access.value,
        "responses": _responses(route),
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "description": _NAMES.get(name, f"A {name}.")}
        for name in _NAME.findall(route.path)
    ]
    if route.is_list:
        parameters += [
            {"name": name, "in": "query", "required": False, "schema": {"type": "string"}, "description": text}
            for name, text in _LIST.items()
        ]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {"required": False, "content": {"application/json": {"schema": _schema(route.body)}}}
    if route.access is Access.ANYBODY:
        operation["security"] = []
    return operation


def operation_id(route: Route) -> str:
    """A name for one method of one path."""
    words = [word for part in route.path.split("/") if (word := re.sub(r"\W+", "_", part).strip("_"))]
    return "_".join([route.method.lower(), *words])


def _responses(route: Route) -> dict[str, Any]:
    error = {"description": "Why not.", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    done = {"description": "Done."}
    responses: dict[str, Any] = {"200": {"description": "Here it is."}} if route.method in ("GET", "POST") else {}
    if route.method in ("PUT", "POST"):
        responses |= {"201": {"description": "It is new."}}
    if route.method != "GET":
        responses |= {"204": done, "400": error}
    if route.access is not Access.ANYBODY:
        responses["401"] = {"description": "Log in, or ask somebody who may."}
    return responses | {"4XX": error, "503": error}


def _schema(body: dict[str, str]) -> dict[str, Any]:
    """A schema of an object, by the names and types of its fields (`durable`: `boolean`); a type with `!` is required."""
    return {
        "type": "object",
        "properties": {name: {} if kind.rstrip("!") == "any" else {"type": kind.rstrip("!")} for name, kind in body.items()},
        "required": [name for name, kind in body.items() if kind.endswith("!")],
    }

"""The OpenAPI document says what the API does: a broker with one of everything is asked everything, and what it answers is compared."""

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from broker.admin.openapi import success_of
from broker.admin.routes import ROUTES
from broker.admin.routing import Route
from tests.admin.client import Answer
from tests.admin.everything import MAKING, UNMAKING, VHOST, Scene, Step
from tests.admin.telltale import Read, Telltale

QUERIES = {
    "columns": "name,message_stats,items",
    "sort": "name",
    "sort_reverse": "true",
    "page": "1",
    "page_size": "10",
    "name": "w",
    "use_regex": "true",
    "disable_stats": "false",
    "state": "ready",
    "limit": "10",
    "offset": "0",
    "filter": "h",
    "truncate": "100",
    "encoding": "auto",
    "vhost": VHOST,
    "exchange": "trades",
    "routing_key": "eu.x",
    "headers": '{"a": 1}',
    "download": "all.json",
    "memory": "true",
    "family": "queue_metrics",
    "queue": "w",
} | {
    f"{table}_{name}": str(number)
    for table in ("lengths", "msg_rates", "data_rates", "node_stats")
    for name, number in (("age", 60), ("incr", 5))
}
"""What is sent for each parameter; others are sent as true."""
EXTRA = (
    (f"/api/leveret/queues/{VHOST}/busy/messages", {"state": "unacked"}),
    (f"/api/leveret/queues/{VHOST}/work/messages", {"encoding": "base64"}),
    (f"/api/leveret/route?vhost={VHOST}&exchange=trades&routing_key=ue.x", {}),
    (f"/api/queues/{VHOST}/private", {}),
    (f"/api/queues/{VHOST}/quorum", {}),
    (f"/api/queues/{VHOST}/one-by-one", {}),
    (f"/api/exchanges/{VHOST}/later", {}),
    ("/api/queues", {"columns": "name,message_stats.publish", "page": "1"}),
    ("/api/queues", {"disable_stats": "true", "enable_queue_totals": "true"}),
    ("/api/overview", {"disable_stats": "true"}),
    ("/api/health/checks/port-listener/1", {}),
    ("/api/health/checks/protocol-listener/amqp,nothing", {}),
    ("/metrics/detailed", {"family": "queue_metrics", "vhost": VHOST, "queue": "w"}),
)
"""What has fields, or reads parameters, that one question for each route doesn't show."""
REFUSED = (
    ("GET", "/api/queues/{vhost}/{name}", f"/api/queues/{VHOST}/nothing", 404),
    ("GET", "/api/queues", "/api/queues?page=0", 400),
    ("GET", "/api/users/{user}", "/api/users/nobody", 404),
    ("GET", "/metrics/{endpoint}", "/metrics/nothing", 404),
    ("GET", "/api/health/checks/certificate-expiration/{within}/{unit}", "/api/health/checks/certificate-expiration/1/moons", 400),
    ("PUT", "/api/policies/{vhost}/{name}", f"/api/policies/{VHOST}/p", 400),
    ("POST", "/api/login", "/api/login", 401),
    ("POST", "/api/definitions", "/api/definitions", 415),
    ("POST", "/api/bindings/{vhost}/e/{source}/{kind}/{destination}", f"/api/bindings/{VHOST}/e/amq.topic/q/nothing", 404),
)
"""What is refused, with which status. What is sent is an empty text."""
UNSEEN = {
    "WhoAmI.login_session_timeout": "only where management.login_session_timeout is set",
    "Health.alarms": "only with an alarm",
    "Health.expired": "only with a certificate that ends",
    "Health.reasons": "only while starting, or after the store failed",
    "Health.connections": "only with as many connections as may be",
    "SeenMessage.due_at": "only of delayed messages",
    "ChannelInDetail.idle_since": "only after some time",
    "QueueInDetail.idle_since": "only after some time",
}
"""Fields that a healthy broker doesn't show in a second, and why."""


class Asked(NamedTuple):
    """One request, and what came of it."""

    route: Route
    path: str
    body: Any
    media: str
    answer: Answer


class Found(NamedTuple):
    """What came of it all."""

    document: dict[str, Any]
    asked: list[Asked]
    reads: set[Read]


@pytest.fixture(scope="module")
def found() -> Iterator[Found]:
    """Everything that there is was made, asked for, and taken away again."""
    routes = {(route.method, route.path): route for route in ROUTES}
    asked: list[Asked] = []
    with Telltale() as broker, broker.api() as api:
        document = api.get("/api/openapi.json")
        scene = Scene(broker)
        scene.names["node"] = api.get("/api/overview")["node"]

        def do(step: Step) -> None:
            path = scene.path(step.path, **step.names)
            answer = api.ask(step.method, path, step.body, headers={"Content-Type": step.media})
            assert answer.status < 400, (step, answer)
            asked.append(Asked(routes[step.method, step.path], path, step.body, step.media, answer))

        def get(route: Route, path: str, query: dict[str, str]) -> None:
            asked.append(Asked(route, path, None, "", api.ask("GET", f"{path}?{urlencode(query)}" if query else path)))

        for step in MAKING:
            do(step)
        with scene.clients():
            for route in ROUTES:
                if route.method == "GET":
                    get(route, scene.path(route.path), {})
                    if route.query:
                        query = {name: QUERIES.get(name, "true") for name in route.query if name != "columns"}
                        get(route, scene.path(route.path), query)
            for path, query in EXTRA:
                get(_route_of(path.partition("?")[0]), path, query)
            for method, route, path, status in REFUSED:
                refused = Asked(routes[method, route], path, None, "", api.ask(method, path, headers={"Content-Type": "text/plain"}))
                assert refused.answer.status == status, refused
                asked.append(refused)
            for step in UNMAKING:
                do(step)
        yield Found(document, asked, broker.reads())


def _route_of(path: str) -> Route:
    from broker.admin.routing import Router

    return Router(ROUTES).find("GET", path)[0]


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


# --- the document -----------------------------------------------------------------------------------------------------


def test_it_is_valid_openapi(found: Found) -> None:
    validate(found.document)


def test_every_route_is_described() -> None:
    assert not [name_of(route) for route in ROUTES if not route.summary], "the first line of a handler's docstring is its summary"
    assert not [name_of(route) for route in ROUTES if route.method in ("PUT", "POST") and route.body is None], "a body, or NO_BODY"
    assert not [name_of(route) for route in ROUTES if route.method == "GET" and not route.shows and 200 in success_of(route)], "shows=..."


# --- what it says -----------------------------------------------------------------------------------------------------


def test_every_route_was_asked(found: Found) -> None:
    missed = {name_of(route) for route in ROUTES} - {name_of(each.route) for each in found.asked}
    assert not missed


def test_each_status_of_success_is_documented_and_occurs(found: Found) -> None:
    seen: dict[str, set[int]] = {}
    for each in found.asked:
        if each.answer.status < 400:
            seen.setdefault(name_of(each.route), set()).add(each.answer.status)
    documented = {name_of(route): set(success_of(route)) for route in ROUTES}
    wrong = {name: (statuses, documented[name]) for name, statuses in seen.items() if statuses != documented[name]}
    assert not wrong, "what came, and what is documented"


def test_handlers_read_what_is_documented_and_no_more(found: Found) -> None:
    documented = {(route.method, route.path, "query", name) for route in ROUTES for name in route.query or ()}
    documented |= {(route.method, route.path, "body", name) for route in ROUTES for names in route.body or () for name in names.split()}
    by_hand = {"/api/login", "/api/definitions", "/api/definitions/{vhost}", "/api/all-configuration"}
    assert not {each for each in found.reads if each not in documented}, "read, but not in `query` or `body` of the route"
    unread = {each for each in documented - found.reads if each[1] not in by_hand or each[2] == "query"}
    assert unread == {("PUT", "/api/users/{user}", "body", name) for name in ("limits", "hashing_algorithm")}, "read in other ways"


def test_bodies_that_work_are_as_documented(found: Found) -> None:
    for each in found.asked:
        if each.route.body and isinstance(each.body, dict):
            operation = found.document["paths"][each.route.path][each.route.method.lower()]
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            complaints = list(Differences(found.document).of(schema, each.body, name_of(each.route)))
            assert not complaints, (each.path, complaints)


def test_answers_are_as_documented_field_by_field(found: Found) -> None:
    differences = Differences(found.document)
    complaints = []
    for each in found.asked:
        operation = found.document["paths"][each.route.path][each.route.method.lower()]
        described = operation["responses"][str(each.answer.status)].get("content", {})
        kind = each.answer.headers.get("content-type", "").partition(";")[0]
        if not each.answer.body:
            assert not described or each.answer.status == 401, each.path
        elif kind == "application/json":
            complaints += [f"{name_of(each.route)}: {text}" for text in differences.of(described[kind]["schema"], each.answer.json, "")]
        else:
            assert kind in described or f"{kind.partition('/')[0]}/*" in described, (each.path, kind)
    assert not complaints, "\n".join(sorted(set(complaints)))
    unseen = {f"{name}.{field}" for name, fields in differences.seen.items() for field, was_seen in fields.items() if not was_seen}
    assert not unseen - UNSEEN.keys(), "documented fields that no answer had"


class Differences:
    """Between values and schemas; and which fields of the named schemas were ever there."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._components = document["components"]
        self.seen = {name: dict.fromkeys(schema["properties"], False) for name, schema in self._components["schemas"].items()}

    def of(self, schema: dict[str, Any], value: Any, where: str) -> Iterator[str]:
        """What doesn't fit, and fields that the schema doesn't have."""
        for error in self._validator(schema).iter_errors(value):
            yield f"{where}{error.json_path}: {error.message[:200]}"
        yield from self._unknown([schema], value, where)

    def _validator(self, schema: dict[str, Any]) -> Draft202012Validator:
        return Draft202012Validator(schema | {"components": self._components})

    def _unknown(self, schemas: list[dict[str, Any]], value: Any, where: str) -> Iterator[str]:
        """`schemas` hold all at once."""
        parts = [part for schema in schemas for part in self._parts(schema, value)]
        if isinstance(value, list):
            items = [part["items"] for _, part in parts if "items" in part]
            for each in value if items else ():
                yield from self._unknown(items, each, f"{where}[]")
        if not isinstance(value, dict) or not any("properties" in part or "additionalProperties" in part for _, part in parts):
            return
        for key, inner in value.items():
            below = [part["properties"][key] for _, part in parts if key in part.get("properties", {})]
            for name, part in parts:
                if name and key in part.get("properties", {}):
                    self.seen[name][key] = True
            below += [part["additionalProperties"] for _, part in parts if "additionalProperties" in part]
            if below:
                yield from self._unknown(below, inner, f"{where}.{key}")
            else:
                yield f"{where}.{key} is not documented"

    def _parts(self, schema: dict[str, Any], value: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        """What a schema consists of, as far as it is about the value, with the names of those that have one."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            yield from self._parts(self._components["schemas"][name], value, name)
        elif "allOf" in schema:
            for each in schema["allOf"]:
                yield from self._parts(each, value)
        elif "anyOf" in schema:
            for each in schema["anyOf"]:
                if self._validator(each).is_valid(value):
                    yield from self._parts(each, value)
                    return
        else:
            yield name, schema

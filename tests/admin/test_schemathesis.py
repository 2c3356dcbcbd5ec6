"""Schemathesis over the OpenAPI document: whatever is sent, the broker answers as documented, never with 500, and its log has no bug in it.

What is sent is the same in each run. Half of the names in paths are those of things that are there.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis.strategies import sampled_from
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from broker.admin.routes import ROUTES
from broker.admin.routing import Route
from tests.admin.everything import GRANT, MAKING, Scene, put
from tests.admin.served import Served
from tests.runtime.process import NEVER_IN_A_LOG

USER = "fuzzer"
"""A second administrator: what is deleted by its name is guest, and whoever else there is."""
EXCLUDED = {
    "/api/leveret/ctl/stop": "the broker would be gone",
    "/api/leveret/ctl/suspend": "the AMQP clients would be gone",
    "/api/leveret/ctl/log-level": "nothing would stand in the log",
}
REFUSED = {
    "DELETE /api/topic-permissions/{vhost}/{user}/{exchange}",
    "POST /api/leveret/ctl/reset",
    "POST /api/leveret/queues/{vhost}/{name}/move",
    "POST /api/login",
    "PUT /api/exchanges/{vhost}/{exchange}",
    "PUT /api/operator-policies/{vhost}/{name}",
    "PUT /api/policies/{vhost}/{name}",
    "PUT /api/queues/{vhost}/{name}",
    "PUT /api/users/{user}",
}
"""What few requests made at random do: passwords, types of exchanges and definitions of policies are more than the document says."""
ORDER = ("GET", "POST", "PUT", "DELETE")
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
AGAIN = ("/api/vhosts", "/api/users", "/api/queues", "/api/exchanges", "/api/bindings")
REMADE = [
    MAKING[0],
    put("/api/permissions/{vhost}/{user}", GRANT, user=USER),
    *(step for step in MAKING[1:20] if step.path.startswith(AGAIN)),
]
"""What is made again before something may delete it."""
FEW, MANY = 3, 60
"""Requests for each route."""
TIMEOUT_SECONDS = 20.0
CHOSEN = sorted((route for route in ROUTES if route.path not in EXCLUDED), key=lambda route: ORDER.index(route.method))


class Fuzzed(NamedTuple):
    """A broker, the operations of its API by method and path, and who asks."""

    scene: Scene
    url: str
    operations: dict[tuple[str, str], Any]
    session: requests.Session
    asked: set[str]
    succeeded: set[str]
    """Methods and paths of what was asked, and of what was answered with success."""


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Fuzzed]:
    with Served() as broker, broker.api() as api, requests.Session() as session:
        assert api.do("PUT", f"/api/users/{USER}", {"password": USER, "tags": "administrator"}) == 201
        session.auth = (USER, USER)
        scene = Scene(broker)
        for step in MAKING:
            if "{node}" not in step.path:
                assert (
                    api.ask(step.method, scene.path(step.path, **step.names), step.body, headers={"Content-Type": step.media}).status < 400
                )
        assert api.do("PUT", scene.path("/api/permissions/{vhost}/{user}", user=USER), GRANT) == 201
        document = api.get("/api/openapi.json")
        with scene.clients():
            schema = schemathesis.openapi.from_dict(document)
            schema.config.generation.update(with_security_parameters=False)  # each request is the administrator's
            operations = [found.ok() for found in schema.get_all_operations()]
            by_route = {(each.method.upper(), each.path): each for each in operations}
            yield Fuzzed(scene, f"http://{broker.host}:{broker.http_port}", by_route, session, set(), set())
        found = NEVER_IN_A_LOG.search(broker.log)
        assert found is None, broker.log[found.start() - 200 : found.start() + 4000]


def _fuzz(fuzzed: Fuzzed, route: Route, mode: GenerationMode, examples: int) -> None:
    operation = fuzzed.operations[route.method, route.path]
    if route.method != "GET":
        _make_again(fuzzed)

    there = _names_of_what_is_there(fuzzed.scene, route)

    # The first of what is sampled from comes first.
    @given(case=operation.as_strategy(generation_mode=mode), is_there=sampled_from((True, True, False)))
    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Case, is_there: bool) -> None:
        if is_there:
            case.path_parameters.update(there)
        # Values in paths that aren't texts aren't quoted, and what comes behind these two is no path.
        assume(not {"#", "?"} & set(case.formatted_path))
        response = case.call(base_url=fuzzed.url, session=fuzzed.session, allow_redirects=False, timeout=TIMEOUT_SECONDS)
        assert response.status_code != 500, response.text
        case.validate_response(response, checks=CHECKS)
        fuzzed.asked.add(name_of(route))
        if response.status_code < 400:
            fuzzed.succeeded.add(name_of(route))

    ask()


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


def _names_of_what_is_there(scene: Scene, route: Route) -> dict[str, str]:
    """For the names in its path."""
    names = [segment[1:-1] for segment in route.path.split("/") if segment.startswith("{")]
    return {name: unquote(scene.path(f"{route.path}#{{{name}}}").partition("#")[2]) for name in names}


def _make_again(fuzzed: Fuzzed) -> None:
    with fuzzed.scene.broker.api(USER, USER) as api:
        for step in REMADE:
            api.ask(step.method, fuzzed.scene.path(step.path, **step.names), step.body)


each_route = pytest.mark.parametrize("route", CHOSEN, ids=name_of)
each_route_with_data = pytest.mark.parametrize("route", [route for route in CHOSEN if route.query or route.body], ids=name_of)


@each_route
def test_what_is_asked_for_properly(fuzzed: Fuzzed, route: Route) -> None:
    _fuzz(fuzzed, route, GenerationMode.POSITIVE, FEW)


@each_route_with_data
def test_what_makes_no_sense(fuzzed: Fuzzed, route: Route) -> None:
    _fuzz(fuzzed, route, GenerationMode.NEGATIVE, FEW)


def test_much_of_that_worked(fuzzed: Fuzzed) -> None:
    """Or else this would be about refusals alone."""
    assert fuzzed.asked - fuzzed.succeeded <= REFUSED


@pytest.mark.soak
@each_route
def test_much_that_is_asked_for_properly(fuzzed: Fuzzed, route: Route) -> None:
    _fuzz(fuzzed, route, GenerationMode.POSITIVE, MANY)


@pytest.mark.soak
@each_route_with_data
def test_much_that_makes_no_sense(fuzzed: Fuzzed, route: Route) -> None:
    _fuzz(fuzzed, route, GenerationMode.NEGATIVE, MANY)

"""From paths to routes (broker.admin.routing)."""

import pytest

from broker.admin.errors import MethodNotAllowed, NoSuchObject
from broker.admin.routes import ROUTES
from broker.admin.routing import Access, Route, Router


def handler(call: object) -> None:
    """Does nothing.

    More of it.
    """


def make(*paths: str) -> Router:
    return Router([Route(*path.split(" "), handler) for path in paths])


ROUTER = make("GET /api/queues", "GET /api/queues/{vhost}", "GET /api/queues/detailed", "PUT /api/queues/{vhost}/{name}", "GET /")


@pytest.mark.parametrize(
    ("path", "route", "names"),
    [
        ("/api/queues", "/api/queues", {}),
        ("/api/queues/", "/api/queues", {}),
        ("/api/queues/%2F", "/api/queues/{vhost}", {"vhost": "/"}),
        ("/api/queues/%2F/", "/api/queues/{vhost}", {"vhost": "/"}),
        ("/api/queues/detailed", "/api/queues/detailed", {}),
        ("/api/queues/a+b%20c", "/api/queues/{vhost}", {"vhost": "a+b c"}),
        ("/api/queues/a%2Bb", "/api/queues/{vhost}", {"vhost": "a+b"}),
        ("/api/queues/%C3%A4", "/api/queues/{vhost}", {"vhost": "ä"}),
        ("/api/queues/%ff", "/api/queues/{vhost}", {"vhost": "\udcff"}),
        ("/api/queues/%", "/api/queues/{vhost}", {"vhost": "%"}),
        ("/", "/", {}),
    ],
)
def test_names_are_decoded_after_the_path_was_cut(path: str, route: str, names: dict[str, str]) -> None:
    found, values = ROUTER.find("GET", path)
    assert (found.path, values) == (route, names)


def test_a_word_that_is_spelled_out_is_still_a_name_deeper_down() -> None:
    assert ROUTER.find("PUT", "/api/queues/detailed/q")[1] == {"vhost": "detailed", "name": "q"}


@pytest.mark.parametrize("path", ["/api", "/api/queues//", "/api/queues/a/b/c", "/api//queues", "", "/apiqueues"])
def test_other_paths_lead_nowhere(path: str) -> None:
    with pytest.raises(NoSuchObject):
        ROUTER.find("GET", path)


def test_methods() -> None:
    assert ROUTER.find("HEAD", "/api/queues")[0].method == "GET"
    assert ROUTER.allowed("/api/queues") == ("HEAD", "GET", "OPTIONS")
    with pytest.raises(MethodNotAllowed) as refused:
        ROUTER.find("DELETE", "/api/queues/%2F/q")
    assert refused.value.allowed == ("PUT", "OPTIONS")


def test_two_routes_for_one_path_are_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"two routes for GET /api/\{b\}"):
        make("GET /api/{a}", "GET /api/{b}")


def test_a_route_has_one_line_of_what_it_does() -> None:
    assert Route("GET", "/", handler, Access.ANYBODY).summary == "Does nothing."
    assert all(route.summary.endswith(".") for route in ROUTES), [route for route in ROUTES if not route.summary.endswith(".")]

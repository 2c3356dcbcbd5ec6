"""Another server decides (auth_backends = http), and is asked no more than a request needs: it may be slow, and each question is one of its
requests."""

from collections.abc import Iterator

import pytest

from broker.config import ManagementOptions
from tests.admin.client import Http
from tests.admin.served import Asked
from tests.runtime.auth_server import Asking, AuthServer, Fields, config_for

VHOSTS = ("a", "b", "c")


class Deciding(Asked, Asking):
    """With guest of its own, and everybody else the server's."""


def answer(kind: str, fields: Fields) -> str:
    if kind == "user":
        return "allow management"
    return "allow" if fields.get("vhost") in ("a", "b") and fields.get("name") != "theirs" else "deny"


@pytest.fixture(scope="module")
def server() -> Iterator[AuthServer]:
    with AuthServer() as server:
        server.answer = answer
        yield server


@pytest.fixture(scope="module")
def somebody(server: AuthServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Http]:
    backends = (("internal", "internal"), ("http", "http"))
    config = config_for(server, backends=backends, management=ManagementOptions(port=0))
    with Deciding(tmp_path_factory.mktemp("deciding") / "config", config) as broker:
        for vhost in VHOSTS:
            broker.add_vhost(vhost)
        with broker.api("somebody", "secret") as api:
            yield api


def asked(server: AuthServer) -> list[str]:
    """Of what it was asked, what it was about."""
    return [" ".join((kind, *[fields[each] for each in ("vhost", "name") if each in fields])) for kind, fields in server.questions()]


def test_a_list_of_all_asks_about_each_vhost(server: AuthServer, somebody: Http) -> None:
    server.questions()
    assert {each["vhost"] for each in somebody.get("/api/exchanges")} == {"a", "b"}
    assert asked(server) == ["user", "vhost /", *[f"vhost {each}" for each in VHOSTS]]


@pytest.mark.parametrize(
    ("path", "about"),
    [
        ("/api/whoami", []),
        ("/api/health/checks/alarms", []),
        ("/api/connections", []),
        ("/api/queues/a", ["vhost a"]),
        ("/api/exchanges/a/amq.direct", ["vhost a"]),
        ("/api/queues/c", ["vhost c"]),
    ],
)
def test_what_is_about_one_vhost_or_none_asks_no_more(server: AuthServer, somebody: Http, path: str, about: list[str]) -> None:
    server.questions()
    assert somebody.do("GET", path) == (401 if about == ["vhost c"] else 200)
    assert asked(server) == ["user", *about]


def test_what_changes_something_is_decided_as_on_a_channel(server: AuthServer, somebody: Http) -> None:
    server.questions()
    assert somebody.do("PUT", "/api/queues/a/ours", {"durable": True}) == 201
    assert asked(server)[-1] == "resource a ours"
    assert somebody.do("PUT", "/api/queues/a/theirs", {}) == 401
    assert [each["name"] for each in somebody.get("/api/queues/a")] == ["ours"]

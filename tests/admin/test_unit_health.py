"""Health checks, logins counted, and what is asked of the cluster as a whole; what is quoted is RabbitMQ's."""

from typing import Any

import pytest

from broker.access import passwords
from tests.admin.client import NOBODY, Http
from tests.admin.served import Served
from tests.admin.test_unit_users import NOT_FOUND, ask, bad
from tests.runtime.process import soon
from tests.wire import Wire

OK = {"status": "ok"}
CHECKS = "/api/health/checks"
LEADERS = f"{CHECKS}/quorum-queues-without-elected-leaders"


@pytest.mark.parametrize(
    "check",
    [
        "alarms", "local-alarms", "virtual-hosts", "virtual-hosts/", "metadata-store/initialized", "metadata-store/initialized/with-data",
        "is-in-service", "below-node-connection-limit", "ready-to-serve-clients", "reached-target-cluster-size",
        "certificate-expiration/1/days", "certificate-expiration/3/Months", "quorum-queues-without-elected-leaders/all-vhosts",
        "quorum-queues-without-elected-leaders/all-vhosts/", "quorum-queues-without-elected-leaders/vhost/%2F",
        "quorum-queues-without-elected-leaders/vhost/%2F/pattern/^a", "quorum-queues-without-elected-leaders/all-vhosts/pattern/a.*",
    ],
)  # fmt: skip
def test_all_is_well(api: Http, check: str) -> None:
    assert api.get(f"{CHECKS}/{check}") == OK


@pytest.mark.parametrize("check", ["node-is-quorum-critical", "node-is-mirror-sync-critical"])
def test_there_is_one_node(api: Http, check: str) -> None:
    assert api.get(f"{CHECKS}/{check}") == {"status": "ok", "reason": "single node cluster"}


def test_ports(api: Http, served: Served) -> None:
    for port in (served.port, served.http_port):
        assert api.get(f"{CHECKS}/port-listener/{port}") == {"status": "ok", "port": port}
    status, answer = ask(api, "GET", f"{CHECKS}/port-listener/1")
    assert status == 503 and {served.port, served.http_port} <= set(answer.pop("ports"))
    assert answer == {"status": "failed", "reason": "No active listener", "missing": 1}
    assert ask(api, "GET", f"{CHECKS}/port-listener/x") == (400, bad("Invalid port"))


@pytest.mark.parametrize(("asked", "protocol"), [("amqp", "amqp"), ("AMQP091", "amqp"), ("http", "http"), ("management", "http")])
def test_protocols(api: Http, asked: str, protocol: str) -> None:
    assert api.get(f"{CHECKS}/protocol-listener/{asked}") == {"status": "ok", "protocol": protocol}


@pytest.mark.parametrize(("asked", "missing"), [("amqps", "amqp/ssl"), ("mqtt", "mqtt"), ("amqp,amqps,stomp", ["amqp/ssl", "stomp"])])
def test_protocols_that_are_not_served(api: Http, asked: str, missing: Any) -> None:
    """Several with commas are RabbitMQ 4's."""
    status, answer = ask(api, "GET", f"{CHECKS}/protocol-listener/{asked}")
    assert status == 503 and {"amqp", "http"} <= set(answer.pop("protocols"))
    assert answer == {"status": "failed", "reason": "No active listener", "missing": missing}


def test_several_protocols(api: Http) -> None:
    answer = api.get(f"{CHECKS}/protocol-listener/amqp,http")
    assert answer["status"] == "ok" and {"amqp", "http"} <= set(answer["protocols"])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (f"{CHECKS}/certificate-expiration/x/days", "Invalid expiration value."),
        (f"{CHECKS}/certificate-expiration/99999999999/years", "Invalid expiration value."),
        (f"{CHECKS}/certificate-expiration/1/foo", "Time unit not recognised. Supported units: days, weeks, months, years."),
    ],
)
def test_what_makes_no_sense(api: Http, path: str, reason: str) -> None:
    assert ask(api, "GET", path) == (400, bad(reason))
    assert api.ask("GET", f"{LEADERS}/all-vhosts/pattern/(").status == 400
    assert ask(api, "GET", f"{LEADERS}/vhost/nope") == ask(api, "GET", f"{CHECKS}/nope") == (404, NOT_FOUND)


def test_our_own_ask_for_no_login(api: Http) -> None:
    for path in ("/health", "/ready", "/health/"):
        assert api.ask("GET", path, credentials=NOBODY).json == OK


def test_aliveness(api: Http, served: Served) -> None:
    for _ in range(2):
        assert api.get("/api/aliveness-test/%2F") == OK
    assert ask(api, "GET", "/api/aliveness-test/nope") == (404, NOT_FOUND)
    assert api.get("/api/queues/%2F/aliveness-test")["messages"] == 0
    for path in ("/api/healthchecks/node", f"/api/healthchecks/node/{served.node}"):
        assert api.get(path) == OK
    assert ask(api, "GET", "/api/healthchecks/node/nope") == (404, NOT_FOUND)


class TestAttempts:
    def test_by_protocol_and_by_source(self, api: Http, served: Served) -> None:
        path = f"/api/auth/attempts/{served.node}"
        assert ask(api, "DELETE", path) == (204, None)
        api.ask("GET", "/api/whoami", credentials=("guest", "wrong"))
        api.ask("GET", "/api/whoami", credentials=("nobody", "x"))
        http = {"auth_attempts": 3, "auth_attempts_failed": 2, "auth_attempts_succeeded": 1}
        assert api.get(path) == [{"protocol": "http", **http}]
        by_source = {(each["username"], each["protocol"]): each for each in api.get(f"{path}/source")}
        assert by_source["nobody", "http"] == {
            "remote_address": "127.0.0.1",
            "username": "nobody",
            "protocol": "http",
            "auth_attempts": 1,
            "auth_attempts_failed": 1,
            "auth_attempts_succeeded": 0,
        }
        assert by_source["guest", "http"]["auth_attempts_failed"] == 1

    def test_what_is_not_allowed_counts_as_failed(self, api: Http, served: Served) -> None:
        path = f"/api/auth/attempts/{served.node}"
        api.ask("PUT", "/api/users/weak", {"tags": "management", "password": "x"})
        api.ask("DELETE", path)
        assert api.ask("GET", "/api/users", credentials=("weak", "x")).status == 401
        found = {each["username"]: each["auth_attempts_failed"] for each in api.get(f"{path}/source")}
        assert found["weak"] == 1

    def test_amqp(self, api: Http, served: Served) -> None:
        path = f"/api/auth/attempts/{served.node}"
        api.ask("DELETE", path)
        with Wire.connect(served) as wire:
            wire.close()
        with pytest.raises(Exception):  # noqa: B017
            Wire.connect(served, password="wrong")
        counted = {"protocol": "amqp091", "auth_attempts": 2, "auth_attempts_failed": 1, "auth_attempts_succeeded": 1}
        soon(lambda: counted in api.get(path))

    def test_of_no_node(self, api: Http) -> None:
        assert ask(api, "GET", "/api/auth/attempts/nope") == ask(api, "DELETE", "/api/auth/attempts/nope") == (404, NOT_FOUND)


class TestLogins:
    def test_a_form(self, api: Http) -> None:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        right = api.ask("POST", "/api/login", b"username=guest&password=guest", credentials=NOBODY, headers=form)
        assert (right.status, right.json) == (200, "ok")
        for body in (b"username=guest&password=wrong", b"username=guest", b"", b"\xff%"):
            wrong = api.ask("POST", "/api/login", body, credentials=NOBODY, headers=form)
            assert (wrong.status, wrong.json) == (401, {"error": "not_authorized", "reason": "Login failed"})
            assert wrong.headers["www-authenticate"] == 'Basic realm="RabbitMQ Management"'
        long = api.ask("POST", "/api/login", b"x" * 10_000, credentials=NOBODY, headers=form)
        assert (long.status, long.json) == (400, bad("Exceeded HTTP request body size limit"))
        api.ask("PUT", "/api/users/plain", {"tags": "", "password": "x"})
        plain = api.ask("POST", "/api/login", b"username=plain&password=x", credentials=NOBODY, headers=form)
        assert (plain.status, plain.json["reason"]) == (401, "Not management user")

    def test_how(self, api: Http) -> None:
        assert api.ask("GET", "/api/auth", credentials=NOBODY).json == {"oauth_enabled": False}

    def test_hashes(self, api: Http) -> None:
        for hashed in (
            api.get("/api/auth/hash_password/s%20e%C3%A9cret"),
            api.ask("POST", "/api/leveret/hash-password", {"password": "s eécret"}).json,
        ):
            assert passwords.is_password("s eécret".encode(), passwords.decode(hashed["ok"]))
        assert api.ask("POST", "/api/leveret/hash-password", {}).status == 400


class TestCluster:
    def test_small_things(self, api: Http, served: Served) -> None:
        assert api.get("/api/version") == api.get("/api/overview")["rabbitmq_version"]
        assert api.get("/api/extensions") == []
        for path in ("/api/reset", f"/api/reset/{served.node}"):
            assert ask(api, "DELETE", path) == (204, None)
        assert ask(api, "DELETE", "/api/reset/nope") == (404, NOT_FOUND)
        assert ask(api, "POST", "/api/rebalance/queues") == (204, None)

    @pytest.mark.parametrize(
        "path", ["shovels", "federation-links", "stream/connections", "stream/publishers", "stream/consumers", "traces"]
    )
    def test_plugins_that_are_not_here_have_nothing(self, api: Http, path: str) -> None:
        assert api.get(f"/api/{path}") == api.get(f"/api/{path}/%2F") == []
        assert ask(api, "GET", f"/api/{path}/nope") == (404, NOT_FOUND)

    def test_top(self, api: Http, served: Served) -> None:
        assert api.get(f"/api/top/{served.node}")["processes"] == []
        assert ask(api, "GET", "/api/top/nope") == (404, NOT_FOUND)

    def test_the_configuration(self, api: Http) -> None:
        answer = api.ask("GET", "/api/config/effective")
        lines = answer.body.decode().splitlines()
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert "heartbeat_seconds = 60" in lines and "management.port = 0" in lines and "default_pass = ***" in lines


@pytest.mark.parametrize("limit", ["memory-high-watermark", "disk-free-limit"])
@pytest.mark.parametrize("body", [{}, {"absolute": -1}, {"absolute": "1"}, {"absolute": 1e30}, {"relative": 1e308, "mem_relative": 1e308}])
def test_limits_that_are_none(api: Http, limit: str, body: dict[str, Any]) -> None:
    before = api.get("/api/nodes")
    assert ask(api, "PUT", f"/api/leveret/ctl/{limit}", body)[0] == 400
    assert [each["mem_limit"] for each in api.get("/api/nodes")] == [each["mem_limit"] for each in before]

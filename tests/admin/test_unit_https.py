"""The HTTP API over TLS: management.ssl.*, its older names, certificates that end, SIGHUP; and checks that fail."""

import base64
import http.client
import json
import re
import shutil
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.admin.client import Http
from tests.admin.served import Asked, Served
from tests.admin.test_unit_users import ask
from tests.oracle.leveret import Leveret
from tests.runtime.certificates import Authority
from tests.runtime.faulty import Faulty
from tests.runtime.process import log_lines, soon
from tests.wire import Wire

STARTED = re.compile(r"Management plugin: HTTPS listener started on port (\d+)")


class Secure(Leveret):
    """`settings` are lines of a configuration file."""

    def __init__(self, directory: Path, *settings: str) -> None:
        file = directory / "leveret.conf"
        file.write_text("\n".join(("prometheus.tcp.port = none", *settings)))
        super().__init__(arguments=("--config", str(file)))

    @property
    def https_port(self) -> int:
        return int(STARTED.findall(self.log)[-1])

    def connect(self, authority: Authority, certificate: Path | None = None) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=authority.file)
        if certificate is not None:
            context.load_cert_chain(certificate)
        return http.client.HTTPSConnection("localhost", self.https_port, timeout=10, context=context)

    def get(self, authority: Authority, path: str, certificate: Path | None = None) -> tuple[int, Any]:
        connection = self.connect(authority, certificate)
        try:
            connection.request("GET", path, headers={"Authorization": f"Basic {base64.b64encode(b'guest:guest').decode()}"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_certificates_in_use(tmp_path: Path, authority: Authority) -> None:
    """What the check tells of is what is presented, whatever lies in the files since; SIGHUP has them read again."""
    certfile = tmp_path / "server.pem"
    shutil.copy(authority.server("first"), certfile)
    settings = (f"management.ssl.certfile = {certfile}", f"management.ssl.cacertfile = {authority.file}", "management.ssl.port = 0")
    with Secure(tmp_path, *settings, "management.ssl.versions.1 = tlsv1.3") as broker:

        def serial() -> str:
            connection = broker.connect(authority)
            connection.connect()
            found = connection.sock.getpeercert()["serialNumber"]  # type: ignore[attr-defined]
            connection.close()
            return str(found)

        status, overview = broker.get(authority, "/api/overview")
        assert status == 200 and [each["protocol"] for each in overview["listeners"]].count("https") == 2
        assert "non-TLS" not in broker.log  # as in RabbitMQ, with TLS alone set up
        assert broker.get(authority, "/api/health/checks/protocol-listener/https") == (200, {"status": "ok", "protocol": "https"})

        first = serial()
        certfile.write_text("rubbish")
        for within in ("1/days", "2/weeks"):
            assert broker.get(authority, f"/api/health/checks/certificate-expiration/{within}") == (200, {"status": "ok"})
        status, answer = broker.get(authority, "/api/health/checks/certificate-expiration/990/years")
        assert (status, answer["status"], answer["reason"]) == (503, "failed", "Certificates expiring")
        (told, _) = answer["expired"]
        assert (told["protocol"], told["port"], told["certfile"]) == ("https", broker.https_port, str(certfile))
        assert (
            all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", end) for end in told["certfile_expires_on"]) and told["certfile_expires_on"]
        )

        broker._process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
        broker.wait_for_log(r"\[error\].*certificates are not reloaded.*management\.ssl\.certfile = .*no certificate")
        assert serial() == first
        shutil.copy(authority.server("second"), certfile)
        broker._process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
        broker.wait_for_log(r"\[info\].*certificates reloaded")
        assert serial() != first
        assert broker.get(authority, "/api/whoami")[0] == 200


def test_clients_with_certificates_by_the_older_names(tmp_path: Path, authority: Authority) -> None:
    settings = {
        "port": "0", "ssl": "true", "ssl_opts.certfile": authority.server("server"), "ssl_opts.cacertfile": authority.file,
        "ssl_opts.verify": "verify_peer", "ssl_opts.fail_if_no_peer_cert": "true", "ssl_opts.depth": "0",
    }  # fmt: skip
    with Secure(tmp_path, *(f"management.listener.{name} = {value}" for name, value in settings.items())) as broker:
        assert broker.get(authority, "/api/whoami", authority.client("c"))[0] == 200
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
            broker.get(authority, "/api/whoami")
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
            broker.get(authority, "/api/whoami", authority.client_below("d", 1))
        assert log_lines(broker, r"\[error\].*closing connection: .*longer than management\.listener\.ssl_opts\.depth = 0 allows")


def test_amqps_certificates_do_where_none_are_named(tmp_path: Path, authority: Authority) -> None:
    settings = ("listeners.tcp = none", "listeners.ssl.1 = 127.0.0.1:0", f"ssl_options.certfile = {authority.server('server')}")
    directory = tmp_path / "conf"
    directory.mkdir()
    file = directory / "leveret.conf"
    file.write_text("\n".join((*settings, "management.ssl.port = 0", "prometheus.tcp.port = none")))
    broker = Secure(tmp_path)
    broker.arguments = ("--config", str(file))
    with broker:
        assert broker.get(authority, "/api/whoami")[0] == 200


class FaultyServed(Faulty, Asked):
    """A disk that may fail, and one connection."""

    def __init__(self, directory: Path) -> None:
        file = directory / "leveret.conf"
        file.write_text("connection_max = 1\n")
        super().__init__(directory, arguments=("--http-port", "0", "--config", str(file)))


def test_checks_that_fail(tmp_path: Path) -> None:
    with FaultyServed(tmp_path) as faulty, faulty.api() as api:
        node = faulty.node
        assert ask(api, "GET", "/health") == ask(api, "GET", "/ready") == (200, {"status": "ok"})
        faulty.fault("free 1000")
        soon(lambda: api.ask("GET", "/api/health/checks/alarms").status == 503)
        alarms = [{"resource": "disk space", "node": node}]
        reasons = {"alarms": "There are alarms in effect in the cluster", "local-alarms": "There are alarms in effect on the node"}
        for check, reason in reasons.items():
            assert ask(api, "GET", f"/api/health/checks/{check}") == (503, {"status": "failed", "reason": reason, "alarms": alarms})
        assert ask(api, "GET", "/api/healthchecks/node")[0] == 503
        assert ask(api, "GET", "/ready") == (200, {"status": "ok"})  # consumers are still served
        faulty.fault("")
        soon(lambda: api.ask("GET", "/api/health/checks/alarms").status == 200)

        with Wire.connect(faulty) as wire:
            full = {"status": "failed", "reason": "node connection limit is reached"}
            assert ask(api, "GET", "/api/health/checks/below-node-connection-limit") == (503, full)
            assert ask(api, "GET", "/api/health/checks/ready-to-serve-clients") == (503, {**full, "connections": 1})
            wire.close()
        soon(lambda: api.ask("GET", "/api/health/checks/below-node-connection-limit").status == 200)

        assert api.ask("PUT", "/api/queues/%2F/q", {"durable": True}).status == 201
        faulty.fault("write_synced EIO", "write EIO", "sync EIO")
        message = {"properties": {"delivery_mode": 2}, "routing_key": "q", "payload": "lost", "payload_encoding": "string"}
        api.ask("POST", "/api/exchanges/%2F/amq.default/publish", message)
        soon(lambda: api.ask("GET", "/ready").status == 503)
        refused = api.ask("PUT", "/api/vhosts/lost")
        assert (refused.status, refused.json["error"]) == (500, "internal_server_error")
        reason = "the message store failed, and nothing more can be made durable until a restart"
        assert ask(api, "GET", "/ready") == (503, {"status": "failed", "reason": reason, "reasons": [reason]})
        assert ask(api, "GET", "/health") == (200, {"status": "ok"})


def test_a_broker_that_stops_is_not_ready() -> None:
    """It still answers while it waits for the peers' close-ok."""
    with Served() as broker, broker.api() as api, Wire.connect(broker) as silent:
        assert api.ask("GET", "/ready").status == 200
        broker._process.send_signal(signal.SIGTERM)  # type: ignore[union-attr]
        soon(lambda: api.ask("GET", "/ready").status == 503)
        assert ask(api, "GET", "/ready")[1]["reasons"] == ["AMQP is not served (the broker is starting or stopping)"]
        assert ask(api, "GET", "/api/health/checks/is-in-service")[0] == 503
        assert ask(api, "GET", "/api/health/checks/ready-to-serve-clients")[0] == 503
        silent.close()


@pytest.fixture(scope="module")
def open_to_pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """To those of one other origin."""
    file = tmp_path_factory.mktemp("pages") / "leveret.conf"
    file.write_text("management.cors.allow_origins.1 = https://a.example\nmanagement.login_session_timeout = 5\n")
    with Served("--config", str(file)) as broker:
        yield broker


def test_pages_of_other_origins(open_to_pages: Served) -> None:
    with open_to_pages.api() as api:
        allowed = api.ask("OPTIONS", "/api/whoami", headers={"Origin": "https://a.example"})
        assert allowed.headers["access-control-allow-origin"] == "https://a.example"
        assert allowed.headers["access-control-max-age"] == "1800"
        other = api.ask("GET", "/api/whoami", headers={"Origin": "https://b.example"})
        assert "access-control-allow-origin" not in other.headers
        assert other.json["login_session_timeout"] == 5


OTHER = "https://b.example"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 204),  # no browser
        ({"Origin": "https://a.example", "Sec-Fetch-Site": "cross-site"}, 204),  # allowed
        ({"Origin": "http://{host}"}, 204),
        ({"Origin": OTHER, "X-Forwarded-Host": "b.example"}, 204),  # our own page behind a proxy
        ({"Origin": OTHER, "Sec-Fetch-Site": "same-origin"}, 204),
        ({"Origin": OTHER, "Sec-Fetch-Site": "cross-site", "X-Forwarded-Host": "b.example"}, 403),
        ({"Origin": "http://{host}", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": OTHER}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_a_page_of_another_origin_changes_nothing(open_to_pages: Served, headers: dict[str, str], status: int) -> None:
    """A form needs no leave of CORS, and browsers send the login that they remember."""
    host = f"{open_to_pages.host}:{open_to_pages.http_port}"
    told = {name: value.format(host=host) for name, value in headers.items()}
    with open_to_pages.api() as api:
        answer = api.ask("POST", "/api/users/bulk-delete", {"users": []}, headers=told)
        assert answer.status == status, answer
        if status == 403:
            assert answer.json["error"] == "forbidden" and "management.cors.allow_origins" in answer.json["reason"]
        assert api.ask("GET", "/api/whoami", headers=told).status == 200


def test_no_logins_with_passwords(tmp_path: Path) -> None:
    file = tmp_path / "leveret.conf"
    file.write_text("management.disable_basic_auth = true\n")
    with Served("--config", str(file)) as broker, Http(broker.host, broker.http_port) as api:
        for path, credentials in (("/api/whoami", ("guest", "guest")), ("/api/whoami", ("", ""))):
            answer = api.ask("GET", path, credentials=credentials)
            assert (answer.status, answer.json) == (401, {"error": "not_authorised", "reason": "HTTP access denied: basic auth disabled"})
        assert api.ask("POST", "/api/login", b"username=guest&password=guest").status == 401
        assert log_lines(broker, r"\[warning\].*HTTP access denied: basic auth disabled")
        assert api.ask("GET", "/health").status == 200

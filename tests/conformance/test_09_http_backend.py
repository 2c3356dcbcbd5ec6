"""auth_backends = http (https://github.com/rabbitmq/rabbitmq-server/tree/main/deps/rabbitmq_auth_backend_http): what the other server is
asked, and what clients hear of its answers. A server of the test's own decides for a broker of the test's own, of either kind."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from pamqp.commands import Connection, Exchange, Queue

from broker.config import Config
from tests.oracle.rabbitmq import RabbitMQ
from tests.runtime.auth_server import KINDS, Asking, AuthServer, config_for
from tests.spec import Broker, differs, expect_on, spec
from tests.wire import Wire, WireChannel

USER, PASSWORD = "Zoë&=", "hunter2 +%?"


@pytest.fixture(scope="module")
def server() -> Iterator[AuthServer]:
    with AuthServer() as server:
        yield server


@pytest.fixture(scope="module")
def asking(request: pytest.FixtureRequest, server: AuthServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The broker, which asks the server alone."""
    if request.config.getoption("--broker") == "rabbitmq":
        paths = tuple(f"auth_http.{kind}_path = http://localhost:{server.port}/{kind}" for kind in KINDS)
        settings = ("auth_backends.1 = http", "auth_http.http_method = post", *paths)
        with RabbitMQ(settings=settings, plugins=("rabbitmq_auth_backend_http",)) as oracle:
            yield oracle
        return
    config: Config = config_for(server, auth_http=server.options(http_method="post"))
    with Asking(tmp_path_factory.mktemp("asking") / "config", config) as leveret:
        yield leveret


@pytest.fixture
def wire(asking: Broker, server: AuthServer) -> Iterator[Wire]:
    """A connection of a user whom the server lets in; what was asked for that is forgotten."""
    server.status = 200
    server.answer = lambda kind, fields: "allow impersonator management" if kind == "user" else "allow"
    with Wire.connect(asking, user=USER, password=PASSWORD) as wire:
        yield wire


def text(broker: Broker, kind: str) -> str:
    return expect_on(broker, leveret=f"{kind} access", rabbitmq="access")


@spec("9.1")
def test_what_is_asked(wire: Wire, server: AuthServer) -> None:
    channel = wire.open_channel()
    channel.call(Queue.Declare, queue="q", arguments={"x-dead-letter-exchange": "dead"})
    channel.call(Exchange.Declare, exchange="x", exchange_type="topic", arguments={"alternate-exchange": ""})
    channel.bind("q", "x", "a.*")
    channel.publish("x", "a.b", b"1")
    channel.publish("", "q", b"2", user_id="somebody")
    assert channel.bodies("q") == [b"1", b"2"]
    channel.call(Queue.Delete, queue="q")
    channel.call(Exchange.Delete, exchange="x")
    common = {"username": USER, "vhost": "/", "tags": "impersonator management"}
    topic = {"resource": "topic", "name": "x", "variable_map.username": USER, "variable_map.vhost": "/"}
    asked = [("vhost" if kind == "vhost" else kind, fields) for kind, fields in server.questions()]
    assert asked[:2] == [("user", {"username": USER, "password": PASSWORD}), ("vhost", common | {"ip": "127.0.0.1"})]
    expected = [
        common | {"resource": resource, "name": name, "permission": permission}
        for resource, name, permission in (
            ("queue", "q", "configure"),
            ("queue", "q", "read"),
            ("exchange", "dead", "write"),
            ("exchange", "x", "configure"),
            ("exchange", "x", "read"),
            ("exchange", "amq.default", "write"),
            ("queue", "q", "write"),
            ("exchange", "x", "write"),
        )
    ]
    expected.insert(7, common | topic | {"permission": "read", "routing_key": "a.*"})
    expected.append(common | topic | {"permission": "write", "routing_key": "a.b"})
    # Each once: RabbitMQ remembers the last ones of a channel, and Leveret was told to remember none.
    once = list(dict.fromkeys(tuple(fields.items()) for _, fields in asked[2:]))
    assert [dict(each) for each in once] == expected


def declares(channel: WireChannel) -> None:
    channel.send(Queue.Declare, queue="q")


@spec("9.1")
@differs(rabbitmq="3.10", why="its texts don't say which kind of access was refused")
def test_denied(wire: Wire, server: AuthServer, asking: Broker) -> None:
    channel = wire.open_channel()
    server.answer = lambda kind, fields: "deny"
    declares(channel)
    refused = f"{text(asking, 'configure')} to queue 'q' in vhost '/' refused for user '{USER}'"
    channel.expect_close(403, f"ACCESS_REFUSED - {refused}", (50, 10))


FAILED = ", backend rabbit_auth_backend_http returned an error: .*"


@spec("9.1")
@differs(rabbitmq="3.10", why="an error is an Erlang term there")
def test_a_server_that_fails(wire: Wire, server: AuthServer, asking: Broker) -> None:
    """403 all the same, and it says that the backend failed."""
    channel = wire.open_channel()
    server.status = 500
    declares(channel)
    refused = re.escape(f"ACCESS_REFUSED - {text(asking, 'configure')} to queue 'q' in vhost '/' refused for user '{USER}'")
    channel.expect_close(403, re.compile(refused + FAILED, re.DOTALL), (50, 10))


@spec("9.1")
@differs(rabbitmq="3.10", why="it crashes over such an answer, and ends the connection with 541 (3.13 too, by its source)")
@pytest.mark.parametrize("body", ["perhaps", "", "allow management"])
def test_a_server_that_talks_nonsense(wire: Wire, server: AuthServer, asking: Broker, body: str) -> None:
    channel = wire.open_channel()
    server.answer = lambda kind, fields: body
    declares(channel)
    if asking.name == "rabbitmq":
        channel.expect_connection_close(541, "INTERNAL_ERROR")
    else:
        channel.expect_close(403, re.compile(f"ACCESS_REFUSED - .*{FAILED}"), (50, 10))


@spec("1.5")
@pytest.mark.parametrize(("status", "why"), [(200, ""), (500, FAILED)], ids=["denied", "failed"])
def test_a_vhost(asking: Broker, server: AuthServer, status: int, why: str) -> None:
    server.status, server.answer = 200, lambda kind, fields: "allow" if kind == "user" else "deny"
    with Wire(asking) as wire:
        wire.greet()
        wire.start_ok(USER, PASSWORD)
        wire.expect(Connection.Tune)
        wire.tune_ok()
        server.status = status
        wire.send_method(0, Connection.Open, virtual_host="/")
        refused = re.escape(f"NOT_ALLOWED - access to vhost '/' refused for user '{USER}'")
        wire.expect_close(530, re.compile(refused + why, re.DOTALL), (10, 40))


@spec("1.3")
@pytest.mark.parametrize(("status", "body"), [(200, "deny"), (200, "perhaps"), (500, "allow"), (403, "deny")])
def test_a_login(asking: Broker, server: AuthServer, status: int, body: str) -> None:
    """Whether it was denied or couldn't be decided: the peer isn't told."""
    server.status, server.answer = status, lambda kind, fields: body
    with Wire(asking) as wire:
        wire.greet()
        wire.start_ok(USER, PASSWORD)
        text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile."
        wire.expect_close(403, text, (0, 0), reply=False)


@spec("9.2")
def test_passive_declares_ask_nothing(wire: Wire, server: AuthServer) -> None:
    server.questions()
    channel = wire.open_channel()
    channel.send(Queue.Declare, queue="missing", passive=True)
    channel.expect_close(404)
    channel.reopen()
    channel.call(Exchange.Declare, exchange="amq.direct", passive=True)
    assert server.questions() == []

"""Somebody else decides (contract 9.1, auth_backends = http): a real server, a real broker, and clients who wait for the one and not for
each other. Also those who only have to wait, for they guessed."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from pamqp.commands import Basic, Connection, Exchange, Queue

from broker.config import AuthBackend, Config, HttpBackendOptions, TlsOptions
from broker.core.login import Answer, Query
from broker.runtime.http_client import THREADS_MAX, HttpClient
from tests.oracle.rabbitmq import BrokerFailed
from tests.runtime.auth_server import FAR, Asking, AuthServer, config_for
from tests.runtime.certificates import Authority
from tests.runtime.configured import PLAIN, TLS, Configured, Dialled
from tests.runtime.process import Pinger, assert_nothing_broke, log_lines, name_of, problems, publish_bytes, soon
from tests.wire import METHOD, Wire, encode_method, frame_bytes

SECRET = "hunter2 &=?#"
Start = Callable[..., Asking]
EARLY_SECONDS = 0.02
"""Timers count from when the event loop last looked at the clock."""
INTERNAL_TOO = (("internal", "internal"), ("http", "http"))


@pytest.fixture
def server() -> Iterator[AuthServer]:
    with AuthServer() as server:
        yield server


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start(config)`; in the end no log shows a password, and nothing in it is broken."""
    brokers: list[Asking] = []

    def start_one(config: Config, **options: Any) -> Asking:
        broker = Asking(tmp_path / f"{len(brokers)}.pickle", config, **options)
        brokers.append(broker)
        broker.start()
        return broker

    yield start_one
    for broker in brokers:
        broker.kill()
    for broker in brokers:
        assert_nothing_broke(broker)
        assert "hunter" not in broker.log and "vault" not in broker.log


def connect(broker: Asking, user: str = "u", **options: Any) -> Wire:
    return Wire.connect(broker, user=user, password=SECRET, **options)


def begin_login(broker: Asking, user: str = "u") -> Wire:
    """Up to start-ok."""
    wire = Wire(broker)
    wire.greet()
    wire.start_ok(user, SECRET)
    return wire


def refused_login(wire: Wire) -> None:
    text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile."
    wire.expect_close(403, text, (0, 0), reply=False)


# --- questions and answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_client_that_may(server: AuthServer, start: Start, method: str) -> None:
    """Every kind of question, whatever is in the names; the password goes out as it came in."""
    server.answer = lambda kind, fields: "allow impersonator Management" if kind == "user" else "allow"
    options = server.options(http_method=method, suffix="?key=vault", host="a%20b:vault@localhost")
    with connect(start(config_for(server, auth_http=options))) as wire:
        channel = wire.open_channel()
        queue = channel.queue("Zoë & co/?", arguments={})
        channel.bind(queue, "amq.topic", "a.b")
        channel.publish("amq.topic", "a.b", b"x", user_id="somebody")
        assert channel.take(queue).body == b"x"
        channel.publish("", queue, b"y")
        assert channel.take(queue).body == b"y"
    asked = [(kind, {name: value for name, value in fields.items() if name != "key"}) for kind, fields in server.questions()]
    common = {"username": "u", "vhost": "/", "tags": "impersonator management"}
    assert asked[:3] == [
        ("user", {"username": "u", "password": SECRET}),
        ("vhost", common | {"ip": "127.0.0.1"}),
        ("resource", common | {"resource": "queue", "name": queue, "permission": "configure"}),
    ]
    topic = {"resource": "topic", "name": "amq.topic", "routing_key": "a.b", "variable_map.username": "u", "variable_map.vhost": "/"}
    assert [fields for kind, fields in asked if kind == "topic"] == [common | topic | {"permission": each} for each in ("read", "write")]
    assert {fields["name"] for kind, fields in asked if fields.get("permission") == "write"} == {queue, "amq.topic", "amq.default"}
    assert server.methods == {method.upper()} and server.authorizations == {"Basic YSBiOnZhdWx0"}


def test_a_client_that_may_not(server: AuthServer, start: Start) -> None:
    """Contract 1.3, 1.5, 9.1: the same answers as from the broker's own users."""
    broker = start(config_for(server))
    server.answer = lambda kind, fields: "deny" if fields.get("username") == kind else "allow"
    refused_login(begin_login(broker, "user"))
    with begin_login(broker, "vhost") as wire:
        wire.expect(Connection.Tune)
        wire.tune_ok()
        wire.send_method(0, Connection.Open, virtual_host="/")
        wire.expect_close(530, "NOT_ALLOWED - access to vhost '/' refused for user 'vhost'", (10, 40))
    with connect(broker, "resource") as wire:
        channel = wire.open_channel()
        channel.send(Queue.Declare, queue="q")
        channel.expect_close(403, "ACCESS_REFUSED - configure access to queue 'q' in vhost '/' refused for user 'resource'", (50, 10))
        channel.reopen()
        channel.nothing_more()
    with connect(broker, "topic") as wire:
        channel = wire.open_channel()
        channel.publish("amq.topic", "k", b"x")
        expected = "ACCESS_REFUSED - write access to topic 'k' in exchange 'amq.topic' in vhost '/' refused for user 'topic'"
        channel.expect_close(403, expected, (60, 40))
    assert log_lines(broker, r"PLAIN login refused: user 'user' - Denied by the backing HTTP service")


def test_silence_without_the_capability(server: AuthServer, start: Start) -> None:
    """Contract 1.3: silence, and closed after 3 s."""
    server.answer = lambda kind, fields: "deny"
    with Wire(start(config_for(server))) as wire:
        wire.greet()
        wire.start_ok("u", SECRET, capabilities={})
        assert 2 < wire.expect_eof() < 5


def test_decisions_are_remembered(server: AuthServer, start: Start) -> None:
    """auth_cache_seconds, for each connection."""
    broker = start(config_for(server, auth_cache_seconds=60))
    with connect(broker) as wire:
        channel = wire.open_channel()
        queue = channel.queue()
        server.questions()
        for _ in range(3):
            channel.publish("", queue, b"x")
            assert channel.take(queue).body == b"x"
        assert len(server.questions()) == 2
        server.answer = lambda kind, fields: "deny"
        for number in range(3):
            other = wire.open_channel()
            other.publish("amq.direct", f"{number}", b"x")
            other.expect_close(403)
        assert len(server.questions()) == 1


# --- servers that don't answer --------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there(start: Start) -> None:
    """The login is refused, and one line says why: not to the client, and without the URL, which has the password in it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/hunter"
        options = HttpBackendOptions(user_path=url)
        broker = start(Config(auth_backends=(AuthBackend("http", "http"),), auth_http=options))
        wire = begin_login(broker)
        name = name_of(wire)
        refused_login(wire)
        reason = "rabbit_auth_backend_http failed authenticating u: auth_http.user_path: Connection refused"
        line = f"PLAIN login refused: {reason}"
        soon(lambda: problems(broker))
        assert [each for each in problems(broker) if line in each and name in each] == problems(broker)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, "allow", "auth_http.resource_path: the server answered with status 500, expected 200"),
        (302, "allow", "auth_http.resource_path: the server answered with status 302, expected 200"),
        (200, "perhaps", "bad_response 'perhaps', expected allow or deny"),
    ],
)
def test_a_server_that_talks_nonsense(server: AuthServer, start: Start, status: int, body: str, said: str) -> None:
    """RabbitMQ: 403, `..., backend rabbit_auth_backend_http returned an error: ...`; the next question is asked again."""
    with connect(start(config_for(server, auth_cache_seconds=60))) as wire:
        channel = wire.open_channel()
        server.status, server.answer = status, lambda kind, fields: body
        channel.send(Queue.Declare, queue="q")
        refused = "ACCESS_REFUSED - configure access to queue 'q' in vhost '/' refused for user 'u'"
        channel.expect_close(403, f"{refused}, backend rabbit_auth_backend_http returned an error: {said}", (50, 10))
        server.status, server.answer = 200, lambda kind, fields: "allow"
        channel.reopen()
        channel.call(Queue.Declare, queue="q")


@pytest.mark.parametrize("drips", [False, True], ids=["silent", "dripping"])
def test_a_server_that_is_too_slow(server: AuthServer, start: Start, drips: bool) -> None:
    """auth_http.request_timeout: many wait for the same time, and the threads are free again afterwards."""
    broker = start(config_for(server, auth_http=server.options(request_timeout_seconds=0.5)))
    wires = [connect(broker) for _ in range(40)]
    channels = [wire.open_channel() for wire in wires]
    server.gate.clear()
    server.held, server.drips = "q", drips
    begin = time.monotonic()
    for channel in channels:
        channel.send(Queue.Declare, queue="q")
    refused = "ACCESS_REFUSED - configure access to queue 'q' in vhost '/' refused for user 'u'"
    expected = f"{refused}, backend rabbit_auth_backend_http returned an error: auth_http.resource_path: no answer within 0.5 s"
    for channel in channels:
        channel.expect_close(403, expected, (50, 10))
    assert time.monotonic() - begin < 3
    for channel in channels:
        channel.reopen()
        channel.call(Queue.Declare, queue="r")
    for wire in wires:
        wire.abort()


# --- those who wait -------------------------------------------------------------------------------------------------------


def test_nobody_else_waits(server: AuthServer, start: Start) -> None:
    broker = start(config_for(server, backends=INTERNAL_TOO))
    with connect(broker) as wire, Pinger(broker) as pinger:
        channel = wire.open_channel()
        server.questions()
        server.gate.clear()
        channel.send(Queue.Declare, queue="q")
        server.wait_for_questions()
        pinger.pings(50)
        assert not wire._pending
        server.gate.set()
        channel.expect(Queue.DeclareOk)


def test_what_came_in_meanwhile_is_heard_in_order(server: AuthServer, start: Start) -> None:
    """Sent in one write, each of them with a question of its own; and more while the first one waits."""
    with connect(start(config_for(server))) as wire:
        channel = wire.open_channel()
        server.gate.clear()
        declare = encode_method(Queue.Declare, queue="q", exclusive=True)
        bind = encode_method(Queue.Bind, queue="q", exchange="amq.direct", routing_key="k")
        wire.send_raw(frame_bytes(METHOD, 1, declare) + frame_bytes(METHOD, 1, bind))
        wire.send_raw(b"".join(publish_bytes(1, "amq.direct", "k", b"%d" % number) for number in range(3)))
        server.wait_for_questions(3)
        wire.send_raw(publish_bytes(1, "amq.direct", "k", b"3") + frame_bytes(METHOD, 1, encode_method(Basic.Get, queue="q", no_ack=True)))
        server.gate.set()
        channel.expect(Queue.DeclareOk)
        channel.expect(Queue.BindOk)
        assert wire.expect_content(Basic.GetOk).body == b"0"
        assert channel.bodies("q") == [b"1", b"2", b"3"]


def test_a_client_that_leaves(server: AuthServer, start: Start) -> None:
    """It is missed when its answer has come; what it asked for is taken back as ever."""
    broker = start(config_for(server))
    wire = connect(broker)
    channel = wire.open_channel()
    server.wait_for_questions(2)
    server.gate.clear()
    channel.send(Queue.Declare, queue="q", exclusive=True)
    server.wait_for_questions()
    wire.abort()
    server.gate.set()
    broker.wait_for_log("client unexpectedly closed")
    with connect(broker) as wire:
        wire.open_channel().call(Queue.Declare, queue="q")


def test_its_silence_is_not_its_fault(server: AuthServer, start: Start) -> None:
    """Neither a missed heartbeat nor the handshake's deadline ends a connection that waits for a decision."""
    broker = start(config_for(server, handshake_timeout_seconds=0.5))
    wire = Wire(broker)
    wire.greet()
    server.gate.clear()
    wire.start_ok("u", SECRET)
    server.wait_for_questions()
    threading.Timer(0.8, server.gate.set).start()
    wire.expect(Connection.Tune)
    wire.tune_ok(heartbeat=1)
    wire.open_vhost()
    channel = wire.open_channel()
    server.gate.clear()
    channel.send(Queue.Declare, queue="q")
    threading.Timer(3.5, server.gate.set).start()
    channel.expect(Queue.DeclareOk)
    wire.abort()


def test_the_broker_stops(server: AuthServer, start: Start) -> None:
    broker = start(config_for(server))
    with connect(broker) as wire:
        channel = wire.open_channel()
        server.gate.clear()
        login = begin_login(broker)
        channel.send(Queue.Declare, queue="q")
        server.wait_for_questions(4)
        begin = time.monotonic()
        stopping = threading.Thread(target=broker.stop)
        stopping.start()
        wire.expect_close(320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'")
        stopping.join(10)
        assert broker.status == 0 and time.monotonic() - begin < 3
        login.abort()


# --- https ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("trust", ["the issuer", "anybody"])
def test_https(start: Start, authority: Authority, trust: str) -> None:
    with AuthServer(certificate=authority.server("auth")) as server:
        options = server.options(cacertfile=authority.file) if trust == "the issuer" else server.options(verify_peer=False)
        with connect(start(config_for(server, auth_http=options))) as wire:
            wire.open_channel().queue()
        assert [kind for kind, _ in server.questions()] == ["user", "vhost", "resource"]


def test_https_with_a_certificate_that_nobody_vouches_for(start: Start, authority: Authority) -> None:
    with AuthServer(certificate=authority.server("auth")) as server:
        broker = start(config_for(server))
        refused_login(begin_login(broker))
        assert not server.questions()
        broker.wait_for_log("auth_http.user_path: certificate verify failed: ")


# --- configuration --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"topic_path": "ftp://localhost/hunter2"}, "auth_http.topic_path: expected a URL such as http://localhost:8000/auth"),
        ({"user_path": "http://localhost:port/hunter2"}, "auth_http.user_path: expected a URL"),
        ({"vhost_path": "http://localhost/a b"}, "auth_http.vhost_path: expected a URL"),
        ({"resource_path": ""}, "auth_http.resource_path: expected a URL"),
        *(
            ({"user_path": f"http://{host}:8000/hunter2"}, "auth_http.user_path: expected a URL such as ")
            for host in ("a..b", ".a", "a" * 64, f"a.{'b' * 64}.c")
        ),
        (
            {"user_path": "https://localhost/", "cacertfile": Path("/nowhere.pem")},
            "auth_http.ssl_options: cannot use the certificates in /nowhere.pem: No such file or directory",
        ),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, fields: dict[str, Any], complaint: str) -> None:
    """A broker that could let nobody in doesn't start."""
    options = HttpBackendOptions(**fields)
    broker = Asking(tmp_path / "config", Config(auth_backends=(AuthBackend("internal", "http"),), auth_http=options))
    with pytest.raises(BrokerFailed):
        broker.start()
    assert broker.status == 78 and f"cannot start: {complaint}" in broker.log and "hunter2" not in broker.log


@pytest.mark.parametrize("host", ["localhost", "localhost.", "127.0.0.1", "[::1]", "a_b", "a" * 63])
def test_hosts_that_can_be_used(host: str) -> None:
    HttpClient(HttpBackendOptions(user_path=f"http://{host}:8000/"))


# --- the client's threads -------------------------------------------------------------------------------------------------


class Question:
    """Asked of a client; `answer()` waits for what comes back."""

    def __init__(self, client: HttpClient, *values: Any) -> None:
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        client.ask(Query("user", tuple(("password", value) for value in values), self._answers.put), self._answers.put)

    def answer(self) -> Answer:
        return self._answers.get(timeout=10)


def test_a_host_that_no_resolver_can_be_asked_for(server: AuthServer) -> None:
    """More questions than there are threads, and each is answered; so is the next one."""
    client = HttpClient(server.options())
    good = client._targets["user"]
    client._targets["user"] = good._replace(host="a..b")
    questions = [Question(client, b"hunter2") for _ in range(THREADS_MAX + 4)]
    assert {question.answer() for question in questions} == {Answer(error="auth_http.user_path: cannot be asked (UnicodeError)")}
    client._targets["user"] = good
    assert Question(client).answer() == Answer("allow")


def test_a_bug_costs_one_question(server: AuthServer, caplog: pytest.LogCaptureFixture) -> None:
    """A question that nothing can be made of, and answers that nobody can take: the threads live, and the log has no password."""
    client = HttpClient(server.options())

    def breaks(answer: Answer) -> None:
        raise RuntimeError(SECRET, answer)

    for _ in range(THREADS_MAX + 4):
        client.ask(Query("user", (), breaks), breaks)
    questions = [Question(client, {SECRET: 1}) for _ in range(THREADS_MAX + 4)]
    expected = Answer(error="auth_http.user_path: the broker met an internal error, see its log")
    assert {question.answer() for question in questions} == {expected}
    assert Question(client, b"hunter2").answer() == Answer("allow")
    soon(lambda: len(caplog.records) == 2 * (THREADS_MAX + 4))
    assert {record.getMessage().partition("\n")[0] for record in caplog.records} == {
        "internal error while telling the answer of an HTTP backend (user): RuntimeError",
        "internal error while asking an HTTP backend (user): TypeError",
    }
    assert "hunter" not in caplog.text and "quote_plus" in caplog.text


def test_mechanisms(start: Start) -> None:
    """auth_mechanisms; EXTERNAL needs TLS."""
    broker = start(Config(auth_mechanisms=("ANONYMOUS", "EXTERNAL", "PLAIN"), anonymous_login_user="guest"))
    with Wire(broker) as wire:
        assert wire.greet().mechanisms == "ANONYMOUS PLAIN"
        wire.start_ok(mechanism="ANONYMOUS", response=b"me@example.org")
        wire.expect(Connection.Tune)
        wire.tune_ok()
        wire.open_vhost()
        wire.open_channel().publish("", "q", b"x", user_id="guest")


def test_by_certificate(authority: Authority, tmp_path: Path) -> None:
    """EXTERNAL is offered over TLS, and logs in the name in the certificate; without one the log says what is missing."""
    certificate = authority.server("tls")
    tls = TlsOptions(certfile=certificate, keyfile=certificate, cacertfile=authority.file, verify_peer=True)
    mechanisms = ("PLAIN", "EXTERNAL")
    config = Config(
        listeners=(PLAIN, TLS), ssl_options=tls, auth_mechanisms=mechanisms, ssl_cert_login_from="common_name", default_user="carol"
    )
    with Configured(tmp_path / "config", config) as broker:
        with Wire(broker) as wire:
            assert wire.greet().mechanisms == "PLAIN"
        context = ssl.create_default_context(cafile=authority.file)
        with Dialled.dial(broker.tls, context) as wire:
            assert wire.greet().mechanisms == "PLAIN EXTERNAL"
            wire.start_ok(mechanism="EXTERNAL", response=b"")
            text = "ACCESS_REFUSED - Login was refused using authentication mechanism EXTERNAL. For details see the broker logfile."
            wire.expect_close(403, text, (0, 0), reply=False)
        broker.wait_for_log("EXTERNAL login refused: connection peer presented no TLS")
        context.load_cert_chain(authority.client("carol"))
        with Dialled.dial(broker.tls, context) as wire:
            wire.greet()
            wire.start_ok(mechanism="EXTERNAL", response=b"")
            wire.expect(Connection.Tune)
            wire.tune_ok()
            wire.open_vhost()
            wire.open_channel().publish("", "q", b"x", user_id="carol")


# --- guessing -------------------------------------------------------------------------------------------------------------


def guess(broker: Asking, password: str = "wrong") -> float:
    """Seconds until the answer."""
    with Wire(broker) as wire:
        wire.greet()
        begin = time.monotonic()
        wire.start_ok("guest", password)
        wire.expect(Connection.Tune if password == "guest" else Connection.Close)
        return time.monotonic() - begin


def test_who_guesses_waits(start: Start) -> None:
    """After five refusals from one address each login from there is answered late, the right one too; nobody else waits."""
    broker = start(Config(loopback_users=frozenset(), login_delay_max_seconds=0.4), far=True)
    with Pinger(broker) as pinger:
        assert max(guess(broker) for _ in range(5)) < 0.1
        for least in (0.1, 0.2, 0.4, 0.4):
            assert least - EARLY_SECONDS <= guess(broker) < least + 0.5
        assert 0.4 - EARLY_SECONDS <= guess(broker, "guest") < 0.9
        pinger.pings(50)
    assert pinger.percentile(0.9) < 0.05


def test_this_machine_may_guess(start: Start) -> None:
    broker = start(Config())
    assert max(guess(broker) for _ in range(10)) < 0.1


def test_where_it_comes_from(server: AuthServer, start: Start) -> None:
    """The address that the server is told; the loopback-only user is refused whoever decides."""
    broker = start(config_for(server), far=True)
    connect(broker).abort()
    assert [fields["ip"] for kind, fields in server.questions() if kind == "vhost"] == [FAR]
    refused_login(begin_login(broker, "guest"))
    assert log_lines(broker, "user 'guest' can only connect via localhost")


def test_exchanges_too(server: AuthServer, start: Start) -> None:
    """A refusal between other replies stands where it belongs."""
    server.answer = lambda kind, fields: "deny" if fields.get("name") == "no" else "allow"
    with connect(start(config_for(server))) as wire:
        channel = wire.open_channel()
        for name in ("a", "b", "no", "c"):
            channel.send(Exchange.Declare, exchange=name, exchange_type="fanout")
        channel.expect(Exchange.DeclareOk)
        channel.expect(Exchange.DeclareOk)
        channel.expect_close(403)
        assert [fields["name"] for kind, fields in server.questions() if kind == "resource"] == ["a", "b", "no"]

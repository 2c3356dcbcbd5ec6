"""What somebody can do to the broker over HTTP, without a login and with one; others are served meanwhile."""

import asyncio
import base64
import gzip
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from broker.admin import pacing
from broker.admin.pacing import Pacer, Turns
from broker.admin.routes import ROUTES
from tests.admin.client import Http
from tests.admin.served import Served
from tests.runtime.certificates import Authority
from tests.runtime.process import MB, Pinger, assert_nothing_broke, cpu_seconds, log_lines, rss_bytes, sockets, soon
from tests.security.impatient import FILES_MAX, HTTP_MAX, Impatient, WithoutHttp
from tests.security.test_log_lines import EVIL, assert_clean
from tests.wire import Wire

HOST = "Host: localhost\r\n"
GUEST = f"Authorization: Basic {base64.b64encode(b'guest:guest').decode()}\r\n"
TIMEOUT_SECONDS = 15.0
PROMETHEUS = r"Prometheus metrics: HTTP \(non-TLS\) listener started on port (\d+)"


def _config(directory: Path, *lines: str) -> str:
    file = directory / "leveret.conf"
    file.write_text("\n".join(lines))
    return str(file)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One that answers wrong guesses at once."""
    with Served("--config", _config(tmp_path_factory.mktemp("broker"), "login_failures_max = 0")) as served:
        yield served
        assert served.stop() == 0
        assert_nothing_broke(served)
        assert_clean(served)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Impatient]:
    directory = tmp_path_factory.mktemp("impatient")
    file = directory / "leveret.conf"
    certificate = Authority(directory).server("server")
    file.write_text(
        f"handshake_timeout = 1000\nmanagement.ssl.port = 0\nmanagement.ssl.certfile = {certificate}\nmanagement.tcp.port = 0\n"
    )
    with Impatient("--config", str(file)) as served:
        yield served
        assert served.stop() == 0
        assert_nothing_broke(served)


def dial(broker: Served, port: int | None = None) -> socket.socket:
    return socket.create_connection((broker.host, port or broker.http_port), timeout=TIMEOUT_SECONDS)


def read(peer: socket.socket) -> bytes:
    """All until the broker closes; a reset is an end too."""
    read = bytearray()
    try:
        while data := peer.recv(65536):
            read += data
    except ConnectionError:
        pass
    return bytes(read)


def say(broker: Served, sent: str | bytes) -> bytes:
    """What is answered until the broker closes."""
    with dial(broker) as peer:
        peer.sendall(sent if isinstance(sent, bytes) else sent.encode("latin-1"))
        return read(peer)


def request(path: str, method: str = "GET", headers: str = HOST + GUEST, body: bytes = b"") -> bytes:
    return f"{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


# --- what isn't HTTP ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        f"POST /api/login HTTP/1.1\r\n{HOST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        f"POST /api/login HTTP/1.1\r\n{HOST}Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        f"POST /api/login HTTP/1.1\r\n{HOST}Content-Length: -5\r\n\r\nabcde",
        f"POST /api/login HTTP/1.1\r\n{HOST}Content-Length: {9**30}\r\n\r\nabcde",
        f"POST /api/login HTTP/1.1\r\n{HOST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        f"POST /api/login HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n\x1b[2J\r\nabc\r\n",
        "GET /api/auth HTTP/1.1\nHost: x\n\n",
        "GET /api/auth HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET /api/auth HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
        "GET /api/auth HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /api/auth HTTP/1.1\r\n\r\n",
        "GET /api/\x00\x1b[2J HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET http://[::1/api/auth HTTP/1.1\r\nHost: x\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        f"GET /api/auth HTTP/1.1\r\n{HOST}A: {'a' * 9000}\r\n\r\n",
        f"GET /{'a' * 9000} HTTP/1.1\r\n{HOST}\r\n",
        f"GET /api/auth HTTP/1.1\r\n{HOST}{'A: a' + chr(13) + chr(10)}".ljust(20) + "A: a\r\n" * 200 + "\r\n",
    ],
)  # fmt: skip
def test_what_is_malformed_is_refused_with_one_line_in_the_log(broker: Served, sent: str) -> None:
    """Two lengths, or none that is clear, are what smuggles a request past a proxy."""
    before = broker.log
    assert say(broker, sent).startswith(b"HTTP/1.0 400 Bad Request\r\n")
    line = soon(lambda: broker.log.removeprefix(before))
    assert "[error]" in line and "malformed HTTP request from 127.0.0.1: " in line
    assert line.count("\n") == 1 and len(line) < 400
    assert_clean(broker)


def test_other_protocols_are_told_where_they_are(broker: Served) -> None:
    assert b"this is an HTTP port: AMQP is spoken at another one" in say(broker, b"AMQP\0\0\x09\x01")
    assert say(broker, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 64) == b"\x15\x03\x01\x00\x02\x02\x0a"
    for name in ("AMQP", "TLS"):
        broker.wait_for_log(
            rf"\[error\].*from 127.0.0.1:\d+: this is an HTTP port, 127.0.0.1:{broker.http_port}, and the peer speaks {name}$"
        )


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "LOCK", "PROPFIND"])
def test_methods_that_nobody_has(broker: Served, method: str) -> None:
    answer = say(broker, request("/api/overview", method, HOST + "X-Secret: word\r\n"))
    assert answer.split(b" ")[1] in (b"405", b"404") and b"word" not in answer


@pytest.mark.parametrize(
    "file",
    [
        "../server.py", "..%2fserver.py", "..%2f..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "%2e%2e/server.py", "..%5cserver.py",
        "index.html%00", "index.html%2f..%2findex.html", ".%2findex.html", "%ff.html", "a" * 300 + ".html", "",
    ],
)  # fmt: skip
def test_only_the_pages_files_are_served(broker: Served, file: str) -> None:
    assert say(broker, request(f"/static/{file}", headers=HOST)).startswith(b"HTTP/1.1 404 ")


def test_slashes_lead_nowhere(broker: Served) -> None:
    """Least of all to another server: `//evil.example/` is one, to a browser."""
    for path in ("//evil.example/", "//api/overview", "/api//overview", "/%2fevil.example/", "/api/%2e%2e/api/overview"):
        answer = say(broker, request(path))
        assert answer.startswith(b"HTTP/1.1 404 ") and b"Location" not in answer, path


# --- what is too long, and what never ends --------------------------------------------------------------------------


def test_a_head_is_64_kib_at_the_most(broker: Served) -> None:
    """Of a thousand connections that is a gigabyte less than aiohttp's own limits."""
    line = b"A: " + b"a" * 8000 + b"\r\n"
    assert say(broker, b"GET /api/auth HTTP/1.1\r\n" + HOST.encode() + line * 7 + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    before = rss_bytes(broker)
    with ExitStack() as stack, Pinger(broker) as pinger:
        peers = [stack.enter_context(dial(broker)) for _ in range(100)]
        for peer in peers:
            try:
                peer.sendall(b"GET /api/auth HTTP/1.1\r\n" + line * 120)
            except ConnectionError:
                continue
        assert all(read(peer)[:12] in (b"HTTP/1.1 431", b"") for peer in peers)
        pinger.pings(10)
    assert rss_bytes(broker) - before < 20 * MB


def test_what_a_connection_takes(broker: Served) -> None:
    """Of one that says nothing, and of one that waits in the middle of a body."""
    begun = f"POST /api/login HTTP/1.1\r\n{HOST}Content-Length: 8000\r\n\r\n".encode() + b"a" * 7000
    with broker.api() as api:  # what answers requests is loaded with the first one
        assert api.ask("GET", "/api/whoami").status == 200
    for sent, most in ((b"", 16_384), (begun, 49_152)):
        with ExitStack() as stack:
            soon(lambda: sockets(broker) < 50)
            before = rss_bytes(broker)
            for _ in range(90):
                stack.enter_context(dial(broker)).sendall(sent)
            soon(lambda: sockets(broker) > 90)
            with broker.api() as api:
                assert api.ask("GET", "/api/whoami").status == 200
            assert (rss_bytes(broker) - before) / 90 < most


def test_a_head_that_comes_slowly(impatient: Impatient) -> None:
    """The deadline is that of the whole head, and of nothing at all."""
    begin = time.monotonic()
    with dial(impatient) as slow, dial(impatient) as silent:
        slow.settimeout(0.1)
        slow.sendall(b"GET /")
        sent = 0
        try:
            while time.monotonic() < begin + 5:
                slow.sendall(b"a")
                sent += 1
                try:
                    if not slow.recv(1):
                        break
                except TimeoutError:
                    continue
        except ConnectionError:
            pass
        assert sent > 3
        assert read(silent) == b""
    assert time.monotonic() - begin < 5


def test_a_body_that_comes_slowly(impatient: Impatient) -> None:
    """/api/login reads one from anybody."""
    with dial(impatient) as peer:
        peer.sendall(f"POST /api/login HTTP/1.1\r\n{HOST}Content-Length: 8000\r\n\r\nusername=".encode())
        answer = peer.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408 ") and answer.endswith(b'"only 9 bytes of the body came in time"}')


def test_a_body_that_nobody_wants(broker: Served) -> None:
    """Who sends ten megabytes with a wrong password hears of it, and who goes on for ever is cut off."""
    head = f"POST /api/definitions HTTP/1.1\r\n{HOST}Content-Length: "
    with dial(broker) as peer:
        peer.sendall(f"{head}9000000\r\n\r\n".encode() + b"a" * 9_000_000)
        assert peer.recv(65536).startswith(b"HTTP/1.1 401 ")
    with dial(broker) as peer:
        peer.sendall(f"{head}999999999999\r\n\r\n".encode())
        with pytest.raises(ConnectionError):
            peer.sendall(b"a" * 100 * MB)


def test_a_body_that_waits_for_leave(broker: Served) -> None:
    """It has it once the login is known to be right."""
    head = f"PUT /api/vhosts/asked HTTP/1.1\r\n{HOST}Expect: 100-continue\r\nContent-Length: 2\r\n"
    with dial(broker) as peer:
        peer.sendall(f"{head}{GUEST}\r\n".encode())
        assert peer.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.sendall(b"{}")
        assert peer.recv(65536).startswith(b"HTTP/1.1 201 ")
    with dial(broker) as peer:
        peer.sendall(f"{head}\r\n".encode())
        assert peer.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_nothing_is_decompressed(broker: Served) -> None:
    """A megabyte of zeros is a gigabyte. RabbitMQ decompresses nothing either."""
    bomb = gzip.compress(b"\0" * 200_000_000, 1)
    with Pinger(broker) as pinger:
        begin = cpu_seconds(broker)
        refused = say(broker, request("/api/definitions", "POST", f"{HOST}Content-Encoding: gzip\r\n", bomb))
        assert refused.startswith(b"HTTP/1.1 401 ")
        pinger.pings(5)
        assert cpu_seconds(broker) - begin < 0.3
    answer = say(broker, request("/api/vhosts/v", "PUT", f"{HOST}{GUEST}Content-Encoding: gzip\r\n", gzip.compress(b"{}")))
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.endswith(b'"not_json"}')


def test_a_thousand_requests_in_one_packet(broker: Served) -> None:
    answer = say(broker, request("/api/auth").replace(b"close", b"keep-alive") * 999 + request("/api/auth"))
    assert answer.count(b"HTTP/1.1 200 OK") == 1000


# --- who doesn't read -----------------------------------------------------------------------------------------------


def test_who_reads_nothing_is_no_memory(broker: Served) -> None:
    """A long list is made while it is sent."""
    queues = [
        {"name": f"{number:04}" + "x" * 200, "vhost": "deaf", "durable": False, "auto_delete": False, "arguments": {}}
        for number in range(4000)
    ]
    with broker.api() as api:
        api.ask("POST", "/api/definitions", {"vhosts": [{"name": "deaf"}], "queues": queues})
        assert len(api.ask("GET", "/api/queues").body) > 4 * MB
        before = rss_bytes(broker)
        with ExitStack() as stack:
            for _ in range(40):
                peer = stack.enter_context(socket.socket())
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                peer.connect((broker.host, broker.http_port))
                peer.sendall(request("/api/queues"))
            assert len(api.ask("GET", "/api/queues").body) > 4 * MB
            assert rss_bytes(broker) - before < 130 * MB
        assert api.do("DELETE", "/api/vhosts/deaf") == 204


def test_who_reads_nothing_is_cut_off(impatient: Impatient) -> None:
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect((impatient.host, impatient.http_port))
        with pytest.raises(ConnectionError):
            peer.sendall(request("/api/index.html", headers=HOST).replace(b"close", b"keep-alive") * 100_000)


# --- too many -------------------------------------------------------------------------------------------------------


def test_more_connections_than_there_may_be(impatient: Impatient) -> None:
    """AMQP and the other ports have room left, and the control socket always does."""
    with Pinger(impatient) as pinger, ExitStack() as stack:
        peers = [stack.enter_context(dial(impatient)) for _ in range(HTTP_MAX + 40)]
        told = [peer for peer in peers if read(peer).startswith(b"HTTP/1.1 503 ")]
        assert len(told) >= 40
        impatient.wait_for_log(rf"\[warning\].* {HTTP_MAX} HTTP connections are open, which is all there may be: new ones are turned away")
        pinger.pings(10)
    with impatient.api() as api:
        soon(lambda: api.ask("GET", "/api/whoami").status == 200)
    assert len(log_lines(impatient, "HTTP connections are open")) == 1


def test_more_tls_connections_than_descriptors(impatient: Impatient) -> None:
    """Which say nothing: the handshake isn't begun."""
    found = re.findall(r"Management plugin: HTTPS listener started on port (\d+)", impatient.log)
    with Pinger(impatient) as pinger, ExitStack() as stack:
        for _ in range(FILES_MAX):
            stack.enter_context(dial(impatient, int(found[0])))
        pinger.pings(10)
        impatient.wait_for_log("file descriptor limit alarm set")
        assert sockets(impatient) <= FILES_MAX // 2
        assert not log_lines(impatient, "cannot accept")


# --- what is in requests --------------------------------------------------------------------------------------------


def test_names_can_not_forge_the_log(broker: Served) -> None:
    evil = EVIL.replace(":", "")
    say(broker, request("/api/whoami", headers=f"{HOST}Authorization: Basic {base64.b64encode(evil.encode() + b':x').decode()}\r\n"))
    say(broker, request("/api/login", "POST", HOST, f"username={quote(evil, safe='')}&password=x".encode()))
    for path in ("/api/queues/%2F/{}", "/api/vhosts/{}", "/api/users/{}", "/api/policies/%2F/{}"):
        say(broker, request(path.format(quote(evil, safe="")), "PUT", body=b'{"pattern":"","definition":{},"tags":""}'))
        say(broker, request(path.format(quote(evil, safe="")), "DELETE"))
    soon(lambda: len(log_lines(broker, r"HTTP access denied.*evil\\x1b")) >= 2)
    assert_clean(broker)
    before = len(broker.log)
    say(broker, request("/api/whoami", headers=f"{HOST}Authorization: Basic {base64.b64encode(b'u' * 5000 + b':x').decode()}\r\n"))
    soon(lambda: len(broker.log) > before)
    assert len(broker.log) - before < 700


@pytest.mark.parametrize("deep", [b"[" * 5000 + b"]" * 5000, b'{"a":' * 300 + b"1" + b"}" * 300, b"[" * 70 + b"]" * 70])
def test_deep_json(broker: Served, deep: bytes) -> None:
    """It could be kept, and what it is in could never be shown again."""
    with broker.api() as api:
        for path, body in (
            ("/api/global-parameters/deep", b'{"value":%b}' % deep),
            ("/api/queues/%2F/deep", b'{"arguments":{"x":%b}}' % deep),
            ("/api/policies/%2F/deep", b'{"pattern":"x","definition":{"max-length":%b}}' % deep),
            ("/api/vhosts/deep", b'{"description":%b}' % deep),
        ):
            assert api.ask("PUT", path, body).status == 400, path
        assert api.ask("POST", "/api/definitions", b'{"global_parameters":[{"name":"deep","value":%b}]}' % deep).status == 400
        assert api.ask("GET", "/api/definitions").status == 200


@pytest.mark.parametrize("text", [b'"\\ud800"', b'"\\udfff"', b'{"\\ud800":1}'])
def test_surrogates_that_are_no_octets(broker: Served, text: bytes) -> None:
    with broker.api() as api:
        assert api.ask("PUT", "/api/global-parameters/lone", b'{"value":%b}' % text).json["reason"] == "not_json"
        for body in (
            b'{"vhosts":[{"name":%b}]}',
            b'{"users":[{"name":%b}]}',
            b'{"queues":[{"name":"q","vhost":"/","arguments":{"x":%b}}]}',
            b'{"global_parameters":[{"name":"lone","value":%b}]}',
        ):
            assert api.ask("POST", "/api/definitions", body % text).status == 400
        assert api.ask("GET", "/api/definitions").status == 200


def test_a_body_about_one_object_is_no_larger_than_a_method(broker: Served) -> None:
    """Ten megabytes of nothings were two gigabytes, and six seconds of everybody's time."""
    nothings = b"[" + b"[]," * 3_000_000 + b"1]"
    with Pinger(broker) as pinger, broker.api() as api:
        assert api.ask("PUT", "/api/queues/%2F/big", b'{"arguments":{"x":%b}}' % nothings).status == 400
        assert api.ask("PUT", "/api/queues/%2F/big", b'{"arguments":{"x":"%b"}}' % (b"x" * 100_000)).status == 201
        message: dict[str, Any] = {"properties": {}, "routing_key": "big", "payload": "x" * 5_000_000, "payload_encoding": "string"}
        assert api.ask("POST", "/api/exchanges/%2F/amq.default/publish", message).json == {"routed": True}
        message["properties"] = {"headers": {"x": "y" * 300_000}}
        assert api.ask("POST", "/api/exchanges/%2F/amq.default/publish", message).status == 400
        assert api.ask("DELETE", "/api/queues/%2F/big").status == 204
        assert max(pinger.seconds) < 1


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("127.0.0.1:15672", 200), ("[::1]:15672", 200), ("broker", 200), ("broker.local:80", 200), ("192.168.0.1", 200),
        ("evil.example.com", 401), ("evil.example.com:15672", 401), ("localhost.evil.example.com", 401), ("127.0.0.1.example.com", 401),
        ("evil.example.com.", 401), ("[evil.example.com]", 401),
    ],
)  # fmt: skip
def test_guest_is_for_this_machine_s_names(broker: Served, host: str, status: int) -> None:
    """A page may let its own name stand for 127.0.0.1, and has the browser ask there (DNS rebinding)."""
    with broker.api() as api:
        api.ask("PUT", "/api/users/remote", {"password": "remote", "tags": "management"})
        assert api.ask("GET", "/api/whoami", headers={"Host": host}).status == status
        assert api.ask("POST", "/api/login", b"username=guest&password=guest", headers={"Host": host}).status == status
        assert api.ask("GET", "/api/whoami", headers={"Host": host}, credentials=("remote", "remote")).status == 200
        if status == 401:
            name = re.escape(host.strip("[]").partition(":")[0])
            broker.wait_for_log(rf"User can only log in via localhost, not from 127\.0\.0\.1 to '{name}'")


def test_names_and_numbers_that_are_too_long(broker: Served) -> None:
    with broker.api() as api:
        for path, status in (
            (f"/api/queues?page={'9' * 4000}", 400),
            (f"/api/queues?page=1&page_size={'9' * 5000}", 400),
            ("/api/queues?page=1&page_size=501", 400),
            ("/api/overview?msg_rates_age=1000000000&msg_rates_incr=1", 400),
            (f"/api/overview?msg_rates_age={'9' * 400}&msg_rates_incr={'9' * 399}", 400),
            (f"/api/queues?columns={'a.' * 3900}", 200),
            (f"/api/queues?sort={'a.' * 3900}", 200),
            (f"/api/queues?page=1&use_regex=true&name={'(' * 2000}", 400),
        ):
            assert api.ask("GET", path).status == status, path


def test_nobody_sees_into_a_vhost_that_he_may_not_enter(broker: Served) -> None:
    """Whatever is asked for: each route that reads, with the names of what is there. Only monitors and administrators see it."""
    words = {
        "vhost": "undisclosed", "name": "undisclosed-q", "exchange": "undisclosed-x", "source": "undisclosed-x",
        "destination": "undisclosed-q", "kind": "q",
        "user": "guest", "component": "federation-upstream", "endpoint": "per-object", "limit": "max-queues",
    }  # fmt: skip
    with broker.api() as api, Wire.connect(broker) as wire:
        broker.add_vhost("undisclosed")
        for path, body in (
            ("queues/undisclosed/undisclosed-q", {}),
            ("exchanges/undisclosed/undisclosed-x", {"type": "direct"}),
            ("policies/undisclosed/undisclosed-q", {"pattern": "undisclosed-q", "definition": {"max-length": 1}}),
            ("operator-policies/undisclosed/undisclosed-q", {"pattern": "undisclosed-q", "definition": {"max-length": 1}}),
            ("parameters/federation-upstream/undisclosed/undisclosed-q", {"value": {"uri": "amqp://undisclosed"}}),
            ("vhost-limits/undisclosed/max-queues", {"value": 100}),
        ):
            assert api.ask("PUT", f"/api/{path}", body).status in (201, 204), path
        assert api.ask("POST", "/api/bindings/undisclosed/e/undisclosed-x/q/undisclosed-q", {"routing_key": "undisclosed"}).status == 201
        assert b"undisclosed-q" in api.ask("GET", "/api/definitions").body
        curious = [broker.user(f"curious-{tag}", tag) for tag in ("management", "policymaker")]
        for route in ROUTES:
            # Not of what whoever asks has to know anyway: no answer has more than was in the path.
            for is_named in (False, True):
                chosen = words if is_named else words | {"vhost": "%2F"}
                path = re.sub(r"\{(\w+)\}", lambda found, chosen=chosen: chosen.get(found[1], found[1]), route.path)
                for user in curious * (route.method == "GET"):
                    answer = user.ask("GET", path)
                    assert b"undisclosed" not in answer.body, (path, answer)
        for user in curious:
            user.close()
        assert api.do("DELETE", "/api/vhosts/undisclosed") == 204
        wire.close()


# --- others have their turn -----------------------------------------------------------------------------------------


def test_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever works in slices: in a round of the event loop one of them does, however many there are."""
    monkeypatch.setattr(pacing, "SLICE_SECONDS", 0.0)
    worked: list[int] = []

    async def work(number: int, turns: Turns) -> None:
        pacer = Pacer(turns)
        for _ in range(20):
            await pacer.rest()
            worked.append(number)

    async def all_of_them() -> int:
        turns = Turns()
        tasks = [asyncio.create_task(work(number, turns)) for number in range(10)]
        await asyncio.sleep(0)
        tasks[3].cancel()  # its peer has gone
        most = 0
        while not all(task.done() for task in tasks):
            before = len(worked)
            await asyncio.sleep(0)
            most = max(most, len(worked) - before)
        return most

    assert asyncio.run(all_of_them()) == 1
    assert sorted(worked) == sorted([number for number in range(10) if number != 3] * 20)
    assert len(set(worked[:9])) == 9, "each in turn"


@pytest.mark.parametrize("path", ["/api/queues?page=1&use_regex=true&name={}", "/metrics/detailed?family=queue_coarse_metrics&queue={}"])
def test_a_pattern_that_takes_long(broker: Served, path: str) -> None:
    """Milliseconds a name, and there are many names."""
    queues = [
        {"name": f"{number:04}-" + "a" * 220 + "!", "vhost": "names", "durable": False, "auto_delete": False, "arguments": {}}
        for number in range(1500)
    ]
    with broker.api() as api:
        api.ask("POST", "/api/definitions", {"vhosts": [{"name": "names"}], "queues": queues})
        with Pinger(broker) as pinger:
            begin = time.monotonic()
            port = int(re.findall(PROMETHEUS, broker.log)[0]) if path.startswith("/metrics") else broker.http_port
            with Http(broker.host, port) as asked:
                assert asked.ask("GET", path.format(quote("(a+)+$"))).status == 200
            seconds = time.monotonic() - begin
            assert max(pinger.seconds) < max(seconds / 3, 0.1)
        assert api.do("DELETE", "/api/vhosts/names") == 204


# --- the beginning and the end --------------------------------------------------------------------------------------


def test_a_server_that_can_not_be_imported() -> None:
    """Who waits is turned away, and AMQP goes on."""
    with WithoutHttp() as broker:
        with Pinger(broker) as pinger, ExitStack() as stack:
            for peer in [stack.enter_context(dial(broker)) for _ in range(20)]:
                assert read(peer) == b""
            with pytest.raises(ConnectionRefusedError):
                dial(broker)
            broker.wait_for_log(r"\[error\].*the HTTP API can't be served")
            pinger.pings(5)
        assert broker.stop() == 0


def test_many_come_while_the_server_is_imported_and_stay_when_it_ends() -> None:
    with Served() as broker, ExitStack() as stack:
        with Pinger(broker) as pinger:
            for number in range(120):
                peer = stack.enter_context(dial(broker))
                peer.sendall((b"", b"GET / HT", f"POST /api/login HTTP/1.1\r\n{HOST}Content-Length: 9\r\n\r\n".encode())[number % 3])
            with Http(broker.host, broker.http_port) as api:
                assert api.ask("GET", "/api/whoami").status == 200
            pinger.pings(5)
        begin = time.monotonic()
        assert broker.stop() == 0
        assert time.monotonic() - begin < 5
        assert_nothing_broke(broker)


def test_a_link_that_lies_where_a_file_is_to_be_written(tmp_path: Path) -> None:
    """It isn't followed: in /tmp anybody can make one."""
    target = tmp_path / "target"
    target.write_text("mine")
    pid_file = tmp_path / "broker.pid"
    (tmp_path / "broker.pid.new").symlink_to(target)
    with Served("--config", _config(tmp_path, f"pid_file = {pid_file}")) as other:
        assert pid_file.read_text().strip() == str(other.pid)
        assert target.read_text() == "mine"

"""Requests that are no HTTP, bodies that can't be read, and clients that go away: each costs itself, and the log has no traceback of it."""

import socket
import struct
from urllib.parse import quote

import pytest

from tests.admin.client import Http
from tests.admin.served import Served
from tests.runtime.process import NEVER_IN_A_LOG, soon

LOGIN = b"Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nHost: here\r\n"
FORM = b"POST /api/definitions HTTP/1.1\r\n" + LOGIN + b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: %d\r\n\r\n"
PUT = b"PUT /api/vhosts/broken HTTP/1.1\r\n" + LOGIN
BAD_PART = b'--x\r\nContent-Disposition: form-data; name="\x1a"\r\n\r\n{}\r\n--x--\r\n'


def ask(served: Served, request: bytes) -> bytes:
    """What comes back, until the broker closes or nothing more is to come."""
    with socket.create_connection((served.host, served.http_port), 10) as peer:
        peer.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received and (chunk := peer.recv(65_536)):
            received += chunk
        return received


@pytest.mark.parametrize(
    "request_bytes",
    [
        PUT + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde",
        PUT + b"Content-Encoding: br\r\nContent-Length: 5\r\n\r\nabcde",
        PUT + b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\nabc",
        FORM % len(BAD_PART) + BAD_PART,
        FORM % 5 + b"abcde",
        b"GET http://[::1/api/queues HTTP/1.1\r\n" + LOGIN + b"\r\n",
        b"GET * HTTP/1.1\r\n" + LOGIN + b"\r\n",
    ],
    ids=["no gzip", "no brotli", "no chunk", "a part's header", "no parts", "no address", "a star"],
)
def test_what_can_not_be_read_is_a_bad_request(served: Served, api: Http, request_bytes: bytes) -> None:
    assert ask(served, request_bytes).split(b" ")[1] == b"400"
    assert api.do("GET", "/api/whoami") == 200
    assert not NEVER_IN_A_LOG.search(served.log), served.log[-3000:]


@pytest.mark.parametrize(
    "begun",
    [
        PUT + b'Content-Length: 100\r\n\r\n{"description":',
        PUT + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
        FORM % 500 + b"--x\r\nContent-Disposition: form-data; name=file\r\n\r\nabcde",
    ],
    ids=["a length", "chunks", "a form"],
)
def test_a_client_that_goes_away_in_the_middle_of_a_request(served: Served, api: Http, begun: bytes) -> None:
    def sockets() -> int:
        used: int = api.get(f"/api/nodes/{served.node}")["fd_used"]
        return used

    with socket.create_connection((served.host, served.http_port), 10) as peer:
        peer.sendall(begun)
        before = sockets()
    soon(lambda: sockets() < before, what="the socket of the client that is gone")
    assert api.do("GET", "/api/whoami") == 200
    assert not NEVER_IN_A_LOG.search(served.log), served.log[-3000:]


def test_clients_that_do_not_wait_for_their_answers_are_no_errors(served: Served, api: Http) -> None:
    before = api.ask("GET", f"/api/auth/attempts/{quote(served.node)}").json
    for number in range(150):
        peer = socket.create_connection((served.host, served.http_port), 10)
        peer.sendall(b"GET /metrics/per-object HTTP/1.1\r\n" + LOGIN + b"\r\n")
        if number % 2:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset, and not just closed
        peer.close()
    after = api.ask("GET", f"/api/auth/attempts/{quote(served.node)}").json
    assert [each["auth_attempts_failed"] for each in after] == [each["auth_attempts_failed"] for each in before]
    assert not NEVER_IN_A_LOG.search(served.log) and "access denied" not in served.log, served.log[-3000:]


def test_files_of_pages_are_those_that_there_are(served: Served) -> None:
    with served.api() as api:
        assert [api.do("GET", f"/static/{name}") for name in ("overview.js", "a" * 300 + ".js", "..%2Fopenapi.py", "%00.js")] == [
            200,
            404,
            404,
            404,
        ]

"""A server that decides (rabbitmq_auth_backend_http), and a broker that asks it."""

from __future__ import annotations

import argparse
import pickle
import ssl
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from broker import app, logs
from broker.config import AuthBackend, Config, HttpBackendOptions, Listener, RigOptions
from broker.core.broker import Broker
from broker.core.session import Peer, Session
from tests.oracle.leveret import Leveret

KINDS = ("user", "vhost", "resource", "topic")
FAR = "203.0.113.7"
Fields = dict[str, str]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class AuthServer:
    """Answers `allow` unless `answer` says otherwise; while `gate` is closed, only what isn't about `held` (if that is a name). `asked` is
    what it was asked, in order."""

    def __init__(self, *, certificate: Path | None = None) -> None:
        self.answer: Callable[[str, Fields], str] = lambda kind, fields: "allow"
        self.status = 200
        self.gate = threading.Event()
        self.gate.set()
        self.held: str | None = None
        self.drips = False
        """Instead of nothing at all it says something all the time, and never all."""
        self.asked: list[tuple[str, Fields]] = []
        self.methods: set[str] = set()
        self.authorizations: set[str | None] = set()
        self.waiting = threading.Semaphore(0)
        """One up for each question that came in."""
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
            self.scheme = "https"
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(poll_interval=0.01), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()

    def options(self, *, host: str = "localhost", suffix: str = "", **fields: Any) -> HttpBackendOptions:
        """auth_http.* for this server."""
        urls = {f"{kind}_path": f"{self.scheme}://{host}:{self.port}/{kind}{suffix}" for kind in KINDS}
        return HttpBackendOptions(**(urls | fields))

    def questions(self) -> list[tuple[str, Fields]]:
        """What it was asked since it was last looked at."""
        asked, self.asked = self.asked, []
        return asked

    def wait_for_questions(self, count: int = 1) -> None:
        """Until so many more have come in, answered or not."""
        for _ in range(count):
            assert self.waiting.acquire(timeout=10)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                self._answer(parts.path[1:], parts.query)

            def do_POST(self) -> None:
                assert self.headers["Content-Type"] == "application/x-www-form-urlencoded"
                self._answer(urlsplit(self.path).path[1:], self.rfile.read(int(self.headers["Content-Length"])).decode())

            def _answer(self, kind: str, form: str) -> None:
                fields = dict(parse_qsl(form, keep_blank_values=True, strict_parsing=True))
                server.methods.add(self.command)
                server.authorizations.add(self.headers.get("Authorization"))
                server.asked.append((kind, fields))
                server.waiting.release()
                try:
                    if server.held in (None, fields.get("name")):
                        self._wait()
                    body = server.answer(kind, fields).encode()
                    self.send_response(server.status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    # Nobody waited for it any more.
                    pass

            def _wait(self) -> None:
                if server.drips:
                    self.send_response(200)
                    self.send_header("Content-Length", "1000")
                    self.end_headers()
                while not server.gate.wait(0.1):
                    if server.drips:
                        self.wfile.write(b".")

            def log_message(self, *_arguments: object) -> None:
                pass

        return Handler


class Asking(Leveret):
    """A broker in memory with a Config that no file is written for. `far`: it takes all peers to be from FAR."""

    module = "tests.runtime.auth_server"
    testing_arguments = ()

    def __init__(self, file: Path, config: Config, *, far: bool = False) -> None:
        file.write_bytes(pickle.dumps(replace(config, data_dir=None, testing=RigOptions(self.is_testing))))
        super().__init__(None, arguments=(*(["--far"] if far else []), str(file)))


def config_for(server: AuthServer, *, backends: tuple[tuple[str, str], ...] = (("http", "http"),), **fields: Any) -> Config:
    """A broker that asks this server."""
    fields.setdefault("auth_http", server.options())
    fields.setdefault("auth_cache_seconds", 0)
    return Config(auth_backends=tuple(AuthBackend(*each) for each in backends), **fields)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("--port", type=int)
    parser.add_argument("--memory", action="store_true", required=True)
    parser.add_argument("--far", action="store_true")
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    config: Config = pickle.loads(arguments.file.read_bytes())  # the test wrote it
    logs.set_up(config.log)
    if arguments.far:
        Broker.open_session = from_far  # type: ignore[method-assign]
    return app.serve(replace(config, listeners=(Listener("127.0.0.1", arguments.port),)))


def from_far(broker: Broker, peer: Peer) -> Session:
    return open_session(broker, peer._replace(is_loopback=False, address=FAR))


open_session = Broker.open_session

if __name__ == "__main__":
    sys.exit(main())

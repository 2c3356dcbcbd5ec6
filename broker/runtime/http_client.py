"""Asks another server who may do what (auth_http.*): one request a question, on a few threads.

The standard library's http.client, because a broker needs no more than a short GET or POST now and then. It is imported only where
an HTTP backend is configured. Nothing here logs or returns a URL: GET carries passwords in it.
"""

from __future__ import annotations

import base64
import http.client
import logging
import socket
import threading
import traceback
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote_plus, unquote_to_bytes, urlsplit

from broker.config import ConfigError
from broker.core.login import Answer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from broker.config import HttpBackendOptions
    from broker.core.login import Query

log = logging.getLogger("auth_http")

THREADS_MAX: Final = 16
"""A server that answers in 5 ms decides three thousand questions a second with so many."""
SPARE_SECONDS: Final = 1.0
BODY_MAX_BYTES: Final = 65_536
SUCCESS: Final = (200, 201)


class Target(NamedTuple):
    """Where questions of one kind go."""

    setting: str
    """The key of the configuration, which texts name in place of the URL."""
    is_https: bool
    host: str
    port: int
    path: str
    headers: dict[str, str]


class Request:
    """One question on its way. `done` is called once on a client's thread, or never after `give_up`."""

    def __init__(self, query: Query, done: Callable[[Answer], None]) -> None:
        self.query = query
        self._done = done
        self._lock = threading.Lock()
        self._is_over = False
        self._socket: socket.socket | None = None

    def connected(self, connection: socket.socket) -> bool:
        """The thread has a connection; False if nobody waits for an answer any more."""
        with self._lock:
            self._socket = connection
            return not self._is_over

    def finish(self, answer: Answer) -> None:
        """The thread has an answer."""
        with self._lock:
            is_over, self._is_over, self._socket = self._is_over, True, None
        if not is_over:
            self._done(answer)

    @property
    def is_over(self) -> bool:
        """Nobody waits for an answer."""
        return self._is_over

    def give_up(self) -> None:
        """Nobody waits any more: the thread is to be free again."""
        with self._lock:
            self._is_over = True
            if self._socket is not None:
                try:
                    # Beneath TLS, whose own shutdown isn't for another thread than the one that reads.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
                except OSError:
                    # It has ended by itself.
                    pass


class HttpClient:
    """See the module. Raises ConfigError for URLs and certificates that can't be used."""

    def __init__(self, options: HttpBackendOptions) -> None:
        self._options = options
        self.timeout_seconds = options.request_timeout_seconds
        """From the question to the answer, the wait for a thread included."""
        self._targets = {kind: _target(f"auth_http.{kind}_path", url) for kind, url in _urls(options).items()}
        self._tls = _tls(options) if any(target.is_https for target in self._targets.values()) else None
        self._waiting: deque[Request] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0

    def ask(self, query: Query, done: Callable[[Answer], None]) -> Request:
        """Ask; `done` is called on a thread of the client's."""
        request = Request(query, done)
        with self._changed:
            self._waiting.append(request)
            if self._idle >= len(self._waiting):
                self._changed.notify()
            elif self._threads < THREADS_MAX:
                self._threads += 1
                threading.Thread(target=self._work, name=f"auth-http-{self._threads}", daemon=True).start()
        return request

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self._waiting)
                self._idle -= 1
                request = self._waiting.popleft()
            if not request.is_over:
                self._serve(request)

    def _serve(self, request: Request) -> None:
        """Ask, and hand the answer over. Raises nothing: a thread that ended here would be missing for good."""
        try:
            answer = self._answer(request)
        except Exception as error:  # noqa: BLE001 - a bug in the broker costs the question that met it, and no other
            _complain("asking", request, error)
            answer = Answer(error=f"{self._targets[request.query.kind].setting}: the broker met an internal error, see its log")
        try:
            request.finish(answer)
        except Exception as error:  # noqa: BLE001 - the same
            _complain("telling the answer of", request, error)

    def _answer(self, request: Request) -> Answer:
        query = request.query
        target = self._targets[query.kind]
        form = "&".join(f"{name}={quote_plus(value)}" for name, value in query.fields)
        try:
            status, body = self._exchange(request, target, form)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # ValueError: what the standard library won't make a request of, and names that no resolver can be asked for.
            return Answer(error=f"{target.setting}: {_reason(error)}")
        if status not in SUCCESS:
            return Answer(error=f"{target.setting}: the server answered with status {status}, expected 200")
        return Answer(body.decode("utf-8", "replace"))

    def _exchange(self, request: Request, target: Target, form: str) -> tuple[int, bytes]:
        """Status and body. The connection isn't kept: the server may close it at any time, and then the question would fail."""
        options = self._options
        timeout = options.connection_timeout_seconds
        connection: http.client.HTTPConnection
        if target.is_https:
            connection = http.client.HTTPSConnection(target.host, target.port, timeout=timeout, context=self._tls)
        else:
            connection = http.client.HTTPConnection(target.host, target.port, timeout=timeout)
        try:
            connection.connect()
            # Whoever asked gives up before that, and says so.
            connection.sock.settimeout(options.request_timeout_seconds + SPARE_SECONDS)
            if not request.connected(connection.sock):
                return 0, b""
            headers = target.headers | {"Connection": "close"}
            if options.http_method == "post":
                headers |= {"Content-Type": "application/x-www-form-urlencoded"}
                connection.request("POST", target.path, form, headers)
            else:
                connection.request("GET", f"{target.path}{'&' if '?' in target.path else '?'}{form}", headers=headers)
            response = connection.getresponse()
            return response.status, response.read(BODY_MAX_BYTES)
        finally:
            connection.close()


def _complain(doing: str, request: Request, error: Exception) -> None:
    """With where it was, but without its text, which may have the question in it, and so a password."""
    where = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    log.error("internal error while %s an HTTP backend (%s): %s\n%s", doing, request.query.kind, type(error).__name__, where)


def _urls(options: HttpBackendOptions) -> dict[str, str]:
    return {"user": options.user_path, "vhost": options.vhost_path, "resource": options.resource_path, "topic": options.topic_path}


def _target(setting: str, url: str) -> Target:
    problem = f"{setting}: expected a URL such as http://localhost:8000/auth, in ASCII and without blanks"
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError([problem])
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError([f"{problem}: {error}"]) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError([problem])
    try:
        # As the resolver is asked for it.
        parts.hostname.encode("idna")
    except UnicodeError as error:
        text = f"{problem}: each part of the host name between dots has 1 to 63 characters"
        raise ConfigError([text]) from error
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers: dict[str, str] = {}
    if parts.username is not None:
        secret = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
        headers["Authorization"] = f"Basic {base64.b64encode(secret).decode()}"
    is_https = parts.scheme == "https"
    return Target(setting, is_https, parts.hostname, port or (443 if is_https else 80), path, headers)


def _tls(options: HttpBackendOptions) -> ssl.SSLContext:
    import ssl

    cafile = options.cacertfile
    try:
        context = ssl.create_default_context(cafile=cafile)
        if options.certfile is not None:
            context.load_cert_chain(options.certfile, options.keyfile)
    except OSError as error:
        files = ", ".join(str(path) for path in (cafile, options.certfile, options.keyfile) if path is not None)
        raise ConfigError([f"auth_http.ssl_options: cannot use the certificates in {files}: {_reason(error)}"]) from error
    if not options.verify_peer:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _reason(error: Exception) -> str:
    """What went wrong, without addresses and URLs."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        verify = getattr(error, "verify_message", "")
        return (
            f"certificate verify failed: {verify}" if verify else (error.strerror or getattr(error, "reason", "") or type(error).__name__)
        )
    if isinstance(error, ValueError):
        return f"cannot be asked ({type(error).__name__})"
    return f"not HTTP ({type(error).__name__})"

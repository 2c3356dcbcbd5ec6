"""The HTTP API as commands use it: over the control socket, or over TCP with a user and a password.

api = Api(SocketTransport(found), timeout_seconds=60)
api.get("queues", "/", columns="name,messages")       GET /api/queues/%2F?columns=name%2Cmessages
"""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, urlencode, urlsplit

from broker.cli.ctl.errors import Refused

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from broker.control import Found

ENTITIES: Final = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#39;", "'"), ("&amp;", "&"))
"""RabbitMQ's API escapes some of its reasons for HTML."""


class Unreachable(Exception):
    """Nobody answers there; the text says what happened."""


class TimedOut(Exception):
    """No answer came in time."""


class Transport(Protocol):
    """How the API is reached."""

    @property
    def place(self) -> str:
        """Who doesn't answer, if nobody does."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Sent with each request."""

    @property
    def prefix(self) -> str:
        """In front of /api."""

    def connection(self, timeout_seconds: float | None) -> http.client.HTTPConnection:
        """A connection that isn't open yet."""


class SocketTransport:
    """The control socket of a broker on this machine."""

    def __init__(self, found: Found) -> None:
        self.place = "the broker"
        self.headers: Mapping[str, str] = {}
        self.prefix = ""
        self._found = found

    def connection(self, timeout_seconds: float | None) -> http.client.HTTPConnection:
        """See Transport."""
        return _SocketConnection(self._found, timeout_seconds)


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, found: Found, timeout_seconds: float | None) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._found = found

    def connect(self) -> None:
        self.sock: socket.socket = self._found.connect(self.timeout)


class TcpTransport:
    """An address with a user and a password."""

    def __init__(
        self, host: str, port: int, user: str, password: str, *, tls: Any = None, prefix: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        import base64

        self.host = host
        self.port = port
        self.place = f"the HTTP API at {host}:{port}"
        self.prefix = prefix.rstrip("/")
        self.tls = tls
        """An ssl.SSLContext for https."""
        credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.headers: Mapping[str, str] = {"Authorization": f"Basic {credentials}", **(headers or {})}

    @classmethod
    def of_url(cls, url: str) -> TcpTransport:
        """http://user:password@host:port/prefix; guest and 15672 if the URL doesn't say. Raises ValueError."""
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise ValueError(f"'{url}' is no URL of an HTTP API: expected http://user:password@host:15672")
        tls = None
        if parts.scheme == "https":
            import ssl

            tls = ssl.create_default_context()
        from urllib.parse import unquote

        user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
        path = parts.path.rstrip("/").removesuffix("/api")
        return cls(parts.hostname, parts.port or (15671 if tls else 15672), user, password, tls=tls, prefix=path)

    def connection(self, timeout_seconds: float | None) -> http.client.HTTPConnection:
        """See Transport."""
        if self.tls is not None:
            return http.client.HTTPSConnection(self.host, self.port, timeout=timeout_seconds, context=self.tls)
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout_seconds)


class Api:
    """See the module. `timeout_seconds` is that of each step on the socket; None waits for ever."""

    def __init__(self, transport: Transport, timeout_seconds: float | None = None) -> None:
        self.place = transport.place
        self._transport = transport
        self._timeout_seconds = timeout_seconds
        self._connection: http.client.HTTPConnection | None = None

    def get(self, *path: str, **query: Any) -> Any:
        """What is there. Raises Refused, Unreachable, TimedOut, as the others do."""
        return self.request("GET", path, query=query)

    def put(self, *path: str, body: Any = None, **query: Any) -> Any:
        """Put it there."""
        return self.request("PUT", path, body, query=query)

    def post(self, *path: str, body: Any = None, **query: Any) -> Any:
        """Have it done."""
        return self.request("POST", path, body, query=query)

    def delete(self, *path: str, headers: Mapping[str, str] | None = None, **query: Any) -> Any:
        """Delete it."""
        return self.request("DELETE", path, query=query, headers=headers)

    def request(
        self,
        method: str,
        path: tuple[str, ...],
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """One request; the segments of the path are quoted. Returns what the answer's JSON says, None if it has no body."""
        url = f"{self._transport.prefix}/api/" + "/".join(quote(segment, safe="") for segment in path)
        if query:
            url += "?" + urlencode({name: str(value).lower() if isinstance(value, bool) else value for name, value in query.items()})
        content = None if body is None else json.dumps(body).encode()
        status, answer = self.send(method, url, content, headers)
        if status >= 400:
            raise _refused(status, answer)
        try:
            return json.loads(answer) if answer else None
        except ValueError as error:
            raise Unreachable(f"this is no answer of an HTTP API: {answer[:80]!r}") from error

    def send(self, method: str, url: str, content: bytes | None, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """One request as it is: the status and the body. Raises Unreachable, TimedOut."""
        connection = self._connection
        if connection is None:
            connection = self._connection = self._transport.connection(self._timeout_seconds)
        sent = {**self._transport.headers, **(headers or {})}
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, url, content, sent)
            response = connection.getresponse()
            return response.status, response.read()
        except TimeoutError as error:
            raise TimedOut from error
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(str(error) or type(error).__name__) from error

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _refused(status: int, answer: bytes) -> Refused:
    try:
        told = json.loads(answer)
        reason = told["reason"]
        reason = reason if isinstance(reason, str) else json.dumps(reason)
        for escaped, character in ENTITIES:
            reason = reason.replace(escaped, character)
        return Refused(status, str(told["error"]), reason)
    except (ValueError, KeyError, TypeError):
        return Refused(status, http.client.responses.get(status, ""), answer.decode(errors="replace")[:500])

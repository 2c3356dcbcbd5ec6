"""The broker's HTTP API for tests: JSON to and fro over connections that are kept open.

Any thread may ask at any time. Each request has a connection to itself, an idle one if there is one; so a request that waits holds up
nobody. A process that was forked opens connections of its own.
"""

from __future__ import annotations

import http.client
import json
import os
from collections import deque
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from leveret.errors import BrokerGone, Refused

if TYPE_CHECKING:
    import ssl

ROOT: Final = "/api/leveret/testing"
SECONDS: Final = 30.0
"""How long an answer may take, beside what the request itself waits for."""
IDLE_MAX: Final = 8
"""Connections that are kept."""


class Api:
    """One broker's. `url` is where its HTTP API is (http://127.0.0.1:15672), a prefix of its paths included."""

    def __init__(self, url: str, token: str, context: ssl.SSLContext | None = None) -> None:
        """Raises ValueError for what is no http or https URL."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"'{url}' is no URL of a broker's HTTP API: expected something like http://127.0.0.1:15672")
        self.host: str = parts.hostname
        self.url = url.rstrip("/")
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._is_secure = parts.scheme == "https"
        self._prefix = parts.path.rstrip("/")
        self._context = context
        self._headers = {"Authorization": f"Bearer {token}"}
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._process = os.getpid()

    def ask(self, method: str, path: str, body: Any = None, *, waits_seconds: float = 0.0) -> Any:
        """The answer to a request for ROOT + `path`: JSON as Python has it, text where it is none, None where it is empty. `body` goes as
        JSON, bytes as they are; `waits_seconds` is how long the broker may take before it answers.

        Raises Refused, and BrokerGone if it can't be reached.
        """
        content = body if body is None or isinstance(body, bytes) else _json(body)
        headers = self._headers if content is None else {**self._headers, "Content-Type": "application/json"}
        seconds = SECONDS + waits_seconds
        try:
            response, answer = self._exchange(method, f"{self._prefix}{ROOT}{path}", content, headers, seconds)
        except (OSError, http.client.HTTPException) as error:
            raise BrokerGone(f"the broker at {self.url} doesn't answer: {error or type(error).__name__}") from error
        kind = response.getheader("Content-Type", "")
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            raise Refused(f"{method} {ROOT}{path}", response.status, _reason(answer))
        if not answer:
            return None
        return json.loads(answer) if kind.startswith("application/json") else answer.decode()

    def close(self) -> None:
        """Close the idle connections; asking again opens others."""
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                break  # another thread was quicker

    def _connections(self) -> deque[http.client.HTTPConnection]:
        if os.getpid() != self._process:
            # Those are the parent's, too, which goes on using them: to close them here ends none.
            self.close()
            self._process = os.getpid()
        return self._idle

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], seconds: float
    ) -> tuple[http.client.HTTPResponse, bytes]:
        idle = self._connections()
        try:
            connection, is_used = idle.pop(), True
        except IndexError:
            connection, is_used = self._open(seconds), False
        try:
            answer = _send(connection, method, path, body, headers, seconds)
        except (ConnectionError, http.client.RemoteDisconnected):
            connection.close()
            if not is_used:
                raise
            # The broker had closed it, as it may after a while. Whatever else is idle was closed then, too.
            self.close()
            connection = self._open(seconds)
            try:
                answer = _send(connection, method, path, body, headers, seconds)
            except BaseException:
                connection.close()
                raise
        except BaseException:
            # An answer that nobody has read must not be taken for the next one's.
            connection.close()
            raise
        if answer[0].will_close or len(idle) >= IDLE_MAX:
            connection.close()
        else:
            idle.append(connection)
        return answer

    def _open(self, seconds: float) -> http.client.HTTPConnection:
        if self._is_secure:
            return http.client.HTTPSConnection(self.host, self._port, timeout=seconds, context=self._context)
        return http.client.HTTPConnection(self.host, self._port, timeout=seconds)


def _send(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, headers: dict[str, str], seconds: float
) -> tuple[http.client.HTTPResponse, bytes]:
    if connection.sock is not None:
        connection.sock.settimeout(seconds)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return response, response.read()


def _json(body: Any) -> bytes:
    """Raises ValueError for infinity and what is not a number, which JSON doesn't have."""
    try:
        return json.dumps(body, allow_nan=False).encode()
    except ValueError as error:
        raise ValueError(f"the broker takes finite numbers only: {body!r}") from error


def _reason(answer: bytes) -> str:
    """What the broker says of an error: {"error": ..., "reason": ...}."""
    try:
        said = json.loads(answer)
    except ValueError:
        return answer.decode(errors="replace") or "no reason given"
    reason = (said.get("reason") or said.get("error")) if isinstance(said, dict) else None
    return str(reason or said)

"""A plain HTTP client that sends what it is given: paths as they are written, bodies that are no JSON, no credentials or wrong ones."""

import base64
import http.client
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

TIMEOUT_SECONDS = 20.0
NOBODY: tuple[str, str] = ("", "")
"""Credentials that are not sent."""


@dataclass(frozen=True)
class Answer:
    """`headers` by their names in lower case; what was sent twice is joined with commas."""

    status: int
    headers: dict[str, str]
    body: bytes

    @cached_property
    def json(self) -> Any:
        """The body; fails with the whole answer where it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise AssertionError(f"no JSON: {self}") from None

    @property
    def is_json(self) -> bool:
        return self.headers.get("content-type", "").startswith("application/json") and bool(self.body)


class Http:
    """One kept-alive connection, opened again when the server closes it."""

    def __init__(self, host: str, port: int, credentials: tuple[str, str] = ("guest", "guest")) -> None:
        self.host = host
        self.port = port
        self.credentials = credentials
        self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        credentials: tuple[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """`body`: bytes are sent as they are, None sends nothing, anything else is sent as JSON."""
        sent = dict(headers or {})
        user, password = self.credentials if credentials is None else credentials
        if (user, password) != NOBODY and "Authorization" not in sent:
            sent["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if data is not None and "Content-Type" not in sent:
            sent["Content-Type"] = "application/json"
        try:
            return self._ask(method, path, data, sent)
        except (http.client.RemoteDisconnected, ConnectionError):
            self._connection.close()  # it was closed between two requests, as servers may
            return self._ask(method, path, data, sent)

    def get(self, path: str) -> Any:
        """The body of what must be there."""
        answer = self.ask("GET", path)
        assert answer.status == 200, (path, answer)
        return answer.json

    def do(self, method: str, path: str, body: Any = None) -> int:
        """The status."""
        return self.ask(method, path, body).status

    def refusal(self, method: str, path: str, body: Any = None) -> tuple[int, str, str]:
        """Status, error and reason."""
        answer = self.ask(method, path, body)
        return answer.status, answer.json["error"], answer.json["reason"]

    def _ask(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> Answer:
        self._connection.request(method, path, body=data, headers=headers)
        with self._connection.getresponse() as response:
            names = {name.lower() for name, _value in response.getheaders()}
            joined = {name: ", ".join(response.headers.get_all(name) or ()) for name in names}
            return Answer(response.status, joined, response.read())

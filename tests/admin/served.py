"""A broker with its HTTP API, and what asks it."""

import base64
import http.client
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pika

from tests.oracle.leveret import Leveret

TIMEOUT_SECONDS = 20.0


class Reply(NamedTuple):
    status: int
    json: Any
    """None where there is no body."""
    headers: dict[str, str]


class Api:
    """One user of the API. Paths are sent as they are given."""

    def __init__(self, port: int, user: str = "guest", password: str = "guest") -> None:
        self.port = port
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: Any = None) -> Reply:
        """`body`: bytes as they are, None for nothing, anything else as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)
        try:
            sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, sent, self._headers)
            response = connection.getresponse()
            text = response.read()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, json.loads(text) if text else None, headers)
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """What must be there."""
        reply = self.ask("GET", path)
        assert reply.status == 200, reply
        return reply.json

    def do(self, method: str, path: str, body: Any = None) -> int:
        """The status."""
        return self.ask(method, path, body).status

    def refusal(self, method: str, path: str, body: Any = None) -> tuple[int, str, str]:
        """Status, error and reason."""
        reply = self.ask(method, path, body)
        return reply.status, reply.json["error"], reply.json["reason"]


class Served:
    """The broker, and its administrator's API."""

    def __init__(self, broker: Leveret) -> None:
        self.broker = broker
        self.api = Api(int(re.findall(r"HTTP \(non-TLS\) listener started on port (\d+)", broker.log)[-1]))

    def user(self, name: str, tags: str = "", **permissions: str) -> Api:
        """A new user with these permissions (configure, write, read) in each of the vhosts."""
        assert self.api.do("PUT", f"/api/users/{name}", {"password": name, "tags": tags}) in (201, 204)
        for vhost, pattern in permissions.items():
            rights = dict.fromkeys(("configure", "write", "read"), pattern)
            assert self.api.do("PUT", f"/api/permissions/{quote(vhost, safe='')}/{name}", rights) in (201, 204)
        return Api(self.api.port, name, name)

    def vhost(self, name: str) -> str:
        """A new vhost, in which guest may do everything."""
        assert self.api.do("PUT", f"/api/vhosts/{name}") == 201
        assert self.api.do("PUT", f"/api/permissions/{name}/guest", dict.fromkeys(("configure", "write", "read"), ".*")) in (201, 204)
        return name

    @staticmethod
    def properties(**given: Any) -> pika.BasicProperties:
        """Of a message."""
        return pika.BasicProperties(**given)

    @contextmanager
    def client(self, vhost: str) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
        """A channel over AMQP, as guest."""
        parameters = pika.ConnectionParameters("127.0.0.1", self.broker.port, vhost)
        connection = pika.BlockingConnection(parameters)
        try:
            yield connection.channel()
        finally:
            if connection.is_open:
                connection.close()


@contextmanager
def serve(folder: Path, *settings: str, on_disk: bool = False) -> Iterator[Served]:
    """A broker in memory, or with its data in the folder, with these lines in its configuration."""
    config = folder / "leveret.conf"
    config.write_text("\n".join(("management.tcp.port = 0", "prometheus.tcp.port = none", *settings)) + "\n")
    with Leveret(folder / "data" if on_disk else None, arguments=("--config", str(config))) as broker:
        yield Served(broker)

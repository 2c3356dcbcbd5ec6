"""A sandbox as a test uses it with pika, and what was found in it: `sandbox.connect("worker")`, `sandbox.codes("4.3")`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

from tests.testing.box import Box

LATEST = "4.3"
PERSISTENT = pika.BasicProperties(delivery_mode=2)


class Sandboxed(Box):
    """See the module."""

    @contextmanager
    def connect(self, name: str | None = None, **options: Any) -> Iterator[pika.BlockingConnection]:
        """A connection of a client of that name; closed at the end, if it still is open."""
        connection = pika.BlockingConnection(self.pika(name or "", **options))
        try:
            yield connection
        finally:
            if connection.is_open:
                connection.close()

    @contextmanager
    def channel(self, name: str | None = None, *, confirms: bool = False, **options: Any) -> Iterator[BlockingChannel]:
        """A channel on a connection of its own."""
        with self.connect(name, **options) as connection:
            channel = connection.channel()
            if confirms:
                channel.confirm_delivery()
            yield channel

    def administer(self, method: str, path: str, body: Any) -> None:
        """A request of RabbitMQ's HTTP API by guest, who is allowed into the sandbox for it; `{}` in the path is the vhost."""
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        for each in ((f"/api/permissions/{self.vhost}/guest", everything), (path.format(self.vhost), body)):
            answer = self.broker.http.ask("PUT" if "permissions" in each[0] else method, *each)
            assert answer.status in (201, 204), answer

    def findings(self, version: str = LATEST, **query: str) -> list[dict[str, Any]]:
        """What was found here, as JSON."""
        more = "".join(f"&{name}={value}" for name, value in query.items())
        found: list[dict[str, Any]] = self.broker.ask_vhost("GET", self.vhost, f"/findings?for={version}{more}", status=200)
        return found

    def codes(self, version: str = LATEST, severity: str = "") -> list[str]:
        """The codes of what was found here, in their order."""
        return [each["code"] for each in self.findings(version, severity=severity)]

    def one(self, code: str, version: str = LATEST) -> dict[str, Any]:
        """The only finding of that code."""
        found = [each for each in self.findings(version) if each["code"] == code]
        assert len(found) == 1, self.findings(version)
        return found[0]

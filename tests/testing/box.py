"""A sandbox of a broker for tests, and what a test asks of it."""

from typing import Any
from urllib.parse import quote

import pika

from tests.testing.supervised import Supervised
from tests.wire import Wire


class Box:
    """A sandbox: `wait` and `ask` are about its vhost, `wire` and `pika` connect to it with a client name. `end` has the broker end it."""

    def __init__(self, broker: Supervised, name: str | None = None) -> None:
        self.broker = broker
        made: dict[str, str] = broker.ask("POST", "/sandboxes", {"name": name}, status=201)
        self.vhost, self.user, self.password = made["vhost"], made["user"], made["password"]
        self._wires: list[Wire] = []

    def ask(self, method: str, path: str, body: Any = None, status: int | None = None) -> Any:
        return self.broker.ask_vhost(method, self.vhost, path, body, status)

    def wait(self, what: str, **conditions: Any) -> float:
        """Returns how long it took."""
        seconds: float = self.ask("POST", "/wait", {"for": what, **conditions})["seconds"]
        return seconds

    def reason(self, what: str, **conditions: Any) -> str:
        """Why it doesn't become true."""
        answer = self.ask("POST", "/wait", {"for": what, "timeout": 0.05, **conditions}, status=408)
        assert answer["error"] == "timeout"
        reason: str = answer["reason"]
        return reason

    def wire(self, name: str = "", **options: Any) -> Wire:
        """One that is closed with the sandbox."""
        properties = {"connection_name": name} if name else {}
        wire = Wire.connect(
            self.broker, user=self.user, password=self.password, vhost=self.vhost, properties=properties, **options
        )  # fmt: skip
        self._wires.append(wire)
        return wire

    def pika(self, name: str = "", **options: Any) -> pika.ConnectionParameters:
        return pika.ConnectionParameters(
            host=self.broker.host,
            port=self.broker.port,
            virtual_host=self.vhost,
            credentials=pika.PlainCredentials(self.user, self.password),
            client_properties={"connection_name": name} if name else None,
            **options,
        )

    @property
    def url(self) -> str:
        """For clients that take one."""
        return f"amqp://{self.user}:{self.password}@{self.broker.host}:{self.broker.port}/{quote(self.vhost, safe='')}"

    def end(self) -> None:
        for wire in self._wires:
            wire.abort()
        self.broker.ask("DELETE", f"/sandboxes/{self.vhost}", status=204)

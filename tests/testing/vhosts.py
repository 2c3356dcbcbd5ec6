"""A vhost of a test's own in a broker for tests, and what a look at it from outside shows."""

from typing import Any
from urllib.parse import quote

from tests.testing.supervised import Supervised
from tests.wire import Wire

LOOK = {"state", "position", "id", "is_on_disk", "payload_bytes", "is_truncated"}
"""Fields of a look that say nothing of the message, or are the broker's numbers."""


class TestedVHost:
    """A sandbox, and what is asked about it."""

    __test__ = False

    def __init__(self, broker: Supervised, name: str | None = None) -> None:
        self.broker = broker
        self.login: dict[str, str] = broker.ask("POST", "/sandboxes", {"name": name})
        self.name = self.login["vhost"]
        self.path = quote(self.name, safe="")

    def connect(self, **options: Any) -> Wire:
        return Wire.connect(self.broker, user=self.login["user"], password=self.login["password"], vhost=self.name, **options)

    def end(self) -> None:
        self.broker.ask("DELETE", f"/sandboxes/{self.path}")

    def ask(self, method: str, path: str, body: Any = None, status: int | None = None) -> Any:
        return self.broker.ask_vhost(method, self.name, path, body, status)

    def snapshot(self) -> str:
        number: str = self.ask("POST", "/snapshots", status=201)["id"]
        return number

    def restore(self, snapshot: str, **options: Any) -> Any:
        return self.ask("POST", f"/snapshots/{snapshot}/restore", options, status=200)

    def reset(self, **options: Any) -> int:
        count: int = self.ask("POST", "/reset", options, status=200)["messages"]
        return count

    # --- what others see --------------------------------------------------------------------------------------------

    def messages(self, queue: str, state: str = "ready") -> list[dict[str, Any]]:
        """The messages of a queue as a look shows them, without what a copy can't have."""
        path = f"/api/leveret/queues/{self.path}/{quote(queue, safe='')}/messages?limit=1000&state={state}"
        answer = self.broker.http.ask("GET", path, credentials=(self.login["user"], self.login["password"]))
        assert answer.status == 200, answer
        return [{key: value for key, value in each.items() if key not in LOOK} for each in answer.json["items"]]

    def declared(self) -> dict[str, Any]:
        """All that is declared, each list sorted by what it says."""
        get = self.broker.http.get
        definitions = get(f"/api/definitions/{self.path}")
        found = {kind: definitions[kind] for kind in ("exchanges", "bindings", "policies", "parameters")}
        found["queues"] = [
            {key: each.get(key) for key in ("name", "durable", "auto_delete", "exclusive", "arguments", "policy", "operator_policy")}
            for each in get(f"/api/queues/{self.path}?disable_stats=true&enable_queue_totals=true")
        ]
        return {kind: sorted(items, key=repr) for kind, items in found.items()}

    def contents(self) -> dict[str, Any]:
        """All that is there, and every message, at its place."""
        declared = self.declared()
        names = [each["name"] for each in self.broker.http.get(f"/api/queues/{self.path}")]
        return declared | {"messages": {name: self.messages(name) for name in names}}

"""A sandbox whose state is taken and put back, and what a look at it from outside shows."""

from typing import Any
from urllib.parse import quote

from tests.testing.box import Box

LOOK = {"state", "position", "id", "is_on_disk", "payload_bytes", "is_truncated"}
"""Fields of a look that say nothing of the message, or are the broker's numbers."""


class StateBox(Box):
    """See the module."""

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
        path = f"/api/leveret/queues/{self.vhost}/{quote(queue, safe='')}/messages?limit=1000&state={state}"
        answer = self.broker.http.ask("GET", path, credentials=(self.user, self.password))
        assert answer.status == 200, answer
        return [{key: value for key, value in each.items() if key not in LOOK} for each in answer.json["items"]]

    def declared(self) -> dict[str, Any]:
        """All that is declared, each list sorted by what it says."""
        get = self.broker.http.get
        definitions = get(f"/api/definitions/{self.vhost}")
        found = {kind: definitions[kind] for kind in ("exchanges", "bindings", "policies", "parameters")}
        found["queues"] = [
            {key: each.get(key) for key in ("name", "durable", "auto_delete", "exclusive", "arguments", "policy", "operator_policy")}
            for each in get(f"/api/queues/{self.vhost}?disable_stats=true&enable_queue_totals=true")
        ]
        return {kind: sorted(items, key=repr) for kind, items in found.items()}

    def contents(self) -> dict[str, Any]:
        """All that is there, and every message, at its place."""
        declared = self.declared()
        names = [each["name"] for each in self.broker.http.get(f"/api/queues/{self.vhost}")]
        return declared | {"messages": {name: self.messages(name) for name in names}}

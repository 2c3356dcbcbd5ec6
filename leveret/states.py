"""What a vhost holds, taken down and put back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from leveret.asking import Asking, segment

if TYPE_CHECKING:
    import os


class Snapshot(NamedTuple):
    """A state that the broker remembers: its name there, and what is in it."""

    id: str
    queues: int
    messages: int


class States(Asking):
    """See the module. Clients stay connected unless `close_connections` is asked for; acks of what is gone meanwhile are ignored."""

    def snapshot(self) -> Snapshot:
        """Have the broker remember the vhost as it is: what is declared, and the messages."""
        facts = self._ask_vhost("POST", "/snapshots")
        return Snapshot(facts["id"], facts["queues"], facts["messages"])

    def restore(self, snapshot: Snapshot, *, close_connections: bool = False) -> None:
        """Make the vhost what it was then; a snapshot can be restored any number of times."""
        self._ask_vhost("POST", f"/snapshots/{segment(snapshot.id)}/restore", {"close_connections": close_connections})

    def forget(self, snapshot: Snapshot) -> None:
        """Let the broker forget a snapshot, which takes memory."""
        self._ask_vhost("DELETE", f"/snapshots/{segment(snapshot.id)}")

    def reset(self, *, everything: bool = False, close_connections: bool = False) -> None:
        """Throw all messages away; with `everything` what is declared as well: the vhost is as new."""
        self._ask_vhost("POST", "/reset", {"everything": everything, "close_connections": close_connections})

    def export_state(self, path: str | os.PathLike[str]) -> None:
        """Write what is in the vhost to a file (JSON), for a bug report or another broker's `load_state`."""
        state = self._ask_vhost("GET", "/state")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(state, file, indent=1, ensure_ascii=False)
            file.write("\n")

    def load_state(self, path: str | os.PathLike[str]) -> None:
        """Make the vhost what a file says that `export_state` has written."""
        with open(path, "rb") as file:
            self._ask_vhost("PUT", "/state", file.read())

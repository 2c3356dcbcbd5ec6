"""What the way of a message may depend on: its routing keys, its headers and properties, or the message itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol import content

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.tables import Table


class Envelope:
    """A message on its way through exchanges. `keys` are its routing key and those of CC and BCC; the rest is the message's parts as in
    the message tuple (core/message.py). With nothing but keys it asks where any message with them would go."""

    __slots__ = ("_headers", "body", "header", "keys", "looks", "routing")

    def __init__(
        self, keys: Sequence[str], routing: bytes = b"", header: bytes = b"", body: bytes = b"", headers: Table | None = None
    ) -> None:
        """`headers` are those of `header` where the caller has them decoded."""
        self.keys = keys
        self.routing = routing
        self.header = header
        self.body = body
        self._headers = headers
        self.looks = 0
        """Exchanges on the way that looked at more than the key."""

    @property
    def headers(self) -> Table:
        """The headers, decoded when somebody looks."""
        if self._headers is None:
            self._headers = content.headers(self.header)
        return self._headers

"""Logins counted: by protocol, and by where they come from and who they say they are. For the HTTP API and the metrics."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

AMQP: Final = "amqp091"
HTTP: Final = "http"
"""RabbitMQ's words for the protocols."""
SOURCES_MAX: Final = 1000
"""Sources remembered; past it the one goes whose last login is the oldest."""
USER_MAX: Final = 255
"""Characters of a user's name that are remembered: no user has a longer one."""


class Source(NamedTuple):
    """Where logins come from: an address, a user's name as it was told, a protocol."""

    address: str
    user: str
    protocol: str


class Count:
    """Logins of one kind."""

    __slots__ = ("failed", "succeeded")

    def __init__(self) -> None:
        self.succeeded = 0
        self.failed = 0

    def add(self, *, succeeded: bool) -> None:
        """One more."""
        if succeeded:
            self.succeeded += 1
        else:
            self.failed += 1

    @property
    def total(self) -> int:
        """Of both kinds."""
        return self.succeeded + self.failed


class Attempts:
    """See the module. A protocol is there once somebody tried."""

    def __init__(self) -> None:
        self.by_protocol: dict[str, Count] = {}
        self.by_source: OrderedDict[Source, Count] = OrderedDict()

    def add(self, protocol: str, address: str, user: str, *, succeeded: bool) -> None:
        """A login was decided."""
        self.by_protocol.setdefault(protocol, Count()).add(succeeded=succeeded)
        source = Source(address, user[:USER_MAX], protocol)
        self.by_source.setdefault(source, Count()).add(succeeded=succeeded)
        self.by_source.move_to_end(source)
        if len(self.by_source) > SOURCES_MAX:
            self.by_source.popitem(last=False)

    def reset(self) -> None:
        """Count from nothing again."""
        self.by_protocol.clear()
        self.by_source.clear()

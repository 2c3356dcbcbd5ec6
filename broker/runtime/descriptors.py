"""File descriptors: connections may not take the last ones, for the log and the catalog need some too.

A socket gets the lowest number that is free. One whose number is past `sockets_max` says that so many descriptors are open, whatever
they are: its connection is turned away. RabbitMQ stops accepting instead, and then nobody learns why he waits.
"""

from __future__ import annotations

import logging
from typing import Final

log = logging.getLogger("descriptors")

RESERVE: Final = 2112
"""Kept free of connections where there are twice as many: a round of the event loop may accept all that two listeners have waiting."""
CLEAR_SHARE: Final = 0.9
"""The alarm ends below so much of `sockets_max`: a peer that comes and goes at the limit is no line in the log each time."""


class Descriptors:
    """See the module. `limit` is how many this process may have open; None where the system doesn't say."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.sockets_max = None if limit is None else limit - max(min(RESERVE, limit // 2), limit // 10)
        self._is_short = False

    def has_room_for(self, number: int) -> bool:
        """Whether a connection whose socket has this number may stay. The log has a line when that changes."""
        if self.sockets_max is None:
            return True
        if number >= self.sockets_max:
            if not self._is_short:
                advice = "new connections are turned away; raise the limit of open files (ulimit -n), or close connections"
                log.warning("file descriptor limit alarm set: %d of %d are open; %s", number, self.sockets_max, advice)
            self._is_short = True
            return False
        if self._is_short and number < self.sockets_max * CLEAR_SHARE:
            self._is_short = False
            log.info("file descriptor limit alarm cleared: connections are taken again")
        return True


def file_limit() -> int | None:
    """How many descriptors this process may have open; None where the system doesn't say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft

"""A vhost of a broker under test."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from broker.testing.conversations import CLOSED_MAX
from broker.testing.findings.vhost import JudgedVHost
from broker.testing.idle import Activity
from broker.testing.lives.vhost import RememberingVHost
from broker.testing.queue import WatchedQueue

if TYPE_CHECKING:
    from broker.core.broker import Broker
    from broker.testing.conversation import Conversation


class WatchedVHost(JudgedVHost, RememberingVHost):
    """See the module."""

    queue_type = WatchedQueue

    def __init__(self, broker: Broker, name: str) -> None:
        super().__init__(broker, name)
        self.begun_at = time.monotonic()
        self.activity = Activity()
        self.conversations: deque[Conversation] = deque(maxlen=CLOSED_MAX)
        """Of connections that are closed."""

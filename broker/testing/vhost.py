"""A vhost of a broker under test."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from broker.testing.findings.vhost import JudgedVHost
from broker.testing.lives.vhost import RememberingVHost
from broker.testing.queue import WatchedQueue
from broker.testing.talk.conversations import CLOSED_MAX
from broker.testing.waiting.idle import Activity

if TYPE_CHECKING:
    from broker.testing.broker import WatchedBroker
    from broker.testing.talk.conversation import Conversation
    from broker.testing.timing.scheduling import Unfairness


class WatchedVHost(JudgedVHost, RememberingVHost):
    """See the module."""

    queue_type = WatchedQueue
    broker: WatchedBroker

    def __init__(self, broker: WatchedBroker, name: str) -> None:
        super().__init__(broker, name)
        self.begun_at = time.monotonic()
        self.activity = Activity()
        self.conversations: deque[Conversation] = deque(maxlen=CLOSED_MAX)
        """Of connections that are closed."""
        self.random_bytes = broker.rig.random_bytes(name)
        self.unfairness: Unfairness | None = None
        """In which order its queues and consumers are served; None: fairly."""

"""A vhost of a broker under test."""

from __future__ import annotations

from broker.core.vhost import VHost
from broker.testing.queue import WatchedQueue


class WatchedVHost(VHost):
    """See the module."""

    queue_type = WatchedQueue

"""A vhost of a broker under test."""

from __future__ import annotations

from broker.testing.findings.vhost import JudgedVHost
from broker.testing.queue import WatchedQueue


class WatchedVHost(JudgedVHost):
    """See the module."""

    queue_type = WatchedQueue

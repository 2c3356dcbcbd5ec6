"""A queue of a broker under test."""

from __future__ import annotations

from broker.testing.findings.queue import JudgedQueue


class WatchedQueue(JudgedQueue):
    """See the module."""

"""A queue of a broker under test."""

from __future__ import annotations

from broker.core.queue import Queue


class WatchedQueue(Queue):
    """See the module."""

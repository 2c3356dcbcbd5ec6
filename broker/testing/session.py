"""A session of a broker under test."""

from __future__ import annotations

from broker.core.session import Session


class WatchedSession(Session):
    """See the module."""

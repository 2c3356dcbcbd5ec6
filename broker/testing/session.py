"""A session of a broker under test."""

from __future__ import annotations

from broker.core.session import Session
from broker.testing.vanished import ForgivingChannel


class WatchedSession(Session):
    """See the module."""

    channel_type = ForgivingChannel

"""A session of a broker under test."""

from __future__ import annotations

from broker.testing.channel import WatchedChannel
from broker.testing.findings.session import JudgedSession
from broker.testing.lives.session import RememberingSession


class WatchedSession(JudgedSession, RememberingSession):
    """See the module."""

    channel_type = WatchedChannel

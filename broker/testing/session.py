"""A session of a broker under test."""

from __future__ import annotations

from broker.testing.channel import WatchedChannel
from broker.testing.faults.publisher import FaultyPublisher
from broker.testing.faults.session import FaultySession
from broker.testing.findings.session import JudgedSession
from broker.testing.lives.publisher import RememberingPublisher
from broker.testing.lives.session import RememberingSession


class WatchedPublisher(FaultyPublisher, RememberingPublisher):
    """Its publishing side."""


class WatchedSession(JudgedSession, RememberingSession, FaultySession):
    """See the module."""

    channel_type = WatchedChannel
    publisher_type = WatchedPublisher
    publisher: WatchedPublisher

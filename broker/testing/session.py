"""A session of a broker under test."""

from __future__ import annotations

from broker.testing.findings.session import JudgedSession
from broker.testing.vanished import ForgivingChannel


class WatchedSession(JudgedSession):
    """See the module."""

    channel_type = ForgivingChannel

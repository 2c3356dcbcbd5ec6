"""A session of a broker under test."""

from __future__ import annotations

from broker.testing.findings.session import JudgedSession


class WatchedSession(JudgedSession):
    """See the module."""

"""Where faults get between client and broker."""

from __future__ import annotations

from broker.testing.through import Hearing, Saying


class FaultyHearing(Hearing):
    """What the client says, as far as faults let it through."""


class FaultySaying(Saying):
    """What the broker says, as far as faults let it through."""

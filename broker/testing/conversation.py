"""What clients and broker said to each other, kept for the report of a test that failed."""

from __future__ import annotations

from broker.testing.through import Hearing, Saying


class Overheard(Hearing):
    """Writes down what the client says. It is the first to hear, whatever faults do to it later."""


class Repeated(Saying):
    """Writes down what the broker says. It is the last to speak, so it hears what faults have left."""

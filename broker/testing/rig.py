"""What a broker under test has beside it: one object for each thing that a test may ask for."""

from __future__ import annotations

import random
import secrets
from typing import TYPE_CHECKING

from broker.testing.clock import Clock
from broker.testing.findings.judge import Judge
from broker.testing.sandboxes import Sandboxes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.admin.routing import Route
    from broker.config import RigOptions

SEED_BITS = 32


class Rig:
    """One per broker."""

    def __init__(self, options: RigOptions) -> None:
        self.token = options.token or secrets.token_urlsafe(16)
        """What requests have to bring."""
        self.seed = secrets.randbits(SEED_BITS) if options.seed is None else options.seed
        self.clock = Clock()
        self.after_turn: list[Callable[[], None]] = []
        """Called after each turn of the broker, in their order."""
        self.judge = Judge()
        """What is found that would break on RabbitMQ 4, or loses messages."""
        self.on_sandbox_end: list[Callable[[str], None]] = [self.judge.forget]
        """Called with the name of a vhost that goes with all that is kept about it."""
        self._names = self.chance("names")
        self.sandboxes = Sandboxes(self)

    def chance(self, purpose: str) -> random.Random:
        """What is left to chance for one purpose: the same for the same seed, whatever is drawn for others."""
        return random.Random(f"{self.seed}/{purpose}")

    def random_bytes(self, count: int) -> bytes:
        """For names and tags that the broker makes up."""
        return self._names.randbytes(count)

    def routes(self) -> Sequence[Route]:
        """What is served over HTTP beside everything else."""
        from broker.testing.resources import ROUTES

        return ROUTES

"""What a broker under test has beside it: one object for each thing that a test may ask for."""

from __future__ import annotations

import random
import secrets
from typing import TYPE_CHECKING

from broker.core import entries
from broker.testing.faults.rules import Rules
from broker.testing.findings.judge import Judge
from broker.testing.sandboxes import Sandboxes
from broker.testing.states.snapshots import Snapshots
from broker.testing.states.standstill import Standstill
from broker.testing.talk.conversations import Conversations
from broker.testing.timing.clock import Clock
from broker.testing.timing.scheduling import Scheduling
from broker.testing.waiting.waits import Waits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.admin.routing import Route
    from broker.config import RigOptions
    from broker.core.vhost import VHost
    from broker.testing.broker import WatchedBroker
    from broker.testing.server import WatchedServer
    from broker.testing.timing.advance import Advance
    from storage.api import Catalog

SEED_BITS = 32


class Rig:
    """One per broker, which it is made before."""

    broker: WatchedBroker
    server: WatchedServer

    time: Advance
    """Moves the clock, and calls the timers on the way; there once the server is."""

    def __init__(self, options: RigOptions) -> None:
        self.token = options.token or secrets.token_hex(16)
        """What requests have to bring."""
        self.seed = secrets.randbits(SEED_BITS) if options.seed is None else options.seed
        self.clock = Clock()
        self.starts = 1
        """How often its data directory was served for tests, this time included."""
        self.after_turn: list[Callable[[], None]] = []
        """Called after each turn of the broker, in their order."""
        self.judge = Judge()
        """What is found that would break on RabbitMQ 4, or loses messages."""
        self.on_sandbox_end: list[Callable[[str], None]] = [self.judge.forget]
        """Called with the name of a vhost that goes with all that is kept about it."""
        self.busy: list[Callable[[VHost], str | None]] = []
        """Each tells what goes on in a vhost that nobody else knows of (a fault holds something back), if something does: it isn't idle."""
        self.faults = Rules(self)
        self.waits = Waits(lambda: self.server.turn.schedule())
        self.after_turn.append(self.waits.after_turn)
        self.conversations = Conversations(self.clock.now_ms)
        self.sandboxes = Sandboxes(self)
        self.standstill = Standstill()
        self.busy.append(self.standstill.busy)
        self.snapshots = Snapshots(self)
        self.scheduling = Scheduling()
        self.busy.append(self.scheduling.busy)
        self.on_sandbox_end.append(self.scheduling.forget)

    def chance(self, purpose: str) -> random.Random:
        """What is left to chance for one purpose: the same for the same seed, whatever is drawn for others."""
        return random.Random(f"{self.seed}/{purpose}")

    def random_bytes(self, vhost: str) -> Callable[[int], bytes]:
        """For names and tags that are made up in a vhost, which don't depend on what happens in others. After a restart they are others:
        those of before may still be there."""
        return self.chance(f"names/{self.starts}/{vhost}").randbytes

    def restore(self, catalog: Catalog) -> None:
        """Go on where the last start of this data directory ended."""
        self.clock.restore(catalog)
        kept = catalog.get(entries.TESTING_STARTS)
        self.starts = 1 if kept is None else entries.load(kept.value)["count"] + 1

    def routes(self) -> Sequence[Route]:
        """What is served over HTTP beside everything else."""
        from broker.testing.resources import ROUTES

        return ROUTES

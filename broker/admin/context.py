"""What the API works with: one for each server."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from broker.admin.errors import HttpError
from broker.admin.pacing import Turns
from broker.core.login import Undecided
from broker.core.steps import StoreFailed, Waiter
from broker.metrics.telemetry import Telemetry

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from broker.access.mechanisms import Authentication
    from broker.admin.routing import Route
    from broker.admin.samples import Samples
    from broker.config import Config
    from broker.core.broker import Broker
    from broker.core.login import Question
    from broker.node import Node
    from broker.operations import Operations

T = TypeVar("T")


class Context:
    """See the module. `ask(question, answered)` has an Undecided's question answered, and calls `answered` then."""

    def __init__(
        self,
        operations: Operations,
        config: Config,
        node: Node,
        samples: Samples,
        authentication: Authentication,
        loop: asyncio.AbstractEventLoop,
        ask: Callable[[Question, Callable[[], None]], object],
    ) -> None:
        self.operations = operations
        self.broker: Broker = operations.broker
        self.config = config
        self.node = node
        self.samples = samples
        self.authentication = authentication
        self.loop = loop
        self.telemetry = Telemetry()
        self.turns = Turns()
        self.more_routes: Callable[[], Sequence[Route]] = tuple
        self.testing_token: str | None = None
        """Of a broker for tests: what is served there beside everything else, and what has to be brought for it."""
        self._ask = ask

    async def commit(self) -> None:
        """Wait until all that was changed so far is durable. Raises HttpError 500 if it never will be.

        What was changed before an earlier turn may still be on its way, though nothing is there to be shipped now."""
        told: asyncio.Future[bool] = self.loop.create_future()
        self.broker.outbox.hold(Waiter(lambda durable: None if told.done() else told.set_result(durable)))
        self.node.schedule_turn()
        if not await told:
            raise HttpError(500, "internal_server_error", str(StoreFailed()))

    async def decide(self, act: Callable[[], T]) -> T:
        """What `act` returns; while another server has to be asked first (Undecided) that is done, and `act` is called again."""
        while True:
            try:
                return act()
            except Undecided as undecided:
                question = undecided.question
            await self.answer(question)

    async def answer(self, question: Question) -> None:
        """Have a question answered."""
        answered: asyncio.Future[None] = self.loop.create_future()
        self._ask(question, lambda: None if answered.done() else answered.set_result(None))
        await answered

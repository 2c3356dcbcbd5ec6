"""Work that takes more than one turn: a generator that does a little, and yields what it waits for.

    None        somebody else's turn: there may be a lot left
    a Wait      a function that is given what to call when it is time to go on
    a Question  what an identity can't decide by itself (core/login.py)

Whoever runs it (admin/steps.py) goes on with `next` when that has come, and closes it if nobody wants the result any more. What
lies between two yields happens at once, so it sees the broker as it is at one moment, and what it writes down is of one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, TypeVar

from broker.core.login import Question, Undecided

if TYPE_CHECKING:
    from broker.core.outbox import Outbox

T = TypeVar("T")
Wait = Callable[[Callable[[], None]], None]
Step = Wait | Question | None
Steps = Generator[Step, None, T]


class StoreFailed(Exception):
    """Nothing can be made durable until a restart."""

    def __init__(self) -> None:
        super().__init__("the message store failed, nothing more can be made durable until a restart")


class Waiter:
    """Waits for a batch, as a channel does that holds a reply (Outbox.hold)."""

    def __init__(self, told: Callable[[bool], None]) -> None:
        self._told = told

    def release(self, batch: int, durable: bool) -> None:
        """The batch is durable, or will never be."""
        self._told(durable)


def until_durable(outbox: Outbox) -> Steps[None]:
    """Wait until all that was written down so far is durable. Raises StoreFailed."""
    outcome: list[bool] = []

    def wait(go_on: Callable[[], None]) -> None:
        def told(durable: bool) -> None:
            outcome.append(durable)
            go_on()

        outbox.hold(Waiter(told))

    yield wait
    if not all(outcome):
        raise StoreFailed


def decided(check: Callable[[], T]) -> Steps[T]:
    """What `check` returns, or raises, once all its questions are answered."""
    while True:
        try:
            return check()
        except Undecided as undecided:
            question = undecided.question
        yield question

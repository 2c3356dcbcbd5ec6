"""The outbox of a broker under test: here a message gets its number, wherever it comes from, so here its life begins or goes on.

Who publishes says which life that is to be (`bearing`); of what nobody has announced all that is known is that the broker did it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from broker.core.deduplication import SeenQueue
from broker.core.outbox import Outbox
from broker.testing.lives import kinds
from broker.testing.lives.history import history_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from broker.core.message import Message
    from broker.core.outbox import Target
    from broker.core.queue import Queue
    from broker.testing.lives.history import History
    from broker.testing.lives.life import Life


class RememberingOutbox(Outbox):
    """See the module."""

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__(clock)
        self.bearing_for: History | None = None
        self.born: Life | None = None
        """The life of the message that is numbered next, and whose history it is of."""

    @contextmanager
    def bearing(self, history: History, life: Life) -> Iterator[None]:
        """The message that gets a number meanwhile has this life; what else happens on the way has lives of its own."""
        outer = self.bearing_for, self.born
        self.bearing_for, self.born = history, life
        try:
            yield
        finally:
            self.bearing_for, self.born = outer

    def enqueue_one(
        self,
        queues: Sequence[Queue],
        target: Target | None,
        routing: bytes,
        header: bytes,
        body: bytes,
        *more: Any,
        **options: Any,
    ) -> Message:
        """See Outbox."""
        if queues and isinstance(queues[0], SeenQueue):  # what an exchange takes down for itself
            return super().enqueue_one(queues, target, routing, header, body, *more, **options)
        history, life = self.bearing_for, self.born
        self.bearing_for = self.born = None
        if history is None or life is None:
            history = history_of(queues[0].vhost)
            life = history.begin(kinds.ANNOUNCED)
            history.note(life, kinds.ANNOUNCED)
        number = self.ledger.next_id
        if life.header is None:
            life.read((number, routing, header, body))
        history.keep(life, number)
        message = super().enqueue_one(queues, target, routing, header, body, *more, **options)
        history.conclude(life)
        return message

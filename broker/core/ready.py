"""The messages of a queue that wait for a consumer, in the order in which they will go out.

Order is id order. What was never delivered stands in `fresh`, a deque that only grows at its end; what came back stands in
`returned`, a heap, so that a requeued message finds its old place (contract 6.5) and a queue that sees no requeue pays
nothing for it. Everything in `returned` is redelivered, nothing in `fresh` is.

A queue chooses its structure when it is declared; others (priorities) have the same methods.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush

from broker.core.message import ID, Message


class Ready:
    """First in, first out."""

    __slots__ = ("fresh", "returned")

    def __init__(self) -> None:
        self.fresh: deque[Message] = deque()
        self.returned: list[Message] = []

    def __len__(self) -> int:
        return len(self.fresh) + len(self.returned)

    def extend(self, messages: Iterable[Message]) -> None:
        """Messages with rising ids, each above all that were here."""
        self.fresh.extend(messages)

    def take(self, count: int) -> tuple[bool, list[Message]]:
        """Remove up to `count` (at least 1) messages from the head that are all redelivered or all not: (redelivered, messages).

        Call it only when something is ready.
        """
        fresh, returned = self.fresh, self.returned
        if not returned:
            if count >= len(fresh):
                messages = list(fresh)
                fresh.clear()
                return False, messages
            popleft = fresh.popleft
            return False, [popleft() for _ in range(count)]
        messages = []
        if not fresh or returned[0][ID] < fresh[0][ID]:
            bound = fresh[0][ID] if fresh else None
            while returned and len(messages) < count and (bound is None or returned[0][ID] < bound):
                messages.append(heappop(returned))
            return True, messages
        bound = returned[0][ID]
        while fresh and len(messages) < count and fresh[0][ID] < bound:
            messages.append(fresh.popleft())
        return False, messages

    def put_back(self, redelivered: bool, messages: Sequence[Message]) -> None:
        """Undo a take: `messages` were not delivered after all."""
        if redelivered:
            self.give_back(messages)
        else:
            self.fresh.extendleft(reversed(messages))

    def give_back(self, messages: Sequence[Message]) -> None:
        """Requeue: back to the old positions, redelivered from now on."""
        returned = self.returned
        if len(messages) > len(returned):
            returned.extend(messages)
            heapify(returned)
        else:
            for message in messages:
                heappush(returned, message)

    def clear(self) -> list[Message]:
        """Remove everything; returns it in no particular order."""
        messages = [*self.returned, *self.fresh]
        self.returned.clear()
        self.fresh.clear()
        return messages

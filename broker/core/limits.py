"""x-max-length and x-max-length-bytes: how much may be ready, and what gives way (contract 7.3).

They count what is ready. `drop-head` lets everything in and drops from the head what consumers didn't take; `reject-publish`
refuses the newcomer. The bytes of what is ready are counted only where they are limited, by the queue's structure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.message import BODY, body_of
from broker.core.ready import Ready

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broker.core.arguments import QueueArguments
    from broker.core.message import Message
    from broker.core.queue import Queue

REJECTING = ("reject-publish", "reject-publish-dlx")


class MeasuredReady(Ready):
    """Ready, and how many bytes of bodies."""

    __slots__ = ("body_bytes",)

    def __init__(self) -> None:
        super().__init__()
        self.body_bytes = 0

    def extend(self, messages: Iterable[Message]) -> None:
        """See Ready."""
        before = len(self.fresh)
        super().extend(messages)
        self.body_bytes += sum(len(self.fresh[position][BODY]) for position in range(before, len(self.fresh)))

    def take(self, count: int) -> tuple[bool, list[Message]]:
        """See Ready."""
        redelivered, messages = super().take(count)
        self.body_bytes -= sum(map(len, map(body_of, messages)))
        return redelivered, messages

    def put_back(self, redelivered: bool, messages: Sequence[Message]) -> None:
        """See Ready."""
        super().put_back(redelivered, messages)
        if not redelivered:
            self.body_bytes += sum(map(len, map(body_of, messages)))

    def give_back(self, messages: Sequence[Message]) -> None:
        """See Ready."""
        super().give_back(messages)
        self.body_bytes += sum(map(len, map(body_of, messages)))

    def clear(self) -> list[Message]:
        """See Ready."""
        self.body_bytes = 0
        return super().clear()


class Limit:
    """The limits of one queue."""

    __slots__ = ("max_bytes", "max_length", "rejects")

    def __init__(self, max_length: int | None, max_bytes: int | None, overflow: str | None) -> None:
        self.max_length = max_length
        self.max_bytes = max_bytes
        self.rejects = overflow in REJECTING

    def would_overflow(self, queue: Queue, body: bytes) -> bool:
        """One more message with this body is too much."""
        if self.max_length is not None and len(queue.ready) + 1 > self.max_length:
            return True
        return self.max_bytes is not None and _bytes_of(queue) + len(body) > self.max_bytes

    def is_over(self, queue: Queue) -> bool:
        """More is ready than may be."""
        if self.max_length is not None and len(queue.ready) > self.max_length:
            return True
        return self.max_bytes is not None and _bytes_of(queue) > self.max_bytes

    def excess(self, queue: Queue) -> list[Message]:
        """Take from the head what is too much."""
        dropped: list[Message] = []
        while len(queue.ready) and self.is_over(queue):
            surplus = len(queue.ready) - self.max_length if self.max_length is not None else 1
            dropped += queue.ready.take(max(surplus, 1))[1]
        return dropped


def _bytes_of(queue: Queue) -> int:
    assert isinstance(queue.ready, MeasuredReady)
    return queue.ready.body_bytes


def limit_of(arguments: QueueArguments) -> Limit | None:
    """The limit that the arguments ask for, if any."""
    if arguments.max_length is None and arguments.max_length_bytes is None:
        return None
    return Limit(arguments.max_length, arguments.max_length_bytes, arguments.overflow)


def ready_for(limit: Limit | None) -> Ready:
    """The structure that the limit needs."""
    return MeasuredReady() if limit is not None and limit.max_bytes is not None else Ready()

"""x-max-length and x-max-length-bytes: how much may be ready, and what gives way (contract 7.3).

They count what is ready. `drop-head` lets everything in and drops from the head what consumers didn't take; `reject-publish`
refuses the newcomer. The bytes of what is ready are counted only where they are limited, by the queue's structure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.core.message import BODY, body_of
from broker.core.priorities import PriorityReady
from broker.core.ready import Ready
from broker.core.returns import QuorumReady

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from broker.core.arguments import QueueArguments
    from broker.core.compat import Compat
    from broker.core.message import Message
    from broker.core.pages import Pages
    from broker.core.queue import Queue

REJECT, REJECT_AND_DEAD_LETTER = "reject-publish", "reject-publish-dlx"


class Measured(Ready):
    """How many bytes of bodies, in memory or not: goes before a kind of Ready."""

    __slots__ = ()

    def extend(self, messages: Sequence[Message]) -> None:
        """See Ready."""
        super().extend(messages)
        self.body_bytes += sum(map(len, map(body_of, messages)))

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

    def take_while(self, fits: Callable[[Message], bool], most: int) -> list[Message]:
        """See Ready. However its levels go about it, what went counts once."""
        before = self.body_bytes
        messages = super().take_while(fits, most)
        self.body_bytes = before - sum(map(len, map(body_of, messages)))
        return messages

    def pick(self, level: Ready, ids: Sequence[int]) -> list[Message]:
        """See Ready."""
        picked = super().pick(level, ids)
        self.body_bytes -= sum(map(len, map(body_of, picked)))
        return picked

    def pick_beside(self, level: Ready, ids: Collection[int]) -> list[Any]:
        """See Ready."""
        items = super().pick_beside(level, ids)
        self.body_bytes -= _size_of(level, items)
        return items

    def put_beside(self, level: Ready, items: Sequence[Any]) -> None:
        """See Ready."""
        super().put_beside(level, items)
        self.body_bytes += _size_of(level, items)

    def clear(self) -> tuple[list[Message], list[Pages]]:
        """See Ready."""
        self.body_bytes = 0
        return super().clear()

    def restore(self, pages: Mapping[int, Pages]) -> None:
        """See Ready."""
        super().restore(pages)
        self.body_bytes = sum(each.body_bytes for each in pages.values())

    def forget(self, body_bytes: int) -> None:
        """See Ready."""
        self.body_bytes -= body_bytes


def _size_of(level: Ready, items: Sequence[Any]) -> int:
    return sum(len(message[BODY]) for message in map(level.message_of, items) if message is not None)


class MeasuredReady(Measured):
    """Ready, measured."""

    __slots__ = ()


class MeasuredPriorityReady(Measured, PriorityReady):
    """PriorityReady, measured."""

    __slots__ = ()


class MeasuredQuorumReady(Measured, QuorumReady):
    """QuorumReady, measured."""

    __slots__ = ()


class Limit:
    """The limits of one queue."""

    __slots__ = ("dead_letters", "max_bytes", "max_length", "rejects")

    def __init__(self, max_length: int | None, max_bytes: int | None, overflow: str | None) -> None:
        self.max_length = max_length
        self.max_bytes = max_bytes
        self.rejects = overflow in (REJECT, REJECT_AND_DEAD_LETTER)
        """The newcomer is refused."""
        self.dead_letters = overflow == REJECT_AND_DEAD_LETTER
        """What is refused is a dead letter."""

    def would_overflow(self, queue: Queue, body: bytes) -> bool:
        """One more message with this body is too much."""
        if self.max_length is not None and len(queue.ready) + 1 > self.max_length:
            return True
        return self.max_bytes is not None and _bytes_of(queue) + len(body) > self.max_bytes

    def surplus(self, queue: Queue) -> int:
        """How many messages at the head are surely too much: 0 if none is; where bytes are limited, one after the other."""
        if self.max_length is not None and len(queue.ready) > self.max_length:
            return len(queue.ready) - self.max_length
        return int(self.max_bytes is not None and _bytes_of(queue) > self.max_bytes)


def _bytes_of(queue: Queue) -> int:
    assert isinstance(queue.ready, Measured)
    return queue.ready.body_bytes


def limit_of(arguments: QueueArguments) -> Limit | None:
    """The limit that the arguments ask for, if any."""
    if arguments.max_length is None and arguments.max_length_bytes is None:
        return None
    overflow = arguments.overflow
    if arguments.type == "quorum" and overflow == REJECT_AND_DEAD_LETTER:
        overflow = None  # RabbitMQ takes it at declare, warns, and drops from the head
    return Limit(arguments.max_length, arguments.max_length_bytes, overflow)


def delivery_limit_of(arguments: QueueArguments, compat: Compat) -> int | None:
    """How often a message may come back to a quorum queue; None: for ever."""
    given = arguments.delivery_limit
    if given is None:
        return compat.delivery_limit
    return None if given < 0 and compat.negative_delivery_limit_is_none else given


def ready_for(arguments: QueueArguments) -> Ready:
    """The structure that a queue with these arguments needs, not measured yet."""
    if arguments.type == "quorum":
        return QuorumReady()
    return PriorityReady(arguments.max_priority) if arguments.max_priority else Ready()


_MEASURED: dict[type[Ready], type[Ready]] = {
    Ready: MeasuredReady,
    PriorityReady: MeasuredPriorityReady,
    QuorumReady: MeasuredQuorumReady,
}


def measure(ready: Ready) -> None:
    """Count the bytes of what is ready from now on: a limit on them has come, with the declare or with a policy. It isn't taken back."""
    measured = _MEASURED.get(type(ready))
    if measured is None:
        return  # it is already
    ready.body_bytes = sum(level.size for level in ready.levels)
    ready.__class__ = measured

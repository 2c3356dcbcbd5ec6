"""A queue of a broker under test."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from broker.testing.faults.queue import FaultyQueue
from broker.testing.findings.queue import JudgedDeadLetters, JudgedQueue
from broker.testing.lives.dead_letters import RememberingDeadLetters
from broker.testing.lives.queue import RememberingQueue

if TYPE_CHECKING:
    from broker.core.dead_letter import DeadLetters


class WatchedDeadLetters(JudgedDeadLetters, RememberingDeadLetters):
    """Where its dead letters go."""

    __slots__ = ()


class WatchedQueue(JudgedQueue, RememberingQueue, FaultyQueue):
    """See the module."""

    dead_letters_type: ClassVar[type[DeadLetters]] = WatchedDeadLetters

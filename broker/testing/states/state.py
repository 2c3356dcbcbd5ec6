"""What there is in a vhost at one moment: what is declared, and every message at its place.

    Snapshot, document  <- Captured (capture.py)      VHost
    Snapshot, document  -> Restoration (restoration.py) -> VHost

What is unacked counts as ready again, as if it had been requeued at that moment. Moments are in ms of the broker's clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from broker.core.arguments import QueueArguments
    from broker.core.envelope import Envelope
    from broker.core.inspection import Held
    from broker.core.policy import Policy
    from broker.core.session import Session
    from protocol.tables import Field, Table


class Kept(NamedTuple):
    """A message. `routing` and `header` are as in the message tuple (core/message.py)."""

    routing: bytes
    header: bytes
    body: bytes
    redelivered: bool = False
    delivery_count: int = 0
    """How often it came back."""
    until_ms: int | None = None
    """When it will have expired, or in what an exchange delays, when it is to go on; None: it may stay for ever."""
    held: Held | None = None
    """With whom it was."""


@dataclass(slots=True)
class QueueState:
    """A queue. `messages` in the order of delivery."""

    name: str
    durable: bool
    auto_delete: bool
    arguments: QueueArguments
    owner: Session | None = None
    """Of an exclusive queue: it comes back only while that connection is there."""
    messages: list[Kept] = field(default_factory=list)


@dataclass(slots=True)
class BindingState:
    """A binding of the exchange that has it."""

    destination: str
    is_queue: bool
    routing_key: str
    arguments: Table


@dataclass(slots=True)
class ExchangeState:
    """An exchange, with its bindings as source and what its type keeps."""

    name: str
    type: str
    durable: bool
    auto_delete: bool
    internal: bool
    arguments: Table
    declared_by: str
    bindings: list[BindingState] = field(default_factory=list)
    delayed: list[Kept] = field(default_factory=list)
    """In the order in which they are due (x-delayed-message)."""
    seen: list[tuple[Field, int]] = field(default_factory=list)
    """Values, and when each is forgotten, the oldest first (x-message-deduplication)."""
    recent: list[Envelope] = field(default_factory=list)
    """The history, the oldest first (x-recent-history)."""


@dataclass(slots=True)
class VHostState:
    """All that is in a vhost, but for its own description, its users' permissions, and who is connected."""

    taken_ms: int
    exchanges: dict[str, ExchangeState] = field(default_factory=dict)
    queues: dict[str, QueueState] = field(default_factory=dict)
    policies: list[Policy] = field(default_factory=list)
    """Operator policies too."""
    parameters: dict[tuple[str, str], Any] = field(default_factory=dict)
    """By component and name."""

    @property
    def messages(self) -> int:
        """How many there are in queues."""
        return sum(len(queue.messages) for queue in self.queues.values())

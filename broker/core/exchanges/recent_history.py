"""The recent-history exchange: a fanout whose last messages a new binding gets at once (rabbitmq_recent_history_exchange).

The history is in memory, as it is in RabbitMQ, and doesn't survive a restart; what it put into a durable queue does. It holds what was
routed, whether or not anybody got it, and in a transaction that is rolled back later, too.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, Final

from broker.core.exchange import LooksAt
from broker.core.exchanges.fanout import Fanout
from broker.core.exchanges.headers import term
from broker.core.memory import HEADER_BYTES, MESSAGE_BYTES
from protocol.constants import PRECONDITION_FAILED
from protocol.errors import ChannelException

if TYPE_CHECKING:
    from broker.core.envelope import Envelope
    from broker.core.exchange import Destination
    from broker.core.vhost import VHost
    from protocol.tables import Table

LENGTH: Final = "x-recent-history-length"
LENGTH_DEFAULT: Final = 20
NO_STORE: Final = "x-recent-history-no-store"
"""The header of a message that is not to be kept: the bool true, nothing else."""

_INTEGERS: Final = "bsIlL"
"""The integer types that the plugin takes: none without a sign."""
_NO_STORE_BYTES: Final = NO_STORE.encode()


class RecentHistory(Fanout):
    """Routes to every destination, and keeps what it routed."""

    type: ClassVar[str] = "x-recent-history"
    looks_at = LooksAt.MESSAGE
    __slots__ = ("_kept", "_vhost")

    def __init__(self, name: str, **properties: Any) -> None:
        """Raises ChannelException 406 for a length that makes no sense."""
        super().__init__(name, **properties)
        self._kept: deque[Envelope] = deque(maxlen=_length(self.arguments))
        self._vhost: VHost | None = None

    def attach(self, vhost: VHost) -> None:
        self._vhost = vhost

    def detach(self) -> None:
        self.forget()

    @property
    def kept(self) -> tuple[Envelope, ...]:
        """The history, the oldest message first."""
        return tuple(self._kept)

    def forget(self) -> None:
        """Keep nothing of it."""
        while self._kept:
            self._forget(self._kept.popleft())

    def route(self, envelope: Envelope) -> tuple[Destination, ...]:
        # Most messages don't have the name in their header, which then needn't be decoded.
        if _NO_STORE_BYTES not in envelope.header or not _says_no_store(envelope):
            self.keep(envelope)
        return self.matches(envelope.keys[0], {})

    def bound(self, destination: Destination) -> None:
        """The new binding gets the history, the oldest message first, though its queue may have had it through another."""
        assert self._vhost is not None
        for envelope in self.kept:  # the way may lead back to here
            self._vhost.deliver(destination, envelope)

    def keep(self, envelope: Envelope) -> None:
        """A message is the last of the history."""
        assert self._vhost is not None
        kept = self._kept
        if len(kept) == kept.maxlen:
            self._forget(kept.popleft())
        kept.append(envelope)
        self._vhost.broker.memory.used += _weight(envelope)

    def _forget(self, envelope: Envelope) -> None:
        assert self._vhost is not None
        self._vhost.broker.memory.used -= _weight(envelope)


def _weight(envelope: Envelope) -> int:
    return len(envelope.body) + len(envelope.header) + MESSAGE_BYTES + HEADER_BYTES


def _says_no_store(envelope: Envelope) -> bool:
    field = envelope.headers.get(NO_STORE)
    return field is not None and field.kind == "t" and bool(field.value)


def _length(arguments: Table) -> int:
    field = arguments.get(LENGTH)
    if field is None:
        return LENGTH_DEFAULT
    if field.kind not in _INTEGERS or field.value < 1:
        raise ChannelException(PRECONDITION_FAILED, f"Invalid argument {term(field)}, '{LENGTH}' must be a positive integer")
    length: int = field.value
    return length

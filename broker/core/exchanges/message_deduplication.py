"""The deduplication exchange: a fanout that lets each value of x-deduplication-header pass once (core/deduplication.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from broker.core.deduplication import SeenQueue
from broker.core.duplicates import HEADER_NAME, NEVER, X_CACHE_TTL, SeenValues, ttl_of, value_of
from broker.core.exchange import LooksAt
from broker.core.exchanges.fanout import Fanout
from protocol.constants import PRECONDITION_FAILED
from protocol.errors import ChannelException

if TYPE_CHECKING:
    from broker.core.envelope import Envelope
    from broker.core.exchange import Destination
    from broker.core.vhost import VHost
    from protocol.tables import Field, Table

X_CACHE_SIZE = "x-cache-size"
X_CACHE_PERSISTENCE = "x-cache-persistence"
_HEADER_BYTES = HEADER_NAME.encode()
_INTEGERS = "bBsuIilL"


class MessageDeduplication(Fanout):
    """Routes to every destination, but not what has been there lately."""

    type: ClassVar[str] = "x-message-deduplication"
    looks_at = LooksAt.MESSAGE
    __slots__ = ("_on_disk", "_seen", "_size", "_ttl_ms", "_vhost", "seen_queue")

    def __init__(self, name: str, **properties: Any) -> None:
        """Raises ChannelException 406 for arguments that make no sense."""
        super().__init__(name, **properties)
        self._size = _positive(self.arguments, X_CACHE_SIZE)
        if self._size is None:
            raise _refused(f"Missing or invalid argument, '{X_CACHE_SIZE}' must be an integer greater than 0")
        self._ttl_ms = _positive(self.arguments, X_CACHE_TTL)
        if self._ttl_ms is None and X_CACHE_TTL in self.arguments:
            raise _refused(f"Invalid argument, '{X_CACHE_TTL}' must be an integer greater than 0")
        persistence = self.arguments.get(X_CACHE_PERSISTENCE)
        if persistence is not None and (persistence.kind != "S" or persistence.value not in (b"memory", b"disk")):
            raise _refused(f"Invalid argument, '{X_CACHE_PERSISTENCE}' must be either 'memory' or 'disk'")
        self._on_disk = persistence is not None and persistence.value == b"disk" and self.durable
        self._seen = SeenValues(self._size)
        self._vhost: VHost | None = None
        self.seen_queue: SeenQueue | None = None
        """What it has seen, if that is to survive; there from the first value on."""

    def attach(self, vhost: VHost) -> None:
        self._vhost = vhost

    def detach(self) -> None:
        assert self._vhost is not None
        if self.seen_queue is not None:
            self._vhost.delete_queue(self.seen_queue)

    def restore_seen(self, queue_id: int) -> SeenQueue:
        """What it had seen before the restart is in the queue with this id."""
        assert self._vhost is not None and self._size is not None
        self.seen_queue = SeenQueue(self._vhost, self, queue_id, self._seen, self._size)
        return self.seen_queue

    @property
    def seen(self) -> SeenValues:
        """What it has seen lately."""
        return self._seen

    def remember(self, value: Field, deadline_ms: int) -> None:
        """It has seen a value, and forgets it then."""
        self._seen.add(value, deadline_ms)
        if self._on_disk:
            assert self._vhost is not None
            if self.seen_queue is None:
                self._vhost.add_internal_queue(self.restore_seen(self._vhost.broker.next_queue_id(True)))
            assert self.seen_queue is not None
            self.seen_queue.note(value, deadline_ms)

    def forget(self) -> None:
        """It has seen nothing."""
        self._seen.clear()
        if self.seen_queue is not None:
            self.seen_queue.drop_ready()

    def has_seen(self, envelope: Envelope) -> bool:
        """The message would not pass."""
        assert self._vhost is not None
        value = value_of(envelope.headers) if _HEADER_BYTES in envelope.header else None
        return value is not None and self._seen.holds(value, self._vhost.broker.outbox.clock())

    def route(self, envelope: Envelope) -> tuple[Destination, ...]:
        assert self._vhost is not None
        value = value_of(envelope.headers) if _HEADER_BYTES in envelope.header else None
        if value is not None:
            now = self._vhost.broker.outbox.clock()
            if self._seen.holds(value, now):
                return ()
            ttl_ms = ttl_of(envelope.headers, self._ttl_ms)
            self.remember(value, NEVER if ttl_ms is None else now + ttl_ms)
        return self.matches(envelope.keys[0], {})


def _positive(arguments: Table, name: str) -> int | None:
    field = arguments.get(name)
    return int(field.value) if field is not None and field.kind in _INTEGERS and field.value > 0 else None


def _refused(text: str) -> ChannelException:
    return ChannelException(PRECONDITION_FAILED, text)

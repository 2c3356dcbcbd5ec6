"""Messages that the broker itself has to say: log lines, internal events, the firehose.

They come up in the middle of things (a queue is being deleted, a run is being dealt), where a publish would meet half-done work. So
they wait, in order, and are published once a turn, before the queues are served.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from broker.core.envelope import Envelope
from broker.core.message import join_routing

if TYPE_CHECKING:
    from broker.core.exchange import Exchange
    from broker.core.vhost import VHost

WAITING_MAX = 100_000
"""Past it the oldest go: only a broker that takes no turns gets there."""
KEY_MAX_BYTES = 255


class Announcement(NamedTuple):
    """One message on its way to an exchange; `header` is a content header's payload."""

    vhost: VHost
    exchange: Exchange
    routing_key: str
    header: bytes
    body: bytes


class Announcements:
    """See the module. `add` may be called on any thread; what is added outside of a turn needs one to follow."""

    __slots__ = ("is_publishing", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Announcement] = deque(maxlen=WAITING_MAX)
        self.is_publishing = False
        """What comes up now is a consequence of an announcement, and must not become one."""

    def add(self, vhost: VHost, exchange: Exchange, routing_key: str, header: bytes, body: bytes) -> None:
        """Publish this at the next opportunity; a routing key of more than 255 bytes is cut."""
        self.waiting.append(Announcement(vhost, exchange, routing_key, header, body))

    def publish(self) -> None:
        """Publish what waits now. An exchange that has gone meanwhile leads nowhere."""
        self.is_publishing = True
        try:
            for _ in range(len(self.waiting)):
                vhost, exchange, routing_key, header, body = self.waiting.popleft()
                key = _cut(routing_key)
                vhost.deliver(exchange, Envelope((key,), join_routing(exchange.name, key), header, body))
        finally:
            self.is_publishing = False


def _cut(key: str) -> str:
    octets = key.encode("utf-8", "surrogateescape")
    return key if len(octets) <= KEY_MAX_BYTES else octets[:KEY_MAX_BYTES].decode("utf-8", "surrogateescape")

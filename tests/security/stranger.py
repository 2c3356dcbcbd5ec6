"""A peer of a whole broker without a socket: the sans-I/O machine, a real session, real users. Its time and memory can be measured."""

import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any

from broker.app import build
from broker.config import Config
from broker.core.broker import Broker
from broker.core.session import Peer
from protocol.connection import ServerConnection
from protocol.errors import ConnectionException, FramingException, HandshakeFailed
from protocol.events import Tuning
from protocol.states import ConnectionState
from storage.memory import MemoryStore
from tests.protocol.playbook import TUNING, Feed, whole

TURN_COST = 5000


def new_broker(**settings: Any) -> Broker:
    """One that answers wrong guesses at once: there is nobody here to wait."""
    return build(Config(login_failures_max=0, **settings), MemoryStore(keep=False)).broker


class Stranger:
    """One connection, driven as broker.runtime.connection drives it."""

    def __init__(self, broker: Broker, tuning: Tuning = TUNING, *, is_loopback: bool = True) -> None:
        self.session = broker.open_session(Peer("127.0.0.1:1 -> 127.0.0.1:5672", is_loopback))
        self.wire = ServerConnection(self.session, tuning, 134_217_728, lambda: None)
        self.session.wire = self.wire
        self.sent = bytearray()
        """All that the broker said."""
        self.turns = 0
        self.ended = False
        """The runtime would read no more."""
        self.end = ""
        """Why, for the log; empty while nothing is wrong."""

    @property
    def state(self) -> ConnectionState:
        return self.wire.state

    def says(self, data: bytes, feed: Feed = whole) -> None:
        for piece in feed(data):
            if self.ended:
                return
            self._reads(piece)

    def _reads(self, data: bytes) -> None:
        done = False
        while not done and not self.ended:
            self.turns += 1
            try:
                done = self.wire.receive_data(data, TURN_COST)
            except HandshakeFailed as error:
                self.end, self.ended = error.reason, True
                self.session.terminate()
            except FramingException as error:
                self.end, self.ended = str(error), True
                self.session.close_connection(error)
            except ConnectionException as error:
                self.end = str(error)
                if self.state is ConnectionState.CLOSING:
                    self.ended = True
                else:
                    self.session.close_connection(error)
            data = b""
            self.sent += self.wire.data_to_send()

    def goes(self) -> None:
        """Its socket is closed."""
        self.session.terminate()


def kept_bytes(make: Callable[[], Any], count: int = 20) -> int:
    """What one of what `make` returns takes while it lives, in bytes of Python's own allocator."""
    make()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = [make() for _ in range(count)]
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(kept) == count
    return (after - before) // count


def pieces(size: int) -> Feed:
    """As so many bytes a read."""

    def feed(data: bytes) -> Iterable[bytes]:
        for at in range(0, len(data), size):
            yield data[at : at + size]

    return feed

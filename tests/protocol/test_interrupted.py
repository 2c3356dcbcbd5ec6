"""An event may raise to be tried again later (broker.core.login.Undecided): by then its bytes are read, and nothing that follows them is.

However often that happens, and however the bytes come in, the broker hears in the end what it would have heard at once.
"""

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.connection import ServerConnection
from protocol.events import PublishMethod
from protocol.methods import Method
from protocol.states import ConnectionState
from tests.protocol.playbook import Broker, Heard, Published, ack, content_header, cut_at, message, running
from tests.protocol.streams import CHANNELS, MESSAGE_SIZE_MAX, conversations
from tests.protocol.test_runs import TUNING, heard_by_twin


class Later(Exception):
    """Hear it later: `hear`."""

    def __init__(self, hear: Callable[[], int]) -> None:
        self.hear = hear


class Undecided(Broker):
    """Raises Later instead of hearing, as often as it is told."""

    delays = cycle([False])

    def _hear(self, hear: Callable[[], int]) -> int:
        if next(self.delays):
            raise Later(hear)
        return hear()

    def on_publishes(self, channel: int, routing: bytes, bits: int, headers: Sequence[bytes], bodies: list[bytes]) -> int:
        hear = super().on_publishes
        return self._hear(lambda: hear(channel, routing, bits, headers, bodies))

    def on_mixed_publishes(self, methods: list[PublishMethod], headers: list[bytes], bodies: list[bytes]) -> int:
        hear = super().on_mixed_publishes
        return self._hear(lambda: hear(methods, headers, bodies))

    def on_acks(self, channel: int, tags: Sequence[int]) -> int:
        hear = super().on_acks
        return self._hear(lambda: hear(channel, tags))

    def on_ack(self, channel: int, tag: int, multiple: bool) -> int:
        hear = super().on_ack
        return self._hear(lambda: hear(channel, tag, multiple))

    def on_method(self, channel: int, method: Method) -> int:
        hear = super().on_method
        return self._hear(lambda: hear(channel, method))


def read(connection: ServerConnection, data: bytes) -> None:
    """As broker/runtime/connection.py does it: the event first, then what was read and not heard."""
    done = False
    while not done:
        try:
            done = connection.receive_data(data, 5000)
        except Later as later:
            later.hear()
        connection.data_to_send()
        data = b""


def test_a_run_is_heard_once() -> None:
    broker = Undecided()
    peer = running(broker=broker, channels=[1])
    broker.delays = cycle([True, False])
    read(peer.connection, message(1, "x", "k", b"abc") * 5 + ack(1, 7))
    heard = peer.broker.hears()
    assert heard[:5] == [Published(1, "x", "k", 0, content_header(3), b"abc")] * 5 and len(heard) == 6
    assert sum(broker.runs) == 6 and len(broker.runs) < 6, "runs stay runs"
    assert peer.connection.buffered_bytes == 0


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(conversations, st.lists(st.integers(0, 2**20), max_size=12), st.lists(st.booleans(), min_size=1, max_size=9))
def test_what_was_put_off_is_heard_in_its_place(said: list[bytes], cuts: list[int], delays: list[bool]) -> None:
    data = b"".join(said)
    broker = Undecided()
    peer = running(channels=CHANNELS, tuning=TUNING, message_size_max=MESSAGE_SIZE_MAX, broker=broker)
    broker.delays = cycle([*delays, False])
    heard: list[Any] = []
    for piece in cut_at(cuts)(data):
        read(peer.connection, piece)
        heard += peer.broker.hears()
    expected: list[Heard] = heard_by_twin(data)
    assert heard == expected
    assert peer.connection.state is ConnectionState.RUNNING

"""While publishes are held, everything up to the next one is read; and once they aren't, what was held is read as if it came then."""

from itertools import cycle
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.errors import ChannelException
from protocol.states import ConnectionState
from tests.protocol.playbook import (
    Acked,
    Heard,
    Peer,
    Published,
    ack,
    body,
    close_channel_ok,
    content_header,
    cut_at,
    header,
    message,
    publish,
    running,
)
from tests.protocol.streams import conversations
from tests.protocol.test_runs import busy_peer, heard_by_twin
from tests.spec import spec

MESSAGE = message(1, "x", "k", b"abc")
HEARD = Published(1, "x", "k", 0, content_header(3), b"abc")


def holding() -> Peer:
    peer = running(channels=[1, 2])
    peer.connection.holding = True
    return peer


def reads(peer: Peer, *frames: bytes) -> list[Heard]:
    """What the broker hears of these bytes in one turn."""
    peer.connection.receive_data(b"".join(frames), 5000)
    return peer.broker.hears()


def goes_on(peer: Peer) -> list[Heard]:
    peer.connection.holding = False
    return reads(peer)


@spec("1.10")
def test_a_publish_waits_and_what_comes_before_it_does_not() -> None:
    peer = holding()
    assert reads(peer, ack(2, 1), MESSAGE, ack(2, 2)) == [Acked(2, 1, False)]
    assert peer.connection.held
    assert goes_on(peer) == [HEARD, Acked(2, 2, False)]


def test_a_publisher_that_repeats_itself_is_held_as_well() -> None:
    """Its last message is the template of the next."""
    peer = running(channels=[1])
    assert reads(peer, MESSAGE * 5) == [HEARD] * 5
    peer.connection.holding = True
    assert reads(peer, MESSAGE * 3) == []
    assert peer.connection.held
    assert goes_on(peer) == [HEARD] * 3


def test_a_message_that_has_begun_is_finished() -> None:
    peer = running(channels=[1])
    assert reads(peer, publish(1, "x", "k"), header(1, 3)) == []
    peer.connection.holding = True
    assert reads(peer, body(1, b"abc")) == [HEARD]
    assert reads(peer, MESSAGE) == []
    assert peer.connection.held


def test_what_is_half_there_is_not_held_yet() -> None:
    peer = holding()
    assert reads(peer, MESSAGE[:10]) == []
    assert not peer.connection.held
    assert reads(peer, MESSAGE[10:]) == []
    assert peer.connection.held


def test_what_is_dropped_anyway_does_not_wait() -> None:
    """A channel that the broker has closed."""
    peer = running(channels=[1])
    reads(peer, message(1, "x", "k", b"refuse"))
    peer.connection.holding = True
    assert reads(peer, MESSAGE, close_channel_ok(1)) == []
    assert not peer.connection.held


def test_unfinished_bytes() -> None:
    """Of headers (14 bytes here) and bodies."""
    peer = running(channels=[1])
    connection = peer.connection
    assert connection.unfinished_bytes == 0
    reads(peer, publish(1, "x", "k"), header(1, 1000), body(1, b"x" * 400))
    assert connection.unfinished_bytes == 414
    reads(peer, body(1, b"x" * 100), body(1, b"x" * 500)[:90])
    assert connection.unfinished_bytes == 604
    reads(peer, body(1, b"x" * 500)[90:])
    assert connection.unfinished_bytes == 0
    # and of a message that is given up, because the broker closes its channel (here for the publish of another)
    reads(peer, publish(1, "x", "k"), header(1, 1000), body(1, b"x" * 400))
    connection.close_channel(1, ChannelException(404, "gone"))
    assert connection.unfinished_bytes == 0


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(conversations, st.lists(st.integers(0, 2**20), max_size=12), st.lists(st.booleans(), min_size=1, max_size=9))
def test_what_was_held_is_read_as_if_it_came_later(said: list[bytes], cuts: list[int], holds: list[bool]) -> None:
    data = b"".join(said)
    peer = busy_peer()
    connection = peer.connection
    everything: list[Any] = []
    for piece, hold in zip(cut_at(cuts)(data), cycle(holds), strict=False):
        connection.holding = hold
        done = connection.receive_data(piece, 5000)
        while not done:
            if connection.holding and connection.held:
                connection.holding = False
            everything += peer.broker.hears()
            connection.data_to_send()
            done = connection.receive_data(b"", 5000)
        everything += peer.broker.hears()
    assert connection.state is ConnectionState.RUNNING
    assert everything == heard_by_twin(data)

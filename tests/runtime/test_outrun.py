"""A publisher that floods a queue whose consumers don't keep up waits a little before each read."""

import math
import time
from collections.abc import Iterator

import pytest
from pamqp.commands import Basic

from broker.runtime.turn import OUTRUN_SECONDS
from tests.core.playbook import Playbook
from tests.oracle.leveret import Leveret
from tests.runtime.process import MB, assert_nothing_broke, publish_bytes
from tests.wire import Wire, WireChannel

BODY_BYTES = 16_384
FIRST_MB, MORE_MB = 2, 13
READ_MB = 0.25
"""What is read at a time, at the most."""
TRIPS = 20


def seconds_to_publish(wire: Wire, queue: str, megabytes: int) -> float:
    channel = wire.open_channel()
    data = publish_bytes(channel.number, "", queue, bytes(BODY_BYTES)) * (megabytes * MB // BODY_BYTES)
    begin = time.monotonic()
    wire.send_raw(data)
    channel.counts(queue)
    return time.monotonic() - begin


@pytest.fixture
def consumed(durable: Leveret) -> Iterator[tuple[Wire, WireChannel]]:
    """A publisher, and the channel of a consumer that has had what it is ready to hold, and doesn't ack."""
    with Wire.connect(durable, timeout=60) as wire, Wire.connect(durable) as consumer:
        wire.open_channel().queue("q", exclusive=False, durable=True)
        taking = consumer.open_channel()
        taking.qos(1)
        taking.consume("q", "c")
        seconds_to_publish(wire, "q", FIRST_MB)
        yield wire, taking
    assert_nothing_broke(durable)


def test_it_waits_for_consumers(consumed: tuple[Wire, WireChannel]) -> None:
    """The publisher gets rid of all, but not at once."""
    wire, taking = consumed
    # Where the sender is interrupted a read is small, and then there is no wait.
    assert seconds_to_publish(wire, "q", MORE_MB) > MORE_MB / READ_MB * OUTRUN_SECONDS / 2
    assert len(taking.deliver().body) == BODY_BYTES
    assert taking.counts("q") == ((FIRST_MB + MORE_MB) * MB // BODY_BYTES - 1, 1)


def test_who_sends_little_does_not_wait(consumed: tuple[Wire, WireChannel]) -> None:
    """Or each publish that waits for its confirm would take that long."""
    wire = consumed[0]
    shortest = math.inf
    for _ in range(10):
        channel = wire.open_channel()
        channel.confirm_select()
        begin = time.monotonic()
        for _ in range(TRIPS):
            channel.publish("", "q", b"small")
            channel.expect(Basic.Ack)
        shortest = min(shortest, time.monotonic() - begin)
    assert shortest < TRIPS * OUTRUN_SECONDS


@pytest.mark.parametrize(("prefetch", "count", "outruns"), [(1, 400, True), (None, 400, False), (1, 50, False), (0, 100, False)])
def test_who_outruns(prefetch: int | None, count: int, outruns: bool) -> None:
    """Whose queue has nobody to wait for (`prefetch` None), is short, or has given its messages out already, doesn't wait."""
    book = Playbook()
    peer = book.connect()
    channel = peer.channel()
    channel.declare("q")
    if prefetch is not None:
        channel.qos(prefetch)
        channel.consume("q")
    assert not peer.session.publisher.outruns
    channel.publish("q", *[bytes(BODY_BYTES)] * count)
    book.settle()
    assert peer.session.publisher.outruns == outruns

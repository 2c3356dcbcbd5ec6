"""A publisher that outruns the consumers of its queue waits a little before each read, once what they leave fills the memory."""

import time
from collections.abc import Iterator

import pytest

from broker.runtime.turn import OUTRUN_SECONDS
from tests.core.playbook import Playbook
from tests.oracle.leveret import Leveret
from tests.runtime.conftest import Start
from tests.runtime.process import MB, assert_nothing_broke, publish_bytes
from tests.wire import Wire

WATERMARK = "64MiB"
"""Paging begins at half of it, and a queue is too much for the memory at a quarter."""
BODY_BYTES = 16_384
FREE_MB, MORE_MB = 17, 13
READ_MB = 0.25
"""What is read at a time, at the most."""


@pytest.fixture
def broker(start: Start) -> Iterator[Leveret]:
    broker = start(**{"vm_memory_high_watermark.absolute": WATERMARK})
    yield broker
    assert_nothing_broke(broker)


def seconds_to_publish(wire: Wire, queue: str, megabytes: int) -> float:
    channel = wire.open_channel()
    data = publish_bytes(channel.number, "", queue, bytes(BODY_BYTES)) * (megabytes * MB // BODY_BYTES)
    begin = time.monotonic()
    wire.send_raw(data)
    channel.counts(queue)
    return time.monotonic() - begin


def test_it_waits_for_consumers(broker: Leveret) -> None:
    """The consumer has had what it is ready to hold, and doesn't ack. The publisher gets rid of all, but not at once."""
    with Wire.connect(broker, timeout=60) as wire, Wire.connect(broker) as consumer:
        wire.open_channel().queue("q", exclusive=False, durable=True)
        taking = consumer.open_channel()
        taking.qos(1)
        taking.consume("q", "c")
        seconds_to_publish(wire, "q", FREE_MB)
        least = (MORE_MB / READ_MB - 1) * OUTRUN_SECONDS
        assert seconds_to_publish(wire, "q", MORE_MB) > least
        taken = taking.deliver()
        assert len(taken.body) == BODY_BYTES
        assert taking.counts("q") == ((FREE_MB + MORE_MB) * MB // BODY_BYTES - 1, 1)


@pytest.mark.parametrize(("consumed", "count", "outruns"), [(True, 400, True), (False, 400, False), (True, 100, False)])
def test_who_outruns(consumed: bool, count: int, outruns: bool) -> None:
    """Whose queue has nobody to wait for, or is short, doesn't wait."""
    book = Playbook()
    peer = book.connect()
    channel = peer.channel()
    channel.declare("q")
    if consumed:
        channel.qos(1)
        channel.consume("q")
    assert not peer.session.publisher.outruns
    channel.publish("q", *[bytes(BODY_BYTES)] * count)
    assert peer.session.publisher.outruns == outruns

"""A disk that fails, in a directory and in memory: what is promised in docs/durability.md holds, and a restart finds what was confirmed."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from pamqp.commands import Basic, Connection, Queue, Tx

from tests.runtime.process import publish_bytes
from tests.testing.lab import PERSISTENT, Fault, is_quiet
from tests.testing.supervised import Supervised
from tests.wire import Wire, WireChannel

EXIT_STORAGE = 74
STORE_FAILED = "the message store failed"


FILES, MEMORY = "files", "memory"


def on(*stores: str) -> pytest.MarkDecorator:
    """Where the broker keeps what it has."""
    return pytest.mark.parametrize("broker", stores, indirect=True)


@pytest.fixture
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Supervised]:
    with Supervised(None if request.param == MEMORY else tmp_path / "data") as broker:
        yield broker
        assert "Traceback" not in broker.log
        assert "internal error" not in broker.log


def confirming(broker: Supervised) -> WireChannel:
    channel = Wire.connect(broker).open_channel()
    channel.queue("q", durable=True)
    channel.confirm_select()
    return channel


def publish(channel: WireChannel, *bodies: bytes) -> None:
    channel.wire.send_raw(b"".join(publish_bytes(channel.number, "", "q", body, delivery_mode=2) for body in bodies))


@pytest.mark.parametrize(
    ("broker", "order"),
    [(FILES, {"do": "fail_sync"}), (FILES, {"do": "disk_full"}), (MEMORY, {"do": "fail_sync", "error": "ENOSPC"})],
    indirect=["broker"],
    ids=["sync", "full", "memory"],
)
def test_a_disk_that_fails(broker: Supervised, order: dict[str, Any]) -> None:
    channel = confirming(broker)
    publish(channel, b"0", b"1")
    assert channel.confirms(2) == {1: True, 2: True}
    fault = Fault(broker, order)
    publish(channel, b"2", b"3")
    assert [channel.expect(Basic.Nack).delivery_tag for _ in range(2)] == [3, 4]
    assert fault.hits == 1
    fault.remove()
    # It doesn't come right again: what the disk holds is unknown.
    publish(channel, b"4")
    channel.wire.expect(Connection.Blocked, 0, reason=STORE_FAILED)
    with Wire.connect(broker) as wire:
        other = wire.open_channel()
        other.send(Queue.Declare, queue="r", durable=True)
        wire.expect_close(541, re.compile("INTERNAL_ERROR - .*"))
    with Wire.connect(broker) as wire:
        wire.open_channel().take("q")  # what needs no disk goes on
    channel.wire.abort()
    assert broker.stop() == EXIT_STORAGE
    assert "[critical]" in broker.log
    broker.start()
    assert broker.ask("GET", "/faults") == []
    with Wire.connect(broker) as wire:
        if broker.data_dir is None:
            return
        bodies = wire.open_channel().bodies("q")
    # The acks weren't durable, and nothing was published after the failure.
    assert bodies[:2] == [b"0", b"1"]
    assert set(bodies[2:]) <= {b"2", b"3"}


@on(MEMORY)
def test_the_third_sync_fails(broker: Supervised) -> None:
    with pika.BlockingConnection(pika.ConnectionParameters(port=broker.port)) as connection:
        channel = connection.channel()
        channel.queue_declare("q", durable=True)
        channel.confirm_delivery()
        fault = Fault(broker, {"do": "fail_sync", "skip": 2})
        for body in (b"0", b"1"):
            channel.basic_publish("", "q", body, PERSISTENT)
        with pytest.raises(pika.exceptions.NackError):
            channel.basic_publish("", "q", b"2", PERSISTENT)
        assert fault.facts["seen"] == 3


@on(FILES)
def test_a_commit_gets_541(broker: Supervised) -> None:
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        channel.tx_select()
        channel.publish("", "q", b"never", delivery_mode=2)
        fault = Fault(broker, {"do": "fail_sync"})
        channel.send(Tx.Commit)
        wire.expect_close(541, re.compile("INTERNAL_ERROR - .*"))
        assert fault.hits == 1


@on(FILES, MEMORY)
def test_what_is_declared_is_on_that_disk_too(broker: Supervised) -> None:
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        channel.queue("transient", durable=False)
        with Fault(broker, {"do": "disk_full"}) as fault:
            channel.queue("also-transient", durable=False)
            assert fault.hits == 0
            channel.send(Queue.Declare, queue="q", durable=True)
            wire.expect_close(541, re.compile("INTERNAL_ERROR - .*"))
            assert fault.hits == 1


@on(FILES, MEMORY)
def test_a_slow_disk(broker: Supervised) -> None:
    channel = confirming(broker)
    publish(channel, b"the first of a file has its head synced, too")
    assert channel.confirms(1) == {1: True}
    with Fault(broker, {"do": "slow_disk", "seconds": 0.5}) as fault:
        begin = time.monotonic()
        publish(channel, b"1")
        with Wire.connect(broker) as wire:
            assert len(wire.open_channel().bodies("q")) == 2, "nobody else waits"
        assert is_quiet(channel.wire, 0), "it isn't confirmed yet"
        assert channel.expect(Basic.Ack).delivery_tag == 2
        assert 0.49 < time.monotonic() - begin < 2
        assert fault.hits == 1
    begin = time.monotonic()
    for tag in (3, 4, 5):
        publish(channel, b"")
        assert channel.expect(Basic.Ack).delivery_tag == tag
    assert time.monotonic() - begin < 1
    channel.wire.close()
    assert broker.stop() == 0


@on(MEMORY)
def test_in_memory_everything_is_there_and_goes(broker: Supervised) -> None:
    channel = confirming(broker)
    bodies = [b"%d" % number for number in range(3000)]
    publish(channel, *bodies)
    assert all(channel.confirms(3000).values())
    assert channel.bodies("q") == bodies
    channel.wire.close()
    assert broker.stop() == 0

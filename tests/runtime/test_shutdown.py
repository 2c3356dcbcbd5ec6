"""SIGTERM and SIGINT: everybody is told, what was taken in is confirmed and on the disk, and it is over soon (issue 2, item 2)."""

import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from pamqp.commands import Basic, Confirm, Connection, Tx

from tests.oracle.leveret import Leveret
from tests.runtime.faulty import Faulty
from tests.runtime.process import MB, PERSISTENT, assert_nothing_broke, fill, problems, publish_bytes, soon
from tests.wire import METHOD, Wire

TEXT = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"
QUICK_SECONDS = 2.5
"""With peers that answer; a stop that waits for somebody takes three seconds at least."""
STOP_SECONDS_MAX = 8.0


def signal_it(broker: Leveret, number: signal.Signals = signal.SIGTERM) -> float:
    os.kill(broker.pid, number)
    return time.monotonic()


def is_gone(broker: Leveret) -> bool:
    assert broker._process is not None
    return broker._process.poll() is not None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_everybody_is_told_and_it_ends_well(durable: Leveret, number: signal.Signals) -> None:
    wires = [Wire.connect(durable) for _ in range(5)]
    channel = wires[0].open_channel()
    channel.queue("q", durable=True)
    channel.consume("q")
    begin = signal_it(durable, number)
    for wire in wires:
        wire.expect_close(320, TEXT, (0, 0))
    soon(lambda: is_gone(durable))
    assert time.monotonic() - begin < QUICK_SECONDS
    assert durable.stop() == 0
    forced = problems(durable)
    assert len(forced) == len(wires) and all("connection_forced: " in line and "'shutdown'" in line for line in forced), forced
    with pytest.raises(OSError), socket.create_connection((durable.host, durable.port), timeout=1):
        pass


def test_without_connections(durable: Leveret) -> None:
    begin = time.monotonic()
    assert durable.stop() == 0
    assert time.monotonic() - begin < QUICK_SECONDS


def test_a_second_signal_changes_nothing(durable: Leveret) -> None:
    with Wire.connect(durable) as wire:
        signal_it(durable)
        signal_it(durable, signal.SIGINT)
        wire.expect_close(320, TEXT)
    assert durable.stop() == 0


def test_peers_that_do_not_answer_do_not_read_or_have_not_logged_in(memory: Leveret) -> None:
    with (
        Wire.connect(memory, receive_buffer=4096) as idle,
        Wire.connect(memory) as mute,
        Wire.connect(memory) as middle,
        Wire(memory) as silent,
        Wire(memory) as half,
        Wire.connect(memory) as wire,
    ):
        half.greet()
        channel = wire.open_channel()
        channel.queue("q", auto_delete=False)
        fill(memory, "q", b"x" * MB, 20)
        idle.open_channel().send(Basic.Consume, queue="q")
        middle.open_channel()
        middle.send_raw(publish_bytes(1, "", "q", b"x" * 1000)[:-500])
        soon(lambda: channel.counts("q")[0] < 20)
        begin = signal_it(memory)
        wire.expect_close(320, TEXT)
        assert silent.read_to_eof() == b""
        half.expect_eof()
        mute.expect(Connection.Close, reply_code=320)
        middle.expect(Connection.Close, reply_code=320)
        soon(lambda: is_gone(memory))
        assert time.monotonic() - begin < STOP_SECONDS_MAX
        assert mute.read_to_eof() == b""
    assert memory.stop() == 0


def test_what_was_taken_in_is_confirmed_before_the_goodbye(tmp_path: Path) -> None:
    """The disk is slow, so the confirms are still to come when the signal does."""
    with Faulty(tmp_path) as broker, Wire.connect(broker) as wire, Wire.connect(broker) as other:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        channel.confirm_select()
        committing = wire.open_channel()
        committing.tx_select()
        committing.publish("", "r", b"x", delivery_mode=PERSISTENT)
        committing.queue("r", durable=True)
        bystander = other.open_channel()
        broker.fault("any 0.7")
        for number in range(10):
            channel.publish("", "q", b"%d" % number, delivery_mode=PERSISTENT)
        committing.publish("", "r", b"x", delivery_mode=PERSISTENT)
        committing.send(Tx.Commit)
        bystander.expect_counts("r", 1, 0)
        signal_it(broker)
        assert all(channel.confirms(10).values())
        committing.expect(Tx.CommitOk)
        wire.expect_close(320, TEXT)
        other.expect_close(320, TEXT)
        assert broker.stop() == 0
        assert_nothing_broke(broker)
        broker.fault("")
        broker.start()
        with Wire.connect(broker) as wire:
            assert wire.open_channel().bodies("q") == [b"%d" % number for number in range(10)]


def test_publishers_at_full_speed(durable: Leveret) -> None:
    """What was confirmed is there afterwards; what was published into the goodbye is nobody's promise."""
    with Wire.connect(durable) as wire:
        wire.open_channel().queue("q", durable=True)
    publishers = [Wire.connect(durable) for _ in range(3)]
    confirmed = dict.fromkeys(range(3), 0)

    def publish(index: int) -> None:
        wire = publishers[index]
        channel = wire.open_channel()
        channel.call(Confirm.Select)
        frames = publish_bytes(channel.number, "", "q", b"%d" % index * 500, delivery_mode=PERSISTENT)
        try:
            while True:
                wire.send_raw(frames * 50)
                frame = wire.next_frame()
                while frame.type == METHOD and isinstance(frame.method, Basic.Ack):
                    confirmed[index] = frame.method.delivery_tag
                    if not confirmed[index] % 50:
                        break
                    frame = wire.next_frame()
                if isinstance(frame.method, Connection.Close):
                    assert frame.method.reply_text == TEXT
                    wire.send_method(0, Connection.CloseOk)
                    return
        except OSError:
            return

    threads = [threading.Thread(target=publish, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    soon(lambda: min(confirmed.values()) > 500)
    begin = time.monotonic()
    assert durable.stop() == 0
    assert time.monotonic() - begin < QUICK_SECONDS
    for thread in threads:
        thread.join(10)
    durable.start()
    with Wire.connect(durable) as wire:
        bodies = wire.open_channel().bodies("q")
    for index in range(3):
        assert sum(body[0] == ord("0") + index for body in bodies) >= confirmed[index]
    for wire in publishers:
        wire.abort()


def test_accepted_without_confirms_is_kept_by_a_graceful_stop(durable: Leveret) -> None:
    with Wire.connect(durable) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        for number in range(1000):
            channel.publish("", "q", b"%d" % number, delivery_mode=PERSISTENT)
        channel.nothing_more("q")
    assert durable.stop() == 0
    durable.start()
    with Wire.connect(durable) as wire:
        assert wire.open_channel().counts("q") == (1000, 0)

"""Heartbeats (contract 1.6), with the shortest interval there is."""

import time

import pytest
from pamqp.commands import Basic, Exchange, Queue

from tests.oracle.leveret import Leveret
from tests.runtime.process import MB, fill, name_of, one_problem, problems, soon
from tests.wire import HEARTBEAT, METHOD, Wire, encode_method, frame_bytes

GRAIN_SECONDS = 0.5
"""How often the broker looks."""
LATE_SECONDS = 0.4
"""What a busy machine may add."""
HEARTBEAT_FRAME = frame_bytes(HEARTBEAT, 0, b"")


def next_heartbeat(wire: Wire) -> float:
    """Wait for one; returns when it came."""
    frame = wire.next_frame(heartbeats=True)
    assert frame.type == HEARTBEAT and not frame.channel and not frame.payload, frame
    return time.monotonic()


@pytest.mark.parametrize("interval", [1, 2])
def test_the_server_sends_one_after_half_the_interval(memory: Leveret, interval: int) -> None:
    with Wire.connect(memory, heartbeat=interval) as wire:
        last = next_heartbeat(wire)
        wire.send_raw(HEARTBEAT_FRAME)
        seconds = next_heartbeat(wire) - last
        assert interval / 2 - LATE_SECONDS < seconds < interval / 2 + GRAIN_SECONDS + LATE_SECONDS


def test_other_output_stands_for_one(memory: Leveret) -> None:
    """A connection that is being written to needs none."""
    with Wire.connect(memory, heartbeat=1) as wire:
        channel = wire.open_channel()
        begin = time.monotonic()
        while time.monotonic() < begin + 1.8:
            channel.send(Exchange.Declare, exchange="amq.direct", exchange_type="direct", passive=True)
            assert wire.next_frame(heartbeats=True).type == METHOD


def test_a_silent_peer_is_dropped_after_two_to_three_intervals(memory: Leveret) -> None:
    """And its messages go back. One that has agreed on 0 may be as silent as it likes, and hears none."""
    with Wire.connect(memory, heartbeat=0) as other, Wire.connect(memory, heartbeat=1) as silent:
        bystander = other.open_channel()
        bystander.queue("q", auto_delete=False)
        bystander.publish("", "q", b"x")
        silent.open_channel().take("q", no_ack=False)
        peer = name_of(silent)
        begin = time.monotonic()
        silent.expect_eof()
        seconds = time.monotonic() - begin
        print(f"dropped after {seconds:.2f} s")
        assert 2 - 0.05 < seconds < 3 + LATE_SECONDS
        assert one_problem(memory, peer, "missed heartbeats from client, timeout: 1s")
        bystander.send(Exchange.Declare, exchange="amq.direct", exchange_type="direct", passive=True)
        assert other.next_frame(heartbeats=True).type == METHOD
        message = bystander.take("q")
        assert message.method.redelivered
        assert len(problems(memory)) == 1


def test_any_byte_counts(memory: Leveret) -> None:
    """One byte of a frame at a time, never a whole one."""
    with Wire.connect(memory, heartbeat=1) as wire:
        channel = wire.open_channel()
        frame = frame_bytes(METHOD, 1, encode_method(Exchange.Declare, exchange="amq.direct", exchange_type="direct", passive=True))
        begin, at = time.monotonic(), 0
        while time.monotonic() < begin + 3.2:
            next_heartbeat(wire)
            wire.send_raw(frame[at : at + 1])
            at += 1
        wire.send_raw(frame[at:])
        channel.expect(Exchange.DeclareOk)


def test_a_peer_that_isnt_read_from_isnt_dropped(memory: Leveret) -> None:
    """It left so much unread that the broker stopped reading: its silence means nothing."""
    with Wire.connect(memory, receive_buffer=4096, heartbeat=1) as paused, Wire.connect(memory) as other:
        channel = paused.open_channel()
        channel.queue("q", auto_delete=False)
        fill(memory, "q", b"x" * 4 * MB, 8)
        for _ in range(8):
            channel.send(Basic.Get, queue="q", no_ack=True)
        bystander = other.open_channel()
        soon(lambda: bystander.counts("q")[0] <= 4)
        with Wire.connect(memory, heartbeat=1) as silent:
            silent.expect_eof()
        for _ in range(8):
            assert len(paused.expect_content(Basic.GetOk).body) == 4 * MB
        channel.call(Queue.Purge, queue="q")
        assert len(problems(memory)) == 1

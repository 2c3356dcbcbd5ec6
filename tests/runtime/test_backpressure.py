"""Peers that don't read, don't finish, or outrun the disk cost bounded memory and time, and nobody else notices (design.md §3)."""

import threading
import time
from contextlib import ExitStack

import pytest
from pamqp.commands import Basic, Connection, Exchange, Queue

from tests.oracle.leveret import Leveret
from tests.runtime.conftest import Start
from tests.runtime.process import (
    MB,
    PERSISTENT,
    Pinger,
    cpu_seconds,
    fill,
    name_of,
    one_problem,
    peak_rss_bytes,
    problems,
    publish_bytes,
    rss_bytes,
    send_many,
    send_what_fits,
    sockets,
    soon,
)
from tests.wire import METHOD, Wire, WireChannel, encode_method, frame_bytes

PING_SECONDS_MAX = 0.1
"""The 99th percentile of a bystander's round trips."""
SLACK_BYTES = 60 * MB
SMALL_BUFFER_BYTES = 4096
DELIVER = b"\x00\x3c\x00\x3c"
"""Class and method of basic.deliver."""


# --- peers that don't read


@pytest.mark.alone
@pytest.mark.parametrize(
    ("size", "count", "no_ack"), [(1000, 100_000, False), (100_000, 2000, True), (100_000, 2000, False), (20 * MB, 10, True)]
)
def test_a_consumer_that_never_reads(memory: Leveret, size: int, count: int, no_ack: bool) -> None:
    """What it was not sent stays in the queue; nothing is held twice."""
    with Wire.connect(memory) as wire, Wire.connect(memory, receive_buffer=SMALL_BUFFER_BYTES) as idle:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        fill(memory, "q", b"x" * size, count)
        full = peak_rss_bytes(memory)
        idle.open_channel().send(Basic.Consume, queue="q", no_ack=no_ack)
        with Pinger(memory) as pinger:
            soon(lambda: channel.counts("q")[0] < count)
            pinger.pings(200)
            assert pinger.percentile(0.99) < PING_SECONDS_MAX
        left = channel.counts("q")[0]
        assert left * size > size * count * 0.8 - 21 * MB, "it was sent what it doesn't read"
        assert peak_rss_bytes(memory) < full + SLACK_BYTES
        # and the broker doesn't spin over it
        begin = cpu_seconds(memory)
        with Pinger(memory) as pinger:
            pinger.pings(100)
        assert cpu_seconds(memory) - begin < 0.5


def test_a_consumer_that_reads_again_gets_everything(memory: Leveret) -> None:
    with Wire.connect(memory, receive_buffer=SMALL_BUFFER_BYTES) as wire, Wire.connect(memory) as other:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        fill(memory, "q", b"x" * 100_000, 300)
        channel.send(Basic.Consume, queue="q")
        bystander = other.open_channel()
        soon(lambda: bystander.counts("q")[0] < 300)
        channel.expect(Basic.ConsumeOk)
        assert [message.tag for message in channel.deliveries(300)] == list(range(1, 301))
        channel.ack(0, multiple=True)
        channel.nothing_more("q")


@pytest.mark.alone
def test_many_idle_consumers_on_one_connection(memory: Leveret) -> None:
    """The connection's share is counted over all its channels."""
    with Wire.connect(memory) as wire, Wire.connect(memory, receive_buffer=SMALL_BUFFER_BYTES) as idle:
        channel = wire.open_channel()
        for number in range(100):
            channel.queue(f"q{number}", durable=True)
            channel.bind(f"q{number}", "amq.fanout")
        fill(memory, "q0", b"x" * 100_000, 1)
        for _ in range(50):
            channel.publish("amq.fanout", "", b"x" * 20_000)
        channel.nothing_more()
        full = rss_bytes(memory)
        for number in range(100):
            idle.open_channel().send(Basic.Consume, queue=f"q{number}", no_ack=True)
        with Pinger(memory) as pinger:
            pinger.pings(100)
        assert rss_bytes(memory) < full + 30 * MB


@pytest.mark.alone
def test_a_client_that_sends_methods_and_never_reads_replies(memory: Leveret) -> None:
    declare = frame_bytes(METHOD, 1, encode_method(Exchange.Declare, exchange="amq.direct", exchange_type="direct", passive=True))
    tagged = frame_bytes(METHOD, 1, encode_method(Basic.Cancel, consumer_tag="x" * 250))
    with Wire.connect(memory, receive_buffer=SMALL_BUFFER_BYTES) as idle, Pinger(memory) as pinger:
        idle.open_channel()
        before = peak_rss_bytes(memory)
        sent = send_what_fits(idle, (declare + tagged) * 600_000)
        assert sent < len(declare + tagged) * 600_000, "it was read from for ever"
        pinger.pings(50)
        assert pinger.percentile(0.99) < PING_SECONDS_MAX
        assert peak_rss_bytes(memory) < before + SLACK_BYTES


@pytest.mark.alone
def test_a_client_that_gets_big_messages_and_never_reads_them(memory: Leveret) -> None:
    """A small request for a big reply, 4,000 times in one packet."""
    with Wire.connect(memory) as wire, Wire.connect(memory, receive_buffer=SMALL_BUFFER_BYTES) as idle:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        fill(memory, "q", b"x" * MB, 5)
        idle.open_channel()
        before = peak_rss_bytes(memory)
        get = frame_bytes(METHOD, 1, encode_method(Basic.Get, queue="q"))
        nack = (frame_bytes(METHOD, 1, encode_method(Basic.Nack, delivery_tag=tag, requeue=True)) for tag in range(1, 4001))
        with Pinger(memory) as pinger:
            idle.send_raw(b"".join(get + each for each in nack))
            pinger.pings(100)
            assert pinger.percentile(0.95) < PING_SECONDS_MAX
        assert peak_rss_bytes(memory) < before + SLACK_BYTES
        # it goes on once they are read
        for tag in range(1, 101):
            assert idle.expect_content(Basic.GetOk).tag == tag


@pytest.mark.parametrize("heartbeat", [1])
def test_a_client_that_closes_and_never_reads_is_gone_soon(memory: Leveret, heartbeat: int) -> None:
    """What it doesn't take is thrown away in the end."""
    with Wire.connect(memory) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        before = sockets(memory)
        fill(memory, "q", b"x" * 10 * MB, 2)
        with Wire.connect(memory, receive_buffer=SMALL_BUFFER_BYTES, heartbeat=heartbeat) as idle:
            idle.open_channel().send(Basic.Consume, queue="q", no_ack=True)
            soon(lambda: channel.counts("q")[0] < 2)
            idle.send_raw(frame_bytes(METHOD, 0, b"\x00\x0a\x00\x32\x00\xc8\x00\x00\x00\x00\x00"))  # connection.close
            soon(lambda: sockets(memory) == before, what="sockets")


# --- peers that don't finish


def test_a_client_that_says_nothing(start: Start) -> None:
    broker = start(memory=True, handshake_timeout="300")
    with Wire(broker) as silent, Wire.connect(broker) as other:
        peer = name_of(silent)
        assert silent.expect_eof() < 3
        one_problem(broker, peer, "handshake_timeout")
        other.open_channel().nothing_more()


def test_half_a_handshake(start: Start) -> None:
    broker = start(memory=True, handshake_timeout="600")
    with ExitStack() as stack:
        header, begun, part, named, tuned = (stack.enter_context(Wire(broker)) for _ in range(5))
        header.send_raw(b"AMQP")
        for wire in (begun, part, named, tuned):
            wire.greet()
        part.send_raw(b"\x01\x00\x00\x00\x00\x10\x00")
        for wire in (named, tuned):
            wire.start_ok()
            wire.expect(Connection.Tune)
        tuned.tune_ok()
        states = {header: "pre_init", begun: "starting", part: "starting", named: "tuning", tuned: "opening"}
        for wire, state in states.items():
            peer = name_of(wire)
            assert wire.expect_eof() < 3
            one_problem(broker, peer, rf"handshake_timeout.*state {state}")


def test_a_client_that_never_finishes_a_frame(memory: Leveret) -> None:
    """It holds what it has sent, one frame at the most, and the heartbeats end it when it falls silent."""
    with Wire.connect(memory, heartbeat=1) as half, Wire.connect(memory) as other:
        channel = half.open_channel()
        channel.queue("q")
        peer = name_of(half)
        whole = publish_bytes(1, "", "q", b"x" * 100_000)
        half.send_raw(whole[:-1])
        with Pinger(memory) as pinger:
            pinger.pings(20)
        other.open_channel().nothing_more()
        one_problem(memory, peer, "missed heartbeats")


def test_many_clients_that_never_finish_a_frame(memory: Leveret) -> None:
    before = rss_bytes(memory)
    wires = [Wire.connect(memory) for _ in range(100)]
    try:
        for wire in wires:
            wire.open_channel()
            wire.send_raw(publish_bytes(1, "", "q", b"x" * 130_000)[:-1])
        with Pinger(memory) as pinger:
            pinger.pings(50)
        assert rss_bytes(memory) - before < 100 * (131072 + 150_000)
    finally:
        for wire in wires:
            wire.abort()
    soon(lambda: len(problems(memory)) == 101)


def test_a_frame_in_many_pieces_costs_no_more_than_its_bytes(memory: Leveret) -> None:
    """Waiting for the rest of a frame doesn't copy what is there, again and again."""
    with Wire.connect(memory) as wire:
        channel = wire.open_channel()
        channel.queue("q")
        data = publish_bytes(1, "", "q", b"x" * 131_000) * 20
        begin = cpu_seconds(memory)
        for at in range(0, len(data), 1000):
            wire.send_raw(data[at : at + 1000])
        channel.expect_counts("q", 20, 0)
        assert cpu_seconds(memory) - begin < 2


# --- publishers, fan-outs, backlogs


@pytest.mark.alone
def test_a_publisher_that_outruns_the_disk_is_throttled_and_nothing_is_lost(durable: Leveret) -> None:
    """Memory beyond the queue's content stays bounded: what waits for the disk is counted."""
    count, size = 250, MB
    with Wire.connect(durable, timeout=60) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        channel.confirm_select()
        before = rss_bytes(durable)
        data = publish_bytes(channel.number, "", "q", b"x" * size, delivery_mode=PERSISTENT)
        sender = threading.Thread(target=send_many, args=(wire, data, count))
        sender.start()
        with Pinger(durable) as pinger:
            assert all(channel.confirms(count).values())
            pinger.pings(20)
        sender.join()
        assert pinger.percentile(0.95) < 5 * PING_SECONDS_MAX
        assert peak_rss_bytes(durable) < before + count * size + 3 * SLACK_BYTES
        durable.kill()
    durable.start()
    with Wire.connect(durable) as wire:
        assert wire.open_channel().counts("q") == (count, 0)


def wide_exchange(channel: WireChannel, queues: int) -> None:
    channel.exchange("wide", "fanout")
    for number in range(queues):
        channel.send(Queue.Declare, queue=f"w{number}", auto_delete=False, nowait=True)
        channel.send(Queue.Bind, queue=f"w{number}", exchange="wide", nowait=True)
    channel.nothing_more()


@pytest.mark.alone
def test_a_fan_out_to_2000_queues_starves_nobody(memory: Leveret) -> None:
    """A packet of 300 messages is 600,000 enqueues: a turn does some 5,000 and lets the others in."""
    with Wire.connect(memory) as wire:
        channel = wire.open_channel()
        wide_exchange(channel, 2000)
        with Pinger(memory) as pinger:
            pinger.pings(5)
            quick = len(pinger.seconds)
            wire.send_raw(publish_bytes(channel.number, "wide", "", b"x" * 100) * 300)
            wire.timeout = 60
            channel.nothing_more()
            pinger.pings(5)
            busy = sorted(pinger.seconds[quick:])
            assert len(busy) > 20, "it was let in between"
            assert busy[int(len(busy) * 0.95)] < PING_SECONDS_MAX
        channel.expect_counts("w1999", 300, 0)


@pytest.mark.alone
def test_a_backlog_of_100_000_to_consumers_without_prefetch(memory: Leveret) -> None:
    with Wire.connect(memory, timeout=60) as wire, Wire.connect(memory, timeout=60) as second:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        fill(memory, "q", b"x" * 100, 100_000)
        with Pinger(memory) as pinger:
            pinger.pings(5)
            counts = [0, 0]
            consumers = [channel, second.open_channel()]

            def consume(index: int) -> None:
                """Read whole reads, count what stands in them."""
                socket, rest = consumers[index].wire._socket, b""
                while sum(counts) < 100_000:
                    try:
                        data = rest + socket.recv(262_144)
                    except OSError:
                        return
                    counts[index] += data.count(DELIVER)
                    rest = data[-3:]

            threads = [threading.Thread(target=consume, args=(index,), daemon=True) for index in range(2)]
            for consumer in consumers:
                consumer.send(Basic.Consume, queue="q", no_ack=True)
            for thread in threads:
                thread.start()
            begin = time.monotonic()
            soon(lambda: sum(counts) >= 100_000, 30, "deliveries")
            print(f"100,000 deliveries in {time.monotonic() - begin:.2f} s, {counts}")
            assert sum(counts) == 100_000
            assert pinger.percentile(0.95) < PING_SECONDS_MAX

"""Resource alarms (contract 1.10).

They are not in tests/conformance, for an alarm is the whole broker's, and the conformance tests share one, which it would block for all of
them. RabbitMQ 3.10.8 was asked by hand, with `rabbitmqctl set_disk_free_limit 999GB`, `set_vm_memory_high_watermark 0.0001`, and
rabbit_alarm:set_alarm and clear_alarm where both were wanted at once; "RabbitMQ:" below is what it said.
"""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pika
import pytest
from pamqp.commands import Basic, Connection, Queue

from tests.runtime.conftest import Start
from tests.runtime.faulty import Faulty
from tests.runtime.process import (
    PERSISTENT,
    Pinger,
    assert_nothing_broke,
    fill,
    log_lines,
    name_of,
    one_problem,
    publish_bytes,
    soon,
)
from tests.wire import METHOD, Wire, WireChannel, content_frames, encode_method

LOW_ON_DISK = "free 1000"
WATERMARK_BYTES = 1_000_000
LATE_SECONDS = 0.4
"""What a busy machine may add."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Faulty]:
    """Its disk says what a test wants, and its watermark is low."""
    file = tmp_path / "leveret.conf"
    file.write_text(f"vm_memory_high_watermark.absolute = {WATERMARK_BYTES}\n")
    with Faulty(tmp_path, arguments=("--config", str(file))) as faulty:
        yield faulty
        faulty.kill()
    assert_nothing_broke(faulty)


def low_on_disk(broker: Faulty) -> None:
    broker.fault(LOW_ON_DISK)
    broker.wait_for_log("disk resource limit alarm set")


def enough_disk(broker: Faulty) -> None:
    broker.fault()
    broker.wait_for_log("disk resource limit alarm cleared")


def blocked(wire: Wire, reason: str) -> None:
    wire.expect(Connection.Blocked, 0, reason=reason)


def blocks(channel: WireChannel, queue: str, body: bytes = b"waits", reason: str = "low on disk") -> None:
    """Publish, and be blocked for it."""
    channel.publish("", queue, body)
    blocked(channel.wire, reason)


# --- what a connection is told, and when


def test_the_publish_that_blocks_waits_and_everything_after_it(broker: Faulty) -> None:
    """RabbitMQ: not a word before the publish, even to those who published before the alarm; then blocked and nothing else, and on
    clearing "Connection.Unblocked", "Queue.DeclareOk(message_count=1)" (its declare overtook the publish), "Basic.Ack(delivery_tag=2)"."""
    with Wire.connect(broker) as wire, Wire.connect(broker) as other:
        channel, bystander = wire.open_channel(), other.open_channel()
        channel.queue("q", durable=True)
        channel.confirm_select()
        channel.publish("", "q", b"before")
        assert channel.confirms(1) == {1: True}
        low_on_disk(broker)
        assert channel.counts("q") == (1, 0), "whoever doesn't publish goes on"
        blocks(channel, "q")
        channel.send(Queue.Declare, queue="q", passive=True)
        channel.publish("", "q", b"as well")
        bystander.nothing_more()
        assert bystander.counts("q") == (1, 0)
        enough_disk(broker)
        wire.expect(Connection.Unblocked, 0)
        frames = [wire.next_frame().method for _ in range(2)]
        assert {type(method) for method in frames} == {Queue.DeclareOk, Basic.Ack}
        soon(lambda: bystander.counts("q") == (3, 0))
        assert bystander.bodies("q") == [b"before", b"waits", b"as well"]
        # and again
        low_on_disk(broker)


def test_each_alarm_and_each_clearing_is_logged_once(broker: Faulty) -> None:
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        queue = channel.queue()
        low_on_disk(broker)
        begin = time.monotonic()
        blocks(channel, queue)
        soon(lambda: time.monotonic() - begin > 1.2, what="more than two looks")
        enough_disk(broker)
        wire.expect(Connection.Unblocked, 0)
    (raised,) = log_lines(broker, r"\[warning\] .*disk resource limit alarm set on node 'rabbit@\S+'\.")
    assert "*** Publishers will be blocked until this alarm clears ***" in raised
    assert "free disk space is insufficient. Free bytes: 1000. Limit: 50000000; to end it, free space on the disk" in raised
    (cleared,) = log_lines(broker, r"\[warning\] .*disk resource limit alarm cleared on node 'rabbit@\S+'")
    assert cleared.rstrip().endswith("Limit: 50000000; publishers go on")
    assert log_lines(broker, r"Disk free limit set to 50 MB \(50000000 bytes\)")
    assert log_lines(broker, r"Memory high watermark set to 0 MiB \(1000000 bytes\) of \d+ MiB")


@pytest.mark.alone
def test_a_full_disk_is_noticed_within_a_second(broker: Faulty) -> None:
    begin = time.monotonic()
    low_on_disk(broker)
    assert time.monotonic() - begin < 1 + LATE_SECONDS
    begin = time.monotonic()
    enough_disk(broker)
    assert time.monotonic() - begin < 1 + LATE_SECONDS


def test_two_alarms(broker: Faulty) -> None:
    """RabbitMQ: who is blocked by one isn't told of the second; who publishes then hears "low on disk & memory"; when one clears nobody
    hears anything, and when both have, "Connection.Unblocked"."""
    with Wire.connect(broker) as first, Wire.connect(broker) as second, Wire.connect(broker) as other:
        early, late, consumer = first.open_channel(), second.open_channel(), other.open_channel()
        early.queue("q", durable=True)
        low_on_disk(broker)
        blocks(early, "q")
        enough_disk(broker)
        first.expect(Connection.Unblocked, 0)

        consumer.publish("", "q", b"x" * WATERMARK_BYTES)
        broker.wait_for_log("memory resource limit alarm set")
        blocks(early, "q", reason="low on memory")
        broker._lines.clear()
        low_on_disk(broker)
        blocks(late, "q", reason="low on disk & memory")
        with Wire.connect(broker) as third:
            blocks(third.open_channel(), "q", reason="low on disk & memory")
        consumer.nothing_more()
        assert consumer.bodies("q") == [b"waits", b"x" * WATERMARK_BYTES]
        broker.wait_for_log("memory resource limit alarm cleared on node 'rabbit@[^']*': .*publishers stay blocked: low on disk")
        assert consumer.counts("q") == (0, 0)
        enough_disk(broker)
        for wire in (first, second):
            wire.expect(Connection.Unblocked, 0)
        soon(lambda: consumer.counts("q") == (3, 0))


def test_a_client_without_the_capability_is_blocked_without_a_word(broker: Faulty) -> None:
    """RabbitMQ: nothing, and after the alarm the reply to the declare."""
    with Wire.connect(broker, capabilities={}) as wire, Wire.connect(broker) as other:
        channel, bystander = wire.open_channel(), other.open_channel()
        bystander.queue("q", durable=True)
        low_on_disk(broker)
        channel.publish("", "q", b"waits")
        channel.send(Queue.Declare, queue="q", passive=True)
        blocks(other.open_channel(), "nobody")
        with Wire.connect(broker) as third:
            assert third.open_channel().counts("q") == (0, 0)
        enough_disk(broker)
        wire.expect(Queue.DeclareOk, message_count=1)


def test_what_cannot_be_published_is_found_out_after_the_alarm(broker: Faulty) -> None:
    """RabbitMQ: to an exchange that isn't there, "Connection.Blocked" first."""
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        low_on_disk(broker)
        channel.publish("nowhere", "k", b"x")
        blocked(wire, "low on disk")
        enough_disk(broker)
        wire.expect(Connection.Unblocked, 0)
        channel.expect_close(404)


def test_a_message_that_has_begun_is_finished(broker: Faulty) -> None:
    """RabbitMQ holds it in the middle; here it goes in, for what is half there only takes memory."""
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        channel.confirm_select()
        wire.send_frame(METHOD, channel.number, encode_method(Basic.Publish, exchange="", routing_key="q"))
        low_on_disk(broker)
        wire.send_raw(content_frames(channel.number, b"begun", {}, 131072))
        channel.expect(Basic.Ack, delivery_tag=1)
        blocks(channel, "q")
    enough_disk(broker)


def test_a_connection_that_publishes_and_consumes(broker: Faulty) -> None:
    """RabbitMQ: its ack isn't read (counts (1, 1), and with a prefetch of 1 no second delivery until the alarm's end)."""
    with Wire.connect(broker) as wire, Wire.connect(broker) as other:
        both, bystander = wire.open_channel(), other.open_channel()
        bystander.queue("q", durable=True)
        for body in (b"1", b"2", b"3"):
            bystander.publish("", "q", body)
        taken = bystander.take("q", no_ack=False)
        both.qos(2)
        both.consume("q")
        first, _ = both.deliveries(2)
        low_on_disk(broker)
        other_queue = wire.open_channel()
        blocks(other_queue, "nobody")
        both.ack(first.tag)
        bystander.nack(taken.tag)
        bystander.nothing_more()
        assert bystander.counts("q") == (1, 1), "the ack lies in the socket"
        enough_disk(broker)
        wire.expect(Connection.Unblocked, 0)
        assert both.deliver().body == b"1"


def test_deliveries_reach_a_blocked_connection(broker: Faulty) -> None:
    with Wire.connect(broker) as wire, Wire.connect(broker) as other:
        both, bystander = wire.open_channel(), other.open_channel()
        bystander.queue("q", durable=True)
        bystander.publish("", "q", b"1")
        taken = bystander.take("q", no_ack=False)
        both.consume("q")
        low_on_disk(broker)
        blocks(wire.open_channel(), "nobody")
        bystander.nack(taken.tag)
        assert both.deliver().body == b"1"


# --- silence, and ends


def test_a_blocked_connection_may_be_silent(broker: Faulty) -> None:
    """RabbitMQ: 13 heartbeats in 6 s to a client with an interval of 1 that says nothing, then "Connection.Unblocked"; 2.5 s later it is
    dropped."""
    with Wire.connect(broker, heartbeat=1) as wire:
        channel = wire.open_channel()
        queue = channel.queue()
        low_on_disk(broker)
        blocks(channel, queue)
        begin = time.monotonic()
        while time.monotonic() < begin + 4:
            wire.next_frame(heartbeats=True)
        peer = name_of(wire)
        enough_disk(broker)
        wire.expect(Connection.Unblocked, 0)
        assert 2 - LATE_SECONDS < wire.expect_eof() < 3 + LATE_SECONDS
        assert one_problem(broker, peer, "missed heartbeats from client, timeout: 1s")


def test_a_close_is_heard_after_the_alarm(broker: Faulty) -> None:
    """RabbitMQ: nothing for the close, and on clearing "Connection.Unblocked" and "Connection.CloseOk"."""
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        queue = channel.queue()
        low_on_disk(broker)
        blocks(channel, queue)
        wire.send_method(0, Connection.Close, reply_code=200, reply_text="bye")
        with Pinger(broker) as pinger:
            pinger.pings(20)
        enough_disk(broker)
        wire.expect(Connection.Unblocked, 0)
        wire.expect(Connection.CloseOk, 0)


@pytest.mark.parametrize("end", [Wire.half_close, Wire.abort])
def test_who_leaves_while_blocked_is_missed_after_the_alarm(broker: Faulty, end: Callable[[Wire], None]) -> None:
    """RabbitMQ: the connection is `blocked` in list_connections and its exclusive queue there until the alarm clears; then what it had
    published goes in ("keep 1"), and it goes."""
    with Wire.connect(broker) as wire, Wire.connect(broker) as other:
        channel, bystander = wire.open_channel(), other.open_channel()
        bystander.queue("keep", durable=True)
        channel.queue("its-own", exclusive=True)
        low_on_disk(broker)
        blocks(channel, "keep", b"late")
        end(wire)
        bystander.nothing_more()
        enough_disk(broker)
        broker.wait_for_log("client unexpectedly closed TCP connection")
        bystander.queue("its-own", exclusive=True)
        assert bystander.bodies("keep") == [b"late"]


def test_a_blocked_connection_that_was_reset_is_missed_by_its_heartbeats(broker: Faulty) -> None:
    with Wire.connect(broker, heartbeat=1) as wire, Wire.connect(broker) as other:
        channel, bystander = wire.open_channel(), other.open_channel()
        channel.queue("its-own", exclusive=True)
        low_on_disk(broker)
        blocks(channel, "its-own")
        wire.reset()
        broker.wait_for_log("client unexpectedly closed TCP connection")
        bystander.queue("its-own", exclusive=True)


def test_a_stop_ends_blocked_connections_as_any_other(broker: Faulty) -> None:
    """RabbitMQ (close_all_connections): "Connection.Close(reply_code=320)" at once."""
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        low_on_disk(broker)
        blocks(channel, "q")
        begin = time.monotonic()
        stopper = threading.Thread(target=broker.stop)
        stopper.start()
        wire.expect_close(320)
        stopper.join()
        assert broker.status == 0
        assert time.monotonic() - begin < 2, "its close-ok was heard"
    broker.fault()
    broker.start()
    with Wire.connect(broker) as wire:
        assert wire.open_channel().counts("q") == (0, 0), "what waited was not published"


# --- memory


def test_consumers_make_room_and_nothing_is_lost(start: Start) -> None:
    """A publisher fills a queue that nobody consumes until it is blocked; then somebody does, and it goes on by itself."""
    broker = start(memory=True, **{"vm_memory_high_watermark.absolute": "2MB"})
    count, size = 8000, 5000
    with Wire.connect(broker, timeout=30) as wire, Wire.connect(broker, timeout=30) as other:
        publisher, consumer = wire.open_channel(), other.open_channel()
        publisher.queue("q", durable=True)
        publisher.confirm_select()
        bodies = [b"%d" % number + b"x" * size for number in range(count)]
        data = b"".join(publish_bytes(publisher.number, "", "q", body, delivery_mode=PERSISTENT) for body in bodies)
        sender = threading.Thread(target=wire.send_raw, args=(data,))
        sender.start()
        blocked(wire, "low on memory")
        ready = consumer.counts("q")[0]
        # A round of uvloop may bring 8 MB of one socket.
        assert 2_000_000 / (size + 300) < ready < count / 2, "not before the watermark, nor far past it"
        consumer.consume("q", no_ack=True)
        assert [message.body for message in consumer.deliveries(count)] == bodies
        assert publisher.confirms(count) == dict.fromkeys(range(1, count + 1), True)
        sender.join()
        wire.expect(Connection.Unblocked, 0)
    assert not log_lines(broker, "disk (free|resource)")


def test_what_a_connection_does_not_read_counts(start: Start) -> None:
    """The queue is empty, but what went to the consumer waits in a buffer: the alarm stays until the peer is gone."""
    broker = start(memory=True, **{"vm_memory_high_watermark.absolute": "100kB"})
    with Wire.connect(broker, receive_buffer=4096) as idle, Wire.connect(broker) as wire, Wire.connect(broker) as other:
        channel, publisher, bystander = idle.open_channel(), wire.open_channel(), other.open_channel()
        channel.queue("q", durable=True)
        channel.send(Basic.Consume, queue="q", no_ack=True)
        publisher.confirm_select()

        def is_blocked() -> bool:
            publisher.publish("", "q", b"x" * 20_000)
            return isinstance(wire.next_frame().method, Connection.Blocked)

        def is_blocked_for_good() -> bool:
            """Not by what the system was about to take, as a busy one may be."""
            soon(is_blocked)
            bystander.call(Queue.Purge, queue="q")
            begin = time.monotonic()
            soon(lambda: time.monotonic() - begin > 1.2, what="the connections were counted again")
            cleared = log_lines(broker, "alarm cleared")
            if cleared:
                broker._lines.clear()
                wire.expect(Connection.Unblocked, 0)
            return not cleared

        assert any(is_blocked_for_good() for _ in range(3))
        idle.abort()
        wire.expect(Connection.Unblocked, 0)


def test_memory_alone_has_no_disk_alarm(start: Start) -> None:
    broker = start(memory=True, **{"disk_free_limit.absolute": "1000000GB"})
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        channel.publish_confirmed("", channel.queue(), b"x")
    assert not log_lines(broker, "disk (free|resource)")


def test_a_limit_that_the_disk_cannot_meet_blocks_from_the_start(start: Start) -> None:
    """The real disk, and a limit relative to memory."""
    broker = start(**{"disk_free_limit.relative": "999.0"})
    assert broker.log.index("disk resource limit alarm set") < broker.log.index("Server startup complete")
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        blocks(channel, channel.queue())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 80 MB, where the machine lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80000000", "none", str(folder)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this machine mounts nothing for us: {error}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_real_disk(small_disk: Path, start: Start) -> None:
    broker = start(directory="disk/data")
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        channel.publish_confirmed("", "q", b"1", delivery_mode=PERSISTENT)
        channel.confirm_select()
        filler = small_disk / "filler"
        filler.write_bytes(bytes(40_000_000))
        broker.wait_for_log("disk resource limit alarm set")
        channel.publish("", "q", b"2", delivery_mode=PERSISTENT)
        blocked(wire, "low on disk")
        filler.unlink()
        wire.expect(Connection.Unblocked)
        assert channel.confirms(1) == {1: True}
        assert channel.bodies("q") == [b"1", b"2"]


def test_a_disk_that_does_not_tell_changes_nothing(broker: Faulty) -> None:
    low_on_disk(broker)
    broker.fault("free EIO")
    broker.wait_for_log("cannot tell how much disk space is free, the disk alarm stays as it is: .*Input/output error")
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        blocks(channel, channel.queue())
        enough_disk(broker)
        wire.expect(Connection.Unblocked, 0)


def test_many_publishers(start: Start) -> None:
    """All are blocked and all go on, whatever they were in the middle of."""
    broker = start(memory=True, **{"vm_memory_high_watermark.absolute": "1MB"})
    with Wire.connect(broker, timeout=30) as other:
        consumer = other.open_channel()
        consumer.queue("q", durable=True)
        fillers = [threading.Thread(target=fill, args=(broker, "q", b"x" * 1000, 1000)) for _ in range(5)]
        for filler in fillers:
            filler.start()
        broker.wait_for_log("memory resource limit alarm set")
        consumer.consume("q", no_ack=True)
        consumer.deliveries(5000)
        for filler in fillers:
            filler.join()
        consumer.nothing_more("q")


# --- a client library


def test_pika_is_told(broker: Faulty) -> None:
    heard: list[str] = []
    with pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port)) as connection:
        connection.add_on_connection_blocked_callback(lambda _connection, frame: heard.append(frame.method.reason))
        connection.add_on_connection_unblocked_callback(lambda _connection, _frame: heard.append("unblocked"))
        channel = connection.channel()
        channel.queue_declare("q", durable=True)
        low_on_disk(broker)
        channel.basic_publish("", "q", b"1")
        soon(lambda: connection.process_data_events(0.01) or heard == ["low on disk"])
        enough_disk(broker)
        soon(lambda: connection.process_data_events(0.01) or heard == ["low on disk", "unblocked"])
        assert channel.basic_get("q", auto_ack=True)[2] == b"1"


def test_pika_gives_up_a_connection_that_stays_blocked(broker: Faulty) -> None:
    parameters = pika.ConnectionParameters(broker.host, broker.port, blocked_connection_timeout=0.5)
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.confirm_delivery()
    low_on_disk(broker)
    with pytest.raises(pika.exceptions.ConnectionBlockedTimeout):
        channel.basic_publish("", "q", b"1")
    enough_disk(broker)


# --- a failed store


def test_a_failed_store_blocks_for_good(broker: Faulty) -> None:
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        channel.confirm_select()
        broker.fault("any EIO")
        channel.publish("", "q", b"breaks it", delivery_mode=PERSISTENT)
        channel.expect(Basic.Nack)
        low_on_disk(broker)
        with Wire.connect(broker) as other:
            other.open_channel().send(Queue.Declare, queue="r", durable=True)
            other.expect_close(541)
        blocks(channel, "q", reason="low on disk & the message store failed")
        enough_disk(broker)
        assert log_lines(broker, "alarm cleared on node .*; publishers stay blocked: the message store failed")
        (line,) = log_lines(broker, "message store alarm set on node .*the message store failed; to end it")
        assert "restart the broker" in line
        channel.wire.abort()
    assert broker.stop() == 74
    broker._lines.clear()  # it has a critical line, as it should

"""After a failed write nothing is promised any more, and everything that was promised is there (design.md §4)."""

import re
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pamqp.commands import Basic, Connection, Queue, Tx

from tests.oracle.leveret import Leveret
from tests.oracle.rabbitmq import BrokerFailed
from tests.runtime.faulty import Faulty
from tests.runtime.process import PERSISTENT, Pinger, log_lines, publish_bytes, send_many, soon
from tests.wire import Wire, WireChannel

EXIT_STORAGE = 74
INTERNAL_ERROR = 541
STORE_FAILED = "the message store failed"
FAULTS = pytest.mark.parametrize("fault", ["write_synced EIO", "write_synced ENOSPC", "any EIO"])


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Faulty]:
    with Faulty(tmp_path) as broker:
        yield broker
        broker.kill()
    assert "Traceback" not in broker.log
    assert "internal error" not in broker.log.replace("INTERNAL_ERROR", "")


@pytest.fixture
def channel(faulty: Faulty) -> Iterator[WireChannel]:
    """A channel in confirm mode, with three confirmed messages in the queue q."""
    with Wire.connect(faulty) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        channel.publish_confirmed("", "q", b"0", b"1", b"2", delivery_mode=PERSISTENT)
        channel.confirm_select()
        yield channel


def after_a_restart(faulty: Faulty) -> list[bytes]:
    faulty.fault("")
    assert faulty.stop() == EXIT_STORAGE, "the exit status says that something went wrong"
    faulty.start()
    with Wire.connect(faulty) as wire:
        bodies = wire.open_channel().bodies("q")
    assert faulty.stop() == 0
    return bodies


@FAULTS
def test_pending_confirms_are_nacked_and_later_publishes_wait(faulty: Faulty, channel: WireChannel, fault: str) -> None:
    faulty.fault(fault)
    # In one write, so that all are in before the failure is known.
    bodies = [b"3", b"4", b"5"]
    channel.wire.send_raw(b"".join(publish_bytes(channel.number, "", "q", body, delivery_mode=PERSISTENT) for body in bodies))
    assert channel.confirms(3) == {1: False, 2: False, 3: False}
    # and it doesn't come right again by itself: what the disk holds is unknown
    faulty.fault("")
    channel.publish("", "q", b"6", delivery_mode=PERSISTENT)
    channel.wire.expect(Connection.Blocked, 0, reason=STORE_FAILED)
    faulty.wait_for_log(r"\[critical\]")
    assert len(log_lines(faulty, r"\[critical\]")) == 1
    channel.wire.abort()
    bodies = after_a_restart(faulty)
    assert bodies[:3] == [b"0", b"1", b"2"]
    assert set(bodies[3:]) <= {b"3", b"4", b"5"}, "nacked means unknown, but what came after the failure was never written"


def test_a_pipeline_that_breaks_in_the_middle(faulty: Faulty, channel: WireChannel) -> None:
    """Each publish is answered at most once, in order, and then the connection is blocked; all that was acked is there."""
    frames = [publish_bytes(channel.number, "", "q", b"%d" % number, delivery_mode=PERSISTENT) for number in range(3, 3003)]
    answers: dict[int, bool] = {}
    blocked = False

    def read_on(until: int) -> None:
        """So many answers, or all that there are before the connection is blocked."""
        nonlocal blocked
        while len(answers) < until and not blocked:
            method: Any = channel.wire.next_frame().method
            if isinstance(method, Connection.Blocked):
                blocked = method.reason == STORE_FAILED
                continue
            tags = range(1, method.delivery_tag + 1) if method.multiple else [method.delivery_tag]
            fresh = [tag for tag in tags if tag not in answers]
            assert fresh, "answered twice"
            answers.update(dict.fromkeys(fresh, isinstance(method, Basic.Ack)))

    for at in range(0, 3000, 100):
        if at == 1500:
            read_on(500)
            faulty.fault("any EIO")
        channel.wire.send_raw(b"".join(frames[at : at + 100]))
    read_on(3000)
    # If all were taken in before the failure was known, then the next is the one that waits.
    channel.publish("", "q", b"last", delivery_mode=PERSISTENT)
    read_on(3001)
    assert blocked
    assert list(answers) == list(range(1, len(answers) + 1))
    acked = [tag for tag, ack in answers.items() if ack]
    assert 500 <= len(acked) < 3000
    assert acked == list(range(1, len(acked) + 1)), "acks are for what came first"
    channel.wire.abort()
    bodies = after_a_restart(faulty)
    assert bodies[: 3 + len(acked)] == [b"%d" % number for number in range(3 + len(acked))]


@FAULTS
def test_a_commit_gets_541(faulty: Faulty, channel: WireChannel, fault: str) -> None:
    with Wire.connect(faulty) as wire:
        other = wire.open_channel()
        other.tx_select()
        other.publish("", "q", b"never", delivery_mode=PERSISTENT)
        faulty.fault(fault)
        other.send(Tx.Commit)
        wire.expect_close(INTERNAL_ERROR, re.compile("INTERNAL_ERROR - .*"))
    channel.wire.abort()
    bodies = after_a_restart(faulty)
    assert bodies[:3] == [b"0", b"1", b"2"]


@pytest.mark.parametrize("what", ["declare", "delete", "bind"])
def test_whatever_is_durable_gets_541(faulty: Faulty, channel: WireChannel, what: str) -> None:
    """The catalog and the log are one store: neither is written to any more."""
    faulty.fault("any EIO")
    channel.publish("", "q", b"breaks it", delivery_mode=PERSISTENT)
    channel.expect(Basic.Nack)
    faulty.fault("")
    with Wire.connect(faulty) as wire:
        other = wire.open_channel()
        if what == "declare":
            other.send(Queue.Declare, queue="r", durable=True)
        elif what == "delete":
            other.send(Queue.Delete, queue="q")
        else:
            other.send(Queue.Bind, queue="q", exchange="amq.direct", routing_key="k")
        wire.expect_close(INTERNAL_ERROR, re.compile("INTERNAL_ERROR - .*"))
    channel.wire.abort()
    assert after_a_restart(faulty)[:3] == [b"0", b"1", b"2"]


def test_what_needs_no_disk_goes_on(faulty: Faulty, channel: WireChannel) -> None:
    """Consumers drain what there is, transient things are declared, connections come and go; but nobody publishes."""
    faulty.fault("any EIO")
    channel.publish("", "q", b"breaks it", delivery_mode=PERSISTENT)
    channel.expect(Basic.Nack)
    with Wire.connect(faulty) as wire, Pinger(faulty) as pinger:
        other = wire.open_channel()
        name = other.queue()
        other.bind(name, "amq.direct", "k")
        assert [other.take("q", no_ack=False).body for _ in range(3)] == [b"0", b"1", b"2"]
        other.ack(0, multiple=True)
        pinger.pings(20)
        other.publish("", name, b"transient")
        wire.expect(Connection.Blocked, 0, reason=STORE_FAILED)
    channel.wire.abort()
    assert after_a_restart(faulty)[:3] == [b"0", b"1", b"2"], "the acks could not be written down"


def test_a_stop_on_a_failed_disk_does_not_hang(faulty: Faulty, channel: WireChannel) -> None:
    faulty.fault("any EIO")
    channel.publish("", "q", b"breaks it", delivery_mode=PERSISTENT)
    channel.expect(Basic.Nack)
    channel.wire.abort()
    begin = time.monotonic()
    assert faulty.stop() == EXIT_STORAGE
    assert time.monotonic() - begin < 5


def test_a_disk_that_fails_during_the_stop(faulty: Faulty, channel: WireChannel) -> None:
    """Written, not yet synced, and then the last sync fails: the status says so."""
    channel.publish("", "q", b"transient")
    assert channel.confirms(1) == {1: True}
    channel.wire.abort()
    faulty.fault("any EIO")
    assert faulty.stop() == EXIT_STORAGE
    faulty.fault("")
    faulty.start()
    with Wire.connect(faulty) as wire:
        assert wire.open_channel().bodies("q")[:3] == [b"0", b"1", b"2"]


def test_a_disk_that_fails_when_the_log_is_no_exchange_any_more(tmp_path: Path) -> None:
    """The storage's thread says so after the event loop has been closed, and has to live to finish the stop."""
    file = tmp_path / "leveret.conf"
    file.write_text("log.exchange = true\n")
    with Faulty(tmp_path, arguments=("--config", str(file))) as broker:
        with Wire.connect(broker) as wire:
            channel = wire.open_channel()
            channel.queue("lines", auto_delete=False)
            channel.call(Queue.Bind, queue="lines", exchange="amq.rabbitmq.log", routing_key="#")
            channel.queue("q", durable=True)
            channel.publish_confirmed("", "q", b"written, and not synced")
        broker.fault("sync EIO")
        begin = time.monotonic()
        assert broker.stop() == EXIT_STORAGE
        assert time.monotonic() - begin < 5
        assert log_lines(broker, r"\[error\].*storage failed") and log_lines(broker, "the log could not be closed")
    assert "Traceback" not in broker.log


@pytest.mark.alone
def test_a_slow_disk_delays_confirms_and_nothing_else(faulty: Faulty, channel: WireChannel) -> None:
    faulty.fault("any 0.5")
    with Wire.connect(faulty) as wire, Pinger(faulty) as pinger:
        other = wire.open_channel()
        other.consume("q", no_ack=True)
        other.deliveries(3)
        begin = time.monotonic()
        channel.publish("", "q", b"3", delivery_mode=PERSISTENT)
        assert other.deliver().body == b"3", "deliveries don't wait"
        assert time.monotonic() - begin < 0.4
        assert channel.confirms(1) == {1: True}
        assert time.monotonic() - begin >= 0.5
        pinger.check()
        assert pinger.percentile(0.99) < 0.1


def test_a_publisher_that_waits_for_the_disk_is_not_dropped_for_its_silence(faulty: Faulty) -> None:
    """It isn't read from meanwhile (contract 1.10): what it sends, heartbeats too, lies in the socket."""
    with Wire.connect(faulty, heartbeat=1, timeout=30) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        channel.confirm_select()
        faulty.fault("write_synced 4")
        count = 96
        data = publish_bytes(channel.number, "", "q", b"x" * 1_000_000, delivery_mode=PERSISTENT)
        sender = threading.Thread(target=send_many, args=(wire, data, count))
        sender.start()
        with Wire.connect(faulty) as other:
            bystander = other.open_channel()
            soon(lambda: bystander.counts("q")[0] > 30)
            bystander.nothing_more("q")
            print("in when the broker stopped reading:", bystander.counts("q"))
            assert sender.is_alive(), "the broker has stopped reading"
        faulty.fault("")
        assert all(channel.confirms(count).values())
        sender.join()
    assert not log_lines(faulty, "missed heartbeats")


def test_a_directory_that_cannot_be_written_is_refused_with_a_clear_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("I am here")
    broker = Leveret(tmp_path / "file")
    with pytest.raises(BrokerFailed) as failure:
        broker.start()
    assert "Traceback" not in str(failure.value)
    assert str(tmp_path / "file") in str(failure.value)
    assert "cannot start" in str(failure.value)


def test_a_full_disk_under_the_catalog(durable: Leveret) -> None:
    """SQLite's failure is the store's: what was declared before is there, the one that failed gets 541. (The limit is the kernel's.)"""
    resource.prlimit(durable.pid, resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
    declared = 0
    with Wire.connect(durable) as wire:
        channel = wire.open_channel()
        while True:
            channel.send(Queue.Declare, queue=f"q{declared}", durable=True)
            reply: Any = wire.next_frame().method
            if not isinstance(reply, Queue.DeclareOk):
                break
            declared += 1
        assert (reply.reply_code, declared > 50) == (INTERNAL_ERROR, True)
        assert "store failed" in reply.reply_text
    resource.prlimit(durable.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert durable.stop() == EXIT_STORAGE
    assert "Traceback" not in durable.log
    durable.start()
    with Wire.connect(durable) as wire:
        channel = wire.open_channel()
        for number in range(declared):
            channel.counts(f"q{number}")
    assert durable.stop() == 0
    durable._lines.clear()  # it has a critical line, as it should

"""A backlog several times over what may be in memory, over real sockets and a real disk."""

import re
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from pamqp.commands import Connection

from tests.campaign.small_segments import SmallSegments
from tests.oracle.leveret import Leveret
from tests.runtime.conftest import Start
from tests.runtime.faulty import Faulty
from tests.runtime.pauses import Pauses
from tests.runtime.process import (
    MB,
    PERSISTENT,
    assert_nothing_broke,
    fill,
    log_lines,
    peak_rss_bytes,
    publish_bytes,
    rss_bytes,
    send_what_fits,
    soon,
)
from tests.wire import Wire, WireChannel

WATERMARK = "96MiB"
"""Paging begins at half of it. The other half has room for what waits for the disk, up to 32 MiB of it."""
BODY_BYTES = 8192
COUNT = 24_000
WINDOW = 500
FIRST_SECONDS_MAX = 0.1
GC_MS_MAX = 10.0
BUSY = 5
"""What a machine that others use may need more: the times below are of a process that may not get its turn."""
ALARM = "memory resource limit alarm set"
CLEARED = "memory resource limit alarm cleared"


@pytest.fixture
def broker(start: Start) -> Leveret:
    return start(**{"vm_memory_high_watermark.absolute": WATERMARK})


def numbered(number: int, size: int = BODY_BYTES) -> bytes:
    return b"%09d" % number + bytes(size - 9)


def number_of(body: bytes) -> int:
    return int(body[:9])


def publish_numbers(broker: Leveret, queues: list[str], numbers: Iterable[int], size: int = BODY_BYTES, **properties: int) -> None:
    """Messages with these numbers, round-robin into the queues, all confirmed."""
    with Wire.connect(broker, timeout=60) as wire:
        send_numbers(wire, queues, list(numbers), size, **properties)
        wire.close()


def send_numbers(wire: Wire, queues: list[str], numbers: list[int], size: int = BODY_BYTES, **properties: int) -> None:
    """The same on a connection. Never more than a window is on its way: what waits for the disk is in memory, whatever paging does."""
    for begin in range(0, len(numbers), WINDOW):
        window = numbers[begin : begin + WINDOW]
        channel = wire.open_channel()
        channel.confirm_select()
        frames = [
            publish_bytes(channel.number, "", queues[(begin + at) % len(queues)], numbered(number, size), **properties)
            for at, number in enumerate(window)
        ]
        wire.send_raw(b"".join(frames))
        assert all(channel.confirms(len(window)).values())
        channel.close()


def drained(channel: WireChannel, queue: str, count: int) -> list[int]:
    """The numbers of the next so many messages of the queue."""
    tag = channel.consume(queue, no_ack=True)
    found = [number_of(channel.deliver().body) for _ in range(count)]
    channel.cancel(tag)
    return found


@pytest.mark.alone
@pytest.mark.parametrize("mode", [PERSISTENT, 1])
@pytest.mark.parametrize("durable", [True, False])
def test_a_backlog_that_would_not_fit(broker: Leveret, mode: int, durable: bool) -> None:
    with Wire.connect(broker, timeout=60) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=durable, exclusive=False)
        before = rss_bytes(broker)
        publish_numbers(broker, ["q"], range(COUNT), delivery_mode=mode)
        assert channel.counts("q") == (COUNT, 0)
        taken, bodies = peak_rss_bytes(broker) - before, COUNT * BODY_BYTES
        print(f"{bodies // MB} MB of bodies, RSS +{taken // MB} MB")
        assert taken < bodies * 0.8
        begin = time.perf_counter()
        assert number_of(channel.take("q").body) == 0
        second = time.perf_counter() - begin
        assert second < FIRST_SECONDS_MAX * BUSY
        begin = time.perf_counter()
        channel.consume("q", "c", no_ack=True)
        assert number_of(channel.deliver().body) == 1
        first = time.perf_counter() - begin
        print(f"first got after {second * 1000:.1f} ms, first delivered after {first * 1000:.1f} ms")
        assert first < FIRST_SECONDS_MAX * BUSY
        assert [number_of(channel.deliver().body) for _ in range(COUNT - 2)] == list(range(2, COUNT))
        channel.cancel("c")
        assert channel.counts("q") == (0, 0)
    assert not log_lines(broker, ALARM), "a publisher that is ahead of the disk waits for it"


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Faulty]:
    """The same broker on a disk that does as it is told."""
    file = tmp_path / "leveret.conf"
    file.write_text(f"vm_memory_high_watermark.absolute = {WATERMARK}\n")
    with Faulty(tmp_path, arguments=("--config", str(file))) as broker:
        yield broker
        broker.kill()
    assert_nothing_broke(broker)


@pytest.mark.alone
def test_a_publisher_waits_for_a_spill_that_stalls(faulty: Faulty) -> None:
    """What goes to queues that aren't durable is confirmed at once: what isn't written yet must not grow until the alarm."""
    count = COUNT * 2 // 3
    with Wire.connect(faulty, timeout=60) as wire, Wire.connect(faulty, timeout=60) as other:
        publisher, channel = wire.open_channel(), other.open_channel()
        channel.queue("q", exclusive=False)
        faulty.fault("write stalls")
        frames = b"".join(publish_bytes(publisher.number, "", "q", numbered(number)) for number in range(count))
        sent = send_what_fits(wire, frames)
        print(f"{sent // MB} of {len(frames) // MB} MB sent, {channel.counts('q')[0]} messages in")
        assert sent < len(frames)
        faulty.fault("")
        wire._socket.settimeout(60)
        wire.send_raw(frames[sent:])
        publisher.expect_counts("q", count, 0)
        assert drained(channel, "q", count) == list(range(count))
    assert not log_lines(faulty, ALARM)


def test_a_stop_does_not_wait_for_what_the_spill_has_not_written(faulty: Faulty) -> None:
    """Nobody would read it; and the event loop that would hear of it is gone."""
    with Wire.connect(faulty, timeout=60) as wire:
        channel = wire.open_channel()
        channel.queue("q", exclusive=False)
        faulty.fault("write 1")
        send_numbers(wire, ["q"], list(range(9000)))
        wire.close()
    assert faulty.stop() == 0


def test_many_queues(broker: Leveret) -> None:
    queues = [f"q{number}" for number in range(200)]
    with Wire.connect(broker, timeout=60) as wire:
        channel = wire.open_channel()
        for name in queues:
            channel.queue(name, durable=True)
        publish_numbers(broker, queues, range(200 * 500), 1000, delivery_mode=PERSISTENT)
        for at, name in enumerate(queues):
            assert drained(channel, name, 500) == list(range(at, 200 * 500, 200))
    assert not log_lines(broker, ALARM)


def test_killed_with_a_paged_backlog(broker: Leveret) -> None:
    with Wire.connect(broker, timeout=60) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        channel.queue("t", durable=False, exclusive=False)
        publish_numbers(broker, ["q", "t"], range(COUNT // 2), delivery_mode=PERSISTENT)
        channel.qos(10)
        channel.consume("q")
        assert [number_of(channel.deliver().body) for _ in range(10)] == list(range(0, 20, 2))
        channel.ack(5, multiple=True)
        publish_numbers(broker, ["q"], [COUNT], delivery_mode=PERSISTENT)
    broker.kill()
    assert isinstance(broker.data_dir, Path)
    assert list((broker.data_dir / "spill").iterdir())
    broker.start()
    with Wire.connect(broker, timeout=60) as wire:
        channel = wire.open_channel()
        assert not list((broker.data_dir / "spill").iterdir())
        count = channel.counts("q")[0]
        numbers = drained(channel, "q", count)
        wanted = [*range(0, COUNT // 2, 2), COUNT]
        assert numbers in [wanted[start:] for start in range(6)], "the acks of the last moment may be lost"


def test_the_alarm_comes_when_everything_is_unacked(broker: Leveret) -> None:
    """Paging can't help what a consumer holds."""
    with Wire.connect(broker, timeout=60) as wire, Wire.connect(broker, timeout=60) as other:
        channel, publisher = wire.open_channel(), other.open_channel()
        channel.queue("q", durable=True)
        publish_numbers(broker, ["q"], range(COUNT), delivery_mode=PERSISTENT)
        assert not log_lines(broker, ALARM)
        channel.consume("q", "c")
        for number in range(COUNT):
            assert number_of(channel.deliver().body) == number
        broker.wait_for_log(ALARM)
        publisher.publish("", "q", numbered(COUNT))
        other.expect(Connection.Blocked, 0, reason="low on memory")
        channel.ack(0, multiple=True)
        broker.wait_for_log(CLEARED)
        other.expect(Connection.Unblocked, 0)
        assert number_of(channel.deliver().body) == COUNT


def test_the_alarm_comes_where_there_is_no_disk(start: Start) -> None:
    broker = start(memory=True, **{"vm_memory_high_watermark.absolute": WATERMARK})
    with Wire.connect(broker, timeout=60) as wire, Wire.connect(broker, timeout=60) as other:
        channel, publisher = wire.open_channel(), other.open_channel()
        channel.queue("q", durable=True)
        frames = b"".join(publish_bytes(publisher.number, "", "q", numbered(number)) for number in range(COUNT))
        sender = threading.Thread(target=other.send_raw, args=(frames,), daemon=True)
        sender.start()
        other.expect(Connection.Blocked, 0, reason="low on memory")
        assert drained(channel, "q", COUNT) == list(range(COUNT))
        other.expect(Connection.Unblocked, 0)
        sender.join(60)
        assert not sender.is_alive()


def test_the_spill_is_given_back(broker: Leveret) -> None:
    """Transient traffic alone: what was read back takes no space, though nothing else happens."""
    with Wire.connect(broker, timeout=60) as wire:
        channel = wire.open_channel()
        queue = channel.queue()
        send_numbers(wire, [queue], list(range(COUNT)))
        assert isinstance(broker.data_dir, Path)
        spill = broker.data_dir / "spill"
        most = _size(spill)
        assert most > 100 * MB
        assert drained(channel, queue, COUNT) == list(range(COUNT))
        soon(lambda: _size(spill) < most - 60 * MB, what="the first segment of the spill is there")


def test_the_spill_stays_small_while_something_old_is_in_it(tmp_path: Path) -> None:
    """Transient traffic past a queue that nobody consumes, with segments of 150 kB: ten megabytes go in and out."""
    kept, rounds, count, size = range(40), 10, range(500), 2000
    with SmallSegments(tmp_path / "data") as broker, Wire.connect(broker, timeout=60) as wire:
        channel = wire.open_channel()
        old, flow = channel.queue(), channel.queue()
        send_numbers(wire, [flow], list(count), size)  # from now on memory is tight
        for number in kept:
            send_numbers(wire, [old], [number], size)
        assert drained(channel, flow, len(count)) == list(count)
        spill = tmp_path / "data" / "spill"
        for _ in range(rounds):
            for begin in count[::50]:
                send_numbers(wire, [flow], list(count[begin : begin + 50]), size)
            assert drained(channel, flow, len(count)) == list(count)
        soon(lambda: _size(spill) < 700_000, what="what nobody needs is there")
        assert _size(spill) > 60_000, "what is kept is there"
        assert drained(channel, old, len(kept)) == list(kept)
        soon(lambda: len(list(spill.iterdir())) == 1)
    assert_nothing_broke(broker)


def _size(directory: Path) -> int:
    sizes = []
    for file in directory.iterdir():
        try:
            sizes.append(file.stat().st_size)
        except FileNotFoundError:  # it went meanwhile
            continue
    return sum(sizes)


@pytest.fixture
def pauses(tmp_path: Path) -> Iterator[Pauses]:
    """A broker that keeps some 300,000 small messages in memory."""
    file = tmp_path / "leveret.conf"
    file.write_text(f"vm_memory_high_watermark.absolute = {2 * 300_000 * 230}\n")
    with Pauses(tmp_path / "data", arguments=("--config", str(file))) as broker:
        yield broker
        broker.kill()
    assert_nothing_broke(broker)


@pytest.mark.alone
def test_the_garbage_collector_has_little_to_look_at(pauses: Pauses) -> None:
    """300,000 messages in memory and a million paged: no object per message that it would walk over."""
    with Wire.connect(pauses, timeout=60) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        fill(pauses, "q", b"0123456789", 1_300_000, delivery_mode=PERSISTENT)
        assert channel.counts("q") == (1_300_000, 0)
        assert not log_lines(pauses, ALARM)
        channel.consume("q", "c", no_ack=True)
        for _ in range(20_000):
            channel.deliver()
    assert pauses.stop() == 0
    line = pauses.wait_for_log("collections: ")
    count, longest, _ = re.findall(r"[\d.]+", line)
    print(line)
    assert int(count) > 0
    assert float(longest) < GC_MS_MAX * BUSY

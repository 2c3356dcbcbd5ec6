"""Peers can't take the last file descriptors: connections are turned away before, and the log waits for one rather than fail."""

import logging
import os
import resource
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

import pytest

from broker.config import Config
from broker.runtime.descriptors import Descriptors
from storage.api import Receipt
from storage.files import Files
from storage.local import LocalStore
from tests.runtime.configured import PLAIN, Configured
from tests.runtime.process import PERSISTENT, Pinger, assert_nothing_broke, cpu_seconds, fill, log_lines, sockets, soon
from tests.security.few_files import FILES_MAX, FewFiles
from tests.wire import Wire


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_silent_peers_of_a_listener_that_waits_for_their_first_bytes(tmp_path: Path, loop: str) -> None:
    """With TLS or a proxy a connection begins with its first bytes; the socket counts before."""
    config = Config(listeners=(PLAIN,), proxy_protocol=True, handshake_timeout_seconds=60)
    with Configured(tmp_path / "config", config, loop=loop, files=FILES_MAX) as broker, ExitStack() as stack:
        idle = sockets(broker)
        for _ in range(200):
            stack.enter_context(socket.create_connection((broker.host, broker.port)))
        broker.wait_for_log("file descriptor limit alarm set")
        soon(lambda: idle < sockets(broker) <= FILES_MAX // 2)
        assert len(log_lines(broker, "file descriptor limit alarm")) == 1
        assert not log_lines(broker, "cannot accept")


def test_more_connections_than_descriptors(tmp_path: Path) -> None:
    """300 peers where 128 files may be open: the others are served, disk included, the log says so once, and it is over when they go."""
    with FewFiles(tmp_path / "data") as broker, Wire.connect(broker) as wire, Pinger(broker) as pinger:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        idle = sockets(broker)
        with ExitStack() as stack:
            for _ in range(300):
                stack.enter_context(socket.create_connection((broker.host, broker.port)))
            broker.wait_for_log("file descriptor limit alarm set")
            soon(lambda: sockets(broker) <= FILES_MAX // 2)
            begin = cpu_seconds(broker)
            pinger.pings(20)
            assert cpu_seconds(broker) - begin < 1, "it spins"
            for number in range(20):
                channel.queue(f"q{number}", durable=True)
                channel.publish_confirmed("", f"q{number}", b"x" * 4_000_000, delivery_mode=PERSISTENT)  # more than one segment
            assert len(log_lines(broker, "file descriptor limit alarm")) == 1
        soon(lambda: sockets(broker) == idle, what="sockets")
        fill(broker, "q", b"x", 10, delivery_mode=PERSISTENT)
        broker.wait_for_log("file descriptor limit alarm cleared")
        assert len(list((tmp_path / "data" / "log").iterdir())) > 1
        assert broker.stop() == 0
        assert_nothing_broke(broker)


@pytest.mark.parametrize(
    ("limit", "sockets_max"), [(128, 64), (1024, 512), (4096, 2048), (20_000, 17_888), (1_048_576, 943_719), (None, None)]
)
def test_what_is_kept_free(limit: int | None, sockets_max: int | None) -> None:
    """RabbitMQ: 829 of 1024, which a burst of connections would pass in one turn here."""
    assert Descriptors(limit).sockets_max == sockets_max


def test_the_alarm_does_not_flap(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    descriptors = Descriptors(1024)
    room = [descriptors.has_room_for(number) for number in (511, 512, 511, 513, 461, 600, 460, 460)]
    assert room == [True, False, True, False, True, False, True, True]
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "file descriptor limit alarm set",
        "file descriptor limit alarm cleared",
    ]


def test_opening_a_file_waits_for_a_descriptor(tmp_path: Path) -> None:
    """A log that can't open its next segment has failed for good (docs/durability.md), and this is over in a moment."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(tmp_path, os.O_RDONLY)
    os.close(lowest)
    timer = threading.Timer(0.1, resource.setrlimit, (resource.RLIMIT_NOFILE, before))
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    timer.start()
    try:
        descriptor = Files().open(tmp_path / "new", create=True)
    finally:
        timer.join()
    os.close(descriptor)
    assert (tmp_path / "new").exists()


def test_the_event_loop_waits_for_no_descriptor(tmp_path: Path) -> None:
    """It opens the spill, and is also what turns connections away. Whatever was missing, nothing is left open, and it can try again."""
    store = LocalStore(tmp_path / "data")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = set(os.listdir("/proc/self/fd"))
    lowest = os.open(tmp_path, os.O_RDONLY)
    os.close(lowest)
    begin = time.monotonic()
    try:
        for free in (0, 1):
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + free, before[1]))
            with pytest.raises(OSError, match="Too many open files"):
                store.spill()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert time.monotonic() - begin < 5
    assert set(os.listdir("/proc/self/fd")) == files
    spill = store.spill()
    assert spill is not None
    written: SimpleQueue[object] = SimpleQueue()
    spill.append([b"paged out"], written.put, sync=False)
    assert isinstance(written.get(timeout=10), Receipt)
    store.close()

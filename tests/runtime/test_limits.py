"""What the alarms decide, without a broker: limits, their order of precedence, their change at run time, and the machine's memory."""

import errno
from pathlib import Path
from typing import Any

import pytest

from broker.config import Config
from broker.core.memory import Memory
from broker.runtime.alarms import DISK, MEMORY, STORE, Alarms
from broker.runtime.machine import memory_bytes

MACHINE_BYTES = 1_000_000_000


class FakeConnection:
    """What the alarms do to a connection, and what it holds."""

    def __init__(self, held_bytes: int = 0) -> None:
        self.held_bytes = held_bytes
        self.stuck_bytes = 0
        self.said: list[str] = []

    def hold_publishes(self) -> None:
        self.said.append("hold")

    def release_publishes(self) -> None:
        self.said.append("release")

    def give_up(self) -> None:
        self.said.append("give up")
        self.held_bytes = self.stuck_bytes = 0


class Room:
    """Alarms over numbers that a test sets."""

    def __init__(self, free: int | None = 10**12, **settings: Any) -> None:
        self.free_bytes = free
        self.memory = Memory()
        self.connections: list[Any] = [FakeConnection(), FakeConnection()]
        ask = None if free is None else self._free
        self.alarms = Alarms(Config(**settings), self.memory, self.connections, ask, MACHINE_BYTES)

    def _free(self) -> int:
        if self.free_bytes is None:
            raise OSError(errno.EIO, "Input/output error")
        return self.free_bytes

    def look(self) -> tuple[str, ...]:
        self.alarms.count_connections()
        self.alarms.check_disk()
        self.alarms.check_memory()
        return self.alarms.active


@pytest.mark.parametrize(
    ("settings", "disk", "memory"),
    [
        ({}, 50_000_000, 400_000_000),
        ({"disk_free_limit": 7, "vm_memory_high_watermark": 8}, 7, 8),
        ({"disk_free_limit": 2.0, "vm_memory_high_watermark": 0.25}, 2_000_000_000, 250_000_000),
        ({"disk_free_limit": 0, "vm_memory_high_watermark": 0.0}, 0, 0),
    ],
)
def test_limits(settings: dict[str, Any], disk: int, memory: int) -> None:
    alarms = Room(**settings).alarms
    assert (alarms.disk_free_limit_bytes, alarms.memory_limit_bytes) == (disk, memory)


def test_alarms_are_told() -> None:
    """The facts are RabbitMQ's: alarm.set and alarm.cleared with node and source."""
    room, told = Room(free=100, disk_free_limit=100, vm_memory_high_watermark=1000), []
    room.alarms.emit = lambda name, facts: told.append((name, facts()))
    room.free_bytes, room.memory.used = 99, 1001
    room.look()
    room.look()
    room.free_bytes = 100
    room.look()
    node = {"node": "rabbit@localhost"}
    assert told == [
        ("alarm.set", node | {"source": "disk"}), ("alarm.set", node | {"source": "memory"}), ("alarm.cleared", node | {"source": "disk"}),
    ]  # fmt: skip


def test_the_edges() -> None:
    """RabbitMQ: less than the limit is too little space, more than the watermark is too much memory."""
    room = Room(free=100, disk_free_limit=100, vm_memory_high_watermark=1000)
    room.memory.used = 1000
    assert room.look() == ()
    assert room.alarms.queued_max_bytes == 1000
    room.free_bytes, room.memory.used = 99, 1001
    assert room.look() == (DISK, MEMORY)
    assert room.alarms.reason == "low on disk & memory"
    assert room.alarms.queued_max_bytes > 10**18, "the turn needn't ask"
    room.free_bytes, room.memory.used = 100, 1000
    assert room.look() == ()


def test_a_watermark_of_0_blocks_all_publishing() -> None:
    room = Room(vm_memory_high_watermark=0.0)
    assert room.look() == (MEMORY,)
    assert room.look() == (MEMORY,)


def test_connections_are_told_of_the_first_alarm_and_of_the_last_clearing() -> None:
    room = Room(disk_free_limit=100, vm_memory_high_watermark=1000)
    said = room.connections[0].said
    room.free_bytes = 0
    room.look()
    room.memory.used = 5000
    room.look()
    room.look()
    assert said == ["hold"]
    room.free_bytes = 100
    assert room.look() == (MEMORY,)
    assert said == ["hold"]
    room.memory.used = 0
    room.look()
    assert said == ["hold", "release"]
    assert room.connections[1].said == said


def test_what_connections_hold_counts() -> None:
    room = Room(vm_memory_high_watermark=1000)
    room.memory.used = 600
    room.connections[0].held_bytes = room.connections[1].held_bytes = 200
    assert room.look() == ()
    assert room.alarms.queued_max_bytes == 600
    room.connections[0].held_bytes = 201
    assert room.look() == (MEMORY,)


def test_who_holds_most_of_what_only_peers_can_end_has_to_go() -> None:
    """But for what waits to be read, and no more of them than it takes."""
    room = Room(vm_memory_high_watermark=1000)
    small, big = room.connections
    small.held_bytes = big.held_bytes = 5000
    room.look()
    small.stuck_bytes, big.stuck_bytes = 400, 600
    assert room.look() == (MEMORY,)
    assert small.said == big.said == ["hold"]
    big.stuck_bytes = 601
    room.look()
    assert (small.said, big.said) == (["hold"], ["hold", "give up"])
    small.held_bytes = 400
    assert room.look() == ()


def test_a_failed_store_is_for_good(caplog: pytest.LogCaptureFixture) -> None:
    room = Room(disk_free_limit=100)
    room.alarms.store_failed()
    room.alarms.store_failed()
    assert room.look() == (STORE,)
    assert room.alarms.reason == "the message store failed"
    room.free_bytes = 0
    assert room.look() == (DISK, STORE)
    assert room.alarms.reason == "low on disk & the message store failed"
    room.free_bytes = 100
    assert room.look() == (STORE,)
    assert room.connections[0].said == ["hold"]
    assert len([record for record in caplog.records if "message store alarm set" in record.getMessage()]) == 1


def test_limits_change_at_run_time() -> None:
    room = Room(free=1000, disk_free_limit=100, vm_memory_high_watermark=100)
    room.alarms.set_disk_free_limit(1001)
    assert room.alarms.active == (DISK,)
    room.alarms.set_disk_free_limit(1000)
    assert room.alarms.active == ()
    room.memory.used = 50
    room.alarms.set_vm_memory_high_watermark(49)
    assert room.alarms.active == (MEMORY,)
    room.alarms.set_vm_memory_high_watermark(50)
    assert room.alarms.active == ()
    assert room.alarms.queued_max_bytes == 50


def test_without_a_disk_there_is_no_disk_alarm() -> None:
    room = Room(free=None, disk_free_limit=10**15)
    assert room.look() == ()
    room.alarms.set_disk_free_limit(10**16)
    assert room.alarms.active == ()


def test_a_disk_that_does_not_tell_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    room = Room(disk_free_limit=100)
    room.free_bytes = None
    for _ in range(3):
        assert room.look() == ()
    assert len([record for record in caplog.records if "cannot tell" in record.getMessage()]) == 1
    room.free_bytes = 0
    assert room.look() == (DISK,)


# --- the machine


@pytest.mark.parametrize(
    ("cgroups", "files", "limit"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "1000\n", "memory.max": "5000\n"}, 1000),
        ("0::/a/b\n", {"a/b/memory.max": "300\n", "a/memory.max": "1000\n"}, 300),
        ("0::/\n", {"memory.max": "77\n"}, 77),
        ("0::/host/path/that/is/not/here\n", {"memory.max": "88\n"}, 88),
        ("9:memory:/x\n0::/\n", {"memory/x/memory.limit_in_bytes": "55\n", "memory/memory.limit_in_bytes": "9223372036854771712\n"}, 55),
        ("9:cpu,memory:/x\n", {"memory/memory.limit_in_bytes": "66\n"}, 66),
        ("9:cpu:/x\n", {"memory/x/memory.limit_in_bytes": "55\n"}, None),
        ("9:memory:/x\n", {"memory/x/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ("", {}, None),
    ],
)
def test_the_memory_of_the_machine_or_of_its_container(tmp_path: Path, cgroups: str, files: dict[str, str], limit: int | None) -> None:
    (tmp_path / "cgroup").write_text(cgroups)
    mount = tmp_path / "mount"
    for name, text in files.items():
        (mount / name).parent.mkdir(parents=True, exist_ok=True)
        (mount / name).write_text(text)
    whole = memory_bytes(tmp_path / "none", mount)
    assert whole > 1 << 27
    assert memory_bytes(tmp_path / "cgroup", mount) == (whole if limit is None else limit)

"""Resource alarms (contract 1.10): which are in effect, and what a publisher is told.

    disk     less space is free on the data directory's disk than disk_free_limit
    memory   messages and what connections hold take more than vm_memory_high_watermark
    store    a write failed, and nothing is written any more; this one stays until the restart

While any of them is on, connections read no basic.publish: the next one blocks its connection (Connection.hold_publishes).
One timer looks at the disk twice a second and adds up the connections once a second; where what peers don't finish or commit is more than
the watermark, those that hold most are closed, or publishers would wait for ever. What the queues hold is a number that the turn compares
with `queued_max_bytes`, so that a fast publisher doesn't get far past the watermark.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from broker.config import Config
    from broker.core.internal_events import FactsOf
    from broker.core.memory import Memory
    from broker.runtime.connection import Connection

log = logging.getLogger("alarms")

CHECK_SECONDS: Final = 0.5
DISK, MEMORY, STORE = ORDER = ("disk", "memory", "store")
STORE_REASON: Final = "the message store failed"
MIB: Final = 1 << 20
BLOCKED: Final = "*** Publishers will be blocked until this alarm clears ***"
STARS: Final = "*" * len(BLOCKED)


class Alarms:
    """See the module. `connections` is live; `free` returns the bytes free on the data directory's disk (it may raise OSError), and
    is None where there is no such disk; `machine_bytes` is the memory that fractions in the configuration are of."""

    def __init__(
        self, config: Config, memory: Memory, connections: Collection[Connection], free: Callable[[], int] | None, machine_bytes: int
    ) -> None:
        self.active: tuple[str, ...] = ()
        """Of DISK, MEMORY and STORE those in effect, in that order."""
        self.machine_bytes = machine_bytes
        self.disk_free_limit_bytes = _limit_bytes(config.disk_free_limit, machine_bytes)
        self.memory_limit_bytes = _limit_bytes(config.vm_memory_high_watermark, machine_bytes)
        self.queued_max_bytes: float = math.inf
        """When Memory.used passes it, call `check_memory`: the turn's short question."""
        self._memory = memory
        memory.set_watermark(self.memory_limit_bytes)
        self._connections = connections
        self._free = free
        self._free_is_known = True
        self.connections_bytes = 0
        """What they held beside the queues when they were last counted."""
        self._counts_connections = False
        self._handle: asyncio.TimerHandle | None = None
        self.node = "rabbit@localhost"
        self.emit: Callable[[str, FactsOf], object] = lambda name, facts: None
        """Where alarms are told of: Broker.emit, and a turn has to follow."""

    def start(self) -> None:
        """Look for the first time and begin the timer; needs a running loop."""
        self._log_memory_limit()
        if self._free is not None:
            self._log_disk_free_limit()
        self._check()

    def stop(self) -> None:
        """End the timer; what is in effect stays so."""
        if self._handle is not None:
            self._handle.cancel()

    @property
    def reason(self) -> str:
        """What connection.blocked says: RabbitMQ's `low on disk & memory`, and our own for the store."""
        low = " & ".join(name for name in self.active if name != STORE)
        return " & ".join([f"low on {low}"] * bool(low) + [STORE_REASON] * (STORE in self.active))

    # --- limits at run time -----------------------------------------------------------------------------------------

    def set_disk_free_limit(self, limit_bytes: int) -> None:
        """Change the limit and look at once, as `rabbitmqctl set_disk_free_limit` does. Without a disk it is only noted."""
        self.disk_free_limit_bytes = limit_bytes
        if self._free is not None:
            self._log_disk_free_limit()
            self.check_disk()

    def set_vm_memory_high_watermark(self, limit_bytes: int) -> None:
        """Change the limit and look at once, as `rabbitmqctl set_vm_memory_high_watermark absolute` does."""
        self.memory_limit_bytes = limit_bytes
        self._memory.set_watermark(limit_bytes)
        self._log_memory_limit()
        self.check_memory()

    def _log_disk_free_limit(self) -> None:
        log.info("Disk free limit set to %d MB (%d bytes)", self.disk_free_limit_bytes // 1_000_000, self.disk_free_limit_bytes)

    def _log_memory_limit(self) -> None:
        limit, whole = self.memory_limit_bytes, self.machine_bytes
        log.info("Memory high watermark set to %d MiB (%d bytes) of %d MiB (%d bytes) total", limit // MIB, limit, whole // MIB, whole)

    # --- looking ----------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        self._handle = asyncio.get_running_loop().call_later(CHECK_SECONDS, self._check)
        self._counts_connections = not self._counts_connections
        if self._counts_connections:
            self.count_connections()
        self.check_disk()
        self.check_memory()

    def count_connections(self) -> None:
        """Add up what they hold beside the queues, for the next `check_memory`."""
        self.connections_bytes = sum([connection.held_bytes for connection in self._connections])
        if MEMORY in self.active and self.connections_bytes > self.memory_limit_bytes > 0:
            self._end_the_stuck()

    def _end_the_stuck(self) -> None:
        """What peers don't finish or commit is more than is allowed, and no consumer can end such an alarm: who holds most has to go."""
        stuck = sorted(((each.stuck_bytes, each) for each in self._connections), key=lambda pair: pair[0], reverse=True)
        excess = sum(size for size, _ in stuck) - self.memory_limit_bytes
        for size, connection in stuck:
            if excess <= 0:
                return
            excess -= size
            self.connections_bytes -= size
            connection.give_up()

    def check_disk(self) -> None:
        """Look how much is free now; where the system can't tell, the alarm stays as it is."""
        if self._free is None:
            return
        try:
            free, limit = self._free(), self.disk_free_limit_bytes
        except OSError as error:
            if self._free_is_known:
                log.warning("cannot tell how much disk space is free, the disk alarm stays as it is: %s", error)
            self._free_is_known = False
            return
        self._free_is_known = True
        if free < limit and DISK not in self.active:
            advice = "free space on the disk of the data directory, or lower disk_free_limit"
            self._raise(DISK, f"free disk space is insufficient. Free bytes: {free}. Limit: {limit}", advice)
        elif free >= limit and DISK in self.active:
            self._clear(DISK, f"free disk space is sufficient. Free bytes: {free}. Limit: {limit}")

    def check_memory(self) -> None:
        """Look how much the queues hold now, and what the connections held when they were last counted."""
        used, limit = self._memory.used + self.connections_bytes, self.memory_limit_bytes
        # RabbitMQ is never below 0 bytes, and people set 0 to stop all publishing.
        too_much = used > limit or not limit
        if too_much and MEMORY not in self.active:
            advice = "consume or purge what waits in queues, or raise vm_memory_high_watermark"
            self._raise(MEMORY, f"messages take too much memory. Memory used: {used}. Allowed: {limit}", advice)
        elif not too_much and MEMORY in self.active:
            self._clear(MEMORY, f"memory is sufficient. Memory used: {used}. Allowed: {limit}")
        # While the alarm is on the turn has nothing to ask: its end is the timer's to see.
        self.queued_max_bytes = math.inf if MEMORY in self.active else limit - self.connections_bytes

    def store_failed(self) -> None:
        """Nothing is written any more; to say so again changes nothing."""
        if STORE not in self.active:
            self._raise(STORE, STORE_REASON, "restart the broker once the disk is in order")

    # --- on and off -------------------------------------------------------------------------------------------------

    def _raise(self, name: str, why: str, advice: str) -> None:
        text = "%s alarm set on node '%s'.\n\n%s\n%s\n%s\n\n%s; to end it, %s"
        log.warning(text, _long(name), self.node, STARS, BLOCKED, STARS, why, advice)
        self.emit("alarm.set", lambda: {"node": self.node, "source": name})
        first = not self.active
        self.active = tuple(each for each in ORDER if each == name or each in self.active)
        if first:
            for connection in self._connections:
                connection.hold_publishes()

    def _clear(self, name: str, why: str) -> None:
        self.active = tuple(each for each in self.active if each != name)
        still = f"publishers stay blocked: {self.reason}" if self.active else "publishers go on"
        log.warning("%s alarm cleared on node '%s': %s; %s", _long(name), self.node, why, still)
        self.emit("alarm.cleared", lambda: {"node": self.node, "source": name})
        if not self.active:
            for connection in list(self._connections):
                connection.release_publishes()


def _long(name: str) -> str:
    """RabbitMQ's name for it."""
    return f"{name} resource limit" if name != STORE else "message store"


def _limit_bytes(limit: float, machine_bytes: int) -> int:
    """Bytes as they are; a float is a share of the machine's memory."""
    return limit if isinstance(limit, int) else int(limit * machine_bytes)

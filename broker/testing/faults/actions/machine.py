"""Disks that fail, and alarms: of the whole broker, so of all vhosts. A broker whose disk has failed needs a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from broker.runtime.alarms import DISK, MEMORY
from broker.testing.faults.actions.action import Action, Option
from broker.testing.faults.disk import SYNC, WRITE

if TYPE_CHECKING:
    from typing import Any

    from broker.testing.faults.rule import Rule

ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EROFS")


class DiskFault(Action):
    """Something is wrong with the disk."""

    is_of_the_broker = True
    operation: ClassVar[str]

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self.error: str | None = options.get("error")
        """What the system calls it."""
        self.seconds: float = options.get("seconds") or 0.0
        """How much longer it takes."""

    def ordered(self, rule: Rule) -> None:
        """See Action."""
        rule.rules.disk.order(rule, self)

    def removed(self, rule: Rule) -> None:
        """See Action."""
        rule.rules.disk.release(rule)


class FailSync(DiskFault):
    """A sync of the disk fails. What that means is in docs/durability.md: nothing is written any more, pending confirms are nacked, what
    must be durable gets 541, publishers are blocked, all until the broker is started again."""

    name = "fail_sync"
    methods = frozenset({"disk.sync"})
    on = "disk.sync"
    operation = SYNC
    options: ClassVar = {"error": Option("|".join(ERRORS), "what the system says", "EIO")}


class DiskFull(DiskFault):
    """A write fails, as there is no space left on the disk; the broker goes on as after a sync that failed (fail_sync)."""

    name = "disk_full"
    methods = frozenset({"disk.write"})
    on = "disk.write"
    operation = WRITE
    options: ClassVar = {"error": Option("|".join(ERRORS), "what the system says", "ENOSPC")}


class SlowDisk(DiskFault):
    """Each sync takes so many (real) seconds longer, and with it all that waits for the disk: confirms, commits, durable declares."""

    name = "slow_disk"
    methods = frozenset({"disk.sync"})
    on = "disk.sync"
    operation = SYNC
    times = None
    options: ClassVar = {"seconds": Option("number", "how much longer", is_required=True)}


class Alarm(Action):
    """An alarm of the broker is on."""

    is_of_the_broker = True
    alarm: ClassVar[str]
    options: ClassVar = {"seconds": Option("number", "how long, by the broker's clock; until the rule is taken away, if not given")}

    def ordered(self, rule: Rule) -> None:
        """See Action."""
        alarms = rule.rules.alarms
        alarms.order(self.alarm, rule)
        rule.count(None)
        rule.hold(self.given["seconds"], lambda: alarms.release(self.alarm, rule))


class DiskAlarm(Alarm):
    """The alarm of low disk space is on: all publishers are blocked ("low on disk"), health checks fail."""

    name = "disk_alarm"
    alarm = DISK


class MemoryAlarm(Alarm):
    """The memory alarm is on: all publishers are blocked ("low on memory"), health checks fail."""

    name = "memory_alarm"
    alarm = MEMORY

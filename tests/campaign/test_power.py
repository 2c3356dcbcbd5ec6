"""The power goes after each operation of the disk; what a restart finds keeps every promise, and so does what comes after it."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from tests.campaign.machine import Machine, PowerDisk, PowerOff
from tests.campaign.promises import Broken, Promises
from tests.campaign.workload import FAN_OUT, Workload

pytestmark = pytest.mark.usefixtures("small_segments")

ATTEMPTS = 3
"""Power cuts at each operation: the disk may have lost more or less of what wasn't synced."""


class Campaign:
    """One life from a seed, cut off after each operation of its disk, and lives after it."""

    def __init__(self, seed: int, attempts: int = ATTEMPTS) -> None:
        self.seed = seed
        self.attempts = attempts
        self.cuts: Counter[str] = Counter()
        """Operations at which the power went, by name."""
        self.restarts = 0
        self._broken: Broken | None = None

    def run(self, turns: int) -> None:
        """Raises Broken."""
        try:
            self._run(turns)
        except PowerOff:
            assert self._broken is not None
        if self._broken is not None:
            raise self._broken

    def _run(self, turns: int) -> None:
        chance = Random(self.seed)
        power, promises = PowerDisk(), Promises()
        machine = Machine(power, chance)  # with no vhost yet there is nobody to promise anything
        power.fault = lambda number, name: self._cut(power, promises, f"seed {self.seed}, operation {number} ({name})", name)
        workload = Workload(machine, promises, chance)
        workload.furnish()
        workload.live(turns)
        self._cut(power, promises, f"seed {self.seed}, between operations", "none")
        workload.rest()
        workload.release()
        disk = machine.stop()
        promises.stopped()
        self._restart(disk.copy(), promises, f"seed {self.seed}, stopped")

    def _cut(self, power: PowerDisk, promises: Promises, what: str, name: str) -> None:
        """The power goes now, several times; the life itself goes on as if nothing had happened."""
        self.cuts[name] += 1
        for attempt in range(self.attempts):
            chance = Random(f"{self.seed} {len(power.operations)} {attempt}")
            disk = power.after_power_cut(chance)
            try:
                self._live_on(disk, promises, chance, f"{what}, attempt {attempt}", depth=2 if attempt == 0 else 0)
            except Exception as error:
                self._broken = error if isinstance(error, Broken) else Broken(f"{what}, attempt {attempt}: {error!r}")
                raise PowerOff(name) from error

    def _restart(self, disk: PowerDisk, promises: Promises, what: str) -> Promises:
        """Check what a restart finds; returns the promises of a life from there on. The disk stays as it is."""
        self.restarts += 1
        machine = Machine(disk.copy())
        queue_ids, bound, contents = machine.queue_ids(), machine.bound(FAN_OUT), machine.contents()
        try:
            promises.check(queue_ids, contents)
            promises.check_bindings(bound)
            if damage := [each for each in machine.disk.log.damage() if each.kind != "torn"]:
                raise Broken(f"a power cut leaves no damage but a torn tail: {damage}")
        except Broken as broken:
            raise Broken(f"{what}: {broken}") from None
        return promises.after(queue_ids, contents, bound)

    def _live_on(self, disk: PowerDisk, promises: Promises, chance: Random, what: str, depth: int) -> None:
        """Restart, live a little and crash again, perhaps while starting."""
        following = self._restart(disk, promises, what)
        if not depth:
            return
        last = len(disk.operations) + chance.randrange(1, 25)
        disk.fault = power_off_at(last)
        what += f", then at operation {last} of the next life"
        try:
            machine = Machine(disk, chance)
        except PowerOff:  # while starting: nobody was told anything since
            self._live_on(disk.after_power_cut(chance), promises, chance, what, depth - 1)
            return
        try:
            workload = Workload(machine, following, chance)
            workload.live(6)
        except PowerOff:
            pass
        except Broken as broken:
            raise Broken(f"{what}: {broken}") from None
        self._live_on(disk.after_power_cut(chance), following, chance, what, depth - 1)


def power_off_at(last: int) -> object:
    def fault(number: int, name: str) -> None:
        if number >= last:
            raise PowerOff(name)

    return fault


def test_a_power_cut_at_each_operation() -> None:
    """Several lives, which between them do everything that a disk can be asked for."""
    cuts: Counter[str] = Counter()
    for seed in range(4):
        campaign = Campaign(seed)
        campaign.run(60)
        cuts += campaign.cuts
    assert cuts.keys() >= {"write", "write_synced", "sync", "create", "unlink", "sync_directory", "commit"}


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 400))
def test_a_power_cut_at_each_operation_for_long(seed: int) -> None:
    Campaign(seed, attempts=5).run(80)

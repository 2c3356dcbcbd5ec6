"""The power goes after every single change to the disk; a restart finds all that was confirmed, and nothing else."""

import random
from collections.abc import Iterator

import pytest

from storage.api import Failed, Receipt
from storage.log import FileLog
from tests.storage.calls import Answers, append, message
from tests.storage.disk import DIRECTORY, Disk, power_cut_at


def open_log(disk: Disk) -> FileLog:
    return FileLog(DIRECTORY, files=disk, block_size=128)


class Run:
    """A broker's life on a disk: what it wrote, what it was told is durable, and how far it gave space back."""

    def __init__(self, disk: Disk, written: int = 0, truncated: int = 0) -> None:
        self.disk = disk
        self.written = written
        self.durable = written
        self.truncated = truncated

    def live(self, chance: random.Random, turns: int = 25) -> None:
        """Append in batches, now and then without a sync, roll and truncate; stop when the disk does."""
        log = open_log(self.disk)
        try:
            for _ in range(turns):
                if not self._turn(log, chance):
                    return
        finally:
            try:
                log.close()
            except Failed:
                assert self.disk.fault is not None, "what wasn't synced yet can't be any more"

    def _turn(self, log: FileLog, chance: random.Random) -> bool:
        answers = Answers()
        syncs = [chance.random() < 0.6 for _ in range(chance.choice((1, 1, 2, 5)))]
        for sync in syncs:
            log.append(commit(self.written), answers, sync=sync, roll=chance.random() < 0.1)
            self.written += 1
        starts = [result.start for result in answers.take(len(syncs)) if isinstance(result, Receipt)]
        if len(starts) < len(syncs):
            return False
        if any(syncs):  # a sync covers what was written before it
            self.durable = max(self.durable, self.written - list(reversed(syncs)).index(True))
        if chance.random() < 0.15:
            segments = log.segments()
            before = chance.choice(segments)[0]
            found = [number for number, place in self._places(log) if place < before]
            self.truncated = max([self.truncated, *(number + 1 for number in found)])
            log.truncate(before)
        return True

    def _places(self, log: FileLog) -> Iterator[tuple[int, int]]:
        for found in log.scan():
            yield number_of(found.records), found.position


def commit(number: int) -> list[bytes]:
    """The records of the commit with that number: one, several, or a big one over some blocks."""
    sizes = ((10,), (20, 20, 20, 20), (10, 400, 10))[number % 3]
    return [message(number, size) for size in sizes]


def number_of(records: list[bytes]) -> int:
    return int.from_bytes(records[0][8:16], "little")


def check(run: Run, disk: Disk, what: str) -> int:
    """Open after a crash and compare; returns the number of the next commit."""
    log = open_log(disk)
    found = [(number_of(entry.records), entry.records) for entry in log.scan()]
    damage = log.damage()
    numbers = [number for number, _ in found]
    assert [kind for kind in (entry.kind for entry in damage) if kind != "torn"] == [], f"{what}: {damage}"
    assert all(records == commit(number) for number, records in found), f"{what}: a commit is there whole or not at all"
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True, f"{what}: {numbers}"
    if run.durable > run.truncated:
        assert numbers and numbers[0] <= run.truncated and numbers[-1] >= run.durable - 1, f"{what}: confirmed {run.durable}, {numbers}"
    following = numbers[-1] + 1 if numbers else run.durable
    append(log, commit(following))
    log.close()
    return following


def sweep(seed: int) -> int:
    """One life, cut off after each of its changes to the disk; returns how many there were."""
    whole = Run(Disk())
    whole.live(random.Random(seed))
    count = len(whole.disk.operations)
    for number in range(3, count + 1):  # the first two make the log's first file: without it there is no log
        run = Run(Disk(power_cut_at(number)))
        run.live(random.Random(seed))
        for attempt in range(3):
            chance = random.Random(f"{seed} {number} {attempt}")
            check(run, run.disk.after_power_cut(chance), f"seed {seed}, operation {number}, attempt {attempt}")
    return count


@pytest.mark.parametrize("seed", range(8))
def test_a_power_cut_at_each_change(seed: int) -> None:
    assert sweep(seed) > 20


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 200))
def test_a_power_cut_at_each_change_for_long(seed: int) -> None:
    sweep(seed)


@pytest.mark.parametrize("seed", range(30))
def test_one_power_cut_after_another(seed: int) -> None:
    chance = random.Random(seed)
    disk, run = Disk(), Run(Disk())
    for crash in range(6):
        disk.fault = power_cut_at(len(disk.operations) + chance.randrange(6, 60))
        run = Run(disk, run.written, run.truncated)
        try:
            run.live(chance)
        except OSError:
            pass  # the power went while it was opening
        disk = disk.after_power_cut(chance)
        run.written = check(run, disk, f"seed {seed}, crash {crash}") + 1


@pytest.mark.parametrize("number", range(1, 4))
def test_a_power_cut_while_the_first_file_is_made(number: int) -> None:
    disk = Disk(power_cut_at(number))
    run = Run(disk)
    try:
        run.live(random.Random(1))
    except OSError:
        assert number <= 2
    check(run, disk.after_power_cut(random.Random(number)), f"operation {number}")

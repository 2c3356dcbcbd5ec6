"""The log on files: what goes into one write, what waits for which sync, and what happens after the first failure."""

import errno
import os
import random
import stat
import threading
import weakref
from collections.abc import Iterable
from pathlib import Path

import pytest

from storage.api import Closed, Corrupt, Failed, Fenced, Receipt, StorageError
from storage.catalog import CATALOG_NAME
from storage.files import Files
from storage.local import LocalStore
from storage.log import FileLog
from storage.memory import MemoryStore
from storage.records import BLOCK_DATA, Buffer, decode_block_header, places
from storage.segment import Segment, segment_name
from storage.worker import Worker
from tests.storage.calls import DEADLINE, Answers, append, message, records_of
from tests.storage.disk import DIRECTORY, Disk, fails_once


class Gate:
    """Holds the disk's first write until the test lets it go."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def __call__(self, _: int, name: str) -> None:
        if name.startswith("write") and not self.reached.is_set():
            self.reached.set()
            assert self.open.wait(DEADLINE)


def opened(disk: Disk, block_size: int = BLOCK_DATA) -> FileLog:
    """A log whose first segment has its head already."""
    log = FileLog(DIRECTORY, files=disk, block_size=block_size)
    append(log, [message(0)])
    disk.operations.clear()
    return log


def test_what_piles_up_during_a_write_goes_into_one_write_and_one_sync() -> None:
    disk, gate, answers = Disk(), Gate(), Answers()
    log = opened(disk)
    disk.fault = gate
    log.append([message(1)], answers)
    assert gate.reached.wait(DEADLINE)
    for number in range(2, 50):
        log.append([message(number)], answers, sync=number % 3 == 0)
    gate.open.set()
    receipts = answers.take(49)
    assert disk.operations == ["write_synced", "write_synced"]
    assert all(isinstance(receipt, Receipt) for receipt in receipts)
    starts = [receipt.start for receipt in receipts if isinstance(receipt, Receipt)]
    assert starts == sorted(starts), "answered in the order of the appends"
    assert records_of(log) == [[message(number)] for number in range(50)]
    log.close()


def test_what_was_answered_is_let_go_while_the_rest_is_written() -> None:
    """What piled up before a slow disk may be as much as may wait for it, and more comes in for what was answered."""
    disk, gate, answers = Disk(), Gate(), Answers()
    log = opened(disk)
    disk.fault = gate
    log.append([message(1)], answers)
    assert gate.reached.wait(DEADLINE)
    first, second = Answers(), Answers()
    kept = weakref.ref(first)
    log.append([message(2)], first)
    log.append([message(3)], second, roll=True)
    del first
    answered: list[bool] = []
    disk.fault = lambda _, name: answered.append(kept() is None) if name.startswith("write") else None
    gate.open.set()
    second.take(1)
    assert answered[0] is False and answered[-1] is True, "when the second was written, and when the third was"
    log.close()


def test_what_was_abandoned_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a broker doesn't wait for a slow disk to have what nobody wants back."""
    disk, gate, answers = Disk(), Gate(), Answers()
    log = opened(disk)
    disk.fault = gate
    log.append([message(1)], answers)
    assert gate.reached.wait(DEADLINE)
    log.append([message(2)], answers)
    stop = log._worker.stop

    def go_on_and_stop() -> None:
        gate.open.set()
        stop()

    monkeypatch.setattr(log._worker, "stop", go_on_and_stop)
    log.abandon()
    written, abandoned = answers.take(2)
    assert isinstance(written, Receipt) and isinstance(abandoned, Closed)


def test_commits_that_wait_for_no_sync_cost_none() -> None:
    disk = Disk()
    log = opened(disk)
    append(log, [message(1)], sync=False)
    assert disk.operations == ["write"]
    log.close()


def test_a_sync_covers_what_was_written_without_one() -> None:
    disk = Disk()
    log = opened(disk)
    append(log, [message(1)], sync=False)
    append(log, [message(2)])
    assert disk.operations == ["write", "write", "sync"], "the range of a synced write alone wouldn't do"
    lost = disk.after_power_cut(random.Random(0))
    log.close()
    assert records_of(FileLog(DIRECTORY, files=lost)) == [[message(0)], [message(1)], [message(2)]]


def test_each_block_says_what_was_synced_before_it() -> None:
    disk = Disk()
    log = opened(disk)
    receipts = [append(log, [message(1)], sync=False), append(log, [message(2)]), append(log, [message(3)])]
    content = disk.files()["log/" + segment_name(0)]
    headers = [decode_block_header(content, receipt.start) for receipt in receipts]
    assert [(header.number, header.synced) for header in headers if header] == [(3, 2), (4, 2), (5, 4)]
    log.close()


def test_a_segment_grows_until_the_caller_rolls() -> None:
    """The broker counts by segment what is alive, and defines route sets by segment: the log must never begin one by itself."""
    disk = Disk()
    log = FileLog(DIRECTORY, files=disk)
    for number in range(30):
        append(log, [message(number, 5000)], roll=number in (10, 20))
    assert len(log.segments()) == 3
    log.close()
    log = FileLog(DIRECTORY, files=disk)
    assert len(records_of(log)) == 30
    log.close()


def test_a_roll_seals_the_old_segment_and_makes_the_new_ones_name_durable() -> None:
    disk = Disk()
    log = opened(disk)
    append(log, [message(1)], sync=False)
    disk.operations.clear()
    append(log, [message(2)], roll=True)
    assert disk.operations == ["sync", "create", "sync_directory", "write_synced", "write_synced"]
    log.close()


def test_truncation_makes_each_unlink_durable_before_the_next_oldest_first() -> None:
    disk = Disk()
    log = opened(disk)
    for number in range(1, 4):
        append(log, [message(number)], roll=True)
    names = list(disk.files())
    disk.operations.clear()
    log.truncate(log.end)
    append(log, [message(4)])
    assert disk.operations == ["unlink", "sync_directory"] * 3 + ["write_synced"]
    assert list(disk.files()) == names[-1:]
    log.close()


def test_truncation_waits_for_what_was_copied_forward() -> None:
    disk = Disk()
    log = opened(disk)
    append(log, [message(1)], roll=True)
    append(log, [message(0)], sync=False)
    disk.operations.clear()
    log.truncate(log.end)
    append(log, [message(2)])
    assert disk.operations == ["sync", "unlink", "sync_directory", "write_synced"]
    log.close()


def test_a_reader_of_a_truncated_segment_is_told() -> None:
    log = opened(Disk())
    first = append(log, [message(1)])
    append(log, [message(2)], roll=True)
    append(log, [message(3)], roll=True)
    scan = log.scan()
    next(scan)  # of the first segment; the second isn't opened yet
    log.truncate(log.end)
    append(log, [message(4)])
    with pytest.raises(Closed):
        log.read([first.start])
    with pytest.raises(Closed):
        list(scan)
    log.close()


def test_a_record_over_several_blocks_is_read_from_where_it_begins() -> None:
    log = opened(Disk(), block_size=100)
    records = [message(1), message(2, 500), message(3), message(4)]
    receipt = append(log, records)
    assert log.read(places(records, receipt.blocks)) == records
    log.close()


def test_reading_a_damaged_block_is_corrupt() -> None:
    disk = Disk()
    log = opened(disk)
    receipt = append(log, [message(1)])
    log.close()
    content = bytearray(disk.files()["log/" + segment_name(0)])
    content[receipt.end - 1] ^= 1
    disk.replace("log/" + segment_name(0), bytes(content))
    log = FileLog(DIRECTORY, files=disk)
    with pytest.raises(Corrupt, match="checksum"):
        log.read([receipt.blocks[0][0]])
    log.close()


@pytest.mark.parametrize("place", ["header", "data", "later block"])
def test_of_damage_met_while_reading_a_copy_is_kept_once(place: str) -> None:
    disk = Disk()
    log = opened(disk, block_size=100)
    records = [message(1), message(2, 50)]
    receipt = append(log, records)  # three blocks, the second record begins in the second
    after = append(log, [message(3)])
    segment = disk._names[DIRECTORY / "log" / segment_name(0)]
    first, _, second = (item for item in log._segments[0].walk(log._log_id) if receipt.start <= item.position < receipt.end)
    bad, at = {"header": (first, first.position), "data": (first, first.end - 1), "later block": (second, second.end - 1)}[place]
    segment.cached[at] ^= 1
    kept = f"quarantine/{bad.position:020d}-{bad.end - bad.position}.corrupt"
    for _ in range(3):
        with pytest.raises(Corrupt, match=kept):
            log.read(places(records, receipt.blocks))
        assert log.read([after.blocks[0][0]]) == [message(3)]
    found = {name: content for name, content in disk.files().items() if name.startswith("quarantine/")}
    assert found == {kept: segment.cached[bad.position : bad.end]}
    (damage,) = log.damage()
    assert (damage.kind, damage.position, damage.messages) == ("corrupt", bad.position, () if place == "later block" else ((7, 1),))
    assert [len(each) for each in records_of(log)] == [1, 1, 1], "the other of the two is left"
    assert [name for name in disk.files() if name.startswith("quarantine/")] == [kept], "a scan finds the same"
    log.close()


def test_damage_to_the_spill_is_not_mistaken_for_the_logs() -> None:
    disk = Disk()
    log = FileLog(DIRECTORY, files=disk, name="spill")
    receipt = append(log, [message(1)])
    disk._names[DIRECTORY / "spill" / segment_name(0)].cached[-1] ^= 1
    kept = f"quarantine/spill-{receipt.start:020d}-{receipt.end - receipt.start}.corrupt"
    with pytest.raises(Corrupt, match=kept):
        log.read([receipt.blocks[0][0]])
    assert kept in disk.files()
    log.close()


@pytest.mark.parametrize("look", range(1, 7))
def test_a_reader_finds_what_is_appended_while_it_looks_for_blocks(look: int) -> None:
    """A segment of an earlier life that held nothing is appended to in this one, and a reader doesn't know its blocks yet: at any of its
    looks at how much there is, some more is."""
    disk, answers = Disk(), Answers()
    FileLog(DIRECTORY, files=disk).close()
    log = FileLog(DIRECTORY, files=disk, block_size=100)
    first = append(log, [message(1)])
    looks = 0

    class Watched(Segment):
        @property
        def size(self) -> int:  # type: ignore[override]
            nonlocal looks
            size: int = self.__dict__["length"]
            if threading.current_thread() is threading.main_thread():
                looks += 1
                if looks == look:
                    appending.start()
                    appending.join(0.2)  # it may have to wait for the look's end
            return size

        @size.setter
        def size(self, size: int) -> None:
            self.__dict__["length"] = size

    appending = threading.Thread(target=lambda: (log.append([message(2, 150)], answers), answers.take(1)))
    segment = log._segments[0]
    segment.__dict__["length"] = segment.__dict__.pop("size")
    segment.__class__ = Watched
    assert log.read([first.blocks[0][0]]) == [message(1)]
    if appending.ident is None:
        looks = look
        appending.start()
    appending.join(DEADLINE)
    last = append(log, [message(3)])
    (second,) = [answer for answer in answers.all if isinstance(answer, Receipt)]
    for number, (receipt, size) in enumerate(zip((first, second, last), (10, 150, 10), strict=True), 1):
        assert log.read([receipt.blocks[0][0]]) == [message(number, size)]
    log.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("operation", ["write_synced", "write", "sync", "create", "sync_directory", "unlink"])
def test_after_the_first_failure_nothing_is_written_any_more(operation: str, code: int) -> None:
    disk, answers = Disk(), Answers()
    log = opened(disk)
    append(log, [message(1)], sync=False)
    append(log, [message(2)], roll=True)
    if operation in ("write", "sync"):
        append(log, [message(3)], sync=False)
    disk.fault = fails_once(operation, code)
    disk.operations.clear()
    log.append([message(4)], answers)
    log.append([message(5)], answers, roll=True)
    log.truncate(log.end)
    log.append([message(6)], answers)
    assert isinstance(answers.take(3)[2], Failed)
    assert disk.operations[-1] == operation, "the failed one is the last"
    count = len(disk.operations)
    for number in range(7, 10):
        log.append([message(number)], answers, sync=number % 2 == 0, roll=number == 8)
    log.truncate(log.end)
    results = answers.take(3)
    assert all(isinstance(result, Failed) and os.strerror(code) in str(result) for result in results)
    confirmed = sum(isinstance(result, Receipt) for result in answers.all)
    assert records_of(log)[:2] == [[message(0)], [message(1)]] or operation == "unlink", "reading goes on"
    try:
        log.close()
    except Failed:
        assert operation in ("write", "sync")
    assert len(disk.operations) == count, "not even to close"
    disk.fault = None
    log = FileLog(DIRECTORY, files=disk)
    assert len(records_of(log)) >= confirmed
    log.close()


def test_a_failed_close_says_so() -> None:
    disk = Disk()
    log = opened(disk)
    append(log, [message(1)], sync=False)
    disk.fault = fails_once("sync", errno.EIO)
    with pytest.raises(Failed):
        log.close()


def test_a_failing_log_takes_the_catalog_with_it(tmp_path: Path) -> None:
    class Full(Files):
        full = False

        def write_synced(self, descriptor: int, data: Buffer, offset: int) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().write_synced(descriptor, data, offset)

    files, answers = Full(), Answers()
    store = LocalStore(tmp_path / "data", files)
    store.catalog.put("before", b"", answers)
    assert answers.take(1) == [None]
    files.full = True
    store.log.append([message(1)], answers)
    store.catalog.put("after", b"", answers)
    failed, also_failed = answers.take(2)
    assert isinstance(failed, Failed) and failed is also_failed is store.failure
    store.close()
    files.full = False
    store = LocalStore(tmp_path / "data", files)
    assert [entry.key for entry in store.catalog.scan()] == ["before"]
    store.close()


def test_a_second_broker_is_fenced_off(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "data")
    with pytest.raises(Fenced, match=f"{tmp_path / 'data'} is in use by another broker, process {os.getpid()}"):
        LocalStore(tmp_path / "data")
    append(store.log, [message(1)])
    store.close()
    LocalStore(tmp_path / "data").close()


def test_a_store_that_could_not_be_opened_gives_its_lock_back(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / CATALOG_NAME).write_bytes(b"this is no database" * 100)
    for _ in range(2):
        with pytest.raises(Corrupt, match="can't be read"):
            LocalStore(tmp_path / "data")


def test_what_is_made_is_for_the_owner_only(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "deep" / "data")
    append(store.log, [message(1)])
    found = {path.relative_to(tmp_path): stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    store.close()
    assert len(found) >= 6
    assert all(mode & 0o077 == 0 for mode in found.values()), found


def test_files_on_a_real_disk(tmp_path: Path) -> None:
    files = Files()
    descriptor = files.open(tmp_path / "a", create=True)
    with pytest.raises(FileExistsError):
        files.open(tmp_path / "a", create=True)
    files.write(descriptor, b"hello", 3)
    files.write_synced(descriptor, bytearray(b"!" * 70000), 8)
    files.sync(descriptor)
    assert files.read(descriptor, 8, 0) == b"\0\0\0hello"
    assert files.read(descriptor, 100, 70000) == b"!" * 8
    files.truncate(descriptor, 4)
    assert files.size(descriptor) == 4
    files.close(descriptor)
    files.rename(tmp_path / "a", tmp_path / "b")
    files.sync_directory(tmp_path)
    assert files.names(tmp_path) == ["b"]
    files.unlink(tmp_path / "b")
    assert files.names(tmp_path) == []
    assert files.free(tmp_path) > 0


def test_a_file_system_without_synced_writes_is_served_by_write_and_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "pwritev", refuse, raising=False)
    log = FileLog(tmp_path)
    append(log, [message(1)])
    assert records_of(log) == [[message(1)]]
    log.close()


def test_writes_that_the_disk_takes_in_pieces_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: whole(descriptor, data[:7], offset))
    monkeypatch.delattr(os, "RWF_DSYNC", raising=False)
    log = FileLog(tmp_path)
    append(log, [message(1, 100)])
    assert records_of(log) == [[message(1, 100)]]
    log.close()


def test_many_threads_wake_one_worker() -> None:
    class Part:
        def __init__(self) -> None:
            self.seen: list[int] = []

        def run(self, operations: Iterable[int]) -> None:
            self.seen += operations

    worker, part = Worker(), Part()

    def submit() -> None:
        for number in range(2000):
            worker.submit(part, number)

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    worker.stop()
    assert sorted(part.seen) == sorted(list(range(2000)) * 4)


def test_memory_keeps_nothing_it_need_not() -> None:
    store = MemoryStore()
    receipt = append(store.log, [message(1)])
    assert receipt.end > receipt.start
    assert records_of(store.log) == []


def test_memory_is_durable_when_it_was_run() -> None:
    later: list[object] = []
    store = MemoryStore(later.append, keep=True)
    answers: list[object] = []
    store.log.append([message(1)], answers.append)
    store.catalog.put("a", b"", answers.append)
    assert answers == []
    crashed = store.reopen()
    assert records_of(crashed.log) == [] and crashed.catalog.scan() == []
    for operation in later:
        assert callable(operation)
        operation()
    assert isinstance(answers[0], Receipt) and answers[1] is None
    assert records_of(crashed.log) == [], "what was lost stays lost"


def test_memory_can_fail() -> None:
    store, answers = MemoryStore(), Answers()
    store.fail("the disk is full")
    store.log.append([message(1)], answers)
    store.catalog.put("a", b"", answers)
    assert all(isinstance(result, StorageError) and "disk is full" in str(result) for result in answers.take(2))

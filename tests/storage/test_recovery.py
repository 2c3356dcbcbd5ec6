"""What an unclean stop and a bad disk leave, byte by byte: never a wrong record, never a sound one lost."""

import random
from functools import partial
from zlib import crc32

import pytest

from storage.api import Commit, Damage, StorageError
from storage.log import FileLog
from storage.records import HEADER_SIZE, LAST, decode_block_header, encode_block_header, encode_enqueue
from storage.segment import Block, segment_name, walk
from tests.storage.calls import append, message, records_of
from tests.storage.disk import DIRECTORY, Disk

BLOCK = 128
SEGMENT = "log/" + segment_name(0)

SMALL = [message(1)]
SEVERAL = [message(number) for number in range(2, 7)]  # two blocks
BIG = [message(7), message(8, 300), message(9)]  # one record over three blocks
COMMITS = [SMALL, SEVERAL, BIG, [message(10)]]


def open_log(disk: Disk) -> FileLog:
    return FileLog(DIRECTORY, files=disk, block_size=BLOCK)


def written(commits: list[list[bytes]]) -> tuple[Disk, list[int]]:
    """A disk with a log of these commits whose broker was killed, and where each ends."""
    disk = Disk()
    log = open_log(disk)
    ends = [append(log, commit).end for commit in commits]
    killed = disk.copy()
    log.close()
    return killed, ends


def reopened(disk: Disk) -> tuple[list[Commit], list[Damage]]:
    """What a start finds; then the log must take appends and find them again."""
    log = open_log(disk)
    commits = list(log.scan())
    damage = log.damage()
    append(log, [message(99)])
    log.close()
    log = open_log(disk)
    assert records_of(log) == [*(commit.records for commit in commits), [message(99)]]
    assert not [found for found in log.damage() if found.kind == "torn"], "a tail is cut once"
    log.close()
    return commits, damage


@pytest.mark.parametrize("last", [SEVERAL, BIG, SMALL], ids=["several", "big", "small"])
def test_a_tail_torn_at_any_byte_is_cut_and_kept(last: list[bytes]) -> None:
    disk, (_, before, end) = written([SMALL, SEVERAL, last])
    content = disk.files()[SEGMENT]
    assert end == len(content)
    for size in range(before, end):
        torn = Disk()
        torn.replace(SEGMENT, content[:size])
        commits, damage = reopened(torn)
        assert [commit.records for commit in commits] == [SMALL, SEVERAL], f"cut at {size}"
        assert [(found.kind, found.position, found.length) for found in damage] == [("torn", before, size - before)][: size - before]
        kept = [data for name, data in torn.files().items() if name.startswith("quarantine/")]
        assert kept == [content[before:size]][: size - before]


@pytest.mark.parametrize("fill", [b"\x00", b"\xff"])
def test_a_tail_that_was_never_written_is_cut(fill: bytes) -> None:
    disk, (_, before, end) = written([SMALL, SEVERAL, BIG])
    content = disk.files()[SEGMENT]
    for size in range(before, end, 16):
        torn = Disk()
        torn.replace(SEGMENT, content[:size] + fill * (end - size))
        commits, damage = reopened(torn)
        assert [commit.records for commit in commits] == [SMALL, SEVERAL]
        assert [found.kind for found in damage] == ["torn"]


def test_a_bit_flipped_at_any_byte_loses_its_own_block_at_most() -> None:
    disk = Disk()
    log = open_log(disk)
    receipts = [append(log, commit) for commit in COMMITS]
    log.close()  # with a block that vouches for the last
    content = disk.files()[SEGMENT]
    chance = random.Random(1)
    assert len(content) == receipts[-1].end + HEADER_SIZE
    for offset in range(len(content)):
        flipped = bytearray(content)
        flipped[offset] ^= 1 << chance.randrange(8)
        bad = Disk()
        bad.replace(SEGMENT, bytes(flipped))
        commits, damage = reopened(bad)
        hit = [receipt.start <= offset < receipt.end for receipt in receipts]
        vouched_for = offset < receipts[-1].end
        assert [found.kind for found in damage][:1] == (["corrupt"] if vouched_for else ["torn"]), f"byte {offset}"
        found = {commit.records[0]: commit.records for commit in commits}
        for original, was_hit in zip(COMMITS, hit, strict=True):
            if was_hit:
                assert all(record in original for commit in commits for record in commit.records if record in set(original))
            else:
                assert found[original[0]] == original, f"byte {offset} is not in it"
        everything = [record for original in COMMITS for record in original]
        given = [record for commit in commits for record in commit.records]
        assert given == [record for record in everything if record in given], "in order, and none that never was"
        assert any(data == bytes(flipped[at : at + len(data)]) for at, data in quarantined(bad)), "the bad bytes are kept"


def quarantined(disk: Disk) -> list[tuple[int, bytes]]:
    names = {name.removeprefix("quarantine/"): data for name, data in disk.files().items() if name.startswith("quarantine/")}
    return [(int(name.split("-")[0]), data) for name, data in names.items()]


def test_a_bit_flipped_in_the_last_commit_after_a_kill_is_a_torn_tail() -> None:
    disk, ends = written(COMMITS)
    content = disk.files()[SEGMENT]
    for offset in range(ends[-2], ends[-1]):
        flipped = bytearray(content)
        flipped[offset] ^= 1
        bad = Disk()
        bad.replace(SEGMENT, bytes(flipped))
        commits, damage = reopened(bad)
        assert [commit.records for commit in commits] == COMMITS[:-1]
        assert [found.kind for found in damage] == ["torn"], "nothing later says that it was ever durable"


def test_of_a_damaged_commit_the_sound_blocks_are_served() -> None:
    disk, ends = written([SMALL, SEVERAL, SMALL])
    content = bytearray(disk.files()[SEGMENT])
    content[ends[1] - 1] ^= 1  # the second block of SEVERAL
    disk.replace(SEGMENT, bytes(content))
    commits, damage = reopened(disk)
    served = commits[1].records
    assert served and served == SEVERAL[: len(served)] and len(served) < len(SEVERAL)
    assert [found.text for found in damage] == [
        f"a commit of which {len(served)} records are left",
        next(found.text for found in damage if "checksum" in found.text),
    ]


def test_a_whole_block_behind_a_torn_one_is_cut_where_nothing_vouches_for_either() -> None:
    disk = Disk()
    log = open_log(disk)
    first = append(log, [message(1)])
    second = append(log, [message(2)], sync=False)
    append(log, [message(3)], sync=False)
    content = bytearray(disk.files()[SEGMENT])
    log.close()
    for offset in range(second.start, second.end):
        torn = Disk()
        torn.replace(SEGMENT, bytes(content[:offset]) + b"\x00" + bytes(content[offset + 1 :]))
        if torn.files()[SEGMENT] == content:
            continue
        commits, damage = reopened(torn)
        assert [commit.records for commit in commits] == [[message(1)]]
        assert [(found.kind, found.position) for found in damage] == [("torn", first.end)]


def test_what_a_killed_broker_left_in_the_page_cache_is_synced_before_it_is_vouched_for() -> None:
    disk = Disk()
    log = open_log(disk)
    append(log, [message(1)], sync=False)
    append(log, [message(2)], sync=False)
    log = open_log(disk)  # killed: the machine goes on
    append(log, [message(3)])
    for attempt in range(20):
        commits, damage = reopened(disk.after_power_cut(random.Random(attempt)))
        assert [commit.records for commit in commits] == [[message(1)], [message(2)], [message(3)]]
        assert damage == []


def test_a_tail_that_was_cut_does_not_come_back_when_the_power_goes() -> None:
    disk = Disk()
    log = open_log(disk)
    torn = append(log, SMALL).end
    append(log, SMALL, sync=False)
    append(log, SMALL, sync=False)
    content = bytearray(disk.files()[SEGMENT])
    log.close()
    content[torn] ^= 1  # the second is torn; the third, behind it, is whole
    disk.replace(SEGMENT, bytes(content))
    append(open_log(disk), SMALL)  # just as big, so that the third would follow it
    commits, damage = reopened(disk.after_power_cut(random.Random(0)))
    assert [commit.records for commit in commits] == [SMALL, SMALL]
    assert damage == []


def test_block_numbers_are_not_reused_and_the_epoch_grows() -> None:
    disk, ends = written([SMALL, SMALL, SMALL])
    content = bytearray(disk.files()[SEGMENT])
    content[ends[1] + HEADER_SIZE] ^= 1
    disk.replace(SEGMENT, bytes(content))
    log = open_log(disk)
    receipt = append(log, SMALL)
    header = decode_block_header(disk.files()[SEGMENT], receipt.start)
    log.close()
    assert header is not None and (header.number, header.synced, header.epoch) == (5, 3, 2)


def test_a_torn_block_behind_skipped_numbers_is_a_torn_tail_too() -> None:
    disk, _ = written([SMALL, SMALL, SMALL])
    disk.replace(SEGMENT, disk.files()[SEGMENT][:-1])  # number 3 is seen, cut, and never used again
    log = open_log(disk)
    torn = append(log, [message(4)], sync=False)
    append(log, [message(5)], sync=False)
    content = bytearray(disk.files()[SEGMENT])
    log.close()
    content[torn.start] ^= 1
    disk.replace(SEGMENT, bytes(content))
    commits, damage = reopened(disk)
    assert [commit.records for commit in commits] == [SMALL, SMALL]
    assert [found.kind for found in damage] == ["torn"]


def read(content: bytes, length: int, offset: int) -> bytes:
    return content[offset : offset + length]


def test_a_message_that_looks_like_a_block_is_never_taken_for_one() -> None:
    disk, (end,) = written([SMALL])
    log = FileLog(DIRECTORY, files=disk)
    for log_id in (0, None):  # forged without the log's id, and one's own log sent as a message
        place = log.end + HEADER_SIZE + 48 + len(b"keyheader")
        (own,) = (
            block
            for block in walk(partial(read, disk.files()[SEGMENT]), 0, end, None)
            if isinstance(block, Block) and block.position == HEADER_SIZE
        )
        header = own.header._replace(number=1000, synced=999)
        header = header._replace(log_id=0, position=place) if log_id == 0 else header
        forged = bytearray(HEADER_SIZE) + own.data
        encode_block_header(forged, 0, header)
        carrier = append(log, [encode_enqueue(5, 7, 0, b"key", b"header", [bytes(forged)])])
        content = disk.files()[SEGMENT]
        assert content[place : place + len(forged)] == forged
        torn = Disk()
        torn.replace(SEGMENT, content[: carrier.start] + b"\x00" + content[carrier.start + 1 :])
        commits, damage = reopened(torn)
        assert SMALL not in [commit.records for commit in commits[1:]]
        assert [found.kind for found in damage] == ["torn"], "and it vouches for nothing"
    log.close()


def test_damage_at_the_head_of_the_last_segment() -> None:
    disk = Disk()
    log = open_log(disk)
    append(log, [message(1)])
    append(log, [message(2)], roll=True)
    append(log, [message(3)])
    start = log.segments()[-1][0]
    log.close()
    name = "log/" + segment_name(start)
    content = bytearray(disk.files()[name])
    content[0] ^= 1
    disk.replace(name, bytes(content))
    commits, damage = reopened(disk)
    assert [commit.records for commit in commits] == [[message(1)], [message(2)], [message(3)]]
    assert [(found.kind, found.segment, found.position) for found in damage] == [("corrupt", start, start)]


def test_an_empty_last_segment_is_written_on() -> None:
    disk, (end,) = written([SMALL])
    disk.replace("log/" + segment_name(end), b"")
    log = open_log(disk)
    receipt = append(log, [message(2)])
    header = decode_block_header(disk.files()["log/" + segment_name(end)])
    log.close()
    assert receipt.start == end + HEADER_SIZE, "an empty block heads each segment"
    assert header is not None and (header.number, header.length, header.epoch) == (3, 0, 2)


def test_a_missing_segment_is_told_and_the_rest_served() -> None:
    disk = Disk()
    log = open_log(disk)
    receipts = [append(log, [message(number)], roll=True) for number in range(3)]
    log.close()
    disk.remove("log/" + segment_name(receipts[0].end))
    commits, damage = reopened(disk)
    assert [commit.records for commit in commits] == [[message(0)], [message(2)]]
    assert [(found.kind, found.position, found.position + found.length) for found in damage] == [
        ("missing", receipts[0].end, receipts[1].end)
    ]


def test_damage_is_kept_once_however_often_it_is_scanned() -> None:
    disk, _ = written(COMMITS)
    content = bytearray(disk.files()[SEGMENT])
    content[HEADER_SIZE] ^= 1
    disk.replace(SEGMENT, bytes(content))
    for _ in range(3):
        log = open_log(disk)
        assert len(list(log.scan())) == len(list(log.scan())) == len(COMMITS) - 1
        assert len(log.damage()) == 1
        log.close()
    assert len(quarantined(disk)) == 1


def test_two_tails_torn_at_one_place_are_both_kept() -> None:
    disk, _ = written([SMALL])
    for filler in (b"a", b"b", b"a"):
        disk.replace(SEGMENT, disk.files()[SEGMENT] + filler * 5)
        log = open_log(disk)
        assert len(log.damage()) == 1
        log.close()
        disk.replace(SEGMENT, disk.files()[SEGMENT][: written([SMALL])[1][0]])
    assert sorted(data for _, data in quarantined(disk)) == [b"aaaaa", b"bbbbb"]


def test_a_full_disk_does_not_keep_the_tail_from_being_cut() -> None:
    disk, _ = written([SMALL])
    disk.replace(SEGMENT, disk.files()[SEGMENT] + b"torn")

    def full(_: int, name: str) -> None:
        if name == "create":
            raise OSError(28, "No space left on device")

    disk.fault = full
    log = open_log(disk)
    assert records_of(log) == [SMALL]
    assert "could not be kept" in log.damage()[0].text
    log.close()


def test_a_clean_stop_vouches_for_the_last_block_and_only_once() -> None:
    disk, _ = written([SMALL])
    open_log(disk).close()
    sizes = []
    for _ in range(3):
        log = open_log(disk)
        log.close()
        sizes.append(len(disk.files()[SEGMENT]))
    assert len(set(sizes)) == 1, "starting and stopping doesn't make the log grow"
    header = decode_block_header(disk.files()[SEGMENT], sizes[0] - HEADER_SIZE)
    assert header is not None and (header.length, header.synced) == (0, 2) and header.flags & LAST


def test_a_newer_format_is_refused_and_left_alone() -> None:
    disk, _ = written([SMALL])
    content = bytearray(disk.files()[SEGMENT])
    content[4] = 9
    header = bytes(content[: HEADER_SIZE - 4])
    content[HEADER_SIZE - 4 : HEADER_SIZE] = crc32(header).to_bytes(4, "little")
    disk.replace(SEGMENT, bytes(content))
    with pytest.raises(StorageError, match="format 9"):
        open_log(disk)
    assert disk.files() == {SEGMENT: bytes(content)}

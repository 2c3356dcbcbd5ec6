"""Bits that flip in a log that several queues share, and groups of writes of which any part is lost.

Recovery never raises; what is outside the damage is served; the damage is told of and its bytes are kept.
"""

from __future__ import annotations

from itertools import product
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import pytest

from storage.log import FileLog
from storage.records import HEADER_SIZE, Delivered, Enqueue, Requeue, RouteSet, Settle, SettleRange, decode_records
from storage.segment import Block, walk
from tests.campaign.machine import BLOCK_BYTES, Found, Machine, PowerDisk
from tests.storage.disk import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from storage.records import Record

pytestmark = pytest.mark.usefixtures("small_segments")

Contents = dict[str, list[Found]]


class Piece(NamedTuple):
    """A block, and the records that lie in it, wholly or in part. `at` is its offset in the file."""

    file: str
    at: int
    size: int
    records: list[Record]

    @property
    def is_plain(self) -> bool:
        """Nothing that comes later needs it, and nothing that came before."""
        return all(isinstance(record, Enqueue) for record in self.records)

    def enqueued(self) -> set[int]:
        return {number for record in self.records if isinstance(record, Enqueue) for number in ids_of(record)}


def ids_of(record: Enqueue | Settle | SettleRange) -> range | tuple[int, ...]:
    match record:
        case Enqueue():
            return range(record.first_id, record.first_id + len(record.bodies))
        case SettleRange():
            return range(record.first_id, record.last_id + 1)
        case _:
            return record.message_ids


def written() -> PowerDisk:
    """A log of three queues over some segments, whose broker stopped: runs, fan-outs, big messages, acks, requeues, marks."""
    machine = Machine()
    channel = machine.connect().channel()
    for name in "abc":
        channel.declare(name, durable=True)
        if name != "c":
            channel.bind(name, "amq.fanout")
    channel.publish("c", b"first")
    machine.settle()
    for number in range(8):
        channel.publish("abc"[number % 3], *[b"run %d.%d" % (number, each) for each in range(3)])
        channel.publish("", b"fan %d" % number, exchange="amq.fanout")
        channel.publish("c", b"big %d " % number + b"." * (number % 3 * 300))
        machine.settle()
        if number % 3 == 1:
            channel.get("a")
            channel.get("b")
            machine.settle()
            channel.ack(number // 3 * 2 + 1)
            channel.nack(number // 3 * 2 + 2)
            machine.settle()
    return machine.stop()


def pieces(disk: PowerDisk) -> list[Piece]:
    """The blocks of the log in order."""
    found: list[Piece] = []
    for name, content in disk.files().items():
        if not name.startswith("log/"):
            continue
        start = int(name.removeprefix("log/").partition(".")[0])
        blocks = list(walk(lambda length, at, content=content: content[at : at + length], start, len(content), None))
        assert all(isinstance(block, Block) for block in blocks)
        commits = {commit.position: commit for commit in _scan(disk)}
        at = 0
        ends: list[tuple[int, bytes]] = []
        for block in blocks:
            if block.header.flags & 1:
                commit = commits.get(block.position)
                ends, at = [], 0
                for record in commit.records if commit else []:
                    ends.append((sum(map(len, (data for _, data in ends))) + len(record), record))
            inside = [data for end, data in ends if end > at and end - len(data) < at + len(block.data)]
            at += len(block.data)
            records = [record for data in inside for record in decode_records(data)]
            found.append(Piece(name, block.position - start, HEADER_SIZE + len(block.data), records))
    return found


def _scan(disk: PowerDisk) -> Iterator[object]:
    return FileLog(DIRECTORY, None, disk.copy(), BLOCK_BYTES).scan()


def recovered(disk: PowerDisk) -> tuple[Machine, Contents]:
    """A start and what its queues hold; the disk is left as it is."""
    machine = Machine(disk.copy())
    contents = machine.contents()
    return machine, {name: contents[queue_id] for name, queue_id in machine.queue_ids().items()}


def bodies(contents: Contents, name: str) -> list[bytes]:
    return [found.body for found in contents[name]]


class Reference:
    """The log as it should be."""

    def __init__(self) -> None:
        self.disk = written()
        self.pieces = pieces(self.disk)
        _, self.contents = recovered(self.disk)
        self.numbers: dict[bytes, int] = {}
        for piece in self.pieces:
            for record in piece.records:
                if isinstance(record, Enqueue):
                    self.numbers.update(zip(record.bodies, ids_of(record), strict=True))

    def flipped(self, piece: Piece, offset: int, bit: int) -> PowerDisk:
        disk = self.disk.copy()
        content = bytearray(disk.files()[piece.file])
        content[piece.at + offset] ^= 1 << bit
        disk.replace(piece.file, bytes(content))
        return disk

    def sets_in(self, piece: Piece) -> set[int]:
        """The messages that are lost with the route sets that are named in this block: others of the same commit."""
        sets = {record.set_id for record in piece.records if isinstance(record, RouteSet)}
        later = [each for each in self.pieces if each.file == piece.file and each.at >= piece.at]
        enqueues = [record for each in later for record in each.records if isinstance(record, Enqueue)]
        return {number for record in enqueues if record.flags & 2 and record.target in sets for number in ids_of(record)}

    def check(self, piece: Piece, offset: int) -> None:
        """Flip a bit there and recover."""
        what = f"byte {offset} of the block at {piece.at} of {piece.file}"
        disk = self.flipped(piece, offset, Random(what).randrange(8))
        damaged = disk.files()[piece.file]
        machine, contents = recovered(disk)
        may_go = piece.enqueued() | self.sets_in(piece)
        may_return = {number for record in piece.records if isinstance(record, Settle | SettleRange) for number in ids_of(record)}
        for name, found in self.contents.items():
            lost = [each.body for each in found if each.body not in bodies(contents, name)]
            extra = [body for body in bodies(contents, name) if body not in bodies(self.contents, name)]
            assert all(self.numbers[body] in may_go for body in lost), f"{what}: {name} lost {lost}"
            assert all(self.numbers[body] in may_return for body in extra), f"{what}: {name} has {extra} back"
            numbers = [self.numbers[body] for body in bodies(contents, name)]
            assert numbers == sorted(set(numbers)), f"{what}: {name} is out of order"
            if not any(isinstance(record, Delivered | Requeue) for record in piece.records):
                flags = {each.body: each[1:] for each in found}
                assert all(flags[each.body] == each[1:] for each in contents[name] if each.body in flags), f"{what}: flags of {name}"
        damage = machine.disk.log.damage()
        assert damage, f"{what}: nobody is told"
        kept = [data for name, data in machine.power.files().items() if name.startswith("quarantine/")]
        assert any(damaged[piece.at + offset : piece.at + offset + 1] in data and data in damaged for data in kept), f"{what}: not kept"
        machine.connect().channel().publish("c", b"next")
        again = Machine(machine.stop().copy())
        assert again.bodies("c") == [b"next"], f"{what}: and on it goes"


@pytest.fixture(scope="module")
def reference() -> Reference:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("broker.core.ledger.SEGMENT_BYTES", 1200)
        return Reference()


def test_the_log_of_this_test_has_all_there_is(reference: Reference) -> None:
    kinds = {type(record) for piece in reference.pieces for record in piece.records}
    assert {Enqueue, RouteSet, Delivered, Requeue} <= kinds and kinds & {Settle, SettleRange}
    assert len({piece.file for piece in reference.pieces}) > 2
    assert any(not piece.records for piece in reference.pieces), "the empty blocks that head segments"
    assert sum(map(len, reference.contents.values())) > 30


def test_a_bit_flipped_anywhere_in_a_few_blocks(reference: Reference) -> None:
    """Every byte: of a segment's head, of a block with records of all kinds, and of one in the middle of a message."""
    blocks = reference.pieces
    head = blocks[0]
    assert not head.records
    mixed = max(blocks, key=lambda piece: len({type(record) for record in piece.records}))
    middle = next(piece for piece in blocks if piece.is_plain and len(piece.records) == 1 and len(piece.records[0].bodies[0]) > 500)
    for piece in (head, mixed, middle):
        for offset in range(piece.size):
            reference.check(piece, offset)


@pytest.mark.parametrize("seed", range(4))
def test_a_bit_flipped_somewhere(reference: Reference, seed: int) -> None:
    """In each block once in its header and once in its data."""
    chance = Random(seed)
    for piece in reference.pieces:
        reference.check(piece, chance.randrange(HEADER_SIZE))
        if piece.size > HEADER_SIZE:
            reference.check(piece, chance.randrange(HEADER_SIZE, piece.size))


@pytest.mark.soak
def test_a_bit_flipped_anywhere(reference: Reference) -> None:
    for piece in reference.pieces:
        for offset in range(piece.size):
            reference.check(piece, offset)


def test_a_flip_in_a_route_set_costs_no_other_batch() -> None:
    machine = Machine()
    channel = machine.connect().channel()
    for name in "ab":
        channel.declare(name, durable=True)
        channel.bind(name, "amq.fanout")
    for number in range(5):
        channel.publish("", b"%d" % number, exchange="amq.fanout")
        machine.settle()
    disk = machine.stop()
    first, *_ = [piece for piece in pieces(disk) if any(isinstance(record, RouteSet) for record in piece.records)]
    content = bytearray(disk.files()[first.file])
    content[first.at + first.size - 1] ^= 1
    disk.replace(first.file, bytes(content))
    _, contents = recovered(disk)
    assert bodies(contents, "a") == bodies(contents, "b") == [b"1", b"2", b"3", b"4"]


def test_a_flip_in_a_route_set_sends_nothing_elsewhere() -> None:
    """The set of that number in an older segment names other queues."""
    machine = Machine()
    channel = machine.connect().channel()
    for name in "abcd":
        channel.declare(name, durable=True)
    for name, key in (("a", "one"), ("b", "one"), ("c", "two"), ("d", "two")):
        channel.bind(name, "amq.direct", key)
    channel.publish("one", b"1", exchange="amq.direct")
    machine.settle()
    channel.publish("a", b"x" * 1300)  # the next batch begins a segment
    machine.settle()
    channel.publish("two", b"2" * 900, exchange="amq.direct")
    disk = machine.stop()
    *_, last = [piece for piece in pieces(disk) if any(isinstance(record, RouteSet) for record in piece.records)]
    assert not last.enqueued(), "the message is in another block of the commit"
    content = bytearray(disk.files()[last.file])
    content[last.at + last.size - 1] ^= 1
    disk.replace(last.file, bytes(content))
    _, contents = recovered(disk)
    assert (bodies(contents, "a")[:1], bodies(contents, "b")) == ([b"1"], [b"1"])


def test_a_flip_met_while_running_is_told_of_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    """In a block whose messages are on the disk only, after the start had found all of it well."""
    machine = Machine()
    channel = machine.connect().channel()
    channel.declare("a", durable=True)
    for number in range(6):
        channel.publish("a", b"%d" % number)
        machine.settle()
    machine = Machine(machine.stop().copy())
    bad = [piece for piece in pieces(machine.power.copy()) if piece.enqueued()][2]
    machine.power._names[DIRECTORY / bad.file].cached[bad.at + bad.size - 1] ^= 1
    damaged = machine.power.files()[bad.file][bad.at : bad.at + bad.size]
    assert machine.bodies("a") == [b"0", b"1", b"3", b"4", b"5"]
    (damage,) = machine.disk.log.damage()
    assert (damage.kind, damage.position, damage.length) == ("corrupt", bad.at, bad.size)
    kept = {name: content for name, content in machine.power.files().items() if name.startswith("quarantine/")}
    assert list(kept.values()) == [damaged]
    assert f"kept as {next(iter(kept))}" in damage.text
    assert f"1 messages of queue 'a' in vhost '/', from number 3 on, can't be read and are lost: {damage.text}" in caplog.text
    assert Machine(machine.stop().copy()).bodies("a") == []


@pytest.mark.parametrize("there", list(product((True, False), repeat=4)), ids=str)
def test_of_an_unsynced_group_any_blocks_are_there(there: tuple[bool, ...]) -> None:
    """Block n torn and block n + 1 whole: what follows the first that is torn counts as never written."""
    machine = Machine()
    channel = machine.connect().channel()
    for name in "ab":
        channel.declare(name, durable=True)
        channel.bind(name, "amq.fanout")
    channel.publish("a", b"before")
    machine.settle()
    (before,) = [content for name, content in machine.power.files().items() if name.startswith("log/")]
    for number in range(len(there)):
        channel.publish("", b"%d" % number, exchange="amq.fanout")
        machine.turn()
    machine.disk._group = lambda: 100
    machine.step()
    disk = machine.power.copy()
    ((name, content),) = [(name, content) for name, content in disk.files().items() if name.startswith("log/")]
    group = [piece for piece in pieces(disk) if piece.at >= len(before)]
    assert len(group) == len(there)
    damaged = bytearray(content)
    for piece, is_there in zip(group, there, strict=True):
        if not is_there:
            damaged[piece.at + piece.size // 2 : piece.at + piece.size] = bytes(piece.size - piece.size // 2)
    disk.replace(name, bytes(damaged))
    restarted, contents = recovered(disk)
    whole = [b"%d" % number for number in range((*there, False).index(False))]
    assert (bodies(contents, "a"), bodies(contents, "b")) == ([b"before", *whole], whole)
    assert [damage.kind for damage in restarted.disk.log.damage()] == ["torn"] * (not all(there))
    restarted.connect().channel().publish("", b"next", exchange="amq.fanout")
    again = Machine(restarted.stop().copy())
    assert (again.bodies("b"), [damage.kind for damage in again.disk.log.damage()]) == ([b"next"], [])

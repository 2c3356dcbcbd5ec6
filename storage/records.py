"""The bytes of the log, encoded and decoded. Nothing here touches a file. All numbers are little-endian.

A log is a sequence of commits. A commit is there whole or not at all, and is one block or several, the first of them
flagged FIRST and the last LAST. A block is a header of 64 bytes and up to 256 KiB of data:

     0       4   5   6       8               16              24              32              40              48
     +-------+---+---+-------+---------------+---------------+---------------+---------------+---------------+
     | magic |ver|flg| hsize | log id        | epoch         | number        | position      | synced        |
     +-------+---+---+-------+---------------+---------------+---------------+---------------+---------------+
     48      52      56      60      64
     +-------+-------+-------+-------+- - - - - - - - - - -
     |length | first |dat CRC|hdr CRC| data, `length` bytes
     +-------+-------+-------+-------+- - - - - - - - - - -

     ver, hsize  format version, and size of this header. Whatever the version, the first 16 bytes mean what they mean
                 here and the last four of the header are the CRC32 of what is before them in it
     log id      random, the same in every block of a log: what a client publishes can never pass for a block
     epoch       grows with each start of the broker on this data
     number      of the block, log-wide, from 1, never used twice
     position    of the header, log-wide: a block that lies anywhere else is not valid
     synced      the highest block number that was known to be on the disk when this block was written
     first       where in the data the first record that begins in this block lies; `length` where none does

A segment, one file of the log, is headed by an empty block, which is on the disk before anything follows it.

The records of a commit follow one another, and a block ends where a record ends. Only a record that is bigger than a
block's data goes on in the blocks behind, which it fills until it ends; so such a record begins its block, and a
record's head is never torn apart.

Every record begins with the same head, and its payload begins behind it:

     0   1   2       4               8
     +---+---+-------+---------------+
     |typ|flg| small | payload length|
     +---+---+-------+---------------+

     ENQUEUE       8          16         24          32          40     44          48
                   | first id | target   | time (ms) | body size | count| header len| routing, header, bodies
                   a run of `count` messages that are alike but for their bodies: the same routing, the same content
                   header, the same body size. Message i has the id first_id + i. `small` is the length of the routing.
                   The target is a queue, or with TARGET_IS_SET a route set. With COPY it states again, later in the log,
                   a message that is still live: recovery takes the later one. With EXPIRES its header has an expiration.
     ENQUEUE_EACH  the same fields, but header len is that of all headers together, and body size MIXED where they differ; then
                   header sizes u32 * count, with MIXED body sizes u32 * count, routing, headers, bodies
                   a run of messages that have the routing in common and nothing else. From format 2 on. With ROUTING_EACH they
                   have nothing in common but where they went: `small` is 0, and each header follows its routing, which tells by itself
                   how long it is and counts as a part of the header. From format 3 on.
     ROUTE_SET     set id u64, queue ids u64 * n      names the queues of a fan-out, until the set is defined anew or the segment ends
     SETTLE        queue id u64, message ids u64 * n  acknowledged, expired, dead-lettered, dropped
     SETTLE_RANGE  queue id, first id, last id        every message of that queue with an id in the range, both included
     REQUEUE       queue id, (message id u64, delivery count u32) * n
     DELIVERED     queue id, message id               the highest id that was ever delivered from that queue
"""

import struct
import sys
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from operator import add
from struct import Struct
from typing import Final, NamedTuple, cast
from zlib import crc32

from storage.api import Corrupt, StorageError

Buffer = bytes | bytearray | memoryview

MAGIC: Final = b"\xf5Lvr"  # no UTF-8 text holds it
VERSION: Final = 3
READABLE: Final = (1, 2, 3)
BLOCK_DATA: Final = 256 * 1024
FIRST: Final = 1
LAST: Final = 2

ENQUEUE: Final = 1
ROUTE_SET: Final = 2
SETTLE: Final = 3
SETTLE_RANGE: Final = 4
REQUEUE: Final = 5
DELIVERED: Final = 6
ENQUEUE_EACH: Final = 7

MIXED: Final = (1 << 64) - 1
"""The body size of an ENQUEUE_EACH whose bodies differ in size."""

TRANSIENT: Final = 1
TARGET_IS_SET: Final = 2
COPY: Final = 4
EXPIRES: Final = 8
ROUTING_EACH: Final = 16

_HEADER: Final = Struct("<4sBBHQQQQQIII")
_CRC: Final = Struct("<I")
_COMMON: Final = Struct("<4sBBHQ")
HEADER_SIZE: Final = _HEADER.size + _CRC.size
NO_HEADER: Final = bytes(HEADER_SIZE)

_HEAD: Final = Struct("<BBHI")
_ENQUEUE: Final = Struct("<BBHIQQQQII")
_ENQUEUE_FIXED: Final = _ENQUEUE.size - _HEAD.size
_QUEUE: Final = Struct("<BBHIQ")
_PAIR: Final = Struct("<BBHIQQ")
_TRIPLE: Final = Struct("<BBHIQQQ")
_COUNTED: Final = Struct("<QI")
_LENGTH: Final = Struct("<4xI")
HEAD_SIZE: Final = _HEAD.size
ENQUEUES: Final = (ENQUEUE, ENQUEUE_EACH)


class BlockHeader(NamedTuple):
    """The header of a block; the module's docstring says what the fields are."""

    flags: int
    log_id: int
    epoch: int
    number: int
    position: int
    synced: int
    length: int
    first: int
    data_crc: int


def encode_block_header(buffer: bytearray, offset: int, header: BlockHeader) -> None:
    """Write `header` into `buffer` at `offset`, over the HEADER_SIZE bytes that were left free for it."""
    _HEADER.pack_into(buffer, offset, MAGIC, VERSION, header.flags, HEADER_SIZE, *header[1:])
    end = offset + _HEADER.size
    _CRC.pack_into(buffer, end, crc32(buffer[offset:end]))


def decode_block_header(data: Buffer, offset: int = 0, log_id: int | None = None) -> BlockHeader | None:
    """The block header at `offset`, or None where there is none that is whole (or it belongs to another log).

    Raises StorageError where the header is whole and of a newer format than this one. `log_id` None takes any log's.
    """
    if len(data) - offset < HEADER_SIZE:
        return None
    magic, version, flags, size, owner = _COMMON.unpack_from(data, offset)
    if magic != MAGIC or (log_id is not None and owner != log_id) or not HEADER_SIZE <= size <= len(data) - offset:
        return None
    end = offset + size - _CRC.size
    if crc32(data[offset:end]) != _CRC.unpack_from(data, end)[0]:
        return None
    if version not in READABLE or size != HEADER_SIZE:
        raise StorageError(f"the log has blocks of format {version}; this Leveret reads formats up to {VERSION}")
    return BlockHeader(flags, owner, *_HEADER.unpack_from(data, offset)[5:])


class Cut(NamedTuple):
    """What one block of a commit holds: `length` bytes in `pieces`; the record with the index `begins` begins at `first`."""

    pieces: Sequence[Buffer]
    length: int
    first: int
    begins: int


def cut_into_blocks(records: Sequence[bytes], limit: int = BLOCK_DATA) -> list[Cut]:
    """Cut the records of a commit into blocks: each ends at the last end of a record within `limit` bytes, and where
    there is none it is full and the record goes on in the next. No records make one empty block."""
    total = sum(map(len, records))
    if total <= limit:
        return [Cut(records, total, 0, 0)]
    ends = list(accumulate(map(len, records)))
    cuts: list[Cut] = []
    start = index = 0  # `index` is the record that `start` lies in
    while start < total:
        after = bisect_right(ends, start + limit)  # the first record that doesn't end in this block
        stop = ends[after - 1] if after > index else start + limit
        begun = start - (ends[index - 1] if index else 0)  # how much of that record lies in the blocks before
        pieces: list[Buffer] = list(records[index:after])
        first, begins = 0, index
        if begun or after == index:
            part = memoryview(records[index])[begun : begun + stop - start]
            pieces[:1] = [part]
            if begun:
                first, begins = len(part), index + 1
        cuts.append(Cut(pieces, stop - start, first, begins))
        start, index = stop, max(after, index)
    return cuts


def split_records(data: bytes, offset: int = 0) -> tuple[list[bytes], int]:
    """The whole records that follow one another from `offset` on, and the offset of the unfinished one behind them
    (the length of `data` where there is none)."""
    records: list[bytes] = []
    size = len(data)
    length_at = _LENGTH.unpack_from
    while offset + HEAD_SIZE <= size:
        stop = offset + HEAD_SIZE + int(length_at(data, offset)[0])
        if stop > size:
            break
        records.append(data[offset:stop])
        offset = stop
    return records, offset


def whole_records(data: bytes, offset: int = 0) -> int:
    """The offset behind the last whole record of those that follow one another from `offset` on."""
    size = len(data)
    length_at = _LENGTH.unpack_from
    while offset + HEAD_SIZE <= size:
        stop = offset + HEAD_SIZE + int(length_at(data, offset)[0])
        if stop > size:
            break
        offset = stop
    return offset


def places(records: Sequence[bytes], blocks: Sequence[tuple[int, int]]) -> list[int]:
    """The place of each record of a commit: the log position of its first byte. `blocks` are those of its receipt."""
    found: list[int] = []
    stops = [index for _, index in blocks[1:]] + [len(records)]
    for (place, index), stop in zip(blocks, stops, strict=True):
        found += accumulate(map(len, records[index : stop - 1]), initial=place)
    return found


def record_size(data: Buffer, offset: int = 0) -> int:
    """The size in bytes of the record whose head is at `offset`. Raises Corrupt where no head fits."""
    if len(data) - offset < HEAD_SIZE:
        raise Corrupt(f"a record's head needs {HEAD_SIZE} bytes, there are {len(data) - offset}")
    return HEAD_SIZE + int(_LENGTH.unpack_from(data, offset)[0])


class Enqueue(NamedTuple):
    """A run of messages with the ids first_id, first_id + 1, ...; `target` is a queue id or a route set's. They all have `header`, or
    each its own of `headers`; the same goes for `routing` and `routings`."""

    first_id: int
    target: int
    timestamp_ms: int
    routing: bytes
    header: bytes
    bodies: list[bytes]
    flags: int = 0
    headers: list[bytes] | None = None
    routings: list[bytes] | None = None

    def routing_of(self, index: int) -> bytes:
        """Exchange and routing key of one message."""
        return self.routing if self.routings is None else self.routings[index]

    def header_of(self, index: int) -> bytes:
        """The content header of one message."""
        return self.header if self.headers is None else self.headers[index]

    def part(self, begin: int, count: int) -> "Enqueue":
        """`count` of the messages from the one with the index `begin` on."""
        stop = begin + count
        headers = None if self.headers is None else self.headers[begin:stop]
        routings = None if self.routings is None else self.routings[begin:stop]
        return self._replace(first_id=self.first_id + begin, bodies=self.bodies[begin:stop], headers=headers, routings=routings)

    def encoded(self, target: int, flags: int) -> bytes:
        """The record of these messages for another target."""
        if self.headers is None:
            return encode_enqueue(self.first_id, target, self.timestamp_ms, self.routing, self.header, self.bodies, flags)
        return encode_enqueue_each(
            self.first_id, target, self.timestamp_ms, self.routings or (self.routing,), self.headers, self.bodies, flags
        )


NO_ENQUEUE: Final = Enqueue(0, 0, 0, b"", b"", [])


class RouteSet(NamedTuple):
    """`set_id` stands for these queues, until it is defined anew or the segment ends."""

    set_id: int
    queue_ids: tuple[int, ...]


class Settle(NamedTuple):
    """These messages have left the queue for good."""

    queue_id: int
    message_ids: tuple[int, ...]


class SettleRange(NamedTuple):
    """Every message of the queue with an id from first_id to last_id, both included, has left it for good."""

    queue_id: int
    first_id: int
    last_id: int


class Requeue(NamedTuple):
    """These messages are back in the queue; each with the number of times that it has been delivered."""

    queue_id: int
    counts: tuple[tuple[int, int], ...]


class Delivered(NamedTuple):
    """The highest message id that has been delivered from the queue so far."""

    queue_id: int
    message_id: int


Other = RouteSet | Settle | SettleRange | Requeue | Delivered
Record = Enqueue | Other
Run = tuple[int, int, int, int, int, int, int, int, int, int]
"""The fixed part of an ENQUEUE or ENQUEUE_EACH: type, flags, size of the routing, of the payload, first id, target, time in ms, size
of each body, count, size of the header or headers."""


def encode_enqueue(
    first_id: int, target: int, timestamp_ms: int, routing: bytes, header: bytes, bodies: Sequence[bytes], flags: int = 0
) -> bytes:
    """An ENQUEUE record. `bodies` are one or more, all of one size; routing is at most 65,535 bytes.

    Raises ValueError where sizes don't fit the format. The hot path: one pack and one join (for a single message a
    concatenation, which is a fifth faster, and copies no body twice).
    """
    count = len(bodies)
    body_size = len(bodies[0])
    routing_size = len(routing)
    header_size = len(header)
    size = _ENQUEUE_FIXED + routing_size + header_size + count * body_size
    try:
        head = _ENQUEUE.pack(ENQUEUE, flags, routing_size, size, first_id, target, timestamp_ms, body_size, count, header_size)
    except struct.error as error:
        raise ValueError(f"an enqueue record can't hold this: {error}") from error
    if count == 1:
        return head + routing + header + bodies[0]
    record = b"".join((head, routing, header, *bodies))
    if len(record) != size + HEAD_SIZE:  # the sum is all that is free to check here
        raise ValueError("the bodies of a run must be of one size")
    return record


def encode_enqueue_each(
    first_id: int,
    target: int,
    timestamp_ms: int,
    routings: Sequence[bytes],
    headers: Sequence[bytes],
    bodies: Sequence[bytes],
    flags: int = 0,
) -> bytes:
    """An ENQUEUE_EACH record: `headers` and `bodies` are as many, one or more; `routings` too, or a single one that holds for all.

    Raises ValueError where sizes don't fit the format. The hot path: whatever is done for each message is done in C.
    """
    count = len(bodies)
    routing = b""
    if len(routings) == 1:
        routing = routings[0]
    else:
        flags |= ROUTING_EACH
        headers = list(map(add, routings, headers))
    sizes = array("I", map(len, headers))
    body_size = len(bodies[0])
    bodies_size = sum(map(len, bodies))
    if bodies_size != body_size * count or any(map(body_size.__ne__, map(len, bodies))):
        body_size = MIXED
        sizes.extend(map(len, bodies))
    headers_size = sum(map(len, headers))
    if sys.byteorder == "big":
        sizes.byteswap()
    routing_size = len(routing)
    size = _ENQUEUE_FIXED + 4 * len(sizes) + routing_size + headers_size + bodies_size
    try:
        head = _ENQUEUE.pack(ENQUEUE_EACH, flags, routing_size, size, first_id, target, timestamp_ms, body_size, count, headers_size)
    except struct.error as error:
        raise ValueError(f"an enqueue record can't hold this: {error}") from error
    return b"".join((head, sizes.tobytes(), routing, *headers, *bodies))


def encode_route_set(set_id: int, queue_ids: Iterable[int]) -> bytes:
    """A ROUTE_SET record: from here to the end of the segment `set_id` stands for `queue_ids`."""
    return _encode_ids(ROUTE_SET, set_id, queue_ids)


def encode_settle(queue_id: int, message_ids: Iterable[int]) -> bytes:
    """A SETTLE record; fastest with an array('Q')."""
    return _encode_ids(SETTLE, queue_id, message_ids)


def encode_settle_range(queue_id: int, first_id: int, last_id: int) -> bytes:
    """A SETTLE_RANGE record, both ends included."""
    return _TRIPLE.pack(SETTLE_RANGE, 0, 0, 24, queue_id, first_id, last_id)


def encode_requeue(queue_id: int, counts: Sequence[tuple[int, int]]) -> bytes:
    """A REQUEUE record of (message id, delivery count) pairs."""
    head = _QUEUE.pack(REQUEUE, 0, 0, 8 + len(counts) * _COUNTED.size, queue_id)
    return head + b"".join([_COUNTED.pack(message_id, count) for message_id, count in counts])


def encode_delivered(queue_id: int, message_id: int) -> bytes:
    """A DELIVERED record: the highest id that was ever delivered from the queue."""
    return _PAIR.pack(DELIVERED, 0, 0, 16, queue_id, message_id)


def decode_records(data: bytes) -> Iterator[Record]:
    """The records in `data`, which must be whole. Raises Corrupt on an unknown type or on lengths that don't fit."""
    for offset, stop, _ in _walk(data):
        yield _decode(data, offset, stop)


def decode_enqueue(data: bytes) -> Enqueue:
    """The ENQUEUE or ENQUEUE_EACH record that `data` is. Raises Corrupt if it is none."""
    if len(data) < HEAD_SIZE or data[0] not in ENQUEUES or record_size(data) != len(data):
        raise Corrupt("there is no enqueue record here")
    return (_decode_enqueue if data[0] == ENQUEUE else _decode_enqueue_each)(data, 0, len(data))


def decode_heads(data: bytes) -> Iterator[tuple[int, Run | Other]]:
    """The offset of each record in `data`, and the record; of an ENQUEUE or ENQUEUE_EACH only its Run, so that no body is copied.

    Raises Corrupt as `decode_records` does.
    """
    unpack, fixed, length_at = _ENQUEUE.unpack_from, _ENQUEUE.size, _LENGTH.unpack_from
    offset, size = 0, len(data)
    while offset < size:
        # Written out, because a start does this for every message in the log.
        if size - offset < HEAD_SIZE or (stop := offset + HEAD_SIZE + length_at(data, offset)[0]) > size:
            raise Corrupt(f"a record is cut off after {size - offset} bytes")
        kind = data[offset]
        if kind != ENQUEUE and kind != ENQUEUE_EACH:
            yield offset, cast(Other, _decode(data, offset, stop))
        elif stop - offset < fixed:
            raise Corrupt(f"the lengths in an enqueue record of {stop - offset} bytes don't fit each other")
        else:
            run = unpack(data, offset)
            if kind == ENQUEUE:
                fits = offset + fixed + run[2] + run[9] + run[8] * run[7] == stop and run[8]
            else:
                fits = _each_fits(data, offset, stop, run)
            if not fits:
                raise Corrupt(f"the lengths in an enqueue record of {stop - offset} bytes don't fit each other")
            yield offset, run
        offset = stop


def _each_fits(data: bytes, offset: int, stop: int, run: Run) -> bool:
    """The lengths in an ENQUEUE_EACH fit each other."""
    _, _, routing_size, _, _, _, _, body_size, count, headers_size = run
    at = offset + _ENQUEUE.size
    end = at + 4 * count
    if not count or end > stop or sum(_sizes(data, at, end)) != headers_size:
        return False
    if body_size == MIXED:
        at, end = end, end + 4 * count
        if end > stop:
            return False
        bodies_size = sum(_sizes(data, at, end))
    else:
        bodies_size = body_size * count
    return end + routing_size + headers_size + bodies_size == stop


def _sizes(data: bytes, start: int, stop: int) -> "array[int]":
    sizes = array("I", data[start:stop])
    if sys.byteorder == "big":
        sizes.byteswap()
    return sizes


def body_sizes(data: bytes, offset: int, run: Run) -> Sequence[int]:
    """The size of each body of the ENQUEUE_EACH at `offset`, whose Run it is."""
    count = run[8]
    start = offset + _ENQUEUE.size + 4 * count
    return _sizes(data, start, start + 4 * count) if run[7] == MIXED else [run[7]] * count


def _walk(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(offset, end, type) of each record."""
    offset, size = 0, len(data)
    length_at = _LENGTH.unpack_from
    while offset < size:
        if size - offset < HEAD_SIZE or (stop := offset + HEAD_SIZE + int(length_at(data, offset)[0])) > size:
            raise Corrupt(f"a record is cut off after {size - offset} bytes")
        yield offset, stop, data[offset]
        offset = stop


def _decode(data: bytes, offset: int, stop: int) -> Record:
    decode = _DECODERS.get(data[offset])
    if decode is None:
        raise Corrupt(f"unknown record type {data[offset]}")
    return decode(data, offset, stop)


def _decode_enqueue(data: bytes, offset: int, stop: int) -> Enqueue:
    routing_at = offset + _ENQUEUE.size
    _expect(stop >= routing_at, "enqueue", stop - offset)
    _, flags, routing_size, _, first_id, target, timestamp_ms, body_size, count, header_size = _ENQUEUE.unpack_from(data, offset)
    header_at = routing_at + routing_size
    bodies_at = header_at + header_size
    _expect(bodies_at + count * body_size == stop and count > 0, "enqueue", stop - offset)
    if count == 1:
        bodies = [data[bodies_at:stop]]
    elif body_size:
        bodies = [data[at : at + body_size] for at in range(bodies_at, stop, body_size)]
    else:
        bodies = [b""] * count
    return Enqueue(first_id, target, timestamp_ms, data[routing_at:header_at], data[header_at:bodies_at], bodies, flags)


def _decode_enqueue_each(data: bytes, offset: int, stop: int) -> Enqueue:
    sizes_at = offset + _ENQUEUE.size
    _expect(stop >= sizes_at, "enqueue", stop - offset)
    run = _ENQUEUE.unpack_from(data, offset)
    _expect(_each_fits(data, offset, stop, run), "enqueue", stop - offset)
    _, flags, routing_size, _, first_id, target, timestamp_ms, body_size, count, _ = run
    routing_at = sizes_at + (8 if body_size == MIXED else 4) * count
    headers_at = routing_at + routing_size
    sizes = [*_sizes(data, sizes_at, sizes_at + 4 * count), *body_sizes(data, offset, run)]
    ends = list(accumulate(sizes, initial=headers_at))
    parts = [data[begin:end] for begin, end in pairwise(ends)]
    headers, bodies = parts[:count], parts[count:]
    if not flags & ROUTING_EACH:
        return Enqueue(first_id, target, timestamp_ms, data[routing_at:headers_at], b"", bodies, flags, headers)
    cuts = list(map(_routing_size, headers))
    routings = [header[:cut] for header, cut in zip(headers, cuts, strict=True)]
    headers = [header[cut:] for header, cut in zip(headers, cuts, strict=True)]
    return Enqueue(first_id, target, timestamp_ms, b"", b"", bodies, flags, headers, routings)


def _routing_size(data: bytes) -> int:
    """How long the two short strings are that stand before the content header."""
    size = 0
    for _ in range(2):
        size += 1 + data[size] if size < len(data) else 1
    _expect(size <= len(data), "enqueue", len(data))
    return size


def _decode_route_set(data: bytes, offset: int, stop: int) -> RouteSet:
    return RouteSet(*_decode_ids("route set", data, offset, stop))


def _decode_settle(data: bytes, offset: int, stop: int) -> Settle:
    return Settle(*_decode_ids("settle", data, offset, stop))


def _decode_settle_range(data: bytes, offset: int, stop: int) -> SettleRange:
    _expect(stop - offset == _TRIPLE.size, "settle range", stop - offset)
    return SettleRange(*_TRIPLE.unpack_from(data, offset)[4:])


def _decode_requeue(data: bytes, offset: int, stop: int) -> Requeue:
    rest = stop - offset - _QUEUE.size
    _expect(rest >= 0 and rest % _COUNTED.size == 0, "requeue", stop - offset)
    counts = tuple(_COUNTED.iter_unpack(data[offset + _QUEUE.size : stop]))
    return Requeue(_QUEUE.unpack_from(data, offset)[4], counts)


def _decode_delivered(data: bytes, offset: int, stop: int) -> Delivered:
    _expect(stop - offset == _PAIR.size, "delivered", stop - offset)
    return Delivered(*_PAIR.unpack_from(data, offset)[4:])


_DECODERS: Final[dict[int, Callable[[bytes, int, int], Record]]] = {
    ENQUEUE: _decode_enqueue,
    ENQUEUE_EACH: _decode_enqueue_each,
    ROUTE_SET: _decode_route_set,
    SETTLE: _decode_settle,
    SETTLE_RANGE: _decode_settle_range,
    REQUEUE: _decode_requeue,
    DELIVERED: _decode_delivered,
}


def _encode_ids(kind: int, owner: int, ids: Iterable[int]) -> bytes:
    values = array("Q", ids)
    if sys.byteorder == "big":
        values.byteswap()
    return _QUEUE.pack(kind, 0, 0, 8 + 8 * len(values), owner) + values.tobytes()


def _decode_ids(name: str, data: bytes, offset: int, stop: int) -> tuple[int, tuple[int, ...]]:
    rest = stop - offset - _QUEUE.size
    _expect(rest >= 0 and rest % 8 == 0, name, stop - offset)
    values = array("Q", data[offset + _QUEUE.size : stop])
    if sys.byteorder == "big":
        values.byteswap()
    return _QUEUE.unpack_from(data, offset)[4], tuple(values)


def _expect(fits: bool, name: str, size: int) -> None:
    if not fits:
        raise Corrupt(f"the lengths in a {name} record of {size} bytes don't fit each other")

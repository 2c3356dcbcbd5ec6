"""The format: what is encoded comes back, and what doesn't fit is refused."""

import struct
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core.message import join_routing
from storage.api import Corrupt, StorageError
from storage.records import (
    COPY,
    ENQUEUE,
    FIRST,
    HEADER_SIZE,
    LAST,
    ROUTING_EACH,
    TARGET_IS_SET,
    TRANSIENT,
    BlockHeader,
    Delivered,
    Enqueue,
    Record,
    Requeue,
    RouteSet,
    Settle,
    SettleRange,
    cut_into_blocks,
    decode_block_header,
    decode_records,
    encode_block_header,
    encode_delivered,
    encode_enqueue,
    encode_requeue,
    encode_route_set,
    encode_settle,
    encode_settle_range,
    split_records,
)

u64 = st.integers(0, 2**64 - 1)
u32 = st.integers(0, 2**32 - 1)
ids = st.lists(u64, max_size=20).map(tuple)
bodies = st.integers(0, 30).flatmap(lambda size: st.lists(st.binary(min_size=size, max_size=size), min_size=1, max_size=20))
each = st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), min_size=1, max_size=20)
names = st.text(st.characters(max_codepoint=127), max_size=255)
flags = st.sampled_from([0, TRANSIENT, TARGET_IS_SET, COPY, TRANSIENT | TARGET_IS_SET | COPY])
records = st.one_of(
    st.builds(Enqueue, u64, u64, u64, st.binary(max_size=300), st.binary(max_size=300), bodies, flags, st.none(), st.none()),
    st.builds(
        lambda first, target, time, routing, pairs, flags: Enqueue(
            first, target, time, routing, b"", [body for _, body in pairs], flags, [header for header, _ in pairs]
        ),
        u64,
        u64,
        u64,
        st.binary(max_size=300),
        each,
        flags,
    ),
    st.builds(
        lambda first, target, time, parts, flags: Enqueue(
            first,
            target,
            time,
            b"",
            b"",
            [body for _, _, body in parts],
            flags | ROUTING_EACH,
            [header for _, header, _ in parts],
            [join_routing(*names) for names, _, _ in parts],
        ),
        u64,
        u64,
        u64,
        st.lists(st.tuples(st.tuples(names, names), st.binary(max_size=20), st.binary(max_size=20)), min_size=2, max_size=20),
        flags,
    ),
    st.builds(RouteSet, u64, ids),
    st.builds(Settle, u64, ids),
    st.builds(SettleRange, u64, u64, u64),
    st.builds(Requeue, u64, st.lists(st.tuples(u64, u32), max_size=20).map(tuple)),
    st.builds(Delivered, u64, u64),
)


def encode(record: Record) -> bytes:
    match record:
        case Enqueue():
            return record.encoded(record.target, record.flags)
        case RouteSet():
            return encode_route_set(*record)
        case Settle():
            return encode_settle(*record)
        case SettleRange():
            return encode_settle_range(*record)
        case Requeue():
            return encode_requeue(*record)
        case Delivered():
            return encode_delivered(*record)


@given(st.lists(records, max_size=10))
def test_records_come_back_as_they_were(given_records: list[Record]) -> None:
    encoded = [encode(record) for record in given_records]
    assert list(decode_records(b"".join(encoded))) == given_records
    assert split_records(b"".join(encoded)) == (encoded, sum(map(len, encoded)))


@given(records, st.data())
def test_a_record_that_is_cut_off_is_corrupt(record: Record, data: st.DataObject) -> None:
    encoded = encode(record)
    cut = data.draw(st.integers(1, len(encoded) - 1))
    with pytest.raises(Corrupt):
        list(decode_records(encoded[:cut]))


@given(st.binary(min_size=1, max_size=200))
def test_other_bytes_are_records_or_corrupt_and_nothing_else(data: bytes) -> None:
    try:
        list(decode_records(data))
    except Corrupt:
        return


@given(records, st.integers(-50, 50).filter(bool))
def test_a_payload_length_that_does_not_fit_is_corrupt(record: Record, change: int) -> None:
    encoded = bytearray(encode(record))
    if isinstance(record, RouteSet | Settle | Requeue) and change % 4 == 0:
        change += 1  # a list of another length is as good
    length = struct.unpack_from("<I", encoded, 4)[0] + change
    if length < 0:
        return
    struct.pack_into("<I", encoded, 4, length)
    with pytest.raises(Corrupt):
        list(decode_records(bytes((encoded + bytes(100))[: 8 + length])))


def test_an_unknown_record_type_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="unknown record type 99"):
        list(decode_records(struct.pack("<BBHI", 99, 0, 0, 0)))


def test_an_enqueue_without_messages_is_corrupt() -> None:
    with pytest.raises(Corrupt):
        list(decode_records(struct.pack("<BBHIQQQQII", ENQUEUE, 0, 0, 40, 1, 2, 3, 4, 0, 0)))


def test_bodies_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="one size"):
        encode_enqueue(1, 2, 3, b"", b"", [b"abc", b"de"])


def test_routing_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="can't hold"):
        encode_enqueue(1, 2, 3, bytes(65536), b"", [b""])


@given(st.lists(st.integers(0, 200), max_size=30), st.integers(20, 120))
def test_blocks_end_where_records_end(sizes: list[int], limit: int) -> None:
    encoded = [encode_settle(number, range(size // 8)) for number, size in enumerate(sizes)]
    cuts = cut_into_blocks(encoded, limit)
    assert b"".join(bytes(piece) for cut in cuts for piece in cut.pieces) == b"".join(encoded)
    ends = {0}
    for record in encoded:
        ends.add(max(ends) + len(record))
    begins = sorted(ends - {max(ends)})
    at = 0
    for cut in cuts:
        assert sum(map(len, cut.pieces)) == cut.length <= limit
        if cut.first < cut.length:
            assert begins[cut.begins] == at + cut.first, "the record that the block says begins there"
        assert not any(at <= begin < at + cut.first for begin in begins), "no record begins before it"
        at += cut.length
        assert at in ends or cut.length == limit, "a block that isn't full ends with a record"
    assert all(cut.length for cut in cuts) or not encoded
    for cut, following in pairwise(cuts):
        if following.first:
            assert cut.length == limit, "only what is bigger than a block goes on in the next"


def test_no_records_make_one_empty_block() -> None:
    assert [(cut.length, cut.first) for cut in cut_into_blocks([])] == [(0, 0)]


HEADER = BlockHeader(FIRST | LAST, 5, 3, 9, 1000, 8, 77, 11, 0xABCD)


def encoded_header() -> bytearray:
    buffer = bytearray(HEADER_SIZE)
    encode_block_header(buffer, 0, HEADER)
    return buffer


def test_a_block_header_comes_back_as_it_was() -> None:
    assert decode_block_header(b"x" + encoded_header(), 1, log_id=5) == HEADER
    assert decode_block_header(encoded_header()) == HEADER
    assert decode_block_header(encoded_header(), log_id=6) is None, "another log's"
    assert decode_block_header(encoded_header()[:-1]) is None, "cut off"


def test_any_flipped_bit_of_a_block_header_is_found() -> None:
    for bit in range(HEADER_SIZE * 8):
        buffer = encoded_header()
        buffer[bit // 8] ^= 1 << bit % 8
        assert decode_block_header(buffer) is None, f"bit {bit}"


def test_a_newer_format_is_refused_politely() -> None:
    newer = encoded_header() + bytes(16)
    newer[4] = 4
    struct.pack_into("<H", newer, 6, len(newer))
    newer[-4:] = zlib.crc32(newer[:-4]).to_bytes(4, "little")
    with pytest.raises(StorageError, match="format 4; this Leveret reads formats up to 3"):
        decode_block_header(newer)

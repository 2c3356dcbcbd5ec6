"""One file of the log: reading and appending blocks, finding them behind damage, and telling a torn tail from it."""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from storage.api import Closed, Corrupt
from storage.files import Files
from storage.records import (
    FIRST,
    HEADER_SIZE,
    LAST,
    MAGIC,
    BlockHeader,
    Buffer,
    decode_block_header,
    record_size,
    whole_records,
)

SUFFIX: Final = ".segment"
_WINDOW: Final = 1024 * 1024
_PAGE: Final = 4096
_HEADER_ROOM: Final = 4096  # a later format's header may be bigger than ours, and must be seen whole to be refused


class Block(NamedTuple):
    """A whole block: its checksums hold. `position` is the header's, log-wide."""

    position: int
    header: BlockHeader
    data: bytes

    @property
    def end(self) -> int:
        """The log position behind the block."""
        return self.position + HEADER_SIZE + len(self.data)


class BadBlock(Corrupt):
    """There should be a block at this log position, and no whole one is."""

    def __init__(self, position: int, text: str) -> None:
        super().__init__(text)
        self.position = position


class Gap(NamedTuple):
    """Bytes that are no whole block; `header` is there where only the data is damaged. Positions are log-wide."""

    position: int
    end: int
    header: BlockHeader | None
    text: str


class Tail(NamedTuple):
    """How a log's last segment ends. Positions are log-wide.

    `end` is behind the last whole commit; `text` says why what lies behind it is none ("" where nothing does).
    `number`, `epoch` and `synced` are the highest in any block header, kept or not; `last` is the number of the last
    block that is kept, and `last_data` of the last of those that isn't empty.
    """

    end: int
    number: int
    epoch: int
    synced: int
    last: int
    last_data: int
    text: str


def segment_name(start: int) -> str:
    """The name of the segment file that starts at a log position."""
    return f"{start:020d}{SUFFIX}"


def segment_start(name: str) -> int | None:
    """The log position at which the segment file of that name starts; None if it's no segment's name."""
    stem = name.removesuffix(SUFFIX)
    return int(stem) if len(stem) == 20 and stem.isdecimal() and name.endswith(SUFFIX) else None


class _Window:
    """Reads a file forward in big pieces."""

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self._read = read
        self._size = size
        self._base = 0
        self.data = b""

    def at(self, offset: int, length: int) -> int:
        """The index in `data` of the byte at `offset`; `length` bytes are there from it on, or all to the end."""
        index = offset - self._base
        if index < 0 or index + min(length, self._size - offset) > len(self.data):
            self.data = self._read(min(max(length, _WINDOW), self._size - offset), offset)
            self._base, index = offset, 0
        return index


def walk(read: Callable[[int, int], bytes], start: int, size: int, log_id: int | None, offset: int = 0) -> Iterator[Block | Gap]:
    """The blocks of a segment from `offset` on, and what lies between them where they don't follow one another.

    `read(length, offset)` gives the file's bytes, `start` is the segment's position in the log and `size` the end of
    what is to be read. Raises StorageError on blocks of a newer format.
    """
    window = _Window(read, size)
    while offset < size:
        index = window.at(offset, _HEADER_ROOM)
        header = decode_block_header(window.data, index, log_id)
        if header is None or header.position != start + offset:
            text = "no valid block header" if header is None else f"the block of position {header.position}"
            found = _search(window, start, size, log_id, offset + 1)
            yield Gap(start + offset, start + found, None, text)
            offset = found
            continue
        end = offset + HEADER_SIZE + header.length
        index = window.at(offset, end - offset) + HEADER_SIZE
        data = window.data[index : index + header.length]
        if len(data) == header.length and crc32(data) == header.data_crc:
            yield Block(start + offset, header, data)
        else:
            text = "the data don't match their checksum" if end <= size else "the data are cut off"
            yield Gap(start + offset, start + min(end, size), header, f"block {header.number}: {text}")
        offset = end


def _search(window: _Window, start: int, size: int, log_id: int | None, offset: int) -> int:
    """The offset of the next valid block header, or `size`."""
    while offset < size:
        index = window.at(offset, _WINDOW)
        found = window.data.find(MAGIC, index)
        if found < 0:
            offset += max(len(window.data) - index - len(MAGIC) + 1, 1)
            continue
        offset += found - index
        header = decode_block_header(window.data, window.at(offset, _HEADER_ROOM), log_id)
        if header is not None and header.position == start + offset:
            return offset
        offset += 1
    return size


def first_log_id(walks: Sequence[Callable[[int | None], Iterator[Block | Gap]]]) -> int | None:
    """The id of the log that these segments, each given by its `walk`, belong to; None where no block is left.

    What heads a segment is asked first: only there is it certain that no client made it.
    """
    found: int | None = None
    for segment_walk in walks:
        for item in segment_walk(None):
            if isinstance(item, Block):
                return item.header.log_id
            break
    for segment_walk in walks:
        found = next((item.header.log_id for item in segment_walk(None) if item.header is not None), None)
        if found is not None:
            break
    return found


def find_tail(items: Iterable[Block | Gap], start: int, number: int) -> Tail:
    """Where the last segment's whole commits end. `items` is all of it, as `walk` gives it; `number` is that of the
    last block in the segment before.

    A block was durable if a later one says so: then, if it is bad, it is damage, and what follows it counts. So was
    the empty block that heads a segment if there is any other, for it is synced before anything is written behind it.
    The first bad block that nothing vouches for begins the torn tail.
    """
    places: list[tuple[int, int, BlockHeader | None, bool]] = []
    synced, highest, epoch = 0, number, 0
    for item in items:
        header = item.header
        places.append((item.position, item.end, header, isinstance(item, Block)))
        if header is not None:
            synced = max(synced, header.synced)
            highest = max(highest, header.number)
            epoch = max(epoch, header.epoch)
    end, last, last_data, seen, text = start, number, 0, 0, ""
    headed = any(header is not None for _, _, header, _ in places)
    for position, stop, header, whole in places:
        number = header.number if header is not None else number + 1
        if not whole:
            if number > synced and not (position == start and headed):
                text = f"an unfinished write at {position}"
                break
            end, last, last_data = stop, number, seen
        elif header is not None:
            seen = number if header.length else seen
            if header.flags & LAST:
                end, last, last_data = stop, number, seen
    if not text and places and end < places[-1][1]:
        text = f"a commit without its end at {end}"
    return Tail(end, highest, epoch, synced, last, last_data, text)


class Segment:
    """A segment file. Appended to by one thread, read by any; `size` is the length in bytes of what may be read."""

    def __init__(self, files: Files, directory: Path, start: int, *, create: bool = False) -> None:
        self.path = directory / segment_name(start)
        self.start = start
        self._files = files
        self._descriptor = files.open(self.path, create=create)
        self._closing = threading.Lock()  # a reader must never meet a descriptor that was given to another file
        self._open = True
        self._growing = threading.Lock()  # what is appended is in `size` and in `_blocks`, or in neither
        self._blocks: array[int] | None = array("Q") if create else None
        self._checked: set[int] = set()  # big blocks whose checksum was found to hold
        try:
            self.size = files.size(self._descriptor)
            if create:
                files.sync_directory(directory)
        except BaseException:
            self.close()
            raise

    @property
    def end(self) -> int:
        """The log position behind the segment's last byte."""
        return self.start + self.size

    def append(self, data: Buffer, blocks: Iterable[int], *, sync: bool, alone: bool) -> None:
        """Write `data` at the end: `blocks` are the log positions of those in it. `alone`: nothing else in the file waits for a sync."""
        if sync and alone:
            self._files.write_synced(self._descriptor, data, self.size)
        else:
            self._files.write(self._descriptor, data, self.size)
            if sync:
                self._files.sync(self._descriptor)
        with self._growing:
            self.size += len(data)
            if self._blocks is not None:
                self._blocks.extend(blocks)

    def scanned(self, positions: array[int], size: int) -> None:
        """All the blocks in the first `size` bytes, which are remembered if that is all there is."""
        with self._growing:
            if self._blocks is None and size == self.size:
                self._blocks = positions

    def sync(self) -> None:
        """Have all of the file on the disk."""
        self._files.sync(self._descriptor)

    def cut(self, size: int) -> None:
        """Cut the file to `size` bytes, durably."""
        self._files.truncate(self._descriptor, size)
        self._files.sync(self._descriptor)
        self.size = size

    def read(self, length: int, offset: int) -> bytes:
        """Up to `length` bytes of the file. Raises Closed once the segment was closed or truncated away."""
        with self._closing:
            if not self._open:
                raise Closed(f"segment {self.path.name} is closed")
            return self._files.read(self._descriptor, length, offset)

    def walk(self, log_id: int | None, offset: int = 0) -> Iterator[Block | Gap]:
        """Blocks and gaps from `offset` on to the present end."""
        return walk(self.read, self.start, self.size, log_id, offset)

    def header(self, offset: int, log_id: int | None) -> BlockHeader | None:
        """The header of the block at `offset`, None if no block begins there."""
        header = decode_block_header(self.read(_HEADER_ROOM, offset), 0, log_id)
        return header if header is not None and header.position == self.start + offset else None

    def block(self, position: int, log_id: int) -> Block:
        """The block at a log position. Raises BadBlock if there is no whole one."""
        offset = position - self.start
        header = self.header(offset, log_id)
        if header is None:
            raise BadBlock(position, f"no valid block at position {position}")
        data = self.read(header.length, offset + HEADER_SIZE)
        if len(data) != header.length or crc32(data) != header.data_crc:
            raise BadBlock(position, f"the block at position {position} doesn't match its checksum")
        return Block(position, header, data)

    def records(self, places: Sequence[int], log_id: int) -> list[bytes]:
        """The records at these log positions. Raises Corrupt if one isn't whole.

        The first record that is read of a block has all of it checked. After that, where a few are wanted out of a big
        block, only they are read: queues that take turns leave their messages scattered.
        """
        blocks = self._block_positions(log_id)
        found: list[bytes] = []
        done = 0
        while done < len(places):
            at = bisect_right(blocks, places[done])
            if not at:
                raise Corrupt(f"no block holds position {places[done]}")
            start, end = blocks[at - 1], blocks[at] if at < len(blocks) else self.end
            stop = done
            while stop < len(places) and start <= places[stop] < end:
                stop += 1
            wanted = places[done:stop]
            if end - start > _PAGE * len(wanted) and start in self._checked:
                found += [self._single(place, end, log_id, start) for place in wanted]
            else:
                block = self.block(start, log_id)
                if end - start > _PAGE:
                    self._checked.add(start)
                found += [self._record(block, place, log_id) for place in wanted]
            done = stop
        return found

    def _block_positions(self, log_id: int) -> array[int]:
        positions, size = array("Q"), 0
        while self._blocks is None:
            start, size = size, self.size  # it may be appended to meanwhile
            items = walk(self.read, self.start, size, log_id, start)
            positions.extend(item.position for item in items if item.header is not None)
            self.scanned(positions, size)
        return self._blocks

    def _single(self, place: int, end: int, log_id: int, start: int) -> bytes:
        """A record of a block that was checked; `start` and `end` are the block's."""
        data = self.read(min(_PAGE, end - place), place - self.start)
        size = record_size(data)
        if place + size > end:
            return self._record(self.block(start, log_id), place, log_id)
        return data[:size] if size <= len(data) else data + self.read(size - len(data), place + len(data) - self.start)

    def _record(self, block: Block, place: int, log_id: int) -> bytes:
        """The record at `place`, which begins in `block` and may go on in the ones behind."""
        offset = place - block.position - HEADER_SIZE
        if not block.header.first <= offset < len(block.data):
            raise Corrupt(f"no record begins at position {place}")
        wanted = record_size(block.data, offset)
        parts = [block.data[offset : offset + wanted]]
        held = len(parts[0])
        while held < wanted and not block.header.flags & LAST:
            block = self.block(block.end, log_id)
            parts.append(block.data[: min(block.header.first, wanted - held)])
            held += len(parts[-1])
        if held != wanted:
            raise Corrupt(f"the record at position {place} is not whole")
        return b"".join(parts) if len(parts) > 1 else parts[0]

    def close(self) -> None:
        """Close the file; waits for a read that is under way."""
        with self._closing:
            if self._open:
                self._open = False
                self._files.close(self._descriptor)

    def unlink(self) -> None:
        """Close and remove the file, durably."""
        self.close()
        self._files.unlink(self.path)
        self._files.sync_directory(self.path.parent)


def join_records(blocks: list[Block]) -> tuple[list[tuple[int, bytes]], bool]:
    """The whole records in the blocks of one commit (some of which may be missing), as pieces of some that follow one
    another, each with the log position of its first byte; and whether that was all of the commit."""
    pieces: list[tuple[int, bytes]] = []
    torn: list[bytes] = []  # the parts so far of a record that goes on in the next block
    place = 0  # of that record
    whole = bool(blocks[0].header.flags & FIRST and blocks[-1].header.flags & LAST)
    end = blocks[0].position
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        first = block.header.first
        if block.position != end:
            torn, whole = [], False
        elif torn:
            torn.append(block.data[:first])
            if sum(map(len, torn)) == record_size(torn[0]):
                pieces.append((place, b"".join(torn)))
                torn = []
        if first < len(block.data):
            if following is None:
                is_even = bool(block.header.flags & LAST)
            else:
                is_even = following.position == block.end and not following.header.first
            rest = len(block.data) if is_even else whole_records(block.data, first)
            begin = block.position + HEADER_SIZE
            if rest > first:
                pieces.append((begin + first, block.data[first:rest]))
            torn, place = ([block.data[rest:]], begin + rest) if rest < len(block.data) else ([], 0)
        end = block.end
    return pieces, whole and not torn

"""A disk in memory that does what POSIX allows and no more: what wasn't synced may be lost, torn or reordered."""

import errno
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

from storage.files import Files
from storage.records import Buffer

SECTOR = 32  # small, so that small writes tear too
DIRECTORY = Path("/data")


class Inode:
    """A file: what the page cache has, what the platter has, and the writes in between."""

    def __init__(self, content: bytes = b"") -> None:
        self.cached = bytearray(content)
        self.durable = bytearray(content)
        self.pending: list[tuple[int, bytes]] = []

    def write(self, data: bytes, offset: int) -> None:
        self.pending.append((offset, data))
        _put(self.cached, data, offset)

    def sync(self) -> None:
        self.durable = bytearray(self.cached)
        self.pending.clear()

    def after_power_cut(self, chance: random.Random) -> bytes:
        """The durable bytes, and of the others any sectors in any order."""
        content = bytearray(self.durable)
        keep = chance.choice((0.0, 0.5, 0.9, 1.0))
        for offset, data in self.pending:
            for at in range(0, len(data), SECTOR):
                if chance.random() < keep:
                    _put(content, data[at : at + SECTOR], offset + at)
        return bytes(content)


class Disk(Files):
    """Files in memory. `fault(operation number, name)` is asked before each change and may raise.

    An operation that raises has been begun all the same: its bytes are pending, and may or may not be there later.
    """

    def __init__(self, fault: Callable[[int, str], None] | None = None) -> None:
        super().__init__()
        self.operations: list[str] = []
        self.fault = fault
        self._names: dict[Path, Inode] = {}
        self._durable_names: dict[Path, Inode] = {}
        self._open: dict[int, Inode] = {}
        self._next = 1000
        self._locked: dict[Path, int] = {}
        self._mutex = threading.Lock()

    def files(self) -> dict[str, bytes]:
        """The content of all files by path relative to the data directory."""
        return {str(path.relative_to(DIRECTORY)): bytes(inode.cached) for path, inode in sorted(self._names.items())}

    def replace(self, name: str, content: bytes) -> None:
        """Put other bytes into a file, durably, behind the engine's back."""
        self._names[DIRECTORY / name] = self._durable_names[DIRECTORY / name] = Inode(content)

    def remove(self, name: str) -> None:
        """Take a file away behind the engine's back."""
        del self._names[DIRECTORY / name]
        self._durable_names.pop(DIRECTORY / name, None)

    def copy(self) -> "Disk":
        """A disk with the same content, all of it durable."""
        disk = Disk()
        for name, content in self.files().items():
            disk.replace(name, content)
        return disk

    def after_power_cut(self, chance: random.Random) -> "Disk":
        """What a machine finds that lost its power now: one of the many disks that it may find."""
        disk = Disk()
        for path in sorted({*self._names, *self._durable_names}):
            old, new = self._durable_names.get(path), self._names.get(path)
            inode = old if old is new else chance.choice((old, new))
            if inode is not None:
                disk.replace(str(path.relative_to(DIRECTORY)), inode.after_power_cut(chance))
        return disk

    def make_directory(self, path: Path) -> None:
        pass

    def names(self, directory: Path) -> list[str]:
        return sorted(path.name for path in self._names if path.parent == directory)

    def open(self, path: Path, *, create: bool = False, readonly: bool = False) -> int:
        if create:
            if path in self._names:
                raise FileExistsError(errno.EEXIST, "File exists", str(path))
            self._change("create")
            self._names[path] = Inode()
        elif path not in self._names:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(path))
        with self._mutex:
            self._next += 1
            self._open[self._next] = self._names[path]
            return self._next

    def close(self, descriptor: int) -> None:
        del self._open[descriptor]

    def size(self, descriptor: int) -> int:
        return len(self._open[descriptor].cached)

    def read(self, descriptor: int, length: int, offset: int) -> bytes:
        return bytes(self._open[descriptor].cached[offset : offset + length])

    def write(self, descriptor: int, data: Buffer, offset: int) -> None:
        self._open[descriptor].write(bytes(data), offset)
        self._change("write")

    def write_synced(self, descriptor: int, data: Buffer, offset: int) -> None:
        inode = self._open[descriptor]
        inode.write(bytes(data), offset)
        self._change("write_synced")
        _put(inode.durable, inode.pending.pop()[1], offset)  # its own range, and nothing that came before

    def sync(self, descriptor: int) -> None:
        self._change("sync")
        self._open[descriptor].sync()

    def truncate(self, descriptor: int, size: int) -> None:
        self._change("truncate")
        del self._open[descriptor].cached[size:]

    def rename(self, old: Path, new: Path) -> None:
        self._names[new] = self._names.pop(old)
        self._change("rename")

    def unlink(self, path: Path) -> None:
        del self._names[path]
        self._change("unlink")

    def sync_directory(self, path: Path) -> None:
        self._change("sync_directory")
        for name in {*self._names, *self._durable_names}:
            if name.parent == path:
                inode = self._names.get(name)
                if inode is None:
                    del self._durable_names[name]
                else:
                    self._durable_names[name] = inode

    def free(self, path: Path) -> int:
        return 1 << 40

    def _change(self, name: str) -> None:
        self.operations.append(name)
        if self.fault is not None:
            self.fault(len(self.operations), name)


def power_cut_at(number: int) -> Callable[[int, str], None]:
    """A fault: the operation with that number, and all behind it, don't get done."""

    def fault(operation: int, name: str) -> None:
        if operation >= number:
            raise OSError(errno.EIO, f"the power is off ({name})")

    return fault


def fails_once(name: str, code: int) -> Callable[[int, str], None]:
    """A fault: the next operation of that name fails, and all others work."""
    left = [name]

    def fault(_: int, operation: str) -> None:
        if operation in left:
            left.remove(operation)
            raise OSError(code, os.strerror(code))

    return fault


def _put(content: bytearray, data: bytes, offset: int) -> None:
    content.extend(bytes(max(offset - len(content), 0)))
    content[offset : offset + len(data)] = data

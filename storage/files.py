"""The few file operations that the log needs, in one narrow class: the seam where tests put a disk that fails."""

import errno
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.api import Fenced
from storage.records import Buffer

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_BINARY = getattr(os, "O_BINARY", 0)
_CANNOT_DSYNC = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_NO_DESCRIPTOR = {errno.EMFILE, errno.ENFILE}
_OPEN_SECONDS_MAX = 10.0
_OPEN_AGAIN_SECONDS = 0.01
_seeking = threading.Lock()  # Windows has no pread and pwrite: there a file's offset is shared


class Files:
    """Every write, sync, rename and unlink of the engine goes through here. All methods raise OSError.

    Files are named by their descriptors, places in them by byte offsets.
    """

    def __init__(self) -> None:
        self._thread = threading.local()
        self._can_dsync = sys.platform == "linux" and hasattr(os, "RWF_DSYNC")

    def make_directory(self, path: Path) -> None:
        """Create the directory and its missing parents, for the owner only. One that is there stays as it is."""
        missing = [directory for directory in (path, *path.parents) if not directory.exists()]
        for directory in reversed(missing):
            directory.mkdir(mode=0o700, exist_ok=True)
            self.sync_directory(directory.parent)

    def names(self, directory: Path) -> list[str]:
        """The names in the directory, sorted."""
        return sorted(os.listdir(directory))

    def open(self, path: Path, *, create: bool = False, readonly: bool = False) -> int:
        """Open for reading and writing, or for reading alone. `create`: the file must not be there yet."""
        access = os.O_RDONLY if readonly else os.O_RDWR
        return self._open_patiently(path, access | _BINARY | (os.O_CREAT | os.O_EXCL if create else 0))

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """In here, this thread waits for no descriptor: where none is free, what opens a file raises EMFILE or ENFILE at once."""
        self._thread.waits = False
        try:
            yield
        finally:
            self._thread.waits = True

    def close(self, descriptor: int) -> None:
        """Give the descriptor back. Says nothing about what is durable."""
        os.close(descriptor)

    def size(self, descriptor: int) -> int:
        """The file's size in bytes."""
        return os.fstat(descriptor).st_size

    def read(self, descriptor: int, length: int, offset: int) -> bytes:
        """Up to `length` bytes from `offset`: fewer only at the end of the file."""
        parts = []
        while length > 0:
            part = _read_at(descriptor, length, offset)
            if not part:
                break
            parts.append(part)
            length -= len(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, descriptor: int, data: Buffer, offset: int) -> None:
        """Write all of `data` at `offset`; durable only with the next `sync`."""
        with memoryview(data) as view:
            done = 0
            while done < len(view):
                done += _progress(_write_at(descriptor, view[done:], offset + done))

    def write_synced(self, descriptor: int, data: Buffer, offset: int) -> None:
        """Write all of `data` at `offset` and have it on the disk. Earlier writes elsewhere in the file need not be."""
        if sys.platform == "linux" and self._can_dsync:
            try:
                with memoryview(data) as view:
                    done = 0
                    while done < len(view):
                        done += _progress(os.pwritev(descriptor, [view[done:]], offset + done, os.RWF_DSYNC))
                return
            except OSError as error:
                if error.errno not in _CANNOT_DSYNC:
                    raise
                self._can_dsync = False  # an old kernel or a file system without it: nothing was written
        self.write(descriptor, data, offset)
        self.sync(descriptor)

    def sync(self, descriptor: int) -> None:
        """Have on the disk all that was written to the file, and what is needed to read it."""
        if sys.platform == "darwin":
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # fsync alone leaves it in the drive's cache there
        elif sys.platform == "win32":
            os.fsync(descriptor)
        else:
            os.fdatasync(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file to `size` bytes; durable only with the next `sync`."""
        os.ftruncate(descriptor, size)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file its new name; durable only with `sync_directory`."""
        os.replace(old, new)

    def unlink(self, path: Path) -> None:
        """Remove a file; durable only with `sync_directory`."""
        os.unlink(path)

    def sync_directory(self, path: Path) -> None:
        """Have the directory's names on the disk."""
        if sys.platform == "win32":
            return  # it can't be done there, and NTFS journals names
        descriptor = self._open_patiently(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def free(self, path: Path) -> int:
        """The bytes that are free to us on the disk that holds `path`."""
        return shutil.disk_usage(path).free

    def lock(self, path: Path) -> int:
        """Take the lock file and write our process id into it; it is ours until the descriptor is closed.

        Raises Fenced, with the directory and the process that holds it, where somebody else has it.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _BINARY, 0o600)
        try:
            _lock(descriptor)
        except OSError as error:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            if error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                raise
            raise Fenced(f"the data directory {path.parent} is in use by another broker, process {holder}") from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode("ascii"))
        return descriptor

    def _open_patiently(self, path: Path, flags: int) -> int:
        """Open, and wait a while for a descriptor if none is free: a failed open would end the log for good, while connections that took
        them all are being turned away. By another thread: whoever turns them away must not wait here (`at_once`)."""
        deadline = time.monotonic() + _OPEN_SECONDS_MAX
        while True:
            try:
                return os.open(path, flags, 0o600)
            except OSError as error:
                waits = getattr(self._thread, "waits", True)
                if error.errno not in _NO_DESCRIPTOR or not waits or time.monotonic() > deadline:
                    raise
                time.sleep(_OPEN_AGAIN_SECONDS)


def _progress(count: int) -> int:
    if count <= 0:
        raise OSError(errno.EIO, "the disk took nothing of a write")
    return count


if sys.platform == "win32":

    def _read_at(descriptor: int, length: int, offset: int) -> bytes:
        with _seeking:
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.read(descriptor, length)

    def _write_at(descriptor: int, data: memoryview, offset: int) -> int:
        with _seeking:
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.write(descriptor, data)

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # far behind the process id, which others must be able to read
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:

    def _read_at(descriptor: int, length: int, offset: int) -> bytes:
        return os.pread(descriptor, length, offset)

    def _write_at(descriptor: int, data: memoryview, offset: int) -> int:
        return os.pwrite(descriptor, data, offset)

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

"""The log file: put aside by size and by the calendar, opened again on SIGHUP, and never a reason to stop.

    leveret.log      what is written now
    leveret.log.0    what was put aside last, then .1, and so on up to the number that is kept

What can't be written (a full disk) is lost, counted, and told of as soon as something can be written again.
"""

from __future__ import annotations

import logging
import math
import os
from contextlib import suppress
from io import FileIO, TextIOWrapper
from logging.handlers import BaseRotatingHandler
from typing import TYPE_CHECKING, Final

from broker.logs.rotation import Schedule

if TYPE_CHECKING:
    from pathlib import Path

    from broker.config import LogOptions

log = logging.getLogger("logs")

FILE_MODE: Final = 0o640
"""Lines name users and addresses: not everybody's business."""
RETRY_SECONDS: Final = 60
"""From a rotation that failed to the next try."""


class CannotLog(Exception):
    """A log file can't be written; the text names the setting, the path and the reason."""


class LogFile(BaseRotatingHandler):
    """One file. Raises CannotLog if it, or the directory it is to lie in, can't be made."""

    def __init__(self, options: LogOptions) -> None:
        assert options.file is not None
        path = options.file if options.dir is None else options.dir / options.file
        self._max_bytes = options.rotation_bytes
        self._kept = options.rotation_count
        try:
            self._schedule = Schedule(options.rotation_date) if options.rotation_date else None
        except ValueError as error:
            raise CannotLog(f"log.file.rotation.date: {error}") from error
        self._due: float = math.inf
        self._lost = 0
        self._now = self._not_before = 0.0
        """When the line of now came up, and until when a file that can't be put aside is left as it is; seconds of the epoch."""
        setting = "log.file" if options.dir is None else "log.dir"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CannotLog(f"{setting}: cannot make the directory {path.parent}: {error.strerror}") from error
        try:
            super().__init__(path, "a", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise CannotLog(f"log.file: cannot write {path}: {error.strerror}") from error
        self._plan(path)

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        return TextIOWrapper(FileIO(descriptor, "a"), encoding=self.encoding, errors=self.errors, write_through=True)

    def _plan(self, path: Path | None = None) -> None:
        """Find the next moment of the calendar: after the last line of what is there already, or after now."""
        if self._schedule is None:
            return
        status = os.stat(path or self.baseFilename)
        self._due = self._schedule.next_after(status.st_mtime)

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802
        """See BaseRotatingHandler."""
        self._now = record.created
        if record.created < self._not_before:
            return False
        if record.created >= self._due:
            return True
        return self._max_bytes > 0 and self.stream is not None and os.fstat(self.stream.fileno()).st_size >= self._max_bytes

    def doRollover(self) -> None:  # noqa: N802
        """Put the file aside and begin a new one; with nothing to be kept, empty it. Where that can't be, go on in it for a while."""
        try:
            self._put_aside()
            self.reopen()
        except OSError as error:
            self._not_before = self._now + RETRY_SECONDS
            text = "log.file: cannot put %s aside, going on in it and trying again in %d s: %s"
            log.error(text, self.baseFilename, RETRY_SECONDS, error.strerror)
        else:
            self._plan()

    def _put_aside(self) -> None:
        if self._kept:
            for number in range(self._kept - 1, 0, -1):
                older = f"{self.baseFilename}.{number - 1}"
                if os.path.exists(older):
                    os.replace(older, f"{self.baseFilename}.{number}")
        # It may have been taken away.
        with suppress(FileNotFoundError):
            if self._kept:
                os.replace(self.baseFilename, f"{self.baseFilename}.0")
            else:
                os.remove(self.baseFilename)

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler; tells of lines that were lost before."""
        lost = self._lost
        super().emit(record)
        if lost and self._lost == lost:
            self._lost = 0
            log.warning("%d lines of the log could not be written to %s", lost, self.baseFilename)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """The line is lost. What the stream still holds of it is let go: it would be written again and again."""
        self._lost += 1
        self._drop_stream()

    def reopen(self) -> None:
        """Go on in a new file of that name, as after a rotation by others (logrotate and SIGHUP).

        Raises OSError if there can't be one, and goes on in the old file.
        """
        opened = self._open()
        self.acquire()
        try:
            self._drop_stream()
            self.stream = opened
        finally:
            self.release()

    def _drop_stream(self) -> None:
        """Close the file; the next line opens it again."""
        stream, self.stream = self.stream, None
        if stream is not None:
            # What it can't write any more is lost, and counted by handleError; the descriptor is closed all the same.
            with suppress(OSError):
                stream.close()

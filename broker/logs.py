"""The log on stdout, in RabbitMQ's line format.

    2026-11-21 23:06:09.683433+00:00 [info] <turn> Server startup complete

The field in angle brackets is the `tag` given as extra (`log.info("...", extra={"tag": "<0.17.0>"})`), else the last part of the
logger's name.
"""

from __future__ import annotations

import logging
import sys
from datetime import datetime
from typing import Final, TextIO

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": logging.INFO + 5,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 10,
}
_NAMES: Final = {number: name for name, number in LEVELS.items()}


class LineFormatter(logging.Formatter):
    """RabbitMQ's plain-text lines.

    Every line of a text of several gets the head of its own, as RabbitMQ does: what a peer sends (a user name with a line
    break in it) can't pass for a log line.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's lines, without the last line break."""
        time = datetime.fromtimestamp(record.created).astimezone().isoformat(sep=" ", timespec="microseconds")
        level = _NAMES.get(record.levelno, record.levelname.lower())
        tag = getattr(record, "tag", None) or f"<{record.name.rpartition('.')[2]}>"
        head = f"{time} [{level}] {tag} "
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        return "\n".join(head + line for line in text.splitlines() or [""])


def set_up(level: str, stream: TextIO | None = None) -> None:
    """Send the root logger's lines of at least `level` (a key of LEVELS) to `stream`, stdout if None.

    Calling it again replaces what an earlier call set up.
    """
    output = sys.stdout if stream is None else stream
    if output is sys.stdout:
        # A name that isn't text in the terminal's encoding must not cost the line.
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    handler = logging.StreamHandler(output)
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(LEVELS[level])
    # Facts that no line shows needn't be looked up for each. A reader of stdout that has gone away is no reason to complain on stderr.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.raiseExceptions = False

"""The broker's log: RabbitMQ's lines on stdout, in a file, and in an exchange (https://www.rabbitmq.com/docs/logging).

Python's logging does it: whoever has something to say asks `logging.getLogger(CATEGORY)`. `set_up` makes the sinks, each with levels
and a format of its own.

    levels    which lines a sink takes       files      a file, put aside by size and calendar (rotation)
    formats   plain text, JSON               exchange   amq.rabbitmq.log
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Final, TextIO

from broker.logs.files import CannotLog, LogFile
from broker.logs.formats import JsonFormatter, LineFormatter
from broker.logs.levels import CATEGORIES, LEVELS, Thresholds

if TYPE_CHECKING:
    from broker.config import LogOptions

__all__ = ["LEVELS", "CannotLog", "JsonFormatter", "LineFormatter", "add", "remove", "reopen", "set_level", "set_up"]

log = logging.getLogger("logs")
_thresholds: Final[dict[logging.Handler, Thresholds]] = {}
"""Of the sinks there are."""


def set_up(options: LogOptions, stream: TextIO | None = None) -> None:
    """Send lines where `options` say, the console being `stream`, or stdout if None.

    Calling it again replaces what an earlier call set up. Raises CannotLog for a file that can't be written.
    """
    sinks: list[tuple[logging.Handler, str | None, bool]] = []
    if options.file is not None:
        sinks.append((LogFile(options), options.file_level, options.file_json))
    if options.console:
        output = sys.stdout if stream is None else stream
        if output is sys.stdout:
            # A name that isn't text in the terminal's encoding must not cost the line.
            sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        sinks.append((logging.StreamHandler(output), options.console_level, options.console_json))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        if old in _thresholds:
            old.close()
    _thresholds.clear()
    for handler, level, as_json in sinks:
        add(handler, options, level, as_json=as_json)
    if not sinks:
        _set_levels()
    # Facts that no line shows needn't be looked up for each. A reader of stdout that has gone away is no reason to complain on stderr.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.raiseExceptions = False


def add(handler: logging.Handler, options: LogOptions, level: str | None, *, as_json: bool = False) -> None:
    """One more sink; `level` is its own, None takes that of the default category."""
    thresholds = _thresholds[handler] = Thresholds(options, level)
    handler.setFormatter(JsonFormatter() if as_json else LineFormatter())
    handler.addFilter(thresholds)
    logging.getLogger().addHandler(handler)
    _set_levels()


def remove(handler: logging.Handler) -> None:
    """One sink less; no line comes to it any more, but for those on their way. It is closed."""
    del _thresholds[handler]
    logging.getLogger().removeHandler(handler)
    handler.close()
    _set_levels()


def reopen() -> None:
    """Open the log file anew, under its name: somebody has moved it away. If that fails, the old one is gone on with."""
    for handler in list(_thresholds):
        if isinstance(handler, LogFile):
            try:
                handler.reopen()
            except OSError as error:
                log.error("log.file: cannot open %s again, going on in the old file: %s", handler.baseFilename, error.strerror)


def set_level(level: str) -> None:
    """From now on every sink takes lines of this level and above, whatever was configured (rabbitmqctl set_log_level)."""
    for thresholds in _thresholds.values():
        thresholds.set(level)
    _set_levels()


def _set_levels() -> None:
    """Let each logger stop what no sink takes, before a record is made of it."""
    none = LEVELS["none"]
    sinks = _thresholds.values()
    logging.getLogger().setLevel(min((sink.default for sink in sinks), default=none))
    for category in CATEGORIES:
        logging.getLogger(category).setLevel(min((sink.categories[category] for sink in sinks), default=none))

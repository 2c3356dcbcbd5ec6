"""How a line is written: RabbitMQ's plain text, or its JSON (https://www.rabbitmq.com/docs/logging#json).

    2026-11-21 23:06:09.683433+00:00 [info] <0.666.0> accepting AMQP connection <0.666.0> (127.0.0.1:42126 -> 127.0.0.1:5672)
    {"time":"2026-11-21 23:06:09.683433+00:00","level":"info","msg":"accepting AMQP ...","domain":"rabbitmq.connection","pid":"<0.666.0>"}

RabbitMQ has an Erlang process where we have the connection or channel that the line is about: the `tag` given as extra
(`log.info("...", extra={"tag": "<0.666.0>"})`). A line about neither gets a number that stands for its logger.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime
from functools import lru_cache
from typing import Final

from broker.logs.levels import CATEGORIES, level_name

FIRST_LOGGER_NUMBER: Final = 200
"""Connections and channels count from broker.core.broker.FIRST_PROCESS, far above."""
CONTROL_CHARACTERS: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
"""What a terminal would obey, and what other tools than ours take for the end of a line."""
_loggers: Final[dict[str, str]] = {}


def time_text(record: logging.LogRecord) -> str:
    """When it was, in local time with its offset from UTC, to the microsecond."""
    second = int(record.created)
    before, after = _of_second(second)
    return f"{before}.{int((record.created - second) * 1_000_000):06}{after}"


@lru_cache(maxsize=1)
def _of_second(second: int) -> tuple[str, str]:
    """What stands before and behind the fraction: the same for all that comes in a second, a hundred connections or more."""
    text = datetime.fromtimestamp(second).astimezone().isoformat(sep=" ")
    return text[:19], text[19:]


def tag_of(record: logging.LogRecord) -> str:
    """What stands where RabbitMQ has the process: `<0.666.0>`."""
    tag: str | None = getattr(record, "tag", None)
    if tag is None:
        tag = _loggers.get(record.name)
        if tag is None:
            tag = _loggers[record.name] = f"<0.{FIRST_LOGGER_NUMBER + len(_loggers)}.0>"
    return tag


class LineFormatter(logging.Formatter):
    """RabbitMQ's plain-text lines.

    Every line of a text of several gets the head of its own, as RabbitMQ does: what a peer sends (a user name with a line
    break in it) can't pass for a log line. Other control characters are written as text, so that it can't clear an operator's
    terminal either.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's lines, without the last line break."""
        head = f"{time_text(record)} [{level_name(record)}] {tag_of(record)} "
        return "\n".join(head + line for line in _text(self, record).translate(CONTROL_CHARACTERS).splitlines() or [""])


class JsonFormatter(logging.Formatter):
    """One JSON object a record, on one line. `domain` is `rabbitmq`, for a category with a name of its own `rabbitmq.NAME`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object, without the line break."""
        members = {
            "time": time_text(record),
            "level": level_name(record),
            "msg": _text(self, record),
            "domain": f"rabbitmq.{record.name}" if record.name in CATEGORIES else "rabbitmq",
            "pid": tag_of(record),
        }
        return json.dumps(members, separators=(",", ":"))


def _text(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    text = record.getMessage()
    return f"{text}\n{formatter.formatException(record.exc_info)}" if record.exc_info else text

"""Levels by RabbitMQ's names, and which lines a sink takes (https://www.rabbitmq.com/docs/logging#log-levels)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from broker.config import LogOptions

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
CATEGORIES: Final = ("connection", "channel", "queue", "upgrade")
"""Loggers of these names have levels of their own; every other line is of the category default."""
DEFAULT: Final = "default"


def level_name(record: logging.LogRecord) -> str:
    """RabbitMQ's name for the record's level."""
    return _NAMES.get(record.levelno, record.levelname.lower())


class Thresholds:
    """The least severe level that one sink takes, by category: a logging filter.

    A category's own level wins over the sink's, which wins over the default category's, as in RabbitMQ.
    """

    def __init__(self, options: LogOptions, sink_level: str | None) -> None:
        levels = dict(options.levels)
        self.default: int = LEVELS[sink_level or levels.get(DEFAULT, "info")]
        self.categories: dict[str, int] = {
            category: LEVELS[levels[category]] if category in levels else self.default for category in CATEGORIES
        }

    def set(self, level: str) -> None:
        """One level for all categories."""
        self.default = LEVELS[level]
        self.categories = dict.fromkeys(self.categories, self.default)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the sink takes this record."""
        return record.levelno >= self.categories.get(record.name, self.default)

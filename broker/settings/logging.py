"""The rows of the log."""

from __future__ import annotations

from typing import Final

from broker.logs.rotation import EXPECTED
from broker.settings.setting import SIZE_MAX, Setting, boolean, choice, integer, level, path, size

_FORMATS: Final = {"plaintext": False, "json": True}

ROWS: Final = (
    boolean("log.console", "log.console", "true", "Log to stdout. (RabbitMQ's default is a file alone.)"),
    level("log.console.level", "log.console_level", None,
        "The least severe lines there. Not given: log.default.level.", "log.console.level = info"),
    choice("log.console.formatter", "log.console_json", "plaintext", _FORMATS, "plaintext, or json: one object a line."),
    path("log.file", "log.file", "Log to this file; a name alone lies in log.dir. `false`, the default: to none.",
        "log.file = leveret.log", {"false": None})._replace(default="false", example=""),
    level("log.file.level", "log.file_level", None, "The least severe lines there. Not given: log.default.level.", "log.file.level = info"),
    choice("log.file.formatter", "log.file_json", "plaintext", _FORMATS, "See log.console.formatter."),
    path("log.dir", "log.dir", "Where the log file lies.", "log.dir = /var/log/leveret"),
    size("log.file.rotation.size", "log.rotation_bytes", "0", 0, SIZE_MAX, "Put the file aside when it is that big. 0: never by size."),
    integer("log.file.rotation.count", "log.rotation_count", "0", "files", 0, 1000, "How many files that were put aside are kept."),
    Setting("log.file.rotation.date", "log.rotation_date", "rotation_date", None, "RabbitMQ's notation",
        EXPECTED,
        "Put the file aside by the calendar: $D0 at midnight, $H00 each hour, $W0D0 each Sunday. Not given: never.",
        example="log.file.rotation.date = $D0"),
    boolean("log.exchange", "log.exchange", "false", "Also publish the lines to amq.rabbitmq.log in the default vhost."),
    level("log.exchange.level", "log.exchange_level", None, "The least severe lines there. Not given: log.default.level.",
        "log.exchange.level = info"),
    level("log.default.level", "log.levels", "info",
        "The least severe lines that are logged: one of debug, info, notice, warning, error, critical, none."),
    level("log.connection.level", "log.levels", None, "The same for lines about connections.", "log.connection.level = info"),
    level("log.channel.level", "log.levels", None, "The same for lines about channels.", "log.channel.level = info"),
    level("log.queue.level", "log.levels", None, "The same for lines about queues.", "log.queue.level = info"),
    level("log.upgrade.level", "log.levels", None, "The same for lines about upgrades.", "log.upgrade.level = info"),
)  # fmt: skip

"""Commands about the broker's log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TextIO

from broker.cli.ctl.command import Call, Command, write_line
from broker.cli.ctl.errors import error
from broker.cli.ctl.formats import Output

if TYPE_CHECKING:
    from collections.abc import Iterator

TICK_SECONDS: Final = 0.2
CONSOLE: Final = "<stdout>"


def log_location(call: Call) -> Output:
    """Where lines go: the file, or with --all everything."""
    locations = call.api.get("nodes", call.node, columns="log_files").get("log_files") or [CONSOLE]
    shown = locations if call.options["all"] else locations[:1]
    return Output("\n".join(shown), json={"node_name": call.node, "paths": shown, "result": "ok"})


def _open(call: Call) -> TextIO:
    locations = call.api.get("nodes", call.node, columns="log_files").get("log_files") or []
    files = [path for path in locations if not path.startswith("<")]
    if not files:
        raise error(f"node {call.node} logs to its standard output alone: log.file = PATH makes it write a file, too")
    try:
        return open(files[0], encoding="utf-8", errors="replace")
    except OSError as problem:
        raise error(f"the log file {files[0]} can't be read: {problem.strerror}") from problem


def log_tail(call: Call) -> Output:
    """The last lines of the file."""
    from collections import deque

    with _open(call) as file:
        lines = deque(file, maxlen=call.options["number"])
    return Output("".join(lines).rstrip("\n"))


def log_tail_stream(call: Call) -> Output | None:
    """What comes from now on, for --duration seconds or until Ctrl-C."""
    duration = call.options["duration"]
    deadline = None if duration is None else time.monotonic() + duration
    with _open(call) as file:
        file.seek(0, 2)
        for line in _new_lines(file, deadline):
            write_line(line)
    return None


def _new_lines(file: TextIO, deadline: float | None) -> Iterator[str]:
    while deadline is None or time.monotonic() < deadline:
        line = file.readline()
        if line:
            yield line.rstrip("\n")
        else:
            time.sleep(TICK_SECONDS)


COMMANDS: Final = {
    "log_location": Command(
        log_location,
        "log_location [--all|-a]",
        banner="Log file location(s) on node {node} ...",
        options={"all": bool, "timeout": int},
        short={"a": "all"},
        defaults={"all": False},
    ),
    "log_tail": Command(
        log_tail,
        "log_tail [--number|-N <number>]",
        banner="Last {number} log lines on node {node} ...",
        options={"number": int, "timeout": int},
        short={"N": "number"},
        defaults={"number": 50},
    ),
    "log_tail_stream": Command(
        log_tail_stream,
        "log_tail_stream [--duration|-d <seconds>]",
        banner=lambda call: (
            f"Streaming logs from node {call.node} ..."
            if call.options["duration"] is None
            else f"Streaming logs from node {call.node} for {call.options['duration']} seconds ..."
        ),
        options={"duration": int, "timeout": int},
        short={"d": "duration"},
        defaults={"duration": None},
    ),
}

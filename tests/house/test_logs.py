"""The log's lines have RabbitMQ's format, and go where they are to go."""

import io
import json
import logging
import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from broker import logs
from broker.cli import serve
from broker.cli.main import EXIT_CONFIG, build_parser
from broker.config import Config, LogOptions
from broker.logs.rotation import Schedule

HEAD = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d"
LOGGERS = ("connection", "channel", "queue", "upgrade")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A log of its own at level info; the tester's is put back afterwards."""
    root = logging.getLogger()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    stream = io.StringIO()
    logs.set_up(LogOptions(), stream)
    yield stream
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.raiseExceptions = raises
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = True


# --- formats


def test_a_line(stream: io.StringIO) -> None:
    logging.getLogger("listeners").info("started TCP listener on %s", "[::]:5672")
    assert re.fullmatch(HEAD + r" \[info\] <0\.\d+\.0> started TCP listener on \[::\]:5672\n", stream.getvalue())


def test_a_tag_stands_where_rabbitmq_has_the_process(stream: io.StringIO) -> None:
    logging.getLogger("x").warning("closing AMQP connection", extra={"tag": "<0.17.0>"})
    assert re.fullmatch(HEAD + r" \[warning\] <0\.17\.0> closing AMQP connection\n", stream.getvalue())


def test_a_logger_has_one_number(stream: io.StringIO) -> None:
    for name in ("x", "y", "x"):
        logging.getLogger(name).info("text")
    first, second, third = re.findall(r"<0\.(\d+)\.0>", stream.getvalue())
    assert first == third != second


def test_a_line_break_in_a_text_cannot_forge_a_line(stream: io.StringIO) -> None:
    logging.getLogger("x").error("login refused: user '%s'", "a'\n2026-01-01 00:00:00.000000+00:00 [info] <x> all is well")
    first, second, _ = stream.getvalue().split("\n")
    assert re.fullmatch(HEAD + r" \[error\] <\S+> login refused: user 'a'", first)
    assert re.fullmatch(HEAD + r" \[error\] <\S+> 2026-01-01 00:00:00.000000\+00:00 \[info\] <x> all is well'", second)


def test_a_traceback_is_part_of_the_text(stream: io.StringIO) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("x").critical("stopping", exc_info=True)
    lines = stream.getvalue().splitlines()
    assert all(re.match(HEAD + r" \[critical\] <\S+> ", line) for line in lines)
    assert lines[-1].endswith("ValueError: broken")


def test_json_has_rabbitmqs_members(stream: io.StringIO) -> None:
    """What 3.10.8 writes with log.console.formatter = json; file, line and mfa are Erlang's."""
    logs.set_up(LogOptions(console_json=True), stream)
    logging.getLogger("connection").info("closing <%s>:\nvanished \udcff", "é", extra={"tag": "<0.666.0>"})
    logging.getLogger("server").warning("text")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert re.fullmatch(HEAD, first.pop("time"))
    assert list(first.items()) == [
        ("level", "info"), ("msg", "closing <é>:\nvanished \udcff"), ("domain", "rabbitmq.connection"), ("pid", "<0.666.0>"),
    ]  # fmt: skip
    assert (second["level"], second["domain"]) == ("warning", "rabbitmq")


# --- levels


def taken(options: LogOptions, stream: io.StringIO, tmp_path: Path | None = None) -> dict[str, str]:
    """By logger, the first letters of the levels that the console shows; the file's in `tmp_path`."""
    stream.truncate(0)
    logs.set_up(options, stream)
    for name in ("connection", "channel", "server"):
        for level in ("debug", "info", "warning", "error"):
            logging.getLogger(name).log(logs.LEVELS[level], "%s %s", name, level)
    text = stream.getvalue() if tmp_path is None else (tmp_path / "l.log").read_text()
    shown = re.findall(r"> (\w+) (\w)\w+$", text, re.MULTILINE)
    return {name: "".join(level for of, level in shown if of == name) for name in ("connection", "channel", "server")}


def test_what_is_below_the_level_is_left_out(stream: io.StringIO) -> None:
    assert taken(LogOptions(), stream) == {"connection": "iwe", "channel": "iwe", "server": "iwe"}
    assert taken(LogOptions(console_level="none"), stream) == {"connection": "", "channel": "", "server": ""}


def test_a_category_has_a_level_of_its_own(stream: io.StringIO, tmp_path: Path) -> None:
    """It wins over the sink's, in all sinks, as in RabbitMQ; the sink's wins over the default category's."""
    levels = (("default", "warning"), ("connection", "none"), ("channel", "debug"))
    assert taken(LogOptions(levels=levels), stream) == {"connection": "", "channel": "diwe", "server": "we"}
    both = LogOptions(levels=levels, console_level="error", file=tmp_path / "l.log", file_level="debug")
    assert taken(both, stream) == {"connection": "", "channel": "diwe", "server": "e"}
    assert taken(both, stream, tmp_path) == {"connection": "", "channel": "diwediwe", "server": "diwediwe"}


def test_what_no_sink_takes_costs_no_record(stream: io.StringIO) -> None:
    logs.set_up(LogOptions(levels=(("default", "info"), ("connection", "error"), ("channel", "debug"))), stream)
    enabled = {name: logging.getLogger(name).getEffectiveLevel() for name in ("connection", "channel", "queue", "server")}
    assert enabled == {"connection": logging.ERROR, "channel": logging.DEBUG, "queue": logging.INFO, "server": logging.INFO}


def test_without_a_console(stream: io.StringIO) -> None:
    logs.set_up(LogOptions(console=False), stream)
    logging.getLogger("x").critical("nothing")
    assert stream.getvalue() == ""


# --- files


def messages(path: Path) -> list[str]:
    return [line.rpartition("> ")[2] for line in path.read_text().splitlines()]


def test_a_file_in_a_directory_that_is_made(stream: io.StringIO, tmp_path: Path) -> None:
    logs.set_up(LogOptions(dir=tmp_path / "a" / "b", file=Path("leveret.log"), file_json=True), stream)
    logging.getLogger("x").info("text \udcff")
    path = tmp_path / "a" / "b" / "leveret.log"
    assert json.loads(path.read_text())["msg"] == "text \udcff"
    assert path.stat().st_mode & 0o777 == 0o640 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_file_is_put_aside_by_size(stream: io.StringIO, tmp_path: Path) -> None:
    logs.set_up(LogOptions(file=tmp_path / "l.log", rotation_bytes=150, rotation_count=2), stream)
    for number in range(8):
        logging.getLogger("x").info("%d%s", number, "." * 50)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["l.log", "l.log.0", "l.log.1"]
    told = [text[0] for name in ("l.log.1", "l.log.0", "l.log") for text in messages(tmp_path / name)]
    assert told == ["2", "3", "4", "5", "6", "7"], "two a file, and those put aside first are gone"


def test_nothing_is_kept_of_a_file_that_is_put_aside(stream: io.StringIO, tmp_path: Path) -> None:
    logs.set_up(LogOptions(file=tmp_path / "l.log", rotation_bytes=1), stream)
    for number in range(3):
        logging.getLogger("x").info("%d", number)
    assert messages(tmp_path / "l.log") == ["2"] and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("options", [{"rotation_bytes": 1}, {"rotation_date": "$D0"}])
def test_a_file_that_cannot_be_put_aside_is_gone_on_with(options: Any, stream: io.StringIO, tmp_path: Path) -> None:
    path = tmp_path / "l.log"
    path.write_text("> yesterday\n")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    (tmp_path / "l.log.0").mkdir()
    logs.set_up(LogOptions(file=path, rotation_count=1, **options), stream)
    for number in range(3):
        logging.getLogger("x").info("%d", number)
    first, complaint, *lines = messages(path)
    assert first == "yesterday" and lines == ["0", "1", "2"]
    assert complaint == f"log.file: cannot put {path} aside, going on in it and trying again in 60 s: Is a directory"


def test_a_file_of_yesterday_is_put_aside_at_the_first_line(stream: io.StringIO, tmp_path: Path) -> None:
    path = tmp_path / "l.log"
    path.write_text("> yesterday\n")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    logs.set_up(LogOptions(file=path, rotation_date="$D0", rotation_count=1), stream)
    logging.getLogger("x").info("today")
    logging.getLogger("x").info("too")
    assert (messages(tmp_path / "l.log.0"), messages(path)) == (["yesterday"], ["today", "too"])


@pytest.mark.parametrize(
    ("text", "after", "due"),
    [
        ("$D0", "2026-11-27 23:06", "2026-11-28 00:00"),
        ("$D0", "2026-11-28 00:00", "2026-11-29 00:00"),
        ("$D23", "2026-11-27 22:59", "2026-11-27 23:00"),
        ("$H00", "2026-11-27 22:59", "2026-11-27 23:00"),
        ("$H30", "2026-11-27 22:30", "2026-11-27 23:30"),
        ("$W0D0", "2026-11-27 12:00", "2026-11-29 00:00"),  # a Friday, and a Sunday
        ("$W5D16", "2026-11-27 12:00", "2026-11-27 16:00"),
        ("$W5D16", "2026-11-27 16:00", "2026-12-04 16:00"),
        ("$W5", "2026-11-27 16:00", "2026-12-04 00:00"),
        ("$M1D0", "2026-12-15 00:00", "2027-01-01 00:00"),
        ("$M31D12", "2027-01-31 12:00", "2027-02-28 12:00"),
        ("$MLD0", "2028-02-01 00:00", "2028-02-29 00:00"),
    ],
)
def test_the_calendar(text: str, after: str, due: str) -> None:
    found = Schedule(text).next_after(datetime.fromisoformat(after).timestamp())
    assert datetime.fromtimestamp(found) == datetime.fromisoformat(due)


@pytest.mark.parametrize("text", ["D0", "$", "$D24", "$H60", "$W7", "$M0D0", "$M32D0", "$D0D0", "daily"])
def test_what_is_no_calendar(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"'{text}': expected $D<hour>, ")):
        Schedule(text)


def test_a_file_that_was_moved_away_is_opened_again(stream: io.StringIO, tmp_path: Path) -> None:
    path = tmp_path / "l.log"
    logs.set_up(LogOptions(file=path), stream)
    logging.getLogger("x").info("before")
    path.rename(tmp_path / "moved.log")
    logging.getLogger("x").info("meanwhile")
    logs.reopen()
    logging.getLogger("x").info("after")
    assert (messages(tmp_path / "moved.log"), messages(path)) == (["before", "meanwhile"], ["after"])


def test_a_file_that_cannot_be_opened_again_is_gone_on_with(stream: io.StringIO, tmp_path: Path) -> None:
    path = tmp_path / "d" / "l.log"
    logs.set_up(LogOptions(file=path), stream)
    path.rename(tmp_path / "moved.log")
    path.parent.rmdir()
    logs.reopen()
    logging.getLogger("x").info("after")
    error, after = messages(tmp_path / "moved.log")
    assert error == f"log.file: cannot open {path} again, going on in the old file: No such file or directory" and after == "after"


@pytest.mark.parametrize("setting", ["log.file", "log.dir"])
def test_a_file_that_cannot_be_written_stops_the_start(setting: str, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "l.log"
    log = LogOptions(file=path) if setting == "log.file" else LogOptions(dir=path.parent, file=Path("l.log"))
    monkeypatch.setattr("broker.config.load", lambda **_: Config(log=log))
    assert serve.run(build_parser("serve").parse_args(["serve"])) == EXIT_CONFIG
    assert capsys.readouterr().err == f"leveret: cannot log: {setting}: cannot make the directory {path.parent}: File exists\n"


def test_a_file_that_is_a_directory_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(logs.CannotLog, match=re.escape(f"log.file: cannot write {tmp_path}: Is a directory")):
        logs.set_up(LogOptions(file=tmp_path))
    with pytest.raises(logs.CannotLog, match=re.escape("log.file.rotation.date: 'daily': expected $D<hour>, ")):
        logs.set_up(LogOptions(file=tmp_path / "l.log", rotation_date="daily"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_costs_lines_and_nothing_else(stream: io.StringIO, tmp_path: Path) -> None:
    path = tmp_path / "l.log"
    path.symlink_to("/dev/full")
    logs.set_up(LogOptions(file=path), stream)
    for number in range(3):
        logging.getLogger("x").info("lost %d", number)
    path.unlink()
    logging.getLogger("x").info("written")
    assert messages(path) == ["written", f"3 lines of the log could not be written to {path}"]
    assert "lost 2" in stream.getvalue(), "the console goes on"

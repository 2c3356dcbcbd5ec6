"""The log's lines have RabbitMQ's format."""

import io
import logging
import re
from collections.abc import Iterator

import pytest

from broker import logs

HEAD = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A log of its own at level info; the tester's is put back afterwards."""
    root = logging.getLogger()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    stream = io.StringIO()
    logs.set_up("info", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raises
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = True


def test_a_line(stream: io.StringIO) -> None:
    logging.getLogger("broker.runtime.listeners").info("started TCP listener on %s", "[::]:5672")
    assert re.fullmatch(HEAD + r" \[info\] <listeners> started TCP listener on \[::\]:5672\n", stream.getvalue())


def test_a_tag_stands_where_rabbitmq_has_the_process(stream: io.StringIO) -> None:
    logging.getLogger("x").warning("closing AMQP connection", extra={"tag": "<0.17.0>"})
    assert re.fullmatch(HEAD + r" \[warning\] <0\.17\.0> closing AMQP connection\n", stream.getvalue())


def test_a_line_break_in_a_text_cannot_forge_a_line(stream: io.StringIO) -> None:
    logging.getLogger("x").error("login refused: user '%s'", "a'\n2026-01-01 00:00:00.000000+00:00 [info] <x> all is well")
    first, second, _ = stream.getvalue().split("\n")
    assert re.fullmatch(HEAD + r" \[error\] <x> login refused: user 'a'", first)
    assert re.fullmatch(HEAD + r" \[error\] <x> 2026-01-01 00:00:00.000000\+00:00 \[info\] <x> all is well'", second)


def test_a_traceback_is_part_of_the_text(stream: io.StringIO) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("x").critical("stopping", exc_info=True)
    lines = stream.getvalue().splitlines()
    assert all(re.match(HEAD + r" \[critical\] <x> ", line) for line in lines)
    assert lines[-1].endswith("ValueError: broken")


def test_what_is_below_the_level_is_left_out(stream: io.StringIO) -> None:
    logging.getLogger("x").debug("nothing")
    assert stream.getvalue() == ""
    logs.set_up("none", stream)
    logging.getLogger("x").critical("nothing")
    assert stream.getvalue() == ""

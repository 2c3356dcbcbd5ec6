"""What peers send can't forge a log line, nor speak to an operator's terminal, nor fill the log by itself."""

import re
from collections.abc import Iterator

import pytest
from pamqp.commands import Basic, Connection, Exchange, Queue

from tests.oracle.leveret import Leveret
from tests.runtime.process import assert_nothing_broke, log_lines, name_of, soon
from tests.wire import Wire, longstr, octets, shortstr, table

BANNER = re.compile(r"  Starting broker\.\.\. completed with \d+ plugins\.")
HEAD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d \[\w+\] <[\w.]+> ")
EVIL = "evil\x1b[2J\x1b]0;\x07\x08\x9b31m\x00\x7f\r2026-01-01 00:00:00.000000+00:00 [critical] <server> all is lost\n2026 \u2028x\x85y\x0bz"
"""Escape sequences, a bell, a carriage return, line breaks of every kind, and what looks like a line."""


@pytest.fixture(scope="module")
def broker() -> Iterator[Leveret]:
    with Leveret() as leveret:
        yield leveret
        assert leveret.stop() == 0
        assert_nothing_broke(leveret)


def assert_clean(broker: Leveret) -> None:
    text = broker.log
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)
    for line in text.split("\n")[:-1]:
        assert HEAD.match(line) or BANNER.fullmatch(line), line
    assert not log_lines(broker, r"^2026-01-01 00:00:00.000000\+00:00 \[critical\]")


def test_a_user_name(broker: Leveret) -> None:
    for mechanism, response in (
        ("PLAIN", b"\0" + octets(EVIL.replace("\0", "")) + b"\0x"),
        ("AMQPLAIN", table({"LOGIN": EVIL, "PASSWORD": "x"})[4:]),
    ):
        with Wire(broker) as wire:
            peer = name_of(wire)
            wire.greet()
            wire.start_ok(mechanism=mechanism, response=response)
            wire.expect(Connection.Close)
            soon(lambda peer=peer: log_lines(broker, rf"[(<]{peer} -> .*evil\\x1b\[2J"))
    assert_clean(broker)


def test_what_a_client_says_of_itself(broker: Leveret) -> None:
    """connection_name, product and the like, mechanism, locale, vhost."""
    properties = table(dict.fromkeys(("connection_name", "product", "version", "platform", "information"), EVIL))
    start_ok = b"\x00\x0a\x00\x0b" + properties + b"%b" + longstr("\0guest\0guest") + shortstr(EVIL)
    with Wire(broker) as wire:
        peer = name_of(wire)
        wire.greet()
        wire.send_frame(1, 0, start_ok.replace(b"%b", shortstr("PLAIN")))
        wire.expect(Connection.Tune)
        wire.tune_ok()
        wire.send_method(0, Connection.Open, virtual_host=EVIL)
        wire.expect(Connection.Close, 0, reply_code=530)
        soon(lambda: log_lines(broker, rf"[(<]{peer} -> .*vhost evil\\x1b"))
    with Wire(broker) as wire:
        peer = name_of(wire)
        wire.greet()
        wire.send_frame(1, 0, start_ok.replace(b"%b", shortstr(EVIL)))
        soon(lambda: log_lines(broker, rf"[(<]{peer} -> .*unknown authentication mechanism 'evil\\x1b"))
    assert_clean(broker)


def test_names_of_queues_and_exchanges(broker: Leveret) -> None:
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        for method, fields in (
            (Queue.Declare, {"queue": EVIL, "passive": True}),
            (Exchange.Declare, {"exchange": EVIL, "exchange_type": EVIL}),
            (Basic.Consume, {"queue": EVIL}),
            (Queue.Bind, {"queue": EVIL, "exchange": EVIL, "routing_key": EVIL}),
        ):
            channel.send(method, **fields)
            channel.expect_close(404 if method is not Exchange.Declare else 406)
            channel.reopen()
        channel.publish(EVIL, EVIL, b"x")
        channel.expect_close(404)
    assert log_lines(broker, r"no queue 'evil\\x1b")
    assert_clean(broker)


def test_the_first_bytes(broker: Leveret) -> None:
    for said in (b"\x1b[2J\n\r\x07xx", b"GET \x1b[2J\n\n", b"AMQP\x1b[2J"):
        with Wire(broker) as wire:
            wire.send_raw(said)
            wire.read_to_eof()
    assert_clean(broker)


@pytest.mark.parametrize("size", [255, 8000])
def test_a_long_user_name_is_cut(broker: Leveret, size: int) -> None:
    with Wire(broker) as wire:
        peer = name_of(wire)
        wire.greet()
        wire.start_ok("\x1b" * size, "x")
        wire.expect(Connection.Close)
        (line,) = soon(lambda: log_lines(broker, rf"[(<]{peer} -> .*refused"))
    assert len(line) < 2200
    assert_clean(broker)


def test_one_refused_login_is_two_lines(broker: Leveret) -> None:
    before = broker.log.count("\n")
    for _ in range(20):
        with Wire(broker) as wire:
            wire.greet()
            wire.start_ok("guest", "wrong")
            wire.expect(Connection.Close)
    with Wire.connect(broker):
        soon(lambda: broker.log.count("\n") >= before + 42)
        assert broker.log.count("\n") <= before + 43

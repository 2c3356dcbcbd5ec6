"""Whose user or vhost an operator deletes is told, and heard to its end: whatever the alarms, and whenever it comes."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pamqp.commands import Connection

from tests.runtime.operated import CLOSE_OK_SECONDS, Operated
from tests.runtime.process import assert_nothing_broke, sockets, soon
from tests.wire import Wire

EARLY_SECONDS = 0.1
"""Our clock starts a little later than the broker's."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Operated]:
    with Operated(tmp_path) as operated:
        yield operated
        operated.kill()
    assert_nothing_broke(operated)


def in_alarm(broker: Operated) -> None:
    broker.fault("free 1000")
    broker.wait_for_log("disk resource limit alarm set")


@pytest.mark.parametrize(("order", "text"), [("delete_user guest", "user 'guest' is deleted"), ("delete_vhost /", "vhost '/' is deleted")])
def test_a_publisher_that_an_alarm_blocks(broker: Operated, order: str, text: str) -> None:
    """Its close-ok comes behind publishes that nobody takes any more."""
    idle = sockets(broker)
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        in_alarm(broker)
        channel.publish("", "q", b"waits")
        wire.expect(Connection.Blocked, 0)
        channel.publish("", "q", b"waits too")
        begin = time.monotonic()
        broker.order(order)
        wire.expect(Connection.Close, 0, reply_code=320, reply_text=f"CONNECTION_FORCED - {text}")
        channel.publish("", "q", b"too late")
        wire.send_method(0, Connection.CloseOk)
        wire.expect_eof()
        assert time.monotonic() - begin < CLOSE_OK_SECONDS - EARLY_SECONDS, "it was heard, and not given up"
    soon(lambda: sockets(broker) == idle)


def test_an_alarm_that_comes_while_a_connection_closes(broker: Operated) -> None:
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        broker.order("delete_user guest")
        wire.expect(Connection.Close, 0, reply_code=320)
        begin = time.monotonic()
        in_alarm(broker)
        channel.publish("", "q", b"too late")
        wire.send_method(0, Connection.CloseOk)
        wire.expect_eof()
        assert time.monotonic() - begin < CLOSE_OK_SECONDS - EARLY_SECONDS


def test_a_peer_that_is_ended_in_the_turn_in_which_it_opens_and_never_answers(broker: Operated) -> None:
    """The time for the handshake is over then, and that for its close-ok begins."""
    idle = sockets(broker)
    broker.order("delete_opener guest")
    with Wire(broker) as wire:
        wire.greet()
        wire.start_ok()
        wire.expect(Connection.Tune)
        wire.tune_ok()
        wire.open_vhost()
        wire.expect(Connection.Close, 0, reply_code=320, reply_text="CONNECTION_FORCED - user 'guest' is deleted")
        begin = time.monotonic()
        assert wire.read_to_eof() == b""
        assert CLOSE_OK_SECONDS - EARLY_SECONDS < time.monotonic() - begin < CLOSE_OK_SECONDS + 2
    soon(lambda: sockets(broker) == idle)

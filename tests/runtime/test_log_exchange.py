"""Log lines as messages: from anywhere, without a loop. And no line, in any sink, has a secret in it."""

import asyncio
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pamqp.commands import Connection

from broker import logs
from broker.config import LogOptions
from broker.core.vhost import VHost
from broker.logs.exchange import LogExchange
from tests.conformance.watched import WatchedLeveret
from tests.core.playbook import Got, Playbook, PlayedChannel
from tests.wire import FRAME_END, METHOD, Wire, encode_method, table

SECRET = "s3kr1t-w0rd"


@pytest.fixture
def book() -> Iterator[Playbook]:
    """A broker whose log is an exchange and nothing else."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.set_up(LogOptions(console=False))
    book = Playbook()
    woken: list[int] = []
    logs.add(LogExchange(book.broker, book.broker.vhosts["/"], lambda: woken.append(1)), LogOptions(), None)
    book.woken = woken  # type: ignore[attr-defined]
    yield book
    logging.raiseExceptions = True
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("connection", "channel", "queue", "upgrade"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = True


def bound(book: Playbook, *keys: str) -> PlayedChannel:
    channel = book.connect().channel()
    channel.declare("lines")
    for key in keys:
        channel.bind("lines", "amq.rabbitmq.log", key)
    book.settle()
    channel.take()
    return channel


def bodies(channel: PlayedChannel) -> list[str]:
    channel.book.settle()
    found = []
    while True:
        channel.get("lines", no_ack=True)
        (reply,) = channel.take()
        if not isinstance(reply, Got):
            return found
        found.append(reply.body.decode().rpartition("> ")[2].rstrip("\n"))


def test_without_a_queue_nothing_is_done(book: Playbook) -> None:
    logging.getLogger("x").error("text")
    assert not book.broker.announcements.waiting
    assert book.woken == []  # type: ignore[attr-defined]


def test_the_key_is_the_level(book: Playbook) -> None:
    channel = bound(book, "warning", "notice")
    for level in ("debug", "info", "notice", "warning", "error"):
        logging.getLogger("x").log(logs.LEVELS[level], level)
    assert book.woken, "a turn follows"  # type: ignore[attr-defined]
    assert bodies(channel) == ["notice", "warning"]


def test_a_line_out_of_the_middle_of_things(book: Playbook) -> None:
    """A channel error is logged while the channel is being closed."""
    channel, other = bound(book, "error"), book.connect().channel()
    other.get("there-is-none")
    assert bodies(channel) == ["operation basic.get caused a channel exception not_found: no queue 'there-is-none' in vhost '/'"]


def test_a_line_that_publishing_causes_is_not_published(book: Playbook, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = bound(book, "#")
    deliver = VHost.deliver

    def telling(*arguments: object) -> None:
        logging.getLogger("x").error("published")
        deliver(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(VHost, "deliver", telling)
    logging.getLogger("x").info("first")
    assert bodies(channel) == ["first"]
    assert not book.broker.announcements.waiting


def test_a_line_that_comes_too_late(book: Playbook, capsys: pytest.CaptureFixture[str]) -> None:
    """On a thread of its own, after the event loop has gone: it is nobody's end, and nobody's noise."""
    bound(book, "#")
    loop = asyncio.new_event_loop()
    loop.close()
    late = LogExchange(book.broker, book.broker.vhosts["/"], lambda: loop.call_soon_threadsafe(book.turn))
    logs.add(late, LogOptions(), None)
    thread = ThreadPoolExecutor(1)
    thread.submit(logging.getLogger("x").error, "first").result()
    logs.remove(late)
    waiting = len(book.broker.announcements.waiting)
    thread.submit(logging.getLogger("x").error, "second").result()
    assert len(book.broker.announcements.waiting) == waiting + 1, "the other sink's"
    assert capsys.readouterr() == ("", "")


def test_the_exchange_of_a_broker_that_had_one(book: Playbook) -> None:
    """It is durable, and so are its bindings."""
    channel = book.connect().channel()
    channel.declare("lines", durable=True)
    channel.bind("lines", "amq.rabbitmq.log", "info")
    book.settle()
    book.restart()
    vhost = book.broker.vhosts["/"]
    assert vhost.system_exchange("amq.rabbitmq.log").binding_count == 1


def test_no_sink_has_a_secret(tmp_path: Path) -> None:
    """Logins of every kind, good and bad, with all levels on: neither password nor response is in the log or its exchange."""
    responses = {
        "PLAIN": [
            f"\0guest\0{SECRET}", f"\0{SECRET}", SECRET, f"guest\0guest\0{SECRET}", f"\0guest\0{SECRET}\0{SECRET}", f"\0nobody\0{SECRET}",
        ],
        "AMQPLAIN": [
            table({"LOGIN": "guest", "PASSWORD": SECRET})[4:], table({"LOGIN": "guest", "PASSWORD": SECRET})[4:-1],
            table({"PASSWORD": SECRET})[4:], table({"LOGIN": 1, "PASSWORD": SECRET})[4:], SECRET,
        ],
        "EXTERNAL": [SECRET],
        "ANONYMOUS": [SECRET],
        "CRAM": [SECRET],
    }  # fmt: skip
    with WatchedLeveret(tmp_path, arguments=("--log-level", "debug")) as broker:
        with Wire.connect(broker) as listener:
            channel = listener.open_channel()
            lines, events = channel.bound_queue("amq.rabbitmq.log", "#"), channel.bound_queue("amq.rabbitmq.event", "#")
            count = 0
            for mechanism, given in responses.items():
                for response in given:
                    raw = response if isinstance(response, bytes) else response.encode()
                    with Wire(broker) as wire:
                        wire.greet()
                        wire.start_ok(mechanism=mechanism, response=raw)
                        with_login = re.compile(r"refused|invalid|unsupported|mechanism|missing|login")
                        count += 1
                        broker.wait_for_log(rf"{re.escape('{}:{}'.format(*wire._socket.getsockname()))} -> .*state: starting|closing")
            start_ok = encode_method(Connection.StartOk, mechanism="PLAIN", response=f"\0guest\0{SECRET}".encode(), locale="en_US")
            for payload, end in ((start_ok, 0), (start_ok[:-3], FRAME_END), (start_ok + b"more", FRAME_END), (start_ok[:3], 7)):
                with Wire(broker) as wire:
                    wire.greet()
                    wire.send_frame(METHOD, 0, payload, end=end)
                    broker.wait_for_log(rf"{re.escape('{}:{}'.format(*wire._socket.getsockname()))} -> .*\):$")
            assert count == 14 and with_login.search(broker.log)
            with Wire.connect(broker) as wire:
                wire.send_method(0, Connection.UpdateSecret, new_secret=SECRET.encode(), reason="a reason")
                wire.expect(Connection.UpdateSecretOk)
                renewal = encode_method(Connection.UpdateSecret, new_secret=SECRET.encode(), reason="a reason")
                wire.send_frame(METHOD, 0, renewal[:-4])
                wire.expect(Connection.Close, reply_code=501)
            with Wire.connect(broker) as wire:
                wire.send_frame(METHOD, 0, renewal, end=0)
                wire.expect(Connection.Close, reply_code=501)
            published = channel.bodies(lines)
            heard = []
            while (message := channel.get(events)) is not None:
                heard.append(message.raw_properties)
        assert broker.stop() == 0
    everything = broker.log + repr(published) + repr(heard)
    octets = ",".join(map(str, SECRET.encode()))
    assert octets not in everything, "as Erlang prints a binary"
    assert len(published) > count and heard
    assert SECRET not in everything
    assert not [each for each in ("guest\\x00", "sha256", "password_hash") if each in everything]

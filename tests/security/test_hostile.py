"""Hostile inputs, each against a broker with all the others: what comes back is what docs/security.md says, from either broker."""

import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from pamqp.commands import Channel, Connection

from tests.oracle.leveret import Leveret
from tests.runtime.process import assert_nothing_broke
from tests.security.hostile import ANSWERS, BEGIN, CLOSED, END, HANDSHAKES, NOT_ASKED, OURS, PAGE, ROWS, Row, render
from tests.spec import Broker
from tests.wire import METHOD, PROTOCOL_HEADER, ConnectionEnded, Wire

IDS = [f"{row.state}: {row.name}" for row in ROWS]


@pytest.fixture(scope="module")
def answers(broker: Broker) -> Iterator[dict[str, str]]:
    """What came back for each, by its id. All are sent before any answer is read: many of them take three seconds."""
    with ExitStack() as stack:
        wires = {}
        for name, row in zip(IDS, ROWS, strict=True):
            if broker.name != "rabbitmq" or row.rabbitmq != NOT_ASKED:
                wires[name] = stack.enter_context(Wire(broker, timeout=20))
                begin(wires[name], row)
        yield {name: answer(wire) for name, wire in wires.items()}


def begin(wire: Wire, row: Row) -> None:
    wire.send_raw(HANDSHAKES[row.state])
    for _ in range(ANSWERS[row.state]):
        wire.next_frame()
    try:
        wire.send_raw(row.said)
    except OSError:
        return  # closed in the middle of it


def answer(wire: Wire) -> str:
    """In the words of the table."""
    try:
        frame = wire.next_frame()
    except ConnectionEnded:
        return CLOSED
    except AssertionError:
        header = bytes(wire._buffer)
        if header != PROTOCOL_HEADER:
            return f"nothing more than {header!r}"
        return OURS if wire.read_to_eof() == PROTOCOL_HEADER else "more"
    assert frame.type == METHOD, frame
    method = frame.method
    kind, _, name = method.name.partition(".")
    text = f"{kind.lower()}.{re.sub(r'(?<!^)(?=[A-Z])', '-', name).lower()}"
    if isinstance(method, Channel.Close | Connection.Close):
        assert len(method.reply_text.encode()) <= 255
        return f"{text} {method.reply_code}"
    return text


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_a_hostile_input(broker: Broker, answers: dict[str, str], row: Row) -> None:
    if broker.name == "rabbitmq" and row.rabbitmq == NOT_ASKED:
        pytest.skip("RabbitMQ would be busy with it for longer than the test is")
    expected = row.rabbitmq or row.leveret if broker.name == "rabbitmq" else row.leveret
    assert answers[f"{row.state}: {row.name}"] == expected


def test_others_are_served_and_nothing_broke(broker: Broker, answers: dict[str, str]) -> None:
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        queue = channel.queue()
        channel.publish("", queue, b"x")
        assert channel.take(queue).body == b"x"
        wire.close()
    if isinstance(broker, Leveret):
        assert_nothing_broke(broker)
    assert len(answers) >= len(ROWS) - 1 >= 40


def test_the_page_shows_these_rows() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page[page.index(BEGIN) + len(BEGIN) : page.index(END)] == render(), "run python -m tests.security.hostile"

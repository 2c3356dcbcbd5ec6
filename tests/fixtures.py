"""Connections and names that each test has for itself, on a broker that all share: for conformance and client tests."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from pamqp.commands import Channel, Exchange, Queue

from tests.spec import Broker
from tests.wire import Wire, WireChannel, eventually

Connect = Callable[..., Wire]
Unique = Callable[[str], str]
_numbers = count(1)


@pytest.fixture
def unique(broker: Broker) -> Iterator[Unique]:
    """Names that no other test uses; whatever still has them afterwards, queue or exchange, is deleted."""
    names: list[str] = []

    def name(stem: str) -> str:
        names.append(f"{stem}-{next(_numbers)}")
        return names[-1]

    yield name
    if names:
        with Wire.connect(broker) as wire:
            for used in names:
                eventually(lambda used=used: _delete(wire, used))
            wire.close()


def _delete(wire: Wire, name: str) -> bool:
    """False while a connection that is going away still holds it."""
    channel = wire.open_channel(1)
    channel.send(Queue.Delete, queue=name)
    frame = wire.next_frame(1)
    if not isinstance(frame.method, Queue.DeleteOk):
        channel.send(Channel.CloseOk)
        return False
    channel.call(Exchange.Delete, exchange=name)
    channel.close()
    return True


@pytest.fixture
def connect(broker: Broker, unique: Unique) -> Iterator[Connect]:
    """Opens connections: `connect(frame_max=4096)`; their sockets are closed when the test ends."""
    wires: list[Wire] = []

    def open_connection(**options: Any) -> Wire:
        wires.append(Wire.connect(broker, **options))
        return wires[-1]

    yield open_connection
    for wire in wires:
        wire.abort()


@pytest.fixture
def wire(connect: Connect) -> Wire:
    return connect()


@pytest.fixture
def channel(wire: Wire) -> WireChannel:
    return wire.open_channel()


@pytest.fixture
def other(connect: Connect) -> WireChannel:
    """A channel on a second connection."""
    return connect().open_channel()


@pytest.fixture
def raw(broker: Broker) -> Iterator[Wire]:
    """A connected socket on which nothing has been said."""
    with Wire(broker) as wire:
        yield wire

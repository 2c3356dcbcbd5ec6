"""Bugs that a review found in paging, compaction and recovery; each test proves one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.core import compaction, ledger, queue
from tests.core.playbook import Got, Playbook

if TYPE_CHECKING:
    from tests.core.playbook import PlayedChannel


@pytest.fixture
def book(monkeypatch: pytest.MonkeyPatch) -> Playbook:
    monkeypatch.setattr(queue, "DEEP_BYTES", 0)
    book = Playbook()
    book.paging_bytes = 0
    book.broker.memory.paging_bytes = 0
    return book


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "SEGMENT_BYTES", 1200)
    monkeypatch.setattr(ledger, "SLACK_BYTES", 0)
    monkeypatch.setattr(compaction, "STEP_BYTES", 300)


@pytest.fixture
def channel(book: Playbook) -> PlayedChannel:
    return book.connect().channel()


def bodies(count: int, size: int = 4, start: int = 0) -> list[bytes]:
    return [b"%0*d" % (size, number) for number in range(start, start + count)]


def hold_loads(book: Playbook) -> list[object]:
    """From now on loads are read, but reported by the test."""
    book.read = lambda: None  # type: ignore[method-assign]
    return book.broker.outbox.loads


def cold(book: Playbook, channel: PlayedChannel, *given: bytes, name: str = "q") -> None:
    """A durable queue, all of it on the disk."""
    channel.publish(name, *given)
    book.restart()


def test_a_load_whose_run_was_split_by_compaction_is_not_delivered_twice(book: Playbook, channel: PlayedChannel) -> None:
    for name in ("q", "r"):
        channel.declare(name, durable=True)
        channel.bind(name, "amq.fanout")
    channel.publish("", *bodies(10), exchange="amq.fanout")
    book.restart()
    core = book.queue("q")
    hold_loads(book)
    reader = book.connect().channel()
    reader.consume("q", no_ack=True)
    core.serve()
    (load,) = book.broker.outbox.loads
    messages = load.read(book.disk.log)
    # What Copies.written does when `r` has only the last five left: two copies, for (q,) and for (q, r).
    first = messages[0][0]
    place = load.runs[0].place
    core.relocate(first, 5, place)
    core.relocate(first + 5, 5, place)
    book.broker.outbox.loads.clear()
    core.loaded(load, messages)
    assert len(core.ready) == 10


def test_a_load_that_comes_when_a_limit_dropped_all_pages(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("q", durable=True, arguments={"x-max-length": 10})
    book.settle()
    cold(book, channel, *bodies(10))
    core = book.queue("q")
    hold_loads(book)
    asking, publisher = book.connect().channel(), book.connect().channel()
    core_get(asking, "q")
    core.serve()
    (load,) = book.broker.outbox.loads
    messages = load.read(book.disk.log)
    publisher.publish("q", *bodies(10, start=10))
    book.turn()  # the disk isn't ready yet
    core.loaded(load, messages)  # IndexError
    book.settle()
    assert [reply.body for reply in asking.take() if isinstance(reply, Got)] == [b"0010"]


def test_a_get_is_answered_when_a_limit_dropped_the_cold_head(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("q", durable=True, arguments={"x-max-length": 10})
    book.settle()
    cold(book, channel, *bodies(10))
    asking, publisher = book.connect().channel(), book.connect().channel()
    core_get(asking, "q")
    publisher.publish("q", *bodies(10, start=10))  # in the same turn
    book.settle()
    assert [reply.body for reply in asking.take() if isinstance(reply, Got)] == [b"0010"]


@pytest.mark.usefixtures("small")
def test_the_same_with_a_real_compaction(book: Playbook, channel: PlayedChannel) -> None:
    for name in ("q", "r", "other"):
        channel.declare(name, durable=True)
        if name != "other":
            channel.bind(name, "amq.fanout")
    channel.publish("", *bodies(10), exchange="amq.fanout")
    book.restart()
    publisher, eater = book.connect().channel(), book.connect().channel()
    for _ in range(5):
        eater.get("r", no_ack=True)
    eater.consume("other", no_ack=True)
    for number in range(60):
        publisher.publish("other", b"%0100d" % number)
        book.settle()
    core = book.queue("q")
    hold_loads(book)
    reader = book.connect().channel()
    reader.consume("q", no_ack=True)
    book.turn()
    (load,) = book.broker.outbox.loads
    book.broker.outbox.loads.clear()
    messages = load.read(book.disk.log)
    for _ in range(100):
        book.compact()
        book.settle()
    core.loaded(load, messages)
    book.settle()
    for load in book.broker.outbox.loads:
        core.loaded(load, load.read(book.disk.log))
    book.settle()
    heard = [reply.body for reply in reader.take() if hasattr(reply, "message")]
    assert heard == bodies(10), heard


def core_get(channel: PlayedChannel, name: str) -> None:
    from protocol.methods import Basic

    channel.do(Basic.Get, queue=name, no_ack=True)


@pytest.mark.parametrize("how", ["close", "error"])
def test_a_channel_that_ends_while_its_get_waits_hears_of_its_end(book: Playbook, channel: PlayedChannel, how: str) -> None:
    channel.declare("q", durable=True)
    book.settle()
    cold(book, channel, *bodies(10))
    asking = book.connect().channel()
    core_get(asking, "q")
    if how == "close":
        asking.close()
    else:
        asking.ack(99)
    book.settle()
    assert asking.names()[-1:] == ["Channel.CloseOk" if how == "close" else "Channel.Close"]


def test_pipelined_gets_have_rising_tags(book: Playbook, channel: PlayedChannel) -> None:
    from protocol.methods import Basic

    for name in ("q", "warm"):
        channel.declare(name, durable=True)
    book.settle()
    cold(book, channel, *bodies(10))
    asking = book.connect().channel()
    book.broker.memory.paging_bytes = 1 << 30
    asking.publish("warm", b"w")
    asking.do(Basic.Get, queue="q", no_ack=False)
    asking.do(Basic.Get, queue="warm", no_ack=False)
    book.settle()
    tags = [reply.tag for reply in asking.take() if isinstance(reply, Got)]
    assert tags == sorted(tags), tags


def test_dropping_the_head_of_a_long_run_gives_back_only_what_it_took(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("q", durable=True, arguments={"x-max-length": 1000})
    book.settle()
    cold(book, channel, *bodies(1000))
    publisher = book.connect().channel()
    for number in range(900):
        publisher.publish("q", b"%04d" % number)
        book.settle()
    core = book.queue("q")
    core.drop_ready()
    book.settle()
    assert book.broker.memory.used == 0, book.broker.memory.used


@pytest.mark.parametrize("how", ["consumed", "purged"])
def test_what_left_before_it_was_paged_out_is_dead_in_the_spill(book: Playbook, channel: PlayedChannel, how: str) -> None:
    channel.declare("other")
    channel.declare("t")
    channel.publish("other", b"in memory")
    book.settle()
    channel.take()
    channel.publish("t", b"first")
    channel.publish("t", *bodies(10))
    assert book.queue("t").ready.paged is not None
    book.ship()
    if how == "consumed":
        channel.consume("t", no_ack=True)
        book.turn()
    else:
        book.queue("t").purge()
    book.settle()
    assert len(book.queue("t").ready) == 0
    assert sum(each.live for each in book.broker.outbox.spill.ledger._segments) == 0


@pytest.mark.usefixtures("small")
def test_requeues_do_not_count_as_live_bytes(book: Playbook, channel: PlayedChannel) -> None:
    """A poison message comes back for ever; now and then another message comes in and stays."""
    book.broker.memory.paging_bytes = 1 << 30
    channel.declare("q", durable=True)
    channel.declare("stay", durable=True)
    book.settle()
    channel.take()
    channel.publish("q", b"poison")
    channel.qos(1)
    channel.consume("q")
    tag = 0
    sizes = []
    for round_ in range(40):
        channel.publish("stay", b"%04d" % round_)
        for _ in range(15):
            book.settle()
            tag += 1
            channel.nack(tag)
        book.settle()
        while book.compact():
            book.settle()
        start, end = book.disk.segments()[0][0], book.disk.segments()[-1][1]
        sizes.append(end - start)
    print(sizes[::4])
    assert sizes[-1] < 3 * 41 * 200 + 3 * 1200, sizes[::8]


def test_damaged_messages_do_not_count_against_a_limit_of_bytes(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("q", durable=True, arguments={"x-max-length-bytes": 1000})
    book.settle()
    cold(book, channel, *bodies(9, size=100))
    core = book.queue("q")
    hold_loads(book)
    reader = book.connect().channel()
    reader.consume("q", no_ack=True)
    book.turns()
    (load,) = book.broker.outbox.loads
    book.broker.outbox.loads.clear()
    core.loaded(load, [])  # all of it was damaged
    reader.cancel()
    book.settle()
    assert len(core.ready) == 0
    assert core.ready.body_bytes == 0

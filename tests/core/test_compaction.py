"""Space comes back though something old lives: what is alive in the oldest segment is copied forward (broker/core/compaction.py)."""

from __future__ import annotations

import logging
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, cast

import pytest

from broker.core import compaction, ledger
from broker.core.broker import Broker
from broker.core.compaction import Compaction
from broker.core.direct import Direct
from broker.core.recovery import Replay, restore_catalog
from broker.core.session import Peer
from broker.runtime.reader import Reader
from protocol.methods import Basic, Queue, Tx, make
from storage.api import Closed, Commit
from storage.records import COPY, Enqueue, decode_enqueue, encode_delivered, encode_enqueue
from tests.core.deep import assert_nothing_left_when_settled, bodies, deliveries, drain, serve, text_of
from tests.core.playbook import Got, Playbook, PlayedChannel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOISE = 30
SEGMENT_BYTES = 400


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new segment for every few messages, and no dead byte is left alone."""
    monkeypatch.setattr(ledger, "SEGMENT_BYTES", SEGMENT_BYTES)
    monkeypatch.setattr(ledger, "SLACK_BYTES", 0)
    monkeypatch.setattr(compaction, "STEP_BYTES", 1)


@pytest.fixture(autouse=True)
def _nothing_is_missed(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A pass that finds other messages than were counted says so."""
    yield
    assert [record.getMessage() for record in caplog.get_records("call") if record.name == "compaction"] == []


def noise(book: Playbook, channel: PlayedChannel, count: int = NOISE) -> None:
    """Messages that come and go."""
    channel.declare("noise", durable=True)
    for _ in range(count):
        channel.publish("noise", b"x" * 60)
        book.settle()
        channel.get("noise", no_ack=True)
    book.settle()
    channel.take()


def old(book: Playbook, channel: PlayedChannel, text: str = "123") -> Any:
    """`q` holds some old messages, each with a commit of its own, and much has come and gone since."""
    channel.declare("q", durable=True)
    for body in bodies(text):
        channel.publish("q", body)
        book.settle()
    noise(book, channel)
    return book.queue("q")


def fan_out(book: Playbook, channel: PlayedChannel, text: str = "12345", names: str = "qr", *, each: bool = False) -> None:
    """The same for one run of messages (or a commit for each) that each of these queues has."""
    for name in names:
        channel.declare(name, durable=True)
        channel.bind(name, "amq.fanout")
    for run in bodies(text) if each else [text.encode()]:
        channel.publish("", *bodies(run.decode()), exchange="amq.fanout")
        book.settle()
    noise(book, channel)


def compact(book: Playbook) -> int:
    """Passes until nothing is worth one (with no slack a few messages may always be), at the most three; returns how many there were."""
    passes = 0
    book.settle()
    while passes < 3 and book.compact():
        passes += book.broker.outbox.compaction is None
        book.settle()
    return passes


def begun(book: Playbook) -> Compaction:
    """A pass that has looked at the queues."""
    book.settle()
    found = book.broker.outbox.compaction = Compaction.begin(book.broker)
    assert found is not None
    found.look()
    return found


def read(book: Playbook, some: Compaction) -> tuple[int, list[Enqueue]]:
    """What the next step looks at."""
    assert some.next_span is not None
    return some.read(book.disk.log, some.next_span)


def copies(book: Playbook) -> list[Enqueue]:
    """The copies in the log."""
    records = [record for commit in book.disk.scan() for record in commit.records if record[0] == 1]
    return [each for each in map(decode_enqueue, records) if each.flags & COPY]


def log_bytes(book: Playbook) -> int:
    segments = book.disk.segments()
    return segments[-1][1] - segments[0][0]


def test_space_returns_while_one_old_message_lives(book: Playbook, channel: PlayedChannel) -> None:
    old(book, channel, "1")
    assert len(book.disk.segments()) > 5, "it holds everything behind it"
    assert compact(book) >= 1
    assert len(book.disk.segments()) <= 3
    assert book.ready("q") == [b"1"]
    book.restart()
    assert drain(book) == [("1", False)]
    assert_nothing_left_when_settled(book)


def test_what_a_channel_without_a_socket_holds_is_alive(book: Playbook, channel: PlayedChannel) -> None:
    """As a get over HTTP has it, while it waits for more."""
    old(book, channel)
    heard: list[Any] = []
    identity = channel.peer.session.identity
    direct = Direct(book.broker, book.broker.vhosts["/"], identity, Peer("management", True), heard.append)
    direct.send(make(Basic.Get, queue="q", no_ack=False))
    assert heard[-1].message[3] == b"1"
    assert compact(book)
    direct.close()
    assert [body for body, _ in drain(book)] == ["1", "2", "3"]
    assert not book.broker.directs


def test_again_and_again(book: Playbook, channel: PlayedChannel) -> None:
    """A pass over what was itself copied before, and over restarts."""
    old(book, channel)
    for _ in range(4):
        assert compact(book) >= 1
        assert log_bytes(book) < 5 * SEGMENT_BYTES
        noise(book, channel)
        assert book.ready("q") == bodies("123")
    book.restart()
    channel = book.connect().channel()
    for _ in range(2):
        noise(book, channel)
        assert compact(book) >= 1
        assert log_bytes(book) < 5 * SEGMENT_BYTES
    assert drain(book) == [("1", False), ("2", False), ("3", False)]
    assert_nothing_left_when_settled(book)


def test_not_begun_while_enough_is_alive(book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not until more is dead than alive, and the slack beside."""
    channel.declare("q", durable=True)
    for _ in range(NOISE):
        channel.publish("q", b"x" * 60)
        book.settle()
    assert not book.compact()
    for _ in range(NOISE // 4):
        channel.get("q", no_ack=True)
        channel.publish("q", b"x" * 60)
        book.settle()
    found = book.broker.outbox.ledger
    dead = found.end - (found._segments[0].position or 0) - 2 * found.live_bytes
    monkeypatch.setattr(ledger, "SLACK_BYTES", max(dead, 0))
    assert not book.compact()
    noise(book, channel)
    monkeypatch.setattr(ledger, "SLACK_BYTES", 1 << 20)
    assert not book.compact()
    monkeypatch.setattr(ledger, "SLACK_BYTES", 0)
    noise(book, channel)
    assert book.compact()


def test_a_copy_is_shared_as_the_message_was(book: Playbook, channel: PlayedChannel) -> None:
    fan_out(book, channel, "123", "qrs")
    compact(book)
    found = copies(book)
    assert len({each.first_id for each in found}) == len(found)
    assert [body for each in found for body in each.bodies] == bodies("123")
    book.restart()
    for name in "qrs":
        assert text_of(drain(book, name)) == "123"
    assert_nothing_left_when_settled(book)


def test_only_for_those_who_still_have_it(book: Playbook, channel: PlayedChannel) -> None:
    fan_out(book, channel)
    for _ in range(2):
        channel.get("q", no_ack=True)
    channel.consume("r")
    book.settle()
    channel.acks(*_tags(channel, "235"))
    compact(book)
    book.restart()
    assert drain(book) == [("3", False), ("4", False), ("5", False)]
    assert drain(book, "r") == [("1", True), ("4", True)]
    assert_nothing_left_when_settled(book)


def _tags(channel: PlayedChannel, text: str) -> list[int]:
    return [
        reply.tag
        for reply in channel.take()
        if hasattr(reply, "redelivered") and not isinstance(reply, Got) and reply.body.decode() in text
    ]


STAGES = ["gathered", "read", "copied", "shipped", "written"]


class TestMeanwhile:
    """Something happens to the messages while they are being copied."""

    def at(self, book: Playbook, stage: str, act: Callable[[], None]) -> None:
        """A pass, whose first step is interrupted there."""
        some = begun(book)
        order = iter(STAGES)

        def now(this: str) -> None:
            assert next(order) == this
            if this == stage:
                act()

        now("gathered")
        looked = read(book, some) if some.next_span else None
        now("read")
        book.ship()
        if looked is not None:
            some.copy(*looked)
        now("copied")
        book.ship()
        now("shipped")
        book.sync()
        now("written")
        compact(book)

    @pytest.mark.parametrize("keep_unsynced", [True, False])
    @pytest.mark.parametrize("stage", STAGES)
    def test_acked(self, book: Playbook, channel: PlayedChannel, stage: str, keep_unsynced: bool) -> None:
        old(book, channel)
        channel.get("q")
        self.at(book, stage, lambda: channel.ack(channel.open.next_tag - 1))
        assert len(book.disk.segments()) <= 3
        channel.declare("synced", durable=True)
        book.settle()
        book.crash(keep_unsynced=keep_unsynced)
        assert drain(book) == [("2", False), ("3", False)]
        assert_nothing_left_when_settled(book)

    @pytest.mark.parametrize("stage", STAGES)
    def test_purged(self, book: Playbook, channel: PlayedChannel, stage: str) -> None:
        fan_out(book, channel)
        self.at(book, stage, lambda: channel.do(Queue.Purge, queue="q"))
        book.restart()
        assert text_of(drain(book)) == ""
        assert text_of(drain(book, "r")) == "12345"
        assert_nothing_left_when_settled(book)

    @pytest.mark.parametrize("stage", STAGES)
    def test_deleted(self, book: Playbook, channel: PlayedChannel, stage: str) -> None:
        fan_out(book, channel)
        channel.get("q")
        self.at(book, stage, lambda: channel.do(Queue.Delete, queue="q"))
        channel.ack(channel.open.next_tag - 1)
        noise(book, channel)
        compact(book)
        assert len(book.disk.segments()) <= 4
        book.restart()
        assert text_of(drain(book, "r")) == "12345"
        assert_nothing_left_when_settled(book)

    @pytest.mark.parametrize("stage", STAGES)
    def test_requeued(self, book: Playbook, channel: PlayedChannel, stage: str) -> None:
        old(book, channel)
        channel.get("q")
        channel.get("q")
        tag = channel.open.next_tag - 1
        self.at(book, stage, lambda: channel.nack(tag, multiple=True))
        book.restart()
        assert book.queue("q").delivery_counts == {1: 1, 2: 1}
        assert drain(book) == [("1", True), ("2", True), ("3", False)]

    @pytest.mark.parametrize("stage", STAGES)
    def test_delivered(self, book: Playbook, channel: PlayedChannel, stage: str) -> None:
        old(book, channel)
        self.at(book, stage, lambda: channel.get("q"))
        book.restart()
        assert drain(book) == [("1", True), ("2", False), ("3", False)]


class TestHeld:
    def test_what_is_unacked_is_copied(self, book: Playbook, channel: PlayedChannel) -> None:
        old(book, channel)
        channel.get("q")
        channel.get("q")
        assert compact(book) >= 1
        assert len(book.disk.segments()) <= 3
        book.restart()
        assert drain(book) == [("1", True), ("2", True), ("3", False)]
        assert_nothing_left_when_settled(book)

    def test_what_is_acked_in_a_transaction_is_copied(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        old(book, channel)
        other.do(Tx.Select)
        other.get("q")
        other.get("q")
        book.settle()
        other.ack(1)
        assert compact(book) >= 1
        assert len(book.disk.segments()) <= 3
        book.restart()
        assert drain(book) == [("1", True), ("2", True), ("3", False)]

    def test_and_committed_afterwards(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        old(book, channel)
        other.do(Tx.Select)
        other.get("q")
        other.get("q")
        book.settle()
        other.ack(1)
        compact(book)
        other.commit()
        book.settle()
        book.crash()
        assert drain(book) == [("2", True), ("3", False)]
        assert_nothing_left_when_settled(book)

    def test_counts_and_marks_are_stated_again(self, book: Playbook, channel: PlayedChannel) -> None:
        """The records that told them went with the old segments."""
        core = old(book, channel)
        for _ in range(2):
            channel.get("q")
            channel.get("q")
            channel.nack(channel.open.next_tag - 1, multiple=True)
        channel.get("q")
        book.settle()
        assert (core.delivery_counts, core.mark) == ({1: 2, 2: 2}, 2)
        noise(book, channel)
        assert compact(book) >= 1
        assert book.disk.segments()[0][0] > 0
        for _ in range(2):
            book.restart()
            core = book.queue("q")
            assert (core.delivery_counts, core.mark) == ({1: 2, 2: 2}, 2)
        assert drain(book) == [("1", True), ("2", True), ("3", False)]


@pytest.mark.usefixtures("deep_queues")
class TestPaged:
    def test_pages_learn_the_new_places(self, book: Playbook, channel: PlayedChannel) -> None:
        core = old(book, channel, "123456789")
        before = [run.place for run in core.ready.paged.pages.head(1 << 40)]
        compact(book)
        after = [run.place for run in core.ready.paged.pages.head(1 << 40)]
        start = book.disk.segments()[0][0]
        assert start > max(before) and min(after) > start
        assert text_of(drain(book)) == "123456789"
        assert_nothing_left_when_settled(book)

    def test_a_load_in_flight(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        """Read from the old place before that went, and taken in afterwards."""
        old(book, channel, "123456789")
        channel.get("q", no_ack=True)
        channel.take()
        some = begun(book)
        other.consume("q", no_ack=True)
        book.broker.serve()
        (load,), book.broker.outbox.loads = book.broker.outbox.loads, []
        messages = load.read(book.disk.log)
        book.ship()
        some.copy(*read(book, some))
        book.ship()
        book.sync()
        load.queue.loaded(load, messages)
        assert [reply.body for reply in deliveries(book, other)] == bodies("23456789")
        compact(book)
        assert_nothing_left_when_settled(book)

    def test_a_load_in_flight_of_a_run_that_is_cut_up(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        """Copied in parts, for others have acked some of the run: what was read is the whole of it."""
        for name in "qr":
            channel.declare(name, durable=True)
            channel.bind(name, "amq.fanout")
        channel.publish("", b"0", exchange="amq.fanout")
        channel.publish("", *bodies("12345"), exchange="amq.fanout")
        book.settle()
        core = book.queue("q")
        assert core.ready.paged.pages.runs == 1
        channel.consume("r", no_ack=False)
        tags = [reply.tag for reply in deliveries(book, channel) if reply.body == b"3"]
        channel.ack(tags[0])
        channel.cancel()
        noise(book, channel)
        channel.get("q", no_ack=True)
        channel.take()
        some = begun(book)
        other.consume("q", no_ack=True)
        book.broker.serve()
        (load,), book.broker.outbox.loads = book.broker.outbox.loads, []
        messages = load.read(book.disk.log)
        book.ship()
        while some.next_span is not None:
            some.copy(*read(book, some))
            book.ship()
            book.sync()
        assert core.ready.paged.pages.runs == 3
        load.queue.loaded(load, messages)
        assert [reply.body for reply in deliveries(book, other)] == bodies("12345")
        assert len(core.ready) == 0
        compact(book)
        assert core.memory.paging == 0

    def test_a_load_that_finds_its_place_gone_asks_again(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        old(book, channel, "123456789")
        channel.get("q", no_ack=True)
        channel.take()
        other.consume("q", no_ack=True)
        serve(book)
        loads, book.broker.outbox.loads = book.broker.outbox.loads, []
        book.settle()
        compact(book)
        (load,) = loads
        load.queue.loaded(load, None)
        assert [reply.body for reply in deliveries(book, other)] == bodies("23456789")


class TestCrash:
    """At each step of the disk: nothing lost, nothing doubled."""

    @pytest.mark.parametrize("keep_unsynced", [True, False])
    @pytest.mark.parametrize("deep", [True, False])
    def test_at_each_step(self, request: pytest.FixtureRequest, keep_unsynced: bool, deep: bool) -> None:
        if deep:
            request.getfixturevalue("deep_queues")
        steps = 0
        while self.crashes_at(steps, keep_unsynced):
            steps += 1
        assert steps >= 5

    def crashes_at(self, steps: int, keep_unsynced: bool) -> bool:
        """Returns whether so many steps were less than all."""
        book = Playbook()
        channel = book.connect().channel()
        fan_out(book, channel, each=True)
        channel.get("q")
        channel.get("q")
        book.settle()
        channel.ack(channel.open.next_tag - 1)
        channel.reject(channel.open.next_tag - 2)
        channel.declare("synced", durable=True)
        book.settle()
        begun = finished = False
        for _ in range(steps):
            while book.disk.is_idle and not finished:
                book.ship()
                if book.disk.is_idle:
                    book.compact()
                finished = begun and book.broker.outbox.compaction is None
                begun = True
            if finished:
                break
            book.step()
        for _ in range(2):
            book.crash(keep_unsynced=keep_unsynced)
            assert book.queue("q").delivery_counts == {1: 1}
            assert book.ready("q") == bodies("1345")
            assert book.ready("r") == bodies("12345")
        compact(book)
        assert drain(book) == [("1", True), ("3", False), ("4", False), ("5", False)]
        assert text_of(drain(book, "r")) == "12345"
        assert_nothing_left_when_settled(book)
        return not finished


def test_a_segment_that_dies_while_it_is_looked_at(book: Playbook, channel: PlayedChannel) -> None:
    old(book, channel)
    some = begun(book)
    channel.do(Queue.Purge, queue="q")
    book.settle()
    assert some.next_span is None, "nothing is left to copy"
    assert book.compact()
    assert book.broker.outbox.compaction is None
    assert_nothing_left_when_settled(book)


class _Loop:
    """As much of an event loop as the Reader needs."""

    def __init__(self) -> None:
        self.calls: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def time(self) -> float:
        return 0.0

    def is_closed(self) -> bool:
        return False

    def call_later(self, _seconds: float, _call: Callable[[], None]) -> None:
        pass

    def call_soon_threadsafe(self, call: Callable[..., None], *arguments: Any) -> None:
        self.calls.put(partial(call, *arguments))


def test_the_reader_goes_on_when_the_segment_that_it_reads_goes(
    book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it is acked after the pass began: the log says Closed, and the next pass must not wait for this one."""
    old(book, channel)
    loop: Any = _Loop()
    disk: Any = book.disk
    reader = Reader(book.broker, disk, book.committer, loop, lambda: None)

    def gone(*_: int) -> Iterator[Any]:
        raise Closed("the segment is closed")

    with monkeypatch.context() as patch:
        patch.setattr(book.disk, "scan", gone)
        reader.after_turn()
        assert book.broker.outbox.compaction is not None
        channel.do(Queue.Purge, queue="q")
        book.settle()
        loop.calls.get(timeout=10)()
    reader.after_turn()
    assert book.broker.outbox.compaction is None, "it came to its end"
    assert_nothing_left_when_settled(book)


def test_a_stretch_that_cannot_be_read_keeps_its_segment(
    book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Damage: what can't be copied isn't given up, and is not tried again and again."""
    old(book, channel)
    with monkeypatch.context() as patch:
        patch.setattr(book.disk, "scan", lambda *_: iter(()))
        compact(book)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        "3 live messages in the oldest segment of the log can't be read; it stays"
    ]
    assert not book.compact()
    assert book.disk.segments()[0][0] == 0
    assert text_of(drain(book)) == "123"
    caplog.clear()


def test_a_copied_run_that_a_restart_finds_in_two_ranges(book: Playbook, channel: PlayedChannel) -> None:
    """What was published in one range may be in two when the segments that told of it are gone: each must know where its part lies."""
    channel.declare("q", durable=True)
    book.settle()
    queue_id = book.queue("q").id
    copy = encode_enqueue(19, queue_id, 0, b"\0\1q", bytes(14), [b"1", b"2", b"3"], COPY)
    commits = [
        Commit(0, 100, 0, [(64, encode_delivered(queue_id, 20))]),
        Commit(100, 300, 100, [(164, copy)]),
    ]
    broker = Broker(cast("Any", None), {}, lambda: 0, bytes)
    restore_catalog(broker, book.disk.entries())
    Replay(broker).apply(commits)
    found = broker.outbox.ledger
    for message_id in (19, 20, 21):
        assert list(found.range_of(message_id).spans([message_id])) == [(100, 300)], message_id

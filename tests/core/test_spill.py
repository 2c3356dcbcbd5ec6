"""Space of the spill comes back while something old is alive there: what is alive in its oldest segment is written again."""

from __future__ import annotations

import logging
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from broker.core import ledger, spill
from broker.core.message import HEADER
from broker.core.spill import SpillCompaction
from protocol.content import Properties, decode_properties, encode_properties
from protocol.methods import Basic, Queue
from storage.api import Closed, Corrupt, Failed
from tests.core.deep import ask, assert_nothing_left, bodies, drain, filled, put, serve, text_of, where
from tests.core.playbook import Delivered, Got, Playbook, PlayedChannel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.core.message import Message
    from broker.core.paging import Load
    from broker.core.spill import SpillStep

pytestmark = pytest.mark.usefixtures("deep_queues", "small_segments")


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record a step, and compaction whenever more is dead than alive."""
    monkeypatch.setattr(ledger, "SLACK_BYTES", 0)
    monkeypatch.setattr(spill, "STEP_BYTES", 1)
    monkeypatch.setattr(spill, "SLICE_IDS", 4)


def flow(book: Playbook, channel: PlayedChannel, messages: int = 40) -> None:
    """Messages go through another queue, by way of the spill."""
    channel.declare("flow")
    for number in range(messages):
        channel.publish("flow", b"%060d" % number)
        book.settle()
    channel.take()
    assert len(drain(book, "flow")) == messages


def old(book: Playbook, channel: PlayedChannel, text: str = "12345", *names: str) -> None:
    """Queues of which each has these messages, all but the first in the oldest segment of the spill; and much that is dead behind them."""
    for name in names or ("q",):
        channel.declare(name)
        channel.bind(name, "amq.fanout")
    for body in bodies(text):
        channel.publish("", body, exchange="amq.fanout")
        book.settle()
    flow(book, channel)


def segments(book: Playbook) -> list[tuple[int, int]]:
    found: Any = book.disk.spill()
    return list(found.segments())


def size(book: Playbook) -> int:
    return segments(book)[-1][1] - segments(book)[0][0]


def compact(book: Playbook) -> int:
    """Passes until none is worth it; returns how many there were."""
    passes = 0
    book.settle()
    while book.compact_spill():
        passes += book.broker.outbox.spill.compaction is None
        assert passes < 50, "passes follow each other for ever"
        book.settle()
    return passes


def begun(book: Playbook) -> tuple[SpillCompaction, SpillStep]:
    """A pass, and its first step."""
    book.settle()
    assert book.compact_spill()
    compaction = book.broker.outbox.spill.compaction
    assert compaction is not None
    step = compaction.next_step()
    assert step is not None
    return compaction, step


def go_on(book: Playbook, compaction: SpillCompaction, step: SpillStep) -> None:
    """The step is read and copied, but the disk has not got it yet."""
    spilled: Any = book.disk.spill()
    compaction.copy(step, step.read(spilled))
    book.ship()


def test_space_returns_while_one_old_message_lives(book: Playbook, channel: PlayedChannel) -> None:
    old(book, channel, "12")
    for _ in range(10):
        flow(book, channel)
        compact(book)
        assert size(book) < 2000
    assert text_of(drain(book)) == "12"
    assert compact(book) == 0
    assert len(segments(book)) == 1
    assert_nothing_left(book)


def test_it_rests_while_enough_is_alive(book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    old(book, channel, "12")
    monkeypatch.setattr(ledger, "SLACK_BYTES", size(book))
    assert compact(book) == 0
    monkeypatch.setattr(ledger, "SLACK_BYTES", 0)
    assert compact(book) > 0
    assert compact(book) == 0, "and again when it is done"
    assert text_of(drain(book)) == "12"


@pytest.mark.parametrize("step_bytes", [1, 100, 100_000])
@pytest.mark.parametrize("slice_ids", [1, 3, 1000])
def test_all_that_lives_is_there_in_order(
    book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch, step_bytes: int, slice_ids: int
) -> None:
    """Runs of which a part was read, fan-outs of which one queue has read more than the other, and messages one by one."""
    monkeypatch.setattr(spill, "STEP_BYTES", step_bytes)
    monkeypatch.setattr(spill, "SLICE_IDS", slice_ids)
    for name in ("q", "r", "s"):
        channel.declare(name)
        channel.bind(name, "amq.fanout")
    channel.publish("", b"0", exchange="amq.fanout")
    book.settle()
    channel.publish("", *bodies("12345678"), exchange="amq.fanout")
    channel.publish("s", *bodies("abc"))
    channel.publish("r", b"d")
    channel.publish("", *bodies("ef"), exchange="amq.fanout")
    book.settle()
    taker = book.connect().channel()
    taker.do(Queue.Purge, queue="r")
    for name, count in (("q", 4), ("s", 2)):
        for _ in range(count):
            taker.get(name, no_ack=True)
            book.settle()
    put(book, channel, "r", "gh")
    flow(book, channel)
    before = segments(book)
    assert compact(book) > 0
    assert segments(book)[0][0] >= before[1][0]
    assert size(book) < 2000
    assert text_of(drain(book)) == "45678ef"
    assert text_of(drain(book, "s")) == "2345678abcef"
    assert text_of(drain(book, "r")) == "gh"
    assert_nothing_left(book)


def test_copies_over_several_segments_are_copied_again(book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass has the first segment of these in its way, and takes all of them."""
    monkeypatch.setattr(ledger, "SEGMENT_BYTES", 5000)
    channel.declare("q")
    texts = [b"%060d" % number for number in range(30)]
    for body in texts:
        channel.publish("q", body)
        book.settle()
    flow(book, channel, 60)
    monkeypatch.setattr(ledger, "SEGMENT_BYTES", 500)
    for _ in range(6):
        flow(book, channel, 120)
        assert compact(book) > 0
        assert size(book) < 12_000
    assert [body.encode() for body, _ in drain(book)] == texts
    assert_nothing_left(book)


def test_unlike_messages_of_a_queue_with_priorities(book: Playbook, channel: PlayedChannel) -> None:
    """One record, parts of which lie in several levels; each message keeps its header."""
    channel.declare("q", arguments={"x-max-priority": 9})
    channel.publish("q", b"0", priority=5)
    book.settle()
    headers = [encode_properties(Properties(priority=each, message_id=f"id {each}"), 1) for each in (5, 1, 9, 5, 1)]
    channel.publish_run("q", headers, bodies("12345"))
    flow(book, channel)
    assert compact(book) > 0
    channel.take()
    channel.consume("q", no_ack=True)
    book.settle()
    found = [reply for reply in channel.take() if isinstance(reply, Delivered)]
    assert [reply.body for reply in found] == bodies("301425")
    assert [decode_properties(reply.message[HEADER]).message_id for reply in found] == ["id 9", None, "id 5", "id 5", "id 1", "id 1"]
    channel.cancel("c")
    compact(book)
    assert_nothing_left(book)


def test_a_message_of_several_queues_is_copied_once(book: Playbook, channel: PlayedChannel) -> None:
    old(book, channel, "12", "q", "r")
    before = segments(book)[-1][1]
    go_on(book, *begun(book))
    book.settle()
    places = {run.place for name in "qr" for run in book.queue(name).ready.runs_in(0, 1 << 60)}
    assert len(places) == 1 and places.pop() > before
    compact(book)
    for name in "qr":
        assert text_of(drain(book, name)) == "12"
    assert_nothing_left(book)


@pytest.mark.parametrize("most", [1, 7, 30])
def test_a_wide_fan_out_goes_by_short_slices(book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(spill, "STEP_BYTES", 100_000)
    monkeypatch.setattr(spill, "SLICE_IDS", 1000)
    monkeypatch.setattr(spill, "PARTS_MAX", most)
    names = "abcdefghij"
    old(book, channel, "12345", *names)
    flow(book, channel)
    _, step = begun(book)
    assert sum(map(len, step.parts.values())) <= max(most, len(names)), "one message at least"
    book.broker.outbox.spill.compaction = None
    assert compact(book) > 0
    for name in names:
        assert text_of(drain(book, name)) == "12345"
    assert_nothing_left(book)


class TestMeanwhile:
    """What happens to messages while they are read, and while their copies are on the way."""

    @pytest.mark.parametrize("when", ["before it is read", "before it is copied", "before it is written", "before the end"])
    @pytest.mark.parametrize("what", ["purge", "delete", "consume", "get", "delete and declare"])
    @pytest.mark.parametrize("names", [("q",), ("q", "r")], ids=["one queue", "fan-out"])
    def test_taken(self, book: Playbook, channel: PlayedChannel, when: str, what: str, names: tuple[str, ...]) -> None:
        old(book, channel, "12345", *names)
        compaction, step = begun(book)
        taker = book.connect().channel()

        def take() -> None:
            if what == "consume":
                assert text_of(drain(book)) == "12345"
            elif what == "get":
                for _ in range(3):
                    taker.get("q", no_ack=True)
            elif what == "purge":
                taker.do(Queue.Purge, queue="q")
            else:
                taker.do(Queue.Delete, queue="q")
                if what == "delete and declare":
                    taker.declare("q")
                    put(book, taker, "q", "abc")
            if when != "before it is written":
                book.settle()

        if when == "before it is read":
            take()
        spilled: Any = book.disk.spill()
        try:
            found = step.read(spilled)
        except Closed:
            assert when == "before it is read" and len(names) == 1, "nothing of it was alive any more"
            found = None
        if when == "before it is copied":
            take()
        if found is not None:
            compaction.copy(step, found)
        book.ship()
        if when == "before it is written":
            take()
        book.settle()
        if when == "before the end":
            take()
        compact(book)
        assert size(book) < 2500
        left = {"get": "45", "delete and declare": "abc"}.get(what, "")
        if what != "delete":
            assert text_of(drain(book)) == left
        if len(names) == 2:
            assert text_of(drain(book, "r")) == "12345"
        compact(book)
        assert_nothing_left(book)
        assert len(segments(book)) == 1

    def test_what_comes_in_meanwhile(self, book: Playbook, channel: PlayedChannel) -> None:
        old(book, channel)
        compaction, step = begun(book)
        channel.publish("q", b"6")
        go_on(book, compaction, step)
        channel.publish("q", b"7")
        book.settle()
        compact(book)
        assert text_of(drain(book)) == "1234567"
        assert_nothing_left(book)

    @pytest.mark.parametrize("read", ["before", "after"])
    def test_a_load_under_way(self, book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch, read: str) -> None:
        """Read in time it is what was asked for; too late it is asked for again."""
        core: Any = filled(book, channel, "12345", durable=False)
        ask(channel, no_ack=True)
        channel.take()
        flow(book, channel)
        with monkeypatch.context() as patch:
            patch.setattr(book, "read", lambda: None)
            ask(channel, no_ack=True)
            serve(book)
            (load,) = book.broker.outbox.loads
            book.broker.outbox.loads.clear()
            spilled: Any = book.disk.spill()
            messages = load.read(spilled) if read == "before" else None
            assert compact(book) > 0
            if read == "after":
                with pytest.raises(Closed):
                    load.read(spilled)
        core.loaded(load, messages)
        if read == "after":
            assert channel.take() == []
        book.settle()
        assert [reply.body for reply in channel.take() if isinstance(reply, Got)] == [b"2"]
        assert text_of(drain(book)) == "345"
        assert_nothing_left(book)

    def test_a_load_whose_run_is_cut(self, book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch) -> None:
        """One queue has all of a run, the other its end; a slice ends within it."""
        for name in "qr":
            channel.declare(name)
        put(book, channel, "q", "0")
        channel.publish("q", *bodies("123456789"))
        book.settle()
        core: Any = book.queue("q")
        ask(channel, no_ack=True)
        book.settle()
        channel.take()
        flow(book, channel)
        with monkeypatch.context() as patch:
            patch.setattr(book, "read", lambda: None)
            ask(channel, no_ack=True)
            serve(book)
            (load,) = book.broker.outbox.loads
            book.broker.outbox.loads.clear()
            spilled: Any = book.disk.spill()
            messages = load.read(spilled)
            assert compact(book) > 0
        core.loaded(load, messages)
        book.settle()
        assert [reply.body for reply in channel.take() if isinstance(reply, Got)] == [b"1"]
        assert text_of(drain(book)) == "23456789"
        assert_nothing_left(book)

    @pytest.mark.parametrize("when", ["before it is copied", "before it is written"])
    def test_the_spill_fails(self, book: Playbook, channel: PlayedChannel, when: str) -> None:
        """What was spilled is still read, and everything else stays in memory."""
        old(book, channel)
        compaction, step = begun(book)
        spilled: Any = book.disk.spill()
        if when == "before it is copied":
            spilled._medium.failure = Failed("no space for it")
            put(book, channel, "q", "6")
        go_on(book, compaction, step)
        if when == "before it is written":
            spilled._medium.failure = Failed("no space for it")
        book.settle()
        assert not book.compact_spill(), "it is given up"
        put(book, channel, "q", "78")
        assert text_of(drain(book)) == ("1234578" if when == "before it is written" else "12345678")
        assert (book.broker.memory.used, book.broker.memory.paging) == (0, 0)


class TestDamage:
    def test_what_cannot_be_read_keeps_its_segment(
        self, book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        old(book, channel)
        core: Any = book.queue("q")
        bad = next(run.place for run in core.ready.runs_in(3, 4))
        spilled: Any = book.disk.spill()
        read = spilled.read

        def damaged(places: Sequence[int]) -> list[bytes]:
            if bad in places:
                raise Corrupt("a bit flipped")
            return list(read(places))

        monkeypatch.setattr(spilled, "read", damaged)
        assert compact(book) == 1
        assert segments(book)[0][0] == 0
        texts = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        assert texts[0] == f"the spill can't be read at position {bad}: a bit flipped"
        assert texts[1].startswith("the oldest segment of the spill stays")
        assert len(texts) == 2
        assert text_of(drain(book)) == "1245"
        assert_nothing_left(book)
        assert len(segments(book)) == 1

    def test_what_the_queues_do_not_know_of_keeps_its_segment(
        self, book: Playbook, channel: PlayedChannel, caplog: pytest.LogCaptureFixture
    ) -> None:
        old(book, channel)
        book.broker.outbox.spill.ledger._ranges[0].live += 1
        book.broker.outbox.spill.ledger._segments[0].live += 1
        assert compact(book) == 1
        assert segments(book)[0][0] == 0
        assert "it should hold 5 live messages, the queues have 4" in caplog.text
        assert text_of(drain(book)) == "12345"


class Life:
    """Queues that anything happens to, with loads, writes and passes of compaction that take any time."""

    NAMES = "abc"

    def __init__(self, book: Playbook, chance: Random) -> None:
        self.book = book
        self.chance = chance
        self.loads: list[tuple[Load, list[Message] | None]] = []
        self.steps: list[tuple[SpillCompaction, SpillStep, list[bytes | None]]] = []
        self.number = 0
        self.passes = 0
        self.channel = book.connect().channel()
        self.takers = {name: book.connect().channel() for name in self.NAMES}
        self.sent: dict[str, list[bytes]] = {name: [] for name in self.NAMES}
        self.got: dict[str, list[bytes]] = {name: [] for name in self.NAMES}
        for name in self.NAMES:
            self.declare(name)
        book.settle()

    def declare(self, name: str) -> None:
        self.channel.declare(name)
        self.channel.bind(name, "amq.fanout")

    def bodies(self) -> list[bytes]:
        count = self.chance.choice((1, 1, 2, 6))
        self.number += count
        return [b"%04d" % number + b"." * self.chance.choice((0, 40)) for number in range(self.number - count, self.number)][:count]

    def publish(self) -> None:
        name = self.chance.choice(self.NAMES)
        for body in self.bodies():
            self.channel.publish(name, body)
            self.sent[name].append(body)

    def fan_out(self) -> None:
        some = [body[:4] for body in self.bodies()]
        self.channel.publish("", *some, exchange="amq.fanout")
        for name in self.NAMES:
            self.sent[name] += some

    def get(self) -> None:
        name = self.chance.choice(self.NAMES)
        for _ in range(self.chance.choice((1, 5, 20))):
            self.takers[name].do(Basic.Get, queue=name, no_ack=True)

    def hear(self) -> None:
        for name, taker in self.takers.items():
            self.got[name] += [reply.body for reply in taker.take() if isinstance(reply, Got)]
            assert self.got[name] == self.sent[name][: len(self.got[name])]

    def empty(self) -> None:
        """Purge, or delete and declare, when nothing is asked for."""
        self.quiet()
        name = self.chance.choice(self.NAMES)
        self.channel.do(self.chance.choice((Queue.Purge, Queue.Delete)), queue=name)
        self.declare(name)
        self.sent[name] = list(self.got[name])

    def turn(self) -> None:
        serve(self.book)
        spilled: Any = self.book.disk.spill()
        for load in self.book.broker.outbox.loads:
            assert load.spilled
            try:
                self.loads.append((load, load.read(spilled) if self.chance.random() < 0.7 else None))
            except Closed:
                self.loads.append((load, None))
        self.book.broker.outbox.loads.clear()

    def load(self) -> None:
        if self.loads:
            load, messages = self.loads.pop(self.chance.randrange(len(self.loads)))
            load.queue.loaded(load, messages)

    def write(self) -> None:
        self.book.step()

    def compact(self) -> None:
        """Begin a pass, read a step, copy it, or end the pass."""
        spilled: Any = self.book.broker.outbox.spill
        if self.steps:
            compaction, step, found = self.steps.pop()
            compaction.copy(step, found)
        elif spilled.compaction is None or spilled.compaction.is_waiting:
            spilled.compaction = spilled.compaction or SpillCompaction.begin(self.book.broker)
        elif step := spilled.compaction.next_step():
            disk: Any = self.book.disk.spill()
            try:
                self.steps.append((spilled.compaction, step, step.read(disk)))
            except Closed:
                pass
        elif spilled.compaction.is_done:
            spilled.compaction.finish()
            assert spilled.ledger._kept is None, "it was given up"
            spilled.compaction = None
            self.passes += 1
            self.book.committer.give_back_spill()

    def quiet(self) -> None:
        while True:
            self.turn()
            self.book.sync()
            while self.loads:
                self.load()
            outbox = self.book.broker.outbox
            if not outbox.touched and not outbox.loads and not outbox.has_batch:
                self.hear()
                return

    def run(self, events: int) -> None:
        actions = [self.publish] * 4 + [self.fan_out] * 2 + [self.get] * 4 + [self.turn] * 6 + [self.load] * 6 + [self.compact] * 8
        actions += [self.empty, self.write] * 2
        for _ in range(events):
            self.chance.choice(actions)()
            self.hear()
        self.quiet()


@pytest.mark.parametrize("seed", range(20))
def test_any_life(book: Playbook, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    life = Life(book, Random(seed))
    for segment_bytes in (500, 3000, 500, 200):
        monkeypatch.setattr(ledger, "SEGMENT_BYTES", segment_bytes)
        life.run(150)
    for name in life.NAMES:
        assert life.got[name] + [body.encode() for body, _ in drain(book, name)] == life.sent[name]
    assert life.passes
    assert_nothing_left(book)


def test_only_what_is_spilled_counts(book: Playbook, channel: PlayedChannel) -> None:
    """Messages of durable queues have the same ids, and lie elsewhere."""
    channel.declare("d", durable=True)
    channel.bind("d", "amq.fanout")
    old(book, channel)
    assert where(book.queue("d")) == (1, 4, 0)
    assert compact(book) > 0
    assert text_of(drain(book, "d")) == "12345"
    assert text_of(drain(book)) == "12345"
    assert_nothing_left(book)

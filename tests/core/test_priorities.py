"""Contract 7.4: priorities, strict, first in, first out in each, with paging, limits, times to live, requeues and crashes on top."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from broker.core import ledger, memory
from broker.core import queue as core_queue
from broker.core.priorities import PriorityReady
from protocol.content import Properties, encode_properties
from protocol.methods import Queue
from tests.core.deep import drain, text_of
from tests.core.playbook import Got, Playbook, PlayedChannel
from tests.spec import spec


def declared(book: Playbook, channel: PlayedChannel, most: int = 9, *, durable: bool = True, **arguments: Any) -> Any:
    table = {"x-max-priority": most, **{key.replace("_", "-"): value for key, value in arguments.items()}}
    channel.declare("q", durable=durable, arguments=table)
    book.settle()
    channel.take()
    return book.queue("q")


def put(book: Playbook, channel: PlayedChannel, messages: str) -> None:
    """`a5 b- c3`: bodies and priorities, each in a turn of its own."""
    for body, *priority in messages.split():
        text = "".join(priority)
        channel.publish("q", body.encode(), priority=None if text == "-" else int(text))
        book.settle()


def taken(book: Playbook, channel: PlayedChannel, count: int = 100, *, no_ack: bool = True) -> list[Got]:
    found: list[Got] = []
    for _ in range(count):
        channel.get("q", no_ack=no_ack)
        book.settle()
        replies = [reply for reply in channel.take() if isinstance(reply, Got)]
        if not replies:
            break
        found += replies
    return found


def order(replies: list[Got]) -> str:
    return "".join(reply.body.decode() for reply in replies)


@spec("7.4", "strict, FIFO in one; higher than the maximum counts as the maximum; none = 0")
def test_the_order(book: Playbook, channel: PlayedChannel) -> None:
    declared(book, channel, 5)
    put(book, channel, "a1 b5 c- d3 e9 f0 g5 h255")
    assert order(taken(book, channel)) == "beghdacf"


def test_runs_of_one_read(book: Playbook, channel: PlayedChannel) -> None:
    """Messages that came together, alike or each with a header of its own."""
    from protocol.content import Properties, encode_properties

    declared(book, channel)
    headers = [encode_properties(Properties(delivery_mode=2, priority=priority), 1) for priority in (1, 2, 2, 1, 3)]
    channel.publish_run("q", headers, [b"a", b"b", b"c", b"d", b"e"])
    channel.publish("q", b"f", b"g", priority=2)
    book.settle()
    assert order(taken(book, channel)) == "ebcfgad"


def test_a_consumer_with_one_credit_always_gets_the_highest(book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
    declared(book, channel)
    other.qos(1)
    other.consume("q")
    book.settle()
    other.take()
    put(book, channel, "a1 b2 c3")
    assert other.names() == ["a"]
    other.ack(1)
    book.settle()
    assert other.names() == ["c"]


def test_a_requeued_message_finds_its_place_in_its_level(book: Playbook, channel: PlayedChannel) -> None:
    declared(book, channel)
    put(book, channel, "a1 b2 c1 d2")
    replies = taken(book, channel, 4, no_ack=False)
    assert order(replies) == "bdac"
    for reply in (replies[1], replies[2], replies[0]):
        channel.nack(reply.tag)
    book.settle()
    assert order(taken(book, channel)) == "bda"


@spec("7.4", "drop-head drops the head, which is the oldest of the highest priority")
def test_a_limit_drops_the_head(book: Playbook, channel: PlayedChannel) -> None:
    declared(book, channel, 3, x_max_length=3)
    put(book, channel, "a1 b5 c3 d0 e2 f- g9")
    assert order(taken(book, channel)) == "adf"


@pytest.mark.parametrize("overflow", ["drop-head", "reject-publish"])
def test_a_limit_of_bytes(book: Playbook, channel: PlayedChannel, overflow: str) -> None:
    queue = declared(book, channel, 3, x_max_length_bytes=3, x_overflow=overflow)
    put(book, channel, "a1 b3 c2 d1")
    assert queue.ready.body_bytes == 3
    assert order(taken(book, channel)) == ("cad" if overflow == "drop-head" else "bca")
    assert queue.ready.body_bytes == 0


@spec("7.1", "a live head shields what expires behind it, per priority")
def test_each_priority_has_a_head_that_expires(book: Playbook, channel: PlayedChannel) -> None:
    declared(book, channel, 3)
    for body, priority, expiration in ((b"a", 3, None), (b"b", 3, "10"), (b"c", 1, "10"), (b"d", 1, "1000"), (b"e", 2, "20")):
        channel.publish("q", body, priority=priority, expiration=expiration)
    book.settle()
    book.advance(10)
    assert book.ready("q") == [b"a", b"b", b"d", b"e"]
    book.advance(10)
    assert book.ready("q") == [b"a", b"b", b"d"]
    assert order(taken(book, channel)) == "ad"


def test_purge_and_counts(book: Playbook, channel: PlayedChannel) -> None:
    declared(book, channel)
    put(book, channel, "a1 b2 c3")
    answer = channel.call(Queue.Declare, queue="q", passive=True)
    assert isinstance(answer, Queue.DeclareOk) and answer.message_count == 3
    purged = channel.call(Queue.Purge, queue="q")
    assert isinstance(purged, Queue.PurgeOk) and purged.message_count == 3
    assert book.broker.memory.used == 0


def test_a_queue_without_priorities_has_nothing_of_it(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("q", durable=True)
    book.settle()
    assert not isinstance(book.queue("q").ready, PriorityReady)
    put(book, channel, "a1 b9")
    assert order(taken(book, channel)) == "ab"


@pytest.mark.parametrize("most", [0, 1, 255])
def test_the_maximum(book: Playbook, channel: PlayedChannel, most: int) -> None:
    declared(book, channel, most)
    put(book, channel, "a0 b1 c255")
    assert order(taken(book, channel)) == {0: "abc", 1: "bca", 255: "cba"}[most]


def test_after_a_restart(book: Playbook, channel: PlayedChannel) -> None:
    declared(book, channel)
    put(book, channel, "a1 b5 c- d3 e9")
    taken(book, channel, 1, no_ack=True)
    book.restart()
    found = drain(book)
    assert text_of(found) == "bdac"


@pytest.mark.usefixtures("deep_queues")
class TestPaged:
    """Messages that are on the disk only."""

    @pytest.mark.parametrize("durable", [True, False])
    def test_the_order(self, book: Playbook, channel: PlayedChannel, durable: bool) -> None:
        queue = declared(book, channel, durable=durable)
        put(book, channel, "a1 b5 c- d3 e9 f1 g5 h0 i3 j9 k1 l5 m- n3 o9")
        assert queue.ready.runs > 5
        assert order(taken(book, channel)) == "ejobgldinafkchm"
        assert (book.broker.memory.used, book.broker.memory.paging) == (0, 0)

    @pytest.mark.parametrize("durable", [True, False])
    def test_one_record_has_several_levels(self, book: Playbook, channel: PlayedChannel, durable: bool) -> None:
        queue = declared(book, channel, durable=durable)
        put(book, channel, "a1")
        for bodies, priorities in (("bcdefg", (5, 5, 1, 5, 1, 9)), ("hijklm", (1, 9, 9, 1, 5, 5))):
            headers = [encode_properties(Properties(delivery_mode=2, priority=each), 1) for each in priorities]
            channel.publish_run("q", headers, [each.encode() for each in bodies])
            book.settle()
        assert queue.ready.runs > 5
        assert order(taken(book, channel)) == "gijbcelmadfhk"
        assert (book.broker.memory.used, book.broker.memory.paging) == (0, 0)

    def test_a_higher_one_overtakes_what_is_on_the_disk(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel)
        put(book, channel, "a1 b1 c1 d1")
        assert order(taken(book, channel, 1)) == "a"
        put(book, channel, "e5 f5 g5")
        assert order(taken(book, channel)) == "efgbcd"

    def test_a_purge_spares_what_is_out(self, book: Playbook, channel: PlayedChannel) -> None:
        """Its id lies between those of the pages: a range over all of them would settle it."""
        declared(book, channel)
        put(book, channel, "a1 b1 c1 d5 e1 f1")
        (out,) = taken(book, channel, 1, no_ack=False)
        assert out.body == b"d"
        channel.call(Queue.Purge, queue="q")
        book.restart()
        assert text_of(drain(book)) == "d"

    def test_a_limit_spares_other_levels(self, book: Playbook, channel: PlayedChannel) -> None:
        declared(book, channel, x_max_length=6)
        put(book, channel, "a1 b5 c1 d5 e1 f5 g1 h5 i1")
        book.restart()
        assert text_of(drain(book)) == "hacegi"


class Machine(RuleBasedStateMachine):
    """A queue with priorities next to a sorted list."""

    @initialize(
        most=st.integers(1, 4),
        limit=st.sampled_from((None, None, 3, 6)),
        ttl=st.sampled_from((None, None, 100)),
        paging=st.booleans(),
        measured=st.booleans(),
    )
    def begin(self, most: int, limit: int | None, ttl: int | None, paging: bool, measured: bool) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(ledger, "SEGMENT_BYTES", 500)
        self.patch.setattr(ledger, "SLACK_BYTES", 0)
        if paging:
            self.patch.setattr(core_queue, "DEEP_BYTES", 0)
            self.patch.setattr(memory, "READ_AHEAD_BYTES", 40)
            self.patch.setattr(Playbook, "paging_bytes", 0)
        self.most, self.limit = most, limit
        self.book = Playbook()
        self.channel = self.book.connect().channel()
        arguments: dict[str, Any] = {"x-max-priority": most}
        if limit is not None:
            arguments["x-max-length-bytes" if measured else "x-max-length"] = limit
        if ttl is not None:
            arguments["x-message-ttl"] = ttl
        self.ttl = ttl
        self.channel.declare("q", durable=True, arguments=arguments)
        self.book.settle()
        self.channel.take()
        self.waiting: list[tuple[int, int, bytes, int | None]] = []
        """(priority negated, number, body, deadline)"""
        self.held: dict[int, tuple[int, int, bytes, int | None]] = {}
        self.number = 0

    def teardown(self) -> None:
        if hasattr(self, "book"):
            self.rest()
            found = text_of(drain(self.book))
            assert found == b"".join(body for _, _, body, _ in sorted(self.alive())).decode()
            self.patch.undo()

    def alive(self) -> list[tuple[int, int, bytes, int | None]]:
        """What a consumer may still get; in the model, what expires behind a head is only passed over."""
        return [each for each in self.waiting if each[3] is None or each[3] > self.book.now_ms]

    def rest(self) -> None:
        self.book.settle()
        while self.book.compact():
            self.book.settle()
        self.expire()

    def expire(self) -> None:
        """Each level drops what has expired at its head."""
        for priority in {each[0] for each in self.waiting}:
            for each in sorted(each for each in self.waiting if each[0] == priority):
                if each[3] is None or each[3] > self.book.now_ms:
                    break
                self.waiting.remove(each)

    def trim(self) -> None:
        while self.limit is not None and len(self.waiting) > self.limit:
            self.waiting.remove(min(self.waiting))

    @rule(priority=st.sampled_from((None, 0, 1, 2, 3, 9)), count=st.integers(1, 4), expiration=st.sampled_from((None, None, 50, 150)))
    def publish(self, priority: int | None, count: int, expiration: int | None) -> None:
        for _ in range(count):
            self.number += 1
            body = chr(ord("a") + self.number % 26).encode()
            text = None if expiration is None else str(expiration)
            self.channel.publish("q", body, priority=priority, expiration=text)
            times = [each for each in (expiration, self.ttl) if each is not None]
            deadline = self.book.now_ms + min(times) if times else None
            self.waiting.append((-min(priority or 0, self.most), self.number, body, deadline))
            self.rest()
            self.trim()

    @precondition(lambda self: self.waiting)
    @rule(no_ack=st.booleans())
    def get(self, no_ack: bool) -> None:
        found = taken(self.book, self.channel, 1, no_ack=no_ack)
        alive = sorted(self.alive())
        if not alive:
            assert not found
        else:
            # What stands before it in its level has expired, and goes now.
            first = alive[0]
            assert [reply.body for reply in found] == [first[2]]
            self.waiting = [each for each in self.waiting if each > first or (each[0] == first[0] and each > first)]
            if not no_ack:
                self.held[found[0].tag] = first
        self.rest()

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 9), requeue=st.booleans())
    def settle(self, which: int, requeue: bool) -> None:
        tag = sorted(self.held)[which % len(self.held)]
        message = self.held.pop(tag)
        if requeue:
            self.channel.nack(tag)
            self.waiting.append(message)
        else:
            self.channel.ack(tag)
        self.rest()
        self.trim()

    @rule(ms=st.sampled_from((10, 50, 100)))
    def wait(self, ms: int) -> None:
        self.book.advance(ms)
        self.rest()

    @rule()
    def purge(self) -> None:
        self.channel.call(Queue.Purge, queue="q")
        self.waiting.clear()

    @rule()
    def restart(self) -> None:
        self.rest()
        self.waiting += self.held.values()
        self.held.clear()
        self.book.restart()
        self.channel = self.book.connect().channel()
        self.rest()
        self.trim()

    @invariant()
    def counts_add_up(self) -> None:
        if hasattr(self, "book"):
            queue = self.book.queue("q")
            assert (len(queue.ready), queue.unacked) == (len(self.waiting), len(self.held))
            assert queue.body_bytes == len(self.waiting) + len(self.held)


def test_as_a_sorted_list_does() -> None:
    profile = settings(
        max_examples=150, stateful_step_count=30, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(Machine, settings=profile)

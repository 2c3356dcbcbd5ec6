"""Moving, copying and replaying: each message is in the source or where it was to go, at its place if it stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broker.core import ledger, relocation, walk
from broker.core.inspection import look
from broker.core.login import Delay, Undecided
from broker.core.relocation import (
    DUPLICATE,
    FULL,
    NO_DEATH,
    NO_EXCHANGE,
    NO_QUEUE,
    NOT_READY,
    REFUSED,
    UNROUTABLE,
    Relocation,
    Way,
    back,
    relocate,
    to_exchange,
    to_queue,
)
from broker.core.steps import StoreFailed
from protocol import content
from protocol.constants import ACCESS_REFUSED
from protocol.errors import ChannelException
from protocol.methods import Exchange, Queue
from protocol.tables import plain, table_of
from tests.core.deep import ask, assert_nothing_left, drain, filled, put, text_of, to_cold_head, where
from tests.core.playbook import Delivered, Playbook, PlayedChannel
from tests.core.stepped import carry_out, move, seen

if TYPE_CHECKING:
    from broker.core.message import Message


def ids(book: Playbook, letters: str, name: str = "q") -> list[int]:
    """The broker's numbers of messages by their bodies."""
    return [each.message_id for each in carry_out(book, look(book.queue(name), 0, 1000)).seen if each.body.decode() in letters]


def left(found: Relocation) -> dict[str, int]:
    return {reason: count for reason, count in found.left.items() if count}


@pytest.fixture
def two(book: Playbook, channel: PlayedChannel) -> Any:
    """q with nine messages, and an empty durable queue t."""
    channel.declare("t", durable=True)
    return filled(book, channel)


# --- to a queue ---------------------------------------------------------------------------------------------------------


def test_all_go_to_the_other_queue_in_order(book: Playbook, two: Any) -> None:
    found = move(book, to_queue("t"))
    assert (found.moved, found.moved_bytes, left(found)) == (9, 9, {})
    assert found.destinations == {("", "t", "t"): 9}
    assert seen(book, "q") == ""
    assert drain(book, "t") == [(body, False) for body in "123456789"]
    assert_nothing_left(book)


def test_some_go_from_the_head(book: Playbook, two: Any) -> None:
    assert move(book, to_queue("t"), most=4).moved == 4
    assert (seen(book, "q"), seen(book, "t")) == ("56789", "1234")


def test_chosen_ones_go_and_the_others_keep_their_places(book: Playbook, two: Any) -> None:
    chosen = ids(book, "2479")
    found = move(book, to_queue("t"), ids=[*chosen, 10**9])
    assert (found.moved, left(found)) == (4, {NOT_READY: 1})
    assert (seen(book, "q"), seen(book, "t")) == ("13568", "2479")
    book.crash()
    assert (seen(book, "q"), seen(book, "t")) == ("13568", "2479")
    assert text_of(drain(book, "q") + drain(book, "t")) == "135682479"
    assert_nothing_left(book)


def test_what_is_unacked_stays_with_its_consumer(book: Playbook, channel: PlayedChannel, two: Any) -> None:
    for _ in range(3):
        channel.get("q")
    channel.nack(2)
    assert move(book, to_queue("t")).moved == 7
    assert seen(book, "t") == "2456789"
    assert (two.unacked, len(two.ready)) == (2, 0)
    channel.nack(3)
    assert seen(book, "q") == "3"
    assert drain(book, "t")[0] == ("2", False), "a new message"


def test_a_copy_leaves_all_where_it_is(book: Playbook, channel: PlayedChannel, two: Any) -> None:
    channel.get("q")
    channel.get("q")
    channel.nack(2)
    assert move(book, to_queue("t"), copies=True).moved == 8
    assert (seen(book, "q"), seen(book, "t")) == ("23456789", "23456789")
    assert drain(book, "q")[:2] == [("2", True), ("3", False)]


def test_a_queue_can_be_moved_into_itself(book: Playbook, two: Any) -> None:
    assert move(book, to_queue("q"), most=3).moved == 3
    assert seen(book) == "456789123"
    assert move(book, to_queue("q")).moved == 9
    assert move(book, to_queue("q"), copies=True).moved == 9
    assert len(two.ready) == 18


def test_priorities_keep_their_levels(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("q", durable=True, arguments={"x-max-priority": 5})
    channel.declare("t", durable=True)
    for body, priority in zip("123456", (1, 5, 1, 0, 9, 5), strict=True):
        channel.publish("q", body.encode(), priority=priority)
    book.settle()
    assert move(book, to_queue("t"), ids=ids(book, "163")).moved == 3
    assert (seen(book, "q"), seen(book, "t")) == ("254", "613")
    assert text_of(drain(book, "q") + drain(book, "t")) == "254613"


@pytest.mark.parametrize("limit", [None, 9])
def test_what_came_back_to_a_quorum_queue_keeps_its_place(book: Playbook, channel: PlayedChannel, limit: int | None) -> None:
    channel.declare("t", durable=True)
    filled(book, channel, "123456", x_queue_type="quorum", **({} if limit is None else {"x_delivery_limit": limit}))
    for _ in range(4):
        channel.get("q")
    for tag in (3, 1, 4, 2):
        channel.nack(tag)
    before = seen(book)
    move(book, to_queue("t"), ids=ids(book, "46"))
    assert seen(book) == before.replace("4", "").replace("6", "")
    assert sorted(seen(book, "t")) == ["4", "6"]
    assert text_of(drain(book)) == before.replace("4", "").replace("6", "")


@pytest.mark.parametrize("kind", [{}, {"x_queue_type": "quorum"}, {"x_max_priority": 3}])
def test_bytes_are_counted_right(book: Playbook, channel: PlayedChannel, kind: dict[str, Any]) -> None:
    channel.declare("t", durable=True)
    core = filled(book, channel, x_max_length_bytes=100, **kind)
    channel.get("q")
    channel.get("q")
    channel.nack(1)
    move(book, to_queue("t"), ids=ids(book, "169"))
    assert core.ready.body_bytes == len(core.ready) == 5
    channel.nack(2)
    assert len(list(core.ready.came_back())) == 1
    move(book, to_exchange("", "nobody"))
    assert core.ready.body_bytes == len(core.ready) == core.body_bytes == 6


# --- what is on the disk ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("deep_queues")
@pytest.mark.parametrize("durable", [True, False])
def test_what_is_on_the_disk_goes_too(book: Playbook, channel: PlayedChannel, durable: bool) -> None:
    channel.declare("t", durable=durable)
    core = filled(book, channel, durable=durable)
    assert move(book, to_queue("t"), ids=ids(book, "2478")).moved == 4
    assert seen(book) == "13569"
    assert where(core)[1] == 4
    assert move(book, to_queue("t"), most=2).moved == 2
    assert text_of(drain(book)) == "569"
    assert text_of(drain(book, "t")) == "247813"
    assert_nothing_left(book)


@pytest.mark.usefixtures("deep_queues")
@pytest.mark.parametrize("durable", [True, False])
def test_what_is_on_its_way_to_the_disk_goes_too(book: Playbook, channel: PlayedChannel, durable: bool) -> None:
    channel.declare("t", durable=durable)
    core = filled(book, channel, "123", durable=durable)
    channel.publish("q", b"4", b"5", b"6", b"7")
    assert where(core) == (1, 2, 4)
    steps = relocate(core, to_queue("t"), lambda _: None, ids=[core.ready.paged.tail[1][0], core.ready.paged.tail[2][0]])
    assert next(steps) is None
    assert where(core) == (1, 2, 2)
    carry_out(book, steps)
    assert where(core) == (1, 4, 0), "the others were paged out"
    assert text_of(drain(book)) == "12347"
    assert text_of(drain(book, "t")) == "56"
    assert_nothing_left(book)


@pytest.mark.usefixtures("deep_queues")
def test_what_came_back_among_it_goes_in_its_place(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("t", durable=True)
    to_cold_head(book, channel)
    for _ in range(4):
        channel.get("q")
    channel.nack(3)
    channel.nack(5)
    book.settle()
    move(book, to_queue("t"), most=3)
    assert (seen(book), seen(book, "t")) == ("789", "356")
    channel.nack(2)
    channel.nack(4)
    assert text_of(drain(book)) == "24789"
    drain(book, "t")
    assert_nothing_left(book)


@pytest.mark.usefixtures("deep_queues")
def test_a_settle_in_the_log_leaves_unacked_neighbours_alone(book: Playbook, channel: PlayedChannel) -> None:
    """Ids between two that went belong to messages that live: a range in the log would kill them."""
    channel.declare("t", durable=True)
    filled(book, channel)
    move(book, to_queue("t"), ids=ids(book, "357"))
    book.crash()
    assert (seen(book), seen(book, "t")) == ("124689", "357")
    assert text_of(drain(book) + drain(book, "t")) == "124689357"
    assert_nothing_left(book)


@pytest.mark.usefixtures("deep_queues")
def test_nothing_is_moved_and_delivered_too(book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer takes what it can while a move goes on: each message is with one of the two."""
    monkeypatch.setattr(walk, "READ_BYTES", 4)
    channel.declare("t", durable=True)
    core = filled(book, channel, "abcdefghijklmnopqrstuvwxyz")
    other = book.connect().channel()
    taken: list[str] = []

    def live() -> None:
        if not core.consumers:
            other.qos(1)
            other.consume("q")
        book.turn()
        for reply in other.take():
            if isinstance(reply, Delivered):
                taken.append(reply.body.decode())
                other.ack(reply.tag)

    carry_out(book, relocate(core, to_queue("t"), lambda _: None), live)
    moved = text_of(drain(book, "t"))
    other.cancel()
    rest = text_of(drain(book))
    assert sorted(moved + "".join(taken) + rest) == [*"abcdefghijklmnopqrstuvwxyz"]
    assert moved and taken


@pytest.mark.usefixtures("deep_queues", "small_segments")
def test_compaction_and_a_move_do_not_disturb_each_other(book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "SLACK_BYTES", 0)
    channel.declare("t", durable=True)
    channel.declare("old", durable=True)
    put(book, channel, "old", "x")
    core = filled(book, channel, "123456789" * 4)
    carry_out(book, relocate(core, to_queue("t"), lambda _: None, most=30), lambda: book.compact() and None)
    for _ in range(100):
        book.compact()
        book.settle()
    assert book.broker.outbox.ledger._kept is None
    book.crash()
    assert text_of(drain(book) + drain(book, "t")) == "456789" + ("123456789" * 4)[:30]


@pytest.mark.usefixtures("deep_queues")
def test_what_is_being_read_in_is_not_taken_for_what_stands_there_later(book: Playbook, channel: PlayedChannel) -> None:
    """A load of the head is under way when some of that head is moved."""
    channel.declare("t", durable=True)
    core = to_cold_head(book, channel)
    ask(channel)
    book.broker.serve()
    (load,), book.broker.outbox.loads = book.broker.outbox.loads, []
    assert [run.first_id for run in load.runs] == ids_on_disk(core)[:2]
    steps = relocate(core, to_queue("t"), lambda _: None, ids=ids_on_disk(core)[1:2])
    wait = next(steps)
    assert callable(wait)
    wait(lambda: None)
    book.read()
    assert next(steps) is None
    load.done(load.read(book.disk.log))
    carry_out(book, steps)
    channel.ack(2)
    assert text_of(drain(book)) == "456789"
    assert text_of(drain(book, "t")) == "3"
    assert_nothing_left(book)


@pytest.mark.usefixtures("deep_queues")
@pytest.mark.parametrize("settled", [True, False])
def test_what_somebody_took_while_it_was_read_is_not_moved(book: Playbook, channel: PlayedChannel, settled: bool) -> None:
    channel.declare("t", durable=True)
    core = to_cold_head(book, channel)
    steps = relocate(core, to_queue("t"), lambda _: None)
    wait = next(steps)
    assert callable(wait)
    wait(lambda: None)
    looks, book.broker.outbox.loads = book.broker.outbox.loads, []
    channel.get("q", no_ack=settled)
    channel.get("q")
    book.settle()
    for each in looks:
        each.done(each.read(book.disk.log))
    assert carry_out(book, steps).moved == 6
    channel.peer.close()
    assert text_of(drain(book)) == ("3" if settled else "23")
    assert text_of(drain(book, "t")) == "456789"


def ids_on_disk(core: Any) -> list[int]:
    return list(core.ready.paged.pages.ids_between(0, 1 << 60))


# --- what can't go ------------------------------------------------------------------------------------------------------


def test_what_nothing_takes_stays_at_its_place(book: Playbook, channel: PlayedChannel, two: Any) -> None:
    channel.get("q")
    channel.get("q")
    channel.nack(2)
    channel.exchange("x", "direct")
    channel.bind("t", "x", "k")
    cases = {UNROUTABLE: to_exchange("x", "other"), NO_EXCHANGE: to_exchange("none", "k"), NO_QUEUE: to_queue("none")}
    for reason, way in cases.items():
        found = move(book, way)
        assert (found.moved, left(found)) == (0, {reason: 8})
        assert len(found.examples[reason]) == 8
        assert seen(book) == "23456789"
    assert drain(book)[:2] == [("2", True), ("3", False)]


def test_some_of_what_came_back_may_go_and_some_stay(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("t", durable=True)
    filled(book, channel, "12345", x_queue_type="quorum")
    for _ in range(5):
        channel.get("q")
    for tag in (3, 1, 5, 2, 4):
        channel.nack(tag)
    channel.take()
    assert seen(book) == "31524"

    def way(message: Message) -> Way | str:
        return to_queue("t")(message) if message[3] in b"124" else "stays"

    assert left(move(book, way)) == {"stays": 2}
    assert (seen(book), seen(book, "t")) == ("35", "124")
    assert text_of(drain(book)) == "35"


def test_what_came_back_goes_in_the_order_of_delivery(book: Playbook, channel: PlayedChannel) -> None:
    """Chosen from behind the head of the heap that they are in."""
    channel.declare("t", durable=True)
    filled(book, channel)
    for _ in range(9):
        channel.get("q")
    for tag in (9, 8, 7, 6, 5, 4, 3, 2, 1):
        channel.nack(tag)
    move(book, to_queue("t"), ids=ids(book, "23456789"))
    assert (seen(book), seen(book, "t")) == ("1", "23456789")


def test_a_full_queue_takes_what_it_can(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("t", durable=True, arguments={"x-max-length": 3, "x-overflow": "reject-publish"})
    filled(book, channel)
    found = move(book, to_queue("t"))
    assert (found.moved, left(found)) == (3, {FULL: 6})
    assert (seen(book), seen(book, "t")) == ("456789", "123")


def test_of_a_fan_out_nothing_is_half_moved(book: Playbook, channel: PlayedChannel) -> None:
    channel.exchange("x", "fanout")
    channel.declare("t", durable=True)
    channel.declare("full", durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.bind("t", "x")
    channel.bind("full", "x")
    filled(book, channel, "123")
    assert left(move(book, to_exchange("x", ""))) == {FULL: 2}
    assert [seen(book, name) for name in ("q", "t", "full")] == ["23", "1", "1"]


def test_a_duplicate_stays(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("t", durable=True, arguments={"x-message-deduplication": True})
    channel.declare("q", durable=True)
    for body in (b"1", b"2"):
        channel.publish("q", body, headers=table_of({"x-deduplication-header": "same"}))
    assert left(move(book, to_queue("t"))) == {DUPLICATE: 1}
    assert (seen(book), seen(book, "t")) == ("2", "1")


def test_what_is_not_permitted_stays(book: Playbook, channel: PlayedChannel, two: Any) -> None:
    def permit(way: Way) -> None:
        raise ChannelException(ACCESS_REFUSED, f"write access to {way.exchange}")

    found = carry_out(book, relocate(two, to_queue("t"), permit))
    assert left(found) == {REFUSED: 9}
    assert seen(book) == "123456789"


def test_whether_it_is_permitted_may_be_a_question(book: Playbook, two: Any) -> None:
    asked: list[Way] = []

    def permit(way: Way) -> None:
        asked.append(way)
        if len(asked) == 1:
            raise Undecided(Delay(1))

    steps = relocate(two, to_queue("t"), permit)
    assert next(steps) == Delay(1)
    assert carry_out(book, steps).moved == 9
    assert len(asked) == 2


def test_a_store_that_fails_is_told_of(book: Playbook, two: Any) -> None:
    steps = relocate(two, to_queue("t"), lambda _: None)
    book.disk.fail()
    with pytest.raises(StoreFailed):
        carry_out(book, steps)


def test_it_ends_when_it_must_not_go_on(book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relocation, "STEP", 2)
    channel.declare("t", durable=True)
    core = filled(book, channel)
    found = carry_out(book, relocate(core, to_queue("t"), lambda _: None, goes_on=lambda: len(core.ready) > 5))
    assert (found.moved, found.is_complete, left(found)) == (4, False, {})
    assert (seen(book), seen(book, "t")) == ("56789", "1234")


def test_a_queue_that_is_deleted_meanwhile_ends_it(book: Playbook, channel: PlayedChannel, two: Any) -> None:
    steps = relocate(two, to_queue("t"), lambda _: None)
    channel.do(Queue.Delete, queue="q")
    assert carry_out(book, steps).moved == 0


# --- through exchanges --------------------------------------------------------------------------------------------------


def test_through_an_exchange_with_the_keys_they_have(book: Playbook, channel: PlayedChannel) -> None:
    for name in ("t", "u", "q"):
        channel.declare(name, durable=True)
    channel.exchange("all", "fanout")
    channel.bind("q", "all")
    channel.exchange("x", "topic")
    channel.bind("t", "x", "eu.#")
    channel.bind("u", "x", "#.late")
    for key, body in (("eu.1", b"1"), ("us.late", b"2"), ("eu.late", b"3"), ("us", b"4")):
        channel.publish(key, body, exchange="all")
    found = move(book, to_exchange("x", None))
    assert found.destinations == {("x", "eu.1", None): 1, ("x", "us.late", None): 1, ("x", "eu.late", None): 1}
    assert left(found) == {UNROUTABLE: 1}
    assert [seen(book, name) for name in ("q", "t", "u")] == ["4", "13", "23"]


# --- replay -------------------------------------------------------------------------------------------------------------


def headers(message: Message) -> dict[str, Any]:
    return plain(content.headers(message[2]))


@pytest.fixture
def dead(book: Playbook, channel: PlayedChannel) -> Any:
    """q holds dead letters: 1 and 2 died in work-eu, 3 in work-us, 4 was published to it."""
    channel.exchange("orders", "topic", durable=True)
    channel.declare("q", durable=True)
    for name in ("eu", "us"):
        channel.declare(f"work-{name}", durable=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q"})
        channel.bind(f"work-{name}", "orders", f"{name}.*")
    for key, body in (("eu.a", b"1"), ("eu.b", b"2"), ("us.a", b"3")):
        channel.publish(key, body, exchange="orders")
    book.settle()
    for name in ("eu", "eu", "us"):
        channel.get(f"work-{name}")
        channel.reject(len(channel.peer.session.channels[1].unacked) and channel.peer.session.channels[1].next_tag - 1, requeue=False)
    channel.publish("q", b"4")
    book.settle()
    channel.take()
    return book.queue("q")


def test_dead_letters_go_back_where_they_came_from(book: Playbook, channel: PlayedChannel, dead: Any) -> None:
    found = move(book, back())
    assert found.destinations == {("orders", "eu.a", None): 1, ("orders", "eu.b", None): 1, ("orders", "us.a", None): 1}
    assert left(found) == {NO_DEATH: 1}
    assert [seen(book, name) for name in ("q", "work-eu", "work-us")] == ["4", "12", "3"]
    channel.get("work-eu")
    (got,) = channel.take()
    assert headers(got.message)["x-death"][0]["queue"] == "work-eu"  # type: ignore[union-attr]
    assert got.message[1] == b"\x06orders\x04eu.a"  # type: ignore[union-attr]


def test_without_history_nothing_tells_of_their_deaths(book: Playbook, channel: PlayedChannel, dead: Any) -> None:
    move(book, back(keeps_history=False), most=1)
    channel.get("work-eu")
    (got,) = channel.take()
    assert headers(got.message) == {}  # type: ignore[union-attr]
    assert not content.scan(got.message[2]) & content.HAS_HEADERS  # type: ignore[union-attr]


def test_back_to_the_queue_that_they_died_in_nobody_else_has_them_again(book: Playbook, channel: PlayedChannel, dead: Any) -> None:
    channel.declare("audit", durable=True)
    channel.bind("audit", "orders", "#")
    found = move(book, back(to_queue=True))
    assert found.destinations[("orders", "eu.a", "work-eu")] == 1
    assert [seen(book, name) for name in ("q", "work-eu", "work-us", "audit")] == ["4", "12", "3", ""]
    channel.take()
    channel.get("work-us")
    (got,) = channel.take()
    assert got.message[1] == b"\x06orders\x04us.a", "consumers see the key of then"  # type: ignore[union-attr]


def test_where_they_came_from_may_be_gone(book: Playbook, channel: PlayedChannel, dead: Any) -> None:
    channel.do(Queue.Delete, queue="work-us")
    assert left(move(book, back(to_queue=True))) == {NO_QUEUE: 1, NO_DEATH: 1}
    move(book, to_queue("q"), "work-eu")
    channel.do(Queue.Unbind, queue="work-eu", exchange="orders", routing_key="eu.*")
    assert left(move(book, back())) == {UNROUTABLE: 3, NO_DEATH: 1}
    channel.do(Exchange.Delete, exchange="orders")
    assert left(move(book, back())) == {NO_EXCHANGE: 3, NO_DEATH: 1}
    assert sorted(seen(book)) == [*"1234"]


def test_the_first_death_counts_and_not_the_latest(book: Playbook, channel: PlayedChannel) -> None:
    """Rejected in a, expired in b, rejected in a again: x-death has a, which counts twice, first, and b last."""
    channel.declare("a", durable=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "b"})
    channel.declare("b", durable=True, arguments={"x-message-ttl": 1000, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "a"})
    channel.declare("q", durable=True)
    channel.publish("a", b"1")
    channel.get("a")
    channel.reject(1, requeue=False)
    book.settle()
    book.advance(2000)
    move(book, to_queue("q"), "a")
    (message,) = book.queue("q").ready.fresh
    deaths = headers(message)["x-death"]
    assert [(each["queue"], each["reason"]) for each in deaths] == [("b", "expired"), ("a", "rejected")]
    channel.take()
    move(book, to_queue("a"))
    channel.get("a")
    channel.reject(2, requeue=False)
    book.settle()
    move(book, to_queue("q"), "b")
    (message,) = book.queue("q").ready.fresh
    assert [each["queue"] for each in headers(message)["x-death"]] == ["a", "b"]
    assert move(book, back()).destinations == {("", "a", None): 1}


@pytest.mark.usefixtures("deep_queues")
def test_dead_letters_on_the_disk_go_back_too(book: Playbook, channel: PlayedChannel, dead: Any) -> None:
    assert where(dead)[1] > 0
    assert move(book, back()).moved == 3
    assert [seen(book, name) for name in ("q", "work-eu", "work-us")] == ["4", "12", "3"]

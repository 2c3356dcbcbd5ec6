"""Looking into queues: all that is there, in the order of delivery, and nothing changes."""

from __future__ import annotations

from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from broker.core import walk
from broker.core.inspection import BYTES_MAX, Filter, look
from broker.core.relocation import to_queue
from protocol.content import Properties
from protocol.methods import Tx
from protocol.tables import table_of
from tests.core.deep import assert_nothing_left, bodies, drain, filled, put, text_of, to_cold_head, where
from tests.core.playbook import Got
from tests.core.stepped import carry_out, move, seen, text, unacked

if TYPE_CHECKING:
    from tests.core.playbook import Playbook, PlayedChannel


def state(book: Playbook) -> tuple[Any, ...]:
    """All that a look must leave alone."""
    core = book.queue("q")
    memory = book.broker.memory
    return (
        where(core), len(core.ready), core.unacked, core.mark, dict(core.delivery_counts), core.body_bytes, memory.used, memory.loading,
        core.published, core.taken.get, [list(level.returned) for level in core.ready.levels], book.broker.outbox.has_batch,
        [level.paged.loading for level in core.ready.levels if level.paged is not None],
    )  # fmt: skip


def redelivered(book: Playbook) -> list[bool]:
    return [each.redelivered for each in carry_out(book, look(book.queue("q"), 0, 1000)).seen]


# --- in memory ----------------------------------------------------------------------------------------------------------


def test_what_never_was_delivered_comes_in_the_order_of_publishing(book: Playbook, channel: PlayedChannel) -> None:
    filled(book, channel)
    before = state(book)
    assert seen(book) == "123456789"
    assert seen(book, offset=3, limit=2) == "45"
    assert seen(book, offset=9) == ""
    assert state(book) == before
    assert drain(book) == [(body, False) for body in "123456789"]


def test_what_came_back_has_its_old_place_and_is_redelivered(book: Playbook, channel: PlayedChannel) -> None:
    filled(book, channel)
    for _ in range(4):
        channel.get("q")
    channel.nack(2)
    channel.nack(4)
    book.settle()
    before = state(book)
    assert seen(book) == "2456789"
    assert redelivered(book) == [True, True, False, False, False, False, False]
    assert [seen(book, offset=offset, limit=1) for offset in range(8)] == [*"2456789", ""]
    assert state(book) == before


def test_a_quorum_queue_shows_what_came_back_at_its_end(book: Playbook, channel: PlayedChannel) -> None:
    filled(book, channel, "12345", x_queue_type="quorum")
    channel.get("q")
    channel.get("q")
    channel.nack(2)
    put(book, channel, "q", "67")
    channel.nack(1)
    book.settle()
    shown = [seen(book, offset=offset, limit=1) for offset in range(7)]
    assert seen(book) == "".join(shown) == text_of(drain(book)) == "3452671"


def test_a_quorum_queue_with_a_delivery_limit_shows_it_first(book: Playbook, channel: PlayedChannel) -> None:
    filled(book, channel, "12345", x_queue_type="quorum", x_delivery_limit=9)
    channel.get("q")
    channel.get("q")
    channel.nack(2)
    channel.nack(1)
    book.settle()
    assert seen(book) == text_of(drain(book)) == "21345"


def test_priorities_come_highest_first(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("q", durable=True, arguments={"x-max-priority": 5})
    for body, priority in zip("123456", (1, 5, 1, 0, 9, 5), strict=True):
        channel.publish("q", body.encode(), priority=priority)
    book.settle()
    channel.take()
    channel.get("q")
    channel.nack(1)
    shown = [seen(book, offset=offset, limit=1) for offset in range(7)]
    assert seen(book) == "".join(shown) == text_of(drain(book)) == "256134"


def test_what_an_exchange_delays_comes_by_when_it_is_due(book: Playbook, channel: PlayedChannel) -> None:
    channel.exchange("x", "x-delayed-message", durable=True, arguments={"x-delayed-type": "direct"})
    for body, delay in zip("123", (3000, 1000, 2000), strict=True):
        channel.publish("k", body.encode(), exchange="x", headers=table_of({"x-delay": delay}))
    book.settle()
    assert seen(book, "amq.delayed.x") == "231"
    assert seen(book, "amq.delayed.x", offset=1, limit=1) == "3"
    found = carry_out(book, look(book.queue("amq.delayed.x"))).seen
    assert [(each.due_ms or 0) - book.now_ms for each in found] == [1000, 2000, 3000]
    assert not any(each.redelivered for each in found)
    book.advance(1500)
    assert seen(book, "amq.delayed.x") == "31"


def test_a_message_tells_what_is_known_of_it(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("q", durable=True)
    channel.publish("q", b"some body", headers=table_of({"a": 1}), content_type="text/plain", expiration="5000")
    book.settle()
    channel.get("q")
    channel.nack(1)
    (found,) = carry_out(book, look(book.queue("q"), body_max=4)).seen
    assert (found.exchange, found.routing_key, found.body, found.body_bytes) == ("", "q", b"some", 9)
    assert (found.redelivered, found.delivery_count, found.position) == (True, 1, 0)
    assert found.expires_ms == book.now_ms + 5000
    assert isinstance(found.properties, Properties) and found.properties.content_type == "text/plain"


# --- on the disk --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("deep_queues")
@pytest.mark.parametrize("durable", [True, False])
def test_what_is_on_the_disk_stays_there(book: Playbook, channel: PlayedChannel, durable: bool) -> None:
    core = filled(book, channel, durable=durable)
    assert where(core) == (1, 8, 0)
    before = state(book)
    assert seen(book) == "123456789"
    assert [seen(book, offset=offset, limit=2) for offset in range(10)] == ["12", "23", "34", "45", "56", "67", "78", "89", "9", ""]
    assert state(book) == before
    assert [each.is_on_disk for each in carry_out(book, look(core)).seen] == [False] + [True] * 8
    assert drain(book) == [(body, False) for body in "123456789"]
    assert_nothing_left(book)


@pytest.mark.usefixtures("deep_queues")
def test_what_is_not_written_yet_is_seen_too(book: Playbook, channel: PlayedChannel) -> None:
    core = filled(book, channel, "1234")
    channel.publish("q", b"5")
    channel.publish("q", b"6")
    assert where(core) == (1, 3, 2)
    assert text(carry_out(book, look(core, 3, 2))) == "45"


@pytest.mark.usefixtures("deep_queues")
def test_what_came_back_stands_among_what_is_on_the_disk(book: Playbook, channel: PlayedChannel) -> None:
    core = to_cold_head(book, channel)
    for _ in range(4):
        channel.get("q")
    channel.nack(3)
    channel.nack(5)
    book.settle()
    shown = [seen(book, offset=offset, limit=1) for offset in range(7)]
    assert seen(book) == "".join(shown) == "356789"
    assert [each.redelivered for each in carry_out(book, look(core)).seen] == [True, True, False, False, False, False]
    assert drain(book)[:2] == [("3", True), ("5", True)]


@pytest.mark.usefixtures("deep_queues")
def test_after_a_restart_the_mark_tells_what_is_redelivered(book: Playbook, channel: PlayedChannel) -> None:
    filled(book, channel)
    channel.get("q")
    channel.get("q")
    book.settle()
    book.crash(keep_unsynced=True)
    before = state(book)
    assert seen(book) == "123456789"
    assert redelivered(book) == [True, True, False, False, False, False, False, False, False]
    assert state(book) == before
    assert [flag for _, flag in drain(book)] == [True, True, False, False, False, False, False, False, False]


@pytest.mark.usefixtures("deep_queues")
def test_priorities_page_level_by_level(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("q", durable=True, arguments={"x-max-priority": 5})
    for body, priority in zip("123456789", (1, 5, 1, 0, 9, 5, 0, 1, 0), strict=True):
        channel.publish("q", body.encode(), priority=priority)
    book.settle()
    before = state(book)
    shown = [seen(book, offset=offset, limit=1) for offset in range(10)]
    assert seen(book) == "".join(shown) == "256138479"
    assert state(book) == before
    assert text_of(drain(book)) == "256138479"


@pytest.mark.usefixtures("deep_queues")
def test_an_offset_deep_in_the_pages_reads_nothing_before_it(
    book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = filled(book, channel, "0" * 50 + "123456789")
    read: list[int] = []
    whole = walk.Glance.read
    monkeypatch.setattr(walk.Glance, "read", lambda self, log: (read.extend(run.first_id for run in self.runs), whole(self, log))[1])
    assert text(carry_out(book, look(core, 55, 2))) == "67"
    assert len(read) == 2


@pytest.mark.usefixtures("deep_queues")
def test_nothing_is_met_twice_or_missed_while_the_queue_lives_on(
    book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the reads of one look messages are published, read in, delivered and paged out."""
    monkeypatch.setattr(walk, "READ_BYTES", 4)  # two messages of one byte
    core = filled(book, channel)
    other = book.connect().channel()
    other.qos(2)
    other.consume("q")
    book.turn()

    def live() -> None:
        channel.publish("q", b"n")
        for reply in other.take()[-1:]:
            other.ack(getattr(reply, "tag", 0), multiple=True)
        book.turn()

    found = carry_out(book, look(core), live)
    shown = [each for each in text(found) if each != "n"]
    assert shown == sorted(set(shown))
    assert shown[-3:] == [*"789"]
    assert "n" not in text(found), "published after the look began"


@pytest.mark.usefixtures("deep_queues", "small_segments")
def test_a_place_that_compaction_has_moved_is_looked_up_again(book: Playbook, channel: PlayedChannel) -> None:
    core = filled(book, channel, "1" * 30 + "23")
    steps = look(core, 28, 4)
    wait = next(steps)
    assert callable(wait)
    wait(lambda: None)
    (glance,), book.broker.outbox.loads = book.broker.outbox.loads, []
    glance.done(None)  # it was elsewhere when it was read
    assert text(carry_out(book, steps)) == "1123"


@pytest.mark.usefixtures("deep_queues")
def test_a_disk_that_cannot_be_read_is_given_up(book: Playbook, channel: PlayedChannel) -> None:
    core = filled(book, channel)
    steps, tried = look(core), 0

    def try_in_vain() -> None:
        nonlocal tried
        for wait in steps:
            assert callable(wait)
            wait(lambda: None)
            (glance,), book.broker.outbox.loads = book.broker.outbox.loads, []
            glance.done(None)
            tried += 1

    with pytest.raises(walk.Unreadable, match="see the broker's log"):
        try_in_vain()
    assert tried == walk.TRIES
    assert text_of(drain(book)) == "123456789"


# --- filters ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("needle", "1"),
        ("ä", "2"),
        ("orders.eu", "3"),
        ("customer=joe", "4"),
        ("customer=jo", ""),
        ("retries=7", "5"),
        ("urgent=true", "6"),
        ("message_id=m-7", "7"),
        ("a=b", "8"),
        ("priority=3", "9"),
        ("=", "8"),
        ("nothing", ""),
        ("", "123456789"),
    ],
)
def test_a_filter_finds_text_in_bodies_keys_and_headers(book: Playbook, channel: PlayedChannel, wanted: str, expected: str) -> None:
    channel.declare("q", durable=True)
    channel.exchange("x", "fanout")
    channel.bind("q", "x")
    for body, key, properties in (
        (b"1 a needle in it", "k", {}),
        ("2 ä".encode(), "k", {}),
        (b"3", "orders.eu.1", {}),
        (b"4", "k", {"headers": table_of({"customer": "joe"})}),
        (b"5", "k", {"headers": table_of({"retries": 7})}),
        (b"6", "k", {"headers": table_of({"urgent": True})}),
        (b"7", "k", {"message_id": "m-7"}),
        (b"8 a=b", "k", {}),
        (b"9", "k", {"priority": 3}),
    ):
        channel.publish(key, body, exchange="x", **properties)
    book.settle()
    found = carry_out(book, look(book.queue("q"), wanted=Filter(wanted)))
    assert "".join(each.body[:1].decode() for each in found.seen) == expected
    assert found.is_at_end
    assert found.examined == 9


@pytest.mark.usefixtures("deep_queues")
def test_an_offset_with_a_filter_counts_what_matches(book: Playbook, channel: PlayedChannel) -> None:
    filled(book, channel, "1a2a3a4a5")
    assert seen(book, wanted="a", offset=2) == "aa"
    assert seen(book, wanted="a", offset=1, limit=1) == "a"


def test_a_look_through_much_lets_others_go_on(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("q")
    for _ in range(10):
        channel.publish("q", *[b"x"] * 1000)
    steps, waited = look(book.queue("q"), wanted=Filter("nothing")), 0
    for _ in steps:
        waited += 1
    assert waited >= 15


def test_what_is_shown_is_bounded(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("q")
    channel.publish("q", *[bytes(BYTES_MAX // 3)] * 5)
    found = carry_out(book, look(book.queue("q")))
    assert len(found.seen) == 3 and not found.is_at_end
    assert len(carry_out(book, look(book.queue("q"), body_max=10)).seen) == 5


# --- unacked ------------------------------------------------------------------------------------------------------------


def test_what_is_unacked_is_with_somebody(book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
    filled(book, channel, "1234")
    channel.qos(2)
    channel.consume("q", "mine")
    book.settle()
    book.now_ms += 10_000
    other.get("q")
    found = unacked(book).seen
    assert [each.body for each in found] == bodies("123")
    held = [each.held for each in found if each.held is not None]
    assert [(each.channel, each.consumer_tag, each.delivery_tag) for each in held] == [(1, "mine", 1), (1, "mine", 2), (1, None, 1)]
    assert [(each.connection, each.user) for each in held] == [("peer", "guest")] * 3
    assert held[0].since_ms == held[1].since_ms == book.now_ms - 10_000
    assert seen(book) == "4"


def test_what_a_transaction_is_about_to_ack_is_still_unacked(book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
    filled(book, channel, "12")
    other.do(Tx.Select)
    other.get("q")
    other.ack(1)
    (found,) = unacked(book).seen
    assert found.body == b"1" and found.held is not None and found.held.delivery_tag is None
    other.commit()
    book.settle()
    assert unacked(book).seen == []


# --- whatever has happened ------------------------------------------------------------------------------------------------

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
KINDS: list[dict[str, Any]] = [
    {},
    {"x_max_priority": 3},
    {"x_queue_type": "quorum"},
    {"x_queue_type": "quorum", "x_delivery_limit": 50},
    {"x_max_length_bytes": 1000},
]


@pytest.mark.usefixtures("deep_queues")
@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_look_and_a_consumer_see_the_same(book: Playbook, kind: dict[str, Any], durable: bool) -> None:
    """After publishes, gets, requeues, acks, moves and restarts in any order."""
    for seed in range(25):
        chance, left = Random(seed), iter(LETTERS)
        peer = book.connect()
        channel = peer.channel()
        name = f"q{seed}"
        channel.declare(name, durable=durable or "x_queue_type" in kind, arguments={key.replace("_", "-"): kind[key] for key in kind})
        channel.declare(f"t{seed}", durable=True)
        tags: list[int] = []
        for _ in range(60):
            match chance.choice(("publish", "publish", "get", "get", "nack", "ack", "turn", "move", "restart" if durable else "turn")):
                case "publish":
                    for letter in islice(left, chance.choice((1, 1, 4))):
                        channel.publish(name, letter.encode(), priority=chance.choice((None, 1, 2)))
                case "get":
                    channel.get(name)
                    tags += [reply.tag for reply in channel.take() if isinstance(reply, Got)]
                case "nack" if tags:
                    channel.nack(tags.pop(chance.randrange(len(tags))))
                case "ack" if tags:
                    channel.ack(tags.pop(chance.randrange(len(tags))))
                case "turn":
                    book.settle()
                case "move":
                    ready = [each.message_id for each in carry_out(book, look(book.queue(name), 0, 1000)).seen]
                    chosen = chance.sample(ready, min(len(ready), chance.randrange(3)))
                    assert move(book, to_queue(f"t{seed}"), name, ids=chosen).moved == len(chosen)
                case "restart" if chance.random() < 0.2:
                    book.restart()
                    channel, tags = book.connect().channel(), []
        found = carry_out(book, look(book.queue(name), 0, 1000)).seen
        offset = chance.randrange(len(found) + 1)
        assert [each.message_id for each in carry_out(book, look(book.queue(name), offset, 3)).seen] == [
            each.message_id for each in found[offset : offset + 3]
        ]
        assert drain(book, name) == [(each.body.decode(), each.redelivered) for each in found], seed

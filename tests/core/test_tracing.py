"""The firehose costs nothing while it is off, and running channels notice when it is turned on."""

from __future__ import annotations

from typing import Any

import pytest

from broker.core.publisher import Publisher
from broker.core.tracing import TracedDeliveries
from protocol.content import decode_properties
from protocol.methods import Tx
from protocol.tables import DEPTH_MAX, Field, Table, plain, table_of
from tests.core.playbook import Delivered, Got, Playbook, PlayedChannel

TRACE = "amq.rabbitmq.trace"


@pytest.fixture
def copies(book: Playbook, other: PlayedChannel) -> PlayedChannel:
    """A channel with a queue that gets all copies."""
    other.declare("copies")
    other.bind("copies", TRACE, "#")
    book.settle()
    other.take()
    return other


def taken(copies: PlayedChannel) -> list[tuple[str, bytes, dict[str, Any]]]:
    copies.book.settle()
    found = []
    while True:
        copies.get("copies", no_ack=True)
        (reply,) = copies.take()
        if not isinstance(reply, Got):
            return found
        headers = decode_properties(reply.message[2]).headers
        assert headers is not None
        found.append((reply.message[1][1 + len(TRACE) + 1 :].decode(), reply.body, plain(headers)))


def trace(book: Playbook, on: bool = True) -> None:
    book.broker.vhosts["/"].set_tracing(on)


def test_the_short_way_of_publishing_stays_as_it_was(book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off, runs never come to where it is asked for; nor do they once it is off again."""
    one_by_one = []
    plain_way = Publisher._publish_one
    monkeypatch.setattr(Publisher, "_publish_one", lambda *arguments: one_by_one.append(1) or plain_way(*arguments))
    channel.declare("q")
    channel.publish("q", b"1", b"2")
    trace(book)
    channel.publish("q", b"3", b"4")
    trace(book, False)
    channel.publish("q", b"5", b"6")
    assert len(one_by_one) == 2
    assert book.ready("q") == [b"1", b"2", b"3", b"4", b"5", b"6"]


def test_a_consumer_is_watched_from_now_on(book: Playbook, channel: PlayedChannel, copies: PlayedChannel) -> None:
    channel.declare("q")
    channel.consume("q")
    encoder = channel.open.consumers["c"].encoder
    trace(book)
    assert isinstance(channel.open.consumers["c"].encoder, TracedDeliveries)
    channel.consume("q", "d")
    channel.publish("q", b"1", b"2", b"3")
    book.settle()
    trace(book, False)
    assert channel.open.consumers["c"].encoder is encoder
    assert not isinstance(channel.open.consumers["d"].encoder, TracedDeliveries)
    told = [(key, body) for key, body, _ in taken(copies)]
    assert told[:3] == [("publish.", b"1"), ("publish.", b"2"), ("publish.", b"3")]
    assert sorted(told[3:]) == [("deliver.q", b"1"), ("deliver.q", b"2"), ("deliver.q", b"3")]


def test_only_what_went_out_is_copied(book: Playbook, channel: PlayedChannel, copies: PlayedChannel) -> None:
    trace(book)
    channel.declare("q")
    channel.qos(1)
    channel.consume("q")
    channel.publish("q", b"1", b"2")
    assert [(key, body) for key, body, _ in taken(copies)] == [("publish.", b"1"), ("publish.", b"2"), ("deliver.q", b"1")]


def test_what_has_to_wait_for_the_next_turn_is_copied_then(book: Playbook, channel: PlayedChannel, copies: PlayedChannel) -> None:
    trace(book)
    channel.declare("q")
    channel.publish("q", b"1" * 300_000, b"2" * 300_000)
    channel.consume("q")
    assert [(key, body[:1]) for key, body, _ in taken(copies) if key == "deliver.q"] == [("deliver.q", b"1"), ("deliver.q", b"2")]


def test_the_other_vhosts_are_left_alone(book: Playbook, channel: PlayedChannel, copies: PlayedChannel) -> None:
    book.broker.add_vhost("other").set_tracing(True)
    channel.declare("q")
    channel.publish("q", b"1")
    assert taken(copies) == []


def test_a_transaction_is_copied_when_it_publishes(book: Playbook, channel: PlayedChannel, copies: PlayedChannel) -> None:
    """As RabbitMQ: at the publish, whatever becomes of the transaction."""
    channel.declare("q")
    channel.do(Tx.Select)
    trace(book)
    channel.publish("q", b"1")
    channel.do(Tx.Rollback)
    assert [(key, body, headers["routed_queues"]) for key, body, headers in taken(copies)] == [("publish.", b"1", ["q"])]


def test_copies_are_not_copied(book: Playbook, channel: PlayedChannel, copies: PlayedChannel) -> None:
    trace(book)
    copies.consume("copies", no_ack=True)
    channel.publish("nowhere", b"1")
    book.settle()
    assert copies.names() == ["Basic.ConsumeOk", "1"]
    assert not book.broker.announcements.waiting


def test_bcc_is_a_key_and_no_header(book: Playbook, channel: PlayedChannel, copies: PlayedChannel) -> None:
    trace(book)
    headers = table_of({"CC": ["a"], "BCC": ["b"]})
    channel.publish("q", b"1", headers=headers)
    ((key, _, told),) = taken(copies)
    assert (key, told["routing_keys"], told["properties"]["headers"]) == ("publish.", ["q", "a", "b"], {"CC": ["a"]})


def test_without_listeners_there_are_no_copies(book: Playbook, channel: PlayedChannel) -> None:
    trace(book)
    channel.declare("q")
    channel.publish("q", b"1")
    channel.get("q")
    assert not book.broker.announcements.waiting


def test_a_restart_turns_it_off(book: Playbook) -> None:
    trace(book)
    book.settle()
    book.restart()
    assert book.broker.vhosts["/"].tracer is None


def nested(depth: int) -> Table:
    """Headers of so many tables, one in the other."""
    table: Table = {}
    for _ in range(depth - 1):
        table = {"n": Field("F", table)}
    return table


@pytest.mark.parametrize(
    ("properties", "hidden"),
    [
        ({"timestamp": 2**63 - 1}, set()),
        ({"timestamp": 2**63}, {"timestamp"}),
        ({"timestamp": 2**64 - 1, "headers": nested(DEPTH_MAX)}, {"timestamp", "headers"}),
        *(({"headers": nested(depth)}, {"headers"} if depth > DEPTH_MAX - 2 else set()) for depth in range(DEPTH_MAX - 3, DEPTH_MAX + 1)),
    ],
)
def test_what_a_copy_cannot_tell_is_left_out(
    book: Playbook, channel: PlayedChannel, copies: PlayedChannel, properties: dict[str, Any], hidden: set[str]
) -> None:
    """The copy comes all the same, and the message goes its way: it is delivered, unacked, and gone with its ack."""
    trace(book)
    channel.declare("q")
    channel.consume("q")
    channel.publish("q", b"1", type="t", **properties)
    channel.publish("q", b"2")
    book.settle()
    delivered = [reply for reply in channel.take() if isinstance(reply, Delivered)]
    assert [reply.body for reply in delivered] == [b"1", b"2"] and len(channel.open.unacked) == 2
    told = taken(copies)
    assert [(key, body) for key, body, _ in told] == [("publish.", b"1"), ("publish.", b"2"), ("deliver.q", b"1"), ("deliver.q", b"2")]
    shown = {"delivery_mode", "type", *properties} - hidden
    assert [set(headers["properties"]) for _, body, headers in told if body == b"1"] == [shown, shown]
    channel.ack(2, multiple=True)
    book.settle()
    assert channel.take() == [] and len(channel.open.unacked) == 0
    channel.get("q")
    assert channel.names() == ["Basic.GetEmpty"]


def test_a_copy_of_what_basic_get_takes(book: Playbook, channel: PlayedChannel, copies: PlayedChannel) -> None:
    trace(book)
    channel.declare("q")
    channel.publish("q", b"1", timestamp=2**63)
    channel.get("q", no_ack=True)
    assert [(key, body) for key, body, _ in taken(copies)] == [("publish.", b"1"), ("deliver.q", b"1")]


@pytest.mark.parametrize("properties", [{"timestamp": 2**63}, {"headers": nested(DEPTH_MAX)}])
def test_what_was_published_before_is_delivered(
    book: Playbook, channel: PlayedChannel, copies: PlayedChannel, properties: dict[str, Any]
) -> None:
    channel.declare("q")
    channel.publish("q", b"1", **properties)
    trace(book)
    channel.consume("q")
    book.settle()
    assert channel.take()[-1].body == b"1" and len(channel.open.unacked) == 1  # type: ignore[union-attr]
    channel.ack(1)
    book.settle()
    assert channel.take() == [] and len(channel.open.unacked) == 0
    assert [(key, body) for key, body, _ in taken(copies)] == [("deliver.q", b"1")]

"""Contract 7.9: x-delayed-message, which RabbitMQ has as a plugin that Debian doesn't carry."""

from __future__ import annotations

from typing import Any

import pytest

from protocol import content
from protocol.methods import Confirm, Exchange, Queue, Tx
from protocol.tables import Field, Table, plain, table_of
from tests.core.playbook import Delivered, Got, Playbook, PlayedChannel, Returned
from tests.spec import spec

DAY_MS = 86_400_000


def declared(book: Playbook, channel: PlayedChannel, kind: str = "direct", *, durable: bool = True) -> None:
    """The exchange `late` of that type, and the queue `q` bound to it."""
    channel.exchange("late", "x-delayed-message", durable=durable, arguments={"x-delayed-type": kind})
    channel.declare("q", durable=True)
    channel.bind("q", "late", "key")
    book.settle()
    channel.take()


def publish(channel: PlayedChannel, body: bytes, delay: Any, key: str = "key", **options: Any) -> None:
    table: Table = {"x-delay": delay} if isinstance(delay, Field) else table_of({"x-delay": delay})
    headers = {} if delay is None else table
    channel.publish(key, body, exchange="late", headers=headers | table_of(options.pop("more", {})), **options)


def held(book: Playbook) -> int:
    delays = book.broker.vhosts["/"].exchanges["late"].delays  # type: ignore[attr-defined]
    return 0 if delays is None else len(delays.ready)


def one(channel: PlayedChannel, queue: str = "q") -> Got:
    channel.get(queue, no_ack=True)
    (reply,) = channel.take()
    assert isinstance(reply, Got)
    return reply


def test_it_comes_when_its_time_has_come(book: Playbook, channel: PlayedChannel) -> None:
    declared(book, channel)
    for body, delay in ((b"c", 3000), (b"a", 1000), (b"b", 2000), (b"B", 2000)):
        publish(channel, body, delay)
    book.settle()
    assert (book.ready("q"), held(book)) == ([], 4)
    book.advance(999)
    assert book.ready("q") == []
    book.advance(1)
    assert book.ready("q") == [b"a"]
    book.advance(1000)
    assert book.ready("q") == [b"a", b"b", b"B"]
    book.advance(1000)
    assert (book.ready("q"), held(book)) == ([b"a", b"b", b"B", b"c"], 0)
    assert book.broker.timers.live == 0


@spec("7.9", "x-delay in ms; strings and floats converted; negative or none = at once")
@pytest.mark.parametrize(
    ("delay", "ms"),
    [
        (1000, 1000),
        ("1000", 1000),
        (Field("d", 1000.9), 1000),
        (Field("D", (1, 10000)), 1000),
        (Field("b", 100), 100),
        (Field("l", 1 << 40), 1 << 40),
        (None, 0),
        (0, 0),
        (-5, 0),
        ("soon", 0),
        ("", 0),
        (Field("t", True), 0),
        (Field("V", None), 0),
    ],
    ids=str,
)
def test_what_a_delay_is(book: Playbook, channel: PlayedChannel, delay: Any, ms: int) -> None:
    declared(book, channel)
    publish(channel, b"1", delay)
    book.settle()
    if ms:
        book.advance(ms - 1)
        assert book.ready("q") == []
        book.advance(1)
    assert book.ready("q") == [b"1"]


@spec("7.9", "delivers the delay negated")
@pytest.mark.parametrize(("delay", "kind"), [(1000, "I"), (1 << 31, "l")])
def test_what_the_consumer_sees(book: Playbook, channel: PlayedChannel, delay: int, kind: str) -> None:
    declared(book, channel)
    publish(channel, b"1", Field("l", delay), message_id="m", more={"a": 1})
    book.settle()
    book.advance(delay)
    message = one(channel).message
    headers = content.headers(message[2])
    assert headers["x-delay"] == Field(kind, -delay) and plain(headers)["a"] == 1
    assert message[1] == b"\x04late\x03key"


@pytest.mark.parametrize(
    ("kind", "key", "arrives"), [("direct", "key", 1), ("direct", "other", 0), ("fanout", "other", 1), ("topic", "key", 1)]
)
def test_it_routes_as_its_type_does(book: Playbook, channel: PlayedChannel, kind: str, key: str, arrives: int) -> None:
    declared(book, channel, kind)
    publish(channel, b"1", 10, key)
    publish(channel, b"2", None, key)
    book.settle()
    assert len(book.ready("q")) == arrives
    book.advance(10)
    assert len(book.ready("q")) == 2 * arrives


def test_the_other_types_too(book: Playbook, channel: PlayedChannel) -> None:
    channel.exchange("late", "x-delayed-message", arguments={"x-delayed-type": "headers"})
    channel.declare("q")
    channel.do(Queue.Bind, queue="q", exchange="late", arguments=table_of({"x-match": "all", "a": 1}))
    book.settle()
    publish(channel, b"1", 10, more={"a": 1})
    publish(channel, b"2", 10, more={"a": 2})
    book.settle()
    book.advance(10)
    assert book.ready("q") == [b"1"]


def test_cc_goes_along(book: Playbook, channel: PlayedChannel) -> None:
    declared(book, channel)
    channel.declare("copy")
    channel.bind("copy", "late", "copied")
    publish(channel, b"1", 10, more={"CC": ["copied"]})
    book.settle()
    book.advance(10)
    assert (book.ready("q"), book.ready("copy")) == ([b"1"], [b"1"])


def test_bindings_count_when_it_is_due(book: Playbook, channel: PlayedChannel) -> None:
    declared(book, channel)
    publish(channel, b"1", 10)
    channel.do(Queue.Unbind, queue="q", exchange="late", routing_key="key")
    channel.declare("new")
    channel.bind("new", "late", "key")
    book.settle()
    book.advance(10)
    assert (book.ready("q"), book.ready("new")) == ([], [b"1"])


def test_mandatory_is_content_with_the_delay(book: Playbook, channel: PlayedChannel) -> None:
    declared(book, channel)
    publish(channel, b"1", 10, mandatory=True)
    publish(channel, b"2", None, "nowhere", mandatory=True)
    book.settle()
    (returned,) = [reply for reply in channel.take() if isinstance(reply, Returned)]
    assert returned.body == b"2"


@spec("7.9", "keeps delays durable")
def test_a_confirm_means_that_it_survives(book: Playbook, channel: PlayedChannel) -> None:
    declared(book, channel)
    channel.call(Confirm.Select)
    publish(channel, b"1", 1000)
    book.turns()
    assert channel.take() == [], "nothing is durable yet"
    book.sync()
    assert channel.names() == ["ack 1"]
    book.advance(400)
    book.crash()
    book.settle()
    assert held(book) == 1
    book.advance(599)
    assert book.ready("q") == []
    book.advance(1)
    assert book.ready("q") == [b"1"]
    book.restart()
    book.settle()
    assert (book.ready("q"), held(book)) == ([b"1"], 0)


def test_what_was_due_while_the_broker_was_down(book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.core.memory.READ_AHEAD_BYTES", 5)
    declared(book, channel)
    for number in range(20):
        publish(channel, b"%02d" % number, 1000 - number)
    publish(channel, b"late", DAY_MS)
    book.restart()
    book.now_ms += 2000
    book.settle()
    assert (book.ready("q"), held(book)) == ([b"%02d" % number for number in range(19, -1, -1)], 1)
    book.advance(DAY_MS)
    assert book.ready("q")[-1] == b"late"


def test_transient_ones_do_not_survive(book: Playbook, channel: PlayedChannel) -> None:
    declared(book, channel)
    publish(channel, b"1", 1000, persistent=False)
    book.restart()
    assert held(book) == 0


def test_an_exchange_that_is_not_durable(book: Playbook, channel: PlayedChannel) -> None:
    declared(book, channel, durable=False)
    publish(channel, b"1", 1000)
    book.settle()
    book.advance(1000)
    assert book.ready("q") == [b"1"]
    publish(channel, b"2", 1000)
    book.restart()
    assert "late" not in book.broker.vhosts["/"].exchanges
    assert "amq.delayed.late" not in book.broker.vhosts["/"].queues
    assert book.ready("q") == [b"1"], "once it is in a durable queue it is durable"


def test_compaction_keeps_what_is_held(
    book: Playbook, channel: PlayedChannel, small_segments: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.core.ledger.SLACK_BYTES", 0)
    declared(book, channel)
    channel.declare("flow", durable=True)
    publish(channel, b"1", DAY_MS)
    book.settle()
    first = book.disk.segments()[0]
    for _ in range(60):
        channel.publish("flow", b"x" * 50)
        channel.get("flow", no_ack=True)
        book.settle()
        while book.compact():
            book.settle()
    assert book.disk.segments()[0] != first
    book.restart()
    book.settle()
    book.advance(DAY_MS)
    assert book.ready("q") == [b"1"]


def test_a_transaction_begins_the_delay_with_its_commit(book: Playbook, channel: PlayedChannel) -> None:
    declared(book, channel)
    channel.call(Tx.Select)
    publish(channel, b"1", 1000)
    book.advance(5000)
    assert held(book) == 0
    channel.call(Tx.Commit)
    book.advance(999)
    assert book.ready("q") == []
    book.advance(1)
    assert book.ready("q") == [b"1"]


def test_a_time_to_live_begins_when_it_is_due(book: Playbook, channel: PlayedChannel) -> None:
    declared(book, channel)
    publish(channel, b"1", 1000, expiration="100")
    book.settle()
    book.advance(1099)
    assert book.ready("q") == [b"1"]
    book.advance(1)
    assert book.ready("q") == []


@spec("7.9", "countable and cancellable")
def test_counted_and_cancelled(book: Playbook, channel: PlayedChannel) -> None:
    declared(book, channel)
    publish(channel, b"1", 1000)
    publish(channel, b"2", 1000)
    answer = channel.call(Queue.Declare, queue="amq.delayed.late", passive=True)
    assert isinstance(answer, Queue.DeclareOk) and answer.message_count == 2
    purged = channel.call(Queue.Purge, queue="amq.delayed.late")
    assert isinstance(purged, Queue.PurgeOk) and purged.message_count == 2
    book.advance(DAY_MS)
    assert book.ready("q") == []
    book.restart()
    book.settle()
    assert held(book) == 0


@pytest.mark.parametrize("what", ["get", "consume", "delete"])
def test_what_is_held_is_nobodys(book: Playbook, channel: PlayedChannel, what: str) -> None:
    declared(book, channel)
    publish(channel, b"1", 1000)
    book.settle()
    if what == "delete":
        channel.do(Queue.Delete, queue="amq.delayed.late")
    else:
        getattr(channel, what)("amq.delayed.late")
    assert channel.refusal()[0] == 403


def test_with_the_exchange_it_goes(book: Playbook, channel: PlayedChannel) -> None:
    declared(book, channel)
    publish(channel, b"1", 1000)
    book.settle()
    channel.call(Exchange.Delete, exchange="late")
    assert "amq.delayed.late" not in book.broker.vhosts["/"].queues
    assert book.broker.timers.live == 0
    book.restart()
    book.settle()
    book.advance(DAY_MS)
    assert book.ready("q") == []


def test_through_another_exchange(book: Playbook, channel: PlayedChannel) -> None:
    """A message that was delayed once isn't delayed again by the next."""
    declared(book, channel)
    channel.exchange("later", "x-delayed-message", arguments={"x-delayed-type": "fanout"})
    channel.do(Exchange.Bind, source="late", destination="later", routing_key="key")
    channel.declare("end")
    channel.bind("end", "later")
    publish(channel, b"1", 1000)
    book.settle()
    book.advance(1000)
    assert (book.ready("q"), book.ready("end")) == ([b"1"], [b"1"])


def test_many_at_once_are_shared_out_over_turns(book: Playbook, channel: PlayedChannel) -> None:
    declared(book, channel)
    for _ in range(12):
        headers = content.encode_properties(content.Properties(delivery_mode=2, headers=table_of({"x-delay": 10})), 1)
        channel.publish_run("key", [headers], [b"1"] * 1000, exchange="late")
    book.settle()
    book.now_ms += 10
    book.broker.run_timers()
    assert book.turn()
    assert len(book.ready("q")) == 5000
    book.settle()
    assert len(book.ready("q")) == 12_000


@pytest.mark.parametrize("kind", [None, 1, "nonsense", "x-delayed-message"])
def test_it_needs_a_type(book: Playbook, channel: PlayedChannel, kind: Any) -> None:
    channel.exchange("late", "x-delayed-message", arguments={} if kind is None else {"x-delayed-type": kind})
    assert channel.refusal()[0] == 406


def test_a_consumer_gets_it(book: Playbook, channel: PlayedChannel) -> None:
    declared(book, channel)
    channel.consume("q", no_ack=True)
    publish(channel, b"1", 1000)
    book.settle()
    channel.take()
    book.advance(1000)
    assert [reply.body for reply in channel.take() if isinstance(reply, Delivered)] == [b"1"]

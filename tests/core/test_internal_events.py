"""Internal events: told when they happen, published when the core is at rest, and not even put together while nobody listens."""

from __future__ import annotations

from typing import Any

import pytest

from broker.core.announcements import WAITING_MAX, Announcements
from broker.core.internal_events import EVENT_EXCHANGE, EventExchange, fields
from broker.core.policy import Policy
from protocol.content import Properties, decode_properties, encode_properties
from protocol.methods import Queue
from protocol.tables import Field, plain
from tests.core.playbook import Got, Playbook, PlayedChannel

QUEUE = "listening"


@pytest.fixture
def events(book: Playbook) -> EventExchange:
    exchange = EventExchange(book.broker, book.broker.vhosts["/"])
    book.broker.emit = exchange.emit
    return exchange


def listen(channel: PlayedChannel, *keys: str) -> None:
    channel.declare(QUEUE)
    for key in keys:
        channel.bind(QUEUE, EVENT_EXCHANGE, key)
    channel.book.settle()
    channel.do(Queue.Purge, queue=QUEUE)
    channel.take()


def heard(channel: PlayedChannel) -> list[tuple[str, dict[str, Any]]]:
    """Routing keys and headers of what is in the queue."""
    channel.book.settle()
    channel.take()
    found = []
    while True:
        channel.get(QUEUE, no_ack=True)
        (reply,) = channel.take()
        if not isinstance(reply, Got):
            return found
        headers = decode_properties(reply.message[2]).headers
        assert headers is not None
        found.append((reply.message[1].decode("latin-1")[20:], plain(headers)))


@pytest.mark.parametrize("value", [1e300, {"k" * 300: 1}, {"\ud800": 1}])
def test_what_cannot_be_told_happens_all_the_same(
    book: Playbook, channel: PlayedChannel, events: EventExchange, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    listen(channel, "#")
    vhost = book.broker.vhosts["/"]
    vhost.set_parameter("component", "name", value)
    assert vhost.parameters["component", "name"] == value
    assert "parameter.set" not in names(channel)
    assert "event parameter.set can't be told of" in caplog.text


def names(channel: PlayedChannel) -> list[str]:
    return [name for name, _ in heard(channel)]


def test_nothing_is_put_together_while_nobody_listens(book: Playbook, channel: PlayedChannel, events: EventExchange) -> None:
    def facts() -> dict[str, Any]:
        raise AssertionError("nobody asked")

    book.broker.emit("queue.created", facts)
    channel.declare("q")
    channel.consume("q")
    assert not book.broker.announcements.waiting
    listen(channel, "consumer.deleted")
    channel.cancel()
    assert names(channel) == ["consumer.deleted"]


def test_they_come_in_the_order_of_what_happened(channel: PlayedChannel, events: EventExchange) -> None:
    listen(channel, "#")
    channel.exchange("x", auto_delete=True)
    channel.declare("q")
    channel.bind("q", "x", "k")
    channel.consume("q")
    channel.do(Queue.Delete, queue="q")
    assert names(channel) == [
        "exchange.created", "queue.created", "binding.created", "consumer.created", "binding.deleted", "exchange.deleted",
        "queue.deleted", "consumer.deleted",
    ]  # fmt: skip


def test_a_turn_that_is_under_way_is_not_disturbed(book: Playbook, channel: PlayedChannel, events: EventExchange) -> None:
    """What happens while queues are served (an auto-delete queue goes with its consumer) waits for the next turn."""
    listen(channel, "queue.deleted")
    channel.declare("q", auto_delete=True)
    channel.consume("q")
    channel.cancel()
    assert book.ready(QUEUE) == []
    assert [each.routing_key for each in book.broker.announcements.waiting][-1] == "queue.deleted"
    assert [facts["name"] for _, facts in heard(channel)] == ["q"]


def test_who_did_it(book: Playbook, channel: PlayedChannel, other: PlayedChannel, events: EventExchange) -> None:
    listen(channel, "queue.*")
    other.declare("mine", exclusive=True)
    other.declare("e", arguments={"x-expires": 1000})
    other.peer.close()
    book.advance(2000)
    told = {(name, facts["name"]): facts["user_who_performed_action"] for name, facts in heard(channel)}
    assert told == {
        ("queue.created", "mine"): "guest", ("queue.created", "e"): "guest",
        ("queue.deleted", "mine"): "rmq-internal", ("queue.deleted", "e"): "rmq-internal",
    }  # fmt: skip
    assert book.broker.acting_user == "rmq-internal"


def test_whose_doing_it_is_ends_with_an_error_too(book: Playbook, channel: PlayedChannel) -> None:
    channel.get("there-is-none")
    assert book.broker.acting_user == "rmq-internal"


def test_policies(book: Playbook, channel: PlayedChannel, events: EventExchange) -> None:
    """As 3.10.8: an operator policy is a parameter too, and what it changes is told first."""
    vhost = book.broker.vhosts["/"]
    channel.declare("q")
    listen(channel, "#")
    vhost.set_policy(Policy("p", "^q$", {"max-length": 5}, priority=2, apply_to="queues"))
    vhost.set_policy(Policy("o", "^q$", {"max-length": 4}, is_operator=True))
    vhost.delete_policy("p")
    vhost.delete_policy("o", is_operator=True)
    told = heard(channel)
    assert [name for name, _ in told] == [
        "queue.policy.updated", "policy.set",
        "parameter.set", "queue.policy.updated", "policy.set",
        "queue.policy.updated", "policy.cleared",
        "parameter.cleared", "queue.policy.cleared", "operator.policy.cleared",
    ]  # fmt: skip
    stamp = {"timestamp_in_ms": book.now_ms}
    definition = {"apply-to": "queues", "priority": 2, "definition": {"max-length": 5}, "pattern": "^q$"}
    by = {"user_who_performed_action": "rmq-internal"}
    assert told[0][1] == definition | by | {"type": "rabbit_classic_queue", "vhost": "/", "name": "q"} | stamp
    assert told[1][1] == definition | by | {"vhost": "/", "name": "p"} | stamp
    assert told[2][1]["component"] == "operator_policy" and told[2][1]["value"]["definition"] == {"max-length": 4}
    assert told[-1][1] == by | {"name": "o", "vhost": "/"} | stamp


def test_facts_have_rabbitmqs_types() -> None:
    told = fields({"b": True, "i": 1, "f": 0.5, "s": "é", "l": ["x", 2], "d": {"n": 1}, "none": None, "big": 1 << 70})
    assert told == {
        "b": Field("t", True), "i": Field("l", 1), "f": Field("f", 0.5), "s": Field("S", "é".encode()),
        "l": Field("A", [Field("S", b"x"), Field("l", 2)]), "d": Field("F", {"n": Field("l", 1)}), "none": Field("S", b"undefined"),
        "big": Field("l", 2**63 - 1),
    }  # fmt: skip


# --- announcements


def announce(book: Playbook, key: str, body: bytes = b"") -> None:
    vhost = book.broker.vhosts["/"]
    book.broker.announcements.add(vhost, vhost.exchanges["amq.rabbitmq.trace"], key, encode_properties(Properties(), len(body)), body)


def test_a_long_key_is_cut(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare(QUEUE)
    channel.bind(QUEUE, "amq.rabbitmq.trace", "#")
    announce(book, "publish." + "é" * 130)
    book.settle()
    channel.take()
    channel.get(QUEUE, no_ack=True)
    (reply,) = channel.take()
    assert isinstance(reply, Got) and reply.message[1][20:] == ("publish." + "é" * 130).encode()[:255]


def test_what_comes_up_while_publishing_waits(book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    """And whoever could make a loop of it is told that this is publishing."""
    announcements, seen = book.broker.announcements, []

    def deliver(*_: object) -> None:
        seen.append(announcements.is_publishing)
        if len(seen) == 1:
            announce(book, "second")

    monkeypatch.setattr(book.broker.vhosts["/"], "deliver", deliver)
    announce(book, "first")
    announcements.publish()
    assert (seen, len(announcements.waiting), announcements.is_publishing) == ([True], 1, False)
    announcements.publish()
    assert seen == [True, True] and not announcements.waiting


def test_a_broker_that_takes_no_turns_forgets_the_oldest(book: Playbook) -> None:
    assert Announcements().waiting.maxlen == WAITING_MAX

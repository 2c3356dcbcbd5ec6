"""x-recent-history: a fanout that remembers (contract 3.9)."""

from typing import Any

import pytest

from broker.core.exchanges import create
from protocol.content import Properties, encode_properties
from protocol.errors import ChannelException
from protocol.methods import Exchange, Queue, Tx
from protocol.tables import Field, table_of
from tests.core.playbook import Playbook, PlayedChannel
from tests.spec import spec


@pytest.fixture
def history(channel: PlayedChannel) -> PlayedChannel:
    channel.exchange("x", "x-recent-history", arguments={"x-recent-history-length": 3})
    return channel


def publish(channel: PlayedChannel, *bodies: bytes, exchange: str = "x", key: str = "k", **properties: Any) -> None:
    for body in bodies:
        channel.publish(key, body, exchange=exchange, **properties)


def newly_bound(book: Playbook, channel: PlayedChannel, exchange: str = "x", name: str = "new", **declare: Any) -> list[bytes]:
    channel.declare(name, **declare)
    channel.bind(name, exchange)
    book.settle()
    return book.ready(name)


@spec("3.9", "delivers the last N to a newly bound queue, and routes as a fanout")
def test_a_new_binding_gets_the_last_messages(book: Playbook, history: PlayedChannel) -> None:
    assert newly_bound(book, history, name="early") == []
    publish(history, *[b"%d" % number for number in range(5)])
    assert book.ready("early") == [b"0", b"1", b"2", b"3", b"4"]
    assert newly_bound(book, history) == [b"2", b"3", b"4"]
    publish(history, b"5")
    assert book.ready("new") == [b"2", b"3", b"4", b"5"]


def test_twenty_are_the_default(book: Playbook, channel: PlayedChannel) -> None:
    channel.exchange("x", "x-recent-history")
    publish(channel, *[b"%d" % number for number in range(25)])
    assert newly_bound(book, channel) == [b"%d" % number for number in range(5, 25)]


def test_a_run_with_a_header_each_is_kept(book: Playbook, history: PlayedChannel) -> None:
    headers = [encode_properties(Properties(message_id=str(number)), 1) for number in range(4)]
    history.publish_run("k", headers, [b"0", b"1", b"2", b"3"], exchange="x")
    assert newly_bound(book, history) == [b"1", b"2", b"3"]


def test_every_new_binding_counts_and_the_same_one_does_not(book: Playbook, history: PlayedChannel) -> None:
    publish(history, b"1")
    assert newly_bound(book, history) == [b"1"]
    history.bind("new", "x")
    assert book.ready("new") == [b"1"]
    history.bind("new", "x", "another key")
    assert book.ready("new") == [b"1", b"1"]


def test_a_message_comes_as_it_was(book: Playbook, history: PlayedChannel) -> None:
    history.declare("direct")
    history.bind("direct", "x")
    publish(history, b"1", key="key", message_id="m", expiration="100000", headers=table_of({"a": 1, "CC": ["b"]}))
    newly_bound(book, history)
    (_, *direct), (number, *new) = book.waiting(book.queue("direct"))[0][0], book.waiting(book.queue("new"))[0][0]
    assert new == direct and number == 2, "the same but for its id"


@pytest.mark.parametrize(
    ("header", "kept"), [(True, False), (False, True), ("true", True), (1, True), (None, True)], ids=lambda value: repr(value)
)
def test_no_store(book: Playbook, history: PlayedChannel, header: Any, kept: bool) -> None:
    history.declare("q")
    history.bind("q", "x")
    publish(history, b"1", headers=table_of({"x-recent-history-no-store": header}))
    publish(history, b"2", headers=table_of({"text": "x-recent-history-no-store"}))
    assert book.ready("q") == [b"1", b"2"]
    assert newly_bound(book, history) == ([b"1", b"2"] if kept else [b"2"])


def test_what_comes_through_other_exchanges_is_kept(book: Playbook, history: PlayedChannel) -> None:
    history.exchange("outer", "fanout", arguments={})
    history.do(Exchange.Bind, source="outer", destination="x")
    history.exchange("direct", arguments={"alternate-exchange": "x"})
    history.declare("dying", arguments={"x-dead-letter-exchange": "x", "x-max-length": 0})
    publish(history, b"outer", b"again", exchange="outer")
    publish(history, b"alternate", exchange="direct")
    publish(history, b"dead", exchange="", key="dying")
    book.settle()
    assert newly_bound(book, history) == [b"again", b"alternate", b"dead"]


def test_an_exchange_gets_the_history_too(book: Playbook, history: PlayedChannel) -> None:
    """RabbitMQ delivers it with the newest first here, and answers 541 where a message leads nowhere."""
    history.exchange("inner")
    history.declare("q")
    history.bind("q", "inner", "yes")
    for key, body in (("yes", b"1"), ("no", b"2"), ("yes", b"3")):
        publish(history, body, key=key)
    history.do(Exchange.Bind, source="x", destination="inner")
    assert book.ready("q") == [b"1", b"3"]


def test_a_way_that_leads_back(book: Playbook, history: PlayedChannel) -> None:
    history.exchange("inner", "fanout")
    history.do(Exchange.Bind, source="inner", destination="x")
    publish(history, b"1", b"2")
    history.do(Exchange.Bind, source="x", destination="inner")
    assert newly_bound(book, history) == [b"2", b"1", b"2"], "kept again as it came by again"


@pytest.mark.parametrize(("overflow", "expected"), [("drop-head", [b"2", b"3"]), ("reject-publish", [b"1", b"2"])])
def test_limits_hold(book: Playbook, history: PlayedChannel, overflow: str, expected: list[bytes]) -> None:
    publish(history, b"1", b"2", b"3")
    assert newly_bound(book, history, arguments={"x-max-length": 2, "x-overflow": overflow}) == expected


def test_a_transaction_rolled_back_was_routed(book: Playbook, history: PlayedChannel) -> None:
    """As the oracle does it."""
    history.do(Tx.Select)
    publish(history, b"1")
    history.do(Tx.Rollback)
    assert newly_bound(book, history) == [b"1"]


def test_into_a_paged_queue(book: Playbook, history: PlayedChannel, deep_queues: None) -> None:
    publish(history, b"1", b"2", b"3")
    history.declare("q", durable=True)
    history.bind("q", "x")
    history.bind("q", "x", "again")
    book.settle()
    history.consume("q", no_ack=True)
    book.settle()
    book.warm()
    assert [reply.message[3] for reply in history.take() if hasattr(reply, "message")] == [b"1", b"2", b"3"] * 2


class TestRestart:
    @pytest.fixture(autouse=True)
    def durable(self, channel: PlayedChannel) -> None:
        channel.exchange("x", "x-recent-history", durable=True, arguments={"x-recent-history-length": 2})
        channel.declare("old", durable=True)
        channel.bind("old", "x")

    def test_the_history_is_gone_and_the_exchange_is_not(self, book: Playbook, channel: PlayedChannel) -> None:
        """As the oracle does it: the plugin keeps it in memory."""
        publish(channel, b"1", b"2", b"3")
        book.settle()
        book.restart()
        channel = book.connect().channel()
        assert newly_bound(book, channel) == []
        publish(channel, b"4", b"5", b"6")
        assert newly_bound(book, channel, name="newer") == [b"5", b"6"]
        assert len(book.queue("old").ready) == 6, "its binding is there, and nothing was delivered twice"

    def test_what_a_durable_queue_got_of_it_stays(self, book: Playbook, channel: PlayedChannel) -> None:
        publish(channel, b"1", b"2", b"3")
        channel.publish("k", b"4", exchange="x", persistent=False)
        newly_bound(book, channel, durable=True)
        book.crash()
        assert len(book.queue("new").ready) == 1


def test_memory_is_accounted(book: Playbook, history: PlayedChannel) -> None:
    memory = book.broker.memory
    before = memory.used
    publish(history, b"a" * 1000)
    assert memory.used > before + 1000
    publish(history, *[b"b"] * 3)
    assert memory.used < before + 1000
    history.do(Exchange.Delete, exchange="x")
    assert memory.used == before


def test_an_exchange_declared_again_has_none(book: Playbook, history: PlayedChannel) -> None:
    publish(history, b"1")
    history.do(Exchange.Delete, exchange="x")
    history.exchange("x", "x-recent-history")
    assert newly_bound(book, history) == []
    history.do(Queue.Delete, queue="new")
    publish(history, b"2")
    assert newly_bound(book, history) == [b"2"], "a queue that is gone is no matter"


@pytest.mark.parametrize(
    ("field", "printed"),
    [
        (Field("I", 0), "0"),
        (Field("l", -1), "-1"),
        (Field("B", 3), "3"),
        (Field("u", 3), "3"),
        (Field("i", 3), "3"),
        (Field("T", 3), "3"),
        (Field("S", b"5"), '<<"5">>'),
        (Field("d", 1.5), "1.5"),
        (Field("t", True), "true"),
        (Field("V", None), "undefined"),
        (Field("A", [Field("I", 1)]), "[{signedint,1}]"),
    ],
)
def test_a_length_that_makes_no_sense(field: Field, printed: str) -> None:
    """Texts as on the oracle."""
    with pytest.raises(ChannelException) as caught:
        create("x-recent-history", "x", arguments={"x-recent-history-length": field})
    text = f"Invalid argument {printed}, 'x-recent-history-length' must be a positive integer"
    assert (caught.value.code, caught.value.text) == (406, text)

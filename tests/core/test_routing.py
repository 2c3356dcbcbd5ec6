"""Where a message goes, between exchanges: alternates, CC and BCC, exchange to exchange, auto-delete, direct reply-to."""

import pytest

from protocol.content import headers as headers_of
from protocol.content import reply_to
from protocol.methods import Basic, Confirm, Exchange, Queue, Tx
from protocol.tables import plain, table_of
from tests.core.playbook import Acked, Delivered, Got, Playbook, PlayedChannel, Returned
from tests.spec import spec

REPLY_TO = "amq.rabbitmq.reply-to"


def bind(channel: PlayedChannel, source: str, destination: str, key: str = "") -> None:
    channel.do(Exchange.Bind, source=source, destination=destination, routing_key=key)


def unbind(channel: PlayedChannel, source: str, destination: str, key: str = "") -> None:
    channel.do(Exchange.Unbind, source=source, destination=destination, routing_key=key)


def exchanges(book: Playbook) -> set[str]:
    """Those that somebody declared."""
    return {name for name in book.broker.vhosts["/"].exchanges if name and not name.startswith("amq.")}


class TestAlternateExchange:
    @spec("3.7", "unroutable messages go there with their original exchange name")
    def test_takes_what_nothing_else_takes(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.exchange("ae", "fanout")
        channel.exchange("x", arguments={"alternate-exchange": "ae"})
        channel.declare("q")
        channel.declare("other")
        channel.bind("q", "x", "k")
        channel.bind("other", "ae")
        channel.publish("k", b"1", exchange="x")
        channel.publish("lost", b"2", exchange="x")
        assert (book.ready("q"), book.ready("other")) == ([b"1"], [b"2"])
        channel.get("other", no_ack=True)
        book.settle()
        got = channel.take()[-1]
        assert isinstance(got, Got) and got.message[1] == b"\x01x\x04lost"

    @spec("3.7", "mandatory returns only if that fails too; a missing one is ignored")
    def test_mandatory(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.exchange("x", arguments={"alternate-exchange": "ae"})
        book.settle()
        channel.take()
        channel.publish("k", b"1", exchange="x", mandatory=True)
        channel.exchange("ae", "direct", arguments={"alternate-exchange": "x"})
        channel.publish("k", b"2", exchange="x", mandatory=True)
        channel.declare("q")
        channel.bind("q", "ae", "k")
        channel.publish("k", b"3", exchange="x", mandatory=True)
        book.settle()
        assert [reply.body for reply in channel.take() if isinstance(reply, Returned)] == [b"1", b"2"]
        assert book.ready("q") == [b"3"]


class TestSenders:
    @pytest.fixture(autouse=True)
    def declared(self, channel: PlayedChannel) -> None:
        for name in ("q", "cc", "bcc"):
            channel.declare(name)

    @spec("3.8", "CC and BCC headers: arrays of text as extra routing keys; one copy a queue")
    def test_each_queue_once(self, book: Playbook, channel: PlayedChannel) -> None:
        headers = table_of({"CC": ["cc", "q", "cc", 7], "BCC": ["bcc", "nowhere"]})
        channel.publish("q", b"1", headers=headers)
        assert [book.ready(name) for name in ("q", "cc", "bcc")] == [[b"1"]] * 3

    @spec("3.8", "BCC is removed before delivery")
    def test_bcc_is_not_seen(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.publish("q", b"1", headers=table_of({"a": 1, "BCC": ["bcc"], "CC": ["cc"]}), message_id="m")
        channel.get("bcc", no_ack=True)
        book.settle()
        got = channel.take()[-1]
        assert isinstance(got, Got)
        assert plain(headers_of(got.message[2])) == {"a": 1, "CC": ["cc"]}

    @spec("3.8", "not an array [s] 406")
    def test_not_an_array(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.publish("q", b"1", headers=table_of({"CC": "cc"}))
        book.settle()
        text = 'PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"CC",longstr}'
        assert channel.refusal() == (406, text)
        assert book.ready("q") == []


class TestExchangeToExchange:
    @spec("3.6", "cycles harmless; one copy per queue whatever the number of paths")
    def test_a_cycle_with_many_paths(self, book: Playbook, channel: PlayedChannel) -> None:
        for name in ("a", "b", "c"):
            channel.exchange(name, "fanout")
        for source, destination in (("a", "b"), ("b", "c"), ("c", "a"), ("a", "c"), ("a", "a")):
            bind(channel, source, destination)
        channel.declare("q")
        for name in ("a", "b", "c"):
            channel.bind("q", name)
        channel.publish("", b"1", exchange="b")
        assert book.ready("q") == [b"1"]

    @spec("3.6", "Binding twice is once")
    def test_twice_is_once(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.exchange("a", "fanout")
        channel.exchange("b", "fanout")
        bind(channel, "a", "b")
        bind(channel, "a", "b")
        channel.declare("q")
        channel.bind("q", "b")
        unbind(channel, "a", "b")
        channel.publish("", b"1", exchange="a")
        assert book.ready("q") == []

    @spec("3.6", "a deleted exchange takes its bindings along, from it and to it")
    def test_deleted_in_the_midst(self, book: Playbook, channel: PlayedChannel) -> None:
        for name in ("a", "b"):
            channel.exchange(name, "fanout", durable=True)
        channel.declare("q", durable=True)
        bind(channel, "a", "b")
        channel.bind("q", "b")
        channel.publish("", b"1", exchange="a")
        channel.do(Exchange.Delete, exchange="b")
        channel.publish("", b"2", exchange="a")
        channel.exchange("b", "fanout", durable=True)
        channel.publish("", b"3", exchange="a")
        assert book.ready("q") == [b"1"]
        book.restart()
        assert not list(book.broker.vhosts["/"].exchanges["a"].bindings())


class TestAutoDelete:
    @spec("3.4", "auto_delete: when its last binding as source goes, not before it had one")
    def test_a_chain_goes_with_its_last_queue(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        for name in ("a", "b", "c"):
            channel.exchange(name, "fanout", auto_delete=True)
        bind(channel, "a", "b")
        bind(channel, "b", "c")
        assert exchanges(book) == {"a", "b", "c"}
        other.declare("q", exclusive=True)
        other.declare("r")
        other.bind("q", "c")
        other.bind("r", "c")
        other.peer.lose()
        assert exchanges(book) == {"a", "b", "c"}
        channel.do(Queue.Delete, queue="r")
        assert exchanges(book) == set()

    @spec("3.4", "auto_delete: when its last binding as source goes")
    @pytest.mark.parametrize("how", ["unbind", "delete"])
    def test_a_cycle_goes_too(self, book: Playbook, channel: PlayedChannel, how: str) -> None:
        for name in ("a", "b"):
            channel.exchange(name, "fanout", auto_delete=True)
        bind(channel, "a", "b")
        bind(channel, "b", "a")
        if how == "unbind":
            unbind(channel, "a", "b")
        else:
            channel.do(Exchange.Delete, exchange="a")
        assert exchanges(book) == set()

    @spec("3.4", "not before it had one")
    def test_a_durable_one_is_gone_after_a_restart_too(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.exchange("unused", "fanout", durable=True, auto_delete=True)
        channel.exchange("a", "fanout", durable=True, auto_delete=True)
        channel.declare("q", durable=True)
        channel.bind("q", "a")
        book.restart()
        assert exchanges(book) == {"unused", "a"}
        book.connect().channel().do(Queue.Delete, queue="q")
        book.restart()
        assert exchanges(book) == {"unused"}

    @spec("4.4", "auto_delete queue and exchange: one end, both gone")
    def test_a_queue_and_its_exchange(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.exchange("a", "fanout", auto_delete=True)
        channel.declare("q", auto_delete=True)
        channel.bind("q", "a")
        channel.consume("q")
        channel.cancel()
        assert exchanges(book) == set() and not book.broker.vhosts["/"].queues


class TestRoutesAreNotKeptTooLong:
    """A publisher remembers where a key leads; whatever changes that must be seen by the next publish."""

    def test_every_change_of_topology_counts(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        other.exchange("x", "direct")
        for name in ("q", "r"):
            other.declare(name)
        channel.publish("k", b"0", exchange="x")
        other.bind("q", "x", "k")
        channel.publish("k", b"1", exchange="x")
        other.bind("r", "x", "k")
        channel.publish("k", b"2", exchange="x")
        other.do(Queue.Unbind, queue="q", exchange="x", routing_key="k")
        channel.publish("k", b"3", exchange="x")
        assert (book.ready("q"), book.ready("r")) == ([b"1", b"2"], [b"2", b"3"])
        other.do(Queue.Delete, queue="r")
        channel.publish("k", b"4", exchange="x")
        other.declare("r")
        channel.publish("r", b"5")
        assert book.ready("r") == [b"5"]
        other.do(Exchange.Delete, exchange="x")
        channel.publish("k", b"6", exchange="x")
        book.settle()
        assert channel.names() == ["Channel.Close"]


class TestDirectReplyTo:
    @pytest.fixture
    def address(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> str:
        """`channel` asks, `other` sees the address."""
        other.declare("requests")
        channel.do(Basic.Consume, queue=REPLY_TO, consumer_tag="r", no_ack=True)
        channel.publish("requests", b"ask", reply_to=REPLY_TO)
        other.get("requests", no_ack=True)
        book.settle()
        assert channel.names() == ["Basic.ConsumeOk"]
        got = other.take()[-1]
        assert isinstance(got, Got)
        address = reply_to(got.message[2])
        assert address is not None and address.startswith(REPLY_TO + ".")
        return address

    @spec("6.8", "publish with it, the server sees amq.rabbitmq.reply-to.<token>, and replies")
    def test_a_conversation(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel, address: str) -> None:
        other.publish(address, b"1", b"2", correlation_id="c")
        book.settle()
        answers = channel.take()
        assert [(each.consumer, each.tag, each.redelivered, each.body) for each in answers if isinstance(each, Delivered)] == [
            ("r", 1, False, b"1"),
            ("r", 2, False, b"2"),
        ]
        assert not channel.open.unacked

    @spec("6.8", "passive declare of that address answers declare-ok or 404 (is the requester there)")
    def test_is_the_requester_there(self, channel: PlayedChannel, other: PlayedChannel, address: str) -> None:
        assert isinstance(other.call(Queue.Declare, queue=address, passive=True), Queue.DeclareOk)
        channel.peer.lose()
        close = other.call(Queue.Declare, queue=address, passive=True)
        assert getattr(close, "reply_code", None) == 404

    @spec("6.8", "replying to one gone is dropped and confirmed (mandatory: returned)")
    @pytest.mark.parametrize("how", ["cancel", "close", "lose"])
    def test_a_requester_that_is_gone(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel, address: str, how: str) -> None:
        {"cancel": lambda: channel.cancel("r"), "close": channel.close, "lose": channel.peer.lose}[how]()
        other.do(Confirm.Select)
        other.publish(address, b"1")
        other.publish(address, b"2", mandatory=True)
        book.settle()
        assert other.names()[1:] == ["NO_ROUTE", "ack ..2"]
        assert not book.broker.reply_channels
        assert not [reply for reply in channel.take() if isinstance(reply, Delivered)]

    @spec("6.8", "with no_ack (else 406); a second one 406; without one, publish 406")
    @pytest.mark.parametrize(
        ("what", "text"),
        [
            ("ack", "reply consumer cannot acknowledge"),
            ("second", "reply consumer already set"),
            ("publish", "fast reply consumer does not exist"),
        ],
    )
    def test_refusals(self, book: Playbook, channel: PlayedChannel, what: str, text: str) -> None:
        if what == "publish":
            channel.publish("q", b"1", reply_to=REPLY_TO)
        elif what == "ack":
            channel.do(Basic.Consume, queue=REPLY_TO)
        else:
            channel.do(Basic.Consume, queue=REPLY_TO, no_ack=True)
            channel.do(Basic.Consume, queue=REPLY_TO, no_ack=True)
        book.settle()
        assert channel.refusal() == (406, f"PRECONDITION_FAILED - {text}")

    @spec("6.8", "replies leave before a tx commit")
    def test_a_reply_in_a_transaction(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel, address: str) -> None:
        other.do(Tx.Select)
        other.publish(address, b"1")
        book.turn()
        assert channel.names() == ["1"]


@spec("5.1", "mandatory and no queue: basic.return 312 with properties and body, before the confirm")
def test_a_returned_message_is_whole(book: Playbook, channel: PlayedChannel) -> None:
    channel.do(Confirm.Select)
    channel.exchange("x")
    book.settle()
    channel.take()
    channel.publish("k", b"body", exchange="x", mandatory=True, message_id="m")
    book.settle()
    back, ack = channel.take()
    assert isinstance(back, Returned) and isinstance(ack, Acked)
    assert (back.code, back.text, back.routing, back.body) == (312, "NO_ROUTE", b"\x01x\x01k", b"body")
    assert b"\x01m" in back.header

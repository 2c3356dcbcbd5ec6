"""From the catalog and the log back to what was (contract 5.3, 6.4; docs/architecture.md, "The log")."""

import pytest

from protocol.methods import Exchange, Queue
from protocol.tables import table_of
from tests.core.playbook import Got, Playbook, PlayedChannel
from tests.spec import spec


def again(book: Playbook, queue: str) -> list[tuple[bytes, bool]]:
    """What a new client gets: bodies, and whether they are redelivered."""
    channel = book.connect().channel()
    found: list[tuple[bytes, bool]] = []
    while True:
        channel.get(queue, no_ack=True)
        book.settle()
        (reply,) = channel.take()
        if not isinstance(reply, Got):
            return found
        found.append((reply.body, reply.redelivered))


def logged(book: Playbook, channel: PlayedChannel, *bodies: bytes) -> None:
    channel.declare("q", durable=True)
    channel.publish("q", *bodies)
    book.settle()
    channel.take()


@spec("5.3", "delivery-mode 2 on a durable queue survives restart, anything else doesn't")
def test_what_survives(book: Playbook, channel: PlayedChannel) -> None:
    for name, durable in (("durable", True), ("transient", False)):
        channel.declare(name, durable=durable)
        channel.bind(name, "amq.fanout")
    channel.declare("exclusive", durable=True, exclusive=True)
    channel.publish("", b"kept", exchange="amq.fanout")
    channel.publish("", b"gone", exchange="amq.fanout", persistent=False)
    channel.publish("durable", b"too")
    book.restart()
    assert set(book.broker.vhosts["/"].queues) == {"durable"}
    assert again(book, "durable") == [(b"kept", False), (b"too", False)]


@spec("5.3", "properties survive as they were sent")
def test_a_message_comes_back_byte_for_byte(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("q", durable=True)
    channel.publish("q", b"1", headers=table_of({"a": 1, "b": ["x", None]}), message_id="m", expiration=None)
    channel.publish("q", b"")
    book.settle()
    before = book.waiting(book.queue("q"))
    book.restart()
    assert book.waiting(book.queue("q")) == before


class TestSettled:
    @pytest.mark.parametrize("keep_unsynced", [True, False])
    def test_an_ack_is_lost_with_what_was_not_synced_and_the_message_is_redelivered(
        self, book: Playbook, channel: PlayedChannel, keep_unsynced: bool
    ) -> None:
        """Contract 6.4."""
        logged(book, channel, b"1", b"2")
        channel.get("q")
        channel.publish("q", b"3")
        book.settle()
        channel.ack(1)
        book.settle()
        book.crash(keep_unsynced=keep_unsynced)
        assert again(book, "q") == [(b"1", True)] * (not keep_unsynced) + [(b"2", False), (b"3", False)]

    def test_settled_then_requeued_in_one_turn(self, book: Playbook, channel: PlayedChannel) -> None:
        logged(book, channel, b"1", b"2", b"3")
        channel.consume("q")
        book.settle()
        channel.ack(2)
        channel.reject(1)
        channel.nack(3)
        channel.cancel()
        book.restart()
        assert again(book, "q") == [(b"1", True), (b"3", True)]

    def test_requeued_then_settled_in_one_turn(self, book: Playbook, channel: PlayedChannel) -> None:
        logged(book, channel, b"1", b"2")
        channel.get("q")
        channel.reject(1)
        channel.get("q")
        channel.ack(2)
        book.restart()
        assert again(book, "q") == [(b"2", False)]
        assert book.queue("q").delivery_counts == {}


class TestRedelivered:
    @spec("6.4", "redelivered from the second delivery on")
    def test_what_was_out_is_redelivered(self, book: Playbook, channel: PlayedChannel) -> None:
        logged(book, channel, b"1", b"2", b"3")
        channel.qos(2)
        channel.consume("q")
        book.restart()
        assert again(book, "q") == [(b"1", True), (b"2", True), (b"3", False)]

    def test_delivery_counts_survive(self, book: Playbook, channel: PlayedChannel) -> None:
        logged(book, channel, b"1", b"2")
        for tag in (1, 2, 3):
            channel.get("q")
            channel.reject(tag)
            book.settle()
        assert book.queue("q").delivery_counts == {1: 3}
        book.restart()
        assert book.queue("q").delivery_counts == {1: 3}
        channel = book.connect().channel()
        channel.get("q")
        channel.reject(1)
        book.restart()
        assert book.queue("q").delivery_counts == {1: 4}
        assert again(book, "q") == [(b"1", True), (b"2", False)]

    def test_the_mark_survives_two_restarts(self, book: Playbook, channel: PlayedChannel) -> None:
        logged(book, channel, b"1", b"2")
        channel.get("q")
        book.restart()
        book.restart()
        assert again(book, "q") == [(b"1", True), (b"2", False)]

    def test_a_new_message_after_a_restart_is_new(self, book: Playbook, channel: PlayedChannel, small_segments: None) -> None:
        """Ids go on behind all that the log names, though the messages are long gone."""
        logged(book, channel, b"x" * 600)
        channel.consume("q")
        book.settle()
        channel.ack(1)
        channel.publish("q", b"y")
        book.settle()
        channel.ack(2)
        book.restart()
        assert book.broker.outbox.ledger.next_id == 3
        book.connect().channel().publish("q", b"new")
        book.restart()
        assert again(book, "q") == [(b"new", False)]

    def test_ids_go_on_behind_a_requeue_too(self, book: Playbook, channel: PlayedChannel, small_segments: None) -> None:
        """The only record left of a message may be that it came back: its id is not to be used again."""
        channel.declare("q", durable=True)
        channel.consume("q")
        book.settle()
        channel.publish("q", b"x" * 600)
        book.settle()
        channel.cancel()
        channel.reject(1)
        book.settle()
        channel.do(Queue.Delete, queue="q")
        book.settle()
        assert book.disk.segments()[0][0] > 0
        book.restart()
        assert book.broker.outbox.ledger.next_id == 2


class TestNames:
    @spec("4.5", "A name deleted and declared again never sees old records")
    @pytest.mark.parametrize("steps", range(4))
    def test_declared_again(self, book: Playbook, channel: PlayedChannel, steps: int) -> None:
        logged(book, channel, b"old")
        channel.do(Queue.Delete, queue="q")
        channel.declare("q", durable=True)
        channel.publish("q", b"new")
        book.turn()
        for _ in range(steps):
            book.step()
        book.crash()
        assert again(book, "q") == {0: [(b"old", False)], 1: [], 2: [(b"new", False)], 3: [(b"new", False)]}[steps]

    def test_ids_are_never_used_twice(self, book: Playbook, channel: PlayedChannel) -> None:
        ids = set()
        for _ in range(3):
            channel = book.connect().channel()
            for _ in range(3):
                channel.declare("q", durable=True)
                ids.add(book.queue("q").id)
                channel.do(Queue.Delete, queue="q")
            book.settle()
            book.crash()
        assert len(ids) == 9

    def test_exchanges_and_bindings(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.declare("q", durable=True)
        channel.declare("plain")
        channel.exchange("x", "topic", durable=True, arguments={"alternate-exchange": "y"})
        channel.exchange("y", "fanout", durable=True, auto_delete=True, internal=True)
        channel.exchange("z", "fanout")
        for queue in ("q", "plain"):
            channel.bind(queue, "x", "a.#")
        channel.bind("q", "z")
        channel.do(Exchange.Bind, source="x", destination="y", routing_key="b")
        channel.bind("q", "x", "gone")
        channel.do(Queue.Unbind, queue="q", exchange="x", routing_key="gone")
        book.restart()
        exchanges = book.broker.vhosts["/"].exchanges
        x, y = exchanges["x"], exchanges["y"]
        assert "z" not in exchanges
        assert (x.type, x.alternate, x.auto_delete, x.internal) == ("topic", "y", False, False)
        assert (y.type, y.auto_delete, y.internal) == ("fanout", True, True)
        assert sorted((each.destination.name, each.routing_key) for each in x.bindings()) == [("q", "a.#"), ("y", "b")]

    @spec("4.2", "arguments of a durable queue are compared after a restart too")
    def test_arguments(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.declare("q", durable=True, arguments={"x-single-active-consumer": True, "x-max-length": 3, "x-own": [1, "a"]})
        book.restart()
        queue = book.queue("q")
        assert queue.consumers.single_active and queue.arguments.max_length == 3
        assert queue.arguments.table == table_of({"x-single-active-consumer": True, "x-max-length": 3, "x-own": [1, "a"]})


class TestFanOut:
    def declare(self, channel: PlayedChannel) -> None:
        for name in ("q", "r", "s"):
            channel.declare(name, durable=True)
            channel.bind(name, "amq.fanout")

    def test_each_queue_has_its_own_fate(self, book: Playbook, channel: PlayedChannel) -> None:
        self.declare(channel)
        channel.publish("", b"1", b"2", exchange="amq.fanout")
        channel.get("q", no_ack=True)
        channel.get("r")
        channel.do(Queue.Delete, queue="s")
        book.restart()
        assert (again(book, "q"), again(book, "r")) == ([(b"2", False)], [(b"1", True), (b"2", False)])

    def test_over_segments(self, book: Playbook, channel: PlayedChannel, small_segments: None) -> None:
        self.declare(channel)
        bodies = [b"%040d" % number for number in range(30)]
        for body in bodies:
            channel.publish("", body, exchange="amq.fanout")
            book.settle()
        assert len(book.disk.segments()) > 3
        channel.do(Queue.Purge, queue="q")
        for _ in range(2):
            book.restart()
            assert (book.ready("q"), book.ready("r"), book.ready("s")) == ([], bodies, bodies)
            assert [segment.live for segment in book.broker.outbox.ledger._segments][-1] == 0


@spec("5.5", "order is that of publishing, over restarts and requeues")
def test_order_over_restarts(book: Playbook, channel: PlayedChannel) -> None:
    logged(book, channel, b"1", b"2")
    channel.consume("q")
    book.restart()
    channel = book.connect().channel()
    channel.publish("q", b"3")
    channel.qos(1)
    channel.consume("q")
    book.settle()
    channel.peer.lose()
    book.connect().channel().publish("q", b"4")
    book.restart()
    assert again(book, "q") == [(b"1", True), (b"2", True), (b"3", False), (b"4", False)]


@pytest.mark.parametrize("declare", [True, False])
def test_the_first_batch_after_a_restart_begins_a_segment(
    book: Playbook, channel: PlayedChannel, small_segments: None, declare: bool
) -> None:
    """Whatever comes first: what is truncated later must be dead."""
    logged(book, channel, b"1")
    book.restart()
    channel = book.connect().channel()
    if declare:
        channel.declare("r", durable=True)
        book.settle()
    channel.publish("q", b"2")
    book.settle()
    channel.get("q", no_ack=True)
    book.settle()
    for number in range(10):
        channel.publish("q", b"%0100d" % number)
        book.settle()
    book.restart()
    assert book.ready("q") == [b"2", *[b"%0100d" % number for number in range(10)]]

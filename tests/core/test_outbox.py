"""What a turn asks of the disk, in which order, and how the log's space comes back (docs/architecture.md, "The order law", "The log")."""

import pytest

from protocol.methods import Basic, Queue
from storage.records import Delivered, Enqueue, Record, Requeue, RouteSet, Settle, SettleRange, decode_records
from tests.core.playbook import Got, Playbook, PlayedChannel
from tests.spec import spec


def records(book: Playbook) -> list[Record]:
    """What the log holds."""
    return [record for commit in book.disk.scan() for data in commit.records for record in decode_records(data)]


def kinds(book: Playbook) -> list[str]:
    return [type(record).__name__ for record in records(book)]


def live(book: Playbook) -> list[int]:
    return [segment.live for segment in book.broker.outbox.ledger._segments]


class TestOrder:
    def test_creations_then_records_then_deletions(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.declare("old", durable=True)
        book.settle()
        channel.declare("new", durable=True)
        channel.publish("new", b"1")
        channel.do(Queue.Delete, queue="old")
        book.turn()
        old, new = "queue/%2F/old", "queue/%2F/new"
        seen = []
        while True:
            keys = book.disk.durable_keys()
            seen.append((new in keys, len(records(book)), old not in keys))
            if not book.step():
                break
        assert seen == [(False, 0, False), (True, 0, False), (True, 1, False), (True, 1, True)]

    @spec("4.5", "A name deleted and declared again never sees old records")
    def test_deleted_and_declared_again_in_one_turn(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.declare("q", durable=True)
        channel.publish("q", b"old")
        book.settle()
        old = book.queue("q").id
        channel.do(Queue.Delete, queue="q")
        channel.declare("q", durable=True)
        channel.publish("q", b"new")
        book.turn()
        assert book.queue("q").id != old
        book.restart()
        assert book.ready("q") == [b"new"]

    def test_settles_stand_behind_what_they_settle_and_marks_last(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.declare("q", durable=True)
        channel.declare("r", durable=True)
        channel.consume("q", "a")
        book.settle()
        channel.publish("q", b"1", b"2")
        book.turn()
        channel.acks(1, 2)
        channel.publish("r", b"3")
        channel.get("r", no_ack=True)
        book.settle()
        assert kinds(book) == ["Enqueue", "Delivered", "Enqueue", "SettleRange", "SettleRange"]

    def test_a_requeue_and_an_ack_of_one_message_stand_in_their_order(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.declare("q", durable=True)
        channel.publish("q", b"1")
        channel.get("q")
        book.settle()
        channel.reject(1)
        channel.get("q", no_ack=True)
        book.settle()
        assert kinds(book)[-2:] == ["Requeue", "SettleRange"]

    def test_settles_are_collected_by_queue(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.declare("q", durable=True)
        channel.publish("q", *[b"%d" % number for number in range(6)])
        channel.consume("q")
        book.settle()
        channel.acks(1, 2)
        channel.ack(4)
        channel.acks(6)
        book.settle()
        assert records(book)[-1] == Settle(book.queue("q").id, (1, 2, 4, 6))
        channel.acks(5, 3)
        book.settle()
        assert isinstance(records(book)[-1], Settle | SettleRange)
        book.restart()
        assert book.ready("q") == []

    @spec("5.3", "a transient message doesn't wait, and doesn't make anybody wait")
    def test_only_what_must_be_durable_asks_for_a_sync(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.declare("q", durable=True)
        book.settle()
        del book.shipped[:]
        channel.publish("q", b"1", persistent=False)
        book.turn()
        channel.get("q", no_ack=True)
        book.turn()
        channel.publish("q", b"2")
        book.turn()
        assert [batch.sync for batch in book.shipped] == [False, False, True]

    def test_a_queue_that_is_not_durable_writes_nothing(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.declare("q")
        channel.publish("q", b"1", b"2")
        channel.consume("q")
        book.settle()
        channel.reject(1)
        channel.ack(2)
        book.settle()
        assert not records(book)

    def test_without_a_log_a_durable_queue_writes_nothing(self) -> None:
        book = Playbook(logs=False)
        channel = book.connect().channel()
        channel.declare("q", durable=True)
        channel.publish("q", b"1")
        channel.get("q")
        book.settle()
        assert channel.names() == ["Queue.DeclareOk", "1"]
        assert not records(book)


class TestHeldReplies:
    @spec("2", "the -ok of anything durable waits; behind it everything on that channel waits")
    def test_everything_behind_a_held_reply_waits_in_order(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        channel.declare("q", durable=True)
        channel.publish("nowhere", b"back", mandatory=True)
        channel.declare("r")
        channel.publish("q", b"1")
        channel.get("q")
        other.declare("s")
        book.turns()
        assert channel.take() == []
        assert other.names() == ["Queue.DeclareOk"], "other channels don't wait"
        book.sync()
        assert channel.names() == ["Queue.DeclareOk", "NO_ROUTE", "Queue.DeclareOk", "1"]

    def test_a_reply_waits_for_a_batch_that_is_under_way(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        channel.declare("q", durable=True)
        book.turns()
        other.declare("q", durable=True)
        book.turns()
        assert other.take() == [], "what it says is ok isn't durable yet"
        book.sync()
        assert channel.names() == other.names() == ["Queue.DeclareOk"]

    def test_two_batches(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.declare("q", durable=True)
        channel.publish("q", b"1")
        book.turns()
        channel.declare("r", durable=True)
        channel.declare("s")
        book.turns()
        book.step()
        assert channel.names() == []
        book.step()
        assert channel.names() == ["Queue.DeclareOk"]
        book.step()
        assert channel.names() == ["Queue.DeclareOk", "Queue.DeclareOk"]

    @spec("6.8", "a reply to a direct reply-to consumer, and 6.1: no delivery before consume-ok")
    def test_a_direct_reply_waits_too(self, book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
        other.declare("requests")
        channel.declare("q", durable=True)
        channel.do(Basic.Consume, queue="amq.rabbitmq.reply-to", consumer_tag="r", no_ack=True)
        channel.publish("requests", b"ask", reply_to="amq.rabbitmq.reply-to")
        (address,) = book.broker.reply_channels
        other.publish(address, b"answer")
        book.turns()
        assert channel.take() == []
        book.sync()
        assert channel.names() == ["Queue.DeclareOk", "Basic.ConsumeOk", "answer"]

    def test_the_close_of_a_channel_is_its_last_word(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.declare("q", durable=True)
        channel.publish("x", b"1", exchange="missing")
        book.settle()
        assert channel.names() == ["Queue.DeclareOk", "Channel.Close"]


class TestSegments:
    @pytest.fixture(autouse=True)
    def small(self, small_segments: None) -> None:
        pass

    def test_a_deletion_frees_nothing_before_it_is_on_its_way(self, book: Playbook, channel: PlayedChannel) -> None:
        """The log's thread would truncate before it deletes; a crash between the two would bring the queue back empty."""
        channel.declare("q", durable=True)
        for _ in range(20):
            channel.publish("q", b"x" * 40)
            book.settle()
        assert len(book.disk.segments()) > 2
        channel.do(Queue.Delete, queue="q")
        assert book.broker.outbox.ledger.truncation() is None
        book.settle()
        assert sum(live(book)) == 0 and book.disk.segments()[0][0] > 0

    def test_a_set_is_defined_in_each_batch_that_names_it(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.declare("q", durable=True)
        channel.declare("r", durable=True)
        channel.bind("q", "amq.fanout")
        channel.bind("r", "amq.fanout")
        for number in range(12):
            channel.publish("", b"%040d" % number, exchange="amq.fanout")
            book.settle()
        segments: dict[int, list[Record]] = {}
        for commit in book.disk.scan():
            segments.setdefault(commit.segment, []).extend(record for data in commit.records for record in decode_records(data))
        assert len(segments) > 2
        for found in segments.values():
            assert [type(record) for record in found].count(RouteSet) == [type(record) for record in found].count(Enqueue)
            named = [record.set_id for record in found if isinstance(record, RouteSet)]
            assert [record.target for record in found if isinstance(record, Enqueue)] == named

    def test_a_roll_waits_for_a_batch_with_records(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.declare("q", durable=True)
        channel.publish("q", b"x" * 600)
        book.settle()
        channel.declare("r", durable=True)
        book.settle()
        assert len(book.disk.segments()) == 1
        channel.publish("q", b"1")
        book.settle()
        assert len(book.disk.segments()) == 2

    def test_what_is_dead_is_truncated_and_nothing_else(self, book: Playbook, channel: PlayedChannel) -> None:
        channel.declare("q", durable=True)
        channel.declare("keep", durable=True)
        for number in range(30):
            channel.publish("q", b"%040d" % number)
            book.settle()
        channel.publish("keep", b"kept")
        book.settle()
        assert book.disk.segments()[0][0] == 0
        channel.take()
        for number in range(30):
            channel.get("q", no_ack=number % 2 == 0)
        book.settle()
        tags = [reply.tag for reply in channel.take() if isinstance(reply, Got)]
        assert book.disk.segments()[0][0] == 0, "half of them are only out"
        channel.acks(*tags[1::2])
        book.settle()
        book.settle()
        assert len(book.disk.segments()) <= 2 and sum(live(book)) == 1
        book.restart()
        assert (book.ready("q"), book.ready("keep")) == ([], [b"kept"])

    @pytest.mark.parametrize("where", ["first", "middle", "last"])
    def test_a_live_message_holds_what_is_behind_it(self, book: Playbook, channel: PlayedChannel, where: str) -> None:
        channel.declare("q", durable=True)
        channel.declare("keep", durable=True)
        at = {"first": 0, "middle": 15, "last": 29}[where]
        for number in range(30):
            channel.publish("keep" if number == at else "q", b"%040d" % number)
            book.settle()
        channel.do(Queue.Purge, queue="q")
        book.settle()
        channel.publish("q", b"new")
        book.settle()
        assert sum(live(book)) == 2 and min(live(book)) >= 0
        assert (book.disk.segments()[0][0] == 0) is (where == "first")
        for _ in range(2):
            book.restart()
            assert (book.ready("keep"), book.ready("q")) == ([b"%040d" % at], [b"new"])

    @pytest.mark.parametrize("how", ["delete", "purge", "ack", "get", "requeue and ack", "delete while out"])
    def test_every_end_of_a_message_is_counted(self, book: Playbook, channel: PlayedChannel, how: str) -> None:
        channel.declare("q", durable=True)
        channel.publish("q", b"1", b"2", b"3")
        channel.publish("q", b"4", persistent=False)
        book.settle()
        assert sum(live(book)) == 4
        match how:
            case "delete":
                channel.get("q", no_ack=True)
                channel.do(Queue.Delete, queue="q")
            case "purge":
                channel.do(Queue.Purge, queue="q")
            case "get":
                for _ in range(4):
                    channel.get("q", no_ack=True)
            case _:
                channel.consume("q")
                book.settle()
                if how == "requeue and ack":
                    channel.nack(0, multiple=True)
                    book.settle()
                elif how == "delete while out":
                    channel.do(Queue.Delete, queue="q")
                    book.settle()
                    assert sum(live(book)) == 4, "who holds them may still settle them"
                    channel.nack(2)
                channel.ack(0, multiple=True)
        book.settle()
        assert set(live(book)) == {0}

    def test_a_fan_out_counts_for_each_queue(self, book: Playbook, channel: PlayedChannel) -> None:
        for name in ("q", "r"):
            channel.declare(name, durable=True)
            channel.bind(name, "amq.fanout")
        channel.declare("plain")
        channel.bind("plain", "amq.fanout")
        channel.publish("", b"1", b"2", exchange="amq.fanout")
        book.settle()
        assert live(book) == [4]
        channel.do(Queue.Purge, queue="plain")
        channel.do(Queue.Purge, queue="r")
        book.settle()
        assert live(book) == [2]
        channel.do(Queue.Delete, queue="q")
        book.settle()
        assert live(book) == [0]


def test_a_mark_is_written_once_a_turn_and_only_when_it_rises(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("q", durable=True)
    channel.consume("q")
    book.settle()
    channel.publish("q", b"1", b"2")
    channel.publish("q", b"3")
    book.settle()
    channel.reject(1)
    book.settle()
    found = records(book)
    assert [record.message_id for record in found if isinstance(record, Delivered)] == [3]
    assert [record.counts for record in found if isinstance(record, Requeue)] == [((1, 1),)]

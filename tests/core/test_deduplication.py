"""Contract 7.10: x-message-deduplication, for exchanges and for queues."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.methods import Confirm, Queue
from protocol.tables import table_of
from tests.core.deep import drain, text_of
from tests.core.playbook import Got, Playbook, PlayedChannel, Returned
from tests.spec import spec

NAME = "x-deduplication-header"


def exchange(book: Playbook, channel: PlayedChannel, size: int = 10, *, durable: bool = True, **arguments: Any) -> None:
    """The exchange `once`, with the queue `q` bound to it."""
    table = {"x-cache-size": size, **{key.replace("_", "-"): value for key, value in arguments.items()}}
    channel.exchange("once", "x-message-deduplication", durable=durable, arguments=table)
    channel.declare("q", durable=True)
    channel.bind("q", "once")
    book.settle()
    channel.take()


def publish(book: Playbook, channel: PlayedChannel, body: bytes, value: Any = None, to: str = "once", **more: Any) -> None:
    headers = ({} if value is None else {NAME: value}) | {key.replace("_", "-"): each for key, each in more.items()}
    channel.publish("" if to else "q", body, exchange=to, headers=table_of(headers))
    book.settle()


class TestExchanges:
    """The exchange type: fanout-like, x-cache-size required, x-cache-ttl, x-cache-persistence."""

    def test_a_value_passes_once(self, book: Playbook, channel: PlayedChannel) -> None:
        exchange(book, channel)
        for body, value in ((b"1", "a"), (b"2", "b"), (b"3", "a"), (b"4", None), (b"5", None), (b"6", 7), (b"7", "7"), (b"8", 7)):
            publish(book, channel, body, value)
        assert book.ready("q") == [b"1", b"2", b"4", b"5", b"6", b"7"]

    def test_so_many_are_remembered(self, book: Playbook, channel: PlayedChannel) -> None:
        exchange(book, channel, 2)
        for body, value in ((b"1", "a"), (b"2", "b"), (b"3", "c"), (b"4", "b"), (b"5", "a")):
            publish(book, channel, body, value)
        assert book.ready("q") == [b"1", b"2", b"3", b"5"]

    def test_for_so_long(self, book: Playbook, channel: PlayedChannel) -> None:
        exchange(book, channel, x_cache_ttl=1000)
        publish(book, channel, b"1", "a")
        publish(book, channel, b"2", "b", x_cache_ttl=5000)
        book.advance(999)
        publish(book, channel, b"3", "a")
        book.advance(1)
        publish(book, channel, b"4", "a")
        publish(book, channel, b"5", "b")
        book.advance(4000)
        publish(book, channel, b"6", "b")
        assert book.ready("q") == [b"1", b"2", b"4", b"6"]

    def test_a_duplicate_is_confirmed_and_returned_if_mandatory(self, book: Playbook, channel: PlayedChannel) -> None:
        exchange(book, channel)
        channel.call(Confirm.Select)
        publish(book, channel, b"1", "a")
        channel.take()
        publish(book, channel, b"2", "a")
        assert channel.names() == ["ack 2"]
        channel.publish("", b"3", exchange="once", headers=table_of({NAME: "a"}), mandatory=True)
        book.settle()
        assert next(type(reply) for reply in channel.take()) is Returned

    @pytest.mark.parametrize(("persistence", "kept"), [("disk", True), ("memory", False), (None, False)])
    def test_a_restart(self, book: Playbook, channel: PlayedChannel, persistence: str | None, kept: bool) -> None:
        exchange(book, channel, x_cache_ttl=10_000, **({} if persistence is None else {"x_cache_persistence": persistence}))
        for body, value in ((b"1", "a"), (b"2", "b"), (b"3", "c")):
            publish(book, channel, body, value)
        book.restart()
        book.settle()
        channel = book.connect().channel()
        publish(book, channel, b"4", "a")
        book.advance(10_000)
        publish(book, channel, b"5", "b")
        assert text_of(drain(book)) == ("1235" if kept else "12345")

    def test_what_was_seen_is_in_the_commit_of_what_passed(self, book: Playbook, channel: PlayedChannel) -> None:
        exchange(book, channel, x_cache_persistence="disk")
        publish(book, channel, b"1", "a")
        channel.publish("", b"2", exchange="once", headers=table_of({NAME: "b"}))
        book.turns()
        book.crash()
        book.settle()
        channel = book.connect().channel()
        publish(book, channel, b"3", "a")
        publish(book, channel, b"4", "b")
        assert text_of(drain(book)) == "14"

    def test_the_disk_keeps_no_more_than_fit(self, book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("broker.core.memory.READ_AHEAD_BYTES", 5)
        exchange(book, channel, 3, x_cache_persistence="disk")
        for number in range(10):
            publish(book, channel, b"x", f"v{number}")
        assert len(book.queue("amq.seen.once").ready) == 3
        book.restart()
        book.settle()
        channel = book.connect().channel()
        for number in (9, 8, 7, 6, 9):
            publish(book, channel, b"y", f"v{number}")
        assert text_of(drain(book)) == "x" * 10 + "y"
        assert (len(book.queue("amq.seen.once").ready), book.broker.memory.paging) == (3, 0)

    def test_forget_and_delete(self, book: Playbook, channel: PlayedChannel) -> None:
        exchange(book, channel, x_cache_persistence="disk")
        publish(book, channel, b"1", "a")
        channel.call(Queue.Purge, queue="amq.seen.once")
        publish(book, channel, b"2", "a")
        assert book.ready("q") == [b"1", b"2"]
        channel.get("amq.seen.once")
        assert channel.refusal()[0] == 403

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            ({}, "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0"),
            ({"x-cache-size": 0}, "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0"),
            ({"x-cache-size": "a"}, "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0"),
            ({"x-cache-size": 1, "x-cache-ttl": 0}, "Invalid argument, 'x-cache-ttl' must be an integer greater than 0"),
            ({"x-cache-size": 1, "x-cache-persistence": "x"}, "Invalid argument, 'x-cache-persistence' must be either 'memory' or 'disk'"),
        ],
    )
    def test_refused(self, book: Playbook, channel: PlayedChannel, arguments: dict[str, Any], problem: str) -> None:
        channel.exchange("once", "x-message-deduplication", arguments=arguments)
        assert channel.refusal() == (406, f"PRECONDITION_FAILED - {problem}")


class TestQueues:
    """The queue argument: dropped while the same value is still queued."""

    def declared(self, book: Playbook, channel: PlayedChannel, **arguments: Any) -> Any:
        table = {"x-message-deduplication": True, **{key.replace("_", "-"): value for key, value in arguments.items()}}
        channel.declare("q", durable=True, arguments=table)
        book.settle()
        channel.take()
        return book.queue("q")

    @spec("7.10", "dropped while the same value is still queued")
    def test_while_it_is_queued(self, book: Playbook, channel: PlayedChannel) -> None:
        self.declared(book, channel)
        publish(book, channel, b"1", "a", to="")
        publish(book, channel, b"2", "a", to="")
        publish(book, channel, b"3", None, to="")
        assert book.ready("q") == [b"1", b"3"]
        channel.get("q")
        (reply,) = [each for each in channel.take() if isinstance(each, Got)]
        publish(book, channel, b"4", "a", to="")
        assert book.ready("q") == [b"3"], "it isn't acked yet"
        channel.ack(reply.tag)
        publish(book, channel, b"5", "a", to="")
        assert book.ready("q") == [b"3", b"5"]

    def test_in_one_read(self, book: Playbook, channel: PlayedChannel) -> None:
        self.declared(book, channel)
        channel.publish("q", b"1", b"2", b"3", headers=table_of({NAME: "a"}))
        book.settle()
        assert book.ready("q") == [b"1"]

    def test_a_duplicate_is_confirmed_and_not_returned(self, book: Playbook, channel: PlayedChannel) -> None:
        self.declared(book, channel)
        channel.call(Confirm.Select)
        publish(book, channel, b"1", "a", to="")
        channel.take()
        channel.publish("q", b"2", headers=table_of({NAME: "a"}), mandatory=True)
        book.settle()
        assert channel.names() == ["ack 2"]

    def test_other_queues_get_it(self, book: Playbook, channel: PlayedChannel) -> None:
        self.declared(book, channel)
        channel.declare("all")
        for queue in ("q", "all"):
            channel.bind(queue, "amq.fanout")
        book.settle()
        publish(book, channel, b"1", "a", to="amq.fanout")
        publish(book, channel, b"2", "a", to="amq.fanout")
        assert (book.ready("q"), book.ready("all")) == ([b"1"], [b"1", b"2"])

    @pytest.mark.parametrize("gone", ["purge", "expire", "reject", "limit"])
    def test_whatever_way_it_goes(self, book: Playbook, channel: PlayedChannel, gone: str) -> None:
        self.declared(book, channel, **({"x_message_ttl": 10} if gone == "expire" else {"x_max_length": 1} if gone == "limit" else {}))
        publish(book, channel, b"1", "a", to="")
        if gone == "purge":
            channel.call(Queue.Purge, queue="q")
        elif gone == "expire":
            book.advance(10)
        elif gone == "limit":
            publish(book, channel, b"x", "b", to="")
        else:
            channel.get("q")
            channel.reject(1, requeue=False)
            book.settle()
        publish(book, channel, b"2", "a", to="")
        assert book.ready("q") == [b"2"]

    @pytest.mark.usefixtures("deep_queues")
    def test_paged_and_restarted(self, book: Playbook, channel: PlayedChannel) -> None:
        queue = self.declared(book, channel)
        for number in range(9):
            publish(book, channel, b"%d" % number, number, to="")
        assert queue.ready.runs > 0
        channel.get("q", no_ack=True)
        book.restart()
        channel = book.connect().channel()
        for number in (0, 1, 8):
            publish(book, channel, b"x", number, to="")
        assert text_of(drain(book)) == "12345678x"
        publish(book, channel, b"y", 8, to="")
        assert text_of(drain(book)) == "y"
        for number in range(9):
            publish(book, channel, b"%d" % number, number, to="")
        channel.call(Queue.Purge, queue="q")
        publish(book, channel, b"z", 5, to="")
        assert text_of(drain(book)) == "z"

"""What is there after a stop and after a kill -9 (contract 5.3; design.md §2, "The order law")."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from pamqp.commands import Basic, Connection, Exchange, Queue

from tests.oracle.leveret import Leveret
from tests.oracle.rabbitmq import BrokerFailed
from tests.runtime.conftest import Start
from tests.runtime.process import MB, PERSISTENT, fill, log_lines, soon
from tests.wire import METHOD, Wire, WireChannel, encode_method, frame_bytes

BOTH_ENDS = pytest.mark.parametrize("end", ["stop", "kill"])


def restart(broker: Leveret, end: str, *wires: Wire) -> None:
    """A graceful stop would wait for the wires' close-ok, so they go first; a kill surprises them."""
    if end == "stop":
        for wire in wires:
            wire.abort()
    getattr(broker, end)()
    broker.start()


def bodies(broker: Leveret, queue: str) -> list[bytes]:
    """What the queue holds, taken with a consumer that ends where the queue does."""
    return [message.body for message in drain(broker, queue)]


def drain(broker: Leveret, queue: str) -> list[Any]:
    with Wire.connect(broker, timeout=60) as wire:
        channel = wire.open_channel()
        count, _ = channel.counts(queue)
        channel.consume(queue, no_ack=True)
        messages = channel.deliveries(count)
        channel.nothing_more(queue)
        wire.close()
    return messages


def redelivered(messages: list[Any]) -> list[bool]:
    return [message.method.redelivered for message in messages]


def make_durable(channel: WireChannel, *queues: str) -> None:
    """So that whatever this channel said before is on the disk, once this returns: batches become durable in order."""
    for queue in queues or ("barrier",):
        channel.queue(queue, durable=True)
    channel.publish_confirmed("", queues[0] if queues else "barrier", b"barrier", delivery_mode=PERSISTENT)


# --- messages


@BOTH_ENDS
def test_a_durable_queue_keeps_its_persistent_messages_in_order(durable: Leveret, end: str) -> None:
    with Wire.connect(durable) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        channel.confirm_select()
        for number in range(300):
            properties: dict[str, Any] = {"headers": {"number": number}} if number % 3 else {}
            mode = PERSISTENT if number % 5 else 1
            channel.publish("", "q", b"%d" % number, delivery_mode=mode, content_type="a/b", **properties)
        assert all(channel.confirms(300).values())
        restart(durable, end, wire)
    messages = drain(durable, "q")
    assert [int(message.body) for message in messages] == [number for number in range(300) if number % 5]
    assert not any(redelivered(messages)), "nobody ever had them"
    for message in messages:
        number = int(message.body)
        assert message.properties["content_type"] == "a/b"
        assert message.headers.get("number") == (number if number % 3 else None)


@BOTH_ENDS
def test_what_was_unacked_comes_back_redelivered_in_its_place(durable: Leveret, end: str) -> None:
    with Wire.connect(durable) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        channel.publish_confirmed("", "q", *[b"%d" % number for number in range(10)], delivery_mode=PERSISTENT)
        channel.qos(4)
        channel.consume("q")
        assert [message.body for message in channel.deliveries(4)] == [b"0", b"1", b"2", b"3"]
        make_durable(wire.open_channel())
        restart(durable, end, wire)
    messages = drain(durable, "q")
    assert [message.body for message in messages] == [b"%d" % number for number in range(10)]
    assert redelivered(messages) == [True] * 4 + [False] * 6


@BOTH_ENDS
def test_what_was_settled_never_comes_back(durable: Leveret, end: str) -> None:
    with Wire.connect(durable) as wire:
        channel = wire.open_channel()
        for how in ("ack", "multiple", "reject", "get", "no_ack", "purge"):
            channel.queue(how, durable=True)
            channel.publish_confirmed("", how, *[b"%d" % number for number in range(10)], delivery_mode=PERSISTENT)
        channel.call(Queue.Purge, queue="purge")
        for _ in range(5):
            channel.take("no_ack", no_ack=True)
            channel.ack(channel.take("get", no_ack=False).tag)
        channel.qos(5)
        for how in ("ack", "multiple", "reject"):
            channel.consume(how, how)
            tags = [message.tag for message in channel.deliveries(5)]
            channel.cancel(how)
            if how == "multiple":
                channel.ack(tags[-1], multiple=True)
            elif how == "ack":
                wire.send_raw(b"".join(frame_bytes(METHOD, channel.number, encode_method(Basic.Ack, delivery_tag=tag)) for tag in tags))
            else:
                for tag in tags:
                    channel.reject(tag, requeue=False)
        make_durable(channel)
        restart(durable, end, wire)
    assert bodies(durable, "purge") == []
    for how in ("ack", "multiple", "reject", "get", "no_ack"):
        assert bodies(durable, how) == [b"%d" % number for number in range(5, 10)], how


@BOTH_ENDS
def test_a_requeued_message_keeps_its_place(durable: Leveret, end: str) -> None:
    with Wire.connect(durable) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        channel.publish_confirmed("", "q", b"0", b"1", b"2", b"3", delivery_mode=PERSISTENT)
        first, second = channel.take("q", no_ack=False), channel.take("q", no_ack=False)
        channel.ack(first.tag)
        channel.nack(second.tag)
        make_durable(channel)
        restart(durable, end, wire)
    messages = drain(durable, "q")
    assert [message.body for message in messages] == [b"1", b"2", b"3"]
    assert redelivered(messages) == [True, False, False]


@BOTH_ENDS
def test_a_big_message_over_many_blocks(durable: Leveret, end: str) -> None:
    body = os.urandom(20 * MB + 1)
    with Wire.connect(durable) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        channel.publish_confirmed("", "q", b"before", body, b"", b"after", delivery_mode=PERSISTENT)
        restart(durable, end, wire)
    assert bodies(durable, "q") == [b"before", body, b"", b"after"]


def test_the_queue_goes_on_after_several_restarts(durable: Leveret) -> None:
    """Ids go on rising: what comes later stays later."""
    for round_number in range(3):
        with Wire.connect(durable) as wire:
            channel = wire.open_channel()
            channel.queue("q", durable=True)
            if round_number:
                channel.take("q")
            channel.publish_confirmed("", "q", *[b"%d.%d" % (round_number, number) for number in range(3)], delivery_mode=PERSISTENT)
            make_durable(channel)
        restart(durable, "kill" if round_number % 2 else "stop")
    left = [b"%d.%d" % (round_number, number) for round_number in range(3) for number in range(3)][2:]
    assert bodies(durable, "q") == left


# --- what is declared


@BOTH_ENDS
def test_what_is_declared_durable_stays_and_nothing_else(durable: Leveret, end: str) -> None:
    arguments = {"x-max-length": 5, "x-message-ttl": 60000, "x-what-ever": "kept"}
    with Wire.connect(durable) as wire, Wire.connect(durable) as other:
        channel, consumer = wire.open_channel(), other.open_channel()
        channel.exchange("other", "fanout", durable=True)
        channel.exchange("x", "topic", durable=True, arguments={"alternate-exchange": "other"})
        channel.exchange("inside", "headers", durable=True, internal=True)
        channel.exchange("passing", "direct")
        channel.queue("q", durable=True, arguments=arguments)
        channel.queue("lost", durable=True)
        channel.queue("quorum", durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue("passing", auto_delete=False)
        channel.queue("mine", durable=True, exclusive=True)
        channel.queue("watched", durable=True, auto_delete=True)
        channel.queue("unbound", durable=True)
        consumer.queue("auto", auto_delete=True)
        consumer.consume("auto")
        consumer.consume("watched")
        channel.bind("q", "x", "a.*")
        channel.bind("lost", "other")
        channel.bind("q", "inside", arguments={"x-match": "all", "n": 1})
        channel.call(Exchange.Bind, destination="inside", source="x", routing_key="to.inside")
        channel.bind("unbound", "x", "a.*")
        channel.unbind("unbound", "x", "a.*")
        channel.exchange("deleted", durable=True)
        channel.call(Exchange.Delete, exchange="deleted")
        restart(durable, end, wire, other)
    with Wire.connect(durable) as wire:
        channel = wire.open_channel()
        gone = ["passing", "mine", "auto", *(["watched"] if end == "stop" else [])]
        for name in gone:
            channel.send(Queue.Declare, queue=name, passive=True)
            channel.expect_close(404)
            channel.reopen()
        for name in ("passing", "deleted"):
            channel.send(Exchange.Declare, exchange=name, passive=True)
            channel.expect_close(404)
            channel.reopen()
        # the same again is fine, another is not
        channel.queue("q", durable=True, arguments=arguments)
        channel.queue("quorum", durable=True, arguments={"x-queue-type": "quorum"})
        channel.exchange("x", "topic", durable=True, arguments={"alternate-exchange": "other"})
        for queue, other_arguments in (("q", arguments | {"x-max-length": 6}), ("quorum", {})):
            channel.send(Queue.Declare, queue=queue, durable=True, arguments=other_arguments)
            channel.expect_close(406)
            channel.reopen()
        channel.publish("x", "a.b", b"bound")
        channel.publish("x", "to.inside", b"headers", headers={"n": 1})
        channel.publish("x", "nowhere", b"alternate")
        channel.nothing_more()
        assert channel.bodies("q") == [b"bound", b"headers"]
        assert channel.bodies("lost") == [b"alternate"]
        assert channel.bodies("unbound") == []
        channel.publish("inside", "", b"?")
        channel.expect_close(403)


def test_users_stay(start: Start) -> None:
    broker = start(default_user="bob", default_pass="secret", default_vhost="tenant")
    with Wire.connect(broker, user="bob", password="secret", vhost="tenant") as wire:
        wire.open_channel().queue("q", durable=True)
    broker.kill()
    broker.arguments = ()
    broker.start()
    with Wire.connect(broker, user="bob", password="secret", vhost="tenant") as wire:
        assert wire.open_channel().counts("q") == (0, 0)
    with Wire(broker) as wire:
        wire.greet()
        wire.start_ok()
        assert wire.expect(Connection.Close).reply_code == 403, "guest is made on an empty directory only"


@pytest.mark.parametrize("what", ["queue", "exchange", "binding", "delete", "unbind"])
def test_an_ok_means_that_it_survives_kill_9_right_after(durable: Leveret, what: str) -> None:
    for number in range(2):
        with Wire.connect(durable) as wire:
            channel = wire.open_channel()
            name = f"{what}-{number}"
            channel.exchange(name, "fanout", durable=True)
            if what != "exchange":
                channel.queue(name, durable=True)
            if what in ("binding", "unbind"):
                channel.bind(name, name)
            if what == "unbind":
                channel.unbind(name, name)
            if what == "delete":
                channel.call(Queue.Delete, queue=name)
            restart(durable, "kill")
        with Wire.connect(durable) as wire:
            channel = wire.open_channel()
            channel.call(Exchange.Declare, exchange=name, exchange_type="fanout", passive=True)
            if what == "delete":
                channel.send(Queue.Declare, queue=name, passive=True)
                channel.expect_close(404)
            elif what != "exchange":
                channel.publish(name, "", b"?")
                assert channel.bodies(name) == ([b"?"] if what == "binding" else [])


@BOTH_ENDS
def test_hashed_values_find_their_queues_again(durable: Leveret, end: str) -> None:
    """Types, arguments and weights are restored, in whatever order, and nothing depends on the process (contract 3.9)."""
    queues = [f"q{number}" for number in range(5)]
    with Wire.connect(durable) as wire:
        channel = wire.open_channel()
        channel.exchange("consistent", "x-consistent-hash", durable=True, arguments={"hash-header": "h"})
        channel.exchange("modulus", "x-modulus-hash", durable=True)
        channel.exchange("recent", "x-recent-history", durable=True, arguments={"x-recent-history-length": 2})
        for weight, queue in enumerate(reversed(queues), start=1):
            channel.queue(queue, durable=True)
            channel.bind(queue, "consistent", str(weight))
            channel.bind(queue, "modulus")
        _publish_hashed(channel)
        restart(durable, end, wire)
    before = {queue: sorted(bodies(durable, queue)) for queue in queues}
    assert all(before.values()) and sum(map(len, before.values())) == 200
    with Wire.connect(durable) as wire:
        channel = wire.open_channel()
        _publish_hashed(channel)
        for number in range(3):
            channel.publish("recent", "k", b"%d" % number)
        assert channel.bodies(channel.bound_queue("recent")) == [b"1", b"2"]
        wire.close()
    assert {queue: sorted(bodies(durable, queue)) for queue in queues} == before


def _publish_hashed(channel: WireChannel) -> None:
    for exchange in ("consistent", "modulus"):
        for number in range(100):
            body = f"{exchange} {number}".encode()
            channel.publish_confirmed(exchange, f"k{number}", body, headers={"h": f"v{number}"}, delivery_mode=PERSISTENT)


@BOTH_ENDS
def test_a_name_declared_again_never_sees_old_messages(durable: Leveret, end: str) -> None:
    with Wire.connect(durable) as wire:
        channel = wire.open_channel()
        for again in (False, True):
            channel.queue("q", durable=True)
            channel.publish_confirmed("", "q", b"new" if again else b"old", delivery_mode=PERSISTENT)
            if not again:
                assert channel.call(Queue.Delete, queue="q").message_count == 1
        restart(durable, end, wire)
    assert bodies(durable, "q") == [b"new"]


def test_a_name_declared_again_after_the_restart_never_sees_old_messages(durable: Leveret) -> None:
    with Wire.connect(durable) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        channel.publish_confirmed("", "q", b"old", delivery_mode=PERSISTENT)
        channel.call(Queue.Delete, queue="q")
        restart(durable, "kill")
    with Wire.connect(durable) as wire:
        wire.open_channel().queue("q", durable=True)
        restart(durable, "kill")
    assert bodies(durable, "q") == []


# --- all or nothing


@BOTH_ENDS
def test_commit_ok_means_the_whole_transaction(durable: Leveret, end: str) -> None:
    with Wire.connect(durable) as wire:
        channel, other = wire.open_channel(), wire.open_channel()
        for queue in ("a", "b"):
            channel.queue(queue, durable=True)
        channel.publish_confirmed("", "a", b"in", delivery_mode=PERSISTENT)
        channel.tx_select()
        tag = channel.take("a", no_ack=False).tag
        for number in range(5):
            channel.publish("", "ab"[number % 2], b"%d" % number * 100_000, delivery_mode=PERSISTENT)
        channel.ack(tag)
        channel.commit()
        channel.publish("", "a", b"never committed", delivery_mode=PERSISTENT)
        make_durable(other)
        restart(durable, end, wire)
    assert bodies(durable, "a") == [b"0" * 100_000, b"2" * 100_000, b"4" * 100_000]
    assert bodies(durable, "b") == [b"1" * 100_000, b"3" * 100_000]


@BOTH_ENDS
def test_a_message_in_several_queues(durable: Leveret, end: str) -> None:
    """It is stored once, and settled queue by queue."""
    with Wire.connect(durable) as wire:
        channel = wire.open_channel()
        for queue in ("a", "b", "passing"):
            channel.queue(queue, durable=queue != "passing", auto_delete=False)
            channel.bind(queue, "amq.fanout")
        channel.publish_confirmed("amq.fanout", "", b"1", b"2", b"3", delivery_mode=PERSISTENT)
        assert channel.take("a").body == b"1"
        channel.queue("c", durable=True)
        channel.bind("c", "amq.fanout")
        channel.publish_confirmed("amq.fanout", "", b"4", delivery_mode=PERSISTENT)
        make_durable(channel)
        restart(durable, end, wire)
    assert bodies(durable, "a") == [b"2", b"3", b"4"]
    assert bodies(durable, "b") == [b"1", b"2", b"3", b"4"]
    assert bodies(durable, "c") == [b"4"]


@pytest.mark.parametrize("what", ["transaction", "fan-out"])
def test_a_torn_commit_counts_as_nothing(durable: Leveret, tmp_path: Path, what: str) -> None:
    """Wherever the log ends, after a power cut, say: all of it is there, or none."""
    body = b"x" * 100_000
    with Wire.connect(durable) as wire:
        channel = wire.open_channel()
        for queue in ("a", "b", "c"):
            channel.queue(queue, durable=True)
            channel.bind(queue, "amq.fanout")
        channel.publish_confirmed("amq.fanout", "", b"before", delivery_mode=PERSISTENT)
        (segment,) = (tmp_path / "data" / "log").iterdir()
        before = segment.stat().st_size
        if what == "transaction":
            channel.tx_select()
            channel.ack(channel.take("a", no_ack=False).tag)
            for queue in "bcbc":
                channel.publish("", queue, body, delivery_mode=PERSISTENT)
            channel.commit()
        else:
            channel.publish_confirmed("amq.fanout", "", body * 4, delivery_mode=PERSISTENT)
        after = segment.stat().st_size
        assert after > before + 400_000
        durable.kill()
    whole = segment.read_bytes()
    for share in (0.01, 0.3, 0.6, 0.9, 0.999):
        segment.write_bytes(whole[: before + int((after - before) * share)])
        durable.start()
        assert [bodies(durable, queue) for queue in "abc"] == [[b"before"]] * 3
        durable.kill()
        for file in (tmp_path / "data" / "log").iterdir():
            file.unlink()
    segment.write_bytes(whole)
    durable.start()
    expected = [[], [b"before", body, body], [b"before", body, body]] if what == "transaction" else [[b"before", body * 4]] * 3
    assert [bodies(durable, queue) for queue in "abc"] == expected


# --- the log


def test_a_second_broker_on_the_same_directory_is_refused(durable: Leveret) -> None:
    second = Leveret(durable.data_dir)
    with pytest.raises(BrokerFailed) as failure:
        second.start()
    assert f"the data directory {durable.data_dir} is in use by another broker, process {durable.pid}" in str(failure.value)
    assert second.status == -9 or second.status == 69
    with Wire.connect(durable) as wire:
        wire.close()


def test_a_restart_with_200_000_stored_messages(durable: Leveret) -> None:
    with Wire.connect(durable) as wire:
        wire.open_channel().queue("q", durable=True)
    fill(durable, "q", b"x" * 100, 200_000, delivery_mode=PERSISTENT)
    durable.kill()
    begin = time.monotonic()
    durable.start()
    seconds = time.monotonic() - begin
    print(f"start with 200,000 messages: {seconds:.2f} s")
    assert seconds < 10
    with Wire.connect(durable) as wire:
        channel = wire.open_channel()
        assert channel.counts("q") == (200_000, 0)
        channel.publish_confirmed("", "q", b"last", delivery_mode=PERSISTENT)


def test_a_fan_out_over_several_segments(durable: Leveret) -> None:
    """A segment defines its route sets for itself, so segments must end where the broker says."""
    with Wire.connect(durable) as wire:
        channel = wire.open_channel()
        for queue in ("a", "b"):
            channel.queue(queue, durable=True)
            channel.bind(queue, "amq.fanout")
        for _ in range(3):
            channel.publish_confirmed("amq.fanout", "", *[b"x" * MB] * 25, delivery_mode=PERSISTENT)
    restart(durable, "kill")
    for queue in ("a", "b"):
        assert [len(body) for body in bodies(durable, queue)] == [MB] * 75


def test_truncation_keeps_what_lives_when_the_first_thing_after_a_restart_is_a_declare(durable: Leveret) -> None:
    """The start begins a segment of the log, and the declare has no records to begin it with."""
    with Wire.connect(durable) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        channel.queue("bulk", durable=True)
        channel.publish_confirmed("", "q", *[b"old"] * 10, delivery_mode=PERSISTENT)
    restart(durable, "stop")
    with Wire.connect(durable) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        channel.publish_confirmed("", "q", *[b"new"] * 10, delivery_mode=PERSISTENT)
        for _ in range(10):
            assert channel.take("q").body == b"old"
        for _ in range(3):
            channel.publish_confirmed("", "bulk", *[b"x" * MB] * 25, delivery_mode=PERSISTENT)
        channel.publish_confirmed("", "bulk", b"x", delivery_mode=PERSISTENT)
    restart(durable, "kill")
    assert bodies(durable, "q") == [b"new"] * 10
    with Wire.connect(durable) as wire:
        assert wire.open_channel().counts("bulk") == (76, 0)


def test_space_comes_back(durable: Leveret) -> None:
    with Wire.connect(durable) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        for _ in range(6):
            channel.publish_confirmed("", "q", *[b"x" * MB] * 30, delivery_mode=PERSISTENT)
            channel.call(Queue.Purge, queue="q")
        make_durable(channel)
    assert isinstance(durable.data_dir, os.PathLike)
    directory = durable.data_dir / "log"
    soon(lambda: sum(file.stat().st_size for file in directory.iterdir()) < 150 * MB, 5, "the log's size")
    restart(durable, "kill")
    assert bodies(durable, "q") == []
    assert log_lines(durable, r"recovered \d+ queues with 1 messages")

"""When a vhost is idle, what keeps it from being so, and that no chain of consumers is missed."""

import asyncio
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aio_pika
import pika
import pika.exceptions
import pytest
from pamqp.commands import Basic, Exchange, Queue, Tx

from broker.testing.waiting.idle import readable
from tests.runtime.process import soon
from tests.testing.box import Box
from tests.testing.supervised import Supervised
from tests.wire import HEADER, METHOD, WireChannel, content_frames, encode_method, frame_bytes

QUIET_SECONDS = 0.02


def declare(channel: WireChannel, queue: str, **fields: Any) -> None:
    channel.call(Queue.Declare, queue=queue, **fields)


def why(box: Box) -> str:
    """What keeps it from being idle."""
    return box.reason("idle", timeout=0.1).partition(f"vhost '{box.vhost}' to be idle; ")[2]


# --- what is idle -----------------------------------------------------------------------------------------------------


def test_it_is_quiet_for_a_while_first(box: Box) -> None:
    assert box.wait("idle") >= QUIET_SECONDS
    assert box.wait("idle", quiet=0.2) >= 0.2
    assert box.wait("idle", quiet=0) < 1
    assert box.reason("idle", quiet=5, timeout=0.1).endswith(" s, and it has to be 5 s")


def test_what_nobody_can_take_is_idle(box: Box) -> None:
    """No consumer, no prefetch left, a delay, a consumer that waits for the active one to go: nothing goes on."""
    channel = box.wire().open_channel()
    declare(channel, "q")
    channel.publish("", "q", b"x")
    channel.call(Exchange.Declare, exchange="later", exchange_type="x-delayed-message", arguments={"x-delayed-type": "fanout"})
    channel.call(Queue.Bind, queue="q", exchange="later", routing_key="")
    channel.publish("later", "", b"x", headers={"x-delay": 60_000})
    declare(channel, "ttl", arguments={"x-message-ttl": 60_000})
    channel.publish("", "ttl", b"x")
    channel.publish("", "nobody", b"dropped")
    box.wait("idle")
    other = box.wire().open_channel()
    other.qos(1)
    other.consume("ttl", "c", no_ack=True)
    box.wait("idle")
    box.wait("queue", queue="ttl", ready=0)


def test_what_the_broker_says_is_no_quiet_either(box: Box) -> None:
    """A consumer that needn't ack may still have to think about what it was given."""
    channel, publisher = box.wire().open_channel(), box.wire().open_channel()
    declare(channel, "q")
    channel.consume("q", "c", no_ack=True)
    stop = threading.Event()

    def publish() -> None:
        while not stop.wait(0.01):
            publisher.publish("", "q", b"x")

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        assert box.reason("idle", quiet=0.5, timeout=0.6).endswith(" s, and it has to be 0.5 s")
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("no_ack", [True, False])
def test_a_message_that_is_consumed_is_waited_for(box: Box, no_ack: bool) -> None:
    channel = box.wire("worker").open_channel()
    declare(channel, "q")
    channel.consume("q", "c", no_ack=no_ack)
    channel.publish("", "q", b"x")
    tag = channel.deliver().tag
    if not no_ack:
        told = why(box)
        assert told.startswith("queue 'q' has 1 message unacked, held by consumer 'c' of connection 'worker' for 0.")
        channel.ack(tag)
    box.wait("idle")


def test_what_is_held_without_a_word_need_not_count(box: Box) -> None:
    """For assertions: a test that got a message and looks around meanwhile isn't waited for."""
    channel = box.wire("test").open_channel()
    channel.queue("q")
    channel.publish("", "q", b"1")
    tag = channel.take("q", no_ack=False).tag
    assert box.wait("idle", quiet=0, held=0.05) >= 0.04
    box.ask("POST", "/wait", {"for": "idle", "timeout": 0.1}, status=408)
    channel.ack(tag)
    box.wait("idle")


def test_only_its_own_vhost_counts(testing_broker: Supervised, box: Box) -> None:
    other = Box(testing_broker)
    try:
        channel = other.wire().open_channel()
        declare(channel, "q")
        channel.publish("", "q", b"x")
        channel.take("q", no_ack=False)
        box.wait("idle")
        assert "queue 'q' has 1 message unacked, held by basic.get" in why(other)
    finally:
        other.end()


# --- what isn't -------------------------------------------------------------------------------------------------------


def test_a_ready_message_that_a_consumer_could_take(box: Box) -> None:
    """The client doesn't read: what it was sent is on its way, and so is what it could still be sent."""
    channel = box.wire("worker", receive_buffer=4096).open_channel()
    declare(channel, "q")
    for _ in range(64):
        channel.publish("", "q", bytes(500_000))
    channel.consume("q", "c", no_ack=True)
    soon(lambda: "hasn't read" in why(box))
    assert "could take more, but its connection doesn't read what it was sent" in why(box)
    channel.deliveries(64)
    box.wait("idle")


def test_a_transaction_that_is_not_committed(box: Box) -> None:
    channel = box.wire("worker").open_channel()
    declare(channel, "q")
    channel.call(Tx.Select)
    channel.publish("", "q", b"x")
    assert why(box) == "channel 1 of connection 'worker' has published 1 message and not committed it"
    channel.commit()
    box.wait("idle")
    channel.ack(channel.take("q", no_ack=False).tag)
    assert why(box).startswith("queue 'q' has 1 message unacked, held by basic.get of connection 'worker'")
    channel.rollback()
    channel.ack(1)
    channel.commit()
    box.wait("idle")


def test_half_a_frame(box: Box) -> None:
    wire = box.wire("worker")
    channel = wire.open_channel()
    declare(channel, "q")
    frames = frame_bytes(METHOD, 1, encode_method(Basic.Publish, routing_key="q")) + content_frames(1, b"abc", {}, 4096)
    for count in (5, len(frames) - 2):
        wire.send_raw(frames[:count])
        soon(lambda: "that are no whole frames yet" in why(box))
        assert "connection 'worker' has sent " in why(box)
        wire.send_raw(frames[count:])
        box.wait("idle")
    box.wait("queue", queue="q", ready=2)


def test_a_message_whose_body_is_still_to_come(box: Box) -> None:
    wire = box.wire("worker")
    channel = wire.open_channel()
    declare(channel, "q")
    wire.send_frame(METHOD, 1, encode_method(Basic.Publish, routing_key="q"))
    header = content_frames(1, b"x", {}, 4096)
    end = header.index(b"\xce") + 1
    assert header[0] == HEADER
    wire.send_raw(header[:end])
    soon(lambda: "that are no whole frames yet" in why(box))
    wire.send_raw(header[end:])
    box.wait("idle")
    box.wait("queue", queue="q", ready=1)


def test_what_a_socket_has_is_seen_before_the_event_loop_reads_it() -> None:
    ends = [socket.socketpair() for _ in range(3)]
    silent, talking, gone = (ours.fileno() for ours, _ in ends)
    assert readable([]) == readable([silent, talking, gone]) == []
    ends[1][1].send(b"x")
    ends[2][1].close()
    assert readable([silent, talking, gone]) == [talking, gone]
    for each in ends:
        each[0].close()
        each[1].close()


def test_heartbeats_are_no_noise(box: Box) -> None:
    wire = box.wire("worker")
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.005):
            wire.send_raw(b"\x08\0\0\0\0\0\0\xce")

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        box.wait("idle", timeout=10)
    finally:
        stop.set()
        thread.join()


def test_what_clients_did_is_durable_before_it_is_idle(tmp_path: Path) -> None:
    """Confirms have come, and acks too are down on the disk; what others did isn't waited for."""
    with Supervised(tmp_path / "data") as broker:
        box, other = Box(broker), Box(broker)
        channel = box.wire("worker").open_channel()
        declare(channel, "q", durable=True)
        for _ in range(3):
            channel.publish("", "q", b"x", delivery_mode=2)
        box.wait("idle")
        broker.ask("POST", "/faults", {"do": "slow_disk", "seconds": 2}, status=201)
        channel.publish("", "q", b"x", delivery_mode=2)
        channel.ack(channel.take("q", no_ack=False).tag)
        box.wait("queue", queue="q", ready=3, unacked=0)
        assert why(box) == "what clients did is on its way to the disk"
        channel.confirm_select()
        channel.publish("", "q", b"x", delivery_mode=2)
        assert why(box) == "channel 1 of connection 'worker' waits for 1 confirm; what clients did is on its way to the disk"
        other.wait("idle", timeout=1)
        box.wait("idle")
        channel.wire.timeout = 0.1
        channel.expect(Basic.Ack, delivery_tag=1)
        broker.kill()
        broker.start()
        box.wait("queue", queue="q", ready=4)


# --- chains -----------------------------------------------------------------------------------------------------------


@contextmanager
def pika_chain(box: Box) -> Iterator[list[bytes]]:
    """A consumer on a thread that acks and *then* publishes on, and one that acks that; gives what came to the end of it."""
    done: list[bytes] = []
    connections: list[pika.BlockingConnection] = []
    threads: list[threading.Thread] = []

    def consume(queue: str, onward: str | None) -> None:
        connection = pika.BlockingConnection(box.pika(queue))
        connections.append(connection)
        channel = connection.channel()
        channel.queue_declare(queue)
        channel.basic_qos(prefetch_count=3)

        def handle(_channel: Any, method: Any, _properties: Any, body: bytes) -> None:
            channel.basic_ack(method.delivery_tag)
            if onward is None:
                done.append(body)
            else:
                channel.basic_publish("", onward, body)

        channel.basic_consume(queue, handle)
        with suppress(pika.exceptions.AMQPConnectionError, pika.exceptions.AMQPChannelError):
            channel.start_consuming()

    for queue, onward in (("last", None), ("first", "last")):
        threads.append(threading.Thread(target=consume, args=(queue, onward), daemon=True))
        threads[-1].start()
        box.wait("consumer", queue=queue)
    yield done
    for connection, thread in zip(connections, threads, strict=True):
        connection.add_callback_threadsafe(connection.close)
        thread.join(10)


def run_chain(box: Box, rounds: int) -> list[int]:
    """Publish some, wait until it is idle, and look whether all of it has come to the end; returns the rounds in which it hadn't."""
    seed = random.Random(rounds)
    missed = []
    with pika_chain(box) as done:
        publisher = box.wire("publisher").open_channel()
        published = 0
        for round_ in range(rounds):
            for _ in range(seed.randint(1, 10)):
                publisher.publish("", "first", b"%d" % published)
                published += 1
            box.wait("idle", timeout=30)
            if settled(box, "last") != published:
                missed.append(round_)
            # What was acked at the end of the chain has been heard by the broker; the thread notes it a moment later.
            soon(lambda wanted=published: len(done) >= wanted, what=f"round {round_}: {len(done)} of {published}")
    return missed


def settled(box: Box, queue: str) -> int:
    """How many messages came to the queue and were acked."""
    stats = box.broker.http.get(f"/api/queues/{box.vhost}/{queue}")["message_stats"]
    acked: int = stats["ack"]
    return acked


def test_no_chain_is_missed(box: Box) -> None:
    assert run_chain(box, 20) == []


@pytest.mark.soak
def test_no_chain_is_missed_in_many_rounds(testing_broker: Supervised) -> None:
    for _ in range(10):
        box = Box(testing_broker)
        assert run_chain(box, 200) == []
        box.end()


@pytest.mark.soak
def test_hardly_a_chain_is_missed_where_a_client_is_starved(testing_broker: Supervised) -> None:
    """A thread of its own process has no other thought than to be in the way: every word takes it two or three hundredths of a second."""
    stop = threading.Event()
    hog = threading.Thread(target=lambda: [None for _ in iter(stop.is_set, True)])
    hog.start()
    try:
        missed = []
        for _ in range(5):
            box = Box(testing_broker)
            missed += run_chain(box, 200)
            box.end()
        assert len(missed) <= 10, missed
    finally:
        stop.set()
        hog.join()


def test_no_chain_of_aio_pika_is_missed(box: Box) -> None:
    asyncio.run(_aio_pika(box))


async def _aio_pika(box: Box) -> None:
    connection = await aio_pika.connect_robust(box.url)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=2)
        first, last = [await channel.declare_queue(name) for name in ("first", "last")]
        done = 0

        async def onward(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            await message.ack()
            await channel.default_exchange.publish(aio_pika.Message(message.body), "last")

        async def end(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            nonlocal done
            async with message.process():
                done += 1

        await first.consume(onward)
        await last.consume(end)
        for round_ in range(1, 11):
            for _ in range(5):
                await channel.default_exchange.publish(aio_pika.Message(b"x"), "first")
            await asyncio.to_thread(box.wait, "idle", timeout=10)
            assert done == 5 * round_

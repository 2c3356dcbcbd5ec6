"""The broker's clock, moved while clients do something: what they said before counts, what they say meanwhile waits; and with `settle` they
are part of it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import aio_pika
import pika
import pytest

from tests.testing.supervised import Supervised
from tests.testing.test_time import HALF_AN_HOUR, advance, now
from tests.wire import Wire, WireChannel, eventually

DEAD_LETTERS = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}


@pytest.fixture(scope="module")
def broker() -> Iterator[Supervised]:
    """Its clock is frozen."""
    with Supervised() as supervised:
        supervised.ask("POST", "/clock/freeze")
        yield supervised


@pytest.fixture
def channel(broker: Supervised) -> Iterator[WireChannel]:
    with Wire.connect(broker) as wire:
        yield wire.open_channel()
        wire.close()


# --- without settle -------------------------------------------------------------------------------------------------


def test_what_was_sent_before_is_heard_before(broker: Supervised, channel: WireChannel) -> None:
    """Nobody has waited for a confirm."""
    queue = channel.queue(arguments={"x-message-ttl": 1000})
    for _ in range(2000):
        channel.publish("", queue, b"1")
    advance(broker, 1)
    assert channel.counts(queue)[0] == 0


def test_what_is_sent_meanwhile_is_heard_afterwards() -> None:
    """In an hour and more with a timer each second, which take the broker longer than a moment."""
    with Supervised() as broker, Wire.connect(broker) as wire, Wire.connect(broker) as other:
        channel, publishing = wire.open_channel(), other.open_channel()
        dead = channel.queue("dead", auto_delete=True)
        short = channel.queue("short", auto_delete=True, arguments=DEAD_LETTERS | {"x-message-ttl": 1})
        timers = channel.queue()
        for number in range(5000):
            channel.publish("", timers, b"", expiration=str(1000 * number))
        channel.counts(dead)
        with _Flood(lambda: (publishing.publish("", short, b""), publishing.counts(short))):
            eventually(lambda: channel.counts(dead)[0])
            begin = now(broker)
            assert advance(broker, 5000) > 4000
            end = now(broker)
            before = channel.counts(dead)[0]
            eventually(lambda: channel.counts(dead)[0] > before + 10)
        advance(broker, 1)
        count = channel.counts(dead)[0]
        channel.consume(dead, no_ack=True)
        died = [int(each.headers["x-death"][0]["time"].timestamp()) for each in channel.deliveries(count)]
        assert not [each for each in died if begin // 1000 + 60 < each < end // 1000 - 60]


@pytest.mark.parametrize("frozen", [True, False])
def test_who_never_stops_is_not_waited_for(frozen: bool) -> None:
    """Three publishers, one of which always has something under way."""
    with Supervised() as broker, ExitStack() as stack:
        channels = [stack.enter_context(Wire.connect(broker)).open_channel() for _ in range(3)]
        queues = [channel.queue(arguments={"x-max-length": 10}) for channel in channels]
        if frozen:
            broker.ask("POST", "/clock/freeze")

        def publish(channel: WireChannel, queue: str) -> None:
            for _ in range(200):
                channel.publish("", queue, b"")
            channel.counts(queue)

        for channel, queue in zip(channels, queues, strict=True):
            stack.enter_context(_Flood(partial(publish, channel, queue)))
        for _ in range(3):
            advance(broker, 60)


class _Flood(threading.Thread):
    """Does something again and again as long as the block lasts."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._act = act
        self._ends = threading.Event()

    def run(self) -> None:
        while not self._ends.is_set():
            self._act()

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self.join()


# --- with settle ----------------------------------------------------------------------------------------------------


def test_settle_does_not_wait_for_what_is_held_for_long(broker: Supervised, channel: WireChannel) -> None:
    """Or no consumer timeout could be tested with it."""
    queue = channel.queue()
    channel.consume(queue)
    channel.publish("", queue, b"1")
    channel.deliver()
    advance(broker, HALF_AN_HOUR + 1, settle=True, timeout=5)
    channel.expect_close(406)


class Retrying(threading.Thread):
    """A consumer as many are: what fails goes to another queue for ten seconds, and comes back; five times."""

    def __init__(self, broker: Supervised, name: str) -> None:
        super().__init__(daemon=True)
        self.tried = 0
        self.given_up = 0
        self._connection = pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port))
        self._channel = self._connection.channel()
        self._retries = f"{name}.retries"
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": name, "x-message-ttl": 10_000}
        self._channel.queue_declare(name, auto_delete=True)
        self._channel.queue_declare(self._retries, auto_delete=True, arguments=arguments)
        self._channel.basic_consume(name, self._fail)

    def run(self) -> None:
        self._channel.start_consuming()

    def _fail(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self.tried += 1
        if self.tried == 5:
            self.given_up += 1
        else:
            channel.basic_publish("", self._retries, body, properties)
        channel.basic_ack(method.delivery_tag)

    def end(self) -> None:
        self._connection.add_callback_threadsafe(self._channel.stop_consuming)
        self.join(10)
        self._connection.close()


def test_without_clients_time_just_passes(broker: Supervised, channel: WireChannel) -> None:
    retrying = Retrying(broker, "hasty")
    channel.publish("", "hasty", b"1")
    retrying.start()
    eventually(lambda: channel.counts("hasty.retries")[0] == 1)
    advance(broker, 60)
    eventually(lambda: retrying.tried == 2 and channel.counts("hasty.retries")[0] == 1)
    retrying.end()


def test_with_settle_they_are_part_of_it(broker: Supervised, channel: WireChannel) -> None:
    retrying = Retrying(broker, "patient")
    retrying.start()
    channel.publish("", "patient", b"1")
    begin = now(broker)
    advance(broker, 39.999, settle=True)
    assert (retrying.tried, retrying.given_up) == (4, 0)
    advance(broker, 0.001, settle=True)
    assert (retrying.tried, retrying.given_up) == (5, 1)
    assert now(broker) == begin + 40_000
    retrying.end()


@pytest.mark.asyncio
async def test_settle_with_aio_pika(broker: Supervised) -> None:
    """Two queues, whose workers hand on to each other once a minute."""
    connection = await aio_pika.connect(f"amqp://guest:guest@{broker.host}:{broker.port}/")
    channel = await connection.channel()
    heard: list[tuple[str, bytes]] = []
    for name, other in (("ping", "pong"), ("pong", "ping")):
        queue = await channel.declare_queue(name, exclusive=True)
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": other}
        await channel.declare_queue(f"{name}.later", exclusive=True, arguments=arguments)

        async def work(message: aio_pika.abc.AbstractIncomingMessage, name: str = name) -> None:
            async with message.process():
                heard.append((name, message.body))
                following = aio_pika.Message(b"%d" % (int(message.body) + 1), expiration=60)
                await channel.default_exchange.publish(following, f"{name}.later")

        await queue.consume(work)
    await channel.default_exchange.publish(aio_pika.Message(b"0"), "ping")
    await asyncio.to_thread(advance, broker, 240, settle=True)
    assert heard == [("ping", b"0"), ("pong", b"1"), ("ping", b"2"), ("pong", b"3"), ("ping", b"4")]
    await connection.close()


def test_clients_that_never_rest_are_not_waited_for_for_ever(broker: Supervised, channel: WireChannel) -> None:
    """A consumer that puts back what it gets."""
    queue = channel.queue()
    channel.consume(queue)
    channel.publish("", queue, b"1")
    with _Flood(lambda: channel.nack(channel.deliver().tag)):
        refused = broker.ask("POST", "/clock/advance", {"seconds": 60, "settle": True, "timeout": 0.2}, status=408)
    assert "for vhost '/' to be idle" in refused["reason"]
    assert f"the clock stands at {now(broker)}, where it had got to" in refused["reason"]

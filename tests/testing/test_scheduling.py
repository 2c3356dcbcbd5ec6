"""Unfair scheduling: what an application relies on and AMQP doesn't promise is found, and what AMQP promises holds."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import aio_pika
import pika
import pytest
from pamqp.commands import Basic, Queue

from tests.testing.supervised import Supervised
from tests.wire import METHOD, Wire, WireChannel

SEEDS = range(100)
FAIR = {"mode": "fair", "seed": None}


@pytest.fixture(scope="module")
def broker() -> Iterator[Supervised]:
    with Supervised() as supervised:
        yield supervised


@pytest.fixture
def unfair(broker: Supervised) -> Iterator[Callable[[int | None], None]]:
    """Call it with a seed, or None to be fair again."""

    def schedule(seed: int | None) -> None:
        wanted: dict[str, Any] = {"mode": "fair"} if seed is None else {"mode": "adversarial", "seed": seed}
        assert broker.ask_vhost("PUT", "/", "/scheduling", wanted)["seed"] == seed

    yield schedule
    schedule(None)


# --- what applications rely on --------------------------------------------------------------------------------------


class Shop:
    """Relies on the order coming before its payment, for it was published before; they are in two queues."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._orders: set[bytes] = set()
        self._paid = asyncio.Event()
        self.surprised = False

    async def open(self) -> None:
        for name, take in (("orders", self._order), ("payments", self._payment)):
            queue = await self._channel.declare_queue(name, exclusive=True)
            await queue.consume(take, no_ack=True)

    async def buy(self, number: int) -> None:
        self._paid.clear()
        for name in ("orders", "payments"):
            await self._channel.default_exchange.publish(aio_pika.Message(b"%d" % number), name)
        await asyncio.wait_for(self._paid.wait(), 10)

    async def _order(self, message: Any) -> None:
        self._orders.add(message.body)

    async def _payment(self, message: Any) -> None:
        self.surprised = self.surprised or message.body not in self._orders
        self._paid.set()


@pytest.mark.asyncio
@pytest.mark.parametrize("confirms", [True, False], ids=["confirms", "no confirms"])
async def test_one_queue_before_another(broker: Supervised, unfair: Callable[[int | None], None], confirms: bool) -> None:
    connection = await aio_pika.connect(f"amqp://guest:guest@{broker.host}:{broker.port}/")
    shop = Shop(await connection.channel(publisher_confirms=confirms))
    await shop.open()
    for number in range(50):
        await shop.buy(number)
    assert not shop.surprised, "fairly served it works"
    found = None
    for seed in SEEDS:
        await asyncio.to_thread(unfair, seed)
        await shop.buy(1000 + seed)
        if shop.surprised:
            found = seed
            break
    assert found is not None
    await connection.close()


def test_each_consumer_in_turn(broker: Supervised, unfair: Callable[[int | None], None]) -> None:
    """Two workers, who rely on getting one message each."""
    with pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port)) as connection:
        channels = [connection.channel(), connection.channel()]
        channels[0].queue_declare("turns", auto_delete=True)
        got: list[int] = []

        def work(worker: int) -> Callable[..., None]:
            def got_one(channel: Any, method: Any, *_: Any) -> None:
                got.append(worker)
                channel.basic_ack(method.delivery_tag)

            return got_one

        for worker, channel in enumerate(channels):
            channel.basic_qos(prefetch_count=4)
            channel.basic_consume("turns", work(worker))

        def share_out() -> list[int]:
            got.clear()
            for _ in range(6):
                channels[0].basic_publish("", "turns", b"")
            while len(got) < 6:
                connection.process_data_events(time_limit=1)
            return sorted(got)

        assert [share_out() for _ in range(5)] == [[0, 0, 0, 1, 1, 1]] * 5
        for seed in SEEDS:
            unfair(seed)
            if share_out() != [0, 0, 0, 1, 1, 1]:
                break
        else:
            pytest.fail("always in turn")


# --- what AMQP promises ---------------------------------------------------------------------------------------------


class Crowd:
    """Consumers of several queues, who ack and put back as a seed has it, and note what they see."""

    def __init__(self, broker: Supervised, random: Random) -> None:
        self._random = random
        self._wires = [Wire.connect(broker) for _ in range(3)]
        self._channels = [wire.open_channel() for wire in self._wires for _ in range(2)]
        self._consumers: dict[str, tuple[WireChannel, str]] = {}
        self.fresh: dict[str, list[int]] = defaultdict(list)
        """By consumer: what it got that was never delivered before."""
        self.acked: list[tuple[str, int]] = []
        self.redelivered = 0
        self.passed = 0
        """How often something overtook what had come back."""
        self._back: dict[str, set[int]] = defaultdict(set)
        self._first = self._channels[0]
        for number in range(3):
            self._first.queue(f"crowd.{number}", auto_delete=True)
        for number, channel in enumerate(self._channels):
            channel.qos(random.randint(1, 4))
            for queue in random.sample(range(3), 2):
                tag = f"{number}.{queue}"
                channel.consume(f"crowd.{queue}", tag)
                self._consumers[tag] = channel, f"crowd.{queue}"

    def play(self, count: int) -> None:
        """So many messages to each queue, until all are acked."""
        for number in range(count):
            for queue in self._random.sample(range(3), 3):
                self._first.publish("", f"crowd.{queue}", b"%d" % number)
        while len(self.acked) < 3 * count:
            for channel in self._channels:
                self._hear(channel)

    def _hear(self, channel: WireChannel) -> None:
        """All that came, up to the answer of a round trip."""
        channel.send(Basic.Qos, prefetch_count=self._random.randint(1, 4))
        while True:
            frame = channel.wire.peek_frame(channel.number)
            if frame.type == METHOD and isinstance(frame.method, Basic.QosOk):
                channel.wire.next_frame(channel.number)
                return
            self._take(channel, channel.deliver())

    def _take(self, channel: WireChannel, message: Any) -> None:
        tag, number = message.method.consumer_tag, int(message.body)
        queue = self._consumers[tag][1]
        back = self._back[queue]
        if message.method.redelivered:
            self.redelivered += 1
            back.discard(number)
        else:
            self.fresh[tag].append(number)
            self.passed += bool(back) and min(back) < number
        if self._random.random() < 0.2:
            back.add(number)
            channel.nack(message.tag)
        else:
            self.acked.append((queue, number))
            channel.ack(message.tag)

    def leave(self) -> None:
        for wire in self._wires:
            wire.close()


@pytest.mark.parametrize("seed", range(4))
def test_order_and_number(broker: Supervised, unfair: Callable[[int | None], None], seed: int) -> None:
    """Nothing is lost or doubled, and what a consumer gets for the first time of one queue comes in the order of publishing."""
    unfair(seed)
    crowd = Crowd(broker, Random(seed))
    crowd.play(40)
    assert sorted(crowd.acked) == [(f"crowd.{queue}", number) for queue in range(3) for number in range(40)]
    for tag, numbers in crowd.fresh.items():
        assert numbers == sorted(numbers), tag
    assert crowd.redelivered > 0 and crowd.passed > 0
    crowd.leave()


def test_one_consumer_alone_has_back_first_what_it_put_back(broker: Supervised, unfair: Callable[[int | None], None]) -> None:
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        channel.qos(1)
        queue = channel.queue()
        channel.consume(queue)
        for seed in range(10):
            unfair(seed)
            for body in (b"1", b"2"):
                channel.publish("", queue, body)
            for _ in range(5):
                message = channel.deliver()
                assert message.body == b"1"
                channel.nack(message.tag)
            for body in (b"1", b"2"):
                message = channel.deliver()
                assert message.body == body
                channel.ack(message.tag)
        wire.close()


def test_a_single_active_consumer_and_priorities(broker: Supervised, unfair: Callable[[int | None], None]) -> None:
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        channel.qos(100)
        single, ranked = channel.queue(arguments={"x-single-active-consumer": True}), channel.queue()
        for tag, priority in (("low", 0), ("high", 5)):
            channel.consume(single, f"single.{tag}")
            channel.consume(ranked, f"ranked.{tag}", arguments={"x-priority": priority})
        for seed in range(5):
            unfair(seed)
            for _ in range(8):
                channel.publish("", single, b"")
                channel.publish("", ranked, b"")
            tags = [message.method.consumer_tag for message in channel.deliveries(16)]
            assert sorted(tags) == ["ranked.high"] * 8 + ["single.low"] * 8
            channel.ack(0, multiple=True)
        wire.close()


def test_a_limit_over_the_channel(broker: Supervised, unfair: Callable[[int | None], None]) -> None:
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        channel.qos(3, everywhere=True)
        queue = channel.queue()
        for tag in "ab":
            channel.consume(queue, tag)
        unfair(3)
        for number in range(10):
            channel.publish("", queue, b"%d" % number)
        heard = [message.body for message in channel.deliveries(3)]
        channel.expect_counts(queue, 7, 2)
        for tag in range(1, 8):
            channel.ack(tag)
            heard.append(channel.deliver().body)
        assert heard == [b"%d" % number for number in range(10)]
        wire.close()


def test_nothing_is_dropped_that_somebody_is_to_have(broker: Supervised, unfair: Callable[[int | None], None]) -> None:
    """A queue that must wait a moment is not over its limit because of that, and what expires at once does so once it was offered."""
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        channel.confirm_select()
        short, hasty = channel.queue(arguments={"x-max-length": 1}), channel.queue(arguments={"x-message-ttl": 0})
        channel.consume(short, no_ack=True)
        channel.consume(hasty, no_ack=True)
        number = 0
        for seed in range(20):
            unfair(seed)
            for queue in (short, hasty):
                number += 1
                channel.publish("", queue, b"%d" % number)
                frames = [wire.next_frame(channel.number).type for _ in range(4)]
                assert sorted(frames) == [1, 1, 2, 3], "a confirm and a delivery"
        wire.close()


def test_nobody_waits_while_time_passes(broker: Supervised, unfair: Callable[[int | None], None]) -> None:
    """What is due is given out at its own moment, before it expires in its turn."""
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        late = channel.queue(arguments={"x-message-ttl": 1000})
        waiting = channel.queue(arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": late})
        channel.consume(late, no_ack=True)
        for seed in range(20):
            unfair(seed)
            channel.publish("", waiting, b"%d" % seed, expiration="60000")
            broker.ask("POST", "/clock/advance", {"seconds": 3600})
            assert channel.deliver().body == b"%d" % seed
        wire.close()


# --- the interface --------------------------------------------------------------------------------------------------


def test_a_sandbox_of_its_own(broker: Supervised) -> None:
    """Another vhost is none of its business, and it ends with the sandbox."""
    broker.ask("POST", "/sandboxes", {"name": "unfair"})
    asked = broker.ask_vhost("PUT", "unfair", "/scheduling", {"mode": "adversarial"})
    assert broker.ask_vhost("GET", "unfair", "/scheduling") == asked == {"mode": "adversarial", "seed": asked["seed"]}
    assert broker.ask_vhost("PUT", "unfair", "/scheduling", {"mode": "adversarial"}) == asked, "from the broker's seed"
    assert broker.ask_vhost("GET", "/", "/scheduling") == FAIR
    broker.ask("DELETE", "/sandboxes/unfair")
    broker.ask_vhost("GET", "unfair", "/scheduling", status=404)
    broker.ask("POST", "/sandboxes", {"name": "unfair"})
    assert broker.ask_vhost("GET", "unfair", "/scheduling") == FAIR
    broker.ask("DELETE", "/sandboxes/unfair")


@pytest.mark.parametrize(
    ("body", "reason"),
    [({}, "mode is null"), ({"mode": "random"}, "expected fair or adversarial"), ({"mode": "fair", "seed": "x"}, "seed")],
)
def test_bad_input(broker: Supervised, body: dict[str, Any], reason: str) -> None:
    assert reason in broker.ask_vhost("PUT", "/", "/scheduling", body, status=400)["reason"]
    assert broker.ask_vhost("GET", "/", "/scheduling") == FAIR


def test_who_waits_is_served_when_it_is_fair_again(broker: Supervised, unfair: Callable[[int | None], None]) -> None:
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        queue = channel.queue()
        channel.consume(queue, no_ack=True)
        for seed in range(20):
            unfair(seed)
            channel.publish("", queue, b"1")
            unfair(None)
            assert channel.deliver().body == b"1"
        channel.send(Queue.Delete, queue=queue)

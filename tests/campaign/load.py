"""Clients that work until the broker dies under them, each on a thread, and that know what they were promised.

A body names its stream and its number in it. What a client sends it writes down before, what it hears after.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from random import Random
from typing import TYPE_CHECKING, Any

import pika
import pika.exceptions
from pamqp.commands import Basic, Queue

from tests.runtime.process import PERSISTENT, publish_bytes
from tests.wire import METHOD, ConnectionEnded, Wire, WireChannel

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.oracle.leveret import Leveret

TRANSIENT = 1
FAN_QUEUES = ("fan-0", "fan-1", "fan-2")
TX_QUEUES = ("tx-0", "tx-1")
QUEUES = ("slow", "fast", "requeued", *FAN_QUEUES, *TX_QUEUES, "barrier", "held")


def body_of(stream: str, number: int, most: int = 3000) -> bytes:
    """What the message is, and then bytes that follow from it."""
    return b"%b %d %b" % (stream.encode(), number, b"." * (number * 37 % most))


def number_of(stream: str, body: bytes) -> int:
    """The number of a message of that stream, which must be as it was published."""
    name, number, _ = body.split(b" ")
    assert body == body_of(stream, int(number)), f"not what was published to {stream}: {body[:40]!r}"
    assert name == stream.encode()
    return int(number)


def declare_all(broker: Leveret) -> None:
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        channel.exchange("fan", "fanout", durable=True)
        for name in QUEUES:
            # What nobody takes holds the segment that it is in.
            channel.queue(name, durable=True, arguments={"x-max-length": 1} if name == "barrier" else {})
            if name in FAN_QUEUES:
                channel.bind(name, "fan")


class Client(ABC):
    """One thread with one connection. `promises` counts what it was promised, so that a test can wait for it."""

    def __init__(self, broker: Leveret, seed: str) -> None:
        self.broker = broker
        self.chance = Random(seed)
        self.promises = 0
        self.unexpected: BaseException | None = None
        self.thread = threading.Thread(target=self._until_the_end, daemon=True)

    def _until_the_end(self) -> None:
        try:
            self.work()
        except (ConnectionEnded, OSError, pika.exceptions.AMQPError):
            pass  # the broker is gone: that is the point
        except BaseException as error:  # noqa: BLE001 the test's thread raises it
            self.unexpected = error

    @abstractmethod
    def work(self) -> None:
        """Goes on until the connection ends."""


class Publisher(Client):
    """Publishes in bursts and waits for most of the confirms: one stream, to a queue or to an exchange."""

    def __init__(self, broker: Leveret, seed: str, stream: str, *, exchange: str = "", burst: int = 1, transient: int = 0) -> None:
        """Of the messages one in `transient` is transient."""
        super().__init__(broker, seed)
        self.stream = stream
        self.exchange = exchange
        self.burst = burst
        self.transient = transient
        self.published = 0
        self.confirmed: set[int] = set()

    def is_persistent(self, number: int) -> bool:
        return not self.transient or number % self.transient != 0

    def work(self) -> None:
        with Wire.connect(self.broker) as wire:
            channel = wire.open_channel()
            channel.confirm_select()
            while True:
                first, count = self.published, self.chance.randrange(1, self.burst + 1)
                self.published += count
                frames = [self._frames(channel, number) for number in range(first, first + count)]
                wire.send_raw(b"".join(frames))
                while len(self.confirmed) < self.published - self.burst:
                    self.hear(wire.expect(Basic.Ack))

    def _frames(self, channel: WireChannel, number: int) -> bytes:
        mode = PERSISTENT if self.is_persistent(number) else TRANSIENT
        return publish_bytes(channel.number, self.exchange, self.stream, body_of(self.stream, number), delivery_mode=mode)

    def hear(self, ack: Any) -> None:
        """A confirm: the tag is the number and one."""
        last = ack.delivery_tag - 1
        if ack.multiple:
            first = last
            while first and first - 1 not in self.confirmed:
                first -= 1
            self.confirmed.update(range(first, last + 1))
        self.confirmed.add(last)
        self.promises = len(self.confirmed)


class PikaPublisher(Publisher):
    """The same with pika: one after the other."""

    def work(self) -> None:
        connection = pika.BlockingConnection(pika.ConnectionParameters(self.broker.host, self.broker.port))
        channel = connection.channel()
        channel.confirm_delivery()
        while True:
            number = self.published
            self.published += 1
            mode = PERSISTENT if self.is_persistent(number) else TRANSIENT
            channel.basic_publish(self.exchange, self.stream, body_of(self.stream, number), pika.BasicProperties(delivery_mode=mode))
            self.confirmed.add(number)
            self.promises = len(self.confirmed)


class Transactions(Client):
    """Each commit publishes to two queues, and settles what it took from the first."""

    SIZE = 7

    def __init__(self, broker: Leveret, seed: str) -> None:
        super().__init__(broker, seed)
        self.begun = 0
        self.committed = 0
        self.taken: dict[int, int] = {}
        """Message to the transaction that settles it."""

    def work(self) -> None:
        with Wire.connect(self.broker) as wire:
            channel = wire.open_channel()
            channel.tx_select()
            while True:
                transaction = self.begun
                if self.chance.random() < 0.5 and (message := channel.get("tx-0", no_ack=False)) is not None:
                    self.taken[number_of("tx", message.body)] = transaction
                    channel.ack(message.tag)
                self.begun += 1
                for at in range(self.SIZE):
                    number = transaction * self.SIZE + at
                    channel.publish("", f"tx-{at % 2}", body_of("tx", number), delivery_mode=PERSISTENT)
                channel.commit()
                self.committed += 1
                self.promises = self.committed * self.SIZE


class Consumer(Client):
    """Acks one by one or several, leaves some, gives some back once; and learns from confirms what became durable.

    Batches become durable in order, so whatever was said on this channel before a publish is durable when that is confirmed.
    """

    EACH = 15
    """So many deliveries to a publish."""

    def __init__(self, broker: Leveret, seed: str, queue: str, *, prefetch: int, requeue: int = 0, stream: str = "") -> None:
        """Of the messages one in `requeue` goes back once."""
        super().__init__(broker, seed)
        self.queue = queue
        self.stream = stream or queue
        self.prefetch = prefetch
        self.requeue = requeue
        self.delivered: dict[int, int] = {}
        """Number to how often."""
        self.acked: set[int] = set()
        self.sure_acked: set[int] = set()
        """Durably."""
        self.sure_delivered: set[int] = set()
        self.highest = -1
        self.barriers = 0
        self._waiting: list[tuple[int, set[int], set[int]]] = []
        self._out: dict[int, int] = {}
        """Delivery tag to number."""

    def work(self) -> None:
        with Wire.connect(self.broker) as wire:
            channel = wire.open_channel()
            channel.confirm_select()
            channel.qos(self.prefetch)
            channel.consume(self.queue)
            count = 0
            while True:
                frame = wire.peek_frame(channel.number)
                if frame.type == METHOD and isinstance(frame.method, Basic.Ack):
                    self._covered(channel.expect(Basic.Ack).delivery_tag)
                    continue
                self._settle(channel, channel.deliver())
                count += 1
                if count % self.EACH == 0:
                    self._publish(channel)

    def _settle(self, channel: WireChannel, message: Any) -> None:
        number, tag = number_of(self.stream, message.body), message.tag
        again = number in self.delivered
        assert number not in self.acked, f"{number} was acked, and is delivered again"
        times = self.delivered.get(number, 0)
        assert message.method.redelivered is again, f"{number} was delivered {times} times before, and is flagged {not again}"
        if not again:
            assert number > self.highest, f"{number} comes behind {self.highest}"
            self.highest = number
        self.delivered[number] = self.delivered.get(number, 0) + 1
        self._out[tag] = number
        kept = list(self._out)[: -self.prefetch // 2] if len(self._out) > self.prefetch // 2 else []
        if self.requeue and not again and number % self.requeue == 0:
            del self._out[tag]
            channel.nack(tag)
        elif kept or self.chance.random() < 0.05:
            self.acked.update(self._out.values())
            self._out.clear()
            channel.ack(tag, multiple=True)
        elif self.chance.random() < 0.7:
            self.acked.add(self._out.pop(tag))
            channel.ack(tag)

    def _publish(self, channel: WireChannel) -> None:
        self.barriers += 1
        self._waiting.append((self.barriers, set(self.acked), set(self.delivered)))
        channel.publish("", "barrier", b"barrier", delivery_mode=PERSISTENT)

    def _covered(self, tag: int) -> None:
        while self._waiting and self._waiting[0][0] <= tag:
            _, self.sure_acked, self.sure_delivered = self._waiting.pop(0)
            self.promises = len(self.sure_acked)


class Declarer(Client):
    """Declares a queue, publishes to it, deletes it, declares it again under the same name."""

    def __init__(self, broker: Leveret, seed: str) -> None:
        super().__init__(broker, seed)
        self.generation = 0
        self.said: list[str] = ["deleted"]
        """What it asked for, in order: the last may have happened."""
        self.heard = 0
        """How many of those it was told of."""
        self.confirmed: list[int] = []
        """By generation."""

    def work(self) -> None:
        with Wire.connect(self.broker) as wire:
            channel = wire.open_channel()
            channel.call(Queue.Delete, queue="temporary")
            while True:
                self.generation += 1
                self._say("declared")
                channel.queue("temporary", durable=True)
                self.heard = len(self.said) - 1
                count = self.chance.randrange(3)
                if count:
                    bodies = [b"%d %d" % (self.generation, number) for number in range(count)]
                    channel.publish_confirmed("", "temporary", *bodies, delivery_mode=PERSISTENT)
                self.confirmed.append(count)
                self._say("deleted")
                channel.call(Queue.Delete, queue="temporary")
                self.heard = len(self.said) - 1
                self.promises += 1

    def _say(self, what: str) -> None:
        self.said.append(what)


class Holder(Client):
    """Leaves a few messages where they are while others come and go, then takes them: an old segment may go only when they are gone."""

    LONG = 1500
    """So many promises of the others."""

    def __init__(self, broker: Leveret, seed: str, others: Callable[[], int]) -> None:
        super().__init__(broker, seed)
        self.others = others
        self.published = 0
        self.confirmed: set[int] = set()
        self.acked: set[int] = set()

    def work(self) -> None:
        with Wire.connect(self.broker) as wire:
            channel = wire.open_channel()
            while True:
                numbers = [self.published, self.published + 1]
                self.published += 2
                channel.publish_confirmed("", "held", *[body_of("held", number) for number in numbers], delivery_mode=PERSISTENT)
                self.confirmed.update(numbers)
                end = self.others() + self.LONG
                while self.others() < end:
                    assert channel.counts("held") == (2, 0)
                for number in numbers:
                    message = channel.take("held", no_ack=False)
                    assert number_of("held", message.body) == number
                    self.acked.add(number)
                    channel.ack(message.tag)


class Load:
    """All of them at once. With `drained` nothing stays in the queues for long, so that old segments go; else some fill up."""

    def __init__(self, broker: Leveret, seed: str, *, drained: bool) -> None:
        self.slow = PikaPublisher(broker, seed, "slow", transient=5)
        self.fast = Publisher(broker, seed, "fast", burst=50, transient=4)
        self.requeued = Publisher(broker, seed, "requeued", burst=20)
        self.fan = Publisher(broker, seed, "fan", exchange="fan", burst=10)
        self.transactions = None if drained else Transactions(broker, seed)
        self.declarer = Declarer(broker, seed)
        self.consumers = {
            "fast": Consumer(broker, seed, "fast", prefetch=30),
            "requeued": Consumer(broker, seed, "requeued", prefetch=10, requeue=3),
        }
        if drained:
            self.consumers["slow"] = Consumer(broker, seed, "slow", prefetch=2)
            self.consumers |= {name: Consumer(broker, seed, name, prefetch=7, stream="fan") for name in FAN_QUEUES}
        publishers = [self.slow, self.fast, self.requeued, self.fan]
        self.clients: list[Client] = [*publishers, *self.consumers.values(), self.declarer]
        if self.transactions is not None:
            self.clients.append(self.transactions)
        self.holder = Holder(broker, seed, lambda: self.promises)
        self.clients.append(self.holder)
        for client in self.clients:
            client.thread.start()

    @property
    def promises(self) -> int:
        return sum(client.promises for client in self.clients)

    def check(self) -> None:
        """Raise what a client met but for the end."""
        for client in self.clients:
            if client.unexpected is not None:
                raise client.unexpected

    def join(self) -> None:
        for client in self.clients:
            client.thread.join(30)
            assert not client.thread.is_alive(), f"{client} doesn't end"
        self.check()

"""Three bugs that consumers have, each found by a short test: lost on a crash, done twice on a redelivery, a poison message for ever.

Each consumer is there twice, with the bug and without it; the test is the same.
"""

from collections.abc import Callable
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from tests.testing.lab import LOST, Lab

Consumer = Callable[[BlockingChannel, list[bytes]], None]
"""Works off the queue q until there is nothing left; what it has done is in the list."""


def work(channel: BlockingChannel, take: Callable[[Any, Any, bytes], None], *, auto_ack: bool = False) -> None:
    for method, properties, body in channel.consume("q", auto_ack=auto_ack, inactivity_timeout=0.2):
        if method is None:
            return
        take(method, properties, body)


def works_through(lab: Lab, consumer: Consumer, done: list[bytes]) -> None:
    """As a supervisor has it: who loses the connection is started again."""
    while True:
        channel = lab.channel("q")
        channel.basic_qos(prefetch_count=10)
        try:
            consumer(channel, done)
            return
        except LOST:
            continue


def order(lab: Lab, *bodies: bytes) -> None:
    publisher = lab.publisher()
    for number, body in enumerate(bodies):
        publisher.basic_publish("", "q", body, pika.BasicProperties(delivery_mode=2, message_id=str(number)))


# --- lost on a crash ----------------------------------------------------------------------------------------------------


def acks_automatically(channel: BlockingChannel, done: list[bytes]) -> None:
    """The broker takes a message for done as soon as it was sent."""
    work(channel, lambda method, properties, body: done.append(body), auto_ack=True)


def acks_what_is_done(channel: BlockingChannel, done: list[bytes]) -> None:
    def take(method: Any, properties: Any, body: bytes) -> None:
        if body not in done:
            done.append(body)
        channel.basic_ack(method.delivery_tag)

    work(channel, take)


def crash_after_the_second_delivery(lab: Lab, consumer: Consumer) -> list[bytes]:
    order(lab, b"0", b"1", b"2", b"3")
    done: list[bytes] = []
    with lab.fault("cut_frame", on="basic.deliver", skip=1) as fault:
        works_through(lab, consumer, done)
        assert fault.hits == 1
    return sorted(done)


def test_nothing_is_lost_when_the_consumer_crashes(lab: Lab) -> None:
    assert crash_after_the_second_delivery(lab, acks_what_is_done) == [b"0", b"1", b"2", b"3"]


def test_it_finds_the_one_that_acks_automatically(lab: Lab) -> None:
    assert b"1" not in crash_after_the_second_delivery(lab, acks_automatically)


# --- done twice on a redelivery -----------------------------------------------------------------------------------------


def pays(channel: BlockingChannel, done: list[bytes]) -> None:
    """Whatever comes."""

    def take(method: Any, properties: Any, body: bytes) -> None:
        done.append(body)
        channel.basic_ack(method.delivery_tag)

    work(channel, take)


class PaysOnce:
    """Remembers by message_id what it has paid."""

    def __init__(self) -> None:
        self._paid: set[str] = set()

    def __call__(self, channel: BlockingChannel, done: list[bytes]) -> None:
        def take(method: Any, properties: Any, body: bytes) -> None:
            if properties.message_id not in self._paid:
                self._paid.add(properties.message_id)
                done.append(body)
            channel.basic_ack(method.delivery_tag)

        work(channel, take)


@pytest.mark.parametrize("fault", ["redeliver", "drop_connection"])
@pytest.mark.parametrize(("consumer", "times"), [(PaysOnce, 1), (lambda: pays, 2)], ids=["without the bug", "with it"])
def test_each_is_paid_once_though_an_ack_is_lost(lab: Lab, fault: str, consumer: Callable[[], Consumer], times: int) -> None:
    """By the broker, or with the connection."""
    order(lab, b"rent", b"food")
    done: list[bytes] = []
    with lab.fault(fault, on="basic.ack", when="before"):
        works_through(lab, consumer(), done)
    assert done.count(b"rent") == times
    assert lab.count() == 0


# --- a poison message for ever ------------------------------------------------------------------------------------------


def tries_for_ever(channel: BlockingChannel, done: list[bytes]) -> None:
    def take(method: Any, properties: Any, body: bytes) -> None:
        done.append(body)
        channel.basic_nack(method.delivery_tag, requeue=body == b"poison")

    work(channel, take)


def tries_twice(channel: BlockingChannel, done: list[bytes]) -> None:
    def take(method: Any, properties: Any, body: bytes) -> None:
        done.append(body)
        channel.basic_nack(method.delivery_tag, requeue=body == b"poison" and not method.redelivered)

    work(channel, take)


@pytest.mark.parametrize(("consumer", "is_stopped"), [(tries_twice, False), (tries_for_ever, True)], ids=["without the bug", "with it"])
def test_a_poison_message_is_given_up(lab: Lab, consumer: Consumer, is_stopped: bool) -> None:
    """Whoever takes one message thirty times is stopped by the broker, and the test sees it."""
    order(lab, b"poison", b"fine")
    done: list[bytes] = []
    with lab.fault("cancel_consumer", on="basic.nack", when="after", routing_key="q", skip=30) as fault:
        works_through(lab, consumer, done)
        assert bool(fault.hits) is is_stopped
    assert (done.count(b"poison") >= 30) is is_stopped
    assert lab.count() == (1 if is_stopped else 0)

"""What the lessons on reliable messaging build from queue arguments, with pika: retries, dead letters, priorities, backoff, duplicates."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from tests.clients.test_pika import Connect, until
from tests.fixtures import Unique
from tests.spec import Broker

DURABLE = pika.BasicProperties(delivery_mode=2)
HEADERS = pika.BasicProperties


@pytest.fixture
def connect(broker: Broker) -> Iterator[Connect]:
    with ExitStack() as stack:

        def open_connection() -> Any:
            connection = pika.BlockingConnection(pika.ConnectionParameters(host=broker.host, port=broker.port))
            stack.callback(lambda: connection.is_open and connection.close())
            return connection

        yield open_connection


@pytest.fixture
def channel(connect: Connect) -> BlockingChannel:
    return connect().channel()


def to(queue: str, **more: Any) -> dict[str, Any]:
    """Arguments of a queue whose dead letters go to that queue."""
    return {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
        **{key.replace("_", "-"): value for key, value in more.items()},
    }


def count(channel: BlockingChannel, queue: str) -> int:
    found: int = channel.queue_declare(queue, passive=True).method.message_count
    return found


def taken(channel: BlockingChannel, queue: str) -> list[tuple[bytes, dict[str, Any]]]:
    """All that is in a queue: bodies and headers."""
    found = []
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return found
        found.append((body, dict(properties.headers or {})))


def test_three_tries_then_the_dead_letter_queue(channel: BlockingChannel, unique: Unique) -> None:
    """The consumer counts in a header of its own and publishes again; after the third failure it rejects."""
    work, dead = unique("work"), unique("dead")
    channel.queue_declare(dead, durable=True)
    channel.queue_declare(work, durable=True, arguments=to(dead))
    tries = []

    def fail(channel: BlockingChannel, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        retries = (properties.headers or {}).get("x-retry-count", 0)
        tries.append(retries)
        if retries >= 3:
            channel.basic_reject(method.delivery_tag, requeue=False)
        else:
            channel.basic_publish("", work, body, HEADERS(delivery_mode=2, headers={"x-retry-count": retries + 1}))
            channel.basic_ack(method.delivery_tag)

    channel.basic_consume(work, fail)
    channel.basic_publish("", work, b"order", DURABLE)
    until(lambda: count(channel, dead) == 1, channel)
    assert tries == [0, 1, 2, 3]
    ((body, headers),) = taken(channel, dead)
    assert (body, headers["x-retry-count"]) == (b"order", 3)
    assert [(death["queue"], death["reason"], death["count"]) for death in headers["x-death"]] == [(work, "rejected", 1)]


def test_whatever_a_queue_does_not_keep_is_in_its_dead_letter_queue(channel: BlockingChannel, unique: Unique) -> None:
    """Too old, too many, or rejected: the dead letter says why."""
    main, dead = unique("main"), unique("dead")
    channel.queue_declare(dead)
    channel.queue_declare(main, arguments=to(dead, x_message_ttl=300, x_max_length=3))
    channel.confirm_delivery()
    for number in range(5):
        channel.basic_publish("", main, b"%d" % number)
    method, _, body = channel.basic_get(main)
    assert body == b"2"
    channel.basic_reject(method.delivery_tag, requeue=False)
    until(lambda: count(channel, dead) == 5, channel)
    reasons = {body: headers["x-death"][0]["reason"] for body, headers in taken(channel, dead)}
    assert reasons == {b"0": "maxlen", b"1": "maxlen", b"2": "rejected", b"3": "expired", b"4": "expired"}


def test_urgent_messages_overtake(channel: BlockingChannel, unique: Unique) -> None:
    queue = unique("tasks")
    channel.queue_declare(queue, arguments={"x-max-priority": 10})
    channel.confirm_delivery()
    for body, priority in ((b"low", 1), (b"normal", 5), (b"urgent", 10), (b"low too", 1), (b"urgent too", 10)):
        channel.basic_publish("", queue, body, pika.BasicProperties(priority=priority))
    assert [body for body, _ in taken(channel, queue)] == [b"urgent", b"urgent too", b"normal", b"low", b"low too"]


def test_retries_with_exponential_backoff(channel: BlockingChannel, unique: Unique) -> None:
    """Each failure waits in a queue with twice the time to live, which dead-letters it back; after the last one it is given up."""
    work, dead = unique("work"), unique("dead")
    waits = [(delay, unique(f"wait-{delay}")) for delay in (40, 80, 160)]
    channel.queue_declare(dead)
    channel.queue_declare(work)
    for delay, name in waits:
        channel.queue_declare(name, arguments=to(work, x_message_ttl=delay))
    times = []

    def fail(channel: BlockingChannel, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        deaths = (properties.headers or {}).get("x-death", [])
        times.append([(death["queue"], death["reason"]) for death in deaths])
        target = waits[len(times) - 1][1] if len(times) <= len(waits) else dead
        channel.basic_publish("", target, body, properties)
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(work, fail)
    channel.basic_publish("", work, b"1")
    until(lambda: count(channel, dead) == 1, channel)
    expected = [(name, "expired") for _, name in waits]
    assert [sorted(deaths) for deaths in times] == [sorted(expected[:tries]) for tries in range(4)]
    assert [deaths[0] for deaths in times[1:]] == expected, "the latest first; 3.10 sorts the others otherwise"


def test_an_idempotent_consumer_and_duplicates(connect: Connect, channel: BlockingChannel, unique: Unique) -> None:
    """A consumer that is lost before its acks gets everything twice; the one that remembers what it has done does each once."""
    queue = unique("payments")
    channel.queue_declare(queue, durable=True)
    channel.confirm_delivery()
    for number in range(10):
        channel.basic_publish("", queue, b"pay", pika.BasicProperties(delivery_mode=2, message_id=f"payment-{number}"))
    done: list[str] = []
    seen: set[str] = set()
    redelivered = []

    def pay(channel: BlockingChannel, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        redelivered.append(method.redelivered)
        if properties.message_id not in seen:
            seen.add(properties.message_id)
            done.append(properties.message_id)
        if acks:
            channel.basic_ack(method.delivery_tag)

    acks = False
    first = connect().channel()
    first.basic_consume(queue, pay)
    until(lambda: len(redelivered) == 10, first)
    first.connection.close()
    acks = True
    second = connect().channel()
    second.basic_consume(queue, pay)
    until(lambda: len(redelivered) == 20, second)
    assert redelivered == [False] * 10 + [True] * 10
    assert done == [f"payment-{number}" for number in range(10)]
    second.connection.close()
    assert count(channel, queue) == 0


def test_the_work_of_a_worker_that_dies_goes_to_the_others(connect: Connect, channel: BlockingChannel, unique: Unique) -> None:
    queue = unique("work")
    channel.queue_declare(queue, durable=True)
    taken_by: dict[str, list[bytes]] = {"dies": [], "lives": []}
    workers = {}
    for name in taken_by:
        worker = workers[name] = connect().channel()
        worker.basic_qos(prefetch_count=1)

        def work(channel: BlockingChannel, method: Any, properties: Any, body: bytes, name: str = name) -> None:
            taken_by[name].append(body)
            if name == "lives":
                channel.basic_ack(method.delivery_tag)

        worker.basic_consume(queue, work)
    for number in range(5):
        channel.basic_publish("", queue, b"%d" % number, DURABLE)
    until(lambda: len(taken_by["dies"]) == 1 and len(taken_by["lives"]) == 4, *workers.values())
    workers["dies"].connection.close()
    until(lambda: len(taken_by["lives"]) == 5, workers["lives"])
    assert sorted(taken_by["lives"]) == [b"0", b"1", b"2", b"3", b"4"]

"""kombu, and a Celery worker in a process of its own with a few tasks."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import kombu
import pytest
from celery import group

from tests.fixtures import Unique
from tests.oracle.leveret import ROOT

SECONDS = 30


# --- kombu


def test_kombu_producer_and_consumer(url: str, unique: Unique) -> None:
    exchange = kombu.Exchange(unique("kombu"), "topic", durable=True)
    queue = kombu.Queue(unique("kombu"), exchange, routing_key="news.#")
    seen: list[tuple[Any, bool]] = []

    def on_message(body: Any, message: kombu.Message) -> None:
        seen.append((body, message.delivery_info["redelivered"]))
        if len(seen) == 1:
            message.requeue()
        else:
            message.ack()

    with kombu.Connection(url) as connection:
        producer = connection.Producer(serializer="json")
        for number in range(3):
            producer.publish({"number": number}, exchange=exchange, routing_key="news.today", declare=[queue])
        with connection.Consumer(queue, callbacks=[on_message], prefetch_count=1):
            while len(seen) < 4:
                connection.drain_events(timeout=SECONDS)
    assert seen == [({"number": 0}, False), ({"number": 0}, True), ({"number": 1}, False), ({"number": 2}, False)]


def test_kombu_simple_queue_and_pool(url: str, unique: Unique) -> None:
    name = unique("simple")
    pool = kombu.Connection(url).Pool(2)
    with pool.acquire(block=True) as connection, connection.SimpleQueue(name) as queue:
        for number in range(5):
            queue.put({"number": number})
        assert queue.qsize() <= 5
        for number in range(5):
            message = queue.get(timeout=SECONDS)
            assert message.payload == {"number": number}
            message.ack()
    pool.force_close_all()


def test_kombu_heartbeats_and_reconnect(url: str) -> None:
    connection = kombu.Connection(url, heartbeat=4)
    connection.connect()
    connection.heartbeat_check()
    connection.close()
    connection.ensure_connection(max_retries=1)
    assert connection.connected
    connection.release()


# --- Celery


@pytest.fixture
def celery_app(url: str, unique: Unique, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The application, with a worker that is ready; a parameter is the type of the queues for native delayed delivery."""
    queue = unique("celery")
    settings = {"LEVERET_TEST_URL": url, "LEVERET_TEST_QUEUE": queue, "LEVERET_TEST_DELAYED": getattr(request, "param", "")}
    for key, value in settings.items():
        monkeypatch.setenv(key, value)
    monkeypatch.delitem(sys.modules, "tests.clients.celery_app", raising=False)
    module = import_module("tests.clients.celery_app")  # anew: `from tests.clients import` would find the last one
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "tests.clients.celery_app",
        "worker",
        "--pool",
        "solo",
        "--loglevel",
        "INFO",
        "-n",
        queue,
    ]
    worker = subprocess.Popen(command, cwd=ROOT, env=os.environ | settings, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert worker.stderr is not None
        log = []
        for line in worker.stderr:
            log.append(line)
            if "ready." in line:
                break
        else:
            raise AssertionError("the worker ended:\n" + "".join(log))
        yield module
    finally:
        worker.terminate()
        try:
            _output, rest = worker.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            worker.kill()
            _output, rest = worker.communicate()
        module.app.close()
    assert worker.returncode == 0, "the worker didn't shut down warmly:\n" + "".join(log) + rest


def test_a_celery_worker_and_a_few_tasks(celery_app: Any) -> None:
    assert celery_app.add.delay(2, 3).get(timeout=SECONDS) == 5
    sums = group(celery_app.add.s(number, number) for number in range(20)).apply_async()
    assert sums.get(timeout=SECONDS) == [2 * number for number in range(20)]
    assert celery_app.fails_once.delay("key").get(timeout=SECONDS) == "key at the second try"
    with pytest.raises(ZeroDivisionError):
        celery_app.divide.delay(1, 0).get(timeout=SECONDS)
    celery_app.rejected.delay()
    chained = celery_app.add.s(1, 2) | celery_app.add.s(10)
    assert chained.delay().get(timeout=SECONDS) == 13
    later = celery_app.add.apply_async((4, 5), countdown=0.2)
    assert later.get(timeout=SECONDS) == 9
    replies = celery_app.app.control.ping(timeout=SECONDS, limit=1)
    assert [answer["ok"] for reply in replies for answer in reply.values()] == ["pong"]
    revoked = celery_app.add.apply_async((1, 1), countdown=3600)
    revoked.revoke(wait=True, timeout=1)


@pytest.mark.parametrize("celery_app", ["classic", "quorum"], indirect=True)
def test_native_delayed_delivery(celery_app: Any, url: str) -> None:
    """An ETA waits in 28 chained queues, each for a power of two of seconds, and a retry goes through them again."""
    begin = time.time()
    later = celery_app.now.apply_async(countdown=3)
    retried = celery_app.fails_twice.delay("key")
    assert 2.9 < later.get(timeout=SECONDS) - begin < 8
    assert retried.get(timeout=SECONDS) == 2
    assert time.time() - begin > 1.9
    assert celery_app.add.delay(2, 3).get(timeout=SECONDS) == 5
    with kombu.Connection(url) as connection:
        channel = connection.channel()
        names = [f"celery_delayed_{level}" for level in range(28)]
        assert [channel.queue_declare(name, passive=True).message_count for name in names] == [0] * 28
        for name in names:
            channel.queue_delete(name)
            channel.exchange_delete(name)
        channel.exchange_delete("celery_delayed_delivery")

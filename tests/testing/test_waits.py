"""Waiting for what becomes true, and what is said of what doesn't."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pamqp.commands import Basic, Exchange, Queue

from tests.admin.client import Http
from tests.runtime.process import soon
from tests.testing.box import Box
from tests.testing.supervised import ROOT_PATH, Supervised
from tests.wire import WireChannel


@contextmanager
def waiting(box: Box, what: str, **conditions: Any) -> Iterator[Callable[[], dict[str, Any]]]:
    """Somebody waits on a thread, and has begun to; what is given back ends it: the answer, and when it came (`at`, by perf_counter)."""
    answer: dict[str, Any] = {}

    def wait() -> None:
        broker = box.broker
        with Http(broker.host, broker.http_port) as http:
            path = f"{ROOT_PATH}/vhosts/{box.vhost}/wait"
            got = http.ask("POST", path, {"for": what, **conditions}, headers=bearer(broker), credentials=("", ""))
            answer.update(got.json, status=got.status, at=time.perf_counter())

    def done() -> dict[str, Any]:
        thread.join(20)
        assert not thread.is_alive()
        return answer

    before = waits(box)
    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    soon(lambda: waits(box) > before)
    yield done
    done()


def bearer(broker: Supervised) -> dict[str, str]:
    return {"Authorization": f"Bearer {broker.card['token']}"}


def waits(box: Box) -> int:
    """How many wait for something now."""
    report: str = box.ask("GET", "/report")
    return report.count("somebody waits for")


def declare(channel: WireChannel, queue: str, **fields: Any) -> None:
    channel.call(Queue.Declare, queue=queue, **fields)


# --- what becomes true ----------------------------------------------------------------------------------------------


def test_a_queue_that_is_emptied(box: Box) -> None:
    channel = box.wire("worker").open_channel()
    declare(channel, "orders")
    for _ in range(3):
        channel.publish("", "orders", b"x")
    box.wait("queue", queue="orders", ready=3, unacked=0, messages=3, consumers=0)
    channel.call(Basic.Consume, queue="orders", consumer_tag="c")
    box.wait("queue", queue="orders", ready=0, unacked=3, consumers=1)
    with waiting(box, "queue", queue="orders", ready=0, unacked=0) as done:
        channel.send(Basic.Ack, delivery_tag=3, multiple=True)
        assert done()["status"] == 200


@pytest.mark.parametrize(
    ("wanted", "is_met"),
    [
        (3, True),
        (2, False),
        ({"min": 3}, True),
        ({"min": 4}, False),
        ({"max": 3}, True),
        ({"max": 2}, False),
        ({"min": 1, "max": 9}, True),
        ({"min": 4, "max": 9}, False),
    ],
)
def test_numbers_and_ranges(box: Box, wanted: Any, is_met: bool) -> None:
    channel = box.wire().open_channel()
    declare(channel, "q")
    for _ in range(3):
        channel.publish("", "q", b"x")
    box.wait("queue", queue="q", ready=3)
    answer = box.ask("POST", "/wait", {"for": "queue", "queue": "q", "ready": wanted, "timeout": 0}, status=200 if is_met else 408)
    assert ("seconds" in answer) is is_met


def test_a_queue_that_is_declared(box: Box) -> None:
    channel = box.wire().open_channel()
    with waiting(box, "queue", queue="later") as done:
        declare(channel, "later")
        assert done()["status"] == 200


def test_consumers(box: Box) -> None:
    channel = box.wire().open_channel()
    declare(channel, "q")
    with (
        waiting(box, "consumer", queue="q") as any_consumer,
        waiting(box, "consumer", queue="q", tag="b") as one,
        waiting(box, "consumer", queue="q", count=2) as two,
    ):
        channel.call(Basic.Consume, queue="q", consumer_tag="a")
        assert any_consumer()["status"] == 200
        assert waits(box) == 2
        channel.call(Basic.Consume, queue="q", consumer_tag="b")
        assert one()["status"] == two()["status"] == 200
    with waiting(box, "consumer", queue="q", count=0) as none:
        channel.call(Basic.Cancel, consumer_tag="a")
        channel.call(Basic.Cancel, consumer_tag="b")
        assert none()["status"] == 200


def test_bindings(box: Box) -> None:
    channel = box.wire().open_channel()
    declare(channel, "q")
    channel.call(Exchange.Declare, exchange="shop", exchange_type="topic")
    with waiting(box, "binding", queue="q", exchange="shop", routing_key="orders.*") as done, waiting(box, "binding", queue="q") as some:
        channel.call(Queue.Bind, queue="q", exchange="shop", routing_key="payments.*")
        assert some()["status"] == 200
        assert waits(box) == 1
        channel.call(Queue.Bind, queue="q", exchange="shop", routing_key="orders.*")
        assert done()["status"] == 200
    box.wait("binding", exchange="shop")
    box.wait("binding", routing_key="orders.*")
    assert "a binding with routing key 'x'" in box.reason("binding", routing_key="x")


def test_connections(box: Box) -> None:
    with waiting(box, "connection", client_name="worker", count=2) as two:
        with waiting(box, "connection") as one:
            first = box.wire("worker")
            assert one()["status"] == 200
        second = box.wire("worker")
        assert two()["status"] == 200
    with waiting(box, "connection", client_name="worker", count=0) as gone:
        first.close()
        assert waits(box) == 1
        second.abort()
        assert gone()["status"] == 200


@pytest.mark.alone
def test_the_answer_comes_as_soon_as_it_is_true(box: Box) -> None:
    channel = box.wire().open_channel()
    declare(channel, "q")
    late = []
    for _ in range(10):
        with waiting(box, "queue", queue="q", ready=1) as done:
            begun = time.perf_counter()
            channel.publish("", "q", b"x")
            late.append(done()["at"] - begun)
        channel.call(Queue.Purge, queue="q")
    assert sorted(late)[len(late) // 2] < 0.01, late


def test_many_wait_at_a_time(box: Box) -> None:
    channel = box.wire().open_channel()
    declare(channel, "q")
    with waiting(box, "queue", queue="q", ready=1) as first:
        others = [waiting(box, "queue", queue="q", ready={"min": 1}) for _ in range(9)]
        done = [each.__enter__() for each in others]
        assert waits(box) == 10
        channel.publish("", "q", b"x")
        assert [each()["status"] for each in (first, *done)] == [200] * 10
        for each in others:
            each.__exit__(None, None, None)
    assert waits(box) == 0


def test_who_goes_away_is_not_waited_for(box: Box) -> None:
    broker = box.broker
    body = b'{"for": "queue", "queue": "never", "timeout": 3600}'
    head = f"POST {ROOT_PATH}/vhosts/{box.vhost}/wait HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {broker.card['token']}\r\n"
    with socket.create_connection((broker.host, broker.http_port)) as peer:
        peer.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        soon(lambda: waits(box) == 1)
    soon(lambda: waits(box) == 0)


def test_a_timeout_is_real_time(box: Box) -> None:
    """The clock stands still, and the wait doesn't."""
    begun = time.monotonic()
    assert box.reason("queue", queue="never", timeout=0.2).startswith("waited 0.2 s for queue 'never' to be there; ")
    assert 0.2 <= time.monotonic() - begun < 5


def test_whose_vhost_is_deleted_is_told(testing_broker: Supervised) -> None:
    box = Box(testing_broker)
    with waiting(box, "idle", quiet=10, timeout=30) as idle, waiting(box, "queue", queue="q", timeout=30) as queue:
        box.end()
        for answer in (idle(), queue()):
            assert (answer["status"], answer["reason"]) == (404, f"vhost '{box.vhost}' was deleted meanwhile")


# --- what doesn't -----------------------------------------------------------------------------------------------------


def test_why_a_queue_is_not_emptied(box: Box) -> None:
    channel = box.wire("worker").open_channel()
    declare(channel, "orders")
    channel.call(Basic.Qos, prefetch_count=1)
    for _ in range(3):
        channel.publish("", "orders", b"x")
    assert box.reason("queue", queue="orders", ready=0).endswith("it has 3 ready, 0 unacked, and there is no consumer")
    channel.call(Basic.Consume, queue="orders", consumer_tag="ctag1")
    channel.deliver()
    reason = box.reason("queue", queue="orders", ready=0, unacked=0)
    assert reason.startswith("waited 0.05 s for queue 'orders' to have 0 ready and 0 unacked messages; it has 2 ready, 1 unacked (")
    assert "held by consumer 'ctag1' of connection 'worker' for 0." in reason and " s of broker time)" in reason
    assert reason.endswith("and no consumer could take more: prefetch 1 is used up")
    channel.take("orders", no_ack=False)
    reason = box.reason("queue", queue="orders", unacked=0, consumers=2)
    assert "1 held by consumer 'ctag1' of connection 'worker'" in reason
    assert "1 held by basic.get of connection 'worker'" in reason
    assert reason.endswith("it has 1 consumer: consumer 'ctag1' of connection 'worker'")


def test_why_only_the_active_consumer_is_served(box: Box) -> None:
    channel = box.wire("worker").open_channel()
    declare(channel, "q", arguments={"x-single-active-consumer": True})
    channel.call(Basic.Qos, prefetch_count=1)
    for tag in ("first", "second"):
        channel.call(Basic.Consume, queue="q", consumer_tag=tag)
    for _ in range(2):
        channel.publish("", "q", b"x")
    channel.deliver()
    reason = box.reason("queue", queue="q", ready=0)
    assert "prefetch 1 of consumer 'first' of connection 'worker' is used up" in reason
    assert "consumer 'second' of connection 'worker' waits for the active one to end" in reason


def test_a_shared_prefetch_is_named(box: Box) -> None:
    channel = box.wire("worker").open_channel()
    declare(channel, "q")
    channel.call(Basic.Qos, prefetch_count=1, global_=True)
    channel.call(Basic.Consume, queue="q", consumer_tag="c")
    for _ in range(2):
        channel.publish("", "q", b"x")
    channel.deliver()
    assert "prefetch 1, shared by its channel, is used up" in box.reason("queue", queue="q", ready=0)


def test_what_is_not_there_is_told_with_what_is_like_it(box: Box) -> None:
    vhost = box.vhost
    assert box.reason("queue", queue="order").endswith(f"there is no such queue in vhost '{vhost}', there is no queue at all")
    channel = box.wire("worker").open_channel()
    declare(channel, "orders")
    declare(channel, "payments")
    channel.call(Exchange.Declare, exchange="shop", exchange_type="topic")
    channel.call(Queue.Bind, queue="orders", exchange="shop", routing_key="orders.*")
    assert box.reason("queue", queue="order").endswith(f"there is no such queue in vhost '{vhost}', nearest: 'orders'")
    assert box.reason("consumer", queue="xyz").endswith(f"no such queue in vhost '{vhost}', there are 'orders', 'payments'")
    channel.call(Basic.Consume, queue="payments", consumer_tag="c")
    assert box.reason("consumer", queue="orders", tag="c") == (
        "waited 0.05 s for a consumer with tag 'c' of queue 'orders'; it has no consumer; queues that have: 'payments'"
    )
    assert box.reason("consumer", queue="payments", count=2) == (
        "waited 0.05 s for 2 consumers of queue 'payments'; it has 1 consumer: consumer 'c' of connection 'worker'"
    )
    assert box.reason("binding", exchange="shops").endswith(f"there is no such exchange in vhost '{vhost}', nearest: 'shop'")
    assert box.reason("binding", queue="orders", exchange="shop", routing_key="order.*") == (
        "waited 0.05 s for a binding from exchange 'shop' to queue 'orders' with routing key 'order.*'; "
        "there is 'shop' -> 'orders' with key 'orders.*'"
    )
    assert box.reason("binding", queue="payments") == "waited 0.05 s for a binding to queue 'payments'; there is none"
    assert box.reason("connection", client_name="other") == (
        f"waited 0.05 s for a connection of client name 'other' to vhost '{vhost}'; there is 1 connection: 'worker'"
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "for: expected one of idle, queue, consumer, binding, connection, message, not null"),
        ({"for": "rain"}, 'for: expected one of idle, queue, consumer, binding, connection, message, not "rain"'),
        ({"for": "queue"}, "queue: it has to be given"),
        ({"for": "queue", "queue": 1}, "queue is 1: expected text"),
        ({"for": "queue", "queue": "q", "redy": 0}, "redy: unknown where one waits for 'queue', there is queue, ready, unacked, messages"),
        ({"for": "queue", "queue": "q", "ready": -1}, 'ready: expected a number or {"min": number, "max": number}, not -1'),
        (
            {"for": "queue", "queue": "q", "ready": {"least": 1}},
            'ready: expected a number or {"min": number, "max": number}, not {"least": 1}',
        ),
        ({"for": "queue", "queue": "q", "ready": True}, 'ready: expected a number or {"min": number, "max": number}, not true'),
        ({"for": "idle", "quiet": "long"}, 'quiet: expected seconds, 0 to 86400, not "long"'),
        ({"for": "idle", "timeout": -1}, "timeout: expected seconds, 0 to 86400, not -1"),
    ],
)
def test_what_makes_no_sense_is_refused(box: Box, body: dict[str, Any], reason: str) -> None:
    answer = box.ask("POST", "/wait", body, status=400)
    assert answer["reason"].startswith(reason)


def test_a_vhost_that_is_not_there(testing_broker: Supervised) -> None:
    testing_broker.ask_vhost("POST", "nowhere", "/wait", {"for": "idle"}, status=404)

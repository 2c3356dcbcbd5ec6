"""pika's BlockingConnection: the lessons' programs, each with its own connection and its own channel."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import AMQPConnectionError, ChannelClosedByBroker, NackError, UnroutableError

from tests.fixtures import Unique
from tests.oracle.leveret import Leveret
from tests.spec import Broker, expect_on

PERSISTENT = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
QUORUM = {"x-queue-type": "quorum"}
Connect = Callable[[], BlockingConnection]

DYING_WORKER = """
import sys, pika
channel = pika.BlockingConnection(pika.ConnectionParameters(sys.argv[1], int(sys.argv[2]))).channel()
channel.basic_qos(prefetch_count=2)
channel.basic_consume(sys.argv[3], lambda channel, method, properties, body: print(body.decode(), flush=True))
channel.start_consuming()
"""


@pytest.fixture
def connect(broker: Broker) -> Iterator[Connect]:
    with ExitStack() as stack:

        def open_connection() -> BlockingConnection:
            connection = pika.BlockingConnection(pika.ConnectionParameters(host=broker.host, port=broker.port))
            stack.callback(lambda: connection.is_open and connection.close())
            return connection

        yield open_connection


@pytest.fixture
def channel(connect: Connect) -> BlockingChannel:
    return connect().channel()


def until(condition: Callable[[], Any], *channels: BlockingChannel, seconds: float = 10) -> None:
    """Let the connections work until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition didn't come true in time"
        for channel in channels:
            channel.connection.process_data_events(time_limit=0.01)


class Worker:
    """A consumer of a lesson: takes notes, and acks each message when it is done."""

    def __init__(self, channel: BlockingChannel, queue: str, *, prefetch: int = 1, auto_ack: bool = False, done: bool = True) -> None:
        self.channel = channel
        self.bodies: list[bytes] = []
        self.redelivered: list[bool] = []
        self.held: list[int] = []
        self.auto_ack, self.done = auto_ack, done
        channel.basic_qos(prefetch_count=prefetch)
        self.tag = channel.basic_consume(queue, self.work, auto_ack=auto_ack)

    def work(self, channel: BlockingChannel, method: Any, _properties: Any, body: bytes) -> None:
        self.bodies.append(body)
        self.redelivered.append(method.redelivered)
        if self.auto_ack:
            return
        if self.done:
            channel.basic_ack(method.delivery_tag)
        else:
            self.held.append(method.delivery_tag)


def test_hello_world(channel: BlockingChannel, connect: Connect, unique: Unique) -> None:
    queue = channel.queue_declare(unique("hello"), durable=True, arguments=QUORUM).method.queue
    channel.basic_publish(exchange="", routing_key=queue, body="Hello World!")
    channel.connection.close()
    receiver = Worker(connect().channel(), queue, auto_ack=True)
    until(lambda: receiver.bodies, receiver.channel)
    assert receiver.bodies == [b"Hello World!"]


@pytest.mark.parametrize("arguments", [None, QUORUM], ids=["classic", "quorum"])
def test_work_queue_with_prefetch_1(channel: BlockingChannel, connect: Connect, unique: Unique, arguments: Any) -> None:
    queue = unique("task_queue")
    for declaring in (channel, connect().channel()):
        declaring.queue_declare(queue, durable=True, arguments=arguments)
    workers = [Worker(connect().channel(), queue) for _ in range(2)]
    for number in range(10):
        channel.basic_publish("", queue, f"task {number}".encode(), PERSISTENT)
    until(lambda: sum(len(worker.bodies) for worker in workers) == 10, *(worker.channel for worker in workers))
    assert sorted(workers[0].bodies + workers[1].bodies) == [f"task {number}".encode() for number in range(10)]
    assert workers[0].bodies and workers[1].bodies


def test_a_worker_that_is_busy_gets_nothing_more(channel: BlockingChannel, connect: Connect, unique: Unique) -> None:
    queue = unique("task_queue")
    channel.queue_declare(queue, durable=True)
    busy, idle = Worker(connect().channel(), queue, done=False), Worker(connect().channel(), queue)
    for number in range(10):
        channel.basic_publish("", queue, b"%d" % number, PERSISTENT)
    until(lambda: len(busy.bodies) == 1 and len(idle.bodies) == 9, busy.channel, idle.channel)


def test_fanout_events_to_exclusive_server_named_queues(channel: BlockingChannel, connect: Connect, unique: Unique) -> None:
    exchange = unique("events")
    channel.exchange_declare(exchange, "fanout")
    listeners = []
    for _ in range(3):
        listening = connect().channel()
        queue = listening.queue_declare("", exclusive=True).method.queue
        assert queue.startswith("amq.gen-")
        listening.queue_bind(queue, exchange)
        listeners.append(Worker(listening, queue, auto_ack=True))
    for number in range(5):
        channel.basic_publish(exchange, "", b"event %d" % number)
    until(lambda: all(len(listener.bodies) == 5 for listener in listeners), *(listener.channel for listener in listeners))
    assert all(listener.bodies == [b"event %d" % number for number in range(5)] for listener in listeners)


def test_direct_logs_by_severity(channel: BlockingChannel, connect: Connect, unique: Unique) -> None:
    exchange = unique("direct_logs")
    channel.exchange_declare(exchange, "direct")
    readers = {}
    for severities in (("error",), ("info", "warning", "error")):
        reading = connect().channel()
        queue = reading.queue_declare("", exclusive=True).method.queue
        for severity in severities:
            reading.queue_bind(queue, exchange, severity)
        readers[severities] = Worker(reading, queue, auto_ack=True)
    for severity in ("info", "warning", "error", "debug"):
        channel.basic_publish(exchange, severity, severity.encode())
    few, many = readers.values()
    until(lambda: len(few.bodies) == 1 and len(many.bodies) == 3, few.channel, many.channel)
    assert few.bodies == [b"error"]
    assert many.bodies == [b"info", b"warning", b"error"]


def test_topic_logs(channel: BlockingChannel, connect: Connect, unique: Unique) -> None:
    exchange = unique("topic_logs")
    channel.exchange_declare(exchange, "topic")
    readers = {}
    for pattern in ("order.*.*", "*.*.europe", "#"):
        reading = connect().channel()
        queue = reading.queue_declare("", exclusive=True).method.queue
        reading.queue_bind(queue, exchange, pattern)
        readers[pattern] = Worker(reading, queue, auto_ack=True)
    keys = ["order.created.europe", "order.created.asia", "invoice.sent.europe", "order.created", "user.login"]
    for key in keys:
        channel.basic_publish(exchange, key, key.encode())
    until(lambda: len(readers["#"].bodies) == 5, *(reader.channel for reader in readers.values()))
    until(lambda: [len(reader.bodies) for reader in readers.values()] == [2, 2, 5], *(reader.channel for reader in readers.values()))
    assert readers["order.*.*"].bodies == [b"order.created.europe", b"order.created.asia"]
    assert readers["*.*.europe"].bodies == [b"order.created.europe", b"invoice.sent.europe"]
    assert readers["#"].bodies == [key.encode() for key in keys]


def test_competing_consumers_share_fairly(channel: BlockingChannel, connect: Connect, unique: Unique) -> None:
    queue = unique("shared")
    channel.queue_declare(queue, durable=True)
    workers = [Worker(connect().channel(), queue, prefetch=10) for _ in range(3)]
    for number in range(30):
        channel.basic_publish("", queue, b"%d" % number)
    until(lambda: sum(len(worker.bodies) for worker in workers) == 30, *(worker.channel for worker in workers))
    assert [len(worker.bodies) for worker in workers] == [10, 10, 10]


def test_rpc_over_an_exclusive_callback_queue(connect: Connect, unique: Unique) -> None:
    server, client = connect().channel(), connect().channel()
    queue = server.queue_declare(unique("rpc_queue")).method.queue

    def fibonacci(number: int) -> int:
        return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)

    def on_request(channel: BlockingChannel, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        answer = pika.BasicProperties(correlation_id=properties.correlation_id)
        channel.basic_publish("", properties.reply_to, str(fibonacci(int(body))), answer)
        channel.basic_ack(method.delivery_tag)

    server.basic_qos(prefetch_count=1)
    server.basic_consume(queue, on_request)
    callback = client.queue_declare("", exclusive=True).method.queue
    answers: dict[str, bytes] = {}
    client.basic_consume(
        callback, lambda _channel, _method, properties, body: answers.update({properties.correlation_id: body}), auto_ack=True
    )
    asked = {str(uuid.uuid4()): number for number in range(12)}
    for correlation_id, number in asked.items():
        client.basic_publish("", queue, str(number), pika.BasicProperties(reply_to=callback, correlation_id=correlation_id))
    until(lambda: len(answers) == len(asked), server, client)
    assert {key: int(value) for key, value in answers.items()} == {key: fibonacci(number) for key, number in asked.items()}


def test_rpc_over_direct_reply_to(connect: Connect, unique: Unique) -> None:
    server, client = connect().channel(), connect().channel()
    queue = server.queue_declare(unique("rpc_queue")).method.queue
    answers: list[bytes] = []
    client.basic_consume("amq.rabbitmq.reply-to", lambda *delivery: answers.append(delivery[3]), auto_ack=True)
    client.basic_publish("", queue, b"marco", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to"))
    for method, properties, _body in server.consume(queue, inactivity_timeout=10):
        server.basic_publish("", properties.reply_to, b"polo")
        server.basic_ack(method.delivery_tag)
        break
    until(lambda: answers, client)
    assert answers == [b"polo"]


def test_nack_with_requeue_and_without(channel: BlockingChannel, connect: Connect, unique: Unique) -> None:
    queue = channel.queue_declare(unique("nacked"), durable=True).method.queue
    for body in (b"poison", b"good"):
        channel.basic_publish("", queue, body)
    seen: list[tuple[bytes, bool]] = []

    def work(consuming: BlockingChannel, method: Any, _properties: Any, body: bytes) -> None:
        seen.append((body, method.redelivered))
        if body == b"poison":
            consuming.basic_nack(method.delivery_tag, requeue=not method.redelivered)
        else:
            consuming.basic_ack(method.delivery_tag)

    consumer = connect().channel()
    consumer.basic_qos(prefetch_count=1)
    consumer.basic_consume(queue, work)
    until(lambda: len(seen) == 3, consumer)
    assert seen == [(b"poison", False), (b"poison", True), (b"good", False)]
    until(lambda: channel.queue_declare(queue, passive=True).method.message_count == 0, consumer)


def test_confirms_with_mandatory_and_a_return(channel: BlockingChannel, unique: Unique) -> None:
    queue = channel.queue_declare(unique("confirmed"), durable=True).method.queue
    channel.confirm_delivery()
    for number in range(20):
        channel.basic_publish("", queue, b"%d" % number, PERSISTENT, mandatory=True)
    with pytest.raises(UnroutableError) as unroutable:
        channel.basic_publish("", "nowhere-at-all", b"lost", mandatory=True)
    returned = unroutable.value.messages[0]
    assert (returned.method.reply_code, returned.method.reply_text, returned.body) == (312, "NO_ROUTE", b"lost")
    assert channel.queue_declare(queue, passive=True).method.message_count == 20


def test_a_refused_publish_is_a_nack(channel: BlockingChannel) -> None:
    limits = {"x-max-length": 1, "x-overflow": "reject-publish"}
    queue = channel.queue_declare("", exclusive=True, arguments=limits).method.queue
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"fits")
    with pytest.raises(NackError):
        channel.basic_publish("", queue, b"does not")


def test_a_worker_stops_gracefully_and_gives_back_what_it_has(channel: BlockingChannel, connect: Connect, unique: Unique) -> None:
    queue = channel.queue_declare(unique("work"), durable=True).method.queue
    for number in range(10):
        channel.basic_publish("", queue, b"%d" % number, PERSISTENT)
    stopping = Worker(connect().channel(), queue, prefetch=5, done=False)
    until(lambda: len(stopping.held) == 5, stopping.channel)
    stopping.channel.basic_ack(stopping.held[0])
    until(lambda: len(stopping.held) == 6, stopping.channel)
    stopping.channel.basic_cancel(stopping.tag)
    for tag in stopping.held[1:]:
        stopping.channel.basic_nack(tag, requeue=True)
    stopping.channel.connection.close()
    other = Worker(connect().channel(), queue, prefetch=10)
    until(lambda: len(other.bodies) == 9, other.channel)
    assert other.bodies == [b"%d" % number for number in range(1, 10)]
    assert other.redelivered == [True] * 5 + [False] * 4


def test_a_worker_that_dies_loses_nothing(broker: Broker, channel: BlockingChannel, connect: Connect, unique: Unique) -> None:
    queue = channel.queue_declare(unique("work"), durable=True).method.queue
    for number in range(4):
        channel.basic_publish("", queue, b"%d" % number, PERSISTENT)
    command = [sys.executable, "-c", DYING_WORKER, broker.host, str(broker.port), queue]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["0\n", "1\n"]
        process.kill()
    other = Worker(connect().channel(), queue)
    until(lambda: len(other.bodies) == 4, other.channel)
    assert sorted(other.bodies) == [b"0", b"1", b"2", b"3"]
    assert sorted(other.redelivered) == [False, False, True, True]


def test_get_and_the_consume_generator(channel: BlockingChannel) -> None:
    queue = channel.queue_declare("", exclusive=True).method.queue
    assert channel.basic_get(queue) == (None, None, None)
    for number in range(3):
        channel.basic_publish("", queue, b"%d" % number, pika.BasicProperties(headers={"number": number}))
    method, properties, body = channel.basic_get(queue, auto_ack=True)
    assert (method.message_count, properties.headers, body) == (2, {"number": 0}, b"0")
    bodies = []
    for method, _properties, body in channel.consume(queue, inactivity_timeout=10):
        bodies.append(body)
        channel.basic_ack(method.delivery_tag)
        if len(bodies) == 2:
            break
    assert channel.cancel() == 0
    assert bodies == [b"1", b"2"]


def test_transactions(channel: BlockingChannel) -> None:
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.tx_select()
    channel.basic_publish("", queue, b"dropped")
    channel.tx_rollback()
    channel.basic_publish("", queue, b"kept")
    channel.tx_commit()
    assert channel.basic_get(queue)[2] == b"kept"


def test_errors_close_the_channel_and_not_the_connection(channel: BlockingChannel) -> None:
    with pytest.raises(ChannelClosedByBroker) as closed:
        channel.queue_declare("missing", passive=True)
    assert (closed.value.reply_code, closed.value.reply_text) == (404, "NOT_FOUND - no queue 'missing' in vhost '/'")
    assert channel.connection.channel().queue_declare("", exclusive=True).method.queue


def test_the_server_is_known_to_the_client(connect: Connect, broker: Broker) -> None:
    connection = connect()
    properties = connection._impl.server_properties
    assert properties["product"] == "RabbitMQ"
    assert re.match(expect_on(broker, leveret=r"3\.13\.", rabbitmq=r"3\.10\."), properties["version"])
    assert connection.publisher_confirms_supported and connection.basic_nack_supported and connection.consumer_cancel_notify_supported


def test_wrong_credentials(broker: Broker) -> None:
    parameters = pika.ConnectionParameters(host=broker.host, port=broker.port, credentials=pika.PlainCredentials("guest", "wrong"))
    with pytest.raises(AMQPConnectionError, match="ACCESS_REFUSED"):
        pika.BlockingConnection(parameters)


@pytest.mark.parametrize("size", [0, 1, 131072 - 8, 131072 - 7, 5_000_000])
def test_messages_of_every_size(channel: BlockingChannel, size: int) -> None:
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.confirm_delivery()
    channel.basic_publish("", queue, bytes(size))
    assert channel.basic_get(queue, auto_ack=True)[2] == bytes(size)


@pytest.mark.parametrize("arguments", [None, QUORUM], ids=["classic", "quorum"])
def test_a_restart_keeps_what_is_durable(leveret: Leveret, arguments: Any) -> None:
    parameters = pika.ConnectionParameters(host=leveret.host, port=leveret.port)
    channel = pika.BlockingConnection(parameters).channel()
    channel.exchange_declare("logs", "topic", durable=True)
    channel.queue_declare("kept", durable=True, arguments=arguments)
    channel.queue_bind("kept", "logs", "a.*")
    channel.queue_declare("gone")
    channel.confirm_delivery()
    for number in range(10):
        channel.basic_publish("logs", "a.b", b"%d" % number, PERSISTENT)
    method, _properties, body = channel.basic_get("kept")
    assert body == b"0"
    channel.basic_ack(method.delivery_tag)
    if arguments is None:  # a quorum queue keeps what isn't persistent, too
        channel.basic_publish("logs", "a.b", b"transient")
    channel.connection.close()  # a client that blocks elsewhere doesn't answer, and the stop would wait for it
    leveret.restart()
    channel = pika.BlockingConnection(parameters).channel()
    assert [channel.basic_get("kept", auto_ack=True)[2] for _ in range(9)] == [b"%d" % number for number in range(1, 10)]
    assert channel.basic_get("kept") == (None, None, None)
    channel.basic_publish("logs", "a.c", b"the binding is there, too", PERSISTENT)
    assert channel.basic_get("kept", auto_ack=True)[2] == b"the binding is there, too"
    with pytest.raises(ChannelClosedByBroker):
        channel.queue_declare("gone", passive=True)
    channel.connection.close()


def test_a_kill_loses_nothing_that_was_confirmed(leveret: Leveret) -> None:
    parameters = pika.ConnectionParameters(host=leveret.host, port=leveret.port)
    channel = pika.BlockingConnection(parameters).channel()
    channel.queue_declare("kept", durable=True)
    channel.confirm_delivery()
    for number in range(50):
        channel.basic_publish("", "kept", b"%d" % number, PERSISTENT)
    leveret.kill()
    leveret.start()
    channel = pika.BlockingConnection(parameters).channel()
    assert [channel.basic_get("kept", auto_ack=True)[2] for _ in range(50)] == [b"%d" % number for number in range(50)]
    channel.connection.close()


def test_a_graceful_stop_is_told_to_the_clients(leveret: Leveret) -> None:
    connection = pika.BlockingConnection(pika.ConnectionParameters(host=leveret.host, port=leveret.port))
    os.kill(leveret.pid, signal.SIGTERM)
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
        connection.process_data_events(time_limit=10)
    assert leveret.stop() == 0
    assert (closed.value.reply_code, closed.value.reply_text) == (
        320,
        "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
    )

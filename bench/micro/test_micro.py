"""What the parts of a message's path cost by themselves, with pytest-benchmark: `make bench-micro`. A figure is for BATCH messages.

For finding out which part a change has made slower or faster; what counts in the end is what `bench.compare` and `bench.guard` say.
"""

from collections.abc import Callable
from typing import Any

import pytest

from broker.core.envelope import Envelope
from protocol.codec import encode_method_frame
from protocol.connection import ServerConnection
from protocol.content import Properties, encode_properties, scan
from protocol.events import Message, PublishMethod, Tuning
from protocol.fastcodec import Deliveries, Output
from protocol.forms import Forms
from protocol.framing import encode_frame
from protocol.methods import Basic, Channel, Queue, make
from protocol.states import ConnectionState
from protocol.tables import table_of
from storage import records
from tests.core.playbook import Playbook

BATCH = 500
TUNING = Tuning(2047, 131_072, 0)
Benchmark = Callable[..., Any]


class Deaf:
    """protocol.events.Events that does nothing."""

    def on_method(self, channel: int, method: object) -> int:
        return 1

    def on_publishes(self, channel: int, routing: bytes, bits: int, headers: list[bytes], bodies: list[bytes]) -> int:
        return len(bodies)

    def on_mixed_publishes(self, methods: list[PublishMethod], headers: list[bytes], bodies: list[bytes]) -> int:
        return len(bodies)

    def on_acks(self, channel: int, tags: list[int]) -> int:
        return len(tags)


def message(kind: str, number: int) -> tuple[int, str, bytes, bytes]:
    """Channel, routing key, content header and body of one of a kind: `alike`, with an `id` of its own, or as `applications` send."""
    if kind == "alike":
        return 1, "queue", encode_properties(Properties(content_type="text/plain"), 100), b"x" * 100
    identity = f"{number:016}"
    if kind == "id":
        return 1, "queue", encode_properties(Properties(content_type="text/plain", message_id=identity), 100), b"x" * 100
    body = b"x" * (50 + 37 * number % 101)
    headers = table_of({"lang": "py", "task": "shop.orders.charge", "id": identity})
    properties = Properties(content_type="application/json", headers=headers, delivery_mode=2, correlation_id=identity, message_id=identity)
    return 1 + number % 2, f"queue.{number // 2 % 8}", encode_properties(properties, len(body)), body


def frames(kind: str) -> bytes:
    """BATCH publishes."""
    said = b""
    for channel, key, header, body in (message(kind, number) for number in range(BATCH)):
        said += encode_method_frame(channel, make(Basic.Publish, exchange="", routing_key=key))
        said += encode_frame(2, channel, header) + encode_frame(3, channel, body)
    return said


def connection() -> ServerConnection:
    """After the handshake, with two channels."""
    connection = ServerConnection(Deaf(), TUNING, 1 << 27, lambda: None)  # type: ignore[arg-type]
    connection.state = ConnectionState.RUNNING
    connection.tuned(TUNING)
    connection.receive_data(encode_method_frame(1, make(Channel.Open)) + encode_method_frame(2, make(Channel.Open)), 5000)
    return connection


KINDS = pytest.mark.parametrize("kind", ["alike", "id", "applications"])


@KINDS
def test_reading_publishes(benchmark: Benchmark, kind: str) -> None:
    data, reader = frames(kind), connection()

    def read() -> None:
        done = reader.receive_data(data, 5000)
        while not done:
            done = reader.receive_data(b"", 5000)

    benchmark(read)
    assert reader.buffered_bytes == 0


def test_reading_acks(benchmark: Benchmark) -> None:
    data, reader = b"".join(encode_method_frame(1, make(Basic.Ack, delivery_tag=tag)) for tag in range(1, BATCH + 1)), connection()
    benchmark(reader.receive_data, data, 5000)
    assert reader.buffered_bytes == 0


@KINDS
def test_writing_deliveries(benchmark: Benchmark, kind: str) -> None:
    output = Output()
    routings = {f"queue.{key}": b"\0\7queue.%d" % key for key in range(8)} | {"queue": b"\0\5queue"}
    alike = message("alike", 0)[2]
    messages: list[Message] = []
    for number in range(BATCH):
        _, key, header, body = message(kind, number)
        messages.append((number, routings[key], alike if kind == "alike" else header, body))
    deliveries = Deliveries(output, 1, "consumer", TUNING.frame_max)

    def write() -> bytes:
        output.output.clear()
        deliveries.encode(1, False, messages, 1 << 40)
        return b"".join(output.output)

    assert len(benchmark(write)) > BATCH * 100


@pytest.mark.parametrize("known", [False, True])
def test_looking_at_headers(benchmark: Benchmark, known: bool) -> None:
    headers, forms = [message("applications", number)[2] for number in range(BATCH)], Forms()
    facts = benchmark(forms.scan_each, headers) if known else benchmark(lambda: list(map(scan, headers)))
    assert facts == list(map(scan, headers))


@pytest.mark.parametrize("kind", ["direct", "topic", "headers"])
def test_routing(benchmark: Benchmark, kind: str) -> None:
    """Past all that remembers routes: 1,000 bindings, of which one fits each message."""
    book = Playbook()
    channel = book.connect().channel()
    channel.declare("q")
    channel.exchange("x", kind)
    for number in range(1000):
        key = {"direct": f"k{number}", "topic": f"a.{number}.#", "headers": ""}[kind]
        arguments = {"n": number} if kind == "headers" else {}
        channel.do(Queue.Bind, queue="q", exchange="x", routing_key=key, arguments=table_of(arguments))
    vhost = book.broker.vhosts["/"]
    exchange = vhost.exchange("x")
    header = encode_properties(Properties(headers=table_of({"n": 500})), 0)
    key = {"direct": "k500", "topic": "a.500.b.c", "headers": "any"}[kind]

    def route() -> Any:
        for _ in range(BATCH):
            found = vhost.route(exchange, Envelope((key,), b"\1x\3any", header))
        return found

    assert [queue.name for queue in benchmark(route)] == ["q"]


@pytest.mark.parametrize("durable", [False, True])
def test_through_a_queue(benchmark: Benchmark, durable: bool) -> None:
    """Published, delivered and acked, the core alone."""
    book = Playbook()
    channel = book.connect().channel()
    channel.declare("q", durable=durable)
    channel.consume("q")
    headers = [message("id", number)[2] for number in range(BATCH)]
    bodies = [b"x" * 100] * BATCH
    tag = 0

    def through() -> None:
        nonlocal tag
        channel.publish_run("q", headers, bodies)
        book.settle()
        channel.acks(*range(tag + 1, tag + BATCH + 1))
        book.settle()
        tag += BATCH
        channel.take()

    benchmark(through)
    assert not book.ready("q")


@pytest.mark.parametrize("routings", [1, BATCH])
def test_records_of_the_log(benchmark: Benchmark, routings: int) -> None:
    """One of BATCH messages that have the routing in common, or nothing."""
    headers = [message("applications", number)[2] for number in range(BATCH)]
    keys = [b"\0\7queue.%d" % (number % 8) for number in range(routings)]
    record = benchmark(records.encode_enqueue_each, 1, 1, 0, keys, headers, [b"x" * 100] * BATCH)
    assert records.decode_enqueue(record).headers == headers

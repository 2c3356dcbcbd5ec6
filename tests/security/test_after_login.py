"""What a user can make the broker hold and do: everybody else is still served. More of it is in tests/runtime/test_backpressure.py."""

import struct
import time
from collections.abc import Callable

import pytest
from pamqp.commands import Queue, Tx

from broker.core.exchange import Binding
from broker.core.exchanges.topic import Topic
from tests.oracle.leveret import Leveret
from tests.protocol.playbook import any_method, handshake, open_channel
from tests.runtime.process import MB, Pinger, fill, name_of, one_problem, peak_rss_bytes, publish_bytes
from tests.security.stranger import Stranger, kept_bytes, new_broker
from tests.wire import BODY, HEADER, METHOD, Wire, frame_bytes, longstr

Start = Callable[..., Leveret]
WATERMARK_BYTES = 64_000_000
LOW = {"vm_memory_high_watermark.absolute": str(WATERMARK_BYTES)}
KIB = 1024


def unfinished(channel: int, size: int, sent: int) -> bytes:
    """A publish whose header promises `size` bytes, and so many of them."""
    method = publish_bytes(channel, "", "nowhere", b"")[: -len(frame_bytes(HEADER, channel, bytes(14)))]
    header = frame_bytes(HEADER, channel, struct.pack(">HHQH", 60, 0, size, 0))
    return method + header + frame_bytes(BODY, channel, bytes(100_000)) * (sent // 100_000)


def test_messages_that_are_never_finished(start: Start) -> None:
    """On 20 channels 8 MB each of messages that were to be 100 MB: more than the watermark alone, so that no consumer could end the alarm.
    The connection is closed, and publishers go on."""
    broker = start(memory=True, **LOW)
    with Wire.connect(broker, capabilities={}) as wire, Wire.connect(broker) as other, Pinger(broker) as pinger:
        peer, publisher = name_of(wire), other.open_channel()
        publisher.confirm_select()
        for _ in range(20):
            wire.open_channel()
        before = peak_rss_bytes(broker)
        for number in range(1, 21):
            wire.send_raw(unfinished(number, 100 * MB, 8_000_000))
        broker.wait_for_log("memory resource limit alarm set")
        wire.expect_close(506, "RESOURCE_ERROR - unfinished or uncommitted messages take too much memory")
        one_problem(broker, peer, "take too much memory")
        broker.wait_for_log("memory resource limit alarm cleared")
        publisher.publish("", "q", b"x")
        assert publisher.confirms(1) == {1: True}
        pinger.pings(10)
        assert peak_rss_bytes(broker) - before < 260 * MB


def test_a_transaction_that_is_never_committed(start: Start) -> None:
    """What it holds counts as memory too."""
    broker = start(memory=True, **LOW)
    with Wire.connect(broker) as wire, Wire.connect(broker) as other:
        peer, publisher = name_of(wire), other.open_channel()
        publisher.confirm_select()
        wire.open_channel().call(Tx.Select)
        try:
            for _ in range(100):
                wire.send_raw(publish_bytes(1, "", "nowhere", bytes(1_000_000)))
        except OSError:
            pass  # ended in the middle of a message
        one_problem(broker, peer, "takes? too much memory")
        broker.wait_for_log("memory resource limit alarm cleared")
        publisher.publish("", "q", b"x")
        assert publisher.confirms(1) == {1: True}


def test_who_holds_less_than_the_watermark_is_only_blocked(start: Start) -> None:
    """Consumers can end that alarm, and then it goes on."""
    broker = start(memory=True, **LOW)
    with Wire.connect(broker) as wire, Wire.connect(broker) as other:
        wire.open_channel()
        channel = other.open_channel()
        channel.queue("q", durable=True)
        wire.send_raw(unfinished(1, 30_000_000, 29_900_000))
        fill(broker, "q", bytes(1_000_000), 40)
        broker.wait_for_log("memory resource limit alarm set")
        channel.call(Queue.Purge, queue="q")
        broker.wait_for_log("memory resource limit alarm cleared")
        wire.send_raw(frame_bytes(BODY, 1, bytes(100_000)))
        wire.open_channel().nothing_more()


def test_a_header_counts_as_unfinished() -> None:
    peer = Stranger(new_broker())
    peer.says(handshake() + open_channel(1))
    headers = longstr(b"\x01hS" + longstr(bytes(100_000)))
    peer.says(publish_bytes(1, "", "q", b"")[: -len(frame_bytes(HEADER, 1, bytes(14)))])
    peer.says(frame_bytes(HEADER, 1, struct.pack(">HHQH", 60, 0, 10, 0x2000) + headers))
    assert peer.wire.unfinished_bytes > 100_000


def test_what_a_channel_takes() -> None:
    peer = Stranger(new_broker())
    peer.says(handshake())
    numbers = iter(range(1, 1000))
    assert kept_bytes(lambda: peer.says(open_channel(next(numbers))), 200) < 3 * KIB
    assert len(peer.session.channels) == 201


# --- patterns and tables


WORST_TOPICS = [
    ".".join(["#", "a"] * 63),
    ".".join(["#", "*"] * 63),
    ".".join(["*", "#"] * 63),
    ".".join(["#"] * 127),
    ".".join(["#.a.*"] * 42),
]
WORST_KEYS = [".".join(["a"] * 128), "." * 255, "a" * 255, ".".join(["a"] * 127) + ".b"]


@pytest.mark.parametrize("pattern", WORST_TOPICS)
@pytest.mark.parametrize("key", WORST_KEYS)
def test_a_topic_of_many_wildcards(pattern: str, key: str) -> None:
    """The places reached are a set, so a key costs its words times the pattern's, and not two to the power of them."""
    exchange = Topic("t")
    destination = object()
    exchange._added(Binding(exchange, destination, pattern, {}))  # type: ignore[arg-type]
    begin = time.process_time()
    exchange.matches(key, {})
    assert time.process_time() - begin < 0.1


def test_a_thousand_topics_of_many_wildcards() -> None:
    """The most that one user's bindings can make one publish cost everybody: words times places. Who may bind, decides."""
    exchange = Topic("t")
    for number in range(100):
        exchange._added(Binding(exchange, object(), f"#.{number}." + ".".join(["#", "a"] * 60), {}))  # type: ignore[arg-type]
    key = ".".join(["a"] * 128)
    begin = time.process_time()
    exchange.matches(key, {})
    assert time.process_time() - begin < 0.1, "places behind a word that isn't in the key aren't reached"
    key = ".".join(str(number) for number in range(60)) + ".a" * 40
    begin = time.process_time()
    exchange.matches(key, {})
    assert time.process_time() - begin < 1


@pytest.mark.parametrize("element", [b"V", b"b\x01", b"S\0\0\0\0", b"F\0\0\0\0"])
def test_what_a_binding_with_a_huge_argument_takes(element: bytes) -> None:
    """Kept decoded, and once more to compare with: up to 150 times what was sent. RabbitMQ keeps them decoded too, in several tables;
    permissions say who may."""
    size = 20_000
    peer = Stranger(new_broker())
    peer.says(handshake() + open_channel(1) + any_method(1, Queue.Declare, queue="q"))

    vhost = peer.session.vhost

    def bind() -> None:
        number = b"%04d" % len(vhost.bindings_to(vhost.queues["q"]))
        table = longstr(b"\x04" + number + b"A" + longstr(element * (size // len(element))))
        peer.says(frame_bytes(METHOD, 1, struct.pack(">HHH", 50, 20, 0) + b"\x01q\x09amq.match\x00\x00" + table))

    assert kept_bytes(bind, 3) < 150 * size
    assert peer.end == ""
    assert len(vhost.bindings_to(vhost.queues["q"])) == 4


@pytest.mark.alone
def test_a_refusal_of_a_huge_argument_is_short(start: Start) -> None:
    """The text is cut at 255 bytes, and what it is cut out of takes no time to speak of."""
    broker = start(memory=True)
    with Wire.connect(broker) as wire, Pinger(broker) as pinger:
        channel = wire.open_channel()
        for arguments in (b"\x0cx-max-lengthA" + longstr(b"V" * 120_000), b"\x0cx-max-lengthS" + longstr(b"\xff" * 120_000)):
            channel.send(Queue.Declare, queue="q", durable=True, arguments=arguments)
            close = channel.expect_close(406)
            assert len(close.reply_text) <= 255
            channel.reopen()
        channel.nothing_more()
        pinger.pings(5)
        assert max(pinger.seconds) < 0.5
    assert max(map(len, broker.log.splitlines())) < 1000

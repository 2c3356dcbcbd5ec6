"""Whatever a peer sends: the connection closes with the right code, one log line says who and why, nobody else notices, nothing is lost."""

import random
import re
import socket
import struct
from collections.abc import Iterator

import pytest
from pamqp.commands import Basic, Channel, Connection, Exchange, Queue, Tx

from tests.oracle.leveret import Leveret
from tests.runtime.process import (
    Pinger,
    assert_nothing_broke,
    fill,
    idle_sockets,
    log_lines,
    name_of,
    one_problem,
    problems,
    publish_bytes,
    soon,
)
from tests.wire import BODY, HEADER, HEARTBEAT, METHOD, PROTOCOL_HEADER, Wire, encode_method, frame_bytes, octets, shortstr

SAFE = "a queue that none of this has any business with"
SAFE_MESSAGES = 20


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leveret]:
    with Leveret(tmp_path_factory.mktemp("bad") / "data") as broker:
        idle_sockets(broker)
        with Wire.connect(broker) as wire:
            wire.open_channel().queue(SAFE, durable=True)
            wire.close()
        fill(broker, SAFE, b"safe", SAFE_MESSAGES, delivery_mode=2)
        yield broker
        assert broker.stop() == 0
        assert_nothing_broke(broker)
        broker.start()
        assert_unharmed(broker)


@pytest.fixture
def bystander(shared: Leveret) -> Iterator[Pinger]:
    """It has an open connection all the while, and sees nothing."""
    with Pinger(shared) as pinger:
        pinger.pings(3)
        yield pinger
        pinger.pings(3)
    assert_unharmed(shared)
    assert_nothing_broke(shared)


def assert_unharmed(broker: Leveret) -> None:
    with Wire.connect(broker) as wire:
        assert wire.open_channel().counts(SAFE) == (SAFE_MESSAGES, 0)
        wire.close()


# --- before the handshake


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"\x00" * 100, "bad protocol header"),
        (b"AMQP\x00\x01\x00\x00", "AMQP 0-9-1 only"),
        (b"AMQP\x03\x01\x00\x00", "AMQP 0-9-1 only"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP"),
        (b"POST /api HTTP/1.0\r\n\r\n" + b"x" * 100_000, "HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), "TLS"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "bad protocol header"),
        (b"\xff" * 8, "bad protocol header"),
    ],
)
def test_another_protocol(shared: Leveret, bystander: Pinger, said: bytes, reason: str) -> None:
    with Wire(shared) as wire:
        peer = name_of(wire)
        wire.send_raw(said)
        assert wire.read_to_eof() == b"AMQP\x00\x00\x09\x01"
        one_problem(shared, peer, reason)


def test_a_line_break_in_what_is_sent_is_no_log_line_of_its_own(shared: Leveret, bystander: Pinger) -> None:
    with Wire(shared) as wire:
        wire.greet()
        wire.start_ok("evil\n2026-01-01 [critical] <server> all is lost", "x", capabilities={})
        soon(lambda: log_lines(shared, "all is lost"))
    assert not log_lines(shared, r"^2026-01-01 \[critical\]")


def test_half_a_handshake_that_is_broken_off(shared: Leveret, bystander: Pinger) -> None:
    with Wire(shared) as wire:
        peer = name_of(wire)
        wire.greet()
        wire.send_raw(frame_bytes(METHOD, 0, b"\x00\x0a\x00\x0b")[:-2])
        wire.half_close()
        assert wire.read_to_eof() == b""
        one_problem(shared, peer, "in state starting")


def test_handshakes_that_go_wrong(shared: Leveret, bystander: Pinger) -> None:
    """All at once, for each takes three seconds: nothing is said (contract 1.3, 1.4), but where the client can hear 403."""
    nested = b"\x01n\x46" * 50
    scenes: dict[str, tuple[Wire, str, str]] = {}

    def scene(name: str, reason: str) -> Wire:
        wire = Wire(shared)
        scenes[name] = (wire, name_of(wire), reason)
        wire.greet()
        return wire

    scene("wrong password, can hear it", "refused|invalid").start_ok("guest", "wrong")
    scene("wrong password", "refused|invalid").start_ok("guest", "wrong", capabilities={})
    scene("unknown user", "refused|invalid").start_ok("nobody", "guest", capabilities={})
    scene("unknown mechanism", "").start_ok(mechanism="KERBEROS", response=b"")
    scene("malformed response", "").start_ok(response=b"\x00guest")
    scene("response isn't text", "").start_ok(response=b"\x00\xff\xfe\x00guest", capabilities={})
    scene("open before start-ok", "Connection.Open").send_method(0, Connection.Open)
    scene("channel before start-ok", "channel 1").send_method(1, Channel.Open)
    scene("no method", "frame|state").send_frame(BODY, 0, b"x")
    scene("a frame of 2 GB", "frame_too_large").send_raw(struct.pack(">BHI", METHOD, 0, (1 << 31) - 1))
    scene("a frame of 4 GB", "frame_too_large").send_raw(b"\xff" * 100)
    scene("bad frame end", "invalid_frame_end_marker").send_frame(METHOD, 0, encode_method(Connection.StartOk), end=0)
    scene("undecodable", "cannot decode").send_frame(METHOD, 0, b"\x00\x0a\x00\x0b" + struct.pack(">I", 1000) + b"x")
    scene("nested", "cannot decode").send_frame(METHOD, 0, b"\x00\x0a\x00\x0b" + struct.pack(">I", len(nested)) + nested)
    scene("unknown method", "").send_frame(METHOD, 0, b"\x00\x0a\x00\x63")
    tune = scene("tuned too high", "frame_max = 999999")
    tune.start_ok()
    tune.expect(Connection.Tune)
    tune.tune_ok(frame_max=999_999)
    for name, (wire, peer, reason) in scenes.items():
        if name == "wrong password, can hear it":
            wire.expect(Connection.Close, reply_code=403)
        assert wire.read_to_eof() == b"", name
        one_problem(shared, peer, reason)
        wire.abort()


# --- in a running connection


def deep(levels: int) -> bytes:
    """A table in a table in a table, as encoded pairs."""
    inner = b""
    for _ in range(levels):
        inner = b"\x01k\x46" + struct.pack(">I", len(inner)) + inner
    return inner


DECLARE = struct.pack(">HHH", 50, 10, 0)
PUBLISH = encode_method(Basic.Publish, routing_key=SAFE + "?")
CONTENT = struct.pack(">HHQ", 60, 0, 10)
RUNNING: dict[str, tuple[int, bytes]] = {
    "a frame of 2 GB": (501, struct.pack(">BHI", BODY, 1, (1 << 31) - 1)),
    "a frame of 4 GB": (501, b"\x03\x00\x01\xff\xff\xff\xff"),
    "one byte over frame_max": (501, struct.pack(">BHI", METHOD, 1, 131073)),
    "bad frame end": (501, frame_bytes(METHOD, 1, encode_method(Tx.Select), end=0)),
    "unknown frame type": (501, frame_bytes(7, 1, b"what")),
    "garbage": (501, b"\xde\xad\xbe\xef" * 50),
    "heartbeat with payload": (501, frame_bytes(HEARTBEAT, 0, b"x")),
    "heartbeat on a channel": (505, frame_bytes(HEARTBEAT, 1, b"")),
    "unknown class": (540, frame_bytes(METHOD, 1, b"\x00\xf0\x00\x0a")),
    "unknown method": (540, frame_bytes(METHOD, 1, b"\x00\x3c\x00\xfa")),
    "an empty method": (501, frame_bytes(METHOD, 1, b"")),
    "half an argument": (501, frame_bytes(METHOD, 1, DECLARE + b"\x20short")),
    "too many arguments": (501, frame_bytes(METHOD, 1, encode_method(Tx.Select) + b"more")),
    "second open": (504, frame_bytes(METHOD, 0, encode_method(Connection.Open))),
    "start-ok again": (504, frame_bytes(METHOD, 0, encode_method(Connection.StartOk))),
    "a server's method": (503, frame_bytes(METHOD, 1, encode_method(Queue.DeclareOk))),
    "connection method on a channel": (503, frame_bytes(METHOD, 1, encode_method(Connection.Open))),
    "channel not open": (504, frame_bytes(METHOD, 2, encode_method(Tx.Select))),
    "publish on a channel not open": (504, frame_bytes(METHOD, 2, PUBLISH)),
    "channel 1 again": (504, frame_bytes(METHOD, 1, encode_method(Channel.Open))),
    "header without method": (505, frame_bytes(HEADER, 1, CONTENT + b"\0\0")),
    "body without method": (505, frame_bytes(BODY, 1, b"x")),
    "body without header": (505, frame_bytes(METHOD, 1, PUBLISH) + frame_bytes(BODY, 1, b"x")),
    "method inside content": (505, frame_bytes(METHOD, 1, PUBLISH) + frame_bytes(METHOD, 1, encode_method(Tx.Select))),
    "header of another class": (505, frame_bytes(METHOD, 1, PUBLISH) + frame_bytes(HEADER, 1, struct.pack(">HHQH", 10, 0, 1, 0))),
    "body past its size": (
        505,
        frame_bytes(METHOD, 1, PUBLISH) + frame_bytes(HEADER, 1, CONTENT + b"\0\0") + frame_bytes(BODY, 1, b"x" * 11),
    ),
    "undecodable properties": (
        541,
        frame_bytes(METHOD, 1, PUBLISH) + frame_bytes(HEADER, 1, CONTENT + b"\xff\xfe\xff") + frame_bytes(BODY, 1, b"x" * 10),
    ),
    "deep tables": (
        501,
        frame_bytes(METHOD, 1, DECLARE + shortstr("deep") + b"\0" + struct.pack(">I", len(deep(10_000))) + deep(10_000)),
    ),
    "prefetch_size": (540, frame_bytes(METHOD, 1, encode_method(Basic.Qos, prefetch_size=1))),
    "an exchange's name isn't UTF-8": (
        501,
        frame_bytes(METHOD, 1, encode_method(Exchange.Declare, exchange="\udcff\udcfe", exchange_type="fanout")),
    ),
}


THREE_SECONDS = ("a frame of 2 GB", "a frame of 4 GB", "one byte over frame_max", "bad frame end")
"""The broker reads no more after these, so it doesn't see close-ok and closes after three seconds (contract 1.9). One is enough."""


@pytest.mark.parametrize("name", RUNNING)
def test_a_running_connection(shared: Leveret, bystander: Pinger, name: str) -> None:
    """What stands behind the mistake in the same packet is dropped, and no reason for a second close or line."""
    code, said = RUNNING[name]
    with Wire.connect(shared) as wire:
        channel = wire.open_channel()
        peer = name_of(wire)
        wire.send_raw(said + said + publish_bytes(channel.number, "", SAFE, b"intruder"))
        close = wire.expect(Connection.Close, 0)
        assert close.reply_code == code, (close.reply_code, close.reply_text)
        name_of_code, _, reason = close.reply_text.partition(" - ")
        quoted = reason[:60].replace("\\", "\\\\").replace('"', '\\"')
        told = re.escape(f'caused a connection exception {name_of_code.lower()}: "{quoted}')
        one_problem(shared, peer, told)
        wire.send_method(0, Connection.CloseOk)
        if name not in THREE_SECONDS:
            wire.expect_eof()
    one_problem(shared, peer, told)


def test_after_the_first_mistake_a_second_is_no_news(shared: Leveret, bystander: Pinger) -> None:
    with Wire.connect(shared) as wire:
        wire.open_channel()
        peer = name_of(wire)
        wire.send_raw(RUNNING["heartbeat on a channel"][1] + RUNNING["bad frame end"][1] + RUNNING["garbage"][1])
        wire.expect(Connection.Close, 0, reply_code=505)
        wire.half_close()
        assert wire.read_to_eof() == b""
    one_problem(shared, peer, "caused a connection exception unexpected_frame: ")


def test_names_that_are_not_utf_8(shared: Leveret, bystander: Pinger) -> None:
    """Wherever a name may stand: an answer, or a close; never a broken broker."""
    bad = "\udcff\udc80\udcc3("
    said = [
        encode_method(Queue.Declare, queue=bad, exclusive=True),
        encode_method(Queue.Declare, queue=bad, passive=True),
        encode_method(Queue.Bind, queue=bad, exchange=bad, routing_key=bad),
        encode_method(Queue.Bind, queue=SAFE, exchange="amq.topic", routing_key=bad),
        encode_method(Queue.Unbind, queue=SAFE, exchange="amq.topic", routing_key=bad),
        encode_method(Queue.Delete, queue=bad),
        encode_method(Queue.Declare, queue="x", exclusive=True, arguments={bad: bad}),
        encode_method(Queue.Declare, queue="y", durable=True, auto_delete=True, arguments={bad: bad}),
        encode_method(Exchange.Declare, exchange="x", exchange_type=bad),
        encode_method(Exchange.Declare, exchange=bad, exchange_type="direct"),
        encode_method(Exchange.Delete, exchange=bad),
        encode_method(Exchange.Bind, destination=bad, source=bad, routing_key=bad),
        encode_method(Basic.Consume, queue=bad, consumer_tag=bad),
        encode_method(Basic.Consume, queue=SAFE, consumer_tag=bad, arguments={bad: bad}),
        encode_method(Basic.Cancel, consumer_tag=bad),
        encode_method(Basic.Get, queue=bad),
    ]
    for method in said:
        with Wire.connect(shared) as wire:
            channel = wire.open_channel()
            wire.send_frame(METHOD, channel.number, method)
            answer = wire.next_frame()
            assert answer.type == METHOD, answer
            octets(str(answer))
    for properties in ({"headers": {bad: bad}}, {"reply_to": bad}, {"expiration": bad}, {"user_id": bad}, {"headers": {"CC": [bad]}}):
        with Wire.connect(shared) as wire:
            channel = wire.open_channel()
            channel.confirm_select()
            channel.publish("amq.topic", bad, b"x", mandatory=True, **properties)
            assert wire.next_frame().type == METHOD


def test_a_session_of_a_name_that_is_not_utf_8_survives_a_restart(shared: Leveret) -> None:
    bad = "\udcff\udc80"
    with Wire.connect(shared) as wire:
        channel = wire.open_channel()
        channel.send(Queue.Declare, queue=bad, durable=True)
        if wire.next_frame().method.name == "Queue.DeclareOk":
            channel.bind(bad, "amq.topic", bad)
            channel.publish_confirmed("", bad, b"x", delivery_mode=2)
            wire.close()
            shared.restart()
            with Wire.connect(shared) as again:
                channel = again.open_channel()
                assert channel.take(bad).body == b"x"
                channel.call(Queue.Delete, queue=bad)


# --- at random


def a_session() -> bytes:
    """A bit of everything, valid."""
    methods = [
        encode_method(Queue.Declare, queue="m", auto_delete=True),
        encode_method(
            Queue.Declare, queue="", exclusive=True, arguments={"x-max-length": 5, "t": {"a": [1, 2.5, None, True, "x", {"b": b"c"}]}}
        ),
        encode_method(Exchange.Declare, exchange="mx", exchange_type="headers", auto_delete=True),
        encode_method(Queue.Bind, queue="m", exchange="mx", arguments={"x-match": "any", "n": 1}),
        encode_method(Queue.Bind, queue="m", exchange="amq.topic", routing_key="a.*.#"),
        encode_method(Basic.Qos, prefetch_count=3),
        encode_method(Basic.Consume, queue="m", consumer_tag="c"),
        encode_method(Basic.Get, queue="m"),
        encode_method(Basic.Ack, delivery_tag=1),
        encode_method(Basic.Ack, delivery_tag=2),
        encode_method(Basic.Nack, delivery_tag=3, multiple=True, requeue=True),
        encode_method(Basic.Reject, delivery_tag=4, requeue=False),
        encode_method(Basic.Recover, requeue=True),
        encode_method(Basic.Cancel, consumer_tag="c"),
        encode_method(Queue.Purge, queue="m"),
        encode_method(Queue.Unbind, queue="m", exchange="amq.topic", routing_key="a.*.#"),
        encode_method(Exchange.Bind, destination="mx", source="amq.fanout"),
        encode_method(Channel.Flow, active=True),
    ]
    frames = [frame_bytes(METHOD, 1, method) for method in methods]
    publishes = [
        publish_bytes(1, "", "m", b"hello"),
        publish_bytes(1, "", "m", b"hello"),
        publish_bytes(1, "", "m", b"hello", message_id="1", headers={"n": 1, "CC": ["m"]}),
        publish_bytes(1, "mx", "k", b"x" * 300, headers={"n": 1}, expiration="1000", priority=3, delivery_mode=2),
        publish_bytes(1, "amq.topic", "a.b.c", b"", reply_to="amq.rabbitmq.reply-to", user_id="guest"),
    ]
    other = [
        frame_bytes(METHOD, 2, encode_method(Tx.Select)),
        publish_bytes(2, "", "m", b"in a transaction"),
        frame_bytes(METHOD, 2, encode_method(Tx.Commit)),
        frame_bytes(HEARTBEAT, 0, b""),
        frame_bytes(METHOD, 1, b"\x00\x55\x00\x0a\x00"),  # confirm.select
        *publishes,
        frame_bytes(METHOD, 2, encode_method(Channel.Close, reply_code=200, reply_text="")),
    ]
    opening = [frame_bytes(METHOD, number, encode_method(Channel.Open)) for number in (1, 2)]
    return b"".join([*opening, *frames[:7], *publishes, *frames[7:], *other])


HANDSHAKE = PROTOCOL_HEADER + b"".join(
    frame_bytes(METHOD, 0, payload)
    for payload in (
        encode_method(
            Connection.StartOk,
            client_properties={"capabilities": {"consumer_cancel_notify": True}},
            mechanism="PLAIN",
            response=b"\0guest\0guest",
            locale="en_US",
        ),
        encode_method(Connection.TuneOk, channel_max=2047, frame_max=131072, heartbeat=60),
        encode_method(Connection.Open, virtual_host="/"),
    )
)


def mutated(chance: random.Random, data: bytes) -> bytes:
    """`data` with a few bytes changed, left out, doubled or put in."""
    result = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        if not result:
            break
        at = chance.randrange(len(result))
        size = chance.choice((1, 1, 2, 4, 8, 100))
        match chance.randrange(6):
            case 0:
                result[at] = chance.randrange(256)
            case 1:
                result[at] ^= 1 << chance.randrange(8)
            case 2:
                del result[at : at + size]
            case 3:
                result[at:at] = result[at : at + size]
            case 4:
                result[at : at + size] = chance.randbytes(size)
            case _:
                result[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xce\xce\xce\xce"))
    return bytes(result)


def mutate(broker: Leveret, seed: int, count: int) -> None:
    """Sessions with a mistake in them: most after the handshake, some in it. Whatever comes back is whole frames."""
    chance = random.Random(seed)
    session = a_session()
    lines_before, log_before = len(problems(broker)), len(broker.log)
    peers = []
    for number in range(count):
        data = mutated(chance, HANDSHAKE + session) if chance.random() < 0.1 else HANDSHAKE + mutated(chance, session)
        with socket.create_connection((broker.host, broker.port), timeout=20) as peer:
            peers.append("{}:{}".format(*peer.getsockname()))
            if chance.random() < 0.2:
                for at in range(0, len(data), 700):
                    peer.sendall(data[at : at + 700])
            else:
                peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            if number % 10 == 0:
                answer = b""
                while piece := peer.recv(65536):
                    answer += piece
                check_frames(answer)
    assert len(problems(broker)) > lines_before
    idle_sockets(broker, others=1)  # the bystander's
    ends: dict[str, int] = {}
    for peer_name in re.findall(r"\[(?:warning|error)\] \S+ (?:closing|Error).* connection \S+ \((\S+) -> ", broker.log[log_before:]):
        ends[peer_name] = ends.get(peer_name, 0) + 1
    assert set(peers) & set(ends), "the log names them"
    doubled = {name: times for name, times in ends.items() if times > peers.count(name) and name in peers}
    assert not doubled, doubled


def check_frames(answer: bytes) -> None:
    """Whole frames, the last one perhaps cut off by a reset."""
    if answer.startswith(b"AMQP"):
        return
    at = 0
    while at + 7 <= len(answer):
        kind, _, size = struct.unpack_from(">BHI", answer, at)
        assert kind in (METHOD, HEADER, BODY, HEARTBEAT), answer[at : at + 20]
        assert size <= 131072
        at += size + 8
        assert at > len(answer) or answer[at - 1] == 0xCE


def test_the_session_itself_is_fine(shared: Leveret, bystander: Pinger) -> None:
    with socket.create_connection((shared.host, shared.port), timeout=20) as peer:
        name = "{}:{}".format(*peer.getsockname())
        peer.sendall(HANDSHAKE + a_session())
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(65536):
            pass
    assert "closing AMQP connection" not in "".join(log_lines(shared, rf"\[error\].*\({name} -> "))


@pytest.mark.parametrize("seed", range(2))
def test_mutations(shared: Leveret, bystander: Pinger, seed: int) -> None:
    mutate(shared, seed, 500)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 110))
def test_ten_thousand_mutations(shared: Leveret, bystander: Pinger, seed: int) -> None:
    mutate(shared, seed, 1000)

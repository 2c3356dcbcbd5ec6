"""Anything at all before the login: against the sans-I/O machine with a real session and real users, and against a process.

Whatever comes, it ends as documented (docs/security.md): it is read and waited for, or the handshake ends. What is said back, what is kept
and how often it is looked at have bounds, and nobody without a password gets further than connection.start.
"""

import random
import re
import socket
import struct
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.connection import CHUNKS_MAX
from protocol.methods import CLASSES, make
from protocol.states import ConnectionState
from tests.oracle.leveret import Leveret
from tests.protocol.playbook import PROTOCOL_HEADER, Feed, any_method, cut_at, heartbeat, one_by_one, open_channel, raw, whole
from tests.runtime.process import MB, Pinger, assert_nothing_broke, rss_bytes, sockets, soon
from tests.runtime.test_bad_input import mutated
from tests.security.hostile import OPEN, nested, start_ok, tune_ok
from tests.security.stranger import Stranger, new_broker
from tests.wire import Wire, longstr, shortstr, table

PASSWORD = "a password that no example guesses"
SAID_MAX_BYTES = 1200
"""connection.start, and connection.close with a text of 255 bytes."""
KEPT_MAX_BYTES = 8192 + 8
GENERATED = re.compile(rb"amq\.(gen|ctag)-[\w-]{22}")
"""Names that the broker draws: two runs of the same differ in these alone."""
BROKER = new_broker(default_pass=PASSWORD)
TRUSTING = new_broker()
"""Where guest's password is the usual one."""
OUTSIDE = (ConnectionState.WAITING_HEADER, ConnectionState.STARTING, ConnectionState.CLOSING, ConnectionState.CLOSED)
GOOD = (PROTOCOL_HEADER, start_ok(), tune_ok(), OPEN, open_channel(1))
"""A handshake, step by step."""

feeds = st.sampled_from([whole, one_by_one]) | st.lists(st.integers(0, 2**14), max_size=8).map(cut_at)

# --- what is said

field_values = st.sampled_from(
    [b"V", b"t\x01", b"S\0\0\0\1x", b"I\0\0\0\1", b"A\0\0\0\0", b"F\0\0\0\0", b"S\xff\xff\xff\xff", b"!", b"d\xff\xf0", b""]
)
names = st.sampled_from([b"LOGIN", b"PASSWORD", b"capabilities", b"product", b"", b"\xff\xfe", b"authentication_failure_close"])
fields = st.lists(st.tuples(names, field_values).map(lambda pair: shortstr(pair[0]) + pair[1]), max_size=6).map(b"".join)
tables = st.one_of(
    fields,
    fields.map(lambda inner: b"\x0ccapabilitiesF" + longstr(inner)),
    st.binary(max_size=60),
    st.integers(0, 80).map(nested),
    st.tuples(field_values, st.integers(0, 2000)).map(lambda pair: b"\x01aA" + longstr((pair[0] * pair[1])[:8000])),
)
credentials = st.builds(
    lambda user, password: table({"LOGIN": user, "PASSWORD": password})[4:], st.text(max_size=5) | st.just("guest"), st.text(max_size=5)
)
responses = st.one_of(
    st.binary(max_size=40),
    st.lists(st.binary(max_size=6), max_size=5).map(b"\0".join),
    st.sampled_from([b"\0guest\0guest", b"\0guest\0", b"\0\0", b"", b"\0guest\0" + b"x" * 7000, b"\0" + b"x" * 7000 + b"\0x"]),
    credentials,
    fields,
)
mechanisms = st.sampled_from([b"PLAIN", b"AMQPLAIN", b"EXTERNAL", b"ANONYMOUS", b"plain", b"", b"PLAIN\0", b"\xff" * 255])
start_oks = st.builds(start_ok, responses, mechanisms, tables)
shorts = st.sampled_from([0, 1, 2047, 2048, 65_535])
longs = st.sampled_from([0, 1, 4095, 4096, 131_072, 131_073, 2**31, 2**32 - 1])
tune_oks = st.builds(tune_ok, shorts, longs, shorts)
opens = st.sampled_from(["/", "", "x" * 255, "\udcff", "\0", "a\nb"]).map(
    lambda vhost: any_method(0, CLASSES[0x000A0028], virtual_host=vhost)
)
methods = st.builds(
    lambda index, channel: any_method(channel, type(make(CLASSES[index]))), st.sampled_from(sorted(CLASSES)), st.sampled_from([0, 0, 1])
)
method_heads = st.builds(
    lambda index, rest: raw(1, 0, struct.pack(">I", index) + rest),
    st.sampled_from(sorted(CLASSES)) | st.integers(0, 2**32 - 1),
    st.binary(max_size=40),
)
raws = st.builds(
    raw,
    st.sampled_from([1, 1, 2, 3, 8, 0, 65, 255]),
    st.sampled_from([0, 0, 1, 65_535]),
    st.binary(max_size=40),
    st.sampled_from([0xCE] * 5 + [0]),
)
heads = st.builds(
    lambda kind, size: struct.pack(">BHI", kind, 0, size), st.sampled_from([1, 2, 3, 8]), st.sampled_from([8192, 8193, 131_072, 2**32 - 1])
)
heartbeats = st.sampled_from([1, 10, 70]).map(lambda count: heartbeat() * count)
frames = st.one_of(
    start_oks,
    tune_oks,
    opens,
    methods,
    method_heads,
    raws,
    heads,
    heartbeats,
    st.binary(max_size=40),
    st.sampled_from([*GOOD[2:], bytes(9_000), b"\1\0\0\0\0\x40\0" + bytes(9_000)]),
)
conversations = st.lists(frames, max_size=5)


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """A good handshake, some of it, with something wrong in it and anything behind it."""
    steps = draw(st.integers(1, len(GOOD)))
    said = b"".join(GOOD[:steps])
    if draw(st.booleans()):
        said = mutated(random.Random(draw(st.integers(0, 2**32))), said)
    return said + b"".join(draw(conversations))


# --- what is asserted


def play(peer: Stranger, data: bytes, feed: Feed) -> tuple[str, str, bytes]:
    """How it ended. Raises whatever the runtime would call an internal error."""
    reads = 0
    for piece in feed(data):
        reads += 1
        peer.says(piece)
        tuned = peer.state not in (*OUTSIDE[:2], ConnectionState.TUNING)
        assert peer.ended or tuned or peer.wire.buffered_bytes <= KEPT_MAX_BYTES
        assert len(peer.wire._chunks) <= CHUNKS_MAX + 131_072 // CHUNKS_MAX + 1
    assert peer.turns <= 2 * reads + len(data) // 8 // 5000 + 2
    return peer.end, peer.state.value, GENERATED.sub(b"amq.*", bytes(peer.sent))


def check_outside(data: bytes, feed: Feed) -> None:
    """Nobody gets in, and it makes no difference how the bytes come."""
    peer = Stranger(BROKER)
    end, state, said = play(peer, data, feed)
    assert peer.state in OUTSIDE
    assert not hasattr(peer.session, "identity")
    assert not peer.session.channels
    assert not peer.session.client_properties
    assert len(said) <= SAID_MAX_BYTES
    if peer.ended:
        assert end
    assert PASSWORD not in end
    other = Stranger(BROKER)
    assert play(other, data, whole) == (end, state, said)


def check_inside(data: bytes, feed: Feed) -> None:
    """Where the password is known: who gets in has said the right one, and said all of it in order."""
    peer = Stranger(TRUSTING)
    end, state, said = play(peer, data, feed)
    if hasattr(peer.session, "identity"):
        assert peer.session.identity.name == "guest"
        assert b"guest" in data
        tune = peer.wire.tuning
        assert (4096 <= tune.frame_max <= 131_072, 1 <= tune.channel_max <= 2047) == (True, True)
    other = Stranger(TRUSTING)
    assert play(other, data, whole) == (end, state, said)
    peer.goes()
    other.goes()


QUICK = settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
LONG = settings(QUICK, max_examples=10_000)


@QUICK
@given(conversations, st.booleans(), feeds)
def test_nobody_gets_in_without_a_password(said: list[bytes], greets: bool, feed: Feed) -> None:
    check_outside(b"".join([PROTOCOL_HEADER] * greets + said), feed)


@QUICK
@given(broken(), feeds)
def test_a_broken_handshake(data: bytes, feed: Feed) -> None:
    check_inside(data, feed)


@QUICK
@given(start_oks, feeds)
def test_a_start_ok(said: bytes, feed: Feed) -> None:
    """The one frame in which anything may stand: properties, mechanism, response."""
    check_outside(PROTOCOL_HEADER + said, feed)
    check_inside(PROTOCOL_HEADER + said + GOOD[2] + GOOD[3], feed)


@pytest.mark.soak
@LONG
@given(conversations, st.booleans(), feeds)
def test_nobody_gets_in_without_a_password_for_long(said: list[bytes], greets: bool, feed: Feed) -> None:
    check_outside(b"".join([PROTOCOL_HEADER] * greets + said), feed)


@pytest.mark.soak
@LONG
@given(broken(), feeds)
def test_a_broken_handshake_for_long(data: bytes, feed: Feed) -> None:
    check_inside(data, feed)


@pytest.mark.soak
@LONG
@given(start_oks, feeds)
def test_a_start_ok_for_long(said: bytes, feed: Feed) -> None:
    check_outside(PROTOCOL_HEADER + said, feed)
    check_inside(PROTOCOL_HEADER + said + GOOD[2] + GOOD[3], feed)


# --- a process


def assail(broker: Leveret, seed: int, count: int) -> None:
    """Mutated handshakes over sockets, a hundred at a time, in whole or in pieces, read or not, ended in every way."""
    chance = random.Random(seed)
    address = (broker.host, broker.port)
    for _ in range(count // 100):
        with ExitStack() as stack:
            for _ in range(100):
                peer = stack.enter_context(socket.create_connection(address, timeout=20))
                said = mutated(chance, b"".join(GOOD[: chance.randint(1, len(GOOD))]))
                size = chance.choice((len(said), 1, 7, 100)) or 1
                try:
                    for at in range(0, len(said), size):
                        peer.sendall(said[at : at + size])
                    if chance.random() < 0.3:
                        peer.shutdown(socket.SHUT_WR)
                except OSError:
                    continue  # ended in the middle of it
                if chance.random() < 0.3:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with Wire.connect(broker) as good:
            good.open_channel().nothing_more()
            good.close()


def assailed(start: Callable[..., Leveret], seed: int, count: int) -> None:
    broker = start(memory=True)
    with Pinger(broker) as pinger:
        idle = sockets(broker)
        assail(broker, seed, 500)
        before = rss_bytes(broker)
        assail(broker, seed + 1, count)
        pinger.pings(10)
        soon(lambda: sockets(broker) == idle, what="sockets")
        assert rss_bytes(broker) - before < 10 * MB
    assert broker.stop() == 0
    assert_nothing_broke(broker)


def test_mutated_handshakes(start: Callable[..., Leveret]) -> None:
    assailed(start, 1, 500)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [10, 20, 30])
def test_mutated_handshakes_by_the_thousand(start: Callable[..., Leveret], seed: int) -> None:
    assailed(start, seed, 5000)


def test_the_strategies_reach_every_end() -> None:
    """Canaries: what the examples are made of does lead to each of the documented ends."""
    ends = set()
    for data in (
        PROTOCOL_HEADER,
        *(PROTOCOL_HEADER + b"".join(GOOD[1:steps]) for steps in range(2, 6)),
        PROTOCOL_HEADER + start_ok(b""),
        b"x" * 8,
    ):
        peer = Stranger(TRUSTING)
        peer.says(data)
        ends.add(peer.state.value)
    assert ends == {"starting", "tuning", "opening", "running", "closed"}

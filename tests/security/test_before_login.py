"""What somebody who has no login can make the broker hold and do. docs/security.md has the figures."""

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from pamqp.commands import Connection

from broker.app import build
from broker.config import Config
from broker.core.login import Undecided
from protocol.connection import CHUNKS_MAX, HANDSHAKE_FRAMES_MAX
from protocol.events import Tuning
from protocol.states import ConnectionState
from protocol.tables import encode_fields
from storage.memory import MemoryStore
from tests.oracle.leveret import Leveret
from tests.protocol.playbook import PROTOCOL_HEADER, any_method, heartbeat, open_channel, open_connection, raw, start_ok, tune_ok
from tests.runtime.process import MB, Pinger, assert_nothing_broke, cpu_seconds, idle_sockets, log_lines, name_of, rss_bytes, sockets, soon
from tests.security.stranger import Stranger, kept_bytes, new_broker, pieces
from tests.wire import Wire, longstr, shortstr

INITIAL_FRAME_MAX_BYTES = 8192
KIB = 1024


def start_ok_with(properties: bytes, response: bytes = b"\0guest\0guest", mechanism: str = "PLAIN") -> bytes:
    """connection.start-ok whose client-properties are these bytes."""
    return raw(1, 0, b"\x00\x0a\x00\x0b" + longstr(properties) + shortstr(mechanism) + longstr(response) + shortstr("en_US"))


def array_of(element: bytes, size: int) -> bytes:
    """Client properties with one array of so many bytes."""
    return b"\x01aA" + longstr(element * (size // len(element)))


AMPLIFIED = {
    "an array of nothings": array_of(b"V", 8000),
    "an array of bytes": array_of(b"b\x01", 8000),
    "an array of empty text": array_of(b"S\0\0\0\0", 8000),
    "an array of empty tables": array_of(b"F\0\0\0\0", 8000),
    "an array of empty arrays": array_of(b"A\0\0\0\0", 8000),
    "two thousand names": b"".join(b"\x02" + struct.pack(">H", number) + b"V" for number in range(2000)),
    "capabilities": b"\x0ccapabilitiesF" + longstr(b"".join(b"\x02" + struct.pack(">H", number) + b"t\x01" for number in range(1590))),
}
"""Client properties that take many times their size once they are decoded."""


# --- sizes


@pytest.mark.parametrize("tuning", [Tuning(2047, 131_072, 60), Tuning(0, 0, 0)], ids=["as configured", "frame_max = 0"])
@pytest.mark.parametrize("size", [INITIAL_FRAME_MAX_BYTES + 1, 131_072, (1 << 32) - 1])
@pytest.mark.parametrize("state", ["starting", "tuning"])
def test_a_frame_before_the_tuning_is_8_kib_at_the_most(tuning: Tuning, size: int, state: str) -> None:
    """Whatever the limit will be; the seven bytes that say so are enough."""
    peer = Stranger(new_broker(), tuning)
    peer.says(PROTOCOL_HEADER + (start_ok() if state == "tuning" else b""))
    assert peer.state.value == state
    peer.says(struct.pack(">BHI", 1, 0, size))
    assert "frame_too_large" in peer.end
    assert peer.ended


def test_a_frame_of_8_kib_is_read() -> None:
    peer = Stranger(new_broker())
    peer.says(PROTOCOL_HEADER + start_ok_with(b"\x01pS" + longstr(b"x" * 8100)))
    assert peer.end == ""
    assert peer.state is ConnectionState.TUNING


@pytest.mark.parametrize("size", [1, 2, 100, 8191])
def test_what_one_connection_holds_of_a_frame_that_never_ends(size: int) -> None:
    """However it comes in. A byte at a time costs no object a byte."""
    broker = new_broker()
    unfinished = (PROTOCOL_HEADER + start_ok_with(b"\x01pS" + longstr(b"x" * 8100)))[:-1]

    def peer() -> Stranger:
        made = Stranger(broker)
        made.says(unfinished, pieces(size))
        assert made.wire.buffered_bytes == len(unfinished) - 8
        return made

    assert kept_bytes(peer, 5) < 80 * KIB
    assert len(peer().wire._chunks) <= CHUNKS_MAX + 8192 // CHUNKS_MAX + 1


@pytest.mark.parametrize("name", AMPLIFIED)
def test_client_properties_are_kept_as_they_came(name: str) -> None:
    """8 KiB of nothings are half a megabyte of objects."""
    broker = new_broker()

    def peer() -> Stranger:
        made = Stranger(broker)
        made.says(PROTOCOL_HEADER + start_ok_with(AMPLIFIED[name]))
        assert made.state is ConnectionState.TUNING, made.end
        return made

    assert kept_bytes(peer, 5) < 24 * KIB
    assert encode_fields(peer().session.client_properties) == AMPLIFIED[name]


@pytest.mark.parametrize("name", AMPLIFIED)
def test_what_is_refused_leaves_nothing(name: str) -> None:
    broker = new_broker()

    def peer() -> Stranger:
        made = Stranger(broker)
        made.says(PROTOCOL_HEADER + start_ok_with(AMPLIFIED[name], b"\0guest\0wrong"))
        assert made.ended
        return made

    assert kept_bytes(peer, 5) < 16 * KIB


def test_who_has_to_wait_for_a_decision_is_kept_as_bytes() -> None:
    """Another server is asked, or there were wrong guesses from there before."""
    broker = build(Config(login_failures_max=1, login_delay_max_seconds=60), MemoryStore(keep=False)).broker
    Stranger(broker, is_loopback=False).says(PROTOCOL_HEADER + start_ok_with(b"", b"\0guest\0wrong"))
    data = PROTOCOL_HEADER + start_ok_with(AMPLIFIED["an array of bytes"])

    def peer() -> Stranger:
        made = Stranger(broker, is_loopback=False)
        with pytest.raises(Undecided):
            made.says(data)
        return made

    assert kept_bytes(peer, 5) < 32 * KIB


@pytest.mark.parametrize("name", AMPLIFIED)
def test_reading_the_worst_start_ok_takes_milliseconds(name: str) -> None:
    broker = new_broker()
    data = PROTOCOL_HEADER + start_ok_with(AMPLIFIED[name])
    begin = time.process_time()
    for _ in range(10):
        Stranger(broker).says(data)
    assert (time.process_time() - begin) / 10 < 0.05


def test_frames_before_open_ok_are_counted() -> None:
    """Heartbeats are legal there and cost the peer eight bytes each; a handshake has no use for many."""
    peer = Stranger(new_broker())
    peer.says(PROTOCOL_HEADER + heartbeat() * (HANDSHAKE_FRAMES_MAX - 3) + start_ok() + tune_ok() + open_connection() + heartbeat() * 1000)
    assert peer.state is ConnectionState.RUNNING
    peer = Stranger(new_broker())
    peer.says(PROTOCOL_HEADER + heartbeat() * (HANDSHAKE_FRAMES_MAX + 1))
    assert peer.end == "more than 64 frames before connection.open-ok"


def test_the_whole_handshake_in_one_packet() -> None:
    peer = Stranger(new_broker())
    peer.says(PROTOCOL_HEADER + start_ok() + tune_ok() + open_connection() + open_channel(1))
    assert peer.state is ConnectionState.RUNNING
    assert list(peer.session.channels) == [1]


@pytest.mark.parametrize("first", [b"\0guest\0wrong", b"\0guest", b""])
def test_nothing_behind_a_refused_login_is_looked_at(first: bytes) -> None:
    peer = Stranger(new_broker())
    peer.says(PROTOCOL_HEADER + start_ok_with(b"", first) + start_ok() + tune_ok() + open_connection() + open_channel(1))
    assert peer.ended
    assert not peer.session.channels
    assert not hasattr(peer.session, "identity")


STEPS = {
    "tune-ok": tune_ok(),
    "open": open_connection(),
    "both": tune_ok() + open_connection(),
    "channel.open": open_channel(1),
    "secure-ok": any_method(0, Connection.SecureOk),
}


@pytest.mark.parametrize("frames", STEPS.values(), ids=STEPS)
def test_no_step_can_be_left_out(frames: bytes) -> None:
    peer = Stranger(new_broker())
    peer.says(PROTOCOL_HEADER + frames)
    assert peer.ended
    peer = Stranger(new_broker())
    peer.says(PROTOCOL_HEADER + start_ok() + (open_connection() if frames != open_connection() else start_ok()))
    assert peer.ended, "and none is taken twice, or out of turn"


# --- a real process: seconds, descriptors, memory


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leveret]:
    file = tmp_path_factory.mktemp("security") / "c.conf"
    file.write_text("handshake_timeout = 1500\n")
    with Leveret(arguments=("--config", str(file))) as broker:
        idle_sockets(broker)
        yield broker
        assert broker.stop() == 0
        assert_nothing_broke(broker)


def test_a_byte_at_a_time_ends_at_the_deadline(shared: Leveret) -> None:
    """The deadline is one for the whole handshake; each byte doesn't begin it anew."""
    said = PROTOCOL_HEADER + start_ok() + tune_ok() + heartbeat() * 100
    with Wire(shared) as wire:
        begin, peer = time.monotonic(), name_of(wire)
        assert drip(wire, said) < len(said)
        assert 1.4 < time.monotonic() - begin < 3
    soon(lambda: log_lines(shared, rf"[(<]{peer} -> .*handshake_timeout"))


def drip(wire: Wire, data: bytes) -> int:
    """A byte each twentieth of a second, as long as the broker takes it; how many it took."""
    wire._socket.settimeout(0.05)
    for at in range(len(data)):
        try:
            wire.send_raw(data[at : at + 1])
            if wire._socket.recv(1000) == b"":
                return at
        except TimeoutError:
            continue
        except OSError:
            return at
    return len(data)


def flood(wire: Wire, data: bytes, count: int) -> int:
    """The same again and again, as long as the broker takes it; how many bytes it took."""
    sent = 0
    try:
        for _ in range(count):
            sent += wire._socket.send(data)
    except OSError:
        return sent
    return sent


STATES: dict[str, Callable[[Wire], None]] = {
    "pre_init": lambda wire: None,
    "half a header": lambda wire: wire.send_raw(b"AMQP"),
    "starting": lambda wire: wire.send_raw(PROTOCOL_HEADER),
    "half a frame": lambda wire: wire.send_raw(PROTOCOL_HEADER + start_ok()[:20]),
    "tuning": lambda wire: wire.send_raw(PROTOCOL_HEADER + start_ok()),
    "opening": lambda wire: wire.send_raw(PROTOCOL_HEADER + start_ok() + tune_ok()),
    "running": lambda wire: wire.send_raw(PROTOCOL_HEADER + start_ok() + tune_ok() + open_connection()),
    "refused": lambda wire: wire.send_raw(PROTOCOL_HEADER + start_ok(response="\0guest\0wrong")),
    "another protocol": lambda wire: wire.send_raw(b"GET / HTTP/1.1\r\n"),
}


@pytest.mark.parametrize("how", ["reset", "half_close", "abort"])
def test_a_peer_that_goes_in_any_state_leaves_no_socket(shared: Leveret, how: str) -> None:
    with ExitStack() as stack:
        for step in STATES.values():
            wire = stack.enter_context(Wire(shared))
            step(wire)
            getattr(wire, how)()
        idle_sockets(shared)
    assert_nothing_broke(shared)


def test_who_floods_after_being_refused_is_not_read_from(shared: Leveret) -> None:
    """Three seconds lie between the refusal and the end; in them a megabyte is taken, and no more."""
    with Wire(shared, timeout=1) as wire:
        wire.greet()
        wire.start_ok("guest", "wrong", capabilities={})
        assert flood(wire, bytes(64 * KIB), 1600) < 16 * MB, "what socket buffers hold, and the megabyte"


def test_heartbeats_by_the_hundred_thousand_are_cut_off(shared: Leveret) -> None:
    with Pinger(shared) as pinger, Wire(shared, timeout=1) as wire:
        begin = cpu_seconds(shared)
        wire.greet()
        flood(wire, heartbeat() * 100_000, 100)
        pinger.pings(10)
        assert cpu_seconds(shared) - begin < 1


def test_a_port_that_is_only_looked_at_is_no_line_in_the_log(shared: Leveret) -> None:
    """As in RabbitMQ: a load balancer does it every second."""
    with Wire(shared) as wire:
        silent = name_of(wire)
    with Wire(shared) as wire:
        spoke = name_of(wire)
        wire.send_raw(b"AMQP")
    soon(lambda: log_lines(shared, f"[(<]{spoke} -> .*client unexpectedly closed"))
    assert len(log_lines(shared, f"[(<]{spoke} -> ")) == 1
    assert not log_lines(shared, f"[(<]{silent} -> ")


SILENT = {
    "connected": (b"", 24),
    "greeted": (PROTOCOL_HEADER, 24),
    "half way": (PROTOCOL_HEADER + start_ok_with(b"\x01pS" + longstr(b"x" * 8100))[:-1], 40),
    "logged in": (PROTOCOL_HEADER + start_ok_with(b"\x01pS" + longstr(b"x" * 8100)), 32),
    "amplified": (PROTOCOL_HEADER + start_ok_with(AMPLIFIED["an array of nothings"]), 32),
    "idle": (PROTOCOL_HEADER + start_ok() + tune_ok() + open_connection(), 24),
}
"""What each connection says before it falls silent, and how many KiB it may cost then."""


@pytest.mark.parametrize("state", SILENT)
def test_memory_of_a_thousand_connections(start: Callable[..., Leveret], state: str) -> None:
    """Resident memory of the process, and what one more connection adds to it once what was free inside of the process is used up."""
    said, kib_max = SILENT[state]
    count = 1000 if state != "amplified" else 60  # each takes five milliseconds
    broker = start(memory=True, handshake_timeout="60000")
    with ExitStack() as stack:
        before, idle = 0, sockets(broker)
        for number in range(2 * count):
            if number == count:
                settle(broker, idle + count)
                before = rss_bytes(broker)
            peer = stack.enter_context(socket.create_connection((broker.host, broker.port)))
            peer.sendall(said)
        settle(broker, idle + 2 * count)
        each = (rss_bytes(broker) - before) // count
    print(f"{state}: {each} bytes a connection")
    assert each < kib_max * KIB


def settle(broker: Leveret, count: int) -> None:
    """Wait until the broker has read what all connections sent."""
    with Wire.connect(broker) as last:
        last.open_channel()
        last.close()
    soon(lambda: sockets(broker) == count, what="sockets")


def test_churn_leaves_nothing(start: Callable[..., Leveret]) -> None:
    """Connections come and go; four times as many again find the memory that the first ones gave back."""
    broker = start(memory=True)
    address, reset = (broker.host, broker.port), struct.pack("ii", 1, 0)

    def churn(count: int) -> None:
        for number in range(count):
            with socket.create_connection(address) as peer:
                if number % 4:
                    peer.sendall(PROTOCOL_HEADER if number % 4 == 1 else PROTOCOL_HEADER + start_ok())
                if number % 2:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        with Wire.connect(broker) as wire:
            wire.open_channel()
            wire.close()

    idle = sockets(broker)
    churn(500)
    before, lines = rss_bytes(broker), broker.log.count("\n")
    churn(2000)
    soon(lambda: sockets(broker) == idle, what="sockets")
    assert rss_bytes(broker) - before < 3 * MB
    assert broker.log.count("\n") - lines <= 2 * 2000 + 10, "two lines for each that spoke, none for the others"

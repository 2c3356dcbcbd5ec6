"""PROXY headers: the reader at its limits, and listeners behind a proxy (issue 5, item 2)."""

import ipaddress
import random
import re
import socket
import ssl
import struct
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pamqp.commands import Connection

from broker.config import Config, TlsOptions
from broker.runtime.proxy_protocol import V1_BYTES_MAX, V2_SIGNATURE, Endpoints, MalformedHeader, Reader
from tests.runtime.certificates import Authority
from tests.runtime.configured import LOOPBACK, PLAIN, TLS, Address, Configured, Dialled
from tests.runtime.process import assert_nothing_broke, idle_sockets, log_lines, one_problem, rss_bytes, sockets, soon
from tests.wire import PROTOCOL_HEADER, Wire

HANDSHAKE_SECONDS = 2.0
SILENT = 1000
SILENT_BYTES_MAX = 4096
V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 5672\r\n"
CAME_FROM = "203.0.113.7:51234 -> 192.0.2.1:5672"


def v2(command: int = 1, family: int = 0x11, addresses: bytes = b"", rest: bytes = b"", *, version: int = 2) -> bytes:
    body = addresses + rest
    return V2_SIGNATURE + struct.pack(">BBH", version << 4 | command, family, len(body)) + body


def inet(source: str, source_port: int, destination: str, destination_port: int) -> bytes:
    hosts = b"".join(ipaddress.ip_address(host).packed for host in (source, destination))
    return hosts + struct.pack(">HH", source_port, destination_port)


INET = inet("203.0.113.7", 51234, "192.0.2.1", 5672)
INET6 = inet("2001:db8::7", 51234, "2001:db8::1", 5672)
TLV = b"\x02\x00\x0bexample.com\x04\x00\x03\x00\x00\x00"
GOOD: list[tuple[bytes, Endpoints | None]] = [
    (V1, Endpoints(("203.0.113.7", 51234), ("192.0.2.1", 5672))),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n", Endpoints(("2001:db8::7", 1), ("2001:db8::1", 65535))),
    (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 1 2\r\n", Endpoints(("::ffff:203.0.113.7", 1), ("::1", 2))),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN 2001:db8::7 2001:db8::1 whatever else\r\n", None),
    (b"PROXY UNKNOWN " + b"x" * (V1_BYTES_MAX - 16) + b"\r\n", None),
    (v2(addresses=INET), Endpoints(("203.0.113.7", 51234), ("192.0.2.1", 5672))),
    (v2(addresses=INET, rest=TLV), Endpoints(("203.0.113.7", 51234), ("192.0.2.1", 5672))),
    (v2(addresses=INET, rest=b"x" * (65535 - len(INET))), Endpoints(("203.0.113.7", 51234), ("192.0.2.1", 5672))),
    (v2(family=0x21, addresses=INET6, rest=TLV), Endpoints(("2001:db8::7", 51234), ("2001:db8::1", 5672))),
    (v2(family=0x12, addresses=INET), Endpoints(("203.0.113.7", 51234), ("192.0.2.1", 5672))),
    (v2(family=0x31, addresses=b"/tmp/socket".ljust(108, b"\0") * 2, rest=TLV), None),
    (v2(family=0), None),
    (v2(family=0, rest=TLV), None),
    (v2(command=0, family=0), None),
    (v2(command=0, family=0x11, addresses=INET, rest=TLV), None),
    (v2(command=0, family=0xFF, rest=b"xyz"), None),
]
BAD: list[tuple[bytes, str]] = [
    (PROTOCOL_HEADER, "it begins with b'AMQP"),
    (b"GET / HTTP/1.1\r\n\r\n", "it begins with b'GET / "),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "it begins with b'\\x16"),
    (b"PROXY\r\n", "it begins with"),
    (b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "it begins with"),
    (b"\r\n\r\nx", "it begins with"),
    (b"PROXY \r\n", "b'' is no protocol"),
    (b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", "b'UDP4' is no protocol"),
    (b"PROXY TCP4\r\n", "two addresses and two ports"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "two addresses and two ports"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", "two addresses and two ports"),
    (b"PROXY TCP4  1.2.3.4 1.2.3.4 1\r\n", "b'' is no IP address"),
    (b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", "b'1.2.3' is no IP address"),
    (b"PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n", "b'01.2.3.4' is no IP address"),
    (b"PROXY TCP4 a.example 1.2.3.4 1 2\r\n", "b'a.example' is no IP address"),
    (b"PROXY TCP4 \xd9\xa1.2.3.4 1.2.3.4 1 2\r\n", "is no IP address"),
    (b"PROXY TCP4 ::1 ::1 1 2\r\n", "b'::1' is no address of TCP4"),
    (b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", "b'1.2.3.4' is no address of TCP6"),
    (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "is no address of TCP6"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", "b'65536' is no port"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n", "b'-1' is no port"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n", "b'' is no port"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 " + b"1" * 60 + b"\r\n", "is no port"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n" + b"x" * 100, "its line doesn't end within 107 bytes"),
    (b"PROXY UNKNOWN " + b"x" * (V1_BYTES_MAX - 15) + b"\r\n", "its line doesn't end within 107 bytes"),
    (v2(version=1, addresses=INET), "its version is 1"),
    (v2(command=2, addresses=INET), "its command is 2"),
    (v2(family=0x41, addresses=INET), "its family and transport are 0x41"),
    (v2(family=0x13, addresses=INET), "its family and transport are 0x13"),
    (v2(addresses=INET[:-1]), "its 11 bytes have no room for the addresses"),
    (v2(family=0x21, addresses=INET), "its 12 bytes have no room for the addresses"),
    (v2(family=0x31, addresses=INET6), "its 36 bytes have no room for the addresses"),
]


def read(data: bytes, cuts: tuple[int, ...] = ()) -> tuple[Reader, int]:
    """What a reader makes of `data`, which comes in pieces and stays where it is if it isn't taken; and how much it took."""
    reader, taken = Reader(), 0
    for end in (*sorted(cut for cut in cuts if cut < len(data)), len(data)):
        if not reader.whole and end > taken:
            count = reader.feed(data[taken:end])
            assert 0 < count <= end - taken
            assert reader.whole or count == end - taken, "what isn't taken would be offered again and again"
            taken += count
    return reader, taken


@pytest.mark.parametrize(("header", "endpoints"), GOOD)
def test_headers(header: bytes, endpoints: Endpoints | None) -> None:
    """Not a byte more than the header is taken, in one piece or byte by byte."""
    for cuts in ((), tuple(range(1, min(len(header), 2000))), (15, 16, 17)):
        reader, taken = read(header + PROTOCOL_HEADER, cuts)
        assert reader.whole and reader.endpoints == endpoints and taken == len(header)


@pytest.mark.parametrize(("header", "reason"), BAD)
def test_what_is_no_header(header: bytes, reason: str) -> None:
    for cuts in ((), tuple(range(1, len(header)))):
        with pytest.raises(MalformedHeader, match=re.escape(reason if not cuts else reason[:15])) as malformed:
            read(header, cuts)
        assert len(str(malformed.value)) < 250


@pytest.mark.parametrize("header", [header for header, _ in GOOD])
def test_half_a_header_is_waited_for(header: bytes) -> None:
    for size in (*range(1, min(len(header), 300)), len(header) - 1):
        reader, taken = read(header[:size])
        assert not reader.whole and taken == size


noise = st.binary(max_size=300)
starts = st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN", V2_SIGNATURE, V2_SIGNATURE + b"\x21\x11\x00"])
mutants = st.tuples(st.sampled_from([header for header, _ in GOOD if len(header) < 300]), st.integers(0, 300), noise).map(
    lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + len(parts[2]) :]
)


@given(data=st.tuples(starts, noise).map(b"".join) | mutants, cuts=st.lists(st.integers(0, 300), max_size=5).map(tuple))
@example(data=b"PROXY TCP4 1.2.3.4 1.2.3.4 \xb2 1\r\n", cuts=())
def test_any_bytes_are_a_header_or_refused(data: bytes, cuts: tuple[int, ...]) -> None:
    """Nothing but an answer or MalformedHeader comes out, and it doesn't depend on the pieces."""

    def answer(cuts: tuple[int, ...]) -> object:
        try:
            reader, taken = read(data, cuts)
        except MalformedHeader:
            return MalformedHeader
        assert taken <= len(data)
        for address, port in reader.endpoints or ():
            assert ipaddress.ip_address(address) and 0 <= port <= 65535
        return reader.whole, reader.endpoints, taken

    assert answer(cuts) == answer(())


# --- listeners


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Configured]:
    config = Config(
        listeners=(PLAIN, TLS),
        ssl_options=TlsOptions(certfile=authority.server("server"), cacertfile=authority.file, verify_peer=True),
        ssl_cert_login_from="common_name",
        proxy_protocol=True,
        handshake_timeout_seconds=HANDSHAKE_SECONDS,
        ssl_handshake_timeout_seconds=HANDSHAKE_SECONDS,
    )
    with Configured(tmp_path_factory.mktemp("shared") / "config", config, loop=request.param) as broker:
        idle_sockets(broker)
        yield broker
        assert broker.stop() == 0
        assert_nothing_broke(broker)


def client(authority: Authority, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.file)
    context.load_cert_chain(authority.client(name))
    return context


@pytest.mark.parametrize(
    ("header", "address", "name"),
    [
        (V1, "203.0.113.7", CAME_FROM),
        (v2(addresses=INET, rest=TLV * 300), "203.0.113.7", CAME_FROM),
        (v2(family=0x21, addresses=INET6), "2001:db8::7", "[2001:db8::7]:51234 -> [2001:db8::1]:5672"),
    ],
)
def test_the_address_is_the_one_that_the_proxy_names(shared: Configured, header: bytes, address: str, name: str) -> None:
    """It is who the peer is for all purposes: guest isn't local any more."""
    refused = rf"\({re.escape(name)}, .*user 'guest' can only connect via localhost"
    before = len(log_lines(shared, refused))
    with Dialled.dial(shared, header=header + PROTOCOL_HEADER) as wire:
        wire.expect(Connection.Start)
        peer = shared.peer_named(re.escape(name))
        assert (peer.name, peer.address, peer.is_loopback, peer.is_tls) == (name, address, False, False)
        wire.start_ok()
        wire.expect(Connection.Close, reply_code=403)
    soon(lambda: len(log_lines(shared, refused)) == before + 1)


@pytest.mark.parametrize(
    "header", [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN a b c d\r\n", v2(command=0, family=0), v2(command=0, addresses=INET)]
)
def test_a_proxy_may_speak_for_itself(shared: Configured, header: bytes) -> None:
    with Dialled.dial(shared, header=header).log_in() as wire:
        assert shared.peer(wire).address == LOOPBACK
        channel = wire.open_channel()
        queue = channel.queue()
        channel.publish("", queue, b"hello")
        assert channel.take(queue).body == b"hello"
        wire.close()


def test_a_header_in_pieces(shared: Configured) -> None:
    header = b"PROXY UNKNOWN whatever\r\n"
    with Dialled.dial(shared) as wire:
        for at in range(len(header)):
            wire.send_raw(header[at : at + 1])
            shared.wait_for_log("Server startup")  # a moment, in which it may arrive alone
        wire.log_in().close()


def test_tls_comes_after_the_header(shared: Configured, authority: Authority) -> None:
    with Dialled.dial(shared.tls, client(authority, "joe"), header=V1.replace(b"51234", b"51235")) as wire:
        wire.greet()
        peer = shared.peer_named("203.0.113.7:51235")
        assert (peer.address, peer.is_loopback, peer.is_tls, peer.certificate_name) == ("203.0.113.7", False, True, "joe")
    with Dialled.dial(shared.tls, client(authority, "ann"), header=b"PROXY UNKNOWN\r\n").log_in() as wire:
        assert shared.peer(wire).certificate_name == "ann"
        wire.close()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (PROTOCOL_HEADER, r"no PROXY header, which proxy_protocol = true asks for: it begins with b'AMQP.*the peer speaks AMQP"),
        (b"GET / HTTP/1.1\r\n\r\n", "no PROXY header.*the peer speaks HTTP"),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n", "no PROXY header.*b'99999' is no port"),
        (v2(command=3), "no PROXY header.*its command is 3"),
        (b"PROXY UNKNOWN\r\n" + PROTOCOL_HEADER, ""),
    ],
)
def test_what_is_malformed_is_closed_with_one_line(shared: Configured, authority: Authority, said: bytes, reason: str) -> None:
    for address in (Address(LOOPBACK, shared.port), shared.tls):
        with socket.create_connection(address, timeout=10) as bare:
            bare.sendall(said)
            peer = f"{LOOPBACK}:{bare.getsockname()[1]}"
            if reason or address == shared.tls:
                try:
                    assert not bare.recv(100).startswith(b"\x01")
                except ConnectionResetError:
                    pass
                one_problem(shared, peer, reason or "this is a TLS listener, and the peer speaks AMQP")
            else:
                assert bare.recv(1) == b"\x01"


def test_thousands_that_say_nothing(shared: Configured) -> None:
    """They cost little, nobody else notices, and all of them are closed in time; half of a header is no more than none."""
    before, memory = idle_sockets(shared), rss_bytes(shared)
    silent = [socket.create_connection((LOOPBACK, shared.port), timeout=10) for _ in range(SILENT)]
    for bare, said in zip(silent[:40], random.Random(1).choices([V1[:7], V1[:30], v2(addresses=INET)[:20]], k=40), strict=True):
        bare.sendall(said)
    with Dialled.dial(shared, header=b"PROXY UNKNOWN\r\n").log_in() as wire:
        assert sockets(shared) == before + SILENT + 1
        assert (rss_bytes(shared) - memory) / SILENT < SILENT_BYTES_MAX
        wire.open_channel().nothing_more()
        for bare in silent:
            assert bare.recv(1) == b""
            bare.close()
        wire.close()
    soon(lambda: sockets(shared) == before)
    late = r"\[error\].*no whole PROXY header came within 2 s \(handshake_timeout\)"
    soon(lambda: len(log_lines(shared, late)) == SILENT)


def test_a_header_and_then_nothing(shared: Configured) -> None:
    """The next step has its own time: AMQP's handshake, or TLS's."""
    with (
        socket.create_connection((LOOPBACK, shared.port), timeout=10) as plain,
        socket.create_connection(shared.tls, timeout=10) as secure,
    ):
        for bare in (plain, secure):
            bare.sendall(V1)
        assert plain.recv(1) == secure.recv(1) == b""
    soon(lambda: log_lines(shared, rf"\({re.escape(CAME_FROM)}\): handshake_timeout"))
    shared.wait_for_log(rf"<{re.escape(CAME_FROM)}> .*the TLS handshake did not begin within 2 s")


def test_peers_that_go_away(shared: Configured) -> None:
    before = idle_sockets(shared)
    for said in (b"", V1[:9], V1):
        for reset in (False, True):
            with socket.create_connection((LOOPBACK, shared.port), timeout=10) as bare:
                bare.sendall(said)
                if reset:
                    bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    soon(lambda: sockets(shared) == before)
    with Wire(shared) as wire:
        wire.send_raw(b"PROXY UNKNOWN\r\n")
        wire.greet()

"""TLS listeners on real sockets, on uvloop and on plain asyncio: clients, peers that aren't clients, reloads (issue 5, item 2)."""

import asyncio
import ctypes
import os
import re
import shutil
import signal
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aio_pika
import pika
import pytest
from pamqp.commands import Connection

from broker.config import Config, Listener, SniHost, TcpOptions, TlsOptions
from broker.runtime.listeners import bind
from tests.oracle.rabbitmq import BrokerFailed, answers_amqp
from tests.runtime.certificates import SUBJECTS, Authority, encrypted
from tests.runtime.configured import LOOPBACK, PLAIN, TLS, Configured, Dialled
from tests.runtime.process import assert_nothing_broke, cpu_seconds, idle_sockets, log_lines, name_of, one_problem, sockets, soon
from tests.wire import Wire

ALERT = re.compile(b"\x15\x03[\x01\x03]\x00\x02\x02.", re.DOTALL)
HANDSHAKE_SECONDS = 1.0
Serve = Callable[..., Configured]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def options(authority: Authority) -> TlsOptions:
    """A client may have a certificate, and needn't."""
    server, other = authority.server("server"), authority.server("other", "other.example")
    return TlsOptions(
        certfile=server, keyfile=server, cacertfile=authority.file, verify_peer=True, sni=(SniHost("other.example", other, other),)
    )


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, options: TlsOptions) -> Iterator[Configured]:
    config = Config(listeners=(PLAIN, TLS), ssl_options=options, ssl_handshake_timeout_seconds=HANDSHAKE_SECONDS)
    with Configured(tmp_path_factory.mktemp("shared") / "config", config, loop=request.param) as broker:
        idle_sockets(broker)
        yield broker
        assert broker.stop() == 0
        assert_nothing_broke(broker)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Brokers of a test's own: `serve(options, loop="asyncio")`; other keywords are Config's."""
    brokers: list[Configured] = []

    def start(options: TlsOptions, *, loop: str = "uvloop", files: int | None = None, **settings: Any) -> Configured:
        config = Config(listeners=(PLAIN, TLS), ssl_options=options, **settings)
        brokers.append(Configured(tmp_path / f"config{len(brokers)}", config, loop=loop, files=files))
        brokers[-1].start()
        return brokers[-1]

    yield start
    for broker in brokers:
        broker.kill()
        assert_nothing_broke(broker)


def client(authority: Authority, certificate: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.file)
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context


# --- clients


def test_pika(shared: Configured, authority: Authority) -> None:
    where = pika.ConnectionParameters(LOOPBACK, shared.tls.port, ssl_options=pika.SSLOptions(client(authority), "localhost"))
    with pika.BlockingConnection(where) as connection:
        channel = connection.channel()
        channel.queue_declare("pika", exclusive=True)
        channel.confirm_delivery()
        channel.basic_publish("", "pika", b"hello")
        assert channel.basic_get("pika", auto_ack=True)[2] == b"hello"


def test_aio_pika(shared: Configured, authority: Authority) -> None:
    async def talk() -> bytes:
        connection = await aio_pika.connect(host=LOOPBACK, port=shared.tls.port, ssl=True, ssl_context=client(authority))
        async with connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(exclusive=True)
            await channel.default_exchange.publish(aio_pika.Message(b"hello"), queue.name)
            message = await queue.get(timeout=10)
            await message.ack()
            return message.body

    assert asyncio.run(talk()) == b"hello"


def test_much_in_both_directions_and_a_plain_listener_beside_it(shared: Configured, authority: Authority) -> None:
    body, count = bytes(range(256)) * 4096, 12
    with Dialled.dial(shared.tls, client(authority)).log_in() as secure, Wire.connect(shared) as plain:
        channel, other = secure.open_channel(), plain.open_channel()
        queue = channel.queue("much", auto_delete=True)
        for publishing, receiving in ((channel, other), (other, channel)):
            publishing.publish_confirmed("", queue, *[body] * count)
            assert [receiving.take(queue).body == body for _ in range(count)] == [True] * count
        secure.close()
        plain.close()


def test_a_slow_reader_is_waited_for(shared: Configured, authority: Authority) -> None:
    """More than fits into any buffer between broker and client, and all of it arrives."""
    body, count = b"x" * 1_000_000, 24
    with Dialled.dial(shared.tls, client(authority)).log_in() as wire, Wire.connect(shared) as plain:
        channel = wire.open_channel()
        queue = channel.bound_queue("amq.fanout")
        channel.consume(queue, no_ack=True)
        plain.open_channel().publish_confirmed("amq.fanout", "", *[body] * count)
        assert [len(message.body) for message in channel.deliveries(count)] == [len(body)] * count
        wire.close()
        plain.close()


def test_the_broker_says_where_it_listens(shared: Configured) -> None:
    assert log_lines(shared, rf"\[info\] .* started TCP listener on 127\.0\.0\.1:{shared.port}$")
    assert log_lines(shared, rf"\[info\] .* started TLS \(SSL\) listener on 127\.0\.0\.1:{shared.tls.port}$")


def test_the_name_that_a_client_asks_for_chooses_the_certificate(shared: Configured, authority: Authority) -> None:
    def names(server_name: str | None) -> list[str]:
        context = client(authority)
        context.check_hostname = False
        with Dialled.dial(shared.tls, context, name=server_name) as wire:  # type: ignore[arg-type]
            wire.greet()
            certificate: Any = wire._socket.getpeercert()  # type: ignore[attr-defined]
            return [value for _, value in certificate["subjectAltName"]]

    assert names("other.example") == names("OTHER.example") == ["other.example"]
    assert names("localhost") == names("nobody.example") == names(None) == ["localhost", "127.0.0.1"]


# --- mutual TLS


def test_a_verified_certificate_has_a_name(shared: Configured, authority: Authority) -> None:
    with Dialled.dial(shared.tls, client(authority, authority.client("joe"))) as wire:
        wire.greet()
        peer = shared.peer(wire)
        assert peer.is_tls and peer.is_loopback and peer.address == LOOPBACK
        assert re.fullmatch(r"CN=joe,OU=Testing cert #.*,O=trustme v[\d.]+", peer.certificate_name or "")
    with Dialled.dial(shared.tls, client(authority)) as wire:
        wire.greet()
        assert (shared.peer(wire).is_tls, shared.peer(wire).certificate_name) == (True, None)
    with Wire(shared) as plain:
        plain.greet()
        assert (shared.peer(plain).is_tls, shared.peer(plain).certificate_name) == (False, None)


def test_a_certificate_from_somewhere_else_is_refused(shared: Configured, authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger").client("eve")
    assert_refused(
        shared, client(authority, stranger), "unknown ca", "the client's certificate is not accepted: unable to get local issuer"
    )


def test_a_certificate_that_python_can_not_read(shared: Configured, authority: Authority) -> None:
    """Its authority signed it, OpenSSL verified it, and the ssl module fails on an e-mail address that is no text."""
    unreadable = authority.client_called("unreadable", SUBJECTS["plain"][0], b"\x30\x04\x81\x02\xff\xfe")
    assert_refused(shared, client(authority, unreadable), None, "TLS handshake failed: the client's certificate can't be read")


def test_a_server_that_the_client_does_not_trust(shared: Configured) -> None:
    with socket.create_connection(shared.tls, timeout=10) as bare:
        peer = f"{LOOPBACK}:{bare.getsockname()[1]}"
        with pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(bare, server_hostname="localhost")
        one_problem(shared, peer, "TLS handshake failed: the client doesn't trust the server's certificate")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_certificates_can_be_asked_for(serve: Serve, options: TlsOptions, authority: Authority, loop: str) -> None:
    broker = serve(replace(options, fail_if_no_peer_cert=True, depth=1), loop=loop, ssl_cert_login_from="common_name")
    assert_refused(broker, client(authority), "certificate required", "the client has no certificate, and ssl_options.fail_if_no_peer_cert")
    with Dialled.dial(broker.tls, client(authority, authority.client_below("ann", 1))) as wire:
        wire.greet()
        assert broker.peer(wire).certificate_name == "ann"
    assert_refused(
        broker, client(authority, authority.client_below("bob", 2)), "closed without|EOF", "is longer than ssl_options.depth = 1 allows"
    )


def assert_refused(broker: Configured, context: ssl.SSLContext, alert: str | None, reason: str) -> None:
    """With TLS 1.3 a client believes that it is connected until it reads."""
    with socket.create_connection(broker.tls, timeout=10) as bare:
        peer = f"{LOOPBACK}:{bare.getsockname()[1]}"
        with pytest.raises(OSError, match=alert):
            say_hello(bare, context)
        one_problem(broker, peer, re.escape(reason))


def say_hello(bare: socket.socket, context: ssl.SSLContext) -> None:
    """Until the broker has something to say."""
    with context.wrap_socket(bare, server_hostname="localhost") as secure:
        secure.sendall(b"AMQP\x00\x00\x09\x01")
        assert secure.recv(1) == b"", "let in"
        raise ConnectionResetError("closed without an alert")


# --- peers that aren't clients


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"AMQP\x00\x00\x09\x01", "TLS listener, and the peer speaks AMQP"),
        (b"GET / HTTP/1.1\r\n\r\n", "TLS listener, and the peer speaks HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "TLS listener, and the peer speaks SSH"),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "TLS listener, and the peer speaks the PROXY protocol"),
        (b"\xff\xfe\n", r"TLS listener, and the peer speaks something else: b'\\xff\\xfe\\n'"),
        (b"\x16\x03\x01\x00\x05hello", "TLS handshake failed: unexpected message"),
        (b"\x16\x03\x01\xff\xff" + b"\x01" * 70_000, "TLS handshake failed: "),
    ],
)
def test_what_is_no_tls(shared: Configured, said: bytes, reason: str) -> None:
    with socket.create_connection(shared.tls, timeout=10) as bare:
        bare.sendall(said)
        peer = f"{LOOPBACK}:{bare.getsockname()[1]}"
        if len(said) < 1000:  # what comes after it resets the connection
            assert ALERT.fullmatch(read_to_eof(bare))
        one_problem(shared, peer, reason)


def read_to_eof(bare: socket.socket) -> bytes:
    data = b""
    while piece := bare.recv(4096):
        data += piece
    return data


def client_hello(server_name: str) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name).do_handshake()
    return outgoing.read()


def test_a_server_name_that_is_no_text(shared: Configured) -> None:
    """Python's ssl module would write a traceback to stderr."""
    with socket.create_connection(shared.tls, timeout=10) as bare:
        bare.sendall(client_hello("aaaaaaaa").replace(b"aaaaaaaa", b"\xff\xfe" * 4))
        assert ALERT.fullmatch(read_to_eof(bare))
        one_problem(
            shared, f"{LOOPBACK}:{bare.getsockname()[1]}", "TLS handshake failed: the client asks for a server name that isn't ASCII"
        )


def test_handshakes_that_are_not_finished_in_time(shared: Configured) -> None:
    hello = client_hello("localhost")
    begun = {
        b"": "did not begin within 1 s",
        hello[:1]: "not finished within 1 s",
        hello[:-1]: "not finished within 1 s",
        hello: "not finished within 1 s",
    }
    waiting = [(socket.create_connection(shared.tls, timeout=10), said, reason) for said, reason in begun.items()]
    for bare, said, _ in waiting:
        bare.sendall(said)
    for bare, _, reason in waiting:
        with bare:
            read_to_eof(bare)
            one_problem(shared, f"{LOOPBACK}:{bare.getsockname()[1]}", reason)


def test_peers_that_go_away(shared: Configured, authority: Authority) -> None:
    """At every step of the handshake, gently and with a reset; a peer that only looks whether the port is open isn't worth a line."""
    before = idle_sockets(shared)
    hello = client_hello("localhost")
    lines = len(log_lines(shared, r"\[(error|warning)\]"))
    quiet, told = 0, 0
    for said in (b"", hello[:1], hello[:-1], hello):
        for reset in (False, True):
            with socket.create_connection(shared.tls, timeout=10) as bare:
                bare.sendall(said)
                if reset:
                    bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            told, quiet = (told + 1, quiet) if said else (told, quiet + 1)
    soon(lambda: sockets(shared) == before, what="sockets as before")
    soon(lambda: len(log_lines(shared, r"\[(error|warning)\]")) >= lines + told - 3, what="lines")
    assert len(log_lines(shared, r"\[(error|warning)\]")) <= lines + told
    with Dialled.dial(shared.tls, client(authority)).log_in() as wire:
        wire.close()


def test_a_running_connection_that_breaks(shared: Configured, authority: Authority) -> None:
    """A socket that just ends, and bytes that are no TLS record."""
    for last in (None, b"\x17\x03\x03\x00\x20" + b"x" * 32, b"garbage" * 10):
        wire = Dialled.dial(shared.tls, client(authority)).log_in()
        peer, secure = name_of(wire), wire._socket
        assert isinstance(secure, ssl.SSLSocket)
        bare = socket.socket(fileno=secure.detach())
        with bare:
            bare.settimeout(10)
            if last is not None:
                bare.sendall(last)
                read_to_eof(bare)
        one_problem(shared, peer, "client unexpectedly closed TCP connection")


def test_a_clean_close(shared: Configured, authority: Authority) -> None:
    """The last words come, then TLS's own, and nothing is left."""
    before = idle_sockets(shared)
    wire = Dialled.dial(shared.tls, client(authority)).log_in()
    peer = name_of(wire)
    wire.send_method(0, Connection.Close, reply_code=200, reply_text="bye")
    wire.expect(Connection.CloseOk)
    assert wire._socket.recv(1) == b"", "close_notify, and no reset"
    wire.abort()
    soon(lambda: sockets(shared) == before)
    assert not log_lines(shared, rf"\[(warning|error)\].*[(<]{peer} -> ")


# --- reload


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_hangup_reads_certificates_again(serve: Serve, authority: Authority, tmp_path: Path, loop: str) -> None:
    """New connections get the new ones, running ones stay; what can't be read changes nothing."""
    certfile, cafile, sni = tmp_path / "server.pem", tmp_path / "ca.pem", tmp_path / "sni.pem"
    shutil.copy(authority.server("first"), certfile)
    shutil.copy(authority.server("first-sni", "sni.example"), sni)
    shutil.copy(authority.file, cafile)
    options = TlsOptions(certfile=certfile, cacertfile=cafile, verify_peer=True, sni=(SniHost("sni.example", sni, sni),))
    broker = serve(options, loop=loop)

    def serial(name: str, trusted: Authority) -> str:
        with Dialled.dial(broker.tls, client(trusted), name=name) as wire:
            wire.greet()
            certificate: Any = wire._socket.getpeercert()  # type: ignore[attr-defined]
            return str(certificate["serialNumber"])

    def hang_up(pattern: str) -> None:
        count = len(log_lines(broker, pattern))
        broker._process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
        soon(lambda: len(log_lines(broker, pattern)) > count, what=pattern)

    old_client = client(authority, authority.client("old"))
    with Dialled.dial(broker.tls, old_client).log_in() as running, Wire.connect(broker) as plain:
        channel = running.open_channel()
        before = [serial(name, authority) for name in ("localhost", "sni.example")]

        certfile.write_text("rubbish")
        hang_up(rf"\[error\].*the old ones stay in use: ssl_options\.certfile = {re.escape(str(certfile))}: no certificate")
        assert [serial(name, authority) for name in ("localhost", "sni.example")] == before

        new = Authority(tmp_path, "new-ca")
        shutil.copy(new.server("second"), certfile)
        shutil.copy(new.server("second-sni", "sni.example"), sni)
        shutil.copy(new.file, cafile)
        hang_up(r"\[info\].*certificates reloaded")
        after = [serial(name, new) for name in ("localhost", "sni.example")]
        assert not set(before) & set(after)
        mixed = client(new, authority.client("old again"))
        assert_refused(broker, mixed, "unknown ca", "the client's certificate is not accepted")

        channel.publish_confirmed("amq.fanout", "", b"still here")
        plain.open_channel().nothing_more()
        running.close()
    assert len(log_lines(broker, "SIGHUP")) == 2


def test_a_graceful_stop(serve: Serve, options: TlsOptions, authority: Authority) -> None:
    """Whoever is in is told, whoever isn't is dropped, and the status is 0."""
    broker = serve(options)
    with (
        Dialled.dial(broker.tls, client(authority)).log_in() as wire,
        socket.create_connection(broker.tls, timeout=2) as silent,
        socket.create_connection(broker.tls, timeout=2) as half,
    ):
        half.sendall(client_hello("localhost")[:-1])
        with Dialled.dial(broker.tls, client(authority)) as later:
            later.greet()  # so both of them have been accepted
        assert broker._process is not None
        broker._process.send_signal(signal.SIGTERM)
        close = wire.expect(Connection.Close, reply_code=320)
        assert "shutdown" in close.reply_text
        assert read_to_eof(silent) == read_to_eof(half) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(broker.tls)
        wire.send_method(0, Connection.CloseOk)
        assert wire.read_to_eof() == b""
        wire.abort()
        assert broker._process.wait(10) == 0


# --- the system's limits and options


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_no_more_files(serve: Serve, options: TlsOptions, authority: Authority, loop: str) -> None:
    """It neither spins nor gives up, says so once, and goes on when there are files again."""
    broker = serve(options, loop=loop, files=60, ssl_handshake_timeout_seconds=60)
    waiting = [socket.create_connection(broker.tls) for _ in range(100)]
    broker.wait_for_log(r"\[warning\].*file descriptor limit alarm set")
    assert_at_rest(broker, waiting[0])
    for bare in waiting:
        bare.close()
    with Dialled.dial(broker.tls, client(authority)).log_in() as wire:
        wire.close()
    assert len(log_lines(broker, "file descriptor limit alarm set")) == 1
    assert not log_lines(broker, "cannot accept"), "the last descriptors are kept"


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_no_more_files_for_a_plain_listener(serve: Serve, options: TlsOptions, loop: str) -> None:
    """The event loop accepts there, and may take more in one round than may stay: then uvloop closes whom it can't take, asyncio lets them
    wait and complains."""
    broker = serve(options, loop=loop, files=60, handshake_timeout_seconds=60)
    waiting = [socket.create_connection((LOOPBACK, broker.port)) for _ in range(100)]
    broker.wait_for_log("file descriptor limit alarm set")
    assert_at_rest(broker, waiting[5])
    for bare in waiting:
        bare.close()
    soon(lambda: answers_amqp(broker.port), what="an answer")
    assert len(log_lines(broker, "cannot accept")) <= (loop == "asyncio")
    assert len(log_lines(broker, "file descriptor limit alarm set")) == 1


def assert_at_rest(broker: Configured, silent: socket.socket) -> None:
    """For longer than it takes to try again."""
    used = cpu_seconds(broker)
    silent.settimeout(1.2)
    with pytest.raises(TimeoutError):
        silent.recv(1)
    assert cpu_seconds(broker) - used < 0.4


def test_listen_options_reach_the_sockets() -> None:
    options = TcpOptions(backlog=7, keepalive=True, sndbuf=50_000, recbuf=60_000, linger_seconds=0)
    for bound in bind((PLAIN, TLS), options):
        with bound.socket, socket.create_connection(bound.socket.getsockname()), bound.socket.accept()[0] as accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 100_000, "Linux keeps as much again for itself"
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 120_000
            assert struct.unpack("ii", accepted.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)) == (1, 0)
    for bound in bind((PLAIN,), TcpOptions(linger_seconds=5)):
        with bound.socket as plain:
            assert struct.unpack("ii", plain.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))[0] == 0, "close would block"
            assert plain.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0


def test_port_0_is_one_port_for_all_hosts_and_another_for_tls() -> None:
    hosts = (LOOPBACK, "127.0.0.2")
    sockets = bind([Listener(host, 0, tls) for tls in (False, True) for host in hosts], TcpOptions())
    ports = {(bound.tls, bound.socket.getsockname()[1]) for bound in sockets}
    for bound in sockets:
        bound.socket.close()
    assert len(ports) == 2 and len({port for _, port in ports}) == 2
    assert [bound.tls for bound in sockets] == [False, False, True, True]


def test_a_start_that_fails_says_why_and_keeps_the_password(tmp_path: Path, options: TlsOptions) -> None:
    assert options.certfile is not None
    key = encrypted(options.certfile, "s3cret")
    config = Config(listeners=(PLAIN, TLS), ssl_options=replace(options, keyfile=key, password="wr0ng"))
    with pytest.raises(BrokerFailed) as failed:
        Configured(tmp_path / "config", config).start()
    text = str(failed.value)
    assert "exit status 78" in text
    assert f"cannot start: ssl_options.keyfile = {key}: the key is encrypted, and ssl_options.password doesn't open it" in text
    assert "s3cret" not in text and "wr0ng" not in text and "Traceback" not in text


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_small_writes_may_wait_if_they_shall(serve: Serve, options: TlsOptions, authority: Authority, loop: str) -> None:
    """tcp_listen_options.nodelay: the event loops set it, and it is taken back."""
    for nodelay in (True, False):
        broker = serve(options, loop=loop, tcp_options=TcpOptions(nodelay=nodelay))
        with Wire(broker) as plain, Dialled.dial(broker.tls, client(authority)) as secure:
            for wire in (plain, secure):
                wire.greet()
                assert is_nodelay(broker, wire) == nodelay


def is_nodelay(broker: Configured, wire: Wire) -> bool:
    """What the broker's own socket is set to, seen through a copy of its descriptor (pidfd_getfd)."""
    pidfd_open, pidfd_getfd = 434, 438
    call = ctypes.CDLL(None, use_errno=True).syscall
    pidfd = call(pidfd_open, broker.pid, 0)
    assert pidfd >= 0
    try:
        for entry in Path(f"/proc/{broker.pid}/fd").iterdir():
            if not os.readlink(entry).startswith("socket:"):
                continue
            copy = call(pidfd_getfd, pidfd, int(entry.name), 0)
            assert copy >= 0, os.strerror(ctypes.get_errno())
            with socket.socket(fileno=copy) as theirs:
                if theirs.family == socket.AF_INET and is_other_end(theirs, wire):
                    return bool(theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
    finally:
        os.close(pidfd)
    raise AssertionError("the broker has no such socket")


def is_other_end(theirs: socket.socket, wire: Wire) -> bool:
    try:
        return bool(theirs.getpeername() == wire._socket.getsockname())
    except OSError:
        return False

"""The broker's process: when it is there, and that it goes with whoever started it."""

import os
import signal
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import pika
import pytest

import leveret
from broker.control import is_alive
from leveret import Broker, BrokerGone, CannotStart, LeveretError
from leveret.options import Unusable
from tests.handle.programs import TIMEOUT_SECONDS, Program, gone
from tests.runtime.certificates import Authority
from tests.runtime.process import soon

START_SECONDS_MAX = 0.3
TELL = """
sys.stdout.write(f"{broker.pid}\\n")
sys.stdout.flush()
"""
START = """
import os, signal, sys
import leveret
broker = leveret.Broker().start()
"""
SAY = """
sys.stdout.write(f"{broker.pid}\\n")
sys.stdout.flush()
"""
STARTED = START + SAY
WAIT = "sys.stdin.read()\n"
ENDINGS = {
    "normally": "",
    "without its handle": "del broker; " + WAIT,
    "by an exception": "raise ValueError",
    "by sys.exit": "sys.exit(3)",
    "by os._exit": "os._exit(3)",
    "by SIGTERM": "os.kill(os.getpid(), signal.SIGTERM)",
    "by SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
}
FORKED = """
child = os.fork()
if child:
    sys.stdout.write(f"{child}\\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(3)
signal.pause()
"""
INTERRUPTED = """
try:
    sys.stdout.write(f"{broker.pid}\\n")
    sys.stdout.flush()
    signal.pause()
except KeyboardInterrupt:
    assert broker.api.ask("GET", "")["seed"] == broker.seed  # it hasn't heard of the Ctrl-C
    broker.stop()
    sys.exit(0)
"""
CHILDREN = """
import multiprocessing
def child():
    assert broker._place._popen.stdin.closed  # or the broker would stay with a child that stays
    with broker:
        assert broker.is_running and broker.api.ask("GET", "")["seed"] == broker.seed
    assert inherited.fileno() == -1  # two who read from one connection get each other's answers
    sys.exit(0)  # runs what is registered for the end, too
broker.api.ask("GET", "")
inherited = broker.api._idle[0].sock
one = multiprocessing.get_context("fork").Process(target=child)
one.start()
one.join()
other = os.fork()
if other == 0:
    child()
status = os.waitpid(other, 0)[1]
assert broker.api.ask("GET", "")["seed"] == broker.seed
sys.exit(one.exitcode or status)
"""
UNDER_WAY = """
import os, sys, threading
import leveret
from leveret import options
options.Options.command = lambda *_: [sys.executable, "-c", "import time; time.sleep(60)"]
broker = leveret.Broker()
def tell():
    while broker._place._popen is None:
        pass
    sys.stdout.write(f"{broker.pid}\\n")
    sys.stdout.flush()
threading.Thread(target=tell, daemon=True).start()
broker.start()
"""


@pytest.mark.alone
def test_it_is_ready_in_no_time() -> None:
    """Once in ten times, for this machine may have other things to do."""
    seconds = []
    for _ in range(10):
        begin = time.monotonic()
        with Broker():
            seconds.append(time.monotonic() - begin)
        if seconds[-1] < START_SECONDS_MAX:
            return
    raise AssertionError(seconds)


def test_nothing_starts_by_itself() -> None:
    broker = Broker()
    assert not broker.is_running
    with pytest.raises(BrokerGone, match="wasn't started"):
        _ = broker.url


def test_it_serves_and_stops() -> None:
    with Broker() as broker:
        pid = broker.pid
        with pika.BlockingConnection(broker.pika_parameters()) as connection:
            assert connection.is_open
        assert "started TCP listener" in broker.log()
        with pytest.raises(LeveretError, match="is running already"):
            broker.start()
        directory = Path(broker._place._directory)  # type: ignore[union-attr, arg-type]
        assert directory.is_dir()
    assert not broker.is_running and not is_alive(pid) and not directory.exists()
    broker.stop()
    with pytest.raises(BrokerGone, match="isn't running"):
        _ = broker.now
    broker.start()
    assert broker.is_running
    broker.stop()


def test_one_that_was_killed_tells_so() -> None:
    with Broker() as broker:
        os.kill(broker.pid, signal.SIGKILL)
        soon(lambda: not broker.is_running)
        with pytest.raises(BrokerGone, match=r"ended by signal 9; the end of its log:\n(.*\n)*.*started TCP listener"):
            _ = broker.now


# --- its end --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ENDINGS)
def test_it_goes_when_its_program_ends(how: str) -> None:
    with Program(STARTED + ENDINGS[how]) as program:
        broker = program.next_number()
        assert gone(broker)


def test_it_goes_though_a_fork_of_its_program_lives_on() -> None:
    with Program(STARTED + FORKED) as program:
        broker, child = program.next_number(), program.next_number()
        assert is_alive(broker)
        program.go_on()
        assert program.process.wait(TIMEOUT_SECONDS) == 3
        assert gone(broker)
        assert is_alive(child)


def test_children_use_it_and_do_not_end_it() -> None:
    with Program(STARTED + CHILDREN) as program:
        broker = program.next_number()
        status, errors = program.wait()
        assert status == 0, errors
        assert gone(broker)


def test_a_ctrl_c_is_its_programs_alone() -> None:
    with Program(START + INTERRUPTED) as program:
        broker = program.next_number()
        os.killpg(program.process.pid, signal.SIGINT)
        status, errors = program.wait()
        assert status == 0, errors
        assert not is_alive(broker)


def test_a_ctrl_c_while_it_starts_ends_it() -> None:
    with Program(UNDER_WAY) as program:
        broker = program.next_number()
        program.process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in program.wait()[1]
        assert not is_alive(broker)


# --- restarts -------------------------------------------------------------------------------------------------------


def publish(broker: Broker, queue: str, *bodies: bytes) -> None:
    with pika.BlockingConnection(broker.pika_parameters()) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare(queue, durable=True)
        for body in bodies:
            channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2))


def take(broker: Broker, queue: str) -> list[bytes]:
    with pika.BlockingConnection(broker.pika_parameters()) as connection:
        channel = connection.channel()
        found = iter(lambda: channel.basic_get(queue, auto_ack=True)[2], None)
        return list(found)


def test_what_was_confirmed_is_there_after_a_kill_and_a_restart() -> None:
    with Broker(data_dir=True) as broker, broker.sandbox() as sandbox:
        url, http_url = sandbox.url, sandbox.http_url
        publish(sandbox, "orders", b"1", b"2")
        sandbox.kill()
        assert not broker.is_running
        sandbox.start()
        publish(sandbox, "orders", b"3")
        sandbox.restart()
        assert (sandbox.url, sandbox.http_url) == (url, http_url)
        assert take(sandbox, "orders") == [b"1", b"2", b"3"]
        directory = Path(broker.api.ask("GET", "")["data_dir"])
    assert not directory.exists()


def test_a_data_directory_of_the_users_stays(tmp_path: Path) -> None:
    for _ in range(2):
        with Broker(data_dir=tmp_path / "data") as broker:
            publish(broker, "orders", b"1")
    with Broker(data_dir=os.fspath(tmp_path / "data")) as broker:
        assert take(broker, "orders") == [b"1", b"1"]


def test_a_sandbox_in_memory_is_not_killed(server: Broker, sandbox: Broker) -> None:
    for act in (sandbox.kill, sandbox.restart):
        with pytest.raises(LeveretError, match=r"Broker\(data_dir=True\)"):
            act()
    assert server.is_running


# --- options --------------------------------------------------------------------------------------------------------


def test_options_and_nothing_else_configure_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LEVERET_DEFAULT_USER", "leaked")
    monkeypatch.setenv("RABBITMQ_CONFIG_FILE", str(tmp_path / "no.conf"))
    monkeypatch.setenv("RABBITMQ_NODE_PORT", "nonsense")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "socket"))
    (tmp_path / "broker.py").write_text("raise SystemExit('the server imported the user\\'s broker.py')\n")
    (tmp_path / "leveret").mkdir()
    monkeypatch.chdir(tmp_path)
    config = {"default_user": "me", "default_pass": "a # b", "default_vhost": "of mine", "heartbeat": 7, "consumer_timeout": 5000}
    with Broker(config=config, compat="4.x", seed=4711) as broker:
        assert broker.seed == broker.api.ask("GET", "")["seed"] == 4711
        assert (broker.user, broker.password, broker.vhost) == ("me", "a # b", "of mine")
        with pika.BlockingConnection(broker.pika_parameters()) as connection:
            assert connection._impl.params.heartbeat in (7, None)
            properties = connection._impl.server_properties
        assert properties["version"].startswith("4.")


def test_a_configuration_file(tmp_path: Path) -> None:
    (tmp_path / "rabbitmq.conf").write_text("cluster_name = mine\n")
    with Broker(config=tmp_path / "rabbitmq.conf") as broker, pika.BlockingConnection(broker.pika_parameters()) as connection:
        assert connection._impl.server_properties["cluster_name"] == "mine"


def test_a_port_of_ones_own() -> None:
    with Broker() as first:
        port = first.port
        with pytest.raises(CannotStart, match=rf"exit status 69 instead of serving. What it said:\n(.*\n)*.*{port}"):
            Broker(port=port).start()
    with Broker(port=port) as broker:
        assert broker.port == port


@pytest.mark.parametrize("tls", [False, True])
def test_a_start_that_fails_tells_why(tls: bool, tmp_path: Path) -> None:
    options = {"tls": {"certfile": tmp_path / "no.pem"}} if tls else {"config": {"heartbeat": "soon"}}
    with pytest.raises(CannotStart, match=r"expected") as raised:
        Broker(**options).start()  # type: ignore[arg-type]
    assert ("no.pem" if tls else "heartbeat = soon: expected a whole number of seconds") in str(raised.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"tls": "cert.pem"}, "tls: expected True .* or the files of one: .* not 'cert.pem'"),
        ({"tls": {"certfile": "x", "nonsense": "y"}}, "tls: expected True"),
        ({"config": {"a": [1]}}, "config: a: expected a string, a number"),
        ({"config": {"a b": 1}}, "'a b' is no key of rabbitmq.conf"),
        ({"config": {"a": "'\""}}, "a value can't have"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], text: str) -> None:
    with pytest.raises(Unusable, match=text):
        Broker(**options).start()  # type: ignore[arg-type]


def test_values_with_quotes_arrive() -> None:
    config = {"default_user": "it's", "default_pass": '"double"', "default_vhost": " edges #", "cluster_name": "a/b?c=%41"}
    with Broker(config=config) as broker, pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        assert connection._impl.server_properties["cluster_name"] == "a/b?c=%41"


def test_tls_with_a_certificate_made_for_it() -> None:
    with Broker(tls=True) as broker:
        context = broker.ssl_context()
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        for host in ("localhost", "127.0.0.1"):
            with pika.BlockingConnection(broker.pika_parameters(ssl_options=pika.SSLOptions(context, host))) as connection:
                assert connection.is_open
        assert broker.cafile is not None
        authority = Path(broker.cafile).read_text()
        broker.restart()
        assert Path(broker.cafile).read_text() == authority
    with Broker(tls=True) as other:
        assert other.cafile is not None and Path(other.cafile).read_text() != authority


def test_a_certificate_needs_what_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(Unusable, match=r"pip install trustme\), or give files of your own: tls={'certfile': "):
        Broker(tls=True).start()


def test_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate = authority.server("server", "localhost")
    with Broker(tls={"certfile": certificate, "keyfile": certificate, "cacertfile": authority.file}) as broker:
        assert broker.is_tls and broker.url.startswith("amqps://") and broker.host == "localhost"
        with pika.BlockingConnection(broker.pika_parameters()) as connection:
            assert connection.is_open
        with pytest.raises(ssl.SSLError):
            pika.BlockingConnection(broker.pika_parameters(ssl_options=pika.SSLOptions(ssl.create_default_context(), "localhost")))
        with broker.sandbox() as sandbox, pika.BlockingConnection(sandbox.pika_parameters()) as connection:
            assert connection.is_open
        port = broker.port
        broker.kill()
        broker.start()
        assert broker.port == port


def test_the_package_imports_nothing_before_it_is_used() -> None:
    with Program("import sys; import leveret; assert not {n for n in sys.modules if n.startswith('leveret.')}; leveret.Broker") as program:
        assert program.wait() == (0, "")
    assert {"Broker", "AsyncBroker", "__version__"} <= set(dir(leveret))
    with pytest.raises(AttributeError, match="no attribute 'Broke'"):
        _ = leveret.Broke


@pytest.mark.parametrize(
    "options", [{"port": -1}, {"port": 65536}, {"port": "5672"}, {"seed": -1}, {"seed": "abc"}, {"seed": 1.5}], ids=str
)
def test_numbers_that_cannot_be_used_are_told_before_the_start(options: dict[str, Any]) -> None:
    with pytest.raises(Unusable, match=r"(port|seed): expected a whole number from 0 to [0-9]+, not "):
        Broker(**options)

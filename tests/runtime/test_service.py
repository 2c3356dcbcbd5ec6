"""Running as a service: sd_notify and its watchdog, the pid file, SIGUSR1 (issue 6, items 2 and 5). A real socket, a real process."""

import asyncio
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker.runtime.service import Manager
from tests.oracle.leveret import Leveret
from tests.oracle.rabbitmq import BrokerFailed
from tests.runtime.conftest import Start
from tests.runtime.process import assert_nothing_broke, soon
from tests.wire import Wire

DEADLINE_SECONDS = 10


class Listening:
    """A service manager: what it was told, message by message."""

    def __init__(self, address: str) -> None:
        self.variable = address.replace("\0", "@")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(DEADLINE_SECONDS)

    def next(self) -> list[str]:
        return self._socket.recv(4096).decode().splitlines()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def listening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listening]:
    manager = Listening(str(tmp_path / "notify") if request.param == "path" else f"\0leveret-test-{os.getpid()}")
    yield manager
    manager.close()


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what brokers started later find in their environment."""

    def set_all(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_all


# --- the service manager --------------------------------------------------------------------------------------------


def test_the_manager_hears_of_start_reload_and_stop(listening: Listening, variables: Callable[..., None], start: Start) -> None:
    """RabbitMQ says `STATUS=Startup in progress`, `READY=1 STATUS=` and `STOPPING=1`."""
    variables(NOTIFY_SOCKET=listening.variable)
    broker = start()
    assert listening.next() == ["STATUS=Startup in progress"]
    assert listening.next() == ["READY=1", "STATUS=", f"MAINPID={broker.pid}"]
    os.kill(broker.pid, signal.SIGHUP)
    reloading = listening.next()
    assert reloading[0] == "RELOADING=1"
    assert re.fullmatch(r"MONOTONIC_USEC=\d+", reloading[1])
    assert listening.next()[0] == "READY=1"
    assert broker.stop() == 0
    assert listening.next()[0] == "STOPPING=1"


def test_ready_is_said_once_connections_are_accepted(listening: Listening, variables: Callable[..., None], start: Start) -> None:
    variables(NOTIFY_SOCKET=listening.variable)
    broker = start(memory=True)
    while "READY=1" not in listening.next():
        pass
    with Wire.connect(broker) as wire:
        wire.close()


def test_the_watchdog_gets_signs_of_life(listening: Listening, variables: Callable[..., None], start: Start) -> None:
    variables(NOTIFY_SOCKET=listening.variable, WATCHDOG_USEC="200000")
    start(memory=True)
    while listening.next() != ["WATCHDOG=1"]:
        pass
    began = time.monotonic()
    for _ in range(3):
        assert listening.next() == ["WATCHDOG=1"]
    assert time.monotonic() - began > 0.2, "twice an interval, and not all the time"


def test_a_watchdog_for_another_process_or_of_no_time_is_none_of_its_business(listening: Listening) -> None:
    for usec, pid in (("200000", "1"), ("0", str(os.getpid())), ("soon", str(os.getpid()))):
        manager = Manager({"NOTIFY_SOCKET": listening.variable, "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid})
        loop = asyncio.new_event_loop()
        manager.watch(loop)
        manager.ready()
        assert listening.next()[0] == "READY=1", "no WATCHDOG=1 before it"
        manager.close()
        loop.close()


def test_a_manager_that_is_not_there_costs_a_warning(variables: Callable[..., None], start: Start, tmp_path: Path) -> None:
    variables(NOTIFY_SOCKET=str(tmp_path / "nobody"))
    broker = start(memory=True)
    assert broker.stop() == 0
    assert len(re.findall(r"\[warning\].*can't be told .*NOTIFY_SOCKET", broker.log)) == 1


# --- the pid file ---------------------------------------------------------------------------------------------------


def test_the_pid_file_is_there_while_it_runs(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "run" / "leveret.pid"
    broker = start(memory=True, pid_file=str(path))
    assert path.read_text() == f"{broker.pid}\n"
    assert [each.name for each in path.parent.iterdir()] == ["leveret.pid"]
    assert broker.stop() == 0
    assert not path.exists()


def test_a_broker_that_is_refused_leaves_the_others_file_alone(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "leveret.pid"
    first = start(pid_file=str(path))
    refused = Leveret(first.data_dir, arguments=("--config", str(tmp_path / "0.conf")))
    with pytest.raises(BrokerFailed, match="exit status 69"):
        refused.start()
    assert path.read_text() == f"{first.pid}\n"


# --- SIGUSR1 --------------------------------------------------------------------------------------------------------


def dumped(broker: Leveret, directory: Path) -> str:
    """Ask for the state, and return the file that it is in."""
    before = broker.log.count("the state of the broker is in")
    os.kill(broker.pid, signal.SIGUSR1)
    soon(lambda: broker.log.count("the state of the broker is in") > before)
    named = Path(re.findall(r"the state of the broker is in (\S+)", broker.log)[-1])
    assert named.parent == directory
    assert named.stat().st_mode & 0o777 == 0o640
    return named.read_text()


def facts(text: str, line: str) -> dict[str, str]:
    """The pairs of the one line that begins so."""
    (found,) = [each for each in text.splitlines() if each.strip().startswith(line)]
    return dict(re.findall(r"(\w+)=('[^']*'|\S+)", found))


def test_the_state_has_all_that_is_in_the_broker(start: Start, tmp_path: Path) -> None:
    broker = start()
    with Wire.connect(broker, properties={"connection_name": "billing"}) as wire:
        channel = wire.open_channel()
        channel.confirm_select()
        channel.queue("orders", durable=True)
        channel.queue("a\tb", exclusive=True)
        for _ in range(5):
            channel.publish("", "orders", b"top secret", delivery_mode=2)
        channel.confirms(5)
        channel.qos(2)
        tag = channel.consume("orders")
        channel.deliveries(2)
        text = dumped(broker, tmp_path / "data")
        assert text.startswith("Leveret ")
        assert f"process {broker.pid}," in text
        assert "alarms: none" in text
        assert int(facts(text, "memory:")["messages_bytes"]) > 50
        assert facts(text, "disk:")["failed"] == "no"
        assert facts(text, "outbox:")["under_way"] in ("yes", "no")  # marks of what was delivered may be on their way
        assert int(facts(text, "log:")["live_messages"]) == 5
        connection = facts(text, "connection ")
        assert (connection["state"], connection["user"], connection["client_name"]) == ("running", "'guest'", "'billing'")
        assert connection["exclusive_queues"] == "1"
        open_channel = facts(text, "channel 1")
        assert (open_channel["mode"], open_channel["unconfirmed"], open_channel["unacked"]) == ("confirm", "0", "2")
        assert facts(text, f"consumer '{tag}'")["queue"] == "'orders'"
        queue = facts(text, "queue 'orders'")
        assert (queue["ready"], queue["unacked"], queue["consumers"], queue["durable"]) == ("3", "2", "1", "yes")
        assert r"queue 'a\tb'" in text, "what clients choose stays on one line"
        assert "secret" not in text
    assert_nothing_broke(broker)


def test_the_state_lies_beside_the_log_file(start: Start, tmp_path: Path) -> None:
    broker = start(memory=True, **{"log.file": "leveret.log", "log.dir": str(tmp_path / "log")})
    assert "vhost '/'" in dumped(broker, tmp_path / "log")


def test_without_a_directory_the_state_is_in_the_log(memory: Leveret) -> None:
    os.kill(memory.pid, signal.SIGUSR1)
    line = memory.wait_for_log(r"\[info\] \S+ SIGUSR1: the state of the broker:")
    head = line.partition("SIGUSR1")[0]
    soon(lambda: f"{head}vhost '/': queues=0" in memory.log)


def test_asking_during_the_start_ends_nothing(listening: Listening, variables: Callable[..., None]) -> None:
    """There is no state yet, and what a signal does to a process by itself is to end it."""
    variables(NOTIFY_SOCKET=listening.variable)
    broker = Leveret()
    starting = threading.Thread(target=broker.start)
    starting.start()
    assert listening.next() == ["STATUS=Startup in progress"]
    os.kill(broker.pid, signal.SIGUSR1)
    assert listening.next()[0] == "READY=1"
    starting.join()
    assert broker.stop() == 0


def test_a_directory_that_cannot_be_written_is_told(start: Start, tmp_path: Path) -> None:
    broker = start(**{"log.file": "leveret.log", "log.dir": str(tmp_path / "log")})
    (tmp_path / "log").rename(tmp_path / "gone")
    os.kill(broker.pid, signal.SIGUSR1)
    broker.wait_for_log(r"\[error\].*SIGUSR1: the state can't be written to .*: No such file")
    with Wire.connect(broker) as wire:
        wire.close()


def test_asking_again_and_again_hurts_nobody(start: Start) -> None:
    """Two thousand queues, and connections that come and go: the state is put together between the turns."""
    broker = start(memory=True)
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        for number in range(2000):
            channel.queue(f"q{number}", exclusive=True)
        for _ in range(5):
            os.kill(broker.pid, signal.SIGUSR1)
            other = Wire.connect(broker)
            other.open_channel()
            other.abort()
        soon(lambda: "queue 'q1999'" in broker.log)
        wire.close()
    assert_nothing_broke(broker)


# --- the start ------------------------------------------------------------------------------------------------------


def test_the_banner_is_rabbitmqs(memory: Leveret) -> None:
    """`  Starting broker... completed with 8 plugins.` on stdout; scripts wait for it, and for the line of the log behind it."""
    lines = memory.log.splitlines()
    (banner,) = [line for line in lines if line.startswith("  Starting broker...")]
    plugins = re.fullmatch(r"  Starting broker\.\.\. completed with (\d+) plugins\.", banner)
    assert plugins is not None
    assert f"Server startup complete; {plugins[1]} plugins started." in lines[lines.index(banner) + 1]


def test_a_console_of_json_has_no_banner(start: Start) -> None:
    broker = start(memory=True, **{"log.console.formatter": "json"})
    assert all(line.startswith("{") for line in broker.log.splitlines())

"""`leveret serve` as a process: start, refusals and stop (issue 2, item 2)."""

import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.house.conftest import ROOT, clean_environment

READY = "Server startup complete"
START_SECONDS_MAX = 0.3
IDLE_MEMORY_BYTES_MAX = 45 * 1024 * 1024
DEADLINE_SECONDS = 20


class Served:
    """A broker in the foreground, started with these arguments; `lines` is what it had logged when it was ready."""

    def __init__(
        self, *arguments: str, command: tuple[str, ...] = (sys.executable, "-m", "leveret"), cwd: Path = ROOT, **variables: str
    ) -> None:
        begin = time.monotonic()
        environment = clean_environment(**variables)
        self.process = subprocess.Popen(
            [*command, "serve", *arguments], cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if READY in line:
                break
        self.start_seconds = time.monotonic() - begin

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def ports(self) -> dict[str, int]:
        """The port by address, as the lines of start-up name them."""
        return {host: int(port) for host, port in re.findall(r"started TCP listener on (127\.0\.0\.1|\[::1\]):(\d+)", "".join(self.lines))}

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        self.rest = self.process.communicate(timeout=DEADLINE_SECONDS)[0]
        return self.process.returncode


def greets(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        return connection.recv(1) == b"\x01"  # a method frame: connection.start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_where_it_says_and_stops_gracefully(number: signal.Signals, tmp_path: Path) -> None:
    with Served("--port", "0", "--data-dir", str(tmp_path / "data")) as broker:
        assert READY in broker.lines[-1], "".join(broker.lines)
        assert greets(broker.ports["127.0.0.1"])
        assert len(set(broker.ports.values())) == 1, "one port for all addresses"
        assert broker.stop(number) == 0, broker.rest


def test_a_second_broker_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    with Served("--port", "0", "--data-dir", str(tmp_path)) as first:
        assert READY in first.lines[-1], "".join(first.lines)
        with Served("--port", "0", "--data-dir", str(tmp_path)) as second:
            output = "".join(second.lines)
            assert second.process.wait(DEADLINE_SECONDS) not in (0, 64, 78)
            assert READY not in output
            assert str(tmp_path) in output
            assert "Traceback" not in output
        assert greets(first.ports["127.0.0.1"])


def test_a_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with Served("--memory", "--port", port, "--host", "127.0.0.1") as broker:
            output = "".join(broker.lines)
            assert broker.process.wait(DEADLINE_SECONDS) not in (0, 64, 78)
            assert READY not in output
            assert port in output
            assert "Traceback" not in output


def test_the_configuration_is_named_in_the_log(tmp_path: Path) -> None:
    conf = tmp_path / "rabbitmq.conf"
    conf.write_text("net_ticktime = 1\nlog.console.level = info\n")
    with Served("--memory", "--port", "0", RABBITMQ_CONFIG_FILE=str(tmp_path / "rabbitmq")) as broker:
        text = "".join(broker.lines)
    assert f"> configuration read from {conf}" in text
    assert re.search(r"\[warning\] <\S+> .*without them: net_ticktime \(.*:1\)", text)


@pytest.mark.alone
def test_start_up_is_quick_and_small(tmp_path: Path) -> None:
    """The best of five: the budget is for a quiet machine, and this one may not be."""
    seconds, size_bytes = [], 0
    for number in range(5):
        with Served("--port", "0", "--data-dir", str(tmp_path / str(number))) as broker:
            assert READY in broker.lines[-1], "".join(broker.lines)
            seconds.append(broker.start_seconds)
            status = Path(f"/proc/{broker.process.pid}/status")
            if status.exists():
                size_bytes = int(re.findall(r"^VmRSS:\s+(\d+) kB", status.read_text(), flags=re.MULTILINE)[0]) * 1024
    assert min(seconds) < START_SECONDS_MAX
    assert size_bytes < IDLE_MEMORY_BYTES_MAX

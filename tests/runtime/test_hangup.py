"""SIGHUP: from an operator it means to read files again (certificates: test_tls.py), from a terminal that it is closed."""

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator

import pytest

from tests.oracle.leveret import ROOT, Leveret
from tests.oracle.rabbitmq import answers_amqp
from tests.runtime.configured import Address
from tests.wire import Wire

DEADLINE_SECONDS = 10.0


class InTerminal:
    """A broker in the foreground of a terminal of its own, which `close` closes."""

    def __init__(self, before: str = "") -> None:
        self._terminal, inside = pty.openpty()
        serve = f"{before} exec {sys.executable} -m leveret serve --port 0 --memory"
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", serve], cwd=ROOT, stdin=inside, stdout=inside, stderr=inside, start_new_session=True, preexec_fn=take_terminal
        )
        os.close(inside)
        self._output = b""
        self.port = int(self.read_until(rb"started TCP listener on 127\.0\.0\.1:(\d+)"))
        self.read_until(rb"Server startup complete")

    def read_until(self, pattern: bytes) -> bytes:
        while not (found := re.search(pattern, self._output)):
            assert select.select([self._terminal], [], [], DEADLINE_SECONDS)[0], f"no {pattern!r} in {self._output!r}"
            self._output += os.read(self._terminal, 4096)
        return found[found.re.groups]

    def close(self) -> None:
        os.close(self._terminal)


def take_terminal() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may have been started with nohup themselves
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def started(request: pytest.FixtureRequest) -> Iterator[InTerminal]:
    broker = InTerminal(getattr(request, "param", ""))
    yield broker
    broker.process.kill()
    broker.process.wait()


def test_a_closed_terminal_ends_it(started: InTerminal) -> None:
    started.process.send_signal(signal.SIGHUP)
    started.read_until(rb"SIGHUP: files are read and opened again")
    assert answers_amqp(started.port), "that was an operator"
    started.close()
    assert started.process.wait(10) == 0


@pytest.mark.parametrize("started", ["trap '' HUP;"], indirect=True)
def test_started_with_nohup_it_outlives_the_terminal(started: InTerminal) -> None:
    with Wire.connect(Address("127.0.0.1", started.port)) as wire:
        channel = wire.open_channel()
        started.close()
        started.process.send_signal(signal.SIGHUP)
        channel.nothing_more()
        assert answers_amqp(started.port)
        channel.nothing_more()
        wire.close()


def test_without_a_terminal_it_is_an_operators(memory: Leveret) -> None:
    assert memory._process is not None
    memory._process.send_signal(signal.SIGHUP)
    memory.wait_for_log(r"\[info\].*SIGHUP: files are read and opened again")
    with Wire.connect(memory) as wire:
        wire.close()

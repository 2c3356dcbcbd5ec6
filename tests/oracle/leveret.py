"""Leveret as a process of its own, as its users run it: `with Leveret() as broker: broker.port`."""

import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import ClassVar, Self

from tests.oracle.rabbitmq import BrokerFailed

ROOT = Path(__file__).resolve().parents[2]
READY = "Server startup complete"
LISTENERS = [re.compile(rf"started {kind} listener on 127\.0\.0\.1:(\d+)") for kind in ("TCP", r"TLS \(SSL\)")]
"""The lines that name the port, the first kind that there is."""
START_SECONDS = 20.0
STOP_SECONDS = 20.0


class Leveret:
    """`data_dir=None` serves from memory. After `stop` or `kill`, `restart` serves the same directory on the same port."""

    name = "leveret"
    restartable = True
    module = "leveret"
    """What `python -m` runs."""
    is_testing: ClassVar[bool] = False
    """Every broker is one for tests (`--broker-testing`)."""
    testing_arguments: ClassVar[tuple[str, ...]] = ("--testing",)
    """What makes it one."""

    def __init__(self, data_dir: Path | str | None = None, *, port: int = 0, arguments: tuple[str, ...] = ()) -> None:
        self.host = "127.0.0.1"
        self.port = port
        self.data_dir = data_dir
        self.arguments = arguments
        self.python = sys.executable
        """The interpreter that runs it."""
        self.status: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._begun = b""
        """A line that hasn't ended."""
        self._reader: threading.Thread | None = None
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._open = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """All that every run so far has printed, up to now: whoever has heard the broker's answer finds what it logged before that."""
        with self._changed:
            while self._open and self._has_output(0):
                self._take()
            return "".join(self._lines)

    def wait_for_log(self, pattern: str, seconds: float = 10.0) -> str:
        """The first line that matches; fails after the deadline."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                for line in self._lines:
                    if re.search(pattern, line):
                        return line
                if not self._changed.wait(deadline - time.monotonic()):
                    raise AssertionError(f"no line {pattern!r} in the log within {seconds} s:\n{''.join(self._lines)[-4000:]}")

    def start(self) -> None:
        storage = ["--memory"] if self.data_dir is None else ["--data-dir", str(self.data_dir)]
        testing = self.testing_arguments if self.is_testing else ()
        command = [self.python, "-m", self.module, "serve", "--port", str(self.port), *storage, *testing, *self.arguments]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._pipe = self._process.stdout.fileno()
        self._open, begin = True, len(self._lines)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = self._wait_until_ready(begin)

    def stop(self) -> int | None:
        """SIGTERM, and the exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: no goodbye, nothing flushed."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def _read(self) -> None:
        while self._open:
            self._has_output(None)
            with self._changed:
                if self._open and self._has_output(0):
                    self._take()

    def _has_output(self, milliseconds: int | None) -> bool:
        """Or its end; waits so long for it, None for ever."""
        poll = select.poll()  # unlike select, with any number of files open
        poll.register(self._pipe, select.POLLIN)
        return bool(poll.poll(milliseconds))

    def _take(self) -> None:
        """Read what is in the pipe; the lock is held."""
        data = os.read(self._pipe, 1 << 16)
        *lines, self._begun = (self._begun + data.replace(b"\r", b"\n")).split(b"\n")
        if not data:
            lines, self._begun, self._open = [self._begun] if self._begun else [], b"", False
        self._lines += [line.decode(errors="replace") + "\n" for line in lines]
        self._changed.notify_all()

    def _wait_until_ready(self, begin: int) -> int:
        deadline = time.monotonic() + START_SECONDS
        with self._changed:
            while True:
                lines = self._lines[begin:]
                addresses = [found for listener in LISTENERS for line in lines if (found := listener.search(line))]
                if addresses and any(READY in line for line in lines):
                    return int(addresses[0][1])
                if not self._open or not self._changed.wait(deadline - time.monotonic()):
                    break
            output = "".join(self._lines[begin:])[-4000:]
        self.kill()
        raise BrokerFailed(f"leveret serve printed no '{READY}', or no listener before; exit status {self.status}, output:\n{output}")

    def _end(self, number: signal.Signals) -> int | None:
        process = self._process
        if process is None:
            return self.status
        process.send_signal(number)
        try:
            self.status = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            self.status = process.wait()
            raise BrokerFailed(f"leveret didn't stop within {STOP_SECONDS} s:\n{self.log[-4000:]}") from None
        finally:
            self._process = None
            if self._reader is not None:
                self._reader.join(STOP_SECONDS)
            self._open = False
            if process.stdout is not None:
                process.stdout.close()
        return self.status

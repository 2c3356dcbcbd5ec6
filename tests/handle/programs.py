"""Programs that use leveret, in processes of their own; and what becomes of the brokers that they start."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from broker.control import is_alive
from tests.house.conftest import ROOT, clean_environment
from tests.runtime.process import soon

TIMEOUT_SECONDS = 30.0


class Program:
    """A program that is running: `text` is its source. It tells numbers, one a line, and `next_number` reads them."""

    def __init__(self, text: str, cwd: Path = ROOT, **variables: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", text],
            cwd=cwd,
            env=clean_environment(PYTHONPATH=str(ROOT), **variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pids: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        for pid in (self.process.pid, *self.pids):
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.communicate()

    def next_number(self) -> int:
        """The next line; it is the id of a process, which is ended with this one."""
        assert self.process.stdout is not None and self.process.stderr is not None
        line = self.process.stdout.readline()
        assert line.strip().isdigit(), line + self.process.stderr.read()
        self.pids.append(int(line))
        return self.pids[-1]

    def go_on(self) -> None:
        """Let it read the end of its stdin."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.stdin = None

    def wait(self) -> tuple[int, str]:
        """Its exit status, and what it wrote to stderr."""
        _, errors = self.process.communicate(timeout=TIMEOUT_SECONDS)
        return self.process.returncode, errors


def gone(pid: int) -> bool:
    """Wait until that process has ended."""
    return bool(soon(lambda: not is_alive(pid), what=f"process {pid}"))

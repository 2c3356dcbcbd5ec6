"""A broker's process: started, told where it listens, ended; and gone when this process is gone, however that ends.

The broker ends when its stdin is closed, and the other end of it is here; the system closes that whatever happens to this process. It is in
a session of its own, so that a Ctrl-C is ours alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from leveret.api import Api
from leveret.errors import BrokerGone, CannotStart, LeveretError
from leveret.options import HOST, log_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leveret.options import Options

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 5.0
"""For what is being written to a disk."""
MEMORY_STOP_SECONDS: Final = 0.5
TAIL_LINES: Final = 25
TAIL_BYTES: Final = 16_384


class Listener(NamedTuple):
    """Where it listens: `protocol` is amqp, amqp/ssl, http or another of RabbitMQ's words."""

    protocol: str
    host: str
    port: int


AMQP: Final = ("amqp", "amqp/ssl")
HTTP: Final = "http"


def listeners_of(facts: Mapping[str, Any]) -> list[Listener]:
    """Of what a broker tells of itself."""
    return [Listener(each["protocol"], each["host"], each["port"]) for each in facts["listeners"]]


def port_of(listeners: list[Listener], *protocols: str) -> int:
    """The port of the first listener of such a protocol; 0 without one."""
    return next((each.port for each in listeners if each.protocol in protocols), 0)


class Process:
    """One broker's. What it is told to keep lies in a directory of its own until `stop`."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.listeners: list[Listener] = []
        self._api: Api | None = None
        self._popen: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._directory: str | None = None
        self._last_words = ""
        _all.add(self)

    # --- what it is -------------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """Of the broker. Raises BrokerGone without one."""
        if self._popen is None:
            raise BrokerGone("the broker isn't running: it was not started, or stopped")
        return self._popen.pid

    @property
    def is_ours(self) -> bool:
        """False in a process that was forked from the one that started it."""
        return os.getpid() == self._owner

    @property
    def is_running(self) -> bool:
        """It was started, and hasn't ended by itself."""
        if self._popen is None:
            return False
        return not self.is_ours or self._popen.poll() is None

    @property
    def keeps(self) -> bool:
        """What is durable is there after a restart."""
        return bool(self.options.data_dir)

    @property
    def seed(self) -> int:
        """What everything depends on that is left to chance."""
        return self.options.seed

    @property
    def host(self) -> str:
        """Where clients find it."""
        return self.options.host

    @property
    def port(self) -> int:
        """AMQP's. Raises BrokerGone before the start."""
        if not self.listeners:
            raise BrokerGone("the broker wasn't started: it has no port yet")
        return port_of(self.listeners, *AMQP)

    @property
    def http_url(self) -> str:
        """Likewise."""
        if not self.listeners:
            raise BrokerGone("the broker wasn't started: it has no port yet")
        return f"http://{HOST}:{port_of(self.listeners, HTTP)}"

    @property
    def is_tls(self) -> bool:
        """AMQP is served over TLS."""
        return self.options.is_tls

    @property
    def cafile(self) -> str | None:
        """Whom clients have to trust; of a certificate that was made for the test the file goes with `stop`."""
        return self.options.cafile(self._directory)

    @property
    def api(self) -> Api:
        """Its HTTP API for tests. Raises BrokerGone before the start."""
        if self._api is None:
            raise BrokerGone("the broker wasn't started")
        return self._api

    def log(self, lines: int | None = None) -> str:
        """What it has logged, or the last lines of that. After `stop` it is the last lines that are left."""
        if self._directory is None:
            return self._last_words
        try:
            with open(log_of(self._directory), "rb") as file:
                if lines is not None:
                    file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except OSError as error:
            return f"(its log can't be read: {error})"
        return text if lines is None else "\n".join(text.splitlines()[-lines:])

    def epitaph(self) -> str | None:
        """How it ended and the last lines of its log, None while it is running."""
        if self.is_running:
            return None
        status = None if self._popen is None else self._popen.returncode
        how = "isn't running" if status is None else _how(status)
        return f"the broker {how}; the end of its log:\n{self.log(TAIL_LINES) or '(empty)'}"

    # --- its life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it and wait until it serves; on the ports that it had before, if it had any. Raises CannotStart, Unusable."""
        if self._popen is None:
            self._owner = os.getpid()
        self._check_owner()
        if self.is_running:
            raise LeveretError(f"the broker is running already, as process {self.pid}")
        self._reap()
        _watch_forks()
        if self._directory is None:
            self._directory = tempfile.mkdtemp(prefix="leveret-")
        try:
            self.options.write(self._directory)
            self._launch(self._directory)
        except BaseException:
            self._end(kill=True)
            self._forget()
            raise

    def stop(self) -> None:
        """End it, and remove what only it has needed. In a forked process it does nothing: the broker is the parent's."""
        if self.is_ours:
            self._end(kill=False)
            self._forget()

    def kill(self) -> None:
        """SIGKILL: what it was about to write is lost, what it has confirmed isn't. Its directory stays for `start`."""
        self._check_owner()
        self._end(kill=True)

    def restart(self) -> None:
        """An orderly end, and another start on the same ports and directory."""
        self._check_owner()
        self._end(kill=False)
        self.start()

    def abandon(self) -> None:
        """Nobody has a handle any more: as `stop`, but nobody waits for it to say goodbye."""
        if self.is_ours:
            self._end(kill=True)
            self._forget()

    def let_go(self) -> None:
        """In a forked process: close what would keep the broker alive when its parent has ended."""
        if self._popen is not None and self._popen.stdin is not None:
            self._popen.stdin.close()

    def _check_owner(self) -> None:
        if not self.is_ours:
            raise LeveretError(f"this broker is another process's ({self._owner}), from which this one was forked: start, kill it there")

    def _launch(self, directory: str) -> None:
        if not sys.executable:
            raise CannotStart("there is no Python to run the broker with: sys.executable is empty")
        port, http_port = port_of(self.listeners, *AMQP) or self.options.port, port_of(self.listeners, HTTP)
        with open(log_of(directory), "ab") as log:
            self._popen = subprocess.Popen(
                self.options.command(directory, port, http_port),
                env=self.options.environment(os.environ, directory, port),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                **_GROUP,
            )
        card = self._read_card(self._popen)
        self.listeners = listeners_of(card)
        self._api = Api(self.http_url, card["token"])

    def _read_card(self, popen: subprocess.Popen[bytes]) -> dict[str, Any]:
        """The line in which it tells that it serves, and where (broker.testing.supervision). stdout stays open, for it says more there."""
        assert popen.stdout is not None
        is_late = threading.Event()

        def give_up() -> None:
            is_late.set()
            popen.kill()

        deadline = threading.Timer(START_SECONDS, give_up)
        deadline.daemon = True
        deadline.start()
        try:
            for line in popen.stdout:
                if line.startswith(b"{"):
                    card: dict[str, Any] = json.loads(line)
                    return card
        finally:
            deadline.cancel()
        status = popen.wait()
        how = f"wasn't ready within {START_SECONDS:.0f} s" if is_late.is_set() else f"{_how(status)} instead of serving"
        raise CannotStart(f"the broker {how}. What it said:\n{self.log(TAIL_LINES) or '(nothing)'}")

    def _end(self, *, kill: bool) -> None:
        """Of a broker in memory nobody expects more than that it goes."""
        if self._api is not None:
            self._api.close()
        popen = self._popen
        if popen is None:
            return
        try:
            if kill:
                popen.kill()
            else:
                assert popen.stdin is not None
                popen.stdin.close()
                if os.name != "nt":
                    popen.terminate()  # a fork may hold the other end of its stdin open
            try:
                popen.wait(STOP_SECONDS if self.keeps else MEMORY_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                popen.kill()
                popen.wait()
        except BaseException:
            popen.kill()
            raise

    def _reap(self) -> None:
        """Close what is left of a process that has ended."""
        if self._popen is not None:
            for pipe in (self._popen.stdin, self._popen.stdout):
                if pipe is not None:
                    pipe.close()
            self._popen.wait()
            self._popen = None

    def _forget(self) -> None:
        self._reap()
        if self._directory is not None:
            self._last_words = self.log(TAIL_LINES)
            directory, self._directory = self._directory, None
            shutil.rmtree(directory, ignore_errors=True)


def _how(status: int) -> str:
    return f"was ended by signal {-status}" if status < 0 else f"ended with exit status {status}"


if sys.platform == "win32":
    _GROUP: Final[dict[str, Any]] = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
else:
    _GROUP: Final[dict[str, Any]] = {"start_new_session": True}

_all: weakref.WeakSet[Process] = weakref.WeakSet()
_is_watching = False


def _watch_forks() -> None:
    global _is_watching
    if not _is_watching and hasattr(os, "register_at_fork"):
        _is_watching = True
        os.register_at_fork(after_in_child=_let_go)


def _let_go() -> None:
    for each in list(_all):
        each.let_go()

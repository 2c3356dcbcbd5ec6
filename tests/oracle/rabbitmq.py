"""A private RabbitMQ node: the oracle that conformance tests and benchmarks compare Leveret with.

It takes nothing from the machine's own RabbitMQ and leaves nothing behind: own node name, own directories, own cookie, own epmd,
free ports on loopback, own process group. `with RabbitMQ() as broker: broker.port`, or in the foreground:
`python -m tests.oracle.rabbitmq --port 5673`.
"""

import argparse
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

SERVER_SCRIPTS = (
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "/usr/local/lib/rabbitmq/sbin/rabbitmq-server",
    "/opt/rabbitmq/sbin/rabbitmq-server",
)
START_SECONDS = 90.0
STOP_SECONDS = 30.0
CTL_SECONDS = 60.0
PLUGINS = ("rabbitmq_consistent_hash_exchange", "rabbitmq_random_exchange", "rabbitmq_recent_history_exchange", "rabbitmq_sharding")
"""Exchange types that Leveret has built in. They don't slow the start."""
TICK_SECONDS = 0.05


class BrokerFailed(Exception):
    """The broker didn't start, or ended by itself; the text holds the end of its log."""


def server_script() -> str | None:
    """The script that starts a node as the current user (Debian's wrapper in sbin insists on another user)."""
    chosen = os.environ.get("LEVERET_RABBITMQ_SERVER")
    candidates = (chosen,) if chosen else SERVER_SCRIPTS
    return next((path for path in candidates if os.access(path, os.X_OK)), None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers_amqp(port: int, seconds: float = 2.0) -> bool:
    """True if connection.start comes back for the protocol header."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=seconds) as probe:
            probe.sendall(b"AMQP\x00\x00\x09\x01")
            return probe.recv(1) == b"\x01"
    except OSError:
        return False


class RabbitMQ:
    """One node for one `with` block.

    `classic_defaults` starts it as it comes, for benchmarks; otherwise the disk alarm is kept out of the way, and the plugins with
    exchange types are on. `settings` are further lines of rabbitmq.conf, `plugins` the names of further plugins.
    """

    name = "rabbitmq"
    restartable = False

    def __init__(
        self, port: int = 0, *, classic_defaults: bool = False, settings: tuple[str, ...] = (), plugins: tuple[str, ...] = ()
    ) -> None:
        self.port = port or free_port()
        self.host = "127.0.0.1"
        self.classic_defaults = classic_defaults
        self.settings = settings
        self.plugins = plugins
        self.node = f"leveret-oracle-{os.getpid()}-{secrets.token_hex(2)}@localhost"
        self._home: Path | None = None
        self._environment: dict[str, str] = {}
        self._server: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The Erlang VM's process id (the script ends in exec)."""
        assert self._server is not None
        return self._server.pid

    @property
    def log(self) -> str:
        """All that the node has logged."""
        if self._home is None:
            return ""
        files = [self._home / "console.log", *sorted((self._home / "log").glob("*.log"))]
        return "\n".join(path.read_text(errors="replace") for path in files if path.exists())

    def start(self) -> None:
        script = server_script()
        if script is None:
            raise BrokerFailed(
                "RabbitMQ is not installed (apt-get install rabbitmq-server), or LEVERET_RABBITMQ_SERVER doesn't name its start script"
            )
        self._home = Path(tempfile.mkdtemp(prefix="leveret-oracle-"))
        try:
            environment = self._environment = self._prepare(self._home)
            self._start_epmd(environment)
            with (self._home / "console.log").open("wb") as console:
                self._server = subprocess.Popen(
                    [script],
                    env=environment,
                    cwd=self._home,
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=console,
                    start_new_session=True,
                )
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the node gracefully if it listens to that, and remove everything it had."""
        if self._server is not None:
            self._signal(signal.SIGTERM)
            try:
                self._server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                pass
            self._signal(signal.SIGKILL)  # what the group has left: erl_child_setup and its helpers
            self._server.wait()
            self._server = None
        if self._epmd is not None:
            self._epmd.terminate()
            self._epmd.wait()
            self._epmd = None
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = None

    def wait(self) -> int:
        """Until the node ends."""
        assert self._server is not None
        return self._server.wait()

    def ctl(self, *arguments: str) -> str:
        """What `rabbitmqctl --quiet ARGUMENTS` prints about this node; it costs a second or two. Raises BrokerFailed with its complaint."""
        done = self.tool("rabbitmqctl", "--quiet", *arguments)
        if done.returncode:
            raise BrokerFailed(f"rabbitmqctl {arguments[0]} ended with status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def tool(self, name: str, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """One of RabbitMQ's command line tools, about this node, to its end."""
        script = server_script()
        assert script is not None and self._home is not None
        command = [str(Path(script).with_name(name)), "--node", self.node, *arguments]
        return subprocess.run(
            command, env=self._environment, cwd=self._home, input=stdin, capture_output=True, text=True, timeout=CTL_SECONDS, check=False
        )

    def _prepare(self, home: Path) -> dict[str, str]:
        """Directories, cookie and configuration; returns the environment that the node runs in."""
        (home / "log").mkdir()
        (home / "mnesia").mkdir()
        cookie = home / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(20))
        cookie.chmod(0o400)
        settings = [f"listeners.tcp.1 = 127.0.0.1:{self.port}", *self.settings]
        if not self.classic_defaults:
            settings.append("disk_free_limit.absolute = 50MB")
        (home / "rabbitmq.conf").write_text("\n".join(settings) + "\n")
        plugins = self.plugins if self.classic_defaults else PLUGINS + self.plugins
        (home / "enabled_plugins").write_text(f"[{','.join(plugins)}].\n")
        (home / "environment.conf").write_text("")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("RABBITMQ_", "ERL_"))}
        return inherited | {
            "HOME": str(home),
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CONF_ENV_FILE": str(home / "environment.conf"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_PID_FILE": str(home / "node.pid"),
        }

    def _start_epmd(self, environment: dict[str, str]) -> None:
        """Our own port mapper in the foreground: started by us, so that the node starts no daemon that would outlive it."""
        epmd = shutil.which("epmd")
        if epmd is None:
            raise BrokerFailed("epmd isn't on the path, though RabbitMQ is installed")
        address = ["-port", environment["ERL_EPMD_PORT"], "-address", "127.0.0.1"]
        self._epmd = subprocess.Popen([epmd, *address], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._until(self._epmd, lambda: _listens(int(environment["ERL_EPMD_PORT"])), "epmd doesn't answer")

    def _wait_until_ready(self) -> None:
        assert self._server is not None
        self._until(self._server, lambda: answers_amqp(self.port), "RabbitMQ doesn't answer")

    def _until(self, process: "subprocess.Popen[bytes]", ready: object, complaint: str) -> None:
        """Wait for a condition; the wait between two looks ends at once if the process does."""
        assert callable(ready)
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if time.monotonic() > deadline:
                raise BrokerFailed(f"{complaint} after {START_SECONDS:.0f} s\n{self.log[-4000:]}")
            try:
                status = process.wait(TICK_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            raise BrokerFailed(f"{complaint}: it ended with status {status}\n{self.log[-4000:]}")

    def _signal(self, number: signal.Signals) -> None:
        assert self._server is not None
        try:
            os.killpg(self._server.pid, number)
        except ProcessLookupError:
            pass


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.oracle.rabbitmq", description="Run a private RabbitMQ node in the foreground until Ctrl-C."
    )
    parser.add_argument("--port", type=int, default=0, help="AMQP port on 127.0.0.1; 0 picks a free one")
    parser.add_argument("--classic-defaults", action="store_true", help="nothing configured but the port: as a benchmark wants it")
    options = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts background jobs with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    try:
        with RabbitMQ(options.port, classic_defaults=options.classic_defaults) as broker:
            print(f"RabbitMQ listens on 127.0.0.1:{broker.port} (node {broker.node})", flush=True)
            return broker.wait()
    except KeyboardInterrupt:
        return 0
    except BrokerFailed as failure:
        print(failure, file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())

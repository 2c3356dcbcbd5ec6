"""A private Docker engine: Debian's docker.io with sockets, images and containers of its own, and without a network.

It takes nothing from the machine's own engine and leaves nothing behind. Containers have a loopback interface and nothing else; a test
connects from within their network (`Container.inside`). What Docker's registry has can't be had here: `stand_ins` makes the two images that
the Dockerfile begins with out of Debian's packages.
"""

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

from tests.wire import Wire

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0
BUILD_SECONDS = 600.0
COMMAND_SECONDS = 120.0
TICK_SECONDS = 0.05
CLONE_NEWNET = 0x40000000
ELSEWHERE = "192.0.2.7"
"""An address of documentation's (RFC 5737), which a container gets beside loopback: a client from there isn't on this machine."""
T = TypeVar("T")


class EngineFailed(Exception):
    """The engine didn't start, or a command of its failed; the text has the end of what was said."""


class Engine:
    """`with Engine() as engine: engine.docker("run", ...)`. Needs root, dockerd and debootstrap."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="leveret-docker-"))
        self._daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if os.geteuid() != 0 or shutil.which("dockerd") is None:
            raise EngineFailed("the tests of the Docker image need root and dockerd (apt-get install docker.io): see .ci/oracle")
        hard = _hard_limit()
        command = [
            "dockerd", f"--host=unix://{self._socket}", f"--data-root={self._home}/data", f"--exec-root={self._home}/run",
            f"--pidfile={self._home}/pid", "--iptables=false", "--ip6tables=false", "--bridge=none",
            f"--default-ulimit=nofile={hard}:{hard}",
        ]  # fmt: skip
        with (self._home / "log").open("wb") as log:
            self._daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            self._until(self._socket.exists, "dockerd didn't make its socket")
            self.docker("version")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        daemon = self._daemon
        if daemon is not None and daemon.poll() is None:
            for container in self.docker("ps", "--all", "--quiet").split():
                self.docker("rm", "--force", "--volumes", container)
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(daemon.pid, signal.SIGKILL)
                daemon.wait()
        for namespace in (self._home / "run" / "netns").glob("*"):  # dockerd leaves it mounted
            subprocess.run(["umount", str(namespace)], check=False)
        shutil.rmtree(self._home, ignore_errors=True)

    @property
    def _socket(self) -> Path:
        return self._home / "docker.sock"

    @property
    def command(self) -> str:
        """What a shell would say for `docker`."""
        return f"docker --host=unix://{self._socket}"

    def docker(self, *arguments: str, stdin: bytes | None = None, seconds: float = COMMAND_SECONDS) -> str:
        """What `docker ARGUMENTS` wrote to stdout. Raises EngineFailed."""
        done = self.run(*arguments, stdin=stdin, seconds=seconds)
        if done.returncode:
            raise EngineFailed(f"docker {' '.join(arguments)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
        return done.stdout

    def run(self, *arguments: str, stdin: bytes | None = None, seconds: float = COMMAND_SECONDS) -> "subprocess.CompletedProcess[str]":
        """The same, whatever the exit status is."""
        done = subprocess.run(
            ["docker", f"--host=unix://{self._socket}", *arguments],
            input=stdin, stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True, timeout=seconds, check=False,
        )  # fmt: skip
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )

    def compose(self, *arguments: str) -> str:
        """What `docker compose ARGUMENTS` wrote to stdout. Raises EngineFailed."""
        environment = os.environ | {"DOCKER_HOST": f"unix://{self._socket}"}
        done = subprocess.run(
            [str(self.compose_plugin), *arguments],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode:
            raise EngineFailed(f"docker compose {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    @property
    def compose_plugin(self) -> Path:
        """Where Compose lies: stand_ins puts it there."""
        return self._home / "docker-compose"

    def build(self, tag: str, context: Path, dockerfile: str = "Dockerfile") -> None:
        """Build an image. Its RUN steps have the machine's network, for the package registries."""
        arguments = ("build", "--network=host", "--force-rm", f"--tag={tag}", f"--file={context / dockerfile}", str(context))
        self.docker(*arguments, seconds=BUILD_SECONDS)

    def container(self, image: str, *command: str, options: tuple[str, ...] = ()) -> "Container":
        """Start a container in the background, without a network but loopback."""
        return Container(self, self.docker("run", "--detach", "--network=none", *options, image, *command).strip())

    def _until(self, ready: Callable[[], bool], complaint: str) -> None:
        assert self._daemon is not None
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if time.monotonic() > deadline or self._daemon.poll() is not None:
                raise EngineFailed(f"{complaint}:\n{(self._home / 'log').read_text(errors='replace')[-4000:]}")
            time.sleep(TICK_SECONDS)


class Container:
    """One that was started."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        self.name = name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.engine.docker("rm", "--force", "--volumes", self.name)

    @property
    def log(self) -> str:
        """What it wrote to stdout and stderr."""
        done = self.engine.run("logs", self.name)
        return done.stdout + done.stderr

    def wait_for_log(self, text: str, seconds: float = 20.0) -> str:
        """The log, once `text` is in it."""
        deadline = time.monotonic() + seconds
        while text not in (log := self.log):
            assert time.monotonic() < deadline and self.state["Running"], f"no {text!r} in:\n{log[-4000:]}"
            time.sleep(TICK_SECONDS)
        return log

    def ready(self) -> Self:
        """Once it serves."""
        self.wait_for_log("Server startup complete")
        return self

    @property
    def state(self) -> dict[str, Any]:
        """`docker inspect`'s State."""
        state: dict[str, Any] = json.loads(self.engine.docker("inspect", "--format={{json .State}}", self.name))
        return state

    def exec(self, *command: str, options: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
        """`docker exec`."""
        return self.engine.run("exec", *options, self.name, *command)

    def stop(self) -> int:
        """`docker stop`, and the exit status."""
        self.engine.docker("stop", "--time=30", self.name)
        status: int = self.state["ExitCode"]
        return status

    def start(self) -> None:
        """`docker start`, of one that was stopped."""
        self.engine.docker("start", self.name)

    def broker_user(self) -> int:
        """The id of the user that the broker runs as."""
        listed = self.engine.docker("top", self.name, "-eo", "pid,uid,args").splitlines()[1:]
        (user,) = {int(uid) for _, uid, command in (line.split(None, 2) for line in listed) if re.search(r"python.* serve\b", command)}
        return user

    # --- its network ------------------------------------------------------------------------------------------------

    def inside(self, call: Callable[[], T]) -> T:
        """What `call` returns in the container's network: sockets that it opens stay there."""
        libc = ctypes.CDLL(None, use_errno=True)
        answer: list[Any] = []

        def enter() -> None:
            with open(f"/proc/{self.state['Pid']}/ns/net") as namespace:
                if libc.setns(namespace.fileno(), CLONE_NEWNET):
                    answer.append(OSError(ctypes.get_errno(), "setns"))
                    return
            try:
                answer.append(call())
            except BaseException as error:  # noqa: BLE001 the caller's thread raises it
                answer.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if isinstance(answer[0], BaseException):
            raise answer[0]
        return answer[0]  # type: ignore[no-any-return]

    def connect(self, port: int = 5672, host: str = "127.0.0.1", **options: Any) -> Wire:
        """An AMQP connection from within."""
        return self.inside(lambda: Wire.connect(Endpoint(host, port), **options))

    def connect_from_elsewhere(self, port: int = 5672, **options: Any) -> Wire:
        """An AMQP connection from an address that isn't loopback, to one that isn't."""
        pid = str(self.state["Pid"])
        command = ["nsenter", "--target", pid, "--net", "ip", "address", "replace", f"{ELSEWHERE}/32", "dev", "lo"]
        subprocess.run(command, check=True, timeout=COMMAND_SECONDS)
        return self.connect(port, ELSEWHERE, **options)


class Endpoint:
    """Where a broker listens."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port


def _hard_limit() -> int:
    """Of open files: more than that nobody may give to a container."""
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]

"""The entrypoint by itself, in a mount namespace where the container's files lie over this machine's: what runs, as whom, with what.

The image as a whole is in test_image.py, which needs Docker.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docker.engine import ROOT

USER_ID = 999
ENTRYPOINT = ROOT / "docker" / "entrypoint.sh"
SHOW = """\
#!/bin/sh
echo "ran $0"
echo "arguments $*"
echo "user $(id -u):$(id -g)"
env | sort
"""
MOUNT = """\
set -eu
cd "$1"
host=$2
shift 2
mount --bind usr-local /usr/local
mount -t tmpfs none /var/lib
mount -t tmpfs none /var/log
mkdir /var/lib/rabbitmq /var/log/rabbitmq
mount --bind data /var/lib/rabbitmq
mount --bind log /var/log/rabbitmq
mount --bind passwd /etc/passwd
mount --bind group /etc/group
hostname "$host"
exec "$@"
"""
Run = Callable[..., "Ran"]


class Ran:
    """What the program that the entrypoint became has seen."""

    def __init__(self, output: str) -> None:
        lines = output.splitlines()
        self.output = output
        self.program, self.arguments, self.user = (lines[at].partition(" ")[2] for at in range(3))
        self.variables = dict(line.split("=", 1) for line in lines[3:] if "=" in line)


@pytest.fixture
def container(tmp_path: Path) -> Path:
    """The files that are mounted: /usr/local with programs that say what they see, the volume, the users."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root can mount")
    programs = tmp_path / "usr-local" / "bin"
    programs.mkdir(parents=True)
    shutil.copy(ENTRYPOINT, programs / "docker-entrypoint.sh")
    for name in ("rabbitmq-server", "rabbitmqctl", "leveret", "other"):
        (programs / name).write_text(SHOW)
        (programs / name).chmod(0o755)
    sbin = tmp_path / "usr-local" / "sbin"
    sbin.mkdir()
    (sbin / "rabbitmq-server").symlink_to("../bin/docker-entrypoint.sh")
    for name in ("data", "log"):
        (tmp_path / name).mkdir()
    (tmp_path / "passwd").write_text(f"root:x:0:0:root:/root:/bin/sh\nrabbitmq:x:{USER_ID}:{USER_ID}::/var/lib/rabbitmq:/bin/false\n")
    (tmp_path / "group").write_text(f"root:x:0:\nrabbitmq:x:{USER_ID}:\n")
    return tmp_path


@pytest.fixture
def run(container: Path) -> Run:
    """`run("rabbitmq-server", user=1234, RABBITMQ_NODENAME="a")`: what the container's first process becomes."""

    def run_one(*command: str, host: str = "orders", user: int = 0, begin: str = "docker-entrypoint.sh", **variables: str) -> Ran:
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        as_user = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups") if user else ()
        arguments = ["unshare", "--mount", "--uts", "sh", "-c", MOUNT, "sh", str(container), host, *as_user, begin, *command]
        done = subprocess.run(arguments, env={"PATH": path, **variables}, capture_output=True, text=True, timeout=20, check=True)
        return Ran(done.stdout)

    return run_one


def test_the_server_is_started_as_the_user_who_owns_the_volume(container: Path, run: Run) -> None:
    (container / "data" / "inner").mkdir()
    (container / "data" / "inner" / "file").touch()
    target = container / "elsewhere"
    target.touch()
    (container / "data" / "link").symlink_to(target)
    ran = run("rabbitmq-server", "-x")
    assert (ran.program, ran.arguments, ran.user) == ("/usr/local/bin/rabbitmq-server", "-x", f"{USER_ID}:{USER_ID}")
    owners = {each.lstat().st_uid for each in (container / "data", *(container / "data").rglob("*"), container / "log")}
    assert owners == {USER_ID}
    assert target.stat().st_uid == 0, "what a link points to isn't in the volume"


def test_without_a_command_it_is_the_server(run: Run) -> None:
    ran = run()
    assert (ran.program, ran.arguments, ran.user) == ("/usr/local/bin/rabbitmq-server", "", f"{USER_ID}:{USER_ID}")


def test_options_alone_are_those_of_leveret_serve(run: Run) -> None:
    ran = run("--memory", "--port", "1")
    assert (ran.program, ran.arguments, ran.user) == ("/usr/local/bin/leveret", "serve --memory --port 1", f"{USER_ID}:{USER_ID}")


def test_commands_give_up_their_rights_and_leave_the_volume_alone(container: Path, run: Run) -> None:
    (container / "data" / "file").touch()
    assert run("rabbitmqctl", "status").user == f"{USER_ID}:{USER_ID}"
    assert (container / "data" / "file").stat().st_uid == 0
    assert run("leveret", "serve").user == f"{USER_ID}:{USER_ID}"
    assert (container / "data" / "file").stat().st_uid == USER_ID


def test_anything_else_is_run_as_it_is(run: Run) -> None:
    """`bash -c "..."` and scripts of people's own may need their rights."""
    ran = run("other", "a b", "c")
    assert (ran.program, ran.arguments, ran.user) == ("/usr/local/bin/other", "a b c", "0:0")


def test_the_server_gives_up_its_rights_in_scripts_too(run: Run) -> None:
    ran = run("sh", "-c", "rabbitmq-server -detached --flag")
    assert (ran.program, ran.arguments, ran.user) == ("/usr/local/bin/rabbitmq-server", "-detached --flag", f"{USER_ID}:{USER_ID}")
    assert run("-x", begin="rabbitmq-server").arguments == "-x"


def test_any_other_user_is_left_as_it_is(container: Path, run: Run) -> None:
    (container / "data").chmod(0o1777)
    ran = run("rabbitmq-server", user=1234)
    assert ran.user == "1234:1234"
    assert ran.variables["RABBITMQ_PID_FILE"] == "/var/lib/rabbitmq/mnesia/rabbit@orders.pid"


def test_a_volume_that_cannot_be_written_is_no_reason_to_stop_here(container: Path, run: Run) -> None:
    """With --memory it isn't needed; without, the broker says what is wrong."""
    (container / "data").chmod(0o755)
    assert "RABBITMQ_PID_FILE" not in run("rabbitmq-server", user=1234).variables


@pytest.mark.parametrize(
    ("host", "variables", "file"),
    [
        ("orders", {}, "rabbit@orders.pid"),
        ("orders", {"RABBITMQ_NODENAME": "hare"}, "hare@orders.pid"),
        ("orders", {"RABBITMQ_NODENAME": "hare@field"}, "hare@field.pid"),
        ("orders.example.com", {}, "rabbit@orders.example.com.pid"),
        ("orders.example.com", {"RABBITMQ_USE_LONGNAME": "false"}, "rabbit@orders.pid"),
    ],
)
def test_the_pid_file_is_called_as_the_node(run: Run, host: str, variables: dict[str, str], file: str) -> None:
    ran = run("rabbitmq-server", host=host, **variables)
    assert ran.variables["RABBITMQ_PID_FILE"] == f"/var/lib/rabbitmq/mnesia/{file}"
    assert ran.variables.get("RABBITMQ_USE_LONGNAME") == variables.get("RABBITMQ_USE_LONGNAME", "true" if "." in host else None)


def test_a_pid_file_of_ones_own(run: Run) -> None:
    assert run("rabbitmq-server", RABBITMQ_PID_FILE="/tmp/x.pid").variables["RABBITMQ_PID_FILE"] == "/tmp/x.pid"

"""conf/leveret.service under a real systemd, which runs in a container of Debian's stable release; installed as docs/docker.md says."""

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.docker.engine import ROOT, Container, Engine
from tests.docker.stand_ins import BOOTSTRAP_SECONDS, CERTIFICATES, MIRROR
from tests.runtime.process import soon

pytestmark = pytest.mark.soak

PACKAGES = "ca-certificates,procps,python3,python3-venv,systemd,systemd-sysv"
DOCKERFILE = """\
FROM systemd:base
COPY . /src
RUN python3 -m venv /opt/leveret \\
    && PIP_CERT=/etc/ssl/certs/ca-certificates.crt /opt/leveret/bin/pip install --quiet /src \\
    && cp /src/conf/leveret.service /etc/systemd/system/ \\
    && mkdir -p /etc/systemd/system/leveret.service.d /etc/leveret \\
    && printf '[Service]\\nWatchdogSec=2\\n' >/etc/systemd/system/leveret.service.d/test.conf \\
    && printf 'heartbeat = 17\\n' >/etc/leveret/leveret.conf \\
    && systemctl enable leveret
CMD ["/sbin/init"]
"""
RIGHTS = (
    "--cap-add=SYS_ADMIN", "--cap-add=NET_ADMIN", "--cap-add=SYS_PTRACE", "--cap-add=DAC_READ_SEARCH", "--security-opt=seccomp=unconfined",
    "--tmpfs=/run", "--tmpfs=/tmp", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw", "--cgroupns=host",
)  # fmt: skip
"""What systemd needs as the first process of a container."""


@pytest.fixture(scope="module")
def machine(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    directory = tmp_path_factory.mktemp("systemd")
    tree, context = directory / "tree", directory / "context"
    bootstrap = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(tree), MIRROR]
    subprocess.run(bootstrap, check=True, timeout=BOOTSTRAP_SECONDS, stdout=subprocess.DEVNULL)
    shutil.copy(CERTIFICATES, tree / "etc/ssl/certs/ca-certificates.crt")
    archive = subprocess.run(["tar", "--create", f"--directory={tree}", "."], capture_output=True, check=True).stdout
    engine.docker("import", "-", "systemd:base", stdin=archive)
    for name in ("leveret", "protocol", "storage", "broker", "conf"):
        shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, context)
    (context / "Dockerfile").write_text(DOCKERFILE)
    engine.build("systemd:leveret", context)
    with engine.container("systemd:leveret", options=RIGHTS) as container:
        soon(lambda: shown(container, "ActiveState") in ("active", "failed"))
        yield container


def shown(machine: Container, name: str) -> str:
    return machine.exec("systemctl", "show", "leveret", f"--property={name}", "--value").stdout.strip()


def journal(machine: Container) -> str:
    return machine.exec("journalctl", "--unit=leveret", "--no-pager", "--output=cat").stdout


def test_it_is_active_once_it_serves(machine: Container) -> None:
    assert shown(machine, "ActiveState") == "active", journal(machine)
    assert "Server startup complete" in journal(machine)
    assert "configuration read from /etc/leveret/leveret.conf" in journal(machine)
    assert "[warning]" not in journal(machine)
    assert machine.exec("ls", "/var/lib/leveret/log", "/run/leveret").returncode == 0
    assert int(shown(machine, "UID")) > 0
    with machine.connect() as wire:
        wire.close()


def test_reload_and_state(machine: Container) -> None:
    assert machine.exec("systemctl", "reload", "leveret").returncode == 0
    assert "SIGHUP: files are read and opened again" in journal(machine)
    assert machine.exec("systemctl", "kill", "--signal=USR1", "leveret").returncode == 0
    soon(lambda: "the state of the broker is in /var/lib/leveret/state-" in journal(machine))
    assert shown(machine, "ActiveState") == "active"


def test_a_broker_that_hangs_is_started_again(machine: Container) -> None:
    pid = shown(machine, "MainPID")
    machine.exec("kill", "-STOP", pid)
    soon(lambda: shown(machine, "NRestarts") == "1" and shown(machine, "ActiveState") == "active", 30)
    assert shown(machine, "MainPID") != pid
    assert "watchdog" in machine.exec("journalctl", "--no-pager").stdout.lower()


def test_a_stop_is_clean(machine: Container) -> None:
    assert machine.exec("systemctl", "stop", "leveret").returncode == 0
    assert (shown(machine, "ActiveState"), shown(machine, "Result"), shown(machine, "ExecMainStatus")) == ("inactive", "success", "0")
    assert "SIGTERM received - shutting down" in journal(machine)

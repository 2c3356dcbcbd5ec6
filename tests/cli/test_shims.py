"""`leveret shims`: executables by RabbitMQ's names that run this very Leveret, wherever they are called from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from broker.cli.shims import COMMANDS, SERVER
from tests.cli.conftest import Served
from tests.house.conftest import Run, clean_environment
from tests.oracle.rabbitmq import free_port
from tests.wire import eventually


@pytest.fixture(scope="module")
def shims(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("shims") / "a directory"
    done = subprocess.run(
        [sys.executable, "-m", "leveret", "shims", str(directory)], env=clean_environment(), capture_output=True, text=True, check=True
    )
    assert "8 executables" in done.stdout and f'export PATH="{directory}:$PATH"' in done.stdout
    return directory


def run(shim: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = clean_environment(**variables)
    return subprocess.run([shim, *words], env=environment, capture_output=True, text=True, timeout=30, check=False, cwd=shim.parent)


def test_all_are_there(shims: Path) -> None:
    assert sorted(os.listdir(shims)) == sorted((*COMMANDS, SERVER))
    assert all(os.access(shims / name, os.X_OK) for name in os.listdir(shims))


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("rabbitmqadmin", "rabbitmq-streams", "rabbitmq-queues")])
def test_each_knows_its_commands(shims: Path, name: str) -> None:
    done = run(shims / name, "help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"\nUsage\n\n{name} [--node <node>]")
    assert run(shims / name, "nosuchcommandatall").returncode == 64


def test_versions(shims: Path) -> None:
    assert run(shims / "rabbitmqctl", "--version").stdout == "3.13.7\n"
    assert run(shims / "rabbitmqadmin", "--version").stdout == "rabbitmqadmin 3.13.7\n"


def test_they_find_the_broker_from_anywhere(shims: Path, served: Served, tmp_path: Path) -> None:
    """Even from a directory whose files have the names of the server's packages, and with such a directory on PYTHONPATH."""
    for name in ("broker", "leveret", "json", "argparse"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(99)\n")
    done = subprocess.run(
        [shims / "rabbitmq-diagnostics", "-q", "ping"],
        env=clean_environment(**served.variables, PYTHONPATH=str(tmp_path)),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "Ping succeeded\n", "")


def test_words_arrive_as_they_are(shims: Path, served: Served) -> None:
    name = 'it\'s "a" user $HOME \\ * é'
    assert run(shims / "rabbitmqctl", "add_user", name, "p", **served.variables).returncode == 0
    assert f"{name}\t[]" in run(shims / "rabbitmqctl", "list_users", **served.variables).stdout
    assert run(shims / "rabbitmqctl", "delete_user", name, **served.variables).returncode == 0


def test_the_server(shims: Path, tmp_path: Path) -> None:
    variables = {
        "LEVERET_RUNTIME_DIR": str(tmp_path / "run"), "RABBITMQ_NODE_PORT": str(free_port()), "LEVERET_DATA_DIR": str(tmp_path / "data"),
        "LEVERET_MANAGEMENT_TCP_PORT": "0", "LEVERET_PROMETHEUS_TCP_PORT": "0",
    }  # fmt: skip
    assert run(shims / SERVER, "-detached", **variables).returncode == 0
    assert run(shims / "rabbitmqctl", "await_startup", "--timeout", "20", **variables).returncode == 0
    assert run(shims / "rabbitmqctl", "shutdown", **variables).returncode == 0
    eventually(lambda: run(shims / "rabbitmq-diagnostics", "-q", "ping", **variables).returncode == 69)


def test_what_is_somebody_elses_stays(leveret: Run, tmp_path: Path) -> None:
    (tmp_path / "rabbitmqctl").write_text("#!/bin/sh\necho theirs\n")
    done = leveret("shims", str(tmp_path))
    assert done.returncode == 69 and "has rabbitmqctl of somebody else: --force replaces them" in done.stderr
    assert os.listdir(tmp_path) == ["rabbitmqctl"]
    assert leveret("shims", "--force", str(tmp_path)).returncode == 0
    assert leveret("shims", str(tmp_path)).returncode == 0
    assert "somebody else" not in (tmp_path / "rabbitmqctl").read_text()


def test_a_directory_that_cannot_be_made(leveret: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = leveret("shims", str(tmp_path / "file" / "bin"))
    assert done.returncode == 69 and done.stderr.startswith("leveret: no shims: ")

"""The command line as a process, with nothing of the tester's own configuration in its environment."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.settings import files

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


def clean_environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEVERET_", "RABBITMQ_", "PYTHON"))}
    return kept | variables


@pytest.fixture(autouse=True)
def no_system_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tester's /etc/rabbitmq is no part of a test in this process."""
    monkeypatch.setattr(files, "SYSTEM_FILES", ())


@pytest.fixture
def leveret() -> Run:
    """`leveret("serve", "--port", "x", cwd=..., NAME="value")`: runs it in the tree to its end and returns what it wrote."""

    def run(*arguments: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "leveret", *arguments]
        environment = clean_environment(**variables) | {"COLUMNS": "200"}
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=30, check=False)

    return run

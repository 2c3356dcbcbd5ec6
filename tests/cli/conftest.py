"""One Leveret for the module, and its commands as processes of their own."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from broker.cli import tools
from tests.house.conftest import ROOT, clean_environment
from tests.house.conftest import leveret as leveret
from tests.oracle.leveret import Leveret

Tool = Callable[..., subprocess.CompletedProcess[str]]
LAUNCHER = ROOT / "leveret" / "__main__.py"


class Served(Leveret):
    """A broker that announces itself where no other is, and the tools that find it there."""

    def __init__(self, home: Path, arguments: tuple[str, ...] = ()) -> None:
        super().__init__(home / f"data-{id(self)}", arguments=arguments)
        self.runtime = home / "run"
        self.plugins_file = home / "enabled_plugins"
        self.variables = {"LEVERET_RUNTIME_DIR": str(self.runtime), "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.plugins_file)}

    @property
    def node(self) -> str:
        return self.tool("rabbitmqctl", "eval", "node().").stdout.strip().strip("'")

    def start(self) -> None:
        with variables(self.variables):
            super().start()

    def tool(self, name: str, *words: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """One of the tools, to its end."""
        return tool(name, *words, stdin=stdin, **self.variables, **variables)

    def call(self, name: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """The same in this process, which is quicker."""
        out, err = io.StringIO(), io.StringIO()
        before, sys.stdin = sys.stdin, io.StringIO(stdin)
        try:
            with variables(self.variables), redirect_stdout(out), redirect_stderr(err):
                status = tools.main(name, words)
        finally:
            sys.stdin = before
        return subprocess.CompletedProcess([name, *words], status, out.getvalue(), err.getvalue())


@contextmanager
def variables(given: dict[str, str]) -> Iterator[None]:
    """In this process's environment, for a while, and none of the tester's own."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(clean_environment(**given))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def tool(name: str, *words: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """As a shim runs it."""
    command = [sys.executable, "-I", "-S", str(LAUNCHER), name, *words]
    environment = clean_environment(**variables)
    return subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served")) as broker:
        yield broker

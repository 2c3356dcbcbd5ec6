"""The command line: what it prints, what it refuses and with which exit status (issue 2, item 2)."""

import re
import subprocess
import sys

import pytest

import leveret as package
from tests.house.conftest import ROOT, Run, clean_environment


def test_version_names_the_rabbitmq_it_behaves_like(leveret: Run) -> None:
    done = leveret("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"leveret {package.__version__} (RabbitMQ 3.13.7 compatible)\n", "")


def test_leveret_alone_prints_help(leveret: Run) -> None:
    done = leveret()
    assert done.returncode == 64
    assert re.search("serve +run the broker in the foreground", done.stdout)


def test_help_tells_the_defaults(leveret: Run) -> None:
    done = leveret("serve", "--help")
    assert done.returncode == 0
    for text in (
        "127.0.0.1 and ::1",
        "default: 5672",
        "the platform's user data directory",
        "default: info",
        "default: off",
        "default: the system's file",
    ):
        assert text in done.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["serf"], "leveret: there is no command 'serf'; did you mean 'serve'?"),
        (["log", "polish", "DIR"], "leveret log: argument COMMAND: invalid choice: 'polish'"),
        (["log", "verify"], "leveret log verify: the following arguments are required: DIR"),
        (["log", "dump", "DIR", "--json", "--records"], "argument --records: not allowed with argument --json"),
        (["backup"], "leveret backup: the following arguments are required: DEST"),
        (["polish"], "leveret: there is no command 'polish'\n"),
        (["--verbose"], "leveret: unrecognized arguments: --verbose"),
        (["serve", "--prot", "5672"], "unrecognized arguments: --prot 5672"),
        (["serve", "--port"], "argument --port: expected one argument"),
        (["serve", "--port", "amqp"], "argument --port: 'amqp' is no port: expected 0 to 65535"),
        (["serve", "--http-port", "some"], "argument --http-port: 'some' is no port: expected 0 to 65535, or none"),
        (["serve", "--port", "-1"], "argument --port: '-1' is no port: expected 0 to 65535"),
        (["serve", "--port", "65536"], "argument --port: '65536' is no port: expected 0 to 65535"),
        (["serve", "--port", "²"], "argument --port: '²' is no port: expected 0 to 65535"),
        (["serve", "--host", ""], "argument --host: '' is no address"),
        (["serve", "--log-level", "loud"], "argument --log-level: invalid choice: 'loud'"),
        (["serve", "--memory", "--data-dir", "x"], "argument --data-dir: not allowed with argument --memory"),
    ],
)
def test_usage_errors_exit_with_64(leveret: Run, arguments: list[str], text: str) -> None:
    done = leveret(*arguments)
    assert done.returncode == 64
    assert text in done.stderr
    assert done.stderr.startswith("usage: leveret")
    assert done.stdout == ""


def test_configuration_errors_exit_with_78(leveret: Run) -> None:
    done = leveret("serve", "--memory", "--port", "0", RABBITMQ_NODE_PORT="http")
    assert done.returncode == 78
    assert done.stderr == (
        "leveret: the configuration is wrong:\nenvironment: RABBITMQ_NODE_PORT = http: expected a port from 0 to 65535\n"
    )
    assert done.stdout == ""


def imported_by(code: str) -> set[str]:
    """The packages that the code brings in, beyond what a start of the interpreter (with an editable install's hook) has."""
    script = f"import sys; before = set(sys.modules); {code}; sys.stdout.write(' '.join(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=True, timeout=30
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_a_command_imports_only_what_it_needs() -> None:
    """`leveret --version` has 60 ms, most of which the interpreter takes."""
    loaded = imported_by("import broker.cli.main as m; m.build_parser(None)")
    assert not loaded & {"asyncio", "dataclasses", "logging", "pathlib", "pydantic", "platformdirs", "uvloop", "pamqp", "storage"}


def test_a_start_without_configuration_imports_no_pydantic() -> None:
    """And no platformdirs where the directory is given: the whole start-up has 0.3 s."""
    loaded = imported_by("import pathlib, broker.config as c; c.load(environ={}, data_dir=pathlib.Path('x'))")
    assert not loaded & {"pydantic", "platformdirs"}

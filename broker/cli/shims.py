"""`leveret shims DIR`: executables by the names of RabbitMQ's, each a few lines of shell that run this very Leveret.

They name the interpreter and the files by their full paths, so that it makes no difference which Python is first on the path, which
directory is the current one, and what PYTHONPATH says. Commands run without site-packages (-S): they need none, and start sooner.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Final

from broker.cli.main import EXIT_UNAVAILABLE

COMMANDS: Final = (
    "rabbitmqctl", "rabbitmq-diagnostics", "rabbitmq-plugins", "rabbitmq-queues", "rabbitmq-streams", "rabbitmq-upgrade", "rabbitmqadmin",
)  # fmt: skip
SERVER: Final = "rabbitmq-server"
MARK: Final = "Written by `leveret shims`"
_COMMAND: Final = """\
#!/bin/sh
# {mark}: {name}, as Leveret does it.
exec {python} -I -S {launcher} {name} "$@"
"""
_SERVER: Final = """\
#!/bin/sh
# {mark}: rabbitmq-server, as Leveret does it. -detached leaves the broker in the background; what else RabbitMQ's script
# takes (and gives to Erlang) has no meaning here.
case " $* " in
    *" -detached "*) nohup {python} -P -m leveret serve </dev/null >/dev/null 2>&1 & exit 0 ;;
esac
exec {python} -P -m leveret serve
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `leveret shims` takes."""
    parser.epilog = f"Writes {', '.join((*COMMANDS, SERVER))}. What isn't a shim already is left alone, unless --force is given."
    parser.add_argument("directory", metavar="DIR", type=Path, help="where to write them; it is made if it isn't there")
    parser.add_argument("--force", action="store_true", help="replace files that aren't shims, too (default: off)")


def run(arguments: argparse.Namespace) -> int:
    """Write them; returns the exit status, 69 if one can't be written."""
    directory: Path = arguments.directory
    try:
        directory.mkdir(parents=True, exist_ok=True)
        foreign = [name for name in (*COMMANDS, SERVER) if not arguments.force and not _is_ours(directory / name)]
        if foreign:
            sys.stderr.write(f"leveret: {directory} has {', '.join(foreign)} of somebody else: --force replaces them\n")
            return EXIT_UNAVAILABLE
        for name in COMMANDS:
            _write(directory / name, _COMMAND)
        _write(directory / SERVER, _SERVER)
    except OSError as error:
        sys.stderr.write(f"leveret: no shims: {error.filename}: {error.strerror}\n")
        return EXIT_UNAVAILABLE
    sys.stdout.write(f"{len(COMMANDS) + 1} executables in {directory}\n")
    if str(directory.resolve()) not in os.environ.get("PATH", "").split(os.pathsep):
        sys.stdout.write(f'Put them first on the path: export PATH="{directory.resolve()}:$PATH"\n')
    return 0


def _is_ours(path: Path) -> bool:
    """True if it isn't there, or is a shim."""
    try:
        return MARK.encode() in path.read_bytes()[:200]
    except FileNotFoundError:
        return True


def _write(path: Path, template: str) -> None:
    import leveret.__main__ as launcher

    text = template.format(
        mark=MARK, name=path.name, python=shlex.quote(sys.executable), launcher=shlex.quote(os.path.abspath(launcher.__file__))
    )
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.chmod(0o755)
    unfinished.replace(path)

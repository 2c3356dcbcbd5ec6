"""`leveret definitions`: what is declared in the data directory of a stopped broker, as RabbitMQ's definitions.json, out and in."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from broker.cli.main import EXIT_CONFIG, EXIT_UNAVAILABLE, EXIT_USAGE

EXIT_DATA = 65
"""sysexits.h: EX_DATAERR. The definitions can't be imported."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `leveret definitions` takes."""
    parser.epilog = (
        "Exit status: 0 done, 64 the command line, 65 the definitions can't be imported, 69 a broker has the directory or it can't be "
        "read, 78 the configuration is wrong. A running broker imports what `load_definitions` names when it starts."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for name, text in (("export", "write definitions to a file or to stdout"), ("import", "add definitions from a file to what is there")):
        subparser = commands.add_parser(name, help=text, description=text)
        subparser.add_argument("--data-dir", metavar="DIR", type=Path, help="the data directory (default: as for serve)")
        subparser.add_argument("--config", metavar="FILE", type=Path, help="settings in rabbitmq.conf's format (default: as for serve)")
        subparser.add_argument("--vhost", metavar="V", help="the definitions of this vhost alone (default: everything)")
        subparser.add_argument(
            "file", metavar="FILE", nargs="?" if name == "export" else None, help="a JSON document" + (", - for stdin" * (name == "import"))
        )
    parser.set_defaults(usage=parser.format_help)


def run(arguments: argparse.Namespace) -> int:
    """Export or import; returns the exit status."""
    if arguments.command is None:
        sys.stdout.write(arguments.usage())
        return EXIT_USAGE
    from broker import app
    from broker import config as configuration
    from broker.definitions import InvalidDefinitions, parse
    from broker.operations import NotFound
    from storage.api import Fenced, StorageError

    try:
        config = configuration.load(environ=os.environ, config_file=arguments.config, data_dir=arguments.data_dir)
    except configuration.ConfigError as error:
        sys.stderr.write(f"leveret: the configuration is wrong:\n{error}\n")
        return EXIT_CONFIG
    try:
        if arguments.command == "export":
            _write(arguments.file, json.dumps(app.export_definitions(config, arguments.vhost), indent=2) + "\n")
        else:
            app.import_definitions(config, parse(_read(arguments.file), arguments.file), arguments.vhost)
    except (InvalidDefinitions, NotFound) as error:
        sys.stderr.write(f"leveret: {error}\n")
        return EXIT_DATA
    except Fenced as error:
        sys.stderr.write(f"leveret: {error}; stop it first\n")
        return EXIT_UNAVAILABLE
    except (StorageError, OSError) as error:
        text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else error
        sys.stderr.write(f"leveret: {text}\n")
        return EXIT_UNAVAILABLE
    return 0


def _read(file: str) -> bytes:
    return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()


def _write(file: str | None, text: str) -> None:
    if file is None:
        sys.stdout.write(text)
        return
    # It holds password hashes: for its owner alone.
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as output:
        output.write(text)

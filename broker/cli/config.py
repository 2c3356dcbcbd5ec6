"""`leveret config`: what the configuration is, and whether files can be used."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from broker.cli.main import EXIT_CONFIG, EXIT_USAGE

EXIT_OK = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `leveret config` takes."""
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION")
    show = actions.add_parser("show", help="print the configuration in effect, as a configuration file, and where each setting comes from")
    file = show.add_mutually_exclusive_group()
    file.add_argument(
        "--config", metavar="FILE", type=Path, help="as with `leveret serve` (default: the environment's or the system's file)"
    )
    file.add_argument("file", metavar="FILE", type=Path, nargs="?", help="the same")
    check = actions.add_parser("check", help="look for mistakes in configuration files, each by itself")
    check.add_argument(
        "files", metavar="FILE", type=Path, nargs="+", help="in rabbitmq.conf's format, or Erlang terms, as in advanced.config"
    )
    parser.set_defaults(usage=parser.format_help)


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit status, 78 if the configuration is wrong."""
    if arguments.action is None:
        sys.stdout.write(arguments.usage())
        return EXIT_USAGE
    return _show(arguments.config or arguments.file) if arguments.action == "show" else _check(arguments.files)


def _show(path: Path | None) -> int:
    from broker import config
    from broker.settings import effective, loading

    try:
        loaded = loading.load(os.environ, path, loading.command_line(None, None, None, None, memory=False))
    except config.ConfigError as error:
        sys.stderr.write(f"leveret: the configuration is wrong:\n{error}\n")
        return EXIT_CONFIG
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    warnings = (f"# warning: {warning}" for warning in loaded.config.warnings)
    sys.stdout.write("".join(f"{line}\n" for line in (*warnings, *effective.lines(loaded))))
    return EXIT_OK


def _check(paths: list[Path]) -> int:
    from broker import app, config
    from broker.settings import loading

    status = EXIT_OK
    for path in paths:
        try:
            loaded = loading.load_alone(path, os.environ)
        except config.ConfigError as error:
            sys.stdout.write(f"{error}\n")
            status = EXIT_CONFIG
            continue
        for warning in loaded.config.warnings:
            sys.stdout.write(f"{path}: warning: {warning}\n")
        try:
            app.check(loaded.config)
        except config.ConfigError as error:
            sys.stdout.write("".join(f"{path}: {problem}\n" for problem in error.problems))
            status = EXIT_CONFIG
            continue
        sys.stdout.write(f"{path}: ok\n")
    return status

"""`leveret backup`: a copy of a data directory, of a running broker's too, from which `leveret serve` can start."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from broker.cli.main import EXIT_CONFIG, EXIT_UNAVAILABLE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `leveret backup` takes."""
    parser.epilog = "Start from it with `leveret serve --data-dir DEST`; `leveret log verify DEST` checks it."
    parser.add_argument("destination", metavar="DEST", type=Path, help="the directory to make; it must not exist")
    parser.add_argument("--data-dir", metavar="DIR", type=Path, help="the data directory to copy (default: as for serve)")


def run(arguments: argparse.Namespace) -> int:
    """Make the copy; returns the exit status, 69 if it can't be made."""
    from broker import config as configuration
    from storage.api import StorageError
    from storage.backup import backup

    try:
        directory = configuration.load(environ=os.environ, data_dir=arguments.data_dir).data_dir
    except configuration.ConfigError as error:
        sys.stderr.write(f"leveret: the configuration is wrong:\n{error}\n")
        return EXIT_CONFIG
    if directory is None:
        sys.stderr.write("leveret: no backup: data_dir = none, so there is no data directory\n")
        return EXIT_UNAVAILABLE
    try:
        done = backup(directory, arguments.destination)
    except (StorageError, OSError) as error:
        sys.stderr.write(f"leveret: no backup: {error}\n")
        return EXIT_UNAVAILABLE
    sys.stdout.write(
        f"{done.segments} segments, {done.size:,} bytes of log; the catalog was locked for {done.locked_seconds * 1000:.1f} ms\n"
    )
    return 0

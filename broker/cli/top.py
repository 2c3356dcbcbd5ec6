"""`leveret top`."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Later."""


def run(arguments: argparse.Namespace) -> int:
    """Later."""
    return 0

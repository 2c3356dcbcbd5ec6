"""RabbitMQ's own command lines, by the name of the tool: `leveret rabbitmqctl status`, `leveret ctl status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

ADMIN = "rabbitmqadmin"


def main(tool: str, words: Sequence[str]) -> int:
    """Run the tool; returns the exit status."""
    if tool == ADMIN:
        from broker.cli.ctl import admin

        return admin.main(words)
    from broker.cli.ctl import main as ctl

    return ctl.main(tool, words)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """For `leveret --help ctl`; what follows `ctl` is parsed by `main`."""
    parser.epilog = "`leveret ctl help` lists the commands, `leveret ctl help COMMAND` describes one."


def run(arguments: argparse.Namespace) -> int:
    """Only reached by options in front of `ctl`, which there are none of."""
    return main("ctl", [])

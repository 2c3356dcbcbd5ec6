"""`leveret`: finds the command in a table, imports its module, parses and runs it.

A command module has `add_arguments(parser)` and `run(arguments) -> int`, the exit status. Exit statuses are rabbitmqctl's:
0 done, 64 the command line is wrong, 69 unavailable, 78 the configuration is wrong.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, NoReturn

EXIT_USAGE: Final = 64
EXIT_UNAVAILABLE: Final = 69
EXIT_CONFIG: Final = 78


class Command(NamedTuple):
    """A row of the table: what is typed, the module that does it, and its line in `leveret --help`."""

    name: str
    module: str
    help: str


COMMANDS: Final = (
    Command("serve", "broker.cli.serve", "run the broker in the foreground"),
    Command("config", "broker.cli.config", "show the configuration in effect, or check configuration files"),
    Command("backup", "broker.cli.backup", "copy a data directory whose broker may be running"),
    Command("definitions", "broker.cli.definitions", "export or import what is declared in the data directory of a stopped broker"),
    Command("log", "broker.cli.log", "check, print or mend the data directory of a stopped broker"),
    Command("ctl", "broker.cli.tools", "rabbitmqctl, rabbitmq-diagnostics, -plugins and -queues in one: ask and change a running broker"),
    Command("shims", "broker.cli.shims", "write executables named rabbitmqctl, rabbitmqadmin and so on, that run this Leveret"),
    Command(
        "lint", "broker.cli.lint", "what would break on RabbitMQ 4, or loses messages: in a broker for tests, or a file of definitions"
    ),
    Command("top", "broker.cli.top", "what goes on in a running broker, live"),
)
TOOLS: Final = (
    "ctl", "rabbitmqctl", "rabbitmq-diagnostics", "rabbitmq-plugins", "rabbitmq-queues", "rabbitmq-streams", "rabbitmq-upgrade",
    "rabbitmqadmin",
)  # fmt: skip
"""Words that stand first, and after which the command line is RabbitMQ's: what the executables run that `leveret shims` writes."""


class Parser(argparse.ArgumentParser):
    """argparse's parser with rabbitmqctl's exit status for a wrong command line."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(allow_abbrev=False, **keywords)

    def error(self, message: str) -> NoReturn:
        """Write the usage and what was wrong with it to stderr, and exit with 64."""
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def main(argv: Sequence[str]) -> int:
    """Run the command line `argv` (without the program's name) and return the exit status."""
    if argv and argv[0] in TOOLS:
        from broker.cli import tools

        return tools.main(argv[0], argv[1:])
    typed = next((word for word in argv if not word.startswith("-")), None)
    parser = build_parser(typed)
    if typed is not None and typed not in {command.name for command in COMMANDS}:
        parser.error(f"there is no command '{typed}'{_suggestion(typed)}")
    arguments = parser.parse_args(argv)
    if typed is None:
        parser.print_help()
        return EXIT_USAGE
    run = importlib.import_module(_module_of(typed)).run
    status: int = run(arguments)
    return status


def build_parser(typed: str | None) -> Parser:
    """Build the parser, with the arguments of the command `typed` alone: the others' modules aren't even imported."""
    parser = Parser(prog="leveret", description="Leveret, a message broker that speaks AMQP 0-9-1 as RabbitMQ does.")
    from broker.identity import LEVERET_VERSION, RABBITMQ_VERSION

    parser.add_argument("--version", action="version", version=f"leveret {LEVERET_VERSION} (RabbitMQ {RABBITMQ_VERSION} compatible)")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS:
        subparser = subparsers.add_parser(command.name, help=command.help, description=command.help)
        if command.name == typed:
            importlib.import_module(command.module).add_arguments(subparser)
    return parser


def _module_of(name: str) -> str:
    return next(command.module for command in COMMANDS if command.name == name)


def _suggestion(typed: str) -> str:
    import difflib

    near = difflib.get_close_matches(typed, [command.name for command in COMMANDS], n=1)
    return f"; did you mean '{near[0]}'?" if near else ""

"""Usage and help, of the tools and of their commands."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Final

from broker.cli.ctl import table
from broker.cli.ctl.command import colours
from broker.cli.ctl.formats import Style

if TYPE_CHECKING:
    from broker.cli.ctl.command import Command
    from broker.cli.ctl.table import Row

OPTIONS: Final = """\
short            | long                 | description
-----------------|----------------------|------------------------------------------
-?               | --help               | this help
-n <node>        | --node <node>        | the broker of that node name, where there are several
-p <vhost>       | --vhost <vhost>      | the virtual host, for commands that are about one
-t <seconds>     | --timeout <seconds>  | how long to wait for the broker's answers
-q               | --quiet              | results without a banner
-s               | --silent             | results without a banner and without a header
                 | --no-table-headers   | lists without a header
                 | --formatter <format> | json, csv, erlang, pretty_table or table
                 | --url <url>          | an HTTP API to ask, instead of the control socket of a broker on this
                                          machine: http://user:password@host:15672"""


def usage(tool: str, command: Command, style: Style) -> str:
    """What follows an error."""
    timeout = " [--timeout <timeout>]" if "timeout" in command.options else ""
    return f"\n{style.bold('Usage')}\n\n{table.title(tool)} [--node <node>] [--longnames] [--quiet] {command.usage}{timeout}"


def of_command(tool: str, row: Row, command: Command, style: Style) -> str:
    """All about one command."""
    sentence = row.help[:1].upper() + row.help[1:]
    parts = [usage(tool, command, style), f"{sentence}.\n"]
    if command.details:
        details = "\n".join(f"{name}\n\t{text}\n" for name, text in command.details)
        parts.append(f"{style.bold('Arguments and Options')}\n\n{details}")
    parts.append(f"{style.bold('General Options')}\n\n{OPTIONS}")
    return "\n\n".join(parts) + "\n"


def of_tool(tool: str) -> str:
    """All commands, by what they are about."""
    bold = _style().bold
    title = table.title(tool)
    head = f"\n{bold('Usage')}\n\n{title} [--node <node>] [--timeout <timeout>] [--longnames] [--quiet] <command> [<command options>]"
    lines = [head, "\nAvailable commands:", *commands_of(tool)]
    return "\n".join([*lines, "", f"Use '{title} help <command>' to learn more about a specific command"])


def commands_of(tool: str) -> list[str]:
    """The list of commands."""
    bold, rows = _style().bold, table.rows(tool)
    width = max(len(row.name) for row in rows)
    lines = []
    for section in dict.fromkeys(table.SECTIONS):
        inside = sorted(row for row in rows if row.section == section)
        if inside:
            lines += ["", f"{bold(section)}:", "", *(f"   {row.name.ljust(width)}  {row.help}" for row in inside)]
    return lines


def command_of(row: Row) -> Command:
    """The command of a row of the table."""
    command: Command = importlib.import_module(row.module).COMMANDS[row.name]
    return command


def _style() -> Style:
    return Style("string", colours=colours(sys.stdout.isatty()))

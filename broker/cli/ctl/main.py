"""One call of rabbitmqctl, rabbitmq-diagnostics, rabbitmq-plugins, rabbitmq-queues, rabbitmq-streams or rabbitmq-upgrade."""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import TYPE_CHECKING

from broker.cli.ctl import options, table
from broker.cli.ctl.command import Call, Command, node_down, write_line
from broker.cli.ctl.errors import EXIT_OK, EXIT_USAGE, Failed, Invalid, Refused
from broker.cli.ctl.formats import KNOWN, Output, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

TOO_FEW = "not enough arguments."
TOO_MANY = "too many arguments."


def main(tool: str, words: Sequence[str]) -> int:
    """Do what `words` say, as the tool of that name (a key of `table.SCOPES`) does; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that isn't text here must not cost the line
    try:
        return _main(tool, words)
    except BrokenPipeError:
        # Whoever read us has seen enough; what is left in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except KeyboardInterrupt:
        return 130


def _main(tool: str, words: Sequence[str]) -> int:
    if list(words) == ["--version"]:
        words = ["version"]
    typed = options.parse(words, options.GLOBAL, options.SHORT)
    if not typed.arguments:
        return _help(tool, EXIT_OK if "help" in typed.options else EXIT_USAGE)
    name = typed.arguments[0]
    row = table.find(tool, name)
    if row is None:
        return _unknown(tool, name)
    command: Command = importlib.import_module(row.module).COMMANDS[row.name]
    parsed = options.parse(words, {**options.GLOBAL, **command.options}, {**options.SHORT, **command.short})
    call = Call(tool, name, command, words, parsed.arguments[1:], parsed.options)
    if "help" in parsed.options and not parsed.invalid:
        from broker.cli.ctl import help as helping

        write_line(helping.of_command(tool, row, command, call.style()))
        return EXIT_OK
    try:
        _check(call, parsed.invalid)
        return _run(call)
    except Invalid as invalid:
        return _wrong(call, invalid)
    except Failed as failed:
        return _failed(call, failed)


def _check(call: Call, invalid: list[tuple[str, str]]) -> None:
    """Raises Invalid."""
    if invalid:
        raise Invalid("\n".join(["Invalid options for this command:", *(f"{name} : {value}" for name, value in invalid)]))
    least, most = call.command.takes
    if len(call.arguments) < least:
        raise Invalid(TOO_FEW)
    if len(call.arguments) > most:
        raise Invalid(TOO_MANY)
    if call.formatter is not None and call.formatter not in KNOWN:
        del call.options["formatter"]  # as RabbitMQ: the command's own
    if call.command.check is not None:
        call.command.check(call)


def _run(call: Call) -> int:
    """Raises Failed and Invalid."""
    from broker.cli.ctl.api import TimedOut, Unreachable

    try:
        if call.timeout_seconds is not None and call.timeout_seconds <= 0:
            raise call.timed_out()
        if call.command.needs_broker:
            _ = call.node
        banner = call.banner()
        if banner is not None:
            write_line(banner)
        if call.options.get("dry_run"):
            return EXIT_OK
        output = call.command.run(call)
    except TimedOut:
        raise call.timed_out() from None
    except Unreachable as error:
        raise node_down(call.shown_node, f"{call.api.place} doesn't answer: {error}") from error
    except Refused as refused:
        raise Failed(f"Error:\n{refused.reason}") from refused
    text = output.render(call.style()) if output is not None else None
    if text is not None:
        write_line(text)
    return EXIT_OK


def _failed(call: Call, failed: Failed) -> int:
    sys.stdout.flush()
    if call.formatter == "json" and failed.facts is not None:
        sys.stderr.write(encode(dict(sorted(failed.facts.items()))) + "\n")
    elif failed.text is not None:
        sys.stderr.write(f"{failed.text}\n")
    return failed.status


def _wrong(call: Call, invalid: Invalid) -> int:
    from broker.cli.ctl import help as helping

    sys.stdout.flush()
    typed = f"Arguments given:\n\t{' '.join(call.words)}"
    sys.stderr.write(f"{invalid.prefix}: {invalid.text}\n{typed}\n{helping.usage(call.tool, call.command, call.style())}\n")
    return invalid.status


def _help(tool: str, status: int) -> int:
    from broker.cli.ctl import help as helping

    (sys.stdout if status == EXIT_OK else sys.stderr).write(helping.of_tool(tool) + "\n")
    return status


def _unknown(tool: str, name: str) -> int:
    from broker.cli.ctl import likeness

    near = max(table.names(tool), key=lambda known: likeness.jaro(known, name))
    if likeness.jaro(near, name) >= likeness.ALIKE:
        sys.stderr.write(f"\nCommand '{name}' not found. \nDid you mean '{near}'? \n\n")
        return EXIT_USAGE
    sys.stderr.write(f"\nCommand '{name}' not found. \n")
    return _help(tool, EXIT_USAGE)


__all__ = ["Output", "main"]

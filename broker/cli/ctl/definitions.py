"""export_definitions, import_definitions: definitions.json from and to the running broker."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Final

from broker.cli.ctl.command import Call, Command
from broker.cli.ctl.errors import EXIT_DATA, bad_argument, error
from broker.cli.ctl.formats import Output, encode

IMPORTED: Final = (
    "Successfully started definition import. This process is asynchronous and can take some time. Watch target node logs for completion.\n"
)
NO_ERLANG: Final = "Leveret has no use for Erlang's term format: use --format json"


def export_definitions(call: Call) -> Output | None:
    """To a file, or with - to stdout."""
    text = encode(_sorted(call.api.get("definitions")))
    path = call.arguments[0]
    if path == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return None
    try:
        # It holds password hashes: for its owner alone.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as problem:
        raise error(f"Could not write to file {path}: {problem.strerror}", EXIT_DATA) from problem
    return None


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(each) for name, each in sorted(value.items())}
    return [_sorted(each) for each in value] if isinstance(value, list) else value


def import_definitions(call: Call) -> Output | None:
    """From a file, or without one from stdin."""
    from_stdin = not call.arguments or call.arguments[0] == "-"
    try:
        text = sys.stdin.read() if from_stdin else _read(call.arguments[0])
        document = json.loads(text)
    except OSError as problem:
        raise error(f"Could not read from file {call.arguments[0]}: {problem.strerror}", EXIT_DATA) from problem
    except ValueError as problem:
        if not from_stdin and not text:
            raise error(f"File {call.arguments[0]} is zero-sized", EXIT_DATA) from problem
        raise error(f"Failed to deserialise input (format: JSON) (error: {problem})", EXIT_DATA) from problem
    call.api.post("definitions", body=document)
    if call.formatter == "json":
        return call.done()
    return None if call.quiet else Output(IMPORTED.removesuffix("\n"))


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _check_format(call: Call) -> None:
    format_name = call.options["format"].lower()
    if format_name not in ("json", "erlang"):
        raise bad_argument("Format should be either json or erlang")
    if format_name == "erlang":
        raise bad_argument(NO_ERLANG)


def _check_export(call: Call) -> None:
    _check_format(call)
    path = call.arguments[0]
    directory = os.path.dirname(path) or "."
    if path != "-" and not os.path.exists(directory):
        raise bad_argument(f"Directory {directory} does not exist")


def _check_import(call: Call) -> None:
    _check_format(call)
    if call.arguments and call.arguments[0] != "-" and not os.path.exists(call.arguments[0]):
        raise bad_argument(f"File {call.arguments[0]} does not exist")


_FORMAT: Final = ("--format", "json, the default, is the only one")
COMMANDS: Final = {
    "export_definitions": Command(
        export_definitions,
        'export_definitions <file_path | "-"> [--format <json | erlang>]',
        (1, 1),
        lambda call: None if call.arguments[0] == "-" else f'Exporting definitions in JSON to a file at "{call.arguments[0]}" ...',
        options={"timeout": int, "format": str},
        defaults={"format": "json"},
        check=_check_export,
        details=(("<file>", "where to; - is stdout"), _FORMAT),
    ),
    "import_definitions": Command(
        import_definitions,
        'import_definitions <file_path | "-"> [--format <json | erlang>] [--skip-if-unchanged]',
        (0, 1),
        lambda call: (
            f'Importing definitions in JSON from a file at "{call.arguments[0]}" ...'
            if call.arguments
            else "Importing definitions in JSON from standard input ..."
        ),
        options={"timeout": int, "format": str, "skip_if_unchanged": bool},
        defaults={"format": "json", "skip_if_unchanged": False},
        check=_check_import,
        details=(("[file]", "where from; stdin if it isn't given"), _FORMAT, ("--skip-if-unchanged", "is taken and changes nothing")),
    ),
}

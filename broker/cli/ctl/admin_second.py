"""rabbitmqadmin v2: `rabbitmqadmin [options] GROUP COMMAND --name value`.

Its tables have lines around the cells; with --non-interactive they are columns without a header, for scripts. Exit statuses are its own: 0,
2 for a command line that can't be parsed, 64 for values that make no sense, 65 for requests that failed, 69 for a failed health check.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from broker.cli.ctl import admin_actions, options
from broker.cli.ctl.admin_actions import Asked, NotFound, Told
from broker.cli.ctl.admin_commands import COMMANDS, Action
from broker.cli.ctl.api import Api, TcpTransport, TimedOut, Unreachable
from broker.cli.ctl.errors import EXIT_DATA, EXIT_OK, EXIT_USAGE, Invalid, Refused
from broker.cli.ctl.formats import Style, boxes

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_PARSER: Final = 2
GLOBAL: Final[options.Kinds] = {
    "version": bool, "help": bool, "config": str, "node": str, "host": str, "hostname": str, "port": int, "base_uri": str,
    "path_prefix": str, "vhost": str, "username": str, "password": str, "insecure": bool, "use_tls": bool, "tls_ca_cert_file": str,
    "tls_cert_file": str, "tls_key_file": str, "timeout": int, "quiet": bool, "verbose": bool, "non_interactive": bool,
    "table_style": str, "idempotently": bool, "columns": str, "page": int, "page_size": int,
}  # fmt: skip
SHORT: Final = {
    "c": "config", "N": "node", "H": "host", "P": "port", "U": "base_uri", "V": "vhost", "u": "username", "p": "password",
    "k": "insecure", "q": "quiet", "v": "verbose", "h": "help",
}  # fmt: skip
VARIABLES: Final = {
    "host": "TARGET_HOST", "port": "TARGET_PORT", "base_uri": "BASE_URI", "path_prefix": "API_PATH_PREFIX", "vhost": "TARGET_VHOST",
    "username": "USERNAME", "password": "PASSWORD", "use_tls": "USE_TLS", "timeout": "TIMEOUT", "quiet": "QUIET_MODE",
    "non_interactive": "NON_INTERACTIVE_MODE", "config": "CONFIG_FILE_PATH", "node": "NODE_ALIAS",
}  # fmt: skip
"""Of the environment, with RABBITMQADMIN_ in front."""
ALIASES: Final = {"applies_to": "apply_to", "user": "username"}
CONFIG_FILE: Final = "~/.rabbitmqadmin.conf"


def main(words: Sequence[str]) -> int:
    """Run the command line; returns the exit status."""
    group, name, rest = _split(words)
    if name == "help" or (group and not name):
        return _help(group)
    action = COMMANDS.get(group, {}).get(name)
    if action is None:
        if group == "help" or not group:
            return _help("")
        sys.stderr.write(f"error: unrecognized subcommand '{name if group in COMMANDS else group}'\n\n{_usage('')}\n")
        return EXIT_PARSER
    # Options in front of the group are about the connection; behind it, a name (-p, --node, --username) may be the command's own.
    before = options.parse(rest[0], GLOBAL, SHORT)
    after = options.parse(rest[1], {**GLOBAL, **action.options}, {**SHORT, **action.short})
    for alias, meant in ALIASES.items():
        if alias in after.options:
            after.options[meant] = after.options.pop(alias)
    if "help" in after.options or "help" in before.options:
        return _say(_of_action(group, name, action))
    problem = _problem(action, before, after)
    if problem is not None:
        sys.stderr.write(f"error: {problem}\n\n{_of_action(group, name, action)}\n")
        return EXIT_PARSER
    mine = {key: value for key, value in after.options.items() if key in action.options}
    common = before.options | {key: value for key, value in after.options.items() if key not in action.options}
    return _run(action, common, {**action.defaults, **mine}, after.arguments)


def _split(words: Sequence[str]) -> tuple[str, str, tuple[list[str], list[str]]]:
    """The group, the command in it, the options in front of the group and the words behind the command."""
    front: list[str] = []
    rest = list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        front.append(word)
        name = word[2:].replace("-", "_") if word.startswith("--") else SHORT.get(word[1:], "")
        if GLOBAL.get(name, bool) is not bool and rest:
            front.append(rest.pop(0))
    group = rest.pop(0) if rest else ""
    middle: list[str] = []
    while rest and rest[0].startswith("-"):
        middle.append(rest.pop(0))
    name = rest.pop(0) if rest else ""
    return group, name, (front, middle + rest)


def _problem(action: Action, before: options.Parsed, after: options.Parsed) -> str | None:
    for name, _ in (*before.invalid, *after.invalid):
        return f"unexpected argument '{name}' found, or a value that it doesn't take"
    missing = [name for name in action.needed if name not in after.options]
    if missing:
        return "the following required arguments were not provided:\n" + "\n".join(f"  --{name.replace('_', '-')}" for name in missing)
    return f"unexpected argument '{after.arguments[0]}' found" if len(after.arguments) > action.positional else None


def _run(action: Action, common: dict[str, Any], given: dict[str, Any], arguments: list[str]) -> int:
    try:
        settings = _settings(common)
        asked = Asked(_api(settings), given, settings, arguments)
        told = action.run(asked)
    except Invalid as invalid:
        sys.stderr.write(f"{invalid.text}\n")
        return EXIT_USAGE
    except NotFound as missing:
        if common.get("idempotently") or given.get("idempotently"):
            return EXIT_OK
        sys.stderr.write(f"{missing}\n")
        return EXIT_DATA
    except Refused as refused:
        return _refused(refused, common, given)
    except TimedOut:
        sys.stderr.write("Encountered an error when performing an HTTP request: operation timed out\n")
        return EXIT_DATA
    except (Unreachable, OSError, ValueError) as problem:
        sys.stderr.write(f"Encountered an error when performing an HTTP request: {problem}\n")
        return EXIT_DATA
    return _show(told, settings)


def _refused(refused: Refused, common: dict[str, Any], given: dict[str, Any]) -> int:
    if refused.status == 404:
        if common.get("idempotently") or given.get("idempotently"):
            return EXIT_OK
        sys.stderr.write("API responded with a 404 Not Found\n")
        return EXIT_DATA
    kind = "client" if refused.status < 500 else "server"
    sys.stderr.write(f"API responded with a {kind} error: status code of {refused.status}\n{refused.reason}\n")
    return EXIT_DATA


def _show(told: Told | None, settings: dict[str, Any]) -> int:
    if told is None:
        return EXIT_OK
    if told.text is not None and not (settings.get("quiet") and told.is_chatter):
        _say(told.text)
    if told.rows is not None:
        rows = told.rows
        names = list(rows[0]) if rows else list(told.columns)
        wanted = [name.strip() for name in (settings.get("columns") or "").split(",") if name.strip()]
        names = [name for name in wanted if name in names] or names
        table = [[admin_actions.shown(row.get(name)) for name in names] for row in rows]
        _say(_columns(table) if settings.get("non_interactive") else boxes(names, table, Style("pretty_table")))
    return told.status


def _columns(table: list[list[str]]) -> str:
    table = [[text.strip("\n").replace("\n", ",") for text in row] for row in table]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(" ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in table)


# --- settings -----------------------------------------------------------------------------------------------------------


def _settings(typed: dict[str, Any]) -> dict[str, Any]:
    """The configuration file, the environment over it, what was typed over that. Raises Invalid."""
    variables: dict[str, Any] = {}
    for name, suffix in VARIABLES.items():
        value = os.environ.get(f"RABBITMQADMIN_{suffix}")
        if value:
            variables[name] = value.lower() in ("1", "true", "yes") if GLOBAL[name] is bool else value
    given = {**variables, **typed}
    if "host" in given:
        given["hostname"] = given.pop("host")
    path = os.path.expanduser(given.get("config", CONFIG_FILE))
    settings = {**_of_file(path, given.get("node", "default")), **given}
    if "base_uri" in settings:
        transport = TcpTransport.of_url(settings["base_uri"])
        settings |= {"hostname": transport.host, "port": transport.port, "use_tls": transport.tls is not None or settings.get("use_tls")}
    return settings


def _of_file(path: str, node: str) -> dict[str, Any]:
    """TOML, or the classic one's ini file. Raises Invalid."""
    if not os.path.isfile(path):
        return {}
    import tomllib

    try:
        with open(path, "rb") as file:
            found = tomllib.load(file).get(node, {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return {}
    except OSError as problem:
        raise Invalid(f"the configuration file {path} can't be read: {problem.strerror}") from problem
    if not isinstance(found, dict):
        return {}
    names = {"tls": "use_tls", "host": "hostname"}
    return {names.get(str(name), str(name)): value for name, value in found.items()}


def _api(settings: dict[str, Any]) -> Api:
    tls = None
    if settings.get("use_tls"):
        import ssl

        tls = ssl.create_default_context(cafile=settings.get("tls_ca_cert_file"))
        if settings.get("insecure"):
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        if settings.get("tls_cert_file"):
            tls.load_cert_chain(settings["tls_cert_file"], settings.get("tls_key_file"))
    port = int(settings.get("port") or (15671 if tls else 15672))
    prefix = str(settings.get("path_prefix", "")).rstrip("/").removesuffix("/api")
    transport = TcpTransport(
        settings.get("hostname", "localhost"), port, settings.get("username", "guest"), settings.get("password", "guest"),
        tls=tls, prefix=prefix,
    )  # fmt: skip
    return Api(transport, float(settings.get("timeout", 60)))


# --- help ---------------------------------------------------------------------------------------------------------------


def _say(text: str) -> int:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    return EXIT_OK


def _help(group: str) -> int:
    if group and group != "help" and group not in COMMANDS:
        sys.stderr.write(f"error: unrecognized subcommand '{group}'\n\n{_usage('')}\n")
        return EXIT_PARSER
    status = EXIT_OK if group == "help" else EXIT_PARSER
    (sys.stdout if status == EXIT_OK else sys.stderr).write(_usage("" if group == "help" else group) + "\n")
    return status


def _usage(group: str) -> str:
    if not group:
        groups = "\n".join(f"  {name}" for name in sorted(COMMANDS))
        flags = " ".join(f"[--{name.replace('_', '-')}]" for name in GLOBAL)
        return f"Usage: rabbitmqadmin [OPTIONS] <COMMAND>\n\nCommands:\n{groups}\n\nOptions: {flags}"
    return f"Usage: rabbitmqadmin {group} <COMMAND>\n\nCommands:\n" + "\n".join(f"  {name}" for name in COMMANDS[group])


def _of_action(group: str, name: str, action: Action) -> str:
    flags = [
        f"--{key.replace('_', '-')}{'' if kind is bool else ' <' + key + '>'}" if key in action.needed
        else f"[--{key.replace('_', '-')}{'' if kind is bool else ' <' + key + '>'}]"
        for key, kind in action.options.items()
    ]  # fmt: skip
    return " ".join([f"Usage: rabbitmqadmin {group} {name}", *flags])

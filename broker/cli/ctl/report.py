"""report: everything that support would ask for. Also autocomplete and help, which are about the commands themselves."""

from __future__ import annotations

from typing import Any, Final

from broker.cli.ctl import connections, exchanges, help, permissions, policies, queues, status, table
from broker.cli.ctl.command import ANY, Call, Command, write_line
from broker.cli.ctl.errors import EXIT_USAGE, Failed, Invalid
from broker.cli.ctl.formats import Output


def report(call: Call) -> Output | None:
    """One command after the other; those about vhosts for each of them."""
    whole: list[tuple[Command, str, list[str]]] = [
        (status.COMMANDS["status"], "status", []),
        (status.COMMANDS["cluster_status"], "cluster_status", []),
        (status.COMMANDS["environment"], "environment", []),
        (connections.COMMANDS["list_connections"], "list_connections", list(connections.COLUMNS)),
        (connections.COMMANDS["list_channels"], "list_channels", list(connections.CHANNEL_COLUMNS)),
        (status.COMMANDS["command_line_arguments"], "command_line_arguments", []),
        (status.COMMANDS["os_env"], "os_env", []),
    ]
    each: list[tuple[Command, str, list[str]]] = [
        (queues.COMMANDS["list_queues"], "list_queues", list(queues.COLUMNS)),
        (exchanges.COMMANDS["list_exchanges"], "list_exchanges", list(exchanges.COLUMNS)),
        (exchanges.COMMANDS["list_bindings"], "list_bindings", list(exchanges.BINDING_COLUMNS)),
        (permissions.COMMANDS["list_permissions"], "list_permissions", []),
        (policies.COMMANDS["list_policies"], "list_policies", []),
        (policies.COMMANDS["list_global_parameters"], "list_global_parameters", []),
        (policies.COMMANDS["list_parameters"], "list_parameters", []),
    ]
    for command, name, columns in whole:
        _section(call, command, name, columns, {})
    for vhost in call.api.get("vhosts", columns="name"):
        for command, name, columns in each:
            _section(call, command, name, columns, {"vhost": vhost["name"]})
    return None


def _section(call: Call, command: Command, name: str, columns: list[str], options: dict[str, Any]) -> None:
    quiet = {key: call.options[key] for key in ("quiet", "silent", "node", "url") if key in call.options}
    part = Call(call.tool, name, command, call.words, columns, quiet | options)
    write_line("")
    banner = part.banner()
    if banner is not None:
        write_line(banner)
    output = command.run(part)
    text = output.render(part.style()) if output is not None else None
    if text is not None:
        write_line(text)


def _check_report(call: Call) -> None:
    if call.formatter not in (None, "report"):
        raise Invalid('"Only report formatter is supported"')


def autocomplete(call: Call) -> Output:
    """Commands that begin like that."""
    prefix = call.arguments[-1] if call.arguments else ""
    return Output("\n".join(name for name in table.names(call.tool) if name.startswith(prefix)) or None)


def help_command(call: Call) -> Output:
    """About the tool, or one of its commands."""
    if call.options.get("list_commands"):
        return Output("\n".join(help.commands_of(call.tool)))
    if not call.arguments:
        return Output(help.of_tool(call.tool))
    row = table.find(call.tool, call.arguments[0])
    if row is None:
        raise Failed(f"Error:\n\nCommand '{call.arguments[0]}' not found.", EXIT_USAGE)
    return Output(help.of_command(call.tool, row, help.command_of(row), call.style()))


COMMANDS: Final = {
    "report": Command(report, "report", banner="Reporting server status of node {node} ...", check=_check_report),
    "autocomplete": Command(autocomplete, "autocomplete [prefix]", (0, ANY), needs_broker=False),
    "help": Command(
        help_command,
        "help (<command> | [--list-commands])",
        (0, 1),
        options={"list_commands": bool},
        needs_broker=False,
        details=(("--list-commands", "names and what they do alone"),),
    ),
}

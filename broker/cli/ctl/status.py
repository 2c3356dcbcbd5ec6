"""Commands that tell about the node as a whole: status, cluster_status, memory_breakdown, environment, versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.cli.ctl import units
from broker.cli.ctl.command import Call, Command
from broker.cli.ctl.errors import Invalid, error
from broker.cli.ctl.formats import Output, Row
from broker.cli.ctl.health import alarm_lines, alarms_of
from broker.cli.ctl.listeners import line, listener_row
from broker.cli.ctl.terms import Atom, Characters, pretty

if TYPE_CHECKING:
    from collections.abc import Iterable

NONE: Final = "(none)"
SECONDS: Final = 60


def status(call: Call) -> Output:
    """All of it: for people as sections, with --formatter json as an object."""
    facts = _facts(call)
    return Output(_status_text(call, facts), json=facts, erlang=_proplist(facts))


def _facts(call: Call) -> dict[str, Any]:
    """What RabbitMQ's status has, by its names, sorted."""
    overview = call.api.get("overview")
    node = call.api.get("nodes", call.node)
    memory = call.api.get("nodes", call.node, "memory")["memory"]
    own = call.api.get("leveret", "ctl", "facts")
    facts = {
        "active_plugins": node.get("enabled_plugins", []),
        "alarms": alarms_of(node),
        "config_files": node.get("config_files", []),
        "crypto_lib_version": own["crypto_lib_version"],
        "data_directory": node.get("db_dir"),
        "disk_free": node["disk_free"],
        "disk_free_limit": node["disk_free_limit"],
        "enabled_plugin_file": own["enabled_plugins_file"],
        "erlang_version": overview["erlang_full_version"],
        "file_descriptors": {
            "sockets_limit": node["sockets_total"],
            "sockets_used": node["sockets_used"],
            "total_limit": node["fd_total"],
            "total_used": node["fd_used"],
        },
        "is_under_maintenance": node.get("being_drained", False),
        "listeners": [listener_row(each, call.node) for each in overview["listeners"]],
        "log_files": node.get("log_files", []),
        "memory": memory,
        "net_ticktime": node.get("net_ticktime", 60),
        "os": own["os"],
        "pid": int(node["os_pid"]),
        "processes": {"limit": node["proc_total"], "used": node["proc_used"]},
        "product_name": overview.get("product_name", ""),
        "product_version": overview.get("product_version", ""),
        "rabbitmq_version": overview["rabbitmq_version"],
        "raft_data_directory": node.get("db_dir"),
        "release_series_support_status": True,
        "run_queue": node.get("run_queue", 0),
        "totals": {
            "connection_count": overview["object_totals"]["connections"],
            "queue_count": overview["object_totals"]["queues"],
            "virtual_host_count": len(call.api.get("vhosts", columns="name")),
        },
        "uptime": node["uptime"] // 1000,
        "vm_memory_calculation_strategy": node.get("mem_calculation_strategy", "rss"),
        "vm_memory_high_watermark_limit": node["mem_limit"],
        "vm_memory_high_watermark_setting": own["memory_high_watermark"],
    }
    return dict(sorted(facts.items()))


def _status_text(call: Call, facts: dict[str, Any]) -> str:
    unit, bold = call.options["unit"], call.style().bold
    names = [f"{title} name: {facts['product_name']}" for title in ("Product",) if facts["product_name"]]
    names += [f"{title} version: {facts['product_version']}" for title in ("Product",) if facts["product_version"]]
    files, totals = facts["file_descriptors"], facts["totals"]
    sections = {
        "Runtime": [
            f"OS PID: {facts['pid']}",
            f"OS: {facts['os']}",
            f"Uptime (seconds): {facts['uptime']}",
            f"Is under maintenance?: {str(facts['is_under_maintenance']).lower()}",
            *names,
            f"RabbitMQ version: {facts['rabbitmq_version']}",
            "RabbitMQ release series support status: see https://www.rabbitmq.com/release-information",
            f"Node name: {call.node}",
            f"Erlang configuration: {facts['erlang_version']}",
            f"Crypto library: {facts['crypto_lib_version']}",
            f"Erlang processes: {facts['processes']['used']} used, {facts['processes']['limit']} limit",
            f"Scheduler run queue: {facts['run_queue']}",
            f"Cluster heartbeat timeout (net_ticktime): {facts['net_ticktime']}",
        ],
        "Plugins": [
            f"Enabled plugin file: {facts['enabled_plugin_file'] or ''}",
            "Enabled plugins:\n",
            *_bullets(facts["active_plugins"]),
        ],
        "Data directory": [
            f"Node data directory: {facts['data_directory']}",
            f"Raft data directory: {facts['raft_data_directory']}",
        ],
        "Config files": _bullets(facts["config_files"]),
        "Log file(s)": _bullets(facts["log_files"]),
        "Alarms": alarm_lines(facts["alarms"]) or [NONE],
        "Memory": _memory_lines(facts, unit),
        "File Descriptors": [
            f"Total: {files['total_used']}, limit: {files['total_limit']}",
            f"Sockets: {files['sockets_used']}, limit: {files['sockets_limit']}",
        ],
        "Free Disk Space": [
            f"Low free disk space watermark: {units.shown(facts['disk_free_limit'], unit)} {unit}",
            f"Free disk space: {units.shown(facts['disk_free'], unit)} {unit}",
        ],
        "Totals": [
            f"Connection count: {totals['connection_count']}",
            f"Queue count: {totals['queue_count']}",
            f"Virtual host count: {totals['virtual_host_count']}",
        ],
        "Listeners": [line(row) for row in facts["listeners"]] or [NONE],
    }
    return "\n\n".join("\n".join([f"{bold(title)}\n", *lines]) for title, lines in sections.items())


def _memory_lines(facts: dict[str, Any], unit: str) -> list[str]:
    strategy, setting = facts["vm_memory_calculation_strategy"], facts["vm_memory_high_watermark_setting"]
    total = _total(facts["memory"], strategy)
    watermark = (
        f"{setting['relative']} of available memory" if "relative" in setting else f"{units.shown(setting['absolute'], unit)} {unit}"
    )
    return [
        f"Total memory used: {units.shown(total, unit)} {unit}",
        f"Calculation strategy: {strategy}",
        f"Memory high watermark setting: {watermark}, computed to: {units.shown(facts['vm_memory_high_watermark_limit'], unit)} {unit}\n",
        *(f"{name}: {units.shown(part['bytes'], unit)} {unit} ({part['percentage']} %)" for name, part in _shares(facts["memory"]).items()),
    ]


def _total(memory: dict[str, Any], strategy: str) -> int:
    total = memory["total"]
    return int(total if isinstance(total, int) else total.get(strategy, max(total.values())))


def _shares(memory: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each part's bytes and percentage, the biggest first."""
    total = memory["total"]
    whole = max(total.values()) if isinstance(total, dict) else total
    parts = {name: value for name, value in memory.items() if name not in ("strategy", "total")}
    return {
        name: {"bytes": value, "percentage": round(value / (whole or 1) * 100, 2)}
        for name, value in sorted(parts.items(), key=lambda part: -part[1])
    }


def memory_breakdown(call: Call) -> Output:
    """What the memory is used for."""
    parts, unit = _shares(call.api.get("nodes", call.node, "memory")["memory"]), call.options["unit"]
    lines = [f"{name}: {units.shown(part['bytes'], unit)} {unit.lower()} ({part['percentage']}%)\n" for name, part in parts.items()]
    if call.formatter == "csv":
        flat = {f"{name}.{key}": value for name, part in sorted(parts.items()) for key, value in part.items()}
        return Output(rows=[flat])
    return Output("".join(lines), json=parts, erlang=_proplist(parts))


def _check_unit(call: Call) -> None:
    unit = call.options["unit"]
    if unit.lower() not in units.UNITS:
        raise Invalid(f"\"unit '{unit}' is not supported. Please use one of: bytes, mb, mib, gb, gib, tb, tib\"")


# --- the cluster of one -------------------------------------------------------------------------------------------------


def cluster_status(call: Call) -> Output:
    """One node, which is always there."""
    overview = call.api.get("overview")
    node = call.api.get("nodes", call.node)
    flags = call.api.get("feature-flags")
    listeners = [listener_row(each, call.node) for each in overview["listeners"]]
    versions = {
        "erlang_version": overview["erlang_version"],
        "rabbitmq_name": overview.get("product_name") or "RabbitMQ",
        "rabbitmq_version": overview["rabbitmq_version"],
    }
    facts = {
        "alarms": alarms_of(node),
        "cluster_name": overview["cluster_name"],
        "cpu_cores": {call.node: node["processors"]},
        "disk_nodes": [call.node],
        "feature_flags": [dict(sorted(flag.items())) for flag in flags],
        "listeners": {call.node: listeners},
        "maintenance_status": {call.node: "not under maintenance"},
        "partitions": {},
        "ram_nodes": [],
        "running_nodes": [call.node],
        "versions": {call.node: versions},
    }
    return Output(_cluster_text(call, facts), json=facts, erlang=_proplist(facts))


def _cluster_text(call: Call, facts: dict[str, Any]) -> str:
    bold, node = call.style().bold, call.node
    versions = facts["versions"][node]
    sections = {
        "Basics": [
            f"Cluster name: {facts['cluster_name']}",
            f"Total CPU cores available cluster-wide: {sum(facts['cpu_cores'].values())}",
        ],
        "Disk Nodes": facts["disk_nodes"],
        "Running Nodes": facts["running_nodes"],
        "Versions": [f"{node}: {versions['rabbitmq_name']} {versions['rabbitmq_version']} on Erlang {versions['erlang_version']}"],
        "CPU Cores": [f"Node: {node}, available CPU cores: {facts['cpu_cores'][node]}"],
        "Maintenance status": [f"Node: {node}, status: {facts['maintenance_status'][node]}"],
        "Alarms": alarm_lines(facts["alarms"]) or [NONE],
        "Network Partitions": [NONE],
        "Listeners": [f"Node: {node}, {_lowered(line(row))}" for row in facts["listeners"][node]] or [NONE],
        "Feature flags": [f"Flag: {flag['name']}, state: {flag['state']}" for flag in facts["feature_flags"]] or [NONE],
    }
    return "\n\n".join("\n".join([f"{bold(title)}\n", *lines]) for title, lines in sections.items())


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def set_cluster_name(call: Call) -> Output:
    """What clients are told."""
    call.api.put("cluster-name", body={"name": call.arguments[0]})
    return call.done()


def refuse_cluster(call: Call) -> Output:
    """There are none."""
    raise error("Leveret has no clusters: this broker is its only node")


# --- configuration and environment --------------------------------------------------------------------------------------


def environment(call: Call) -> Output:
    """The configuration in effect, by RabbitMQ's applications."""
    applications = call.api.get("leveret", "ctl", "environment")
    term = [(Atom(name), _proplist(values)) for name, values in sorted(applications.items())]
    return Output(pretty(term), json=applications, erlang=term)


def os_env(call: Call) -> Output:
    """The variables that the broker was started with, of RabbitMQ's and of its own."""
    variables = call.api.get("leveret", "ctl", "facts")["os_env"]
    if call.formatter == "csv":
        return Output(rows=[{"variable": name, "value": value} for name, value in sorted(variables.items())])
    text = "\n".join(f"{name}={value}" for name, value in sorted(variables.items()))
    if not variables:
        text = f"Node {call.node} reported no relevant environment variables."
    return Output(text, json={"node": call.node, "result": "ok", "variables": variables})


def command_line_arguments(call: Call) -> Output:
    """How the broker was started."""
    words = call.api.get("leveret", "ctl", "facts")["command_line"]
    return Output(erlang=[(Atom("command_line"), [Characters(word) for word in words])])


def server_version(call: Call) -> Output:
    """The RabbitMQ that it behaves like."""
    version = call.api.get("overview", columns="rabbitmq_version")["rabbitmq_version"]
    return Output(version, json={"result": "ok", "value": version})


def erlang_version(call: Call) -> Output:
    """There is no Erlang; what the API says of it."""
    overview = call.api.get("overview", columns="erlang_version,erlang_full_version")
    version = overview["erlang_full_version"] if call.options["details"] else f"Erlang/OTP {overview['erlang_version']}"
    return Output(version, json={"result": "ok", "value": version})


def version(call: Call) -> Output:
    """Of these tools."""
    from broker.identity import RABBITMQ_VERSION

    return Output(RABBITMQ_VERSION, json={"version": RABBITMQ_VERSION})


def list_feature_flags(call: Call) -> Output:
    """All are enabled."""
    return _columns(call, call.api.get("feature-flags"), "name", "state")


def enable_feature_flag(call: Call) -> Output:
    """Done already, if there is such a flag."""
    name = call.arguments[0]
    flags = {flag["name"] for flag in call.api.get("feature-flags", columns="name")}
    if name != "all" and name not in flags:
        raise error(f"This feature flag is not supported by node {call.node}", 64)
    return call.done()


def list_deprecated_features(call: Call) -> Output:
    """Those of RabbitMQ that a broker may still have."""
    path = ("used",) if call.options["used"] else ()
    return _columns(call, call.api.get("deprecated-features", *path), "name", "deprecation_phase")


def _columns(call: Call, found: Iterable[Row], *default: str) -> Output:
    from broker.cli.ctl.columns import columns_of

    columns = columns_of(call, *default)
    return Output(rows=[{name: each[name] for name in columns if each.get(name) is not None} for each in found])


def _check_columns(*known: str) -> Any:
    from broker.cli.ctl.columns import check_columns

    return check_columns(known)


def _bullets(names: Iterable[str]) -> list[str]:
    return [f" * {name}" for name in names]


def _proplist(value: Any) -> Any:
    """JSON as Erlang would have it: objects are lists of pairs."""
    if isinstance(value, dict):
        return [(Atom(name), _proplist(each)) for name, each in value.items()]
    if value in ("infinity", "undefined"):
        return Atom(value)
    return [_proplist(each) for each in value] if isinstance(value, list) else value


_UNIT: Final = {"unit": str, "timeout": int}
_MANY: Final = (0, 1_000_000)
COMMANDS: Final = {
    "status": Command(
        status,
        "status [--unit <unit>]",
        banner="Status of node {node} ...",
        options=_UNIT,
        defaults={"unit": "gb", "timeout": SECONDS},
        check=_check_unit,
        details=(("--unit <bytes | mb | mib | gb | gib>", "of sizes"),),
    ),
    "memory_breakdown": Command(
        memory_breakdown,
        "memory_breakdown [--unit <unit>]",
        banner="Reporting memory breakdown on node {node}...",
        options=_UNIT,
        defaults={"unit": "gb"},
        check=_check_unit,
        details=(("--unit <bytes | mb | gb>", "of sizes"),),
    ),
    "cluster_status": Command(
        cluster_status,
        "cluster_status",
        banner="Cluster status of node {node} ...",
        options={"timeout": int},
        defaults={"timeout": SECONDS},
    ),
    "set_cluster_name": Command(set_cluster_name, "set_cluster_name <name>", (1, 1), "Setting cluster name to {0} ..."),
    **{
        name: Command(refuse_cluster, usage, (0, 5), options={"disc": bool, "ram": bool, "offline": bool})
        for name, usage in {
            "join_cluster": "join_cluster [--disc|--ram] <existing_cluster_member>",
            "forget_cluster_node": "forget_cluster_node [--offline] <existing_cluster_member>",
            "change_cluster_node_type": "change_cluster_node_type <disc | ram>",
            "rename_cluster_node": "rename_cluster_node <oldnode1> <newnode1> [oldnode2] [newnode2] ...",
            "update_cluster_nodes": "update_cluster_nodes <existing_cluster_member_to_seed_from>",
        }.items()
    },
    "environment": Command(environment, "environment", banner="Application environment of node {node} ...", formatter="erlang"),
    "os_env": Command(os_env, "os_env", banner="Listing RabbitMQ-specific environment variables defined on node {node}..."),
    "command_line_arguments": Command(
        command_line_arguments, "command_line_arguments", banner="Command line arguments of node {node} ...", formatter="erlang"
    ),
    "server_version": Command(server_version, "server_version", banner="Asking node {node} for its RabbitMQ version..."),
    "erlang_version": Command(
        erlang_version,
        "erlang_version",
        banner="Asking node {node} for its Erlang/OTP version...",
        options={"details": bool},
        defaults={"details": False},
    ),
    "version": Command(version, "version", needs_broker=False),
    "list_feature_flags": Command(
        list_feature_flags,
        "list_feature_flags [<column> ...]",
        _MANY,
        "Listing feature flags ...",
        options={"timeout": int},
        check=_check_columns("name", "state", "stability", "provided_by", "desc", "doc_url"),
        formatter="table",
    ),
    "enable_feature_flag": Command(
        enable_feature_flag,
        "enable_feature_flag [--experimental] <all | feature_flag>",
        (1, 1),
        lambda call: "Enabling all feature flags ..." if call.arguments[0] == "all" else f'Enabling feature flag "{call.arguments[0]}" ...',
        options={"experimental": bool},
        short={"e": "experimental"},
    ),
    "list_deprecated_features": Command(
        list_deprecated_features,
        "list_deprecated_features [--used] [<column> ...]",
        _MANY,
        lambda call: "Listing deprecated features in use ..." if call.options["used"] else "Listing deprecated features ...",
        options={"used": bool},
        defaults={"used": False},
        check=_check_columns("name", "deprecation_phase", "provided_by", "desc", "doc_url"),
        formatter="table",
    ),
}

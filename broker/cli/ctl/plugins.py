"""rabbitmq-plugins: what RabbitMQ needs plugins for is built in, or isn't there.

Dockerfiles and scripts enable plugins; for those that Leveret serves nothing has to be done, and for others the command warns and
succeeds, so that scripts go on. A name that no plugin has is a mistake, as in RabbitMQ. rabbitmq_event_exchange alone can be turned on and
off: it stands in the file that RABBITMQ_ENABLED_PLUGINS_FILE names, which a start reads.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any, Final

from broker.cli.ctl.command import ANY, Call, Command
from broker.cli.ctl.errors import EXIT_DATA, EXIT_SOFTWARE, Failed, Invalid, bad_argument, error
from broker.cli.ctl.formats import Output, Style

BUILT_IN: Final = {
    "rabbitmq_consistent_hash_exchange": "exchange type x-consistent-hash",
    "rabbitmq_delayed_message_exchange": "exchange type x-delayed-message",
    "rabbitmq_management": "HTTP API",
    "rabbitmq_management_agent": "figures for the HTTP API",
    "rabbitmq_message_deduplication": "exchange type x-message-deduplication, and queues without duplicates",
    "rabbitmq_prometheus": "metrics for Prometheus",
    "rabbitmq_random_exchange": "exchange type x-random",
    "rabbitmq_recent_history_exchange": "exchange type x-recent-history",
    "rabbitmq_sharding": "exchange type x-modulus-hash",
    "rabbitmq_web_dispatch": "HTTP sockets",
}
EVENTS: Final = "rabbitmq_event_exchange"
SERVED: Final = {**BUILT_IN, EVENTS: "internal events as messages"}
IMPLICIT: Final = ("rabbitmq_management_agent", "rabbitmq_web_dispatch")
"""What RabbitMQ enables because another plugin needs it."""
FOREIGN: Final = (
    "amqp_client", "cowboy", "cowlib", "rabbitmq_amqp1_0", "rabbitmq_auth_backend_cache", "rabbitmq_auth_backend_http",
    "rabbitmq_auth_backend_ldap", "rabbitmq_auth_backend_oauth2", "rabbitmq_auth_mechanism_ssl", "rabbitmq_federation",
    "rabbitmq_federation_management", "rabbitmq_federation_prometheus", "rabbitmq_jms_topic_exchange", "rabbitmq_mqtt",
    "rabbitmq_peer_discovery_aws", "rabbitmq_peer_discovery_common", "rabbitmq_peer_discovery_consul", "rabbitmq_peer_discovery_etcd",
    "rabbitmq_peer_discovery_k8s", "rabbitmq_shovel", "rabbitmq_shovel_management", "rabbitmq_shovel_prometheus", "rabbitmq_stomp",
    "rabbitmq_stream", "rabbitmq_stream_common", "rabbitmq_stream_management", "rabbitmq_top", "rabbitmq_tracing", "rabbitmq_trust_store",
    "rabbitmq_web_mqtt", "rabbitmq_web_mqtt_examples", "rabbitmq_web_stomp", "rabbitmq_web_stomp_examples", "rabbitmq_auth_backend_amqp",
    "rabbitmq_exchange_federation", "rabbitmq_queue_federation", "rabbitmq_priority_queue", "rabbitmq_rtopic_exchange",
    "rabbitmq_lvc_exchange", "rabbitmq_auth_backend_internal_loopback", "rabbitmq_top_management",
)  # fmt: skip
"""RabbitMQ's plugins whose work Leveret doesn't do, or does without them (x.509 logins, HTTP backends)."""
WITHOUT: Final = (
    "rabbitmq_auth_backend_http",
    "rabbitmq_auth_backend_cache",
    "rabbitmq_auth_mechanism_ssl",
    "amqp_client",
    "cowboy",
    "cowlib",
)
"""Of those, what is there all the same, under settings of its own."""
DEFAULT_FILE: Final = "/etc/rabbitmq/enabled_plugins"


def enable(call: Call) -> Output:
    """Everything that is served is on already."""
    names = list(SERVED) if call.options["all"] else call.arguments
    _check_known(names)
    warn(names)
    return _told(call, "enabled", _turn(EVENTS in names or None))


def disable(call: Call) -> Output:
    """What is built in stays."""
    names = list(SERVED) if call.options["all"] else call.arguments
    stays = [name for name in names if name in BUILT_IN]
    if stays:
        sys.stdout.flush()
        sys.stderr.write(f"leveret: {', '.join(stays)}: built in, and can't be disabled\n")
    return _told(call, "disabled", _turn(False if EVENTS in names else None))


def set_plugins(call: Call) -> Output:
    """These and no others."""
    _check_known(call.arguments)
    warn(call.arguments)
    changed = _turn(EVENTS in call.arguments)
    return Output("\n".join([*_configured(call), _OFFLINE if changed else UNCHANGED]))


def warn(names: list[str]) -> None:
    """Say which aren't served."""
    foreign = [name for name in names if name not in SERVED and name not in WITHOUT]
    if foreign:
        sys.stdout.flush()
        sys.stderr.write(f"leveret: {', '.join(foreign)}: not served by Leveret, so enabling it changes nothing\n")


_OFFLINE: Final = "Offline change; changes will take effect at broker restart."
UNCHANGED: Final = "Plugin configuration unchanged."


def _told(call: Call, what: str, changed: bool) -> Output:
    lines, names = _configured(call), [EVENTS] if changed else []
    if changed:
        lines += [f"The following plugins have been {what}:", f"  {EVENTS}", "", f"set {len(_enabled())} plugins.", _OFFLINE]
    else:
        lines.append(UNCHANGED)
    return Output("\n".join(lines), json={what: names, "mode": "offline" if changed else "online", "set": _enabled()})


def _configured(call: Call) -> list[str]:
    names = _enabled()
    head = "The following plugins have been configured:"
    return [head, *(f"  {name}" for name in names), f"Applying plugin configuration to {node_name(call)}..."]


def node_name(call: Call) -> str:
    """The broker's, or what it would be called."""
    try:
        return call.node
    except Failed:
        return call.shown_node


# --- the file of enabled plugins ----------------------------------------------------------------------------------------


def file_path() -> str:
    """Where it is."""
    return os.environ.get("RABBITMQ_ENABLED_PLUGINS_FILE") or DEFAULT_FILE


def _in_file() -> list[str]:
    """[rabbitmq_management,rabbitmq_prometheus]."""
    try:
        with open(file_path(), encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return []
    return re.findall(r"[a-z][a-z0-9_]*", re.sub(r"%.*", "", text))


def _enabled() -> list[str]:
    """What a broker that is started now serves."""
    return sorted([*BUILT_IN, *[EVENTS] * (EVENTS in _in_file())])


def _turn(on: bool | None) -> bool:
    """Have rabbitmq_event_exchange in the file or not, None: as it is. What else stands there stays. True if that was a change."""
    names, path = _in_file(), file_path()
    if on is None or on == (EVENTS in names):
        return False
    names = [*names, EVENTS] if on else [name for name in names if name != EVENTS]
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"[{','.join(names)}].\n")
    except OSError as problem:
        raise error(f"Could not update enabled plugins file at {path}: {problem.strerror}", EXIT_DATA) from problem
    return True


# --- telling ------------------------------------------------------------------------------------------------------------


def _running(call: Call) -> list[str] | None:
    """What the broker serves; None without one."""
    try:
        plugins: list[str] = call.api.get("nodes", call.node, columns="enabled_plugins")["enabled_plugins"]
    except Failed:
        return None
    return plugins


def list_plugins(call: Call) -> Output:
    """All that RabbitMQ has; those that run are marked."""
    pattern = re.compile(call.arguments[0] if call.arguments else ".*")
    running = _running(call)
    enabled = {*_enabled(), *(running or ())}
    names = sorted(name for name in {*SERVED, *FOREIGN} - set(WITHOUT[3:]) if pattern.search(name))
    if call.options.get("enabled"):
        names = [name for name in names if name in enabled and name not in IMPLICIT]
    elif call.options.get("implicitly_enabled"):
        names = [name for name in names if name in enabled]
    plugins = [_plugin(name, enabled, running or []) for name in names]
    if call.options.get("minimal"):
        return Output("\n".join(names), json=_listed("minimal", running, [{"name": name} for name in names]))
    facts = _listed("verbose" if call.options.get("verbose") else "normal", running, plugins)
    return Output(
        "\n".join([*_legend(call, running), *_lines(plugins, call.style(), verbose=call.options.get("verbose", False))]), json=facts
    )


def _listed(form: str, running: list[str] | None, plugins: list[dict[str, Any]]) -> dict[str, Any]:
    return {"format": form, "plugins": plugins, "status": "node_down" if running is None else "running"}


def _plugin(name: str, enabled: set[str], running: list[str]) -> dict[str, Any]:
    from broker.identity import RABBITMQ_VERSION

    state = "not_enabled" if name not in enabled else "implicit" if name in IMPLICIT else "enabled"
    is_running = name in running
    return {
        "enabled": state,
        "name": name,
        "running": is_running,
        "running_version": RABBITMQ_VERSION if is_running else "",
        "version": RABBITMQ_VERSION,
    }


def _lines(plugins: list[dict[str, Any]], style: Style, *, verbose: bool) -> list[str]:
    width = max((len(plugin["name"]) for plugin in plugins), default=0)
    lines = []
    for plugin in plugins:
        mark = {"enabled": "E", "implicit": "e", "not_enabled": " "}[plugin["enabled"]]
        head = f"[{mark}{'*' if plugin['running'] else ' '}] {plugin['name']}"
        if verbose:
            lines += [head, f"     Version:     \t{plugin['version']}", "     Dependencies:\t[]"]
            lines.append(f"     Description: \t{SERVED.get(plugin['name'], 'not served by Leveret')}")
        else:
            lines.append(f"{head}{' ' * (width - len(plugin['name']))} {plugin['version']}")
    return lines


def _legend(call: Call, running: list[str] | None) -> list[str]:
    if call.quiet:
        return []
    node = node_name(call)
    status = f"* = running on {node}" if running is not None else f"[failed to contact {node} - status not shown]"
    return [" Configured: E = explicitly enabled; e = implicitly enabled", f" | Status: {status}", " |/"]


def is_enabled(call: Call) -> Output:
    """Fails if one of them isn't."""
    offline = call.options.get("offline", False)
    running = None if offline else _running(call)
    if running is None and not offline:
        raise Invalid("this command requires the target node to be running.", prefix="Error")
    enabled = sorted(_enabled() if running is None else running)
    where = "" if offline else f" on node {call.node}"
    missing = [name for name in call.arguments if name not in enabled]
    if missing:
        text = f"{_plugins(missing)} not enabled{where}. Enabled plugins and dependencies: {', '.join(enabled)}"
        raise error(text, facts={"result": "error", "message": text})
    text = f"{_plugins(call.arguments)} enabled{where}"
    return Output(text, json={"message": text, "result": "ok"})


def _plugins(names: list[str]) -> str:
    return f"Plugin {names[0]} is" if len(names) == 1 else f"Plugins {', '.join(names)} are"


def directories(call: Call) -> Output:
    """Leveret loads no plugins, so there is the file alone."""
    facts = {"enabled_plugins_file": file_path(), "plugins_dir": "", "plugins_expand_dir": ""}
    lines = ["Plugin archives directory: ", "Plugin expansion directory: ", f"Enabled plugins file: {facts['enabled_plugins_file']}"]
    return Output("\n".join(lines), json={"node": node_name(call), "result": "ok", "value": facts})


# --- checks -------------------------------------------------------------------------------------------------------------


def _check_known(names: list[str]) -> None:
    unknown = [name for name in names if name not in SERVED and name not in FOREIGN]
    if unknown:
        raise error(f"{{:plugins_not_found, [{', '.join(f':{name}' for name in unknown)}]}}", EXIT_SOFTWARE)


def _check_names(call: Call) -> None:
    if not call.arguments and not call.options.get("all"):
        raise Invalid("not enough arguments.")
    if call.arguments and call.options.get("all"):
        raise bad_argument("Cannot set both --all and a list of plugins")
    _check_modes(call)


def _check_modes(call: Call) -> None:
    if call.options.get("online") and call.options.get("offline"):
        raise bad_argument("Cannot set both online and offline")


def _check_list(call: Call) -> None:
    if call.options.get("verbose") and call.options.get("minimal"):
        raise bad_argument("Cannot set both verbose and minimal")


def _acting(verb: str) -> Any:
    def banner(call: Call) -> str:
        if call.options.get("all"):
            return f"{verb} ALL plugins on node {node_name(call)}"
        return "\n".join([f"{verb} plugins on node {node_name(call)}:", *call.arguments])

    return banner


def _asking(call: Call) -> str:
    what = _plugins(call.arguments)
    what = what[:1].lower() + what[1:]
    if call.options.get("offline"):
        return f"Inferring if {what} from local environment..."
    return f"Asking node {node_name(call)} if {what} enabled..."


_MODES: Final = {"online": bool, "offline": bool}
_ALL: Final = {"online": bool, "offline": bool, "all": bool}
_NAMES: Final = (("<plugin1> [ <plugin2>]", "names of plugins"), ("--offline, --online", "are taken and make no difference"))
COMMANDS: Final = {
    "enable": Command(
        enable,
        "enable <plugin1> [ <plugin2>] | --all [--offline] [--online]",
        (0, ANY),
        _acting("Enabling"),
        options=_ALL,
        defaults={"all": False},
        check=_check_names,
        needs_broker=False,
        details=_NAMES,
    ),
    "disable": Command(
        disable,
        "disable <plugin1> [ <plugin2>] | --all [--offline] [--online]",
        (0, ANY),
        _acting("Disabling"),
        options=_ALL,
        defaults={"all": False},
        check=_check_names,
        needs_broker=False,
        details=_NAMES,
    ),
    "set": Command(
        set_plugins,
        "set <plugin1> [ <plugin2>] [--offline] [--online]",
        (0, ANY),
        _acting("Enabling"),
        options=_MODES,
        check=_check_modes,
        needs_broker=False,
        details=_NAMES,
    ),
    "list": Command(
        list_plugins,
        "list [pattern] [--verbose] [--minimal] [--enabled] [--implicitly-enabled]",
        (0, 1),
        lambda call: f'Listing plugins with pattern "{call.arguments[0] if call.arguments else ".*"}" ...',
        options={"verbose": bool, "minimal": bool, "enabled": bool, "implicitly_enabled": bool},
        short={"v": "verbose", "m": "minimal", "E": "enabled", "e": "implicitly_enabled"},
        check=_check_list,
        needs_broker=False,
        details=(
            ("<pattern>", "a regular expression over names"),
            ("--verbose", "what they are, too"),
            ("--minimal", "names alone"),
            ("--enabled", "those that are enabled"),
            ("--implicitly-enabled", "those, and what they need"),
        ),
    ),
    "is_enabled": Command(
        is_enabled,
        "is_enabled <plugin1> [ <plugin2>] [--offline] [--online]",
        (1, ANY),
        lambda call: None if not call.options.get("offline") and _running(call) is None else _asking(call),
        options=_MODES,
        check=_check_modes,
        needs_broker=False,
    ),
    "directories": Command(
        directories,
        "directories [--offline] [--online]",
        banner=lambda call: f"Listing plugin directories used by node {node_name(call)}",
        options=_MODES,
        needs_broker=False,
    ),
}

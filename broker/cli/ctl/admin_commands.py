"""The commands of rabbitmqadmin v2, by group and name: `queues declare` and `declare queue` are one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from broker.cli.ctl import admin_actions as actions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.cli.ctl.admin_actions import Asked, Told


class Action(NamedTuple):
    """A command: what does it, its options (and their letters), which of them have to be given, and what others are otherwise."""

    run: Callable[[Asked], Told | None]
    options: Mapping[str, type] = {}
    needed: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = {}
    short: Mapping[str, str] = {}
    positional: int = 0


def _options(*names: str) -> dict[str, type]:
    return dict.fromkeys(names, str)


_IDEMPOTENTLY: Final = {"idempotently": bool}
_LIST_ACTIONS: Final = {name: Action(run) for name, run in actions.LISTS.items()}
_POLICY_OPTIONS: Final = _options("name", "pattern", "apply_to", "applies_to", "priority", "definition")
_BINDING: Final = (
    {**_options("source", "destination_type", "destination", "routing_key", "arguments"), **_IDEMPOTENTLY},
    ("source", "destination_type", "destination", "routing_key"),
)
_FILE: Final = {"file": str, "stdout": bool, "stdin": bool, "transformations": str}
_MANY: Final = {"name_pattern": str, "approve": bool, "dry_run": bool, "strict": bool, "fail_fast": bool, "output": str}


def _named(run: Callable[[Asked], Any], *more: str, needed: tuple[str, ...] = ("name",)) -> Action:
    return Action(run, {**_options(*needed, *more), **_IDEMPOTENTLY}, needed)


_DECLARE: Final = {
    "user": Action(
        actions.declare_user,
        _options("name", "password", "password_hash", "hashing_algorithm", "tags"),
        ("name",),
        {"tags": ""},
    ),
    "vhost": Action(
        actions.declare_vhost, {**_options("name", "default_queue_type", "description"), "tracing": bool, **_IDEMPOTENTLY}, ("name",)
    ),
    "permissions": Action(
        actions.declare_permissions, _options("username", "user", "configure", "read", "write"), ("username", "configure", "read", "write")
    ),
    "queue": Action(
        actions.declare_queue,
        {**_options("name", "type", "durable", "auto_delete", "arguments"), **_IDEMPOTENTLY},
        ("name",),
        {"type": "classic"},
    ),
    "exchange": Action(
        actions.declare_exchange,
        {**_options("name", "type", "durable", "auto_delete", "arguments"), **_IDEMPOTENTLY},
        ("name",),
        {"type": "direct"},
    ),
    "binding": Action(actions.declare_binding, *_BINDING),
    "parameter": Action(actions.set_parameter, _options("name", "component", "value"), ("name", "component", "value")),
    "policy": Action(actions.declare_policy("policies"), _POLICY_OPTIONS, ("name", "pattern", "apply_to", "definition"), {"priority": "0"}),
    "operator_policy": Action(
        actions.declare_policy("operator-policies"), _POLICY_OPTIONS, ("name", "pattern", "apply_to", "definition"), {"priority": "0"}
    ),
    "vhost_limit": Action(actions.set_vhost_limit, _options("name", "value"), ("name", "value")),
    "user_limit": Action(actions.set_user_limit, _options("username", "user", "name", "value"), ("username", "name", "value")),
}
_DELETE: Final = {
    "user": _named(actions.deleter("users", "{name}")),
    "vhost": _named(actions.deleter("vhosts", "{name}")),
    "permissions": _named(actions.deleter("permissions", "{vhost}", "{username}"), needed=("username",)),
    "queue": _named(actions.deleter("queues", "{vhost}", "{name}")),
    "exchange": _named(actions.deleter("exchanges", "{vhost}", "{name}")),
    "binding": Action(actions.delete_binding, *_BINDING),
    "parameter": _named(actions.deleter("parameters", "{component}", "{vhost}", "{name}"), needed=("name", "component")),
    "global_parameter": _named(actions.deleter("global-parameters", "{name}")),
    "policy": _named(actions.deleter("policies", "{vhost}", "{name}")),
    "operator_policy": _named(actions.deleter("operator-policies", "{vhost}", "{name}")),
    "vhost_limit": _named(actions.deleter("vhost-limits", "{vhost}", "{name}")),
    "user_limit": _named(actions.deleter("user-limits", "{username}", "{name}"), needed=("username", "name")),
}
_PURGE: Final = _named(actions.deleter("queues", "{vhost}", "{name}", "contents"))
_CLOSE: Final = _named(actions.deleter("connections", "{name}"))
_USER: Final = Action(actions.close_user, {**_options("username"), **_IDEMPOTENTLY}, ("username",), short={"u": "username"})
_OF_USER: Final = Action(actions.user_connections, _options("username"), ("username",), short={"u": "username"})
_BYTES: Final = Action(actions.memory_in_bytes, _options("node"), ("node",))
_PERCENT: Final = Action(actions.memory_in_percent, _options("node"), ("node",))
_EXPORT: Final = Action(actions.export_definitions(False), _FILE, (), {"file": "-"}, {"t": "transformations"})
_IMPORT: Final = Action(actions.import_definitions(False), _FILE)
_POLICIES: Final[dict[str, dict[str, Action]]] = {
    kind.replace("-", "_"): {
        "declare": _DECLARE[one],
        "delete": _DELETE[one],
        "list": _LIST_ACTIONS[kind.replace("-", "_")],
        "list_in": Action(actions.policies_in(kind.replace("-", "_"), only_vhost=True), _options("apply_to")),
        "patch": Action(actions.patch_policy(kind), _options("name", "definition"), ("name", "definition")),
    }
    for kind, one in (("policies", "policy"), ("operator-policies", "operator_policy"))
}
COMMANDS: Final[dict[str, dict[str, Action]]] = {
    "auth_attempts": {"stats": Action(actions.attempts, _options("node"), ("node",))},
    "bindings": {"declare": _DECLARE["binding"], "delete": _DELETE["binding"], "list": _LIST_ACTIONS["bindings"]},
    "channels": {"list": _LIST_ACTIONS["channels"]},
    "close": {"connection": _CLOSE, "user_connections": _USER},
    "connections": {"close": _CLOSE, "close_of_user": _USER, "list": _LIST_ACTIONS["connections"], "list_of_user": _OF_USER},
    "declare": _DECLARE,
    "definitions": {
        "export": _EXPORT,
        "export_from_vhost": Action(actions.export_definitions(True), _FILE, (), {"file": "-"}),
        "import": _IMPORT,
        "import_into_vhost": Action(actions.import_definitions(True), _FILE),
    },
    "delete": _DELETE,
    "deprecated_features": {"list": _LIST_ACTIONS["deprecated_features"], "list_used": _LIST_ACTIONS["deprecated_features_in_use"]},
    "exchanges": {
        "bind": _DECLARE["binding"],
        "declare": _DECLARE["exchange"],
        "delete": _DELETE["exchange"],
        "list": _LIST_ACTIONS["exchanges"],
        "unbind": _DELETE["binding"],
    },
    "export": {"definitions": _EXPORT},
    "feature_flags": {
        "list": _LIST_ACTIONS["feature_flags"],
        "enable": Action(actions.enable_flag, _options("name"), ("name",)),
        "enable_all": Action(actions.enable_flags),
    },
    "get": {
        "messages": Action(
            actions.get_messages,
            _options("queue", "count", "ack_mode"),
            ("queue",),
            {"count": "1", "ack_mode": "ack_requeue_false"},
            {"q": "queue", "c": "count", "a": "ack_mode"},
        )
    },
    "global_parameters": {
        "list": _LIST_ACTIONS["global_parameters"],
        "set": Action(actions.set_global_parameter, _options("name", "value"), ("name", "value")),
        "declare": Action(actions.set_global_parameter, _options("name", "value"), ("name", "value")),
        "clear": _DELETE["global_parameter"],
        "delete": _DELETE["global_parameter"],
    },
    "health_check": {
        "local_alarms": Action(actions.health_check("local-alarms")),
        "cluster_wide_alarms": Action(actions.health_check("alarms")),
        "node_is_quorum_critical": Action(actions.health_check("node-is-quorum-critical")),
        "deprecated_features_in_use": Action(actions.deprecated_in_use),
        "port_listener": Action(actions.health_check("port-listener", "{port}"), {"port": int}, ("port",)),
        "protocol_listener": Action(actions.health_check("protocol-listener", "{protocol}"), _options("protocol"), ("protocol",)),
    },
    "import": {"definitions": _IMPORT},
    "list": {
        **_LIST_ACTIONS,
        "parameters": Action(actions.parameters, _options("component")),
        "user_connections": _OF_USER,
        "user_limits": Action(actions.LISTS["user_limits"], _options("username", "user")),
    },
    "nodes": {"list": _LIST_ACTIONS["nodes"], "memory_breakdown_in_bytes": _BYTES, "memory_breakdown_in_percent": _PERCENT},
    "parameters": {
        "list": Action(actions.parameters, _options("component")),
        "list_all": _LIST_ACTIONS["parameters"],
        "list_in": Action(actions.parameters, _options("component"), ("component",)),
        "set": _DECLARE["parameter"],
        "declare": _DECLARE["parameter"],
        "clear": _DELETE["parameter"],
        "delete": _DELETE["parameter"],
    },
    "passwords": {
        "salt_and_hash": Action(actions.salt_and_hash, _options("hashing_algorithm"), (), {"hashing_algorithm": "SHA256"}, positional=1)
    },
    "permissions": {"list": _LIST_ACTIONS["permissions"], "declare": _DECLARE["permissions"], "delete": _DELETE["permissions"]},
    "plugins": {"list_all": Action(actions.plugins), "list_on_node": Action(actions.plugins, _options("node"), ("node",))},
    **_POLICIES,
    "publish": {
        "message": Action(
            actions.publish_message,
            _options("routing_key", "exchange", "payload", "payload_file", "properties"),
            (),
            {"routing_key": "", "exchange": "", "payload": "test", "properties": "{}"},
            {"k": "routing_key", "e": "exchange", "m": "payload", "f": "payload_file", "p": "properties"},
        )
    },
    "purge": {"queue": _PURGE},
    "queues": {
        "declare": _DECLARE["queue"],
        "delete": _DELETE["queue"],
        "delete_multiple": Action(actions.delete_many("queues"), _MANY, ("name_pattern",)),
        "list": _LIST_ACTIONS["queues"],
        "purge": _PURGE,
        "rebalance": Action(actions.rebalance),
        "show": Action(actions.show_queue, _options("name"), ("name",)),
    },
    "rebalance": {"queues": Action(actions.rebalance)},
    "show": {
        "overview": Action(actions.overview),
        "churn": Action(actions.churn),
        "endpoint": Action(actions.endpoint),
        "memory_breakdown_in_bytes": _BYTES,
        "memory_breakdown_in_percent": _PERCENT,
    },
    "user_limits": {
        "list": Action(actions.LISTS["user_limits"], _options("username", "user")),
        "declare": _DECLARE["user_limit"],
        "delete": _DELETE["user_limit"],
    },
    "users": {
        "declare": _DECLARE["user"],
        "delete": _DELETE["user"],
        "list": _LIST_ACTIONS["users"],
        "permissions": _LIST_ACTIONS["permissions"],
        "connections": _OF_USER,
        "limits": Action(actions.LISTS["user_limits"], _options("username", "user")),
    },
    "vhost_limits": {"list": _LIST_ACTIONS["vhost_limits"], "declare": _DECLARE["vhost_limit"], "delete": _DELETE["vhost_limit"]},
    "vhosts": {
        "declare": _DECLARE["vhost"],
        "delete": _DELETE["vhost"],
        "delete_multiple": Action(actions.delete_many("vhosts"), _MANY, ("name_pattern",)),
        "list": _LIST_ACTIONS["vhosts"],
        "enable_deletion_protection": _named(actions.protect(True)),
        "disable_deletion_protection": _named(actions.protect(False)),
    },
}

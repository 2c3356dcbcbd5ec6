"""What the commands of rabbitmqadmin v2 do; `admin_commands` has them by name."""

from __future__ import annotations

import base64
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from broker.cli.ctl.errors import EXIT_DATA, EXIT_OK, EXIT_UNAVAILABLE, Invalid, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.cli.ctl.api import Api

Row = dict[str, Any]


class NotFound(Exception):
    """What was to be deleted or shown isn't there."""


class Told(NamedTuple):
    """What a command has to show: rows, or a text (`is_chatter`: not with --quiet), and the exit status."""

    rows: list[Row] | None = None
    columns: tuple[str, ...] = ()
    """Where there are no rows."""
    text: str | None = None
    is_chatter: bool = False
    status: int = EXIT_OK


class Asked(NamedTuple):
    """One call: the API, the command's own options, those of the connection, and what stands alone."""

    api: Api
    given: dict[str, Any]
    settings: dict[str, Any]
    arguments: list[str]

    @property
    def vhost(self) -> str:
        """--vhost."""
        vhost: str = self.settings.get("vhost", "/")
        return vhost

    def flag(self, name: str, default: bool) -> bool:
        """An option that takes true or false. Raises Invalid."""
        value = self.given.get(name)
        if value is None:
            return default
        if value not in ("true", "false"):
            raise Invalid(f"invalid value '{value}' for '--{name.replace('_', '-')}': expected true or false")
        return bool(value == "true")

    def json(self, name: str) -> Any:
        """An option that takes JSON. Raises Invalid."""
        try:
            return json.loads(self.given.get(name) or "{}")
        except ValueError as problem:
            raise Invalid(f"Failed to parse JSON argument: {name}: {problem}") from problem

    def number(self, name: str) -> int:
        """An option that takes a whole number. Raises Invalid."""
        try:
            return int(self.given[name])
        except ValueError:
            raise Invalid(f"invalid value '{self.given[name]}' for '--{name.replace('_', '-')}': expected a whole number") from None


def shown(value: Any) -> str:
    """In a cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "".join(f"{json.dumps(key)}: {json.dumps(each)}\n" for key, each in sorted(value.items()))
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


# --- lists --------------------------------------------------------------------------------------------------------------


def _lister(path: tuple[str, ...], *columns: str, in_vhost: bool = False) -> Callable[[Asked], Told]:
    """A table of what is there; in --vhost if one is given."""

    def run(asked: Asked) -> Told:
        query = {name: asked.settings[name] for name in ("page", "page_size") if name in asked.settings}
        place = (asked.settings["vhost"],) if in_vhost and "vhost" in asked.settings else ()
        found = asked.api.get(*path, *place, **query)
        items = found["items"] if isinstance(found, dict) else found
        return Told([{name: _field(item, name) for name in columns} for item in items], columns)

    return run


def _field(item: Row, name: str) -> Any:
    """`a.b` is a field of a field; the API's names have dashes in places."""
    value: Any = item
    for part in name.split("."):
        value = value.get(part, value.get(part.replace("_", "-"))) if isinstance(value, dict) else None
    return value


LISTS: Final = {
    "nodes": _lister(("nodes",), "name", "os_pid", "uptime", "run_queue", "processors", "fd_total", "proc_total", "mem_limit", "mem_alarm",
                     "disk_free_limit", "disk_free_alarm", "rates_mode", "being_drained"),
    "vhosts": _lister(("vhosts",), "name", "tags", "description", "default_queue_type", "metadata"),
    "vhost_limits": _lister(("vhost-limits",), "vhost", "value"),
    "connections": _lister(("connections",), "name", "node", "state", "protocol", "user", "connected_at", "host", "port", "peer_host",
                           "peer_port", "channel_max", "channels", "client_properties"),
    "channels": _lister(("channels",), "name", "number", "vhost", "state", "consumer_count", "confirm", "prefetch_count",
                        "messages_unacknowledged", "messages_unconfirmed"),
    "queues": _lister(("queues",), "name", "vhost", "type", "durable", "auto_delete", "exclusive", "arguments", "node", "policy", "state",
                      "memory", "consumers", "messages", "messages_ready", "messages_unacknowledged", in_vhost=True),
    "exchanges": _lister(("exchanges",), "name", "vhost", "type", "durable", "auto_delete", "arguments", in_vhost=True),
    "bindings": _lister(("bindings",), "vhost", "source", "destination", "destination_type", "routing_key", "arguments", "properties_key",
                        in_vhost=True),
    "consumers": _lister(("consumers",), "consumer_tag", "active", "ack_required", "prefetch_count", "exclusive", "arguments",
                         "consumer_timeout", "queue.name", "queue.vhost", in_vhost=True),
    "parameters": _lister(("parameters",), "name", "vhost", "component", "value"),
    "global_parameters": _lister(("global-parameters",), "name", "value"),
    "policies": _lister(("policies",), "name", "vhost", "pattern", "apply_to", "priority", "definition"),
    "operator_policies": _lister(("operator-policies",), "name", "vhost", "pattern", "apply_to", "priority", "definition"),
    "users": _lister(("users",), "name", "tags", "password_hash"),
    "permissions": _lister(("permissions",), "user", "vhost", "configure", "read", "write"),
    "user_limits": _lister(("user-limits",), "user", "value"),
    "feature_flags": _lister(("feature-flags",), "name", "state", "desc", "doc_url", "stability", "provided_by"),
    "deprecated_features": _lister(("deprecated-features",), "name", "deprecation_phase", "desc", "doc_url", "provided_by"),
    "deprecated_features_in_use": _lister(("deprecated-features", "used"), "name", "deprecation_phase", "desc", "doc_url", "provided_by"),
}  # fmt: skip


def parameters(asked: Asked) -> Told:
    """Of --component, if it is given."""
    told = LISTS["parameters"](asked)
    component = asked.given.get("component")
    rows = [row for row in told.rows or [] if component in (None, row["component"])]
    return Told(rows, told.columns)


def policies_in(kind: str, *, only_vhost: bool) -> Callable[[Asked], Told]:
    """Of a vhost, or of all; with --apply-to of that target alone."""

    def run(asked: Asked) -> Told:
        told = LISTS[kind](asked)
        target = asked.given.get("apply_to")
        rows = [row for row in told.rows or [] if (not only_vhost or row["vhost"] == asked.vhost) and target in (None, row["apply_to"])]
        return Told(rows, told.columns)

    return run


def user_connections(asked: Asked) -> Told:
    """The connections of a user."""
    columns = ("name", "node", "user", "vhost")
    found = asked.api.get("connections", "username", asked.given["username"])
    return Told([{name: item.get(name) for name in columns} for item in found], columns)


# --- show ---------------------------------------------------------------------------------------------------------------


_OVERVIEW: Final = (
    ("Product name", "product_name"), ("Product version", "product_version"), ("RabbitMQ version", "rabbitmq_version"),
    ("Erlang version", "erlang_version"), ("Erlang details", "erlang_full_version"), ("Connections (total)", "object_totals.connections"),
    ("AMQP 0-9-1 channels (total)", "object_totals.channels"), ("Queues and streams (total)", "object_totals.queues"),
    ("Consumers (total)", "object_totals.consumers"), ("Messages (total)", "queue_totals.messages"),
    ("Messages ready for delivery (total)", "queue_totals.messages_ready"),
    ("Messages delivered but unacknowledged by consumers (total)", "queue_totals.messages_unacknowledged"),
    ("Publishing (ingress) rate (global)", "message_stats.publish_details.rate"),
    ("Publishing confirm rate (global)", "message_stats.confirm_details.rate"),
    ("Consumer delivery (egress) rate (global)", "message_stats.deliver_details.rate"),
    ("Consumer delivery in automatic acknowledgement mode rate (global)", "message_stats.deliver_no_ack_details.rate"),
    ("Consumer acknowledgement rate (global)", "message_stats.ack_details.rate"),
    ("Unroutable messages: returned-to-publisher rate (global)", "message_stats.return_unroutable_details.rate"),
    ("Unroutable messages: dropped rate (global)", "message_stats.drop_unroutable_details.rate"),
)  # fmt: skip
_CHURN: Final = (
    "connection_created", "connection_closed", "channel_created", "channel_closed", "queue_declared", "queue_created", "queue_deleted",
)  # fmt: skip


def overview(asked: Asked) -> Told:
    """Versions, totals and rates."""
    overview = asked.api.get("overview")
    return Told([{"key": title, "value": _field(overview, name)} for title, name in _OVERVIEW])


def churn(asked: Asked) -> Told:
    """How often connections, channels and queues come and go."""
    rates = asked.api.get("overview", columns="churn_rates")["churn_rates"]
    return Told([{"key": name.replace("_", " "), "value": rates.get(name)} for name in _CHURN])


def endpoint(asked: Asked) -> Told:
    """The API that is asked."""
    settings = asked.settings
    scheme = "https" if settings.get("use_tls") else "http"
    url = f"{scheme}://{settings.get('hostname', 'localhost')}:{settings.get('port', 15671 if scheme == 'https' else 15672)}/api"
    return Told([{"key": "Using endpoint", "value": url}])


def _memory(asked: Asked) -> tuple[dict[str, int], int]:
    memory = asked.api.get("nodes", asked.given["node"], "memory")["memory"]
    total = memory.get("total", 0)
    whole = max(total.values()) if isinstance(total, dict) else total
    return {name: value for name, value in memory.items() if isinstance(value, int) and name != "total"}, whole


def memory_in_bytes(asked: Asked) -> Told:
    """What a node uses memory for, the biggest part first."""
    parts, whole = _memory(asked)
    rows = [{"key": name, "value": value} for name, value in sorted(parts.items(), key=lambda part: -part[1])]
    return Told([{"key": "total", "value": whole}, *rows])


def memory_in_percent(asked: Asked) -> Told:
    """The same in percent."""
    parts, whole = _memory(asked)
    ordered = sorted(parts.items(), key=lambda part: -part[1])
    rows = [{"key": name, "percentage": f"{value / (whole or 1) * 100:.2f}%"} for name, value in ordered]
    return Told([{"key": "total", "percentage": "100%"}, *rows])


# --- declare ------------------------------------------------------------------------------------------------------------


def declare_user(asked: Asked) -> None:
    """With a password or its hash."""
    given = asked.given
    body: Row = {"tags": given["tags"]}
    if given.get("password_hash"):
        body |= {"password_hash": given["password_hash"]}
    elif given.get("password"):
        body |= {"password": given["password"]}
    else:
        raise Invalid("Please provide either --password or --password-hash")
    asked.api.put("users", given["name"], body=body)


def declare_vhost(asked: Asked) -> None:
    """With description, default queue type and tracing."""
    body = {name: asked.given[name] for name in ("description", "default_queue_type") if asked.given.get(name)}
    asked.api.put("vhosts", asked.given["name"], body={**body, "tracing": bool(asked.given.get("tracing"))})


def declare_permissions(asked: Asked) -> None:
    """Of a user in --vhost."""
    body = {name: asked.given[name] for name in ("configure", "read", "write")}
    asked.api.put("permissions", asked.vhost, asked.given["username"], body=body)


def declare_queue(asked: Asked) -> None:
    """In --vhost."""
    arguments = {**asked.json("arguments"), "x-queue-type": asked.given["type"]}
    body = {"durable": asked.flag("durable", True), "auto_delete": asked.flag("auto_delete", False), "arguments": arguments}
    asked.api.put("queues", asked.vhost, asked.given["name"], body=body)


def declare_exchange(asked: Asked) -> None:
    """In --vhost."""
    body = {
        "type": asked.given["type"],
        "durable": asked.flag("durable", True),
        "auto_delete": asked.flag("auto_delete", False),
        "arguments": asked.json("arguments"),
    }
    asked.api.put("exchanges", asked.vhost, asked.given["name"], body=body)


def _binding_path(asked: Asked) -> tuple[str, ...]:
    kind = asked.given["destination_type"]
    if kind not in ("queue", "exchange"):
        raise Invalid(f"invalid value '{kind}' for '--destination-type': expected queue or exchange")
    return ("bindings", asked.vhost, "e", asked.given["source"], kind[0], asked.given["destination"])


def declare_binding(asked: Asked) -> None:
    """In --vhost."""
    asked.api.post(*_binding_path(asked), body={"routing_key": asked.given["routing_key"], "arguments": asked.json("arguments")})


def delete_binding(asked: Asked) -> None:
    """The one with that routing key and those arguments."""
    path, arguments = _binding_path(asked), asked.json("arguments")
    fitting = [
        each["properties_key"]
        for each in asked.api.get(*path)
        if each["routing_key"] == asked.given["routing_key"] and (each["arguments"] or {}) == arguments
    ]
    if not fitting:
        raise NotFound("API responded with a 404 Not Found")
    asked.api.delete(*path, fitting[0])


def set_parameter(asked: Asked) -> None:
    """Of a component in --vhost."""
    given = asked.given
    body = {"name": given["name"], "vhost": asked.vhost, "component": given["component"], "value": asked.json("value")}
    asked.api.put("parameters", given["component"], asked.vhost, given["name"], body=body)


def set_global_parameter(asked: Asked) -> None:
    """Of no vhost."""
    name = asked.given["name"]
    asked.api.put("global-parameters", name, body={"name": name, "value": asked.json("value")})


def declare_policy(kind: str) -> Callable[[Asked], None]:
    """A policy or an operator policy."""

    def run(asked: Asked) -> None:
        body = {
            "pattern": asked.given["pattern"],
            "apply-to": asked.given["apply_to"],
            "priority": asked.number("priority"),
            "definition": asked.json("definition"),
        }
        asked.api.put(kind, asked.vhost, asked.given["name"], body=body)

    return run


def patch_policy(kind: str) -> Callable[[Asked], None]:
    """Put keys into the definition of one that is there."""

    def run(asked: Asked) -> None:
        policy = asked.api.get(kind, asked.vhost, asked.given["name"])
        definition = {**policy["definition"], **asked.json("definition")}
        body = {name: policy[name] for name in ("pattern", "apply-to", "priority")}
        asked.api.put(kind, asked.vhost, asked.given["name"], body={**body, "definition": definition})

    return run


def set_vhost_limit(asked: Asked) -> None:
    """Of --vhost."""
    asked.api.put("vhost-limits", asked.vhost, asked.given["name"], body={"value": asked.number("value")})


def set_user_limit(asked: Asked) -> None:
    """Of a user."""
    asked.api.put("user-limits", asked.given["username"], asked.given["name"], body={"value": asked.number("value")})


# --- delete, purge, close -----------------------------------------------------------------------------------------------


def deleter(*path: str) -> Callable[[Asked], None]:
    """A path in which {vhost} and {option} stand for what is given."""

    def run(asked: Asked) -> None:
        names = {**asked.given, "vhost": asked.vhost}
        asked.api.delete(*(names[part[1:-1]] if part.startswith("{") else part for part in path))

    return run


def delete_many(kind: str) -> Callable[[Asked], Told | None]:
    """All whose name fits a pattern."""

    def run(asked: Asked) -> Told | None:
        import re

        place = () if kind == "vhosts" else (asked.vhost,)
        pattern = re.compile(asked.given["name_pattern"])
        names = [each["name"] for each in asked.api.get(kind, *place, columns="name") if pattern.search(each["name"])]
        if asked.given.get("dry_run"):
            return Told([{"name": name} for name in names], ("name",)) if names else None
        if not asked.given.get("approve"):
            raise Invalid("deleting many needs --approve, or --dry-run to see what would go")
        failed = 0
        for name in names:
            try:
                asked.api.delete(kind, *place, name)
            except Refused as refused:
                failed += 1
                sys.stderr.write(f"failed {name}: {refused.reason}\n")
        everything = failed == len(names) and failed > 0
        return Told(status=EXIT_DATA if everything or (failed and asked.given.get("strict")) else EXIT_OK)

    return run


def close_user(asked: Asked) -> None:
    """All connections of a user."""
    asked.api.delete("connections", "username", asked.given["username"])


# --- definitions --------------------------------------------------------------------------------------------------------


def export_definitions(in_vhost: bool) -> Callable[[Asked], Told | None]:
    """Of everything, or of --vhost."""

    def run(asked: Asked) -> Told | None:
        text = json.dumps(asked.api.get("definitions", *([asked.vhost] if in_vhost else [])), indent=2)
        file = "-" if asked.given.get("stdout") else asked.given["file"]
        if file == "-":
            return Told(text=text)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as output:
            output.write(text)
        return None

    return run


def import_definitions(in_vhost: bool) -> Callable[[Asked], None]:
    """Into everything, or into --vhost."""

    def run(asked: Asked) -> None:
        file = asked.given.get("file", "-")
        if asked.given.get("stdin") or file == "-":
            text = sys.stdin.read()
        else:
            with open(file, encoding="utf-8") as opened:
                text = opened.read()
        try:
            document = json.loads(text)
        except ValueError as problem:
            raise Invalid(f"definitions: {problem}") from problem
        asked.api.post("definitions", *([asked.vhost] if in_vhost else []), body=document)

    return run


# --- health, messages and the rest --------------------------------------------------------------------------------------


def health_check(*path: str) -> Callable[[Asked], Told]:
    """GET /api/health/checks/..., a failure as a table."""

    def run(asked: Asked) -> Told:
        place = [str(asked.given[part[1:-1]]) if part.startswith("{") else part for part in path]
        try:
            asked.api.get("health", "checks", *place)
        except Refused as refused:
            if refused.status != 503:
                raise
            rows: list[Row] = [
                {"key": "result", "value": "health check failed"},
                {"key": "path", "value": "/".join(["health", "checks", *place])},
                {"key": "status_code", "value": refused.status},
                {"key": "details", "value": refused.reason},
            ]
            return Told(rows, status=EXIT_UNAVAILABLE)
        return Told(text="health check passed", is_chatter=True)

    return run


def deprecated_in_use(asked: Asked) -> Told:
    """Fails if there are any."""
    used = asked.api.get("deprecated-features", "used")
    if used:
        return Told([{"name": each["name"]} for each in used], status=EXIT_UNAVAILABLE)
    return Told(text="health check passed", is_chatter=True)


def publish_message(asked: Asked) -> Told:
    """To an exchange."""
    given = asked.given
    body: Row = {"routing_key": given["routing_key"], "properties": asked.json("properties"), "payload_encoding": "string"}
    if given.get("payload_file"):
        with open(given["payload_file"], "rb") as file:
            body |= {"payload": base64.b64encode(file.read()).decode(), "payload_encoding": "base64"}
    else:
        body["payload"] = given["payload"]
    return Told([asked.api.post("exchanges", asked.vhost, given["exchange"] or "amq.default", "publish", body=body)])


def get_messages(asked: Asked) -> Told:
    """From a queue."""
    body = {"count": asked.number("count"), "ackmode": asked.given["ack_mode"], "encoding": "auto"}
    columns = ("payload_bytes", "redelivered", "exchange", "routing_key", "message_count", "properties", "payload", "payload_encoding")
    found = asked.api.post("queues", asked.vhost, asked.given["queue"], "get", body=body)
    rows: list[Row] = [{name: each.get(name) for name in columns} | {"properties": each.get("properties") or {}} for each in found]
    return Told(rows, columns)


def show_queue(asked: Asked) -> Told:
    """One queue."""
    queue = asked.api.get("queues", asked.vhost, asked.given["name"])
    names = ("name", "vhost", "type", "durable", "auto_delete", "exclusive", "arguments", "state", "consumers", "messages", "policy")
    return Told([{name: queue.get(name) for name in names}])


def rebalance(asked: Asked) -> None:
    """Leaders of queues."""
    asked.api.post("rebalance", "queues", body={})


def enable_flag(asked: Asked) -> None:
    """One feature flag."""
    name = asked.given["name"]
    asked.api.put("feature-flags", name, "enable", body={"name": name})


def enable_flags(asked: Asked) -> None:
    """All stable feature flags that are disabled."""
    for flag in asked.api.get("feature-flags"):
        if flag["state"] == "disabled" and flag["stability"] == "stable":
            asked.api.put("feature-flags", flag["name"], "enable", body={"name": flag["name"]})


def attempts(asked: Asked) -> Told:
    """Logins, by protocol."""
    return Told(
        asked.api.get("auth", "attempts", asked.given["node"]),
        ("protocol", "auth_attempts", "auth_attempts_failed", "auth_attempts_succeeded"),
    )


def plugins(asked: Asked) -> Told:
    """Of one node, or of all."""
    wanted = asked.given.get("node")
    return Told(
        [
            {"node": node["name"], "name": name}
            for node in asked.api.get("nodes")
            if wanted in (None, node["name"])
            for name in node.get("enabled_plugins", [])
        ],
        ("node", "name"),
    )


def salt_and_hash(asked: Asked) -> Told:
    """A password, as definitions have it."""
    import hashlib

    salt = os.urandom(4)
    algorithm = str(asked.given["hashing_algorithm"]).lower()
    if algorithm not in ("sha256", "sha512"):
        raise Invalid(f"invalid value '{asked.given['hashing_algorithm']}' for '--hashing-algorithm': expected SHA256 or SHA512")
    if not asked.arguments:
        raise Invalid("a password is needed")
    hashed = base64.b64encode(salt + hashlib.new(algorithm, salt + asked.arguments[0].encode()).digest()).decode()
    return Told([{"key": "password hash", "value": hashed}])


def protect(on: bool) -> Callable[[Asked], None]:
    """Allow a vhost to be deleted, or not."""

    def run(asked: Asked) -> None:
        path = ("vhosts", asked.given["name"], "deletion", "protection")
        asked.api.post(*path) if on else asked.api.delete(*path)

    return run

"""Commands about connections, channels and consumers."""

from __future__ import annotations

import time
from typing import Any, Final

from broker.cli.ctl.columns import check_columns, columns_of
from broker.cli.ctl.command import ANY, Call, Command
from broker.cli.ctl.errors import Refused, error
from broker.cli.ctl.formats import Output
from broker.cli.ctl.terms import Table

COLUMNS: Final = (
    "pid", "name", "port", "host", "peer_port", "peer_host", "ssl", "ssl_protocol", "ssl_key_exchange", "ssl_cipher", "ssl_hash",
    "peer_cert_subject", "peer_cert_issuer", "peer_cert_validity", "state", "channels", "protocol", "auth_mechanism", "user", "vhost",
    "timeout", "frame_max", "channel_max", "client_properties", "recv_oct", "recv_cnt", "send_oct", "send_cnt", "send_pend", "connected_at",
)  # fmt: skip
CHANNEL_COLUMNS: Final = (
    "pid", "connection", "name", "number", "user", "vhost", "transactional", "confirm", "consumer_count", "messages_unacknowledged",
    "messages_uncommitted", "acks_uncommitted", "messages_unconfirmed", "prefetch_count", "global_prefetch_count",
)  # fmt: skip
CONSUMER_COLUMNS: Final = (
    "queue_name", "channel_pid", "consumer_tag", "ack_required", "prefetch_count", "active", "activity_status", "arguments",
)  # fmt: skip


def list_connections(call: Call) -> Output:
    """The columns asked for."""
    columns = columns_of(call, "user", "peer_host", "peer_port", "state")
    rows = [{name: _connection_value(connection, name) for name in columns} for connection in call.api.get("connections")]
    return Output(rows=rows)


def _connection_value(connection: dict[str, Any], column: str) -> Any:
    if column == "pid":
        return connection.get("pid", connection["name"])
    value = connection.get(column)
    if column == "client_properties":
        return Table(value or {})
    if column == "protocol" and isinstance(value, str) and value.startswith("AMQP "):
        return tuple(int(number) for number in value.removeprefix("AMQP ").split("-"))
    return value


def list_channels(call: Call) -> Output:
    """The columns asked for."""
    columns = columns_of(call, "pid", "user", "consumer_count", "messages_unacknowledged")
    rows = [{name: _channel_value(channel, name) for name in columns} for channel in call.api.get("channels")]
    return Output(rows=rows)


def _channel_value(channel: dict[str, Any], column: str) -> Any:
    if column == "pid":
        return channel.get("pid", channel["name"])
    if column == "connection":
        details = channel.get("connection_details") or {}
        return details.get("pid", details.get("name"))
    return channel.get(column)


def list_consumers(call: Call) -> Output:
    """The columns asked for."""
    columns = columns_of(call, *(name for name in CONSUMER_COLUMNS if name != "activity_status"))
    try:
        consumers = call.api.get("consumers", call.vhost)
    except Refused as refused:
        if refused.status != 404:
            raise
        consumers = []
    return Output(rows=[{name: _consumer_value(consumer, name) for name in columns} for consumer in consumers])


def _consumer_value(consumer: dict[str, Any], column: str) -> Any:
    if column == "queue_name":
        return consumer["queue"]["name"]
    if column == "channel_pid":
        details = consumer.get("channel_details") or {}
        return details.get("pid", details.get("name"))
    if column == "arguments":
        return Table(consumer.get("arguments") or {})
    return consumer.get(column)


def close_connection(call: Call) -> Output:
    """By its pid or its name."""
    pid, reason = call.arguments
    for connection in call.api.get("connections", columns="name,pid"):
        if pid in (connection.get("pid"), connection["name"]):
            _close(call, connection["name"], reason)
            return call.done()
    raise error(f'Error:\n{{:invalid_pid_syntax, "{pid}"}}' if not pid.startswith("<") else "Error:\nnot_found")


def close_all_connections(call: Call) -> Output:
    """Of --vhost, or with --global of all; up to --limit."""
    reason, limit, delay_ms = call.arguments[0], call.options["limit"], call.options["per_connection_delay"]
    names = [
        connection["name"]
        for connection in call.api.get("connections", columns="name,vhost")
        if call.options["global"] or connection["vhost"] == call.vhost
    ]
    if limit > 0 and not call.options["global"]:
        names = names[:limit]
    for name in names:
        _close(call, name, reason)
        if delay_ms > 0:
            time.sleep(delay_ms / 1000)
    return Output(f"Closed {len(names)} connections", json={"node": call.node, "result": "ok", "value": f"Closed {len(names)} connections"})


def close_all_user_connections(call: Call) -> Output:
    """Of one user."""
    user, reason = call.arguments
    for connection in call.api.get("connections", columns="name,user"):
        if connection["user"] == user:
            _close(call, connection["name"], reason)
    return call.done()


def _close(call: Call, name: str, reason: str) -> None:
    """One that has gone meanwhile is closed."""
    try:
        call.api.delete("connections", name, headers={"X-Reason": reason.encode().decode("latin-1")})
    except Refused as refused:
        if refused.status != 404:
            raise


def _closing(call: Call) -> str:
    reason = call.arguments[0]
    if call.options["global"]:
        return f"Closing all connections to node {call.node} (across all vhosts), reason: {reason}..."
    return f"Closing {call.options['limit'] or 'all'} connections in vhost {call.vhost}, reason: {reason}..."


_REASON: Final = ("<explanation>", "is logged, and told to the client")
COMMANDS: Final = {
    "list_connections": Command(
        list_connections,
        "list_connections [--no-table-headers] [<column> ...]",
        (0, ANY),
        "Listing connections ...",
        options={"timeout": int},
        check=check_columns(COLUMNS),
        formatter="table",
        details=(("<column>", f"one of {', '.join(sorted(COLUMNS))}"),),
    ),
    "list_channels": Command(
        list_channels,
        "list_channels [--no-table-headers] [<column> ...]",
        (0, ANY),
        "Listing channels ...",
        options={"timeout": int},
        check=check_columns(CHANNEL_COLUMNS),
        formatter="table",
        details=(("<column>", f"one of {', '.join(sorted(CHANNEL_COLUMNS))}"),),
    ),
    "list_consumers": Command(
        list_consumers,
        "list_consumers [--vhost <vhost>] [--no-table-headers] [<column> ...]",
        (0, ANY),
        "Listing consumers in vhost {vhost} ...",
        options={"timeout": int},
        check=check_columns(CONSUMER_COLUMNS),
        formatter="table",
        details=(("<column>", f"one of {', '.join(sorted(CONSUMER_COLUMNS))}"),),
    ),
    "close_connection": Command(
        close_connection,
        "close_connection <connection pid> <explanation>",
        (2, 2),
        "Closing connection {0}, reason: {1}...",
        details=(("<connection pid>", "pid or name, as list_connections has them"), _REASON),
    ),
    "close_all_connections": Command(
        close_all_connections,
        "close_all_connections [--vhost <vhost> --limit <limit>] [-n <node> --global] [--per-connection-delay <delay>] <explanation>",
        (1, 1),
        _closing,
        options={"global": bool, "per_connection_delay": int, "limit": int},
        defaults={"global": False, "per_connection_delay": 0, "limit": 0},
        details=(
            _REASON,
            ("--global", "of all virtual hosts"),
            ("--limit <number>", "so many at most"),
            ("--per-connection-delay <milliseconds>", "wait after each"),
        ),
    ),
    "close_all_user_connections": Command(
        close_all_user_connections,
        "close_all_user_connections <username> <explanation>",
        (2, 2),
        "Closing connections of user {0}, reason: {1}...",
        details=(("<username>", "the user's name"), _REASON),
    ),
}

"""This node, and what RabbitMQ says of its own machinery."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from broker import identity
from broker.admin import figures
from broker.admin.schemas import counted
from broker.core.exchanges import exchange_types
from broker.node import HTTP, HTTPS, PROMETHEUS, PROMETHEUS_TLS

if TYPE_CHECKING:
    from broker.admin.shapes.stats import Reader
    from broker.node import Node

ERLANG_VERSION: Final = "26.2.5"
"""What RabbitMQ 3.13 runs on: some tools want to parse one."""
_EXCHANGE_TYPES: Final = {
    "direct": "AMQP direct exchange: by the whole routing key",
    "fanout": "AMQP fanout exchange: to everything that is bound",
    "headers": "AMQP headers exchange: by headers",
    "topic": "AMQP topic exchange: by patterns of words",
    "x-consistent-hash": "A share of all routing keys for each binding",
    "x-delayed-message": "Messages that wait for a while",
    "x-local-random": "One of the bound queues, by chance",
    "x-message-deduplication": "Each message once",
    "x-modulus-hash": "By the routing key's hash",
    "x-random": "One of the bound queues, by chance",
    "x-recent-history": "The latest messages for whoever is bound",
}
_MECHANISMS: Final = {
    "PLAIN": "SASL PLAIN authentication mechanism",
    "AMQPLAIN": "User and password in a table",
    "EXTERNAL": "The client's certificate",
    "ANONYMOUS": "No login at all",
}
_QUIET: Final = (
    "proc_used", "gc_num", "gc_bytes_reclaimed", "context_switches", "io_read_count", "io_read_bytes", "io_read_avg_time",
    "io_write_count", "io_write_bytes", "io_write_avg_time", "io_sync_count", "io_sync_avg_time", "io_seek_count", "io_seek_avg_time",
    "io_reopen_count", "mnesia_ram_tx_count", "mnesia_disk_tx_count", "msg_store_read_count", "msg_store_write_count",
    "queue_index_write_count", "queue_index_read_count",
)  # fmt: skip
"""Figures of Erlang and of RabbitMQ's stores, which readers expect to find: 0 here."""
_GC_QUEUES: Final = (
    "connection_closed", "channel_closed", "consumer_deleted", "exchange_deleted", "queue_deleted", "vhost_deleted", "node_node_deleted",
    "channel_consumer_deleted",
)  # fmt: skip
_CHURN: Final = (
    "connection_created", "connection_closed", "channel_created", "channel_closed", "queue_declared", "queue_created", "queue_deleted",
)  # fmt: skip


def exchange_type_list() -> list[dict[str, Any]]:
    """The types there are, by name."""
    return [{"name": name, "description": _EXCHANGE_TYPES.get(name, name), "enabled": True} for name in sorted(exchange_types)]


def listeners(node: Node) -> list[dict[str, Any]]:
    """Each address that is listened on."""
    backlog = node.config.tcp_options.backlog
    options = {"backlog": backlog, "nodelay": node.config.tcp_options.nodelay, "linger": [True, 0], "exit_on_close": False}
    found = [
        {
            "node": node.name,
            "protocol": each.protocol,
            "ip_address": each.host,
            "port": each.port,
            "socket_opts": options if each.protocol.startswith("amqp") else {"port": each.port, "cowboy_opts": {"sendfile": False}},
        }
        for each in node.listeners
    ]
    return sorted(found, key=lambda each: (each["protocol"], each["port"], each["ip_address"]))


def contexts(node: Node) -> list[dict[str, Any]]:
    """What is served over HTTP."""
    names = {
        HTTP: "RabbitMQ Management",
        HTTPS: "RabbitMQ Management",
        PROMETHEUS: "RabbitMQ Prometheus",
        PROMETHEUS_TLS: "RabbitMQ Prometheus",
    }
    prefix = node.config.management.path_prefix or "/"
    served = dict.fromkeys((names[each.protocol], each.protocol, each.port) for each in node.listeners if each.protocol in names)
    return [
        {
            "ssl_opts": [],
            "node": node.name,
            "description": name,
            "path": prefix if protocol not in (PROMETHEUS, PROMETHEUS_TLS) else "/",
            "cowboy_opts": "[{sendfile,false}]",
            "port": str(port),
        }
        for name, protocol, port in served
    ]


def erlang_full_version() -> str:
    """What it really runs on."""
    return f"Leveret {identity.LEVERET_VERSION} on Python {sys.version.split()[0]} [{sys.platform}]"


def of_node(node: Node, reader: Reader) -> dict[str, Any]:
    """GET /api/nodes/{name}"""
    config = node.config
    facts: dict[str, Any] = {
        "name": node.name,
        "type": "disc",
        "running": True,
        "being_drained": False,
        "partitions": [],
        "os_pid": str(os.getpid()),
        "fd_total": node.files_max,
        "sockets_total": node.sockets_max,
        "mem_limit": node.memory_limit_bytes,
        "mem_alarm": "memory" in node.alarms,
        "mem_calculation_strategy": "rss",
        "disk_free_limit": node.disk_free_limit_bytes,
        "disk_free_alarm": "disk" in node.alarms,
        "proc_total": 1_048_576,
        "rates_mode": "basic",
        "uptime": node.uptime_ms,
        "run_queue": 0,
        "processors": os.cpu_count() or 1,
        "exchange_types": exchange_type_list(),
        "auth_mechanisms": [
            {"name": name, "description": _MECHANISMS[name], "enabled": name in config.auth_mechanisms} for name in _MECHANISMS
        ],
        "applications": [{"name": "rabbit", "description": "RabbitMQ", "version": node.version}]
        + [{"name": name, "description": name, "version": node.version} for name in node.plugins],
        "contexts": [{name: value for name, value in each.items() if name not in ("node", "ssl_opts")} for each in contexts(node)],
        "log_files": log_files(node),
        "db_dir": "" if config.data_dir is None else str(config.data_dir),
        "config_files": [str(path) for path in config.config_files],
        "net_ticktime": 60,
        "enabled_plugins": node.plugins,
        "ra_open_file_metrics": {"ra_log_wal": 0, "ra_log_segment_writer": 0},
        "cluster_links": [],
        "metrics_gc_queue_length": dict.fromkeys(_GC_QUEUES, 0),
        "leveret_version": identity.LEVERET_VERSION,
    }
    if reader.is_disabled:
        return facts
    facts |= reader.of("node", figures.NODE, node).with_details(figures.NODE, "node_stats")
    facts |= reader.of("broker", figures.BROKER, node.broker).with_details(_CHURN, "node_stats")
    facts |= reader.of_nothing([name for name in _QUIET if not name.endswith("_time")], "node_stats")
    return facts | reader.of_nothing([name for name in _QUIET if name.endswith("_time")], "node_stats", 0.0)


def log_files(node: Node) -> list[str]:
    """Where lines go."""
    log = node.config.log
    files = [] if log.file is None else [str(log.file if log.dir is None else log.dir / log.file)]
    return files + ["<stdout>"] * log.console


# --- memory ---------------------------------------------------------------------------------------------------------

_PARTS: Final = (
    "connection_readers", "connection_writers", "connection_channels", "connection_other", "queue_procs", "queue_slave_procs",
    "quorum_queue_procs", "quorum_queue_dlx_procs", "stream_queue_procs", "stream_queue_replica_reader_procs",
    "stream_queue_coordinator_procs", "plugins", "other_proc", "metrics", "mgmt_db", "mnesia", "quorum_ets", "other_ets", "binary",
    "msg_index", "code", "atom", "other_system", "allocated_unused", "reserved_unallocated",
)  # fmt: skip
"""RabbitMQ's parts of its memory."""


def memory_parts(node: Node) -> dict[str, int]:
    """Bytes by RabbitMQ's names: messages and what connections hold as they are accounted, and the rest of what is resident."""
    resident = node.memory_used_bytes
    messages, held = node.broker.memory.used, node.server.alarms.connections_bytes
    parts = dict.fromkeys(_PARTS, 0)
    parts["binary"] = messages
    parts["connection_other"] = held
    parts["other_system"] = max(resident - messages - held, 0)
    return parts


def memory(node: Node) -> dict[str, Any]:
    """GET /api/nodes/{name}/memory"""
    resident = node.memory_used_bytes
    parts: dict[str, Any] = dict(memory_parts(node))
    return parts | {"strategy": "rss", "total": {"erlang": resident, "rss": resident, "allocated": resident}}


def memory_shares(node: Node) -> dict[str, int]:
    """GET /api/nodes/{name}/memory/relative: in hundredths, rounded up."""
    parts = memory_parts(node)
    whole = sum(parts.values()) or 1
    return {"total": 100} | {name: -(-100 * part // whole) for name, part in parts.items()}


# --- what that looks like -------------------------------------------------------------------------------------------

_NAMED: Final = {"name description": "string"}
SCHEMAS: Final = {
    "ExchangeType": _NAMED | {"enabled": "boolean"},
    "Mechanism": _NAMED | {"enabled": "boolean"},
    "Application": _NAMED | {"version": "string"},
    "Listener": {"node protocol ip_address": "string", "port": "integer", "socket_opts": "object"},
    "HttpContext": {"node description path cowboy_opts port": "string", "ssl_opts": "array"},
    "Node": {
        "name type os_pid mem_calculation_strategy rates_mode db_dir leveret_version": "string",
        "running being_drained mem_alarm disk_free_alarm": "boolean",
        "partitions cluster_links": "array",
        "fd_total sockets_total mem_limit disk_free_limit proc_total uptime run_queue processors net_ticktime": "integer",
        "exchange_types": "[ExchangeType]",
        "auth_mechanisms": "[Mechanism]",
        "applications": "[Application]",
        "contexts": "[HttpContext]",
        "log_files config_files enabled_plugins": "[string]",
        "ra_open_file_metrics metrics_gc_queue_length": "{integer}",
        "memory": "Memory",
        **counted(" ".join((*figures.NODE, *_CHURN, *(name for name in _QUIET if not name.endswith("_time"))))),
        **counted(" ".join(name for name in _QUIET if name.endswith("_time")), kind="number"),
    },
    "Memory": {" ".join(_PARTS): "integer", "strategy": "string", "total": "{integer}"},
    "MemoryShares": {" ".join(("total", *_PARTS)): "integer"},
}

"""Every setting that can be given: one table, and what is derived from it.

The keys are RabbitMQ's. `python -m broker.settings` writes conf/leveret.conf, the documentation of the table.
"""

from __future__ import annotations

import fnmatch
import sys
from pathlib import Path
from typing import Final, NamedTuple

LOG_LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "none")
_LEVELS: Final = f"one of {', '.join(LOG_LEVELS)}"

COMPAT_PROFILES: Final = ("3.13", "4.x")

_SIZE_UNIT: Final = "bytes, or with a unit: kB, MB, GB, KiB, MiB, GiB"
_SIZE_MAX: Final = 2**63 - 1
_SIZE: Final = f"a size from 0 to {_SIZE_MAX} bytes"
_FRACTION_MAX: Final = 1000
_FRACTION: Final = f"a number from 0.0 to {_FRACTION_MAX}.0"


class Setting(NamedTuple):
    """A row of the table.

    `kind` names a type of validation.py; `low` and `high` bound it (numbers in the file's unit, texts in bytes). `expected` ends the
    sentence "expected ..." of an error. A name that ends in `.*` stands for a family, shown in conf/leveret.conf as `example`.
    """

    name: str
    attribute: str
    kind: str
    default: str
    unit: str
    expected: str
    doc: str
    low: int = 0
    high: int = 0
    example: str = ""


SETTINGS: Final = (
    Setting(
        "listeners.tcp.default",
        "listeners",
        "endpoint",
        "5672",
        "port or address:port",
        "a port from 0 to 65535, or address:port",
        "Where AMQP is served. A port alone listens on 127.0.0.1 and ::1; name an address to be reached from elsewhere\n"
        "(:::5672 is every address, IPv6 and IPv4). Port 0 takes a free one.",
        0,
        65535,
    ),
    Setting(
        "listeners.tcp.*",
        "listeners",
        "endpoint",
        "none given",
        "port or address:port",
        "a port from 0 to 65535, or address:port",
        "More listeners, one key each (listeners.tcp.1, listeners.tcp.2, ...). Once one is given, only those given are served.",
        0,
        65535,
        "listeners.tcp.1 = 127.0.0.1:5672",
    ),
    Setting(
        "data_dir",
        "data_dir",
        "path",
        "the platform's user data directory",
        "path",
        "a path",
        "Where messages and declared things are kept. (Leveret's own key.)",
        example="data_dir = /var/lib/leveret",
    ),
    Setting(
        "default_user",
        "default_user",
        "text",
        "guest",
        "text",
        "a name of 1 to 255 bytes",
        "The user that is created on an empty data directory, an administrator with all permissions.",
        1,
        255,
    ),
    Setting("default_pass", "default_pass", "text", "guest", "text", "a password of 1 to 255 bytes", "That user's password.", 1, 255),
    Setting(
        "default_vhost",
        "default_vhost",
        "text",
        "/",
        "text",
        "a name of 1 to 255 bytes",
        "The virtual host that is created on an empty data directory.",
        1,
        255,
    ),
    Setting(
        "loopback_users.*",
        "loopback_users",
        "boolean",
        "true for guest",
        "true or false",
        "true or false",
        "Users that may connect from this machine only. Once one is given, only those set to true are meant.",
        example="loopback_users.guest = true",
    ),
    Setting(
        "loopback_users",
        "loopback_users",
        "none",
        "guest",
        "none",
        "none",
        "`none` lets every user connect from everywhere.",
        example="loopback_users = none",
    ),
    Setting(
        "heartbeat",
        "heartbeat_seconds",
        "integer",
        "60",
        "seconds",
        "a whole number of seconds from 0 to 65535",
        "The heartbeat interval proposed to clients, who may choose another. 0 proposes none.",
        0,
        65535,
    ),
    Setting(
        "frame_max",
        "frame_max_bytes",
        "frame_max",
        "131072",
        "bytes",
        "0, or a number of bytes from 4096 to 2147483647",
        "The largest frame, as proposed to clients. 0 sets no limit.",
        4096,
        2147483647,
    ),
    Setting(
        "channel_max",
        "channel_max",
        "integer",
        "2047",
        "channels",
        "a whole number from 0 to 65535",
        "The most channels on one connection, as proposed to clients. 0 sets no limit.",
        0,
        65535,
    ),
    Setting(
        "handshake_timeout",
        "handshake_timeout_seconds",
        "milliseconds",
        "10000",
        "milliseconds",
        "a whole number of milliseconds from 1 to 4294967295",
        "How long a new connection may take to open before it is closed.",
        1,
        4294967295,
    ),
    Setting(
        "max_message_size",
        "max_message_size_bytes",
        "size",
        "134217728",
        _SIZE_UNIT,
        "a size from 1 to 536870912 bytes",
        "The largest message body. Publishing a larger one closes the channel. With compat = 4.x the default is 16777216.",
        1,
        536870912,
    ),
    Setting(
        "compat",
        "compat",
        "compat",
        "3.13",
        "profile",
        "3.13 or 4.x",
        "Which RabbitMQ to behave like, where its versions differ: docs/compatibility.md. (Leveret's own key.)",
    ),
    Setting(
        "consumer_timeout",
        "consumer_timeout_ms",
        "integer",
        "1800000",
        "milliseconds",
        "a whole number of milliseconds from 0 to 315360000000",
        "How long a delivery may wait for its ack before the channel is closed. 0 sets no limit. A queue's x-consumer-timeout counts\n"
        "if it is less.",
        0,
        315360000000,
    ),
    Setting(
        "consumer_max_per_channel",
        "consumer_max_per_channel",
        "integer",
        "0",
        "consumers",
        "a whole number from 0 to 4294967295",
        "The most consumers on one channel; one more closes the connection. 0 sets no limit.",
        0,
        4294967295,
    ),
    Setting(
        "disk_free_limit.absolute",
        "disk_free_limit",
        "size",
        "50MB",
        _SIZE_UNIT,
        _SIZE,
        "With less space free on the disk of the data directory, publishers are blocked (the disk alarm).",
        0,
        _SIZE_MAX,
    ),
    Setting(
        "disk_free_limit.relative",
        "disk_free_limit",
        "fraction",
        "none given",
        "multiples of the machine's memory",
        _FRACTION,
        "The same as a multiple of the memory of the machine, or of its container. Wins over disk_free_limit.absolute.",
        0,
        _FRACTION_MAX,
        "disk_free_limit.relative = 1.0",
    ),
    Setting(
        "vm_memory_high_watermark.relative",
        "vm_memory_high_watermark",
        "fraction",
        "0.4",
        "share of the machine's memory",
        _FRACTION,
        "With more of the memory of the machine, or of its container, taken by messages and by what connections hold, publishers are\n"
        "blocked (the memory alarm). 0 blocks them always. Wins over vm_memory_high_watermark.absolute.",
        0,
        _FRACTION_MAX,
    ),
    Setting(
        "vm_memory_high_watermark.absolute",
        "vm_memory_high_watermark",
        "size",
        "none given",
        _SIZE_UNIT,
        _SIZE,
        "The same as a size.",
        0,
        _SIZE_MAX,
        "vm_memory_high_watermark.absolute = 2GiB",
    ),
    Setting(
        "cluster_name",
        "cluster_name",
        "text",
        "rabbit@HOST",
        "text",
        "a name of 1 to 255 bytes",
        "The name that clients are told in server-properties.",
        1,
        255,
        "cluster_name = rabbit@HOST",
    ),
    Setting("log.default.level", "log_level", "level", "info", "level", _LEVELS, f"The least severe lines that are logged: {_LEVELS}."),
    Setting("log.console.level", "log_level", "level", "info", "level", _LEVELS, "The same for stdout; wins over log.default.level."),
)

WINNING: Final = frozenset({"log.console.level", "disk_free_limit.relative", "vm_memory_high_watermark.relative"})
"""Keys that win over others of the same attribute, wherever in the file they stand: the console's level is the narrower one, and
RabbitMQ (rabbit.schema) takes a relative limit before an absolute one."""

RABBITMQ_VARIABLES: Final = {
    "RABBITMQ_NODE_PORT": Setting("", "port", "integer", "", "", "a port from 0 to 65535", "", 0, 65535),
    "RABBITMQ_NODE_IP_ADDRESS": Setting("", "host", "host", "", "", "an address, or auto for every address", ""),
    "RABBITMQ_DEFAULT_USER": next(row for row in SETTINGS if row.name == "default_user"),
    "RABBITMQ_DEFAULT_PASS": next(row for row in SETTINGS if row.name == "default_pass"),
    "RABBITMQ_DEFAULT_VHOST": next(row for row in SETTINGS if row.name == "default_vhost"),
}
"""RabbitMQ's environment variables; port and host change the listeners that the file gives."""

NOT_HERE: Final = """
    listeners.tcp listeners.ssl.* ssl_options.* default_user_tags.* default_permissions.* default_users.* anonymous_login_user
    anonymous_login_pass load_definitions definitions.* initial_frame_max ssl_handshake_timeout
    vm_memory_high_watermark_paging_ratio vm_memory_calculation_strategy memory_monitor_interval
    total_memory_available_override_value max_connections vhost_max channel_max_per_node
    max_channels_per_connection default_queue_type queue_leader_locator queue_master_locator cluster_tags.*
    node_tags.* collect_statistics collect_statistics_interval auth_mechanisms.* auth_backends.* auth_http.* auth_ldap.* auth_oauth2.*
    auth_cache.* password_hashing_module log.* tcp_listen_options.* num_acceptors.* reverse_dns_lookups proxy_protocol management.*
    management_agent.* prometheus.* queue_index_embed_msgs_below queue_index_max_journal_entries default_policies.* default_limits.*
    deprecated_features.* cluster_formation.* cluster_partition_handling cluster_keepalive_interval net_ticktime raft.* quorum_queue.*
    quorum_commands_soft_limit classic_queue.* mirroring_sync_batch_size background_gc_enabled background_gc_target_interval
    lazy_queue_explicit_gc_run_operation_threshold mqtt.* web_mqtt.* stomp.* web_stomp.* stream.* amqp1_0.* shovel.* federation.*
    distribution.* kernel.* sysmon_handler.* osiris.* product.name product.version motd_file message_interceptors.* trace_vhosts
    credential_validator.* vhost_restart_strategy msg_store_file_size_limit msg_store_credit_disc_bound.*
    mnesia_table_loading_retry_timeout mnesia_table_loading_retry_limit khepri_default_timeout
""".split()
"""Settings of RabbitMQ that Leveret doesn't have: a file that sets one still starts, with a warning."""

_EXACT: Final = {row.name: row for row in SETTINGS if not row.name.endswith(".*")}
_FAMILIES: Final = {row.name.removesuffix("*"): row for row in SETTINGS if row.name.endswith(".*")}


def find(key: str) -> Setting | None:
    """Return the setting that `key` of a file means, None if there is none."""
    if key in _EXACT:
        return _EXACT[key]
    head, dot, last = key.rpartition(".")
    return _FAMILIES.get(head + dot) if last else None


def is_rabbitmqs(key: str) -> bool:
    """Return whether RabbitMQ has this key."""
    return any(fnmatch.fnmatchcase(key, pattern) for pattern in NOT_HERE)


def nearest(key: str) -> str | None:
    """Return the known key that looks most like `key`, None if none does."""
    import difflib

    known = [row.name for row in SETTINGS if row.name in _EXACT] + [name for name in NOT_HERE if "*" not in name] + ["loopback_users.guest"]
    near = difflib.get_close_matches(key, known, n=1)
    return near[0] if near else None


def variable_of_key(key: str) -> str:
    """Return the environment variable for a key: LEVERET_LISTENERS_TCP_DEFAULT for listeners.tcp.default."""
    return "LEVERET_" + key.upper().replace(".", "_")


def key_of_variable(variable: str) -> str | None:
    """Return the key that a LEVERET_ variable means, None if there is none; a family's last part is taken in lower case."""
    for name in _EXACT:
        if variable == variable_of_key(name):
            return name
    for head in _FAMILIES:
        if variable.startswith(variable_of_key(head)) and variable != variable_of_key(head):
            return head + variable.removeprefix(variable_of_key(head)).lower()
    return None


def default_data_dir() -> Path:
    """Return the platform's user data directory for Leveret, on Linux ~/.local/share/leveret. It may not exist yet."""
    import platformdirs  # 24 ms, which a start with a data directory of its own saves

    return Path(platformdirs.user_data_dir("leveret", appauthor=False))


def conf_text() -> str:
    """Return conf/leveret.conf: every setting with its documentation, unit and default, commented out."""
    lines = [
        "# Leveret's configuration, with every setting at its default: `leveret serve --config leveret.conf`.",
        "# The format and the keys are rabbitmq.conf's. The environment (LEVERET_ and the key in capitals, dots as underscores; also",
        "# RABBITMQ_NODE_PORT, RABBITMQ_NODE_IP_ADDRESS, RABBITMQ_DEFAULT_USER, _PASS and _VHOST) wins over the file, and the command",
        "# line over both. Written by `python -m broker.settings`: change broker/settings.py, not this file.",
    ]
    for row in SETTINGS:
        lines.append("")
        lines += [f"# {line}" for line in row.doc.split("\n")]
        lines.append(f"# Unit: {row.unit}. Default: {row.default}.")
        lines.append(f"# {row.example or f'{row.name} = {row.default}'}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(conf_text())

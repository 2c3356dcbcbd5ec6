"""The rows of the node: what it keeps, loads, limits and is called."""

from __future__ import annotations

from typing import Final

from broker.config import COMPAT_PROFILES
from broker.settings.setting import (
    BINARY_SIZE_UNIT,
    INT_MAX,
    MS_MAX,
    SIZE_MAX,
    Setting,
    boolean,
    choice,
    integer,
    path,
    regex,
    secret,
    size,
    text,
)

FRACTION_MAX: Final = 1000
"""Of the memory: more is a mistake."""
_FRACTION: Final = f"a number from 0.0 to {FRACTION_MAX}.0"
_INFINITY: Final = {"infinity": None}
_LOCAL: Final = dict.fromkeys(
    ("local_filesystem", "local", "rabbit_definitions_import_local_filesystem", "rabbitmq_definitions_import_local_filesystem")
)
_QUEUE_TYPES: Final = {
    "classic": "classic", "quorum": "quorum", "rabbit_classic_queue": "classic", "rabbit_quorum_queue": "quorum",
}  # fmt: skip
_OPERATOR: Final = "default_policies.operator"


def _definitions(name: str, default: str | None, doc: str, example: str) -> Setting:
    return Setting(name, "load_definitions", "definitions", default, "path", "a file or a directory that is there", doc, example=example)


def _duration(name: str, attribute: str, doc: str, example: str) -> Setting:
    return Setting(name, attribute, "duration", None, "milliseconds, or with units: 1d, 2h, 30m, 10s, 500ms",
        f"a duration from 1 to {MS_MAX} milliseconds", doc, 1, MS_MAX, example)  # fmt: skip


ROWS: Final = (
    path(
        "data_dir",
        "data_dir",
        "Where messages and declared things are kept; `none`: in memory alone. Not given: the platform's user data directory, on\n"
        "Linux ~/.local/share/leveret. (Leveret's own key.)",
        "data_dir = /var/lib/leveret",
        {"none": None},
    ),
    path(
        "pid_file",
        "pid_file",
        "Where the process id is written, for `rabbitmqctl wait FILE` and for init scripts; the file goes when the broker stops. `none`:\n"
        "nowhere, which is the default. (Leveret's own key: RABBITMQ_PID_FILE.)",
        "pid_file = /run/leveret/leveret.pid",
        {"none": None},
    ),
    text(
        "node_name",
        "node_name",
        None,
        "a name",
        "The node's name. Not given: rabbit@HOST. (Leveret's own key: RABBITMQ_NODENAME.)",
        "node_name = rabbit@orders",
    ),
    text(
        "cluster_name",
        "cluster_name",
        None,
        "a name",
        "The name that clients are told in server-properties. Not given: the node's name.",
        "cluster_name = rabbit@HOST",
    ),
    choice(
        "compat",
        "compat",
        "3.13",
        {profile: profile for profile in COMPAT_PROFILES},
        "Which RabbitMQ to behave like, where its versions differ: docs/compatibility.md. (Leveret's own key.)",
    ),
    integer(
        "heartbeat",
        "heartbeat_seconds",
        "60",
        "seconds",
        0,
        65535,
        "The heartbeat interval proposed to clients, who may choose another. 0 proposes none.",
    ),
    Setting(
        "frame_max",
        "frame_max_bytes",
        "bytesize",
        "131072",
        BINARY_SIZE_UNIT,
        "0, or a number of bytes from 4096 to 2147483647",
        "The largest frame, as proposed to clients. 0 sets no limit.",
        4096,
        2147483647,
        words={"0": 0},
    ),
    integer(
        "channel_max",
        "channel_max",
        "2047",
        "channels",
        0,
        65535,
        "The most channels on one connection, as proposed to clients. 0 sets no limit.",
    ),
    integer(
        "max_channels_per_connection",
        "channel_max",
        None,
        "channels",
        0,
        65535,
        "Another name for channel_max (RabbitMQ 4.x).",
        example="max_channels_per_connection = 2047",
    ),
    integer(
        "channel_max_per_node",
        "channel_max_per_node",
        "infinity",
        "channels",
        1,
        INT_MAX,
        "The most channels of all connections.",
        words=_INFINITY,
    ),
    integer("connection_max", "connection_max", "infinity", "connections", 0, INT_MAX, "The most connections.", words=_INFINITY),
    integer(
        "max_connections",
        "connection_max",
        None,
        "connections",
        0,
        INT_MAX,
        "Another name for connection_max (RabbitMQ 4.x).",
        words=_INFINITY,
        example="max_connections = infinity",
    ),
    integer("vhost_max", "vhost_max", "infinity", "vhosts", 0, INT_MAX, "The most virtual hosts.", words=_INFINITY),
    integer(
        "consumer_max_per_channel",
        "consumer_max_per_channel",
        "infinity",
        "consumers",
        0,
        INT_MAX,
        "The most consumers on one channel; one more closes the connection. 0 sets no limit either.",
        words={"infinity": 0},
    ),
    size(
        "max_message_size",
        "max_message_size_bytes",
        "134217728",
        1,
        536870912,
        "The largest message body. Publishing a larger one closes the channel. With compat = 4.x the default is 16777216.",
    ),
    integer(
        "consumer_timeout",
        "consumer_timeout_ms",
        "1800000",
        "milliseconds",
        0,
        MS_MAX,
        "How long a delivery may wait for its ack before the channel is closed. 0 sets no limit. A queue's x-consumer-timeout counts\n"
        "if it is less.",
    ),
    choice(
        "default_queue_type",
        "default_queue_type",
        "classic",
        _QUEUE_TYPES,
        "What a queue is that doesn't say.",
        expected="classic or quorum (Leveret has no streams)",
    ),
    size(
        "disk_free_limit.absolute",
        "disk_free_limit",
        "50MB",
        0,
        SIZE_MAX,
        "With less space free on the disk of the data directory, publishers are blocked (the disk alarm).",
    ),
    Setting(
        "disk_free_limit.relative",
        "disk_free_limit",
        "fraction",
        None,
        "multiples of the machine's memory",
        _FRACTION,
        "The same as a multiple of the memory of the machine, or of its container. disk_free_limit.absolute wins over it.",
        0,
        FRACTION_MAX,
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
        "blocked (the memory alarm). 0 blocks them always.",
        0,
        FRACTION_MAX,
    ),
    size(
        "vm_memory_high_watermark.absolute",
        "vm_memory_high_watermark",
        None,
        0,
        SIZE_MAX,
        "The same as a size. Wins over vm_memory_high_watermark.relative.",
        "vm_memory_high_watermark.absolute = 2GiB",
    ),
    _definitions(
        "load_definitions",
        None,
        "A file of definitions, or a directory of them, imported at each start.",
        "load_definitions = /etc/leveret/definitions.json",
    ),
    _definitions(
        "definitions.local.path",
        None,
        "The same (RabbitMQ's newer name). load_definitions wins over it.",
        "definitions.local.path = /etc/leveret/definitions.d",
    ),
    _definitions(
        "management.load_definitions",
        None,
        "The same (RabbitMQ's older name). The other two win over it.",
        "management.load_definitions = /etc/leveret/definitions.json",
    ),
    choice(
        "definitions.import_backend",
        "",
        "local_filesystem",
        _LOCAL,
        "How they are got at; there is no other way.",
        expected="local_filesystem (Leveret gets no definitions over https)",
    ),
    boolean(
        "definitions.skip_if_unchanged", "definitions_skip_if_unchanged", "false", "Don't import again what was imported at the last start."
    ),
    boolean(
        "definitions.replace_default_user",
        "definitions_replace_default_user",
        "false",
        "RabbitMQ's way: with definitions to load no default user and vhost are created. (Leveret's own key.)",
    ),
    regex(
        "default_limits.vhosts.*.pattern",
        "default_limits",
        None,
        "What new virtual hosts with such names are limited to. Not given: .*, all. `1` is a name of your choice.",
        "default_limits.vhosts.1.pattern = ^customer-",
    ),
    integer(
        "default_limits.vhosts.*.max_connections",
        "default_limits",
        None,
        "connections",
        1,
        INT_MAX,
        "Their most connections.",
        example="default_limits.vhosts.1.max_connections = 100",
    ),
    integer(
        "default_limits.vhosts.*.max_queues",
        "default_limits",
        None,
        "queues",
        1,
        INT_MAX,
        "Their most queues.",
        example="default_limits.vhosts.1.max_queues = 1000",
    ),
    regex(
        f"{_OPERATOR}.*.vhost_pattern",
        "default_policies",
        None,
        "Operator policies that new virtual hosts with such names get. Not given: .*, all. `1` is the policy's name.",
        f"{_OPERATOR}.1.vhost_pattern = ^customer-",
    ),
    regex(
        f"{_OPERATOR}.*.queue_pattern",
        "default_policies",
        None,
        "The queues that it applies to. Not given: .*, all.",
        f"{_OPERATOR}.1.queue_pattern = ^events",
    ),
    choice(
        f"{_OPERATOR}.*.apply_to",
        "default_policies",
        None,
        {word: word for word in ("all", "queues", "exchanges", "classic_queues", "quorum_queues", "streams")},
        "Which kind of thing it applies to. Not given: all.",
        f"{_OPERATOR}.1.apply_to = classic_queues",
    ),
    _duration(f"{_OPERATOR}.*.expires", "default_policies", "Its key expires.", f"{_OPERATOR}.1.expires = 1h"),
    _duration(f"{_OPERATOR}.*.message_ttl", "default_policies", "Its key message-ttl.", f"{_OPERATOR}.1.message_ttl = 30s"),
    integer(
        f"{_OPERATOR}.*.max_length",
        "default_policies",
        None,
        "messages",
        1,
        INT_MAX,
        "Its key max-length.",
        example=f"{_OPERATOR}.1.max_length = 100000",
    ),
    size(
        f"{_OPERATOR}.*.max_length_bytes",
        "default_policies",
        None,
        1,
        SIZE_MAX,
        "Its key max-length-bytes.",
        f"{_OPERATOR}.1.max_length_bytes = 1GB",
    )._replace(kind="bytesize", unit=BINARY_SIZE_UNIT),
    integer(
        f"{_OPERATOR}.*.delivery_limit",
        "default_policies",
        None,
        "deliveries",
        1,
        INT_MAX,
        "Its key delivery-limit.",
        example=f"{_OPERATOR}.1.delivery_limit = 20",
    ),
    boolean(
        "event_exchange",
        "event_exchange",
        "false",
        "Publish what happens to amq.rabbitmq.event in the default vhost, as RabbitMQ's rabbitmq_event_exchange does. (Leveret's own key.)",
    ),
    boolean(
        "testing",
        "testing.enabled",
        "false",
        "A broker for tests: its time can be moved, faults can be ordered, and it remembers all that happens. Not for anything else: it\n"
        "is slower, and its memory grows. docs/testing.md. (Leveret's own key.)",
    ),
    secret(
        "testing.token",
        "testing.token",
        None,
        "a token",
        "What whoever moves its time and so on has to bring. Not given: one is made up at the start, and logged. (Leveret's own key.)",
        "testing.token = anything",
    ),
    integer(
        "testing.seed",
        "testing.seed",
        None,
        "number",
        0,
        2**63 - 1,
        "What names, tags and everything else that is left to chance depend on. Not given: another one each time. (Leveret's own key.)",
        example="testing.seed = 42",
    ),
)

"""What the broker is configured with.

`Config` is what the running server reads: frozen, complete, every unit in the name. `load` makes one of what was given:
configuration files, then the environment, then the command line, a later one winning. What may be given is the table in
`settings/`; a file's grammar is in `config_file.py`, types in `validation.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from protocol import constants

AMQP_PORT: Final = 5672
AMQPS_PORT: Final = 5671
MANAGEMENT_PORT: Final = 15672
MANAGEMENT_TLS_PORT: Final = 15671
PROMETHEUS_PORT: Final = 15692
PROMETHEUS_TLS_PORT: Final = 15691
USUAL: Final = -1
"""A port that nobody asked for: the usual one if it is free, and a free one where AMQP is served on a free one."""
LOOPBACK_HOSTS: Final = ("127.0.0.1", "::1")
LOG_LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "none")
"""RabbitMQ's names, the least severe first."""
COMPAT_PROFILES: Final = ("3.13", "4.x")


class ConfigError(Exception):
    """What was given can't be used; the text has one line per problem, each with its place, key, value and what was expected."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple("".join(map(_visible, problem)) for problem in problems)
        super().__init__("\n".join(self.problems))


def _visible(character: str) -> str:
    """A file may be anything: what isn't text must not reach a terminal."""
    return character if character.isprintable() else character.encode("unicode_escape").decode()


class Listener(NamedTuple):
    """One address to listen on: an IP address or a host name, and a TCP port (0: the system picks one, the same for all hosts)."""

    host: str
    port: int
    tls: bool = False


@dataclass(frozen=True, slots=True)
class SniHost:
    """The certificate that a client gets which asks for this server name."""

    hostname: str
    certfile: Path
    keyfile: Path


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """ssl_options.*, management.ssl.* or prometheus.ssl.*: what TLS listeners present, and what they ask of clients."""

    certfile: Path | None = None
    keyfile: Path | None = None
    password: str | None = field(default=None, repr=False)
    """Opens the key file."""
    cacertfile: Path | None = None
    verify_peer: bool = False
    fail_if_no_peer_cert: bool = False
    depth: int | None = None
    """Certificates between the peer's and the trusted one, at the most; None: as many as the library allows."""
    versions: tuple[str, ...] = ("tlsv1.2", "tlsv1.3")
    ciphers: tuple[str, ...] = ()
    """OpenSSL's names; none: the library's choice."""
    honor_cipher_order: bool = True
    sni: tuple[SniHost, ...] = ()
    name: str = field(default="ssl_options", compare=False)
    """What these settings are called, for messages."""


@dataclass(frozen=True, slots=True)
class TcpOptions:
    """tcp_listen_options.*; None leaves a buffer to the system."""

    backlog: int = 1024
    nodelay: bool = True
    keepalive: bool = False
    sndbuf: int | None = None
    recbuf: int | None = None
    linger_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class ManagementOptions:
    """management.*: the HTTP API."""

    port: int | None = USUAL
    """A TCP port (0: a free one), or USUAL, which is none where there is `tls_port`; None: it isn't served."""
    ip: str | None = None
    """An address; None: those of the AMQP listeners."""
    tls_port: int | None = None
    tls_ip: str | None = None
    ssl_options: TlsOptions | None = None
    """Where it is served over TLS, and with what; without a port nowhere, and without options with those of AMQP."""
    path_prefix: str = ""
    """What stands before /api in all paths: empty, or with a slash in front and none behind."""
    max_body_size_bytes: int = 10_000_000
    cors_allow_origins: tuple[str, ...] = ()
    cors_max_age_seconds: int = 1800
    disable_basic_auth: bool = False
    """Nobody logs in with a password; the control socket needs none."""
    login_session_minutes: int | None = None
    """What /api/whoami tells a browser: how long it may remember a login."""
    disable_stats: bool = False
    """Figures of messages and rates are left out."""
    enable_queue_totals: bool = False
    """But for how many messages queues have."""


@dataclass(frozen=True, slots=True)
class PrometheusOptions:
    """prometheus.*: the metrics."""

    port: int | None = USUAL
    ip: str | None = None
    """As for ManagementOptions."""
    path: str = "/metrics"
    """Written as ManagementOptions.path_prefix is."""
    tls_port: int | None = None
    tls_ip: str | None = None
    ssl_options: TlsOptions | None = None
    """Likewise."""
    return_per_object_metrics: bool = False
    """At `path` too, and not only below it."""
    authentication_enabled: bool = False
    """Only users with the tag monitoring or administrator may see them."""


@dataclass(frozen=True, slots=True)
class HttpBackendOptions:
    """auth_http.*: a server that decides (https://github.com/rabbitmq/rabbitmq-server/tree/main/deps/rabbitmq_auth_backend_http)."""

    http_method: str = "get"
    """get or post."""
    user_path: str = field(default="http://localhost:8000/auth/user", repr=False)
    vhost_path: str = field(default="http://localhost:8000/auth/vhost", repr=False)
    resource_path: str = field(default="http://localhost:8000/auth/resource", repr=False)
    topic_path: str = field(default="http://localhost:8000/auth/topic", repr=False)
    """Where to ask: http or https URLs, which may have a user and a password in them."""
    request_timeout_seconds: float = 15.0
    """From the question to the answer."""
    connection_timeout_seconds: float = 15.0
    cacertfile: Path | None = None
    """Who signs the certificates of https servers; None: whom the system trusts."""
    certfile: Path | None = None
    keyfile: Path | None = None
    """What is presented to an https server that asks for a certificate."""
    verify_peer: bool = True
    """False takes any certificate."""


@dataclass(frozen=True, slots=True)
class AuthBackend:
    """One of auth_backends.N: who says who a user is, and who says what it may do. Both are `internal` or `http`."""

    authn: str = "internal"
    authz: str = "internal"


@dataclass(frozen=True, slots=True)
class DefaultUser:
    """One of default_users.NAME: a user that is created on an empty data directory."""

    name: str
    password: str | None = field(default=None, repr=False)
    """None: nobody logs in as this user with a password."""
    tags: tuple[str, ...] = ()
    vhost_pattern: str = ".*"
    configure: str = ".*"
    write: str = ".*"
    read: str = ".*"


@dataclass(frozen=True, slots=True)
class DefaultLimit:
    """One of default_limits.vhosts.N: what a new vhost with such a name is limited to; None sets no limit."""

    pattern: str
    max_connections: int | None = None
    max_queues: int | None = None


@dataclass(frozen=True, slots=True)
class DefaultPolicy:
    """One of default_policies.operator.NAME: an operator policy that a new vhost with such a name gets. `definition` has the keys of a
    policy (`max-length`), in pairs."""

    name: str
    vhost_pattern: str = ".*"
    queue_pattern: str = ".*"
    apply_to: str = "all"
    definition: tuple[tuple[str, int | str], ...] = ()


@dataclass(frozen=True, slots=True)
class LogOptions:
    """log.*: where lines go. Levels are keys of `logs.LEVELS`."""

    console: bool = True
    console_level: str | None = None
    """None: the category's."""
    console_json: bool = False
    file: Path | None = None
    """None: no file. A name without a directory lies in `dir`."""
    file_level: str | None = None
    file_json: bool = False
    dir: Path | None = None
    rotation_bytes: int = 0
    """0: never by size."""
    rotation_count: int = 0
    """Old files kept."""
    rotation_date: str = ""
    """RabbitMQ's notation: $D0 at midnight, $H00 each hour, $W0D0 each Sunday; empty: never by time."""
    exchange: bool = False
    """Also publish the lines to amq.rabbitmq.log in the default vhost."""
    exchange_level: str | None = None
    levels: tuple[tuple[str, str], ...] = (("default", "info"),)
    """By category: default, connection, channel, queue, upgrade; one that isn't here is as `default`."""


@dataclass(frozen=True, slots=True)
class RigOptions:
    """testing.*: a broker for tests (docs/testing.md)."""

    __test__ = False  # pytest takes it for a test by its name

    enabled: bool = False
    """Time can be moved, faults ordered, and everything that happens is remembered."""
    token: str | None = field(default=None, repr=False)
    """What requests for that have to bring; None: one that is made up at the start, and logged."""
    seed: int | None = None
    """What chance depends on; None: another one each time."""


@dataclass(frozen=True, slots=True)
class Config:
    """The running server's configuration; the defaults are RabbitMQ's, but for the listeners, which stay on loopback."""

    listeners: tuple[Listener, ...] = tuple(Listener(host, AMQP_PORT) for host in LOOPBACK_HOSTS)
    default_host: str | None = None
    """Where listeners are that were given as ports alone; None: on loopback. `listeners` have it already."""
    data_dir: Path | None = None
    """Where the log and the catalog live; None keeps everything in memory."""
    heartbeat_seconds: int = constants.HEARTBEAT_SECONDS
    """Proposed in connection.tune; 0 turns heartbeats off."""
    frame_max_bytes: int = constants.FRAME_MAX_BYTES
    """Proposed in connection.tune; 0 sets no limit."""
    channel_max: int = constants.CHANNEL_MAX
    """Proposed in connection.tune; 0 sets no limit."""
    handshake_timeout_seconds: float = constants.HANDSHAKE_TIMEOUT_SECONDS
    compat: str = "3.13"
    """Which RabbitMQ to behave like: a key of broker.core.compat.PROFILES."""
    max_message_size_bytes: int = constants.MESSAGE_SIZE_MAX_BYTES
    consumer_timeout_ms: int = 1_800_000
    """In which a delivery has to be acked; 0 sets no limit."""
    consumer_max_per_channel: int = 0
    """0 sets no limit."""
    disk_free_limit: float = 50_000_000
    """Less free space raises the disk alarm: an int is bytes, a float a multiple of the machine's memory."""
    vm_memory_high_watermark: float = 0.4
    """More memory raises the memory alarm: an int is bytes, a float a share of the machine's memory."""
    default_user: str = "guest"
    default_pass: str = field(default="guest", repr=False)
    default_vhost: str = "/"
    """User, password and vhost are created on an empty data directory only."""
    loopback_users: frozenset[str] = frozenset({"guest"})
    """Users that may only connect from this machine."""
    default_user_tags: tuple[str, ...] = ("administrator",)
    default_permissions: tuple[str, str, str] = (".*", ".*", ".*")
    """configure, write and read of the default user in the default vhost."""
    default_users: tuple[DefaultUser, ...] = ()
    load_definitions: Path | None = None
    """A file of definitions, or a directory of them, imported at each start."""
    definitions_skip_if_unchanged: bool = False
    definitions_replace_default_user: bool = False
    """RabbitMQ's way: with definitions to load no default user and vhost are created."""
    password_hashing: str = "rabbit_password_hashing_sha256"
    """A key of broker.access.passwords.ALGORITHMS."""
    auth_mechanisms: tuple[str, ...] = ("PLAIN", "AMQPLAIN")
    """Of PLAIN, AMQPLAIN, EXTERNAL and ANONYMOUS, in the order of connection.start."""
    auth_backends: tuple[AuthBackend, ...] = (AuthBackend(),)
    auth_http: HttpBackendOptions = HttpBackendOptions()
    auth_cache_seconds: float = 15.0
    """How long a decision of another server's is remembered; 0 asks each time."""
    anonymous_login_user: str | None = "guest"
    login_failures_max: int = 5
    """Refused logins from one address in a minute; from then on each further login from there waits before it is answered, 0.1 s at
    first, then twice as long with each that is refused. Loopback addresses never wait. 0: nobody waits."""
    login_delay_max_seconds: float = 5.0
    """The longest such wait."""
    ssl_options: TlsOptions | None = None
    ssl_handshake_timeout_seconds: float = 5.0
    ssl_cert_login_from: str = "distinguished_name"
    """distinguished_name, common_name or subject_alternative_name."""
    ssl_cert_login_san_type: str = "dns"
    """dns, ip, email, uri or other_name."""
    ssl_cert_login_san_index: int = 0
    proxy_protocol: bool = False
    """All AMQP listeners, and no other peers than proxies that say whom they speak for."""
    tcp_options: TcpOptions = TcpOptions()
    management: ManagementOptions = ManagementOptions()
    prometheus: PrometheusOptions = PrometheusOptions()
    connection_max: int | None = None
    """Connections of this node, at the most; None sets no limit, here and below."""
    vhost_max: int | None = None
    channel_max_per_node: int | None = None
    default_limits: tuple[DefaultLimit, ...] = ()
    default_policies: tuple[DefaultPolicy, ...] = ()
    default_queue_type: str = "classic"
    """classic or quorum: what a queue is that doesn't say."""
    event_exchange: bool = False
    """Publish what happens to amq.rabbitmq.event in the default vhost (RabbitMQ's rabbitmq_event_exchange)."""
    cluster_name: str | None = None
    """None: the node's name, rabbit@HOST."""
    node_name: str | None = None
    """None: rabbit@HOST, without the domain."""
    pid_file: Path | None = None
    """Where the process id is written; None: nowhere."""
    log: LogOptions = LogOptions()
    testing: RigOptions = RigOptions()
    config_files: tuple[Path, ...] = ()
    """The files that were read, in that order."""
    warnings: tuple[str, ...] = ()
    """What was given and isn't used: for the log."""


def load(
    *,
    environ: Mapping[str, str],
    config_file: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    http_port: str | None = None,
    data_dir: Path | None = None,
    memory: bool = False,
    log_level: str | None = None,
    log_file: Path | None = None,
    testing: bool = False,
    seed: int | None = None,
) -> Config:
    """Return the configuration that files, environment and command line (the keywords) make together: docs/configuration.md.

    Raises ConfigError with every problem that was found. Without a data directory from anywhere it is the platform's user data
    directory; `memory` means none. `log_level`, a key of `logs.LEVELS`, is that of the console and of the default category; with a
    `log_file` nothing goes to the console.
    """
    from broker.settings import loading

    typed = loading.command_line(
        host,
        port,
        None if memory else data_dir,
        log_level,
        memory=memory,
        http_port=http_port,
        log_file=log_file,
        testing=testing,
        seed=seed,
    )
    return loading.load(environ, config_file, typed).config

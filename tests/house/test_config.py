"""Configuration: what file, environment and command line give, which wins, and what a mistake is told."""

import dataclasses
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from broker import config as configuration
from broker import logs
from broker.config import (
    LOG_LEVELS,
    AuthBackend,
    Config,
    ConfigError,
    DefaultLimit,
    DefaultPolicy,
    DefaultUser,
    HttpBackendOptions,
    Listener,
    LogOptions,
    ManagementOptions,
    PrometheusOptions,
    RigOptions,
    SniHost,
    TcpOptions,
    TlsOptions,
    load,
)  # fmt: skip
from broker.settings import documentation, table
from tests.house.conftest import ROOT

ROTATION = "$D<hour>, $H<minute>, $W<day of the week, 0 is Sunday>D<hour> or $M<day of the month or L>D<hour>, such as $D0"
LOOPBACK = (Listener("127.0.0.1", 5672), Listener("::1", 5672))
TLS = (Listener("127.0.0.1", 5671, tls=True), Listener("::1", 5671, tls=True))
EVERYWHERE = (Listener("0.0.0.0", 5672), Listener("::", 5672))
HERE = str(Path(__file__))


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    return tmp_path / "rabbitmq.conf"


def read(conf: Path, text: str, **environ: str) -> Config:
    conf.write_text(text, encoding="utf-8")
    return load(environ=environ, config_file=conf, memory=True)


def problems(conf: Path, text: str, **environ: str) -> list[str]:
    """The problems of a file, without the folder that it lies in."""
    with pytest.raises(ConfigError) as caught:
        read(conf, text, **environ)
    return [problem.replace(f"{conf.parent}/", "") for problem in caught.value.problems]


def test_nothing_given_is_the_defaults() -> None:
    assert load(environ={}, memory=True) == Config()
    assert Config().listeners == LOOPBACK


def test_the_default_data_directory_is_the_platforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    data_dir = load(environ={}).data_dir
    assert data_dir is not None
    assert data_dir.name == "leveret"
    assert load(environ={}, data_dir=tmp_path).data_dir == tmp_path
    assert load(environ={"LEVERET_DATA_DIR": "/elsewhere"}).data_dir == Path("/elsewhere")
    assert load(environ={"LEVERET_DATA_DIR": "/elsewhere"}, memory=True).data_dir is None


@pytest.mark.parametrize(
    ("line", "attribute", "value"),
    [
        ("listeners.tcp.default = 5673", "listeners", (Listener("127.0.0.1", 5673), Listener("::1", 5673))),
        ("listeners.tcp.default = 0", "listeners", (Listener("127.0.0.1", 0), Listener("::1", 0))),
        ("listeners.tcp.1 = 10.0.0.1:5672", "listeners", (Listener("10.0.0.1", 5672),)),
        ("listeners.tcp.1 = ::1:5672", "listeners", (Listener("::1", 5672),)),
        ("listeners.tcp.1 = [::1]:5672", "listeners", (Listener("::1", 5672),)),
        ("listeners.tcp.all = :::5672", "listeners", EVERYWHERE),
        ("listeners.tcp.1 = *:5672", "listeners", EVERYWHERE),
        ("default_host = ::", "listeners", EVERYWHERE),
        ("default_host = loopback", "listeners", LOOPBACK),
        ("default_host = 10.0.0.1", "default_host", "10.0.0.1"),
        (
            "default_host = 10.0.0.1\nlisteners.tcp.1 = 1\nlisteners.tcp.2 = ::1:2\nlisteners.ssl.1 = 3",
            "listeners",
            (Listener("10.0.0.1", 1), Listener("::1", 2), Listener("10.0.0.1", 3, tls=True)),
        ),
        ("listeners.ssl.default = 5671", "listeners", (*LOOPBACK, *TLS)),
        (
            "listeners.tcp = none\nlisteners.ssl.1 = 5671\nlisteners.ssl.2 = 10.0.0.1:1",
            "listeners",
            (*TLS, Listener("10.0.0.1", 1, tls=True)),
        ),
        ("listeners.ssl = none", "listeners", LOOPBACK),
        ("listeners.ssl.1 = 5671\nlisteners.ssl = none", "listeners", LOOPBACK),
        (
            "listeners.tcp.1 = 10.0.0.1:5672\nlisteners.tcp.2 = localhost:5673",
            "listeners",
            (Listener("10.0.0.1", 5672), Listener("localhost", 5673)),
        ),
        ("listeners.tcp.1 = 10.0.0.1:1\nlisteners.tcp.2 = 10.0.0.1:1", "listeners", (Listener("10.0.0.1", 1),)),
        ("data_dir = /var/lib/leveret", "data_dir", None),  # --memory wins
        ("default_user = alice", "default_user", "alice"),
        ("default_pass = s3cret=x", "default_pass", "s3cret=x"),
        ("default_pass = 1234", "default_pass", "1234"),
        ("default_vhost = /orders", "default_vhost", "/orders"),
        ("loopback_users = none", "loopback_users", frozenset()),
        ("loopback_users.guest = false", "loopback_users", frozenset()),
        ("loopback_users.bob = true", "loopback_users", {"bob"}),
        ("loopback_users.guest = true\nloopback_users.bob = true", "loopback_users", {"guest", "bob"}),
        ("heartbeat = 0", "heartbeat_seconds", 0),
        ("heartbeat = 65535", "heartbeat_seconds", 65535),
        ("heartbeat = 10\nheartbeat = 20", "heartbeat_seconds", 20),
        ("frame_max = 0", "frame_max_bytes", 0),
        ("frame_max = 4096", "frame_max_bytes", 4096),
        ("channel_max = 128", "channel_max", 128),
        ("handshake_timeout = 1500", "handshake_timeout_seconds", 1.5),
        ("max_message_size = 1024", "max_message_size_bytes", 1024),
        ("max_message_size = 16MB", "max_message_size_bytes", 16_000_000),
        ("disk_free_limit.absolute = 2GB\ndisk_free_limit.relative = 1.0", "disk_free_limit", 2_000_000_000),
        ("loopback_users.bob = true\nloopback_users = none", "loopback_users", frozenset()),
        ("listeners.tcp.1 = a:1\nlisteners.tcp.default = b:2", "listeners", (Listener("b", 2), Listener("a", 1))),
        ("disk_free_limit.absolute = 2TB", "disk_free_limit", 2 * 10**12),
        ("disk_free_limit.absolute = 2PiB", "disk_free_limit", 2 << 50),
        ("auth_ldap.queries.tags = '''\n[{a, {b = c}}]\n '''\nheartbeat = 5", "heartbeat_seconds", 5),
        ("default_user = ''' it's '''", "default_user", " it's "),
        ("auth_ldap.queries.tags = '[{a, {b = c}},\n{d, e}]' # x\nheartbeat = 5", "heartbeat_seconds", 5),
        ("auth_oauth2.scope_prefix = ''\nheartbeat = 5", "heartbeat_seconds", 5),
        ("max_message_size = 16 MiB", "max_message_size_bytes", 16 * 1024 * 1024),
        ("disk_free_limit.absolute = 2GB", "disk_free_limit", 2_000_000_000),
        ("disk_free_limit.relative = 1.5", "disk_free_limit", 1.5),
        (
            "disk_free_limit.relative = 1.0\ndisk_free_limit.absolute = 2GB",
            "disk_free_limit",
            2_000_000_000,
        ),  # rabbit.schema of 3.13 says so
        ("vm_memory_high_watermark.absolute = 1024MiB", "vm_memory_high_watermark", 1 << 30),
        ("vm_memory_high_watermark.relative = 0.6", "vm_memory_high_watermark", 0.6),
        ("vm_memory_high_watermark.absolute = 1GB\nvm_memory_high_watermark.relative = 0.6", "vm_memory_high_watermark", 10**9),
        ("cluster_name = rabbit@eu", "cluster_name", "rabbit@eu"),
        ("node_name = hare@field", "node_name", "hare@field"),
        ("data_dir = none", "data_dir", None),
        ("handshake_timeout = infinity", "handshake_timeout_seconds", 4294967.295),
        ("ssl_handshake_timeout = 1500", "ssl_handshake_timeout_seconds", 1.5),
        ("proxy_protocol = true", "proxy_protocol", True),
        (f"ssl_options.certfile = {HERE}", "ssl_options", TlsOptions(certfile=Path(HERE))),
        (f"ssl_options.keyfile = {HERE}", "ssl_options", TlsOptions(keyfile=Path(HERE))),
        (f"ssl_options.cacertfile = {HERE}", "ssl_options", TlsOptions(cacertfile=Path(HERE))),
        ("ssl_options.password = s3cret", "ssl_options", TlsOptions(password="s3cret")),
        ("ssl_options.verify = verify_peer", "ssl_options.verify_peer", True),
        ("ssl_options.fail_if_no_peer_cert = true", "ssl_options.fail_if_no_peer_cert", True),
        ("ssl_options.depth = 3", "ssl_options.depth", 3),
        ("ssl_options.versions.1 = tlsv1.3\nssl_options.versions.2 = tlsv1.2", "ssl_options.versions", ("tlsv1.3", "tlsv1.2")),
        ("ssl_options.ciphers.10 = B\nssl_options.ciphers.2 = A", "ssl_options.ciphers", ("A", "B")),
        ("ssl_options.honor_cipher_order = false", "ssl_options.honor_cipher_order", False),
        ("ssl_options.honor_cipher_order = true", "ssl_options", None),  # the default alone is none
        ("ssl_options = none", "ssl_options", None),
        (
            f"ssl_options.sni.shop.hostname = a.b\nssl_options.sni.shop.certfile = {HERE}\nssl_options.sni.shop.keyfile = {HERE}",
            "ssl_options.sni",
            (SniHost("a.b", Path(HERE), Path(HERE)),),
        ),
        ("ssl_cert_login_from = common_name", "ssl_cert_login_from", "common_name"),
        ("ssl_cert_login_from = subject_alt_name", "ssl_cert_login_from", "subject_alternative_name"),
        ("ssl_cert_login_san_type = uri", "ssl_cert_login_san_type", "uri"),
        ("ssl_cert_login_san_index = 2", "ssl_cert_login_san_index", 2),
        ("tcp_listen_options.backlog = 128", "tcp_options.backlog", 128),
        ("tcp_listen_options.nodelay = false", "tcp_options.nodelay", False),
        ("tcp_listen_options.keepalive = true", "tcp_options.keepalive", True),
        ("tcp_listen_options.sndbuf = 196608", "tcp_options.sndbuf", 196608),
        ("tcp_listen_options.recbuf = 4096", "tcp_options.recbuf", 4096),
        ("tcp_listen_options.linger.on = true\ntcp_listen_options.linger.timeout = 5", "tcp_options.linger_seconds", 5),
        ("tcp_listen_options.linger.on = true", "tcp_options.linger_seconds", 0),
        ("tcp_listen_options.linger.timeout = 5", "tcp_options.linger_seconds", None),
        ("auth_mechanisms.1 = EXTERNAL\nauth_mechanisms.2 = PLAIN", "auth_mechanisms", ("EXTERNAL", "PLAIN")),
        ("auth_backends.1 = internal", "auth_backends", (AuthBackend(),)),
        ("auth_backends.2 = internal\nauth_backends.1 = http", "auth_backends", (AuthBackend("http", "http"), AuthBackend())),
        ("auth_backends.1 = rabbit_auth_backend_http", "auth_backends", (AuthBackend("http", "http"),)),
        ("auth_backends.1.authn = http\nauth_backends.1.authz = internal", "auth_backends", (AuthBackend("http", "internal"),)),
        ("auth_backends.1.authn = http", "auth_backends", (AuthBackend("http", "http"),)),
        ("auth_backends.1.authz = http", "auth_backends", (AuthBackend("http", "http"),)),
        ("auth_backends.1 = cache\nauth_cache.cached_backend = http", "auth_backends", (AuthBackend("http", "http"),)),
        (
            "auth_backends.1.authn = internal\nauth_backends.1.authz = rabbit_auth_backend_cache\nauth_cache.cached_backend.authz = http",
            "auth_backends",
            (AuthBackend("internal", "http"),),
        ),
        ("auth_backends.1 = cache", "auth_backends", (AuthBackend(),)),
        ("auth_cache.cache_ttl = 1500", "auth_cache_seconds", 1.5),
        ("auth_http.http_method = post", "auth_http.http_method", "post"),
        ("auth_http.user_path = https://u:p@h/user", "auth_http.user_path", "https://u:p@h/user"),
        ("auth_http.vhost_path = http://h:1/v", "auth_http.vhost_path", "http://h:1/v"),
        ("auth_http.resource_path = http://h/r", "auth_http.resource_path", "http://h/r"),
        ("auth_http.topic_path = http://h/t", "auth_http.topic_path", "http://h/t"),
        ("auth_http.request_timeout = 100", "auth_http.request_timeout_seconds", 0.1),
        ("auth_http.connection_timeout = 100", "auth_http.connection_timeout_seconds", 0.1),
        (f"auth_http.ssl_options.cacertfile = {HERE}", "auth_http.cacertfile", Path(HERE)),
        (f"auth_http.ssl_options.certfile = {HERE}", "auth_http.certfile", Path(HERE)),
        (f"auth_http.ssl_options.keyfile = {HERE}", "auth_http.keyfile", Path(HERE)),
        ("auth_http.ssl_options.verify = verify_none", "auth_http.verify_peer", False),
        ("anonymous_login_user = none", "anonymous_login_user", None),
        ("anonymous_login_user = visitor\nanonymous_login_pass = p", "anonymous_login_user", "visitor"),
        ("login_failures_max = 0", "login_failures_max", 0),
        ("login_delay_max = 2500", "login_delay_max_seconds", 2.5),
        ("password_hashing_module = rabbit_password_hashing_sha512", "password_hashing", "rabbit_password_hashing_sha512"),
        ("default_user_tags.monitoring = true\ndefault_user_tags.administrator = false", "default_user_tags", ("monitoring",)),
        ("default_permissions.configure = ^c", "default_permissions", ("^c", ".*", ".*")),
        ("default_permissions.configure = ''\ndefault_permissions.write = \"\"", "default_permissions", ("", "", ".*")),
        ("default_permissions.write = ^w\ndefault_permissions.read = ^r", "default_permissions", (".*", "^w", "^r")),
        ("default_users.bob.password = b", "default_users", (DefaultUser("bob", "b"),)),
        ("default_users.b\\.c.password = b", "default_users", (DefaultUser("b.c", "b"),)),
        (
            (
                "default_users.bob.password = b\ndefault_users.bob.tags = monitoring, policymaker\ndefault_users.bob.vhost_pattern = ^v\n"
                "default_users.bob.configure = ^c\ndefault_users.bob.write = ^w\ndefault_users.bob.read = ^r"
            ),
            "default_users",
            (DefaultUser("bob", "b", ("monitoring", "policymaker"), "^v", "^c", "^w", "^r"),),
        ),
        (f"load_definitions = {HERE}", "load_definitions", Path(HERE)),
        (f"load_definitions = {Path(HERE).parent}", "load_definitions", Path(HERE).parent),
        (f"management.load_definitions = {HERE}", "load_definitions", Path(HERE)),
        (f"definitions.import_backend = local_filesystem\ndefinitions.local.path = {HERE}", "load_definitions", Path(HERE)),
        (f"load_definitions = {HERE}\ndefinitions.local.path = /", "load_definitions", Path(HERE)),
        (f"definitions.local.path = {HERE}\nmanagement.load_definitions = /", "load_definitions", Path(HERE)),
        ("definitions.skip_if_unchanged = true", "definitions_skip_if_unchanged", True),
        ("definitions.replace_default_user = true", "definitions_replace_default_user", True),
        ("management.tcp.port = 8080\nmanagement.tcp.ip = ::1", "management", ManagementOptions(port=8080, ip="::1")),
        ("management.tcp.port = none", "management", ManagementOptions(port=None)),
        ("management.listener.port = 8080\nmanagement.listener.ip = ::1", "management", ManagementOptions(port=8080, ip="::1")),
        ("management.listener.port = 8080\nmanagement.tcp.port = 8081", "management", ManagementOptions(port=8081)),
        (
            f"management.listener.port = 8443\nmanagement.listener.ssl = true\nmanagement.listener.ssl_opts.certfile = {HERE}",
            "management",
            ManagementOptions(tls_port=8443, ssl_options=TlsOptions(certfile=Path(HERE))),
        ),
        ("management.listener.ssl = true", "management", ManagementOptions(tls_port=15671)),
        ("management.ssl.port = 8443\nmanagement.ssl.ip = ::1", "management", ManagementOptions(tls_port=8443, tls_ip="::1")),
        (
            (
                f"management.ssl.certfile = {HERE}\nmanagement.ssl.keyfile = {HERE}\nmanagement.ssl.cacertfile = {HERE}\n"
                "management.ssl.password = p\nmanagement.ssl.verify = verify_peer\nmanagement.ssl.fail_if_no_peer_cert = true\n"
                "management.ssl.depth = 1\nmanagement.ssl.versions.1 = tlsv1.3\nmanagement.ssl.ciphers.1 = a\n"
                "management.ssl.honor_cipher_order = false"
            ),
            "management",
            ManagementOptions(
                tls_port=15671,
                ssl_options=TlsOptions(Path(HERE), Path(HERE), "p", Path(HERE), True, True, 1, ("tlsv1.3",), ("a",), False),
            ),
        ),
        (f"prometheus.ssl.certfile = {HERE}", "prometheus", PrometheusOptions(tls_port=15691, ssl_options=TlsOptions(Path(HERE)))),
        ("prometheus.ssl.port = 1", "prometheus", PrometheusOptions(tls_port=1)),
        (
            "management.cors.allow_origins.1 = https://a\nmanagement.cors.allow_origins.2 = *\nmanagement.cors.max_age = 5",
            "management",
            ManagementOptions(cors_allow_origins=("https://a", "*"), cors_max_age_seconds=5),
        ),
        ("management.cors.allow_origins = none", "management", ManagementOptions()),
        ("management.login_session_timeout = 480", "management", ManagementOptions(login_session_minutes=480)),
        ("management.disable_basic_auth = true", "management", ManagementOptions(disable_basic_auth=True)),
        ("connection_max = 10", "connection_max", 10),
        ("connection_max = infinity", "connection_max", None),
        ("max_connections = 11", "connection_max", 11),
        ("vhost_max = 3", "vhost_max", 3),
        ("channel_max_per_node = 30", "channel_max_per_node", 30),
        ("max_channels_per_connection = 5", "channel_max", 5),
        ("consumer_max_per_channel = infinity", "consumer_max_per_channel", 0),
        ("default_queue_type = quorum", "default_queue_type", "quorum"),
        ("default_queue_type = rabbit_quorum_queue", "default_queue_type", "quorum"),
        (
            "default_limits.vhosts.1.pattern = ^a\ndefault_limits.vhosts.1.max_queues = 5\ndefault_limits.vhosts.2.max_connections = 6",
            "default_limits",
            (DefaultLimit("^a", None, 5), DefaultLimit(".*", 6, None)),
        ),
        (
            (
                "default_policies.operator.p.vhost_pattern = ^v\ndefault_policies.operator.p.queue_pattern = ^q\n"
                "default_policies.operator.p.apply_to = classic_queues\ndefault_policies.operator.p.max_length = 9\n"
                "default_policies.operator.p.max_length_bytes = 1kB\ndefault_policies.operator.p.message_ttl = 1m30s\n"
                "default_policies.operator.p.expires = 5000\ndefault_policies.operator.p.delivery_limit = 4"
            ),
            "default_policies",
            (
                DefaultPolicy(
                    "p",
                    "^v",
                    "^q",
                    "classic_queues",
                    (("delivery-limit", 4), ("expires", 5000), ("max-length", 9), ("max-length-bytes", 1024), ("message-ttl", 90_000)),
                ),
            ),
        ),
        ("event_exchange = true", "event_exchange", True),
        ("log.console = false", "log.console", False),
        ("log.console.level = none", "log.console_level", "none"),
        ("log.console.level = emergency", "log.console_level", "none"),
        ("log.console.formatter = json", "log.console_json", True),
        ("log.file = a.log", "log.file", Path("a.log")),
        ("log.file = false", "log.file", None),
        ("log.file.level = error", "log.file_level", "error"),
        ("log.file.formatter = json", "log.file_json", True),
        ("log.dir = /var/log/hare", "log.dir", Path("/var/log/hare")),
        ("log.file.rotation.size = 10MB", "log.rotation_bytes", 10_000_000),
        ("log.file.rotation.count = 5", "log.rotation_count", 5),
        ("log.file.rotation.date = $W5D16", "log.rotation_date", "$W5D16"),
        ("log.exchange = true", "log.exchange", True),
        ("log.exchange.level = warning", "log.exchange_level", "warning"),
        ("log.default.level = debug", "log.levels", (("default", "debug"),)),
        (
            "log.queue.level = none\nlog.connection.level = error",
            "log.levels",
            (("default", "info"), ("connection", "error"), ("queue", "none")),
        ),
        ("log.channel.level = error", "log.levels", (("default", "info"), ("channel", "error"))),
        ("log.upgrade.level = error", "log.levels", (("default", "info"), ("upgrade", "error"))),
        ("# heartbeat = 1", "heartbeat_seconds", 60),
        ("  heartbeat=5   # seconds", "heartbeat_seconds", 5),
        ("\ufeffheartbeat = 5\r\n\r\n", "heartbeat_seconds", 5),
        ("default_pass = 'a # b'  # quoted", "default_pass", "a # b"),
        ('default_pass = "it\'s"', "default_pass", "it's"),
        ("default_user = $(WHO)-$(WHO)", "default_user", "me-me"),
        ("default_user = Zoë", "default_user", "Zoë"),
    ],
)
def test_what_a_file_gives(conf: Path, line: str, attribute: str, value: Any) -> None:
    assert attrgetter(attribute)(read(conf, line, WHO="me")) == value


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("heartbeat = soon", "heartbeat = soon: expected a whole number of seconds from 0 to 65535"),
        ("heartbeat = -1", "heartbeat = -1: expected a whole number of seconds from 0 to 65535"),
        ("heartbeat = 65536", "heartbeat = 65536: expected a whole number of seconds from 0 to 65535"),
        ("frame_max = 4095", "frame_max = 4095: expected 0, or a number of bytes from 4096 to 2147483647"),
        ("channel_max = 65536", "channel_max = 65536: expected a whole number from 0 to 65535"),
        ("handshake_timeout = 0", "handshake_timeout = 0: expected infinity, or a whole number of milliseconds from 1 to 4294967295"),
        ("disk_free_limit.absolute = much", f"disk_free_limit.absolute = much: expected a size from 0 to {2**63 - 1} bytes"),
        ("disk_free_limit.relative = nan", "disk_free_limit.relative = nan: expected a number from 0.0 to 1000.0"),
        ("vm_memory_high_watermark.relative = 40%", "vm_memory_high_watermark.relative = 40%: expected a number from 0.0 to 1000.0"),
        ("vm_memory_high_watermark.relative = 0.4_0", "vm_memory_high_watermark.relative = 0.4_0: expected a number from 0.0 to 1000.0"),
        ("disk_free_limit.relative = ' 1.0'", "disk_free_limit.relative =  1.0: expected a number from 0.0 to 1000.0"),
        ("log.file.rotation.count = 1001", "log.file.rotation.count = 1001: expected a whole number from 0 to 1000"),
        ("log.file.rotation.date = $D24", f"log.file.rotation.date = $D24: expected {ROTATION}"),
        ("log.file.rotation.date = $H60", f"log.file.rotation.date = $H60: expected {ROTATION}"),
        ("max_message_size = 1EB", "max_message_size = 1EB: expected a size from 1 to 536870912 bytes"),
        ("max_message_size = 1GB", "max_message_size = 1GB: expected a size from 1 to 536870912 bytes"),
        ("listeners.tcp.default = amqp", "listeners.tcp.default = amqp: expected a port from 0 to 65535, or address:port"),
        ("listeners.tcp.1 = 127.0.0.1:", "listeners.tcp.1 = 127.0.0.1:: expected a port from 0 to 65535, or address:port"),
        ("listeners.tcp.1 = :5672", "listeners.tcp.1 = :5672: expected a port from 0 to 65535, or address:port"),
        (f"default_user = {'u' * 256}", f"default_user = {'u' * 256}: expected a name of 1 to 255 bytes"),
        (f"default_pass = {'p' * 256}", "default_pass = ***: expected a password of 1 to 255 bytes"),
        (f"default_vhost = {'ë' * 128}", f"default_vhost = {'ë' * 128}: expected a name of 1 to 255 bytes"),
        (f"cluster_name = {'c' * 256}", f"cluster_name = {'c' * 256}: expected a name of 1 to 255 bytes"),
        ("loopback_users = all", "loopback_users = all: expected none"),
        ("loopback_users.guest = no", "loopback_users.guest = no: expected true or false"),
        ("log.console.level = loud", "log.console.level = loud: expected one of debug, info, notice, warning, error, critical, none"),
        ("log.default.level = loud", "log.default.level = loud: expected one of debug, info, notice, warning, error, critical, none"),
        ("heartbaet = 30", 'heartbaet: there is no setting with that name; did you mean "heartbeat"?'),
        ("default_usr = x", 'default_usr: there is no setting with that name; did you mean "default_user"?'),
        ("consumer_timout = 1", 'consumer_timout: there is no setting with that name; did you mean "consumer_timeout"?'),
        ("xyzzy = 1", "xyzzy: there is no setting with that name"),
        ("listeners.tcp. = 1", 'listeners.tcp.: there is no setting with that name; did you mean "listeners.tcp.1"?'),
        (
            "default_passs = hunter2",
            'default_passs: there is no setting with that name; did you mean "default_pass"?',
        ),
        ("ssl_options.certfile = /none.pem", "ssl_options.certfile = /none.pem: expected a file that is there and can be read"),
        ("load_definitions = /none.json", "load_definitions = /none.json: expected a file or a directory that is there"),
        ("ssl_options.versions.1 = ssl3", "ssl_options.versions.1 = ssl3: expected one of tlsv1.3, tlsv1.2, tlsv1.1, tlsv1"),
        ("ssl_options.verify = yes", "ssl_options.verify = yes: expected verify_none or verify_peer"),
        ("ssl_options.depth = 256", "ssl_options.depth = 256: expected a whole number from 0 to 255"),
        (f"ssl_options.password = {'p' * 1025}", "ssl_options.password = ***: expected a password of 1 to 1024 bytes"),
        ("auth_mechanisms.1 = plain", "auth_mechanisms.1 = plain: expected one of PLAIN, AMQPLAIN, EXTERNAL, ANONYMOUS"),
        (
            "auth_backends.1 = ldap",
            "auth_backends.1 = ldap: expected internal, http or cache (there are no others in Leveret: no LDAP, no OAuth 2, no AMQP)",
        ),
        (
            "auth_backends.1.authz = rabbit_auth_backend_oauth2",
            (
                "auth_backends.1.authz = rabbit_auth_backend_oauth2: expected internal, http or cache "
                "(there are no others in Leveret: no LDAP, no OAuth 2, no AMQP)"
            ),
        ),
        ("auth_cache.cached_backend = cache", "auth_cache.cached_backend = cache: expected internal or http"),
        ("auth_http.user_path = https://me:hunter2@/x", "auth_http.user_path = https://***@/x: expected an http or https URL"),
        ("default_permissions.read = (", "default_permissions.read = (: expected a regular expression"),
        ("default_queue_type = stream", "default_queue_type = stream: expected classic or quorum (Leveret has no streams)"),
        (
            "definitions.import_backend = https",
            "definitions.import_backend = https: expected local_filesystem (Leveret gets no definitions over https)",
        ),
        ("connection_max = many", "connection_max = many: expected infinity, or a whole number from 0 to 4294967295"),
        ("heartbeat = 1_0", "heartbeat = 1_0: expected a whole number of seconds from 0 to 65535"),
        ("heartbeat = 5.0", "heartbeat = 5.0: expected a whole number of seconds from 0 to 65535"),
        (
            "log.file.rotation.date = daily",
            f"log.file.rotation.date = daily: expected {ROTATION}",
        ),
        ("log.dir = ~nobody-of-that-name/x", "log.dir = ~nobody-of-that-name/x: expected a path"),
        (
            "default_policies.operator.p.expires = 0",
            "default_policies.operator.p.expires = 0: expected a duration from 1 to 315360000000 milliseconds",
        ),
        (
            "default_pass = encrypted:hunter2",
            (
                "default_pass = ***: expected the value itself: Leveret decrypts nothing. "
                "$(NAME) takes it from the environment, LEVERET_..._FILE from a file"
            ),
        ),
        ("default_pass hunter2", "default_pass: expected `key = value`"),
        ("heartbeat 30", "heartbeat: expected `key = value`"),
        ("[{rabbit, []}].", "expected `key = value`"),
        ("= 30", "expected `key = value`"),
        ("heartbeat =", "heartbeat =: expected a value after the equals sign"),
        ("heartbeat = # none", "heartbeat =: expected a value after the equals sign"),
        ("default_permissions.read =", "default_permissions.read =: expected a value after the equals sign"),
        ("load_definitions = ''", "load_definitions =: expected a value after the equals sign"),
        ("default_pass = ''", "default_pass =: expected a value after the equals sign"),
        ("default_pass = '''abc\ndef", "default_pass: expected the value to end with the quote ''' that it begins with"),
        ("default_pass = '''abc''' d", "default_pass: expected the value to end with the quote ''' that it begins with"),
        ("default_pass = 'abc", "default_pass: expected the value to end with the quote ' that it begins with"),
        ("default_pass = 'a'b'", "default_pass: expected the value to end with the quote ' that it begins with"),
        ("default_pass = $(NOT_SET)", "default_pass = $(NOT_SET): expected an environment variable of that name"),
    ],
)
def test_a_mistake_in_a_file_names_its_place_and_what_was_expected(conf: Path, line: str, text: str) -> None:
    assert problems(conf, f"# first line\n\n{line}\n") == [f"rabbitmq.conf:3: {text}"]


@pytest.mark.parametrize(
    "line",
    [
        "auth_http.user_pathh = http://u:hunter2@host/x",
        "ssl_options.pwd = hunter2",
        "ssl_options.pwd = 'hunter2",
        "default_users.alice.pw = hunter2",
        "\n".join(f"xyzzy{number} = 1" for number in range(20)) + "\ndefault_pas = hunter2",
        "default_pass:hunter2",
        "default_pass:hunter2 = x",
        "default_pass:hunter2 =",
        '{default_pass,<<"hunter2">>}, {x, 1}',
        '[{rabbit,[{default_pass,<<"hunter2">>}]}].',
        "[{rabbit,[{x,hunter2=1}]}].",
        "default_pas hunter2",
        "auth_http.user_path http://u:hunter2@h/",
        "auth_http.user_path http://u:hunter2@h/?a=b",
        "auth_http.user_path = 'http://u:hunter2@h/",
        "auth_http.user_path:http://u:hunter2@h/?a=b",
    ],
)
def test_what_may_be_a_secret_is_not_told(conf: Path, line: str) -> None:
    told = problems(conf, line)
    assert told
    assert "hunter2" not in "".join(told)


def test_all_mistakes_are_told_at_once(conf: Path) -> None:
    told = problems(conf, "heartbeat = x\nframe_mx = 1\nchannel_max\n", RABBITMQ_NODE_PORT="y", LEVERET_HEARTBEAT="z")
    assert sorted(told) == [
        "environment: LEVERET_HEARTBEAT = z: expected a whole number of seconds from 0 to 65535",
        "environment: RABBITMQ_NODE_PORT = y: expected a port from 0 to 65535",
        "rabbitmq.conf:1: heartbeat = x: expected a whole number of seconds from 0 to 65535",
        'rabbitmq.conf:2: frame_mx: there is no setting with that name; did you mean "frame_max"?',
        "rabbitmq.conf:3: channel_max: expected `key = value`",
    ]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.conf: the configuration file can't be read: No such file or directory"):
        load(environ={}, config_file=tmp_path / "none.conf")
    with pytest.raises(ConfigError, match="the configuration file can't be read: Is a directory"):
        load(environ={"LEVERET_CONFIG_FILE": str(tmp_path)})
    binary = tmp_path / "binary.conf"
    binary.write_bytes(b"default_user = \xff\xfe")
    with pytest.raises(ConfigError, match=r"isn't UTF-8 text: invalid start byte at byte 15"):
        load(environ={}, config_file=binary)


def test_rabbitmqs_other_settings_are_one_warning(conf: Path) -> None:
    config = read(conf, "net_ticktime = 1800000\nheartbeat = 30\ncluster_formation.k8s.host = k\nmanagement.tcp.compress = true\n")
    assert config.heartbeat_seconds == 30
    assert config.config_files == (conf,)
    (warning,) = config.warnings
    head, _, names = warning.partition(" and goes on without them: ")
    assert head == "Leveret doesn't have these settings of RabbitMQ"
    assert names == f"net_ticktime ({conf}:1), cluster_formation.k8s.host ({conf}:3), management.tcp.compress ({conf}:4)"


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(conf: Path) -> None:
    conf.write_text("listeners.tcp.1 = 10.0.0.1:1111\nheartbeat = 1\ndefault_user = file\nlog.default.level = error\ndata_dir = /file\n")
    environ = {"RABBITMQ_NODE_PORT": "2222", "LEVERET_HEARTBEAT": "2", "LEVERET_LOG_DEFAULT_LEVEL": "warning", "LEVERET_DATA_DIR": "/env"}

    file_alone = load(environ={}, config_file=conf)
    assert file_alone.listeners == (Listener("10.0.0.1", 1111),)
    assert (file_alone.heartbeat_seconds, file_alone.data_dir) == (1, Path("/file"))
    assert file_alone.log == LogOptions(levels=(("default", "error"),))

    with_environment = load(environ=environ, config_file=conf)
    assert with_environment.listeners == (Listener("10.0.0.1", 2222),)
    assert (with_environment.heartbeat_seconds, with_environment.data_dir) == (2, Path("/env"))
    assert with_environment.log == LogOptions(levels=(("default", "warning"),))

    with_all = load(environ=environ, config_file=conf, host="::1", port=0, data_dir=Path("/typed"), log_level="debug")
    assert with_all.listeners == (Listener("::1", 0),)
    assert (with_all.heartbeat_seconds, with_all.data_dir, with_all.default_user) == (2, Path("/typed"), "file")
    assert with_all.log == LogOptions(console_level="debug", levels=(("default", "debug"),))


@pytest.mark.parametrize(
    ("file", "environ", "attribute", "value"),
    [
        ("listeners.tcp.1 = a:1\nlisteners.tcp.2 = b:2", {"LEVERET_LISTENERS_TCP_3": "c:3"}, "listeners", (Listener("c", 3),)),
        ("listeners.ssl.1 = a:1", {"RABBITMQ_SSL_DEPTH": "1"}, "listeners", (*LOOPBACK, Listener("a", 1, tls=True))),
        ("listeners.ssl.1 = a:1", {"LEVERET_LISTENERS_TCP_3": "c:3"}, "listeners", (Listener("c", 3), Listener("a", 1, tls=True))),
        ("listeners.tcp = none\nlisteners.ssl.1 = a:1", {"RABBITMQ_NODE_PORT": "1"}, "listeners", (Listener("a", 1, tls=True),)),
        ("listeners.tcp.1 = a:1\nlisteners.tcp.2 = b:1", {"RABBITMQ_NODE_PORT": "7"}, "listeners", (Listener("a", 7), Listener("b", 7))),
        (
            "listeners.tcp.1 = a:1\nlisteners.tcp.2 = a:2",
            {"RABBITMQ_NODE_IP_ADDRESS": "b"},
            "listeners",
            (Listener("b", 1), Listener("b", 2)),
        ),
        ("auth_backends.1 = http\nauth_backends.2 = internal", {"LEVERET_AUTH_BACKENDS_1": "internal"}, "auth_backends", (AuthBackend(),)),
        ("loopback_users.bob = true", {"LEVERET_LOOPBACK_USERS_EVE": "true"}, "loopback_users", {"eve"}),
        ("disk_free_limit.absolute = 1GB", {"LEVERET_DISK_FREE_LIMIT_RELATIVE": "1.5"}, "disk_free_limit", 1.5),
        ("max_connections = 1", {"LEVERET_CONNECTION_MAX": "2"}, "connection_max", 2),
        ("default_users.a.password = p", {"LEVERET_DEFAULT_USERS_A_TAGS": "x"}, "default_users", (DefaultUser("a", "p", ("x",)),)),
        ("log.queue.level = error", {"LEVERET_LOG_DEFAULT_LEVEL": "debug"}, "log.levels", (("default", "debug"), ("queue", "error"))),
        ("ssl_options.depth = 3", {"LEVERET_SSL_OPTIONS_PASSWORD": "p"}, "ssl_options", TlsOptions(password="p", depth=3)),
    ],
)
def test_a_later_source_replaces_lists_and_adds_to_records(
    conf: Path, file: str, environ: dict[str, str], attribute: str, value: Any
) -> None:
    assert attrgetter(attribute)(read(conf, file, **environ)) == value


def test_a_file_includes_others_and_values(conf: Path) -> None:
    parts = conf.parent / "parts"
    parts.mkdir()
    (parts / "2.conf").write_text("heartbeat = 2\nchannel_max = 2\n")
    (parts / "1.conf").write_text("heartbeat = 1\nframe_max = 5000\ninclude deeper.txt\n")
    (parts / "deeper.txt").write_text("vhost_max = x\n")
    (conf.parent / "secret").write_text("pass # word\n")
    text = "heartbeat = 9\ninclude parts/*.conf  # in the order of names\nchannel_max = 9\ninclude none/*\ndefault_pass = $(<secret)\n"
    assert problems(conf, text) == ["parts/deeper.txt:1: vhost_max = x: expected infinity, or a whole number from 0 to 4294967295"]
    (parts / "deeper.txt").write_text("vhost_max = 7\n")
    config = read(conf, text)
    assert (config.heartbeat_seconds, config.channel_max, config.frame_max_bytes, config.vhost_max) == (2, 9, 5000, 7)
    assert config.default_pass == "pass # word"
    assert config.config_files == (conf, parts / "1.conf", parts / "deeper.txt", parts / "2.conf")
    (told,) = problems(conf, "default_pass = $(<none)")
    assert told == "rabbitmq.conf:1: default_pass = $(<none): expected a file that holds the value: No such file or directory"
    (told,) = problems(conf, "include rabbitmq.conf")
    assert told == "rabbitmq.conf:1: include rabbitmq.conf: expected no file that includes itself: rabbitmq.conf"


def test_the_command_line_alone_switches_listeners_on_again(conf: Path) -> None:
    conf.write_text("listeners.tcp.1 = 10.0.0.1:1\nlisteners.tcp = none\nlisteners.ssl.1 = a:1\n")
    assert load(environ={"RABBITMQ_NODE_PORT": "7"}, config_file=conf).listeners == (Listener("a", 1, tls=True),)
    assert load(environ={}, config_file=conf, host="b").listeners == (Listener("b", 1), Listener("a", 1, tls=True))


def test_what_is_no_text_does_not_reach_a_terminal(conf: Path) -> None:
    assert problems(conf, "heartbeat = \x1b[31m\r1") == [
        "rabbitmq.conf:2: 1: expected `key = value`",
        "rabbitmq.conf:1: heartbeat = \\x1b[31m: expected a whole number of seconds from 0 to 65535",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "listeners.tcp = none",
            "rabbitmq.conf:1: listeners.tcp = none: expected a listener in listeners.ssl, for there is nothing left to listen on",
        ),
        ("ssl_options.sni.a.hostname = h", "rabbitmq.conf:1: ssl_options.sni.a: expected ssl_options.sni.a.certfile as well"),
        (
            "auth_backends.1 = http\nauth_backends.1.authn = http",
            "rabbitmq.conf:1: auth_backends.1: expected it alone, or .authn and .authz, and not both",
        ),
        (
            "auth_cache.cached_backend = http\nauth_cache.cached_backend.authz = http",
            "rabbitmq.conf:1: auth_cache.cached_backend: expected it alone, or .authn and .authz, and not both",
        ),
        (
            "default_policies.operator.p.queue_pattern = q",
            "rabbitmq.conf:1: default_policies.operator.p: expected something that it limits, such as .max_length",
        ),
        ("heartbeat = 5\nauth_backends.first = http", "rabbitmq.conf:2: auth_backends.first: expected a number, its place in the order"),
        (
            r"default_policies.operator.a\.b.queue_pattern = q",
            "rabbitmq.conf:1: default_policies.operator.a.b: expected something that it limits, such as .max_length",
        ),
    ],
)
def test_settings_that_do_not_go_together(conf: Path, text: str, problem: str) -> None:
    assert problem in problems(conf, text)


def test_the_documentation_is_up_to_date() -> None:
    assert (ROOT / "conf" / "leveret.conf").read_text(encoding="utf-8") == documentation.conf_text(), (
        "run: python -m broker.settings > conf/leveret.conf"
    )


def test_the_documented_defaults_are_the_defaults(conf: Path) -> None:
    """Every key of the table at the default that it documents gives what no file at all gives."""
    rows = [row for row in table.SETTINGS if row.default is not None]
    assert len(rows) > 50
    config = read(conf, "".join(f"{row.name} = {row.default}\n" for row in rows))
    assert dataclasses.replace(config, config_files=()) == Config()


def test_every_example_is_a_setting_and_every_family_has_one(conf: Path) -> None:
    for row in table.SETTINGS:
        assert row.example or row.default is not None, row.name
        if row.example:
            assert table.find(row.example.partition(" = ")[0]) is row


def fields_of(section: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(section)}


def test_every_field_of_the_configuration_can_be_given_and_every_level_is_known() -> None:
    given = {row.attribute for row in table.SETTINGS if row.attribute}
    made_of_several = {"default_permissions", "listeners"}
    sections = {
        "ssl_options": TlsOptions, "tcp_options": TcpOptions, "auth_http": HttpBackendOptions, "log": LogOptions,
        "management": ManagementOptions, "prometheus": PrometheusOptions, "testing": RigOptions,
    }  # fmt: skip
    parts = {"management_ssl", "prometheus_ssl", "management_listener", "management_listener_ssl"}
    first = {attribute.partition(".")[0] for attribute in given}
    assert first - {"auth_cache"} - parts == fields_of(Config) - {"config_files", "warnings"}
    for name, section in sections.items():
        inner = {attribute.partition(".")[2] for attribute in given if attribute.startswith(f"{name}.")}
        assert inner | ({"ssl_options"} if f"{name}_ssl" in parts else set()) == fields_of(section) - {"name"}
    for name in ("management_ssl", "prometheus_ssl", "management_listener_ssl"):
        inner = {attribute.partition(".")[2] for attribute in given if attribute.startswith(f"{name}.")}
        assert inner == fields_of(TlsOptions) - {"name", "sni"}
    assert {attribute.partition(".")[0] for attribute in given if "." in attribute} == sections.keys() | parts | made_of_several
    assert tuple(logs.LEVELS) == LOG_LEVELS


@pytest.mark.parametrize("written", ["/figures", "figures", "/figures/"])
def test_a_path_has_a_slash_in_front_and_none_behind(conf: Path, written: str) -> None:
    config = read(conf, f"prometheus.path = {written}\nmanagement.path_prefix = {written}\n")
    assert config.prometheus.path == config.management.path_prefix == "/figures"


def test_what_changes_nothing_is_told(conf: Path) -> None:
    kept, mode = read(conf, "management.sample_retention_policies.basic.hour = 5\nmanagement.rates_mode = detailed\n").warnings
    name = "management.sample_retention_policies.basic.hour"
    assert kept == f"nothing comes of {name}: samples are kept as RabbitMQ keeps them by default"
    assert mode == f"nothing comes of management.rates_mode = detailed ({conf}:2): rates are those of basic"
    assert read(conf, "management.rates_mode = basic\n").warnings == ()


@pytest.mark.parametrize(("typed", "port"), [("0", 0), ("8080", 8080), ("none", None)])
def test_the_http_port_of_the_command_line_wins(conf: Path, typed: str, port: int | None) -> None:
    conf.write_text("management.listener.port = 1\nmanagement.tcp.port = 2\n")
    assert load(environ={"LEVERET_MANAGEMENT_TCP_PORT": "3"}, config_file=conf, http_port=typed).management.port == port


def test_a_password_is_not_shown() -> None:
    assert "hunter2" not in repr(configuration.Config(default_pass="hunter2"))


def test_a_profile_has_its_own_defaults(conf: Path) -> None:
    assert (read(conf, "").compat, read(conf, "").max_message_size_bytes) == ("3.13", 134_217_728)
    config = read(conf, "compat = 4.x\n")
    assert (config.compat, config.max_message_size_bytes) == ("4.x", 16_777_216)
    assert read(conf, "compat = 4.x\nmax_message_size = 5MB\n").max_message_size_bytes == 5_000_000

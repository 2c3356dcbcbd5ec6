"""The rows of the HTTP API and of the metrics."""

from __future__ import annotations

from typing import Final

from broker.settings.network import TLS_VERSIONS, VERIFY
from broker.settings.setting import INT_MAX, Setting, boolean, choice, file, integer, secret, size, text

_NOWHERE: Final = {"none": None}


def _port(name: str, attribute: str, doc: str, example: str) -> Setting:
    return integer(name, attribute, None, "port", 0, 65535, doc, words=_NOWHERE, example=example)


def _ip(name: str, attribute: str, doc: str) -> Setting:
    return text(name, attribute, None, "an address", doc, f"{name} = 127.0.0.1")


def _tls(prefix: str, attribute: str, what: str) -> tuple[Setting, ...]:
    """What ssl_options.* are for AMQP. `attribute` is a section of its own, which assembly.py makes TlsOptions of."""
    return (
        file(
            f"{prefix}.certfile",
            f"{attribute}.certfile",
            f"{what}: the server's certificate and those between it and its authority (PEM). Not given: those of ssl_options.",
            f"{prefix}.certfile = /etc/leveret/server.pem",
        ),
        file(
            f"{prefix}.keyfile",
            f"{attribute}.keyfile",
            "The certificate's private key (PEM). Not given: it lies in the certificate's file.",
            f"{prefix}.keyfile = /etc/leveret/server.key",
        ),
        secret(
            f"{prefix}.password",
            f"{attribute}.password",
            None,
            "a password",
            "Opens the key file.",
            f"{prefix}.password = secret",
            high=1024,
        ),
        file(
            f"{prefix}.cacertfile",
            f"{attribute}.cacertfile",
            "The authorities whose clients' certificates are trusted (PEM).",
            f"{prefix}.cacertfile = /etc/leveret/ca.pem",
        ),
        choice(
            f"{prefix}.verify",
            f"{attribute}.verify_peer",
            None,
            VERIFY,
            "verify_peer asks clients for a certificate, beside the login. Not given: verify_none.",
            f"{prefix}.verify = verify_peer",
        ),
        boolean(
            f"{prefix}.fail_if_no_peer_cert",
            f"{attribute}.fail_if_no_peer_cert",
            None,
            "Refuse clients that have no certificate. Not given: false.",
            f"{prefix}.fail_if_no_peer_cert = true",
        ),
        integer(
            f"{prefix}.depth",
            f"{attribute}.depth",
            None,
            "certificates",
            0,
            255,
            "The most certificates between a client's and the trusted one.",
            example=f"{prefix}.depth = 1",
        ),
        choice(
            f"{prefix}.versions.*",
            f"{attribute}.versions",
            None,
            TLS_VERSIONS,
            "Versions of TLS that are spoken, one key each. Not given: tlsv1.2 and tlsv1.3.",
            f"{prefix}.versions.1 = tlsv1.3",
        ),
        text(
            f"{prefix}.ciphers.*",
            f"{attribute}.ciphers",
            None,
            "a cipher, as OpenSSL calls it,",
            "Cipher suites, one key each, the most wanted first. Not given: the library's choice.",
            f"{prefix}.ciphers.1 = ECDHE-RSA-AES256-GCM-SHA384",
        ),
        boolean(
            f"{prefix}.honor_cipher_order",
            f"{attribute}.honor_cipher_order",
            None,
            "The server's order of ciphers counts, and not the client's. Not given: true.",
            f"{prefix}.honor_cipher_order = false",
        ),
    )


ROWS: Final = (
    _port(
        "management.tcp.port",
        "management.port",
        "Where the HTTP API is served; 0 takes a free port, `none` serves nothing there. Not given: 15672, if that is free\n"
        "and management.ssl isn't set up.",
        "management.tcp.port = 15672",
    ),
    _ip("management.tcp.ip", "management.ip", "On which address. Not given: on those of the AMQP listeners."),
    _port(
        "management.ssl.port",
        "management.tls_port",
        "Where the HTTP API is served over TLS. Not given: 15671 where management.ssl.certfile is set, else nowhere.",
        "management.ssl.port = 15671",
    ),
    _ip("management.ssl.ip", "management.tls_ip", "On which address. Not given: on those of the AMQP listeners."),
    *_tls("management.ssl", "management_ssl", "HTTP API"),
    _port(
        "management.listener.port",
        "management_listener.port",
        "An older way to say management.tcp.port, or with management.listener.ssl = true management.ssl.port.",
        "management.listener.port = 15672",
    ),
    _ip("management.listener.ip", "management_listener.ip", "Likewise its address."),
    boolean(
        "management.listener.ssl",
        "management_listener.ssl",
        None,
        "That listener speaks TLS, by management.listener.ssl_opts.*. Not given: false.",
        "management.listener.ssl = true",
    ),
    choice("management.listener.ssl_opts", "", None, {"none": None}, "`none` sets no TLS options.", "management.listener.ssl_opts = none"),
    *_tls("management.listener.ssl_opts", "management_listener_ssl", "Older HTTP listener"),
    text(
        "management.path_prefix",
        "management.path_prefix",
        None,
        "a path",
        "What stands before /api in all paths, for a proxy that serves several things.",
        "management.path_prefix = /leveret",
    ),
    size(
        "management.http.max_body_size",
        "management.max_body_size_bytes",
        "10000000",
        1,
        2**31,
        "The longest body of a request that is read.",
    ),
    choice(
        "management.cors.allow_origins",
        "management.cors_allow_origins",
        None,
        _NOWHERE,
        "`none` lets pages of no other origin use the HTTP API, which is the default.",
        "management.cors.allow_origins = none",
    ),
    text(
        "management.cors.allow_origins.*",
        "management.cors_allow_origins",
        None,
        "an origin",
        "Origins whose pages may use the HTTP API, one key each; * is any.",
        "management.cors.allow_origins.1 = https://dashboard.example.com",
    ),
    integer(
        "management.cors.max_age",
        "management.cors_max_age_seconds",
        "1800",
        "seconds",
        0,
        INT_MAX,
        "How long a browser may remember what it was told about that.",
    ),
    boolean(
        "management.disable_basic_auth",
        "management.disable_basic_auth",
        "false",
        "Let nobody log in at the HTTP API with a name and a password. (Commands of this machine go by the control socket.)",
    ),
    integer(
        "management.login_session_timeout",
        "management.login_session_minutes",
        None,
        "minutes",
        0,
        INT_MAX,
        "How long a browser may remember a login: told by /api/whoami.",
        example="management.login_session_timeout = 480",
    ),
    choice(
        "management.rates_mode",
        "",
        None,
        {word: word for word in ("basic", "detailed", "none")},
        "Taken, and changes nothing: rates are those of basic.",
        "management.rates_mode = basic",
    ),
    *(
        integer(
            f"management.sample_retention_policies.{table}.*",
            "",
            None,
            "seconds",
            0,
            INT_MAX,
            "Taken, and changes nothing: samples are kept as RabbitMQ keeps them by default.",
            example=f"management.sample_retention_policies.{table}.minute = 5",
        )
        for table in ("global", "basic", "detailed")
    ),
    boolean(
        "management.disable_stats",
        "management.disable_stats",
        "false",
        "Leave figures of messages, and rates, out of all answers.",
    ),
    boolean(
        "management.enable_queue_totals",
        "management.enable_queue_totals",
        "false",
        "With disable_stats: still tell how many messages each queue has.",
    ),
    _port(
        "prometheus.tcp.port",
        "prometheus.port",
        "Where the metrics are served; 0 takes a free port, `none` serves nothing there. Not given: 15692, if that is free\n"
        "and prometheus.ssl isn't set up.",
        "prometheus.tcp.port = 15692",
    ),
    _ip("prometheus.tcp.ip", "prometheus.ip", "On which address. Not given: on those of the AMQP listeners."),
    _port(
        "prometheus.ssl.port",
        "prometheus.tls_port",
        "Where the metrics are served over TLS. Not given: 15691 where prometheus.ssl.certfile is set, else nowhere.",
        "prometheus.ssl.port = 15691",
    ),
    _ip("prometheus.ssl.ip", "prometheus.tls_ip", "On which address. Not given: on those of the AMQP listeners."),
    *_tls("prometheus.ssl", "prometheus_ssl", "Metrics"),
    text("prometheus.path", "prometheus.path", "/metrics", "a path", "The path of the metrics."),
    boolean(
        "prometheus.return_per_object_metrics",
        "prometheus.return_per_object_metrics",
        "false",
        "Metrics of each queue, channel and connection at that path, and not the sums alone.",
    ),
    boolean(
        "prometheus.authentication.enabled",
        "prometheus.authentication_enabled",
        "false",
        "Ask for the login of a user with the tag monitoring or administrator.",
    ),
)

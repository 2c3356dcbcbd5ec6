"""The rows of listeners, TLS and TCP."""

from __future__ import annotations

from typing import Final

from broker.settings.setting import INT_MAX, Setting, boolean, choice, file, integer, milliseconds, secret, text

_PORT: Final = "a port from 0 to 65535, or address:port"
_BUFFER_MAX: Final = 2**31 - 1
VERIFY: Final = {"verify_none": False, "verify_peer": True}
TLS_VERSIONS: Final = {version: version for version in ("tlsv1.3", "tlsv1.2", "tlsv1.1", "tlsv1")}


def _endpoint(name: str, attribute: str, default: str | None, doc: str, example: str = "") -> Setting:
    return Setting(name, attribute, "endpoint", default, "port or address:port", _PORT, doc, 0, 65535, example)


def _no_options(name: str, doc: str) -> Setting:
    return choice(name, "", None, {"none": None}, doc, f"{name} = none")


ROWS: Final = (
    _endpoint(
        "listeners.tcp.default",
        "listeners.tcp",
        "5672",
        "Where AMQP is served. A port alone listens on 127.0.0.1 and ::1; name an address to be reached from elsewhere\n"
        "(:::5672 is every address, IPv6 and IPv4). Port 0 takes a free one.",
    ),
    _endpoint(
        "listeners.tcp.*",
        "listeners.tcp",
        None,
        "More listeners, one key each (listeners.tcp.1, listeners.tcp.2, ...). Once one is given, only those given are served.",
        "listeners.tcp.1 = 127.0.0.1:5672",
    ),
    choice(
        "listeners.tcp", "listeners.tcp", None, {"none": None}, "`none` serves AMQP over TLS alone (listeners.ssl).", "listeners.tcp = none"
    ),
    _endpoint(
        "listeners.ssl.*",
        "listeners.ssl",
        None,
        "Where AMQP over TLS is served, likewise. Needs ssl_options.certfile.",
        "listeners.ssl.default = 5671",
    ),
    choice(
        "listeners.ssl",
        "listeners.ssl",
        None,
        {"none": None},
        "`none` serves nothing over TLS, which is the default.",
        "listeners.ssl = none",
    ),
    Setting(
        "default_host",
        "default_host",
        "host",
        "loopback",
        "an address",
        "loopback, an address, or :: for every address",
        "Where listeners that name a port alone listen: loopback is 127.0.0.1 and ::1, `::` every address, IPv6 and IPv4. (Leveret's own\n"
        "key: the Docker image has `::`.)",
        words={"loopback": None},
    ),
    boolean(
        "proxy_protocol",
        "proxy_protocol",
        "false",
        "All AMQP connections come through proxies that say whom they speak for (PROXY protocol, versions 1 and 2); others are refused.",
    ),
    milliseconds(
        "handshake_timeout",
        "handshake_timeout_seconds",
        "10000",
        1,
        INT_MAX,
        "How long a new connection may take to open before it is closed.",
        words={"infinity": INT_MAX / 1000},
    ),
    milliseconds(
        "ssl_handshake_timeout",
        "ssl_handshake_timeout_seconds",
        "5000",
        1,
        INT_MAX,
        "How long the TLS handshake of a new connection may take.",
    ),
    _no_options("ssl_options", "`none` sets no TLS options, which is the default."),
    file(
        "ssl_options.certfile",
        "ssl_options.certfile",
        "The server's certificate and those between it and its authority (PEM).",
        "ssl_options.certfile = /etc/leveret/server.pem",
    ),
    file(
        "ssl_options.keyfile",
        "ssl_options.keyfile",
        "The certificate's private key (PEM). Not given: it lies in the certificate's file.",
        "ssl_options.keyfile = /etc/leveret/server.key",
    ),
    secret(
        "ssl_options.password",
        "ssl_options.password",
        None,
        "a password",
        "Opens the key file. Better given as the environment variable LEVERET_SSL_OPTIONS_PASSWORD_FILE, which names a file.",
        "ssl_options.password = secret",
        high=1024,
    ),
    file(
        "ssl_options.cacertfile",
        "ssl_options.cacertfile",
        "The authorities whose clients' certificates are trusted (PEM).",
        "ssl_options.cacertfile = /etc/leveret/ca.pem",
    ),
    choice(
        "ssl_options.verify",
        "ssl_options.verify_peer",
        "verify_none",
        VERIFY,
        "verify_peer asks clients for a certificate, and refuses one that nobody trusted has signed.",
    ),
    boolean("ssl_options.fail_if_no_peer_cert", "ssl_options.fail_if_no_peer_cert", "false", "Refuse clients that have no certificate."),
    integer(
        "ssl_options.depth",
        "ssl_options.depth",
        None,
        "certificates",
        0,
        255,
        "The most certificates between a client's and the trusted one. Not given: as many as the library allows.",
        example="ssl_options.depth = 1",
    ),
    choice(
        "ssl_options.versions.*",
        "ssl_options.versions",
        None,
        TLS_VERSIONS,
        "Versions of TLS that are spoken, one key each. Not given: tlsv1.2 and tlsv1.3.",
        "ssl_options.versions.1 = tlsv1.3",
    ),
    text(
        "ssl_options.ciphers.*",
        "ssl_options.ciphers",
        None,
        "a cipher, as OpenSSL calls it,",
        "Cipher suites, one key each, the most wanted first. Not given: the library's choice.",
        "ssl_options.ciphers.1 = ECDHE-RSA-AES256-GCM-SHA384",
    ),
    boolean(
        "ssl_options.honor_cipher_order",
        "ssl_options.honor_cipher_order",
        "true",
        "The server's order of ciphers counts, and not the client's.",
    ),
    text(
        "ssl_options.sni.*.hostname",
        "ssl_options.sni",
        None,
        "a host name",
        "A further certificate, for clients that ask for this server name. `shop` is a name of your choice for its three keys.\n"
        "(Leveret's own keys.)",
        "ssl_options.sni.shop.hostname = shop.example.com",
    ),
    file("ssl_options.sni.*.certfile", "ssl_options.sni", "That certificate.", "ssl_options.sni.shop.certfile = /etc/leveret/shop.pem"),
    file(
        "ssl_options.sni.*.keyfile",
        "ssl_options.sni",
        "Its key. Not given: it lies in the certificate's file.",
        "ssl_options.sni.shop.keyfile = /etc/leveret/shop.key",
    ),
    choice(
        "ssl_cert_login_from",
        "ssl_cert_login_from",
        "distinguished_name",
        {
            "distinguished_name": "distinguished_name",
            "common_name": "common_name",
            "subject_alternative_name": "subject_alternative_name",
            "subject_alt_name": "subject_alternative_name",
        },
        "Where in a client's certificate its user name stands, for the mechanism EXTERNAL.",
    ),
    choice(
        "ssl_cert_login_san_type",
        "ssl_cert_login_san_type",
        "dns",
        {word: word for word in ("dns", "ip", "email", "uri", "other_name")},
        "Which kind of alternative name that is.",
    ),
    integer("ssl_cert_login_san_index", "ssl_cert_login_san_index", "0", "position", 0, 65535, "Which one of that kind; 0 is the first."),
    _no_options("tcp_listen_options", "`none` sets no TCP options, which is the default."),
    integer(
        "tcp_listen_options.backlog",
        "tcp_options.backlog",
        "1024",
        "connections",
        1,
        _BUFFER_MAX,
        "Connections that may wait to be accepted. (RabbitMQ's default is 128.)",
    ),
    boolean("tcp_listen_options.nodelay", "tcp_options.nodelay", "true", "Send small segments at once (TCP_NODELAY)."),
    boolean("tcp_listen_options.keepalive", "tcp_options.keepalive", "false", "Let the system look whether the peer is still there."),
    integer(
        "tcp_listen_options.sndbuf",
        "tcp_options.sndbuf",
        None,
        "bytes",
        1,
        _BUFFER_MAX,
        "The system's buffer for what is sent. Not given: the system's choice.",
        example="tcp_listen_options.sndbuf = 196608",
    ),
    integer(
        "tcp_listen_options.recbuf",
        "tcp_options.recbuf",
        None,
        "bytes",
        1,
        _BUFFER_MAX,
        "The system's buffer for what comes in. Not given: the system's choice.",
        example="tcp_listen_options.recbuf = 196608",
    ),
    boolean(
        "tcp_listen_options.linger.on",
        "tcp_options.linger_seconds",
        None,
        "A close waits until the peer has everything, tcp_listen_options.linger.timeout at the most. Not given: false.",
        "tcp_listen_options.linger.on = true",
    ),
    integer(
        "tcp_listen_options.linger.timeout",
        "tcp_options.linger_seconds",
        None,
        "seconds",
        0,
        65535,
        "How long. Means something with linger.on alone. Not given: 0, which drops what hasn't been sent.",
        example="tcp_listen_options.linger.timeout = 5",
    ),
    boolean("tcp_listen_options.exit_on_close", "", "false", "Taken, as charts set it, and changes nothing."),
)

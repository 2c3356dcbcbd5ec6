"""The rows of users and who decides about them."""

from __future__ import annotations

from typing import Final

from broker.settings.setting import INT_MAX, Setting, boolean, choice, file, integer, milliseconds, regex, secret, text

_BACKENDS: Final = {name: word for word in ("internal", "http", "cache") for name in (word, f"rabbit_auth_backend_{word}")}
_NAMED: Final = "internal, http or cache (there are no others in Leveret: no LDAP, no OAuth 2, no AMQP)"
_CACHED: Final = {name: word for name, word in _BACKENDS.items() if word != "cache"}
_TAGS: Final = "tags with commas between them"


def _url(name: str, attribute: str, doc: str) -> Setting:
    default = f"http://localhost:8000/auth/{attribute.removeprefix('auth_http.').removesuffix('_path')}"
    return Setting(name, attribute, "url", default, "URL", "an http or https URL", doc)


ROWS: Final = (
    text("default_user", "default_user", "guest", "a name", "The user that is created on an empty data directory."),
    secret("default_pass", "default_pass", "guest", "a password", "That user's password."),
    text("default_vhost", "default_vhost", "/", "a name", "The virtual host that is created on an empty data directory."),
    boolean(
        "default_user_tags.*",
        "default_user_tags",
        None,
        "The default user's tags, one key each; once one is given, only those set to true are meant. Not given: administrator.",
        "default_user_tags.administrator = true",
    ),
    regex(
        "default_permissions.configure", "default_permissions.configure", ".*", "What the default user may configure in the default vhost."
    ),
    regex("default_permissions.read", "default_permissions.read", ".*", "What it may read from."),
    regex("default_permissions.write", "default_permissions.write", ".*", "What it may write to."),
    secret(
        "default_users.*.password",
        "default_users",
        None,
        "a password",
        "More users that are created on an empty data directory; the name stands in the key.",
        "default_users.alice.password = secret",
    ),
    Setting(
        "default_users.*.tags",
        "default_users",
        "tags",
        None,
        _TAGS,
        _TAGS,
        "Their tags.",
        example="default_users.alice.tags = monitoring,policymaker",
    ),
    regex(
        "default_users.*.vhost_pattern",
        "default_users",
        None,
        "The vhosts that they get permissions in. Not given: .*, all.",
        "default_users.alice.vhost_pattern = ^orders",
    ),
    regex(
        "default_users.*.configure",
        "default_users",
        None,
        "What they may configure there, read and write. Not given: .*, everything.",
        "default_users.alice.configure = ^alice-",
    ),
    regex("default_users.*.read", "default_users", None, "See configure.", "default_users.alice.read = .*"),
    regex("default_users.*.write", "default_users", None, "See configure.", "default_users.alice.write = ^alice-"),
    boolean(
        "loopback_users.*",
        "loopback_users",
        None,
        "Users that may connect from this machine only. Once one is given, only those set to true are meant. Not given: guest.",
        "loopback_users.guest = true",
    ),
    choice(
        "loopback_users", "loopback_users", None, {"none": None}, "`none` lets every user connect from everywhere.", "loopback_users = none"
    ),
    choice(
        "password_hashing_module",
        "password_hashing",
        "rabbit_password_hashing_sha256",
        {f"rabbit_password_hashing_{name}": f"rabbit_password_hashing_{name}" for name in ("sha256", "sha512", "md5")},
        "How passwords are kept. What is kept already stays as it is.",
    ),
    choice(
        "auth_mechanisms.*",
        "auth_mechanisms",
        None,
        {word: word for word in ("PLAIN", "AMQPLAIN", "EXTERNAL", "ANONYMOUS")},
        "How clients may log in, one key each. Not given: PLAIN and AMQPLAIN.",
        "auth_mechanisms.1 = PLAIN",
    ),
    Setting(
        "anonymous_login_user",
        "anonymous_login_user",
        "text",
        "guest",
        "text",
        "none, or a name of 1 to 255 bytes",
        "Who a client is that logs in with ANONYMOUS, if that is one of the mechanisms; `none` lets nobody in that way.",
        1,
        255,
        words={"none": None},
    ),
    secret(
        "anonymous_login_pass",
        "",
        None,
        "a password",
        "Taken, and not needed: nobody asks for the password of ANONYMOUS.",
        "anonymous_login_pass = guest",
    ),
    choice(
        "auth_backends.*",
        "auth_backends",
        None,
        _BACKENDS,
        "Who says who a user is and what it may do: internal (users and permissions in the data directory), http (a server of yours, see\n"
        "auth_http) or cache (see auth_cache). The first that knows a user counts. Not given: internal.",
        "auth_backends.1 = internal",
        _NAMED,
    ),
    choice(
        "auth_backends.*.authn",
        "auth_backends",
        None,
        _BACKENDS,
        "The same for who a user is alone.",
        "auth_backends.1.authn = http",
        _NAMED,
    ),
    choice(
        "auth_backends.*.authz",
        "auth_backends",
        None,
        _BACKENDS,
        "The same for what a user may do alone.",
        "auth_backends.1.authz = internal",
        _NAMED,
    ),
    choice("auth_http.http_method", "auth_http.http_method", "get", {"get": "get", "post": "post"}, "How a server is asked."),
    _url("auth_http.user_path", "auth_http.user_path", "Where to ask who a user is. May have a user and a password in it."),
    _url("auth_http.vhost_path", "auth_http.vhost_path", "Where to ask whether a user may use a vhost."),
    _url("auth_http.resource_path", "auth_http.resource_path", "Where to ask whether it may configure, read or write."),
    _url("auth_http.topic_path", "auth_http.topic_path", "Where to ask about routing keys of topic exchanges."),
    milliseconds("auth_http.request_timeout", "auth_http.request_timeout_seconds", "15000", 1, INT_MAX, "From the question to the answer."),
    milliseconds("auth_http.connection_timeout", "auth_http.connection_timeout_seconds", "15000", 1, INT_MAX, "For the connection alone."),
    file(
        "auth_http.ssl_options.cacertfile",
        "auth_http.cacertfile",
        "Who signs the certificates of https servers (PEM). Not given: whom the system trusts.",
        "auth_http.ssl_options.cacertfile = /etc/leveret/ca.pem",
    ),
    file(
        "auth_http.ssl_options.certfile",
        "auth_http.certfile",
        "What is presented to an https server that asks for a certificate (PEM).",
        "auth_http.ssl_options.certfile = /etc/leveret/client.pem",
    ),
    file("auth_http.ssl_options.keyfile", "auth_http.keyfile", "Its key.", "auth_http.ssl_options.keyfile = /etc/leveret/client.key"),
    choice(
        "auth_http.ssl_options.verify",
        "auth_http.verify_peer",
        "verify_peer",
        {"verify_peer": True, "verify_none": False},
        "verify_none takes any certificate.",
    ),
    choice(
        "auth_cache.cached_backend",
        "auth_cache",
        None,
        _CACHED,
        "Whom `cache` asks. Not given: internal.",
        "auth_cache.cached_backend = http",
        "internal or http",
    ),
    choice(
        "auth_cache.cached_backend.authn",
        "auth_cache",
        None,
        _CACHED,
        "The same for who a user is alone.",
        "auth_cache.cached_backend.authn = http",
        "internal or http",
    ),
    choice(
        "auth_cache.cached_backend.authz",
        "auth_cache",
        None,
        _CACHED,
        "The same for what a user may do alone.",
        "auth_cache.cached_backend.authz = http",
        "internal or http",
    ),
    milliseconds(
        "auth_cache.cache_ttl", "auth_cache_seconds", "15000", 0, INT_MAX, "How long an answer of a server is remembered; 0 asks each time."
    ),
    integer(
        "login_failures_max",
        "login_failures_max",
        "5",
        "refused logins",
        0,
        INT_MAX,
        "Refused logins from one address in a minute; from then on each further login from there waits before it is answered. Loopback\n"
        "addresses never wait. 0: nobody waits. (Leveret's own key.)",
    ),
    milliseconds("login_delay_max", "login_delay_max_seconds", "5000", 0, INT_MAX, "The longest such wait. (Leveret's own key.)"),
)

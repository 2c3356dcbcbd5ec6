"""advanced.config's terms as settings: `{rabbit, [{heartbeat, 30}]}` is heartbeat = 30.

Those that people set (docs/configuration.md lists them). Others are a warning: RabbitMQ's applications have hundreds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from broker.settings import table
from broker.settings.given import Source
from broker.settings.reader import Reader
from broker.settings.terms import Atom, TermError, Tuple, read

Pairs = list[tuple[str, str]]
"""Keys of a file, and the texts that stand there."""


class Unfit(Exception):
    """The term has a shape that no setting has."""


class Term(NamedTuple):
    """{application, [{name, value}]}, flattened."""

    application: str
    name: str
    value: Any
    line: int


def from_file(reader: Reader, path: Path) -> Source:
    """Return what the file gives; problems go to the reader."""
    source = Source()
    try:
        text = path.read_text(encoding="utf-8-sig")
        terms = list(_flattened(read(text)))
    except OSError as error:
        reader.problems.append(f"{path}: the configuration file can't be read: {error.strerror or error}")
        return source
    except UnicodeDecodeError as error:
        reader.problems.append(f"{path}: the configuration file isn't UTF-8 text: {error.reason} at byte {error.start}")
        return source
    except TermError as error:
        reader.problems.append(f"{path}:{error.line}: {error}")
        return source
    except Unfit:
        reader.problems.append(f"{path}: expected [{{application, [{{name, value}}]}}].")
        return source
    unused: list[str] = []
    for term in terms:
        origin = f"{path}:{term.line}"
        try:
            pairs = settings_of(term)
        except Unfit:
            pairs = None
        if pairs is None or any(table.find(key) is None for key, _ in pairs):
            unused.append(f"{term.application}.{term.name} (line {term.line})")
            continue
        for key, value in pairs:
            reader.give(source, key, value, origin)
    if unused:
        reader.warnings.append(f"{path}: Leveret goes on without these terms: {', '.join(unused)}")
    return source


def settings_of(term: Term) -> Pairs | None:
    """Return the settings that a term stands for, None for one that nothing is known of. Raises Unfit."""
    make = _TERMS.get((term.application, term.name))
    return make(term.value) if make is not None else None


def _flattened(terms: list[Any]) -> Iterator[Term]:
    for top in terms:
        for application in _tuples(top):
            name, options = _pair(application)
            for option in _tuples(options):
                key, value = _pair(option)
                yield Term(_word(name), _word(key), value, option.line)


def _tuples(value: Any) -> list[Tuple]:
    if not isinstance(value, list) or not all(isinstance(item, Tuple) for item in value):
        raise Unfit
    return value


def _pair(value: Any) -> tuple[Any, Any]:
    if not isinstance(value, Tuple) or len(value) != 2:
        raise Unfit
    return value[0], value[1]


def _word(value: Any) -> str:
    """A scalar as a file has it. Empty texts have no place in a file."""
    if isinstance(value, float):
        return f"{value:f}"
    if not isinstance(value, str | int) or value == "":
        raise Unfit
    return str(value)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Unfit
    return value


def _scalar(key: str) -> Callable[[Any], Pairs]:
    return lambda value: [(key, _word(value))]


def _listeners(protocol: str) -> Callable[[Any], Pairs]:
    def make(value: Any) -> Pairs:
        endpoints = [":".join(map(_word, _pair(item))) if isinstance(item, Tuple) else _word(item) for item in _list(value)]
        if not endpoints:
            return [(f"listeners.{protocol}", "none")]
        return [(f"listeners.{protocol}.{number}", endpoint) for number, endpoint in enumerate(endpoints, start=1)]

    return make


def _loopback_users(value: Any) -> Pairs:
    users = [_word(user).replace(".", "\\.") for user in _list(value)]
    return [(f"loopback_users.{user}", "true") for user in users] or [("loopback_users", "none")]


def _numbered(family: str) -> Callable[[Any], Pairs]:
    return lambda value: [(f"{family}.{number}", _word(item)) for number, item in enumerate(_list(value), start=1)]


def _auth_backends(value: Any) -> Pairs:
    pairs: Pairs = []
    for number, backend in enumerate(_list(value), start=1):
        if isinstance(backend, Tuple):
            authn, authz = _pair(backend)
            pairs += [(f"auth_backends.{number}.authn", _word(authn)), (f"auth_backends.{number}.authz", _word(authz))]
        else:
            pairs.append((f"auth_backends.{number}", _word(backend)))
    return pairs


def _default_user_tags(value: Any) -> Pairs:
    return [(f"default_user_tags.{_word(tag)}", "true") for tag in _list(value)]


def _default_permissions(value: Any) -> Pairs:
    names = ("configure", "write", "read")
    if len(_list(value)) != len(names):
        raise Unfit
    return [(f"default_permissions.{name}", _word(pattern)) for name, pattern in zip(names, value, strict=True)]


def _consumer_timeout(value: Any) -> Pairs:
    return [("consumer_timeout", "0" if value in (Atom("undefined"), Atom("infinity")) else _word(value))]


def _limit(key: str, relative: str) -> Callable[[Any], Pairs]:
    """A bare number is what RabbitMQ makes of it: a share for the watermark, bytes for the disk."""

    def make(value: Any) -> Pairs:
        if not isinstance(value, Tuple):
            return [(f"{key}.{'relative' if isinstance(value, float) else 'absolute'}", _word(value))]
        kind, amount = _pair(value)
        if kind not in ("absolute", relative):
            raise Unfit
        return [(f"{key}.{'relative' if kind == relative else 'absolute'}", _word(amount))]

    return make


def _ssl_options(value: Any) -> Pairs:
    pairs: Pairs = []
    for option in _tuples(value):
        name, given = _pair(option)
        if name in ("versions", "ciphers"):
            pairs += _numbered(f"ssl_options.{name}")(given)
        else:
            pairs.append((f"ssl_options.{_word(name)}", _word(given)))
    return pairs


def _log_levels(value: Any) -> Pairs:
    """RabbitMQ before 3.7; since then it goes on without."""
    return [(f"log.{_word(category)}.level", _word(level)) for category, level in map(_pair, _list(value))]


_SCALARS: Final = """
    default_user default_pass default_vhost load_definitions heartbeat channel_max channel_max_per_node frame_max max_message_size
    connection_max vhost_max consumer_max_per_channel handshake_timeout ssl_handshake_timeout cluster_name default_queue_type
    password_hashing_module proxy_protocol ssl_cert_login_from anonymous_login_user anonymous_login_pass
""".split()
_TERMS: Final[Mapping[tuple[str, str], Callable[[Any], Pairs]]] = {
    **{("rabbit", name): _scalar(name) for name in _SCALARS},
    ("rabbit", "tcp_listeners"): _listeners("tcp"),
    ("rabbit", "ssl_listeners"): _listeners("ssl"),
    ("rabbit", "ssl_options"): _ssl_options,
    ("rabbit", "loopback_users"): _loopback_users,
    ("rabbit", "default_user_tags"): _default_user_tags,
    ("rabbit", "default_permissions"): _default_permissions,
    ("rabbit", "auth_mechanisms"): _numbered("auth_mechanisms"),
    ("rabbit", "auth_backends"): _auth_backends,
    ("rabbit", "consumer_timeout"): _consumer_timeout,
    ("rabbit", "vm_memory_high_watermark"): _limit("vm_memory_high_watermark", "relative"),
    ("rabbit", "disk_free_limit"): _limit("disk_free_limit", "mem_relative"),
    ("rabbit", "log_levels"): _log_levels,
    ("rabbitmq_management", "load_definitions"): _scalar("management.load_definitions"),
    ("rabbitmq_auth_backend_cache", "cached_backend"): _scalar("auth_cache.cached_backend"),
    ("rabbitmq_auth_backend_cache", "cache_ttl"): _scalar("auth_cache.cache_ttl"),
    **{
        ("rabbitmq_auth_backend_http", name): _scalar(f"auth_http.{name}")
        for name in ("http_method", "user_path", "vhost_path", "resource_path", "topic_path")
    },
}

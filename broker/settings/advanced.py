"""advanced.config's terms as settings: `{rabbit, [{heartbeat, 30}]}` is heartbeat = 30.

Those that people set (docs/configuration.md lists them). Others are a warning: RabbitMQ's applications have hundreds. One that is known
and can't be read is a problem: to go on without it may be to let in whom it keeps out.
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
    """The term has a shape that its setting hasn't; the text is what was expected."""


class Term(NamedTuple):
    """{application, [{name, value}]}, flattened; what stands in ssl_options is a term each, called `ssl_options.depth`."""

    application: str
    name: str
    value: Any
    line: int


def from_file(reader: Reader, path: Path) -> Source:
    """Return what the file gives; problems go to the reader."""
    source = Source()
    reader.files.append(path)
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
        unused += [f"{name} (line {line})" for name, line in give(reader, source, term, str(path))]
    if unused:
        reader.warnings.append(f"{path}: Leveret goes on without these terms: {', '.join(unused)}")
    return source


def give(reader: Reader, source: Source, term: Term, file: str, *, variable: str = "") -> list[tuple[str, int]]:
    """Let `source` have what the term gives, and return the names and lines of what nothing is known of.

    What is known and can't be read is a problem, never shown with its value, at its line of the file, or in the environment's variable.
    """
    unused: list[tuple[str, int]] = []
    named = f"{variable}: " if variable else ""
    for member in _members(term):
        name = f"{member.application}.{member.name}"
        place = "environment" if variable else f"{file}:{member.line}"
        make = _maker(member)
        if make is None:
            unused.append((name, member.line))
            continue
        try:
            pairs = make(member.value)
        except Unfit as error:
            reader.problems.append(f"{place}: {named}{name}: expected {error}")
            continue
        unknown = [(key, value) for key, value in pairs if table.find(key) is None]
        unused += [(f"{name} ({key})", member.line) for key, _ in unknown]
        for key, value in pairs:
            if (key, value) not in unknown:
                reader.give(source, key, value, f"environment {variable}" if variable else place, place=place, named=f"{named}{key}")
    return unused


def _maker(term: Term) -> Callable[[Any], Pairs] | None:
    """What makes settings of the term's value; None if nothing is known of it."""
    make = _TERMS.get((term.application, term.name))
    if make is None and term.application == "rabbit" and term.name.startswith("ssl_options.") and table.find(term.name) is not None:
        return _scalar(term.name)
    return make


def _members(term: Term) -> Iterator[Term]:
    """The term; of ssl_options each of its members, so that none takes another one with it."""
    if (term.application, term.name) != ("rabbit", "ssl_options") or not isinstance(term.value, list):
        yield term
        return
    for option in term.value:
        line = option.line if isinstance(option, Tuple) else term.line
        if isinstance(option, Atom):  # Erlang's short form
            yield Term(term.application, f"ssl_options.{option}", Atom("true"), line)
        elif isinstance(option, Tuple) and len(option) == 2 and isinstance(option[0], str):
            yield Term(term.application, f"ssl_options.{option[0]}", option[1], line)
        else:
            yield term._replace(value=option, line=line)


def _flattened(terms: list[Any]) -> Iterator[Term]:
    for top in terms:
        for application in _tuples(top):
            name, options = _pair(application)
            for option in _tuples(options):
                key, value = _pair(option)
                yield Term(_word(name), _word(key), value, option.line)


def _tuples(value: Any) -> list[Tuple]:
    if not isinstance(value, list) or not all(isinstance(item, Tuple) for item in value):
        raise Unfit("[{name, value}]")
    return value


def _pair(value: Any) -> tuple[Any, Any]:
    if not isinstance(value, Tuple) or len(value) != 2:
        raise Unfit("{name, value}")
    return value[0], value[1]


def _word(value: Any) -> str:
    """A scalar as a file has it."""
    if isinstance(value, float):
        return repr(value)
    if not isinstance(value, str | int):
        raise Unfit("a text, an atom or a number")
    return str(value)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Unfit("a list")
    return value


def _part(value: Any) -> str:
    """A name as a part of a key."""
    if not isinstance(value, str) or not value:
        raise Unfit("a list of names")
    return value.replace(".", "\\.")


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
    return [(f"loopback_users.{_part(user)}", "true") for user in _list(value)] or [("loopback_users", "none")]


def _numbered(family: str, *, may_be_empty: bool = False) -> Callable[[Any], Pairs]:
    def make(value: Any) -> Pairs:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise Unfit("a list of texts or atoms")
        if not value and not may_be_empty:
            raise Unfit("a list with something in it")
        return [(f"{family}.{number}", item) for number, item in enumerate(value, start=1)]

    return make


def _auth_backends(value: Any) -> Pairs:
    pairs: Pairs = []
    for number, backend in enumerate(_list(value), start=1):
        if isinstance(backend, Tuple):
            authn, authz = _pair(backend)
            pairs += [(f"auth_backends.{number}.authn", _word(authn)), (f"auth_backends.{number}.authz", _word(authz))]
        else:
            pairs.append((f"auth_backends.{number}", _word(backend)))
    if not pairs:
        raise Unfit("a list with something in it")
    return pairs


def _default_user_tags(value: Any) -> Pairs:
    """No tags are no tags, and not the default ones."""
    return [(f"default_user_tags.{_part(tag)}", "true") for tag in _list(value)] or [("default_user_tags.administrator", "false")]


def _default_permissions(value: Any) -> Pairs:
    names = ("configure", "write", "read")
    if not isinstance(value, list) or len(value) != len(names):
        raise Unfit("three patterns: configure, write and read")
    return [(f"default_permissions.{name}", _word(pattern)) for name, pattern in zip(names, value, strict=True)]


def _consumer_timeout(value: Any) -> Pairs:
    return [("consumer_timeout", "0" if value in (Atom("undefined"), Atom("infinity")) else _word(value))]


def _limit(key: str, relative: str, *, number: str) -> Callable[[Any], Pairs]:
    """`{absolute, Size}` or `{relative, Share}`; a bare number is what `number` says."""

    def make(value: Any) -> Pairs:
        if not isinstance(value, Tuple):
            return [(f"{key}.{number if isinstance(value, int | float) else 'absolute'}", _word(value))]
        kind, amount = _pair(value)
        if kind not in ("absolute", relative):
            raise Unfit(f"a number, {{absolute, Size}} or {{{relative}, Number}}")
        return [(f"{key}.{'relative' if kind == relative else 'absolute'}", _word(amount))]

    return make


def _ssl_options(value: Any) -> Pairs:
    """Of what isn't members."""
    if value == "none":
        return [("ssl_options", "none")]
    raise Unfit("[{name, value}]")


def _log_levels(value: Any) -> Pairs:
    """RabbitMQ before 3.7; since then it goes on without."""
    return [(f"log.{_part(category)}.level", _word(level)) for category, level in map(_pair, _list(value))]


def _http_listener(key: str) -> Callable[[Any], Pairs]:
    """`[{port, 15672}, {ip, "::"}, {ssl_opts, [{certfile, "..."}]}]`."""

    def make(value: Any) -> Pairs:
        pairs: Pairs = []
        for option in _tuples(value):
            name, given = _pair(option)
            inner = f"{key}.{_word(name)}"
            if name in ("versions", "ciphers"):
                pairs += _numbered(inner)(given)
            elif name in ("ssl_opts", "cowboy_opts"):
                pairs += _http_listener(inner)(given)
            else:
                pairs.append((inner, _word(given)))
        return pairs

    return make


def _origins(value: Any) -> Pairs:
    return _numbered("management.cors.allow_origins", may_be_empty=True)(value) or [("management.cors.allow_origins", "none")]


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
    ("rabbit", "ssl_options.versions"): _numbered("ssl_options.versions"),
    ("rabbit", "ssl_options.ciphers"): _numbered("ssl_options.ciphers", may_be_empty=True),
    ("rabbit", "loopback_users"): _loopback_users,
    ("rabbit", "default_user_tags"): _default_user_tags,
    ("rabbit", "default_permissions"): _default_permissions,
    ("rabbit", "auth_mechanisms"): _numbered("auth_mechanisms"),
    ("rabbit", "auth_backends"): _auth_backends,
    ("rabbit", "consumer_timeout"): _consumer_timeout,
    ("rabbit", "vm_memory_high_watermark"): _limit("vm_memory_high_watermark", "relative", number="relative"),
    ("rabbit", "disk_free_limit"): _limit("disk_free_limit", "mem_relative", number="absolute"),
    ("rabbit", "log_levels"): _log_levels,
    ("rabbitmq_management", "load_definitions"): _scalar("management.load_definitions"),
    ("rabbitmq_management", "listener"): _http_listener("management.listener"),
    ("rabbitmq_management", "tcp_config"): _http_listener("management.tcp"),
    ("rabbitmq_management", "ssl_config"): _http_listener("management.ssl"),
    ("rabbitmq_prometheus", "tcp_config"): _http_listener("prometheus.tcp"),
    ("rabbitmq_prometheus", "ssl_config"): _http_listener("prometheus.ssl"),
    ("rabbitmq_management", "cors_allow_origins"): _origins,
    ("rabbitmq_management", "cors_max_age"): _scalar("management.cors.max_age"),
    ("rabbitmq_management", "disable_management_stats"): _scalar("management.disable_stats"),
    ("rabbitmq_management", "max_http_body_size"): _scalar("management.http.max_body_size"),
    **{
        ("rabbitmq_management", name): _scalar(f"management.{name}")
        for name in ("path_prefix", "rates_mode", "login_session_timeout", "disable_basic_auth", "enable_queue_totals")
    },
    ("rabbitmq_auth_backend_cache", "cached_backend"): _scalar("auth_cache.cached_backend"),
    ("rabbitmq_auth_backend_cache", "cache_ttl"): _scalar("auth_cache.cache_ttl"),
    **{
        ("rabbitmq_auth_backend_http", name): _scalar(f"auth_http.{name}")
        for name in ("http_method", "user_path", "vhost_path", "resource_path", "topic_path")
    },
}

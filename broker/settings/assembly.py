"""The Config of all that was given: a function for each attribute that several keys make, the rest by its path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from broker.config import (
    AMQP_PORT,
    MANAGEMENT_TLS_PORT,
    PROMETHEUS_TLS_PORT,
    AuthBackend,
    Config,
    DefaultLimit,
    DefaultPolicy,
    DefaultUser,
    Listener,
    SniHost,
    TlsOptions,
)
from broker.settings.given import Given, hosts_of

PRECEDENCE: Final = (
    "disk_free_limit.absolute", "vm_memory_high_watermark.absolute", "load_definitions", "definitions.local.path", "connection_max",
    "channel_max",
)  # fmt: skip
"""Where one source gives several keys of one attribute, the first of these wins: rabbit.schema says so for the limits."""

_DEFAULTS: Final = Config()
_SECTIONS: Final[Mapping[str, Any]] = {
    "ssl_options": TlsOptions(),
    "tcp_options": _DEFAULTS.tcp_options,
    "management": _DEFAULTS.management,
    "prometheus": _DEFAULTS.prometheus,
    "auth_http": _DEFAULTS.auth_http,
    "log": _DEFAULTS.log,
    "testing": _DEFAULTS.testing,
}
UNNUMBERED: Final = 10**10
"""The place of a key in a list that ends in no number."""
_Values = dict[str, Any]
"""By what is behind an attribute's name in the key."""


def assemble(merged: Mapping[str, Given], problems: list[str]) -> Config:
    """Return the Config; what doesn't go together is added to `problems`, and then the Config is of no use."""
    groups: dict[str, dict[str, Given]] = {}
    for key, given in merged.items():
        groups.setdefault(given.attribute, {})[key] = given
    fields: dict[str, Any] = {}
    sections: dict[str, dict[str, Any]] = {}
    for attribute, group in groups.items():
        if attribute in _LISTENERS or not attribute:
            continue
        compose = _COMPOSED.get(attribute)
        value = compose(group, problems) if compose is not None else _first(group)
        name, dot, inner = attribute.partition(".")
        if dot:
            sections.setdefault(name, {})[inner] = value
        else:
            fields[name] = value
    _permissions(fields, sections)
    _http_tls(sections)
    for name, inner_fields in sections.items():
        fields[name] = replace(_SECTIONS[name], **inner_fields)
    if fields.get("ssl_options") == TlsOptions():
        fields["ssl_options"] = None
    if any(attribute in groups for attribute in (*_LISTENERS, "default_host")):
        fields["listeners"] = _listeners(groups, fields.get("default_host"), problems)
    _cached_backends(fields)
    return replace(_DEFAULTS, **fields)


def _first(group: Mapping[str, Given]) -> Any:
    return group[next((key for key in PRECEDENCE if key in group), list(group)[-1])].value


def _numbered(group: Iterable[str]) -> list[str]:
    """The keys in the order of the numbers they end in, `default` before them; other words come last, in the file's order."""
    return sorted(group, key=lambda key: _rank(key.rpartition(".")[2]))


def _rank(word: str) -> int:
    if word == "default":
        return -1
    return int(word) if word.isascii() and word.isdigit() and len(word) < 10 else UNNUMBERED


def _problem(group: Mapping[str, Given], key: str, what: str, value: str = "") -> str:
    """What is wrong with all that was given below `key`, at the place of the first of it."""
    places = (given.origin for each, given in group.items() if f"{'.'.join(_parts(each))}.".startswith(f"{key}."))
    return f"{next(places)}: {key}{value}: {what}"


_LISTENERS: Final = ("listeners.tcp", "listeners.ssl")


def _listeners(groups: Mapping[str, Mapping[str, Given]], default_host: str | None, problems: list[str]) -> tuple[Listener, ...]:
    endpoints: dict[str, list[tuple[str | None, int]]] = {"listeners.tcp": [(None, AMQP_PORT)], "listeners.ssl": []}
    for attribute in _LISTENERS:
        if attribute in groups:
            group = groups[attribute]
            endpoints[attribute] = [] if attribute in group else [group[key].value for key in _numbered(group)]
    found = dict.fromkeys(
        Listener(each, port, tls=attribute == "listeners.ssl")
        for attribute in _LISTENERS
        for host, port in endpoints[attribute]
        for each in hosts_of(host or default_host)
    )
    if not found:
        what = "expected a listener in listeners.ssl, for there is nothing left to listen on"
        problems.append(_problem(groups["listeners.tcp"], "listeners.tcp", what, " = none"))
    return tuple(found)


def _flags(group: Mapping[str, Given]) -> list[str]:
    """The last parts of the keys that are true; none if the attribute itself is `none`."""
    return [] if any(given.value is None for given in group.values()) else [_parts(key)[-1] for key, given in group.items() if given.value]


def _parts(key: str) -> list[str]:
    return [part.replace("\0", ".") for part in key.replace("\\.", "\0").split(".")]


def _loopback_users(group: Mapping[str, Given], _: list[str]) -> frozenset[str]:
    return frozenset(_flags(group))


def _default_user_tags(group: Mapping[str, Given], _: list[str]) -> tuple[str, ...]:
    return tuple(_flags(group))


def _list(group: Mapping[str, Given], _: list[str]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(group[key].value for key in _numbered(group)))


def _path(group: Mapping[str, Given], _: list[str]) -> str:
    """With a slash in front and none behind, however it was written; empty for the root."""
    inner = str(_first(group)).strip("/")
    return f"/{inner}" if inner else ""


def _origins(group: Mapping[str, Given], _: list[str]) -> tuple[str, ...]:
    return () if any(given.value is None for given in group.values()) else _list(group, _)


def _records(group: Mapping[str, Given], depth: int) -> dict[str, _Values]:
    """By the name that is the key's part at `depth`, what is behind it. In the order of names, and not of lines."""
    records: dict[str, _Values] = {}
    for key, given in group.items():
        name, *rest = _parts(key)[depth:]
        records.setdefault(name, {})[".".join(rest)] = given.value
    return {name: records[name] for name in sorted(records, key=lambda name: (_rank(name), name))}


def _over(record: _Values, **defaults: Any) -> _Values:
    return defaults | record


def _pair(record: _Values) -> AuthBackend:
    """What is said of one part alone holds for the other, too, as in RabbitMQ."""
    either = record.get("", record.get("authn", record.get("authz")))
    return AuthBackend(**_over({part: value for part, value in record.items() if part}, authn=either, authz=either))


def _auth_backends(group: Mapping[str, Given], problems: list[str]) -> tuple[AuthBackend, ...]:
    records = _records(group, 1)
    backends: list[AuthBackend] = []
    for number in _numbered(records):
        record, key = records[number], f"auth_backends.{number}"
        if _rank(number) == UNNUMBERED:
            problems.append(_problem(group, key, "expected a number, its place in the order"))
        if "" in record and len(record) > 1:
            problems.append(_problem(group, key, "expected it alone, or .authn and .authz, and not both"))
        backends.append(_pair(record))
    return tuple(backends)


def _auth_cache(group: Mapping[str, Given], problems: list[str]) -> AuthBackend:
    record = {key.removeprefix("auth_cache.cached_backend").lstrip("."): given.value for key, given in group.items()}
    if "" in record and len(record) > 1:
        problems.append(_problem(group, "auth_cache.cached_backend", "expected it alone, or .authn and .authz, and not both"))
    return _pair(record)


def _cached_backends(fields: dict[str, Any]) -> None:
    """Put in who `cache` asks: what other servers say is remembered anyway."""
    cached = fields.pop("auth_cache", AuthBackend())
    if "auth_backends" in fields:
        fields["auth_backends"] = tuple(
            AuthBackend(
                cached.authn if backend.authn == "cache" else backend.authn, cached.authz if backend.authz == "cache" else backend.authz
            )
            for backend in fields["auth_backends"]
        )


def _default_users(group: Mapping[str, Given], _: list[str]) -> tuple[DefaultUser, ...]:
    return tuple(DefaultUser(name, **record) for name, record in _records(group, 1).items())


def _default_limits(group: Mapping[str, Given], _: list[str]) -> tuple[DefaultLimit, ...]:
    return tuple(DefaultLimit(**_over(record, pattern=".*")) for record in _records(group, 2).values())


def _default_policies(group: Mapping[str, Given], problems: list[str]) -> tuple[DefaultPolicy, ...]:
    policies = []
    for name, record in _records(group, 2).items():
        matching = {field: record.pop(field) for field in ("vhost_pattern", "queue_pattern", "apply_to") if field in record}
        if not record:
            what = "expected something that it limits, such as .max_length"
            problems.append(_problem(group, f"default_policies.operator.{name}", what))
        policies.append(
            DefaultPolicy(name, **matching, definition=tuple((key.replace("_", "-"), value) for key, value in sorted(record.items())))
        )
    return tuple(policies)


def _sni(group: Mapping[str, Given], problems: list[str]) -> tuple[SniHost, ...]:
    hosts = []
    for name, record in _records(group, 2).items():
        if "certfile" in record:
            record.setdefault("keyfile", record["certfile"])  # which may hold both
        missing = [field for field in ("hostname", "certfile") if field not in record]
        key = f"ssl_options.sni.{name}"
        problems += [_problem(group, key, f"expected {key}.{field} as well") for field in missing]
        hosts.append(SniHost(**_over(record, hostname="", certfile=Path(), keyfile=Path())))
    return tuple(hosts)


def _linger(group: Mapping[str, Given], _: list[str]) -> int | None:
    on, timeout = group.get("tcp_listen_options.linger.on"), group.get("tcp_listen_options.linger.timeout")
    return (timeout.value if timeout is not None else 0) if on is not None and on.value else None


def _levels(group: Mapping[str, Given], _: list[str]) -> tuple[tuple[str, str], ...]:
    levels = dict(_DEFAULTS.log.levels) | {_parts(key)[1]: given.value for key, given in group.items()}
    return tuple(sorted(levels.items(), key=lambda level: (level[0] != "default", level[0])))


def _permissions(fields: dict[str, Any], sections: dict[str, dict[str, Any]]) -> None:
    given = sections.pop("default_permissions", {})
    if given:
        names = ("configure", "write", "read")
        fields["default_permissions"] = tuple(
            given.get(name, default) for name, default in zip(names, _DEFAULTS.default_permissions, strict=True)
        )


def _http_tls(sections: dict[str, dict[str, Any]]) -> None:
    """Make what is said of HTTP over TLS, and of the older management.listener, parts of their sections."""
    listener, opts = sections.pop("management_listener", {}), sections.pop("management_listener_ssl", None)
    over_tls = listener.pop("ssl", False)
    if listener:
        renamed = {f"tls_{name}": value for name, value in listener.items()} if over_tls else listener
        sections["management"] = renamed | sections.get("management", {})
    if over_tls and "management_ssl" not in sections:
        _add_tls(sections, "management", "management.listener.ssl_opts", opts or {}, MANAGEMENT_TLS_PORT)
    for name, port in (("management", MANAGEMENT_TLS_PORT), ("prometheus", PROMETHEUS_TLS_PORT)):
        given = sections.pop(f"{name}_ssl", None)
        if given is not None:
            _add_tls(sections, name, f"{name}.ssl", given, port)


def _add_tls(sections: dict[str, dict[str, Any]], name: str, key: str, given: dict[str, Any], port: int) -> None:
    section = sections.setdefault(name, {})
    section.setdefault("tls_port", port)
    if given:
        section["ssl_options"] = TlsOptions(**given, name=key)


_COMPOSED: Final[Mapping[str, Callable[[Mapping[str, Given], list[str]], Any]]] = {
    "loopback_users": _loopback_users,
    "default_user_tags": _default_user_tags,
    "auth_mechanisms": _list,
    **{
        f"{section}.{name}": _list
        for section in ("ssl_options", "management_ssl", "management_listener_ssl", "prometheus_ssl")
        for name in ("versions", "ciphers")
    },
    "management.cors_allow_origins": _origins,
    "management.path_prefix": _path,
    "prometheus.path": _path,
    "ssl_options.sni": _sni,
    "auth_backends": _auth_backends,
    "auth_cache": _auth_cache,
    "default_users": _default_users,
    "default_limits": _default_limits,
    "default_policies": _default_policies,
    "tcp_options.linger_seconds": _linger,
    "log.levels": _levels,
}

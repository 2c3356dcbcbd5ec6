"""What sources give, key by key, and which of them counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from broker.config import AMQP_PORT, LOOPBACK_HOSTS

DEFAULT: Final = "default"
COMMAND_LINE: Final = "command line"

RECORDS: Final = frozenset(
    {"", "default_users", "default_limits", "default_policies", "ssl_options.sni", "auth_cache", "log.levels", "tcp_options.linger_seconds"}
)
"""Attributes whose keys are merged one by one. Of all others (listeners.tcp, auth_backends) a source that gives some key replaces what
the sources before it gave."""

EVERY_ADDRESS: Final = ("0.0.0.0", "::")
"""What `::` and `*` stand for: IPv6 sockets take no IPv4 connections here, whatever the system's default is."""


class Given(NamedTuple):
    """One value: where it goes (see Setting), what it is, how it was written, and where."""

    attribute: str
    value: Any
    text: str
    origin: str
    secret: bool = False


@dataclass
class Source:
    """What one source gives, by key.

    `host` and `port` change the TCP listeners of the sources before it. `fallback` counts where nobody gave anything for the attribute.
    """

    given: dict[str, Given] = field(default_factory=dict)
    host: Given | None = None
    port: Given | None = None
    fallback: dict[str, Given] = field(default_factory=dict)


def merge(sources: Iterable[Source]) -> dict[str, Given]:
    """Lay the sources over each other, the last winning."""
    merged: dict[str, Given] = {}
    for source in sources:
        replaced = {given.attribute for given in source.given.values()} - RECORDS
        merged = {key: given for key, given in merged.items() if given.attribute not in replaced} | source.given
        there = {given.attribute for given in merged.values()}
        merged |= {key: given for key, given in source.fallback.items() if given.attribute not in there}
        if source.host is not None:
            merged = _moved(merged, source.host, host=source.host.value)
        if source.port is not None:
            merged = _moved(merged, source.port, port=source.port.value)
    return merged


def hosts_of(host: str | None) -> tuple[str, ...]:
    """A port alone keeps to loopback: whoever wants the world to connect names an address."""
    if host is None:
        return LOOPBACK_HOSTS
    return EVERY_ADDRESS if host == "::" else (host,)


def _moved(merged: dict[str, Given], moved: Given, *, host: str | None = None, port: int | None = None) -> dict[str, Given]:
    """The listeners with another host or port, each once. Those that are switched off the command line alone switches on."""
    listeners = {key: given for key, given in merged.items() if given.attribute == "listeners.tcp"}
    if "listeners.tcp" in listeners and moved.origin != COMMAND_LINE:
        return merged
    endpoints = [given.value for given in listeners.values() if given.value is not None] or [(None, AMQP_PORT)]
    changed = dict.fromkeys((host or old_host, old_port if port is None else port) for old_host, old_port in endpoints)
    names = ["default"] if len(changed) == 1 else [str(number + 1) for number in range(len(changed))]
    for key in listeners:
        del merged[key]
    for name, (new_host, new_port) in zip(names, changed, strict=True):
        text = str(new_port) if new_host is None else f"{new_host}:{new_port}"
        merged[f"listeners.tcp.{name}"] = Given("listeners.tcp", (new_host, new_port), text, moved.origin)
    return merged

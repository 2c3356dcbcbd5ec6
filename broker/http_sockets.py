"""The sockets of the HTTP API and of the metrics: bound before the start-up line, served when somebody comes (admin/door.py)."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Final, NamedTuple

from broker.admin.door import Opening
from broker.config import MANAGEMENT_PORT, PROMETHEUS_PORT, USUAL, Listener, TcpOptions
from broker.node import HTTP, HTTPS, PROMETHEUS
from broker.runtime.listeners import CannotListen, bind
from broker.runtime.tls import Contexts

if TYPE_CHECKING:
    import ssl

    from broker.config import Config

log = logging.getLogger("management")

_KINDS: Final = {HTTP: "management", HTTPS: "management", PROMETHEUS: "prometheus"}
_STARTED: Final = {
    HTTP: "Management plugin: HTTP (non-TLS) listener started on port %d",
    HTTPS: "Management plugin: HTTPS listener started on port %d",
    PROMETHEUS: "Prometheus metrics: HTTP (non-TLS) listener started on port %d",
}
"""RabbitMQ's lines."""


class HttpBound(NamedTuple):
    """A socket that listens, and what is served there."""

    socket: socket.socket
    protocol: str
    tls: ssl.SSLContext | None = None


def bind_all(config: Config) -> list[HttpBound]:
    """Bind what is configured. A port that nobody asked for and that is taken is a warning. Raises CannotListen and Unusable."""
    management, prometheus = config.management, config.prometheus
    bound = _bind(config, HTTP, management.port, management.ip, MANAGEMENT_PORT, "management.tcp.port")
    if management.ssl_options is not None and management.tls_port is not None:
        context = Contexts(management.ssl_options).current
        found = _bind(config, HTTPS, management.tls_port, management.tls_ip, management.tls_port, "management.ssl.port")
        bound += [each._replace(tls=context) for each in found]
    return bound + _bind(config, PROMETHEUS, prometheus.port, prometheus.ip, PROMETHEUS_PORT, "prometheus.tcp.port")


def _bind(config: Config, protocol: str, port: int | None, ip: str | None, usual: int, key: str) -> list[HttpBound]:
    if port is None:
        return []
    is_wanted = port != USUAL
    if not is_wanted:
        # Whoever takes a free port for AMQP runs several brokers.
        port = 0 if any(listener.port == 0 for listener in config.listeners) else usual
    hosts = [ip] if ip is not None else list(dict.fromkeys(listener.host for listener in config.listeners))
    try:
        bound = bind([Listener(host, port) for host in hosts], TcpOptions())
    except CannotListen as error:
        if is_wanted:
            raise
        log.warning("%s: nothing is served there (%s); set %s to another port, 0 for a free one, or none", protocol, error, key)
        return []
    return [HttpBound(each.socket, protocol) for each in bound]


def log_started(sockets: list[HttpBound]) -> None:
    """Tell which ports there are, each once."""
    for protocol, port in dict.fromkeys((each.protocol, each.socket.getsockname()[1]) for each in sockets):
        log.info(_STARTED[protocol], port)


def openings(sockets: list[HttpBound], local: socket.socket | None) -> list[Opening]:
    """What the door opens: these, and the control socket if there is one."""
    found = [Opening(each.socket, _KINDS[each.protocol], each.tls) for each in sockets]
    if local is not None:
        local.setblocking(False)
        found.append(Opening(local, "local"))
    return found

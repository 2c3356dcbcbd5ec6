"""The sockets of the HTTP API and of the metrics: bound before the start-up line, served when somebody comes (admin/door.py)."""

from __future__ import annotations

import logging
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from broker.admin.door import Opening
from broker.config import MANAGEMENT_PORT, PROMETHEUS_PORT, USUAL, Listener, TcpOptions
from broker.node import HTTP, HTTPS, PROMETHEUS, PROMETHEUS_TLS
from broker.runtime.acceptor import Acceptor
from broker.runtime.listeners import Bound, CannotListen, bind
from broker.runtime.tls import Contexts, Unusable

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from broker.config import Config

log = logging.getLogger("management")

_KINDS: Final = {HTTP: "management", HTTPS: "management", PROMETHEUS: "prometheus", PROMETHEUS_TLS: "prometheus"}
_STARTED: Final = {
    HTTP: "Management plugin: HTTP (non-TLS) listener started on port %d",
    HTTPS: "Management plugin: HTTPS listener started on port %d",
    PROMETHEUS: "Prometheus metrics: HTTP (non-TLS) listener started on port %d",
    PROMETHEUS_TLS: "Prometheus metrics: HTTPS listener started on port %d",
}
"""RabbitMQ's lines."""


class HttpBound(NamedTuple):
    """A socket that listens, and what is served there."""

    socket: socket.socket
    protocol: str
    tls: Contexts | None = None


def contexts(config: Config, amqp: Contexts | None) -> dict[str, Contexts]:
    """What is presented over TLS, by protocol. Where only a port is given, it is what AMQP's listeners present. Raises Unusable."""
    found: dict[str, Contexts] = {}
    for protocol, options in ((HTTPS, config.management), (PROMETHEUS_TLS, config.prometheus)):
        if options.tls_port is None:
            continue
        own, shared = options.ssl_options, config.ssl_options
        if own is not None and (own.certfile is not None or shared is None):
            found[protocol] = Contexts(own)
        elif own is not None and shared is not None:
            own = replace(own, certfile=shared.certfile, keyfile=shared.keyfile, password=shared.password)
            found[protocol] = Contexts(own)
        elif shared is not None:
            found[protocol] = amqp or Contexts(shared)
        else:
            raise Unusable(f"{_KINDS[protocol]}.ssl.port needs {_KINDS[protocol]}.ssl.certfile or ssl_options.certfile")
    return found


def bind_all(config: Config, tls: Mapping[str, Contexts]) -> list[HttpBound]:
    """Bind what is configured; `tls` is that of `contexts`. A port that nobody asked for and that is taken is a warning. Raises
    CannotListen."""
    bound: list[HttpBound] = []
    for protocol, secure, usual, options in (
        (HTTP, HTTPS, MANAGEMENT_PORT, config.management),
        (PROMETHEUS, PROMETHEUS_TLS, PROMETHEUS_PORT, config.prometheus),
    ):
        kind = _KINDS[protocol]
        # As in RabbitMQ: whoever sets up TLS and says nothing of plain HTTP doesn't want it.
        port = None if options.port == USUAL and options.tls_port is not None else options.port
        bound += _bind(config, protocol, port, options.ip, usual, f"{kind}.tcp.port")
        if options.tls_port is not None:
            found = _bind(config, secure, options.tls_port, options.tls_ip, options.tls_port, f"{kind}.ssl.port")
            bound += [each._replace(tls=tls[secure]) for each in found]
    return bound


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


def openings(
    sockets: list[HttpBound],
    local: socket.socket | None,
    config: Config,
    loop: asyncio.AbstractEventLoop,
    has_room_for: Callable[[int], bool],
) -> list[Opening]:
    """What the door opens: these, and the control socket if there is one. `has_room_for` is Descriptors'."""
    # Proxies that speak to HTTP's ports say in HTTP whom they speak for.
    config = replace(config, proxy_protocol=False)

    def opening(each: HttpBound) -> Opening:
        contexts = each.tls
        if contexts is None:
            return Opening(each.socket, _KINDS[each.protocol])

        def accept(connect: Callable[[Any], asyncio.Protocol]) -> Acceptor:
            acceptor = Acceptor(Bound(each.socket, tls=True), config, contexts, connect, loop, has_room_for)
            acceptor.start()
            return acceptor

        return Opening(each.socket, _KINDS[each.protocol], accept)

    found = [opening(each) for each in sockets]
    if local is not None:
        local.setblocking(False)
        found.append(Opening(local, "local"))
    return found

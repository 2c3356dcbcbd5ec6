"""This node's own figures: where it listens, its memory, disk and files. For the HTTP API, the metrics and the commands."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from broker import identity
from broker.core.compat import PROFILES

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.config import Config
    from broker.core.broker import Broker
    from broker.runtime.server import Server
    from broker.runtime.tls import Contexts

AMQP: Final = "amqp"
AMQPS: Final = "amqp/ssl"
HTTP: Final = "http"
HTTPS: Final = "https"
PROMETHEUS: Final = "http/prometheus"
PROMETHEUS_TLS: Final = "https/prometheus"
_STATM: Final = Path("/proc/self/statm")
_OPEN_FILES: Final = Path("/proc/self/fd")


class Listening(NamedTuple):
    """One address that is listened on: RabbitMQ's word for the protocol, and where."""

    protocol: str
    host: str
    port: int

    @property
    def is_tls(self) -> bool:
        """Whether TLS is spoken there."""
        return self.protocol in (AMQPS, HTTPS, PROMETHEUS_TLS)


class Node:
    """See the module. `free` tells the bytes that are free on the disk of the data directory, None without one."""

    def __init__(self, broker: Broker, config: Config, server: Server, free: Callable[[], int] | None, clock: Callable[[], int]) -> None:
        self.broker = broker
        self.config = config
        self.server = server
        self.name = broker.node
        self.started_ms = clock()
        self.listeners: list[Listening] = []
        self.tls: dict[str, Contexts] = {}
        """What is presented there, by protocol."""
        self._clock = clock
        self._free = free

    def schedule_turn(self) -> None:
        """Something was changed: have a turn follow."""
        self.server.turn.schedule()

    @property
    def version(self) -> str:
        """Of the RabbitMQ that it behaves like."""
        return PROFILES[self.config.compat].version

    @property
    def cluster_name(self) -> str:
        """What an operator called it, or its name."""
        given = self.broker.global_parameters.get("cluster_name")
        return given if isinstance(given, str) else self.config.cluster_name or self.name

    @property
    def uptime_ms(self) -> int:
        """Since it was started."""
        return self._clock() - self.started_ms

    @property
    def plugins(self) -> list[str]:
        """RabbitMQ's names of what it serves, sorted."""
        served = {listening.protocol for listening in self.listeners}
        names = [*identity.PLUGINS, *["rabbitmq_event_exchange"] * self.config.event_exchange]
        names += ["rabbitmq_management", "rabbitmq_management_agent", "rabbitmq_web_dispatch"] * bool(served & {HTTP, HTTPS})
        names += ["rabbitmq_prometheus"] * bool(served & {PROMETHEUS, PROMETHEUS_TLS})
        return sorted(names)

    def ports(self, *protocols: str) -> list[int]:
        """Where these protocols are served, each port once."""
        return list(dict.fromkeys(each.port for each in self.listeners if each.protocol in protocols))

    # --- what it takes ----------------------------------------------------------------------------------------------

    @property
    def memory_used_bytes(self) -> int:
        """What the process has resident."""
        try:
            return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError):  # not Linux
            return _peak_memory_bytes()

    @property
    def memory_limit_bytes(self) -> int:
        """Messages in memory may take so much before publishers are blocked."""
        return self.server.alarms.memory_limit_bytes

    @property
    def disk_free_bytes(self) -> int:
        """On the disk of the data directory, without one on that of the working directory; 0 where the system can't tell."""
        try:
            return shutil.disk_usage(".").free if self._free is None else self._free()
        except OSError:
            return 0

    @property
    def disk_free_limit_bytes(self) -> int:
        """Less than this blocks publishers."""
        return self.server.alarms.disk_free_limit_bytes

    @property
    def alarms(self) -> tuple[str, ...]:
        """Of `disk`, `memory` and `store` those in effect."""
        return self.server.alarms.active

    @property
    def files_open(self) -> int:
        """File descriptors; 0 where the system doesn't tell."""
        try:
            return len(os.listdir(_OPEN_FILES))
        except OSError:
            return 0

    @property
    def files_max(self) -> int:
        """File descriptors that it may have open."""
        return self.server.turn.descriptors.limit or 0

    @property
    def sockets_max(self) -> int:
        """Of those, what connections may take."""
        return self.server.turn.descriptors.sockets_max or 0

    def has_room_for(self, number: int) -> bool:
        """Whether a connection whose socket has this number may stay."""
        return self.server.turn.descriptors.has_room_for(number)

    @property
    def sockets_used(self) -> int:
        """Connections that are open, in whatever state."""
        return len(self.server.connections)


def _peak_memory_bytes() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if os.uname().sysname == "Darwin" else peak * 1024

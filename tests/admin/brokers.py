"""Both brokers with the HTTP API on, told the same things in the same file."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from tests.admin.client import Http
from tests.oracle.leveret import Leveret
from tests.oracle.rabbitmq import RabbitMQ, free_port
from tests.runtime.process import soon

ORIGIN = "http://allowed.example"
"""The only origin that CORS allows."""
CLUSTER = "the-cluster"
SETTINGS = (
    "management.tcp.ip = 127.0.0.1",
    f"management.cors.allow_origins.1 = {ORIGIN}",
    "management.cors.max_age = 1800",
)
ORACLE_SETTINGS = (*SETTINGS, "collect_statistics_interval = 250")
"""RabbitMQ shows what happened when it next collects it; Leveret at once."""


class Named(Protocol):
    name: str
    host: str
    port: int


class Managed(NamedTuple):
    """A broker, and where its HTTP API is."""

    broker: Named
    http_port: int
    prefix: str = ""
    """What all paths begin with."""
    has_stats: bool = True

    @property
    def name(self) -> str:
        return self.broker.name

    @property
    def host(self) -> str:
        return self.broker.host

    @property
    def port(self) -> int:
        """AMQP's."""
        return self.broker.port

    def http(self) -> Http:
        return Http(self.host, self.http_port)


@contextlib.contextmanager
def rabbitmq(*settings: str, plugins: tuple[str, ...] = ()) -> Iterator[Managed]:
    port = free_port()
    told = (f"management.tcp.port = {port}", *ORACLE_SETTINGS, *settings)
    with RabbitMQ(plugins=("rabbitmq_management", *plugins), settings=told) as broker:
        managed = Managed(broker, port, prefix_in(settings), "management.disable_stats = true" not in settings)
        begin(managed)
        yield managed


@contextlib.contextmanager
def leveret(directory: Path, *settings: str, data_dir: Path | None = None) -> Iterator[Managed]:
    """`directory` is for its configuration; without `data_dir` it keeps everything in memory."""
    port = free_port()
    file = directory / "management.conf"
    file.write_text("\n".join((f"management.tcp.port = {port}", *SETTINGS, *settings)) + "\n")
    with Leveret(data_dir, arguments=("--config", str(file))) as broker:
        managed = Managed(broker, port, prefix_in(settings), "management.disable_stats = true" not in settings)
        begin(managed)
        yield managed


def prefix_in(settings: tuple[str, ...]) -> str:
    """management.path_prefix, if it is among them."""
    return next((line.partition("=")[2].strip() for line in settings if line.startswith("management.path_prefix")), "")


def begin(managed: Managed) -> None:
    """Wait until it answers and knows itself, and give it the name that all answers have."""

    def answers() -> bool:
        try:
            answer = managed.http().ask("GET", f"{managed.prefix}/api/nodes")
        except OSError:
            return False
        # RabbitMQ looks at itself only once it has run for a few seconds, and not at all without statistics.
        return answer.status == 200 and (managed.name == "leveret" or not managed.has_stats or "partitions" in answer.json[0])

    soon(answers, what="the HTTP API")
    managed.http().ask("PUT", f"{managed.prefix}/api/cluster-name", {"name": CLUSTER})

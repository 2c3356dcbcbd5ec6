"""The brokers that benchmarks compare: Leveret, and RabbitMQ with classic and with quorum queues, side by side on one machine."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.oracle.leveret import Leveret
from tests.oracle.rabbitmq import RabbitMQ, server_script

LEVERET = "Leveret"
CLASSIC = "RabbitMQ"
QUORUM = "RabbitMQ, quorum queues"


class Contender(NamedTuple):
    """A broker that is up. `queue_type` is what amqpload declares, "" for the broker's own default."""

    name: str
    port: int
    pid: int
    queue_type: str = ""

    @property
    def host(self) -> str:
        """Where it listens."""
        return "127.0.0.1"


@contextmanager
def leveret(python: str, directory: Path | None = None) -> Iterator[Contender]:
    """A Leveret with a data directory of its own, run by that interpreter."""
    with tempfile.TemporaryDirectory(prefix="leveret-bench-", dir=directory) as folder:
        broker = Leveret(Path(folder) / "data")
        broker.python = python
        with broker:
            yield Contender(LEVERET, broker.port, broker.pid)


@contextmanager
def rabbitmq() -> Iterator[list[Contender]]:
    """A RabbitMQ as it comes, for both of its queue types; none where it isn't installed."""
    if server_script() is None:
        yield []
        return
    with RabbitMQ(classic_defaults=True) as broker:
        yield [Contender(CLASSIC, broker.port, broker.pid), Contender(QUORUM, broker.port, broker.pid, "quorum")]

"""Brokers whose metrics are served: Leveret, and RabbitMQ with its plugin."""

import re
from pathlib import Path

from tests.oracle.leveret import Leveret
from tests.oracle.rabbitmq import RabbitMQ, free_port

FAMILIES = (
    "connection_churn_metrics node_coarse_metrics node_metrics node_persister_metrics ra_metrics auth_attempt_metrics"
    " auth_attempt_detailed_metrics queue_coarse_metrics queue_metrics channel_metrics channel_exchange_metrics channel_process_metrics"
    " channel_queue_metrics connection_coarse_metrics connection_metrics channel_queue_exchange_metrics vhost_status exchange_bindings"
    " exchange_names"
).split()
"""What RabbitMQ's /metrics/detailed may be asked for, but for queue_consumer_count, which is part of queue_metrics."""
PATHS = {
    "aggregated": "/metrics",
    "per-object": "/metrics/per-object",
    "detailed": "/metrics/detailed?" + "&".join(f"family={family}" for family in FAMILIES),
}


class Scraped(Leveret):
    """Leveret on free ports; `settings` are lines of its configuration."""

    def __init__(self, directory: Path, *settings: str) -> None:
        directory.mkdir(exist_ok=True)
        (directory / "leveret.conf").write_text("".join(f"{line}\n" for line in settings))
        super().__init__(arguments=("--config", str(directory / "leveret.conf")))

    @property
    def metrics_port(self) -> int:
        return self._port("Prometheus metrics")

    @property
    def api_port(self) -> int:
        return self._port("Management plugin")

    def _port(self, what: str) -> int:
        found = re.search(rf"{what}: HTTP \(non-TLS\) listener started on port (\d+)", self.log)
        assert found is not None, self.log
        return int(found[1])


class ScrapedRabbitMQ(RabbitMQ):
    """RabbitMQ, whose figures are a second old instead of five."""

    def __init__(self) -> None:
        self.metrics_port = free_port()
        settings = (
            f"prometheus.tcp.port = {self.metrics_port}",
            "prometheus.tcp.ip = 127.0.0.1",
            "collect_statistics_interval = 1000",
        )  # fmt: skip
        super().__init__(settings=settings, plugins=("rabbitmq_prometheus",))

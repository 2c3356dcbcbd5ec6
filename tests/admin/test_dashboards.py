"""A real Prometheus scrapes the broker, and every panel of the official dashboards gets its data."""

import json
import math
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pamqp.commands import Queue

from tests.admin import brokers
from tests.admin.brokers import CLUSTER, Managed
from tests.admin.dashboards import OVERVIEW_3_13, OVERVIEW_4, query
from tests.oracle.rabbitmq import free_port
from tests.runtime.process import soon
from tests.wire import Wire

Ask = Callable[[str], list[dict[str, Any]]]
CONFIG = """
global: {scrape_interval: 1s, evaluation_interval: 1s}
scrape_configs:
  - job_name: broker
    static_configs: [{targets: ["127.0.0.1:%d"]}]
"""
pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module", params=["leveret", "rabbitmq"])
def scraped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Managed, Ask]]:
    """A broker with traffic, and a Prometheus that scrapes it each second."""
    binary = shutil.which("prometheus")
    assert binary is not None, "apt-get install prometheus"
    directory: Path = tmp_path_factory.mktemp("prometheus")
    port, scraper = free_port(), free_port()
    told = (f"prometheus.tcp.port = {port}", "prometheus.tcp.ip = 127.0.0.1")
    oracle = request.param == "rabbitmq"
    chosen = brokers.rabbitmq(*told, plugins=("rabbitmq_prometheus",)) if oracle else brokers.leveret(directory, *told)
    (directory / "prometheus.yml").write_text(CONFIG % port)
    options = (f"--config.file={directory / 'prometheus.yml'}", f"--storage.tsdb.path={directory / 'data'}", "--log.level=error")
    with chosen as managed, subprocess.Popen([binary, *options, f"--web.listen-address=127.0.0.1:{scraper}"], cwd=directory) as process:

        def ask(promql: str) -> list[dict[str, Any]]:
            url = f"http://127.0.0.1:{scraper}/api/v1/query?{urllib.parse.urlencode({'query': promql})}"
            try:
                with urllib.request.urlopen(url, timeout=10) as answer:
                    found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
                    return found
            except OSError:
                return []

        try:
            soon(lambda: ask("up == 1"), 30, "a scrape")
            with Wire.connect(managed) as wire:
                kept = wire.open_channel()
                kept.queue("panels", durable=True)
                kept.queue("kept", durable=True)
                kept.confirm_select()
                kept.publish_confirmed("", "kept", b"1", b"2", b"3")

                def scraped_with_traffic() -> bool:
                    traffic(managed)
                    return any(float(each["value"][1]) >= 4 for each in ask("count_over_time(rabbitmq_build_info[60s])"))

                soon(scraped_with_traffic, 30, "scrapes with traffic")
                kept.call(Queue.Purge, queue="panels")
                yield managed, ask
        finally:
            process.terminate()


def traffic(managed: Managed) -> None:
    """Something of everything that is counted."""
    with Wire.connect(managed) as wire:
        sure, unsure = wire.open_channel(), wire.open_channel()
        sure.confirm_select()
        sure.queue("passing", auto_delete=True)
        sure.publish_confirmed("", "panels", b"x" * 50, b"x" * 5000, b"x", b"x", b"x")
        sure.publish_confirmed("amq.topic", "nowhere", b"x")
        unsure.publish("amq.topic", "nowhere", b"x", mandatory=True)
        unsure.returned()
        assert unsure.get("passing") is None
        unsure.call(Queue.Delete, queue="passing")
        unsure.take("panels")
        unsure.reject(unsure.take("panels", no_ack=False).tag)
        unsure.ack(unsure.take("panels", no_ack=False).tag)
        unsure.qos(1)
        unsure.consume("panels")
        unsure.ack(unsure.deliver().tag)
        sure.consume("panels", no_ack=True)
        sure.deliver()
        wire.close()


@pytest.mark.parametrize("endpoint", [None, "aggregated"], ids=["3.13", "4.x"])
def test_every_panel_has_data(scraped: tuple[Managed, Ask], endpoint: str | None) -> None:
    managed, ask = scraped
    if endpoint and managed.name == "rabbitmq":
        pytest.skip("RabbitMQ 3.10 has no endpoints")
    empty = []
    for panel in OVERVIEW_4 if endpoint else OVERVIEW_3_13:
        found = ask(query(panel, CLUSTER, endpoint))
        if not found or any(math.isnan(float(each["value"][1])) for each in found):
            empty.append(panel)
    assert not empty, "\n".join(empty)


def test_the_figures_are_right(scraped: tuple[Managed, Ask]) -> None:
    _managed, ask = scraped

    def shown(metric: str) -> float:
        return sum(float(each["value"][1]) for each in ask(metric))

    expected = {"rabbitmq_queue_messages_ready": 3, "rabbitmq_connections": 1, "rabbitmq_channels": 1, "rabbitmq_queues": 2}
    soon(lambda: {metric: shown(metric) for metric in expected} == expected, 30, "the figures")

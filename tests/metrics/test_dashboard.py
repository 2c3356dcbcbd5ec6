"""RabbitMQ's Overview dashboard for Grafana (10991), as of 3.13 and of 4.3: all that it asks for is there, from the start."""

import pytest

from tests.metrics.prometheus import Prometheus
from tests.metrics.scene import play
from tests.metrics.scraping import scrape
from tests.metrics.serving import Scraped
from tests.wire import eventually

GAUGES = (
    "queue_messages_ready queue_messages_unacked connections channels queues global_publishers resident_memory_limit_bytes"
    " process_resident_memory_bytes disk_space_available_bytes process_max_fds process_open_fds"
).split()
GAUGES_3_13 = ["consumers", "process_max_tcp_sockets", "process_open_tcp_sockets"]
GAUGES_4_3 = ["disk_space_available_limit_bytes", "erlang_uptime_seconds", "global_consumers"]
COUNTERS = [
    f"global_messages_{name}_total"
    for name in (
        "received", "received_confirm", "routed", "confirmed", "unroutable_dropped", "unroutable_returned",
        "delivered", "delivered_consume_auto_ack", "delivered_consume_manual_ack", "delivered_get_auto_ack", "delivered_get_manual_ack",
        "get_empty", "redelivered", "acknowledged",
    )
] + [
    f"{name}_total"
    for name in (
        "connections_opened", "connections_closed", "channels_opened", "channels_closed", "queues_declared", "queues_created",
        "queues_deleted",
    )
]  # fmt: skip
BUCKETS_4_3 = ("100.0", "1000.0", "10000.0", "100000.0", "1e+06", "1e+07", "5e+07", "1e+08", "+Inf")
"""The heat map of sizes names each, as text."""


@pytest.mark.parametrize("name", [*GAUGES, *GAUGES_3_13, *GAUGES_4_3, *COUNTERS, "message_size_bytes_sum", "message_size_bytes_count"])
def test_every_name_is_there_from_the_start(fresh: Scraped, name: str) -> None:
    assert f"rabbitmq_{name}" in scrape(fresh.metrics_port)


def test_each_panel_finds_whom_it_is_about(fresh: Scraped) -> None:
    told = scrape(fresh.metrics_port)
    (identity,) = told.labels("rabbitmq_identity_info")
    assert set(identity) == {"rabbitmq_node", "rabbitmq_cluster", "rabbitmq_cluster_permanent_id", "rabbitmq_endpoint"}
    (build,) = told.labels("rabbitmq_build_info")
    assert {"rabbitmq_version", "erlang_version"} <= set(build)
    assert {labels["le"] for labels in told.labels("rabbitmq_message_size_bytes_bucket")} == set(BUCKETS_4_3)


@pytest.mark.oracle
def test_every_panel_shows_something_in_a_real_prometheus(scraped: Scraped) -> None:
    """The joins are those of the dashboard: each metric with the one that says whose it is."""
    with Prometheus(scraped.metrics_port) as prometheus:
        (identity,) = prometheus.query("rabbitmq_identity_info")
        cluster, node = identity["metric"]["rabbitmq_cluster"], identity["metric"]["rabbitmq_node"]
        whose = f'rabbitmq_identity_info{{rabbitmq_cluster="{cluster}", namespace="", rabbitmq_endpoint="aggregated"}}'

        def by_node(expression: str) -> float:
            joined = f"sum by (rabbitmq_node) ({expression} * on(instance, job) group_left(rabbitmq_cluster, rabbitmq_node) {whose})"
            (found,) = prometheus.query(joined)
            assert found["metric"] == {"rabbitmq_node": node}
            return float(found["value"][1])

        gauges = {name: by_node(f"rabbitmq_{name}") for name in (*GAUGES, *GAUGES_3_13, *GAUGES_4_3)}
        assert (gauges["queue_messages_ready"], gauges["queue_messages_unacked"], gauges["channels"]) == (3, 3, 3)
        assert all(by_node(f"rate(rabbitmq_{name}[1m])") == 0 for name in COUNTERS)
        assert all(by_node(f'increase(rabbitmq_message_size_bytes_bucket{{le="{bound}"}}[1m])') == 0 for bound in BUCKETS_4_3)
        assert not prometheus.query("scrape_samples_scraped != scrape_samples_post_metric_relabeling")


@pytest.mark.oracle
def test_rates_in_a_real_prometheus(busy: Scraped) -> None:
    with Prometheus(busy.metrics_port) as prometheus, play(busy) as wire:
        channel = wire.open_channel()

        def is_shown() -> bool:
            channel.publish("", "scene.empty", b"x")
            channel.take("scene.empty")
            found = prometheus.query('rate(rabbitmq_global_messages_delivered_get_auto_ack_total{queue_type="rabbit_classic_queue"}[10s])')
            return bool(found) and float(found[0]["value"][1]) > 0

        eventually(is_shown, 30)

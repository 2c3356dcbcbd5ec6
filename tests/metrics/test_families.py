"""Which metrics there are: the families, types and labels of RabbitMQ 3.10.8 (the oracle), and what later versions have on top."""

import shutil
import subprocess

import pytest

from tests.metrics import recording
from tests.metrics.scraping import Samples, Shape, get, scrape, shapes
from tests.metrics.serving import PATHS, Scraped

RECORDED = recording.load()
SINCE_3_11 = {"stream_segments": "counter"}
SINCE_4 = {f"exchange_messages_{what}_total": "counter" for what in ("published", "confirmed", "unroutable_returned", "unroutable_dropped")}
SINCE_4 |= {
    f"queue_{what}_total": "counter"
    for what in (
        "get_ack", "get", "messages_delivered_ack", "messages_delivered", "messages_redelivered", "messages_acked", "get_empty",
        "exchange_messages_published",
    )
}  # fmt: skip
NEWER = {
    "aggregated": SINCE_3_11 | SINCE_4 | {"unreachable_cluster_peers_count": "gauge", "message_size_bytes": "histogram"},
    "detailed": {f"detailed_{name}": kind for name, kind in SINCE_3_11.items()} | {"detailed_queue_info": "gauge"},
}
# /metrics/per-object has the alarms since 4.0.
ALARMS = {f"alarms_{what}": "untyped" for what in ("file_descriptor_limit", "free_disk_space_watermark", "memory_used_watermark")}
NEWER["per-object"] = NEWER["aggregated"] | ALARMS | {"queue_info": "gauge"}
UNTOLD = {
    # Who publishes through which exchange into which queue isn't counted.
    "queue_messages_published_total",
    # Nobody has asked over HTTP, or the figure is undefined here.
    "queue_head_message_timestamp",
}
MORE_LABELS = {"rabbitmq_identity_info": ["rabbitmq_endpoint"], "rabbitmq_build_info": ["product_name", "product_version"]}


def with_more(name: str, shape: Shape) -> Shape:
    return Shape(shape.kind, [sorted([*labels, *MORE_LABELS.get(name, ())]) for labels in shape.labels])


@pytest.fixture(scope="session")
def told(scraped: Scraped) -> recording.Recording:
    return recording.record(scraped.metrics_port)


@pytest.mark.parametrize("endpoint", PATHS)
def test_every_family_of_rabbitmq_is_told_with_its_type_and_labels(told: recording.Recording, endpoint: str) -> None:
    expected = {name: with_more(name, shape) for name, shape in RECORDED[endpoint].items()}
    got = {name: shape for name, shape in told[endpoint].items() if name in expected}
    assert got.keys() == expected.keys()
    assert {name: shape.kind for name, shape in got.items()} == {name: shape.kind for name, shape in expected.items()}
    differing = {name for name, shape in expected.items() if got[name] != shape}
    base = {name.removeprefix("rabbitmq_").removeprefix("detailed_") for name in differing}
    if endpoint == "aggregated":
        # RabbitMQ 3.10 leaves a sum out by mistake.
        assert base == {"queue_messages_persistent_bytes"}
    else:
        # Without a timestamp RabbitMQ 3.10 says NaN, later ones say nothing.
        assert base == UNTOLD


@pytest.mark.parametrize("endpoint", PATHS)
def test_what_is_told_beside_is_of_later_versions(told: recording.Recording, endpoint: str) -> None:
    beside = {name: shape.kind for name, shape in told[endpoint].items() if name not in RECORDED[endpoint]}
    expected = {f"rabbitmq_{name}": kind for name, kind in NEWER[endpoint].items()}
    assert beside == expected | ({"process_start_time_seconds": "gauge"} if endpoint == "per-object" else {})


@pytest.mark.oracle
def test_the_recording_is_true() -> None:
    assert recording.ask() == RECORDED


def test_groups_that_only_later_versions_have(scraped: Scraped) -> None:
    path = "/metrics/detailed?family=queue_delivery_metrics&family=exchange_metrics&family=queue_exchange_metrics"
    told = shapes(get(scraped.metrics_port, path).text)
    names = {name.removeprefix("rabbitmq_detailed_"): shape for name, shape in told.items() if "detailed" in name}
    assert {name: shape.kind for name, shape in names.items()} == SINCE_4
    assert names["queue_messages_delivered_ack_total"].labels == [["queue", "vhost"]]
    assert names["exchange_messages_published_total"].labels == [["exchange", "vhost"]]


def test_where_the_memory_is(fresh: Scraped) -> None:
    told = scrape(fresh.metrics_port, "/metrics/memory-breakdown")
    parts = {name: next(iter(samples.values())) for name, samples in told.by_name.items() if name.startswith("rabbitmq_memory_")}
    resident = scrape(fresh.metrics_port)["rabbitmq_process_resident_memory_bytes"]
    assert len(parts) == 26 and all(name.endswith("_bytes") for name in parts)
    assert sum(parts.values()) == pytest.approx(resident, rel=0.2)


def test_before_anything_happened_counters_are_there_at_0(fresh: Scraped) -> None:
    """A counter that appears with its first event loses it: `rate` needs a sample before."""
    told = scrape(fresh.metrics_port)
    types = {f"rabbit_{kind}_queue" for kind in ("classic", "quorum", "stream")}
    for name in ("delivered", "delivered_consume_auto_ack", "get_empty", "redelivered", "acknowledged"):
        samples = told.labels(f"rabbitmq_global_messages_{name}_total")
        assert [set(each) for each in samples] == [{"protocol", "queue_type"}] * 3
        assert {each["queue_type"] for each in samples} == types
    assert told["rabbitmq_global_messages_received_total"] == told["rabbitmq_connections_opened_total"] == 0
    assert told["rabbitmq_queue_messages_ready"] == told["rabbitmq_channel_messages_published_total"] == 0
    assert "rabbitmq_auth_attempts_total" not in told  # as in RabbitMQ, until somebody tried


DEAD_LETTERED = {
    "maxlen": {"classic": {"disabled", "at_most_once"}, "quorum": {"disabled", "at_most_once"}},
    "expired": {"classic": {"disabled", "at_most_once"}, "quorum": {"disabled", "at_most_once", "at_least_once"}},
    "rejected": {"classic": {"disabled", "at_most_once"}, "quorum": {"disabled", "at_most_once", "at_least_once"}},
    "delivery_limit": {"quorum": {"disabled", "at_most_once", "at_least_once"}},
    "confirmed": {"quorum": {"at_least_once"}},
}


@pytest.mark.parametrize("reason", DEAD_LETTERED)
def test_dead_letters_are_told_by_type_of_queue_and_strategy(fresh: Scraped, reason: str) -> None:
    labels = scrape(fresh.metrics_port).labels(f"rabbitmq_global_messages_dead_lettered_{reason}_total")
    expected = {(f"rabbit_{kind}_queue", each) for kind, strategies in DEAD_LETTERED[reason].items() for each in strategies}
    assert {(each["queue_type"], each["dead_letter_strategy"]) for each in labels} == expected
    assert len(labels) == len(expected)


LINTED = {
    'rabbitmq_stream_segments counter metrics should have "_total" suffix',
    'rabbitmq_unreachable_cluster_peers_count non-histogram and non-summary metrics should not have "_count" suffix',
}
"""What Prometheus's own tool finds unusual in RabbitMQ's names."""


@pytest.mark.oracle
@pytest.mark.parametrize("path", [*PATHS.values(), "/metrics/memory-breakdown"])
def test_promtool_finds_nothing_else_to_say(scraped: Scraped, path: str) -> None:
    tool = shutil.which("promtool")
    assert tool is not None, "apt-get install prometheus"
    text = get(scraped.metrics_port, path).text
    done = subprocess.run([tool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=30, check=False)
    said = {line.replace("detailed_", "") for line in done.stderr.splitlines()}
    assert said <= LINTED
    assert Samples(text).by_name

"""What the metrics say, of a scene that is known."""

import pytest

from tests.metrics.scene import CLASSIC, EMPTY, EXCHANGE, QUORUM, SIZES
from tests.metrics.scraping import Samples, get, scrape
from tests.metrics.serving import PATHS, Scraped
from tests.wire import Wire, eventually

CLASSIC_TYPE, QUORUM_TYPE = "rabbit_classic_queue", "rabbit_quorum_queue"


@pytest.fixture(scope="session")
def whole(scraped: Scraped) -> Samples:
    return scrape(scraped.metrics_port)


@pytest.fixture(scope="session")
def each(scraped: Scraped) -> Samples:
    return scrape(scraped.metrics_port, PATHS["per-object"])


QUEUES = {
    "messages_ready": (3, 0, 0),
    "messages_unacked": (2, 1, 0),
    "messages": (5, 1, 0),
    "consumers": (1, 0, 0),
    "consumer_capacity": (0, 0, 0),
    "messages_bytes": (sum(SIZES[1:]), 1, 0),
    "messages_ready_bytes": (sum(SIZES[3:]), 0, 0),
    "messages_unacked_bytes": (sum(SIZES[1:3]), 1, 0),
    "messages_ram": (5, 1, 0),
    "messages_ready_ram": (3, 0, 0),
    "messages_persistent": (5, 1, 0),
    "messages_persistent_bytes": (sum(SIZES[1:]), 1, 0),
    "messages_paged_out": (0, 0, 0),
    "messages_delivered_ack_total": (3, 0, 0),
    "messages_acked_total": (1, 0, 0),
    "get_ack_total": (0, 1, 0),
    "get_total": (0, 1, 0),
    "get_empty_total": (0, 0, 1),
}


@pytest.mark.parametrize("name", QUEUES)
def test_a_queue(each: Samples, whole: Samples, name: str) -> None:
    got = tuple(each.of(f"rabbitmq_queue_{name}", vhost="/", queue=queue) for queue in (CLASSIC, QUORUM, EMPTY))
    assert got == QUEUES[name]
    if name == "consumer_capacity":
        assert f"rabbitmq_queue_{name}" not in whole  # the sum would mean nothing
    else:
        assert whole[f"rabbitmq_queue_{name}"] == sum(got)


def test_what_a_queue_is(each: Samples) -> None:
    assert each.of("rabbitmq_queue_info", queue=QUORUM, queue_type=QUORUM_TYPE, membership="leader") == 1
    assert each.of("rabbitmq_queue_info", queue=CLASSIC, queue_type=CLASSIC_TYPE, membership="leader") == 1
    assert each.of("rabbitmq_raft_term_total", queue=QUORUM) == 1
    assert len(each.labels("rabbitmq_raft_term_total")) == 1


def test_the_whole_broker(whole: Samples) -> None:
    counts = {"connections": 1, "channels": 3, "consumers": 1, "queues": 3, "connections_opened_total": 1, "channels_opened_total": 3}
    counts |= {"queues_created_total": 3, "queues_declared_total": 3, "queues_deleted_total": 0, "channels_closed_total": 0}
    assert {name: whole[f"rabbitmq_{name}"] for name in counts} == counts
    given = {"received": 10, "received_confirm": 10, "routed": 8, "unroutable_dropped": 1, "unroutable_returned": 1, "confirmed": 10}
    assert {name: whole.of(f"rabbitmq_global_messages_{name}_total", protocol="amqp091") for name in given} == given
    assert whole.of("rabbitmq_global_publishers", protocol="amqp091") == whole.of("rabbitmq_global_consumers", protocol="amqp091") == 1
    taken = {"delivered": (3, 2), "delivered_consume_manual_ack": (3, 0), "delivered_consume_auto_ack": (0, 0)}
    taken |= {"delivered_get_manual_ack": (0, 1), "delivered_get_auto_ack": (0, 1), "get_empty": (1, 0)}
    taken |= {"redelivered": (0, 0), "acknowledged": (1, 0)}
    for name, expected in taken.items():
        got = [whole.of(f"rabbitmq_global_messages_{name}_total", queue_type=kind) for kind in (CLASSIC_TYPE, QUORUM_TYPE)]
        assert (name, *got) == (name, *expected)


def test_a_channel(each: Samples, whole: Samples) -> None:
    published = {"published": (6, 4), "confirmed": (6, 4), "unroutable_returned": (0, 1), "unroutable_dropped": (0, 1)}
    for name, expected in published.items():
        got = [each.of(f"rabbitmq_channel_messages_{name}_total", vhost="/", exchange=exchange) for exchange in (EXCHANGE, "")]
        assert (name, *got) == (name, *expected)
        assert whole[f"rabbitmq_channel_messages_{name}_total"] == sum(expected)
    (publishing,) = {labels["channel"] for labels in each.labels("rabbitmq_channel_messages_published_total")}
    (consuming,) = {labels["channel"] for labels in each.labels("rabbitmq_channel_get_total") if labels["queue"] == CLASSIC}
    (getting,) = {labels["channel"] for labels in each.labels("rabbitmq_channel_get_total") if labels["queue"] == QUORUM}
    channels = {labels["channel"] for labels in each.labels("rabbitmq_channel_consumers")}
    assert channels == {publishing, consuming, getting} and len(channels) == 3
    assert [each.of("rabbitmq_channel_messages_unacked", channel=name) for name in (publishing, consuming, getting)] == [0, 2, 1]
    assert [each.of("rabbitmq_consumer_prefetch", channel=name) for name in (publishing, consuming, getting)] == [0, 2, 0]
    assert each.of("rabbitmq_channel_messages_delivered_ack_total", channel=consuming, queue=CLASSIC) == 3
    assert each.of("rabbitmq_channel_messages_acked_total", channel=consuming, queue=CLASSIC) == 1
    assert each.of("rabbitmq_channel_get_ack_total", channel=getting, queue=QUORUM) == 1
    assert each.of("rabbitmq_channel_get_empty_total", channel=getting, queue=EMPTY) == 1


def test_a_connection(each: Samples, whole: Samples) -> None:
    assert each["rabbitmq_connection_channels"] == whole["rabbitmq_connection_channels"] == 3
    for name in ("incoming_bytes", "outgoing_bytes", "incoming_packets", "outgoing_packets"):
        assert each[f"rabbitmq_connection_{name}_total"] == whole[f"rabbitmq_connection_{name}_total"] > 0
    assert each["rabbitmq_connection_incoming_bytes_total"] > sum(SIZES)


def test_an_exchange(each: Samples, scraped: Scraped) -> None:
    assert each.of("rabbitmq_exchange_messages_published_total", exchange=EXCHANGE) == 6
    assert each.of("rabbitmq_exchange_messages_unroutable_returned_total", exchange="") == 1
    path = "/metrics/detailed?family=exchange_bindings&family=exchange_names&family=vhost_status"
    told = scrape(scraped.metrics_port, path)
    assert told.of("rabbitmq_cluster_exchange_bindings", vhost="/", exchange=EXCHANGE, type="fanout") == 1
    assert told.of("rabbitmq_cluster_exchange_bindings", exchange="amq.topic", type="topic") == 0
    assert told.of("rabbitmq_cluster_exchange_name", exchange="amq.match", type="headers") == 1
    assert told.of("rabbitmq_cluster_vhost_status", vhost="/") == 1
    names = {labels["exchange"] for labels in told.labels("rabbitmq_cluster_exchange_name")}
    assert names == {EXCHANGE, "amq.direct", "amq.fanout", "amq.headers", "amq.match", "amq.topic"}  # not those that RabbitMQ hides


def test_sizes_of_what_was_published(scraped: Scraped) -> None:
    text = get(scraped.metrics_port, "/metrics").text
    buckets = [line for line in text.splitlines() if line.startswith("rabbitmq_message_size_bytes_bucket")]
    bounds = ("100.0", "1000.0", "10000.0", "100000.0", "1e+06", "1e+07", "5e+07", "1e+08", "+Inf")
    counts = (7, 9, 10, 10, 10, 10, 10, 10, 10)
    assert buckets == [
        f'rabbitmq_message_size_bytes_bucket{{protocol="amqp091",le="{bound}"}} {count}'
        for bound, count in zip(bounds, counts, strict=True)
    ]
    told = Samples(text)
    sizes = [*SIZES, 1, 1, len(b"dropped"), len(b"returned")]
    assert (told["rabbitmq_message_size_bytes_count"], told["rabbitmq_message_size_bytes_sum"]) == (len(sizes), sum(sizes))


def test_logins(scraped: Scraped) -> None:
    told = scrape(scraped.metrics_port)
    by = {"protocol": "amqp091"}
    got = [told.of(f"rabbitmq_auth_attempts_{name}", **by) for name in ("total", "succeeded_total", "failed_total")]
    assert got == [1, 1, 0]


def test_the_node(whole: Samples) -> None:
    assert 10e6 < whole["rabbitmq_process_resident_memory_bytes"] < whole["rabbitmq_resident_memory_limit_bytes"]
    assert 0 < whole["rabbitmq_process_open_fds"] < whole["rabbitmq_process_max_fds"]
    assert whole["rabbitmq_process_open_tcp_sockets"] == 1 < whole["rabbitmq_process_max_tcp_sockets"]
    assert whole["rabbitmq_disk_space_available_limit_bytes"] > 0
    assert whole["rabbitmq_erlang_uptime_seconds"] > 0
    assert whole["process_start_time_seconds"] > 1e9
    assert [whole[f"rabbitmq_alarms_{name}"] for name in ("memory_used_watermark", "free_disk_space_watermark")] == [0, 0]


def test_who_it_is(scraped: Scraped) -> None:
    for endpoint in ("aggregated", "per-object", "detailed", "memory-breakdown"):
        told = scrape(scraped.metrics_port, "/metrics" if endpoint == "aggregated" else f"/metrics/{endpoint}")
        (labels,) = told.labels("rabbitmq_identity_info")
        assert labels["rabbitmq_endpoint"] == endpoint
        assert labels["rabbitmq_node"].startswith("rabbit@") and labels["rabbitmq_cluster"]
        assert labels["rabbitmq_cluster_permanent_id"].startswith("rabbitmq-cluster-id-")
        (build,) = told.labels("rabbitmq_build_info")
        assert (build["rabbitmq_version"], build["product_name"]) == ("3.13.7", "Leveret")


# --- as time goes on ------------------------------------------------------------------------------------------------


def test_counters_of_the_broker_stay_when_those_who_counted_are_gone(busy: Scraped) -> None:
    def counted() -> tuple[float, float, float, float]:
        told = scrape(busy.metrics_port)
        delivered = told.of("rabbitmq_global_messages_delivered_total", queue_type=CLASSIC_TYPE)
        names = ("channel_messages_published_total", "queue_messages_delivered_total")
        return told["rabbitmq_global_messages_received_total"], delivered, *[told[f"rabbitmq_{name}"] for name in names]  # type: ignore[return-value]

    before = counted()
    with Wire.connect(busy) as wire:
        channel = wire.open_channel()
        queue = channel.queue()
        channel.publish("", queue, b"1")
        channel.consume(queue, no_ack=True)
        channel.deliver()
        wire.close()
    eventually(lambda: scrape(busy.metrics_port)["rabbitmq_connections"] == 0)
    assert counted() == tuple(value + 1 for value in before)


def test_names_that_need_escapes(busy: Scraped, wire: Wire) -> None:
    channel = wire.open_channel()
    names = ['say "cheese"', "back\\slash", "naïve ☂", "a{b=c} 1"]
    for name in names:
        channel.queue(name)
    told = scrape(busy.metrics_port, "/metrics/detailed?family=queue_coarse_metrics")
    assert all(told.of("rabbitmq_detailed_queue_messages", vhost="/", queue=name) == 0 for name in names)


def test_the_timestamp_of_the_head(busy: Scraped, wire: Wire) -> None:
    channel = wire.open_channel()
    queue = channel.queue()
    channel.publish("", queue, b"1", timestamp=1_700_000_000)
    channel.expect_counts(queue, 1, 0)
    told = scrape(busy.metrics_port, f"/metrics/detailed?family=queue_metrics&queue={queue}")
    assert told.of("rabbitmq_detailed_queue_head_message_timestamp", queue=queue) == 1_700_000_000


def test_dead_letters_are_counted_by_reason(busy: Scraped, wire: Wire) -> None:
    channel = wire.open_channel()
    queue = channel.queue(arguments={"x-max-length": 1})
    for _ in range(3):
        channel.publish("", queue, b"1")
    channel.expect_counts(queue, 1, 0)
    told = scrape(busy.metrics_port)
    labels = {"queue_type": CLASSIC_TYPE, "dead_letter_strategy": "disabled"}
    assert told.of("rabbitmq_global_messages_dead_lettered_maxlen_total", **labels) == 2


def test_what_a_transaction_holds(busy: Scraped, wire: Wire) -> None:
    channel = wire.open_channel()
    queue = channel.queue()
    channel.publish("", queue, b"1")
    channel.take(queue, no_ack=False)
    channel.tx_select()
    channel.publish("", queue, b"2")
    channel.ack(1)
    channel.counts(queue)
    told = scrape(busy.metrics_port, "/metrics/detailed?family=channel_metrics")
    assert told["rabbitmq_detailed_channel_messages_uncommitted"] == told["rabbitmq_detailed_channel_acks_uncommitted"] == 1


def test_confirms_of_a_channel_that_publishes_to_several_exchanges(busy: Scraped, wire: Wire) -> None:
    channel = wire.open_channel()
    channel.confirm_select()
    queue = channel.queue()
    for name in ("amq.direct", "amq.fanout"):
        channel.bind(queue, name, "k")
    for number in range(6):
        channel.publish(("amq.direct", "amq.fanout", "")[number % 3], "k", b"1")
    channel.confirms(6)
    told = scrape(busy.metrics_port, "/metrics/detailed?family=channel_exchange_metrics")
    confirmed = [told.of("rabbitmq_detailed_channel_messages_confirmed_total", exchange=name) for name in ("amq.direct", "amq.fanout", "")]
    assert confirmed == [2, 2, 2]

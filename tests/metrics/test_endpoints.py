"""Where the metrics are served, and what may be asked for."""

import base64
import gzip
from collections.abc import Iterator

import pytest

from tests.metrics.scraping import CONTENT_TYPE, Samples, get, scrape
from tests.metrics.serving import Scraped
from tests.wire import Wire, WireChannel


@pytest.fixture(scope="module")
def channel(busy: Scraped) -> Iterator[WireChannel]:
    """It has three queues."""
    with Wire.connect(busy) as wire:
        channel = wire.open_channel()
        for name in ("detail.a", "detail.b", "other"):
            channel.queue(name)
        yield channel


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    settings = ("prometheus.path = /some/where/", "prometheus.return_per_object_metrics = true", "cluster_name = hares")
    with Scraped(tmp_path_factory.mktemp("metrics") / "configured", *settings) as broker:
        yield broker


def basic(user: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{user}'.encode()).decode()}"


class TestHttp:
    def test_plain_text_without_a_login(self, scraped: Scraped) -> None:
        answer = get(scraped.metrics_port, "/metrics")
        assert (answer.status, answer.headers["Content-Type"]) == (200, CONTENT_TYPE)
        assert answer.headers["Content-Encoding"] is None
        assert answer.body.startswith(b"# TYPE ") and answer.body.endswith(b"\n")

    @pytest.mark.parametrize("accepted", ["gzip", "deflate, gzip;q=0.5", "GZIP"])
    def test_compressed_if_asked(self, scraped: Scraped, accepted: str) -> None:
        answer = get(scraped.metrics_port, "/metrics/per-object", accept_encoding=accepted)
        assert (answer.status, answer.headers["Content-Encoding"], answer.headers["Content-Type"]) == (200, "gzip", CONTENT_TYPE)
        assert "rabbitmq_queue_messages" in Samples(gzip.decompress(answer.body).decode())
        assert len(answer.body) * 5 < len(answer.text)

    @pytest.mark.parametrize("accepted", ["identity", "gzip;q=0", "br"])
    def test_not_compressed_if_not_asked(self, scraped: Scraped, accepted: str) -> None:
        assert get(scraped.metrics_port, "/metrics", accept_encoding=accepted).headers["Content-Encoding"] is None

    def test_what_prometheus_asks_for(self, scraped: Scraped) -> None:
        """It would rather have OpenMetrics, and takes this."""
        accept = (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5"
        )
        assert get(scraped.metrics_port, "/metrics", accept=accept).headers["Content-Type"] == CONTENT_TYPE

    def test_the_head_alone(self, scraped: Scraped) -> None:
        answer = get(scraped.metrics_port, "/metrics", "HEAD")
        assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, CONTENT_TYPE, b"")

    def test_elsewhere_there_is_nothing(self, scraped: Scraped) -> None:
        answer = get(scraped.metrics_port, "/")
        assert (answer.status, answer.body) == (404, b'{"error":"Object Not Found","reason":"Not Found"}')
        assert get(scraped.metrics_port, "/api/overview").status == 404
        answer = get(scraped.metrics_port, "/metrics/nonsense")
        assert (answer.status, answer.headers["Content-Type"], answer.body) == (404, "text/plain", b"Unknown Registry")

    def test_nothing_can_be_changed(self, scraped: Scraped) -> None:
        answer = get(scraped.metrics_port, "/metrics", "POST")
        assert (answer.status, answer.headers["Allow"]) == (405, "HEAD, GET, OPTIONS")

    def test_on_the_port_of_the_api_it_takes_a_login(self, scraped: Scraped) -> None:
        assert get(scraped.api_port, "/metrics").status == 401
        answer = get(scraped.api_port, "/metrics", authorization=basic("guest"))
        assert (answer.status, answer.headers["Content-Type"]) == (200, CONTENT_TYPE)
        assert Samples(answer.text)["rabbitmq_queues"] == 3
        answer = get(scraped.api_port, "/metrics/detailed?family=queue_coarse_metrics", authorization=basic("guest"))
        assert len(Samples(answer.text).labels("rabbitmq_detailed_queue_messages")) == 3

    def test_scrapes_tell_of_those_before(self, busy: Scraped) -> None:
        get(busy.metrics_port, "/metrics")
        get(busy.metrics_port, "/metrics/per-object", accept_encoding="gzip")
        before, now = scrape(busy.metrics_port), scrape(busy.metrics_port)
        for name in ("telemetry_scrape_duration_seconds", "telemetry_scrape_size_bytes"):
            labels = {"registry": "default", "content_type": CONTENT_TYPE}
            assert now.of(f"{name}_count", **labels) == before.of(f"{name}_count", **labels) + 1
            assert now.of(f"{name}_sum", **labels) > before.of(f"{name}_sum", **labels)
        sent = now.of("telemetry_scrape_encoded_size_bytes_sum", registry="per-object", encoding="gzip")
        assert 0 < sent < now.of("telemetry_scrape_encoded_size_bytes_sum", registry="default", encoding="identity")


class TestDetailed:
    @staticmethod
    def queues(busy: Scraped, query: str, name: str = "queue_messages") -> set[str]:
        told = scrape(busy.metrics_port, f"/metrics/detailed?{query}")
        return {labels["queue"] for labels in told.labels(f"rabbitmq_detailed_{name}")}

    def test_nothing_is_told_that_is_not_asked_for(self, busy: Scraped, channel: WireChannel) -> None:
        told = scrape(busy.metrics_port, "/metrics/detailed")
        assert {name for name in told.by_name if name.startswith("rabbitmq_")} == {"rabbitmq_build_info", "rabbitmq_identity_info"}
        told = scrape(busy.metrics_port, "/metrics/detailed?family=nonsense")
        assert not [name for name in told.by_name if "detailed" in name]

    def test_families(self, busy: Scraped, channel: WireChannel) -> None:
        told = scrape(busy.metrics_port, "/metrics/detailed?family=queue_coarse_metrics&family=queue_consumer_count")
        names = {name.removeprefix("rabbitmq_detailed_") for name in told.by_name if "detailed" in name}
        assert names == {
            "queue_messages", "queue_messages_ready", "queue_messages_unacked", "queue_process_reductions_total", "queue_consumers",
            "queue_info",
        }  # fmt: skip
        # queue_consumer_count is part of queue_metrics, and isn't told twice.
        assert self.queues(busy, "family=queue_metrics&family=queue_consumer_count", "queue_consumers") >= {"detail.a", "other"}

    def test_some_vhosts(self, busy: Scraped, channel: WireChannel) -> None:
        assert self.queues(busy, "family=queue_coarse_metrics&vhost=%2F") >= {"detail.a", "detail.b", "other"}
        assert not self.queues(busy, "family=queue_coarse_metrics&vhost=nowhere")
        assert self.queues(busy, "family=queue_delivery_metrics&vhost=nowhere&vhost=%2F", "queue_get_total") >= {"detail.a"}

    def test_some_queues(self, busy: Scraped, channel: WireChannel) -> None:
        assert self.queues(busy, "family=queue_coarse_metrics&queue=%5Edetail") == {"detail.a", "detail.b"}
        assert self.queues(busy, "family=queue_metrics&queue=b%24", "queue_consumers") == {"detail.b"}
        assert self.queues(busy, "family=queue_coarse_metrics&queue=%5Edetail", "queue_info") == {"detail.a", "detail.b"}

    @pytest.mark.parametrize(
        ("query", "reason"),
        [
            ("queue=a&queue=b", "Only one 'queue' query parameter is allowed"),
            (f"queue={'a' * 2001}", "'queue' regex too long"),
            ("queue=%28", "Invalid 'queue' regex"),
        ],
    )
    def test_filters_that_make_no_sense(self, busy: Scraped, query: str, reason: str) -> None:
        answer = get(busy.metrics_port, f"/metrics/detailed?family=queue_metrics&{query}")
        assert (answer.status, answer.headers["Content-Type"]) == (400, "text/plain")
        assert answer.text.startswith(reason)


class TestSettings:
    def test_another_path(self, configured: Scraped) -> None:
        assert get(configured.metrics_port, "/metrics").status == 404
        assert scrape(configured.metrics_port, "/some/where")["rabbitmq_queues"] == 0
        assert "rabbitmq_build_info" in scrape(configured.metrics_port, "/some/where/detailed")

    def test_each_object_without_asking(self, configured: Scraped) -> None:
        with Wire.connect(configured) as wire:
            wire.open_channel().queue("mine")
            told = scrape(configured.metrics_port, "/some/where")
            assert told.of("rabbitmq_queue_messages", queue="mine") == 0
            assert told.of("rabbitmq_identity_info", rabbitmq_endpoint="per-object", rabbitmq_cluster="hares") == 1


def test_with_a_login(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Scraped(tmp_path_factory.mktemp("metrics") / "login", "prometheus.authentication.enabled = true") as broker:
        answer = get(broker.metrics_port, "/metrics/per-object")
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="RabbitMQ Management"')
        assert get(broker.metrics_port, "/metrics", authorization=basic("nobody")).status == 401
        told = Samples(get(broker.metrics_port, "/metrics", authorization=basic("guest")).text)
        assert told.of("rabbitmq_auth_attempts_failed_total", protocol="http") == 1


def test_the_id_of_the_cluster_is_that_of_its_data(fresh: Scraped, busy: Scraped) -> None:
    """All samples are joined with it: another one after each start would make another cluster of it."""
    names = [scrape(broker.metrics_port).labels("rabbitmq_identity_info") for broker in (fresh, busy)]
    assert names[0] == names[1]  # both of them have none

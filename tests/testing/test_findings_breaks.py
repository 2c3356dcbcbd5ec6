"""What works here and breaks on RabbitMQ 4: found with the right way beside it, which has no finding; and since which version."""

import time
from pathlib import Path
from typing import Any

import kombu
import pika
import pytest

from broker.testing.findings.versions import VERSIONS
from tests.testing.sandboxed import PERSISTENT, Sandboxed
from tests.testing.supervised import Supervised


def since(sandbox: Sandboxed, code: str) -> list[str]:
    """The versions for which it is reported."""
    return [version for version in VERSIONS if code in sandbox.codes(version)]


def from_(version: str) -> list[str]:
    return list(VERSIONS[VERSIONS.index(version) :])


def test_the_right_way_has_no_findings_for_any_version(sandbox: Sandboxed) -> None:
    with sandbox.channel("setup") as channel:
        channel.exchange_declare("shop", "topic", durable=True)
        channel.queue_declare("orders", durable=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "failed"})
        channel.queue_declare("failed", durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": 5})
        channel.queue_bind("orders", "shop", "order.*")
        own = channel.queue_declare("", exclusive=True).method.queue
        channel.basic_consume(own, lambda *_: None, auto_ack=True)
    with sandbox.channel("publisher", confirms=True) as channel:
        for _ in range(3):
            channel.basic_publish("shop", "order.new", b"1", PERSISTENT, mandatory=True)
    with sandbox.channel("worker") as channel:
        channel.basic_qos(prefetch_count=1)
        for index, (method, _, _) in enumerate(channel.consume("orders", inactivity_timeout=5)):
            assert method is not None
            channel.basic_nack(method.delivery_tag, requeue=False) if index == 2 else channel.basic_ack(method.delivery_tag)
            if index == 2:
                break
        channel.cancel()
    for version in VERSIONS:
        assert sandbox.findings(version) == []


def test_transient_queues_that_are_shared(sandbox: Sandboxed) -> None:
    with sandbox.channel("web") as channel:
        channel.queue_declare("durable", durable=True)
        channel.queue_declare("", exclusive=True)
        assert sandbox.findings() == []
        channel.queue_declare("tasks")
        channel.queue_declare("tasks")
    found = sandbox.one("transient-queue")
    assert (found["severity"], found["since"], found["count"]) == ("breaks", "4.3", 2)
    where = found["where"]
    assert where.pop("connection").startswith("127.0.0.1:")
    assert where == {"vhost": sandbox.vhost, "queue": "tasks", "client_name": "web", "user": sandbox.user, "channel": 1}
    assert since(sandbox, "transient-queue") == ["4.3"]


def test_those_of_an_operator_are_found_too(sandbox: Sandboxed) -> None:
    sandbox.administer("PUT", "/api/queues/{}/tasks", {"durable": False})
    assert sandbox.one("transient-queue")["where"] == {"vhost": sandbox.vhost, "queue": "tasks", "user": "guest"}


def test_global_qos(sandbox: Sandboxed) -> None:
    with sandbox.channel() as channel:
        channel.basic_qos(prefetch_count=5)
        channel.basic_qos(prefetch_count=0, global_qos=True)
        assert sandbox.findings() == []
        channel.basic_qos(prefetch_count=5, global_qos=True)
    assert "prefetch 5" in sandbox.one("global-qos")["what"]
    assert sandbox.one("global-qos")["where"]["client_name"] == "Pika Python Client Library"
    assert since(sandbox, "global-qos") == ["4.3"]


def test_kombu_goes_by_the_servers_version(sandbox: Sandboxed) -> None:
    with kombu.Connection(sandbox.url) as connection:
        connection.default_channel.basic_qos(0, 5, True)
    assert sandbox.codes(severity="breaks") == []
    assert since(sandbox, "kombu-global-qos") == ["4.3"]


@pytest.mark.parametrize(
    ("code", "arguments", "right"),
    [
        ("queue-mode", {"x-queue-mode": "lazy"}, {}),
        ("queue-version", {"x-queue-version": 1}, {"x-queue-version": 2}),
        ("master-locator", {"x-queue-master-locator": "client-local"}, {}),
        ("consumer-timeout-argument", {"x-consumer-timeout": 60_000}, {"x-consumer-timeout": 60_000, "x-queue-type": "quorum"}),
    ],
)
def test_arguments_of_queues(sandbox: Sandboxed, code: str, arguments: dict[str, Any], right: dict[str, Any]) -> None:
    with sandbox.channel() as channel:
        channel.queue_declare("right", durable=True, arguments=right)
        assert sandbox.findings() == []
        channel.queue_declare("wrong", durable=True, arguments=arguments)
    assert sandbox.codes() == [code]
    assert sandbox.one(code)["where"]["queue"] == "wrong"
    assert since(sandbox, code) == ["4.3"]


def test_the_timeout_of_a_consumer_of_a_classic_queue(sandbox: Sandboxed) -> None:
    with sandbox.channel() as channel:
        channel.basic_qos(prefetch_count=1)
        channel.queue_declare("right", durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_declare("wrong", durable=True)
        channel.basic_consume("right", lambda *_: None, arguments={"x-consumer-timeout": 60_000})
        assert sandbox.findings() == []
        channel.basic_consume("wrong", lambda *_: None, arguments={"x-consumer-timeout": 60_000})
    assert sandbox.one("consumer-timeout-argument")["where"]["queue"] == "wrong"


def set_policy(sandbox: Sandboxed, name: str, definition: dict[str, Any], kind: str = "policies") -> None:
    sandbox.administer("PUT", f"/api/{kind}/{{}}/{name}", {"pattern": "^x", "definition": definition})


def test_policies_of_mirrored_queues(sandbox: Sandboxed) -> None:
    set_policy(sandbox, "right", {"max-length": 10, "delivery-limit": 3})
    assert sandbox.findings() == []
    set_policy(sandbox, "mirrored", {"ha-mode": "exactly", "ha-params": 2, "queue-master-locator": "min-masters"})
    assert sandbox.one("mirroring")["where"] == {"vhost": sandbox.vhost, "policy": "mirrored", "user": "guest"}
    assert "(ha-mode, ha-params)" in sandbox.one("mirroring")["what"]
    assert since(sandbox, "mirroring") == from_("4.0")
    assert since(sandbox, "master-locator") == ["4.3"]


def test_policies_without_effect(sandbox: Sandboxed) -> None:
    set_policy(sandbox, "lazy", {"queue-mode": "lazy"})
    set_policy(sandbox, "old", {"queue-version": 1}, "operator-policies")
    assert sandbox.one("policy-without-effect", "3.13")["where"]["policy"] == "lazy"
    assert [each["where"]["policy"] for each in sandbox.findings("4.0")] == ["lazy", "old"]


def test_large_messages(sandbox: Sandboxed) -> None:
    limit = 16 * 1024 * 1024
    with sandbox.channel(confirms=True) as channel:
        channel.queue_declare("files", durable=True)
        channel.basic_publish("", "files", bytes(limit), PERSISTENT)
        assert sandbox.findings() == []
        channel.basic_publish("", "files", bytes(limit + 1), PERSISTENT)
        channel.queue_purge("files")
    assert f"{limit + 1} bytes" in sandbox.one("large-message")["what"]
    assert since(sandbox, "large-message") == from_("4.0")


def test_small_frames(sandbox: Sandboxed) -> None:
    with sandbox.connect(frame_max=8192):
        pass
    assert sandbox.findings() == []
    with sandbox.connect("small", frame_max=4096):
        pass
    assert "4096 bytes" in sandbox.one("small-frames")["what"]
    assert sandbox.one("small-frames")["where"]["client_name"] == "small"
    assert since(sandbox, "small-frames") == from_("4.1")


def test_deaths_that_a_publisher_tells_of(sandbox: Sandboxed) -> None:
    with sandbox.channel(confirms=True) as channel:
        channel.queue_declare("dead", durable=True)
        channel.queue_declare("work", durable=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
        channel.basic_publish("", "work", b"1", PERSISTENT)
        channel.basic_reject(channel.basic_get("work")[0].delivery_tag, requeue=False)
        method, properties, body = channel.basic_get("dead")
        channel.basic_ack(method.delivery_tag)
        assert sandbox.codes(severity="breaks") == []  # dead once, by the broker's own count
        channel.basic_publish("", "work", body, properties)
        assert sandbox.codes(severity="breaks") == []  # the header alone does no harm
        channel.basic_reject(channel.basic_get("work")[0].delivery_tag, requeue=False)
    assert sandbox.one("published-deaths")["where"]["queue"] == "work"
    assert since(sandbox, "published-deaths") == from_("4.0")


def give_back(channel: Any, queue: str, times: int, *, nack: bool) -> None:
    for _ in range(times):
        method = channel.basic_get(queue)[0]
        channel.basic_nack(method.delivery_tag) if nack else channel.basic_reject(method.delivery_tag)


@pytest.mark.parametrize(("nack", "versions"), [(False, from_("4.0")), (True, ["4.0", "4.1", "4.2"])], ids=["reject", "nack"])
def test_a_poison_message_of_a_quorum_queue(sandbox: Sandboxed, nack: bool, versions: list[str]) -> None:
    quorum = {"x-queue-type": "quorum"}
    with sandbox.channel(confirms=True) as channel:
        channel.queue_declare("limited", durable=True, arguments=quorum | {"x-delivery-limit": 100})
        channel.queue_declare("unlimited", durable=True, arguments=quorum)
        for queue in ("limited", "unlimited"):
            channel.basic_publish("", queue, b"poison", PERSISTENT)
        give_back(channel, "limited", 21, nack=nack)
        give_back(channel, "unlimited", 20, nack=nack)
        assert since(sandbox, "delivery-limit") == []
        give_back(channel, "unlimited", 1, nack=nack)
    assert since(sandbox, "delivery-limit") == versions
    found = sandbox.one("delivery-limit", versions[0])
    assert (found["where"]["queue"], found["count"]) == ("unlimited", 1)


def test_a_consumer_timeout_of_a_classic_queue(tmp_path: Path) -> None:
    settings = tmp_path / "leveret.conf"
    settings.write_text("consumer_timeout = 1000\n")
    with Supervised(arguments=("--config", str(settings))) as broker:
        sandbox = Sandboxed(broker)
        with sandbox.connect() as connection:
            channels = []
            for kind in ("quorum", "classic"):
                channel = connection.channel()
                channel.confirm_delivery()
                channel.queue_declare(kind, durable=True, arguments={"x-queue-type": kind})
                channel.basic_publish("", kind, b"1", PERSISTENT)
                assert channel.basic_get(kind)[0] is not None
                channels.append(channel)
            deadline = time.monotonic() + 10
            while any(channel.is_open for channel in channels) and time.monotonic() < deadline:
                connection.process_data_events(0.1)
        assert sandbox.one("consumer-timeout")["where"]["queue"] == "classic"
        assert since(sandbox, "consumer-timeout") == ["4.3"]


def test_mandatory_replies(sandbox: Sandboxed) -> None:
    with sandbox.channel() as client, sandbox.channel(confirms=True) as server:
        client.basic_consume("amq.rabbitmq.reply-to", lambda *_: None, auto_ack=True)
        server.queue_declare("rpc", durable=True)
        client.basic_publish("", "rpc", b"?", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", delivery_mode=2))
        client.queue_declare("rpc", passive=True)
        method, properties, _ = server.basic_get("rpc")
        server.basic_ack(method.delivery_tag)
        server.basic_publish("", properties.reply_to, b"!")
        assert sandbox.codes(severity="breaks") == []
        with pytest.raises(pika.exceptions.UnroutableError):
            server.basic_publish("", properties.reply_to, b"!", mandatory=True)
        assert sandbox.codes(severity="breaks") == ["reply-mandatory"]
        client.close()
        server.basic_publish("", properties.reply_to, b"late")
    assert since(sandbox, "reply-mandatory") == from_("4.2")
    assert "unroutable" not in sandbox.codes()


def test_delayed_messages(sandbox: Sandboxed) -> None:
    with sandbox.channel(confirms=True) as channel:
        channel.exchange_declare("right", "direct", durable=True)
        assert sandbox.findings() == []
        channel.exchange_declare("later", "x-delayed-message", durable=True, arguments={"x-delayed-type": "fanout"})
        channel.basic_publish("later", "", b"1", pika.BasicProperties(delivery_mode=2, headers={"x-delay": 60_000}))
    assert since(sandbox, "delayed-exchange") == ["4.3"]
    assert since(sandbox, "plugin") == ["3.13", "4.0", "4.1", "4.2"]
    assert sandbox.codes() == ["delayed-exchange"]


@pytest.mark.parametrize(
    ("kind", "arguments", "plugin", "versions"),
    [
        ("x-consistent-hash", {}, "rabbitmq_consistent_hash_exchange", list(VERSIONS)),
        ("x-recent-history", {}, "rabbitmq_recent_history_exchange", list(VERSIONS)),
        ("x-random", {}, "rabbitmq_random_exchange", list(VERSIONS)),
        ("x-modulus-hash", {}, "rabbitmq_sharding", ["3.13", "4.0", "4.1", "4.2"]),
        ("x-message-deduplication", {"x-cache-size": 10}, "rabbitmq_message_deduplication", list(VERSIONS)),
    ],
)
def test_exchanges_of_plugins(sandbox: Sandboxed, kind: str, arguments: dict[str, Any], plugin: str, versions: list[str]) -> None:
    with sandbox.channel() as channel:
        channel.exchange_declare("x", kind, durable=True, arguments=arguments)
    assert since(sandbox, "plugin") == versions
    assert plugin in sandbox.one("plugin", "3.13")["what"]


def test_local_random_is_new(sandbox: Sandboxed) -> None:
    with sandbox.channel() as channel:
        channel.exchange_declare("x", "x-local-random", durable=True)
    assert since(sandbox, "local-random") == ["3.13"]
    assert sandbox.codes() == []


def test_deduplication_in_a_queue(sandbox: Sandboxed) -> None:
    with sandbox.channel() as channel:
        channel.queue_declare("once", durable=True, arguments={"x-message-deduplication": True})
        channel.queue_declare("often", durable=True, arguments={"x-message-deduplication": False})
    assert sandbox.one("plugin")["where"]["queue"] == "once"


def test_priorities_in_a_quorum_queue(sandbox: Sandboxed) -> None:
    with sandbox.channel(confirms=True) as channel:
        for queue, arguments in (("classic", {"x-max-priority": 9}), ("alike", {}), ("low", {}), ("high", {})):
            kind = {} if queue == "classic" else {"x-queue-type": "quorum"}
            channel.queue_declare(queue, durable=True, arguments=arguments | kind)
        for queue, priorities in (("classic", (1, 9)), ("alike", (0, 0)), ("low", (1, None)), ("high", (None, 5))):
            for priority in priorities:
                channel.basic_publish("", queue, b"1", pika.BasicProperties(delivery_mode=2, priority=priority))
    assert since(sandbox, "quorum-priority") == from_("4.0")
    assert [each["where"]["queue"] for each in sandbox.findings("4.2")] == ["high"]
    assert [each["where"]["queue"] for each in sandbox.findings("4.3")] == ["low", "high"]
    assert "RabbitMQ 4.2 prefers" in sandbox.one("quorum-priority", "4.2")["what"]

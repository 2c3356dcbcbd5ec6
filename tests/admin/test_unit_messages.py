"""Publishing and getting over HTTP: what RabbitMQ 3.10.8 answered to the same requests, but where a comment says otherwise."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.admin.client import Http
from tests.admin.served import Served

PROPERTIES = {
    "content_type": "text/plain", "content_encoding": "utf-8", "headers": {"a": 1, "b": "c", "d": {"e": [1, 2.5, True, "x"]}},
    "delivery_mode": 2, "priority": 3, "correlation_id": "c", "reply_to": "r", "expiration": "60000", "message_id": "m",
    "timestamp": 1_700_000_000, "type": "t", "user_id": "guest", "app_id": "a", "cluster_id": "c",
}  # fmt: skip


class Box:
    """A queue, to publish to and to get from."""

    def __init__(self, api: Http, vhost: str, name: str, **declared: Any) -> None:
        self.api = api
        self.vhost = vhost
        self.path = f"/api/queues/{vhost}/{name}"
        self.name = name
        assert api.do("PUT", self.path, declared) == 201

    def message(self, payload: Any = "hello", properties: Any = None, **changes: Any) -> dict[str, Any]:
        """What is sent to publish."""
        given = {} if properties is None else properties
        return {"routing_key": self.name, "payload": payload, "payload_encoding": "string", "properties": given} | changes

    def publish(self, *arguments: Any, **changes: Any) -> Any:
        return self.publish_raw(self.message(*arguments, **changes))

    def publish_raw(self, body: Any) -> Any:
        """Whether it was routed, or status, error and reason."""
        reply = self.api.ask("POST", f"/api/exchanges/{self.vhost}/amq.default/publish", body)
        return reply.json["routed"] if reply.status == 200 else (reply.status, reply.json["error"], reply.json["reason"])

    def get(self, ackmode: str = "ack_requeue_false", count: Any = 10, encoding: str = "auto", **more: Any) -> Any:
        reply = self.api.ask("POST", f"{self.path}/get", {"ackmode": ackmode, "count": count, "encoding": encoding} | more)
        return reply.json if reply.status == 200 else (reply.status, reply.json["error"], reply.json["reason"])

    def count(self) -> tuple[int, int]:
        """Ready and unacked."""
        facts = self.api.get(self.path)
        return facts["messages_ready"], facts["messages_unacknowledged"]


@pytest.fixture
def api(shared: Served) -> Iterator[Http]:
    with shared.api() as http:
        yield http


@pytest.fixture
def box(api: Http, vhost: str, request: pytest.FixtureRequest) -> Box:
    return Box(api, vhost, request.node.name)


def test_a_message_there_and_back(box: Box) -> None:
    assert box.publish() is True
    assert box.get() == [
        {
            "payload_bytes": 5, "redelivered": False, "exchange": "", "routing_key": box.name, "message_count": 0, "properties": [],
            "payload": "hello", "payload_encoding": "string",
        }
    ]  # fmt: skip
    assert box.get() == []


def test_all_properties_there_and_back(box: Box) -> None:
    assert box.publish("", PROPERTIES | {"unknown": 5}) is True
    assert box.get()[0]["properties"] == PROPERTIES


def test_a_client_sees_what_was_published(box: Box, shared: Served, vhost: str) -> None:
    box.publish("hä", PROPERTIES)
    with shared.channel(vhost) as channel:
        _, properties, body = channel.basic_get(box.name, auto_ack=True)
        assert (body, properties.headers["b"], properties.delivery_mode) == ("hä".encode(), "c", 2)
        assert (properties.timestamp, properties.app_id, properties.expiration) == (1_700_000_000, "a", "60000")


def test_octets_go_as_base64(box: Box) -> None:
    assert box.publish("/w==", payload_encoding="base64") is True
    assert box.publish("aGVs\nbG8=", payload_encoding="base64") is True
    octets, text = box.get()
    assert (octets["payload"], octets["payload_encoding"], octets["payload_bytes"]) == ("/w==", "base64", 1)
    assert (text["payload"], text["payload_encoding"]) == ("hello", "string")
    box.publish("hello")
    assert box.get(encoding="base64")[0]["payload"] == "aGVsbG8="


def test_routed_or_not(box: Box, vhost: str) -> None:
    assert box.publish(routing_key="nobody") is False
    assert box.api.do("PUT", f"/api/exchanges/{vhost}/empty", {"type": "fanout"}) == 201
    assert box.api.ask("POST", f"/api/exchanges/{vhost}/empty/publish", box.message()).json == {"routed": False}


def test_what_is_missing_is_named(box: Box) -> None:
    def without(*names: str) -> dict[str, Any]:
        return {name: value for name, value in box.message().items() if name not in names}

    assert box.publish_raw(without("payload")) == (400, "bad_request", "[{key_missing,payload}]")
    assert box.publish_raw(without("payload", "routing_key")) == (400, "bad_request", "[{key_missing,routing_key},{key_missing,payload}]")
    every = "[{key_missing,routing_key},\n {key_missing,properties},\n {key_missing,payload},\n {key_missing,payload_encoding}]"
    assert box.publish_raw({}) == box.publish_raw(None) == (400, "bad_request", every)
    every = "[{key_missing,ackmode},{key_missing,count},{key_missing,encoding}]"
    assert box.api.refusal("POST", f"{box.path}/get", {}) == (400, "bad_request", every)


@pytest.mark.parametrize(
    "properties",
    [
        {"delivery_mode": "2"}, {"delivery_mode": 3}, {"priority": "1"}, {"priority": 256}, {"priority": -1}, {"priority": True},
        {"timestamp": 2.5}, {"timestamp": 2**64}, {"content_type": 5}, {"content_type": "x" * 256}, {"expiration": 5},
        {"headers": "x"}, {"headers": {"a": None}}, {"headers": {"k" * 256: 1}}, {"headers": {"a": 2**63}}, "x",
    ],
)  # fmt: skip
def test_properties_that_make_no_sense(box: Box, properties: Any) -> None:
    status, error, reason = box.publish("", properties)
    assert (status, error) == (400, "bad_request")
    assert reason
    assert box.count() == (0, 0)


def test_payloads_that_make_no_sense(box: Box) -> None:
    for payload in (5, {"a": 1}, None):
        assert box.publish(payload) == (400, "bad_request", "payload_not_string")
    for payload in ("!!", "aGVsbG8", "a", "aGVsbG8=x"):
        assert box.publish(payload, payload_encoding="base64")[0] == 400
    assert box.publish(payload_encoding="utf8")[0] == 400
    assert box.publish(routing_key="k" * 256)[0] == 400


def test_what_amqp_refuses(box: Box, shared: Served, vhost: str) -> None:
    text = "406 PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'guest'"
    assert box.publish("", {"user_id": "other"}) == (400, "bad_request", text)
    text = "406 PRECONDITION_FAILED - invalid expiration 'x': no_integer"
    assert box.publish("", {"expiration": "x"}) == (400, "bad_request", text)
    refused = box.api.refusal("POST", f"/api/exchanges/{vhost}/amq.rabbitmq.trace/publish", box.message())
    text = f"403 ACCESS_REFUSED - cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '{vhost}'"
    assert refused == (400, "bad_request", text)
    # 3.13's words; 3.10 says it in AMQP's.
    nowhere = f"/api/exchanges/{vhost}/nope/publish"
    assert box.api.refusal("POST", nowhere, box.message()) == (404, "not_found", "exchange_not_found")
    body = {"ackmode": "ack_requeue_false", "count": 1, "encoding": "auto"}
    assert box.api.refusal("POST", f"/api/queues/{vhost}/nope/get", body) == (404, "not_found", "queue_not_found")
    with shared.user("sender", "management", **{vhost: "^mine"}) as sender:
        assert sender.do("POST", f"{box.path}/get", body) == 401
        assert sender.do("POST", f"/api/exchanges/{vhost}/amq.direct/publish", box.message()) == 400


def test_a_full_queue_rejects(api: Http, vhost: str) -> None:
    box = Box(api, vhost, "full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    assert box.publish() is True
    assert box.publish() == (400, "bad_request", "rejected Unable to publish message. Check queue limits.")


@pytest.mark.parametrize("mode", ["ack_requeue_true", "reject_requeue_true"])
def test_messages_that_go_back_are_redelivered_from_then_on(box: Box, mode: str) -> None:
    for number in range(3):
        box.publish(str(number))
    assert [(each["payload"], each["redelivered"], each["message_count"]) for each in box.get(mode, 2)] == [
        ("0", False, 2),
        ("1", False, 1),
    ]
    assert box.count() == (3, 0)
    assert [(each["payload"], each["redelivered"]) for each in box.get(mode)] == [("0", True), ("1", True), ("2", False)]


def test_rejected_messages_are_dead_letters(api: Http, vhost: str) -> None:
    dead = Box(api, vhost, "dead")
    box = Box(api, vhost, "dying", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
    box.publish()
    assert len(box.get("reject_requeue_false")) == 1
    assert box.count() == (0, 0)
    headers = dead.get()[0]["properties"]["headers"]
    (death,) = headers["x-death"]
    assert (death["queue"], death["reason"], death["count"], death["routing-keys"]) == ("dying", "rejected", 1, ["dying"])
    assert isinstance(death["time"], int)


def test_counts_are_lenient(box: Box) -> None:
    for number in range(5):
        box.publish(str(number))
    assert [each["payload"] for each in box.get(count="2")] == ["0", "1"]
    assert box.get(count=0) == []
    assert [each["payload"] for each in box.get(count=-1)] == ["2", "3", "4"]
    assert box.get(count="x")[0] == box.get(count=None)[0] == 400
    assert box.get("nope")[0] == 400
    assert box.get(encoding="nope") == (400, "bad_request", "Unsupported encoding. Please use auto or base64.")


def test_long_payloads_are_cut(box: Box) -> None:
    box.publish("中文")

    def cut(**more: Any) -> tuple[str, str, int]:
        (each,) = box.get("ack_requeue_true", **more)
        return each["payload"], each["payload_encoding"], each["payload_bytes"]

    assert cut(truncate=3) == ("中", "string", 6)
    assert cut(truncate="4") == ("5Lit5g==", "base64", 6)
    assert cut(truncate=0) == ("", "string", 6)
    assert cut(truncate=50_000) == ("中文", "string", 6)
    assert box.get(truncate=-1)[0] == 400
    assert box.get(truncate="x")[0] == 400


def test_an_answer_has_an_end(box: Box, shared: Served, vhost: str) -> None:
    """More than a process should put together for one request stays in the queue."""
    with shared.channel(vhost) as channel:
        channel.confirm_delivery()
        for _ in range(9):
            channel.basic_publish("", box.name, b"x" * (8 << 20))
    got = box.get("ack_requeue_true", count=100, truncate=1)
    assert (len(got), got[-1]["message_count"]) == (8, 1)
    assert box.count() == (9, 0)
    assert box.api.do("DELETE", f"{box.path}/contents") == 204


def test_what_was_answered_is_safe(tmp_path: Path) -> None:
    """The answer to publish comes when the message is on the disk, that to get when it is gone for good."""
    with Served(data_dir=tmp_path / "data") as broker:
        with broker.api() as api:
            box = Box(api, "%2F", "kept", durable=True)
            for number in range(3):
                assert box.publish(str(number), {"delivery_mode": 2}) is True
            assert len(box.get(count=1)) == 1
        broker.kill()
        broker.start()
        with broker.api() as api:
            box.api = api
            assert [each["payload"] for each in box.get()] == ["1", "2"]


def test_an_alarm_stops_clients_and_not_operators(tmp_path: Path) -> None:
    """RabbitMQ lets its own API past an alarm."""
    (tmp_path / "leveret.conf").write_text("disk_free_limit.absolute = 900TB\n")
    with Served("--config", str(tmp_path / "leveret.conf"), data_dir=tmp_path / "data") as broker, broker.api() as api:
        broker.wait_for_log("disk resource limit alarm set")
        assert Box(api, "%2F", "waiting").publish() is True

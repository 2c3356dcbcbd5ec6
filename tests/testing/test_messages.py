"""Looking into a queue: nothing is taken out, and nothing is changed."""

from typing import Any

from pamqp.commands import Basic, Tx

from tests.testing.box import Box
from tests.testing.stories import heard
from tests.wire import WireChannel


def opened(box: Box, name: str = "worker") -> WireChannel:
    channel = box.wire(name).open_channel()
    channel.queue("q", exclusive=False)
    return channel


def messages(box: Box, queue: str = "q", query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = box.ask("GET", f"/queues/{queue}/messages{query}")
    return found


def test_all_that_is_known(box: Box) -> None:
    channel = opened(box)
    channel.publish("", "q", b'{"a": 1}', message_id="m", headers={"n": [1]}, expiration="60000")
    channel.publish("", "q", b"\xff")
    heard(channel)
    now = box.broker.ask("GET", "")["now_ms"]
    first, second = messages(box)
    assert first | {"id": 0, "expires_at_ms": 0} == {
        "id": 0,
        "state": "ready",
        "payload": '{"a": 1}',
        "payload_encoding": "string",
        "payload_bytes": 8,
        "exchange": "",
        "routing_key": "q",
        "redelivered": False,
        "delivery_count": 0,
        "properties": {"message_id": "m", "headers": {"n": [1]}, "expiration": "60000"},
        "held_by": None,
        "expires_at_ms": 0,
        "due_at_ms": None,
    }
    assert now + 50_000 < first["expires_at_ms"] <= now + 60_000
    assert (second["payload"], second["payload_encoding"], second["expires_at_ms"]) == ("/w==", "base64", None)


def test_who_holds_what(box: Box) -> None:
    channel = opened(box)
    for body in (b"1", b"2", b"3", b"4"):
        channel.publish("", "q", body)
    channel.qos(1)
    channel.consume("q", "c1")
    channel.deliver()
    getting = opened(box, "getter")
    getting.nack(getting.take("q", no_ack=False).tag)
    getting.take("q", no_ack=False)
    heard(getting)
    found = messages(box)
    assert [(each["payload"], each["state"], each["redelivered"], each["delivery_count"]) for each in found] == [
        ("1", "unacked", False, 0),
        ("2", "unacked", True, 1),
        ("3", "ready", False, 0),
        ("4", "ready", False, 0),
    ]
    consumer, getter = found[0]["held_by"], found[1]["held_by"]
    assert consumer["connection"].endswith(f"127.0.0.1:{box.broker.port}")
    assert {**consumer, "connection": "", "since_ms": 0} == {
        "connection": "",
        "client_name": "worker",
        "user": box.user,
        "channel": 1,
        "consumer_tag": "c1",
        "delivery_tag": 1,
        "since_ms": 0,
    }
    assert (getter["client_name"], getter["consumer_tag"], getter["delivery_tag"]) == ("getter", None, 2)


def test_what_a_transaction_is_about_to_settle(box: Box) -> None:
    channel = opened(box)
    channel.publish("", "q", b"x")
    channel.call(Tx.Select)
    channel.ack(channel.take("q", no_ack=False).tag)
    heard(channel)
    (found,) = messages(box)
    assert found["state"] == "unacked" and found["held_by"]["delivery_tag"] is None


def test_looking_changes_nothing(box: Box) -> None:
    channel = opened(box)
    channel.publish("", "q", b"x")
    heard(channel)
    assert messages(box) == messages(box)
    message = channel.take("q")
    assert not message.method.redelivered and message.properties == {}


def test_all_of_many_in_the_order_of_delivery(box: Box) -> None:
    channel = opened(box)
    channel.queue("p", exclusive=False, arguments={"x-max-priority": 2})
    for number in range(2500):
        channel.publish("", "q", b"%d" % number)
    channel.publish("", "p", b"low")
    channel.publish("", "p", b"high", priority=2)
    channel.counts("p")
    assert [int(each["payload"]) for each in messages(box)] == list(range(2500))
    assert [int(each["payload"]) for each in messages(box, query="?limit=1200")] == list(range(1200))
    assert [each["payload"] for each in messages(box, "p")] == ["high", "low"]
    channel.consume("q", "c1")
    channel.deliveries(2500)
    channel.call(Basic.Cancel, consumer_tag="c1")
    assert [int(each["payload"]) for each in messages(box)] == list(range(2500))
    assert messages(box, query="?limit=0") == []


def test_what_is_no_question(box: Box) -> None:
    opened(box)
    answer = box.ask("GET", "/queues/Q/messages", status=404)
    assert answer["reason"] == f"there is no queue 'Q' in vhost '{box.vhost}', there is 'q'"
    assert "limit: expected" in box.ask("GET", "/queues/q/messages?limit=-1", status=400)["reason"]
    assert "unknown here" in box.ask("GET", "/queues/q/messages?state=ready", status=400)["reason"]


def test_a_name_may_have_anything(box: Box) -> None:
    channel = opened(box)
    channel.queue("a/b c", exclusive=False)
    channel.publish("", "a/b c", b"x")
    heard(channel)
    assert [each["payload"] for each in messages(box, "a%2Fb%20c")] == ["x"]

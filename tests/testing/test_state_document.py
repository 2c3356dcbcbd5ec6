"""The state of a vhost as a document: everything in it, loaded elsewhere, and what isn't one."""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.admin.brokers import rabbitmq
from tests.testing.state_box import StateBox
from tests.testing.supervised import ROOT_PATH, Supervised
from tests.testing.test_snapshots import SITUATIONS, with_all_kinds
from tests.wire import Typed, WireChannel

EVERY_TYPE: dict[str, Any] = {
    "t": True,
    "b": Typed("b", -128),
    "B": Typed("B", 255),
    "s": Typed("s", -32768),
    "u": Typed("u", 65535),
    "I": Typed("I", -(2**31)),
    "i": Typed("i", 2**32 - 1),
    "l": Typed("l", -(2**63)),
    "f": Typed("f", 0.1),
    "d": Typed("d", 0.1),
    "D": Decimal("1.25"),
    "S": "grün 🐇",
    "not text": b"\xff\x00\xfe",
    "A": [1, "x", [Typed("V", None)], {"y": Typed("u", 1)}],
    "T": Typed("T", 2**64 - 1),
    "F": {"nested": {"deeper": Typed("x", b"\x80")}},
    "V": None,
    "x": bytearray(b"\x00\xff"),
    "": "no name",
    "n\udcff": "no UTF-8",
}
EVERY_PROPERTY: dict[str, Any] = {
    "content_type": "text/plain", "content_encoding": "", "headers": EVERY_TYPE, "delivery_mode": 2, "priority": 255,
    "correlation_id": "c\udcfe", "reply_to": "r", "expiration": "86400000", "message_id": "m", "timestamp": 2**64 - 1, "message_type": "t",
    "app_id": "a", "cluster_id": "cl",
}  # fmt: skip


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    """Another broker, with a disk."""
    with Supervised(tmp_path_factory.mktemp("elsewhere"), seed=8) as supervised:
        yield supervised


@pytest.fixture
def other(elsewhere: Supervised) -> Iterator[StateBox]:
    found = StateBox(elsewhere)
    yield found
    found.end()


@pytest.fixture
def channel(vhost: StateBox) -> Iterator[WireChannel]:
    with vhost.wire() as wire:
        yield wire.open_channel()


def export(vhost: StateBox) -> bytes:
    """The document as it is written."""
    token = {"Authorization": f"Bearer {vhost.broker.card['token']}"}
    answer = vhost.broker.http.ask("GET", f"{ROOT_PATH}/vhosts/{vhost.vhost}/state", headers=token, credentials=("", ""))
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    return answer.body


def load(vhost: StateBox, document: Any, status: int = 200) -> Any:
    return vhost.ask("PUT", "/state", document, status)


def without_moments(contents: dict[str, Any]) -> Any:
    return json.loads(
        json.dumps(contents), object_hook=lambda each: {key: each[key] for key in each if key not in ("expires_at", "due_at")}
    )


@pytest.mark.parametrize("situation", SITUATIONS)
def test_it_is_the_same_elsewhere(vhost: StateBox, other: StateBox, channel: WireChannel, situation: Callable[[WireChannel], None]) -> None:
    situation(channel)
    second = channel.wire.open_channel()
    document = export(vhost)
    channel.close()
    then = vhost.contents()
    with other.wire() as wire:
        wire.open_channel().queue("will go", durable=True)
        restored = load(other, document)
        loaded = other.contents()
    if situation is with_all_kinds:
        assert restored["left_out"] == ["exclusive queue 'exclusive' with 2 messages: it went with its connection"]
        then["queues"] = [each for each in then["queues"] if each["name"] != "exclusive"]
        del then["messages"]["exclusive"]
    else:
        assert restored["left_out"] == []
    assert without_moments(loaded) == without_moments(then)
    assert restored["messages"] == sum(map(len, then["messages"].values()))
    for name, messages in then["messages"].items():
        told = [each["payload"] for each in json.loads(document)["messages"] if each["queue"] == name]
        assert told == [each["payload"] for each in messages]
    # And what is exported there is the same document, but for when, where and by whom.
    again = json.loads(export(other))
    for section in ("queues", "exchanges", "bindings", "policies", "parameters"):
        assert again[section] == json.loads(document)[section]
    second.close()


def test_every_type_and_property_survives(vhost: StateBox, other: StateBox, channel: WireChannel) -> None:
    channel.queue("q", durable=True, arguments=EVERY_TYPE | {"x-max-length": Typed("s", 9)})
    channel.exchange("e", "headers", durable=True, arguments=EVERY_TYPE)
    channel.bind("q", "e", "schlüssel", EVERY_TYPE)
    channel.publish("e", "r\udcfd", b"\xff\x00", **EVERY_PROPERTY)
    channel.publish("", "q", "grün".encode())
    channel.counts("q")
    load(other, export(vhost))
    with other.wire() as wire:
        there = wire.open_channel()
        for _ in range(2):
            ours, theirs = channel.take("q", no_ack=False), there.take("q", no_ack=False)
            assert (ours.raw_properties, ours.body) == (theirs.raw_properties, theirs.body)
            assert (ours.method.exchange, ours.method.routing_key) == (theirs.method.exchange, theirs.method.routing_key)
        # Declaring and unbinding with these very types is what was declared and bound.
        there.queue("q", durable=True, arguments=EVERY_TYPE | {"x-max-length": Typed("s", 9)})
        there.unbind("q", "e", "schlüssel", EVERY_TYPE)
        there.publish("e", "x", b"lost")
        assert there.counts("q") == (0, 0)
    vhost.reset(everything=True)


def test_what_was_bound_there_is_bound_here(vhost: StateBox, other: StateBox, channel: WireChannel) -> None:
    """The loaded bindings route, and messages find their way as they did."""
    channel.exchange("d", "x-delayed-message", durable=True, arguments={"x-delayed-type": "topic"})
    channel.exchange("once", "x-message-deduplication", durable=True, arguments={"x-cache-size": 5, "x-cache-persistence": "disk"})
    channel.exchange("h", "x-recent-history", durable=True)
    channel.queue("q", durable=True)
    channel.bind("q", "d", "a.#")
    channel.bind("q", "once")
    channel.publish("d", "a.b", b"delayed", headers={"x-delay": 500}, delivery_mode=2)
    channel.publish("d", "a.b", b"next year", headers={"x-delay": 2**30})
    channel.publish("once", "", b"once", headers={"x-deduplication-header": "v"})
    channel.publish("h", "k", b"kept")
    channel.counts("q")
    load(other, export(vhost))
    with other.wire() as wire:
        there = wire.open_channel()
        there.publish("once", "", b"twice", headers={"x-deduplication-header": "v"})
        there.queue("new")
        there.bind("new", "h")
        assert there.bodies("new") == [b"kept"]
        there.consume("q", "c", no_ack=True)
        assert [message.body for message in there.deliveries(2)] == [b"once", b"delayed"]
        assert [each["payload"] for each in other.messages("amq.delayed.d")] == ["next year"]


def test_what_is_left_of_its_time_counts_from_the_load(vhost: StateBox, other: StateBox, channel: WireChannel) -> None:
    channel.queue("q", durable=True)
    channel.publish("", "q", b"x", expiration="100000")
    channel.publish("", "q", b"y")
    channel.counts("q")
    document = json.loads(export(vhost))
    assert 0 < document["messages"][0]["expires_in_ms"] <= 100_000 and "expires_in_ms" not in document["messages"][1]
    document["messages"][0]["expires_in_ms"] = 50_000
    document["taken_ms"] = 0  # it was another clock
    load(other, document)
    again = json.loads(export(other))
    assert 40_000 < again["messages"][0]["expires_in_ms"] <= 50_000 and "expires_in_ms" not in again["messages"][1]


def test_who_holds_what_is_told(vhost: StateBox, channel: WireChannel) -> None:
    channel.queue("q", durable=True)
    channel.publish("", "q", b"held")
    channel.publish("", "q", b"ready")
    channel.qos(1)
    channel.consume("q", "the-consumer")
    channel.deliver()
    held, _ = json.loads(export(vhost))["messages"]
    assert held["held_by"]["consumer_tag"] == "the-consumer" and held["held_by"]["channel"] == 1
    assert (held["payload"], held["redelivered"], held["delivery_count"]) == ("held", True, 1)


def test_a_line_is_an_item(vhost: StateBox, channel: WireChannel) -> None:
    channel.queue("q", durable=True)
    for number in range(3):
        channel.publish("", "q", b"%d" % number)
    channel.counts("q")
    lines = export(vhost).decode().splitlines()
    assert [json.loads(line.removesuffix(","))["payload"] for line in lines if '"payload"' in line] == ["0", "1", "2"]


def test_a_long_one(vhost: StateBox, other: StateBox, channel: WireChannel) -> None:
    """More than a request of the HTTP API may have otherwise."""
    channel.queue("q", durable=True)
    for number in range(15):
        channel.publish("", "q", b"%d" % number + bytes(2**20))
    channel.counts("q")
    document = export(vhost)
    assert len(document) > 10_000_000
    assert load(other, document)["messages"] == 15


def test_edited_by_hand(vhost: StateBox) -> None:
    """What needn't be said needn't be said."""
    message = {"queue": "q", "payload": "hello"}
    assert load(vhost, {"leveret_state": 1, "queues": [{"name": "q"}], "messages": [message]})["messages"] == 1
    (found,) = vhost.messages("q")
    assert (found["payload"], found["redelivered"], found["routing_key"], found["exchange"]) == ("hello", False, "", "")


# --- what is wrong --------------------------------------------------------------------------------------------------

QUEUE = {"queues": [{"name": "q"}]}


def with_message(**fields: Any) -> Any:
    return QUEUE | {"messages": [{"queue": "q", "payload": ""} | fields]}


def with_binding(source: str, kind: str = "queue") -> Any:
    return {"bindings": [{"source": source, "destination": "q", "destination_type": kind, "routing_key": ""}]}


MISTAKES: dict[str, tuple[Any, str]] = {
    "no JSON": (b"{", "expected a JSON document"),
    "no object": ([], "expected a JSON object with leveret_state"),
    "definitions": ({"queues": []}, "expected a JSON object with leveret_state"),
    "a newer one": ({"leveret_state": 2, "leveret_version": "9.9"}, "leveret_state is 2 (it was written by Leveret 9.9), and Leveret"),
    "no version": ({"leveret_state": "1"}, 'leveret_state is "1": expected 1'),
    "a section": ({"queues": {}}, "queues is an object: expected a list"),
    "an item": ({"messages": [5]}, "messages[0]: expected an object, not 5"),
    "no name": ({"queues": [{}]}, "queues[0]: expected a field name, text"),
    "an empty name": ({"queues": [{"name": ""}]}, "queues[0] '': expected a name"),
    "a long name": ({"exchanges": [{"name": "x" * 256, "type": "topic"}]}, "has 256 bytes: expected 255 at the most"),
    "twice": ({"queues": [{"name": "q"}, {"name": "q"}]}, "queues[1] 'q': the name is there twice"),
    "arguments": ({"queues": [{"name": "q", "arguments": {"x-max-length": -1}}]}, "invalid arg 'x-max-length'"),
    "types": ({"queues": [{"name": "q", "typed_arguments": {"x": ["?", 1]}}]}, "unknown field type '?'"),
    "type": ({"exchanges": [{"name": "e", "type": "none"}]}, "unknown exchange type 'none'"),
    "exchange arguments": ({"exchanges": [{"name": "e", "type": "x-delayed-message"}]}, "Invalid argument, 'x-delayed-type'"),
    "source": (QUEUE | with_binding("e"), "bindings[0]: exchange 'e' isn't among the document's exchanges"),
    "destination": (with_binding("amq.topic"), "bindings[0]: queue 'q' isn't among the document's queues"),
    "kind": (QUEUE | with_binding("amq.topic", "x"), "expected queue or exchange"),
    "policy": ({"policies": [{"name": "p", "pattern": "(", "definition": {"max-length": 1}}]}, "policies[0] 'p': pattern should be"),
    "definition": ({"policies": [{"name": "p", "pattern": "", "definition": {"x": 1}}]}, "are not recognised policy settings"),
    "limits": ({"parameters": [{"component": "vhost-limits", "name": "limits", "value": {"x": 1}}]}, "limit 'x'"),
    "queue": ({"messages": [{"queue": "q", "payload": ""}]}, "messages[0]: queue 'q' isn't among the document's queues"),
    "payload": (with_message(payload=5), "messages[0]: payload is 5: expected text"),
    "base64": (with_message(payload="?", payload_encoding="base64"), "payload is no base64"),
    "encoding": (with_message(payload_encoding="x"), "expected string or base64"),
    "property": (with_message(properties={"x": 1}), "properties has 'x': expected content_type"),
    "mode": (with_message(properties={"delivery_mode": 300}), "messages[0]: "),
    "header": (with_message(properties={"headers": {"x": 1}}), "no typed table"),
    "number": (with_message(properties={"headers": {"x": ["b", 300]}}), "can't hold"),
    "expiration": (with_message(properties={"expiration": "soon"}), "invalid expiration 'soon'"),
    "CC": (with_message(properties={"headers": {"CC": ["S", "x"]}}), "CC"),
    "count": (with_message(delivery_count=-1), "delivery_count is -1: expected 0 to"),
    "moment": (with_message(expires_in_ms=2**60), "expires_in_ms is"),
    "delayed": ({"delayed": [{"delayed_by": "amq.topic", "payload": "", "due_in_ms": 1}]}, "is of type topic: expected x-delayed-message"),
    "seen": ({"seen": [{"exchange": "amq.topic", "value": ["S", "x"]}]}, "is of type topic: expected x-message-deduplication"),
    "recent": ({"recent": [{"kept_by": "amq.topic", "payload": "", "routing_keys": []}]}, "is of type topic: expected x-recent-history"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_a_mistake_is_named_and_changes_nothing(vhost: StateBox, channel: WireChannel, mistake: str) -> None:
    document, text = MISTAKES[mistake]
    if isinstance(document, dict) and mistake not in ("definitions", "no version", "a newer one"):
        document = {"leveret_state": 1, **document}
    channel.queue("there", durable=True)
    channel.publish("", "there", b"x")
    channel.consume("there", "c")
    channel.deliver()
    then = vhost.contents()
    reason = load(vhost, document, 400)["reason"]
    assert text in reason
    assert vhost.contents() == then
    channel.nack(1)
    assert channel.deliver().body == b"x"


# --- RabbitMQ -------------------------------------------------------------------------------------------------------


def test_it_is_imported_as_definitions(vhost: StateBox, other: StateBox, channel: WireChannel) -> None:
    with_all_kinds(channel)
    document = json.loads(export(vhost))
    assert other.broker.http.ask("POST", f"/api/definitions/{other.vhost}", document).status == 204
    then, there = vhost.declared(), other.declared()
    then["queues"] = [each for each in then["queues"] if each["name"] != "exclusive"]
    for section in then:
        # Two bindings differ in types alone, which definitions can't tell.
        assert set(map(repr, there[section])) == set(map(repr, then[section]))


@pytest.mark.oracle
def test_rabbitmq_imports_it_as_definitions(vhost: StateBox, channel: WireChannel) -> None:
    with_all_kinds(channel)
    document = json.loads(export(vhost))
    with rabbitmq() as managed, managed.http() as oracle:
        oracle.ask("PUT", "/api/vhosts/v")
        assert oracle.ask("POST", "/api/definitions/v", document).status == 204
        theirs, ours = oracle.get("/api/definitions/v"), vhost.broker.http.get(f"/api/definitions/{vhost.vhost}")
        for section in ("exchanges", "bindings"):
            assert {json.dumps(each, sort_keys=True) for each in theirs[section]} == {
                json.dumps(each, sort_keys=True) for each in ours[section]
            }
        assert {each["name"] for each in theirs["queues"]} == {each["name"] for each in ours["queues"]}

"""Contract 9.3: policies and operator policies, given to both brokers by definitions. tests/core/test_policies.py changes them later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pamqp.commands import Basic, Confirm, Exchange, Queue

from tests.conformance.defined import defined
from tests.spec import Broker, spec
from tests.wire import Wire, WireChannel


def _policy(name: str, pattern: str, priority: int = 0, apply_to: str = "all", **definition: Any) -> dict[str, Any]:
    keys = {key.replace("_", "-"): value for key, value in definition.items()}
    return {"vhost": "ruled", "name": name, "pattern": pattern, "priority": priority, "apply-to": apply_to, "definition": keys}


def _operator(name: str, pattern: str, **definition: Any) -> dict[str, Any]:
    policy = _policy(name, pattern, apply_to="queues", **definition)
    value = {key: policy[key] for key in ("pattern", "priority", "apply-to", "definition")}
    return {"vhost": "ruled", "component": "operator_policy", "name": name, "value": value}


RULED = {
    "vhosts": [{"name": "ruled"}],
    "permissions": [{"user": "guest", "vhost": "ruled", "configure": ".*", "write": ".*", "read": ".*"}],
    "policies": [
        _policy("short", "^short", max_length=3),
        _policy("shorter", "^shorter", 1, max_length=2),
        _policy("to-dead", "^dying", dead_letter_exchange="amq.fanout", max_length=1),
        _policy("else", "^exchange", apply_to="exchanges", alternate_exchange="amq.fanout"),
        _policy("limited", "^quorum", delivery_limit=1, max_length=9),
        _policy("refusing", "^full", max_length=1, overflow="reject-publish"),
    ],
    "parameters": [_operator("cap", "^capped", max_length=2), _operator("cap-short", "^short-capped", max_length=1)],
}


@pytest.fixture(scope="module")
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with defined(RULED, request, tmp_path_factory) as broker:
        yield broker


@pytest.fixture
def channel(broker: Broker) -> Iterator[WireChannel]:
    with Wire.connect(broker, vhost="ruled") as wire:
        yield wire.open_channel()
        wire.close()


def left(channel: WireChannel, name: str, *, count: int = 5, **arguments: Any) -> int:
    """How many of the messages published to a new queue of that name it keeps."""
    given = {key.replace("_", "-"): value for key, value in arguments.items()}
    channel.call(Queue.Declare, queue=name, exclusive=True, arguments=given)
    return kept(channel, name, count)


def kept(channel: WireChannel, name: str, count: int) -> int:
    """Confirmed one by one: RabbitMQ's answer about a queue overtakes what is on its way to it."""
    channel.call(Confirm.Select)
    for number in range(count):
        channel.publish("", name, b"%d" % number)
        assert isinstance(channel.wire.next_frame(channel.number).method, Basic.Ack | Basic.Nack)
    return int(channel.call(Queue.Declare, queue=name, passive=True).message_count)


@spec("9.3", "Policies and operator policies: pattern, apply-to, priority; one of each applies, the highest priority.")
@pytest.mark.parametrize(("name", "count"), [("short-1", 3), ("shorter-1", 2), ("long-short", 5), ("Short", 5)])
def test_the_pattern_and_the_priority(channel: WireChannel, name: str, count: int) -> None:
    assert left(channel, name) == count


@spec("9.3", "Numbers merge to the lower")
@pytest.mark.parametrize(
    ("name", "arguments", "count"),
    [
        ("short-2", {"x_max_length": 1}, 1),
        ("short-3", {"x_max_length": 4}, 3),
        ("capped-1", {}, 2),
        ("capped-2", {"x_max_length": 1}, 1),
        ("capped-3", {"x_max_length": 4}, 2),
        ("short-capped", {}, 1),
        ("short-capped-2", {"x_max_length": 4}, 1),
    ],
)
def test_numbers(channel: WireChannel, name: str, arguments: dict[str, int], count: int) -> None:
    assert left(channel, name, **arguments) == count


@spec("9.3", "text: a classic queue's argument wins over the policy")
def test_texts(channel: WireChannel) -> None:
    for name in ("fanned", "topical"):
        channel.call(Queue.Declare, queue=name, exclusive=True)
    channel.bind("fanned", "amq.fanout")
    channel.bind("topical", "amq.topic", "#")
    assert left(channel, "dying-1", count=2) == 1
    assert left(channel, "dying-2", count=2, x_dead_letter_exchange="amq.topic") == 1
    assert left(channel, "full-1", count=3) == 1
    assert left(channel, "full-2", count=3, x_overflow="drop-head") == 1
    for name, body in (("full-1", b"0"), ("full-2", b"2"), ("fanned", b"0"), ("topical", b"0")):
        channel.send(Basic.Get, queue=name, no_ack=True)
        assert channel.wire.expect_content(Basic.GetOk).body == body, name


def test_an_exchange(channel: WireChannel) -> None:
    channel.call(Queue.Declare, queue="else", exclusive=True)
    channel.bind("else", "amq.fanout")
    channel.call(Exchange.Declare, exchange="exchange-1", exchange_type="direct", auto_delete=True)
    channel.call(Queue.Declare, queue="bound", exclusive=True)
    channel.bind("bound", "exchange-1", "key")
    channel.call(Confirm.Select)
    channel.publish("exchange-1", "nowhere", b"1")
    channel.expect(Basic.Ack)
    assert channel.call(Queue.Declare, queue="else", passive=True).message_count == 1


@spec("9.3", "A policy with a key that the queue type lacks isn't applied at all.")
def test_a_key_that_the_type_lacks(channel: WireChannel) -> None:
    """delivery-limit is no classic queue's, so its max-length doesn't act there either."""
    assert left(channel, "quorum-classic", count=12) == 12

"""Contract 1.5 and 9.4: limits of vhosts and users; both brokers are given them by definitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pamqp.commands import Channel, Connection, Queue

from tests.conformance.defined import PASSWORD, defined, permission, user
from tests.fixtures import Connect
from tests.spec import Broker, spec
from tests.wire import Wire, eventually

VHOSTS = ("one-connection", "no-connection", "two-queues", "no-limit")


def _limits(vhost: str, **limits: int) -> dict[str, Any]:
    value = {name.replace("_", "-"): limit for name, limit in limits.items()}
    return {"vhost": vhost, "component": "vhost-limits", "name": "limits", "value": value}


LIMITED = {
    "users": [
        user("free"),
        user("lonely", limits={"max-connections": 1}),
        user("barred", limits={"max-connections": 0}),
        user("narrow", limits={"max-channels": 2}),
        user("stranger", limits={"max-connections": 0}),
    ],
    "vhosts": [{"name": name} for name in VHOSTS],
    "permissions": [
        *(permission("free", vhost=vhost) for vhost in VHOSTS),
        *(permission(name) for name in ("free", "lonely", "barred", "narrow")),
        permission("barred", vhost="no-connection"),
    ],
    "parameters": [
        _limits("one-connection", max_connections=1),
        _limits("no-connection", max_connections=0),
        _limits("two-queues", max_queues=2),
        _limits("no-limit", max_connections=-1, max_queues=-1),
    ],
}


@pytest.fixture(scope="module")
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with defined(LIMITED, request, tmp_path_factory) as broker:
        yield broker


def refusal(broker: Broker, name: str, vhost: str) -> str | None:
    """Why connection.open is refused, if it is."""
    with Wire(broker) as wire:
        wire.greet()
        wire.start_ok(name, PASSWORD)
        wire.expect(Connection.Tune)
        wire.tune_ok()
        wire.send_method(0, Connection.Open, virtual_host=vhost)
        answer = wire.next_frame(0).method
        if isinstance(answer, Connection.OpenOk):
            wire.close()
            return None
        assert isinstance(answer, Connection.Close)
        assert (answer.reply_code, answer.class_id, answer.method_id) == (530, 10, 40)
        return answer.reply_text


@spec("1.5", "vhost limit: the same + `: connection limit (1) is reached`")
def test_connections_of_a_vhost(broker: Broker, connect: Connect) -> None:
    wire = connect(user="free", password=PASSWORD, vhost="one-connection")
    text = "NOT_ALLOWED - access to vhost 'one-connection' refused for user 'free': connection limit (1) is reached"
    eventually(lambda: refusal(broker, "free", "one-connection") == text)
    wire.close()
    eventually(lambda: refusal(broker, "free", "one-connection") is None)


def test_no_connections_at_all(broker: Broker) -> None:
    text = "NOT_ALLOWED - access to vhost 'no-connection' refused for user 'free': connection limit (0) is reached"
    assert refusal(broker, "free", "no-connection") == text


def test_a_negative_limit_is_none(broker: Broker, connect: Connect) -> None:
    connect(user="free", password=PASSWORD, vhost="no-limit")
    channel = connect(user="free", password=PASSWORD, vhost="no-limit").open_channel()
    channel.call(Queue.Declare, queue="q", exclusive=True)


@spec("1.5", "user limit 530 `connection refused for user 'u': user connection limit (0) is reached`")
def test_connections_of_a_user(broker: Broker, connect: Connect) -> None:
    assert refusal(broker, "barred", "/") == "NOT_ALLOWED - connection refused for user 'barred': user connection limit (0) is reached"
    wire = connect(user="lonely", password=PASSWORD)
    text = "NOT_ALLOWED - connection refused for user 'lonely': user connection limit (1) is reached"
    eventually(lambda: refusal(broker, "lonely", "/") == text)
    wire.close()
    eventually(lambda: refusal(broker, "lonely", "/") is None)


@spec("1.5", "Order: node limit, vhost, user limit, permission.")
def test_the_order(broker: Broker) -> None:
    assert refusal(broker, "barred", "nowhere") == "NOT_ALLOWED - vhost nowhere not found"
    assert str(refusal(broker, "barred", "no-connection")).endswith("refused for user 'barred': connection limit (0) is reached")
    assert refusal(broker, "stranger", "/") == "NOT_ALLOWED - connection refused for user 'stranger': user connection limit (0) is reached"


def test_channels_of_a_user(broker: Broker, connect: Connect) -> None:
    """3.13's text would name the node where it means the user."""
    wire, other = connect(user="narrow", password=PASSWORD), connect(user="narrow", password=PASSWORD)
    wire.open_channel(), other.open_channel()

    def one_more() -> bool:
        """RabbitMQ counts a little later."""
        with Wire.connect(broker, user="narrow", password=PASSWORD) as third:
            third.send_method(1, Channel.Open)
            answer = third.next_frame().method
            if not isinstance(answer, Connection.Close):
                third.close()
                return False
            text = "number of channels opened for user 'narrow' has reached the maximum allowed user limit of (2)"
            assert (answer.reply_code, answer.reply_text, answer.class_id) == (530, f"NOT_ALLOWED - {text}", 0)
            return True

    eventually(one_more)


@spec("9.4", "vhost max-queues: a new declare `[s]` 406")
def test_queues_of_a_vhost(broker: Broker, connect: Connect) -> None:
    wire = connect(user="free", password=PASSWORD, vhost="two-queues")
    channel = wire.open_channel()
    for name in ("one", "two", "one"):
        channel.call(Queue.Declare, queue=name, exclusive=True)
    channel.send(Queue.Declare, queue="three", exclusive=True)
    text = "PRECONDITION_FAILED - cannot declare queue 'three': queue limit in vhost 'two-queues' (2) is reached"
    channel.expect_close(406, text)
    channel.reopen()
    channel.call(Queue.Delete, queue="two")
    channel.call(Queue.Declare, queue="three", exclusive=True)

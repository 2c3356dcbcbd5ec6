"""A reset: messages go, or everything; connections stay, unless they are to be closed."""

import time
from collections.abc import Iterator

import pytest
from pamqp.commands import Basic, Connection

from tests.testing.state_box import StateBox
from tests.testing.supervised import Supervised
from tests.wire import WireChannel

BUILT_IN = ["", "amq.direct", "amq.fanout", "amq.headers", "amq.match", "amq.rabbitmq.trace", "amq.topic"]


@pytest.fixture
def channel(vhost: StateBox) -> Iterator[WireChannel]:
    with vhost.wire() as wire:
        yield wire.open_channel()


def test_messages_go_and_everything_else_stays(vhost: StateBox, channel: WireChannel) -> None:
    channel.exchange("e", "topic", durable=True)
    channel.queue("q", durable=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
    channel.queue("dead")
    channel.bind("q", "e", "#")
    channel.consume("q", "c")
    channel.qos(2)
    channel.consume("q", "limited")
    for number in range(9):
        channel.publish("e", "k", b"%d" % number)
    channel.publish("", "dead", b"x")
    channel.deliveries(9)
    for _ in range(3):
        channel.publish("e", "k", b"more")
    channel.deliveries(3)
    declared = vhost.declared()
    assert vhost.reset() == 13
    assert vhost.declared() == declared
    assert channel.counts("dead") == (0, 0)  # what goes is no dead letter
    channel.publish("e", "k", b"new")
    assert channel.deliver().body == b"new"
    channel.ack(12, multiple=True)
    channel.nothing_more("q")
    assert channel.counts("q") == (0, 2)
    assert vhost.reset() == 1
    assert vhost.reset() == 0


def test_everything_goes_and_consumers_are_told(vhost: StateBox, channel: WireChannel) -> None:
    fresh = vhost.declared()
    channel.exchange("e", "fanout", durable=True, auto_delete=True)
    channel.exchange("f", "direct")
    for name, options in (("durable", {"durable": True}), ("mine", {"exclusive": True}), ("fleeting", {"auto_delete": True})):
        channel.queue(name, **options)
        channel.bind(name, "e")
        channel.bind(name, "amq.direct", "k")
        channel.consume(name, name)
    put = vhost.broker.http.ask
    assert put("PUT", f"/api/policies/{vhost.vhost}/p", {"pattern": ".*", "definition": {"max-length": 5}}).status == 201
    assert put("PUT", f"/api/operator-policies/{vhost.vhost}/p", {"pattern": ".*", "definition": {"max-length": 5}}).status == 201
    assert put("PUT", f"/api/vhost-limits/{vhost.vhost}/max-queues", {"value": 9}).status == 204
    channel.publish("e", "", b"x")
    channel.deliveries(3)
    assert vhost.reset(everything=True) == 3
    assert {channel.expect(Basic.Cancel).consumer_tag for _ in range(3)} == {"durable", "mine", "fleeting"}
    assert vhost.declared() == fresh
    assert [each["name"] for each in vhost.broker.http.get(f"/api/exchanges/{vhost.vhost}")] == BUILT_IN
    assert not vhost.broker.http.get(f"/api/operator-policies/{vhost.vhost}")
    channel.ack(3, multiple=True)
    channel.queue("durable", durable=False, auto_delete=True)
    channel.publish("", "durable", b"another")
    assert channel.bodies("durable") == [b"another"]


@pytest.mark.parametrize("everything", [False, True])
def test_connections_can_be_closed(vhost: StateBox, channel: WireChannel, everything: bool) -> None:
    channel.queue("q", durable=True)
    channel.publish("", "q", b"x")
    channel.take("q", no_ack=False)
    assert vhost.reset(everything=everything, close_connections=True) == 1
    assert channel.wire.expect(Connection.Close).reply_code == 320
    channel.wire.read_to_eof()
    with vhost.wire() as wire:
        again = wire.open_channel()
        if not everything:
            assert again.counts("q") == (0, 0)
        assert bool(vhost.broker.http.get(f"/api/queues/{vhost.vhost}")) is not everything


def test_it_takes_no_time(vhost: StateBox, channel: WireChannel) -> None:
    for number in range(5):
        channel.queue(f"q{number}", durable=True)
        channel.bind(f"q{number}", "amq.topic", "#")
        channel.consume(f"q{number}", f"{number}")
    seconds = []
    for _ in range(20):
        channel.publish("amq.topic", "k", b"x")
        channel.deliveries(5)
        begun = time.perf_counter()
        assert vhost.reset() == 5
        seconds.append(time.perf_counter() - begun)
    assert min(seconds) < 0.01, seconds


def test_a_vhost_that_is_not_there(testing_broker: Supervised) -> None:
    for method, path in (("POST", "/reset"), ("POST", "/snapshots"), ("GET", "/snapshots"), ("GET", "/state"), ("PUT", "/state")):
        testing_broker.ask_vhost(method, "nowhere", path, {"leveret_state": 1}, status=404)

"""What an operator can listen to: log lines, internal events and the firehose, as messages; and what stands in the log itself.

Both brokers have them on here. What RabbitMQ 3.10.8 answers is what stands in these tests.
"""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pamqp.commands import Channel, Connection, Exchange, Queue

from protocol.content import decode_properties as typed_properties
from protocol.tables import Table
from tests.conformance.watched import WatchedLeveret, WatchedRabbitMQ
from tests.spec import differs, expect_on, spec
from tests.wire import TIMEOUT_SECONDS, Message, Wire, WireChannel, eventually

Watched = WatchedLeveret | WatchedRabbitMQ
HEAD = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d \[(\w+)\] (<\d+\.\d+\.\d+>) "
PID = r"<\S+@\S+\.\d+\.\d+\.0>"


@pytest.fixture(scope="module")
def watched(request: pytest.FixtureRequest) -> Iterator[Watched]:
    with WatchedRabbitMQ() if request.config.getoption("--broker") == "rabbitmq" else WatchedLeveret() as broker:
        with Wire.connect(broker) as wire:
            # RabbitMQ makes amq.rabbitmq.log some time after it is ready.
            eventually(lambda: _is_there(wire, "amq.rabbitmq.log"), 30.0)
        yield broker


def _is_there(wire: Wire, exchange: str) -> bool:
    channel = wire.open_channel()
    channel.send(Exchange.Declare, exchange=exchange, passive=True)
    found = isinstance(wire.next_frame(channel.number).method, Exchange.DeclareOk)
    if not found:
        channel.send(Channel.CloseOk)
    time.sleep(0 if found else 0.2)
    return found


@pytest.fixture
def broker(watched: Watched) -> Watched:
    """For the fixtures of all conformance tests."""
    return watched


@pytest.fixture
def listen(watched: Watched) -> Iterator[Callable[..., WireChannel]]:
    """`listen("amq.rabbitmq.event", "queue.*")`: a channel of a connection of its own that is delivered what comes with such keys."""
    wires: list[Wire] = []

    def begin(exchange: str, *keys: str) -> WireChannel:
        wires.append(Wire.connect(watched))
        channel = wires[-1].open_channel()
        channel.consume(channel.bound_queue(exchange, *keys), no_ack=True)
        return channel

    yield begin
    for wire in wires:
        wire.abort()


def headers_of(message: Message) -> Table:
    """With their types."""
    payload = b"\x00\x3c\x00\x00" + len(message.body).to_bytes(8) + message.raw_properties
    headers = typed_properties(payload).headers
    assert headers is not None
    return headers


def kinds(table: Table) -> dict[str, str]:
    return {name: field.kind for name, field in table.items()}


def event(channel: WireChannel, key: str, **headers: Any) -> Message:
    """The next event with these headers and this routing key; others are passed over."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    seen = []
    while time.monotonic() < deadline:
        message = channel.deliver()
        if message.method.routing_key == key and headers.items() <= message.headers.items():
            assert message.body == b""
            assert message.properties["delivery_mode"] == 2
            assert message.properties["timestamp"] == message.headers["timestamp_in_ms"] // 1000
            return message
        seen.append((message.method.routing_key, message.headers))
    raise AssertionError(f"no {key} with {headers} in {seen}")


@spec("11.1", "The exchanges that the broker publishes to are durable internal topic exchanges.")
@pytest.mark.parametrize("name", ["amq.rabbitmq.event", "amq.rabbitmq.log", "amq.rabbitmq.trace"])
def test_system_exchanges(channel: WireChannel, name: str) -> None:
    channel.call(Exchange.Declare, exchange=name, exchange_type="topic", durable=True, internal=True)
    channel.publish(name, "info", b"not from here")
    channel.expect_close(403, re.compile("ACCESS_REFUSED - cannot publish to internal exchange '.*' in vhost '/'"))


@spec("11.2")
def test_a_queue_comes_and_goes(listen: Any, channel: WireChannel, unique: Any) -> None:
    events, name = listen("amq.rabbitmq.event", "queue.*"), unique("q")
    channel.queue(name, durable=True, arguments={"x-max-length": 5, "x-nobodys": "text"})
    created = event(events, "queue.created", name=name)
    stamp = created.headers["timestamp_in_ms"]
    assert created.headers == {
        "user_who_performed_action": "guest",
        "exclusive": False,
        "owner_pid": "",
        "arguments": ['{<<"x-max-length">>,signedint,5}', '{<<"x-nobodys">>,longstr,<<"text">>}'],
        "auto_delete": False,
        "durable": True,
        "name": name,
        "vhost": "/",
        "timestamp_in_ms": stamp,
    }
    assert kinds(headers_of(created)) == {
        "user_who_performed_action": "S", "exclusive": "t", "owner_pid": "S", "arguments": "A", "auto_delete": "t", "durable": "t",
        "name": "S", "vhost": "S", "timestamp_in_ms": "l",
    }  # fmt: skip
    channel.call(Queue.Delete, queue=name)
    deleted = event(events, "queue.deleted", name=name)
    assert list(deleted.headers) == ["user_who_performed_action", "name", "vhost", "timestamp_in_ms"]
    assert deleted.headers["user_who_performed_action"] == "guest"


@spec("11.2")
def test_an_exclusive_queue_has_an_owner(listen: Any, connect: Any, unique: Any) -> None:
    events, name = listen("amq.rabbitmq.event", "queue.*"), unique("q")
    wire = connect()
    wire.open_channel().queue(name, exclusive=True, auto_delete=True)
    created = event(events, "queue.created", name=name)
    assert created.headers["exclusive"] is True and re.fullmatch(PID, created.headers["owner_pid"])
    wire.close()
    assert event(events, "queue.deleted", name=name).headers["user_who_performed_action"] == "rmq-internal"


@spec("11.2")
def test_exchanges_and_bindings(listen: Any, channel: WireChannel, unique: Any) -> None:
    events = listen("amq.rabbitmq.event", "exchange.*", "binding.*")
    name, queue = unique("x"), unique("q")
    channel.exchange(name, "topic", auto_delete=True, arguments={"alternate-exchange": "amq.fanout"})
    created = event(events, "exchange.created", name=name).headers
    assert created == {
        "user_who_performed_action": "guest", "policy": "", "arguments": ['{<<"alternate-exchange">>,longstr,<<"amq.fanout">>}'],
        "internal": False, "auto_delete": True, "durable": False, "type": "topic", "name": name, "vhost": "/",
        "timestamp_in_ms": created["timestamp_in_ms"],
    }  # fmt: skip
    channel.queue(queue)
    channel.bind(queue, name, "a.b", {"h": 1, "s": "t"})
    bound = event(events, "binding.created", source_name=name).headers
    assert bound == {
        "user_who_performed_action": "guest", "vhost": "/", "arguments": ['{<<"h">>,signedint,1}', '{<<"s">>,longstr,<<"t">>}'],
        "routing_key": "a.b", "destination_kind": "queue", "destination_name": queue, "source_kind": "exchange", "source_name": name,
        "timestamp_in_ms": bound["timestamp_in_ms"],
    }  # fmt: skip
    channel.unbind(queue, name, "a.b", {"h": 1, "s": "t"})
    unbound = {event(events, key, **facts).method.routing_key for key, facts in (("binding.deleted", {"source_name": name}),)}
    assert unbound == {"binding.deleted"}


@spec("11.2")
def test_a_connection_its_channel_and_its_consumer(listen: Any, connect: Any, unique: Any) -> None:
    events = listen("amq.rabbitmq.event", "connection.*", "channel.*", "consumer.*", "user.#")
    wire = connect(properties={"connection_name": "billing"})
    ours = "{}:{}".format(*wire._socket.getsockname())
    name = f"{ours} -> {{}}:{{}}".format(*wire._socket.getpeername())
    login = event(events, "user.authentication.success", connection_name=name).headers
    assert list(login) == [
        "ssl", "auth_mechanism", "protocol", "peer_port", "peer_host", "connection_name", "host", "name", "connection_type",
        "timestamp_in_ms",
    ]  # fmt: skip
    assert (login["protocol"], login["peer_host"], login["connection_type"]) == ("{0,9,1}", "{127,0,0,1}", "network")
    created = event(events, "connection.created", name=name)
    facts = created.headers
    assert list(facts) == [
        "user_who_performed_action", "node", "connected_at", "client_properties", "channel_max", "frame_max", "timeout", "vhost", "user",
        "protocol", "ssl_hash", "ssl_cipher", "ssl_key_exchange", "ssl_protocol", "auth_mechanism", "peer_cert_validity",
        "peer_cert_issuer", "peer_cert_subject", "ssl", "peer_host", "host", "peer_port", "port", "name", "pid", "type",
        "user_provided_name", "timestamp_in_ms",
    ]  # fmt: skip
    assert '{<<"connection_name">>,longstr,<<"billing">>}' in facts["client_properties"]
    assert any(each.startswith('{<<"capabilities">>,table,[{<<"publisher_confirms">>,bool,true},') for each in facts["client_properties"])
    assert (facts["user_provided_name"], facts["peer_port"], facts["frame_max"]) == ("billing", int(ours.rpartition(":")[2]), 131072)
    assert kinds(headers_of(created))["connected_at"] == "l"

    channel = wire.open_channel()
    opened = event(events, "channel.created", connection=facts["pid"]).headers
    assert (opened["number"], opened["name"]) == (1, f"{name} (1)") and re.fullmatch(PID, opened["pid"])
    queue = channel.queue(unique("q"))
    channel.qos(7)
    tag = channel.consume(queue, arguments={"x-priority": 3})
    consuming = event(events, "consumer.created", consumer_tag=tag).headers
    assert consuming == {
        "user_who_performed_action": "guest", "arguments": ['{<<"x-priority">>,signedint,3}'], "prefetch_count": 7, "queue": queue,
        "vhost": "/", "channel": opened["pid"], "ack_required": True, "exclusive": False, "consumer_tag": tag,
        "timestamp_in_ms": consuming["timestamp_in_ms"],
    }  # fmt: skip
    channel.cancel(tag)
    assert event(events, "consumer.deleted", consumer_tag=tag).headers["channel"] == opened["pid"]
    channel.close()
    event(events, "channel.closed", pid=opened["pid"])
    wire.close()
    closed = event(events, "connection.closed", name=name).headers
    assert list(closed) == ["client_properties", "node", "pid", "name", "user_provided_name", "timestamp_in_ms"]


@spec("11.2")
@differs(rabbitmq="3.10.8", why="the error is an Erlang string: an array of its characters")
def test_a_refused_login(watched: Watched, listen: Any) -> None:
    events = listen("amq.rabbitmq.event", "user.authentication.failure")
    with Wire(watched) as raw:
        raw.greet()
        raw.start_ok("guest", "not-it-31415")
        raw.expect(Connection.Close, reply_code=403)
    failed = event(events, "user.authentication.failure", name="guest").headers
    told = "user 'guest' - invalid credentials"
    assert failed["error"] == expect_on(watched, leveret=told, rabbitmq=list(map(ord, told)))


@spec("11.3", "Log lines are messages: the level is the key, the line the body.")
def test_a_line_is_a_message(watched: Watched, listen: Any) -> None:
    lines = listen("amq.rabbitmq.log", "info")
    with Wire.connect(watched) as wire:
        name = "{}:{}".format(*wire._socket.getsockname())
        wire.close()
    seen = []
    while not seen or "closing AMQP" not in seen[-1].body.decode():
        message = lines.deliver()
        if f"({name} -> ".encode() in message.body:
            seen.append(message)
    assert [message.method.routing_key for message in seen] == ["info"] * 3
    for message, text in zip(seen, (r"accepting AMQP connection", r"connection", r"closing AMQP connection"), strict=True):
        assert re.match(HEAD + text + rf" <0\.\d+\.0> \({name} -> ", message.body.decode())
        assert message.body.endswith(b"\n")
        assert message.properties["content_type"] == "text/plain" and abs(message.properties["timestamp"] - time.time()) < 60
        assert list(message.headers) == ["node"] and "@" in message.headers["node"]


def records(broker: Watched, peer: str) -> list[tuple[str, str]]:
    """Levels and texts of what the log has of a peer, process numbers made N; a record of several lines is one text."""
    found: list[tuple[str, str, str]] = []
    for line in broker.log.splitlines():
        match = re.match(HEAD + "(.*)", line)
        if match and match[1] != "debug":
            head = line[: match.start(3)]
            if found and found[-1][0] == head:
                found[-1] = (head, found[-1][1], f"{found[-1][2]}|{match[3]}")
            else:
                found.append((head, match[1], match[3]))
    ours = [(level, re.sub(r"<0\.\d+\.0>", "N", text)) for _, level, text in found if f"({peer} -> " in text]
    return list(dict.fromkeys(ours))  # the oracle logs to two files


def peer_of(wire: Wire) -> str:
    return "{}:{}".format(*wire._socket.getsockname())


@spec("11.4", "The lines of a connection that is let in, and what RabbitMQ calls it.")
def test_the_life_of_a_connection(watched: Watched) -> None:
    with Wire.connect(watched, properties={"connection_name": "billing"}) as wire:
        peer, to = peer_of(wire), f"127.0.0.1:{watched.port}"
        channel = wire.open_channel()
        channel.send(Queue.Declare, queue="there-is-none", passive=True)
        channel.expect_close(404)
        wire.close()
    eventually(lambda: len(records(watched, peer)) == 5)
    missing = "operation queue.declare caused a channel exception not_found: no queue 'there-is-none' in vhost '/'"
    assert records(watched, peer) == [
        ("info", f"accepting AMQP connection N ({peer} -> {to})"),
        ("info", f"connection N ({peer} -> {to}) has a client-provided name: billing"),
        ("info", f"connection N ({peer} -> {to} - billing): user 'guest' authenticated and granted access to vhost '/'"),
        ("error", f"Channel error on connection N ({peer} -> {to}, vhost: '/', user: 'guest'), channel 1:|{missing}"),
        ("info", f"closing AMQP connection N ({peer} -> {to} - billing, vhost: '/', user: 'guest')"),
    ]


@spec("11.4")
def test_a_client_that_vanishes(watched: Watched) -> None:
    with Wire.connect(watched, properties={"connection_name": "billing"}) as wire:
        peer = peer_of(wire)
    vanished = f"closing AMQP connection N ({peer} -> 127.0.0.1:{watched.port} - billing, vhost: '/', user: 'guest'):|"
    eventually(lambda: ("warning", vanished + "client unexpectedly closed TCP connection") in records(watched, peer))


@spec("11.4")
def test_an_error_on_a_connection(watched: Watched) -> None:
    with Wire.connect(watched) as wire:
        peer = peer_of(wire)
        wire.open_channel()
        wire.send_method(1, Channel.Open)
        wire.expect(Connection.Close, 0)
        wire.send_method(0, Connection.CloseOk)
        wire.expect_eof()
    who = f"{peer} -> 127.0.0.1:{watched.port}, vhost: '/', user: 'guest'"
    text = f"""Error on AMQP connection N ({who}, state: running), channel 1:| operation channel.open caused a connection exception \
channel_error: "second 'channel.open' seen\""""
    eventually(lambda: ("error", text) in records(watched, peer))
    eventually(lambda: records(watched, peer)[-1] == ("info", f"closing AMQP connection N ({who})"))


@spec("11.4", "Who isn't let in leaves one line, which says why.")
@differs(rabbitmq="3.10.8", why="it has lines of accepting and closing too")
@pytest.mark.parametrize("why", ["password", "vhost", "silence"])
def test_who_is_not_let_in(watched: Watched, why: str) -> None:
    with Wire(watched) as wire:
        peer = peer_of(wire)
        name = f"{peer} -> 127.0.0.1:{watched.port}"
        wire.greet()
        if why == "password":
            wire.start_ok("guest", "not-it-31415")
            text = f"Error on AMQP connection N ({name}, state: starting):|PLAIN login refused: user 'guest' - invalid credentials"
        elif why == "vhost":
            wire.start_ok()
            wire.expect(Connection.Tune)
            wire.tune_ok()
            wire.send_method(0, Connection.Open, virtual_host="nonono")
            wire.expect(Connection.Close, 0)
            wire.send_method(0, Connection.CloseOk)
            text = f"Error on AMQP connection N ({name}, user: 'guest', state: opening):|vhost nonono not found"
        else:
            wire.expect_eof()
            text = f"closing AMQP connection N ({name}):|" + expect_on(
                watched,
                leveret="handshake_timeout: the client did not finish the handshake (state starting)",
                rabbitmq="{handshake_timeout,frame_header}",
            )
        eventually(lambda: ("error", text) in records(watched, peer))
    told = records(watched, peer)
    assert expect_on(watched, leveret=told, rabbitmq=[record for record in told if record[0] == "error"]) == [("error", text)]


@pytest.fixture
def traced(watched: Watched) -> Iterator[Watched]:
    """With the firehose on."""
    watched.trace(True)
    yield watched
    watched.trace(False)


@spec("11.5", "The firehose copies what is published and delivered, with all that is known of it in the headers.")
def test_the_firehose(watched: Watched, listen: Any, connect: Any, unique: Any) -> None:
    wire = connect()
    peer = f"{peer_of(wire)} -> 127.0.0.1:{watched.port}"
    channel, queue = wire.open_channel(), unique("q")
    channel.queue(queue)
    channel.bind(queue, "amq.topic", "k1")
    tag = channel.consume(queue)  # running sessions notice
    channel.publish("amq.topic", "k1", b"before")
    channel.ack(channel.deliver().tag)
    copies = listen("amq.rabbitmq.trace", "publish.amq.topic", f"deliver.{queue}", "publish.")
    watched.trace(True)
    try:
        properties: dict[str, Any] = {
            "content_type": "text/plain", "delivery_mode": 2, "priority": 3, "headers": {"a": 1, "CC": ["elsewhere"]}, "message_id": "m1",
            "expiration": "60000", "timestamp": 1700000000,
        }  # fmt: skip
        channel.publish("amq.topic", "k1", b"one", **properties)
        delivery = channel.deliver()
        assert delivery.body == b"one"
        channel.cancel(tag)
        channel.nack(delivery.tag)
        channel.publish("", queue, b"two")
        channel.publish("amq.topic", "to-nobody", b"three")
        assert channel.take(queue).body == b"one"
        seen = [copies.deliver() for _ in range(5)]
    finally:
        watched.trace(False)
    told = {(copy.method.routing_key, copy.body, copy.headers.get("redelivered")): copy for copy in seen}
    origin = {"vhost": "/", "connection": peer, "channel": 1, "user": "guest"}
    node = seen[0].headers["node"]
    first = {"exchange_name": "amq.topic", "routing_keys": ["k1", "elsewhere"], "properties": properties, "node": node}
    plain = {"properties": {}, "node": node}
    assert {key: copy.headers for key, copy in told.items()} == {
        ("publish.amq.topic", b"one", None): first | origin | {"routed_queues": [queue]},
        (f"deliver.{queue}", b"one", 0): first | {"redelivered": 0} | origin,
        (f"deliver.{queue}", b"one", 1): first | {"redelivered": 1} | origin,
        ("publish.", b"two", None): {"exchange_name": "", "routing_keys": [queue]} | plain | origin | {"routed_queues": [queue]},
        ("publish.amq.topic", b"three", None): {"exchange_name": "amq.topic", "routing_keys": ["to-nobody"]} | plain | origin
        | {"routed_queues": []},
    }  # fmt: skip
    assert all(list(copy.properties) == ["headers"] for copy in seen)
    headers = headers_of(told["publish.amq.topic", b"one", None])
    assert list(headers) == [
        "exchange_name", "routing_keys", "properties", "node", "vhost", "connection", "channel", "user", "routed_queues",
    ]  # fmt: skip
    assert kinds(headers)["channel"] == "I"
    assert kinds(headers["properties"].value) == {
        "timestamp": "I", "message_id": "S", "expiration": "S", "priority": "I", "delivery_mode": "I", "headers": "F", "content_type": "S",
    }  # fmt: skip
    channel.publish("amq.topic", "k1", b"after")
    channel.take(queue)
    copies.nothing_more()


@spec("11.5", "What is on its way to who listens isn't copied again.")
def test_copies_are_not_copied(traced: Watched, connect: Any) -> None:
    channel = connect().open_channel()
    queue = channel.bound_queue("amq.rabbitmq.trace", "#")
    channel.publish("amq.topic", "one", b"1")
    eventually(lambda: channel.counts(queue)[0] == 1)
    assert channel.take(queue).method.routing_key == "publish.amq.topic"
    assert channel.get(queue) is None

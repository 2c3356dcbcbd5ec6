"""Contract 1, the connection: handshake, credentials, tuning, heartbeats, the end."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from pamqp.commands import Basic, Channel, Connection, Queue

from tests.fixtures import Connect
from tests.spec import Broker, differs, expect_on, spec
from tests.wire import (
    BODY,
    HEARTBEAT,
    METHOD,
    PROTOCOL_HEADER,
    Access,
    ConnectionEnded,
    Wire,
    WireChannel,
    eventually,
    frame_bytes,
    octets,
    table,
)

Step = Callable[[Wire], object]
REFUSED = "ACCESS_REFUSED - Login was refused using authentication mechanism {}. For details see the broker logfile."
FAILURE_CLOSE = {"authentication_failure_close": True}


def tuned(wire: Wire) -> Wire:
    """The handshake up to connection.tune."""
    wire.greet()
    wire.start_ok()
    wire.expect(Connection.Tune)
    return wire


def amqplain(user: str, password: str) -> bytes:
    """A table without its length."""
    return table({"LOGIN": user, "PASSWORD": password})[4:]


@pytest.fixture
def sockets(broker: Broker) -> Iterator[Callable[[], Wire]]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Wire(broker, timeout=15))


def end_together(sockets: Callable[[], Wire], conversations: dict[str, Step]) -> dict[str, float]:
    """Hold all conversations at once and wait until the broker has silently closed each; the seconds that each took."""
    begun = []
    for name, conversation in conversations.items():
        wire = sockets()
        conversation(wire)
        begun.append((name, wire, time.monotonic()))
    took = {}
    for name, wire, begin in begun:
        try:
            wire.expect_eof()
        except AssertionError as surprise:
            raise AssertionError(f"{name}: {surprise}") from None
        took[name] = time.monotonic() - begin
    return took


# --- 1.1 the protocol header


@spec("1.1")
@pytest.mark.parametrize(
    "header",
    [
        b"AMQP\x00\x00\x09\x00",
        b"AMQP\x00\x01\x00\x00",
        b"AMQP\x03\x01\x00\x00",
        b"AMQP\x02\x00\x09\x01",
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 8,
    ],
)
def test_another_protocol_is_answered_with_ours_and_closed(raw: Wire, header: bytes) -> None:
    raw.send_raw(header)
    assert raw.read_to_eof() == PROTOCOL_HEADER


@spec("1.1")
@pytest.mark.parametrize(
    ("header", "version"),
    [(PROTOCOL_HEADER, (0, 9)), (b"AMQP\x01\x01\x00\x09", (0, 9)), (b"AMQP\x01\x01\x08\x00", (8, 0)), (b"AMQP\x01\x01\x09\x01", (8, 0))],
)
def test_old_forms_of_the_header_are_served(raw: Wire, header: bytes, version: tuple[int, int]) -> None:
    start = raw.greet(header)
    assert (start.version_major, start.version_minor) == version


@spec("1.1", "the header byte by byte")
def test_a_header_in_pieces_is_served(raw: Wire) -> None:
    for byte in PROTOCOL_HEADER[:-1]:
        raw.send_raw(bytes([byte]))
    raw.greet(PROTOCOL_HEADER[-1:])


# --- 1.2 connection.start


@spec("1.2")
def test_start_says_who_the_server_is_and_what_it_can(raw: Wire, broker: Broker) -> None:
    start = raw.greet()
    properties = start.server_properties
    assert {"product", "version", "platform", "cluster_name", "information", "copyright", "capabilities"} <= set(properties)
    assert list(properties) == sorted(properties)
    assert properties["product"] == "RabbitMQ"
    assert properties["version"] == expect_on(broker, leveret="3.13.7", rabbitmq="3.10.8")
    assert properties["capabilities"] == dict.fromkeys(
        [
            "publisher_confirms",
            "exchange_exchange_bindings",
            "basic.nack",
            "consumer_cancel_notify",
            "connection.blocked",
            "consumer_priorities",
            "authentication_failure_close",
            "per_consumer_qos",
            "direct_reply_to",
        ],
        True,
    )
    assert set(start.mechanisms.split()) >= {"PLAIN", "AMQPLAIN"}
    assert start.locales == "en_US"


# --- 1.3 credentials


@spec("1.3")
def test_plain_and_amqplain_let_the_guest_in(sockets: Callable[[], Wire]) -> None:
    for mechanism, response in (("PLAIN", b"\x00guest\x00guest"), ("AMQPLAIN", amqplain("guest", "guest"))):
        wire = sockets()
        wire.greet()
        wire.start_ok(mechanism=mechanism, response=response)
        wire.expect(Connection.Tune)
        wire.tune_ok()
        wire.open_vhost()


@spec("1.3", "a locale that isn't offered is no reason to refuse")
def test_an_unknown_locale_is_ignored(raw: Wire) -> None:
    raw.greet()
    raw.start_ok(locale="de_DE")
    raw.expect(Connection.Tune)


@spec("1.3")
@pytest.mark.parametrize(
    ("mechanism", "response"),
    [
        ("PLAIN", b"\x00guest\x00wrong"),
        ("PLAIN", b"\x00nobody\x00guest"),
        ("PLAIN", b"\x00guest\x00"),
        ("AMQPLAIN", amqplain("guest", "wrong")),
        ("AMQPLAIN", amqplain("nobody", "guest")),
    ],
)
def test_wrong_credentials_are_told_to_clients_that_can_hear_it(raw: Wire, mechanism: str, response: bytes) -> None:
    raw.greet()
    raw.start_ok(mechanism=mechanism, response=response, capabilities=FAILURE_CLOSE)
    raw.expect_close(403, REFUSED.format(mechanism), (0, 0), reply=False)


@spec("1.3", "without the capability silence, in every other failure of the handshake too; closed after 3 s")
def test_a_failed_handshake_ends_in_silence_after_three_seconds(sockets: Callable[[], Wire]) -> None:
    def answer(**response: object) -> Step:
        return lambda wire: (wire.greet(), wire.start_ok(**response))  # type: ignore[arg-type]

    took = end_together(
        sockets,
        {
            "wrong password": answer(password="wrong", capabilities={}),
            "unknown user": answer(user="nobody", capabilities={}),
            "unknown mechanism": answer(mechanism="FOO", response=b"", capabilities=FAILURE_CLOSE),
            "malformed PLAIN": answer(response=b"nonsense", capabilities=FAILURE_CLOSE),
            "PLAIN with one part": answer(response=b"\x00guest", capabilities=FAILURE_CLOSE),
            "PLAIN with an authorization id": answer(response=b"admin\x00guest\x00guest", capabilities=FAILURE_CLOSE),
            "AMQPLAIN without LOGIN": answer(mechanism="AMQPLAIN", response=table({"PASSWORD": "guest"})[4:], capabilities=FAILURE_CLOSE),
            "AMQPLAIN that is no table": answer(mechanism="AMQPLAIN", response=b"junk!", capabilities=FAILURE_CLOSE),
            "open before start-ok": lambda wire: (wire.greet(), wire.send_method(0, Connection.Open)),
            "tune-ok before start-ok": lambda wire: (wire.greet(), wire.tune_ok()),
            "close before start-ok": lambda wire: (wire.greet(), wire.send_method(0, Connection.Close)),
            "channel.open before start-ok": lambda wire: (wire.greet(), wire.send_method(1, Channel.Open)),
            "a body before start-ok": lambda wire: (wire.greet(), wire.send_frame(BODY, 1, b"x")),
            "a wrong frame end": lambda wire: (wire.greet(), wire.send_frame(METHOD, 0, b"x", end=1)),
            "an undecodable start-ok": lambda wire: (wire.greet(), wire.send_frame(METHOD, 0, b"\x00\x0a\x00\x0b\x00")),
            "start-ok twice": lambda wire: (tuned(wire), wire.start_ok()),
            "open before tune-ok": lambda wire: (tuned(wire), wire.send_method(0, Connection.Open)),
            "channel.open before tune-ok": lambda wire: (tuned(wire), wire.send_method(1, Channel.Open)),
            "an undecodable open": lambda wire: (tuned(wire), wire.tune_ok(), wire.send_frame(METHOD, 0, b"\x00\x0a\x00\x28\xff")),
            "frame_max below 4096": lambda wire: tuned(wire).tune_ok(2047, 4095, 0),
            "frame_max above the server's": lambda wire: tuned(wire).tune_ok(2047, 131073, 0),
            "frame_max 0": lambda wire: tuned(wire).tune_ok(2047, 0, 0),
            "channel_max above the server's": lambda wire: tuned(wire).tune_ok(2048, 131072, 0),
            "channel_max 0": lambda wire: tuned(wire).tune_ok(0, 131072, 0),
        },
    )
    assert all(2.5 < seconds < 8 for seconds in took.values()), took


@spec("1.1", "fewer than 8 bytes: closed at the handshake deadline")
@spec("1.11", "handshake not finished in 10 s: closed")
@spec("1.3", "a heartbeat in the handshake is ignored")
def test_a_handshake_must_end_within_ten_seconds(sockets: Callable[[], Wire]) -> None:
    took = end_together(
        sockets,
        {
            "silence": lambda wire: None,
            "half a header": lambda wire: wire.send_raw(b"AMQP"),
            "no start-ok": lambda wire: wire.greet(),
            "half a start-ok": lambda wire: (wire.greet(), wire.send_raw(b"\x01\x00\x00\x00\x00\x01\x00\x00\x0a")),
            "a heartbeat for start-ok": lambda wire: (wire.greet(), wire.send_frame(HEARTBEAT, 0, b"")),
            "no tune-ok": tuned,
            "no open": lambda wire: tuned(wire).tune_ok(),
        },
    )
    assert all(9 < seconds < 14 for seconds in took.values()), took


# --- 1.4 tune


@spec("1.4")
def test_the_server_proposes_its_limits(raw: Wire) -> None:
    raw.greet()
    raw.start_ok()
    raw.expect(Connection.Tune, 0, channel_max=2047, frame_max=131072, heartbeat=60)


@spec("1.4")
def test_a_client_may_ask_for_less(connect: Connect, broker: Broker) -> None:
    channel = connect(channel_max=3, frame_max=4096, heartbeat=0).open_channel()
    queue = channel.queue()
    channel.publish("", queue, b"x" * 10_000)
    message = channel.take(queue)
    assert message.body == b"x" * 10_000
    assert message.frames == [4088, 4088, 1824]


# --- 1.5 open


@spec("1.5")
@pytest.mark.parametrize("vhost", ["nope", "", "/ "])
def test_a_missing_vhost(raw: Wire, vhost: str) -> None:
    tuned(raw).tune_ok()
    raw.send_method(0, Connection.Open, virtual_host=vhost)
    raw.expect_close(530, f"NOT_ALLOWED - vhost {vhost} not found", (10, 40))


@spec("1.5")
@pytest.mark.parametrize(
    ("method", "ids"),
    [
        (Connection.Open, (10, 40)),
        (Connection.StartOk, (10, 11)),
        (Connection.TuneOk, (10, 31)),
        (Connection.CloseOk, (10, 51)),
        (Connection.Blocked, (10, 60)),
        (Channel.Open, (20, 10)),
        (Basic.Qos, (60, 10)),
        (Queue.Declare, (50, 10)),
    ],
)
def test_a_method_that_channel_0_does_not_expect(wire: Wire, method: type, ids: tuple[int, int]) -> None:
    wire.send_method(0, method)
    wire.expect_close(504, "CHANNEL_ERROR - unexpected method in connection state running", ids)


@spec("1.5")
@pytest.mark.parametrize(("method", "ids"), [(Connection.Close, (10, 50)), (Connection.Open, (10, 40)), (Connection.TuneOk, (10, 31))])
def test_a_connection_method_on_another_channel(channel: WireChannel, method: type, ids: tuple[int, int]) -> None:
    channel.send(method)
    channel.expect_connection_close(503, "COMMAND_INVALID - unimplemented method", ids)


# --- 1.6 heartbeats


@spec("1.6")
def test_heartbeats_come_at_half_the_interval(connect: Connect) -> None:
    wire = connect(heartbeat=2)
    begin = time.monotonic()
    for _ in range(2):
        frame = wire.next_frame(heartbeats=True)
        assert (frame.type, frame.channel, frame.payload) == (HEARTBEAT, 0, b"")
        wire.send_frame(HEARTBEAT, 0, b"")
    assert 1.4 < time.monotonic() - begin < 4


@spec("1.6", "two to three intervals without a byte from the peer end it, socket only")
@spec("1.4", "heartbeat 0 turns it off")
def test_a_silent_peer_is_dropped(connect: Connect) -> None:
    quiet, ticking = connect(heartbeat=0), connect(heartbeat=1)
    assert 1.5 < ticking.expect_eof() < 4.5
    quiet.nothing_more()


@spec("1.6", "any byte counts")
def test_half_a_frame_keeps_the_connection_alive(connect: Connect) -> None:
    """A byte with each of the server's heartbeats, for longer than silence lasts; RabbitMQ sends two in an interval of a second."""
    wire = connect(heartbeat=1)
    wire.open_channel()
    left = iter(frame_bytes(METHOD, 1, b"\x00\x14\x00\x14\x01"))  # channel.flow
    begin = time.monotonic()
    while time.monotonic() < begin + 3.5:
        wire.send_raw(bytes([next(left)]))
        assert wire.next_frame(heartbeats=True).type == HEARTBEAT
    wire.send_raw(bytes(left))
    wire.expect(Channel.FlowOk)


# --- 1.9 the end


@spec("1.9", "after its close-ok the server leaves it to the client to end the socket, for min(heartbeat, 30 s)")
def test_a_clean_close(connect: Connect) -> None:
    wire = connect(heartbeat=1)
    wire.open_channel()
    wire.send_method(0, Connection.Close, reply_code=200, reply_text="goodbye")
    wire.expect(Connection.CloseOk, 0)
    wire.expect_eof()


@spec("1.9", "what follows the client's close is not answered")
def test_nothing_is_served_after_close(channel: WireChannel) -> None:
    wire = channel.wire
    wire.send_method(0, Connection.Close, reply_code=200, reply_text="goodbye")
    try:
        wire.send_method(1, Queue.Declare, queue="", exclusive=True)
    except OSError:
        pass  # the broker may be gone already
    wire.expect(Connection.CloseOk, 0)
    wire.half_close()
    wire.expect_eof()


@spec("1.9", "after an error the server waits for close-ok and answers a client's close with close-ok")
def test_both_sides_close_at_once(channel: WireChannel) -> None:
    wire = channel.wire
    channel.send(Channel.Open)
    wire.expect_close(504, "CHANNEL_ERROR - second 'channel.open' seen", (20, 10), reply=False)
    wire.send_method(0, Connection.Close, reply_code=200, reply_text="")
    wire.expect(Connection.CloseOk, 0)
    wire.send_method(0, Connection.CloseOk)
    wire.expect_eof()


@spec("1.9", "methods that were on their way when the server closed are dropped")
def test_nothing_is_served_after_an_error(channel: WireChannel, other: WireChannel, unique: Callable[[str], str]) -> None:
    name = unique("late")
    channel.send(Channel.Open)
    channel.send(Queue.Declare, queue=name)
    channel.expect_connection_close(504)
    other.send(Queue.Declare, queue=name, passive=True)
    other.expect_close(404)


@spec("1.9", "reply text is cut at 252 bytes + ...")
def test_a_long_reply_text_is_cut(channel: WireChannel) -> None:
    name = "q" * 255
    channel.send(Queue.Declare, queue=name, passive=True)
    close = channel.expect_close(404)
    assert close.reply_text == ("NOT_FOUND - no queue '" + name)[:252] + "..."


@spec("1.11")
def test_update_secret_is_answered(wire: Wire) -> None:
    wire.call(0, Connection.UpdateSecret, new_secret="guest", reason="rotation")
    wire.nothing_more()


@spec("1.11", "channel_max limits how many channels are open, not their numbers")
def test_one_channel_too_many(connect: Connect) -> None:
    wire = connect(channel_max=2)
    wire.open_channel(1)
    high = wire.open_channel(2)
    high.close()
    wire.open_channel(2)
    wire.send_method(3, Channel.Open)
    wire.expect_close(530, "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)", (0, 0))


@spec("1.11")
def test_channel_numbers_may_exceed_channel_max(connect: Connect) -> None:
    wire = connect(channel_max=2)
    wire.open_channel(65535)
    wire.open_channel(7)


# --- 1.12 loss of the connection


@spec("1.12", "exclusive queues deleted; connection.close-ok is sent after they are gone")
def test_exclusive_queues_are_gone_at_close_ok(channel: WireChannel, other: WireChannel) -> None:
    queue = channel.queue()
    channel.wire.close()
    other.send(Queue.Declare, queue=queue, passive=True)
    other.expect_close(404, f"NOT_FOUND - no queue '{queue}' in vhost '/'", (50, 10))


@spec("1.12", "unacked back in their old positions with redelivered")
@pytest.mark.parametrize("end", ["close", "abort", "reset"])
def test_unacked_messages_return_when_the_connection_ends(
    channel: WireChannel, other: WireChannel, unique: Callable[[str], str], end: str
) -> None:
    queue = channel.queue(unique("work"), durable=True)
    channel.publish_confirmed("", queue, b"1", b"2", b"3", b"4")
    assert [channel.take(queue, no_ack=False).body for _ in range(3)] == [b"1", b"2", b"3"]
    channel.ack(2)
    getattr(channel.wire, end)()
    eventually(lambda: other.counts(queue)[0] == 3)
    messages = [other.take(queue) for _ in range(3)]
    assert [(message.body, message.method.redelivered) for message in messages] == [(b"1", True), (b"3", True), (b"4", False)]


@spec("1.12", "consumers gone, auto-delete queues that lost their last consumer deleted")
@pytest.mark.parametrize("end", ["close", "abort"])
def test_consumers_and_their_auto_delete_queues_go_with_the_connection(
    channel: WireChannel, other: WireChannel, unique: Callable[[str], str], end: str
) -> None:
    kept, passing, untouched = unique("kept"), unique("passing"), unique("untouched")
    channel.queue(kept, durable=True)
    channel.queue(passing, auto_delete=True)
    channel.queue(untouched, auto_delete=True)
    channel.consume(kept)
    channel.consume(passing)
    other.expect_counts(kept, 0, 1)
    getattr(channel.wire, end)()
    eventually(lambda: other.counts(kept) == (0, 0))
    eventually(lambda: is_missing(other, passing))
    other.expect_counts(untouched, 0, 0)


def is_missing(channel: WireChannel, queue: str) -> bool:
    """Asked on a channel of its own, which a 404 may close."""
    probe = channel.wire.open_channel(channel.number + 500)
    probe.send(Queue.Declare, queue=queue, passive=True)
    frame = channel.wire.next_frame(probe.number)
    missing = isinstance(frame.method, Channel.Close)
    if missing:
        probe.send(Channel.CloseOk)
    else:
        probe.close()
    return missing


@spec("1.12", "channel.close-ok after the unacked are back")
def test_unacked_messages_are_back_at_channel_close_ok(channel: WireChannel, other: WireChannel, unique: Callable[[str], str]) -> None:
    queue = channel.queue(unique("work"), durable=True)
    channel.publish_confirmed("", queue, *(b"%d" % number for number in range(20)))
    channel.consume(queue)
    channel.deliveries(20)
    channel.close()
    other.expect_counts(queue, 20, 0)


@spec("1.13")
def test_access_request_gets_a_ticket(channel: WireChannel) -> None:
    assert channel.call(Access.Request, realm="/data", active=True).ticket == 1


@spec("1", "nobody else notices what one connection does wrong")
def test_other_connections_do_not_notice(broker: Broker, channel: WireChannel) -> None:
    queue = channel.queue()
    for garbage in (b"\xff" * 4096, PROTOCOL_HEADER + b"\xff" * 4096, PROTOCOL_HEADER + b"\x01\x00\x00\x7f\xff\xff\xff"):
        with Wire(broker) as hostile:
            hostile.send_raw(garbage)
    channel.publish("", queue, b"still here")
    assert channel.take(queue).body == b"still here"


@spec("1.7", "a frame that is never finished costs nobody anything")
def test_a_connection_that_stops_in_a_frame(connect: Connect, channel: WireChannel) -> None:
    stuck = connect()
    stuck.send_raw(frame_bytes(METHOD, 1, octets("x" * 100_000))[:50_000])
    queue = channel.queue()
    channel.publish("", queue, b"hello")
    assert channel.take(queue).body == b"hello"
    stuck.half_close()
    with pytest.raises(ConnectionEnded):
        stuck.next_frame()


@spec("1.2", "Leveret gives its own name and version beside those it is compatible with")
@differs(rabbitmq="3.10", why="it is RabbitMQ itself")
def test_the_server_names_itself(raw: Wire, broker: Broker) -> None:
    properties = raw.greet().server_properties
    names = (properties.get("product_name"), "leveret_version" in properties)
    assert names == expect_on(broker, leveret=("Leveret", True), rabbitmq=(None, False))

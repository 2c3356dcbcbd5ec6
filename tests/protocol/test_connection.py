"""The protocol machine, a conversation a test: handshake, states, frames, content, and how it ends."""

import struct
from typing import Any

import pytest

from protocol import codec
from protocol.connection import ServerConnection
from protocol.constants import FRAME_MAX_BYTES
from protocol.errors import ChannelException, ConnectionException, HandshakeFailed
from protocol.events import Tuning
from protocol.methods import CLASSES, Basic, Channel, Connection, Exchange, Method, Queue, Tx, ids, make
from protocol.replies import INITIAL_FRAME_MAX_BYTES
from protocol.states import CLIENT_CHANNEL_METHODS, CONNECTION_TABLE, HANDSHAKE, SENT_TABLE, ConnectionState
from tests.protocol import state_page
from tests.protocol.playbook import (
    BODY,
    HEADER,
    HEARTBEAT,
    METHOD,
    PROTOCOL_HEADER,
    REFUSED,
    TUNING,
    Acked,
    Broker,
    Feed,
    Peer,
    Published,
    ack,
    any_method,
    body,
    close_channel,
    close_channel_ok,
    close_connection,
    close_connection_ok,
    content_header,
    cut_at,
    header,
    heard,
    heartbeat,
    message,
    one_by_one,
    open_channel,
    open_connection,
    publish,
    raw,
    running,
    said,
    start_ok,
    tune_ok,
    whole,
)
from tests.spec import spec

every_feed = pytest.mark.parametrize("feed", [whole, one_by_one], ids=["whole", "one by one"])
every_method = pytest.mark.parametrize("cls", CLASSES.values(), ids=lambda cls: cls.name)

EXPECTED_METHOD = "UNEXPECTED_FRAME - expected method frame, got non method frame instead"
EXPECTED_HEADER = "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead"
EXPECTED_BODY = "UNEXPECTED_FRAME - expected content body, got non content body frame instead"
PUBLISH_IDS = (60, 40)


# --- the handshake


@spec("1.2")
@every_feed
def test_the_handshake(feed: Feed) -> None:
    peer = Peer(feed)
    peer.says(PROTOCOL_HEADER)
    start = peer.hears_only(0, Connection.Start)
    assert (start.version_major, start.version_minor, start.mechanisms, start.locales) == (0, 9, b"PLAIN AMQPLAIN", b"en_US")
    peer.says(start_ok())
    tune = peer.hears_only(0, Connection.Tune)
    assert Tuning(tune.channel_max, tune.frame_max, tune.heartbeat) == TUNING
    peer.says(tune_ok(Tuning(100, 4096, 7)))
    assert peer.connection.tuning == Tuning(100, 4096, 7)
    peer.says(open_connection("/"))
    peer.hears_only(0, Connection.OpenOk)
    assert peer.state is ConnectionState.RUNNING
    assert peer.broker.hears() == [heard(start_ok()), heard(tune_ok(Tuning(100, 4096, 7))), heard(open_connection("/"))]


@spec("1.1", "AMQP 1 1 0 9 and 1 1 9 1 are old forms of 0-9 and go on to connection.start")
@every_feed
@pytest.mark.parametrize(
    ("protocol_header", "version"),
    [(b"AMQP\0\0\x09\x01", (0, 9)), (b"AMQP\1\1\0\x09", (0, 9)), (b"AMQP\1\1\x09\1", (8, 0)), (b"AMQP\1\1\x08\0", (8, 0))],
)
def test_old_protocol_headers(feed: Feed, protocol_header: bytes, version: tuple[int, int]) -> None:
    peer = Peer(feed)
    peer.says(protocol_header)
    start = peer.hears_only(0, Connection.Start)
    assert (start.version_major, start.version_minor) == version
    assert peer.broker.greeted == 1


@spec("1.1", "answer AMQP 0 0 9 1 and close; HTTP or TLS on the port: the same")
@every_feed
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"AMQP\0\1\0\0", "bad protocol header b'AMQP"),
        (b"AMQP\3\1\0\0", "speaks AMQP 0-9-1 only"),
        (b"AMQP\0\0\x09\x02", "bad protocol header b'AMQP"),
        (b"amqp\0\0\x09\x01", "bad protocol header b'amqp"),
        (b"GET / HTTP/1.1\r\n\r\n", "HTTP"),
        (b"OPTIONS * HTTP/1.1\r\n", "HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS"),
        (b"\0" * 8, "bad protocol header"),
        (heartbeat(), "bad protocol header"),
    ],
)
def test_another_protocol(feed: Feed, data: bytes, reason: str) -> None:
    peer = Peer(feed)
    with pytest.raises(HandshakeFailed) as caught:
        peer.says(data)
    assert reason in caught.value.reason or feed is one_by_one  # of the first 8 bytes alone HTTP isn't always known
    assert peer.connection.data_to_send() == PROTOCOL_HEADER
    assert peer.state is ConnectionState.CLOSED
    assert peer.broker.greeted == 0


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_protocol_header_in_two_reads(cut: int) -> None:
    peer = Peer(cut_at([cut]))
    peer.says(PROTOCOL_HEADER + start_ok())
    assert [type(method) for _, method in peer.hears()] == [Connection.Start, Connection.Tune]


@spec("1.1", "fewer than 8 bytes: closed at the handshake deadline")
def test_less_than_a_protocol_header_is_waited_for() -> None:
    for size in range(8):
        peer = Peer()
        peer.says(b"GET / HT"[:size])
        assert (peer.state, peer.connection.buffered_bytes, peer.flushes) == (ConnectionState.WAITING_HEADER, size, 0)


def peer_in(state: ConnectionState, feed: Feed = whole) -> Peer:
    """A conversation that stands in `state`; what was said so far is forgotten."""
    peer = Peer(feed) if state in HANDSHAKE else running(feed)
    for step in (PROTOCOL_HEADER, start_ok(), tune_ok()) if state in HANDSHAKE else ():
        if peer.state is state:
            break
        peer.says(step)
        if state is ConnectionState.SECURING:
            peer.connection.send(0, make(Connection.Secure, challenge=b"?"))
    if state is ConnectionState.CLOSING:
        peer.connection.close(ConnectionException(320, "bye"))
    if state is ConnectionState.CLOSED:
        peer.says(close_connection())
    assert peer.state is state
    peer.hears()
    peer.broker.hears()
    return peer


@spec("1.3", "methods out of the handshake's order: no frame, closed after 3 s")
@spec("1.5", "a channel method on channel 0: 504 `CHANNEL_ERROR - unexpected method in connection state running`")
@pytest.mark.parametrize("state", ConnectionState, ids=lambda state: state.name)
@every_method
def test_every_state_and_method(state: ConnectionState, cls: type[Method]) -> None:
    peer = peer_in(state)
    peer.broker.answers = False
    frame = any_method(0, cls)
    after = CONNECTION_TABLE.get((state, cls))
    if after is not None:
        peer.says(frame)
        assert peer.broker.hears() == [said(0, make(cls))]
        assert peer.state is after
        return
    if state is ConnectionState.WAITING_HEADER:
        with pytest.raises(HandshakeFailed):
            peer.says(frame)
        assert peer.connection.data_to_send() == PROTOCOL_HEADER
    elif state in HANDSHAKE:
        assert peer.is_turned_away(frame) == f"{cls.name} in state {state.value}"
    elif state is ConnectionState.RUNNING:
        peer.breaks(frame, 504, "CHANNEL_ERROR - unexpected method in connection state running", ids(cls))
    else:
        peer.says(frame)
        assert peer.state is state
    assert peer.broker.hears() == []


@pytest.mark.parametrize("state", ConnectionState, ids=lambda state: state.name)
@pytest.mark.parametrize(("cls", "after"), SENT_TABLE.items(), ids=lambda value: getattr(value, "name", None))
def test_what_is_sent_moves_the_state(state: ConnectionState, cls: type[Method], after: ConnectionState) -> None:
    peer = peer_in(state)
    peer.connection.send(0, make(cls))
    assert peer.state is after
    peer.hears_only(0, cls)


@pytest.mark.parametrize("state", [ConnectionState.STARTING, ConnectionState.TUNING, ConnectionState.OPENING], ids=lambda state: state.name)
@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (open_channel(1), "frame of type 1 on channel 1 in state"),
        (raw(HEADER, 0, bytes(14)), "frame of type 2 on channel 0 in state"),
        (raw(BODY, 1, b"x"), "frame of type 3 on channel 1 in state"),
        (raw(9, 0, b""), "frame of type 9 on channel 0 in state"),
        (raw(HEARTBEAT, 1, b""), "frame of type 8 on channel 1 in state"),
        (raw(HEARTBEAT, 0, b"x"), "frame of type 8 on channel 0 in state"),
        (raw(HEARTBEAT, 0, b"", 0), "type 8, all octets = <<>>: {invalid_frame_end_marker,0}"),
        (raw(METHOD, 0, b"\0\x0a\0\x0b"), "cannot decode <<>>"),
        (raw(METHOD, 0, b"\0\x0a\0\x63"), "unknown method {10,99}"),
        (raw(METHOD, 0, b""), "unknown_frame"),
        (struct.pack(">BHI", METHOD, 0, FRAME_MAX_BYTES + 1), "frame_too_large"),
    ],
)
def test_a_broken_handshake_is_not_answered(state: ConnectionState, frame: bytes, reason: str) -> None:
    assert reason in peer_in(state).is_turned_away(frame)


@spec("1.7", "a heartbeat is welcome at any time")
@pytest.mark.parametrize("state", [ConnectionState.STARTING, ConnectionState.TUNING, ConnectionState.OPENING], ids=lambda state: state.name)
def test_heartbeats_in_the_handshake(state: ConnectionState) -> None:
    peer = peer_in(state)
    peer.says(heartbeat(), heartbeat())
    assert peer.state is state
    assert peer.broker.hears() == []


def test_before_tune_ok_frames_are_short() -> None:
    fits = any_method(0, Connection.StartOk, mechanism="PLAIN", response=b"x" * (INITIAL_FRAME_MAX_BYTES - 19))
    assert len(fits) == INITIAL_FRAME_MAX_BYTES + 8
    peer = Peer()
    peer.says(PROTOCOL_HEADER, fits)
    assert peer.state is ConnectionState.TUNING
    other = Peer()
    other.says(PROTOCOL_HEADER)
    other.is_turned_away(any_method(0, Connection.StartOk, mechanism="PLAIN", response=b"x" * (INITIAL_FRAME_MAX_BYTES - 18)))


# --- channels


def test_what_a_client_sends() -> None:
    """RabbitMQ 3.10.8 was sent every method on an open channel: what it called unimplemented is what this rule leaves out."""
    asked = {cls.name for cls in CLASSES.values() if not cls.name.startswith("Connection.")}
    answers = {name for name in asked if name.endswith("Ok")}
    assert asked - answers - {"Basic.Return", "Basic.Deliver", "Basic.GetEmpty"} == CLIENT_CHANNEL_METHODS


@spec("1.7", "any method on a channel not open 504")
@every_method
@pytest.mark.parametrize("was_open", [False, True])
def test_every_method_on_an_absent_channel(cls: type[Method], was_open: bool) -> None:
    peer = running(channels=[1, 7])
    if was_open:
        peer.says(close_channel(7))
        peer.broker.hears()
    number = 7 if was_open else 9
    if cls is Channel.Open:
        peer.says(any_method(number, cls))
        assert peer.broker.hears() == [said(number, make(cls))]
    else:
        peer.breaks(any_method(number, cls), 504, "CHANNEL_ERROR - expected 'channel.open'", ids(cls))
        assert peer.broker.hears() == []


@spec("1.5", "connection.* on another channel: 503 `COMMAND_INVALID - unimplemented method`")
@spec("2.1", "open twice 504 `second 'channel.open' seen`")
@every_method
def test_every_method_on_an_open_channel(cls: type[Method]) -> None:
    peer = running(channels=[1])
    frame = any_method(1, cls)
    if cls is Channel.Open:
        peer.breaks(frame, 504, "CHANNEL_ERROR - second 'channel.open' seen", ids(cls))
    elif cls.name not in CLIENT_CHANNEL_METHODS:
        peer.breaks(frame, 503, "COMMAND_INVALID - unimplemented method", ids(cls))
    elif cls is Basic.Publish:
        peer.says(frame)
        assert peer.broker.hears() == []
        peer.says(header(1, 0))
        assert peer.broker.hears() == [Published(1, "", "", 0, content_header(0), b"")]
    elif cls is Basic.Ack:
        peer.says(frame)
        assert peer.broker.hears() == [Acked(1, 0, False)]
    else:
        peer.says(frame)
        assert peer.broker.hears() == [said(1, make(cls))]
    assert peer.broker.hears() == []


@spec("2.1", "after the server closed a channel, until close-ok: channel.close gets close-ok, open is 504, all else is dropped")
@every_method
def test_every_method_on_a_closing_channel(cls: type[Method]) -> None:
    peer = running(channels=[1])
    peer.connection.write(peer.connection.close_channel(1, ChannelException(404, "no queue")))
    assert peer.hears_only(1, Channel.Close).reply_text == "NOT_FOUND - no queue"
    frame = any_method(1, cls)
    if cls is Channel.Open:
        peer.breaks(frame, 504, "CHANNEL_ERROR - second 'channel.open' seen", ids(cls))
        return
    peer.says(frame)
    assert peer.broker.hears() == []
    if cls is Channel.Close:
        peer.hears_only(1, Channel.CloseOk)
    assert peer.hears() == []
    if cls is not Channel.CloseOk:
        peer.says(raw(HEADER, 1, bytes(14)), raw(BODY, 1, b"dropped"), close_channel_ok(1))
    peer.says(open_channel(1), message(1, "x", "k", b"again"))
    assert peer.broker.hears() == [heard(open_channel(1)), Published(1, "x", "k", 0, content_header(5), b"again")]


@spec("1.8", "a method where the header belongs; a method inside a body")
@every_method
def test_every_method_inside_a_message(cls: type[Method]) -> None:
    for said_before, text in (
        (publish(1, "x", "k"), EXPECTED_HEADER),
        (publish(1, "x", "k") + header(1, 5) + body(1, b"ab"), EXPECTED_BODY),
    ):
        peer = running(channels=[1])
        peer.says(said_before)
        peer.breaks(any_method(1, cls), 505, text, PUBLISH_IDS)
        assert peer.broker.hears() == []


@spec("2.1", "numbers can be reused after close")
@every_feed
def test_a_channel_number_is_used_again(feed: Feed) -> None:
    peer = running(feed, channels=[1])
    peer.says(message(1, "x", "k", b"one"), close_channel(1), open_channel(1), message(1, "x", "k", b"two"))
    assert peer.broker.hears() == [
        Published(1, "x", "k", 0, content_header(3), b"one"),
        heard(close_channel(1)),
        heard(open_channel(1)),
        Published(1, "x", "k", 0, content_header(3), b"two"),
    ]


@spec("1.11", "channel_max limits how many channels are open, not their numbers")
def test_channel_max() -> None:
    peer = running(tuning=Tuning(2, 4096, 0))
    peer.says(open_channel(65535), open_channel(3), close_channel(3), open_channel(9))
    text = "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)"
    peer.breaks(open_channel(1), 530, text)


def test_a_channel_that_closes_counts_until_close_ok() -> None:
    peer = running(tuning=Tuning(1, 4096, 0), channels=[1])
    peer.connection.close_channel(1, ChannelException(404, "no queue"))
    peer.says(close_channel_ok(1), open_channel(2))
    peer.connection.close_channel(2, ChannelException(404, "no queue"))
    peer.breaks(open_channel(1), 530, "NOT_ALLOWED - number of channels opened (1) has reached the negotiated channel_max (1)")


def test_channel_max_0_is_no_limit() -> None:
    peer = running(tuning=Tuning(0, 4096, 0), channels=range(1, 3000))
    peer.says(open_channel(3000))
    assert peer.broker.hears() == [heard(open_channel(3000))]


# --- the end


@spec("1.9", "connection.close in both directions")
@every_feed
def test_the_peer_closes(feed: Feed) -> None:
    peer = running(feed, channels=[1])
    peer.says(message(1, "x", "k", b"abc") * 3, close_connection())
    assert len(peer.broker.hears()) == 4
    peer.hears_only(0, Connection.CloseOk)
    assert peer.state is ConnectionState.CLOSED


@spec("1.9", "what follows the client's close is not answered")
@every_feed
@pytest.mark.parametrize(
    "after",
    [
        message(1, "x", "k", b"abc") * 2,
        ack(1, 1),
        any_method(1, Queue.Declare),
        close_connection(),
        close_connection_ok(),
        header(1, 3),
        raw(99, 1, b"", 0),
        struct.pack(">BHI", BODY, 1, 2**31),
        b"GET / HTTP/1.1\r\n",
    ],
    ids=["publish", "ack", "method", "close", "close-ok", "header", "frame end", "too large", "rubbish"],
)
def test_nothing_counts_behind_the_peer_s_close(feed: Feed, after: bytes) -> None:
    peer = running(feed, channels=[1])
    peer.says(message(1, "x", "k", b"abc") * 3, close_connection(), after)
    assert len(peer.broker.hears()) == 4
    peer.hears_only(0, Connection.CloseOk)
    peer.says(after)
    peer.connection.close(ConnectionException(541, "too late"))
    assert (peer.broker.hears(), peer.hears(), peer.connection.buffered_bytes) == ([], [], 0)


@spec("1.9", "after an error the server waits for close-ok and answers a client's close with close-ok")
@every_feed
@pytest.mark.parametrize(("last", "answers"), [(close_connection_ok(), []), (close_connection(), [Connection.CloseOk])])
def test_the_broker_closes(feed: Feed, last: bytes, answers: list[type[Method]]) -> None:
    peer = running(feed, channels=[1])
    peer.says(message(1, "x", "k", b"abc") * 3, publish(1, "x", "k"))
    peer.broker.hears()
    peer.connection.close(ConnectionException(320, "bye", 1, 2))
    close = peer.hears_only(0, Connection.Close)
    assert (close.reply_code, close.reply_text, close.class_id, close.method_id) == (320, "CONNECTION_FORCED - bye", 1, 2)
    peer.says(header(1, 3), body(1, b"abc"), message(1, "x", "k", b"abc") * 3, ack(1, 1), heartbeat(), open_channel(2))
    assert (peer.broker.hears(), peer.hears(), peer.state) == ([], [], ConnectionState.CLOSING)
    peer.says(last)
    assert peer.state is ConnectionState.CLOSED
    assert [type(method) for _, method in peer.hears()] == answers


@spec("1.9", "close is said once, whatever the peer does meanwhile")
@pytest.mark.parametrize(
    "after",
    [
        raw(99, 0, b"abc"),
        raw(HEARTBEAT, 1, b""),
        raw(HEARTBEAT, 0, b"x"),
        raw(HEADER, 0, b""),
        raw(METHOD, 0, b"\0"),
        raw(METHOD, 1, b"\xff" * 9),
        any_method(0, Tx.Select),
        any_method(9, Tx.Select),
    ],
)
def test_errors_while_closing_are_dropped(after: bytes) -> None:
    peer = running(channels=[1])
    peer.breaks(any_method(1, Channel.Open), 504, "CHANNEL_ERROR - second 'channel.open' seen", (20, 10))
    peer.says(after)
    peer.connection.close(ConnectionException(541, "again"))
    assert (peer.hears(), peer.state) == ([], ConnectionState.CLOSING)
    peer.says(close_connection_ok())
    assert peer.state is ConnectionState.CLOSED


def test_what_came_with_the_error_is_read_when_the_broker_has_closed() -> None:
    peer = running(channels=[1])
    with pytest.raises(ConnectionException) as caught:
        peer.says(any_method(1, Channel.Open), message(1, "x", "k", b"abc"), close_connection())
    peer.connection.close(caught.value)
    peer.says(b"")
    assert [type(method) for _, method in peer.hears()] == [Connection.Close, Connection.CloseOk]
    assert peer.broker.hears() == [heard(close_connection())]


@spec("2.1", "content for a channel that the broker closed is dropped")
@every_feed
@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("how", ["in the event", "in the middle of a message"])
def test_the_broker_closes_a_channel(feed: Feed, before: int, how: str) -> None:
    peer = running(feed, channels=[1, 2])
    peer.says(message(1, "x", "k", b"refusal") * before)
    if how == "in the event":
        peer.says(message(1, "x", "k", REFUSED))
    else:
        peer.says(publish(1, "x", "k"), header(1, 7), body(1, b"ref"))
        peer.connection.write(peer.connection.close_channel(1, ChannelException(404, "refused", *PUBLISH_IDS)))
        peer.says(body(1, b"usal"))
    peer.broker.hears()
    assert peer.hears_only(1, Channel.Close).reply_text == "NOT_FOUND - refused"
    peer.says(message(1, "x", "k", b"refusal") * 3, ack(1, 1), raw(BODY, 1, b"stray"), message(2, "x", "k", b"refusal"))
    assert peer.broker.hears() == [Published(2, "x", "k", 0, content_header(7), b"refusal")]
    peer.says(close_channel_ok(1))
    peer.breaks(message(1, "x", "k", b"refusal"), 504, "CHANNEL_ERROR - expected 'channel.open'", PUBLISH_IDS)


# --- writing


def test_the_runtime_is_asked_for_a_flush_once_a_turn() -> None:
    peer = running()
    peer.flushes = 0
    connection = peer.connection
    for _ in range(3):
        connection.write(connection.ack(1, 1, False))
        connection.heartbeat()
        connection.wrote(0)
    assert peer.flushes == 1
    assert connection.output_bytes == 3 * (21 + 8 + 1)
    assert connection.data_to_send() == (ack(1, 1) + heartbeat()) * 3
    assert (connection.output_bytes, connection.data_to_send()) == (0, b"")
    connection.wrote(0)
    assert peer.flushes == 2


def test_a_peer_that_asks_for_more_than_is_sent_is_not_read_on() -> None:
    """Pipelined gets of large messages: half a MiB of replies a turn, and the rest when they have left."""
    reply = bytes(300_000)
    get = any_method(1, Basic.Get, queue="q")

    class Generous(Broker):
        def on_method(self, channel: int, method: Method) -> int:
            if isinstance(method, Basic.Get):
                self.wire.write(reply)
            return super().on_method(channel, method)

    peer = running(channels=[1], broker=Generous())
    connection = peer.connection
    assert connection.receive_data(get * 5 + get[:9], 10**9) is False
    for expected, done in ((2, False), (2, True), (1, True)):
        assert connection.data_to_send() == reply * expected
        assert peer.broker.hears() == [heard(get)] * expected
        assert connection.receive_data(b"", 10**9) is done
    assert connection.receive_data(get[9:], 10**9)
    assert peer.broker.hears() == [heard(get)]


def test_a_method_for_the_peer() -> None:
    peer = running()
    declare_ok = make(Queue.DeclareOk, queue="q", message_count=3, consumer_count=1)
    peer.connection.send(5, declare_ok)
    assert peer.connection.data_to_send() == raw(METHOD, 5, codec.encode_method(declare_ok))
    assert peer.state is ConnectionState.RUNNING
    assert peer.connection.method(7, make(Exchange.DeclareOk)) == raw(METHOD, 7, b"\0\x28\0\x0b")
    assert peer.connection.data_to_send() == b""


def test_the_names_of_the_states_are_rabbitmq_s() -> None:
    names: dict[str, Any] = {state.name: state.value for state in ConnectionState}
    assert names["RUNNING"] == "running"
    assert len(set(names.values())) == len(names)
    assert isinstance(ServerConnection(Broker(), TUNING, 1, lambda: None).state, ConnectionState)


def test_the_page_about_the_states_is_up_to_date() -> None:
    assert state_page.PAGE.read_text(encoding="utf-8") == state_page.render(), "run python -m tests.protocol.state_page"

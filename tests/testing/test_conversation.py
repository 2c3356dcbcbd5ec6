"""What clients and broker said to each other, in words."""

import re
import threading
from typing import Any

import pika
import pika.exceptions
import pytest
from pamqp.commands import Basic, Channel, Connection, Queue

from tests.runtime.process import soon
from tests.testing.box import Box
from tests.testing.supervised import Supervised
from tests.wire import Wire

LINE = re.compile(r"^ +([+-][\d,.]+) +(\d*) *(->|<-|--) (.*)$")


def said(box: Box, heading: str = "") -> list[str]:
    """`channel way text` of each line of the connection whose heading begins like that."""
    text: str = box.ask("GET", "/conversations")
    parts = [part for part in text.split("\n\n")[1:] if part.startswith(heading)]
    assert len(parts) == 1, text
    lines = []
    for line in parts[0].splitlines()[1:]:
        found = LINE.match(line)
        lines.append(" ".join(filter(None, found.groups()[1:])) if found else line.strip())
    return lines


def test_a_whole_conversation(box: Box) -> None:
    wire = box.wire("worker")
    channel = wire.open_channel()
    channel.queue("orders", exclusive=False)
    channel.qos(2)
    channel.consume("orders", "ctag1")
    channel.publish("", "orders", b'{"id": 7}', content_type="application/json", message_id="m1", headers={"a": 1})
    channel.nack(channel.deliver().tag)
    channel.ack(channel.deliver().tag)
    channel.publish("", "nowhere", b"x", mandatory=True)
    channel.returned()
    channel.cancel("ctag1")
    channel.publish("", "orders", b"y")
    channel.take("orders")
    wire.close()
    box.wait("connection", count=0)
    message = "9 bytes {\"id\": 7}, headers={'a': 1}, message_id='m1'"
    assert said(box, "worker") == [
        "-- connection.start mechanisms='PLAIN AMQPLAIN'",
        "-> connection.start-ok client-properties={'product': 'tests.wire', 'connection_name': 'worker'} mechanism='PLAIN'",
        "<- connection.tune channel-max=2047 frame-max=131072 heartbeat=60",
        "-> connection.tune-ok channel-max=2047 frame-max=131072",
        f"-> connection.open virtual-host='{box.vhost}'",
        "<- connection.open-ok",
        "1 -> channel.open",
        "1 <- channel.open-ok",
        "1 -> queue.declare queue='orders'",
        "1 <- queue.declare-ok queue='orders' message-count=0 consumer-count=0",
        "1 -> basic.qos prefetch-count=2",
        "1 <- basic.qos-ok",
        "1 -> basic.consume queue='orders' consumer-tag='ctag1'",
        "1 <- basic.consume-ok consumer-tag='ctag1'",
        f"1 -> basic.publish exchange='' key='orders', {message}",
        f"1 <- basic.deliver #1 consumer='ctag1' queue='orders', {message}, exchange='' key='orders'",
        "1 -> basic.nack #1 requeue",
        f"1 <- basic.deliver #2 consumer='ctag1' redelivered queue='orders', {message}, exchange='' key='orders'",
        "1 -> basic.ack #2",
        "1 -> basic.publish exchange='' key='nowhere' mandatory, 1 byte 'x'",
        "1 <- basic.return 312 NO_ROUTE exchange='' key='nowhere', 1 byte 'x'",
        "1 -> basic.cancel consumer-tag='ctag1'",
        "1 <- basic.cancel-ok consumer-tag='ctag1'",
        "1 -> basic.publish exchange='' key='orders', 1 byte 'y'",
        "1 -> basic.get queue='orders' no-ack",
        "1 <- basic.get-ok delivery-tag=3 routing-key='orders', 1 byte 'y'",
        "-> connection.close reply-code=200 reply-text='bye'",
        "<- connection.close-ok",
        "-- closed",
    ]


def test_like_things_are_counted(box: Box) -> None:
    channel = box.wire("publisher").open_channel()
    channel.queue("q")
    channel.confirm_select()
    for index in range(500):
        channel.publish("", "q", b"%d" % index)
    channel.confirms(500)
    lines = said(box, "publisher")
    publishes = [line for line in lines if "basic.publish exchange" in line]
    assert [line.rpartition(" ")[2] for line in publishes[:3]] == ["'0'", "'1'", "'2'"]
    assert publishes[-1] == "1 -> basic.publish exchange='' key='q', 3 bytes '499'"
    assert any("basic.ack of" in line for line in lines)
    counted = [int(count.replace(",", "")) for line in lines for count in re.findall(r"([\d,]+) (?:-> basic.publish|more like this)", line)]
    assert 450 <= sum(counted) + len(publishes) <= 550, lines
    assert len(lines) < 50


def test_no_secret_is_kept(testing_broker: Supervised, box: Box) -> None:
    secret = box.password
    wire = box.wire("worker")
    wire.send_method(0, Connection.UpdateSecret, new_secret="a-new-token", reason="it expires")
    wire.expect(Connection.UpdateSecretOk)
    with Wire(testing_broker) as refused:
        refused.greet()
        refused.start_ok(box.user, f"{secret}-wrong")
        refused.expect(Connection.Close)
    soon(lambda: "invalid credentials" in box.ask("GET", "/report"))
    text = box.ask("GET", "/conversations") + box.ask("GET", "/report")
    assert "connection.update-secret reason='it expires'" in text
    assert secret not in text and "a-new-token" not in text


def test_errors_with_code_and_text(box: Box) -> None:
    wire = box.wire("worker")
    channel = wire.open_channel()
    channel.send(Queue.Declare, queue="nix", passive=True)
    channel.expect_close(404)
    assert f"1 <- channel.close 404 NOT_FOUND - no queue 'nix' in vhost '{box.vhost}'" in said(box, "worker")
    wire.send_method(7, Basic.Get, queue="q")
    wire.expect_close(504)
    assert "<- connection.close 504 CHANNEL_ERROR - expected 'channel.open'" in said(box, "worker")


def test_a_client_that_is_gone(box: Box) -> None:
    box.wire("worker").abort()
    box.wait("connection", count=0)
    assert said(box, "worker")[-1] == "-- the client is gone without connection.close"


def test_a_client_that_closes_for_a_reason(box: Box) -> None:
    wire = box.wire("worker")
    channel = wire.open_channel()
    channel.call(Channel.Close, reply_code=541, reply_text="oh no")
    assert "1 -> channel.close 541 oh no" in said(box, "worker")


def test_heartbeats_are_left_out(box: Box) -> None:
    wire = box.wire("worker", heartbeat=1)
    for _ in range(3):
        wire.send_raw(b"\x08\0\0\0\0\0\0\xce")
    wire.next_frame(heartbeats=True)
    wire.nothing_more()
    assert not [line for line in said(box, "worker")[6:] if "channel." not in line]


def test_connections_that_are_closed_are_kept_up_to_a_number(box: Box) -> None:
    for index in range(110):
        box.wire(f"worker-{index}").close()
    box.wait("connection", count=0)
    text = box.ask("GET", "/conversations")
    assert text.count("user '") == 100
    assert "worker-109 " in text and "worker-9 " not in text


def test_times_are_real_and_rise(box: Box) -> None:
    channel = box.wire("worker").open_channel()
    channel.queue("q")
    text = box.ask("GET", "/conversations")
    times = [float(found[1]) for line in text.splitlines() if (found := LINE.match(line))]
    assert times == sorted(times) and times[0] >= 0 and times[-1] < 10
    assert "real)" not in text


def test_pika_and_a_thread(box: Box) -> None:
    """What a client library says comes out as it is in AMQP's words."""
    got = threading.Event()
    with pika.BlockingConnection(box.pika("worker")) as connection:
        channel = connection.channel()
        channel.queue_declare("q", arguments={"x-max-length": 5})
        channel.basic_publish("", "q", b"hello", pika.BasicProperties(delivery_mode=2, expiration="60000"))

        def handle(_channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
            channel.basic_ack(method.delivery_tag)
            got.set()

        channel.basic_consume("q", handle, consumer_tag="c")
        while not got.is_set():
            connection.process_data_events(1)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker):
            channel.queue_declare("q", durable=True)
    lines = said(box, "worker")
    assert "1 -> queue.declare queue='q' arguments={'x-max-length': 5}" in lines
    assert "1 -> basic.publish exchange='' key='q', 5 bytes 'hello', persistent, expiration='60000'" in lines
    assert "1 <- basic.deliver #1 consumer='c' queue='q', 5 bytes 'hello', persistent, expiration='60000', exchange='' key='q'" in lines
    assert "1 -> basic.ack #1" in lines
    assert any(line.startswith("1 <- channel.close 406 PRECONDITION_FAILED - inequivalent arg 'durable'") for line in lines)

"""Connections that are dropped or closed, channels that are closed, frames that are cut: what clients see, and what has happened then."""

import asyncio
import struct
import time

import aio_pika
import pika
import pytest
from pamqp.commands import Basic, Connection, Queue
from pika.adapters.blocking_connection import BlockingChannel

from tests.runtime.process import publish_bytes, soon
from tests.testing.lab import LOST, PERSISTENT, Lab, is_quiet, run
from tests.wire import ConnectionEnded

# --- dropped ------------------------------------------------------------------------------------------------------------


def test_before_the_third_publish(lab: Lab) -> None:
    channel = lab.publisher()
    with lab.fault("drop_connection", on="basic.publish", when="before", skip=2) as fault:
        for body in (b"0", b"1"):
            channel.basic_publish("", "q", body, PERSISTENT)
        with pytest.raises(LOST):
            channel.basic_publish("", "q", b"2", PERSISTENT)
        assert fault.hits == 1
    assert lab.bodies() == [b"0", b"1"]


def test_after_the_third_publish_the_publisher_never_knew(lab: Lab) -> None:
    channel = lab.publisher()
    with lab.fault("drop_connection", on="basic.publish", when="after", skip=2):
        for body in (b"0", b"1"):
            channel.basic_publish("", "q", body, PERSISTENT)
        with pytest.raises(LOST):
            channel.basic_publish("", "q", b"2", PERSISTENT)
    assert lab.bodies() == [b"0", b"1", b"2"]


def test_after_the_third_confirm(lab: Lab) -> None:
    channel = lab.wire_channel("q")
    channel.confirm_select()
    with lab.fault("drop_connection", on="confirm", when="after", skip=2):
        channel.wire.send_raw(b"".join(publish_bytes(1, "", "q", b"%d" % number, delivery_mode=2) for number in range(5)))
        assert channel.confirms(3) == {1: True, 2: True, 3: True}
        channel.wire.expect_eof()
    assert lab.bodies() == [b"0", b"1", b"2", b"3", b"4"], "it had taken them all"


def ack_all(channel: BlockingChannel) -> None:
    for method, _, _ in channel.consume("q"):
        channel.basic_ack(method.delivery_tag)


def test_the_consumer_crashed_before_its_ack_reached_us(lab: Lab) -> None:
    lab.publisher().basic_publish("", "q", b"once")
    channel = lab.channel()
    with lab.fault("drop_connection", on="basic.ack", when="before"), pytest.raises(LOST):
        ack_all(channel)
    assert lab.wire().open_channel().take("q").method.redelivered


def test_the_ack_was_taken_but_the_client_never_knew(lab: Lab) -> None:
    lab.publisher().basic_publish("", "q", b"once")
    channel = lab.channel()
    with lab.fault("drop_connection", on="basic.ack", when="after"), pytest.raises(LOST):
        ack_all(channel)
    assert lab.bodies() == []


@pytest.mark.parametrize("no_ack", [False, True])
def test_right_after_the_second_delivery_was_sent(lab: Lab, no_ack: bool) -> None:
    publisher = lab.publisher()
    for body in (b"0", b"1", b"2", b"3"):
        publisher.basic_publish("", "q", body)
    channel = lab.wire_channel()
    with lab.fault("drop_connection", on="basic.deliver", when="after", skip=1) as fault:
        channel.consume("q", no_ack=no_ack)
        assert [message.body for message in channel.deliveries(2)] == [b"0", b"1"]
        channel.wire.expect_eof()
        assert fault.facts["last"]["method"] == "basic.deliver"
    assert lab.bodies() == ([b"2", b"3"] if no_ack else [b"0", b"1", b"2", b"3"])


def test_before_the_second_delivery(lab: Lab) -> None:
    publisher = lab.publisher()
    for body in (b"0", b"1"):
        publisher.basic_publish("", "q", body)
    channel = lab.wire_channel()
    with lab.fault("drop_connection", on="basic.deliver", when="before", skip=1):
        channel.consume("q", no_ack=True)
        assert channel.deliver().body == b"0"
        channel.wire.expect_eof()
    assert lab.bodies() == [b"1"]


def test_of_two_consumers_only_the_one_that_fits(lab: Lab) -> None:
    publisher = lab.publisher()
    good, bad = lab.wire_channel(name="good"), lab.wire_channel(name="bad")
    for channel in (good, bad):
        channel.consume("q")
    with lab.fault("drop_connection", on="basic.deliver", when="after", client_name="bad"):
        for number in range(4):
            publisher.basic_publish("", "q", b"%d" % number)
        assert bad.deliver().body in (b"0", b"1")
        bad.wire.expect_eof()
        assert sorted(message.body for message in good.deliveries(4)) == [b"0", b"1", b"2", b"3"]
    good.nothing_more("q")


def test_what_was_said_before_it_in_the_same_read_counts(lab: Lab) -> None:
    channel = lab.wire_channel("q")
    with lab.fault("drop_connection", on="basic.publish", when="before", skip=700):
        channel.wire.send_raw(b"".join(publish_bytes(1, "", "q", b"%d" % number) for number in range(1000)))
        channel.wire.expect_eof()
    assert len(lab.bodies()) == 700


def test_with_a_tcp_reset(lab: Lab) -> None:
    wire = lab.wire()
    channel = wire.open_channel()
    with lab.fault("drop_connection", on="queue.declare", when="before", reset=True):
        channel.send(Queue.Declare, queue="q")
        with pytest.raises(ConnectionResetError):
            wire._socket.recv(1)


def test_the_next_thing_that_the_client_says(lab: Lab) -> None:
    channel = lab.wire_channel("q")
    with lab.fault("drop_connection"):
        channel.send(Basic.Qos, prefetch_count=1)
        channel.wire.expect_eof()


def test_after_the_reply(lab: Lab) -> None:
    """One that waits for the disk, too."""
    channel = lab.wire_channel()
    with lab.fault("drop_connection", on="queue.declare-ok", when="after"):
        channel.queue("durable", durable=True)
        channel.wire.expect_eof()
    with lab.fault("drop_connection", on="queue.declare-ok", when="before"):
        channel = lab.wire_channel()
        channel.send(Queue.Declare, queue="again", durable=True)
        channel.wire.expect_eof()
    assert lab.count("again") == 0, "it is there"


def test_in_the_handshake(lab: Lab) -> None:
    for method in ("connection.start-ok", "connection.tune", "connection.tune-ok", "connection.open", "connection.open-ok"):
        with lab.of_the_broker("drop_connection", on=method, user=lab.user) as fault:
            with pytest.raises(LOST):
                lab.connection()
            assert fault.hits == 1
    lab.connection()


def test_aio_pika_comes_back_by_itself(lab: Lab) -> None:
    async def conversation() -> None:
        connection = await aio_pika.connect_robust(lab.url, reconnect_interval=0.01)
        try:
            channel = await connection.channel()
            queue = await channel.declare_queue("q", durable=True)
            with lab.fault("drop_connection", on="basic.publish", when="after") as fault:
                failures = 0
                while True:
                    try:
                        await channel.default_exchange.publish(aio_pika.Message(b"twice"), "q")
                        break
                    except (aio_pika.exceptions.AMQPError, aio_pika.exceptions.ChannelInvalidStateError, ConnectionError):
                        failures += 1
                        await asyncio.sleep(0)
                assert failures
                assert fault.hits == 1
            assert [(await queue.get(no_ack=True)).body for _ in range(2)] == [b"twice", b"twice"]
        finally:
            await connection.close()

    run(conversation())


def test_what_a_channel_held_goes_back_at_once(lab: Lab) -> None:
    publisher = lab.publisher()
    publisher.basic_publish("", "q", b"leased")
    channel = lab.wire_channel()
    channel.take("q", no_ack=False)
    assert lab.count() == 0
    with lab.fault("drop_connection", on="queue.declare", when="before"):
        channel.send(Queue.Declare, queue="r")
        channel.wire.expect_eof()
    assert lab.count() == 1


# --- closed -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "name"), [(404, "NOT_FOUND"), (406, "PRECONDITION_FAILED"), (403, "ACCESS_REFUSED")])
def test_a_channel_is_closed_with_a_code(lab: Lab, code: int, name: str) -> None:
    channel = lab.publisher()
    with (
        lab.fault("close_channel", on="basic.publish", when="before", code=code, text="as you like it"),
        pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed,
    ):
        channel.basic_publish("", "q", b"")
    assert (closed.value.reply_code, closed.value.reply_text) == (code, f"{name} - as you like it")
    assert channel.connection.is_open
    channel.connection.channel()
    assert lab.bodies() == []


def test_a_channel_is_closed_after_it_has_done_it(lab: Lab) -> None:
    channel = lab.wire_channel("q")
    with lab.fault("close_channel", on="basic.publish", when="after"):
        channel.wire.send_raw(publish_bytes(1, "", "q", b"done") + publish_bytes(1, "", "q", b"not heard any more"))
        channel.expect_close(406, "PRECONDITION_FAILED - a test has ordered it", (60, 40))
    assert lab.bodies() == [b"done"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_channel_is_closed_with_a_delivery(lab: Lab, when: str) -> None:
    publisher = lab.publisher()
    for body in (b"0", b"1", b"2"):
        publisher.basic_publish("", "q", body)
    wire = lab.wire()
    one, other = wire.open_channel(1), wire.open_channel(2)
    with lab.fault("close_channel", on="basic.deliver", when=when, skip=1):
        one.consume("q")
        got = one.deliveries(1 if when == "before" else 2)
        one.expect_close(406)
    assert [message.body for message in got] == [b"0", b"1"][: len(got)]
    other.consume("q")
    redelivered = [message.method.redelivered for message in other.deliveries(3)]
    assert redelivered == [message_number < len(got) for message_number in range(3)]


@pytest.mark.parametrize("code", [320, 541, 530])
def test_a_connection_is_closed_with_a_code(lab: Lab, code: int) -> None:
    channel = lab.publisher()
    with lab.fault("close_connection", on="basic.publish", code=code, text="over"):
        with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
            channel.basic_publish("", "q", b"")
        assert closed.value.reply_code == code
        assert closed.value.reply_text.endswith(" - over")


def test_a_connection_is_closed_after_a_delivery(lab: Lab) -> None:
    lab.publisher().basic_publish("", "q", b"0")
    channel = lab.wire_channel()
    with lab.fault("close_connection", on="basic.deliver", when="after"):
        channel.consume("q")
        channel.deliver()
        channel.wire.expect_close(320, "CONNECTION_FORCED - a test has ordered it")
    lab.wait_for(1)


@pytest.mark.parametrize("code", [405, 541])
def test_a_declare_fails(lab: Lab, code: int) -> None:
    channel = lab.channel()
    error = pika.exceptions.ChannelClosedByBroker if code == 405 else pika.exceptions.ConnectionClosedByBroker
    with lab.fault("fail_method", on="queue.declare", queue="orders*", code=code) as fault:
        channel.queue_declare("others")
        with pytest.raises(error) as closed:
            channel.queue_declare("orders-7")
        assert closed.value.reply_code == code
        assert fault.hits == 1
    lab.wire_channel().queue("orders-7", durable=True)


# --- frames and garbage -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [None, 5])
def test_a_frame_is_cut(lab: Lab, count: int | None) -> None:
    publisher = lab.publisher()
    for body in (b"whole", b"half", b"nothing"):
        publisher.basic_publish("", "q", body)
    channel = lab.wire_channel()
    with lab.fault("cut_frame", on="basic.deliver", skip=1, **({} if count is None else {"bytes": count})):
        channel.consume("q")
        assert channel.deliver().body == b"whole"
        rest = channel.wire.read_to_eof()
    assert rest.startswith(b"\1\0\1"), "a method's frame on channel 1"
    assert len(rest) == count if count is not None else 20 < len(rest) < 60
    assert b"half" not in rest
    lab.wait_for(3)


def test_a_cut_reply_is_a_lost_connection_for_pika(lab: Lab) -> None:
    with lab.fault("cut_frame", on="queue.declare-ok"), pytest.raises(LOST):
        lab.channel("q")


def test_a_cut_delivery_comes_again(lab: Lab) -> None:
    lab.publisher().basic_publish("", "q", b"x" * 10_000)

    async def conversation() -> None:
        connection = await aio_pika.connect_robust(lab.url, reconnect_interval=0.01)
        try:
            channel = await connection.channel()
            queue = await channel.declare_queue("q", durable=True)
            async with queue.iterator() as messages:
                async for message in messages:
                    assert message.redelivered
                    assert len(message.body) == 10_000
                    break
        finally:
            await connection.close()

    with lab.fault("cut_frame", on="basic.deliver") as fault:
        run(conversation())
        assert fault.hits == 1


def test_garbage_is_garbage_to_pika(lab: Lab) -> None:
    channel = lab.channel()
    with lab.fault("send_garbage", on="queue.declare"), pytest.raises(pika.exceptions.AMQPError):
        channel.queue_declare("q")


def test_so_much_garbage(lab: Lab) -> None:
    channel = lab.wire_channel()
    with lab.fault("send_garbage", on="queue.declare", when="before", bytes=100):
        channel.send(Queue.Declare, queue="q", exclusive=True)
        data = b""
        while len(data) < 101:
            data += channel.wire._socket.recv(65536)
        assert data[:1] == b"\xff"
        assert struct.unpack_from(">BHI", data)[2] == 92
        assert data[99:101] == b"\0\1", "then what is in order"


# --- slow lines ---------------------------------------------------------------------------------------------------------


def seconds_for_a_get(channel: object, queue: str = "q") -> float:
    begin = time.monotonic()
    assert channel.basic_get(queue)[0] is not None  # type: ignore[attr-defined]
    return time.monotonic() - begin


def test_a_slow_line(lab: Lab) -> None:
    publisher = lab.publisher()
    for size in (20_000, 200_000):
        publisher.basic_publish("", "q", b"x" * size)
    channel = lab.channel(name="slow")
    with lab.fault("slow_down", bytes_per_second=50_000, client_name="slow") as fault:
        assert 0.3 < seconds_for_a_get(channel) < 3
        assert fault.hits == 1
    assert seconds_for_a_get(channel) < 2, "it would have taken four"


def test_only_one_way(lab: Lab) -> None:
    channel = lab.publisher()
    channel.queue_declare("r")
    with lab.fault("slow_down", bytes_per_second=50_000, direction="to_client"):
        begin = time.monotonic()
        channel.basic_publish("", "q", b"x" * 200_000)
        assert time.monotonic() - begin < 2, "it would have taken four"
        channel.basic_publish("", "r", b"x" * 20_000)
        assert 0.3 < seconds_for_a_get(channel, "r") < 3


def test_latency(lab: Lab) -> None:
    channel = lab.publisher()
    with lab.fault("add_latency", seconds=0.2):
        begin = time.monotonic()
        channel.basic_publish("", "q", b"")
        assert 0.39 < time.monotonic() - begin < 2
        begin = time.monotonic()
        late = lab.publisher()  # a connection that comes later: from the moment on that it is open
        late.basic_publish("", "q", b"")
        assert time.monotonic() - begin > 0.39
    begin = time.monotonic()
    channel.basic_publish("", "q", b"")
    assert time.monotonic() - begin < 0.39
    assert lab.count() == 3


def test_latency_after_the_second_publish(lab: Lab) -> None:
    channel = lab.wire_channel("q")
    channel.confirm_select()
    with lab.fault("add_latency", seconds=0.3, on="basic.publish", skip=1, direction="to_client"):
        times = []
        for number in range(3):
            begin = time.monotonic()
            channel.publish("", "q", b"")
            assert channel.expect(Basic.Ack).delivery_tag == number + 1
            times.append(time.monotonic() - begin)
    assert times[0] < 0.29 < min(times[1:])


def test_a_line_on_which_nothing_passes(lab: Lab) -> None:
    channel = lab.wire_channel("q")
    fault = lab.fault("slow_down", bytes_per_second=0, direction="from_client")
    channel.publish("", "q", b"stuck")
    channel.send(Queue.Declare, queue="q", passive=True)
    assert is_quiet(channel.wire, 0.1)
    assert lab.broker.ask("GET", f"/faults/{fault.id}")["hits"] == 1
    fault.remove()
    assert channel.expect(Queue.DeclareOk).message_count == 1


def test_a_client_that_goes_while_its_words_are_on_their_way(lab: Lab) -> None:
    """They arrive, and then it is gone; a reset takes them along."""
    with lab.fault("add_latency", seconds=0.1, direction="from_client"):
        wire = lab.wire()
        channel = wire.open_channel()
        channel.queue("q", durable=True)
        channel.publish("", "q", b"last words")
        wire.abort()
    lab.wait_for(1)


def test_a_big_backlog_on_a_slow_line_is_back_pressure(lab: Lab) -> None:
    """What is on its way to the client is bounded: the queue keeps the rest."""
    publisher = lab.publisher()
    for _ in range(40):
        publisher.basic_publish("", "q", b"x" * 100_000)
    channel = lab.wire_channel()
    with lab.fault("slow_down", bytes_per_second=1000, direction="to_client"):
        channel.send(Basic.Consume, queue="q", no_ack=True)
        soon(lambda: lab.count() < 40)
        assert lab.count() > 10
    assert [len(message.body) for message in _after_consume_ok(channel)] == [100_000] * 40


def _after_consume_ok(channel: object) -> list[object]:
    channel.expect(Basic.ConsumeOk)  # type: ignore[attr-defined]
    return channel.deliveries(40)  # type: ignore[attr-defined, no-any-return]


def test_a_method_that_takes_long(lab: Lab) -> None:
    """What comes in the same read waits behind it, in order."""
    channel = lab.wire_channel("q")
    channel.confirm_select()
    with lab.fault("delay_method", seconds=0.2, on="basic.publish", skip=1):
        begin = time.monotonic()
        channel.wire.send_raw(b"".join(publish_bytes(1, "", "q", b"%d" % number) for number in range(4)))
        channel.send(Queue.Declare, queue="q", passive=True)
        frames = []
        while not frames or not isinstance(frames[-1], Queue.DeclareOk):
            frames.append(channel.wire.next_frame().method)
        assert 0.19 < time.monotonic() - begin < 2
        assert frames[-1].message_count == 4
    assert lab.bodies() == [b"0", b"1", b"2", b"3"]


def test_a_method_that_takes_long_holds_nobody_else(lab: Lab) -> None:
    slow, other = lab.wire_channel(name="slow"), lab.wire_channel()
    with lab.fault("delay_method", seconds=0.5, on="queue.declare", client_name="slow"):
        begin = time.monotonic()
        slow.send(Queue.Declare, queue="slow", exclusive=True)
        other.queue("other")
        assert is_quiet(slow.wire, 0)
        slow.expect(Queue.DeclareOk)
        assert time.monotonic() - begin > 0.49


def test_nothing_of_it_stays(lab: Lab) -> None:
    """With all faults gone a connection that had them is as good as new."""
    channel = lab.wire_channel("q")
    faults = [
        lab.fault("slow_down", bytes_per_second=10_000_000),
        lab.fault("add_latency", seconds=0.01),
        lab.fault("block_publishers"),
        lab.fault("stop_heartbeats"),
    ]
    for fault in faults:
        fault.remove()
    channel.publish("", "q", b"1")
    assert channel.take("q").body == b"1"
    channel.wire.send_method(0, Connection.Close, reply_code=200, reply_text="")
    channel.wire.expect(Connection.CloseOk, 0)
    with pytest.raises(ConnectionEnded):
        channel.wire.next_frame()

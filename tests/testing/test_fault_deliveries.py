"""Deliveries that are late, come twice, in another order, or not at all."""

import asyncio
import time
from typing import Any

import aio_pika
import pytest
from pamqp.commands import Basic, Connection, Tx

from tests.runtime.process import publish_bytes
from tests.testing.lab import Lab, run
from tests.testing.supervised import Supervised
from tests.wire import METHOD, WireChannel


def filled(lab: Lab, *bodies: bytes, queue: str = "q", **arguments: Any) -> None:
    """The queue with these messages."""
    channel = lab.wire_channel()
    channel.queue(queue, durable=True, arguments=arguments)
    channel.publish_confirmed("", queue, *bodies)


def bodies(channel: WireChannel, count: int) -> list[bytes]:
    return [message.body for message in channel.deliveries(count)]


# --- late ---------------------------------------------------------------------------------------------------------------


def test_a_delivery_is_late(lab: Lab) -> None:
    filled(lab)

    async def conversation() -> None:
        async with await lab.aio_pika() as connection:
            channel = await connection.channel()
            queue = await channel.get_queue("q")
            came: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

            async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
                await came.put((time.monotonic() - begin, message.body))

            await queue.consume(take, no_ack=True)
            begin = time.monotonic()
            with lab.fault("delay_deliveries", seconds=0.4, skip=1):
                for body in (b"0", b"late", b"behind it"):
                    await channel.default_exchange.publish(aio_pika.Message(body), "q")
                times, got = zip(*[await came.get() for _ in range(3)], strict=True)
                assert got == (b"0", b"late", b"behind it")
                assert times[0] < 0.39 < times[1] <= times[2] < 2

    run(conversation())


def test_each_is_so_much_later_than_it_came_and_not_than_the_one_before(lab: Lab) -> None:
    channel = lab.wire_channel("q")
    channel.consume("q", no_ack=True)
    with lab.fault("delay_deliveries", seconds=0.25, times=None) as fault:
        begin = time.monotonic()
        for number in range(10):
            channel.publish("", "q", b"%d" % number)
        assert bodies(channel, 10) == [b"%d" % number for number in range(10)]
        assert 0.24 < time.monotonic() - begin < 1.5
        assert fault.hits == 10


def test_it_comes_when_the_fault_is_taken_away(lab: Lab) -> None:
    filled(lab, b"0", b"1")
    channel = lab.wire_channel()
    with lab.fault("delay_deliveries", seconds=3600):
        channel.consume("q")
        channel.expect_counts("q", 2, 1)
        channel.nothing_more("q")
        assert channel.take("q").body == b"0", "whoever gets it has it"
        channel.nothing_more("q")
    assert channel.deliver().body == b"1"


def test_only_one_of_two_consumers_has_to_wait(lab: Lab) -> None:
    filled(lab)
    slow, quick = lab.wire_channel(name="slow"), lab.wire_channel(name="quick")
    slow.consume("q", no_ack=True)
    with lab.fault("delay_deliveries", seconds=3600, client_name="slow"):
        filled(lab, b"0")
        slow.nothing_more("q")
        quick.consume("q", no_ack=True)
        assert bodies(quick, 1) == [b"0"]
        filled(lab, b"1", b"2")
        assert bodies(quick, 2) == [b"1", b"2"]
    filled(lab, b"3", b"4")
    assert {slow.deliver().body, quick.deliver().body} == {b"3", b"4"}


def test_other_queues_of_the_connection_go_on(lab: Lab) -> None:
    filled(lab, b"late")
    filled(lab, b"at once", queue="r")
    channel = lab.wire_channel()
    with lab.fault("delay_deliveries", seconds=3600, queue="q"):
        channel.consume("q")
        channel.consume("r")
        message = channel.deliver()
        assert (message.body, message.tag) == (b"at once", 1)
    message = channel.deliver()
    assert (message.body, message.tag) == (b"late", 2), "tags rise as deliveries come"


def test_what_is_held_back_still_expires(lab: Lab) -> None:
    filled(lab, b"", **{"x-message-ttl": 100})
    channel = lab.wire_channel()
    channel.publish_confirmed("", "q", b"")
    with lab.fault("delay_deliveries", seconds=3600):
        channel.consume("q")
        channel.expect_counts("q", 0, 1)


def test_idle_doesnt_wait_for_what_is_held_back_and_says_why(lab: Lab) -> None:
    filled(lab, b"")
    channel = lab.wire_channel(name="patient")
    with lab.fault("delay_deliveries", seconds=3600):
        channel.consume("q")
        lab.broker.ask_vhost("POST", lab.vhost, "/wait", {"for": "idle", "timeout": 5})
        wanted = {"for": "queue", "queue": "q", "ready": 0, "timeout": 0}
        assert "a fault holds back what" in lab.broker.ask_vhost("POST", lab.vhost, "/wait", wanted, 408)["reason"]


# --- again --------------------------------------------------------------------------------------------------------------


def test_an_ack_is_lost_and_the_message_comes_again(lab: Lab) -> None:
    filled(lab, b"0", b"1")

    async def conversation() -> list[tuple[bytes, bool | None]]:
        got: list[tuple[bytes, bool | None]] = []
        async with await lab.aio_pika() as connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=1)
            queue = await channel.get_queue("q")
            async with queue.iterator() as messages:
                async for message in messages:
                    async with message.process():
                        got.append((message.body, message.redelivered))
                    if len(got) == 3:
                        return got
        return got

    with lab.fault("redeliver") as fault:
        assert run(conversation()) == [(b"0", False), (b"0", True), (b"1", False)]
        assert fault.hits == 1
    assert lab.bodies() == []


def test_another_consumer_gets_it(lab: Lab) -> None:
    filled(lab, b"0")
    first = lab.wire_channel()
    first.qos(1)
    first.consume("q")
    assert first.deliver().tag == 1
    busy = lab.wire_channel()
    busy.consume("q")
    with lab.fault("redeliver", another=True):
        first.ack(1)
        message = busy.deliver()
        assert (message.body, message.method.redelivered) == (b"0", True)
        first.nothing_more("q")
        filled(lab, b"1", b"2")
        assert {first.deliver().body, busy.deliver().body} == {b"1", b"2"}


def test_the_same_consumer_gets_it_where_there_is_no_other(lab: Lab) -> None:
    filled(lab, b"0")
    first, other = lab.wire_channel(), lab.wire_channel()
    first.consume("q")
    with lab.fault("redeliver", another=True, times=2):
        first.ack(first.deliver().tag)
        assert first.deliver().method.redelivered
        other.qos(1)
        other.consume("q")
        filled(lab, b"1", b"2")
        mine, others = first.deliver().body, other.deliver().body
        assert {mine, others} == {b"1", b"2"}
        first.ack(2)
        first.nothing_more("q")
        other.wire.abort()  # nobody else is left
        assert {first.deliver().body, first.deliver().body} == {b"0", others}


def test_an_ack_of_several_is_lost_for_one_of_them(lab: Lab) -> None:
    filled(lab, b"0", b"1", b"2", b"3")
    channel = lab.wire_channel()
    channel.consume("q")
    assert len(channel.deliveries(4)) == 4
    with lab.fault("redeliver", skip=1) as fault:
        channel.ack(3, multiple=True)
        message = channel.deliver()
        assert (message.body, message.tag, message.method.redelivered) == (b"1", 5, True)
        channel.ack(0, multiple=True)
        channel.nothing_more("q")
        assert fault.hits == 1
    channel.wire.abort()
    assert lab.bodies() == []


def test_an_ack_is_lost_in_a_transaction(lab: Lab) -> None:
    filled(lab, b"0")
    channel = lab.wire_channel()
    channel.tx_select()
    tag = channel.take("q", no_ack=False).tag
    with lab.fault("redeliver"):
        channel.ack(tag)
        channel.expect_counts("q", 0, 0)
        channel.call(Tx.Commit)
    channel.expect_counts("q", 1, 0)


def test_a_quorum_queue_counts_it(lab: Lab) -> None:
    filled(lab, b"0", **{"x-queue-type": "quorum"})
    channel = lab.wire_channel()
    channel.consume("q")
    channel.deliver()
    with lab.fault("redeliver"):
        channel.ack(1)
        assert channel.deliver().headers == {"x-delivery-count": 1}


def test_an_unknown_tag_stays_an_error(lab: Lab) -> None:
    channel = lab.wire_channel("q")
    with lab.fault("redeliver") as fault:
        channel.ack(7)
        channel.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 7")
        assert fault.hits == 0


# --- in another order ---------------------------------------------------------------------------------------------------


def shuffled(lab: Lab) -> list[bytes]:
    """What one consumer of three queues gets that were published to in turn."""
    channel = lab.wire_channel()
    for queue in ("a", "b", "c"):
        channel.queue(queue)
        channel.consume(queue, no_ack=True)
    with lab.fault("reorder_queues", seconds=0.1) as fault:
        channel.wire.send_raw(b"".join(publish_bytes(1, "", q, f"{q}{n}".encode()) for n in range(4) for q in "abc"))
        got = bodies(channel, 12)
        assert fault.hits == 3
    return got


def test_queues_are_mixed_and_each_keeps_its_order(lab_broker: Supervised) -> None:
    orders = []
    for _ in range(2):
        lab = Lab(lab_broker)
        with lab.clients:
            orders.append(shuffled(lab))
        lab_broker.ask("DELETE", f"/sandboxes/{lab.vhost}")
    assert orders[0] == orders[1], "the seed decides"
    assert orders[0] != sorted(orders[0], key=lambda body: (body[1:], body[:1]))
    for queue in (b"a", b"b", b"c"):
        assert [body for body in orders[0] if body.startswith(queue)] == [queue + b"%d" % number for number in range(4)]


def test_what_was_collected_goes_out_when_the_fault_is_taken_away(lab: Lab) -> None:
    filled(lab, b"0", b"1")
    channel = lab.wire_channel()
    with lab.fault("reorder_queues", seconds=3600):
        channel.consume("q")
        channel.nothing_more("q")
    assert bodies(channel, 2) == [b"0", b"1"]


# --- not at all ---------------------------------------------------------------------------------------------------------


def test_the_broker_cancels_a_consumer_after_two_deliveries(lab: Lab) -> None:
    filled(lab, b"0", b"1", b"2")
    channel = lab.channel()
    got: list[bytes] = []
    with lab.fault("cancel_consumer", skip=1):
        channel.basic_consume("q", lambda _channel, _method, _properties, body: got.append(body))
        channel.start_consuming()  # until there is no consumer any more
    assert got == [b"0", b"1"]
    assert channel.is_open
    channel.basic_ack(2, multiple=True)
    assert lab.bodies() == [b"2"]


def test_before_a_delivery(lab: Lab) -> None:
    filled(lab, b"0")
    channel = lab.wire_channel()
    with lab.fault("cancel_consumer", when="before"):
        tag = channel.consume("q")
        channel.expect(Basic.Cancel, consumer_tag=tag)
    channel.expect_counts("q", 1, 0)
    channel.consume("q", tag)
    assert channel.deliver().body == b"0"


@pytest.mark.parametrize("tag", ["named", ""])
def test_as_soon_as_it_consumes(lab: Lab, tag: str) -> None:
    filled(lab)
    channel = lab.wire_channel()
    with lab.fault("cancel_consumer", on="basic.consume", when="after", queue="q"):
        tag = channel.consume("q", tag)
        channel.expect(Basic.Cancel, consumer_tag=tag)
    channel.expect_counts("q", 0, 0)


def test_one_consumer_of_several(lab: Lab) -> None:
    filled(lab)
    channel = lab.wire_channel()
    for tag in ("one", "two"):
        channel.consume("q", tag)
    with lab.fault("cancel_consumer", on="basic.ack", when="after", consumer_tag="two"):
        filled(lab, b"0", b"1")
        assert len(channel.deliveries(2)) == 2
        channel.ack(1)
        channel.ack(2)
        channel.expect(Basic.Cancel, consumer_tag="two")
    channel.expect_counts("q", 0, 1)


def test_a_get_finds_nothing(lab: Lab) -> None:
    filled(lab, b"0")
    channel = lab.channel()
    with lab.fault("get_empty", queue="q") as fault:
        assert channel.basic_get("q") == (None, None, None)
        assert channel.basic_get("q")[2] == b"0"
        assert fault.hits == 1


def test_a_get_of_what_isnt_there_stays_an_error(lab: Lab) -> None:
    channel = lab.wire_channel()
    with lab.fault("get_empty") as fault:
        channel.send(Basic.Get, queue="nowhere")
        channel.expect_close(404)
        assert fault.hits == 0


# --- time that is moved -------------------------------------------------------------------------------------------------


def test_what_is_held_back_by_the_brokers_clock(lab: Lab) -> None:
    """An hour each: a delivery, a confirm, and a publisher that is blocked."""
    channel = lab.wire_channel("q")
    channel.confirm_select()
    blocked = lab.wire_channel("r", name="blocked")
    with (
        lab.fault("delay_deliveries", seconds=3600),
        lab.fault("delay_confirms", seconds=3600, queue="q"),
        lab.fault("block_publishers", seconds=3600, client_name="blocked"),
    ):
        channel.consume("q")
        channel.publish("", "q", b"")
        channel.nothing_more("q")
        blocked.publish("", "r", b"")
        blocked.wire.expect(Connection.Blocked, 0)
        lab.broker.ask("POST", "/clock/advance", {"seconds": 3590})
        channel.nothing_more("q")
        lab.broker.ask("POST", "/clock/advance", {"seconds": 20})
        frames = [channel.wire.next_frame(1) for _ in range(3)]
        assert {type(frame.method) for frame in frames if frame.type == METHOD} == {Basic.Ack, Basic.Deliver}
        blocked.wire.expect(Connection.Unblocked, 0)

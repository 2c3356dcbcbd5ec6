"""Confirms that go wrong, publishes that no queue gets, publishers that are blocked."""

import asyncio
import time
from typing import Any

import aio_pika
import pika
import pytest
from pamqp.commands import Basic, Connection, Queue, Tx

from tests.runtime.process import publish_bytes, soon
from tests.testing.lab import PERSISTENT, Lab, run
from tests.wire import WireChannel, eventually


def confirming(lab: Lab, **queue: Any) -> WireChannel:
    channel = lab.wire_channel()
    channel.queue("q", durable=True, **queue)
    channel.confirm_select()
    return channel


def publish(channel: WireChannel, *bodies: bytes, **properties: Any) -> None:
    """All in one write."""
    channel.wire.send_raw(b"".join(publish_bytes(channel.number, "", "q", body, **properties) for body in bodies))


# --- confirms -----------------------------------------------------------------------------------------------------------


def test_pika_is_told_of_a_nack_though_the_message_is_there(lab: Lab) -> None:
    channel = lab.publisher()
    with lab.fault("nack_confirms"):
        with pytest.raises(pika.exceptions.NackError):
            channel.basic_publish("", "q", b"there", PERSISTENT)
        channel.basic_publish("", "q", b"again", PERSISTENT)
    assert lab.bodies() == [b"there", b"again"]


@pytest.mark.parametrize("delivery_mode", [1, 2], ids=["transient", "persistent"])
def test_the_others_are_right_whatever_is_withheld(lab: Lab, delivery_mode: int) -> None:
    """Never a `multiple` over what is held back, and each other publish answered once."""
    channel = confirming(lab)
    with lab.fault("withhold_confirms", skip=3, times=2) as fault:
        publish(channel, *[b"%d" % number for number in range(20)], delivery_mode=delivery_mode)
        answered: list[int] = []
        while len(answered) < 18:
            method = channel.wire.next_frame(channel.number).method
            assert isinstance(method, Basic.Ack)
            tags = range(1, method.delivery_tag + 1) if method.multiple else [method.delivery_tag]
            answered += [tag for tag in tags if tag not in answered]
            assert not {4, 5} & set(tags)
        assert sorted(answered) == [1, 2, 3, *range(6, 21)]
        channel.nothing_more()
        assert fault.hits == 2
    channel.nothing_more()
    assert len(channel.bodies("q")) == 20


def test_aio_pika_waits_for_what_is_withheld(lab: Lab) -> None:
    async def conversation() -> None:
        async with await lab.aio_pika() as connection:
            channel = await connection.channel()
            await channel.declare_queue("q", durable=True)
            send = channel.default_exchange.publish
            with lab.fault("withhold_confirms", routing_key="q"):
                waiting = asyncio.create_task(send(aio_pika.Message(b"never"), "q"))
                await asyncio.sleep(0)
                assert await send(aio_pika.Message(b"at once"), "q") is not None
                assert not waiting.done()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(waiting, 0.05)

    run(conversation())
    assert lab.bodies() == [b"never", b"at once"]


def test_a_delayed_confirm_comes_when_the_fault_is_taken_away(lab: Lab) -> None:
    channel = confirming(lab)
    with lab.fault("delay_confirms", seconds=3600, skip=1, times=2):
        publish(channel, b"0", b"1", b"2", b"3", delivery_mode=2)
        assert {channel.expect(Basic.Ack).delivery_tag, channel.expect(Basic.Ack).delivery_tag} == {1, 4}
        channel.nothing_more()
    assert [channel.expect(Basic.Ack, multiple=False).delivery_tag for _ in range(2)] == [2, 3]
    publish(channel, b"4", delivery_mode=2)
    assert channel.expect(Basic.Ack).delivery_tag == 5
    channel.nothing_more()


def test_a_delayed_confirm_comes_after_its_time(lab: Lab) -> None:
    channel = lab.publisher()
    with lab.fault("delay_confirms", seconds=0.2):
        begin = time.monotonic()
        channel.basic_publish("", "q", b"", PERSISTENT)
        assert 0.19 < time.monotonic() - begin < 2


def test_what_is_held_back_of_a_channel_that_is_gone_is_no_matter(lab: Lab) -> None:
    with lab.fault("delay_confirms", seconds=3600):
        channel = confirming(lab)
        channel.publish("", "q", b"")
        channel.close()
        again = channel.wire.open_channel(channel.number)
        again.confirm_select()
        again.publish("", "q", b"")
        assert again.confirms(1) == {1: True}
    again.nothing_more()


def test_a_refused_publish_is_nacked_in_its_place(lab: Lab) -> None:
    """A queue that is really full, among confirms that are held back."""
    channel = confirming(lab, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    with lab.fault("delay_confirms", seconds=3600):
        publish(channel, b"0", b"1")
        assert channel.expect(Basic.Nack, multiple=False).delivery_tag == 2
    assert channel.expect(Basic.Ack).delivery_tag == 1


def test_idle_doesnt_wait_for_what_a_fault_holds_back(lab: Lab) -> None:
    channel = confirming(lab)
    with lab.fault("withhold_confirms"), lab.fault("delay_confirms", seconds=3600, skip=1):
        publish(channel, b"0", b"1")
        lab.broker.ask_vhost("POST", lab.vhost, "/wait", {"for": "idle", "timeout": 5})


# --- unroutable and full ------------------------------------------------------------------------------------------------


def test_a_publish_comes_back_as_unroutable(lab: Lab) -> None:
    channel = lab.publisher()
    with lab.fault("return_publish", times=2) as fault:
        with pytest.raises(pika.exceptions.UnroutableError) as unroutable:
            channel.basic_publish("", "q", b"back", mandatory=True)
        (returned,) = unroutable.value.messages
        assert (returned.method.reply_code, returned.method.reply_text, returned.body) == (312, "NO_ROUTE", b"back")
        channel.basic_publish("", "q", b"dropped")
        assert fault.hits == 2
    channel.basic_publish("", "q", b"routed", mandatory=True)
    assert lab.bodies() == [b"routed"]


def test_unroutable_whatever_the_properties_say(lab: Lab) -> None:
    channel = confirming(lab)
    with lab.fault("return_publish", times=None):
        for properties in ({"headers": {"CC": ["q"]}}, {"expiration": "1000"}, {"reply_to": "r"}, {"delivery_mode": 2}):
            channel.publish("", "q", b"body", mandatory=True, **properties)
            assert channel.returned().properties == properties
            channel.expect(Basic.Ack)
    channel.expect_counts("q", 0, 0)


def test_what_is_wrong_stays_wrong(lab: Lab) -> None:
    channel = confirming(lab)
    with lab.fault("return_publish"):
        channel.publish("nowhere", "q", b"", mandatory=True)
        channel.expect_close(404)
    channel.reopen()
    channel.confirm_select()
    channel.publish("", "q", b"")
    assert channel.confirms(1) == {1: True}
    channel.expect_counts("q", 1, 0)


def test_in_a_transaction(lab: Lab) -> None:
    channel = lab.wire_channel("q")
    channel.tx_select()
    with lab.fault("return_publish", skip=1):
        for body in (b"0", b"1", b"2"):
            channel.publish("", "q", body, mandatory=True)
        channel.send(Tx.Commit)
        assert channel.returned().body == b"1"
        channel.expect(Tx.CommitOk)
    assert channel.bodies("q") == [b"0", b"2"]


def test_a_queue_is_full(lab: Lab) -> None:
    channel = lab.publisher()
    with lab.fault("queue_full", queue="q"):
        with pytest.raises(pika.exceptions.NackError):
            channel.basic_publish("", "q", b"refused", PERSISTENT)
        channel.basic_publish("", "q", b"taken", PERSISTENT)
    assert lab.bodies() == [b"taken"]


def test_one_of_two_queues_is_full(lab: Lab) -> None:
    channel = lab.wire_channel()
    for queue in ("one", "two"):
        channel.queue(queue)
        channel.bind(queue, "amq.fanout")
    channel.confirm_select()
    with lab.fault("queue_full", queue="two"):
        channel.publish("amq.fanout", "", b"")
        assert channel.confirms(1) == {1: False}
    channel.expect_counts("one", 1, 0)
    channel.expect_counts("two", 0, 0)


def test_what_no_queue_would_get_is_no_matter_of_a_full_one(lab: Lab) -> None:
    channel = lab.publisher()
    with lab.fault("queue_full") as fault:
        channel.basic_publish("", "nowhere", b"")
        assert fault.hits == 0


def test_a_full_queue_dead_letters_if_it_says_so(lab: Lab) -> None:
    channel = lab.wire_channel()
    channel.queue("dead")
    arguments = {"x-max-length": 100, "x-overflow": "reject-publish-dlx"}
    channel.queue("q", arguments={**arguments, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
    channel.confirm_select()
    with lab.fault("queue_full", queue="q"):
        channel.publish("", "q", b"dead")
        assert channel.confirms(1) == {1: False}
    assert channel.take("dead").headers["x-death"][0]["reason"] == "maxlen"
    channel.publish("", "q", b"fine")
    channel.expect(Basic.Ack)


# --- blocked ------------------------------------------------------------------------------------------------------------


def test_a_publisher_is_blocked_until_the_fault_is_taken_away(lab: Lab) -> None:
    publisher, consumer = lab.wire_channel("q"), lab.wire_channel()
    consumer.consume("q", no_ack=True)
    with lab.fault("block_publishers", text="out of patience") as fault:
        publisher.publish("", "q", b"waits")
        publisher.wire.expect(Connection.Blocked, 0, reason="out of patience")
        consumer.nothing_more("q")
        other = lab.wire_channel()
        assert fault.hits == 3, "connections that come later, too"
        other.publish("", "q", b"waits, too")
        other.wire.expect(Connection.Blocked, 0, reason="out of patience")
    publisher.wire.expect(Connection.Unblocked, 0)
    other.wire.expect(Connection.Unblocked, 0)
    assert {message.body for message in consumer.deliveries(2)} == {b"waits", b"waits, too"}


def test_blocked_for_a_time(lab: Lab) -> None:
    connection = lab.connection()
    heard: list[str] = []
    connection.add_on_connection_blocked_callback(lambda *_: heard.append("blocked"))
    connection.add_on_connection_unblocked_callback(lambda *_: heard.append("unblocked"))
    channel = connection.channel()
    channel.queue_declare("q")
    channel.confirm_delivery()
    with lab.fault("block_publishers", seconds=0.2) as fault:
        begin = time.monotonic()
        channel.basic_publish("", "q", b"")
        assert 0.19 < time.monotonic() - begin < 2
        channel.basic_publish("", "q", b"")
        connection.process_data_events()
        assert heard == ["blocked", "unblocked"]
        assert fault.hits == 1


def test_pika_gives_up_a_connection_that_is_blocked_for_long(lab: Lab) -> None:
    channel = lab.connection(blocked_connection_timeout=0.2).channel()
    channel.confirm_delivery()
    with lab.fault("block_publishers"), pytest.raises(pika.exceptions.ConnectionBlockedTimeout):
        channel.basic_publish("", "q", b"")


def test_only_those_that_fit_are_blocked(lab: Lab) -> None:
    one, other = lab.wire_channel("q", name="one"), lab.wire_channel(name="other")
    with lab.fault("block_publishers", client_name="one") as fault:
        one.publish("", "q", b"")
        one.wire.expect(Connection.Blocked, 0, reason="low on memory")
        other.publish("", "q", b"")
        other.expect_counts("q", 1, 0)
        assert fault.hits == 1
    one.wire.expect(Connection.Unblocked, 0)


def test_blocked_from_a_moment_on(lab: Lab) -> None:
    channel = confirming(lab)
    with lab.fault("block_publishers", on="basic.publish", skip=1):
        publish(channel, b"0", b"1")
        assert channel.confirms(2) == {1: True, 2: True}
        publish(channel, b"2")
        channel.wire.expect(Connection.Blocked, 0)
    channel.wire.expect(Connection.Unblocked, 0)
    assert channel.expect(Basic.Ack).delivery_tag == 3


def test_a_fault_and_an_alarm(lab: Lab) -> None:
    """Who is blocked by both goes on when both are over, in either order."""
    for first, second in (("alarm", "fault"), ("fault", "alarm")):
        channel = lab.wire_channel("q")
        orders = {"alarm": lambda: lab.of_the_broker("memory_alarm"), "fault": lambda: lab.fault("block_publishers")}
        holding = {name: order() for name, order in orders.items()}
        channel.publish("", "q", b"")
        channel.wire.expect(Connection.Blocked, 0)
        holding[first].remove()
        assert lab.count() == 0
        channel.wire.send_method(0, Connection.UpdateSecret, new_secret="x", reason="")  # nothing is read from it
        holding[second].remove()
        channel.wire.expect(Connection.Unblocked, 0)
        channel.wire.expect(Connection.UpdateSecretOk, 0)
        assert channel.bodies("q") == [b""]


def test_an_alarm_of_the_broker(lab: Lab) -> None:
    health = "/api/health/checks/local-alarms"
    for alarm, reason in (("disk_alarm", "low on disk"), ("memory_alarm", "low on memory")):
        channel = confirming(lab)
        with lab.of_the_broker(alarm) as fault:
            assert lab.broker.http.ask("GET", health).status == 503
            channel.publish("", "q", b"")
            channel.wire.expect(Connection.Blocked, 0, reason=reason)
            assert fault.hits == 1
        channel.wire.expect(Connection.Unblocked, 0)
        channel.expect(Basic.Ack)
        assert lab.broker.http.ask("GET", health).status == 200


def test_an_alarm_for_a_time(lab: Lab) -> None:
    channel = lab.publisher()
    with lab.of_the_broker("memory_alarm", seconds=0.2):
        begin = time.monotonic()
        channel.basic_publish("", "q", b"")
        assert 0.19 < time.monotonic() - begin < 2


def test_an_alarm_that_stays_while_the_machine_is_looked_at(lab: Lab) -> None:
    """Twice a second it is looked whether there is one, and there isn't."""
    channel = lab.wire_channel("q")
    with lab.of_the_broker("disk_alarm"), lab.of_the_broker("memory_alarm"):
        checked = time.monotonic() + 1.1
        channel.publish("", "q", b"")
        channel.wire.expect(Connection.Blocked, 0, reason="low on disk & memory")
        soon(lambda: time.monotonic() > checked)
        other = lab.wire_channel()
        other.publish("", "q", b"")
        other.wire.expect(Connection.Blocked, 0)
    channel.wire.expect(Connection.Unblocked, 0)
    channel.send(Queue.Declare, queue="q", passive=True)
    channel.expect(Queue.DeclareOk)
    eventually(lambda: lab.count() == 2)

"""Contract 6.8, direct reply-to, and RPC in the way of the tutorials."""

import re

import pytest
from pamqp.commands import Basic, Queue

from tests.fixtures import Unique
from tests.spec import spec
from tests.wire import WireChannel

REPLY_TO = "amq.rabbitmq.reply-to"


@spec("6.8", "consume amq.rabbitmq.reply-to with no_ack; the server sees amq.rabbitmq.reply-to.<token>")
def test_a_call_and_its_answer(channel: WireChannel, other: WireChannel, unique: Unique) -> None:
    requests = other.queue(unique("rpc"))
    other.consume(requests, no_ack=True)
    channel.consume(REPLY_TO, "answers", no_ack=True)
    channel.publish("", requests, b"question", reply_to=REPLY_TO, correlation_id="c-1")
    request = other.deliver()
    address = request.properties["reply_to"]
    assert re.fullmatch(r"amq\.rabbitmq\.reply-to\.\S+", address)
    for number in range(2):
        other.publish("", address, b"answer %d" % number, correlation_id="c-1")
    for number in range(2):
        answer = channel.deliver(consumer_tag="answers", redelivered=False, exchange="", routing_key=address)
        assert (answer.body, answer.properties["correlation_id"]) == (b"answer %d" % number, "c-1")


@spec("6.8", "the address stays the same for the consumer's life, and differs between channels")
def test_addresses(channel: WireChannel, other: WireChannel, unique: Unique) -> None:
    requests = other.queue(unique("rpc"))
    second = channel.wire.open_channel()
    for asking in (channel, second):
        asking.consume(REPLY_TO, no_ack=True)
        for _ in range(2):
            asking.publish("", requests, b"?", reply_to=REPLY_TO)
    other.consume(requests, no_ack=True)
    addresses = sorted(message.properties["reply_to"] for message in other.deliveries(4))
    assert addresses[0] == addresses[1] != addresses[2] == addresses[3]


@spec("6.8", "else [s] 406 reply consumer cannot acknowledge")
def test_a_reply_consumer_must_not_acknowledge(channel: WireChannel) -> None:
    channel.send(Basic.Consume, queue=REPLY_TO)
    channel.expect_close(406, "PRECONDITION_FAILED - reply consumer cannot acknowledge", (60, 20))


@spec("6.8", "a second one 406")
def test_one_reply_consumer_per_channel(channel: WireChannel) -> None:
    channel.consume(REPLY_TO, no_ack=True)
    channel.send(Basic.Consume, queue=REPLY_TO, no_ack=True)
    channel.expect_close(406, "PRECONDITION_FAILED - reply consumer already set", (60, 20))


@spec("6.8", "publish with it and no such consumer [s] 406")
@pytest.mark.parametrize("cancelled", [False, True])
def test_a_call_without_a_reply_consumer(channel: WireChannel, cancelled: bool) -> None:
    if cancelled:
        channel.cancel(channel.consume(REPLY_TO, no_ack=True))
    channel.publish("", "q", b"x", reply_to=REPLY_TO)
    channel.expect_close(406, "PRECONDITION_FAILED - fast reply consumer does not exist", (60, 40))


@spec("6.8", "after cancel there may be another")
def test_a_reply_consumer_after_another(channel: WireChannel) -> None:
    channel.cancel(channel.consume(REPLY_TO, no_ack=True))
    channel.consume(REPLY_TO, no_ack=True)


@spec("6.8", "passive or plain declare of that address answers declare-ok or 404 (is the requester there)")
@pytest.mark.parametrize("passive", [True, False])
def test_is_the_requester_there(channel: WireChannel, other: WireChannel, unique: Unique, passive: bool) -> None:
    address = ask(channel, other, unique)
    declared = other.call(Queue.Declare, queue=address, passive=passive)
    assert (declared.queue, declared.message_count, declared.consumer_count) == (address, 0, 1)
    channel.close()
    other.send(Queue.Declare, queue=address, passive=passive)
    other.expect_close(404, f"NOT_FOUND - no queue '{address}' in vhost '/'", (50, 10))


@spec("6.8", "the name itself is always there")
@pytest.mark.parametrize("passive", [True, False])
def test_declare_of_the_name_itself(channel: WireChannel, passive: bool) -> None:
    declared = channel.call(Queue.Declare, queue=REPLY_TO, passive=passive)
    assert (declared.queue, declared.message_count, declared.consumer_count) == (REPLY_TO, 0, 1)


def ask(channel: WireChannel, other: WireChannel, unique: Unique) -> str:
    """A request from `channel` arrives at `other`; returns where to answer."""
    requests = other.queue(unique("rpc"))
    channel.consume(REPLY_TO, no_ack=True)
    channel.publish("", requests, b"?", reply_to=REPLY_TO)
    other.consume(requests, no_ack=True)
    address: str = other.deliver().properties["reply_to"]
    return address


@spec("6.8", "replying to one gone is dropped and confirmed (mandatory: returned)")
def test_an_answer_to_nobody(channel: WireChannel, other: WireChannel, unique: Unique) -> None:
    address = ask(channel, other, unique)
    channel.wire.close()
    other.confirm_select()
    other.publish("", address, b"anybody?")
    other.expect(Basic.Ack, delivery_tag=1)
    other.publish("", address, b"anybody?", mandatory=True)
    returned = other.returned()
    assert (returned.method.reply_code, returned.method.routing_key) == (312, address)
    other.expect(Basic.Ack, delivery_tag=2)


@spec("6.8", "an answer that arrives is confirmed; a mandatory one returns all the same, because no queue took it")
def test_an_answer_is_confirmed(channel: WireChannel, other: WireChannel, unique: Unique) -> None:
    address = ask(channel, other, unique)
    other.confirm_select()
    other.publish("", address, b"here")
    other.expect(Basic.Ack, delivery_tag=1)
    assert channel.deliver().body == b"here"
    other.publish("", address, b"here, too", mandatory=True)
    assert other.returned().body == b"here, too"
    other.expect(Basic.Ack, delivery_tag=2)
    assert channel.deliver().body == b"here, too"


@spec("6.8", "an address that was never given out reaches nobody")
@pytest.mark.parametrize("token", ["nonsense", "g1h2AA==", ""])
def test_an_invented_address(channel: WireChannel, token: str) -> None:
    channel.publish("", f"{REPLY_TO}.{token}", b"x", mandatory=True)
    assert channel.returned().body == b"x"


@spec("6.8", "replies leave before a tx commit")
def test_answers_do_not_wait_for_a_commit(channel: WireChannel, other: WireChannel, unique: Unique) -> None:
    address = ask(channel, other, unique)
    other.tx_select()
    other.publish("", address, b"at once")
    assert channel.deliver().body == b"at once"
    other.rollback()


@spec("6.8", "the prefetch doesn't hold answers back")
def test_answers_pass_the_prefetch(channel: WireChannel, other: WireChannel, unique: Unique) -> None:
    channel.qos(1)
    address = ask(channel, other, unique)
    for number in range(5):
        other.publish("", address, b"%d" % number)
    assert [message.body for message in channel.deliveries(5)] == [b"%d" % number for number in range(5)]


@spec("6.8", "RPC over an exclusive callback queue, in the way of the tutorial")
def test_rpc_over_a_callback_queue(channel: WireChannel, other: WireChannel, unique: Unique) -> None:
    requests = other.queue(unique("rpc_queue"))
    other.qos(1)
    other.consume(requests)
    callback = channel.queue()
    channel.consume(callback, no_ack=True)
    for number in range(10):
        channel.publish("", requests, b"%d" % number, reply_to=callback, correlation_id=f"id-{number}")
    for _ in range(10):
        request = other.deliver()
        answer = b"%d" % (int(request.body) ** 2)
        other.publish("", request.properties["reply_to"], answer, correlation_id=request.properties["correlation_id"])
        other.ack(request.tag)
    answers = {message.properties["correlation_id"]: int(message.body) for message in channel.deliveries(10)}
    assert answers == {f"id-{number}": number**2 for number in range(10)}

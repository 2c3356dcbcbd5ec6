"""Contract 5.4, publisher confirms."""

import pytest
from pamqp.commands import Basic, Confirm, Queue

from tests.fixtures import Unique
from tests.spec import spec
from tests.wire import BY_NAME, WireChannel


@spec("5.4", "tags from 1 per channel counted from the first select")
def test_confirms_count_from_the_first_select(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.publish("", queue, b"before")
    channel.confirm_select()
    for _ in range(3):
        channel.publish("", queue, b"x")
    assert channel.confirms(3) == {1: True, 2: True, 3: True}
    channel.confirm_select()
    channel.publish("", queue, b"after a second select")
    assert channel.expect(Basic.Ack).delivery_tag == 4
    channel.nothing_more()


@spec("5.4", "acks may be multiple: each message is confirmed exactly once")
@pytest.mark.parametrize("mode", [1, 2])
@pytest.mark.parametrize("durable", [False, True])
def test_every_message_is_confirmed_once(channel: WireChannel, unique: Unique, durable: bool, mode: int) -> None:
    queue = channel.queue(unique("q"), durable=durable, auto_delete=not durable)
    channel.confirm_select()
    for number in range(500):
        channel.publish("", queue, b"%d" % number, delivery_mode=mode)
    assert channel.confirms(500) == dict.fromkeys(range(1, 501), True)
    channel.nothing_more()
    assert channel.bodies(queue) == [b"%d" % number for number in range(500)]


@spec("5.4", "across queues")
def test_confirms_for_many_queues(channel: WireChannel, unique: Unique) -> None:
    durable, transient = channel.queue(unique("d"), durable=True), channel.queue()
    channel.bind(durable, "amq.direct", durable)
    channel.bind(transient, "amq.direct", durable)
    channel.confirm_select()
    for number in range(100):
        channel.publish(
            "amq.direct" if number % 3 else "", [durable, transient][number % 2] if not number % 3 else durable, b"x", delivery_mode=2
        )
    assert channel.confirms(100) == dict.fromkeys(range(1, 101), True)


@spec("5.4", "unroutable is acked at once; the return comes before the confirm")
def test_an_unroutable_message_is_returned_and_then_confirmed(channel: WireChannel) -> None:
    channel.confirm_select()
    channel.publish("amq.direct", "nowhere-at-all", b"1", mandatory=True)
    assert channel.returned().body == b"1"
    channel.expect(Basic.Ack, delivery_tag=1)
    channel.publish("amq.direct", "nowhere-at-all", b"2")
    channel.expect(Basic.Ack, delivery_tag=2)


@spec("5.4", "a returned message between others: each return comes before its own confirm")
def test_returns_among_confirms(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.confirm_select()
    for number in range(1, 21):
        channel.publish("", queue if number % 2 else "nowhere-at-all", b"%d" % number, mandatory=True)
    returned, confirmed = set(), set()
    while len(confirmed) < 20:
        if isinstance(channel.wire.peek_frame().method, Basic.Return):
            returned.add(int(channel.returned().body))
            continue
        ack = channel.expect(Basic.Ack)
        fresh = set(range(1, ack.delivery_tag + 1)) - confirmed if ack.multiple else {ack.delivery_tag}
        assert {number for number in fresh if number % 2 == 0} <= returned
        confirmed |= fresh
    assert returned == set(range(2, 21, 2))


@spec("5.4", "nowait honoured")
def test_confirm_select_without_waiting(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.send(Confirm.Select, nowait=True)
    channel.publish("", queue, b"x")
    assert channel.expect(Basic.Ack).delivery_tag == 1


@spec("5.4", "a channel's confirms are its own")
def test_confirms_belong_to_their_channel(channel: WireChannel) -> None:
    second = channel.wire.open_channel()
    queue = channel.queue()
    channel.confirm_select()
    channel.publish("", queue, b"1")
    second.publish("", queue, b"2")
    assert channel.expect(Basic.Ack).delivery_tag == 1
    second.nothing_more()


@spec("5.4", "a confirm does not wait for the consumer")
def test_confirms_do_not_wait_for_consumers(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.consume(queue)
    second = channel.wire.open_channel()
    second.confirm_select()
    second.publish("", queue, b"x", delivery_mode=2)
    assert second.confirms(1) == {1: True}
    assert channel.deliver().body == b"x"


@spec("5.4", "a reject-publish refusal is nacked")
def test_a_full_queue_that_rejects_is_told_by_nack(channel: WireChannel) -> None:
    queue = channel.queue(arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.confirm_select()
    channel.publish("", queue, b"fits")
    assert channel.confirms(1) == {1: True}
    channel.publish("", queue, b"does not")
    channel.expect(Basic.Nack, delivery_tag=2)
    channel.nothing_more()
    assert channel.bodies(queue) == [b"fits"]


@spec("5.4", "tx on the channel [s] 406, and the other way round")
@pytest.mark.parametrize(
    ("first", "second", "text", "ids"),
    [
        ("tx_select", "Confirm.Select", "cannot switch from tx to confirm mode", (85, 10)),
        ("confirm_select", "Tx.Select", "cannot switch from confirm to tx mode", (90, 10)),
    ],
)
def test_confirms_and_transactions_exclude_each_other(
    channel: WireChannel, first: str, second: str, text: str, ids: tuple[int, int]
) -> None:
    getattr(channel, first)()
    channel.send(BY_NAME[second])
    channel.expect_close(406, f"PRECONDITION_FAILED - {text}", ids)


@spec("4.5", "outstanding confirms for its messages are acked when a queue is deleted")
def test_confirms_for_a_deleted_queue(channel: WireChannel, unique: Unique) -> None:
    queue = channel.queue(unique("q"), durable=True)
    channel.confirm_select()
    for _ in range(50):
        channel.publish("", queue, b"x", delivery_mode=2)
    channel.send(Queue.Delete, queue=queue)
    confirmed: set[int] = set()
    deleted = False
    while len(confirmed) < 50 or not deleted:
        method = channel.wire.next_frame().method
        if isinstance(method, Queue.DeleteOk):
            deleted = True
            continue
        assert isinstance(method, Basic.Ack)
        assert method.delivery_tag is not None
        confirmed |= set(range(1, method.delivery_tag + 1)) if method.multiple else {method.delivery_tag}
    assert confirmed == set(range(1, 51))


@spec("5.4", "a publish that fails closes the channel; what came before it is confirmed or lost with it, never nacked")
def test_a_failing_publish_in_confirm_mode(channel: WireChannel) -> None:
    channel.confirm_select()
    channel.publish("nowhere", "", b"x")
    channel.expect_close(404, "NOT_FOUND - no exchange 'nowhere' in vhost '/'", (60, 40))


@spec("5.4", "the broker's confirms are not the client's to answer")
def test_an_ack_from_the_publisher_is_a_consumers_ack(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.confirm_select()
    channel.publish("", queue, b"x")
    assert channel.confirms(1) == {1: True}
    channel.ack(1)
    channel.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 1", (60, 80))

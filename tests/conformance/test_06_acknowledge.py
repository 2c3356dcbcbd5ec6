"""Contract 6.5: ack, nack, reject, recover."""

import pytest
from pamqp.commands import Basic

from tests.spec import spec
from tests.wire import WireChannel


def filled(channel: WireChannel, count: int, name: str = "") -> str:
    queue = channel.queue(name)
    for number in range(1, count + 1):
        channel.publish("", queue, b"%d" % number)
    return queue


def taken(channel: WireChannel, queue: str, count: int) -> list[int]:
    return [channel.take(queue, no_ack=False).tag for _ in range(count)]


# --- tags


@spec("6.5", "ack, nack, reject of an unknown or used tag [s] 406")
@pytest.mark.parametrize(("method", "ids"), [(Basic.Ack, (60, 80)), (Basic.Reject, (60, 90)), (Basic.Nack, (60, 120))])
@pytest.mark.parametrize("tag", [0, 99, 2**64 - 1])
def test_an_unknown_delivery_tag(channel: WireChannel, method: type, ids: tuple[int, int], tag: int) -> None:
    channel.send(method, delivery_tag=tag)
    channel.expect_close(406, f"PRECONDITION_FAILED - unknown delivery tag {tag}", ids)


@spec("6.5")
@pytest.mark.parametrize("method", [Basic.Ack, Basic.Reject, Basic.Nack])
def test_a_delivery_tag_used_twice(channel: WireChannel, method: type) -> None:
    queue = filled(channel, 3)
    taken(channel, queue, 3)
    channel.ack(2)
    channel.nothing_more()
    channel.send(method, delivery_tag=2)
    channel.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 2")


@spec("6.5", "a message taken with no_ack has nothing to ack")
def test_a_tag_that_needs_no_ack(channel: WireChannel) -> None:
    queue = filled(channel, 1)
    channel.take(queue, no_ack=True)
    channel.ack(1)
    channel.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 1", (60, 80))


@spec("6.5", "tags belong to their channel")
def test_a_tag_of_another_channel(channel: WireChannel) -> None:
    queue = filled(channel, 1)
    taken(channel, queue, 1)
    second = channel.wire.open_channel()
    second.ack(1)
    second.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 1", (60, 80))


@spec("6.5", "an unknown tag with multiple is unknown, too")
@pytest.mark.parametrize("tag", [5, 99])
def test_multiple_up_to_an_unknown_tag(channel: WireChannel, tag: int) -> None:
    queue = filled(channel, 3)
    taken(channel, queue, 3)
    channel.ack(tag, multiple=True)
    channel.expect_close(406, f"PRECONDITION_FAILED - unknown delivery tag {tag}", (60, 80))


@spec("6.5", "multiple up to a tag that is settled already")
def test_multiple_up_to_a_settled_tag(channel: WireChannel) -> None:
    queue = filled(channel, 3)
    taken(channel, queue, 3)
    channel.ack(2)
    channel.ack(2, multiple=True)
    channel.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 2", (60, 80))


@spec("6.5", "multiple with 0 = all (nothing outstanding is ok)")
@pytest.mark.parametrize("method", [Basic.Ack, Basic.Nack])
def test_multiple_with_tag_0(channel: WireChannel, method: type) -> None:
    channel.send(method, delivery_tag=0, multiple=True, **({"requeue": False} if method is Basic.Nack else {}))
    queue = filled(channel, 3)
    taken(channel, queue, 3)
    channel.send(method, delivery_tag=0, multiple=True, **({"requeue": False} if method is Basic.Nack else {}))
    channel.nothing_more()
    channel.close()
    channel.reopen()
    assert channel.get(queue) is None


@spec("6.5", "multiple settles all up to the tag, and none above it")
def test_multiple_acks_all_up_to_the_tag(channel: WireChannel) -> None:
    queue = filled(channel, 5)
    taken(channel, queue, 5)
    channel.ack(2)
    channel.ack(4, multiple=True)
    channel.close()
    channel.reopen()
    assert channel.bodies(queue) == [b"5"]


@spec("6.5", "multiple reaches over queues and consumers")
def test_multiple_over_several_queues(channel: WireChannel) -> None:
    queues = [filled(channel, 2) for _ in range(3)]
    for queue in queues:
        taken(channel, queue, 2)
    channel.ack(5, multiple=True)
    channel.close()
    channel.reopen()
    assert [channel.bodies(queue) for queue in queues] == [[], [], [b"2"]]


# --- requeue


@spec("6.5", "requeue: classic to the exact old position")
@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_requeued_messages_return_to_their_places(channel: WireChannel, order: tuple[int, ...]) -> None:
    queue = filled(channel, 5)
    taken(channel, queue, 3)
    for tag in order:
        channel.reject(tag, requeue=True)
    messages = [channel.take(queue) for _ in range(5)]
    assert [message.body for message in messages] == [b"1", b"2", b"3", b"4", b"5"]
    assert [message.method.redelivered for message in messages] == [True, True, True, False, False]


@spec("6.5", "to the exact old position, between those that are still out")
def test_a_requeued_message_among_unacked_ones(channel: WireChannel) -> None:
    queue = filled(channel, 4)
    taken(channel, queue, 3)
    channel.nack(2)
    assert channel.bodies(queue) == [b"2", b"4"]
    channel.nack(3)
    channel.nack(1)
    assert channel.bodies(queue) == [b"1", b"3"]


@spec("6.5", "nack with multiple")
def test_nack_of_many(channel: WireChannel) -> None:
    queue = filled(channel, 5)
    taken(channel, queue, 4)
    channel.nack(3, multiple=True)
    assert channel.bodies(queue) == [b"1", b"2", b"3", b"5"]


@spec("6.5", "without requeue it is gone")
@pytest.mark.parametrize("how", ["nack", "reject"])
def test_without_requeue_it_is_gone(channel: WireChannel, how: str) -> None:
    queue = filled(channel, 2)
    taken(channel, queue, 1)
    getattr(channel, how)(1, requeue=False)
    channel.close()
    channel.reopen()
    assert channel.bodies(queue) == [b"2"]


@spec("6.5", "a requeued message goes to a consumer that has credit, also the same one")
def test_a_requeued_message_is_delivered_again(channel: WireChannel) -> None:
    queue = filled(channel, 2)
    channel.qos(1)
    channel.consume(queue)
    channel.nack(channel.deliver(redelivered=False).tag)
    again = channel.deliver(redelivered=True)
    assert (again.body, again.tag) == (b"1", 2)


# --- recover


@spec("6.5", "recover(requeue=true): recover-ok first, then the redeliveries")
def test_recover(channel: WireChannel) -> None:
    queue = filled(channel, 3)
    channel.consume(queue, "t")
    channel.deliveries(3)
    channel.ack(2)
    channel.call(Basic.Recover, requeue=True)
    messages = channel.deliveries(2)
    assert [(message.body, message.tag, message.method.redelivered) for message in messages] == [(b"1", 4, True), (b"3", 5, True)]
    channel.nothing_more(queue)


@spec("6.5", "recover takes back what gets have taken, too; the old tags are unknown then")
def test_recover_after_gets(channel: WireChannel) -> None:
    queue = filled(channel, 2)
    taken(channel, queue, 2)
    channel.call(Basic.Recover, requeue=True)
    assert channel.bodies(queue) == [b"1", b"2"]
    channel.ack(1)
    channel.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 1", (60, 80))


@pytest.mark.filterwarnings("ignore:This command is deprecated:DeprecationWarning")
@spec("6.5", "recover-async is the same without an answer")
def test_recover_async(channel: WireChannel) -> None:
    queue = filled(channel, 2)
    taken(channel, queue, 2)
    channel.send(Basic.RecoverAsync, requeue=True)
    assert channel.bodies(queue) == [b"1", b"2"]


@pytest.mark.filterwarnings("ignore:This command is deprecated:DeprecationWarning")
@spec("6.5", "false [h] 540")
@pytest.mark.parametrize(("method", "ids"), [(Basic.Recover, (60, 110)), (Basic.RecoverAsync, (60, 100))])
def test_recover_without_requeue(channel: WireChannel, method: type, ids: tuple[int, int]) -> None:
    channel.send(method, requeue=False)
    channel.expect_connection_close(540, "NOT_IMPLEMENTED - requeue=false", ids)


@spec("6.5", "recover with nothing outstanding")
def test_recover_of_nothing(channel: WireChannel) -> None:
    channel.call(Basic.Recover, requeue=True)
    channel.nothing_more()

"""Contract 8, transactions."""

import pytest
from pamqp.commands import Basic, Queue, Tx

from tests.fixtures import Unique
from tests.spec import spec
from tests.wire import METHOD, WireChannel, encode_method, frame_bytes


@spec("8.1", "publishes take effect at commit")
def test_publishes_wait_for_the_commit(channel: WireChannel, other: WireChannel, unique: Unique) -> None:
    queue = channel.queue(unique("q"), durable=True)
    channel.tx_select()
    for body in (b"1", b"2"):
        channel.publish("", queue, body)
    channel.nothing_more()
    assert other.get(queue) is None
    channel.commit()
    assert other.bodies(queue) == [b"1", b"2"]


@spec("8.1", "rollback: publishes dropped")
def test_a_rollback_drops_the_publishes(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.tx_select()
    channel.publish("", queue, b"dropped")
    channel.rollback()
    channel.publish("", queue, b"kept")
    channel.commit()
    channel.rollback()
    assert channel.bodies(queue) == [b"kept"]


@spec("8.1", "acks take effect at commit")
def test_acks_wait_for_the_commit(channel: WireChannel) -> None:
    queue = channel.queue()
    for body in (b"1", b"2", b"3"):
        channel.publish("", queue, body)
    channel.tx_select()
    tags = [channel.take(queue, no_ack=False).tag for _ in range(3)]
    channel.ack(tags[0])
    channel.commit()
    channel.ack(tags[1])
    channel.close()
    channel.reopen()
    assert channel.bodies(queue) == [b"2", b"3"]


@spec("8.1", "rollback: the tags can be acked again")
def test_a_rollback_gives_back_the_tags(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.publish("", queue, b"x")
    channel.tx_select()
    tag = channel.take(queue, no_ack=False).tag
    channel.ack(tag)
    channel.rollback()
    assert channel.get(queue) is None, "it is not requeued"
    channel.ack(tag)
    channel.commit()
    channel.ack(tag)
    channel.expect_close(406, f"PRECONDITION_FAILED - unknown delivery tag {tag}", (60, 80))


@spec("8.1", "nack and reject with requeue wait, too")
def test_requeues_wait_for_the_commit(channel: WireChannel) -> None:
    queue = channel.queue()
    for body in (b"1", b"2"):
        channel.publish("", queue, body)
    channel.tx_select()
    tags = [channel.take(queue, no_ack=False).tag for _ in range(2)]
    channel.nack(tags[0])
    channel.reject(tags[1])
    assert channel.get(queue) is None
    channel.commit()
    assert channel.bodies(queue) == [b"1", b"2"]


@spec("8.1", "errors (missing exchange 404, unknown tag 406) at once")
def test_a_missing_exchange_is_told_at_once(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.tx_select()
    channel.publish("", queue, b"lost with the channel")
    channel.publish("nowhere", "", b"x")
    channel.expect_close(404, "NOT_FOUND - no exchange 'nowhere' in vhost '/'", (60, 40))
    channel.reopen()
    assert channel.get(queue) is None


@spec("8.1")
def test_an_unknown_tag_is_told_at_once(channel: WireChannel) -> None:
    channel.tx_select()
    channel.ack(7)
    channel.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 7", (60, 80))


@spec("8.1", "a tag acked twice inside one transaction")
def test_a_tag_acked_twice_in_a_transaction(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.publish("", queue, b"x")
    channel.tx_select()
    tag = channel.take(queue, no_ack=False).tag
    channel.ack(tag)
    channel.ack(tag)
    channel.expect_close(406, f"PRECONDITION_FAILED - unknown delivery tag {tag}", (60, 80))


@spec("8.1", "returns are sent at commit before commit-ok")
def test_returns_come_with_the_commit(channel: WireChannel) -> None:
    channel.tx_select()
    for body in (b"1", b"2"):
        channel.publish("", "nowhere-at-all", body, mandatory=True)
    channel.nothing_more()
    channel.send(Tx.Commit)
    assert [channel.returned().body for _ in range(2)] == [b"1", b"2"]
    channel.expect(Tx.CommitOk)


@spec("8.1", "routing at once: a binding made later doesn't count")
def test_routing_is_done_at_publish(channel: WireChannel, unique: Unique) -> None:
    exchange, early, late = channel.exchange(unique("x"), "fanout"), channel.queue(), channel.queue()
    channel.bind(early, exchange)
    channel.tx_select()
    channel.publish(exchange, "", b"x")
    channel.bind(late, exchange)
    channel.commit()
    assert (channel.bodies(early), channel.bodies(late)) == ([b"x"], [])


@spec("8.1", "commit or rollback without select [s] 406")
@pytest.mark.parametrize(("method", "ids"), [(Tx.Commit, (90, 20)), (Tx.Rollback, (90, 30))])
def test_a_channel_that_is_not_transactional(channel: WireChannel, method: type, ids: tuple[int, int]) -> None:
    channel.send(method)
    channel.expect_close(406, "PRECONDITION_FAILED - channel is not transactional", ids)


@spec("8.1", "select twice is once")
def test_select_twice(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.tx_select()
    channel.publish("", queue, b"x")
    channel.tx_select()
    channel.commit()
    assert channel.bodies(queue) == [b"x"]


@spec("8.1", "an empty transaction")
def test_an_empty_transaction(channel: WireChannel) -> None:
    channel.tx_select()
    for _ in range(3):
        channel.commit()
        channel.rollback()


@spec("8.1", "a channel that ends rolls back; so does a connection (1.12)")
@pytest.mark.parametrize("how", ["channel", "connection", "socket"])
def test_an_end_without_commit_is_a_rollback(channel: WireChannel, other: WireChannel, unique: Unique, how: str) -> None:
    queue = other.queue(unique("q"), durable=True)
    other.publish_confirmed("", queue, b"old")
    channel.tx_select()
    channel.ack(channel.take(queue, no_ack=False).tag)
    channel.publish("", queue, b"new")
    channel.nothing_more()
    {"channel": channel.close, "connection": channel.wire.close, "socket": channel.wire.abort}[how]()
    other.wire.timeout = 10
    other.consume(queue)
    assert other.deliver(redelivered=True).body == b"old"
    other.nothing_more(queue)


@spec("8.1", "a delivery that came before is not undone by a rollback, and consumers go on")
def test_deliveries_go_on_in_a_transaction(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.tx_select()
    channel.qos(1)
    for body in (b"1", b"2"):
        channel.publish("", queue, body)
    channel.commit()
    channel.consume(queue)
    message = channel.deliver()
    channel.ack(message.tag)
    channel.nothing_more(queue)
    channel.send(Tx.Commit)
    frames = [str(channel.wire.next_frame()) for _ in range(4)]  # commit-ok and the three of the delivery, whichever comes first
    assert any("Tx.CommitOk" in frame for frame in frames)
    assert any("Basic.Deliver" in frame for frame in frames)


@spec("8.1", "declares are not part of a transaction")
def test_declares_take_effect_at_once(channel: WireChannel, other: WireChannel, unique: Unique) -> None:
    name = unique("q")
    channel.tx_select()
    channel.call(Queue.Declare, queue=name)
    channel.rollback()
    other.call(Queue.Declare, queue=name, passive=True)


@spec("8.1", "reject-publish inside: commit answers [s] 406 partial tx completion")
def test_a_refused_publish_fails_the_commit(channel: WireChannel) -> None:
    queue = channel.queue(arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.tx_select()
    for body in (b"fits", b"does not"):
        channel.publish("", queue, body)
    channel.send(Tx.Commit)
    channel.expect_close(406, "PRECONDITION_FAILED - partial tx completion", (90, 20))


@spec("8.1", "a method while commit is pending [h] 504")
@pytest.mark.parametrize(("method", "reply", "ids"), [(Basic.Qos, Basic.QosOk, (60, 10)), (Tx.Commit, Tx.CommitOk, (90, 20))])
def test_a_method_while_the_commit_is_pending(
    channel: WireChannel, unique: Unique, method: type, reply: type, ids: tuple[int, int]
) -> None:
    queue = channel.queue(unique("q"), durable=True)
    channel.tx_select()
    for _ in range(50):
        channel.publish("", queue, b"x" * 1000, delivery_mode=2)
    commit, next_method = (frame_bytes(METHOD, channel.number, encode_method(command)) for command in (Tx.Commit, method))
    channel.wire.send_raw(commit + next_method)
    if isinstance(channel.wire.peek_frame().method, Tx.CommitOk):  # it was over by then: nothing to wait for, from memory
        channel.expect(Tx.CommitOk)
        channel.expect(reply)
        return
    channel.expect_connection_close(504, "CHANNEL_ERROR - unexpected command while processing 'tx.commit'", ids)


@spec("8.1", "many messages in one transaction, in order, over several queues")
def test_a_large_transaction(channel: WireChannel, unique: Unique) -> None:
    queues = [channel.queue(unique("q"), durable=True) for _ in range(3)]
    channel.tx_select()
    for number in range(300):
        channel.publish("", queues[number % 3], b"%d" % number, delivery_mode=2)
    channel.commit()
    for index, queue in enumerate(queues):
        assert channel.bodies(queue) == [b"%d" % number for number in range(index, 300, 3)]


@spec("8.1", "acks and publishes of one commit: work is passed on")
def test_work_is_passed_on_in_a_transaction(channel: WireChannel) -> None:
    inbox, outbox = channel.queue(), channel.queue()
    for number in range(10):
        channel.publish("", inbox, b"%d" % number)
    channel.tx_select()
    for _ in range(10):
        message = channel.take(inbox, no_ack=False)
        channel.publish("", outbox, message.body)
        channel.ack(message.tag)
        channel.commit()
    assert channel.bodies(outbox) == [b"%d" % number for number in range(10)]
    channel.send(Basic.Get, queue=inbox)
    channel.expect(Basic.GetEmpty)

"""Transactions in the core (contract 8.1): in one turn, one commit of the log, and commit-ok behind it."""

import pytest

from protocol.methods import Queue, Tx
from tests.core.playbook import Got, Playbook, PlayedChannel
from tests.spec import spec


@pytest.fixture
def tx(book: Playbook, channel: PlayedChannel) -> PlayedChannel:
    """A transactional channel, a durable queue and a plain one."""
    channel.declare("durable", durable=True)
    channel.declare("plain")
    channel.do(Tx.Select)
    book.settle()
    channel.take()
    return channel


def got(book: Playbook, channel: PlayedChannel, queue: str) -> int:
    """Take a message; its tag."""
    channel.get(queue)
    book.settle()
    (reply,) = channel.take()
    assert isinstance(reply, Got)
    return reply.tag


@spec("8.1", "publishes, then acks, take effect at commit; one atomic block, commit-ok after durable")
@pytest.mark.parametrize("steps", [0, 1])
def test_a_commit_survives_whole_or_not_at_all(book: Playbook, tx: PlayedChannel, other: PlayedChannel, steps: int) -> None:
    other.publish("durable", b"old")
    book.settle()
    tag = got(book, tx, "durable")
    tx.publish("durable", b"a", b"b")
    tx.publish("durable", b"c")
    tx.ack(tag)
    assert book.ready("durable") == []
    tx.commit()
    book.turn()
    assert tx.take() == []
    for _ in range(steps):
        book.step()
    assert tx.names() == ["Tx.CommitOk"] * steps
    book.crash()
    assert book.ready("durable") == ([b"a", b"b", b"c"] if steps else [b"old"])


@spec("8.1", "commit-ok after durable")
def test_a_commit_of_acks_alone_is_synced(book: Playbook, tx: PlayedChannel, other: PlayedChannel) -> None:
    other.publish("durable", b"1")
    book.settle()
    tx.ack(got(book, tx, "durable"))
    tx.commit()
    book.settle()
    assert tx.names() == ["Tx.CommitOk"]
    book.crash()
    assert book.ready("durable") == []


@spec("8.1", "Rollback: publishes dropped, the tags can be acked again")
def test_rollback(book: Playbook, tx: PlayedChannel, other: PlayedChannel) -> None:
    other.publish("plain", b"1", b"2")
    book.settle()
    first, second = got(book, tx, "plain"), got(book, tx, "plain")
    tx.publish("durable", b"x")
    tx.ack(second, multiple=True)
    tx.do(Tx.Rollback)
    tx.nack(second, multiple=True)
    tx.commit()
    book.settle()
    assert tx.names() == ["Tx.RollbackOk", "Tx.CommitOk"]
    assert book.ready("durable") == []
    assert book.ready("plain") == [b"1", b"2"]
    assert first == 1 and not tx.open.unacked


@spec("1.12", "transactions rolled back")
@pytest.mark.parametrize("how", ["close", "lose"])
def test_a_lost_channel_rolls_back(book: Playbook, tx: PlayedChannel, other: PlayedChannel, how: str) -> None:
    other.publish("plain", b"1")
    book.settle()
    tx.ack(got(book, tx, "plain"))
    tx.publish("plain", b"2")
    if how == "close":
        tx.close()
    else:
        tx.peer.lose()
    book.settle()
    assert book.ready("plain") == [b"1"]
    assert book.queue("plain").unacked == 0


@spec("8.1", "returns are sent at commit before commit-ok")
def test_returns_at_commit(book: Playbook, tx: PlayedChannel) -> None:
    tx.publish("nowhere", b"1", mandatory=True)
    tx.publish("durable", b"2", mandatory=True)
    book.settle()
    assert tx.take() == []
    tx.commit()
    book.settle()
    assert tx.names() == ["NO_ROUTE", "Tx.CommitOk"]


@spec("8.1", "Routing at once, effect at commit: the queue may be gone by then")
def test_a_queue_deleted_meanwhile(book: Playbook, tx: PlayedChannel, other: PlayedChannel) -> None:
    tx.publish("durable", b"1", mandatory=True)
    other.do(Queue.Delete, queue="durable")
    other.declare("durable", durable=True)
    tx.commit()
    book.settle()
    assert tx.names() == ["NO_ROUTE", "Tx.CommitOk"]
    assert [segment.live for segment in book.broker.outbox.ledger._segments] == [0], "and nothing counts as alive"
    book.restart()
    assert book.ready("durable") == []


@spec("6.3", "what a transaction has acked still counts until commit")
def test_credit_comes_with_the_commit(book: Playbook, tx: PlayedChannel, other: PlayedChannel) -> None:
    tx.qos(1)
    tx.consume("plain")
    other.publish("plain", b"1", b"2")
    book.settle()
    tx.ack(1)
    book.settle()
    assert tx.names() == ["Basic.QosOk", "Basic.ConsumeOk", "1"]
    tx.commit()
    book.settle()
    assert sorted(tx.names()) == ["2", "Tx.CommitOk"]


@spec("8.1", "errors (unknown tag 406) at once")
def test_a_tag_is_known_once(book: Playbook, tx: PlayedChannel, other: PlayedChannel) -> None:
    other.publish("plain", b"1")
    book.settle()
    tag = got(book, tx, "plain")
    tx.ack(tag)
    tx.ack(tag)
    book.settle()
    assert tx.refusal() == (406, f"PRECONDITION_FAILED - unknown delivery tag {tag}")
    assert book.ready("plain") == [b"1"]


@spec("8.1", "A method while commit is pending [h] 504")
def test_nothing_else_while_a_commit_waits(book: Playbook, tx: PlayedChannel) -> None:
    tx.publish("durable", b"1")
    tx.commit()
    book.turn()
    tx.get("durable")
    assert tx.peer.wire.closed is not None and tx.peer.wire.closed.code == 504


@spec("8.1", "A method while commit is pending [h] 504, but for channel.close (rabbit_channel.erl)")
def test_the_channel_may_be_closed_while_a_commit_waits(book: Playbook, tx: PlayedChannel) -> None:
    tx.publish("durable", b"1")
    tx.commit()
    tx.close()
    assert tx.peer.wire.closed is None
    book.settle()
    assert tx.names() == ["Tx.CommitOk", "Channel.CloseOk"]

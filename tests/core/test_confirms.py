"""Publisher confirms (contract 5.4): every publish is answered once, and `multiple` covers nothing that is still open."""

from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core.channel import Channel
from broker.core.confirms import Confirms
from broker.core.counters import Given
from protocol.content import Properties, encode_properties
from protocol.methods import Confirm, Queue
from tests.core.playbook import Acked, Nacked, Playbook, PlayedChannel, Reply, Wire
from tests.spec import spec


class _Session:
    def __init__(self) -> None:
        self.wire = Wire()


class _Channel:
    """As much of a channel as Confirms needs."""

    number = 1

    def __init__(self) -> None:
        self.session = _Session()
        self.given = Given()

    def write(self, frames: bytes) -> None:
        self.session.wire.write(frames)


@spec("5.4", "acks may be multiple and out of order across queues")
@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_a_set_of_answered_tags_says_the_same(runs: list[tuple[int, bool]], random: object) -> None:
    channel = _Channel()
    confirms = Confirms(cast("Channel", channel))
    todo: list[tuple[int, int, bool]] = []
    for count, refused in runs:
        todo.append((confirms.published + 1, confirms.published + count, refused))
        confirms.published += count
    random.shuffle(todo)  # type: ignore[attr-defined]
    answered: set[int] = set()
    given_out: set[int] = set()
    for first, last, refused in todo:
        given_out |= set(range(first, last + 1))
        (confirms.refuse if refused else confirms.settle)(first, last)
        heard, channel.session.wire.heard = channel.session.wire.heard, []
        for reply in heard:
            assert isinstance(reply, Nacked if refused else Acked)
            tags = set(range(1, reply.tag + 1)) - answered if isinstance(reply, Acked) and reply.multiple else {reply.tag}
            assert tags <= given_out - answered, "answers for what is open, or twice"
            answered |= tags
        assert answered == given_out
        assert confirms.unconfirmed == confirms.published - len(answered)


def select(book: Playbook, channel: PlayedChannel) -> None:
    channel.declare("durable", durable=True)
    channel.declare("transient")
    channel.do(Confirm.Select)
    book.settle()
    channel.take()


@spec("5.4", "unroutable is acked at once; transient needs no disk")
def test_what_needs_no_disk_is_acked_at_the_end_of_the_turn(book: Playbook, channel: PlayedChannel) -> None:
    select(book, channel)
    channel.publish("nowhere", b"1")
    channel.publish("transient", b"2")
    channel.publish("durable", b"3", persistent=False)
    assert channel.take() == []
    book.turn()
    assert channel.take() == [Acked(1, 3, True)]


@spec("5.3", "a confirmed message is on the disk")
def test_a_persistent_one_on_a_durable_queue_waits_for_the_disk(book: Playbook, channel: PlayedChannel) -> None:
    select(book, channel)
    channel.publish("durable", b"1")
    book.turns()
    assert channel.take() == []
    book.step()
    assert channel.take() == [Acked(1, 1, False)]
    headers = [encode_properties(Properties(delivery_mode=mode), 1) for mode in (1, 2)]
    channel.publish_run("durable", headers, [b"2", b"3"])
    book.turns()
    assert channel.take() == [], "one of a run that must wait makes all of it wait"
    book.step()
    assert channel.take() == [Acked(1, 3, True)]
    book.crash()
    assert book.ready("durable") == [b"1", b"3"]


@spec("5.4", "multiple covers only the unbroken run")
def test_later_ones_that_are_safe_are_acked_singly(book: Playbook, channel: PlayedChannel) -> None:
    select(book, channel)
    channel.publish("transient", b"1", b"2")
    channel.publish("durable", b"3")
    channel.publish("transient", b"4", b"5")
    book.turn()
    assert channel.take() == [Acked(1, 2, True), Acked(1, 4, False), Acked(1, 5, False)]
    channel.publish("transient", b"6")
    book.turn()
    assert channel.take() == [Acked(1, 6, False)]
    book.sync()
    assert channel.take() == [Acked(1, 3, False)], "the run closes over 4 to 6"
    channel.publish("transient", b"7")
    book.turn()
    assert channel.take() == [Acked(1, 7, False)]


@spec("5.4", "a reject-publish refusal is nacked")
def test_a_refused_one_is_nacked_in_the_midst(book: Playbook, channel: PlayedChannel) -> None:
    select(book, channel)
    channel.declare("full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.publish("transient", b"1")
    channel.publish("full", b"2", b"3", b"4")
    channel.publish("transient", b"5")
    book.settle()
    answers: dict[int, type[Reply]] = {}
    for reply in channel.take()[1:]:
        assert isinstance(reply, Acked | Nacked)
        below = range(1, reply.tag + 1) if isinstance(reply, Acked) and reply.multiple else (reply.tag,)
        answers |= {tag: type(reply) for tag in below if tag not in answers}
    assert answers == {1: Acked, 2: Acked, 3: Nacked, 4: Nacked, 5: Acked}


@spec("5.1", "basic.return 312 NO_ROUTE with properties and body, before the confirm")
def test_a_return_comes_before_its_confirm(book: Playbook, channel: PlayedChannel) -> None:
    select(book, channel)
    channel.publish("nowhere", b"1", mandatory=True)
    channel.publish("durable", b"2", mandatory=True)
    book.settle()
    assert channel.names() == ["NO_ROUTE", "ack 1", "ack 2"]


@spec("4.5", "outstanding confirms for its messages are acked")
def test_a_deleted_queue_takes_no_confirm_along(book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
    select(book, channel)
    channel.publish("durable", b"1")
    other.do(Queue.Delete, queue="durable")
    book.settle()
    assert channel.names() == ["ack 1"]


@spec("5.4", "nacked when the disk fails")
def test_a_failed_disk_nacks_and_ends_the_connections_that_wait(book: Playbook, channel: PlayedChannel, other: PlayedChannel) -> None:
    select(book, channel)
    other.publish("durable", b"0")
    book.disk.fail()
    channel.publish("durable", b"1", b"2")
    other.declare("another", durable=True)
    book.settle()
    assert channel.take() == [Nacked(1, 1), Nacked(1, 2)]
    assert other.peer.wire.closed is not None and other.peer.wire.closed.code == 541


@spec("5.4", "each publish is answered once, also when the disk fails")
def test_what_lies_between_two_that_wait_is_answered_once(book: Playbook, channel: PlayedChannel) -> None:
    select(book, channel)
    channel.publish("durable", b"1")
    channel.publish("transient", b"2")
    channel.publish("durable", b"3")
    book.turn()
    assert channel.names() == ["ack 2"]
    book.disk.fail()
    book.settle()
    assert sorted(channel.names()) == ["nack 1", "nack 3"]
    assert channel.open.confirms.unconfirmed == 0


@pytest.mark.parametrize("close", [True, False])
def test_nobody_is_told_on_a_channel_that_is_gone(book: Playbook, channel: PlayedChannel, close: bool) -> None:
    """Contract 1.12."""
    select(book, channel)
    channel.publish("durable", b"1")
    channel.publish("transient", b"2")
    book.turn()
    channel.take()
    if close:
        channel.close()
    else:
        channel.peer.lose()
    again = (channel.peer if close else book.connect()).channel(9)
    book.settle()
    assert channel.names() == (["Channel.CloseOk"] if close else [])
    assert again.take() == []

"""Tags of deliveries that vanished: accepted once, in whatever form, and ignored; everything else about tags is as ever."""

from collections.abc import Callable, Iterator

import pytest
from pamqp.commands import Basic

from tests.testing.state_box import StateBox
from tests.wire import WireChannel

Vanish = Callable[[], object]


@pytest.fixture
def channel(vhost: StateBox) -> Iterator[WireChannel]:
    """A channel in the vhost, with a queue `q`."""
    with vhost.wire() as wire:
        found = wire.open_channel()
        found.queue("q", durable=True)
        yield found


@pytest.fixture(params=["restore", "reset"])
def vanish(request: pytest.FixtureRequest, vhost: StateBox, channel: WireChannel) -> Vanish:
    """Have all messages of the vhost vanish: the queue is empty then."""
    if request.param == "reset":
        return lambda: bool(vhost.reset())
    empty = vhost.snapshot()
    return lambda: vhost.restore(empty)


def hold(channel: WireChannel, count: int) -> list[int]:
    for number in range(count):
        channel.publish("", "q", b"%d" % number)
    return [channel.take("q", no_ack=False).tag for _ in range(count)]


def still_works(channel: WireChannel, next_tag: int) -> None:
    """The channel is open, tags go on where they were, and the queue holds nothing else."""
    channel.publish("", "q", b"after")
    message = channel.take("q", no_ack=False)
    assert (message.body, message.tag, message.method.redelivered) == (b"after", next_tag, False)
    channel.ack(next_tag)
    channel.nothing_more("q")
    assert channel.counts("q") == (0, 0)


ANSWERS: dict[str, Callable[[WireChannel], object]] = {
    "ack each": lambda channel: [channel.ack(tag) for tag in (1, 2, 3)],
    "ack each, the last first": lambda channel: [channel.ack(tag) for tag in (3, 1, 2)],
    "ack all up to one": lambda channel: channel.ack(3, multiple=True),
    "ack some up to one, then the rest": lambda channel: [channel.ack(2, multiple=True), channel.ack(3)],
    "ack all": lambda channel: channel.ack(0, multiple=True),
    "nack all": lambda channel: channel.nack(0, multiple=True),
    "nack one, to be requeued": lambda channel: channel.nack(2),
    "nack all up to one, to be dropped": lambda channel: channel.nack(3, multiple=True, requeue=False),
    "reject": lambda channel: [channel.reject(1), channel.reject(3, requeue=False)],
    "recover": lambda channel: channel.call(Basic.Recover, requeue=True),
    "nothing": lambda channel: None,
}


@pytest.mark.parametrize("answer", list(ANSWERS))
def test_answers_are_accepted_and_ignored(channel: WireChannel, vanish: Vanish, answer: str) -> None:
    assert hold(channel, 3) == [1, 2, 3]
    vanish()
    ANSWERS[answer](channel)
    still_works(channel, 4)


@pytest.mark.parametrize("multiple", [False, True])
@pytest.mark.parametrize("tag", [4, 5, 1000])
def test_a_tag_that_was_never_given_is_unknown(channel: WireChannel, vanish: Vanish, tag: int, multiple: bool) -> None:
    hold(channel, 3)
    vanish()
    channel.ack(tag, multiple=multiple)
    channel.expect_close(406, f"PRECONDITION_FAILED - unknown delivery tag {tag}")


@pytest.mark.parametrize("answer", list(ANSWERS)[:7])
def test_an_answer_counts_once(channel: WireChannel, vanish: Vanish, answer: str) -> None:
    hold(channel, 3)
    vanish()
    ANSWERS[answer](channel)
    channel.ack(2)
    channel.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 2")


def test_what_was_answered_before_is_unknown(channel: WireChannel, vanish: Vanish) -> None:
    hold(channel, 3)
    channel.ack(2)
    vanish()
    channel.ack(1)
    channel.ack(3)
    channel.ack(2)
    channel.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 2")


def test_a_tag_of_another_channel_is_unknown(channel: WireChannel, vanish: Vanish) -> None:
    hold(channel, 3)
    other = channel.wire.open_channel()
    vanish()
    other.ack(1)
    other.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 1")


def test_a_channel_that_is_opened_again_knows_none(channel: WireChannel, vanish: Vanish) -> None:
    hold(channel, 3)
    vanish()
    channel.close()
    channel.reopen()
    channel.ack(1)
    channel.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 1")


@pytest.mark.parametrize("requeue", [None, True, False])
def test_multiple_means_what_lives_among_them_too(channel: WireChannel, vanish: Vanish, requeue: bool | None) -> None:
    hold(channel, 2)
    vanish()
    channel.publish("", "q", b"lives")
    channel.publish("", "q", b"lives too")
    assert [channel.take("q", no_ack=False).tag for _ in range(2)] == [3, 4]
    if requeue is None:
        channel.ack(3, multiple=True)
    else:
        channel.nack(3, multiple=True, requeue=requeue)
    channel.ack(4)
    channel.nothing_more("q")
    assert channel.bodies("q") == ([b"lives"] if requeue else [])


def test_multiple_up_to_a_vanished_one_means_nothing_that_lives(channel: WireChannel, vhost: StateBox) -> None:
    hold(channel, 2)
    vhost.reset()
    channel.publish("", "q", b"lives")
    assert channel.take("q", no_ack=False).tag == 3
    channel.ack(2, multiple=True)
    channel.nothing_more("q")
    assert len(vhost.messages("q", "unacked")) == 1
    channel.nack(3)
    assert channel.bodies("q") == [b"lives"]


# --- transactions ---------------------------------------------------------------------------------------------------


def test_in_a_transaction_an_answer_counts_with_the_commit(channel: WireChannel, vanish: Vanish) -> None:
    hold(channel, 3)
    channel.tx_select()
    vanish()
    channel.ack(2, multiple=True)
    channel.publish("", "q", b"committed")
    channel.commit()
    assert channel.bodies("q") == [b"committed"]
    channel.ack(3)
    channel.commit()
    channel.ack(2)
    channel.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 2")


def test_after_a_rollback_they_can_be_answered_again(channel: WireChannel, vanish: Vanish) -> None:
    hold(channel, 3)
    channel.tx_select()
    vanish()
    channel.ack(0, multiple=True)
    channel.rollback()
    channel.nack(3, multiple=True)
    channel.commit()
    channel.ack(3)
    channel.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 3")


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_what_a_transaction_was_to_settle_vanishes_too(channel: WireChannel, vanish: Vanish, end: str) -> None:
    hold(channel, 3)
    channel.tx_select()
    channel.ack(1)
    channel.nack(2)
    channel.publish("", "q", b"published")
    vanish()
    if end == "commit":
        channel.commit()
        assert channel.bodies("q") == [b"published"]
    else:
        channel.rollback()
        channel.ack(1)
        channel.reject(2)
        assert channel.bodies("q") == []
    channel.ack(3)
    channel.commit()
    channel.ack(1)
    channel.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 1")


# --- credit ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("everywhere", [False, True])
def test_credit_is_given_back(channel: WireChannel, vanish: Vanish, everywhere: bool) -> None:
    channel.qos(2, everywhere=everywhere)
    channel.consume("q", "c")
    for body in (b"1", b"2", b"3"):
        channel.publish("", "q", body)
    assert [message.body for message in channel.deliveries(2)] == [b"1", b"2"]
    vanish()
    for body in (b"4", b"5", b"6"):
        channel.publish("", "q", body)
    assert [(message.body, message.tag) for message in channel.deliveries(2)] == [(b"4", 3), (b"5", 4)]
    channel.ack(2, multiple=True)
    channel.nothing_more("q")  # those don't give credit twice
    channel.ack(3)
    assert channel.deliver().body == b"6"


def test_global_credit_set_later_does_not_count_them(channel: WireChannel, vanish: Vanish) -> None:
    hold(channel, 3)
    vanish()
    channel.qos(1, everywhere=True)
    channel.consume("q", "c")
    channel.publish("", "q", b"x")
    assert channel.deliver().body == b"x"


def test_global_credit_that_counts_what_was_got_is_given_back(channel: WireChannel, vanish: Vanish) -> None:
    hold(channel, 3)
    channel.qos(3, everywhere=True)
    channel.consume("q", "c")
    channel.publish("", "q", b"x")
    channel.nothing_more()
    vanish()
    channel.publish("", "q", b"y")
    assert channel.deliver().body == b"y"


def test_nothing_of_it_is_shown_as_unacked(channel: WireChannel, vhost: StateBox, vanish: Vanish) -> None:
    hold(channel, 3)
    vanish()
    get = vhost.broker.http.get
    assert get(f"/api/queues/{vhost.vhost}/q")["messages"] == 0
    (shown,) = get(f"/api/vhosts/{vhost.vhost}/channels")
    assert shown["messages_unacknowledged"] == 0

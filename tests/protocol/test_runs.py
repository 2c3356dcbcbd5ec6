"""The shorter ways (template, method frame, acks) tell the broker what the slow twin tells, however the bytes arrive."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.errors import ChannelException, ConnectionException
from protocol.events import Tuning
from protocol.runs import KNOWN_MAX, RUN_MAX, SHAPES_MAX
from tests.protocol.playbook import (
    REFUSED,
    Acked,
    Broker,
    Feed,
    Heard,
    Peer,
    Published,
    ack,
    close_channel,
    close_channel_ok,
    content_header,
    cut_at,
    header,
    message,
    one_by_one,
    open_channel,
    publish,
    running,
    whole,
)
from tests.protocol.streams import CHANNELS, FRAME_MAX, MESSAGE_SIZE_MAX, conversations
from tests.protocol.twin import Twin
from tests.spec import spec

TUNING = Tuning(2047, FRAME_MAX, 0)
cuts = st.lists(st.integers(0, 2**20), max_size=12)
budgets = st.sampled_from([1, 2, 7, 5000])
ways = st.sampled_from([whole, one_by_one]) | cuts.map(cut_at)


def busy_peer(feed: Feed = whole, *, budget: int = 5000, cost_each: int = 1) -> Peer:
    return running(
        feed, channels=CHANNELS, tuning=TUNING, message_size_max=MESSAGE_SIZE_MAX, budget=budget, broker=Broker(cost_each=cost_each)
    )


def heard_by_twin(data: bytes) -> list[Heard]:
    twin = Twin(Broker(), FRAME_MAX, MESSAGE_SIZE_MAX)
    twin.receive_data(b"".join(map(open_channel, CHANNELS)))
    twin.broker.hears()
    twin.receive_data(data)
    return twin.broker.hears()


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(conversations, ways, budgets, st.sampled_from([0, 1, 3]))
def test_as_the_twin_hears_it(said: list[bytes], feed: Feed, budget: int, cost_each: int) -> None:
    data = b"".join(said)
    peer = busy_peer(feed, budget=budget, cost_each=cost_each)
    peer.says(data)
    assert peer.broker.hears() == heard_by_twin(data)
    assert peer.connection.buffered_bytes == 0


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(conversations, ways, st.integers(1, 20))
def test_a_conversation_that_breaks_off(said: list[bytes], feed: Feed, missing: int) -> None:
    """What is complete has been heard, what isn't is waited for."""
    data = b"".join(said)
    peer = busy_peer(feed)
    peer.says(data[:-missing])
    heard = peer.broker.hears()
    assert heard == heard_by_twin(data[:-missing])
    peer.says(data[-missing:])
    assert heard + peer.broker.hears() == heard_by_twin(data)


def test_the_shorter_ways_are_taken() -> None:
    """Else all of the above compares the slow way with itself."""
    peer = busy_peer()
    peer.says(message(1, "x", "k", b"abc") * 100)
    assert peer.broker.runs == [1, 1, 98]
    peer.broker.runs.clear()
    peer.says(*(message(1, "x", "k", b"abc", message_id=str(each)) for each in range(100)))
    assert peer.broker.runs == [100]
    peer.broker.runs.clear()
    peer.says(*(ack(1, each + 1) for each in range(100)))
    assert peer.broker.runs == [100]


def test_publishes_that_have_little_in_common_are_one_run() -> None:
    """Channels, keys and sizes in turn, as long as each method frame was there before."""
    peer = busy_peer()
    kinds = [(channel, f"k{key}", b"x" * size) for channel in (1, 2) for key in range(8) for size in (0, 1, 300)]
    said = [message(channel, "x", key, body, message_id=str(each)) for each, (channel, key, body) in enumerate(kinds * 10)]
    peer.says(*said)
    peer.broker.runs.clear()
    peer.says(*said)
    assert peer.broker.runs == [len(said)]
    peer.broker.runs.clear()
    again = [*said[:60], close_channel(1), open_channel(1), *said[:60]]
    peer.says(*again)
    assert peer.broker.runs[0] == 60
    assert max(peer.broker.runs[1:]) < 60, "the channel that was opened again has no method frames yet"
    assert peer.broker.hears() == heard_by_twin(b"".join([*said, *said, *again]))


def test_what_is_remembered_is_bounded() -> None:
    """Keys and sizes may be made up by the thousand."""
    peer = busy_peer()
    said = [message(1, "x", f"k{number}", b"x" * (number % 700), message_id=str(number)) for number in range(3 * KNOWN_MAX)]
    peer.says(*said)
    assert peer.broker.hears() == heard_by_twin(b"".join(said))
    assert 0 < len(peer.connection._known) <= KNOWN_MAX
    assert 0 < len(peer.connection._shapes) <= SHAPES_MAX
    peer.says(close_channel(1))
    assert not peer.connection._known


# --- the budget


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(conversations, ways, budgets, st.sampled_from([0, 1, 10_000]))
def test_the_budget_changes_nothing_but_the_turns(said: list[bytes], feed: Feed, budget: int, cost_each: int) -> None:
    data = b"".join(said)
    at_once = busy_peer()
    at_once.says(data)
    peer = busy_peer(feed, budget=budget, cost_each=cost_each)
    peer.says(data)
    assert peer.broker.hears() == at_once.broker.hears()


def turns(peer: Peer, data: bytes, budget: int) -> list[list[int]]:
    """The lengths of the runs in each turn that it takes to read `data`."""
    done, lengths = peer.connection.receive_data(data, budget), []
    while True:
        assert peer.broker.runs or done
        lengths.append(peer.broker.runs.copy())
        peer.broker.runs.clear()
        if done:
            return [turn for turn in lengths if turn]
        done = peer.connection.receive_data(b"", budget)


@pytest.mark.parametrize("own_header", [False, True])
def test_a_turn_ends_soon_when_messages_are_dear(own_header: bool) -> None:
    """One publish may go to 10,000 queues."""
    peer = busy_peer(cost_each=10_000)
    said = b"".join(message(1, "x", "k", b"abc", message_id=str(each * own_header)) for each in range(20))
    each_turn = turns(peer, said, 5000)
    assert sum(map(sum, each_turn)) == 20
    assert sum(each_turn[0]) <= 2
    assert each_turn[1:] == [[1]] * (20 - sum(each_turn[0]))


@pytest.mark.parametrize("own_header", [False, True])
@pytest.mark.parametrize(("cost_each", "budget"), [(1, 10), (3, 10), (1, 5000), (2, 5000)])
def test_a_turn_is_as_long_as_its_budget(own_header: bool, cost_each: int, budget: int) -> None:
    peer = busy_peer(cost_each=cost_each)
    said = b"".join(message(1, "x", "k", b"abc", message_id=str(each * own_header)) for each in range(8000))
    for turn in turns(peer, said, budget)[:-1]:
        assert budget <= cost_each * sum(turn) <= budget + 2 * cost_each
        assert max(turn) <= RUN_MAX


def test_the_first_run_behind_cheap_ones_is_short() -> None:
    peer = busy_peer(cost_each=1)
    peer.says(message(1, "x", "cheap", b"abc") * 50)
    peer.broker.cost_each = 10_000
    peer.broker.runs.clear()
    assert turns(peer, message(1, "x", "dear", b"abc") * 5, 5000) == [[1], [1], [1], [1], [1]]


def test_acks_come_in_runs_of_a_thousand() -> None:
    peer = busy_peer()
    peer.says(*(ack(1, each + 1000) for each in range(2 * RUN_MAX + 5)))
    assert peer.broker.runs == [RUN_MAX, RUN_MAX, 5]


# --- when a template dies


@spec("2.1", "content for a channel that the broker closed is dropped")
@pytest.mark.parametrize("own_header", [False, True])
@pytest.mark.parametrize("feed", [whole, one_by_one])
def test_the_broker_closes_the_channel_within_a_run(feed: Feed, own_header: bool) -> None:
    peer = busy_peer(feed)
    bodies = [b"accepted"] * 12 + [REFUSED + b"d!"] + [b"accepted"] * 7
    said = [message(1, "x", "k", data, message_id=str(each * own_header)) for each, data in enumerate(bodies)]
    peer.says(*said)
    assert [each.body for each in peer.broker.hears() if isinstance(each, Published)] == bodies[:13]
    peer.says(*said)
    assert peer.broker.hears() == []
    peer.says(close_channel_ok(1))
    with pytest.raises(ConnectionException, match=r"expected 'channel\.open'"):
        peer.says(said[0])


@pytest.mark.parametrize("between", ["the peer closes it", "the broker closes it"])
@pytest.mark.parametrize("own_header", [False, True])
def test_no_template_outlives_its_channel(between: str, own_header: bool) -> None:
    said = [message(1, "x", "k", b"abc", message_id=str(each * own_header)) for each in range(5)]
    peer = busy_peer()
    peer.says(*said)
    if between == "the peer closes it":
        peer.says(close_channel(1))
    else:
        peer.connection.close_channel(1, ChannelException(404, "gone"))
        peer.says(*said, close_channel_ok(1))
    peer.broker.hears()
    with pytest.raises(ConnectionException, match=r"expected 'channel\.open'"):
        peer.says(*said)
    assert peer.broker.hears() == []


def test_a_template_of_one_channel_is_none_of_another() -> None:
    peer = busy_peer()
    peer.says(message(1, "x", "k", b"abc") * 3, message(2, "x", "k", b"abc") * 3, close_channel(2), message(1, "x", "k", b"abc") * 3)
    published = [each for each in peer.broker.hears() if isinstance(each, Published)]
    assert [each.channel for each in published] == [1] * 3 + [2] * 3 + [1] * 3


def test_a_channel_closed_while_half_a_message_waits() -> None:
    """The bytes of a template's message are kept back until it is whole, and the channel may be gone by then."""
    peer = busy_peer()
    whole_message = message(1, "x", "k", b"abc")
    peer.says(whole_message * 3, whole_message[:-2])
    peer.connection.close_channel(1, ChannelException(404, "gone"))
    peer.broker.hears()
    peer.says(whole_message[-2:], whole_message, ack(1, 1), message(2, "x", "k", b"abc"))
    assert peer.broker.hears() == [Published(2, "x", "k", 0, content_header(3), b"abc")]


def test_a_message_begun_like_the_template_that_goes_on_otherwise() -> None:
    """Same method and header frame, and the body in two frames."""
    peer = busy_peer()
    alike = message(1, "x", "k", b"abcd")
    peer.says(alike * 3, message(1, "x", "k", b"abcd", 2), alike, publish(1, "x", "k"), header(1, 4), ack(2, 1))
    assert peer.broker.hears() == [Published(1, "x", "k", 0, content_header(4), b"abcd")] * 5 + [Acked(2, 1, False)]

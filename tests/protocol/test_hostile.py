"""Whatever a client throws at it, the connection reads it or ends it in the ways that it may, and however it arrives in the same way."""

import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.codec import encode_method
from protocol.constants import REPLY_NAMES
from protocol.errors import ConnectionException, FramingException, HandshakeFailed
from protocol.events import Tuning
from protocol.methods import CLASSES, make
from protocol.states import ConnectionState
from tests.protocol.playbook import (
    Broker,
    Feed,
    Heard,
    Peer,
    close_connection,
    close_connection_ok,
    cut_at,
    handshake,
    message,
    one_by_one,
    open_channel,
    publish,
    raw,
    running,
    whole,
)
from tests.protocol.streams import CHANNELS, FRAME_MAX, MESSAGE_SIZE_MAX, conversations, frames_of
from tests.protocol.twin import Twin

TUNING = Tuning(2047, FRAME_MAX, 0)
WAITING_MAX = 2 * FRAME_MAX + 1024
"""What may wait to be complete: one frame, or one message of the template's: a method frame (600 bytes), a header frame, a body frame."""

Outcome = tuple[list[Heard], str, str]
"""What the broker heard, how it ended, and the state."""

feeds = st.sampled_from([whole, one_by_one]) | st.lists(st.integers(0, 2**20), max_size=12).map(cut_at)


def read(peer: Peer, data: bytes, feed: Feed) -> Outcome:
    """As the runtime does it: an error is answered with close, and reading goes on unless the bytes can't be trusted."""
    ends = []
    for piece in feed(data):
        waiting = peer.connection.buffered_bytes
        try:
            peer.feed = whole
            peer.says(piece)
        except (FramingException, HandshakeFailed) as error:
            ends.append(how(error))
            break
        except ConnectionException as error:
            ends.append(how(error))
            peer.connection.close(error)
            try:
                peer.says(b"")
            except FramingException as later:
                ends.append(how(later))
                break
            except ConnectionException as later:
                ends.append(how(later))
        assert peer.connection.buffered_bytes <= WAITING_MAX
        assert peer.connection.buffered_bytes <= waiting + len(piece)
    return peer.broker.hears(), "; ".join(ends), peer.state.value


def how(error: ConnectionException | HandshakeFailed) -> str:
    if isinstance(error, HandshakeFailed):
        return "handshake failed"
    assert error.code in REPLY_NAMES
    assert len(error.reply_text.encode("utf-8", "surrogateescape")) <= 255
    return f"{type(error).__name__} {error} {error.class_id} {error.method_id}"


def busy_peer() -> Peer:
    return running(channels=CHANNELS, tuning=TUNING, message_size_max=MESSAGE_SIZE_MAX)


def outcome(data: bytes, feed: Feed) -> Outcome:
    return read(busy_peer(), data, feed)


def twin_s_outcome(data: bytes) -> Outcome:
    twin = Twin(Broker(), FRAME_MAX, MESSAGE_SIZE_MAX)
    twin.receive_data(b"".join(map(open_channel, CHANNELS)))
    twin.broker.hears()
    ends: list[str] = []
    rest: bytes = data
    while True:
        try:
            twin.receive_data(rest)
        except FramingException as error:
            ends.append(how(error))
            break
        except ConnectionException as error:
            ends.append(how(error))
            twin.close()
            rest = b""
            continue
        break
    return twin.broker.hears(), "; ".join(ends), twin.state


# --- damaged conversations


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A legal conversation with something wrong in it: a bit, a cut, frames twice, left out, swapped or strange."""
    frames = frames_of(b"".join(draw(conversations)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(frames) - 1))
        other = draw(st.integers(0, len(frames) - 1))
        match draw(st.sampled_from(["flip", "head", "tail", "cut", "twice", "drop", "swap", "strange", "end"])):
            case "flip":
                frames[at] = flipped(frames[at], draw(st.integers(0, 8 * len(frames[at]) - 1)) if frames[at] else 0)
            case "head":
                frames[at] = flipped(frames[at], draw(st.integers(0, 8 * 20)))
            case "tail":
                frames[at] = frames[at][:-1] + draw(st.sampled_from([b"\0", b"\xcf", b"\1"]))
            case "cut":
                frames[at] = frames[at][: draw(st.integers(0, len(frames[at])))]
            case "twice":
                frames.insert(at, frames[other])
            case "drop":
                frames[at] = b""
            case "swap":
                frames[at], frames[other] = frames[other], frames[at]
            case "strange":
                frames.insert(at, draw(strange_frames))
            case "end":
                frames.insert(at, draw(st.sampled_from([close_connection(), close_connection_ok()])))
    return b"".join(frames)


def flipped(frame: bytes, bit: int) -> bytes:
    if bit >= 8 * len(frame):
        return frame
    return (int.from_bytes(frame, "big") ^ (1 << (8 * len(frame) - 1 - bit))).to_bytes(len(frame), "big")


any_method_payload = st.sampled_from([encode_method(make(cls)) for cls in CLASSES.values()])
payloads = (
    st.binary(max_size=40)
    | any_method_payload
    | st.builds(lambda index, rest: struct.pack(">I", index) + rest, st.sampled_from(list(CLASSES)), st.binary(max_size=40))
    | st.builds(
        lambda class_id, weight, size, rest: struct.pack(">HHQ", class_id, weight, size) + rest,
        st.sampled_from([60, 60, 60, 10]),
        st.sampled_from([0, 0, 0, 1]),
        st.sampled_from([0, 1, 3, 100, MESSAGE_SIZE_MAX + 1, 2**64 - 1]),
        st.binary(max_size=20),
    )
)
strange_frames = st.builds(
    raw,
    st.sampled_from([1, 1, 1, 2, 2, 3, 3, 8, 0, 9, 255]),
    st.sampled_from([*CHANNELS, 0, 3]),
    payloads,
    st.sampled_from([0xCE] * 9 + [0]),
)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(damaged(), feeds)
def test_a_damaged_conversation_ends_as_the_twin_s(data: bytes, feed: Feed) -> None:
    assert outcome(data, feed) == twin_s_outcome(data)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(strange_frames, min_size=1, max_size=12).map(b"".join), feeds)
def test_strange_frames_end_as_the_twin_s(data: bytes, feed: Feed) -> None:
    assert outcome(data, feed) == twin_s_outcome(data)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(conversations, st.binary(max_size=200), feeds)
def test_any_bytes_behind_a_conversation(said: list[bytes], rubbish: bytes, feed: Feed) -> None:
    data = b"".join(said) + rubbish
    assert outcome(data, feed) == twin_s_outcome(data)


# --- the handshake


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 4), st.binary(max_size=60) | strange_frames, st.data())
def test_any_bytes_in_the_handshake(steps: int, rubbish: bytes, data: st.DataObject) -> None:
    """The prefix ends at a frame or anywhere; what comes then is read, or ends it without a frame, the same way for every feed."""
    whole_handshake = handshake(TUNING) + open_channel(1)
    bounds = [0, 8]
    for frame in frames_of(whole_handshake[8:]):
        bounds.append(bounds[-1] + len(frame))
    cut = data.draw(st.sampled_from([bounds[steps], data.draw(st.integers(0, len(whole_handshake)))]))
    said = whole_handshake[:cut] + rubbish
    outcomes = [read(Peer(tuning=TUNING, message_size_max=MESSAGE_SIZE_MAX), said, feed) for feed in (whole, one_by_one)]
    assert outcomes[0] == outcomes[1]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=40))
def test_any_first_bytes(data: bytes) -> None:
    peer = Peer()
    events, end, _ = read(peer, data, whole)
    assert events == []
    assert end == ("handshake failed" if len(data) >= 8 and peer.broker.greeted == 0 else "")
    assert peer.state is not ConnectionState.RUNNING


# --- memory


@pytest.mark.parametrize("feed", [whole, one_by_one])
@pytest.mark.parametrize("began", [0, 3])
def test_what_waits_to_be_complete_is_bounded(feed: Feed, began: int) -> None:
    """The longest that can be: a message of the template's, but for its last byte."""
    longest = message(1, "x" * 127, "k" * 255, b"x" * FRAME_MAX, FRAME_MAX, message_id="m" * 255)
    peer = busy_peer()
    read(peer, longest * began, whole)
    _, end, _ = read(peer, longest[:-1], feed)
    assert end == ""
    assert peer.connection.buffered_bytes <= WAITING_MAX


def test_a_peer_that_never_ends_its_message_is_held_to_its_size() -> None:
    peer = busy_peer()
    peer.says(publish(1, "x", "k"), raw(2, 1, struct.pack(">HHQH", 60, 0, MESSAGE_SIZE_MAX, 0)))
    peer.says(raw(3, 1, bytes(FRAME_MAX)), *[raw(3, 1, b"")] * 5000, raw(3, 1, bytes(MESSAGE_SIZE_MAX - FRAME_MAX - 1)))
    contents: Any = peer.connection._channels[1].content
    assert (len(b"".join(contents.parts)), len(contents.parts)) == (MESSAGE_SIZE_MAX - 1, 2)
    peer.breaks(raw(3, 1, b"xy"), 505, "UNEXPECTED_FRAME - expected content body, got non content body frame instead", (60, 40))

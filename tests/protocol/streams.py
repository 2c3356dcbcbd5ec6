"""Generated conversations of a busy client, for Hypothesis: frames that all are legal, in every order that is.

Much repetition, for that is what the shorter ways through protocol/connection.py live on, and every kind of interruption.
"""

import struct
from typing import Any

from hypothesis import strategies as st
from pamqp.commands import Basic, Queue

from tests.protocol.playbook import (
    REFUSED,
    REFUSED_TAG,
    ack,
    any_method,
    close_channel,
    close_channel_ok,
    content,
    heartbeat,
    message,
    method,
    open_channel,
    publish,
    raw,
)

FRAME_MAX = 4096
MESSAGE_SIZE_MAX = 6000
CHANNELS = (1, 2, 65535)

Frames = list[bytes]

channels = st.sampled_from([1, 1, 1, 1, *CHANNELS])
routings = st.sampled_from([("", "q"), ("", "q"), ("", "q"), ("", "r"), ("logs", "")])
"""Mostly the same ones, so that much of a conversation can be read the shorter ways."""
like_frames = st.sampled_from(
    [
        b"\xce" * 30,
        raw(3, 1, b"abc"),
        message(1, "", "q", b"abc"),  # a whole publish
        publish(1, "", "q"),
        message(1, "", "q", b"abc")[:-4],  # all that would be a template
        ack(1, 1) * 2,
    ]
)
bodies = (
    st.sampled_from([b"", b"a", b"abc", b"\xce", b"x" * 100, b"x" * 4088, b"x" * 4096, b"x" * 4097, b"x" * MESSAGE_SIZE_MAX])
    | like_frames
    | st.binary(max_size=40)
)
some_properties: list[dict[str, Any]] = [{}, {"delivery_mode": 2}, {"message_id": "1"}, {"message_id": "2"}, {"headers": {"a": 1}}]
properties = st.sampled_from(some_properties)
tags = st.integers(1, 5) | st.sampled_from([0, 2**63 - 1])


@st.composite
def publishes(draw: st.DrawFn) -> list[Frames]:
    """One channel's run of publishes; each message is a list of frames."""
    channel, (exchange, key) = draw(channels), draw(routings)
    mandatory = draw(st.sampled_from([False, False, False, True]))
    count = draw(st.integers(1, 12))
    style = draw(st.sampled_from(["alike", "own header", "two kinds", "own everything"]))
    kinds = [(draw(bodies), draw(properties)) for _ in range(2)]
    piece_bytes = draw(st.sampled_from([4088, 4096, 50, 1]))
    messages = []
    for number in range(count):
        if style == "own everything":
            kinds[0] = draw(bodies), draw(properties)
        data, some = kinds[draw(st.integers(0, 1)) if style == "two kinds" else 0]
        given = {**some, "correlation_id": str(number)} if style == "own header" else some
        frames = content(channel, data, piece_bytes if len(data) <= 100 or piece_bytes > 1 else 1000, **given)
        messages.append([publish(channel, exchange, key, mandatory=mandatory), *frames])
    return messages


@st.composite
def interleaved(draw: st.DrawFn) -> list[Frames]:
    """Messages on several channels, frame by frame in turn."""
    chosen = draw(st.lists(channels, unique=True, min_size=2, max_size=3))
    exchange, key = draw(routings)
    data = draw(bodies)
    queues = [[publish(channel, exchange, key), *content(channel, data, 50 if len(data) <= 100 else 4000)] for channel in chosen]
    woven: Frames = []
    while queues:
        queue = draw(st.sampled_from(queues))
        woven.append(queue.pop(0))
        queues = [each for each in queues if each]
    return [woven]


@st.composite
def acks(draw: st.DrawFn) -> list[Frames]:
    channel = draw(channels)
    some = draw(st.lists(st.tuples(tags, st.sampled_from([False, False, False, True])), min_size=1, max_size=12))
    return [[ack(channel, tag, multiple)] for tag, multiple in some]


@st.composite
def others(draw: st.DrawFn) -> list[Frames]:
    """A method, a heartbeat, a channel closed and opened again."""
    channel = draw(channels)
    return [
        [
            draw(
                st.sampled_from(
                    [
                        heartbeat(),
                        method(channel, Basic.Nack(delivery_tag=1, multiple=False, requeue=True)),
                        method(channel, Basic.Reject(delivery_tag=2, requeue=False)),
                        method(channel, Basic.Get(queue="q", no_ack=True)),
                        any_method(channel, Queue.Declare, queue="q"),
                        close_channel(channel) + open_channel(channel),
                    ]
                )
            )
        ]
    ]


@st.composite
def refusals(draw: st.DrawFn) -> list[Frames]:
    """The broker closes the channel within the event; what follows is dropped until close-ok."""
    channel = draw(channels)
    exchange, key = draw(routings)
    like = message(channel, exchange, key, b"refusal!")
    cause = draw(
        st.sampled_from(
            [
                message(channel, exchange, key, REFUSED + b"!"),
                ack(channel, REFUSED_TAG),
                ack(channel, REFUSED_TAG, multiple=True),
                publish(channel, exchange, key) + raw(2, channel, struct.pack(">HHQH", 60, 0, MESSAGE_SIZE_MAX + 1, 0)),
            ]
        )
    )
    before, after = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    dropped = draw(st.sampled_from([b"", like, like * 3, ack(channel, 1) * 2, close_channel(channel), raw(3, channel, b"stray")]))
    again = close_channel_ok(channel) + open_channel(channel)
    return [[like] * before + [cause, dropped, again] + [like] * after]


conversations = st.lists(publishes() | publishes() | interleaved() | acks() | others() | refusals(), min_size=1, max_size=8).map(
    lambda parts: [b"".join(frames) for part in parts for frames in part]
)
"""What a client says after it opened CHANNELS: a list of things said, each of one or several whole frames."""


def frames_of(data: bytes) -> Frames:
    """Cut legal bytes into frames."""
    frames = []
    while data:
        size = 8 + struct.unpack_from(">BHI", data)[2]
        frames.append(data[:size])
        data = data[size:]
    return frames

"""Lives of messages to which a fault has happened tell what clients have seen of it."""

from typing import Any

import pytest

from tests.testing.box import Box
from tests.testing.stories import heard, kinds, life, lives, story
from tests.wire import WireChannel


@pytest.fixture
def channel(box: Box) -> WireChannel:
    opened = box.wire("shop").open_channel()
    opened.queue("q", exclusive=False)
    opened.confirm_select()
    return opened


def fault(box: Box, do: str, **rule: Any) -> None:
    box.broker.ask("POST", "/faults", {"do": do, "vhost": box.vhost, **rule}, status=201)


def test_unroutable_by_order(box: Box, channel: WireChannel) -> None:
    fault(box, "return_publish")
    channel.publish("", "q", b"x", mandatory=True)
    channel.returned()
    channel.confirms(1)
    assert story(life(box)) == [
        "published shop/1",
        "unroutable: reached no queue: a fault had it so",
        "returned shop/1",
        "confirmed shop/1",
    ]
    assert life(box)["routed"] == []


def test_full_by_order(box: Box, channel: WireChannel) -> None:
    fault(box, "queue_full", queue="q")
    channel.publish("", "q", b"x")
    assert channel.confirms(1) == {1: False}
    assert story(life(box)) == ["published shop/1", "refused 'q': it takes no more", "nacked shop/1"]


def test_confirms_as_they_are_told(box: Box, channel: WireChannel) -> None:
    fault(box, "nack_confirms")
    channel.publish("", "q", b"nacked")
    channel.publish("", "q", b"confirmed")
    assert channel.confirms(2) == {1: False, 2: True}
    assert [kinds(each)[-1] for each in lives(box)] == ["nacked", "confirmed"]


def test_a_confirm_that_never_comes(box: Box, channel: WireChannel) -> None:
    fault(box, "withhold_confirms")
    channel.publish("", "q", b"x")
    heard(channel)
    assert kinds(life(box)) == ["published", "routed"]


def test_what_is_delivered_twice(box: Box, channel: WireChannel) -> None:
    fault(box, "redeliver")
    other = box.wire("worker").open_channel()
    other.consume("q", "c1")
    channel.publish("", "q", b"x")
    other.deliver()
    other.ack(1)
    other.deliver(redelivered=True)
    other.ack(2)
    heard(other)
    assert [each for each in story(life(box)) if "c1" in each] == [
        "delivered 'q' c1 #1 of worker/1",
        "requeued 'q' c1 #1 of worker/1: a fault: its ack was lost",
        "delivered 'q' c1 #2 of worker/1: redelivered",
        "acked 'q' c1 #2 of worker/1",
    ]

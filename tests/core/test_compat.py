"""docs/compatibility.md: what the profile 4.x does otherwise than 3.13."""

from __future__ import annotations

from typing import Any

import pytest

from broker.core.compat import PROFILES, V3_13, V4_X, Compat
from protocol import content
from protocol.tables import plain, table_of
from tests.core.playbook import Got, Playbook, PlayedChannel

BOTH = pytest.mark.parametrize("compat", [V3_13, V4_X], ids=PROFILES)


@pytest.fixture
def book(compat: Compat, monkeypatch: pytest.MonkeyPatch) -> Playbook:
    monkeypatch.setattr(Playbook, "compat", compat)
    return Playbook()


def got(channel: PlayedChannel, queue: str = "q") -> list[Got]:
    channel.get(queue)
    return [reply for reply in channel.take() if isinstance(reply, Got)]


@BOTH
def test_the_default_delivery_limit(book: Playbook, channel: PlayedChannel, compat: Compat) -> None:
    channel.declare("q", durable=True, arguments={"x-queue-type": "quorum"})
    channel.publish("q", b"1")
    book.settle()
    channel.take()
    deliveries = 0
    while deliveries < 30 and (replies := got(channel)):
        deliveries += 1
        channel.nack(replies[0].tag)
        book.settle()
    assert deliveries == (30 if compat is V3_13 else 21)


@BOTH
def test_a_negative_delivery_limit(book: Playbook, channel: PlayedChannel, compat: Compat) -> None:
    channel.declare("q", durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": -1})
    channel.publish("q", b"1")
    book.settle()
    channel.take()
    channel.nack(got(channel)[0].tag)
    book.settle()
    assert len(got(channel)) == (0 if compat is V3_13 else 1)


@BOTH
@pytest.mark.parametrize("alike", [True, False])
def test_a_publishers_own_history(book: Playbook, channel: PlayedChannel, compat: Compat, alike: bool) -> None:
    channel.declare("dead", durable=True)
    channel.declare("q", durable=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
    book.settle()
    channel.take()
    death = {"queue": "q", "reason": "rejected", "count": 7, "exchange": "", "routing-keys": ["q"]}
    headers = [content.encode_properties(content.Properties(headers=table_of({"x-death": [death], "n": number})), 1) for number in range(2)]
    channel.publish_run("q", headers[:1] if alike else headers, [b"1", b"2"])
    book.settle()
    for _ in range(2):
        channel.reject(got(channel)[0].tag, requeue=False)
        book.settle()
    for _ in range(2):
        (letter,) = got(channel, "dead")
        deaths = plain(content.headers(letter.message[2]))["x-death"]
        assert [each["count"] for each in deaths] == [8 if compat is V3_13 else 1]


@BOTH
@pytest.mark.parametrize("name", ["q", ""])
def test_transient_shared_queues(book: Playbook, channel: PlayedChannel, compat: Compat, name: str) -> None:
    channel.declare(name)
    book.settle()
    if compat is V3_13:
        assert channel.names() == ["Queue.DeclareOk"]
    else:
        assert channel.peer.wire.closed is not None and channel.peer.wire.closed.code == 541


@BOTH
@pytest.mark.parametrize(
    ("arguments", "goes"), [({"x-queue-mode": "lazy"}, False), ({"x-queue-version": 1}, False), ({"x-queue-version": 2}, True)]
)
def test_queue_modes(book: Playbook, channel: PlayedChannel, compat: Compat, arguments: dict[str, Any], goes: bool) -> None:
    channel.declare("q", durable=True, arguments=arguments)
    book.settle()
    if compat is V3_13 or goes:
        assert channel.names() == ["Queue.DeclareOk"]
    else:
        assert channel.refusal()[0] == 406


@BOTH
def test_a_shared_prefetch(book: Playbook, channel: PlayedChannel, compat: Compat) -> None:
    channel.declare("q", durable=True)
    channel.qos(1, shared=True)
    for tag in ("a", "b"):
        channel.consume("q", tag)
    book.settle()
    channel.take()
    channel.publish("q", b"1", b"2", b"3")
    book.settle()
    assert len(channel.bodies()) == (1 if compat is V3_13 else 2)


@BOTH
@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_whose_consumers_time_out(book: Playbook, channel: PlayedChannel, compat: Compat, kind: str) -> None:
    channel.declare("q", durable=True, arguments={"x-queue-type": kind})
    channel.publish("q", b"1")
    channel.get("q")
    book.settle()
    channel.take()
    book.advance(1_803_000)
    times_out = compat is V3_13 or kind == "quorum"
    assert bool(channel.take()) is times_out

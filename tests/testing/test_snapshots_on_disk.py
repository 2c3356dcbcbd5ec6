"""Snapshots with a data directory: what was restored survives kill -9 once that was answered, and what is on the disk only is read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.process import NEVER_IN_A_LOG, PERSISTENT
from tests.runtime.test_paging import numbered, send_numbers
from tests.testing.state_box import StateBox
from tests.testing.supervised import Supervised
from tests.wire import Typed

WATERMARK = "12MiB"
COUNT = 2000
BODY_BYTES = 8192
"""Several times what may be in memory."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Supervised]:
    settings = tmp_path / "leveret.conf"
    settings.write_text(f"vm_memory_high_watermark.absolute = {WATERMARK}\n")
    with Supervised(tmp_path / "data", arguments=("--config", str(settings))) as supervised:
        yield supervised
        assert not NEVER_IN_A_LOG.search(supervised.log)


@pytest.fixture
def vhost(broker: Supervised) -> StateBox:
    return StateBox(broker)


def crash(broker: Supervised) -> None:
    broker.kill()
    broker.start()


def moments(vhost: StateBox) -> dict[str, list[Any]]:
    """By section of the document, and there by queue: when each of its items is over, by the broker's clock."""
    document = vhost.ask("GET", "/state")
    found: dict[str, list[Any]] = {}
    for section, key in (("messages", "expires_in_ms"), ("delayed", "due_in_ms"), ("seen", "forgotten_in_ms")):
        items = sorted(document[section], key=lambda item: str(item.get("queue")))
        found[section] = [None if each.get(key) is None else each[key] + document["taken_ms"] for each in items]
    return found


def fill(vhost: StateBox) -> None:
    """Durable things of all kinds, and messages in all states."""
    with vhost.wire() as wire:
        channel = wire.open_channel()
        channel.exchange("d", "x-delayed-message", durable=True, arguments={"x-delayed-type": "fanout"})
        channel.exchange("once", "x-message-deduplication", durable=True, arguments={"x-cache-size": 9, "x-cache-persistence": "disk"})
        queues: dict[str, dict[str, Any]] = {
            "plain": {},
            "timed": {"x-message-ttl": 3_600_000},
            "ranked": {"x-max-priority": 3},
            "quorum": {"x-queue-type": "quorum", "x-delivery-limit": 5},
            "once": {"x-message-deduplication": True},
        }
        for name, arguments in queues.items():
            channel.queue(name, durable=True, arguments=arguments)
            channel.bind(name, "d", "k", {"n": Typed("s", 1)})
            for number in range(6):
                headers = {"x-deduplication-header": number} if name == "once" else {"n": number}
                channel.publish("", name, b"%d" % number, headers=headers, priority=number % 4, delivery_mode=PERSISTENT)
            channel.publish("", name, b"expires", expiration="7200000", delivery_mode=PERSISTENT)
            tags = [channel.take(name, no_ack=False).tag for _ in range(4)]
            channel.nack(tags[2])
            channel.nack(channel.take(name, no_ack=False).tag)
        for body, delay in ((b"later", 3_600_000), (b"sooner", 1_800_000)):
            channel.publish("d", "k", body, headers={"x-delay": delay}, delivery_mode=PERSISTENT)
        channel.publish("once", "", b"x", headers={"x-deduplication-header": "seen", "x-cache-ttl": 3_600_000})
        channel.publish("once", "", b"x", headers={"x-deduplication-header": "seen for ever"})
        channel.counts("plain")
        wire.close()


def without_moments(contents: dict[str, Any]) -> dict[str, Any]:
    """A look doesn't know when what is on the disk is over."""
    messages = {
        name: [{key: value for key, value in each.items() if key not in ("expires_at", "due_at")} for each in found]
        for name, found in contents["messages"].items()
    }
    return contents | {"messages": messages}


def test_what_was_restored_survives_a_crash(broker: Supervised, vhost: StateBox) -> None:
    fill(vhost)
    then, over = vhost.contents(), moments(vhost)
    taken = vhost.snapshot()
    vhost.reset(everything=True)
    vhost.restore(taken)
    assert vhost.contents() == then and moments(vhost) == over
    crash(broker)
    assert without_moments(vhost.contents()) == without_moments(then)
    assert moments(vhost) == over
    with vhost.wire() as wire:
        channel = wire.open_channel()
        for name in ("plain", "timed", "ranked", "quorum", "once"):
            assert [each["payload"].encode() for each in then["messages"][name]] == channel.bodies(name)
    vhost.wait("idle")  # what was got without an ack is durable
    # What isn't read again yet is in a snapshot all the same.
    crash(broker)
    cold = vhost.snapshot()
    vhost.reset(everything=True)
    vhost.restore(cold)
    assert moments(vhost)["delayed"] == over["delayed"] and moments(vhost)["seen"] == over["seen"]
    crash(broker)
    vhost.reset()
    crash(broker)
    assert vhost.contents() == then | {"messages": {name: [] for name in then["messages"]}}


@pytest.mark.parametrize("durable", [True, False])
def test_more_than_memory_holds(broker: Supervised, vhost: StateBox, durable: bool) -> None:
    with vhost.wire(timeout=60) as wire:
        channel = wire.open_channel()
        channel.queue("q", durable=durable, exclusive=False)
        with vhost.wire(timeout=60) as other:
            send_numbers(other, ["q"], list(range(COUNT)), BODY_BYTES, delivery_mode=PERSISTENT)
            other.close()
        held = [channel.take("q", no_ack=False).tag for _ in range(5)]
        assert broker.http.get(f"/api/queues/{vhost.vhost}/q")["messages_paged_out"] > COUNT // 4
        taken = vhost.snapshot()
        assert [channel.take("q").body for _ in range(5)] == [numbered(number, BODY_BYTES) for number in range(5, 10)]
        for _ in range(2):
            assert vhost.restore(taken) == {"queues": 1, "messages": COUNT, "left_out": []}
            assert channel.counts("q") == (COUNT, 0)
        channel.ack(held[2], multiple=True)
        if durable:
            crash(broker)
        else:
            wire.close()
    with vhost.wire(timeout=60) as wire:
        channel = wire.open_channel()
        channel.consume("q", "c", no_ack=True)
        for number in range(COUNT):
            message = channel.deliver()
            assert (message.body, message.method.redelivered) == (numbered(number, BODY_BYTES), number < 5)
        channel.cancel("c")
        assert channel.counts("q") == (0, 0)
    taken = vhost.snapshot()
    vhost.reset(everything=True)
    assert vhost.restore(taken)["messages"] == 0

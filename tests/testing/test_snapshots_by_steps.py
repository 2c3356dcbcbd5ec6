"""Taking, restoring and throwing away, step by step and without sockets: what may happen between two steps, how long one takes, and what
the histories of messages say."""

import gc
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pytest

from broker.config import RigOptions
from broker.core.arguments import QueueArguments
from broker.core.message import join_routing
from broker.core.outbox import target_of
from broker.core.queue import Queue
from broker.core.steps import Steps
from broker.node import Node
from broker.operations import NotFound
from broker.testing.broker import WatchedBroker
from broker.testing.lives import kinds
from broker.testing.rig import Rig
from broker.testing.states.capture import capture
from broker.testing.states.clearing import clear
from broker.testing.states.restoration import restore
from broker.testing.vhost import WatchedVHost
from protocol.content import Properties, encode_properties

T = TypeVar("T")

HEADER = encode_properties(Properties(delivery_mode=2), 1)
NOBODY = cast("Node", SimpleNamespace(server=SimpleNamespace(connections=())))
"""A node without connections."""
COUNT = 30_000
STEP_MS_MAX = 20.0
"""Of the processor's time. A step takes one or two; Python's collector, which comes when it likes, is another matter."""


@pytest.fixture
def vhost() -> WatchedVHost:
    broker = WatchedBroker(Rig(RigOptions(enabled=True, seed=1)), cast("Any", None), {}, logs=True)
    return cast("WatchedVHost", broker.add_vhost("v"))


def declare(vhost: WatchedVHost, name: str) -> Queue:
    return vhost.add_queue(name, QueueArguments({}), durable=True, auto_delete=False, owner=None)


def put(queue: Queue, count: int) -> None:
    for number in range(count):
        queue.outbox.enqueue_one([queue], target_of([queue]), join_routing("", queue.name), HEADER, b"%d" % (number % 10), True)


def run(steps: Steps[T], vhost: WatchedVHost) -> tuple[T, list[float]]:
    """What the steps return, and how many ms each of them took. Waits are over at once."""
    taken: list[float] = []
    while True:
        begun = time.thread_time()
        try:
            step = next(steps)
        except StopIteration as stop:
            taken.append((time.thread_time() - begun) * 1000)
            return stop.value, taken
        taken.append((time.thread_time() - begun) * 1000)
        if callable(step):
            step(lambda: None)
        vhost.broker.outbox.take().release(True)


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
def test_no_step_takes_long(vhost: WatchedVHost) -> None:
    for name in ("a", "b", "c"):
        put(declare(vhost, name), COUNT // 3)
    state, capturing = run(capture(vhost), vhost)
    restored, restoring = run(restore(vhost, state, "test"), vhost)
    count, clearing = run(clear(vhost, "test"), vhost)
    assert (state.messages, restored.messages, count) == (COUNT, COUNT, COUNT)
    for what in (capturing, restoring, clearing):
        assert len(what) > COUNT // 1000
        assert sorted(what)[-2] < STEP_MS_MAX, sorted(what)[-5:]


def test_little_takes_one_step(vhost: WatchedVHost) -> None:
    """So it is the same to everybody whether the vhost stands still."""
    for number in range(10):
        put(declare(vhost, f"q{number}"), 20)
    state, taken = run(capture(vhost), vhost)
    assert len(taken) == 1
    assert len(run(restore(vhost, state, "test"), vhost)[1]) == 1
    assert len(run(clear(vhost, "test"), vhost)[1]) == 1


def test_a_queue_may_go_between_two_steps(vhost: WatchedVHost) -> None:
    """As an exclusive one does with its connection."""
    first, second = declare(vhost, "first"), declare(vhost, "second")
    put(first, 1000)
    put(second, 10)
    state, _ = run(capture(vhost), vhost)
    steps = restore(vhost, state, "test")
    while not len(first.ready) or len(second.ready):
        next(steps)
    vhost.delete_queue(first)
    restored, _ = run(steps, vhost)
    assert restored.queues == 1 and restored.messages < 1010
    assert len(second.ready) == 10 and not len(first.ready)
    assert vhost.broker.memory.used == second.in_memory[2]


def test_a_vhost_may_go_between_two_steps(vhost: WatchedVHost) -> None:
    put(declare(vhost, "q"), 2000)
    rig = cast("WatchedBroker", vhost.broker).rig
    snapshot, _ = run(rig.snapshots.take(vhost, NOBODY), vhost)
    steps = rig.snapshots.restore(vhost, NOBODY, snapshot.id, closes=False)
    next(steps)
    vhost.broker.delete_vhost(vhost)
    with pytest.raises(NotFound, match="virtual host 'v' was deleted meanwhile"):
        run(steps, vhost)
    assert vhost.broker.memory.used == 0
    assert not rig.standstill.busy(vhost)


def test_a_queue_gives_nothing_out_before_all_is_there(vhost: WatchedVHost) -> None:
    first = declare(vhost, "first")
    put(first, 1000)
    rig = cast("WatchedBroker", vhost.broker).rig
    snapshot, _ = run(rig.snapshots.take(vhost, NOBODY), vhost)
    other = vhost.broker.add_vhost("other").add_queue("q", QueueArguments({}), durable=True, auto_delete=False, owner=None)
    steps = rig.snapshots.restore(vhost, NOBODY, snapshot.id, closes=False)
    next(steps)
    first.touch()
    other.touch()
    vhost.broker.serve()
    assert first.touched and not other.touched
    assert rig.standstill.busy(vhost)
    run(steps, vhost)
    vhost.broker.serve()
    assert not first.touched


def test_histories_know_what_was_restored_and_what_was_thrown_away(vhost: WatchedVHost) -> None:
    queue = declare(vhost, "q")
    put(queue, 3)
    state, _ = run(capture(vhost), vhost)
    before = list(vhost.history)
    run(restore(vhost, state, "a snapshot was restored"), vhost)
    for life in before:
        assert life.open == 0
        assert [(event.what, event.queue, event.detail) for event in life.events][-1:] == [(kinds.PURGED, "q", "a snapshot was restored")]
    restored = [life for life in vhost.history if life.origin == kinds.RESTORED]
    assert [(life.body, life.places["q"].state, life.exchange, life.routing_key) for life in restored] == [
        (body, kinds.READY, "", "q") for body in (b"0", b"1", b"2")
    ]
    run(clear(vhost, "the test threw all messages away"), vhost)
    assert [life.events[-1].detail for life in restored] == ["the test threw all messages away"] * 3
    assert not any(life.open for life in vhost.history)


def test_a_reset_of_everything_leaves_no_history(vhost: WatchedVHost) -> None:
    put(declare(vhost, "q"), 3)
    rig = cast("WatchedBroker", vhost.broker).rig
    count, _ = run(rig.snapshots.reset(vhost, NOBODY, everything=True, closes=False), vhost)
    assert count == 3
    assert not len(vhost.history) and not vhost.queues

"""kill -9 at any moment, under clients of many kinds: what they were promised is there, and nothing that must not be."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pamqp.commands import Queue

from tests.campaign.load import FAN_QUEUES, QUEUES, TX_QUEUES, Consumer, Declarer, Load, Publisher, Transactions, declare_all, number_of
from tests.campaign.small_segments import SmallSegments
from tests.oracle.leveret import Leveret
from tests.runtime.process import assert_nothing_broke, is_rising, soon
from tests.wire import Wire


class Left:
    """What a stream has left in a queue after the restart: numbers in order, and which of them are flagged."""

    def __init__(self, queue: str, stream: str, messages: list[Any]) -> None:
        self.queue = queue
        self.numbers = [number_of(stream, message.body) for message in messages]
        self.flagged = {number for number, message in zip(self.numbers, messages, strict=True) if message.method.redelivered}
        assert is_rising(self.numbers), f"{queue} is out of order, or has one twice: {self.numbers}"


def drain(broker: Leveret, queue: str) -> list[Any]:
    """All that it holds, taken."""
    with Wire.connect(broker, timeout=60) as wire:
        channel = wire.open_channel()
        count, _ = channel.counts(queue)
        channel.consume(queue, no_ack=True)
        messages = channel.deliveries(count)
        channel.nothing_more(queue)
        wire.close()
    return messages


def check_stream(left: Left, publisher: Publisher, consumer: Consumer | None = None) -> None:
    """Nothing confirmed is lost, nothing settled is back, no hole, and flags that fit."""
    there, queue = set(left.numbers), left.queue
    acked = consumer.acked if consumer is not None else set()
    assert all(number < publisher.published for number in there), f"{queue} has what was never published"
    assert all(map(publisher.is_persistent, there)), f"{queue} has transient messages: {sorted(there)[:5]}"
    persistent = [number for number in range(publisher.published) if publisher.is_persistent(number)]
    lost = [number for number in persistent if number in publisher.confirmed and number not in there | acked]
    assert not lost, f"{queue} lost confirmed messages: {lost[:5]} of {publisher.published}"
    for number, following in pairwise(persistent):
        hole = following in there and number not in there | acked
        assert not hole, f"{queue} has {following} and not {number}, which was published before"
    if consumer is None:
        assert not left.flagged, f"{queue}: nobody ever had {sorted(left.flagged)[:5]}, and they are flagged redelivered"
        return
    back = there & consumer.sure_acked
    assert not back, f"{queue}: acks that were durable are undone: {sorted(back)[:5]}"
    unflagged = (there & consumer.sure_delivered) - left.flagged
    assert not unflagged, f"{queue}: delivered, and not flagged redelivered: {sorted(unflagged)[:5]}"
    beyond = [number for number in left.flagged if number > consumer.highest + 4 * consumer.prefetch]
    assert not beyond, f"{queue}: nobody can have had {beyond[:5]}, and they are flagged redelivered"


def check_fan_out(lefts: list[Left], load: Load) -> None:
    for left in lefts:
        check_stream(left, load.fan, load.consumers.get(left.queue))
    there = set().union(*(left.numbers for left in lefts))
    for left in lefts:
        consumer = load.consumers.get(left.queue)
        half = there - set(left.numbers) - (consumer.acked if consumer is not None else set())
        assert not half, f"half of a fan-out: {sorted(half)[:5]} are not in {left.queue}"


def check_transactions(lefts: list[Left], transactions: Transactions) -> None:
    """All of a transaction is there, its publishes and its acks, or nothing."""
    there = set(lefts[0].numbers) | set(lefts[1].numbers)
    size = transactions.SIZE
    for transaction in range(transactions.begun):
        mine = set(range(transaction * size, (transaction + 1) * size))
        settled = {number for number, by in transactions.taken.items() if number in mine}
        some = mine & there or {number for number in settled if number not in there}
        missing = {number for number in mine - settled if number not in there}
        assert not (some and missing), f"half of transaction {transaction}: {sorted(some)} and not {sorted(missing)}"
        assert not (missing and transaction < transactions.committed), f"transaction {transaction} was committed and is lost"
        for number, by in transactions.taken.items():
            if by == transaction:
                assert (number in there) is bool(missing), f"{number} was settled in transaction {transaction}: half of that is there"


def check_declarer(messages: list[Any] | None, declarer: Declarer) -> None:
    """The queue is there if the last word said so, and holds what belongs to its last life."""
    states = declarer.said[declarer.heard :]
    state = "deleted" if messages is None else "declared"
    assert state in states, f"the queue is {state}; it was {states[0]}, and then perhaps {states[1:]}"
    for message in messages or ():
        generation, _ = map(int, message.body.split(b" "))
        assert generation == declarer.generation, f"life {generation} of the queue is over, and life {declarer.generation} has its message"
    if messages is not None and states == ["declared"] and len(declarer.confirmed) == declarer.generation:
        assert len(messages) >= declarer.confirmed[-1], "a confirmed message is lost"


def check(broker: Leveret, load: Load) -> None:
    """After a restart; takes everything."""
    lefts: dict[str, list[Any]] = {name: drain(broker, name) for name in QUEUES}
    for publisher in (load.slow, load.fast, load.requeued):
        stream = publisher.stream
        check_stream(Left(stream, stream, lefts[stream]), publisher, load.consumers.get(stream))
    check_fan_out([Left(name, "fan", lefts[name]) for name in FAN_QUEUES], load)
    if load.transactions is not None:
        check_transactions([Left(name, "tx", lefts[name]) for name in TX_QUEUES], load.transactions)
    held = load.holder.confirmed - load.holder.acked - set(Left("held", "held", lefts["held"]).numbers)
    assert not held, f"the oldest messages are lost: {held}"
    check_declarer(temporary(broker), load.declarer)


def temporary(broker: Leveret) -> list[Any] | None:
    """What the declarer's queue holds, None if it isn't there; it is gone then."""
    with Wire.connect(broker) as wire:
        channel = wire.open_channel()
        channel.send(Queue.Declare, queue="temporary", passive=True)
        frame = wire.peek_frame(channel.number)
        if not isinstance(frame.method, Queue.DeclareOk):
            channel.expect_close(404)
            return None
        messages = drain(broker, "temporary")
        channel.expect(Queue.DeclareOk)
        channel.call(Queue.Delete, queue="temporary")
    return messages


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Leveret]:
    broker = SmallSegments(tmp_path / "data")
    broker.start()
    yield broker
    broker.kill()
    assert_nothing_broke(broker)


def campaign(broker: Leveret, rounds: int, first_seed: int) -> None:
    """Round after round on one directory, each with its seed."""
    declare_all(broker)
    for seed in range(first_seed, first_seed + rounds):
        load = Load(broker, str(seed), drained=seed % 2 == 0)
        wanted = Random(seed).choice((0, 1, 50, 500, 3000, 6000)) + Random(seed).randrange(500)
        try:
            soon(lambda load=load, wanted=wanted: load.check() or load.promises >= wanted, 60, f"{wanted} promises")
            broker.kill()
            load.join()
            broker.start()
            check(broker, load)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, killed after {wanted} promises: {error}") from error


def test_kill_9_under_load(broker: Leveret) -> None:
    campaign(broker, 3, 1)


@pytest.mark.soak
@pytest.mark.parametrize("first", range(100, 160, 10))
def test_kill_9_under_load_for_long(broker: Leveret, first: int) -> None:
    campaign(broker, 10, first)

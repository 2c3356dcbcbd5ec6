"""Single scenes, cut off at each operation of the disk."""

from __future__ import annotations

import errno
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import pytest

from protocol.methods import Confirm, Queue, Tx
from tests.campaign.machine import Found, Machine, PowerDisk
from tests.core.playbook import Acked, Delivered, Got, Said

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.core.playbook import PlayedChannel

pytestmark = pytest.mark.usefixtures("small_segments")

ATTEMPTS = 4
BIG = b"x" * 900
"""Goes over several blocks."""


class After(NamedTuple):
    """What a restart found."""

    at: str
    queues: dict[str, list[Found]]

    def bodies(self, name: str) -> list[bytes] | None:
        """None where there is no such queue."""
        return [found.body for found in self.queues[name]] if name in self.queues else None


def restarted(disk: PowerDisk, at: str = "") -> After:
    """What a start finds on a copy of the disk."""
    machine = Machine(disk.copy())
    contents = machine.contents()
    return After(at, {name: contents[queue_id] for name, queue_id in machine.queue_ids().items()})


def cut_off(machine: Machine, act: Callable[[], None]) -> list[After]:
    """Play `act` until all of it is durable; returns what restarts find after power cuts at each operation on the way."""
    power = machine.power
    found: list[After] = []
    disks: list[tuple[str, PowerDisk]] = []

    def cut(number: int, name: str) -> None:
        for attempt in range(ATTEMPTS):
            at = f"operation {number} ({name}), attempt {attempt}"
            disks.append((at, power.after_power_cut(Random(at))))

    machine.settle()
    power.fault = cut
    act()
    machine.settle()
    power.fault = None
    found += [restarted(disk, at) for at, disk in disks]
    found.append(restarted(power.after_power_cut(Random(1)), "the end"))
    return found


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def channel(machine: Machine) -> PlayedChannel:
    """With the queues a, b and c, bound to amq.fanout."""
    channel = machine.connect().channel()
    for name in "abc":
        channel.declare(name, durable=True)
        channel.bind(name, "amq.fanout")
    machine.settle()
    channel.take()
    return channel


def published(machine: Machine, channel: PlayedChannel, queue: str, *bodies: bytes) -> None:
    """They are durable."""
    channel.publish(queue, *bodies)
    machine.settle()


def test_an_ack_and_the_delete_of_its_queue_in_one_turn(machine: Machine, channel: PlayedChannel) -> None:
    published(machine, channel, "a", b"1", b"2")
    published(machine, channel, "b", b"3")
    channel.get("a")
    channel.get("b")
    machine.settle()

    def act() -> None:
        channel.ack(1)
        channel.do(Queue.Delete, queue="a")
        channel.ack(2)

    outcomes = cut_off(machine, act)
    for after in outcomes:
        brought_back = ([b"1", b"2"], [b"2"])
        assert after.bodies("a") in (None, *brought_back), f"{after.at}: a deletion that a crash undoes brings back what it took"
        assert after.bodies("b") in ([b"3"], []), after.at
        assert after.bodies("a") is not None or after.bodies("b") == [], f"{after.at}: deletions come after the records of their turn"
    assert outcomes[-1].queues == {"b": [], "c": []}


@pytest.mark.parametrize("deleted", [True, False], ids=["source deleted", "source stays"])
def test_a_dead_letter_is_in_one_of_its_two_queues(machine: Machine, channel: PlayedChannel, deleted: bool) -> None:
    """A nack that dead-letters, and perhaps a delete of the source in the same turn."""
    channel.declare("source", durable=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "b"})
    published(machine, channel, "source", BIG)
    published(machine, channel, "source", b"2")
    channel.get("source")
    channel.get("source")
    machine.settle()

    def act() -> None:
        channel.nack(2, multiple=True, requeue=False)
        if deleted:
            channel.do(Queue.Delete, queue="source")

    outcomes = cut_off(machine, act)
    for after in outcomes:
        assert (after.bodies("source"), after.bodies("b")) in (([BIG, b"2"], []), ([], [BIG, b"2"]), (None, [BIG, b"2"])), after.at
    assert [after for after in outcomes if not after.bodies("b")], "both were seen"
    assert outcomes[-1].bodies("b") == [BIG, b"2"]
    assert outcomes[-1].bodies("source") == (None if deleted else [])


@pytest.mark.parametrize("turns", ["one turn", "two turns", "two lives"])
def test_delete_and_redeclare_under_the_same_name(machine: Machine, channel: PlayedChannel, turns: str) -> None:
    published(machine, channel, "a", b"old", b"odd")
    if turns == "two lives":
        channel.do(Queue.Delete, queue="a")
        machine = Machine(machine.stop().copy())
        channel = machine.connect().channel()
        assert restarted(machine.power).bodies("a") is None
    channel.take()

    def act() -> None:
        if turns != "two lives":
            channel.do(Queue.Delete, queue="a")
            if turns == "two turns":
                machine.turn()
        channel.declare("a", durable=True)
        channel.publish("a", b"new")

    outcomes = cut_off(machine, act)
    for after in outcomes:
        assert after.bodies("a") in (None, [b"old", b"odd"], [], [b"new"]), f"{after.at}: {after.bodies('a')}"
    assert outcomes[-1].bodies("a") == [b"new"]


def test_a_deletion_that_is_not_on_its_way_yet_frees_no_space(machine: Machine, channel: PlayedChannel) -> None:
    published(machine, channel, "a", b"1", b"2")
    for number in range(4):
        published(machine, channel, "b", b"%d" % number * 900)
    channel.do(Queue.Purge, queue="b")
    machine.settle()
    assert len(machine.disk.log.segments()) > 1, "only the messages of a hold the first"
    channel.publish("b", b"more")
    machine.turn()
    channel.do(Queue.Delete, queue="a")
    while machine.step():  # reports of the turn before
        pass
    assert restarted(machine.power.after_power_cut(Random(1))).bodies("a") == [b"1", b"2"]
    machine.settle()
    assert restarted(machine.power.after_power_cut(Random(1))).bodies("a") is None


def test_what_was_delivered_and_unacked_comes_back_redelivered(machine: Machine, channel: PlayedChannel) -> None:
    published(machine, channel, "a", b"1", b"2", b"3")
    channel.qos(2)
    channel.consume("a")
    machine.settle()
    published(machine, machine.connect().channel(), "b", b"covers the mark")
    flags = [found.redelivered for found in restarted(machine.power.after_power_cut(Random(1))).queues["a"]]
    assert flags == [True, True, False]


def test_what_was_never_delivered_is_not_redelivered_after_a_clean_stop(machine: Machine, channel: PlayedChannel) -> None:
    published(machine, channel, "a", b"1", b"2", b"3")
    channel.get("a")
    machine.settle()
    disk = machine.stop()
    for _ in range(2):
        assert restarted(disk).queues["a"] == [Found(b"1", True, 1), Found(b"2", False, 0), Found(b"3", False, 0)]
        disk = Machine(disk.copy()).stop()


@pytest.mark.parametrize("body", [b"small", BIG], ids=["small", "big"])
def test_a_fan_out_is_all_or_nothing(machine: Machine, channel: PlayedChannel, body: bytes) -> None:
    outcomes = cut_off(machine, lambda: channel.publish("", body, exchange="amq.fanout"))
    for after in outcomes:
        assert after.bodies("a") == after.bodies("b") == after.bodies("c"), after.at
    assert {len(after.queues["a"]) for after in outcomes} == {0, 1}, "both were seen"
    assert outcomes[-1].bodies("a") == [body]


def test_a_transaction_is_all_or_nothing(machine: Machine, channel: PlayedChannel) -> None:
    published(machine, channel, "a", b"in")
    channel.do(Tx.Select)
    channel.get("a")
    machine.settle()
    channel.take()

    def act() -> None:
        channel.ack(1)
        channel.publish("b", BIG)
        channel.publish("", b"fan", exchange="amq.fanout")
        channel.commit()

    nothing = {"a": [b"in"], "b": [], "c": []}
    everything = {"a": [b"fan"], "b": [BIG, b"fan"], "c": [b"fan"]}
    outcomes = [(after.at, {name: after.bodies(name) for name in after.queues}) for after in cut_off(machine, act)]
    for at, bodies in outcomes:
        assert bodies in (nothing, everything), f"{at}: half a transaction"
    assert [bodies for _, bodies in outcomes if bodies == nothing], "both were seen"
    assert outcomes[-1][1] == everything
    assert [reply.method.name for reply in channel.take() if isinstance(reply, Said)] == ["Tx.CommitOk"]


def test_a_delivery_count_survives_the_truncation_of_older_segments(machine: Machine, channel: PlayedChannel) -> None:
    published(machine, channel, "b", BIG, BIG)
    published(machine, channel, "a", b"1", b"2")
    for tag in (1, 2, 3):
        channel.get("a")
        channel.nack(tag)
        machine.settle()
    for number in range(4):
        published(machine, channel, "b", b"%d" % number * 900)
    first, _ = machine.disk.log.segments()[0]
    channel.do(Queue.Purge, queue="b")
    machine.settle()
    published(machine, channel, "b", b"last")
    assert machine.disk.log.segments()[0][0] > first
    disk = machine.power.after_power_cut(Random(1))
    for _ in range(2):
        assert restarted(disk).queues["a"] == [Found(b"1", True, 3), Found(b"2", False, 0)]
        disk = Machine(disk.copy()).stop()


def test_a_purge_then_a_crash(machine: Machine, channel: PlayedChannel) -> None:
    published(machine, channel, "a", b"0", b"1", b"2")
    channel.get("a")
    machine.settle()
    channel.take()
    outcomes = cut_off(machine, lambda: channel.do(Queue.Purge, queue="a"))
    for after in outcomes:
        assert after.bodies("a") in ([b"0", b"1", b"2"], [b"0"]), f"{after.at}: half a purge"
    assert outcomes[-1].queues["a"] == [Found(b"0", True, 0)], "it leaves alone what is unacked"
    assert [reply.method.message_count for reply in channel.take() if isinstance(reply, Said)] == [2]


def test_nothing_is_confirmed_before_it_is_synced(machine: Machine, channel: PlayedChannel) -> None:
    """Whatever came last: a confirm, then the power cut."""
    publisher = machine.connect().channel()
    publisher.do(Confirm.Select)
    publisher.take()
    for number in range(10):
        publisher.publish("a", b"%d" % number)
        publisher.publish("a", b"t", persistent=False)
        machine.turn()
        while machine.step():
            confirmed = [reply.tag for reply in publisher.take() if isinstance(reply, Acked)]
            there = restarted(machine.power.after_power_cut(Random(number))).bodies("a")
            assert there is not None and len(there) >= (max(confirmed) + 1) // 2 if confirmed else True


def publish_until_it_fails(machine: Machine, channel: PlayedChannel) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Publishes over some segments, taken out again in part; returns what was confirmed, what was acked, and what surely."""
    publisher = machine.connect().channel()
    publisher.do(Confirm.Select)
    publisher.take()
    confirmed: list[bytes] = []
    acked: list[bytes] = []
    sure: list[bytes] = []
    for number in range(12):
        body = b"%02d" % number * 150
        publisher.publish("a", body)
        machine.settle()
        (answer,) = publisher.take()
        if isinstance(answer, Acked):
            confirmed.append(body)
            sure = list(acked)
        if number % 3 == 2 and machine.committer.failed is None:
            channel.get("a")
            machine.settle()
            (got,) = channel.take()
            assert isinstance(got, Got)
            channel.ack(got.tag)
            acked.append(got.body)
    return confirmed, acked, sure


def test_a_disk_that_fails_once_is_not_written_to_again(machine: Machine, channel: PlayedChannel) -> None:
    """Whichever operation it is: what was confirmed is there, after the process's end and after a power cut."""
    fresh = machine.power.copy()
    whole = Machine(fresh.copy())
    publish_until_it_fails(whole, whole.connect().channel())
    for number in range(2, len(whole.power.operations) + 1):  # the first is the start's
        disk = fresh.copy()
        machine = Machine(disk)
        disk.fault = fails_at(number)
        confirmed, acked, sure = publish_until_it_fails(machine, machine.connect().channel())
        assert machine.disk.failure is not None, f"operation {number}: nobody noticed"
        for after in (restarted(disk), *[restarted(disk.after_power_cut(Random(attempt))) for attempt in range(ATTEMPTS)]):
            bodies = after.bodies("a")
            assert bodies is not None and bodies == sorted(bodies)
            assert set(confirmed) <= {*bodies, *acked}, f"operation {number}: lost"
            assert not set(sure) & set(bodies), f"operation {number}: acked, and back"


def fails_at(last: int) -> Callable[[int, str], None]:
    """The operation with that number fails, and all others work."""

    def fault(number: int, name: str) -> None:
        if number == last:
            raise OSError(errno.EIO, f"a test's {name}")

    return fault


def test_a_no_ack_delivery_is_settled_and_a_get_leases(machine: Machine, channel: PlayedChannel) -> None:
    published(machine, channel, "a", b"1", b"2", b"3")
    channel.get("a", no_ack=True)
    channel.get("a")
    machine.settle()
    assert [reply.body for reply in channel.take() if isinstance(reply, Got | Delivered)] == [b"1", b"2"]
    published(machine, channel, "b", b"covers both")
    assert restarted(machine.power.after_power_cut(Random(1))).queues["a"] == [Found(b"2", True, 0), Found(b"3", False, 0)]

"""What the clients of one broker's life were promised, and what a disk found after its end has to hold.

Everything that happens is stamped with the number of the batch that was being collected. Batches become durable in order, each
whole or not at all. So whatever a crash leaves is the state after some batch: all that is found, and all that is missed, says
something about which one, and it must not contradict itself (a fan-out of which one queue has its message and the other hasn't),
nor lie before the last batch of which a client was told that it is durable.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.campaign.machine import Found

NEVER = 1 << 60


class Broken(AssertionError):
    """A promise was not kept."""


@dataclass(eq=False, repr=False)
class Place:
    """A message in one durable queue."""

    body: bytes
    order: int
    """Places rise in the order of publishing."""
    queue: int
    persistent: bool
    batch: int
    """Of the publish; 0: it was there before the broker's start."""
    unit: int = 0
    """The fan-out or the transaction that it came with; 0: it came alone."""
    delivered: list[int] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)
    settled: int = NEVER
    settled_unit: int = 0
    """The transaction that settles it."""
    leased: bool = False

    def __repr__(self) -> str:
        settled = f", settled in {self.settled}" if self.settled < NEVER else ", leased" if self.leased else ""
        what = f"{self.body[:8].decode()} ({len(self.body)} bytes) in queue {self.queue}, published in batch {self.batch}"
        return f"{what}, delivered in {self.delivered}, returned in {self.returned}{settled}"

    @property
    def ready(self) -> bool:
        return not self.leased and self.settled == NEVER


@dataclass(eq=False)
class QueueLife:
    """A durable queue, from its declaration to its deletion."""

    id: int
    name: str
    declared: int
    deleted: int = NEVER
    bound: int = NEVER
    """To the one exchange of the workload."""
    max_priority: int = 0


class Promises:
    """Of one broker's life."""

    def __init__(self) -> None:
        self.queues: dict[int, QueueLife] = {}
        self.places: dict[tuple[int, bytes], Place] = {}
        self.priorities: dict[bytes, int] = {}
        """By body."""
        self.orders = 0
        self.units = 0
        self.done = 0
        """Up to this batch the store has done all it was asked, as clients were told: the catalog has it."""
        self.synced = 0
        """Up to this batch the records are durable, as clients were told."""

    # --- what happens -----------------------------------------------------------------------------------------------------

    def declared(self, queue_id: int, name: str, batch: int, max_priority: int = 0) -> None:
        self.queues.setdefault(queue_id, QueueLife(queue_id, name, batch, max_priority=max_priority))

    def deleted(self, queue_id: int, batch: int) -> None:
        self.queues[queue_id].deleted = batch
        for place in self.of(queue_id):
            if place.ready:
                place.settled = batch

    def bound(self, queue_id: int, batch: int) -> None:
        life = self.queues[queue_id]
        life.bound = min(life.bound, batch)

    def unit(self) -> int:
        """A number for what is all or nothing: publishes and settles that carry it. A dead letter is one publish and one settle: it is
        never lost between its two queues, and never in both."""
        self.units += 1
        return self.units

    def published(self, queue_ids: Iterable[int], body: bytes, persistent: bool, batch: int, unit: int = 0) -> None:
        self.orders += 1
        for queue_id in queue_ids:
            if self.queues[queue_id].deleted == NEVER:
                self.places[queue_id, body] = Place(body, self.orders, queue_id, persistent, batch, unit)

    def delivered(self, queue_id: int, body: bytes, redelivered: bool, batch: int, *, leased: bool) -> Place:
        """Somebody has it; unless it is `leased` it is settled by that."""
        place = self.places.get((queue_id, body))
        if place is None or not place.ready:
            raise Broken(f"{body[:12]!r} was delivered, and is {place}")
        if redelivered is not bool(place.delivered):
            raise Broken(f"{body[:12]!r} was delivered with redelivered={redelivered}: {place}")
        if leased:
            place.delivered.append(batch)
            place.leased = True
        else:
            place.settled = batch
        return place

    def settled(self, place: Place, batch: int, unit: int = 0) -> None:
        place.settled, place.settled_unit, place.leased = batch, unit, False

    def returned(self, place: Place, batch: int) -> None:
        place.leased = False
        if self.queues[place.queue].deleted != NEVER:
            place.settled = batch
        else:
            place.returned.append(batch)

    def told(self, batch: int, *, synced: bool) -> None:
        """A client heard what waited for the batch; `synced` if something in it had to be in the log."""
        self.done = max(self.done, batch)
        if synced:
            self.synced = max(self.synced, batch)

    def stopped(self) -> None:
        """The broker stopped by itself: everything is durable."""
        self.done = self.synced = NEVER - 1

    def of(self, queue_id: int) -> list[Place]:
        return [place for place in self.places.values() if place.queue == queue_id]

    # --- what must be there -----------------------------------------------------------------------------------------------

    def check(self, queue_ids: Mapping[str, int], contents: Mapping[int, Sequence[Found]], *, in_order: bool = True) -> None:
        """Hold what was found against what was promised. Raises Broken."""
        self._check_queues(queue_ids)
        for queue_id, found in contents.items():
            self._check_queue(queue_id, found)
        present = {(queue_id, each.body): each for queue_id, found in contents.items() for each in found}
        self._check_units(present, contents)
        first, last = self._check_prefix(present, contents) if in_order else (self.synced, NEVER)
        for key, each in present.items():
            self._check_history(self.places[key], each, first, last)

    def check_bindings(self, bound: Iterable[int]) -> None:
        """Of the queues that were found, these are bound."""
        there = set(bound)
        for life in self.queues.values():
            if life.bound <= self.done and life.deleted == NEVER and life.id not in there:
                raise Broken(f"{life} is not bound any more")
            if life.bound == NEVER and life.declared <= self.done and life.id in there:
                raise Broken(f"{life} is bound, as an older queue of that name was")

    def _check_queues(self, queue_ids: Mapping[str, int]) -> None:
        found = set(queue_ids.values())
        for name, queue_id in queue_ids.items():
            if queue_id not in self.queues or self.queues[queue_id].name != name:
                raise Broken(f"queue {name} with the id {queue_id} was never declared")
        for life in self.queues.values():
            if life.id in found and life.deleted <= self.done:
                raise Broken(f"{life} was deleted, delete-ok was heard, and it is back")
            if life.id not in found and life.declared <= self.done and life.deleted == NEVER:
                raise Broken(f"{life} is lost")

    def _check_queue(self, queue_id: int, found: Sequence[Found]) -> None:
        places: list[Place] = []
        for each in found:
            place = self.places.get((queue_id, each.body))
            if place is None:
                raise Broken(f"queue {queue_id} has {each.body[:12]!r}, which never was in it or was gone before")
            if not place.persistent:
                raise Broken(f"a transient message survived: {place}")
            places.append(place)
        most = self.queues[queue_id].max_priority
        orders = [(-min(self.priorities.get(place.body, 0), most), place.order) for place in places]
        if len(set(orders)) < len(orders):
            raise Broken(f"queue {queue_id} has a message twice: {[each.body[:12] for each in found]}")
        if orders != sorted(orders):
            raise Broken(f"queue {queue_id} is out of order: {[each.body[:12] for each in found]}")

    def _undone(self, place: Place) -> bool:
        """A deletion that a crash undid may bring back what was settled with it."""
        return place.settled >= self.queues[place.queue].deleted

    def _check_units(self, present: Mapping[tuple[int, bytes], Found], contents: Mapping[int, object]) -> None:
        """A fan-out and a transaction are there in all their parts, or in none."""
        there: dict[int, Place] = {}
        gone: dict[int, Place] = {}
        for key, place in self.places.items():
            if place.queue not in contents or not place.persistent:
                continue
            if key in present:
                there[place.unit] = place
                if place.settled < NEVER and not self._undone(place):
                    gone[place.settled_unit] = place
            elif place.settled == NEVER:
                gone[place.unit] = place
            elif place.batch <= self.synced and not self._undone(place):
                there[place.settled_unit] = place
        for unit in sorted((there.keys() & gone.keys()) - {0}):
            raise Broken(f"half of a fan-out or transaction: {there[unit]} says it is there, {gone[unit]} that it isn't")

    def _check_prefix(self, present: Mapping[tuple[int, bytes], Found], contents: Mapping[int, object]) -> tuple[int, int]:
        """What is there and what is missing come from one point in time; returns the last batch that is surely there, and the
        first that surely isn't."""
        first, why_first = self.synced, "a client was told"
        last, why_last = NEVER, ""
        for key, place in self.places.items():
            if place.queue not in contents or not place.persistent:
                continue
            if key in present:
                first, why_first = max((first, why_first), (place.batch, f"there: {place}"))
                if place.settled < NEVER and not self._undone(place):
                    last, why_last = min((last, why_last), (place.settled, f"settled, and back: {place}"))
            elif place.settled == NEVER:
                last, why_last = min((last, why_last), (place.batch, f"lost: {place}"))
            elif place.batch <= self.synced and not self._undone(place):
                first, why_first = max((first, why_first), (place.settled, f"settled: {place}"))
        if last <= first:
            raise Broken(f"batch {first} is durable ({why_first}), but batch {last} isn't ({why_last})")
        return first, last

    def _check_history(self, place: Place, found: Found, first: int, last: int) -> None:
        """It knows whether it was delivered, and how often it came back. A mark of what was delivered says "up to this id": with
        priorities it also flags what waits behind in a lower one, which clients may take (too many, never too few)."""
        if found.redelivered and not place.delivered and not self.queues[place.queue].max_priority:
            raise Broken(f"never delivered, and flagged redelivered: {place}")
        if not found.redelivered and any(batch <= first for batch in place.delivered):
            raise Broken(f"delivered in a durable batch, and not flagged redelivered: {place}")
        surely, at_most = sum(batch <= first for batch in place.returned), sum(batch < last for batch in place.returned)
        if not surely <= found.count <= at_most:
            raise Broken(f"it came back {surely} to {at_most} times, and counts {found.count}: {place}")

    # --- and on it goes ---------------------------------------------------------------------------------------------------

    def after(self, queue_ids: Mapping[str, int], contents: Mapping[int, Sequence[Found]], bound: Iterable[int]) -> Promises:
        """Those of the next life: what was found is durable, the rest must never come back."""
        following = Promises()
        following.orders, following.units, following.priorities = self.orders, self.units, self.priorities
        for name, queue_id in queue_ids.items():
            life = QueueLife(queue_id, name, 0, bound=0 if queue_id in bound else NEVER, max_priority=self.queues[queue_id].max_priority)
            following.queues[queue_id] = life
            for each in contents[queue_id]:
                old = self.places[queue_id, each.body]
                place = following.places[queue_id, each.body] = Place(each.body, old.order, queue_id, True, 0)
                place.delivered, place.returned = [0] * each.redelivered, [0] * each.count
        return following

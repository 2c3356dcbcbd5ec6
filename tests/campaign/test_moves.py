"""Messages are moved from queue to queue, and the power goes: each is in one of the two, never in both and never in neither."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from broker.core.inspection import look
from broker.core.relocation import Way, relocate, to_queue
from tests.campaign import test_power
from tests.campaign.promises import Broken
from tests.campaign.workload import QUEUES, Workload

if TYPE_CHECKING:
    from broker.core.message import Message
    from broker.core.queue import Queue
    from broker.core.steps import Step

pytestmark = pytest.mark.usefixtures("small_segments")

TARGET = "moved"
moves: Counter[str] = Counter()


class MovingWorkload(Workload):
    """And an operator who moves what is ready to `moved`, or chosen messages of it."""

    def furnish(self) -> None:
        """See Workload."""
        self.declare(self.clients[0], TARGET)
        super().furnish()

    def act(self) -> None:
        """See Workload."""
        if self.chance.random() < 0.3:
            self.move()
        else:
            super().act()

    def move(self) -> None:
        """One step of a move; what it takes out and what it puts in is of one batch."""
        name = self.chance.choice(QUEUES)
        if name not in self.ids or TARGET not in self.ids:
            return
        source, target, promises = self.machine.queue(name), self.ids[TARGET], self.promises
        source.serve()
        self._hear_deliveries()
        before = dict(self._ready(source))
        chosen = [number for number in before if self.chance.random() < 0.5] if self.chance.random() < 0.5 else None
        order: list[Message] = []

        def way(message: Message) -> Way | str:
            if (target, message[3]) in promises.places:
                return "a copy of a fan-out is there already"
            order.append(message)
            return to_queue(TARGET)(message)

        steps = relocate(source, way, lambda _: None, most=self.chance.choice((1, 2, 5, None)), ids=chosen)
        while not self.done(next(steps)):
            pass
        steps.close()
        after = {number for number, _ in self._ready(source)}
        for message in order:
            if message[0] in before and message[0] not in after:
                place = promises.places[source.id, message[3]]
                unit = promises.unit()
                promises.settled(place, self.batch, unit)
                promises.published({target}, message[3], place.persistent, self.batch, unit)
                moves["moved" if source.ready.paged is None else "moved out of a paged queue"] += 1

    def done(self, step: Step) -> bool:
        """Read if it asks for that; anything else ends the step."""
        loads = len(self.machine.broker.outbox.loads)
        if step is None:
            return True
        assert callable(step)
        step(lambda: None)
        if len(self.machine.broker.outbox.loads) == loads:
            return True  # it waits for the disk
        self.machine.read()
        return False

    def _ready(self, queue: Queue) -> list[tuple[int, bytes]]:
        steps = look(queue, 0, 1000)
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                return [(each.message_id, each.body) for each in stop.value.seen]
            if self.done(step):
                raise Broken("a look waits for more than a read")


def test_a_power_cut_at_each_operation_of_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_power, "Workload", MovingWorkload)
    moves.clear()
    for seed in range(900, 902):
        test_power.Campaign(seed).run(60)
    assert min(moves["moved"], moves["moved out of a paged queue"]) > 20, moves


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1000, 1100))
def test_a_power_cut_at_each_operation_of_moves_for_long(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_power, "Workload", MovingWorkload)
    test_power.Campaign(seed, attempts=5).run(80)

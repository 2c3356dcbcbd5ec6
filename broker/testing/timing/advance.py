"""Time passes: the core's timers are called one by one, in their order, each at its own moment, and a whole turn follows each.

So what happens is what would have happened in all that time, if nobody but the broker had done anything: what clients send meanwhile is
heard afterwards. What they sent *before* is heard first. With `settle` they are part of it: after each timer that had the broker say
something the clock waits until they have reacted (real time), and what they did counts as done at that moment.

The disk is waited for wherever somebody else would have had to wait for it: a reply that has to be durable, the head of a queue that has
to be read. What belongs to the machine (sockets, heartbeats, handshakes) has its own time and never moves.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from broker.core.steps import Waiter
from broker.testing.timing.backlog import backlogs
from broker.testing.waiting.idle import Idle
from broker.testing.waiting.waits import TimedOut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broker.testing.broker import WatchedBroker
    from broker.testing.connection import WatchedConnection
    from broker.testing.rig import Rig
    from broker.testing.turn import WatchedTurn

SLICE_SECONDS: Final = 0.02
"""So long at a time the event loop is kept from everything else."""
PATIENCE_SECONDS: Final = 0.3
"""Clients that hold messages and say nothing for so long have nothing to say."""
DISK_CHECK_SECONDS: Final = 0.0005


class TooSlow(Exception):
    """It took longer, in real time, than it was given; the text says what was waited for. The clock stands where it had got to."""


class Advance:
    """One per broker: whoever moves the clock, or stops it, has it to themselves."""

    is_deaf: bool
    """What clients send waits."""

    def __init__(
        self, broker: WatchedBroker, turn: WatchedTurn, connections: set[WatchedConnection], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._broker = broker
        self._clock = broker.rig.clock
        self._turn = turn
        self._connections = connections
        self._loop = loop
        self._lock = asyncio.Lock()
        self.is_deaf = False

    async def by(self, ms: int, *, settle: bool, timeout_seconds: float) -> int:
        """Let so much time pass; returns how many timers were called. Raises TooSlow."""
        return await self._pass(lambda now_ms: now_ms + ms, settle=settle, timeout_seconds=timeout_seconds)

    async def until(self, moment_ms: int, *, settle: bool, timeout_seconds: float) -> int:
        """Let time pass up to a moment, in ms since 1970; one that is over changes nothing. See `by`."""
        return await self._pass(lambda now_ms: max(moment_ms, now_ms), settle=settle, timeout_seconds=timeout_seconds)

    async def freeze(self) -> None:
        """Stop the clock."""
        async with self._lock:
            self._clock.freeze()
            self._keep()

    async def resume(self) -> None:
        """Let the clock go on."""
        async with self._lock:
            self._clock.resume()
            self._keep()

    # --- the way through --------------------------------------------------------------------------------------------

    async def _pass(self, end_of: Callable[[int], int], *, settle: bool, timeout_seconds: float) -> int:
        async with self._lock:
            deadline = self._loop.time() + timeout_seconds
            self._clock.hold()
            try:
                if settle:
                    await self._until_idle(deadline)
                    return await self._call(end_of(self._clock.now_ms()), settle=True, deadline=deadline)
                await self._hear(deadline)
                with self._deafness():
                    await self._durable(deadline)
                    await self._rest(deadline)
                    return await self._call(end_of(self._clock.now_ms()), settle=False, deadline=deadline)
            finally:
                self._clock.release()
                self._keep()

    async def _call(self, end_ms: int, *, settle: bool, deadline: float) -> int:
        clock, timers, turn = self._clock, self._broker.timers, self._turn
        if settle or (timers.next_ms is not None and timers.next_ms <= end_ms):
            self._keep(end_ms - clock.now_ms())
        called = 0
        slice_end = self._loop.time() + SLICE_SECONDS
        while (next_ms := timers.next_ms) is not None and next_ms <= end_ms:
            if self._loop.time() > slice_end:
                self._check(deadline, f"{called} timers were called")
                await asyncio.sleep(0)
                slice_end = self._loop.time() + SLICE_SECONDS
            clock.move_to(next_ms)
            said = turn.said
            timers.run_first()
            called += 1
            turn.take()
            await self._rest(deadline)
            if settle and (turn.said != said or self._broker.rig.scheduling.is_holding):
                await self._until_idle(deadline)
        clock.move_to(end_ms)
        return called

    async def _hear(self, deadline: float) -> None:
        """Hear what was sent before, to the last byte, and nothing of those who never stop that they send later."""
        ends = {each: each.session.received_bytes + each.unread_bytes for each in self._connections}
        for each, count in backlogs(each for each in ends if each.unread_bytes or each.sent_much_lately).items():
            ends[each] += count
        while True:
            # The first round hears, the second has the turn.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            late = [each for each, end in ends.items() if each in self._connections and each.heard_bytes < end]
            if not any(each.has_more for each in late) and not backlogs(each for each in late if each.sent_much_lately):
                return
            self._check(deadline, f"{len(late)} connections have more to say")

    async def _durable(self, deadline: float) -> None:
        """Wait until the disk has all that was done so far: replies, and deliveries on their channels, may wait for it."""
        durable: asyncio.Future[None] = self._loop.create_future()
        self._broker.outbox.hold(Waiter(lambda _: None if durable.done() else durable.set_result(None)))
        self._turn.take()
        try:
            await asyncio.wait_for(durable, max(deadline - self._loop.time(), 0))
        except TimeoutError:
            self._check(0, "the disk is slow")

    async def _rest(self, deadline: float) -> None:
        """Take turns until all queues have got on as far as they can by themselves, reading what is on the disk."""
        broker, turn = self._broker, self._turn
        turns = 0
        while True:
            if broker.outbox.touched or broker.announcements.waiting:
                turn.take()
                turns += 1
                if turns % 100 == 0:
                    self._check(deadline, f"a queue is never done: {broker.outbox.touched[:1]}")
                    await asyncio.sleep(0)
            elif turn.is_reading:
                self._check(deadline, "the disk is slow")
                turn.schedule()
                await asyncio.sleep(DISK_CHECK_SECONDS)
            else:
                return

    async def _until_idle(self, deadline: float) -> None:
        """Clients have done what they had to do."""
        try:
            await self._broker.rig.waits.until(Settled(self._broker.rig), max(deadline - self._loop.time(), 0))
        except TimedOut as late:
            raise TooSlow(str(late)) from late

    def _check(self, deadline: float, what: str) -> None:
        if self._loop.time() > deadline:
            raise TooSlow(f"{what}; {self._broker.timers.live} timers are to come")

    @contextmanager
    def _deafness(self) -> Iterator[None]:
        """Nobody is read from meanwhile, and nobody has to answer heartbeats."""
        self.is_deaf = self._broker.rig.scheduling.is_suspended = True
        for connection in list(self._connections):
            connection.hold("time")
        try:
            yield
        finally:
            self.is_deaf = self._broker.rig.scheduling.is_suspended = False
            for connection in list(self._connections):
                connection.go_on("time")

    def _keep(self, ahead_ms: int = 0) -> None:
        if self._broker.logs:
            self._clock.keep(self._broker.outbox, ahead_ms)
        self._turn.schedule()


class Settled(Idle):
    """All that clients do for now is done: as Idle, of all vhosts that have any, but for what they hold without a word for a while."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(rig, [vhost for vhost in rig.broker.vhosts.values() if vhost.sessions], held_seconds=PATIENCE_SECONDS)

    def is_met(self) -> bool:
        """See Condition."""
        self._vhosts = [vhost for vhost in self._vhosts if self._rig.broker.vhosts.get(vhost.name) is vhost]
        return super().is_met()

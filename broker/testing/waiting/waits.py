"""Those who wait for something to become true of the broker.

Each waits for a *condition*, which is looked at after each turn: between two turns nothing changes that isn't followed by one. So nobody
polls, and who waits is told within the turn that made it true. A condition that also depends on the time says when to look again. All of
this is real time, by the event loop's clock: moving the broker's clock changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from broker.testing.talk.wording import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.vhost import VHost


class Condition(Protocol):
    """What is waited for. To look must change nothing."""

    def is_met(self) -> bool:
        """It is true now. Raises HttpError where it can't become true any more."""

    def look_at(self) -> float | None:
        """After `is_met` said no: when to look again though no turn has passed, by time.monotonic."""

    def close(self) -> None:
        """Nobody waits for it any more."""

    def concerns(self, vhost: VHost) -> bool:
        """It is about that one."""

    def wanted(self) -> str:
        """In words: `queue 'orders' to have 0 ready messages`."""

    def found(self) -> str:
        """What there is instead now: `it has 2 ready`."""


class TimedOut(Exception):
    """It didn't become true in time; the text says what was waited for, and what there is instead."""


class _Waiter:
    """One who waits."""

    def __init__(self, condition: Condition, loop: asyncio.AbstractEventLoop) -> None:
        self._condition = condition
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self.done: asyncio.Future[None] = loop.create_future()

    def look(self) -> None:
        """Is it true by now?"""
        if self.done.done():
            return
        try:
            is_met = self._condition.is_met()
        except Exception as error:  # noqa: BLE001 - it isn't ours
            # Whoever waits hears of it, as of an error in a handler, and the turn goes on.
            self.done.set_exception(error)
            return
        if is_met:
            self.done.set_result(None)
        elif (at := self._condition.look_at()) is not None:
            self._look_again(at)

    def _look_again(self, at: float) -> None:
        if self._timer is not None:
            if self._timer_at <= at:
                return  # it looks then, and knows better
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_later(max(at - time.monotonic(), 0), self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self.look()

    @property
    def was_told(self) -> bool:
        """It was true, though the time was over before anybody heard of it."""
        return self.done.done() and not self.done.cancelled() and self.done.exception() is None

    def close(self) -> None:
        """Nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()


class Waits:
    """All who wait, of one broker. `schedule_turn` has a turn follow."""

    def __init__(self, schedule_turn: Callable[[], None]) -> None:
        self._schedule_turn = schedule_turn
        self._waiters: dict[_Waiter, Condition] = {}

    def after_turn(self) -> None:
        """Look for everybody: a turn is over."""
        for waiter in list(self._waiters):
            waiter.look()

    @property
    def conditions(self) -> list[Condition]:
        """What is being waited for."""
        return list(self._waiters.values())

    async def until(self, condition: Condition, timeout_seconds: float) -> float:
        """Wait until it is true; returns how many seconds that took. Raises TimedOut, and what the condition raises.

        It isn't looked at before the next turn, so that what this one has begun is over."""
        begun = time.monotonic()
        waiter = _Waiter(condition, asyncio.get_running_loop())
        self._waiters[waiter] = condition
        self._schedule_turn()
        try:
            async with asyncio.timeout(timeout_seconds):
                await waiter.done
        except TimeoutError:
            if not waiter.was_told and not condition.is_met():
                text = f"waited {timeout_seconds:g} s for {condition.wanted()}; {condition.found()}"
                raise TimedOut(printable(text)) from None
        finally:
            waiter.close()
            condition.close()
            del self._waiters[waiter]
        return time.monotonic() - begun

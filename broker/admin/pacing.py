"""Work in slices: the event loop is shared with everybody's messages."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

SLICE_SECONDS: Final = 0.002
LOOK_EVERY: Final = 16
"""Items between two looks at the clock."""


class Turns:
    """Of all who work in slices one does in a round of the event loop, in turn: fifty long lists hold nobody up for longer than one."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_scheduled = False

    async def next(self) -> None:
        """Wait for one's turn, a round at least."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._give, loop)
        await turn

    def _give(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # as that of a request is whose peer has gone
                turn.set_result(None)
                break
        self._is_scheduled = bool(self._waiting)
        if self._waiting:
            loop.call_soon(self._give, loop)


class Pacer:
    """Lets others have the event loop from time to time: `if pacer.is_due: await pacer.rest()`."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._count = 0
        self._until = time.perf_counter() + SLICE_SECONDS

    @property
    def is_due(self) -> bool:
        """One more item is done: whether it is time to rest."""
        self._count += 1
        return not self._count % LOOK_EVERY and self.is_over

    @property
    def is_over(self) -> bool:
        """The slice has taken its time."""
        return time.perf_counter() > self._until

    async def rest(self) -> None:
        """Others first."""
        await self._turns.next()
        self._until = time.perf_counter() + SLICE_SECONDS

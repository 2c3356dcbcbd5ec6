"""The line between a client and the broker: a transport whose bytes can be late, slow, or stuck, in either direction."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.testing.faults.connection import FaultyConnection

TICK_SECONDS: Final = 0.02
"""A slow line hands on what may pass in so much time, at once."""
FULL_BYTES: Final = 524_288
"""With more than this on its way, who sends is asked to wait."""


class Impediment(NamedTuple):
    """What is wrong with one direction: so much later, and so many bytes a second at the most (None: any number, 0: none)."""

    late_seconds: float = 0.0
    bytes_per_second: float | None = None


class Flow:
    """One direction. `arrive` gets the bytes in the end, `changed` is called when there are more on their way, or fewer."""

    def __init__(self, arrive: Callable[[bytes], None], changed: Callable[[], None]) -> None:
        self._arrive = arrive
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._on_its_way: deque[tuple[float, bytes | Callable[[], None]]] = deque()
        self._handle: asyncio.TimerHandle | None = None
        self._allowed_from = 0.0
        """When the next bytes may pass, on a slow line."""
        self.impediments: dict[object, Impediment] = {}
        self.is_stopped = False
        """Who it goes to doesn't take any more for now."""
        self.size = 0
        """Bytes on their way."""

    @property
    def is_empty(self) -> bool:
        """Nothing is on its way."""
        return not self._on_its_way

    @property
    def is_moving(self) -> bool:
        """Something is on its way, and will arrive if nobody does anything."""
        return bool(self._on_its_way) and not self.is_stopped and all(each.bytes_per_second != 0 for each in self.impediments.values())

    def feed(self, data: bytes) -> None:
        """Bytes go in."""
        if not self._on_its_way and not self.impediments and not self.is_stopped:
            self._arrive(data)
            return
        self._on_its_way.append((self._loop.time(), data))
        self.size += len(data)
        self._changed()
        self._go_on()

    def then(self, act: Callable[[], None]) -> None:
        """Call it when all that is on its way has arrived."""
        self._on_its_way.append((self._loop.time(), act))
        self._go_on()

    def clear(self) -> None:
        """What is on its way is lost."""
        self._on_its_way.clear()
        self.size = 0
        self._cancel()

    def impede(self, who: object, impediment: Impediment) -> None:
        """Something is wrong with it from now on."""
        self.impediments[who] = impediment
        self._go_on()

    def relieve(self, who: object) -> None:
        """That is over; again is fine."""
        if self.impediments.pop(who, None) is not None:
            self._go_on()

    def stop(self, *, stopped: bool) -> None:
        """Hand nothing on, or go on."""
        self.is_stopped = stopped
        if not stopped:
            # Not within the call: who says that it takes more isn't ready for it yet.
            self._wait(0.0)

    def _cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _wait(self, seconds: float) -> None:
        self._cancel()
        if self._on_its_way:
            self._handle = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        """Hand on what has been on its way for long enough, and come back for the rest."""
        self._cancel()
        late = max((each.late_seconds for each in self.impediments.values()), default=0.0)
        rate = min((each.bytes_per_second for each in self.impediments.values() if each.bytes_per_second is not None), default=None)
        before = self.size
        while self._on_its_way and not self.is_stopped:
            since, data = self._on_its_way[0]
            now = self._loop.time()
            if now < since + late:
                self._wait(since + late - now)
                break
            if callable(data):
                self._on_its_way.popleft()
                data()
                continue
            if rate == 0:
                break
            if rate is not None:
                if now < self._allowed_from:
                    self._wait(self._allowed_from - now)
                    break
                data = self._part(since, data, max(int(rate * TICK_SECONDS), 1))
                self._allowed_from = now + len(data) / rate
            else:
                self._on_its_way.popleft()
            self.size -= len(data)
            self._arrive(data)
        if self.size < before:
            self._changed()

    def _part(self, since: float, data: bytes, count: int) -> bytes:
        if len(data) <= count:
            self._on_its_way.popleft()
            return data
        self._on_its_way[0] = (since, data[count:])
        return data[:count]


class Line(asyncio.Transport):
    """A transport with a Flow in each direction, as Connection uses it. `received` takes what arrives from the client."""

    def __init__(self, transport: asyncio.Transport, connection: FaultyConnection, received: Callable[[bytes], None]) -> None:
        super().__init__()
        self._transport = transport
        self._connection = connection
        self._is_closing = False
        self._is_full = False
        self._is_read = True
        """The connection wants to read."""
        self.to_client = Flow(transport.write, self._to_client_changed)
        self.from_client = Flow(received, self._read_or_not)

    def _to_client_changed(self) -> None:
        is_full = self.to_client.size > FULL_BYTES
        if is_full != self._is_full:
            self._is_full = is_full
            if is_full:
                self._connection.pause_writing()
            else:
                self._connection.resume_writing()

    def _read_or_not(self) -> None:
        if self._transport.is_closing():
            return
        if self._is_read and self.from_client.size < FULL_BYTES:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def lost(self) -> None:
        """The socket is gone."""
        self.to_client.clear()
        self.from_client.clear()

    # --- asyncio.Transport ------------------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        """See asyncio.Transport."""
        self.to_client.feed(data)

    def close(self) -> None:
        """See asyncio.Transport: behind what is on its way."""
        self._is_closing = True
        self.from_client.clear()
        self.to_client.then(self._transport.close)

    def write_eof(self) -> None:
        """See asyncio.Transport."""
        self.to_client.then(self._transport.write_eof)

    def abort(self) -> None:
        """See asyncio.Transport."""
        self._is_closing = True
        self.lost()
        self._transport.abort()

    def is_closing(self) -> bool:
        """See asyncio.Transport."""
        return self._is_closing or self._transport.is_closing()

    def pause_reading(self) -> None:
        """See asyncio.Transport."""
        self._is_read = False
        self.from_client.stop(stopped=True)
        self._read_or_not()

    def resume_reading(self) -> None:
        """See asyncio.Transport."""
        self._is_read = True
        self.from_client.stop(stopped=False)
        self._read_or_not()

    def get_write_buffer_size(self) -> int:
        """See asyncio.Transport."""
        return self._transport.get_write_buffer_size() + self.to_client.size

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See asyncio.Transport."""
        self._transport.set_write_buffer_limits(high, low)

    def can_write_eof(self) -> bool:
        """See asyncio.Transport."""
        return self._transport.can_write_eof()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See asyncio.Transport."""
        return self._transport.get_extra_info(name, default)

"""What is in queues, as far as the queues don't count it: how big what somebody holds is, how much is persistent, what is first.

To count it would cost each message something. So whoever asks has a look at the messages, up to a number of them for each request; where
that isn't all, the rest counts as those that were looked at.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Final, NamedTuple

from broker.core.message import BODY, HEADER, ID
from protocol import content

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from broker.core.broker import Broker
    from broker.core.message import Message
    from broker.core.queue import Queue

LEASED_MAX: Final = 10_000
READY_MAX: Final = 10_000
"""So many messages are looked at for one request, at the most."""
READY_OF_ONE: Final = 1000
"""And so many of one queue."""


class Contents(NamedTuple):
    """Of one queue. `first` is the oldest message that somebody has, or what is served next; None where that is on the disk."""

    leased_bytes: int
    persistent: int
    persistent_bytes: int
    first: Message | None

    @property
    def timestamp(self) -> int | None:
        """The property of the first message, in seconds; None where it has none."""
        return None if self.first is None else content.timestamp(self.first[HEADER])


class _Seen:
    """Messages that were looked at."""

    __slots__ = ("body_bytes", "count", "oldest", "persistent", "persistent_bytes")

    def __init__(self) -> None:
        self.count = self.body_bytes = self.persistent = self.persistent_bytes = 0
        self.oldest: Message | None = None

    def add(self, message: Message, is_persistent: bool) -> None:
        """One more."""
        size = len(message[BODY])
        self.count += 1
        self.body_bytes += size
        if is_persistent:
            self.persistent += 1
            self.persistent_bytes += size
        if self.oldest is None or message[ID] < self.oldest[ID]:
            self.oldest = message


class ContentsReader:
    """For one request."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._leased: dict[Queue, _Seen] | None = None
        self._ready_left = READY_MAX
        self._header = b""
        self._is_persistent = False

    def of(self, queue: Queue) -> Contents:
        """What is in it."""
        ready, unacked = len(queue.ready), queue.unacked
        held = self._held(queue) if unacked else None
        leased_bytes = _leased_bytes(queue, held) if unacked else 0
        first = None if held is None else held.oldest
        if first is None and queue.ready.available:
            first = queue.ready.head()
        if not queue.durable:
            return Contents(leased_bytes, 0, 0, first)
        persistent = persistent_bytes = 0
        for seen, count, size in ((held, unacked, leased_bytes), (self._look(queue), ready, queue.body_bytes - leased_bytes)):
            if seen is None or not seen.count:
                # Nothing of it was looked at: it is on the disk, or there is too much.
                persistent += count
                persistent_bytes += size
            else:
                persistent += seen.persistent * count // seen.count
                persistent_bytes += seen.persistent_bytes * size // seen.body_bytes if seen.body_bytes else 0
        return Contents(leased_bytes, persistent, persistent_bytes, first)

    def _held(self, queue: Queue) -> _Seen | None:
        if self._leased is None:
            self._leased = {}
            left = LEASED_MAX
            for channel in self._broker.open_channels():
                if len(channel.unacked) > left:
                    continue
                left -= len(channel.unacked)
                for holder, message in channel.unacked.values():
                    self._leased.setdefault(holder.queue, _Seen()).add(message, self._persists(message))
        return self._leased.get(queue)

    def _look(self, queue: Queue) -> _Seen:
        seen = _Seen()
        for message in islice(_in_memory(queue), min(READY_OF_ONE, self._ready_left)):
            seen.add(message, self._persists(message))
        self._ready_left -= seen.count
        return seen

    def _persists(self, message: Message) -> bool:
        # Messages of one run have one header.
        header = message[HEADER]
        if header is not self._header:
            self._header, self._is_persistent = header, content.scan(header) & content.PERSISTENT != 0
        return self._is_persistent


def _leased_bytes(queue: Queue, held: _Seen | None) -> int:
    """The bytes of what is out of a queue. What was seen may be more than there is by now, or not all."""
    ready, unacked = len(queue.ready), queue.unacked
    if not ready:
        return queue.body_bytes
    count, size = (0, 0) if held is None else (held.count, held.body_bytes)
    if count > unacked:
        return min(size * unacked // count, queue.body_bytes)
    rest = max(queue.body_bytes - size, 0)
    return min(size + rest * (unacked - count) // (ready + unacked - count), queue.body_bytes)


def _in_memory(queue: Queue) -> Iterator[Message]:
    parts: list[Iterable[Message]] = []
    for level in queue.ready.levels:
        parts += [level.fresh, level.came_back()]
        if level.paged is not None:
            parts.append(level.paged.tail)
    return chain.from_iterable(parts)

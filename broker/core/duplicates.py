"""The values that tell messages from duplicates (core/deduplication.py): which of them came lately, and which a queue holds."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from broker.core.exchange import exact
from broker.core.message import HEADER, ID
from protocol import content

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from broker.core.message import Message
    from broker.core.pages import Pages
    from protocol.tables import Field, Table

HEADER_NAME = "x-deduplication-header"
X_CACHE_TTL = "x-cache-ttl"
NEVER = 1 << 62


def value_of(headers: Table) -> Field | None:
    """What tells a message from others; None for one that is never a duplicate."""
    return headers.get(HEADER_NAME)


def ttl_of(headers: Table, default_ms: int | None) -> int | None:
    """How long the value is to be remembered: the message's own x-cache-ttl, if it is a number, or else the exchange's."""
    field = headers.get(X_CACHE_TTL)
    return int(field.value) if field is not None and field.kind in "bBsuIilL" and field.value > 0 else default_ms


class SeenValues:
    """The last so many values, each until its time is over."""

    __slots__ = ("_deadlines", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._deadlines: OrderedDict[Hashable, int] = OrderedDict()
        """When each is forgotten, in ms; in the order in which they came."""

    def __len__(self) -> int:
        return len(self._deadlines)

    def holds(self, value: Field, now_ms: int) -> bool:
        """It came lately."""
        return self._deadlines.get(exact(value), 0) > now_ms

    def add(self, value: Field, deadline_ms: int) -> None:
        """Remember it, and forget the oldest if that is one too many."""
        key, deadlines = exact(value), self._deadlines
        deadlines[key] = deadline_ms
        deadlines.move_to_end(key)
        if len(deadlines) > self._size:
            deadlines.popitem(last=False)

    def items(self) -> list[tuple[Hashable, int]]:
        """The values, as `exact` has them, and when each is forgotten; the oldest first."""
        return list(self._deadlines.items())

    def clear(self) -> None:
        """Forget all."""
        self._deadlines.clear()


class HeldValues:
    """The values of the messages that one queue holds, ready or not."""

    __slots__ = ("_by_id", "_ids")

    def __init__(self) -> None:
        self._ids: dict[Hashable, int] = {}
        self._by_id: dict[int, Hashable] = {}

    def has(self, header: bytes) -> bool:
        """A message with this content header would be a duplicate."""
        value = value_of(content.headers(header))
        return value is not None and exact(value) in self._ids

    def add(self, messages: Iterable[Message]) -> None:
        """These came in."""
        for message in messages:
            self.add_one(message[ID], message[HEADER])

    def add_one(self, message_id: int, header: bytes) -> None:
        """The message with this id and content header is there."""
        value = value_of(content.headers(header))
        if value is not None:
            key = exact(value)
            self._ids[key] = message_id
            self._by_id[message_id] = key

    def forget(self, ids: Iterable[int]) -> None:
        """These are gone for good."""
        for message_id in ids:
            key = self._by_id.pop(message_id, None)
            if key is not None and self._ids.get(key) == message_id:
                del self._ids[key]

    def keep(self, holds: Callable[[int], bool]) -> None:
        """Forget all but those that are still there, by their ids."""
        self.forget([message_id for message_id in self._by_id if not holds(message_id)])

    def forget_pages(self, pages: Pages) -> None:
        """The same for messages that aren't in memory."""
        self.forget([message_id for message_id in self._by_id if pages.holds(message_id)])

"""What waits in a quorum queue: what comes back doesn't find its old place (contract 6.5).

With a delivery limit it is served before all else, in the order in which it came back; without one it goes to the end, behind what was
published before it came back. A restart finds everything in the order of ids again.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from broker.core.message import ID
from broker.core.ready import Ready
from protocol import content
from protocol.tables import Field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from broker.core.message import Message
    from broker.core.pages import Pages

FIRST = 0
"""Below all ids."""


class QuorumReady(Ready):
    """`returned` holds (the id behind which it is served, a number, message): the lowest first."""

    __slots__ = ("_first", "_last", "_last_id", "to_end")

    returned: list[tuple[int, int, Message]]  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.to_end = True
        """There is no delivery limit."""
        self._last_id = 0
        """The highest id that came in."""
        self._first = self._last = 0
        """Numbers that were given out downwards and upwards."""

    def extend(self, messages: Sequence[Message]) -> None:
        """See Ready."""
        super().extend(messages)
        self._last_id = messages[-1][ID]

    def head(self) -> Message:
        """See Ready."""
        fresh, returned = self.fresh, self.returned
        return returned[0][2] if returned and (not fresh or returned[0][0] < fresh[0][ID]) else fresh[0]

    def take(self, count: int) -> tuple[bool, list[Message]]:
        """See Ready."""
        fresh, returned = self.fresh, self.returned
        if not returned:
            return super().take(count)
        messages: list[Message] = []
        bound = fresh[0][ID] if fresh else self._first_paged()
        while returned and len(messages) < count and (bound is None or returned[0][0] < bound):
            messages.append(heappop(returned)[2])
        if messages:
            return True, messages
        behind = returned[0][0]
        while fresh and len(messages) < count and fresh[0][ID] <= behind:
            messages.append(fresh.popleft())
        return False, messages

    def put_back(self, redelivered: bool, messages: Sequence[Message]) -> None:
        """See Ready."""
        if not redelivered:
            super().put_back(False, messages)
            return
        for message in reversed(messages):
            self._first -= 1
            heappush(self.returned, (FIRST, self._first, message))

    def give_back(self, messages: Sequence[Message]) -> None:
        """Requeue: to the end, or before all that wasn't delivered yet."""
        place = self._last_id if self.to_end else FIRST
        for message in messages:
            self._push(place, message)

    def _push(self, place: int, message: Message) -> None:
        self._last += 1
        heappush(self.returned, (place, self._last, message))

    def came_back(self) -> list[Message]:
        """See Ready."""
        return [message for _, _, message in self.returned]

    def behind(self, item: Any) -> int:
        """See Ready."""
        place: int = item[0]
        return place

    def message_of(self, item: Any) -> Message | None:
        """See Ready."""
        message: Message = item[2]
        return message

    def restore(self, pages: Mapping[int, Pages]) -> None:
        """See Ready."""
        super().restore(pages)
        self._last_id = pages[0].last_id

    def read_in(self, fresh: Iterable[Message], returned: Sequence[Message]) -> None:
        """See Ready."""
        super().read_in(fresh, ())
        for message in returned:
            self._push(message[ID], message)


def counted(messages: Sequence[Message], counts: Mapping[int, int]) -> list[Message]:
    """Messages as a consumer of a quorum queue sees them: x-delivery-count says how often each came back (contract 7.8)."""
    return [_with_count(message, counts[message[ID]]) if message[ID] in counts else message for message in messages]


def _with_count(message: Message, count: int) -> Message:
    number, routing, header, body = message
    field = Field("l", count)
    table = {"x-delivery-count": field} | content.headers(header) | {"x-delivery-count": field}
    return number, routing, content.with_headers(header, table), body

"""How often messages of one queue came back, by id; only those that did are in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.message import ID

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broker.core.message import Message
    from broker.core.pages import Pages


class DeliveryCounts(dict[int, int]):
    """See the module."""

    __slots__ = ()

    def came_back(self, messages: Sequence[Message]) -> None:
        """Once more."""
        for message in messages:
            self[message[ID]] = self.get(message[ID], 0) + 1

    def forget(self, ids: Iterable[int]) -> None:
        """Messages are gone."""
        for message_id in ids:
            self.pop(message_id, None)

    def forget_pages(self, pages: Pages, *, is_only_level: bool) -> None:
        """All of these are gone; of a queue with one level, none that lives has an id between theirs."""
        first, last = pages.first_id, pages.last_id
        few = range(first, last + 1) if last - first < len(self) else [each for each in self if first <= each <= last]
        self.forget(few if is_only_level else list(filter(pages.holds, few)))

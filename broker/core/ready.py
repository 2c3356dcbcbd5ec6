"""The messages of a queue that wait for a consumer, in the order in which they will go out.

Order is id order. What was never delivered stands in `fresh`, a deque that only grows at its end; what came back stands in
`returned`, a heap, so that a requeued message finds its old place (contract 6.5) and a queue that sees no requeue pays
nothing for it. Everything in `returned` is redelivered, nothing in `fresh` is.

A queue that is too deep for memory is *paged*: behind `fresh` there are `pages`, which are in the log only, and behind those the
`tail`, which came in lately and isn't in the log yet. Ids rise from each to the next.

A queue chooses its structure when it is declared; others (priorities, returns, delays) have the same methods. What they have in
memory and in pages lies in *levels*: of a plain queue that is the structure itself, of a queue with priorities one for each.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import chain, filterfalse, islice, takewhile
from operator import gt
from typing import TYPE_CHECKING, Any, ClassVar

from broker.core.message import BODY, ID, Message, body_of, id_of
from broker.core.pages import Pages

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from broker.core.pages import Run
    from broker.core.paging import Load


class Paged:
    """What a paged queue has behind `fresh`."""

    __slots__ = ("loading", "low", "pages", "tail")

    def __init__(self, pages: Pages | None = None) -> None:
        self.pages = pages or Pages()
        self.tail: deque[Message] = deque()
        self.loading: Load | None = None
        """The read of the head of the pages that is under way."""
        self.low = 1
        """With fewer than this in `fresh` it is time to read more."""


class Ready:
    """First in, first out."""

    __slots__ = ("body_bytes", "fresh", "paged", "returned")

    def __init__(self) -> None:
        self.fresh: deque[Message] = deque()
        self.returned: list[Message] = []
        self.paged: Paged | None = None
        self.body_bytes = 0
        """Counted only where they are limited (limits.Measured)."""

    def __len__(self) -> int:
        paged = self.paged
        count = len(self.fresh) + len(self.returned)
        return count if paged is None else count + paged.pages.count + len(paged.tail)

    @property
    def levels(self) -> Sequence[Ready]:
        """Each with messages in the order of their ids; the first is served first."""
        return (self,)

    @property
    def available(self) -> int:
        """How many, at the most, can be taken now; 0 if none can, though there may be some on the disk."""
        paged, returned = self.paged, self.returned
        if paged is None or not returned or self.fresh or not paged.pages.count or returned[0][ID] < paged.pages.first_id:
            return len(self.fresh) + len(returned)
        return 0

    def extend(self, messages: Sequence[Message]) -> None:
        """Messages with rising ids, each above all that were here."""
        (self.fresh if self.paged is None else self.paged.tail).extend(messages)

    def head(self) -> Message:
        """What `take` would give first. Call it only when something is available."""
        fresh, returned = self.fresh, self.returned
        return returned[0] if returned and (not fresh or returned[0][ID] < fresh[0][ID]) else fresh[0]

    def take(self, count: int) -> tuple[bool, list[Message]]:
        """Remove up to `count` (at least 1) messages from the head that are all redelivered or all not: (redelivered, messages).

        Call it only when something is available.
        """
        fresh, returned = self.fresh, self.returned
        if not returned:
            if count >= len(fresh):
                messages = list(fresh)
                fresh.clear()
                return False, messages
            popleft = fresh.popleft
            return False, [popleft() for _ in range(count)]
        messages = []
        if not fresh or returned[0][ID] < fresh[0][ID]:
            bound = fresh[0][ID] if fresh else self._first_paged()
            while returned and len(messages) < count and (bound is None or returned[0][ID] < bound):
                messages.append(heappop(returned))
            return True, messages
        bound = returned[0][ID]
        while fresh and len(messages) < count and fresh[0][ID] < bound:
            messages.append(fresh.popleft())
        return False, messages

    def _first_paged(self) -> int | None:
        return self.paged.pages.first_id if self.paged is not None and self.paged.pages.count else None

    def take_while(self, fits: Callable[[Message], bool], most: int) -> list[Message]:
        """Remove from the head, or from that of each level, as long as the messages fit, so many at the most."""
        if not self.available or not fits(self.head()):
            return []
        redelivered, messages = self.take(most)
        end = next((index for index, message in enumerate(messages) if not fits(message)), len(messages))
        if end < len(messages):
            self.put_back(redelivered, messages[end:])
        return messages[:end]

    def put_back(self, redelivered: bool, messages: Sequence[Message]) -> None:
        """Undo a take: `messages` were not delivered after all."""
        if redelivered:
            self.give_back(messages)
        else:
            self.fresh.extendleft(reversed(messages))

    def give_back(self, messages: Sequence[Message]) -> None:
        """Requeue: back to the old positions, redelivered from now on."""
        self._return(messages)

    def _return(self, messages: Sequence[Message]) -> None:
        returned = self.returned
        if len(messages) > len(returned):
            returned.extend(messages)
            heapify(returned)
        else:
            for message in messages:
                heappush(returned, message)

    def came_back(self) -> list[Message]:
        """What came back and waits again, in no particular order."""
        return self.returned

    def clear(self) -> tuple[list[Message], list[Pages]]:
        """Remove everything; returns what was in memory, in no particular order, and what wasn't."""
        messages = [*self.came_back(), *self.fresh]
        self.returned.clear()
        self.fresh.clear()
        paged, self.paged = self.paged, None
        if paged is None:
            return messages, []
        messages += paged.tail
        return messages, [paged.pages] if paged.pages.count else []

    def ids_in_row(self, low: int, high: int) -> Iterator[int]:
        """The ids from `low` on and below `high` in the row, without what stands beside it, in no particular order."""
        paged = self.paged
        for messages in (self.fresh,) if paged is None else (self.fresh, paged.tail):
            if messages and messages[0][ID] < high and messages[-1][ID] >= low:
                first = bisect_left(messages, low, key=id_of)
                yield from takewhile(partial(gt, high), map(id_of, islice(messages, first, None)))
        if paged is not None and paged.pages.count:
            yield from paged.pages.ids_between(low, high)

    def ids_in(self, intervals: Sequence[tuple[int, int]]) -> Iterator[int]:
        """The ids from `low` on and below `high` of each of the intervals, in no particular order."""
        for low, high in intervals:
            yield from self.ids_in_row(low, high)
            yield from (message[ID] for message in self.came_back() if low <= message[ID] < high)

    def runs_in(self, low: int, high: int) -> Iterator[Run]:
        """What is on the disk only of the ids from `low` on and below `high`."""
        if self.paged is not None and self.paged.pages.count:
            yield from self.paged.pages.runs_between(low, high)

    def paged_in(self, low: int, high: int) -> int:
        """How many messages those are."""
        if self.paged is None or not self.paged.pages.count:
            return 0
        below, all_below = self.paged.pages.counts_below((low, high))
        return all_below - below

    # --- taking out of the middle (core/relocation.py) ----------------------------------------------------------------

    came_back_redelivered: ClassVar[bool] = True
    """What doesn't stand in the row of ids was delivered before."""

    def beside(self) -> list[Any]:
        """What doesn't stand in the row of ids (in `fresh`, the pages, the tail), as items that sort into the order of delivery."""
        return list(self.returned)

    def behind(self, item: Any) -> int:
        """Such an item is delivered behind everything in the row with an id up to this one, and before the rest."""
        number: int = item[ID]
        return number - 1

    def message_of(self, item: Any) -> Message | None:
        """The message of such an item; None if it isn't there any more."""
        message: Message = item
        return message

    def due_ms(self, item: Any) -> int | None:
        """When such an item is to go on, if it is held for a time."""
        return None

    def pick(self, level: Ready, ids: Sequence[int]) -> list[Message]:
        """Remove the messages with these ids, which rise, from the row of a level, as far as they are in memory; returns them."""
        paged = level.paged
        picked = _pick(level.fresh, ids)
        return picked if paged is None else picked + _pick(paged.tail, ids)

    def pick_beside(self, level: Ready, ids: Collection[int]) -> list[Any]:
        """Remove the items of the messages with these ids from beside the row of a level; returns them in the order of delivery."""
        returned, message_of = level.returned, level.message_of
        picked: list[Any] = []

        def is_wanted(item: Any) -> bool:
            message = message_of(item)
            return message is not None and message[ID] in ids

        while returned and is_wanted(returned[0]):
            picked.append(heappop(returned))
        if returned and len(picked) < len(ids):
            more = list(filter(is_wanted, returned))
            if more:
                returned[:] = list(filterfalse(is_wanted, returned))
                heapify(returned)
                picked += sorted(more)
        return picked

    def put_beside(self, level: Ready, items: Sequence[Any]) -> None:
        """Undo a `pick_beside`, in part."""
        for item in items:
            heappush(level.returned, item)

    # --- paging -----------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """The bytes of the bodies of all that is here, counted now."""
        size = sum(map(len, map(body_of, chain(self.fresh, self.came_back()))))
        return size if self.paged is None else size + self.paged.pages.body_bytes + sum(map(len, map(body_of, self.paged.tail)))

    @property
    def runs(self) -> int:
        """How many runs the pages have."""
        return self.paged.pages.runs if self.paged is not None else 0

    def restore(self, pages: Mapping[int, Pages]) -> None:
        """What a restart found, all of it in the log: by level, of which a plain queue has one, 0."""
        self.paged = Paged(pages[0])

    def start_paging(self) -> None:
        """From now on keep what comes in apart, until the log has it."""
        self.paged = Paged()

    def page_out(self, messages: Sequence[Message], runs: Sequence[tuple[int, int]]) -> Sequence[Message]:
        """Messages that came in while the queue was paged are in the log: so many of them in the record at that place, and so on.
        Returns those that needn't be in memory any more: all but those with which somebody was quicker."""
        paged = self.paged
        if paged is None or not paged.tail:
            return ()
        tail, last = paged.tail, len(messages) - 1
        if tail[0][ID] != messages[0][ID] or last >= len(tail) or tail[last][ID] != messages[last][ID]:
            return self._page_out_the_rest(messages, runs)
        first = 0
        for count, place in runs:
            number, _, _, body = messages[first]
            paged.pages.append(number, count, len(body), place)
            first += count
        popleft = tail.popleft
        for _ in messages:
            popleft()
        return messages

    def _page_out_the_rest(self, messages: Sequence[Message], runs: Sequence[tuple[int, int]]) -> Sequence[Message]:
        """The same where not all of these are in the tail any more: some were taken out of it, or it is another one by now."""
        assert self.paged is not None
        tail, pages, first = self.paged.tail, self.paged.pages, 0
        gone: list[Message] = []
        for count, place in runs:
            for message in messages[first : first + count]:
                if tail and tail[0][ID] == message[ID]:
                    pages.append(message[ID], 1, len(message[BODY]), place)
                    gone.append(tail.popleft())
            first += count
        return gone

    def level_to_load(self) -> Ready | None:
        """The level whose pages should be read from now, if somebody wants messages; None if all is well or under way."""
        paged = self.paged
        if paged is None or paged.loading is not None or not paged.pages.count or len(self.fresh) >= paged.low:
            return None
        return self

    def relocate(self, first_id: int, count: int, place: int) -> bool:
        """These messages were copied to another place of the log. True if a read that is under way is of no use any more."""
        paged = self.paged
        if paged is None or not paged.pages.count:
            return False
        before = paged.pages.runs
        paged.pages.relocate(first_id, count, place)
        if paged.pages.runs == before or paged.loading is None:
            return False
        # Runs were split: what is being read is no longer so many of them.
        paged.loading = None
        return True

    def read_in(self, fresh: Iterable[Message], returned: Sequence[Message]) -> None:
        """The head of the pages was read; the pages themselves have been dropped."""
        self.fresh.extend(fresh)
        self._return(returned)

    def drop_paged(self, count: int) -> Pages:
        """Remove so many messages, at the most, from the pages, which are all that could be served first; returns them."""
        assert self.paged is not None
        return self.paged.pages.take(count)

    def forget(self, body_bytes: int) -> None:
        """Messages with so many bytes of bodies went from the pages, and don't come into memory."""

    def stops_paging(self) -> bool:
        """If nothing is left in the pages and before them, the tail follows, and it pages no more."""
        if self.paged is None or self.fresh or self.paged.pages.count:
            return False
        self.stop_paging()
        return True

    def stop_paging(self) -> None:
        """Nothing is left in the pages: the tail follows."""
        assert self.paged is not None
        self.fresh.extend(self.paged.tail)
        self.paged = None


def _pick(messages: deque[Message], ids: Sequence[int]) -> list[Message]:
    """Remove the messages with these ids, which rise as theirs do; returns them. What it costs is the stretch between the first and the
    last of them, and a rotation."""
    if not messages or messages[-1][ID] < ids[0] or messages[0][ID] > ids[-1]:
        return []
    first = bisect_left(messages, ids[0], key=id_of)
    count = bisect_left(messages, ids[-1] + 1, key=id_of) - first
    if not count:
        return []
    wanted = set(ids)
    messages.rotate(-first)
    stretch = [messages.popleft() for _ in range(count)]
    messages.extendleft([message for message in reversed(stretch) if message[ID] not in wanted])
    messages.rotate(first)
    return [message for message in stretch if message[ID] in wanted]

"""Messages of one queue that are in a log only: which, and where.

A *run* is messages with consecutive ids and bodies of one size that lie in one record. A page holds up to a thousand runs in
three arrays of numbers, 24 bytes a run, which the garbage collector has nothing to do with: ten million messages that are
nowhere alike take 240 MB, and as many like ones that came in fast next to nothing.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PAGE_RUNS = 1024
RUN_BYTES = 26
"""What a run takes in memory."""
SIZE_BITS = 32
SIZE_MASK = (1 << SIZE_BITS) - 1


class Run(NamedTuple):
    """`length` messages with the ids from `first_id` on, each with a body of so many bytes, in the record at `place`."""

    first_id: int
    length: int
    body_size: int
    place: int

    def between(self, low: int, high: int) -> Run:
        """The part with ids from `low` on and below `high`. There must be some."""
        first = max(self.first_id, low)
        return self._replace(first_id=first, length=min(self.first_id + self.length, high) - first)


class _Page:
    """Runs, first ids rising; those before `start` are gone."""

    __slots__ = ("count", "firsts", "places", "sizes", "start")

    def __init__(self) -> None:
        self.firsts = array("Q")
        self.places = array("Q")
        self.sizes = array("Q")
        """Count and body size of a run in one number."""
        self.start = 0
        self.count = 0
        """Messages."""

    def run(self, index: int) -> Run:
        size = self.sizes[index]
        return Run(self.firsts[index], size >> SIZE_BITS, size & SIZE_MASK, self.places[index])

    def put(self, index: int, runs: list[Run]) -> None:
        """`runs` in the place of the one at `index`."""
        self.firsts[index : index + 1] = array("Q", [run.first_id for run in runs])
        self.places[index : index + 1] = array("Q", [run.place for run in runs])
        self.sizes[index : index + 1] = array("Q", [run.length << SIZE_BITS | run.body_size for run in runs])

    @property
    def last_id(self) -> int:
        return self.firsts[-1] + (self.sizes[-1] >> SIZE_BITS) - 1

    def count_below(self, message_id: int) -> int:
        stop = bisect_left(self.firsts, message_id, self.start)
        if stop == self.start:
            return 0
        last = min(self.sizes[stop - 1] >> SIZE_BITS, message_id - self.firsts[stop - 1])
        return sum(size >> SIZE_BITS for size in self.sizes[self.start : stop - 1]) + last


class Pages:
    """See the module. `count` messages, `body_bytes` in their bodies, `runs` runs."""

    __slots__ = ("_pages", "body_bytes", "count", "runs")

    def __init__(self) -> None:
        self._pages: list[_Page] = []
        self.count = 0
        self.body_bytes = 0
        self.runs = 0

    @property
    def first_id(self) -> int:
        """The lowest id. There must be one."""
        page = self._pages[0]
        return page.firsts[page.start]

    @property
    def last_id(self) -> int:
        """The highest id. There must be one."""
        return self._pages[-1].last_id

    def append(self, first_id: int, count: int, body_size: int, place: int) -> None:
        """A run with ids above all that are here."""
        if not self._pages or len(self._pages[-1].firsts) >= PAGE_RUNS:
            self._pages.append(_Page())
        page = self._pages[-1]
        page.firsts.append(first_id)
        page.places.append(place)
        page.sizes.append(count << SIZE_BITS | body_size)
        page.count += count
        self.runs += 1
        self.count += count
        self.body_bytes += count * body_size

    def extend(self, firsts: array[int], places: array[int], sizes: array[int]) -> None:
        """Runs with rising ids above all that are here: first ids, places, and count << SIZE_BITS | body size."""
        for start in range(0, len(firsts), PAGE_RUNS):
            page = _Page()
            part = slice(start, start + PAGE_RUNS)
            page.firsts, page.places, page.sizes = firsts[part], places[part], sizes[part]
            page.count = sum([size >> SIZE_BITS for size in page.sizes])
            self._pages.append(page)
            self.runs += len(page.firsts)
            self.count += page.count
            self.body_bytes += sum([(size >> SIZE_BITS) * (size & SIZE_MASK) for size in page.sizes])

    def head(self, most_bytes: int, most_runs: int = 4 * PAGE_RUNS) -> list[Run]:
        """The first runs, up to so many bytes of bodies, but one at least; they stay."""
        runs: list[Run] = []
        size = 0
        for page in self._pages:
            for index in range(page.start, len(page.firsts)):
                run = page.run(index)
                size += run.length * (run.body_size + 1)
                if runs and (size > most_bytes or len(runs) >= most_runs):
                    return runs
                runs.append(run)
        return runs

    def drop(self, runs: int) -> None:
        """The first so many runs are gone."""
        while runs:
            page = self._pages[0]
            stop = min(page.start + runs, len(page.firsts))
            page.count -= self._gone(page.sizes[page.start : stop])
            runs -= stop - page.start
            page.start = stop
            if stop == len(page.firsts):
                del self._pages[0]

    def take(self, count: int) -> Pages:
        """Remove the first so many messages, at the most."""
        taken = Pages()
        while taken.count < count and self.count:
            page = self._pages[0]
            run = page.run(page.start)
            part = min(run.length, count - taken.count)
            taken.append(run.first_id, part, run.body_size, run.place)
            if part == run.length:
                self.drop(1)
            else:
                page.put(page.start, [run._replace(first_id=run.first_id + part, length=run.length - part)])
                page.count -= part
                self.count -= part
                self.body_bytes -= part * run.body_size
        return taken

    def cut(self, first_id: int, count: int) -> Pages:
        """Remove the messages with these ids, as far as they are here; what is behind and before them stays."""
        taken, end = Pages(), first_id + count
        at = self._page_of(first_id)
        while at < len(self._pages):
            page = self._pages[at]
            index = max(bisect_right(page.firsts, first_id) - 1, page.start)
            while index < len(page.firsts) and (run := page.run(index)).first_id < end:
                low, high = max(run.first_id, first_id), min(run.first_id + run.length, end)
                if low < high:
                    part = Run(low, high - low, run.body_size, run.place)
                    taken.append(*part)
                    behind = run._replace(first_id=high, length=run.first_id + run.length - high)
                    split = (run._replace(length=low - run.first_id), behind)
                    parts = [each for each in split if each.length]
                    page.put(index, parts)
                    page.count -= part.length
                    self.runs += len(parts) - 1
                    self.count -= part.length
                    self.body_bytes -= part.length * part.body_size
                    index += len(parts) - 1
                index += 1
            if index < len(page.firsts):
                break
            if page.start == len(page.firsts):
                del self._pages[at]
            else:
                at += 1
        return taken

    def nth(self, index: int) -> int:
        """The id of the message that has so many before it. There must be one."""
        for page in self._pages:
            if index < page.count:
                for size, first in zip(page.sizes[page.start :], page.firsts[page.start :], strict=True):
                    if index < size >> SIZE_BITS:
                        return first + index
                    index -= size >> SIZE_BITS
            index -= page.count
        raise IndexError(index)

    def _gone(self, sizes: array[int]) -> int:
        count = sum(size >> SIZE_BITS for size in sizes)
        self.runs -= len(sizes)
        self.count -= count
        self.body_bytes -= sum((size >> SIZE_BITS) * (size & SIZE_MASK) for size in sizes)
        return count

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The first and last id of each stretch of ids that are all here."""
        low, following = 0, -1
        for page in self._pages:
            for index in range(page.start, len(page.firsts)):
                first = page.firsts[index]
                if first != following:
                    if following >= 0:
                        yield low, following - 1
                    low = first
                following = first + (page.sizes[index] >> SIZE_BITS)
        if following >= 0:
            yield low, following - 1

    def holds(self, message_id: int) -> bool:
        """The message is here."""
        return any(True for _ in self.ids_between(message_id, message_id + 1))

    def counts_below(self, ids: Sequence[int]) -> list[int]:
        """How many messages have a lower id than each of these, which rise."""
        counts: list[int] = []
        before = 0
        for page in self._pages:
            if len(counts) == len(ids):
                break
            while len(counts) < len(ids) and ids[len(counts)] <= page.last_id:
                counts.append(before + page.count_below(ids[len(counts)]))
            before += page.count
        return counts + [before] * (len(ids) - len(counts))

    def ids_between(self, low: int, high: int) -> Iterator[int]:
        """The ids from `low` on that are below `high`."""
        for page in self._pages[self._page_of(low) :]:
            for index in range(max(bisect_right(page.firsts, low) - 1, page.start), len(page.firsts)):
                first = page.firsts[index]
                if first >= high:
                    return
                yield from range(max(first, low), min(first + (page.sizes[index] >> SIZE_BITS), high))

    def runs_between(self, low: int, high: int) -> Iterator[Run]:
        """The same as runs: the parts with these ids."""
        for page in self._pages[self._page_of(low) :]:
            for index in range(max(bisect_right(page.firsts, low) - 1, page.start), len(page.firsts)):
                if page.firsts[index] >= high:
                    return
                if page.firsts[index] + (page.sizes[index] >> SIZE_BITS) > low:
                    yield page.run(index).between(low, high)

    def relocate(self, first_id: int, count: int, place: int) -> None:
        """The messages with these ids, as far as they are here, now lie in the record at `place`."""
        end = first_id + count
        at = self._page_of(first_id)
        while at < len(self._pages):
            page = self._pages[at]
            index = max(bisect_right(page.firsts, first_id) - 1, page.start)
            while index < len(page.firsts):
                run = page.run(index)
                if run.first_id >= end:
                    return
                low, high = max(run.first_id, first_id), min(run.first_id + run.length, end)
                if low < high:
                    split = [
                        run._replace(length=low - run.first_id),
                        Run(low, high - low, run.body_size, place),
                        run._replace(first_id=high, length=run.first_id + run.length - high),
                    ]
                    parts = [part for part in split if part.length]
                    page.put(index, parts)
                    self.runs += len(parts) - 1
                    index += len(parts) - 1
                index += 1
            at += 1

    def _page_of(self, message_id: int) -> int:
        """The index of the page that the id is in, if it is here at all."""
        return max(bisect_right(self._pages, message_id, key=lambda page: page.firsts[page.start]) - 1, 0)

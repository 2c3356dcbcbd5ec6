"""What is in the log only (broker/core/pages.py), beside a plain list of the same messages."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from broker.core import pages
from broker.core.pages import Pages, Run

if TYPE_CHECKING:
    from collections.abc import Iterable

LENGTHS = st.integers(1, 5)
SIZES = st.sampled_from([0, 1, 10, 1 << 20])
PLACES = st.integers(0, 1 << 40)
IDS = st.integers(0, 120)


class One(NamedTuple):
    """A message of the twin."""

    id: int
    body_size: int
    place: int


def members(runs: Iterable[Run]) -> list[One]:
    """The messages that the runs stand for."""
    return [One(number, run.body_size, run.place) for run in runs for number in range(run.first_id, run.first_id + run.length)]


def everything(some: Pages) -> list[One]:
    return members(some.head(1 << 80, 1 << 40))


class Twins(RuleBasedStateMachine):
    """Pages of three runs, and a list."""

    def __init__(self) -> None:
        super().__init__()
        self.pages = Pages()
        self.list: list[One] = []
        self.next_id = 1

    @rule(gap=st.integers(0, 3), length=LENGTHS, size=SIZES, place=PLACES)
    def append(self, gap: int, length: int, size: int, place: int) -> None:
        first = self.next_id + gap
        self.pages.append(first, length, size, place)
        self.list += [One(number, size, place) for number in range(first, first + length)]
        self.next_id = first + length

    @rule(most_bytes=st.sampled_from([0, 5, 40, 1 << 21, 1 << 40]), most_runs=st.integers(1, 9))
    def head(self, most_bytes: int, most_runs: int) -> None:
        runs = self.pages.head(most_bytes, most_runs)
        found = members(runs)
        assert found == self.list[: len(found)]
        assert len(runs) <= most_runs
        assert len(runs) <= 1 or sum(one.body_size for one in found) <= most_bytes
        assert runs or not self.list, "one at least"

    @precondition(lambda self: self.pages.runs)
    @rule(share=st.floats(0, 1))
    def drop(self, share: float) -> None:
        count = round(self.pages.runs * share)
        gone = sum(run.length for run in self.pages.head(1 << 80)[:count])
        self.pages.drop(count)
        del self.list[:gone]

    @rule(first=IDS, count=st.integers(1, 12))
    def cut(self, first: int, count: int) -> None:
        gone = self.pages.cut(first, count)
        wanted = [one for one in self.list if first <= one.id < first + count]
        assert everything(gone) == wanted
        assert (gone.count, gone.body_bytes) == (len(wanted), sum(one.body_size for one in wanted))
        self.list = [one for one in self.list if one not in wanted]

    @precondition(lambda self: self.list)
    @rule(share=st.floats(0, 1, exclude_max=True))
    def nth(self, share: float) -> None:
        index = int(len(self.list) * share)
        assert self.pages.nth(index) == self.list[index].id

    @rule(count=st.integers(0, 12))
    def take(self, count: int) -> None:
        taken = self.pages.take(count)
        assert everything(taken) == self.list[:count]
        assert taken.count == len(self.list[:count])
        assert taken.body_bytes == sum(one.body_size for one in self.list[:count])
        del self.list[:count]

    @rule(first=IDS, count=st.integers(1, 20), place=PLACES)
    def relocate(self, first: int, count: int, place: int) -> None:
        self.pages.relocate(first, count, place)
        self.list = [one._replace(place=place) if first <= one.id < first + count else one for one in self.list]

    @rule(low=IDS, high=IDS)
    def look(self, low: int, high: int) -> None:
        ids = [one.id for one in self.list]
        bounds = [low, low + 1, low + 7]
        assert self.pages.counts_below(bounds) == [sum(number < bound for number in ids) for bound in bounds]
        assert self.pages.holds(low) == (low in ids)
        assert list(self.pages.ids_between(low, high)) == [number for number in ids if low <= number < high]

    @invariant()
    def same(self) -> None:
        assert everything(self.pages) == self.list
        assert self.pages.count == len(self.list)
        assert self.pages.body_bytes == sum(one.body_size for one in self.list)
        assert self.pages.runs == len(self.pages.head(1 << 80, 1 << 40))
        if self.list:
            assert (self.pages.first_id, self.pages.last_id) == (self.list[0].id, self.list[-1].id)


def test_as_a_list_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE_RUNS", 3)
    run_state_machine_as_test(Twins, settings=settings(max_examples=150, stateful_step_count=40, deadline=None, derandomize=True))


class TestManyPages:
    """More runs than one page holds."""

    RUNS = 3 * pages.PAGE_RUNS + 7

    @pytest.fixture
    def many(self) -> Pages:
        """Runs of two with a hole behind each: 0 1 . 3 4 . 6 7 . ..."""
        many = Pages()
        for number in range(self.RUNS):
            many.append(3 * number, 2, number % 5, 100 * number)
        return many

    def test_counted(self, many: Pages) -> None:
        assert (many.runs, many.count, many.first_id, many.last_id) == (self.RUNS, 2 * self.RUNS, 0, 3 * self.RUNS - 2)
        assert many.body_bytes == sum(2 * (number % 5) for number in range(self.RUNS))

    @pytest.mark.parametrize("at", [0, 1, pages.PAGE_RUNS - 1, pages.PAGE_RUNS, 2 * pages.PAGE_RUNS + 1, RUNS - 1, RUNS + 10])
    def test_found_on_each_side_of_a_page(self, many: Pages, at: int) -> None:
        there = at < self.RUNS
        assert [many.holds(3 * at + offset) for offset in range(3)] == [there, there, False]
        assert many.counts_below([3 * at + offset for offset in range(3)]) == [min(2 * at + offset, 2 * self.RUNS) for offset in range(3)]
        assert list(many.ids_between(3 * at - 2, 3 * at + 5)) == [
            each for each in range(max(3 * at - 2, 0), 3 * at + 5) if each % 3 < 2 and each < 3 * self.RUNS
        ]

    def test_a_head_over_a_page_and_a_half_is_dropped(self, many: Pages) -> None:
        head = many.head(1 << 40, pages.PAGE_RUNS * 3 // 2)
        assert len(head) == pages.PAGE_RUNS * 3 // 2
        many.drop(len(head))
        assert many.first_id == 3 * len(head)
        assert many.count == 2 * (self.RUNS - len(head))
        many.drop(many.runs)
        assert (many.count, many.body_bytes, many.runs, many.head(1)) == (0, 0, 0, [])

    def test_taken_over_pages(self, many: Pages) -> None:
        taken = many.take(2 * pages.PAGE_RUNS + 1)
        assert taken.last_id + 1 == many.first_id, "a run is cut in two"
        assert taken.count + many.count == 2 * self.RUNS
        assert taken.runs + many.runs == self.RUNS + 1

    def test_moved_over_pages(self, many: Pages) -> None:
        """From the middle of a run on the first page to the middle of one on the third: each of these is cut in two."""
        first, last = 1, 3 * (2 * pages.PAGE_RUNS + 5)
        many.relocate(first, last - first + 1, 77)
        whole = pages.PAGE_RUNS * 2 + 5
        ones = everything(many)[: 2 * whole + 2]
        assert [(place, len(list(group))) for place, group in groupby(ones, lambda one: one.place)] == [
            (0, 1),
            (77, 2 * whole),
            (100 * whole, 1),
        ]
        assert many.runs == self.RUNS + 2
        assert many.count == 2 * self.RUNS


@pytest.mark.parametrize(
    ("first", "count", "parts"),
    [
        (10, 10, [(10, 10, 9)]),
        (0, 100, [(10, 10, 9)]),
        (10, 3, [(10, 3, 9), (13, 7, 1)]),
        (15, 5, [(10, 5, 1), (15, 5, 9)]),
        (13, 2, [(10, 3, 1), (13, 2, 9), (15, 5, 1)]),
        (0, 10, [(10, 10, 1)]),
        (20, 5, [(10, 10, 1)]),
    ],
)
def test_a_run_of_which_a_part_moved(first: int, count: int, parts: list[tuple[int, int, int]]) -> None:
    some = Pages()
    some.append(10, 10, 4, 1)
    some.relocate(first, count, 9)
    assert some.head(1 << 20) == [Run(begin, length, 4, place) for begin, length, place in parts]
    assert (some.count, some.body_bytes, some.runs) == (10, 40, len(parts))

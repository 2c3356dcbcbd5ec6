"""Counters with their rates: `x` and `x_details`, as all objects have them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from broker.admin.samples import QUERY as WINDOWS
from broker.admin.samples import Rates, Windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.admin.call import Call
    from broker.admin.samples import Figures

QUERY: Final = WINDOWS | {"disable_stats": "boolean: No figures, only what things are."}
"""What is read of the query where there are figures."""
SCHEMAS: Final = {
    "Rate": {"rate": "number", "samples": "[Sample]", "avg_rate avg": "number"},
    "Sample": {"sample timestamp": "integer!"},
}


class Stats:
    """The figures of one object, by name. `idle_since_ms` is when they last changed, None if that was only just now."""

    __slots__ = ("_figures", "_names", "_rates", "idle_since_ms")

    def __init__(self, names: Sequence[str], figures: Figures, rates: Rates, idle_since_ms: int | None) -> None:
        self._names = names
        self._figures = figures
        self._rates = rates
        self.idle_since_ms = idle_since_ms

    def __getitem__(self, name: str) -> int:
        return self._figures[self._names.index(name)]

    def with_details(self, names: Sequence[str], table: str) -> dict[str, Any]:
        """Each of these figures, and what samples say about it."""
        facts: dict[str, Any] = {}
        figures, details = self._figures, self._rates.details
        for name, name_of_details, position in _places(tuple(self._names), tuple(names)):
            facts[name] = figures[position]
            facts[name_of_details] = details(position, table)
        return facts

    def messages(self, names: Sequence[str]) -> dict[str, Any]:
        """`message_stats`: these figures, or none of them as long as all are 0."""
        figures = self._figures
        for _, _, position in _places(tuple(self._names), tuple(names)):
            if figures[position]:
                return self.with_details(names, "msg_rates")
        return {}


@lru_cache(maxsize=64)
def _places(names: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[tuple[str, str, int], ...]:
    """Of each wanted name: itself, what its details are called, and where it stands among the names."""
    return tuple([(name, f"{name}_details", names.index(name)) for name in wanted])


class Reader:
    """Reads the stats of many objects for one request."""

    def __init__(self, call: Call) -> None:
        self._samples = call.context.samples
        self._now_ms = self._samples.clock()
        self._windows = Windows(call.query, self._now_ms)
        self.is_disabled = call.context.config.management.disable_stats or call.flag("disable_stats")
        """Nothing of all this is to be told."""

    def of(self, kind: str, names: Sequence[str], each: Any) -> Stats:
        """The figures of an object of a kind (figures.kinds); `names` are those of the kind."""
        figures = self._samples.kinds[kind].figures(each)
        rates = Rates(figures, self._now_ms, self._samples.history(kind, each), self._windows)
        return Stats(names, figures, rates, rates.unchanged_since_ms)

    def of_nothing(self, names: Sequence[str], table: str, zero: float = 0) -> dict[str, Any]:
        """Figures that are always 0 here, and that readers expect to find."""
        facts: dict[str, Any] = {}
        details = Rates((0,), self._now_ms, None, self._windows)
        for name in names:
            facts[name] = zero
            facts[f"{name}_details"] = details.details(0, table)
        return facts


def add_up(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One of several that `with_details` made: numbers and rates added, samples by their times."""
    whole: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            if isinstance(value, dict):
                whole[name] = add_up([whole.get(name, {}), value])
            elif isinstance(value, list):
                before = whole.get(name) or [{"sample": 0}] * len(value)
                whole[name] = [each | {"sample": each["sample"] + old["sample"]} for each, old in zip(value, before, strict=True)]
            else:
                whole[name] = whole.get(name, 0) + value
    return whole

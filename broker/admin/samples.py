"""What counters showed some time ago: for rates, and for the curves that people look at.

Every SAMPLE_SECONDS each object's figures are kept as one tuple of integers, if they have changed. A figure itself is never taken from
here: it is what the object says at the moment of the request. A rate is how far a counter has come since the last sample that is at least
RATE_SECONDS old. Whoever asks for a window (`?msg_rates_age=60&msg_rates_incr=5`, in seconds) gets the samples in it.

    history.times    [ ... 10:00:05, 10:00:40]           the figures of 10:00:05 were still the same at 10:00:40
    history.figures  [ ... (7, 0, 12), (7, 0, 12)]       an idle object has two samples, however long it lies there
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from broker.admin.errors import BadRequest

if TYPE_CHECKING:
    import asyncio

    from multidict import MultiMapping

Figures = tuple[int, ...]

SAMPLE_SECONDS: Final = 5.0
RATE_SECONDS: Final = 5.0
KEPT_SECONDS: Final = (600, 3600, 28_800, 86_400)
STEP_SECONDS: Final = (5, 60, 600, 1800)
"""Samples of the last ten minutes are all kept, of the last hour one a minute, and so on: RabbitMQ's management.sample_retention_policies.
Objects have the first two of these, the whole broker all."""
SAMPLES_MAX: Final = 500
"""In one window, at the most."""
SLICE: Final = 200
"""Objects that are sampled in one go."""
TABLES: Final = ("lengths", "msg_rates", "data_rates", "node_stats")
"""What windows are asked for by: `lengths_age`, `msg_rates_incr`, ..."""

QUERY: Final = {
    name: text
    for table in TABLES
    for name, text in (
        (f"{table}_age", f"integer: Samples of the last so many seconds, of figures of the kind {table}."),
        (f"{table}_incr", "integer: Seconds between two of them."),
    )
}


class Window(NamedTuple):
    """Samples from `first_ms` to `last_ms`, one every `step_ms`."""

    first_ms: int
    last_ms: int
    step_ms: int

    def times(self) -> range:
        """The latest first."""
        return range(self.last_ms, self.first_ms - 1, -self.step_ms)


class Windows:
    """The windows that one request asks for, by table; most ask for none."""

    __slots__ = ("_windows",)

    def __init__(self, query: MultiMapping[str], now_ms: int) -> None:
        """Raises BadRequest."""
        self._windows = {table: _window(query, table, now_ms) for table in TABLES} if query else {}

    def of(self, table: str) -> Window | None:
        """That of a table."""
        return self._windows.get(table)


AGE_SECONDS_MAX: Final = 10**10
"""Of a window; there is nothing so old, and no number of JSON for it."""


def _window(query: MultiMapping[str], table: str, now_ms: int) -> Window | None:
    try:
        age, step = int(query[f"{table}_age"]), int(query[f"{table}_incr"])
    except (KeyError, ValueError):
        return None
    if not 0 < age <= AGE_SECONDS_MAX or step <= 0 or age // step > SAMPLES_MAX:
        raise BadRequest(f"Invalid range parameters: age {age}, incr {step}")
    last_ms = now_ms // (step * 1000) * step * 1000
    return Window(last_ms - age * 1000, last_ms, step * 1000)


class History:
    """The samples of one object: times in milliseconds, rising, and the figures then."""

    __slots__ = ("_tiers", "changed_ms", "figures", "older", "times")

    def __init__(self, tiers: int) -> None:
        self._tiers = tiers
        self.times: list[int] = []
        self.figures: list[Figures] = []
        self.changed_ms = 0
        """When a sample was first another than the one before it."""
        self.older: tuple[list[int], list[Figures]] | None = None

    def add(self, now_ms: int, figures: Figures) -> None:
        """One more sample."""
        times, kept = self.times, self.figures
        if not kept or kept[-1] != figures:
            self.changed_ms = now_ms
        elif len(kept) > 1 and kept[-2] == figures:
            times[-1] = now_ms
            return
        times.append(now_ms)
        kept.append(figures)
        if times[0] < now_ms - (KEPT_SECONDS[0] + 60) * 1000:
            self._thin(now_ms)

    def _thin(self, now_ms: int) -> None:
        """Move what is older than ten minutes to the older samples, which are fewer; drop what is too old."""
        end = bisect_right(self.times, now_ms - KEPT_SECONDS[0] * 1000)
        times, figures = self.older or ([], [])
        times += self.times[:end]
        figures += self.figures[:end]
        del self.times[:end], self.figures[:end]
        kept_times: list[int] = []
        kept_figures: list[Figures] = []
        for at, (when, each) in enumerate(zip(times, figures, strict=True)):
            age = (now_ms - when) // 1000
            tier = next((tier for tier in range(self._tiers) if age <= KEPT_SECONDS[tier] + STEP_SECONDS[tier]), None)
            if tier is None:
                continue
            step_ms = STEP_SECONDS[tier] * 1000
            if at + 1 == len(times) or not kept_times or when // step_ms != kept_times[-1] // step_ms:
                kept_times.append(when)
                kept_figures.append(each)
        self.older = kept_times, kept_figures

    def at(self, time_ms: int) -> tuple[int, Figures] | None:
        """The last sample that was taken by then: (when, figures)."""
        place = bisect_right(self.times, time_ms)
        if place:
            return self.times[place - 1], self.figures[place - 1]
        if self.older is not None and (place := bisect_right(self.older[0], time_ms)):
            return self.older[0][place - 1], self.older[1][place - 1]
        return None

    def before(self, now_ms: int) -> tuple[int, Figures] | None:
        """What rates are counted from: the last sample of RATE_SECONDS ago, or the first there is."""
        found = self.at(now_ms - int(RATE_SECONDS * 1000))
        if found is not None:
            return found
        return (self.times[0], self.figures[0]) if self.times else None


class Kind:
    """One kind of objects that are sampled: `living` lists them, `figures` are read of each."""

    def __init__(self, living: Callable[[], Iterable[Any]], figures: Callable[[Any], Figures], tiers: int = 2) -> None:
        self.living = living
        self.figures = figures
        self.tiers = tiers
        self.histories: dict[Any, History] = {}


class Samples:
    """The histories of all objects of some kinds. `clock` tells wall time in milliseconds."""

    def __init__(self, clock: Callable[[], int], kinds: dict[str, Kind]) -> None:
        self.clock = clock
        self.kinds = kinds
        self._timer: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sample from now on, every SAMPLE_SECONDS."""
        self._sample(loop, self.work())

    def stop(self) -> None:
        """No more samples."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sample(self, loop: asyncio.AbstractEventLoop, work: Iterable[None]) -> None:
        """One slice of the work, then let others have the loop; when all is done, wait."""
        steps = iter(work)
        if next(steps, self) is self:
            self._timer = loop.call_later(SAMPLE_SECONDS, lambda: self._sample(loop, self.work()))
        else:
            self._timer = loop.call_later(0, self._sample, loop, steps)

    def work(self) -> Iterable[None]:
        """One sample of everything, in slices."""
        for kind in self.kinds.values():
            now_ms = self.clock()
            before, kept = kind.histories, dict[Any, History]()
            for number, each in enumerate(list(kind.living())):
                history = kept[each] = before.get(each) or History(kind.tiers)
                history.add(now_ms, kind.figures(each))
                if number % SLICE == SLICE - 1:
                    yield
                    now_ms = self.clock()
            if kind.histories is before:
                kind.histories = kept
            yield

    def reset(self) -> None:
        """Forget all samples: rates begin anew."""
        for kind in self.kinds.values():
            kind.histories = {}

    def history(self, kind: str, of: Any) -> History | None:
        """The samples of one object, None if it is too young to have any."""
        return self.kinds[kind].histories.get(of)


QUIET: Final[dict[str, Any]] = {"rate": 0.0}
"""The details of what doesn't change; one for all, so nobody may change it."""


class Rates:
    """The figures of one object now, with what samples say about them: makes `x` and `x_details`."""

    __slots__ = ("_before", "_history", "_is_still", "_now", "_now_ms", "_windows")

    def __init__(self, now: Figures, now_ms: int, history: History | None, windows: Windows) -> None:
        self._now = now
        self._now_ms = now_ms
        self._history = history
        self._before = None if history is None else history.before(now_ms)
        self._is_still = self._before is None or self._before[1] == now
        self._windows = windows

    @property
    def unchanged_since_ms(self) -> int | None:
        """When the figures last changed, as far as samples tell; None if they did since the last sample."""
        history = self._history
        if history is None or not history.figures:
            return None if any(self._now) else self._now_ms
        return history.changed_ms if history.figures[-1] == self._now else None

    def details(self, position: int, table: str) -> dict[str, Any]:
        """`x_details` of the figure at that position: its rate a second, and the samples of the table's window if one is asked for."""
        window = self._windows.of(table)
        if window is None:
            return QUIET if self._is_still else {"rate": self._rate(position)}
        samples = [{"sample": self._at(time_ms, position), "timestamp": time_ms} for time_ms in window.times()]
        details: dict[str, Any] = {"rate": self._rate(position), "samples": samples}
        if len(samples) > 1:
            values = [each["sample"] for each in samples]
            seconds = (samples[0]["timestamp"] - samples[-1]["timestamp"]) / 1000
            details["avg_rate"] = (values[0] - values[-1]) / seconds
            details["avg"] = sum(values) / len(values)
        return details

    def _at(self, time_ms: int, position: int) -> int:
        found = None if self._history is None else self._history.at(time_ms)
        return 0 if found is None else found[1][position]

    def _rate(self, position: int) -> float:
        if self._before is None:
            return 0.0
        before_ms, figures = self._before
        seconds = (self._now_ms - before_ms) / 1000
        return (self._now[position] - figures[position]) / seconds if seconds >= 1 else 0.0

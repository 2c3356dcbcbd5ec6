"""Histories of counters, and rates (broker.admin.samples)."""

import pytest
from multidict import MultiDict

from broker.admin.errors import BadRequest
from broker.admin.samples import KEPT_SECONDS, SLICE, History, Kind, Rates, Samples, Windows

NONE = Windows(MultiDict(), 0)


def history(*samples: tuple[int, int]) -> History:
    made = History(2)
    for seconds, value in samples:
        made.add(seconds * 1000, (value,))
    return made


def rate(made: History | None, seconds: float, value: int) -> float:
    found: float = Rates((value,), int(seconds * 1000), made, NONE).details(0, "lengths")["rate"]
    return found


def test_a_rate_is_counted_from_the_last_sample_of_five_seconds_ago_to_now() -> None:
    made = history((100, 0), (105, 50), (110, 100))
    assert rate(made, 111, 130) == (130 - 50) / 6
    assert rate(made, 115, 150) == (150 - 100) / 5


def test_a_young_object_has_a_rate_since_its_first_sample() -> None:
    assert rate(history((100, 0)), 102, 10) == 5.0
    assert rate(history((100, 0)), 100.5, 10) == 0.0  # too short to say
    assert rate(None, 102, 10) == 0.0


def test_what_stands_still_has_a_rate_of_0_and_two_samples() -> None:
    made = history(*[(seconds, 7) for seconds in range(100, 1000, 5)])
    assert (made.times, made.figures) == ([100_000, 995_000], [(7,), (7,)])
    assert rate(made, 1000, 7) == 0.0
    assert made.changed_ms == 100_000
    made.add(1_000_000, (8,))
    assert (made.times[-2:], made.changed_ms) == ([995_000, 1_000_000], 1_000_000)


def test_a_window_has_samples_at_full_steps_the_latest_first() -> None:
    made = history((100, 0), (105, 50), (110, 100))
    query = MultiDict({"lengths_age": "10", "lengths_incr": "5"})
    details = Rates((120,), 112_000, made, Windows(query, 112_000)).details(0, "lengths")
    expected = [(100, 110_000), (50, 105_000), (0, 100_000)]
    assert [(each["sample"], each["timestamp"]) for each in details["samples"]] == expected
    assert (details["avg_rate"], details["avg"]) == (10.0, 50.0)
    assert "samples" not in Rates((120,), 112_000, made, Windows(query, 112_000)).details(0, "msg_rates")


@pytest.mark.parametrize(("age", "step"), [("10", None), ("x", "5"), ("100000", "1"), ("0", "5"), ("10", "-5")])
def test_windows_that_make_no_sense(age: str, step: str | None) -> None:
    query = {"lengths_age": age} | ({} if step is None else {"lengths_incr": step})
    if step is None or age == "x":
        assert Windows(MultiDict(query), 0).of("lengths") is None
    else:
        with pytest.raises(BadRequest, match=f"Invalid range parameters: age {age}, incr {step}"):
            Windows(MultiDict(query), 0)


def test_a_day_is_kept_with_longer_and_longer_steps() -> None:
    made = History(4)
    last = 100_000
    for seconds in range(0, last + 1, 5):
        made.add(seconds * 1000, (seconds,))
    assert made.older is not None
    times = made.older[0] + made.times
    assert times == sorted(times)
    assert len(times) < 120 + 12 + 60 + 60 + 60 + 30
    assert times[0] <= (last - KEPT_SECONDS[3] + 1800) * 1000
    for seconds in (last - 30, last - 3000, last - 20_000, last - 80_000):
        found = made.at(seconds * 1000)
        assert found is not None
        step = 5 if seconds > last - 600 else 60 if seconds > last - 3600 else 600 if seconds > last - 28_800 else 1800
        assert 0 <= seconds - found[1][0] <= 2 * step


def test_objects_that_are_gone_are_forgotten() -> None:
    living = {"a": 1, "b": 2}
    now = 1000
    samples = Samples(lambda: now, {"thing": Kind(lambda: list(living), lambda name: (living[name],))})
    list(samples.work())
    assert samples.history("thing", "a") is not None
    del living["a"]
    list(samples.work())
    assert samples.history("thing", "a") is None and samples.history("thing", "b") is not None


def test_what_is_being_sampled_while_all_is_forgotten_is_forgotten_too() -> None:
    living = [*range(2 * SLICE)]
    samples = Samples(lambda: 1000, {"thing": Kind(lambda: living, lambda number: (number,))})
    work = iter(samples.work())
    next(work)
    samples.reset()
    for _ in work:
        pass
    assert samples.history("thing", 0) is None

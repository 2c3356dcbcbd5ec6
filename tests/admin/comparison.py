"""A walk held against the recording."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tests.admin import recording
from tests.admin.differences import expected_of
from tests.admin.shapes import Found, differences
from tests.admin.walk import Walk


class Difference(NamedTuple):
    step: str
    found: Found


def compare(scenario: str, walk: Walk) -> Iterator[Difference]:
    """On Leveret `differences` says what may be otherwise; on RabbitMQ the recording must be true. Keys that weren't recorded are
    welcome on both: RabbitMQ's figures come up to five seconds late, so that some are there by chance."""
    leveret = walk.managed.name == "leveret"
    recorded = recording.load(scenario)
    for index, shape in enumerate(recorded):
        step = walk.steps[index] if index < len(walk.steps) else None
        if step is None or step.label != shape["step"]:
            yield Difference(shape["step"], Found("", "this step", str(walk.error) if step is None else step.label))
            return
        expected = expected_of(scenario, shape) if leveret else shape
        for found in differences(expected, step.as_json(), extra=True):
            yield Difference(step.label, found)
    for step in walk.steps[len(recorded) :]:
        yield Difference(step.label, Found("", "a recording", "none"))
    if walk.error is not None:
        yield Difference("the end", Found("", "no error", str(walk.error)))


def report(found: Iterable[Difference]) -> Iterator[str]:
    """A line for each, under its step."""
    last = None
    for difference in found:
        if difference.step != last:
            yield f"- {difference.step}"
        yield f"    {difference.found}"
        last = difference.step

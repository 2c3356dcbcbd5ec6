"""A walk held against the recording."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tests.admin import recording
from tests.admin.differences import expected_of
from tests.admin.shapes import Found, differences
from tests.admin.walk import Step


class Difference(NamedTuple):
    step: str
    found: Found


def compare(scenario: str, steps: list[Step], broker: str) -> Iterator[Difference]:
    """On Leveret, more keys than RabbitMQ has are welcome, and `differences.py` says what else is. On RabbitMQ the recording must be true."""
    recorded = recording.load(scenario)
    labels = [step["step"] for step in recorded]
    for index, label in enumerate(labels):
        if index >= len(steps) or steps[index].label != label:
            got: Any = steps[index].label if index < len(steps) else None
            yield Difference(f"step {index}", Found("", label, got))
            return
    if len(steps) > len(labels):
        yield Difference(steps[len(labels)].label, Found("", "a recording of it", "none"))
    for shape, step in zip(recorded, steps, strict=False):
        expected = expected_of(scenario, shape) if broker == "leveret" else shape
        for found in differences(expected, step.as_json(), extra=broker == "leveret"):
            yield Difference(step.label, found)


def report(found: Iterable[Difference]) -> Iterator[str]:
    """A line for each, under its step."""
    last = None
    for difference in found:
        if difference.step != last:
            yield f"- {difference.step}"
        yield f"    {difference.found}"
        last = difference.step

"""RabbitMQ's answers on the disk: one file a scenario, written by `python -m tests.admin record`."""

import json
from pathlib import Path
from typing import Any

from tests.admin import rules
from tests.admin.shapes import merge
from tests.admin.walk import Step

FOLDER = Path(__file__).with_name("recorded")
WIDTH = 140


def recording(*runs: list[Step]) -> list[dict[str, Any]]:
    """What all runs have in common. Fails where they aren't the same conversation."""
    labels = [[step.label for step in run] for run in runs]
    assert all(each == labels[0] for each in labels), f"the runs took different ways: {labels}"
    return [_merged(*steps) for steps in zip(*runs, strict=True)]


def _merged(*steps: Step) -> dict[str, Any]:
    whole: Any = None
    for index, step in enumerate(steps):
        shape = step.as_json() | {"body": rules.shape(step.label, step.body)}
        whole = shape if index == 0 else merge(whole, shape)
    assert isinstance(whole, dict)
    return whole


def load(scenario: str) -> list[dict[str, Any]]:
    """Raises FileNotFoundError for a scenario that was never recorded."""
    recorded: list[dict[str, Any]] = json.loads((FOLDER / f"{scenario}.json").read_text(encoding="utf-8"))
    return recorded


def save(scenario: str, recorded: list[dict[str, Any]]) -> None:
    FOLDER.mkdir(exist_ok=True)
    text = "[\n" + ",\n".join(_lines(step) for step in recorded) + "\n]\n"
    (FOLDER / f"{scenario}.json").write_text(text, encoding="utf-8")


def _lines(value: Any, indent: int = 0) -> str:
    """JSON that puts on one line what fits there, so that a change of the recording reads well."""
    short = json.dumps(value, ensure_ascii=False)
    pad = " " * indent
    if len(short) + indent <= WIDTH or not isinstance(value, dict | list) or not value:
        return pad + short
    if isinstance(value, list):
        return f"{pad}[\n" + ",\n".join(_lines(item, indent + 1) for item in value) + f"\n{pad}]"
    parts = (f"{pad} {json.dumps(key, ensure_ascii=False)}: {_lines(item, indent + 1).lstrip()}" for key, item in value.items())
    return f"{pad}{{\n" + ",\n".join(parts) + f"\n{pad}}}"

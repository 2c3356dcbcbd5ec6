"""`python -m tests.admin record [SCENARIO ...]` and `python -m tests.admin compare [--broker B] [SCENARIO ...]`."""

import argparse
import contextlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from tests.admin import brokers, comparison, recording
from tests.admin.brokers import Managed
from tests.admin.scenarios import SCENARIOS, settings_of
from tests.admin.walk import Step, Walk


def walk_through(managed: Managed, scenario: str) -> Walk:
    """One conversation, which may end early (`walk.error`); what it made is deleted afterwards."""
    walk = Walk(managed)
    try:
        SCENARIOS[scenario](walk)
    except Exception as error:  # noqa: BLE001 what differed before may be why
        walk.error = error
    walk.clean()
    return walk


class Brokers:
    """One broker for all scenarios with the same settings, each started when it is first asked for."""

    def __init__(self, name: str, directory: Path) -> None:
        self._name = name
        self._directory = directory
        self._started: dict[tuple[str, ...], Managed] = {}
        self._failed: Exception | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.__exit__(*exception)

    def for_scenario(self, scenario: str) -> Managed:
        settings = settings_of(scenario)
        if self._failed is not None:
            raise self._failed  # it would fail again, each time after a while
        if settings not in self._started:
            chosen = brokers.rabbitmq(*settings) if self._name == "rabbitmq" else brokers.leveret(self._directory, *settings)
            try:
                self._started[settings] = self._stack.enter_context(chosen)
            except Exception as error:
                self._failed = error
                raise
        return self._started[settings]


def record(scenarios: list[str], runs: int) -> None:
    """Ask `runs` fresh nodes the same, and write down what their answers have in common."""
    answers: dict[str, list[list[Step]]] = {scenario: [] for scenario in scenarios}
    for number in range(runs):
        with tempfile.TemporaryDirectory() as directory, Brokers("rabbitmq", Path(directory)) as started:
            for scenario in scenarios:
                begin = time.monotonic()
                walk = walk_through(started.for_scenario(scenario), scenario)
                assert walk.error is None and not walk.unmet, (walk.error, walk.unmet)
                answers[scenario].append(walk.steps)
                print(f"run {number + 1}: {scenario}: {len(answers[scenario][-1])} steps, {time.monotonic() - begin:.1f} s", flush=True)
    for scenario, steps in answers.items():
        recording.save(scenario, recording.recording(*steps))


def compare(scenarios: list[str], broker: str) -> int:
    """Print what differs; the exit status is 1 if something does."""
    total = 0
    with tempfile.TemporaryDirectory() as directory, Brokers(broker, Path(directory)) as started:
        for scenario in scenarios:
            begin = time.monotonic()
            walk = walk_through(started.for_scenario(scenario), scenario)
            found = list(comparison.compare(scenario, walk))
            total += len(found)
            print(f"\n## {scenario}: {len(found)} differences in {len(walk.steps)} steps, {time.monotonic() - begin:.1f} s")
            for line in comparison.report(found):
                print(line)
    print(f"\n{total} differences")
    return 1 if total else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.admin")
    commands = parser.add_subparsers(dest="command", required=True)
    recorder = commands.add_parser("record")
    recorder.add_argument("--runs", type=int, default=2)
    comparer = commands.add_parser("compare")
    comparer.add_argument("--broker", choices=("leveret", "rabbitmq"), default="leveret")
    for each in (recorder, comparer):
        each.add_argument("scenario", nargs="*", choices=[*SCENARIOS, []], help="all unless named")
    arguments = parser.parse_args()
    chosen = arguments.scenario or list(SCENARIOS)
    if arguments.command == "record":
        record(chosen, arguments.runs)
        return 0
    return compare(chosen, arguments.broker)


if __name__ == "__main__":
    sys.exit(main())

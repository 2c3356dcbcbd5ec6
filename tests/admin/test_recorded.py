"""Both brokers walked through the same scenarios: presence and type of each field, and its value where that is fixed, as recorded."""

from collections.abc import Iterator

import pytest

from tests.admin import comparison, differences, recording
from tests.admin.__main__ import Brokers, walk_through
from tests.admin.scenarios import SCENARIOS


@pytest.fixture(scope="module")
def started(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    with Brokers(request.config.getoption("--broker"), tmp_path_factory.mktemp("managed")) as started:
        yield started


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_answers(started: Brokers, scenario: str) -> None:
    found = list(comparison.compare(scenario, walk_through(started.for_scenario(scenario), scenario)))
    assert not found, "\n" + "\n".join(comparison.report(found))


@pytest.mark.parametrize("steps", sorted({row.steps for row in differences.ROWS}))
def test_every_difference_is_about_something(steps: str) -> None:
    """Headers come with a status, and may or may not have been there."""
    rows = [row for row in differences.ROWS if row.steps == steps]
    recorded = [(scenario, step) for scenario in SCENARIOS for step in recording.load(scenario)]
    for row in rows:
        assert row.why
        assert row.path.startswith("headers.") or any(differences.matches(row, *each) for each in recorded), row

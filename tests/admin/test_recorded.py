"""Both brokers walked through the same scenarios: presence and type of each field, and its value where that is fixed, as recorded."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.admin import brokers, comparison, differences, recording
from tests.admin.__main__ import walk_through
from tests.admin.brokers import Managed
from tests.admin.scenarios import SCENARIOS


@pytest.fixture(scope="module")
def managed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    directory: Path = tmp_path_factory.mktemp("managed")
    chosen = brokers.rabbitmq() if request.config.getoption("--broker") == "rabbitmq" else brokers.leveret(directory)
    with chosen as broker:
        yield broker


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_answers(managed: Managed, scenario: str) -> None:
    found = list(comparison.compare(scenario, walk_through(managed, scenario)))
    assert not found, "\n" + "\n".join(comparison.report(found))


@pytest.mark.parametrize("steps", sorted({row.steps for row in differences.ROWS}))
def test_every_difference_is_about_something(steps: str) -> None:
    """Headers come with a status, and may or may not have been there."""
    rows = [row for row in differences.ROWS if row.steps == steps]
    recorded = [(scenario, step) for scenario in SCENARIOS for step in recording.load(scenario)]
    for row in rows:
        assert row.why
        assert row.path.startswith("headers.") or any(differences.matches(row, *each) for each in recorded), row

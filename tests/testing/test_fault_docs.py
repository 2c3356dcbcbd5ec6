"""docs/faults.md tells of all that there is."""

import re

import pytest

from broker.testing.faults.actions import ACTIONS
from broker.testing.faults.order import FIELDS
from tests.house.conftest import ROOT

PAGE = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
ROWS = [row.split("|")[1] for row in PAGE.splitlines() if row.startswith("| `")]


@pytest.mark.parametrize("name", ACTIONS)
def test_each_action_and_its_fields(name: str) -> None:
    action = ACTIONS[name]
    (row,) = [row for row in ROWS if f"`{name}`" in row]
    assert set(re.findall(r"`(\w+)`", row)) & set(action.options) == set(action.options)
    if action.on is not None and not action.is_of_the_broker:
        on = "whatever the client says" if action.on == "*" else action.on
        assert on in row


def test_each_field_of_a_rule() -> None:
    known = " ".join(ROWS) + PAGE
    assert all(f"`{field}`" in known for field in FIELDS)

"""One broker for each module of unit tests, and who asks it."""

from collections.abc import Iterator

import pytest

from tests.admin.client import Http
from tests.admin.served import Served


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with Served() as broker:
        yield broker


@pytest.fixture
def api(served: Served) -> Iterator[Http]:
    """guest, the administrator."""
    with served.api() as http:
        yield http

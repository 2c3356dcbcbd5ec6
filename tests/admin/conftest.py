"""One broker for each module of unit tests, and who asks it; or one for all that keep to a vhost of their own."""

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


@pytest.fixture(scope="session")
def shared() -> Iterator[Served]:
    with Served() as broker:
        yield broker


@pytest.fixture(scope="module")
def vhost(shared: Served, request: pytest.FixtureRequest) -> str:
    """A vhost of the shared broker for this module, named for it."""
    return shared.add_vhost(request.module.__name__.rpartition(".")[2])

"""One broker for all unit tests of the API that need one; each module has a vhost of its own."""

from collections.abc import Iterator

import pytest

from tests.admin.objects.served import Served, serve


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("served")) as broker:
        yield broker


@pytest.fixture(scope="module")
def vhost(served: Served, request: pytest.FixtureRequest) -> str:
    """Named for the module."""
    return served.vhost(request.module.__name__.rpartition(".")[2])

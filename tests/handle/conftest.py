"""One broker for a module's tests, and a sandbox for each."""

from collections.abc import Iterator

import pytest

from leveret import Broker


@pytest.fixture(scope="module")
def server() -> Iterator[Broker]:
    with Broker(seed=7) as broker:
        yield broker


@pytest.fixture
def sandbox(server: Broker) -> Iterator[Broker]:
    with server.sandbox() as broker:
        yield broker

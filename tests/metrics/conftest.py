"""One broker for all tests of the metrics that don't configure their own, and one scene in it."""

from collections.abc import Iterator

import pytest

from tests.metrics.scene import play
from tests.metrics.serving import Scraped
from tests.wire import Wire


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """Nothing has happened in it."""
    with Scraped(tmp_path_factory.mktemp("metrics") / "fresh") as broker:
        yield broker


@pytest.fixture(scope="session")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """With the scene, which nobody changes."""
    with Scraped(tmp_path_factory.mktemp("metrics") / "scene") as broker, play(broker):
        yield broker


@pytest.fixture(scope="session")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """For tests that declare and publish; each has names of its own."""
    with Scraped(tmp_path_factory.mktemp("metrics") / "busy") as broker:
        yield broker


@pytest.fixture
def wire(busy: Scraped) -> Iterator[Wire]:
    with Wire.connect(busy) as wire:
        yield wire

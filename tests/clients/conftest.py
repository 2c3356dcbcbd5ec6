"""Where the broker is, in the words of client libraries."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.admin import brokers
from tests.admin.brokers import Managed
from tests.fixtures import unique
from tests.oracle.leveret import Leveret
from tests.spec import Broker

__all__ = ["unique"]


@pytest.fixture(scope="session")
def managed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    """A broker with the HTTP API, for all tests of its clients."""
    oracle = request.config.getoption("--broker") == "rabbitmq"
    chosen = brokers.rabbitmq() if oracle else brokers.leveret(tmp_path_factory.mktemp("managed"))
    with chosen as broker:
        yield broker


@pytest.fixture
def url(broker: Broker) -> str:
    return f"amqp://guest:guest@{broker.host}:{broker.port}/%2F"


@pytest.fixture
def leveret(broker: Broker, tmp_path: Path) -> Iterator[Leveret]:
    """A Leveret of the test's own, with a directory, to be stopped and started again under its clients."""
    if broker.name != "leveret":
        pytest.skip("needs a broker that can be restarted under the client")
    with Leveret(tmp_path / "data") as own:
        yield own

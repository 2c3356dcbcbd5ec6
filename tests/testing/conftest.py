"""A broker for tests that a module's tests share, and a sandbox for each of them."""

from collections.abc import Iterator

import pytest

from tests.testing.box import Box
from tests.testing.lab import Lab
from tests.testing.sandboxed import Sandboxed
from tests.testing.state_box import StateBox
from tests.testing.supervised import Supervised


@pytest.fixture(scope="module")
def testing_broker() -> Iterator[Supervised]:
    with Supervised() as supervised:
        yield supervised


@pytest.fixture
def box(testing_broker: Supervised) -> Iterator[Box]:
    box = Box(testing_broker)
    yield box
    box.end()


@pytest.fixture
def sandbox(testing_broker: Supervised) -> Iterator[Sandboxed]:
    """A vhost of the test's own."""
    made = Sandboxed(testing_broker)
    yield made
    made.end()


@pytest.fixture
def vhost(testing_broker: Supervised) -> Iterator[StateBox]:
    """A sandbox whose state is taken and put back."""
    vhost = StateBox(testing_broker)
    yield vhost
    vhost.end()


@pytest.fixture(scope="session")
def lab_broker() -> Iterator[Supervised]:
    with Supervised() as broker:
        yield broker
        log = broker.log
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:4000]
    assert "internal error" not in log


@pytest.fixture
def lab(lab_broker: Supervised) -> Iterator[Lab]:
    """A vhost of the test's own, in which things go wrong."""
    lab = Lab(lab_broker)
    with lab.clients:
        yield lab
    lab.end()
    assert not lab_broker.ask("GET", f"/faults?vhost={lab.vhost}"), "its rules go with a sandbox"

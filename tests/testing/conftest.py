"""One broker for a module's tests, and a sandbox of it for each."""

from collections.abc import Iterator

import pytest

from tests.testing.sandboxed import Sandboxed
from tests.testing.supervised import Supervised


@pytest.fixture(scope="module")
def watching() -> Iterator[Supervised]:
    """A broker for tests, of the module."""
    with Supervised() as supervised:
        yield supervised


@pytest.fixture
def sandbox(watching: Supervised) -> Iterator[Sandboxed]:
    """A vhost of the test's own."""
    made = Sandboxed(watching)
    yield made
    made.end()

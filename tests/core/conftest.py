"""A broker to play with."""

import pytest

from broker.core import ledger
from tests.core.playbook import Playbook, PlayedChannel


@pytest.fixture
def book() -> Playbook:
    return Playbook()


@pytest.fixture
def channel(book: Playbook) -> PlayedChannel:
    """A channel on the first connection."""
    return book.connect().channel()


@pytest.fixture
def other(book: Playbook) -> PlayedChannel:
    """A channel on a connection of its own."""
    return book.connect().channel()


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new segment for every few messages."""
    monkeypatch.setattr(ledger, "SEGMENT_BYTES", 500)

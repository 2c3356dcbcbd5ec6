"""A broker to play with."""

import pytest

from broker.core import ledger, memory, queue
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


@pytest.fixture
def deep_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every queue is too deep for memory from its second message on, and reads two messages of a byte at a time."""
    monkeypatch.setattr(queue, "DEEP_BYTES", 0)
    monkeypatch.setattr(memory, "READ_AHEAD_BYTES", 40)
    monkeypatch.setattr(Playbook, "paging_bytes", 0)

"""Segments of a few messages, so that a short life rolls and truncates."""

import pytest

from broker.core import ledger


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "SEGMENT_BYTES", 1200)

"""Segments of a few messages, so that a short life rolls and truncates."""

import pytest

from broker.core import compaction, ledger, memory, queue, spill


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "SEGMENT_BYTES", 1200)
    monkeypatch.setattr(ledger, "SLACK_BYTES", 500)
    monkeypatch.setattr(compaction, "STEP_BYTES", 300)
    monkeypatch.setattr(compaction, "SLICE_IDS", 3)
    monkeypatch.setattr(spill, "STEP_BYTES", 300)
    monkeypatch.setattr(spill, "SLICE_IDS", 3)
    monkeypatch.setattr(queue, "DEEP_BYTES", 0)
    monkeypatch.setattr(memory, "READ_AHEAD_BYTES", 800)

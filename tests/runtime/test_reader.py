"""When the reader looks whether compaction is worth it."""

from types import SimpleNamespace
from typing import Any

import pytest

from broker.core.compaction import Compaction
from broker.core.spill import SpillCompaction
from broker.runtime.reader import Reader


class Loop:
    """A clock, and what is to be called when."""

    def __init__(self) -> None:
        self.now = 100.0
        self.later: list[tuple[float, Any]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Any) -> None:
        self.later.append((self.now + seconds, call))

    def run_until(self, now: float) -> None:
        while self.later and min(self.later)[0] <= now:
            self.now, call = self.later.pop(self.later.index(min(self.later)))
            call()
        self.now = now


@pytest.mark.parametrize("which", ["log", "spill"])
def test_what_goes_last_is_seen_though_nothing_else_happens(monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    """A turn within the pause after a look sees nothing; somebody must look after it."""
    loop = Loop()
    spill = SimpleNamespace(compaction=None, ledger=SimpleNamespace(end=5, live=10))
    outbox = SimpleNamespace(loads=[], compaction=None, ledger=SimpleNamespace(end=5), spill=spill)
    looks: list[float] = []
    for each in (Compaction, SpillCompaction):
        monkeypatch.setattr(each, "begin", lambda _broker: looks.append(loop.now))
    broker: Any = SimpleNamespace(outbox=outbox)
    committer: Any = SimpleNamespace(give_back_spill=lambda: None)
    store: Any = None
    some_loop: Any = loop
    reader = Reader(broker, store, committer, some_loop, lambda: reader.after_turn())
    for at in (100.0, 100.1, 100.26, 100.3):
        loop.run_until(at)
        if at == 100.3:
            if which == "log":
                outbox.ledger.end = 6
            else:
                spill.ledger.live = 9
        reader.after_turn()
    assert looks == [100.0] * 2 + [100.26] * 2
    loop.run_until(200.0)
    assert len(looks) > 4, "what went at 100.3"
    assert len(looks) < 12, "and when nothing happens, nobody looks"

"""Memory goes back to the system when a backlog went, and isn't looked after otherwise."""

import asyncio
import platform
import sys
import threading

import pytest

from broker.core.memory import Memory
from broker.runtime import trimming
from broker.runtime.trimming import DROP_BYTES, Trimming, malloc_trim

DEADLINE = 20.0
MB = 1_000_000


def due_after(*used: int) -> list[bool]:
    """Whether it was due at each look, with so much in memory."""
    memory = Memory()
    loop = asyncio.new_event_loop()
    try:
        looker = Trimming(memory, loop)
        found = []
        for each in used:
            memory.used = each
            found.append(looker.is_due())
        return found
    finally:
        loop.close()


@pytest.mark.parametrize(
    ("used", "due"),
    [
        ([0, 0, 0], [False, False, False]),
        ([100 * MB, 200 * MB, 300 * MB], [False, False, False]),
        ([200 * MB, 140 * MB, 130 * MB, 60 * MB, 0], [False, False, True, True, False]),
        ([200 * MB, 0, 0, 0], [False, True, False, False]),
        ([30 * MB, 0, 0, 0], [False, False, True, False]),
        ([5 * MB, 0, 0, 0], [False, False, False, False]),
        ([200 * MB, 0, 200 * MB, 0], [False, True, False, True]),
    ],
)
def test_when_it_is_due(used: list[int], due: list[bool]) -> None:
    assert due_after(*used) == due


@pytest.mark.asyncio
async def test_on_a_thread_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trimming, "CHECK_SECONDS", 0.001)
    called = threading.Event()
    where: list[threading.Thread] = []

    def trim() -> None:
        where.append(threading.current_thread())
        called.set()

    memory = Memory()
    memory.used = 2 * DROP_BYTES
    looker = Trimming(memory, asyncio.get_running_loop(), trim)
    looker.is_due()
    looker.start()
    memory.used = 0
    assert await asyncio.to_thread(called.wait, DEADLINE)
    looker.stop()
    assert where[0] is not threading.main_thread()


def test_what_there_is_to_call() -> None:
    trim = malloc_trim()
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        assert trim is not None
    if trim is not None:
        assert trim() in (0, 1)

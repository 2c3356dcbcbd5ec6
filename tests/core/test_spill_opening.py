"""The spill is opened when it is first needed, and there may be no file for it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest

from broker.runtime.committer import OPEN_SPILL_SECONDS_MAX
from tests.core.deep import assert_nothing_left, drain, put, text_of
from tests.core.playbook import Playbook, PlayedChannel

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("deep_queues", "small_segments")


@pytest.fixture
def files(book: Playbook, channel: PlayedChannel, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """`files(code)` has the next attempts to open the spill fail; `files(0)` ends that."""
    opened = book.disk.spill

    def spill() -> Any:
        if code:
            raise OSError(code, "no file for it")
        return opened()

    def files(given: int) -> None:
        nonlocal code
        code = given

    code = 0
    monkeypatch.setattr(book.disk, "spill", spill)
    channel.declare("q")
    return files


@pytest.mark.parametrize("taken", [0, 2])
def test_no_descriptor_for_now(book: Playbook, channel: PlayedChannel, files: Callable[[int], None], taken: int) -> None:
    """What is to be spilled waits in memory, in order, and goes once there is one."""
    files(errno.EMFILE)
    put(book, channel, "q", "12345")
    for _ in range(taken):
        channel.get("q", no_ack=True)
    each = book.broker.memory.used / (5 - taken)
    files(0)
    put(book, channel, "q", "678")
    assert book.broker.memory.used < 4 * each and not book.committer.spill_failed
    assert text_of(drain(book)) == "12345678"[taken:]
    assert_nothing_left(book)


def test_no_descriptor_for_long(
    book: Playbook, channel: PlayedChannel, files: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Then it is given up."""
    files(errno.ENFILE)
    put(book, channel, "q", "123")
    book._loop.seconds = OPEN_SPILL_SECONDS_MAX
    put(book, channel, "q", "4")
    assert not book.committer.spill_failed and not caplog.records
    book._loop.seconds += 0.1
    put(book, channel, "q", "5")
    assert book.committer.spill_failed and len(caplog.records) == 1
    files(0)
    put(book, channel, "q", "6")
    assert text_of(drain(book)) == "123456"


def test_another_error(book: Playbook, channel: PlayedChannel, files: Callable[[int], None], caplog: pytest.LogCaptureFixture) -> None:
    files(errno.EACCES)
    put(book, channel, "q", "123")
    assert book.committer.spill_failed
    assert "transient messages can't be paged out, they stay in memory: [Errno 13] no file for it" in caplog.text
    assert text_of(drain(book)) == "123"

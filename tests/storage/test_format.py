"""docs/internals/storage-format.md shows the bytes that are written."""

import re
from pathlib import Path
from textwrap import dedent

import pytest

from protocol.content import Properties, encode_properties
from storage.log import FileLog
from storage.records import MAGIC, decode_records, encode_enqueue, encode_settle
from storage.replay import Run
from storage.segment import segment_name
from tests.storage.calls import append
from tests.storage.disk import DIRECTORY, Disk

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "internals" / "storage-format.md"
LOG_ID = 0x1122334455667788


def worked_example(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The first segment of a new log after two messages for queue 7 in one run, the first of them settled at once."""
    monkeypatch.setattr("storage.log.secrets.randbits", lambda _: LOG_ID)
    header = encode_properties(Properties(delivery_mode=2), 5)
    run = encode_enqueue(1, 7, 1_700_000_000_000, b"\x00\x05tasks", header, [b"hello", b"world"])
    disk = Disk()
    log = FileLog(DIRECTORY, files=disk)
    append(log, [run, encode_settle(7, [1])])
    content = disk.files()["log/" + segment_name(0)]
    log.close()
    return content


def hex_lines(content: bytes) -> list[str]:
    return [f"{at:04x}  {content[at : at + 16].hex(' ')}" for at in range(0, len(content), 16)]


def test_the_worked_example_is_what_the_encoder_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    content = worked_example(monkeypatch)
    (block,) = re.findall(r"((?:^    [0-9a-f]{4}  .*\n)+)", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert dedent(block).splitlines() == hex_lines(content)
    assert content.startswith(MAGIC) and len(list(decode_records(content[128:]))) == 2


def test_the_document_says_what_the_numbers_are() -> None:
    """The flags, types and sizes in its tables are the code's."""
    import storage.records as records

    text = DOCUMENT.read_text(encoding="utf-8")
    for name in (
        "FIRST",
        "LAST",
        "ENQUEUE",
        "ROUTE_SET",
        "SETTLE",
        "SETTLE_RANGE",
        "REQUEUE",
        "DELIVERED",
        "ENQUEUE_EACH",
        "TRANSIENT",
        "TARGET_IS_SET",
        "COPY",
        "EXPIRES",
        "ROUTING_EACH",
    ):
        assert f"| {getattr(records, name)} | {name} |" in text, name
    assert f"{records.HEADER_SIZE} bytes" in text and f"{records.BLOCK_DATA:,} bytes" in text


def test_settling_a_range_of_a_run_is_settling_its_ids() -> None:
    """storage.replay.Run against a plain dict."""
    import random

    for seed in range(300):
        chance = random.Random(seed)
        run, plain, number = Run(), {}, 1
        for _ in range(chance.randrange(6)):
            number += chance.choice((0, 0, 1, 5))
            count = chance.randint(1, 4)
            run.add(number, count, 0)
            plain |= dict.fromkeys(range(number, number + count), 0)
            number += count
        for _ in range(3):
            first = chance.randrange(number + 3)
            last = first + chance.randrange(12)
            absent = [message for low, high in run.settle_range(first, last) for message in range(low, high + 1)]
            assert absent == [message for message in range(first, last + 1) if message not in plain]
            plain |= {message: 1 for message in plain if first <= message <= last}
        assert {message: run.states[run.index(message)] for message in range(number + 3) if run.index(message) >= 0} == plain
        assert list(run.ids(1)) == [message for message, state in plain.items() if state]

"""What every store does, whatever it is made of: the sentences of storage/api.py."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage.api import Closed, Conflict, Corrupt, Entry, Receipt, Store
from storage.local import LocalStore
from storage.memory import MemoryStore
from storage.records import HEADER_SIZE, decode_heads, places
from tests.storage.calls import Answers, append, message, put, records_of

Reopen = Callable[[Store], Store]


@pytest.fixture(params=["memory", "local"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    """Closes a store and opens it again."""
    opened: list[Store] = []

    def again(store: Store) -> Store:
        store.close()
        opened.append(store.reopen() if isinstance(store, MemoryStore) else LocalStore(tmp_path / "data"))
        return opened[-1]

    yield again
    for store in opened:
        store.close()


@pytest.fixture
def store(request: pytest.FixtureRequest, reopen: Reopen, tmp_path: Path) -> Iterator[Store]:
    engine = request.node.callspec.params["reopen"]
    store: Store = MemoryStore(keep=True) if engine == "memory" else LocalStore(tmp_path / "data")
    yield store
    store.close()


def test_commits_come_back_in_order(store: Store, reopen: Reopen) -> None:
    commits = [[message(1), message(2)], [message(3)], [message(4, 1000)]]
    receipts = [append(store.log, commit) for commit in commits]
    assert records_of(store.log) == commits
    assert [commit.position for commit in store.log.scan()] == [receipt.start for receipt in receipts]
    again = reopen(store)
    assert records_of(again.log) == commits
    assert again.log.damage() == []


def test_positions_grow_and_meet(store: Store, reopen: Reopen) -> None:
    first, second = append(store.log, [message(1)]), append(store.log, [message(2)])
    assert first.start < first.end == second.start < second.end
    third = append(reopen(store).log, [message(3)])
    assert third.start >= second.end


def test_a_receipt_names_the_places_to_read(store: Store, reopen: Reopen) -> None:
    records = [message(number, 100_000) for number in range(8)] + [message(8, 600_000), message(9), message(10)]
    receipt = append(store.log, records)
    found = places(records, receipt.blocks)
    assert store.log.read(found) == records
    again = reopen(store)
    for _ in range(2):  # the second time blocks are known to be whole, and read in part
        assert again.log.read(found) == records
        assert again.log.read([found[5]]) + again.log.read([found[9], found[8], found[0]]) == [
            records[5], records[9], records[8], records[0],
        ]  # fmt: skip


def test_a_scan_names_the_places_too(store: Store, reopen: Reopen) -> None:
    records = [message(number, 100_000) for number in range(8)] + [message(8, 600_000), message(9)]
    receipt = append(store.log, records)
    again = reopen(store)
    (commit,) = again.log.scan()
    assert (commit.position, commit.end) == (receipt.start, receipt.end)
    scanned = [place + offset for place, data in commit.pieces for offset, _ in decode_heads(data)]
    assert scanned == places(records, receipt.blocks)
    assert again.log.read(scanned) == records


def test_reading_where_no_record_is(store: Store) -> None:
    receipt = append(store.log, [message(1)])
    for place in (receipt.start, receipt.end, receipt.end + 1000):
        with pytest.raises(Corrupt):
            store.log.read([place])


def test_a_scan_has_a_start_and_a_stop(store: Store) -> None:
    receipts = [append(store.log, [message(number)]) for number in range(5)]
    found = [commit.records for commit in store.log.scan(receipts[1].start, receipts[3].start)]
    assert found == [[message(1)], [message(2)]]
    assert len(list(store.log.scan(receipts[3].start + 1))) == 1, "what begins at `start` or later"


def test_a_commit_without_records_is_a_barrier_and_not_scanned(store: Store) -> None:
    assert append(store.log, []).blocks == ()
    assert records_of(store.log) == []


def test_roll_begins_a_segment(store: Store) -> None:
    first = append(store.log, [message(1)])
    rolled = append(store.log, [message(2)], roll=True)
    append(store.log, [message(3)])
    zero, one, two = (commit.segment for commit in store.log.scan())
    assert zero == 0 and one == two and first.end <= one <= rolled.start


def test_truncate_gives_back_whole_segments(store: Store, reopen: Reopen) -> None:
    starts = [append(store.log, [message(number)], roll=True).start for number in range(4)]
    store.log.truncate(starts[2] + 1)  # the third doesn't end at or before this
    append(store.log, [message(4)])
    assert records_of(store.log) == [[message(2)], [message(3)], [message(4)]]
    with pytest.raises(Closed):
        store.log.read([starts[0] + HEADER_SIZE])
    assert records_of(reopen(store).log) == [[message(2)], [message(3)], [message(4)]]


def test_truncate_keeps_the_last_segment(store: Store) -> None:
    receipt = append(store.log, [message(1)])
    store.log.truncate(receipt.end + 1000)
    append(store.log, [message(2)])
    assert records_of(store.log) == [[message(1)], [message(2)]]


def test_answers_come_in_the_order_of_the_calls(store: Store) -> None:
    answers: list[str] = []
    last = Answers()
    store.catalog.put("a", b"1", lambda _: answers.append("put"))
    store.log.append([message(1)], lambda _: answers.append("append"))
    store.log.append([message(2)], lambda _: answers.append("unsynced"), sync=False)
    store.catalog.delete("a", lambda _: answers.append("delete"))
    store.log.append([message(3)], last)
    last.take(1)
    assert answers == ["put", "append", "unsynced", "delete"]


def test_a_callback_that_raises_does_not_stop_the_others(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.log.append([message(1)], lambda _: [][1])
    append(store.log, [message(2)])
    assert "IndexError" in caplog.text


def test_close_finishes_what_was_handed_in(store: Store, reopen: Reopen) -> None:
    answers = Answers()
    for number in range(100):
        store.log.append([message(number)], answers, sync=number % 2 == 0)
        store.catalog.put(f"key/{number:03}", b"")
    again = reopen(store)
    assert all(isinstance(result, Receipt) for result in answers.take(100))
    assert records_of(again.log) == [[message(number)] for number in range(100)]
    assert len(again.catalog.scan("key/")) == 100


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    answers = Answers()
    store.log.append([message(1)], answers)
    assert isinstance(answers.take(1)[0], Closed)
    with pytest.raises(Closed):
        list(store.log.scan())
    with pytest.raises(Closed):
        store.log.read([0])
    with pytest.raises(Closed):
        store.catalog.put("a", b"")
    with pytest.raises(Closed):
        store.catalog.delete("a")
    store.log.truncate(0)
    store.close()


def test_what_is_put_is_there_at_once_and_after_a_restart(store: Store, reopen: Reopen) -> None:
    revision = store.catalog.put("queue/a", b"{}")
    assert store.catalog.get("queue/a") == Entry("queue/a", b"{}", revision)
    assert store.catalog.get("queue/b") is None
    put(store.catalog, "queue/B", b"\x00\xff")
    put(store.catalog, "exchange/a", b"x")
    again = reopen(store)
    assert [entry.key for entry in again.catalog.scan()] == ["exchange/a", "queue/B", "queue/a"]
    assert [entry.value for entry in again.catalog.scan("queue/")] == [b"\x00\xff", b"{}"]
    assert again.catalog.get("queue/a") == Entry("queue/a", b"{}", revision)


def test_revisions_grow_even_over_deletes_and_restarts(store: Store, reopen: Reopen) -> None:
    first = put(store.catalog, "a", b"")
    second = put(store.catalog, "a", b"")
    third = put(store.catalog, "b", b"")
    store.catalog.delete("b")
    assert first < second < third < put(reopen(store).catalog, "c", b"")


def test_an_expected_revision_that_is_not_there_conflicts(store: Store) -> None:
    revision = store.catalog.put("a", b"1", expect=0)
    with pytest.raises(Conflict):
        store.catalog.put("a", b"2", expect=0)
    with pytest.raises(Conflict):
        store.catalog.delete("a", expect=revision + 1)
    with pytest.raises(Conflict):
        store.catalog.put("b", b"", expect=revision)
    assert store.catalog.get("a") == Entry("a", b"1", revision)
    store.catalog.delete("a", expect=store.catalog.put("a", b"2", expect=revision))
    assert store.catalog.get("a") is None


def test_deleting(store: Store, reopen: Reopen) -> None:
    put(store.catalog, "a", b"")
    put(store.catalog, "b", b"")
    answers = Answers()
    store.catalog.delete("a", answers)
    store.catalog.delete("missing", answers)
    assert answers.take(2) == [None, None]
    assert [entry.key for entry in reopen(store).catalog.scan()] == ["b"]


def test_a_watch_sees_its_prefix_until_it_ends(store: Store) -> None:
    seen: list[tuple[str, bytes | None]] = []
    end = store.catalog.watch("queue/", lambda key, entry: seen.append((key, entry.value if entry else None)))
    store.catalog.put("queue/a", b"1")
    store.catalog.put("exchange/a", b"1")
    store.catalog.delete("queue/a")
    store.catalog.delete("queue/a")
    end()
    end()
    store.catalog.put("queue/b", b"1")
    assert seen == [("queue/a", b"1"), ("queue/a", None)]

"""What the campaign would notice: the broker is broken in one place, and some life of a few must end in a broken promise."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from broker.core import recovery
from broker.core.broker import Broker
from broker.core.compaction import Compaction
from broker.core.ledger import Ledger
from broker.core.outbox import Outbox
from broker.core.recovery import Replay
from broker.runtime.committer import Committer
from storage import records
from storage.log import FileLog
from storage.segment import Segment
from tests.campaign.promises import Broken
from tests.campaign.test_power import Campaign

pytestmark = pytest.mark.usefixtures("small_segments")

Patch = pytest.MonkeyPatch
SEEDS = (9, 4, *(seed for seed in range(12) if seed not in (9, 4)))
"""These two lives meet nearly every canary between them, so the others are seldom lived."""


def confirms_come_before_the_sync(patch: Patch) -> None:
    append = Segment.append
    patch.setattr(Segment, "append", lambda self, data, *, sync, alone: append(self, data, sync=False, alone=alone))


def settles_stand_before_enqueues(patch: Patch) -> None:
    take = Outbox.take

    def taken(self: Outbox) -> Any:
        batch = take(self)
        batch.records.sort(key=lambda record: record[0] not in (records.SETTLE, records.SETTLE_RANGE))
        return batch

    patch.setattr(Outbox, "take", taken)


def settles_are_not_written(patch: Patch) -> None:
    _without(patch, records.SETTLE, records.SETTLE_RANGE)


def marks_are_not_written(patch: Patch) -> None:
    _without(patch, records.DELIVERED)


def requeues_are_not_written(patch: Patch) -> None:
    _without(patch, records.REQUEUE)


def _without(patch: Patch, *kinds: int) -> None:
    take = Outbox.take

    def taken(self: Outbox) -> Any:
        batch = take(self)
        batch.records = [record for record in batch.records if record[0] not in kinds]
        return batch

    patch.setattr(Outbox, "take", taken)


def route_sets_are_defined_once(patch: Patch) -> None:
    """And not again in every batch."""
    name = Outbox._name

    def named(self: Outbox, target: Any) -> None:
        if target.flags:
            target.batch = self.number
        else:
            name(self, target)
            self.ledger._sets += 1000

    patch.setattr(Outbox, "_name", named)
    patch.setattr(Ledger, "next_set", lambda self: next(_sets))


_sets = count(1)


def segments_go_too_early(patch: Patch) -> None:
    settled = Ledger.settled
    patch.setattr(Ledger, "settled", lambda self, ids: settled(self, [*ids, *ids[:1]]))


def truncation_does_not_sync_first(patch: Patch) -> None:
    patch.setattr(FileLog, "_drop", _drop_without_sync)


def _drop_without_sync(self: FileLog, before: int) -> None:
    while len(self._segments) > 1 and self._segments[1].start <= before:
        oldest, *rest = self._segments
        self._segments = tuple(rest)
        oldest.unlink()


def a_new_segment_does_not_sync_the_last(patch: Patch) -> None:
    def roll(self: FileLog) -> None:
        last = self._segments[-1]
        if last.size:
            self._segments = (*self._segments, Segment(self._files, self._directory, last.end, create=True))

    patch.setattr(FileLog, "_roll", roll)


def declarations_come_last(patch: Patch) -> None:
    """Behind the records, whose receipt releases what waits."""
    ship = Committer.ship

    def shipped(self: Committer, batch: Any) -> None:
        puts = {}
        if batch.records:
            puts, batch.puts = batch.puts, {}
        ship(self, batch)
        for key, value in puts.items():
            self._store.catalog.put(key, value)

    patch.setattr(Committer, "ship", shipped)


def bindings_outlive_their_queue(patch: Patch) -> None:
    delete = Outbox.delete
    patch.setattr(Outbox, "delete", lambda self, key: None if key.startswith("binding/") else delete(self, key))


def bindings_are_not_written(patch: Patch) -> None:
    put = Outbox.put
    patch.setattr(Outbox, "put", lambda self, key, value: None if key.startswith("binding/") else put(self, key, value))


def a_batch_is_a_commit_a_record(patch: Patch) -> None:
    append = FileLog.append

    def appended(self: FileLog, commit: Any, done: Any, *, sync: bool = True, roll: bool = False) -> None:
        for at, record in enumerate(commit[:-1]):
            append(self, [record], lambda _: None, sync=False, roll=roll and not at)
        append(self, commit[-1:], done, sync=sync, roll=roll and len(commit) == 1)

    patch.setattr(FileLog, "append", appended)


def queue_ids_are_given_twice(patch: Patch) -> None:
    patch.setattr(Broker, "next_queue_id", lambda self, durable: 7 + sum(len(vhost.queues) for vhost in self.vhosts.values()))


def transient_messages_survive(patch: Patch) -> None:
    patch.setattr(recovery, "TRANSIENT", 0)


def delivery_counts_are_forgotten(patch: Patch) -> None:
    """By a start, of what was requeued once."""
    finish = Replay._finish

    def finished(self: Replay) -> None:
        for backlog in self._backlogs.values():
            backlog.counts = {each: count for each, count in backlog.counts.items() if count > 1}
        finish(self)

    patch.setattr(Replay, "_finish", finished)


def copies_follow_their_settles(patch: Patch) -> None:
    """Compaction doesn't hear of what is settled while it copies."""
    patch.setattr(Compaction, "settled", lambda self, queue, ids: None)
    patch.setattr(Compaction, "settled_pages", lambda self, queue, pages: None)


def copies_are_not_synced(patch: Patch) -> None:
    """When the oldest segment goes."""
    copy = Outbox.copy

    def copied(self: Outbox, *arguments: Any) -> int:
        sync = self._sync
        index = copy(self, *arguments)
        self._sync = sync
        return index

    patch.setattr(Outbox, "copy", copied)
    truncation_does_not_sync_first(patch)


def copies_leave_out_half(patch: Patch) -> None:
    alive = Compaction._alive
    patch.setattr(Compaction, "_alive", lambda self, record: list(alive(self, record))[record.first_id % 2 :])


def copies_forget_delivery_counts_and_marks(patch: Patch) -> None:
    patch.setattr(Compaction, "_restate", lambda *_: None)


def a_torn_tail_is_left(patch: Patch) -> None:
    """What follows it is behind a gap."""
    patch.setattr(Segment, "cut", lambda self, size: None)


CANARIES: list[Callable[[Patch], None]] = [
    confirms_come_before_the_sync,
    settles_stand_before_enqueues,
    settles_are_not_written,
    marks_are_not_written,
    requeues_are_not_written,
    route_sets_are_defined_once,
    segments_go_too_early,
    truncation_does_not_sync_first,
    a_new_segment_does_not_sync_the_last,
    declarations_come_last,
    bindings_outlive_their_queue,
    bindings_are_not_written,
    a_batch_is_a_commit_a_record,
    queue_ids_are_given_twice,
    transient_messages_survive,
    delivery_counts_are_forgotten,
    copies_follow_their_settles,
    copies_are_not_synced,
    copies_leave_out_half,
    copies_forget_delivery_counts_and_marks,
    a_torn_tail_is_left,
]


@pytest.mark.parametrize("canary", CANARIES, ids=lambda canary: canary.__name__)
def test_the_campaign_notices_that(canary: Callable[[Patch], None], monkeypatch: Patch) -> None:
    canary(monkeypatch)
    with pytest.raises(Broken):
        some_lives()


def some_lives() -> None:
    for seed in SEEDS:
        Campaign(seed, attempts=2).run(60)

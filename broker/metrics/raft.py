"""What RabbitMQ tells of the Raft logs of its quorum queues. There is no Raft here: each queue is in its first and only term."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.metrics.scrape import Group
from broker.metrics.text import COUNTER, GAUGE, Family

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.metrics.scrape import Row, Scrape


def _raft(scrape: Scrape) -> Iterator[Row | None]:
    for found in scrape.queues():
        yield (found[1], (1, 0, 0, 0, 0, 0.0)) if found is not None and found[0].type == "quorum" else None


RAFT: Final = Group(
    "ra_metrics",
    (
        Family("raft_term_total", COUNTER, "Current Raft term number"),
        Family("raft_log_snapshot_index", GAUGE, "Of a Raft log, which there is none of: 0"),
        Family("raft_log_last_applied_index", GAUGE, "Of a Raft log, which there is none of: 0"),
        Family("raft_log_commit_index", GAUGE, "Of a Raft log, which there is none of: 0"),
        Family("raft_log_last_written_index", GAUGE, "Of a Raft log, which there is none of: 0"),
        Family("raft_entry_commit_latency_seconds", GAUGE, "Of a Raft log, which there is none of: 0"),
    ),
    _raft,
    is_summed=True,
)

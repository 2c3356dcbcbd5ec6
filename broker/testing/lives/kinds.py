"""What can happen to a message, in the words that events, filters and waits have for it."""

from __future__ import annotations

from typing import Final

PUBLISHED: Final = "published"
DEAD_LETTER: Final = "dead-letter"
"""It is the dead letter of another one."""
MOVED_HERE: Final = "moved-here"
"""It is what an operator moved, copied or replayed."""
KEPT: Final = "kept"
"""An x-recent-history exchange had kept it for new bindings."""
ANNOUNCED: Final = "announced"
"""The broker itself had to say it: a log line, an internal event, a trace."""
RECOVERED: Final = "recovered"
"""It was there when the broker started."""
RESTORED: Final = "restored"
"""A snapshot, or a state that was loaded, had it."""
FAILED: Final = "failed"
"""It never became a message: the publish was refused with an error."""
ROLLED_BACK: Final = "rolled-back"
"""It never became a message: the transaction was not committed."""
BEGINNINGS: Final = (PUBLISHED, DEAD_LETTER, MOVED_HERE, KEPT, ANNOUNCED, RECOVERED, RESTORED, FAILED, ROLLED_BACK)
"""How a life begins."""

ROUTED: Final = "routed"
"""It is in a queue."""
DELAYED: Final = "delayed"
DUE: Final = "due"
UNROUTABLE: Final = "unroutable"
REFUSED: Final = "refused"
"""The queue is full."""
IGNORED: Final = "ignored"
"""The queue holds one like it: it is a duplicate."""
DELIVERED: Final = "delivered"
REQUEUED: Final = "requeued"

ACKED: Final = "acked"
REJECTED: Final = "rejected"
EXPIRED: Final = "expired"
DROPPED: Final = "dropped"
"""The queue held too much."""
GIVEN_UP: Final = "given-up"
"""It came back too often."""
PURGED: Final = "purged"
QUEUE_DELETED: Final = "queue-deleted"
MOVED: Final = "moved"
COPIED: Final = "copied"
DAMAGED: Final = "damaged"
"""It can't be read from the disk."""
GONE: Final = "gone"
"""It left the queue, and nobody said why."""
DEAD_LETTERED: Final = "dead-lettered"
LOST: Final = "lost"
"""It was to be dead-lettered, and nothing took it."""

CONFIRMED: Final = "confirmed"
NACKED: Final = "nacked"
RETURNED: Final = "returned"
ASIDE: Final = frozenset((CONFIRMED, NACKED, RETURNED, COPIED))
"""What changes nothing about where the message is: what its publisher was told, and copies."""

READY: Final = "ready"
UNACKED: Final = "unacked"
PRESENT: Final = frozenset((READY, UNACKED, DELAYED))
"""How a message can be in a queue."""

WORDS: Final = (
    *BEGINNINGS, ROUTED, DELAYED, DUE, UNROUTABLE, REFUSED, IGNORED, DELIVERED, REQUEUED, ACKED, REJECTED, EXPIRED, DROPPED, GIVEN_UP,
    PURGED, QUEUE_DELETED, MOVED, COPIED, DAMAGED, GONE, DEAD_LETTERED, LOST, CONFIRMED, NACKED, RETURNED, READY, UNACKED,
)  # fmt: skip
"""All that one can ask for."""

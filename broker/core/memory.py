"""What the messages in memory amount to, and when they should rather be on the disk only.

Bytes are *accounted*, not measured: CPython gives little back, so the process's resident memory says nothing about what would
fit. A message in several queues counts in each: too much rather than too little.
"""

MESSAGE_BYTES = 220
"""What a message takes beside its body and a header of its own: the tuple, its id, a place in the queue, the bytes objects."""
HEADER_BYTES = 33
"""The object of a header that the message doesn't share with the one before."""
PAGING_BYTES = 268_435_456
"""Accounted bytes past which deep queues keep what comes in on the disk only."""
DEEP_BYTES = 32_768
"""A queue that holds more than this in memory is deep; a shorter one stays as fast as ever."""
OUTRUN_BYTES = 1_048_576
"""A queue with consumers in which more than this waits has who floods it wait for a moment: what is delivered soon after it came in is
still in the processor's caches."""
READ_AHEAD_BYTES = 262_144
"""What a paged queue reads at a time, in bodies, at the most; an eighth of it while memory is tight."""
READ_AHEAD_MIN_BYTES = 8192
"""However many queues share an eighth of `paging_bytes` for it."""


class Memory:
    """One per broker. `used` is in accounted bytes."""

    __slots__ = ("loading", "paging", "paging_bytes", "used")

    def __init__(self, paging_bytes: int = PAGING_BYTES) -> None:
        self.used = 0
        self.loading = 0
        """What is on its way back into memory will take."""
        self.paging_bytes = paging_bytes
        self.paging = 0
        """How many queues have messages on the disk only."""

    def set_watermark(self, limit_bytes: int) -> None:
        """Publishers are blocked at this limit: paging has to begin well before."""
        self.paging_bytes = min(PAGING_BYTES, limit_bytes // 2)

    @property
    def read_ahead_bytes(self) -> int:
        """How much a queue should read at a time. A thousand queues may ask in one turn, before any of it has come."""
        share = max((self.paging_bytes >> 3) // max(self.paging, 1), READ_AHEAD_MIN_BYTES)
        size = min(share, READ_AHEAD_BYTES)
        return size >> 3 if self.used + self.loading > self.paging_bytes else size

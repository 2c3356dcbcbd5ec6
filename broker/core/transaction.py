"""Transaction mode of one channel (contract 8.1): publishes and acks that take effect together.

All that a commit does happens in one turn, so it is one commit of the log: all of it survives a crash, or none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.memory import HEADER_BYTES, MESSAGE_BYTES
from protocol.constants import PRECONDITION_FAILED
from protocol.errors import ChannelException

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.core.channel import Channel
    from broker.core.consumers import Holder
    from broker.core.message import Message
    from broker.core.publisher import Publish


class Transaction:
    """What was published and settled since the last commit or rollback."""

    __slots__ = ("_leases", "_settled", "bytes", "channel", "committing", "publishes")

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.committing = False
        """A commit-ok waits for the disk."""
        self.publishes: list[Publish] = []
        self.bytes = 0
        """What `publishes` take, as core.memory accounts it."""
        self._settled: list[tuple[list[int], bool | None]] = []
        self._leases: dict[int, tuple[Holder, Message]] = {}
        """What the settled tags stand for: out of the channel's hands, so that a tag is known once, but not settled yet."""

    def publish(self, publish: Publish) -> None:
        """For the commit."""
        self.publishes.append(publish)
        self.bytes += len(publish.body) + len(publish.header) + HEADER_BYTES + MESSAGE_BYTES

    def settle(self, tags: list[int], requeue: bool | None) -> None:
        """An ack (`requeue` is None) or a reject, for the commit."""
        unacked = self.channel.unacked
        self._leases.update((tag, unacked.pop(tag)) for tag in tags)
        self._settled.append((tags, requeue))

    def leases(self) -> Iterable[tuple[Holder, Message]]:
        """What was settled, but only for the commit."""
        return self._leases.values()

    def commit(self) -> None:
        """Publishes first, then acks. Raises ChannelException 406 if a queue refused a message; the rest has taken effect."""
        channel, publishes, settled = self.channel, self.publishes, self._settled
        self.publishes, self._settled, self.bytes = [], [], 0
        publisher = channel.session.publisher
        refused = sum(not publisher.apply(channel, publish) for publish in publishes)
        self._restore()
        for tags, requeue in settled:
            channel.settle(tags, requeue)
        if refused:
            raise ChannelException(PRECONDITION_FAILED, "partial tx completion")

    def rollback(self) -> None:
        """Publishes are dropped, and the tags can be settled again."""
        self.publishes, self._settled, self.bytes = [], [], 0
        self._restore()

    def _restore(self) -> None:
        if not self._leases:
            return
        channel = self.channel
        channel.unacked = dict(sorted({**channel.unacked, **self._leases}.items()))
        channel.lowest = min(channel.lowest, min(self._leases))
        self._leases = {}

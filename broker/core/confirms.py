"""Publisher confirms of one channel: publish sequence numbers in, basic.ack out (contract 5.4).

There is one producer of acks per channel, and it covers with `multiple` only the unbroken run of settled publishes above the
last confirm. A publish that needs no disk settles at once, even while earlier ones wait: it is then acked by itself, and the
run closes over it later. A refused publish is nacked by itself.

    confirmed      1 2 3 4 5 6 7 8 9          base = 5: all up to here is answered
                   . . . . . w w . .          6 and 7 wait for the log, 8 and 9 (transient) were acked singly: ahead = {8: 9}
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.core.channel import Channel


class Confirms:
    """Confirm mode of one channel."""

    __slots__ = ("_ahead", "_base", "channel", "published")

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.published = 0
        """The sequence number of the last publish."""
        self._base = 0
        self._ahead: dict[int, int] = {}
        """Answered runs above the base, first to last, that an unanswered publish keeps from it."""

    @property
    def unconfirmed(self) -> int:
        """How many publishes have not been answered."""
        return self.published - self._base - sum(last - first + 1 for first, last in self._ahead.items())

    def settle(self, first: int, last: int) -> None:
        """The publishes `first` to `last` are safe (or need no safety): ack them."""
        channel = self.channel
        channel.given.confirm += last - first + 1
        wire = channel.session.wire
        if first == self._base + 1:
            self._advance(last)
            channel.write(wire.ack(channel.number, last, last > first))
        else:
            self._ahead[first] = last
            channel.write(b"".join([wire.ack(channel.number, tag, False) for tag in range(first, last + 1)]))

    def refuse(self, first: int, last: int) -> None:
        """The publishes `first` to `last` are lost or unwanted: nack them."""
        channel = self.channel
        channel.write(b"".join([channel.session.wire.nack(channel.number, tag) for tag in range(first, last + 1)]))
        if first == self._base + 1:
            self._advance(last)
        else:
            self._ahead[first] = last

    def _advance(self, last: int) -> None:
        following: int | None = last
        while following is not None:
            self._base = following
            following = self._ahead.pop(following + 1, None)

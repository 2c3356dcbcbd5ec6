"""A session as far as it is judged: how it ends, and what it was for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from broker.core.session import Session
from broker.testing.findings.judge import place_of
from broker.testing.findings.rules import CHURN
from protocol import methods
from protocol.constants import PRECONDITION_FAILED

if TYPE_CHECKING:
    from broker.core.channel import Channel
    from broker.testing.broker import WatchedBroker
    from broker.testing.findings.judge import Judge
    from protocol.errors import ChannelException


class Use:
    """What a channel, or a connection, was for."""

    __slots__ = ("consumed", "got", "published")

    def __init__(self) -> None:
        self.published = 0
        """Messages."""
        self.got = 0
        """basic.get."""
        self.consumed = False

    @property
    def is_single(self) -> bool:
        """One message, and nothing else."""
        return self.published + self.got == 1 and not self.consumed


class JudgedSession(Session):
    """See the module."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.use = Use()
        self.uses: dict[int, Use] = {}
        """By channel."""
        self.gets: dict[str, int] = {}
        """How often it asked which queue."""
        self.mixes = False
        """It publishes and consumes, which was said."""
        self._single_channels = 0

    @property
    def judge(self) -> Judge:
        """Who collects findings."""
        return cast("WatchedBroker", self.broker).rig.judge

    def use_of(self, channel: int) -> Use:
        """What the channel is for, up to now."""
        found = self.uses.get(channel)
        if found is None:
            found = self.uses[channel] = Use()
        return found

    def close_channel(self, number: int, error: ChannelException) -> None:
        """See Session."""
        channel = self.channels[number]
        if error.code == PRECONDITION_FAILED and error.text.startswith("delivery acknowledgement on channel") and channel.unacked:
            queue = next(iter(channel.unacked.values()))[0].queue
            if not queue.is_quorum:
                self.judge.note("consumer-timeout", {**place_of(self, channel), "queue": queue.name})
        super().close_channel(number, error)

    def end_channel(self, number: int) -> Channel:
        """See Session."""
        channel, use = self.channels[number], self.uses.pop(number, None)
        if self.vhost_name is not None:
            self._judge_channel(channel, use)
        return super().end_channel(number)

    def _judge_channel(self, channel: Channel, use: Use | None) -> None:
        judge, place = self.judge, place_of(self, channel)
        if judge.scene is not None and judge.scene.method in (methods.Channel.Close, methods.Connection.Close):
            self._judge_close(channel, place)
        if use is not None and use.is_single:
            self._single_channels += 1
            if self._single_channels >= CHURN:
                judge.note("channel-churn", place, count=CHURN if self._single_channels == CHURN else 1)

    def _judge_close(self, channel: Channel, place: dict[str, Any]) -> None:
        """The client closes it. Of a connection that broke nobody knows what it would have done."""
        judge = self.judge
        if channel.confirms is not None and (number := channel.confirms.unconfirmed):
            judge.note("unconfirmed", place, {"number": number}, count=number)
        if channel.transaction is not None and (number := len(channel.transaction.publishes)):
            judge.note("uncommitted", place, {"number": number}, count=number)
        held: dict[str, int] = {}
        for holder, _ in channel.unacked.values():
            if holder.queue.owner is None and not holder.queue.deleted:
                held[holder.queue.name] = held.get(holder.queue.name, 0) + 1
        for queue, number in held.items():
            judge.note("unacked-at-close", {**place, "queue": queue}, {"number": number})

    def terminate(self) -> None:
        """See Session."""
        is_over = not self.ended and self.entered
        super().terminate()
        if is_over and self.use.is_single:
            place = place_of(self)
            key = (place["vhost"], place["client_name"])
            self.judge.single_connections[key] += 1
            number = self.judge.single_connections[key]
            if number >= CHURN:
                self.judge.note("connection-churn", place, count=CHURN if number == CHURN else 1)

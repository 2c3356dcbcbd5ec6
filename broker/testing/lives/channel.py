"""A channel of a broker under test: to whom its deliveries go, what its transaction holds, and why what it held comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from broker.core.channel import Channel
from broker.core.consumers import Consumer
from broker.core.transaction import Transaction
from broker.testing.lives import attempts
from broker.testing.lives.confirms import RememberingConfirms
from broker.testing.lives.history import BY_CHANNEL, history_of
from broker.testing.lives.life import Who

if TYPE_CHECKING:
    from broker.core.consumers import Getter
    from broker.core.message import Message
    from broker.core.publisher import Publish
    from broker.core.queue import Queue
    from broker.testing.lives.history import History
    from broker.testing.lives.publisher import RememberingPublisher
    from broker.testing.lives.queue import RememberingQueue
    from broker.testing.lives.trace import Trace
    from broker.testing.lives.vhost import RememberingVHost


def who_of(channel: Channel) -> Who:
    """Whoever uses the channel."""
    session = channel.session
    return Who(session.peer.name, session.own_name, session.user_name or "", channel.number)


class RememberingConsumer(Consumer):
    """One basic.consume."""

    def deliver(self, redelivered: bool, messages: list[Message]) -> int:
        """See Consumer."""
        queue = cast("RememberingQueue", self.queue)
        first = self.channel.next_tag
        with queue.delivering(who_of(self.channel)._replace(consumer_tag=self.tag, delivery_tag=first), redelivered, ends=self.no_ack):
            return super().deliver(redelivered, messages)


class RememberingTransaction(Transaction):
    """A transaction, which knows where its publishes will go."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self.traces: dict[Publish, Trace] = {}

    def publish(self, publish: Publish) -> None:
        """See Transaction."""
        trace = cast("RememberingPublisher", self.channel.session.publisher).trace
        if trace is not None:
            self.traces[publish] = trace
        super().publish(publish)

    def rollback(self) -> None:
        """See Transaction."""
        channel = self.channel
        attempts.rolled_back(cast("RememberingVHost", channel.session.vhost), who_of(channel), self.publishes, self.traces)
        self.traces.clear()
        super().rollback()


class RememberingChannel(Channel):
    """See the module."""

    confirms_type = RememberingConfirms
    consumer_type = RememberingConsumer
    transaction_type = RememberingTransaction

    @property
    def _history(self) -> History:
        return history_of(self.session.vhost)

    def getter(self, queue: Queue, *, no_ack: bool) -> Getter:
        """See Channel: it is asked for as soon as something was taken for basic.get, and before the delivery tag."""
        cast("RememberingQueue", queue).got(who_of(self)._replace(delivery_tag=self.next_tag), ends=no_ack)
        return super().getter(queue, no_ack=no_ack)

    def close(self) -> None:
        """See Channel."""
        with self._history.because("its channel was closed", BY_CHANNEL):
            super().close()

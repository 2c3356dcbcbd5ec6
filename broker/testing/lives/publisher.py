"""The publishing side of a session under test: each publish goes the long way, so that each has a life of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from broker.core.publisher import Publisher
from broker.testing.lives import attempts, kinds
from broker.testing.lives.channel import RememberingTransaction, who_of
from broker.testing.lives.confirms import RememberingConfirms
from broker.testing.lives.trace import Miss
from protocol.errors import ChannelException, ConnectionException
from protocol.events import MANDATORY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.core.channel import Channel
    from broker.core.publisher import Publish
    from broker.core.route import Route
    from broker.core.session import Session
    from broker.testing.lives.history import History
    from broker.testing.lives.life import Life
    from broker.testing.lives.outbox import RememberingOutbox
    from broker.testing.lives.trace import Trace
    from broker.testing.lives.vhost import RememberingVHost


class RememberingPublisher(Publisher):
    """See the module."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._traces: dict[bytes, Trace] = {}
        """Of the routes that the key decides."""
        self._trace: Trace | None = None
        """Of the publish that is under way, if the key decides."""
        self._done = 0
        """Publishes of this run that went through."""

    @property
    def _vhost(self) -> RememberingVHost:
        return cast("RememberingVHost", self.session.vhost)

    @property
    def trace(self) -> Trace | None:
        """The way of the publish that is under way."""
        return self._vhost.take_trace() or self._trace

    def _resolve(self, routing: bytes) -> Route:
        route = super()._resolve(routing)
        route.plain, route.by_headers = False, None
        trace = self._vhost.take_trace()
        if len(self._routes) <= 1:
            self._traces.clear()
        if route.by_key and trace is not None:
            self._traces[routing] = trace
        return route

    def publish(self, channel: Channel, routing: bytes, bits: int, headers_given: Sequence[bytes], bodies: list[bytes]) -> int:
        """See Publisher."""
        self._done = 0
        try:
            return super().publish(channel, routing, bits, headers_given, bodies)
        except (ChannelException, ConnectionException) as error:
            headers = headers_given if len(headers_given) > 1 else list(headers_given) * len(bodies)
            rest = list(zip(headers, bodies, strict=True))[self._done :]
            attempts.failed(self._vhost, who_of(channel), routing, bits, rest, error)
            raise

    def _publish_one(self, channel: Channel, route: Route, bits: int, header: bytes, body: bytes, facts: int) -> int:
        self._trace = self._traces.get(route.routing) if route.by_key else None
        self._vhost.take_trace()  # not this one's
        cost = super()._publish_one(channel, route, bits, header, body, facts)
        self._done += 1
        return cost

    def apply(self, channel: Channel, publish: Publish) -> bool:
        """See Publisher."""
        history = self._vhost.history
        transaction = channel.transaction
        trace = transaction.traces.pop(publish, None) if isinstance(transaction, RememberingTransaction) else None
        life = history.begin(kinds.PUBLISHED, who_of(channel))
        life.mandatory = publish.bits & MANDATORY != 0
        _expect_confirm(channel, life)
        self._tell_way(life, publish, trace or self.trace)
        history.note(life, kinds.PUBLISHED, who=life.by, detail=None if transaction is None else history.cause)
        with cast("RememberingOutbox", self.session.broker.outbox).bearing(history, life):
            taken = super().apply(channel, publish)
        self._tell_outcome(history, life, publish)
        history.conclude(life)
        return taken

    @staticmethod
    def _tell_way(life: Life, publish: Publish, trace: Trace | None) -> None:
        if trace is None:
            return
        life.keys = trace.keys
        if publish.reply is None:
            life.miss = trace.miss
        life.routes.update((queue.name, trace.ways[queue.name]) for queue in publish.queues if queue.name in trace.ways)

    @staticmethod
    def _tell_outcome(history: History, life: Life, publish: Publish) -> None:
        if publish.reply is not None:
            channel = publish.reply
            who = who_of(channel)._replace(consumer_tag=channel.reply_consumer, delivery_tag=channel.next_tag - 1)
            history.note(life, kinds.DELIVERED, who=who, detail="a direct reply, which isn't acked")
            return
        if any(not queue.deleted for queue in publish.queues):
            return
        if life.miss is None:
            life.miss = Miss("found its queues deleted at the commit" if publish.queues else "reached no queue: a fault had it so")
        history.note(life, kinds.UNROUTABLE, detail=life.unroutable)
        if life.mandatory:
            history.note(life, kinds.RETURNED, who=life.by)


def _expect_confirm(channel: Channel, life: Life) -> None:
    confirms = channel.confirms
    if confirms is not None:
        life.confirm = confirms.published + 1
        if isinstance(confirms, RememberingConfirms):
            confirms.lives[life.confirm] = life

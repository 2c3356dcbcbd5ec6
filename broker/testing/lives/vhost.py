"""A vhost of a broker under test: it has a history, and knows how it routed a message, and why it does something by itself."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from broker.core.message import ID
from broker.core.vhost import VHost
from broker.testing.lives import kinds
from broker.testing.lives.history import History
from broker.testing.lives.queue import RememberingDelayQueue, RememberingQueue
from broker.testing.lives.trace import Hop, Trace, Way
from broker.testing.lives.words import exchange_text, listed
from broker.testing.talk.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broker.core.broker import Broker
    from broker.core.envelope import Envelope
    from broker.core.exchange import Destination, Exchange
    from broker.core.message import Message
    from broker.core.queue import Queue
    from broker.testing.lives.life import Life
    from broker.testing.lives.outbox import RememberingOutbox
    from protocol.tables import Table


class RememberingVHost(VHost):
    """See the module."""

    queue_type = RememberingQueue
    delay_queue_type = RememberingDelayQueue

    def __init__(self, broker: Broker, name: str) -> None:
        super().__init__(broker, name)
        self.history = History(broker.outbox.clock)
        self.trace: Trace | None = None
        """Of the route that was asked for last."""
        self._traced: Envelope | None = None
        self.why_deleted: str | None = None
        """Why the queue goes that is being deleted."""
        self._keeper: str | None = None
        """The exchange that something is being bound to."""

    @property
    def _outbox(self) -> RememberingOutbox:
        return cast("RememberingOutbox", self.broker.outbox)

    # --- routing --------------------------------------------------------------------------------------------------------

    def take_trace(self, envelope: Envelope | None = None) -> Trace | None:
        """That of the last route, once; None if it was that of another envelope than this one."""
        trace, self.trace = self.trace, None
        return trace if envelope is None or envelope is self._traced else None

    def route(self, exchange: Exchange, envelope: Envelope) -> tuple[Queue, ...]:
        """See VHost."""
        self.trace, self._traced = trace, envelope = Trace(exchange, envelope), envelope
        queues = super().route(exchange, envelope)
        trace.end(self, queues)
        return queues

    def _destinations(self, source: Exchange, envelope: Envelope) -> Sequence[Destination]:
        assert self.trace is not None
        return self.trace.pass_through(self, source, lambda: super(RememberingVHost, self)._destinations(source, envelope))

    # --- messages that the broker itself publishes ------------------------------------------------------------------------

    def enqueue(self, queues: Sequence[Queue], envelope: Envelope) -> None:
        """See VHost."""
        outbox = self._outbox
        trace = self.take_trace(envelope)
        if outbox.born is not None:
            self._tell_way(outbox.born, trace)
            super().enqueue(queues, envelope)
            return
        life = self._life_of_its_own(queues)
        self._tell_way(life, trace)
        with outbox.bearing(self.history, life):
            super().enqueue(queues, envelope)

    def _life_of_its_own(self, queues: Sequence[Queue]) -> Life:
        if self._keeper is None:
            life = self.history.begin(kinds.ANNOUNCED)
            self.history.note(life, kinds.ANNOUNCED)
            return life
        life = self.history.begin(kinds.KEPT)
        self.history.note(life, kinds.KEPT, detail=f"by {exchange_text(self._keeper)}, for what is bound to it later")
        for queue in queues:
            life.routes[queue.name] = Way((Hop(self._keeper, "what is newly bound gets what the exchange has kept"),))
        return life

    @staticmethod
    def _tell_way(life: Life, trace: Trace | None) -> None:
        if trace is not None:
            life.keys = trace.keys
            life.routes.update(trace.ways)
            life.miss = trace.miss

    def bind(self, exchange: Exchange, destination: Destination, routing_key: str, arguments: Table) -> None:
        """See VHost."""
        self._keeper = exchange.name
        try:
            super().bind(exchange, destination, routing_key, arguments)
        finally:
            self._keeper = None

    def move(self, source: Queue, message: Message, queues: Sequence[Queue], routing: bytes, header: bytes, *, stays: bool) -> None:
        """See VHost."""
        history, before = self.history, self.history.get(message[ID])
        life = history.begin(kinds.MOVED_HERE, None if before is None else before.by)
        trace = self.take_trace()
        life.routes.update((queue.name, Way((Hop("", "an operator put it there"),))) for queue in queues)
        if trace is not None and trace.routing == routing:
            self._tell_way(life, trace)
        history.note(life, kinds.MOVED_HERE, detail=f"from {quoted(source.name)}", other=None if before is None else before.id)
        with self._outbox.bearing(history, life):
            super().move(source, message, queues, routing, header, stays=stays)
        if before is not None:
            life.previous = before.id
            before.next.append(life.ids[0])
            what = kinds.COPIED if stays else kinds.MOVED
            history.note(before, what, source.name, detail=f"to {listed([quoted(each.name) for each in queues])}", other=life.id)

    # --- queues ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def _deleting(self, why: str) -> Iterator[None]:
        outer, self.why_deleted = self.why_deleted, why
        try:
            yield
        finally:
            self.why_deleted = outer

    def expire_queue(self, queue: Queue) -> None:
        """See VHost."""
        with self._deleting("nobody used the queue for as long as its x-expires says"):
            super().expire_queue(queue)

    def auto_delete_queue(self, queue: Queue) -> None:
        """See VHost."""
        with self._deleting("the queue is auto-delete, and its last consumer went"):
            super().auto_delete_queue(queue)

    def delete_queue(self, queue: Queue) -> int:
        """See VHost."""
        if self.why_deleted is not None:
            return super().delete_queue(queue)
        why = self.history.cause or "its vhost is deleted"
        with self._deleting(f"the queue is exclusive: {why}" if queue.owner is not None else why):
            return super().delete_queue(queue)

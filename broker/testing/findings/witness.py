"""Hears what one client does, and judges it. It is the last to hear, whatever faults have left of it.

While the core acts, it is told who is doing what (the scene), so that findings inside it have a place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from broker.core.properties import REPLY_TO
from broker.testing.findings import publishes
from broker.testing.findings.declared import X_CONSUMER_TIMEOUT
from broker.testing.findings.judge import Scene, place_of, product_of
from broker.testing.findings.rules import FRAME_BYTES_MIN, GETS
from broker.testing.through import Hearing
from protocol.methods import Basic, Connection, Exchange, Queue, Tx

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.core.channel import Channel
    from broker.core.consumers import Consumer
    from broker.core.queue import Queue as DeclaredQueue
    from broker.core.session import Session
    from broker.testing.findings.session import JudgedSession
    from broker.testing.findings.vhost import JudgedVHost
    from protocol.events import Events
    from protocol.methods import Method


class Witness(Hearing):
    """See the module."""

    def __init__(self, to: Events, session: Session) -> None:
        super().__init__(to)
        self._session = cast("JudgedSession", session)
        self._judge = self._session.judge
        self._early: list[tuple[str, dict[str, Any]]] = []
        """Codes and details of what was found before the vhost was known."""

    # --- publishes and acks -------------------------------------------------------------------------------------------

    def on_publishes(self, channel: int, routing: bytes, bits: int, headers: Sequence[bytes], bodies: list[bytes]) -> int:
        """See Events."""
        session, found = self._session, self._session.channels[channel]
        scene = Scene(session, found, Basic.Publish)
        unroutable = publishes.Unroutable(found)
        try:
            with self._judge.watching(scene):
                return super().on_publishes(channel, routing, bits, headers, bodies)
        finally:
            publishes.judge_run(self._judge, scene, unroutable, routing, bits, headers, bodies)
            session.use.published += len(bodies)
            if session.channels.get(channel) is found:
                session.use_of(channel).published += len(bodies)
            self._judge_mixture(found)

    def on_acks(self, channel: int, tags: Sequence[int]) -> int:
        """See Events."""
        with self._judge.watching(Scene(self._session, self._session.channels[channel], Basic.Ack)):
            return super().on_acks(channel, tags)

    def on_ack(self, channel: int, tag: int, multiple: bool) -> int:
        """See Events."""
        with self._judge.watching(Scene(self._session, self._session.channels[channel], Basic.Ack)):
            return super().on_ack(channel, tag, multiple)

    # --- everything else ----------------------------------------------------------------------------------------------

    def on_method(self, channel: int, method: Method) -> int:
        """See Events."""
        session = self._session
        found = session.channels.get(channel)
        scene = Scene(session, found, type(method))
        unroutable = publishes.Unroutable(found) if found is not None and isinstance(method, Tx.Commit) else None
        with self._judge.watching(scene):
            cost = super().on_method(channel, method)
            if channel == 0:
                self._judge_connection(method)
            elif found is not None and session.channels.get(channel) is found:
                self._judge_method(found, method)
        if unroutable is not None:
            publishes.judge_commit(self._judge, scene, unroutable)
        return cost

    def _judge_connection(self, method: Method) -> None:
        if isinstance(method, Connection.TuneOk):
            if 0 < (method.frame_max or 0) < FRAME_BYTES_MIN:
                self._early.append(("small-frames", {"frame_max": method.frame_max}))
            if not method.heartbeat:
                self._early.append(("no-heartbeat", {}))
        elif isinstance(method, Connection.Open):
            for code, details in self._early:
                self._judge.note(code, place_of(self._session), details)
            self._early.clear()

    def _judge_method(self, channel: Channel, method: Method) -> None:
        """It has succeeded, for the channel is still there."""
        match method:
            case Basic.Qos():
                if method.global_ and method.prefetch_count:
                    code = "kombu-global-qos" if product_of(self._session) == "py-amqp" else "global-qos"
                    self._judge.note(code, place_of(self._session, channel), {"prefetch": method.prefetch_count})
            case Basic.Consume():
                if method.queue != REPLY_TO and channel.consumers:
                    consumer = channel.consumers.get(method.consumer_tag) if method.consumer_tag else None
                    self._judge_consumer(consumer or next(reversed(channel.consumers.values())))
            case Basic.Get():
                self._judge_get(channel, method)
            case Queue.Declare() if not method.passive:
                self._judge_declared(channel, method)
            case Exchange.Declare() if not method.passive:
                self._judge_exchange(channel, method)
            case _:
                pass

    # --- declared -----------------------------------------------------------------------------------------------------

    def _judge_declared(self, channel: Channel, method: Queue.Declare) -> None:
        queue = self._session.vhost.queues.get(channel.last_queue)
        if queue is not None:
            self._vhost.judge_queue(queue)
            if method.durable and method.exclusive:
                self._judge.note("exclusive-durable", self._judge.place(queue))

    def _judge_exchange(self, channel: Channel, method: Exchange.Declare) -> None:
        exchange = self._session.vhost.exchanges.get(method.exchange.strip("\r\n"))
        if exchange is not None:
            self._vhost.judge_exchange(exchange, place_of(self._session, channel))

    @property
    def _vhost(self) -> JudgedVHost:
        return cast("JudgedVHost", self._session.vhost)

    # --- consumed -----------------------------------------------------------------------------------------------------

    def _judge_consumer(self, consumer: Consumer) -> None:
        queue, channel = consumer.queue, consumer.channel
        place = self._judge.place(queue)
        if consumer.no_ack:
            # A queue that goes with this consumer loses its messages anyway.
            if queue.owner is None and not (queue.auto_delete and len(queue.consumers) == 1):
                self._judge.note("auto-ack", place)
        elif queue.owner is None and not channel.prefetch and not channel.prefetch_shared:
            self._judge.note("unlimited-prefetch", place)
        if X_CONSUMER_TIMEOUT in consumer.arguments and not queue.is_quorum:
            self._judge.note("consumer-timeout-argument", place, {"whose": f"a consumer of classic queue '{queue.name}'"})
        self._session.use.consumed = self._session.use_of(channel.number).consumed = True
        self._judge_mixture(channel)

    def _judge_get(self, channel: Channel, method: Basic.Get) -> None:
        session = self._session
        session.use_of(channel.number).got += 1
        session.use.got += 1
        queue: DeclaredQueue | None = session.vhost.queues.get(method.queue or channel.last_queue)
        if queue is None:
            return
        place = self._judge.place(queue)
        if method.no_ack and queue.owner is None:
            self._judge.note("get-auto-ack", place)
        session.gets[queue.name] = number = session.gets.get(queue.name, 0) + 1
        if number >= GETS:
            self._judge.note("polling", place, count=GETS if number == GETS else 1)

    def _judge_mixture(self, channel: Channel) -> None:
        session = self._session
        if session.mixes or not session.use.published or not session.use.consumed:
            return
        # Whoever asks and waits for the answer in a queue of its own has to do both.
        if any(consumer.queue.owner is None for each in session.channels.values() for consumer in each.consumers.values()):
            session.mixes = True
            self._judge.note("shared-connection", place_of(session, channel))

"""The broker: vhosts, sessions, and the one outbox. The facade for all that is outside the core.

open_session          a connection came in
end_turn, outbox      once a turn: serve what was touched, then ship the batch
restore               what the catalog and the log hold, before anything listens
"""

from __future__ import annotations

import logging
from collections import defaultdict
from contextlib import contextmanager
from functools import partial
from itertools import chain, count
from typing import TYPE_CHECKING, Any, ClassVar

from broker.core import entries, facts, ids
from broker.core.announcements import Announcements
from broker.core.arguments import QUEUE_TYPES
from broker.core.compat import V3_13
from broker.core.consumer_timeout import ConsumerTimeout
from broker.core.counters import Churn, Given, Sizes, Taken, given_in, taken_in
from broker.core.internal_events import INTERNAL_USER, ignore
from broker.core.outbox import Outbox
from broker.core.properties import REPLY_TO
from broker.core.session import Peer, Session
from broker.core.timers import Timers
from broker.core.vhost import VHost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from broker.core.channel import Channel
    from broker.core.consumers import Consumer, Holder
    from broker.core.direct import Direct
    from broker.core.internal_events import FactsOf
    from broker.core.login import Authenticator
    from broker.core.memory import Memory
    from broker.core.message import Message
    from protocol.tables import Table

log = logging.getLogger("queue")

QUEUE_IDS_STEP = 1000
"""Queue ids are taken from the catalog by the thousand: one entry written, not one a queue."""
FIRST_PROCESS = 600
"""RabbitMQ has an Erlang process for each connection and each channel, and names it in logs and events: ours are numbers."""
TURN_MESSAGES = 5000
"""What a turn serves at the most, in deliveries; what is left waits for the next (docs/architecture.md, "The turn")."""


class Broker:
    """See the module."""

    vhost_type: ClassVar[type[VHost]] = VHost
    session_type: ClassVar[type[Session]] = Session
    outbox_type: ClassVar[type[Outbox]] = Outbox
    """What is made here; broker.testing puts its own in their place."""

    def __init__(
        self,
        authenticator: Authenticator,
        server_properties: Table,
        clock: Callable[[], int],
        random_bytes: ids.RandomBytes,
        *,
        logs: bool = True,
    ) -> None:
        """`clock` tells wall time in milliseconds; `random_bytes(n)` gives n of them. Without `logs` nothing is to survive a
        restart, and durable queues write no records."""
        self.authenticator = authenticator
        self.server_properties = server_properties
        self.random_bytes = random_bytes
        self.outbox = self.outbox_type(clock)
        self.timers = Timers()
        self.consumer_timeout = ConsumerTimeout(self)
        self.compat = V3_13
        """Which RabbitMQ it behaves like; to be set before anything is declared."""
        self.consumer_max_per_channel = 0
        """0 sets no limit."""
        self.default_queue_type: str | None = None
        """What a queue is that doesn't say, in vhosts that don't either. None: classic, which no argument of the queue tells."""
        self.node = "rabbit@localhost"
        self.emit: Callable[[str, FactsOf], None] = ignore
        """What happens is told here (core/internal_events.py)."""
        self.acting_user = INTERNAL_USER
        """Who does what is being done now, for events."""
        self.announcements = Announcements()
        self._started_seconds = clock() // 1000
        self._processes = count(FIRST_PROCESS)
        self.connection_max: int | None = None
        self.channel_max_per_node: int | None = None
        """None sets no limit."""
        self.connections = 0
        self.channels = 0
        """Open now."""
        self.logs = logs
        self.given = Given()
        self.taken = {kind: Taken() for kind in QUEUE_TYPES}
        """What was counted in vhosts that are gone (core.counters)."""
        self.churn = Churn()
        self.sizes = Sizes()
        """Of all bodies that were published."""
        self.dead_lettered: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        """By type of queue, strategy (disabled, at_most_once) and reason."""
        self.vhosts: dict[str, VHost] = {}
        self.global_parameters: dict[str, Any] = {}
        self.sessions: dict[Session, None] = {}
        self.directs: dict[Direct, None] = {}
        """Channels without a socket, which no list shows."""
        self.reply_channels: dict[str, Channel] = {}
        """Address of direct reply-to to the channel whose consumer it is."""
        self.topology = 1
        """Grows with every change that a route may depend on."""
        self.queue_ids = 1
        self.queue_ids_taken = 1

    @property
    def memory(self) -> Memory:
        """What the messages in memory amount to."""
        return self.outbox.memory

    # --- vhosts -----------------------------------------------------------------------------------------------------

    def add_vhost(self, name: str, metadata: Mapping[str, Any] | None = None) -> VHost:
        """A new vhost with its system exchanges."""
        vhost = self.vhosts[name] = self.vhost_type(self, name)
        self.set_vhost_metadata(vhost, metadata or {})
        for exchange in vhost.exchanges.values():
            self.emit("exchange.created", partial(facts.of_exchange, vhost, exchange))
        self.emit("vhost.created", lambda: facts.of_vhost(vhost))
        return vhost

    def set_vhost_metadata(self, vhost: VHost, metadata: Mapping[str, Any]) -> None:
        """Put a description, tags and a default queue type in place of those there were."""
        vhost.metadata = dict(metadata)
        self.outbox.put(*entries.vhost_entry(vhost))

    def delete_vhost(self, vhost: VHost) -> None:
        """Delete it with all that is in it; its connections are closed (contract 1.9)."""
        del self.vhosts[vhost.name]
        reason = f"vhost '{vhost.name}' is deleted"
        for session in list(vhost.sessions):
            session.force_close(reason)
        for direct in [each for each in self.directs if each.session.vhost is vhost]:
            direct.force_close(reason)
        vhost.delete_all()
        self.given.add(given_in(vhost))
        for kind, taken in taken_in(vhost).items():
            self.taken[kind].add(taken)
        self.topology += 1
        self.outbox.delete(entries.key("vhost", vhost.name))
        self.emit("vhost.deleted", lambda: {facts.PERFORMED_BY: self.acting_user, "name": vhost.name})

    def set_global_parameter(self, name: str, value: Any) -> None:
        """Put a value, anything that JSON has, in place of the one there was."""
        self.global_parameters[name] = value
        self.outbox.put(entries.key("global_parameter", name), entries.dump({"value": value}))
        self._emit_global_parameter("parameter.set", name, value=value)

    def clear_global_parameter(self, name: str) -> bool:
        """False if there is none of that name."""
        if name not in self.global_parameters:
            return False
        del self.global_parameters[name]
        self.outbox.delete(entries.key("global_parameter", name))
        self._emit_global_parameter("parameter.cleared", name)
        return True

    def _emit_global_parameter(self, event: str, name: str, **value: Any) -> None:
        self.emit(event, lambda: {facts.PERFORMED_BY: self.acting_user, **value, "name": name, "component": "global"})

    def next_queue_id(self, durable: bool) -> int:
        """An id that no queue ever had."""
        queue_id = self.queue_ids
        self.queue_ids += 1
        if durable and self.queue_ids > self.queue_ids_taken:
            self.queue_ids_taken = self.queue_ids + QUEUE_IDS_STEP
            self.outbox.put(entries.QUEUE_IDS, entries.dump({"next": self.queue_ids_taken}))
        return queue_id

    # --- who is who -------------------------------------------------------------------------------------------------

    def next_process(self) -> int:
        """The number of a connection or channel, which logs and events know it by."""
        return next(self._processes)

    def process_text(self, number: int) -> str:
        """How events name a connection or channel; a log line has `<0.NUMBER.0>`."""
        return f"<{self.node}.{self._started_seconds}.{number}.0>"

    @contextmanager
    def acting_as(self, user: str) -> Iterator[None]:
        """What happens meanwhile is this user's doing."""
        before, self.acting_user = self.acting_user, user
        try:
            yield
        finally:
            self.acting_user = before

    # --- sessions ---------------------------------------------------------------------------------------------------

    def open_session(self, peer: Peer) -> Session:
        """A connection came in; give it its `wire` before anything else."""
        session = self.session_type(self, peer)
        self.sessions[session] = None
        return session

    def sessions_of(self, user: str) -> list[Session]:
        """The connections of one user."""
        return [session for session in self.sessions if session.entered and session.identity.name == user]

    def cancel(self, consumer: Consumer) -> None:
        """The consumer is gone, whatever the reason; an auto-delete queue goes with its last one (contract 4.4)."""
        if consumer.cancelled:
            return
        consumer.cancelled = True
        consumer.retire()
        queue = consumer.queue
        queue.remove_consumer(consumer)
        self.emit("consumer.deleted", lambda: facts.of_deleted_consumer(consumer))
        if queue.auto_delete and not len(queue.consumers) and not queue.deleted:
            queue.vhost.auto_delete_queue(queue)

    def leases(self) -> Iterator[tuple[Holder, Message]]:
        """Everything that is with somebody and not settled."""
        for channel in self.open_channels():
            yield from channel.unacked.values()
            if channel.transaction is not None:
                yield from channel.transaction.leases()

    def open_channels(self) -> Iterator[Channel]:
        """All channels, those without a socket too."""
        for session in chain(self.sessions, [direct.session for direct in self.directs]):
            yield from session.channels.values()

    # --- direct reply-to --------------------------------------------------------------------------------------------

    def add_reply_channel(self, channel: Channel) -> None:
        """The channel has a consumer on amq.rabbitmq.reply-to: make an address for it."""
        channel.reply_address = ids.generate(f"{REPLY_TO}.", channel.session.vhost.random_bytes)
        self.reply_channels[channel.reply_address] = channel

    def forget_reply_channel(self, channel: Channel) -> None:
        """The reply consumer is gone; replies to it are dropped."""
        del self.reply_channels[channel.reply_address]
        channel.reply_consumer = None

    # --- the turn ---------------------------------------------------------------------------------------------------

    def run_timers(self) -> None:
        """What is due now. To be called when the clock reaches `timers.next_ms`; a turn has to follow."""
        self.timers.run(self.outbox.clock())

    @property
    def has_work(self) -> bool:
        """Something is left for the next turn."""
        outbox = self.outbox
        return bool(outbox.touched or outbox.settled_confirms or self.announcements.waiting) or outbox.has_batch

    def serve(self) -> None:
        """Serve each queue that was touched, once; some may have to wait for the next turn."""
        if self.announcements.waiting:
            self.announcements.publish()
        outbox = self.outbox
        budget = TURN_MESSAGES
        touched = outbox.touched
        outbox.touched = []
        for position, queue in enumerate(touched):
            if budget <= 0:
                outbox.touched += touched[position:]
                break
            queue.touched = False
            try:
                budget -= queue.serve(budget)
            except Exception:
                # A bug in the broker costs the queue that met it, and no other; the log has the traceback.
                log.exception("%r can't be served", queue)
        outbox.settle_confirms()

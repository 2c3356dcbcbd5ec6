"""A virtual host: names to exchanges and queues, what is bound to what, and where a message goes.

Whatever changes a route (a declare, a delete, a binding) raises `broker.topology`, the version that cached routes carry.
What is durable goes to the outbox as a catalog entry in the same breath.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

from broker.core import entries, facts
from broker.core.arguments import QUEUE_TYPES, X_QUEUE_TYPE
from broker.core.counters import Given, Taken
from broker.core.delays import DelayQueue
from broker.core.envelope import Envelope
from broker.core.exchange import Exchange, LooksAt
from broker.core.exchanges import create
from broker.core.expiry import expiration_of
from broker.core.message import BODY
from broker.core.outbox import target_of
from broker.core.policy import best
from broker.core.queue import Queue
from broker.core.tracing import Tracer
from protocol import content
from protocol.constants import NOT_FOUND, PRECONDITION_FAILED
from protocol.errors import ChannelException
from protocol.tables import Field

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.core.arguments import QueueArguments
    from broker.core.broker import Broker
    from broker.core.exchange import Binding, Destination
    from broker.core.message import Message
    from broker.core.policy import Policy
    from broker.core.session import Session
    from protocol.tables import Table

log = logging.getLogger("queue")

SYSTEM_EXCHANGES = (
    ("amq.direct", "direct", False),
    ("amq.fanout", "fanout", False),
    ("amq.headers", "headers", False),
    ("amq.match", "headers", False),
    ("amq.rabbitmq.trace", "topic", True),
    ("amq.topic", "topic", False),
)
"""Name, type and internal flag of what every vhost has, durable (contract 3.1)."""
DEFAULT_EXCHANGE = ""
LIMITS = ("vhost-limits", "limits")
"""The parameter that holds a vhost's limits, as in RabbitMQ."""
KEY = LooksAt.KEY


class NotByKey(Exception):
    """The key alone doesn't say where a message goes."""


class VHost:
    """One virtual host."""

    queue_type: ClassVar[type[Queue]] = Queue
    delay_queue_type: ClassVar[type[DelayQueue]] = DelayQueue

    def __init__(self, broker: Broker, name: str) -> None:
        self.broker = broker
        self.name = name
        self.random_bytes = broker.random_bytes
        """For names and tags that are made up here, and whatever else is left to chance."""
        self.metadata: dict[str, Any] = {}
        """`description`, `tags` (a list) and `default_queue_type`, as far as they were given."""
        self.parameters: dict[tuple[str, str], Any] = {}
        """Component and name to value (https://www.rabbitmq.com/docs/parameters)."""
        self.sessions: dict[Session, None] = {}
        """The connections that are open here."""
        self.given = Given()
        self.taken = {kind: Taken() for kind in QUEUE_TYPES}
        """What channels, consumers and exchanges counted that are gone; by type of queue (core.counters)."""
        self.received_bytes = self.sent_bytes = 0
        """By connections that are gone."""
        self.queues: dict[str, Queue] = {}
        self.exchanges: dict[str, Exchange] = {DEFAULT_EXCHANGE: create("direct", DEFAULT_EXCHANGE, durable=True)}
        for exchange, kind, internal in SYSTEM_EXCHANGES:
            self.exchanges[exchange] = create(kind, exchange, durable=True, internal=internal)
        self.policies: dict[str, Policy] = {}
        self.operator_policies: dict[str, Policy] = {}
        self.tracer: Tracer | None = None
        """Copies all messages to amq.rabbitmq.trace."""
        self._sources: dict[Destination, dict[Exchange, None]] = {}
        """Destination to the exchanges that have bindings to it."""

    # --- what operators say -----------------------------------------------------------------------------------------

    def limit(self, name: str) -> int | None:
        """`max-connections` or `max-queues`, if it limits anything."""
        limit = self.parameters.get(LIMITS, {}).get(name, -1)
        return limit if limit >= 0 else None

    def with_default_type(self, arguments: Table, *, durable: bool, exclusive: bool, auto_delete: bool) -> Table:
        """A queue's arguments with the vhost's or broker's default queue type, where they name none and that type can be such a queue."""
        kind = self.metadata.get("default_queue_type") or self.broker.default_queue_type
        if kind is None or X_QUEUE_TYPE in arguments or (kind != "classic" and (exclusive or auto_delete or not durable)):
            return arguments
        return arguments | {X_QUEUE_TYPE: Field("S", kind.encode())}

    def set_tracing(self, on: bool) -> None:
        """Turn the firehose on or off (core/tracing.py). A restart turns it off, as in RabbitMQ: it is a tool to look with, and slow."""
        if on == (self.tracer is not None):
            log.info("Tracing is already %s for vhost '%s'", "enabled" if on else "disabled", self.name)
            return
        log.info("%s tracing for vhost '%s'", "Enabling" if on else "Disabling", self.name)
        if self.tracer is not None:
            self.tracer.stop()
        self.tracer = Tracer(self) if on else None
        if self.tracer is not None:
            self.tracer.start()
        self.broker.topology += 1

    # --- names ------------------------------------------------------------------------------------------------------

    def exchange(self, name: str) -> Exchange:
        """The exchange of that name. Raises ChannelException 404."""
        found = self.exchanges.get(name)
        if found is None:
            raise ChannelException(NOT_FOUND, f"no {self.exchange_text(name)}")
        return found

    def queue(self, name: str) -> Queue:
        """The queue of that name. Raises ChannelException 404."""
        found = self.queues.get(name)
        if found is None:
            raise ChannelException(NOT_FOUND, f"no {self.queue_text(name)}")
        return found

    def exchange_text(self, name: str) -> str:
        """How RabbitMQ's texts name an exchange."""
        return f"exchange '{name}' in vhost '{self.name}'"

    def queue_text(self, name: str) -> str:
        """How RabbitMQ's texts name a queue."""
        return f"queue '{name}' in vhost '{self.name}'"

    # --- exchanges --------------------------------------------------------------------------------------------------

    def add_exchange(self, kind: str, name: str, *, durable: bool, auto_delete: bool, internal: bool, arguments: Table) -> Exchange:
        """A new exchange. Raises ChannelException 406 for an unknown type, and for arguments that it refuses."""
        exchange = create(kind, name, durable=durable, auto_delete=auto_delete, internal=internal, arguments=arguments)
        exchange.declared_by = self.broker.acting_user
        self.restore_exchange(exchange)
        self.broker.topology += 1
        if durable:
            self.broker.outbox.put(*entries.exchange_entry(self, exchange))
        self.broker.emit("exchange.created", lambda: facts.of_exchange(self, exchange))
        return exchange

    def system_exchange(self, name: str) -> Exchange:
        """A durable internal topic exchange that the broker itself publishes to; made if it isn't there."""
        found = self.exchanges.get(name)
        return found or self.add_exchange("topic", name, durable=True, auto_delete=False, internal=True, arguments={})

    def restore_exchange(self, exchange: Exchange) -> None:
        """An exchange that the catalog holds already."""
        self.exchanges[exchange.name] = exchange
        exchange.attach(self)
        self._apply_to_exchange(exchange)

    def delete_exchange(self, exchange: Exchange) -> None:
        """Delete it with the bindings from and to it."""
        del self.exchanges[exchange.name]
        self.given.routed += exchange.published_out
        if exchange.published_in:
            for session in self.sessions:
                for channel in session.channels.values():
                    channel.forget_exchange(exchange)
        self.broker.topology += 1
        self.broker.emit("exchange.deleted", lambda: facts.of_deleted(self, exchange.name))
        for binding in list(exchange.bindings()):
            exchange.unbind(binding.destination, binding.routing_key, binding.arguments)
            self._unfile(binding)
        self._unbind_destination(exchange)
        exchange.detach()
        if exchange.durable:
            self.broker.outbox.delete(entries.exchange_key(self.name, exchange.name))

    # --- queues -----------------------------------------------------------------------------------------------------

    def add_queue(self, name: str, arguments: QueueArguments, *, durable: bool, auto_delete: bool, owner: Session | None) -> Queue:
        """A new queue. Raises ChannelException 406 if that is one too many (contract 9.4)."""
        broker = self.broker
        most = self.limit("max-queues")
        if most is not None and len(self.queues) >= most and len(self.declared_queues) >= most:
            text = f"cannot declare queue '{name}': queue limit in vhost '{self.name}' ({most}) is reached"
            raise ChannelException(PRECONDITION_FAILED, text)
        queue = self.queue_type(
            self, name, broker.next_queue_id(durable), broker.outbox, arguments, durable=durable, auto_delete=auto_delete, owner=owner
        )
        if owner is not None:
            owner.exclusive_queues[queue] = None
        self._add(queue)
        return queue

    @property
    def declared_queues(self) -> list[Queue]:
        """All but those that exchanges keep something in: what lists, totals and limits are about."""
        return [queue for queue in self.queues.values() if queue.kept_for is None]

    def add_internal_queue(self, queue: Queue) -> None:
        """A new queue that an exchange keeps something in."""
        self._add(queue)

    def _add(self, queue: Queue) -> None:
        self.queues[queue.name] = queue
        self._apply_to_queue(queue)
        self.broker.topology += 1
        self.broker.churn.queue_created += 1
        if queue.durable:
            self.broker.outbox.put(*entries.queue_entry(queue))
        self.broker.emit("queue.created", lambda: facts.of_queue(queue))

    def delete_queue(self, queue: Queue) -> int:
        """Delete it with its bindings and messages; its consumers are told. Returns how many messages were ready."""
        queue.serve()
        del self.queues[queue.name]
        queue.deleted = True
        self.broker.topology += 1
        self.broker.churn.queue_deleted += 1
        if queue.owner is not None:
            queue.owner.exclusive_queues.pop(queue, None)
        ready = queue.drop_ready()
        queue.stop_timers()
        self._unbind_destination(queue)
        if queue.durable:
            self.broker.outbox.delete(entries.queue_key(self.name, queue.name))
        self.broker.emit("queue.deleted", lambda: facts.of_deleted(self, queue.name))
        for consumer in list(queue.consumers):
            consumer.channel.session.consumer_cancelled(consumer)
        return ready

    def expire_queue(self, queue: Queue) -> None:
        """Nobody used it for as long as x-expires allows; its messages are no dead letters (contract 7.2)."""
        log.info("%s expired: nobody used it", self.queue_text(queue.name))
        self.delete_queue(queue)

    def auto_delete_queue(self, queue: Queue) -> None:
        """Its last consumer is gone."""
        self.delete_queue(queue)

    # --- policies ---------------------------------------------------------------------------------------------------

    def set_policy(self, policy: Policy) -> None:
        """Put a policy, or operator policy, in place of the one of that name; it acts at once. One that says the same stays."""
        if self._policies(policy.is_operator).get(policy.name) == policy:
            return
        self._policies(policy.is_operator)[policy.name] = policy
        self.broker.outbox.put(*entries.policy_entry(self.name, policy))
        emit = self.broker.emit
        if policy.is_operator:
            emit("parameter.set", lambda: facts.of_operator_policy_parameter(self, policy))
        self.apply_policies(policy)
        emit("policy.set", lambda: facts.of_policy(self, policy))

    def delete_policy(self, name: str, *, is_operator: bool = False) -> bool:
        """Take a policy away; False if there is none of that name."""
        if self._policies(is_operator).pop(name, None) is None:
            return False
        self.broker.outbox.delete(entries.policy_key(self.name, name, is_operator=is_operator))
        emit = self.broker.emit
        if is_operator:
            emit("parameter.cleared", lambda: facts.of_parameter(self, "operator_policy", name))
        self.apply_policies()
        emit("operator.policy.cleared" if is_operator else "policy.cleared", lambda: facts.of_deleted(self, name))
        return True

    def restore_policy(self, policy: Policy) -> None:
        """A policy that the catalog holds already; `apply_policies` has to follow."""
        self._policies(policy.is_operator)[policy.name] = policy

    def apply_policies(self, changed: Policy | None = None) -> None:
        """Have each queue and exchange live by the policies as they are now. Those for which nothing has changed aren't touched.
        `changed` is the one that is new."""
        for queue in list(self.queues.values()):
            before = queue.policy, queue.operator_policy
            self._apply_to_queue(queue)
            if before != (queue.policy, queue.operator_policy):
                self._emit_queue_policy(queue, changed)
        for exchange in self.exchanges.values():
            self._apply_to_exchange(exchange)
        self.broker.topology += 1

    def _policies(self, is_operator: bool) -> dict[str, Policy]:
        return self.operator_policies if is_operator else self.policies

    def _apply_to_queue(self, queue: Queue) -> None:
        if queue.kept_for is None:
            queue.apply_policies(best(self.policies, queue.type, queue.name), best(self.operator_policies, queue.type, queue.name))

    def _emit_queue_policy(self, queue: Queue, changed: Policy | None) -> None:
        now = queue.policy or queue.operator_policy
        event = "queue.policy.updated" if now is not None else "queue.policy.cleared"
        self.broker.emit(event, lambda: facts.of_queue_policy(queue, now and (changed or now)))

    def _apply_to_exchange(self, exchange: Exchange) -> None:
        policy = best(self.policies, "exchange", exchange.name)
        if policy is not exchange.policy:
            exchange.apply_policy(policy)

    # --- parameters -------------------------------------------------------------------------------------------------

    def set_parameter(self, component: str, name: str, value: Any) -> None:
        """Put a value, anything that JSON has, in place of the one there was."""
        entry = entries.parameter_entry(self.name, component, name, value)
        self.parameters[component, name] = value
        self.broker.outbox.put(*entry)
        self.broker.emit("parameter.set", lambda: facts.of_parameter(self, component, name, value=value))
        if (component, name) == LIMITS:
            self.broker.emit("vhost.limits.set", lambda: {**value, facts.PERFORMED_BY: self.broker.acting_user, "name": name})

    def clear_parameter(self, component: str, name: str) -> bool:
        """False if there is none of that name."""
        if (component, name) not in self.parameters:
            return False
        del self.parameters[component, name]
        self.broker.outbox.delete(entries.parameter_key(self.name, component, name))
        self.broker.emit("parameter.cleared", lambda: facts.of_parameter(self, component, name))
        if (component, name) == LIMITS:
            self.broker.emit("vhost.limits.cleared", lambda: {facts.PERFORMED_BY: self.broker.acting_user, "name": name})
        return True

    def delete_all(self) -> None:
        """The vhost is going: all that is in it goes, and all that the catalog says of it."""
        for queue in list(self.queues.values()):
            if queue.kept_for is None:
                self.delete_queue(queue)
        for exchange in list(self.exchanges.values()):
            # An auto-delete exchange may have gone with another.
            if exchange.name and exchange.name in self.exchanges:
                self.delete_exchange(exchange)
        for policy in [*self.policies.values(), *self.operator_policies.values()]:
            self.delete_policy(policy.name, is_operator=policy.is_operator)
        for component, name in list(self.parameters):
            self.clear_parameter(component, name)

    # --- bindings ---------------------------------------------------------------------------------------------------

    def bind(self, exchange: Exchange, destination: Destination, routing_key: str, arguments: Table) -> None:
        """Bind; twice is once. Raises ChannelException 406 for arguments that the exchange type refuses."""
        if not exchange.bind(destination, routing_key, arguments):
            return
        self._sources.setdefault(destination, {})[exchange] = None
        self.broker.topology += 1
        if exchange.durable and _is_durable(destination):
            self.broker.outbox.put(*entries.binding_entry(self.name, exchange.name, destination, routing_key, arguments))
        self.broker.emit("binding.created", lambda: facts.of_binding(self, exchange, destination, routing_key, arguments))
        exchange.bound(destination)

    def restore_binding(self, exchange: Exchange, destination: Destination, routing_key: str, arguments: Table) -> None:
        """A binding that the catalog holds already."""
        exchange.bind(destination, routing_key, arguments)
        self._sources.setdefault(destination, {})[exchange] = None

    def unbind(self, exchange: Exchange, destination: Destination, routing_key: str, arguments: Table) -> None:
        """Unbind; a binding that isn't there is fine."""
        if not exchange.unbind(destination, routing_key, arguments):
            return
        if not exchange.bindings_of(destination):
            self._sources[destination].pop(exchange, None)
        self._binding_gone(exchange, destination, routing_key, arguments)
        self._auto_delete(exchange)

    def bindings_to(self, destination: Destination) -> list[Binding]:
        """All bindings to a queue or exchange, but for the default exchange's."""
        return [binding for exchange in self._sources.get(destination, ()) for binding in exchange.bindings_of(destination)]

    def _unfile(self, binding: Binding) -> None:
        sources = self._sources.get(binding.destination)
        if sources is not None:
            sources.pop(binding.source, None)
        self._binding_gone(binding.source, binding.destination, binding.routing_key, binding.arguments)

    def _binding_gone(self, exchange: Exchange, destination: Destination, routing_key: str, arguments: Table) -> None:
        self.broker.topology += 1
        if exchange.durable and _is_durable(destination):
            self.broker.outbox.delete(entries.binding_key(self.name, exchange.name, destination, routing_key, arguments))
        self.broker.emit("binding.deleted", lambda: facts.of_binding(self, exchange, destination, routing_key, arguments))

    def _unbind_destination(self, destination: Destination) -> None:
        for exchange in list(self._sources.pop(destination, ())):
            for binding in exchange.unbind_destination(destination):
                self._binding_gone(exchange, destination, binding.routing_key, binding.arguments)
            self._auto_delete(exchange)

    def _auto_delete(self, exchange: Exchange) -> None:
        """An auto-delete exchange goes with its last binding as source (contract 3.4)."""
        if exchange.auto_delete and exchange.is_unused and self.exchanges.get(exchange.name) is exchange:
            self.delete_exchange(exchange)

    # --- routing ----------------------------------------------------------------------------------------------------

    def route(self, exchange: Exchange, envelope: Envelope) -> tuple[Queue, ...]:
        """The queues that a message goes to, each once whatever the number of paths (contract 3.6, 3.7). To be asked once for a message:
        exchanges on the way may keep it. Raises NotByKey for an envelope with nothing but keys, if an exchange on the way looks at more."""
        queues: dict[Queue, None] = {}
        seen: dict[Exchange, None] = {exchange: None}
        to_do = [exchange]
        has_message = envelope.header
        while to_do:
            source = to_do.pop()
            if source.looks_at is not KEY:
                if not has_message:
                    raise NotByKey
                envelope.looks += 1
            for destination in self._destinations(source, envelope):
                if isinstance(destination, Queue):
                    queues[destination] = None
                elif isinstance(destination, Exchange) and destination not in seen:
                    seen[destination] = None
                    to_do.append(destination)
        return tuple(queues)

    def _destinations(self, source: Exchange, envelope: Envelope) -> Sequence[Destination]:
        """Where one exchange on the way leads."""
        found: Sequence[Destination] = source.route(envelope) if source.name else self._named(envelope.keys)
        if not found and source.alternate is not None and (alternate := self.exchanges.get(source.alternate)) is not None:
            found = (alternate,)
        return found

    def _named(self, keys: Sequence[str]) -> list[Queue]:
        """The default exchange binds every queue by its name."""
        queues = self.queues
        return [queues[key] for key in keys if key in queues]

    # --- messages that the broker itself publishes --------------------------------------------------------------------

    def deliver(self, destination: Destination, envelope: Envelope) -> None:
        """Hand a message to a queue, or to all that an exchange leads to."""
        if isinstance(destination, Exchange):
            self.enqueue(self.route(destination, envelope), envelope)
        elif isinstance(destination, Queue):
            self.enqueue((destination,), envelope)

    def enqueue(self, queues: Sequence[Queue], envelope: Envelope) -> None:
        """A message that comes from no publish goes to these queues, but for those that are full and reject."""
        routing, header, body = envelope.routing, envelope.header, envelope.body
        taken = [queue for queue in queues if not queue.ignores(header) and not queue.refuses(routing, header, body)]
        if taken:
            self._put(taken, routing, header, body)

    def move(self, _source: Queue, message: Message, queues: Sequence[Queue], routing: bytes, header: bytes, *, stays: bool) -> None:
        """A message of the queue `_source` goes on to these queues as a new one with this routing and content header. Unless it `stays`
        there too, the caller settles it."""
        self._put(queues, routing, header, message[BODY])

    def _put(self, queues: Sequence[Queue], routing: bytes, header: bytes, body: bytes) -> None:
        facts = content.scan(header)
        expiration_ms = expiration_of(header) if facts & content.HAS_EXPIRATION else None
        persistent = facts & content.PERSISTENT != 0
        self.broker.outbox.enqueue_one(queues, target_of(queues), routing, header, body, persistent, expiration_ms)


def _is_durable(destination: Destination) -> bool:
    return isinstance(destination, Queue | Exchange) and destination.durable


def in_use(text: str) -> ChannelException:
    """if-unused, and it is used."""
    return ChannelException(PRECONDITION_FAILED, f"{text} in use")

"""Publishing: the checks of basic.publish (contract 5.1), where a message goes, and what is written down of it.

The short way, for runs of publishes with one routing that nothing about the message can change: look up the cached route,
number the messages, hand them to the queues, write one record. Everything else (transactions, CC, user-id, expiration, direct
reply-to, exchanges that look at more than the key, nothing to route to) goes one by one through `_publish_one`, which is the whole truth.
"""

from __future__ import annotations

from collections import Counter
from functools import reduce
from itertools import chain, repeat
from operator import attrgetter, methodcaller, or_
from typing import TYPE_CHECKING

from broker.core import properties
from broker.core.dead_letter import without_history
from broker.core.envelope import Envelope
from broker.core.memory import HEADER_BYTES, MESSAGE_BYTES, OUTRUN_BYTES
from broker.core.message import ID, split_routing
from broker.core.outbox import Target, target_of
from broker.core.vhost import DEFAULT_EXCHANGE, NotByKey
from protocol.constants import ACCESS_REFUSED, NO_ROUTE, NOT_IMPLEMENTED
from protocol.content import HAS_CC, HAS_DIRECT_REPLY_TO, HAS_EXPIRATION, HAS_USER_ID, PERSISTENT, MalformedProperties, scan
from protocol.errors import ChannelException, ConnectionException
from protocol.events import IMMEDIATE, MANDATORY
from protocol.forms import Forms

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broker.core.channel import Channel
    from broker.core.exchange import Exchange
    from broker.core.message import Message
    from broker.core.queue import Queue
    from broker.core.session import Session
    from protocol.events import PublishMethod

NEEDS_A_LOOK = HAS_CC | HAS_DIRECT_REPLY_TO | HAS_EXPIRATION | HAS_USER_ID
"""Facts of a content header (protocol.content.scan) that a check or a route depends on."""
ROUTES_MAX = 4096
"""Routes that a session remembers; past it they are all forgotten: only keys made up by the thousand get there."""
REPLY_TO_PREFIX = "amq.rabbitmq.reply-to."
X_DEATH = b"x-death"
contains_x_death = methodcaller("__contains__", X_DEATH)
routing_of = attrgetter("routing")


class Route:
    """Where one exchange and routing key lead, as long as the topology and the user's permissions stay."""

    __slots__ = ("by_key", "exchange", "plain", "queues", "revision", "routing", "routing_key", "target", "topology")

    def __init__(self, exchange: Exchange, routing_key: str, routing: bytes, topology: int, revision: int) -> None:
        self.exchange = exchange
        self.routing_key = routing_key
        self.routing = routing
        self.topology = topology
        self.revision = revision
        self.queues: tuple[Queue, ...] = ()
        self.target: Target | None = None
        """The durable ones of the queues, for the log."""
        self.by_key = True
        """The key decides alone. Otherwise `queues` is empty, and each message asks for its own."""
        self.plain = False
        """Nothing about a message can change where it goes."""


class Publisher:
    """The publishing side of one session."""

    __slots__ = ("_facts", "_forms", "_header", "_last", "_routes", "session")

    @property
    def has_published(self) -> bool:
        """This session publishes."""
        return bool(self._routes)

    @property
    def outruns(self) -> bool:
        """It publishes into a queue whose consumers don't keep up, and what they leave fills the memory."""
        queues = self._last.queues if self._last is not None else ()
        return any(len(queue.consumers) > 0 and queue.in_memory[2] > OUTRUN_BYTES for queue in queues)

    def __init__(self, session: Session) -> None:
        self.session = session
        self._routes: dict[bytes, Route] = {}
        self._last: Route | None = None
        """Where the last message went, by its key."""
        self._forms = Forms()
        self._header = b""
        self._facts = 0

    def publish(self, channel: Channel, routing: bytes, bits: int, headers_given: Sequence[bytes], bodies: list[bytes]) -> int:
        """A run of publishes with one routing (protocol.events.Events.on_publishes); returns its cost.

        Raises ChannelException or ConnectionException; what came before the offending message counts.
        """
        if bits & IMMEDIATE:
            raise ConnectionException(NOT_IMPLEMENTED, "immediate=true")
        broker = self.session.broker
        route = self._routes.get(routing)
        if route is None or route.topology != broker.topology or route.revision != self.session.identity.revision:
            route = self._resolve(routing)
        self._last = route
        plain = route.plain and channel.transaction is None and (route.queues or not bits & MANDATORY)
        if len(headers_given) == 1:
            header = headers_given[0]
            if header is not self._header:
                try:
                    self._facts, self._header = scan(header), header
                except MalformedProperties as error:
                    raise properties.undecodable(error) from error
            if plain and not self._need_a_look(self._facts, headers_given):
                return self._publish_alike(channel, route, header, bodies)
            facts = self._facts
            cost = 0
            for body in bodies:
                cost += self._publish_one(channel, route, bits, header, body, facts)
            return cost
        else:
            try:
                each_facts = self._forms.scan_each(headers_given)
            except MalformedProperties as error:
                raise properties.undecodable(error) from error
            if plain and not self._need_a_look(reduce(or_, each_facts), headers_given):
                return self._publish_run(channel, route, headers_given, bodies, each_facts)
            cost = 0
            for header, body, facts in zip(headers_given, bodies, each_facts, strict=True):
                cost += self._publish_one(channel, route, bits, header, body, facts)
            return cost

    def _need_a_look(self, facts: int, headers: Sequence[bytes]) -> bool:
        """Something in these headers, of which the facts are known together, has to be checked or changed, or leads elsewhere."""
        if facts & NEEDS_A_LOOK:
            return True
        return not self.session.broker.compat.trusts_published_x_death and any(map(contains_x_death, headers))

    def publish_mixed(self, methods: list[PublishMethod], headers: list[bytes], bodies: list[bytes]) -> int | None:
        """A run of publishes of any kind (protocol.events.Events.on_mixed_publishes), if the short way does for all of them. Returns its
        cost; None if they have to go one by one, and then nothing was done."""
        session = self.session
        topology, revision = session.broker.topology, session.identity.revision
        routes: dict[PublishMethod, Route] = {}
        for method in set(methods):
            route = self._routes.get(method.routing)
            if route is None or route.topology != topology or route.revision != revision or not route.plain:
                return None
            if method.bits & IMMEDIATE or (method.bits & MANDATORY and not route.queues):
                return None
            if session.channels[method.channel].transaction is not None:
                return None
            routes[method] = route
        ways = {route.queues for route in routes.values()}
        if len(ways) > 1 and sum(map(len, ways)) != len(set(chain.from_iterable(ways))):
            return None  # the order in a queue is that of its messages' numbers, and each way has its own in a row
        try:
            facts = self._forms.scan_each(headers)
        except MalformedProperties:
            return None
        seen = reduce(or_, facts)
        if self._need_a_look(seen, headers):
            return None
        size = sum(map(len, bodies))
        session.broker.sizes.add_each(bodies, size)
        routed = list(map(routes.__getitem__, methods))
        self._last = routed[-1]
        if len(ways) == 1:
            self._publish_way(routed, headers, bodies, facts)
        else:
            parts: dict[tuple[Queue, ...], list[int]] = {way: [] for way in ways}
            part_of = {method: parts[route.queues] for method, route in routes.items()}
            for index, method in enumerate(methods):
                part_of[method].append(index)
            for part in parts.values():
                self._publish_way(
                    [routed[index] for index in part],
                    [headers[index] for index in part],
                    [bodies[index] for index in part],
                    [facts[index] for index in part],
                )
        return self._published_mixed(Counter(methods), routes, seen & PERSISTENT != 0)

    def _publish_way(self, routed: Sequence[Route], headers: Sequence[bytes], bodies: Sequence[bytes], facts: Sequence[int]) -> None:
        """Messages that lead to the same queues, each by a route of its own."""
        queues, target = routed[0].queues, routed[0].target
        if not queues:
            return
        outbox, count = self.session.broker.outbox, len(bodies)
        overhead = count * (MESSAGE_BYTES + HEADER_BYTES) + sum(map(len, headers))
        routings = list(map(routing_of, routed))
        messages = self._enqueue(queues, routings, headers, bodies, sum(map(len, bodies)), overhead)
        if target is not None:
            outbox.enqueue_each(messages[0][ID], target, routings, headers, bodies, facts)
        if outbox.memory.paging:
            outbox.page_out(queues, messages, alike=False)

    def _published_mixed(self, counts: Counter[PublishMethod], routes: dict[PublishMethod, Route], persistent: bool) -> int:
        """Count a run, and see to its confirms; returns its cost."""
        cost = 0
        confirming: dict[Channel, list[int]] = {}
        for method, count in counts.items():
            channel, route = self.session.channels[method.channel], routes[method]
            cost += self._count_run(channel, route, count)
            if channel.confirms is not None:
                confirmed = confirming.setdefault(channel, [0, False])
                confirmed[0] += count
                confirmed[1] |= persistent and route.target is not None
        for channel, (count, durable) in confirming.items():
            self._confirm(channel, count, durable != 0)
        return cost

    # --- the short way ----------------------------------------------------------------------------------------------

    def _publish_alike(self, channel: Channel, route: Route, header: bytes, bodies: list[bytes]) -> int:
        """A run with one header."""
        durable = False
        broker, count = self.session.broker, len(bodies)
        each = len(bodies[0])
        size = count * each
        broker.sizes.add(count, each, size)
        if route.queues:
            outbox = broker.outbox
            messages = self._enqueue(route.queues, repeat(route.routing), repeat(header), bodies, size, count * MESSAGE_BYTES)
            if route.target is not None:
                durable = self._facts & PERSISTENT != 0
                outbox.enqueue(messages[0][ID], route.target, route.routing, header, bodies, durable)
            if outbox.memory.paging:
                outbox.page_out(route.queues, messages, alike=True)
        return self._published(channel, route, count, durable)

    def _publish_run(self, channel: Channel, route: Route, headers_given: Sequence[bytes], bodies: list[bytes], facts: list[int]) -> int:
        """A run in which each message has a header of its own."""
        durable = False
        broker, count, size = self.session.broker, len(bodies), sum(map(len, bodies))
        broker.sizes.add_each(bodies, size)
        if route.queues:
            outbox = broker.outbox
            overhead = count * (MESSAGE_BYTES + HEADER_BYTES + len(headers_given[0]))
            messages = self._enqueue(route.queues, repeat(route.routing), headers_given, bodies, size, overhead)
            if route.target is not None:
                durable = reduce(or_, facts) & PERSISTENT != 0
                outbox.enqueue_each(messages[0][ID], route.target, (route.routing,), headers_given, bodies, facts)
            if outbox.memory.paging:
                outbox.page_out(route.queues, messages, alike=False)
        return self._published(channel, route, count, durable)

    def _enqueue(
        self,
        queues: Iterable[Queue],
        routings: Iterable[bytes],
        headers: Iterable[bytes],
        bodies: Sequence[bytes],
        size: int,
        overhead: int,
    ) -> list[Message]:
        """Number the messages and hand them to the queues; `size` is that of all bodies together, `overhead` what the messages take in
        memory beside."""
        ledger = self.session.broker.outbox.ledger
        first = ledger.next_id
        ledger.next_id = following = first + len(bodies)
        messages = list(zip(range(first, following), routings, headers, bodies, strict=False))
        for queue in queues:
            queue.enqueue(messages, size, overhead)
        return messages

    def _count(self, channel: Channel, publish: Publish) -> None:
        exchange, size = publish.exchange, len(publish.body)
        self.session.broker.sizes.add(1, size, size)
        channel.published[exchange] += 1
        exchange.published_in += 1
        exchange.published_out += len(publish.queues)
        if not publish.queues and publish.reply is None:
            if publish.bits & MANDATORY:
                channel.returned[exchange] += 1
                exchange.returned += 1
            else:
                channel.dropped[exchange] += 1
                exchange.dropped += 1

    def _published(self, channel: Channel, route: Route, count: int, durable: bool) -> int:
        """Count a run, and see to its confirms; returns its cost."""
        if channel.confirms is not None:
            self._confirm(channel, count, durable)
        return self._count_run(channel, route, count)

    def _count_run(self, channel: Channel, route: Route, count: int) -> int:
        """Count a run; returns its cost."""
        exchange = route.exchange
        channel.published[exchange] += count
        exchange.published_in += count
        if route.queues:
            exchange.published_out += count * len(route.queues)
        else:
            channel.dropped[exchange] += count
            exchange.dropped += count
        return count * (len(route.queues) or 1)

    def _confirm(self, channel: Channel, count: int, durable: bool) -> None:
        confirms = channel.confirms
        assert confirms is not None
        first = confirms.published + 1
        confirms.published = last = confirms.published + count
        outbox = self.session.broker.outbox
        (outbox.confirm if durable else outbox.confirm_now)(confirms, first, last)

    # --- the whole truth --------------------------------------------------------------------------------------------

    def _resolve(self, routing: bytes) -> Route:
        """Check what depends on exchange and key alone, and route. Raises ChannelException 403 or 404."""
        session, broker = self.session, self.session.broker
        name, routing_key = split_routing(routing)
        vhost, identity = session.vhost, session.identity
        identity.check("write", "exchange", name, vhost.name)
        exchange = vhost.exchange(name)
        if exchange.internal:
            raise ChannelException(ACCESS_REFUSED, f"cannot publish to internal {vhost.exchange_text(name)}")
        if exchange.type == "topic":
            identity.check_topic("write", vhost.name, name, routing_key)
        route = Route(exchange, routing_key, routing, broker.topology, identity.revision)
        try:
            route.queues = vhost.route(exchange, Envelope((routing_key,)))
        except NotByKey:
            route.by_key = False
        route.target = target_of(route.queues)
        is_reply = name == DEFAULT_EXCHANGE and routing_key.startswith(REPLY_TO_PREFIX)
        rejecting = any((queue.limit is not None and queue.limit.rejects) or queue.held_values is not None for queue in route.queues)
        route.plain = route.by_key and not (is_reply or rejecting or vhost.tracer is not None)
        if len(self._routes) >= ROUTES_MAX:
            self._routes.clear()
        self._routes[routing] = route
        return route

    def _publish_one(self, channel: Channel, route: Route, bits: int, header: bytes, body: bytes, facts: int) -> int:
        """One message, with all its checks in RabbitMQ's order; returns its cost."""
        channel.check_not_committing()
        session = self.session
        if facts & HAS_DIRECT_REPLY_TO:
            header = properties.expand_reply_to(header, channel)
        if facts & HAS_USER_ID:
            properties.check_user_id(header, session.identity)
        expiration_ms = properties.check_expiration(header) if facts & HAS_EXPIRATION else None
        if not session.broker.compat.trusts_published_x_death and X_DEATH in header:
            header = without_history(header)
        keys = [route.routing_key]
        if facts & HAS_CC:
            more, header = properties.take_senders(header)
            keys += more
        queues, target = route.queues, route.target
        if not route.by_key or len(keys) > 1:
            queues = session.vhost.route(route.exchange, Envelope(keys, route.routing, header, body))
            target = target_of(queues)
        if session.vhost.tracer is not None:
            session.vhost.tracer.published(channel, route.routing, keys, header, body, queues)
        reply = None if route.plain else self._reply_channel(route)
        publish = Publish(route.exchange, queues, target, route.routing, header, body, bits, facts, reply, expiration_ms)
        if reply is not None or channel.transaction is None:
            # A reply to a waiting requester leaves at once, even inside a transaction (contract 6.8).
            self.apply(channel, publish)
        else:
            channel.transaction.publish(publish)
        return len(queues) or 1

    def _reply_channel(self, route: Route) -> Channel | None:
        if route.exchange.name == DEFAULT_EXCHANGE and route.routing_key.startswith(REPLY_TO_PREFIX):
            return self.session.broker.reply_channels.get(route.routing_key)
        return None

    def apply(self, channel: Channel, publish: Publish) -> bool:
        """Put one message into its queues, return it if it must be, and see to its confirm; returns whether every queue took it."""
        outbox = self.session.broker.outbox
        self._count(channel, publish)
        queues = [queue for queue in publish.queues if not queue.deleted]
        wanted = [queue for queue in queues if not queue.ignores(publish.header)]
        taken = [queue for queue in wanted if queue.limit is None or not queue.refuses(publish.routing, publish.header, publish.body)]
        target = publish.target if len(taken) == len(publish.queues) else target_of(taken)
        persistent = publish.facts & PERSISTENT != 0
        message = outbox.enqueue_one(taken, target, publish.routing, publish.header, publish.body, persistent, publish.expiration_ms)
        if publish.reply is not None:
            publish.reply.session.deliver_reply(publish.reply, message)
        if not queues and publish.bits & MANDATORY:
            wire = self.session.wire
            channel.write(wire.returned(channel.number, NO_ROUTE, "NO_ROUTE", publish.routing, publish.header, publish.body))
        if channel.confirms is not None:
            if len(taken) < len(wanted):
                channel.confirms.published += 1
                channel.confirms.refuse(channel.confirms.published, channel.confirms.published)
            else:
                self._confirm(channel, 1, persistent and target is not None)
        return len(taken) == len(wanted)


class Publish:
    """A message that passed its checks and knows its queues; a transaction keeps it until commit."""

    __slots__ = ("bits", "body", "exchange", "expiration_ms", "facts", "header", "queues", "reply", "routing", "target")

    def __init__(
        self,
        exchange: Exchange,
        queues: Sequence[Queue],
        target: Target | None,
        routing: bytes,
        header: bytes,
        body: bytes,
        bits: int,
        facts: int,
        reply: Channel | None,
        expiration_ms: int | None,
    ) -> None:
        self.exchange = exchange
        self.queues = queues
        self.target = target
        self.routing = routing
        self.header = header
        self.body = body
        self.bits = bits
        self.facts = facts
        self.reply = reply
        self.expiration_ms = expiration_ms

"""Publishing: the checks of basic.publish (contract 5.1), where a message goes, and what is written down of it.

The short way, for runs of publishes of which nothing but key and headers can change where they go: look up the routes,
number the messages, hand them to the queues, write one record for all that go the same way. Everything else (transactions, CC, user-id,
expiration, direct reply-to, exchanges that look at something else, what must not be lost and leads nowhere) goes one by one through
`_publish_one`, which is the whole truth.
"""

from __future__ import annotations

from collections import Counter
from functools import reduce
from itertools import chain, groupby, repeat
from operator import attrgetter, methodcaller, or_
from typing import TYPE_CHECKING

from broker.core import properties
from broker.core.dead_letter import without_history
from broker.core.envelope import Envelope
from broker.core.memory import HEADER_BYTES, MESSAGE_BYTES, OUTRUN_BYTES
from broker.core.message import ID, split_routing
from broker.core.outbox import Target, target_of
from broker.core.route import HEADER_ROUTES_MAX, ROUTES_MAX, HeaderRoutes, Route
from broker.core.vhost import DEFAULT_EXCHANGE, NotByKey
from protocol.constants import ACCESS_REFUSED, NO_ROUTE, NOT_IMPLEMENTED
from protocol.content import HAS_CC, HAS_DIRECT_REPLY_TO, HAS_EXPIRATION, HAS_USER_ID, PERSISTENT, MalformedProperties
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
REPLY_TO_PREFIX = "amq.rabbitmq.reply-to."
X_DEATH = b"x-death"
contains_x_death = methodcaller("__contains__", X_DEATH)
routing_of = attrgetter("routing")


Case = tuple["Channel", Route, int]
"""So many messages of a run were published on the channel and go by the route."""


def _takes_any(route: Route, bits: int) -> bool:
    """Whatever is published with these bits goes where the route leads; nothing about the message can change that."""
    return route.plain and (bool(route.queues) or not bits & MANDATORY)


def _is_outrun(queue: Queue) -> bool:
    """More waits for its consumers than OUTRUN_BYTES, as far as it is in memory; what they hold isn't known by itself, but for how many
    that are."""
    ready = len(queue.ready)
    return len(queue.consumers) > 0 and queue.in_memory[2] * ready > OUTRUN_BYTES * (ready + queue.unacked)


def _parts(routed: Sequence[Route]) -> Iterable[Sequence[int]]:
    """The messages with these routes, by their indexes, in parts that lead to the same queues each.

    The order of a queue is that of its messages' numbers, and those of a part are in a row. So a part is all that leads to the same queues
    if no other leads to one of them, and otherwise only what follows one another.
    """
    parts: dict[tuple[Queue, ...], list[int]] = {}
    part_of = {route: parts.setdefault(route.queues, []) for route in dict.fromkeys(routed)}
    if sum(map(len, parts)) > len(set(chain.from_iterable(parts))):
        return [list(stretch) for _, stretch in groupby(range(len(routed)), lambda index: routed[index].queues)]
    for index, route in enumerate(routed):
        part_of[route].append(index)
    return parts.values()


class Publisher:
    """The publishing side of one session."""

    __slots__ = ("_facts", "_forms", "_header", "_header_routes", "_last", "_routes", "session")

    @property
    def has_published(self) -> bool:
        """This session publishes."""
        return bool(self._routes)

    @property
    def outruns(self) -> bool:
        """It publishes into a queue whose consumers don't keep up."""
        return self._last is not None and any(map(_is_outrun, self._last.queues))

    def __init__(self, session: Session) -> None:
        self.session = session
        self._routes: dict[bytes, Route] = {}
        self._header_routes = 0
        """How many routes that headers decide were remembered."""
        self._last: Route | None = None
        """Where the last message went, by its key."""
        self._forms = Forms()
        self._header = b""
        self._facts: list[int] = []

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
        try:
            facts = self._facts_of(headers_given)
        except MalformedProperties as error:
            raise properties.undecodable(error) from error
        seen = reduce(or_, facts)
        if channel.transaction is None and not self._need_a_look(seen, headers_given):
            persistent = seen & PERSISTENT != 0
            if route.by_headers is None:
                if _takes_any(route, bits):
                    return self._publish_by(channel, route, headers_given, bodies, facts, persistent)
            elif routed := self._choose(repeat(route), headers_given):
                counts = Counter(routed)
                if all(_takes_any(each, bits) for each in counts):
                    if len(counts) == 1:
                        return self._publish_by(channel, routed[0], headers_given, bodies, facts, persistent)
                    cases = [(channel, each, count) for each, count in counts.items()]
                    return self._publish_routed(routed, cases, headers_given, bodies, facts, persistent)
        cost = 0
        headers = headers_given if len(headers_given) > 1 else repeat(headers_given[0])
        for header, each_facts, body in zip(headers, facts if len(facts) > 1 else repeat(facts[0]), bodies, strict=False):
            cost += self._publish_one(channel, route, bits, header, body, each_facts)
        return cost

    def _facts_of(self, headers: Sequence[bytes]) -> list[int]:
        """The facts of each header; those of the last single one are remembered."""
        if len(headers) > 1:
            return self._forms.scan_each(headers)
        if headers[0] is not self._header:
            self._facts, self._header = self._forms.scan_each(headers), headers[0]
        return self._facts

    def _need_a_look(self, facts: int, headers: Sequence[bytes]) -> bool:
        """Something in these headers, of which the facts are known together, has to be checked or changed, or leads elsewhere."""
        if facts & NEEDS_A_LOOK:
            return True
        return not self.session.broker.compat.trusts_published_x_death and any(map(contains_x_death, headers))

    def _choose(self, routes: Iterable[Route], headers: Sequence[bytes]) -> list[Route]:
        """For each message that of the routes by its headers, where they decide; nothing if one of them isn't known."""
        chosen: list[Route] = []
        for route, header in zip(routes, headers, strict=False):
            found = route if route.by_headers is None else route.by_headers.find(self._forms, header)
            if found is None:
                return []
            chosen.append(found)
        return chosen

    def publish_mixed(self, methods: list[PublishMethod], headers: list[bytes], bodies: list[bytes]) -> int | None:
        """A run of publishes of any kind (protocol.events.Events.on_mixed_publishes), if the short way does for all of them. Returns its
        cost; None if they have to go one by one, and then nothing was done."""
        channels = self.session.channels
        topology, revision = self.session.broker.topology, self.session.identity.revision
        routes: dict[PublishMethod, Route] = {}
        counts = Counter(methods)
        by_key = True
        for method in counts:
            route = self._routes.get(method.routing)
            if route is None or route.topology != topology or route.revision != revision:
                return None
            if not route.plain and route.by_headers is None:
                return None
            if method.bits & IMMEDIATE or channels[method.channel].transaction is not None:
                return None
            by_key &= route.by_headers is None
            routes[method] = route
        try:
            facts = self._forms.scan_each(headers)
        except MalformedProperties:
            return None
        seen = reduce(or_, facts)
        if self._need_a_look(seen, headers):
            return None
        routed = list(map(routes.__getitem__, methods))
        if by_key:
            pairs = {(method, routes[method]): count for method, count in counts.items()}
        else:
            routed = self._choose(routed, headers)
            pairs = Counter(zip(methods, routed, strict=False))
        if not routed or not all(_takes_any(route, method.bits) for method, route in pairs):
            return None
        cases = [(channels[method.channel], route, count) for (method, route), count in pairs.items()]
        return self._publish_routed(routed, cases, headers, bodies, facts, seen & PERSISTENT != 0)

    # --- the short way ----------------------------------------------------------------------------------------------

    def _publish_alike(self, channel: Channel, route: Route, header: bytes, bodies: list[bytes], persistent: bool) -> int:
        """A run with one header."""
        broker, count = self.session.broker, len(bodies)
        each = len(bodies[0])
        size = count * each
        broker.sizes.add(count, each, size)
        if route.queues:
            outbox = broker.outbox
            messages = self._enqueue(route.queues, repeat(route.routing), repeat(header), bodies, size, count * MESSAGE_BYTES)
            if route.target is not None:
                outbox.enqueue(messages[0][ID], route.target, route.routing, header, bodies, persistent)
            if outbox.memory.paging:
                outbox.page_out(route.queues, messages, alike=True)
        return self._published([(channel, route, count)], persistent)

    def _publish_by(
        self, channel: Channel, route: Route, headers: Sequence[bytes], bodies: list[bytes], facts: Sequence[int], persistent: bool
    ) -> int:
        """A run with one route; `persistent`: some of it is."""
        if len(headers) == 1:
            return self._publish_alike(channel, route, headers[0], bodies, persistent)
        self.session.broker.sizes.add_each(bodies, sum(map(len, bodies)))
        self._publish_way(route, (route.routing,), headers, bodies, facts)
        return self._published([(channel, route, len(bodies))], persistent)

    def _publish_routed(
        self,
        routed: list[Route],
        cases: list[Case],
        headers: Sequence[bytes],
        bodies: list[bytes],
        facts: Sequence[int],
        persistent: bool,
    ) -> int:
        """A run in which each message has a route and a header of its own; `cases` says how many there are of which route and channel."""
        self._last = routed[-1]
        self.session.broker.sizes.add_each(bodies, sum(map(len, bodies)))
        if len({route.queues for _, route, _ in cases}) == 1:
            self._publish_way(routed[0], list(map(routing_of, routed)), headers, bodies, facts)
        else:
            for part in _parts(routed):
                self._publish_way(
                    routed[part[0]],
                    [routed[index].routing for index in part],
                    [headers[index] for index in part],
                    [bodies[index] for index in part],
                    [facts[index] for index in part],
                )
        return self._published(cases, persistent)

    def _publish_way(
        self, route: Route, routings: Sequence[bytes], headers: Sequence[bytes], bodies: Sequence[bytes], facts: Sequence[int]
    ) -> None:
        """Messages that lead to the queues of `route`, with one routing or one each."""
        if not route.queues:
            return
        outbox, count = self.session.broker.outbox, len(bodies)
        overhead = count * (MESSAGE_BYTES + HEADER_BYTES) + sum(map(len, headers))
        each_routing = routings if len(routings) > 1 else repeat(routings[0])
        messages = self._enqueue(route.queues, each_routing, headers, bodies, sum(map(len, bodies)), overhead)
        if route.target is not None:
            outbox.enqueue_each(messages[0][ID], route.target, routings, headers, bodies, facts)
        if outbox.memory.paging:
            outbox.page_out(route.queues, messages, alike=False)

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

    def _published(self, cases: list[Case], persistent: bool) -> int:
        """Count a run, and see to its confirms; returns its cost."""
        cost = 0
        confirming: dict[Channel, list[int]] = {}
        for channel, route, count in cases:
            exchange = route.exchange
            channel.published[exchange] += count
            exchange.published_in += count
            if route.queues:
                exchange.published_out += count * len(route.queues)
            else:
                channel.dropped[exchange] += count
                exchange.dropped += count
            cost += count * (len(route.queues) or 1)
            if channel.confirms is not None:
                confirmed = confirming.setdefault(channel, [0, False])
                confirmed[0] += count
                confirmed[1] |= persistent and route.target is not None
        for channel, (count, durable) in confirming.items():
            self._confirm(channel, count, durable != 0)
        return cost

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
            self._lead(route, vhost.route(exchange, Envelope((routing_key,))))
        except NotByKey:
            route.by_key = False
            if exchange.asked_headers is not None:
                route.by_headers = HeaderRoutes(exchange.asked_headers)
        if len(self._routes) >= ROUTES_MAX:
            self._routes.clear()
        self._routes[routing] = route
        return route

    def _lead(self, route: Route, queues: tuple[Queue, ...]) -> None:
        """The route leads to these queues."""
        route.queues = queues
        route.target = target_of(queues)
        is_reply = route.exchange.name == DEFAULT_EXCHANGE and route.routing_key.startswith(REPLY_TO_PREFIX)
        rejecting = any((queue.limit is not None and queue.limit.rejects) or queue.held_values is not None for queue in queues)
        route.plain = not (is_reply or rejecting or self.session.vhost.tracer is not None)

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
            queues, target = self._route_one(route, keys, header, body)
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

    def _route_one(self, route: Route, keys: Sequence[str], header: bytes, body: bytes) -> tuple[tuple[Queue, ...], Target | None]:
        """Where one message goes that the key alone doesn't decide."""
        by_headers = route.by_headers if len(keys) == 1 else None
        known = by_headers.find(self._forms, header) if by_headers is not None else None
        if known is not None:
            return known.queues, known.target
        envelope = Envelope(keys, route.routing, header, body)
        queues = self.session.vhost.route(route.exchange, envelope)
        if by_headers is None or envelope.looks > 1:  # another exchange on the way asks for more
            return queues, target_of(queues)
        known = Route(route.exchange, route.routing_key, route.routing, route.topology, route.revision)
        self._lead(known, queues)
        if self._header_routes >= HEADER_ROUTES_MAX:
            self._routes.clear()
            self._header_routes = 0
        else:
            by_headers.keep(self._forms, header, known)
            self._header_routes += 1
        return queues, known.target

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

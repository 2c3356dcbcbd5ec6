"""What a test may wait for beside idleness and messages: how much is in a queue, consumers, bindings, connections."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

from broker.admin.errors import Missing
from broker.testing.talk.wording import number
from broker.testing.waiting.holders import holder_text, name_of, unacked_text, untaken_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from broker.core.consumers import Consumer
    from broker.core.exchange import Binding
    from broker.core.queue import Queue
    from broker.core.session import Session
    from broker.core.vhost import VHost

NEAREST = 3
LISTED = 5
"""Names that a text lists."""


class Number(NamedTuple):
    """A number that is wanted, or a range of them; None: no bound."""

    least: int | None = None
    most: int | None = None

    def __contains__(self, value: object) -> bool:
        assert isinstance(value, int)
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def __str__(self) -> str:
        if self.least == self.most:
            return f"{self.least:,}" if self.least is not None else "any number of"
        if self.most is None:
            return f"at least {self.least:,}"
        return f"at most {self.most:,}" if self.least is None else f"{self.least:,} to {self.most:,}"


AT_LEAST_ONE = Number(1)


def nearest(name: str, names: Collection[str], noun: str) -> str:
    """What there is that is called something like it: `nearest: 'orders'`; or else all that there is, if that isn't much."""
    found = get_close_matches(name, names, NEAREST)
    if found:
        return f"nearest: {', '.join(map(repr, found))}"
    if not names:
        return f"there is no {noun} at all"
    listed = ", ".join(repr(each) for each in list(names)[:LISTED])
    return f"there {'is' if len(names) == 1 else 'are'} {listed}" + (f" and {len(names) - LISTED:,} more" if len(names) > LISTED else "")


class OfVHost:
    """A condition that is about a vhost, and not about the time."""

    def __init__(self, vhost: VHost) -> None:
        self.vhost = vhost

    def is_met(self) -> bool:
        """See broker.testing.waiting.waits.Condition. Raises Missing if the vhost is gone."""
        if self.vhost.broker.vhosts.get(self.vhost.name) is not self.vhost:
            raise Missing(f"vhost '{self.vhost.name}' was deleted meanwhile")
        return self._is_met()

    def _is_met(self) -> bool:
        raise NotImplementedError

    def look_at(self) -> float | None:
        """See broker.testing.waiting.waits.Condition."""
        return None

    def close(self) -> None:
        """See broker.testing.waiting.waits.Condition."""

    def concerns(self, vhost: VHost) -> bool:
        """See broker.testing.waiting.waits.Condition."""
        return vhost is self.vhost

    def _queues(self) -> list[str]:
        return [queue.name for queue in self.vhost.declared_queues]

    def _no_queue(self, name: str) -> str:
        return f"there is no such queue in vhost '{self.vhost.name}', {nearest(name, self._queues(), 'queue')}"


class QueueHas(OfVHost):
    """So many messages, ready, unacked or both, and consumers, are in a queue. Without any number: that there is one."""

    def __init__(
        self,
        vhost: VHost,
        name: str,
        *,
        ready: Number | None = None,
        unacked: Number | None = None,
        messages: Number | None = None,
        consumers: Number | None = None,
    ) -> None:
        super().__init__(vhost)
        self._name = name
        counts = {"ready": ready, "unacked": unacked, "messages": messages, "consumers": consumers}
        self._wanted: dict[str, Number] = {what: wanted for what, wanted in counts.items() if wanted is not None}

    def _is_met(self) -> bool:
        queue = self.vhost.queues.get(self._name)
        return queue is not None and all(_counts(queue)[what] in wanted for what, wanted in self._wanted.items())

    def wanted(self) -> str:
        """See broker.testing.waiting.waits.Condition."""
        if not self._wanted:
            return f"queue '{self._name}' to be there"
        told = [f"{wanted} {what}" for what, wanted in self._wanted.items()]
        noun = " messages" if "consumers" not in self._wanted and "messages" not in self._wanted else ""
        return f"queue '{self._name}' to have {' and '.join(told)}{noun}"

    def found(self) -> str:
        """See broker.testing.waiting.waits.Condition."""
        queue = self.vhost.queues.get(self._name)
        if queue is None:
            return self._no_queue(self._name)
        counts = _counts(queue)
        told = f"it has {counts['ready']:,} ready, {counts['unacked']:,} unacked"
        if counts["unacked"]:
            told += f" ({unacked_text(queue)})"
        if counts["ready"]:
            told += f", and {untaken_text(queue)}"
        if "consumers" in self._wanted:
            told += f"; {_consumers_text(list(queue.consumers))}"
        return told


def _counts(queue: Queue) -> Mapping[str, int]:
    ready, unacked = len(queue.ready), queue.unacked
    return {"ready": ready, "unacked": unacked, "messages": ready + unacked, "consumers": len(queue.consumers)}


def _consumers_text(consumers: Sequence[Consumer]) -> str:
    if not consumers:
        return "it has no consumer"
    named = ", ".join(map(holder_text, consumers[:LISTED]))
    more = f" and {len(consumers) - LISTED:,} more" if len(consumers) > LISTED else ""
    return f"it has {number(len(consumers), 'consumer')}: {named}{more}"


class HasConsumer(OfVHost):
    """A queue has so many consumers, of any tag or of one."""

    def __init__(self, vhost: VHost, queue: str, tag: str | None, count: Number) -> None:
        super().__init__(vhost)
        self._queue = queue
        self._tag = tag
        self._count = count

    def _is_met(self) -> bool:
        queue = self.vhost.queues.get(self._queue)
        found = 0 if queue is None else sum(self._tag is None or consumer.tag == self._tag for consumer in queue.consumers)
        return found in self._count

    def wanted(self) -> str:
        """See broker.testing.waiting.waits.Condition."""
        tag = "" if self._tag is None else f" with tag '{self._tag}'"
        what = f"a consumer{tag}" if self._count == AT_LEAST_ONE else f"{self._count} consumers{tag}"
        return f"{what} of queue '{self._queue}'"

    def found(self) -> str:
        """See broker.testing.waiting.waits.Condition."""
        queue = self.vhost.queues.get(self._queue)
        if queue is None:
            return self._no_queue(self._queue)
        if queue.consumers:
            return _consumers_text(list(queue.consumers))
        elsewhere = [each.name for each in self.vhost.queues.values() if len(each.consumers)]
        return f"it has no consumer; queues that have: {', '.join(map(repr, elsewhere[:LISTED])) or 'none'}"


class HasBinding(OfVHost):
    """There is a binding to a queue, from an exchange, with a routing key; what is None may be any."""

    def __init__(self, vhost: VHost, queue: str | None, exchange: str | None, routing_key: str | None) -> None:
        super().__init__(vhost)
        self._queue = queue
        self._exchange = exchange
        self._routing_key = routing_key

    def _bindings(self) -> list[Binding]:
        """All that fit, but for the routing key."""
        if self._queue is not None:
            queue = self.vhost.queues.get(self._queue)
            found = [] if queue is None else self.vhost.bindings_to(queue)
            return [each for each in found if self._exchange is None or each.source.name == self._exchange]
        exchanges = self.vhost.exchanges
        sources = exchanges.values() if self._exchange is None else filter(None, (exchanges.get(self._exchange),))
        return [binding for exchange in sources for binding in exchange.bindings()]

    def _is_met(self) -> bool:
        return any(self._routing_key is None or each.routing_key == self._routing_key for each in self._bindings())

    def wanted(self) -> str:
        """See broker.testing.waiting.waits.Condition."""
        source = "" if self._exchange is None else f" from exchange '{self._exchange}'"
        destination = "" if self._queue is None else f" to queue '{self._queue}'"
        key = "" if self._routing_key is None else f" with routing key '{self._routing_key}'"
        return f"a binding{source}{destination}{key}"

    def found(self) -> str:
        """See broker.testing.waiting.waits.Condition."""
        if self._queue is not None and self._queue not in self.vhost.queues:
            return self._no_queue(self._queue)
        if self._exchange is not None and self._exchange not in self.vhost.exchanges:
            return f"there is no such exchange in vhost '{self.vhost.name}', {nearest(self._exchange, self._exchanges(), 'exchange')}"
        others = self._bindings()
        if not others:
            return "there is none"
        if self._routing_key is not None and len(others) > LISTED:
            near = get_close_matches(self._routing_key, [each.routing_key for each in others], LISTED, 0.0)
            others = sorted(others, key=lambda each: near.index(each.routing_key) if each.routing_key in near else LISTED)
        told = [f"'{each.source.name}' -> '{each.destination.name}' with key '{each.routing_key}'" for each in others[:LISTED]]
        return f"there {'is' if len(others) == 1 else 'are'} {', '.join(told)}" + " and others" * (len(others) > LISTED)

    def _exchanges(self) -> list[str]:
        return [name for name in self.vhost.exchanges if name]


class HasConnection(OfVHost):
    """So many connections are open in the vhost, of any client name or of one."""

    def __init__(self, vhost: VHost, client_name: str | None, count: Number) -> None:
        super().__init__(vhost)
        self._client_name = client_name
        self._count = count

    def _is_met(self) -> bool:
        return sum(self._fits(session) for session in self.vhost.sessions) in self._count

    def _fits(self, session: Session) -> bool:
        return self._client_name is None or session.own_name == self._client_name

    def wanted(self) -> str:
        """See broker.testing.waiting.waits.Condition."""
        name = "" if self._client_name is None else f" of client name '{self._client_name}'"
        what = f"a connection{name}" if self._count == AT_LEAST_ONE else f"{self._count} connections{name}"
        return f"{what} to vhost '{self.vhost.name}'"

    def found(self) -> str:
        """See broker.testing.waiting.waits.Condition."""
        sessions = list(self.vhost.sessions)
        if not sessions:
            return "there is no connection"
        named = ", ".join(f"'{name_of(each)}'" for each in sessions[:LISTED])
        more = f" and {len(sessions) - LISTED:,} more" if len(sessions) > LISTED else ""
        return f"there {'is' if len(sessions) == 1 else 'are'} {number(len(sessions), 'connection')}: {named}{more}"

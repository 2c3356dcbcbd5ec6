"""Dead letters: what a queue doesn't keep goes on to its dead-letter exchange, with its history in the headers (contract 7.5-7.7).

The source settles and the target enqueues in one turn, so in one commit of the log: after a crash a dead letter is in one of the two
queues, never in both and never in none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from broker.core.envelope import Envelope
from broker.core.message import join_routing, split_routing
from protocol import content
from protocol.tables import Field

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.core.message import Message
    from broker.core.queue import Queue
    from protocol.tables import Table

REJECTED = "rejected"
EXPIRED = "expired"
MAXLEN = "maxlen"
DELIVERY_LIMIT = "delivery_limit"
"""Reasons, as they stand in x-death."""


class DeadLetters:
    """Where the dead letters of one queue go."""

    __slots__ = ("_queue", "exchange", "routing_key")

    def __init__(self, queue: Queue, exchange: str, routing_key: str | None) -> None:
        self._queue = queue
        self.exchange = exchange
        self.routing_key = routing_key
        """In place of the message's own keys."""

    def publish(self, messages: Sequence[Message], reason: str) -> None:
        """Messages die in the queue; the caller settles them. Without the exchange they are dropped, as by RabbitMQ."""
        exchange = self._queue.vhost.exchanges.get(self.exchange)
        if exchange is None:
            return
        for message in messages:
            self._publish(message, reason)

    def _publish(self, message: Message, reason: str) -> None:
        queue = self._queue
        vhost = queue.vhost
        _, routing, header, body = message
        source, routing_key = split_routing(routing)
        table = content.headers(header)
        keys = _keys(table, routing_key)
        table = died(table, queue.name, reason, source, keys, queue.outbox.clock() // 1000, content.expiration(header))
        header = content.with_headers(content.with_expiration(header, None), table)
        if self.routing_key is not None:
            keys = [self.routing_key]
        envelope = Envelope(keys, join_routing(self.exchange, keys[0]), header, body, table)
        found = vhost.route(vhost.exchanges[self.exchange], envelope)
        deaths = _deaths(table)
        self._deliver(envelope, found, [each for each in found if not _is_cycle(each.name, deaths)])

    def _deliver(self, envelope: Envelope, _found: Sequence[Queue], taken: Sequence[Queue]) -> None:
        """One dead letter goes to the queues that its route has `_found`, but for those that would have it go round for ever."""
        self._queue.vhost.enqueue(taken, envelope)


def died(table: Table, queue: str, reason: str, exchange: str, keys: Sequence[str], seconds: int, expiration: str | None) -> Table:
    """The headers of a message that died in `queue`, at that time in seconds since 1970; its x-death has one entry for each queue and
    reason, the latest first. An entry that is there counts up and keeps what the first death said."""
    deaths = _deaths(table)
    known = next((death for death in deaths if (_string(death.get("queue")), _string(death.get("reason"))) == (queue, reason)), None)
    if known is not None:
        deaths.remove(known)
        count = known.get("count")
        death = known | {"count": Field("l", (count.value if count is not None and isinstance(count.value, int) else 0) + 1)}
    else:
        death = {} if expiration is None else {"original-expiration": _longstr(expiration)}
        death |= {
            "count": Field("l", 1),
            "reason": _longstr(reason),
            "queue": _longstr(queue),
            "time": Field("T", seconds),
            "exchange": _longstr(exchange),
            "routing-keys": Field("A", list(map(_longstr, keys))),
        }
    table = {name: field for name, field in table.items() if name != "x-death" and not name.startswith("x-last-death-")}
    table["x-death"] = Field("A", [Field("F", each) for each in (death, *deaths)])
    for name, value in (("reason", reason), ("queue", queue), ("exchange", exchange)):
        table.setdefault(f"x-first-death-{name}", _longstr(value))
        table[f"x-last-death-{name}"] = _longstr(value)
    return table


class Death(NamedTuple):
    """Where a message died, and the exchange and routing keys that had brought it there."""

    queue: str
    reason: str
    exchange: str
    routing_keys: list[str]


def first_death(table: Table) -> Death | None:
    """The death that came first, of a message with these headers: x-death has the latest first, but an entry that counts up moves to the
    front, so x-first-death-queue and x-first-death-reason say which it was; without these it is the last entry. None: it never died."""
    deaths = _deaths(table)
    if not deaths:
        return None
    named = _string(table.get("x-first-death-queue")), _string(table.get("x-first-death-reason"))
    found = next((each for each in deaths if (_string(each.get("queue")), _string(each.get("reason"))) == named), deaths[-1])
    return Death(
        _string(found.get("queue")), _string(found.get("reason")), _string(found.get("exchange")), _strings(found.get("routing-keys"))
    )


def never_died(header: bytes) -> bytes:
    """The content header without anything that deaths left there."""
    table = content.headers(header)
    kept = {name: field for name, field in table.items() if name != "x-death" and not name.startswith(("x-first-death-", "x-last-death-"))}
    return header if len(kept) == len(table) else content.with_headers(header, kept or None)


def without_history(header: bytes) -> bytes:
    """The content header without an x-death: what a publisher says of earlier deaths doesn't count (RabbitMQ 4.0 and later)."""
    table = content.headers(header)
    return (
        content.with_headers(header, {name: field for name, field in table.items() if name != "x-death"}) if "x-death" in table else header
    )


def _keys(table: Table, routing_key: str) -> list[str]:
    """The routing keys that brought the message here: CC keeps standing in the headers when a dead-letter-routing-key replaces all."""
    deaths = _deaths(table)
    if deaths and _strings(deaths[0].get("routing-keys"))[:1] != [routing_key]:
        return [routing_key]
    return [routing_key, *_strings(table.get("CC"))]


def _deaths(table: Table) -> list[Table]:
    field = table.get("x-death")
    return [each.value for each in field.value if each.kind == "F"] if field is not None and field.kind == "A" else []


def _is_cycle(queue: str, deaths: Sequence[Table]) -> bool:
    """The message died in that queue before, and nobody rejected it since: it would go round for ever."""
    for death in deaths:
        if _string(death.get("reason")) == REJECTED:
            return False
        if _string(death.get("queue")) == queue:
            return True
    return False


def _strings(field: Field | None) -> list[str]:
    return [_string(each) for each in field.value if each.kind == "S"] if field is not None and field.kind == "A" else []


def _string(field: Field | None) -> str:
    return field.value.decode("utf-8", "surrogateescape") if field is not None and field.kind == "S" else ""


def _longstr(text: str) -> Field:
    return Field("S", text.encode("utf-8", "surrogateescape"))

"""Looking into a queue: what is ready, in the order of delivery, and what is unacked, and with whom. Nothing is changed by it: no order,
no count, no redelivered flag, no mark, no time to live, and what is on the disk stays there (core/walk.py).

A look goes in steps (core/steps.py), so that one through a million messages holds up nobody.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from broker.core.consumers import Consumer
from broker.core.message import BODY, HEADER, ID, ROUTING, split_routing
from broker.core.walk import STRETCH, Walk, Where
from protocol import content
from protocol.content import Properties, decode_properties
from protocol.tables import text

if TYPE_CHECKING:
    from broker.core.channel import Channel
    from broker.core.consumers import Holder
    from broker.core.message import Message
    from broker.core.queue import Queue
    from broker.core.steps import Steps
    from protocol.tables import Field

BYTES_MAX: Final = 16_777_216
"""What a look shows, at the most, in bodies (as far as they are shown) and headers; one message at least."""
MOST: Final = 1000
"""Messages that a look shows, at the most."""
STEP_COST: Final = 512
"""A step looks at so many messages, or at bodies that take as long: about a millisecond."""
COST_BYTES: Final = 16_384
"""So many bytes of a body take as long to search as a message without one."""
SEARCH: Final = 1024
"""Messages that are fetched at a time where each is looked at: several of a record."""
TAGS: Final = 4096
"""Delivery tags that a step looks at."""


class Filter:
    """Finds a text in messages. A message matches if the text, as UTF-8, occurs in its body or in its routing key, letter for letter; or
    if the text is `NAME=VALUE` and the message has a header or property of that name that reads VALUE: a text as it is, a number in
    decimal digits, a boolean as `true` or `false`. Headers inside of headers are not looked at."""

    def __init__(self, wanted: str) -> None:
        self._wanted = wanted.encode("utf-8", "surrogateescape")
        self._name, equals, self._value = wanted.partition("=")
        self._name_bytes = self._name.encode("utf-8", "surrogateescape")
        self._is_named = bool(equals and self._name)

    def matches(self, message: Message) -> bool:
        """See the class."""
        routing = message[ROUTING]
        if self._wanted in message[BODY] or self._wanted in routing[routing[0] + 2 :]:
            return True
        return self._is_named and self._names(message[HEADER])

    def _names(self, header: bytes) -> bool:
        if self._name_bytes in header:
            found = content.headers(header).get(self._name)
            if found is not None and _reads(found) == self._value:
                return True
        if self._name in Properties.__slots__ and self._name != "headers":
            value = getattr(decode_properties(header), self._name)
            return value is not None and str(value) == self._value
        return False


def _reads(found: Field) -> str | None:
    kind, value = found
    if kind in "Sx":
        return text(value)
    if kind == "t":
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else None


@dataclass(slots=True)
class Held:
    """With whom an unacked message is."""

    connection: str
    user: str
    channel: int
    consumer_tag: str | None
    """None: it was fetched with basic.get."""
    delivery_tag: int | None
    """None: a transaction is about to settle it."""
    since_ms: int | None
    """When it was given out, in ms since 1970, or up to a second later."""


@dataclass(slots=True)
class Seen:
    """A message as it was found. `body` is its beginning, `body_bytes` the size of all of it."""

    position: int
    """How many match and stand before it."""
    message_id: int
    """The broker's number of it."""
    exchange: str
    routing_key: str
    properties: Properties
    body: bytes
    body_bytes: int
    redelivered: bool
    delivery_count: int
    """How often it came back."""
    is_on_disk: bool = False
    """Its body is on the disk only."""
    expires_ms: int | None = None
    """When it will have expired, in ms since 1970, as far as that is known: of what is on the disk only it isn't."""
    due_ms: int | None = None
    """When it is to go on, if an exchange delays it."""
    held: Held | None = None


@dataclass(slots=True)
class Look:
    """What was found. `is_at_end`: there is nothing more; otherwise there may be. `damaged` messages on the way can't be read."""

    seen: list[Seen] = field(default_factory=list)
    examined: int = 0
    """How many messages were looked at; skipped ones don't count."""
    is_at_end: bool = False
    damaged: int = 0
    bytes: int = 0


class _Gathering:
    """Fills a Look: the messages from `offset` on that match, `limit` at the most."""

    def __init__(self, queue: Queue, offset: int, limit: int, wanted: Filter | None, body_max: int | None) -> None:
        self.look = Look()
        self._queue = queue
        self._position = 0
        self._offset = offset
        self._limit = min(limit, MOST)
        self._wanted = wanted
        self._body_max = body_max
        self.cost = 0

    def skipped(self, count: int) -> None:
        """So many were passed by unseen."""
        self._position += count

    @property
    def is_full(self) -> bool:
        """Nothing more is wanted."""
        return len(self.look.seen) >= self._limit or self.look.bytes >= BYTES_MAX

    @property
    def left(self) -> int:
        """How many more are wanted."""
        return self._limit - len(self.look.seen)

    def meet(
        self, message: Message, redelivered: bool, *, is_on_disk: bool = False, due_ms: int | None = None, held: Held | None = None
    ) -> None:
        """One more message."""
        self.look.examined += 1
        if self._wanted is not None:
            self.cost += 1 + len(message[BODY]) // COST_BYTES
            if not self._wanted.matches(message):
                return
        position = self._position
        self._position += 1
        if position < self._offset:
            return
        queue, number = self._queue, message[ID]
        exchange, routing_key = split_routing(message[ROUTING])
        body = message[BODY] if self._body_max is None else message[BODY][: self._body_max]
        self.look.bytes += len(body) + len(message[HEADER])
        expiry = queue.message_expiry
        self.look.seen.append(
            Seen(
                position, number, exchange, routing_key, decode_properties(message[HEADER]), body, len(message[BODY]), redelivered,
                queue.delivery_counts.get(number, 0), is_on_disk, None if expiry is None else expiry.deadline_ms(number),
                due_ms, held,
            )
        )  # fmt: skip
        self.cost += 8


def look(queue: Queue, offset: int = 0, limit: int = 50, wanted: Filter | None = None, body_max: int | None = None) -> Steps[Look]:
    """The ready messages that match, from the one on that has `offset` such messages before it, in the order in which they would be
    delivered. Of each body the first `body_max` bytes. Raises Unreadable."""
    gathering = _Gathering(queue, offset, limit, wanted, body_max)
    walk = Walk(queue)
    if wanted is None:
        yield from walk.skip(offset)
        gathering.skipped(offset)
    while not gathering.is_full:
        stretch = yield from (walk.onward(SEARCH) if wanted is not None else walk.onward(min(gathering.left, STRETCH)))
        if stretch is None:
            break
        gathering.look.damaged += stretch.damaged
        is_on_disk = stretch.where is Where.DISK
        for message, due_ms in zip(stretch.messages, stretch.due_ms or repeat(None), strict=False):
            if gathering.is_full:
                break
            gathering.meet(message, walk.is_redelivered(stretch, message), is_on_disk=is_on_disk, due_ms=due_ms)
            if gathering.cost >= STEP_COST:
                gathering.cost = 0
                yield None
    gathering.look.is_at_end = not gathering.is_full
    return gathering.look


def look_at_unacked(
    queue: Queue, offset: int = 0, limit: int = 50, wanted: Filter | None = None, body_max: int | None = None
) -> Steps[Look]:
    """The same of what is with somebody: by connection and channel, and there in the order of delivery."""
    gathering = _Gathering(queue, offset, limit, wanted, body_max)
    looked = 0
    for channel in list(queue.vhost.broker.open_channels()) if queue.unacked else ():
        if gathering.is_full:
            break
        if channel.transaction is not None:
            for holder, message in list(channel.transaction.leases()):
                if holder.queue is queue and not gathering.is_full:
                    gathering.meet(message, message[ID] in queue.delivery_counts, held=held_by(holder, None))
        for tag in list(channel.unacked):
            lease = channel.unacked.get(tag)
            if lease is not None and lease[0].queue is queue:
                gathering.meet(lease[1], lease[1][ID] in queue.delivery_counts, held=held_by(lease[0], tag))
            if gathering.is_full:
                break
            looked += 1
            if looked % TAGS == 0 or gathering.cost >= STEP_COST:
                gathering.cost = 0
                yield None
    gathering.look.is_at_end = not gathering.is_full
    return gathering.look


def held_by(holder: Holder, tag: int | None) -> Held:
    """With whom a message is; `tag` None: a transaction is about to settle it."""
    channel = holder.channel
    session = channel.session
    consumer_tag = holder.tag if isinstance(holder, Consumer) else None
    since_ms = None if tag is None else _given_out_ms(channel, tag)
    return Held(session.peer.name, session.identity.name, channel.number, consumer_tag, tag, since_ms)


def _given_out_ms(channel: Channel, tag: int) -> int | None:
    """See core/consumer_timeout.py: a channel notes the time once a second."""
    at = bisect_right(channel.delivery_times, tag, key=itemgetter(0))
    return channel.delivery_times[at - 1][1] if at else None

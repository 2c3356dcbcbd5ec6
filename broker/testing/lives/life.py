"""One message, from the moment it was published on: what happened to it, and where it is now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from broker.core.message import BODY, HEADER, ROUTING, join_routing, split_routing
from broker.testing.lives import kinds
from protocol.content import MalformedProperties, Properties, decode_properties

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.core.message import Message
    from broker.testing.lives.trace import Miss, Way

BODY_KEPT_BYTES: Final = 65_536
"""Of a bigger body the beginning is kept."""
EVENTS_MAX: Final = 200
"""A life that has more forgets those in the middle: it goes round in a circle."""
EVENTS_FIRST: Final = 100
NO_ROUTING: Final = join_routing("", "")

_ENTERS: Final = {
    kinds.ROUTED: kinds.READY,
    kinds.REQUEUED: kinds.READY,
    kinds.RECOVERED: kinds.READY,
    kinds.RESTORED: kinds.READY,
    kinds.DELAYED: kinds.DELAYED,
    kinds.DELIVERED: kinds.UNACKED,
}
"""What an event of a queue makes of a message there."""
_LEAVES: Final = frozenset(
    (
        kinds.ACKED, kinds.REJECTED, kinds.EXPIRED, kinds.DROPPED, kinds.GIVEN_UP, kinds.PURGED, kinds.QUEUE_DELETED, kinds.MOVED,
        kinds.DUE, kinds.DAMAGED, kinds.GONE,
    )
)  # fmt: skip
"""Events after which it isn't there any more."""


class Who(NamedTuple):
    """Somebody who published a message, or got it."""

    connection: str
    client_name: str
    """The name that the client gave the connection; empty without."""
    user: str
    channel: int
    consumer_tag: str | None = None
    """None for who publishes, or gets with basic.get."""
    delivery_tag: int | None = None

    @property
    def name(self) -> str:
        """What the connection is called: the name that the client gave it, or else where it comes from."""
        return self.client_name or self.connection.partition(" -> ")[0]


class Event(NamedTuple):
    """Something that happened to a message."""

    at_ms: int
    """By the broker's clock."""
    what: str
    """See kinds."""
    queue: str | None = None
    who: Who | None = None
    detail: str | None = None
    life: int | str | None = None
    """The other life that it is about."""


class Place:
    """A message in a queue: `ready`, `unacked` or `delayed`, or the kind of event that ended it there."""

    __slots__ = ("due_ms", "since_ms", "state", "who")

    def __init__(self, state: str, since_ms: int) -> None:
        self.state = state
        self.since_ms = since_ms
        self.who: Who | None = None
        """Who has it, or had it last."""
        self.due_ms: int | None = None
        """When it is to go on, if it is delayed."""

    @property
    def is_open(self) -> bool:
        """It is still there."""
        return self.state in kinds.PRESENT


class Life:
    """See the module. `number` counts the lives of a vhost; `id` is the broker's number of the message once it has one (for what never
    became a message, a text). A message that was delayed goes on under another number: `ids` has all."""

    __slots__ = (
        "begun_ms", "body", "body_bytes", "by", "confirm", "events", "header", "id", "ids", "keys", "left_out", "mandatory", "miss",
        "next", "number", "open", "origin", "places", "previous", "routes", "routing", "seen", "state",
    )  # fmt: skip

    def __init__(self, number: int, origin: str, begun_ms: int, by: Who | None) -> None:
        self.number = number
        self.origin = origin
        """What kind of beginning it had."""
        self.begun_ms = begun_ms
        self.by = by
        """Who published it; of a dead letter, the message that died."""
        self.id: int | str = 0
        self.ids: list[int] = []
        self.routing = NO_ROUTING
        self.header: bytes | None = None
        """None: it is on the disk and wasn't read yet."""
        self.body = b""
        self.body_bytes = 0
        """Of all of it."""
        self.keys: Sequence[str] = ()
        """Its routing key, and those of CC and BCC."""
        self.mandatory = False
        self.confirm: int | None = None
        """Its number among the publishes of a channel in confirm mode."""
        self.routes: dict[str, Way] = {}
        """The queues that it was routed to, and why."""
        self.miss: Miss | None = None
        """Why no queue got it."""
        self.events: list[Event] = []
        self.left_out = 0
        """Events that are forgotten."""
        self.seen: set[tuple[str, str | None]] = set()
        """Kinds of events, each with its queue."""
        self.state = origin
        """What happened last."""
        self.places: dict[str, Place] = {}
        """By queue."""
        self.open = 0
        """Queues that it is in."""
        self.previous: int | str | None = None
        """The life that went before: what died, was moved or copied."""
        self.next: list[int] = []
        """Its dead letters, and where it was moved or copied."""

    @property
    def exchange(self) -> str:
        """Where it was published; the default exchange has no name."""
        return split_routing(self.routing)[0]

    @property
    def routing_key(self) -> str:
        """Its routing key."""
        return split_routing(self.routing)[1]

    @property
    def unroutable(self) -> str | None:
        """Why no queue got it, in words."""
        return None if self.miss is None else self.miss.text

    @property
    def properties(self) -> Properties:
        """Those of its content header; none as long as that isn't known, or where they can't be read."""
        if self.header is None:
            return Properties()
        try:
            return decode_properties(self.header)
        except MalformedProperties:
            return Properties()

    @property
    def message_id(self) -> str | None:
        """The property."""
        return self.properties.message_id

    def read(self, message: Message) -> None:
        """This is what it is."""
        self.routing, self.header, body = message[ROUTING], message[HEADER], message[BODY]
        self.keys = self.keys or (self.routing_key,)
        self.body_bytes = len(body)
        self.body = body if len(body) <= BODY_KEPT_BYTES else _cut(body)

    def add(self, event: Event, *, ends: bool = False) -> None:
        """Something happened to it. `ends`: nobody will answer for this delivery."""
        what, queue = event.what, event.queue
        self.events.append(event)
        if len(self.events) > EVENTS_MAX:
            del self.events[EVENTS_FIRST]
            self.left_out += 1
        self.seen.add((what, queue))
        if what not in kinds.ASIDE:
            self.state = what
        if queue is None:
            return
        state = what if ends or what in _LEAVES else _ENTERS.get(what)
        if state is not None:
            self._put(queue, state, event)

    def _put(self, queue: str, state: str, event: Event) -> None:
        place = self.places.get(queue)
        was_open = place is not None and place.is_open
        if place is None:
            place = self.places[queue] = Place(state, event.at_ms)
        place.state, place.since_ms = state, event.at_ms
        if event.who is not None:
            place.who = event.who
        self.open += place.is_open - was_open

    def delay(self, queue: str, due_ms: int | None) -> None:
        """What it does in that queue is wait, until then if that is known."""
        place = self.places[queue]
        place.state, place.due_ms = kinds.DELAYED, due_ms

    def is_in(self, queue: str) -> bool:
        """The queue has it, ready, unacked or delayed."""
        place = self.places.get(queue)
        return place is not None and place.is_open

    def fits(
        self, *, queue: str | None = None, exchange: str | None = None, routing_key: str | None = None, message_id: str | None = None
    ) -> bool:
        """It is one of those: what is None may be any. `queue`: it was routed there, or tried to."""
        return (
            (queue is None or queue in self.routes or queue in self.places)
            and (exchange is None or self.exchange == exchange)
            and (routing_key is None or routing_key in self.keys)
            and (message_id is None or self.message_id == message_id)
        )

    def last(self, queue: str, *what: str) -> Event | None:
        """The latest event of these kinds in that queue."""
        return next((event for event in reversed(self.events) if event.queue == queue and event.what in what), None)

    def has_been(self, state: str, queue: str | None = None) -> bool:
        """This has happened to it, in that queue if the event is one of a queue; or (ready, unacked) it is that now."""
        if state in (kinds.READY, kinds.UNACKED):
            places = self.places.values() if queue is None else filter(None, (self.places.get(queue),))
            return any(place.state == state for place in places)
        if queue is None:
            return any(what == state for what, _ in self.seen)
        return (state, queue) in self.seen or (state, None) in self.seen


def _cut(body: bytes) -> bytes:
    """The beginning; of text, no half character."""
    kept = body[:BODY_KEPT_BYTES]
    for end in range(BODY_KEPT_BYTES, BODY_KEPT_BYTES - 4, -1):
        try:
            kept[:end].decode()
        except UnicodeDecodeError:
            continue
        return kept[:end]
    return kept

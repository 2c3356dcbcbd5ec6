"""The lives of a vhost's messages, as many as are kept: the oldest of those that are over go first."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import contextmanager
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Final, cast

from broker.core.message import ID
from broker.testing.lives import kinds
from broker.testing.lives.life import Event, Life
from broker.testing.lives.trace import Hop, Way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from broker.core.message import Message
    from broker.core.queue import Queue
    from broker.core.vhost import VHost
    from broker.testing.lives.life import Who
    from broker.testing.lives.vhost import RememberingVHost

LIVES_MAX: Final = 10_000
BODY_BYTES_MAX: Final = 64 * 2**20

BY_METHOD, BY_CHANNEL, BY_CHANNEL_ERROR, BY_CONNECTION, BY_TEST = range(1, 6)
"""How much a cause explains: what happens because a connection ends isn't done by the methods that its channels would have."""


class History:
    """Of one vhost. `clock_ms` is the broker's. Lives are found by the broker's number of the message, under `get`."""

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self.clock_ms = clock_ms
        self.forgotten = 0
        """Lives that are no longer kept."""
        self.changes = 0
        """Grows with each event."""
        self.on_event: list[Callable[[Life, Event], None]] = []
        """Called with each event, when the life has it already."""
        self.cause: str | None = None
        """Why what happens now happens, if that is known."""
        self._cause_weight = 0
        self._lives: OrderedDict[int, Life] = OrderedDict()
        """By their own numbers, so the oldest first."""
        self._by_id: dict[int, Life] = {}
        self._over: list[int] = []
        """A heap of the numbers of lives that are over."""
        self._body_bytes = 0
        self._numbers = count(1)
        self._attempts = count(1)

    def __len__(self) -> int:
        return len(self._lives)

    def __iter__(self) -> Iterator[Life]:
        return iter(self._lives.values())

    # --- lives --------------------------------------------------------------------------------------------------------

    def begin(self, origin: str, by: Who | None = None) -> Life:
        """A new life, which isn't kept before `keep`."""
        return Life(next(self._numbers), origin, self.clock_ms(), by)

    def keep(self, life: Life, message_id: int | None) -> None:
        """The message has this number from now on. None: it never became one."""
        if message_id is None:
            life.id = f"{life.origin}-{next(self._attempts)}"
        else:
            if not life.ids:
                life.id = message_id
            life.ids.append(message_id)
            self._by_id[message_id] = life
        if life.number not in self._lives:
            self._lives[life.number] = life
            self._body_bytes += len(life.body)
            for each in life.next:
                if (following := self._by_id.get(each)) is not None:
                    following.previous = life.id
            self._make_room()

    def get(self, message_id: int) -> Life | None:
        """That of the message with the broker's number; None if it isn't kept."""
        return self._by_id.get(message_id)

    def conclude(self, life: Life) -> None:
        """If it is in no queue any more, it may be forgotten."""
        if not life.open and life.number in self._lives:
            heappush(self._over, life.number)

    def read(self, life: Life, message: Message) -> None:
        """A message that was on the disk only is this."""
        if life.header is None:
            life.read(message)
            self._body_bytes += len(life.body)

    def restored(self, queue: Queue, messages: Sequence[Message], until_ms: Sequence[int | None]) -> None:
        """Messages were put into a queue, from a snapshot or a document. In one that an exchange delays with, they are due then."""
        for message, due_ms in zip(messages, until_ms, strict=True):
            life = self.begin(kinds.RESTORED)
            life.read(message)
            self.keep(life, message[ID])
            self.note(life, kinds.RESTORED, queue.name)
            if queue.kept_for is not None:
                life.delay(queue.name, due_ms)
            else:
                life.routes[queue.name] = Way((Hop("", "it was there before"),))

    def found(self, lives: Iterable[Life]) -> None:
        """These were there at the start, before all others: the oldest of them first, whatever the queues they were found in."""
        first = {life.number: life for life in sorted(lives, key=lambda life: life.ids[0])}
        self._lives = OrderedDict(first | {number: life for number, life in self._lives.items() if number not in first})

    def forget(self) -> None:
        """All of it: what is still in queues has no history either."""
        self._lives.clear()
        self._by_id.clear()
        self._over.clear()
        self._body_bytes = self.forgotten = 0
        self.changes += 1

    def _make_room(self) -> None:
        while len(self._lives) > LIVES_MAX or self._body_bytes > BODY_BYTES_MAX:
            is_over = bool(self._over)
            number = heappop(self._over) if is_over else next(iter(self._lives))
            life = self._lives.get(number)
            if life is None or (is_over and life.open):
                continue  # it is forgotten already, or has gone on since
            del self._lives[number]
            self.forgotten += 1
            self._body_bytes -= len(life.body)
            for each in life.ids:
                self._by_id.pop(each, None)

    # --- what happens -------------------------------------------------------------------------------------------------

    def note(
        self,
        life: Life,
        what: str,
        queue: str | None = None,
        who: Who | None = None,
        detail: str | None = None,
        other: int | str | None = None,
        *,
        ends: bool = False,
    ) -> None:
        """Something happened to a message now: see Event. `ends`: nobody will answer for this delivery."""
        was_open = life.open
        event = Event(self.clock_ms(), what, queue, who, detail, other)
        life.add(event, ends=ends)
        self.changes += 1
        if was_open and not life.open:
            self.conclude(life)
        for tell in self.on_event:
            tell(life, event)

    @contextmanager
    def because(self, text: str, weight: int) -> Iterator[None]:
        """What happens meanwhile happens for this reason, unless one that explains more is known."""
        outer = self.cause, self._cause_weight
        if weight > self._cause_weight:
            self.cause, self._cause_weight = text, weight
        try:
            yield
        finally:
            self.cause, self._cause_weight = outer

    # --- looking --------------------------------------------------------------------------------------------------------

    def find(
        self,
        *,
        queue: str | None = None,
        exchange: str | None = None,
        routing_key: str | None = None,
        message_id: str | None = None,
        state: str | None = None,
    ) -> Iterator[Life]:
        """The lives that fit all that is given, the oldest first: see Life.fits, and Life.has_been for the state."""
        for life in self._lives.values():
            if (state is None or life.has_been(state, queue)) and life.fits(
                queue=queue, exchange=exchange, routing_key=routing_key, message_id=message_id
            ):
                yield life


def history_of(vhost: VHost) -> History:
    """The lives of a vhost's messages."""
    return cast("RememberingVHost", vhost).history

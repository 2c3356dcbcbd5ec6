"""Messages that an x-delayed-message exchange holds until their time comes (contract 7.9).

They are in a queue of the exchange's, `amq.delayed.<exchange>`, so that all that holds for queues holds for them: they are in the log when
they are confirmed, a restart finds them, a passive declare counts them and a purge cancels them. Nobody consumes it: when a message
is due, it goes through the exchange again and leaves the queue in the same commit.

All of them are in memory, at a restart too, where they are read one after the other.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from broker.core.arguments import QueueArguments
from broker.core.envelope import Envelope
from broker.core.message import HEADER, ID, split_routing
from broker.core.properties import senders
from broker.core.queue import Queue
from broker.core.ready import Ready
from protocol import content
from protocol.tables import Field

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from broker.core.exchange import Exchange
    from broker.core.message import Message
    from broker.core.pages import Pages
    from broker.core.paging import Load
    from broker.core.timers import Timer
    from broker.core.vhost import VHost
    from protocol.tables import Table

X_DELAY = "x-delay"
PREFIX = "amq.delayed."
_INT32_MAX = (1 << 31) - 1


def delay_of(headers: Table) -> int:
    """The ms that a message is to be delayed; 0 or less for none. Text and fractions are converted, as in RabbitMQ's plugin."""
    field = headers.get(X_DELAY)
    if field is None:
        return 0
    kind, value = field
    if kind in "bBsuIilL":
        return int(value)
    if kind in "fd":
        return int(value) if abs(value) < 1 << 63 else 0
    if kind == "D":
        scale, digits = value
        return int(digits // 10**scale)
    if kind == "S" and value.removeprefix(b"-").isdigit() and len(value) < 20:
        return int(value)
    return 0


class DelayedReady(Ready):
    """What is held, by id; those that a restart found and that weren't read yet are in the pages."""

    __slots__ = ("due", "waiting")

    def __init__(self) -> None:
        super().__init__()
        self.waiting: dict[int, Message] = {}
        self.due: list[tuple[int, int]] = []
        """A heap of (when in ms, id); an id that isn't waiting any more is passed over."""

    def __len__(self) -> int:
        return len(self.waiting) + (self.paged.pages.count if self.paged is not None else 0)

    @property
    def available(self) -> int:
        """Nothing of it is a consumer's."""
        return 0

    def extend(self, messages: Sequence[Message]) -> None:
        """See Ready."""
        self.waiting.update((message[ID], message) for message in messages)

    def read_in(self, fresh: Iterable[Message], returned: Sequence[Message]) -> None:
        """See Ready."""
        self.waiting.update((message[ID], message) for messages in (fresh, returned) for message in messages)

    came_back_redelivered = False

    def beside(self) -> list[Any]:
        """See Ready: what is held, in the order in which it is due. Only after a restart something may stand behind, not read yet."""
        return list(self.due)

    def behind(self, item: Any) -> int:
        """See Ready."""
        return 0

    def message_of(self, item: Any) -> Message | None:
        """See Ready."""
        return self.waiting.get(item[1])

    def due_ms(self, item: Any) -> int | None:
        """See Ready."""
        when: int = item[0]
        return when

    def take_due(self, now_ms: int, most: int) -> list[Message]:
        """Remove so many messages, at the most, whose time has come: the earliest first, those of one moment in the order of publishing."""
        due, waiting = self.due, self.waiting
        messages: list[Message] = []
        while due and due[0][0] <= now_ms and len(messages) < most:
            message = waiting.pop(heappop(due)[1], None)
            if message is not None:
                messages.append(message)
        return messages

    def clear(self) -> tuple[list[Message], list[Pages]]:
        """See Ready."""
        messages = list(self.waiting.values())
        self.waiting.clear()
        self.due.clear()
        _, pages = super().clear()
        return messages, pages

    def ids_in(self, intervals: Sequence[tuple[int, int]]) -> Iterator[int]:
        """See Ready."""
        waiting = self.waiting
        for low, high in intervals:
            few = range(low, high) if high - low < len(waiting) else [each for each in waiting if low <= each < high]
            yield from filter(waiting.__contains__, few)
        yield from super().ids_in(intervals)


class DelayQueue(Queue):
    """The messages that one exchange delays."""

    __slots__ = ("_timer", "exchange", "kept_for")

    ready: DelayedReady

    def __init__(self, vhost: VHost, exchange: Exchange, queue_id: int) -> None:
        super().__init__(vhost, PREFIX + exchange.name, queue_id, vhost.broker.outbox, QueueArguments({}), durable=exchange.durable)
        self.exchange = exchange
        self.kept_for: str = exchange.name
        self.can_page = False
        self.ready = DelayedReady()
        self._timer: Timer | None = None

    def enqueue(self, messages: list[Message], body_bytes: int, overhead: int, expiration_ms: int | None = None) -> None:
        """See Queue. A time to live begins when the message goes on."""
        super().enqueue(messages, body_bytes, overhead)
        now = self.outbox.clock()
        for message in messages:
            heappush(self.ready.due, (now + delay_of(content.headers(message[HEADER])), message[ID]))

    def restore(self, pages: Mapping[int, Pages], delivery_counts: dict[int, int], mark: int, *, expires: bool) -> None:
        """See Queue."""
        super().restore(pages, delivery_counts, mark, expires=False)
        self.touch()

    def loaded(self, load: Load, messages: Sequence[Message] | None) -> None:
        """See Queue. The time counts from when the message was published."""
        super().loaded(load, messages)
        for message, published_ms in zip(messages or (), load.times_ms, strict=False):
            if message[ID] in self.ready.waiting:
                heappush(self.ready.due, (published_ms + delay_of(content.headers(message[HEADER])), message[ID]))

    def serve(self, budget: int = 1 << 30) -> int:
        """Let go on what is due; after a restart, once all of it is in memory, so that the earliest goes first."""
        ready = self.ready
        if ready.paged is not None:
            self._read_on()
            if ready.paged is not None:
                return 0
        messages = ready.take_due(self.outbox.clock(), budget)
        for message in messages:
            self._publish(message)
        if messages:
            self.settle(messages)
        if len(messages) == budget:
            self.touch()
        self._watch()
        return len(messages)

    def _publish(self, message: Message) -> None:
        """Through the exchange again, with the delay negated, so that it isn't delayed again and consumers see what it was."""
        _, routing, header, body = message
        table = content.headers(header)
        delay = -delay_of(table)
        field = Field("I" if -delay <= _INT32_MAX else "l", delay)
        header = content.with_headers(header, {name: field if name == X_DELAY else value for name, value in table.items()})
        keys = [split_routing(routing)[1], *senders(table, "CC")]
        self.vhost.deliver(self.exchange, Envelope(keys, routing, header, body))

    def _read_on(self) -> None:
        if self.ready.stops_paging():
            self.memory.paging -= 1
        elif (level := self.ready.level_to_load()) is not None:
            self._load(level)

    def _watch(self) -> None:
        due = self.ready.due
        if due and (self._timer is None or self._timer.deadline_ms is None or self._timer.deadline_ms > due[0][0]):
            self.stop_timers()
            self._timer = self.vhost.broker.timers.at(due[0][0], self.touch)

    def stop_timers(self) -> None:
        """See Queue."""
        if self._timer is not None:
            self._timer.cancel()

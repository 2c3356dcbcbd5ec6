"""Times to live: of a queue's messages, and of the queue (contract 7.1, 7.2; https://www.rabbitmq.com/docs/ttl).

A message expires when its time is over *and* it stands at the head: one that may live longer shields what is behind it. Nothing is
delivered that has expired. A deadline is the moment of publishing and the lower of the queue's and the message's time, so it can be
found again from the log: only those of messages in memory are kept, and a queue whose messages live for ever has none of this.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

from broker.core.message import HEADER, ID, id_of
from protocol import content

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broker.core.message import Message
    from broker.core.queue import Queue
    from broker.core.timers import Timer

AT_ONCE = 0
"""The deadline of a time to live of 0: whoever can take it gets it, and then it has expired."""
NEVER = 1 << 62
LOOK = 256
"""How many messages at the head are looked at together."""


class MessageExpiry:
    """When the messages of one queue expire."""

    __slots__ = ("_deadlines", "_now", "_queue", "_timer", "ttl_ms")

    def __init__(self, queue: Queue, ttl_ms: int | None) -> None:
        self._queue = queue
        self.ttl_ms = ttl_ms
        """The queue's own; it holds for what comes in from now on."""
        self._deadlines: dict[int, int] = {}
        """By message id; only of messages in memory that have one."""
        self._now = 0
        self._timer: Timer | None = None

    # --- in and out -------------------------------------------------------------------------------------------------

    def entered(self, messages: Iterable[Message], expiration_ms: int | None) -> None:
        """Messages were published, with this expiration of their own."""
        ttl = self._shorter(expiration_ms)
        if ttl is not None:
            self._set(messages, self._queue.outbox.clock() + ttl if ttl else AT_ONCE)

    def loaded(self, messages: Sequence[Message], times_ms: Sequence[int]) -> None:
        """Messages came back into memory; when each was published."""
        header, expiration_ms = b"", None
        for message, time_ms in zip(messages, times_ms, strict=True):
            if message[HEADER] is not header:
                header = message[HEADER]
                expiration_ms = expiration_of(header)
            ttl = self._shorter(expiration_ms)
            if ttl is not None:
                self._deadlines[message[ID]] = time_ms + ttl

    def moved(self, message: Message, to: Message) -> None:
        """The message goes on under another id."""
        if (deadline := self._deadlines.pop(message[ID], None)) is not None:
            self._deadlines[to[ID]] = deadline

    def keep(self, message_id: int, deadline_ms: int | None) -> None:
        """A message in memory expires then, or (None) never, whatever its time to live is."""
        if deadline_ms is not None:
            self._deadlines[message_id] = deadline_ms
        else:
            self._deadlines.pop(message_id, None)

    def deadline_for(self, header: bytes, published_ms: int) -> int | None:
        """When a message that was published then expires, going by its time to live as it is now."""
        ttl = self._shorter(expiration_of(header))
        return None if ttl is None else published_ms + ttl

    def deadline_ms(self, message_id: int) -> int | None:
        """When a message in memory will have expired, in ms since 1970; None for one that doesn't."""
        return self._deadlines.get(message_id)

    def forget(self, messages: Iterable[Message]) -> None:
        """Messages left the queue, or memory."""
        if self._deadlines:
            pop = self._deadlines.pop
            for message in messages:
                pop(message[ID], None)

    def _shorter(self, expiration_ms: int | None) -> int | None:
        if expiration_ms is None or self.ttl_ms is None:
            return self.ttl_ms if expiration_ms is None else expiration_ms
        return min(expiration_ms, self.ttl_ms)

    def _set(self, messages: Iterable[Message], deadline: int) -> None:
        self._deadlines.update(zip(map(id_of, messages), repeat(deadline)))

    # --- at the head ------------------------------------------------------------------------------------------------

    def drop(self, most: int, *, offered: bool = False) -> int:
        """Drop what has expired at the head, so many at the most; returns how many. `offered`: everybody who can take a message had
        the chance, so a time to live of 0 is over too."""
        queue, self._now = self._queue, self._queue.outbox.clock()
        is_over = self._is_over_once_offered if offered else self._is_over
        expired: list[Message] = []
        while len(expired) < most:
            queue.available()  # it may have come to the end of what is on the disk
            messages = queue.ready.take_while(is_over, min(LOOK, most - len(expired)))
            if not messages:
                break
            expired += messages
        if expired:
            queue.expire(expired)
        return len(expired)

    def hold_back(self, redelivered: bool, run: list[Message]) -> list[Message]:
        """Of messages taken from a head that lives, those up to the first that has expired; the others go back."""
        over = next((index for index, message in enumerate(run) if self._is_over(message)), None)
        if over is None:
            return run
        self._queue.ready.put_back(redelivered, run[over:])
        return run[:over]

    def _is_over(self, message: Message) -> bool:
        return AT_ONCE < self._deadlines.get(message[ID], NEVER) <= self._now

    def _is_over_once_offered(self, message: Message) -> bool:
        return self._deadlines.get(message[ID], NEVER) <= self._now

    # --- the timer --------------------------------------------------------------------------------------------------

    def watch_head(self) -> None:
        """Come back when the head expires. A head that isn't in memory is being read: see Queue._read_ahead."""
        if not self._deadlines:
            return
        heads = [level.head()[ID] for level in self._queue.ready.levels if level.available]
        deadline = min((each for each in map(self._deadlines.get, heads) if each), default=NEVER)
        if deadline == NEVER:
            return
        timer = self._timer
        # One that is too early is as good: it looks again.
        if timer is None or timer.deadline_ms is None or timer.deadline_ms > deadline:
            self.stop()
            self._timer = self._queue.vhost.broker.timers.at(deadline, self._queue.touch)

    def stop(self) -> None:
        """The queue is gone."""
        if self._timer is not None:
            self._timer.cancel()


class QueueExpiry:
    """x-expires: a queue without consumers that nobody has got from or declared again for so long is deleted."""

    __slots__ = ("_queue", "_timer", "_used_ms", "expires_ms")

    def __init__(self, queue: Queue, expires_ms: int) -> None:
        self._queue = queue
        self.expires_ms = expires_ms
        self._used_ms = queue.outbox.clock()
        self._timer = queue.vhost.broker.timers.at(self._used_ms + expires_ms, self._check)

    def used(self) -> None:
        """It is needed: its time begins again."""
        self._used_ms = self._queue.outbox.clock()
        if self._timer.deadline_ms is None:
            self._watch()

    def stop(self) -> None:
        """The queue is gone, or may stay."""
        self._timer.cancel()

    def _check(self) -> None:
        queue = self._queue
        if len(queue.consumers):
            return  # when the last one goes, that is a use
        if self._used_ms + self.expires_ms > queue.outbox.clock():
            self._watch()
        else:
            queue.vhost.expire_queue(queue)

    def _watch(self) -> None:
        self._timer = self._queue.vhost.broker.timers.at(self._used_ms + self.expires_ms, self._check)


def expiration_of(header: bytes) -> int | None:
    """A message's own time to live in ms, of a content header that was checked when it was published; None without one."""
    text = content.expiration(header)
    return int(text) if text is not None else None

"""Out of memory, and back into it.

Out: what comes into a paged queue stands in its tail until the log has it; then `PageOut` tells the queue where, and only that is
kept. A durable queue's messages are in the log anyway. Those of other queues go to the spill (spill.py).

Back: a queue that will soon have nothing in memory to give asks for a `Load`, which a reader's thread carries out.
"""

from __future__ import annotations

import logging
from array import array
from itertools import groupby, repeat
from typing import TYPE_CHECKING, NamedTuple

from broker.core.memory import MESSAGE_BYTES
from broker.core.message import body_of
from storage import records
from storage.api import Corrupt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broker.core.message import Message
    from broker.core.pages import Run
    from broker.core.queue import Queue
    from broker.core.ready import Ready
    from storage.api import Log

log = logging.getLogger("queue")


class PageOut(NamedTuple):
    """Messages that a paged queue need not keep once they are written: in the record of the batch that has the index `record`."""

    queue: Queue
    messages: Sequence[Message]
    record: int

    def written(self, places: Sequence[int]) -> None:
        """The batch was written, its records at these places."""
        place = places[self.record]
        sizes = groupby(map(len, map(body_of, self.messages)))
        self.queue.page_out(self.messages, [(len(list(group)), place) for _, group in sizes])


class Reading:
    """Runs of a queue's pages that are to be read, in the log or in the spill."""

    __slots__ = ("queue", "runs", "spilled", "times_ms")

    def __init__(self, queue: Queue, runs: list[Run]) -> None:
        self.queue = queue
        self.runs = runs
        self.spilled = not queue.logged
        self.times_ms = array("Q")
        """When each of the messages that were read was published."""

    def done(self, messages: Sequence[Message] | None) -> None:
        """Hear what was read; None: it has been copied elsewhere meanwhile, or the disk can't be read now."""
        raise NotImplementedError

    def damaged(self, run: Run, error: Corrupt) -> None:
        """On the reader's thread: a run can't be read and is left out."""

    def read(self, store_log: Log) -> list[Message]:
        """The messages, on a reader's thread.

        Raises Closed if a record isn't where it was: it was copied elsewhere meanwhile.
        """
        try:
            return self._read(store_log, self.runs)
        except Corrupt:
            del self.times_ms[:]
            return [message for run in self.runs for message in self._read_what_is_whole(store_log, run)]

    def _read(self, store_log: Log, runs: Sequence[Run]) -> list[Message]:
        messages: list[Message] = []
        routing = header = b""
        known: dict[bytes, bytes] = {}
        places = [place for place, _ in groupby(run.place for run in runs)]
        found = zip(places, map(records.decode_enqueue, store_log.read(places)), strict=True)
        place, record = -1, records.NO_ENQUEUE
        for run in runs:
            if run.place != place:
                place, record = next(found)
            begin = run.first_id - record.first_id
            if not 0 <= begin <= len(record.bodies) - run.length:
                raise Corrupt(f"position {run.place} holds other messages")
            # One object for what is equal: deliveries of one routing and header are encoded together.
            routing = routing if record.routing == routing else record.routing
            stop = begin + run.length
            headers: Iterable[bytes]
            routings: Iterable[bytes] = repeat(routing)
            if record.headers is None:
                header = header if record.header == header else record.header
                headers = repeat(header)
            else:
                headers = record.headers[begin:stop]
                if record.routings is not None:
                    routings = [known.setdefault(each, each) for each in record.routings[begin:stop]]
            bodies = record.bodies[begin:stop]
            messages += zip(range(run.first_id, run.first_id + run.length), routings, headers, bodies, strict=False)
            self.times_ms.extend(repeat(record.timestamp_ms, run.length))
        return messages

    def _read_what_is_whole(self, store_log: Log, run: Run) -> list[Message]:
        try:
            return self._read(store_log, [run])
        except Corrupt as error:
            self.damaged(run, error)
            return []


class Load(Reading):
    """The head of a queue's pages, on its way into memory."""

    __slots__ = ("level", "size")

    def __init__(self, queue: Queue, level: Ready, runs: list[Run]) -> None:
        super().__init__(queue, runs)
        self.level = level
        self.size = sum([run.length * (run.body_size + MESSAGE_BYTES) for run in runs])
        """In accounted bytes, by and large."""

    def done(self, messages: Sequence[Message] | None) -> None:
        """See Reading."""
        self.queue.loaded(self, messages)

    def damaged(self, run: Run, error: Corrupt) -> None:
        """What is damaged is left out, and told of in the broker's log."""
        text = "%d messages of %s, from number %d on, can't be read and are lost: %s"
        log.error(text, run.length, self.queue.vhost.queue_text(self.queue.name), run.first_id, error)

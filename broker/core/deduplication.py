"""Duplicates: messages whose x-deduplication-header says that they were there before (contract 7.10; the plugin
rabbitmq-message-deduplication).

An exchange remembers the values that came lately (duplicates.SeenValues); with x-cache-persistence `disk` each also stands in a queue of
the exchange's, `amq.seen.<exchange>`, as an empty message of the same commit, so that a restart knows it. A queue knows the values that it
holds (duplicates.HeldValues): a duplicate is dropped as long as the first one is neither acked nor gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.arguments import QueueArguments
from broker.core.duplicates import HEADER_NAME, NEVER, X_CACHE_TTL
from broker.core.message import HEADER, join_routing
from broker.core.outbox import target_of
from broker.core.queue import Queue
from protocol import content
from protocol.tables import Field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.core.duplicates import SeenValues
    from broker.core.exchange import Exchange
    from broker.core.message import Message
    from broker.core.pages import Pages
    from broker.core.paging import Load
    from broker.core.vhost import VHost

PREFIX = "amq.seen."


class SeenQueue(Queue):
    """What an exchange has seen, on the disk. Nobody consumes it; a purge has the exchange forget."""

    __slots__ = ("kept_for", "seen")

    def __init__(self, vhost: VHost, exchange: Exchange, queue_id: int, seen: SeenValues, size: int) -> None:
        arguments = QueueArguments({"x-max-length": Field("l", size)})
        super().__init__(vhost, PREFIX + exchange.name, queue_id, vhost.broker.outbox, arguments, durable=exchange.durable)
        self.can_page = False
        self.kept_for: str = exchange.name
        self.seen = seen

    def note(self, value: Field, deadline_ms: int) -> None:
        """Write down a value. With more than fit, the oldest is dropped as x-max-length has it."""
        table = {HEADER_NAME: value, X_CACHE_TTL: Field("l", deadline_ms)}
        header = content.encode_properties(content.Properties(delivery_mode=2, headers=table), 0)
        self.outbox.enqueue_one([self], target_of([self]), join_routing(self.kept_for, ""), header, b"", True)

    def restore(self, pages: Mapping[int, Pages], delivery_counts: dict[int, int], mark: int, *, expires: bool) -> None:
        """See Queue."""
        super().restore(pages, delivery_counts, mark, expires=expires)
        self.touch()

    def serve(self, budget: int = 1 << 30) -> int:
        """See Queue. After a restart: read on."""
        paged = self.ready.paged
        if paged is not None:
            paged.low = NEVER
            if (level := self.ready.level_to_load()) is not None:
                self._load(level)
            elif not paged.pages.count:
                self.ready.stop_paging()
                self.memory.paging -= 1
        return super().serve(budget)

    def loaded(self, load: Load, messages: Sequence[Message] | None) -> None:
        """See Queue."""
        super().loaded(load, messages)
        for message in messages or ():
            table = content.headers(message[HEADER])
            self.seen.add(table[HEADER_NAME], int(table[X_CACHE_TTL].value))

    def drop_ready(self) -> int:
        """See Queue."""
        self.seen.clear()
        return super().drop_ready()

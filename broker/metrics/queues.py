"""Queues: how many messages, what they take, who consumes, and what went out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.admin.shapes.contents import ContentsReader
from broker.admin.shapes.queue import keeps_up
from broker.core import counters
from broker.metrics.scrape import Group
from broker.metrics.text import COUNTER, GAUGE, Family

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.counters import Taken
    from broker.core.queue import Queue
    from broker.metrics.scrape import Row, Scrape, Values


def _coarse(scrape: Scrape) -> Iterator[Row | None]:
    for found in scrape.queues():
        if found is None:
            yield None
            continue
        queue, label = found
        ready, unacked = len(queue.ready), queue.unacked
        yield label, (ready, unacked, ready + unacked, 0)


COARSE: Final = Group(
    "queue_coarse_metrics",
    (
        Family("queue_messages_ready", GAUGE, "Messages ready to be delivered to consumers"),
        Family("queue_messages_unacked", GAUGE, "Messages delivered to consumers but not yet acknowledged"),
        Family("queue_messages", GAUGE, "Sum of ready and unacknowledged messages - total queue depth"),
        Family("queue_process_reductions_total", COUNTER, "Of Erlang's processes, which there are none of: 0"),
    ),
    _coarse,
    is_summed=True,
)


def _consumer_count(scrape: Scrape) -> Iterator[Row | None]:
    for found in scrape.queues():
        yield None if found is None else (found[1], (len(found[0].consumers),))


_CONSUMERS: Final = Family("queue_consumers", GAUGE, "Consumers on a queue")
CONSUMER_COUNT: Final = Group("queue_consumer_count", (_CONSUMERS,), _consumer_count, is_summed=True)


def _metrics(scrape: Scrape) -> Iterator[Row | None]:
    reader = ContentsReader(scrape.broker)
    for found in scrape.queues():
        yield None if found is None else (found[1], _figures(found[0], reader))


def _figures(queue: Queue, reader: ContentsReader) -> Values:
    ready, unacked = len(queue.ready), queue.unacked
    count, consumers = ready + unacked, len(queue.consumers)
    capacity = keeps_up(queue) if consumers else 0
    if not count:
        return (consumers, capacity, capacity, *_EMPTY)
    held, held_bytes, memory_bytes = queue.in_memory
    body_bytes, contents = queue.body_bytes, reader.of(queue)
    leased_bytes = contents.leased_bytes
    return (
        consumers, capacity, capacity, memory_bytes, held, held_bytes, held - unacked, unacked,
        contents.persistent, contents.persistent_bytes, body_bytes, body_bytes - leased_bytes, leased_bytes,
        count - held, body_bytes - held_bytes, contents.timestamp, 0, 0, None,
    )  # fmt: skip


_EMPTY: Final[Values] = (*[0] * 12, None, 0, 0, None)


METRICS: Final = Group(
    "queue_metrics",
    (
        _CONSUMERS,
        Family("queue_consumer_capacity", GAUGE, "Consumer capacity", is_summed=False),
        Family("queue_consumer_utilisation", GAUGE, "Same as consumer capacity"),
        Family("queue_process_memory_bytes", GAUGE, "Memory in bytes that its messages in memory take"),
        Family("queue_messages_ram", GAUGE, "Ready and unacknowledged messages stored in memory"),
        Family("queue_messages_ram_bytes", GAUGE, "Size of ready and unacknowledged messages stored in memory"),
        Family("queue_messages_ready_ram", GAUGE, "Ready messages stored in memory"),
        Family("queue_messages_unacked_ram", GAUGE, "Unacknowledged messages stored in memory"),
        Family("queue_messages_persistent", GAUGE, "Persistent messages"),
        Family("queue_messages_persistent_bytes", GAUGE, "Size in bytes of persistent messages"),
        Family("queue_messages_bytes", GAUGE, "Size in bytes of ready and unacknowledged messages"),
        Family("queue_messages_ready_bytes", GAUGE, "Size in bytes of ready messages"),
        Family("queue_messages_unacked_bytes", GAUGE, "Size in bytes of all unacknowledged messages"),
        Family("queue_messages_paged_out", GAUGE, "Messages paged out to disk"),
        Family("queue_messages_paged_out_bytes", GAUGE, "Size in bytes of messages paged out to disk"),
        Family("queue_head_message_timestamp", GAUGE, "Timestamp of the first message in the queue, if any", is_summed=False),
        Family("queue_disk_reads_total", COUNTER, "Not counted by queue: 0"),
        Family("queue_disk_writes_total", COUNTER, "Not counted by queue: 0"),
        Family("stream_segments", COUNTER, "Total number of stream segment files"),
    ),
    _metrics,
    is_summed=True,
)

# --- what went out --------------------------------------------------------------------------------------------------


def taken_values(taken: Taken) -> Values:
    """In the order of the metrics that tell what was taken."""
    return (
        taken.get, taken.get_no_ack, taken.deliver, taken.deliver_no_ack, taken.redeliver, taken.ack, taken.get_empty,
    )  # fmt: skip


def taken_totals(scrape: Scrape) -> Values:
    """Since the start: unlike the sum of what is there now, these never fall."""
    return taken_values(counters.total(scrape.taken.values()))


def taken_families(prefix: str) -> tuple[Family, ...]:
    """What was taken, of queues or of channels."""
    return (
        Family(f"{prefix}_get_ack_total", COUNTER, "Total number of messages fetched with basic.get in manual acknowledgement mode"),
        Family(f"{prefix}_get_total", COUNTER, "Total number of messages fetched with basic.get in automatic acknowledgement mode"),
        Family(
            f"{prefix}_messages_delivered_ack_total",
            COUNTER,
            "Total number of messages delivered to consumers in manual acknowledgement mode",
        ),
        Family(
            f"{prefix}_messages_delivered_total",
            COUNTER,
            "Total number of messages delivered to consumers in automatic acknowledgement mode",
        ),
        Family(f"{prefix}_messages_redelivered_total", COUNTER, "Total number of messages redelivered to consumers"),
        Family(f"{prefix}_messages_acked_total", COUNTER, "Total number of messages acknowledged by consumers"),
        Family(f"{prefix}_get_empty_total", COUNTER, "Total number of times basic.get operations fetched no message"),
    )


def _delivery(scrape: Scrape) -> Iterator[Row | None]:
    for found in scrape.queues():
        if found is None:
            yield None
            continue
        queue, label = found
        yield label, taken_values(counters.taken_from(queue) if len(queue.consumers) else queue.taken)


DELIVERY: Final = Group("queue_delivery_metrics", taken_families("queue"), _delivery, totals=taken_totals)


def _info(scrape: Scrape) -> Iterator[Row | None]:
    ends = {kind: f',queue_type="rabbit_{kind}_queue",membership="leader"}} ' for kind in scrape.broker.taken}
    for found in scrape.queues():
        yield None if found is None else (found[1][:-2] + ends[found[0].type], (1,))


INFO: Final = Group(
    "queue_info", (Family("queue_info", GAUGE, "A metric with a constant '1' value and labels that provide some queue details"),), _info
)

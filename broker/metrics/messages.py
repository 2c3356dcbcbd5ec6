"""The counters of the whole broker (`global_` in RabbitMQ's names), which never fall, and the sizes of what was published."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Final

from broker.core.counters import SIZE_BUCKETS_BYTES
from broker.core.dead_letter import DELIVERY_LIMIT, EXPIRED, MAXLEN, REJECTED
from broker.metrics.scrape import Group
from broker.metrics.text import COUNTER, GAUGE, HISTOGRAM, Family, labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.counters import Taken
    from broker.metrics.scrape import Row, Scrape

PROTOCOL: Final = "amqp091"
STREAM: Final = "stream"
"""There are no streams, but RabbitMQ tells of all types from the start, and so do graphs of them."""
_BY_PROTOCOL: Final = labels(protocol=PROTOCOL)
_TOTAL: Final = "Total number of messages"


def _by_protocol(scrape: Scrape) -> Iterator[Row | None]:
    given = scrape.given
    publishers = consumers = 0
    for channel in scrape.channels():
        publishers += bool(channel.published)
        consumers += len(channel.consumers) + (channel.reply_consumer is not None)
        yield None
    yield _BY_PROTOCOL, (
        given.publish, given.publish_confirm, given.routed, given.drop_unroutable, given.return_unroutable, given.confirm, publishers,
        consumers,
    )  # fmt: skip


BY_PROTOCOL: Final = Group(
    "global",
    (
        Family("messages_received_total", COUNTER, f"{_TOTAL} received from publishers"),
        Family("messages_received_confirm_total", COUNTER, f"{_TOTAL} received from publishers expecting confirmations"),
        Family("messages_routed_total", COUNTER, f"{_TOTAL} routed to queues or streams"),
        Family(
            "messages_unroutable_dropped_total",
            COUNTER,
            f"{_TOTAL} published as non-mandatory into an exchange and dropped as unroutable",
        ),
        Family(
            "messages_unroutable_returned_total",
            COUNTER,
            f"{_TOTAL} published as mandatory into an exchange and returned to the publisher as unroutable",
        ),
        Family("messages_confirmed_total", COUNTER, f"{_TOTAL} confirmed to publishers"),
        Family("publishers", GAUGE, "Current number of publishers"),
        Family("consumers", GAUGE, "Current number of consumers"),
    ),
    _by_protocol,
)


def _queue_type(kind: str) -> str:
    return f"rabbit_{kind}_queue"


def _by_type(scrape: Scrape) -> Iterator[Row]:
    for kind, taken in scrape.taken.items():
        yield labels(protocol=PROTOCOL, queue_type=_queue_type(kind)), _type_values(taken)
    yield labels(protocol=PROTOCOL, queue_type=_queue_type(STREAM)), (0,) * len(BY_TYPE.families)


def _type_values(taken: Taken) -> tuple[int, ...]:
    return (
        taken.deliver_get, taken.deliver, taken.deliver_no_ack, taken.get, taken.get_no_ack, taken.get_empty, taken.redeliver, taken.ack,
    )  # fmt: skip


BY_TYPE: Final = Group(
    "global",
    (
        Family("messages_delivered_total", COUNTER, f"{_TOTAL} delivered to consumers"),
        Family(
            "messages_delivered_consume_manual_ack_total",
            COUNTER,
            f"{_TOTAL} delivered to consumers using basic.consume with manual acknowledgment",
        ),
        Family(
            "messages_delivered_consume_auto_ack_total",
            COUNTER,
            f"{_TOTAL} delivered to consumers using basic.consume with automatic acknowledgment",
        ),
        Family(
            "messages_delivered_get_manual_ack_total",
            COUNTER,
            f"{_TOTAL} delivered to consumers using basic.get with manual acknowledgment",
        ),
        Family(
            "messages_delivered_get_auto_ack_total",
            COUNTER,
            f"{_TOTAL} delivered to consumers using basic.get with automatic acknowledgment",
        ),
        Family("messages_get_empty_total", COUNTER, "Total number of times basic.get operations fetched no message"),
        Family("messages_redelivered_total", COUNTER, f"{_TOTAL} redelivered to consumers"),
        Family("messages_acknowledged_total", COUNTER, f"{_TOTAL} acknowledged by consumers"),
    ),
    _by_type,
)

# --- dead letters ---------------------------------------------------------------------------------------------------

_AT_LEAST_ONCE: Final = "at_least_once"
_STRATEGIES: Final = {"classic": ("disabled", "at_most_once"), "quorum": ("disabled", "at_most_once", _AT_LEAST_ONCE)}
"""Which there are in RabbitMQ, by type of queue; here nothing is dead-lettered at least once."""
_REASONS: Final = (MAXLEN, EXPIRED, REJECTED, DELIVERY_LIMIT)


def _dead_lettered(scrape: Scrape) -> Iterator[Row]:
    counts = scrape.broker.dead_lettered
    for kind, strategies in _STRATEGIES.items():
        for strategy in strategies:
            told = {
                MAXLEN: strategy != _AT_LEAST_ONCE,
                EXPIRED: True,
                REJECTED: True,
                DELIVERY_LIMIT: kind == "quorum",
            }  # fmt: skip
            values = [counts.get((kind, strategy, reason), 0) if told[reason] else None for reason in _REASONS]
            confirmed = 0 if strategy == _AT_LEAST_ONCE else None
            yield labels(queue_type=_queue_type(kind), dead_letter_strategy=strategy), (*values, confirmed)


DEAD_LETTERED: Final = Group(
    "global",
    (
        Family("messages_dead_lettered_maxlen_total", COUNTER, f"{_TOTAL} dead-lettered due to overflow drop-head or reject-publish-dlx"),
        Family("messages_dead_lettered_expired_total", COUNTER, f"{_TOTAL} dead-lettered due to message TTL exceeded"),
        Family("messages_dead_lettered_rejected_total", COUNTER, f"{_TOTAL} dead-lettered due to basic.reject or basic.nack"),
        Family("messages_dead_lettered_delivery_limit_total", COUNTER, f"{_TOTAL} dead-lettered due to delivery-limit exceeded"),
        Family("messages_dead_lettered_confirmed_total", COUNTER, f"{_TOTAL} dead-lettered and confirmed by target queues"),
    ),
    _dead_lettered,
)

# --- sizes ----------------------------------------------------------------------------------------------------------

_BOUNDS: Final = ("100.0", "1000.0", "10000.0", "100000.0", "1e+06", "1e+07", "5e+07", "1e+08", "+Inf")
"""SIZE_BUCKETS_BYTES as RabbitMQ prints them: dashboards ask for these very texts."""
assert [float(bound) for bound in _BOUNDS[:-1]] == list(SIZE_BUCKETS_BYTES)
_SIZES: Final = Family("message_size_bytes", HISTOGRAM, "Size of messages received from publishers")


def sizes(scrape: Scrape) -> str:
    """The histogram, whole."""
    counted, prefix = scrape.broker.sizes, "rabbitmq_"
    name = prefix + _SIZES.name
    lines = [
        f"{name}_bucket{labels(protocol=PROTOCOL, le=bound)}{count}\n"
        for bound, count in zip(_BOUNDS, accumulate(counted.counts), strict=True)
    ]
    ends = f"{name}_count{_BY_PROTOCOL}{sum(counted.counts)}\n{name}_sum{_BY_PROTOCOL}{counted.total_bytes}\n"
    return _SIZES.head(prefix) + "".join(lines) + ends

"""Which figures are sampled of what, and where each stands (samples.Figures)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.admin.samples import Figures, Kind
from broker.admin.schemas import counted
from broker.core import counters
from broker.core.counters import Churn, Given, Taken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.broker import Broker
    from broker.core.channel import Channel
    from broker.core.exchange import Exchange
    from broker.core.queue import Queue
    from broker.core.session import Session
    from broker.core.vhost import VHost
    from broker.node import Node

LENGTHS: Final = ("messages_ready", "messages_unacknowledged", "messages")
TAKEN: Final = (*Taken.__slots__, "deliver_get")
GIVEN: Final = ("publish", "confirm", "return_unroutable", "drop_unroutable")
SOCKET: Final = ("recv_oct", "send_oct", "recv_cnt", "send_cnt")

QUEUE: Final = (*LENGTHS, "publish", *TAKEN)
EXCHANGE: Final = ("publish_in", "publish_out")
CHANNEL: Final = (*GIVEN, *TAKEN)
CONNECTION: Final = SOCKET
VHOST: Final = (*LENGTHS, *GIVEN, *TAKEN, *SOCKET[:2])
BROKER: Final = (*LENGTHS, *GIVEN, *TAKEN, *Churn.__slots__)
NODE: Final = ("mem_used", "fd_used", "sockets_used", "disk_free")

SCHEMAS: Final = {"MessageStats": counted(" ".join((*GIVEN, *TAKEN, *EXCHANGE, "disk_reads", "disk_writes")))}


def of_queue(queue: Queue) -> Figures:
    """In the order of QUEUE."""
    ready, unacked = len(queue.ready), queue.unacked
    # Most queues of a long list are idle: without consumers there is nothing to add up.
    taken = counters.taken_from(queue) if len(queue.consumers) else queue.taken
    return (ready, unacked, ready + unacked, queue.published, *_taken(taken))


def of_exchange(exchange: Exchange) -> Figures:
    """In the order of EXCHANGE."""
    return exchange.published_in, exchange.published_out


def of_channel(channel: Channel) -> Figures:
    """In the order of CHANNEL."""
    return (*_given(counters.given_by(channel)), *_taken(counters.taken_by(channel)))


def of_connection(session: Session) -> Figures:
    """In the order of CONNECTION."""
    return session.received_bytes, session.sent_bytes, session.received_reads, session.sent_writes


def of_vhost(vhost: VHost) -> Figures:
    """In the order of VHOST."""
    taken = counters.total(counters.taken_in(vhost).values())
    received = vhost.received_bytes + sum(each.received_bytes for each in vhost.sessions)
    sent = vhost.sent_bytes + sum(each.sent_bytes for each in vhost.sessions)
    return (*_lengths(vhost), *_given(counters.given_in(vhost)), *_taken(taken), received, sent)


def of_broker(broker: Broker) -> Figures:
    """In the order of BROKER."""
    lengths = [sum(column) for column in zip(*[_lengths(vhost) for vhost in broker.vhosts.values()], strict=True)] or [0, 0, 0]
    taken = counters.total(counters.taken_of(broker).values())
    churn = [value for _, value in broker.churn.items()]
    return (*lengths, *_given(counters.given_to(broker)), *_taken(taken), *churn)


def of_node(node: Node) -> Figures:
    """In the order of NODE."""
    return node.memory_used_bytes, node.files_open, node.sockets_used, node.disk_free_bytes


def _lengths(vhost: VHost) -> tuple[int, int, int]:
    queues = vhost.declared_queues
    ready = sum([len(queue.ready) for queue in queues])
    unacked = sum([queue.unacked for queue in queues])
    return ready, unacked, ready + unacked


def _given(given: Given) -> tuple[int, ...]:
    return given.publish, given.confirm, given.return_unroutable, given.drop_unroutable


def _taken(taken: Taken) -> tuple[int, ...]:
    return (
        taken.ack, taken.deliver, taken.deliver_no_ack, taken.get, taken.get_empty, taken.get_no_ack, taken.redeliver, taken.deliver_get,
    )  # fmt: skip


# --- kinds ----------------------------------------------------------------------------------------------------------


def kinds(broker: Broker, node: Node) -> dict[str, Kind]:
    """All that is sampled, by what it is called."""

    def queues() -> Iterator[Queue]:
        for vhost in broker.vhosts.values():
            yield from vhost.queues.values()

    def exchanges() -> Iterator[Exchange]:
        for vhost in broker.vhosts.values():
            yield from vhost.exchanges.values()

    def channels() -> Iterator[Channel]:
        for session in broker.sessions:
            yield from session.channels.values()

    return {
        "queue": Kind(queues, of_queue),
        "exchange": Kind(exchanges, of_exchange),
        "connection": Kind(lambda: broker.sessions, of_connection),
        "channel": Kind(channels, of_channel),
        "vhost": Kind(lambda: broker.vhosts.values(), of_vhost),
        "broker": Kind(lambda: (broker,), of_broker, tiers=4),
        "node": Kind(lambda: (node,), of_node, tiers=4),
    }

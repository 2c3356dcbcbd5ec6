"""The firehose: a copy of every message that is published to a vhost or delivered from it, on amq.rabbitmq.trace (contract 3.1,
https://www.rabbitmq.com/docs/firehose).

    publish.EXCHANGE    with the queues it was routed to        deliver.QUEUE    with whether it was there before

The copy has the message's body, and everything else about it in its headers. What was itself published to amq.rabbitmq.trace isn't
traced. Nothing asks whether there is a tracer where messages run: while there is one, no route is plain (publisher), and each consumer's
encoder is wrapped (`watch`).

A copy nests two tables deeper than the message. What can't be told there (headers that would nest too deep, a timestamp that is no signed
integer of 64 bits) is left out of it: nothing about a message that was taken in may stop the copy, let alone the message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.core.message import split_routing
from broker.core.properties import senders
from protocol import content
from protocol.content import HAS_CC, Properties, decode_properties, encode_properties, scan
from protocol.tables import Field, MalformedTable, Table, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broker.core.channel import Channel
    from broker.core.consumers import Consumer
    from broker.core.queue import Queue
    from broker.core.vhost import VHost
    from protocol.events import DeliveryEncoder, Message

TRACE_EXCHANGE: Final = "amq.rabbitmq.trace"
TIMESTAMP_MAX: Final = 2**63 - 1
"""RabbitMQ shows the low 32 bits of any as a signed integer. A field of type T would hold more, but clients make a date of it, and fail."""
NAMES: Final = tuple(reversed(Properties.__slots__))


class Tracer:
    """Traces one vhost, from `start` to `stop`."""

    def __init__(self, vhost: VHost) -> None:
        self._vhost = vhost
        self._broker = vhost.broker
        self._exchange = vhost.exchange(TRACE_EXCHANGE)

    def start(self) -> None:
        """Watch the consumers that there are."""
        for queue in self._vhost.queues.values():
            for consumer in queue.consumers:
                self.watch(consumer)

    def stop(self) -> None:
        """Leave the consumers alone again."""
        for queue in self._vhost.queues.values():
            for consumer in queue.consumers:
                if isinstance(consumer.encoder, TracedDeliveries):
                    consumer.encoder = consumer.encoder.encoder

    def watch(self, consumer: Consumer) -> None:
        """Trace what this consumer is sent."""
        consumer.encoder = TracedDeliveries(self, consumer)

    def published(self, channel: Channel, routing: bytes, keys: Sequence[str], header: bytes, body: bytes, queues: Iterable[Queue]) -> None:
        """A message was published with these routing keys, and goes to these queues."""
        name, _ = split_routing(routing)
        if name != TRACE_EXCHANGE and self._exchange.binding_count:
            extra = _origin(channel) | {"routed_queues": field([queue.name for queue in queues])}
            self._announce(f"publish.{name}", name, keys, header, body, extra)

    def delivered(self, channel: Channel, queue: Queue, redelivered: bool, messages: Iterable[Message]) -> None:
        """Messages of a queue went out on a channel."""
        if not self._exchange.binding_count:
            return
        for _, routing, header, body in messages:
            name, routing_key = split_routing(routing)
            if name != TRACE_EXCHANGE:
                keys = [routing_key]
                if scan(header) & HAS_CC:
                    keys += senders(content.headers(header), "CC")
                extra = {"redelivered": Field("I", int(redelivered))} | _origin(channel)
                self._announce(f"deliver.{queue.name}", name, keys, header, body, extra)

    def _announce(self, key: str, exchange: str, keys: Sequence[str], header: bytes, body: bytes, extra: Table) -> None:
        shown = _shown(decode_properties(header))
        headers: Table = {
            "exchange_name": field(exchange),
            "routing_keys": field(list(keys)),
            "properties": Field("F", shown),
            "node": field(self._broker.node),
        }
        properties = Properties(headers=headers | extra)
        try:
            copied = encode_properties(properties, len(body))
        except MalformedTable:
            del shown["headers"]
            copied = encode_properties(properties, len(body))
        self._broker.announcements.add(self._vhost, self._exchange, key, copied, body)


class TracedDeliveries:
    """A consumer's encoder (protocol.events.DeliveryEncoder) that tells the tracer what went out."""

    __slots__ = ("_consumer", "_tracer", "encoder")

    def __init__(self, tracer: Tracer, consumer: Consumer) -> None:
        self._tracer = tracer
        self._consumer = consumer
        self.encoder: DeliveryEncoder = consumer.encoder

    def encode(self, tag: int, redelivered: bool, messages: Sequence[Message], limit_bytes: int) -> int:
        """See DeliveryEncoder."""
        count = self.encoder.encode(tag, redelivered, messages, limit_bytes)
        self._tracer.delivered(self._consumer.channel, self._consumer.queue, redelivered, messages[:count])
        return count


def _origin(channel: Channel) -> Table:
    """On whose channel it happened."""
    session = channel.session
    return {
        "vhost": field(session.vhost.name),
        "connection": field(session.peer.name),
        "channel": Field("I", channel.number),
        "user": field(session.identity.name),
    }


def _shown(properties: Properties) -> Table:
    """Those that are there, last first as in RabbitMQ; numbers, the timestamp too, are ints, but for one that is too big."""
    shown: dict[str, Any] = {}
    for name in NAMES:
        value = getattr(properties, name)
        if value is not None and not (name == "timestamp" and value > TIMESTAMP_MAX):
            shown[name] = Field("F", value) if name == "headers" else field(value)
    return shown

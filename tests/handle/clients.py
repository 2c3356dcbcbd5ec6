"""What clients of a test do, in a few words."""

from collections.abc import Iterator
from contextlib import contextmanager

import pika
from pika.adapters.blocking_connection import BlockingChannel

from leveret.addresses import Addresses


@contextmanager
def channel_of(broker: Addresses, *queues: str, confirms: bool = False) -> Iterator[BlockingChannel]:
    """A channel on a connection of its own, with these (durable) queues declared."""
    with pika.BlockingConnection(broker.pika_parameters()) as connection:
        channel = connection.channel()
        if confirms:
            channel.confirm_delivery()
        for queue in queues:
            channel.queue_declare(queue, durable=True)
        yield channel


def count(channel: BlockingChannel, queue: str) -> int:
    """Messages that are ready there."""
    found: int = channel.queue_declare(queue, passive=True).method.message_count
    return found

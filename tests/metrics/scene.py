"""What goes on in a broker while it is scraped: the same on RabbitMQ and on Leveret."""

from tests.spec import Broker
from tests.wire import Wire

CLASSIC = "scene.classic"
QUORUM = "scene.quorum"
EMPTY = "scene.empty"
EXCHANGE = "scene.exchange"
SIZES = (1, 100, 101, 5_000, 100, 101)


def play(broker: Broker) -> Wire:
    """Three channels of one connection. While it is open:

    scene.classic    6 messages of SIZES came in: one acked, two with a consumer (prefetch 2), three ready
    scene.quorum     2 messages came in: one taken without ack, one unacked (basic.get)
    scene.empty      got from, in vain
    and two publishes that couldn't be routed
    """
    wire = Wire.connect(broker)
    publishing = wire.open_channel()
    publishing.confirm_select()
    publishing.queue(CLASSIC, durable=True)
    publishing.queue(QUORUM, durable=True, arguments={"x-queue-type": "quorum"})
    publishing.queue(EMPTY, durable=True)
    publishing.exchange(EXCHANGE, "fanout")
    publishing.bind(CLASSIC, EXCHANGE)
    for size in SIZES:
        publishing.publish(EXCHANGE, "", b"x" * size, delivery_mode=2)
    for _ in range(2):
        publishing.publish("", QUORUM, b"q", delivery_mode=2)
    publishing.publish("", "scene.nowhere", b"dropped")
    assert all(publishing.confirms(9).values())
    publishing.publish("", "scene.nowhere", b"returned", mandatory=True)
    publishing.returned()
    consuming = wire.open_channel()
    consuming.qos(2)
    consuming.consume(CLASSIC)
    consuming.ack(consuming.deliver().method.delivery_tag)
    consuming.deliveries(2)
    getting = wire.open_channel()
    getting.take(QUORUM, no_ack=False)
    getting.take(QUORUM, no_ack=True)
    assert getting.get(EMPTY) is None
    return wire

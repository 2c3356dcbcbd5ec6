"""AMQPStorm, which does its input on a thread of its own."""

import amqpstorm
import pytest

from tests.fixtures import Unique
from tests.spec import Broker


@pytest.fixture
def connection(broker: Broker) -> amqpstorm.Connection:
    return amqpstorm.Connection(broker.host, "guest", "guest", port=broker.port)


def test_publish_and_consume(connection: amqpstorm.Connection, unique: Unique) -> None:
    queue = unique("storm")
    with connection, connection.channel() as channel:
        channel.queue.declare(queue, durable=True)
        channel.confirm_deliveries()
        for number in range(20):
            properties = {"headers": {"number": number}, "delivery_mode": 2}
            assert amqpstorm.Message.create(channel, f"message {number}", properties).publish(queue, mandatory=True) is True
        channel.basic.qos(prefetch_count=5)
        channel.basic.consume(queue=queue)
        seen = []
        for message in channel.build_inbound_messages():
            seen.append((message.body, message.properties["headers"]["number"]))
            message.ack()
            if len(seen) == 20:
                break
        assert seen == [(f"message {number}", number) for number in range(20)]


def test_a_return_and_an_error(connection: amqpstorm.Connection) -> None:
    with connection:
        channel = connection.channel()
        channel.confirm_deliveries()
        with pytest.raises(amqpstorm.AMQPMessageError, match="NO_ROUTE"):
            channel.basic.publish("lost", "nowhere-at-all", mandatory=True)
        with pytest.raises(amqpstorm.AMQPChannelError) as missing:
            connection.channel().queue.declare("missing", passive=True)
        assert missing.value.error_code == 404

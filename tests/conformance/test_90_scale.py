"""What the issue asks for in numbers: 1,000 connections with 10 channels each."""

from contextlib import ExitStack

import pytest
from pamqp.commands import Basic, Channel, Queue

from tests.fixtures import Unique
from tests.spec import Broker, spec
from tests.wire import Wire, WireChannel

CONNECTIONS = 1000
CHANNELS = 10


@spec("1", "many connections with many channels")
@pytest.mark.slow
def test_a_thousand_connections_with_ten_channels_each(broker: Broker, channel: WireChannel, unique: Unique) -> None:
    queue = channel.queue(unique("crowd"), durable=True)
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire.connect(broker, timeout=60)) for _ in range(CONNECTIONS)]
        for wire in wires:
            for number in range(1, CHANNELS + 1):
                wire.send_method(number, Channel.Open)
        for wire in wires:
            for _ in range(CHANNELS):
                wire.expect(Channel.OpenOk)

        # each channel says something, and all of it arrives
        for index, wire in enumerate(wires):
            for number in range(1, CHANNELS + 1):
                wire.publish(number, "", queue, b"%d.%d" % (index, number))
                wire.send_method(number, Basic.Qos, prefetch_count=1)
        for wire in wires:
            for _ in range(CHANNELS):
                wire.expect(Basic.QosOk)
        said = {b"%d.%d" % (index, number) for index in range(CONNECTIONS) for number in range(1, CHANNELS + 1)}
        channel.wire.timeout = 60
        channel.consume(queue, no_ack=True)
        assert {message.body for message in channel.deliveries(len(said))} == said

        # each connection hears something
        for wire in wires:
            wire.send_method(1, Queue.Declare, queue="", exclusive=True)
        for wire in wires:
            name = wire.expect(Queue.DeclareOk).queue
            wire.send_method(1, Queue.Bind, queue=name, exchange="amq.fanout")
            wire.send_method(2, Basic.Consume, queue=name, no_ack=True)
        for wire in wires:
            wire.expect(Queue.BindOk, 1)
            wire.expect(Basic.ConsumeOk, 2)
        channel.publish("amq.fanout", "", b"hello, all")
        assert {wire.expect_content(Basic.Deliver, 2).body for wire in wires} == {b"hello, all"}


@spec("3.6", "one message to ten thousand queues")
@pytest.mark.slow
def test_a_message_to_ten_thousand_queues(channel: WireChannel, unique: Unique) -> None:
    channel.wire.timeout = 120
    exchange = channel.exchange(unique("wide"), "fanout")
    for _ in range(10_000):
        channel.send(Queue.Declare, queue="", exclusive=True)
    queues = [channel.expect(Queue.DeclareOk).queue for _ in range(10_000)]
    for queue in queues:
        channel.send(Queue.Bind, queue=queue, exchange=exchange, nowait=True)
    channel.confirm_select()
    channel.publish(exchange, "", b"wide")
    assert channel.confirms(1) == {1: True}
    for queue in queues:
        channel.send(Basic.Get, queue=queue, no_ack=True)
    assert all(channel.wire.expect_content(Basic.GetOk).body == b"wide" for _ in queues)

"""Contract 2, channels."""

import pytest
from pamqp.commands import Basic, Channel, Exchange, Queue

from tests.fixtures import Connect, Unique
from tests.spec import spec
from tests.wire import Wire, WireChannel


@spec("2.1")
def test_open_twice(channel: WireChannel) -> None:
    channel.send(Channel.Open)
    channel.expect_connection_close(504, "CHANNEL_ERROR - second 'channel.open' seen", (20, 10))


@spec("2.1", "numbers can be reused after close")
def test_a_number_is_used_again(channel: WireChannel) -> None:
    queue = channel.queue()
    for body in (b"1", b"2", b"3"):
        channel.close()
        channel.reopen()
        channel.publish("", queue, body)
    assert channel.bodies(queue) == [b"1", b"2", b"3"]


@spec("2.1", "and the new one has none of the old one's state")
def test_a_reopened_channel_starts_afresh(channel: WireChannel) -> None:
    queue = channel.queue()
    channel.confirm_select()
    channel.qos(1)
    channel.publish("", queue, b"1")
    assert channel.confirms(1) == {1: True}
    channel.take(queue, no_ack=False)
    channel.close()
    channel.reopen()
    channel.publish("", queue, b"2")
    assert [channel.take(queue, no_ack=False).tag for _ in range(2)] == [1, 2]
    channel.call(Queue.Declare, queue=queue, passive=True)
    channel.tx_select()


@spec("2.1", "the largest number")
def test_channel_65535(wire: Wire) -> None:
    channel = wire.open_channel(65535)
    queue = channel.queue()
    channel.publish("", queue, b"x")
    assert channel.take(queue).body == b"x"


@spec("2.1", "after the server closed a channel, until close-ok: channel.close gets close-ok, channel.open is [h] 504, all else is dropped")
def test_everything_is_dropped_between_close_and_close_ok(channel: WireChannel, unique: Unique) -> None:
    name = unique("dropped")
    channel.send(Queue.Declare, queue="missing", passive=True)
    channel.send(Queue.Declare, queue=name)
    channel.publish("", name, b"x", mandatory=True)
    channel.send(Basic.Qos)
    channel.expect_close(404, reply=False)
    channel.send(Exchange.Declare, exchange=name)
    channel.send(Channel.CloseOk)
    channel.reopen()
    channel.send(Queue.Declare, queue=name, passive=True)
    channel.expect_close(404, f"NOT_FOUND - no queue '{name}' in vhost '/'")


@spec("2.1")
def test_both_sides_close_a_channel_at_once(channel: WireChannel) -> None:
    channel.send(Queue.Declare, queue="missing", passive=True)
    channel.send(Channel.Close, reply_code=200, reply_text="bye")
    channel.expect_close(404, reply=False)
    channel.expect(Channel.CloseOk)
    channel.send(Channel.CloseOk)
    channel.reopen()


@spec("2.1")
def test_open_before_close_ok(channel: WireChannel) -> None:
    channel.send(Queue.Declare, queue="missing", passive=True)
    channel.expect_close(404, reply=False)
    channel.send(Channel.Open)
    channel.expect_connection_close(504)


@spec("2.1", "what the server closes is one channel; the others and the connection live on")
def test_other_channels_live_on(wire: Wire) -> None:
    first, second = wire.open_channel(), wire.open_channel()
    queue = second.queue()
    second.consume(queue)
    first.send(Queue.Declare, queue="missing", passive=True)
    first.expect_close(404)
    second.publish("", queue, b"x")
    assert second.deliver().body == b"x"
    first.reopen()


@spec("2.1", "replies come in the order of the requests")
def test_replies_keep_the_order_of_the_requests(channel: WireChannel, unique: Unique) -> None:
    names = [unique("q") for _ in range(20)]
    for name in names:
        channel.send(Queue.Declare, queue=name, exclusive=True)
        channel.send(Queue.Bind, queue=name, exchange="amq.fanout")
    for name in names:
        channel.expect(Queue.DeclareOk, queue=name)
        channel.expect(Queue.BindOk)


@spec("2.1", "2,047 channels on one connection")
def test_all_the_channels_that_a_connection_may_have(connect: Connect) -> None:
    wire = connect(timeout=60)
    for number in range(1, 2048):
        wire.send_method(number, Channel.Open)
    for _ in range(2047):
        wire.expect(Channel.OpenOk)
    last = WireChannel(wire, 2047)
    queue = last.queue()
    for number in range(1, 2048):
        wire.publish(number, "", queue, b"%d" % number)
        wire.send_method(number, Basic.Qos, prefetch_count=1)
    for _ in range(2047):
        wire.expect(Basic.QosOk)
    assert sorted(int(body) for body in last.bodies(queue)) == list(range(1, 2048))
    wire.send_method(2048, Channel.Open)
    text = "NOT_ALLOWED - number of channels opened (2047) has reached the negotiated channel_max (2047)"
    wire.expect_close(530, text, (0, 0))


@spec("2.2")
@pytest.mark.parametrize("times", [1, 3])
def test_flow_active(channel: WireChannel, times: int) -> None:
    for _ in range(times):
        assert channel.call(Channel.Flow, active=True).active is True


@spec("2.2")
def test_flow_inactive(channel: WireChannel) -> None:
    channel.send(Channel.Flow, active=False)
    channel.expect_connection_close(540, "NOT_IMPLEMENTED - active=false", (20, 20))

"""Class basic, but for publish and ack, which come in runs: see Session (contract 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from broker.core import facts, ids
from broker.core.arguments import consumer_priority
from broker.core.classes.names import check_owner, last_queue
from broker.core.properties import REPLY_TO
from broker.core.returns import counted
from protocol.constants import ACCESS_REFUSED, NOT_ALLOWED, NOT_IMPLEMENTED, PRECONDITION_FAILED, RESOURCE_LOCKED
from protocol.errors import ChannelException, ConnectionException
from protocol.methods import Basic, make

if TYPE_CHECKING:
    from broker.core.channel import Channel
    from broker.core.queue import Queue as DeclaredQueue
    from broker.core.session import Session
    from protocol.tables import Table


def qos(session: Session, channel: Channel, method: Basic.Qos) -> None:
    """basic.qos: per consumer to come, or shared over the channel (contract 6.3)."""
    if method.prefetch_size:
        raise ConnectionException(NOT_IMPLEMENTED, f"prefetch_size!=0 ({method.prefetch_size})")
    count = method.prefetch_count or 0
    if method.global_ and session.broker.compat.has_shared_prefetch:
        channel.prefetch_shared = count
        channel.shared_used = len(channel.unacked)
    else:
        channel.prefetch = count
        channel.prefetch_shared = 0
    for consumer in channel.consumers.values():
        consumer.wake()
    channel.send(make(Basic.QosOk))


def consume(session: Session, channel: Channel, method: Basic.Consume) -> None:
    """basic.consume"""
    if method.consumer_tag and (method.consumer_tag in channel.consumers or method.consumer_tag == channel.reply_consumer):
        raise ConnectionException(NOT_ALLOWED, f"attempt to reuse consumer tag '{method.consumer_tag}'")
    most = session.broker.consumer_max_per_channel
    if most and len(channel.consumers) >= most:
        raise ConnectionException(NOT_ALLOWED, f"reached maximum ({most}) of consumers per channel")
    tag = method.consumer_tag or ids.generate("amq.ctag-", session.vhost.random_bytes)
    if method.queue == REPLY_TO:
        _consume_replies(session, channel, method, tag)
        return
    vhost = session.vhost
    name = last_queue(channel, method.queue)
    session.identity.check("read", "queue", name, vhost.name)
    queue = vhost.queue(name)
    check_owner(session, queue)
    arguments = cast("Table", method.arguments)
    priority = consumer_priority(arguments, queue.arguments, name, vhost.name)
    _check_consumable(queue, channel, exclusive=method.exclusive)
    consumer = channel.consumer_type(
        channel, queue, tag, no_ack=method.no_ack, exclusive=method.exclusive, priority=priority, arguments=arguments
    )
    if vhost.tracer is not None:
        vhost.tracer.watch(consumer)
    channel.consumers[tag] = consumer
    session.broker.emit("consumer.created", lambda: facts.of_consumer(consumer))
    if not method.nowait:
        channel.send(make(Basic.ConsumeOk, consumer_tag=tag))
    queue.add_consumer(consumer)


def _check_consumable(queue: DeclaredQueue, channel: Channel, *, exclusive: bool) -> None:
    """Exclusive use, and what the queue's type can't do (contract 4.8, 6.1)."""
    text = queue.vhost.queue_text(queue.name)
    _check_consumed(queue)
    if queue.type == "quorum" and channel.prefetch_shared:
        raise ConnectionException(NOT_IMPLEMENTED, f"{text} does not support global qos")
    if queue.exclusive_consumer or (exclusive and len(queue.consumers)):
        raise ChannelException(ACCESS_REFUSED, f"{text} in exclusive use")
    if exclusive and queue.consumers.single_active:
        raise ChannelException(ACCESS_REFUSED, f"{text} in exclusive use")


def _check_consumed(queue: DeclaredQueue) -> None:
    if queue.kept_for is not None:
        text = queue.vhost.queue_text(queue.name)
        raise ChannelException(ACCESS_REFUSED, f"{text} is kept for an exchange: it can be purged, not consumed")


def _consume_replies(session: Session, channel: Channel, method: Basic.Consume, tag: str) -> None:
    """The pseudo-queue of direct reply-to (contract 6.8)."""
    if not method.no_ack:
        raise ChannelException(PRECONDITION_FAILED, "reply consumer cannot acknowledge")
    if channel.reply_consumer is not None:
        raise ChannelException(PRECONDITION_FAILED, "reply consumer already set")
    channel.reply_consumer = tag
    session.broker.add_reply_channel(channel)
    if not method.nowait:
        channel.send(make(Basic.ConsumeOk, consumer_tag=tag))


def cancel(session: Session, channel: Channel, method: Basic.Cancel) -> None:
    """basic.cancel: ok even for an unknown tag; what is unacked stays unacked (contract 6.6)."""
    tag = method.consumer_tag or ""
    consumer = channel.consumers.pop(tag, None)
    if consumer is not None:
        session.broker.cancel(consumer)
    elif tag and tag == channel.reply_consumer:
        session.broker.forget_reply_channel(channel)
    if not method.nowait:
        channel.send(make(Basic.CancelOk, consumer_tag=tag))


def get(session: Session, channel: Channel, method: Basic.Get) -> None:
    """basic.get"""
    vhost = session.vhost
    name = last_queue(channel, method.queue)
    session.identity.check("read", "queue", name, vhost.name)
    queue = vhost.queue(name)
    check_owner(session, queue)
    if queue.type == "quorum" and queue.consumers.single_active:
        why = "basic.get operations are not supported by quorum queues with single active consumer"
        raise ChannelException(RESOURCE_LOCKED, f"cannot obtain access to locked {vhost.queue_text(name)}. {why}")
    _check_consumed(queue)
    queue.used()
    queue.serve()
    if channel.gets or queue.is_cold:
        # Behind one that waits, every other waits too, or their tags would be out of order.
        fill = channel.hold_place()
        channel.gets.append((queue, lambda: fill(b"" if channel.closed else _answer_get(session, channel, queue, method.no_ack))))
        channel.answer_gets()
    else:
        channel.write(_answer_get(session, channel, queue, method.no_ack))


def _answer_get(session: Session, channel: Channel, queue: DeclaredQueue, no_ack: bool) -> bytes:
    """Take the head; returns the frames of get-ok or get-empty."""
    taken = queue.get()
    channel.getter(queue, no_ack=no_ack).got(None if taken is None else taken[0])
    if taken is None:
        return session.wire.method(channel.number, make(Basic.GetEmpty))
    redelivered, message = taken
    shown = counted((message,), queue.delivery_counts)[0] if redelivered and queue.is_quorum else message
    if no_ack:
        queue.settle([message])
        tag = channel.take_tag()
    else:
        tag = channel.lease_to_getter(queue, message)
    if queue.vhost.tracer is not None:
        queue.vhost.tracer.delivered(channel, queue, redelivered, (shown,))
    return session.wire.get_ok(channel.number, tag, redelivered, len(queue.ready), shown)


def nack(session: Session, channel: Channel, method: Basic.Nack) -> None:
    """basic.nack"""
    channel.on_settle(method.delivery_tag or 0, method.multiple, method.requeue)


def reject(session: Session, channel: Channel, method: Basic.Reject) -> None:
    """basic.reject"""
    channel.on_settle(method.delivery_tag or 0, False, method.requeue)


def recover(session: Session, channel: Channel, method: Basic.Recover) -> None:
    """basic.recover: recover-ok first, then the redeliveries (contract 6.5)."""
    recover_async(session, channel, method)
    channel.send(make(Basic.RecoverOk))


def recover_async(session: Session, channel: Channel, method: Basic.Recover | Basic.RecoverAsync) -> None:
    """basic.recover-async: everything unacked goes back."""
    if not method.requeue:
        raise ConnectionException(NOT_IMPLEMENTED, "requeue=false")
    channel.requeue(list(channel.unacked))

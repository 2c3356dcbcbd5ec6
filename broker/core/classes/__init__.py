"""The methods of AMQP's classes: one file a class, one function a method, found here by the method's type.

A handler gets the session, the open channel and the method, and answers on the channel. It raises ChannelException or
ConnectionException for what the peer did wrong; the session adds which method it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from broker.core.classes import basic, channel, exchange, queue, tx
from protocol.methods import Access, Basic, Channel, Confirm, Exchange, Method, Queue, Tx

if TYPE_CHECKING:
    from broker.core.channel import Channel as OpenChannel
    from broker.core.session import Session

Handler = Callable[["Session", "OpenChannel", Any], None]

HANDLERS: dict[type[Method], Handler] = {
    Access.Request: channel.access_request,
    Basic.Cancel: basic.cancel,
    Basic.Consume: basic.consume,
    Basic.Get: basic.get,
    Basic.Nack: basic.nack,
    Basic.Qos: basic.qos,
    Basic.Recover: basic.recover,
    Basic.RecoverAsync: basic.recover_async,
    Basic.Reject: basic.reject,
    Channel.Close: channel.close,
    Channel.Flow: channel.flow,
    Confirm.Select: tx.confirm_select,
    Exchange.Bind: exchange.bind,
    Exchange.Declare: exchange.declare,
    Exchange.Delete: exchange.delete,
    Exchange.Unbind: exchange.unbind,
    Queue.Bind: queue.bind,
    Queue.Declare: queue.declare,
    Queue.Delete: queue.delete,
    Queue.Purge: queue.purge,
    Queue.Unbind: queue.unbind,
    Tx.Commit: tx.commit,
    Tx.Rollback: tx.rollback,
    Tx.Select: tx.select,
}

"""Class queue: declare, bind, unbind, purge, delete (contract 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from broker.core import ids
from broker.core.arguments import QueueArguments, dead_letter_exchange
from broker.core.classes.exchange import add_binding, remove_binding, reply
from broker.core.classes.names import check_not_reserved, check_owner, last_queue, locked, strip
from broker.core.login import Undecided
from broker.core.properties import REPLY_TO
from broker.core.publisher import REPLY_TO_PREFIX
from broker.core.vhost import in_use
from protocol.constants import ACCESS_REFUSED, INTERNAL_ERROR, NOT_FOUND, NOT_IMPLEMENTED, PRECONDITION_FAILED
from protocol.errors import ChannelException, ConnectionException
from protocol.methods import Queue, make

if TYPE_CHECKING:
    from broker.core.channel import Channel
    from broker.core.queue import Queue as DeclaredQueue
    from broker.core.session import Session
    from protocol.tables import Table


def declare(session: Session, channel: Channel, method: Queue.Declare) -> None:
    """queue.declare"""
    name = strip(method.queue)
    if name == REPLY_TO or name.startswith(REPLY_TO_PREFIX):
        _declare_reply_to(session, channel, method, name)
        return
    if method.passive:
        queue = _passive(session, name)
    else:
        queue = _declare(session, name, method)
        session.broker.churn.queue_declared += 1
    channel.last_queue = queue.name
    queue.used()
    if method.nowait:
        return
    queue.serve()
    answer = make(Queue.DeclareOk, queue=queue.name, message_count=len(queue.ready), consumer_count=len(queue.consumers))
    reply(channel, answer, queue.durable and not method.passive)


def _passive(session: Session, name: str) -> DeclaredQueue:
    queue = session.vhost.queue(name)
    check_owner(session, queue)
    return queue


def _declare(session: Session, name: str, method: Queue.Declare) -> DeclaredQueue:
    vhost = session.vhost
    durable = method.durable and not method.exclusive
    arguments = vhost.with_default_type(
        cast("Table", method.arguments), durable=durable, exclusive=method.exclusive, auto_delete=method.auto_delete
    )
    method.arguments = cast("Any", arguments)
    if not name:
        given = _parse(session, method, "", server_named=True)
        _check_served(session, given, "", durable=durable, exclusive=method.exclusive)
        name = _generated_name(session, arguments)
        return vhost.add_queue(name, given, durable=durable, auto_delete=method.auto_delete, owner=session if method.exclusive else None)
    check_not_reserved("queue", name)
    session.identity.check("configure", "queue", name, vhost.name)
    queue = vhost.queues.get(name)
    if queue is not None:
        _check_equivalent(session, queue, method)
        return queue
    given = _parse(session, method, name, server_named=False)
    _check_served(session, given, name, durable=durable, exclusive=method.exclusive)
    _check_dead_letters(session, name, arguments)
    return vhost.add_queue(name, given, durable=durable, auto_delete=method.auto_delete, owner=session if method.exclusive else None)


def _check_dead_letters(session: Session, name: str, arguments: Table) -> None:
    """Dead letters are read from the queue and written to the exchange (contract 9.2)."""
    exchange = dead_letter_exchange(arguments, name, session.vhost.name)
    if exchange is not None:
        session.identity.check("read", "queue", name, session.vhost.name)
        session.identity.check("write", "exchange", exchange, session.vhost.name)


def _generated_name(session: Session, arguments: Table) -> str:
    """A new name of a queue that the user may declare. While that is undecided the session keeps it: another one would be another
    question."""
    name, session.generated_name = session.generated_name or ids.generate("amq.gen-", session.vhost.random_bytes), ""
    try:
        session.identity.check("configure", "queue", name, session.vhost.name)
        _check_dead_letters(session, name, arguments)
    except Undecided:
        session.generated_name = name
        raise
    return name


def _check_served(session: Session, given: QueueArguments, name: str, *, durable: bool, exclusive: bool) -> None:
    """Refuse what the RabbitMQ that the broker behaves like has given up (docs/compatibility.md)."""
    compat = session.broker.compat
    if not (durable or exclusive or compat.has_transient_shared_queues):
        text = (
            "Feature `transient_nonexcl_queues` is deprecated. By default, this feature is not permitted anymore: declare a durable queue"
        )
        raise ConnectionException(INTERNAL_ERROR, text)
    if compat.has_queue_modes:
        return
    for argument, gone in (("x-queue-mode", given.queue_mode is not None), ("x-queue-version", given.queue_version == 1)):
        if gone:
            text = f"invalid arg '{argument}' for {session.vhost.queue_text(name)}: it isn't supported any more"
            raise ChannelException(PRECONDITION_FAILED, text)


def _parse(session: Session, method: Queue.Declare, name: str, *, server_named: bool) -> QueueArguments:
    return QueueArguments.parse(
        cast("Table", method.arguments),
        name,
        session.vhost.name,
        durable=method.durable,
        exclusive=method.exclusive,
        auto_delete=method.auto_delete,
        server_named=server_named,
    )


def _check_equivalent(session: Session, queue: DeclaredQueue, method: Queue.Declare) -> None:
    """Declared again: whose it is comes first, then the properties, then the arguments (contract 4.2)."""
    check_owner(session, queue)
    text = session.vhost.queue_text(queue.name)
    if method.exclusive != (queue.owner is not None):
        raise locked(queue)
    durable = method.durable and not method.exclusive
    for what, received, current in (("durable", durable, queue.durable), ("auto_delete", method.auto_delete, queue.auto_delete)):
        if received != current:
            problem = f"inequivalent arg '{what}' for {text}: received '{str(received).lower()}' but current is '{str(current).lower()}'"
            raise ChannelException(PRECONDITION_FAILED, problem)
    queue.arguments.check_equivalent(cast("Table", method.arguments), queue.name, session.vhost.name)


def _declare_reply_to(session: Session, channel: Channel, method: Queue.Declare, name: str) -> None:
    """Is the requester still there? (contract 6.8)"""
    if name != REPLY_TO and name not in session.broker.reply_channels:
        raise ChannelException(NOT_FOUND, f"no {session.vhost.queue_text(name)}")
    channel.last_queue = name
    if not method.nowait:
        channel.send(make(Queue.DeclareOk, queue=name, message_count=0, consumer_count=1))


def bind(session: Session, channel: Channel, method: Queue.Bind) -> None:
    """queue.bind: with neither queue nor key the last queue's name is the key too (contract 4.1)."""
    queue = last_queue(channel, strip(method.queue))
    routing_key = method.routing_key if method.queue or method.routing_key else queue
    durable = add_binding(session, strip(method.exchange), "queue", queue, routing_key, cast("Table", method.arguments))
    if not method.nowait:
        reply(channel, make(Queue.BindOk), durable)


def unbind(session: Session, channel: Channel, method: Queue.Unbind) -> None:
    """queue.unbind"""
    queue = last_queue(channel, strip(method.queue))
    routing_key = method.routing_key if method.queue or method.routing_key else queue
    durable = remove_binding(session, strip(method.exchange), "queue", queue, routing_key, cast("Table", method.arguments))
    reply(channel, make(Queue.UnbindOk), durable)


def purge(session: Session, channel: Channel, method: Queue.Purge) -> None:
    """queue.purge"""
    name = last_queue(channel, strip(method.queue))
    session.identity.check("read", "queue", name, session.vhost.name)
    queue = session.vhost.queue(name)
    check_owner(session, queue)
    count = queue.purge()
    if not method.nowait:
        reply(channel, make(Queue.PurgeOk, message_count=count), queue.durable)


def delete(session: Session, channel: Channel, method: Queue.Delete) -> None:
    """queue.delete: a missing one is fine, and counts 0."""
    vhost = session.vhost
    name = last_queue(channel, strip(method.queue))
    session.identity.check("configure", "queue", name, vhost.name)
    queue = vhost.queues.get(name)
    count = 0
    if queue is not None:
        check_owner(session, queue)
        queue.serve()
        _check_deletable(queue, method)
        count = len(queue.ready)
    if not method.nowait:
        reply(channel, make(Queue.DeleteOk, message_count=count), queue is not None and queue.durable)
    if queue is not None:
        vhost.delete_queue(queue)


def _check_deletable(queue: DeclaredQueue, method: Queue.Delete) -> None:
    """if-unused and if-empty (contract 4.5); quorum queues know neither (4.8)."""
    text = queue.vhost.queue_text(queue.name)
    if queue.kept_for is not None:
        raise ChannelException(ACCESS_REFUSED, f"{text} is kept for an exchange: it is deleted with the exchange")
    if queue.type == "quorum" and (method.if_unused or method.if_empty):
        flag = "if-unused" if method.if_unused else "if-empty"
        problem = f"cannot delete {text}. queue.delete operations with {flag} flag set are not supported by quorum queues"
        raise ConnectionException(NOT_IMPLEMENTED, problem)
    if method.if_empty and len(queue.ready):
        raise ChannelException(PRECONDITION_FAILED, f"{text} not empty")
    if method.if_unused and len(queue.consumers):
        raise in_use(text)

"""Class exchange: declare, delete, and bindings from exchange to exchange (contract 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from broker.core.classes.names import check_not_default, check_not_reserved, check_owner, strip
from broker.core.exchange import ALTERNATE_EXCHANGE, alternate_of
from broker.core.exchanges import exchange_type
from broker.core.vhost import in_use
from protocol.constants import ACCESS_REFUSED, NOT_FOUND, PRECONDITION_FAILED
from protocol.errors import ChannelException
from protocol.methods import Exchange, make

if TYPE_CHECKING:
    from broker.core.channel import Channel
    from broker.core.exchange import Exchange as DeclaredExchange
    from broker.core.queue import Queue
    from broker.core.session import Session
    from protocol.methods import Method
    from protocol.tables import Table


def reply(channel: Channel, method: Method, durable: bool) -> None:
    """An -ok, which waits for the disk if what it says is durable."""
    (channel.send_durable if durable else channel.send)(method)


def declare(session: Session, channel: Channel, method: Exchange.Declare) -> None:
    """exchange.declare"""
    vhost = session.vhost
    name = strip(method.exchange)
    if method.passive:
        check_not_default(name)
        vhost.exchange(name)
        if not method.nowait:
            channel.send(make(Exchange.DeclareOk))
        return
    kind = exchange_type(method.exchange_type).type
    check_not_default(name)
    session.identity.check("configure", "exchange", name, vhost.name)
    arguments = cast("Table", method.arguments)
    exchange = vhost.exchanges.get(name)
    if exchange is None:
        check_not_reserved("exchange", name)
        alternate = alternate_of(arguments, name, vhost.name)
        if alternate is not None:
            session.identity.check("read", "exchange", name, vhost.name)
            session.identity.check("write", "exchange", alternate, vhost.name)
        exchange = vhost.add_exchange(
            kind, name, durable=method.durable, auto_delete=method.auto_delete, internal=method.internal, arguments=arguments
        )
    else:
        _check_equivalent(session, exchange, kind, method)
    if not method.nowait:
        reply(channel, make(Exchange.DeclareOk), exchange.durable)


def _check_equivalent(session: Session, exchange: DeclaredExchange, kind: str, method: Exchange.Declare) -> None:
    """The first property that differs is named (contract 3.2)."""
    text = session.vhost.exchange_text(exchange.name)
    for what, received, current in (
        ("type", _atom(kind), _atom(exchange.type)),
        ("durable", _word(method.durable), _word(exchange.durable)),
        ("auto_delete", _word(method.auto_delete), _word(exchange.auto_delete)),
        ("internal", _word(method.internal), _word(exchange.internal)),
    ):
        if received != current:
            problem = f"inequivalent arg '{what}' for {text}: received '{received}' but current is '{current}'"
            raise ChannelException(PRECONDITION_FAILED, problem)
    arguments = cast("Table", method.arguments)
    alternate, current_alternate = alternate_of(arguments, exchange.name, session.vhost.name), exchange.own_alternate
    if alternate == current_alternate:
        return
    if alternate is None:
        difference = f"received none but current is the value '{current_alternate}' of type 'longstr'"
    elif current_alternate is None:
        difference = f"received the value '{alternate}' of type 'longstr' but current is none"
    else:
        difference = f"received '{alternate}' but current is '{current_alternate}'"
    raise ChannelException(PRECONDITION_FAILED, f"inequivalent arg '{ALTERNATE_EXCHANGE}' for {text}: {difference}")


def _atom(kind: str) -> str:
    """A type as RabbitMQ prints it here: as Erlang does, which quotes what has a hyphen."""
    return f"'{kind}'" if "-" in kind else kind


def _word(value: bool) -> str:
    return "true" if value else "false"


def delete(session: Session, channel: Channel, method: Exchange.Delete) -> None:
    """exchange.delete: a missing one is fine."""
    vhost = session.vhost
    name = strip(method.exchange)
    check_not_default(name)
    if name.startswith("amq."):
        raise ChannelException(ACCESS_REFUSED, f"deletion of system {vhost.exchange_text(name)} not allowed")
    session.identity.check("configure", "exchange", name, vhost.name)
    exchange = vhost.exchanges.get(name)
    if exchange is not None:
        if method.if_unused and not exchange.is_unused:
            raise in_use(vhost.exchange_text(name))
        vhost.delete_exchange(exchange)
    if not method.nowait:
        reply(channel, make(Exchange.DeleteOk), exchange is not None and exchange.durable)


def bind(session: Session, channel: Channel, method: Exchange.Bind) -> None:
    """exchange.bind"""
    source, destination = strip(method.source), strip(method.destination)
    durable = add_binding(session, source, "exchange", destination, method.routing_key, cast("Table", method.arguments))
    if not method.nowait:
        reply(channel, make(Exchange.BindOk), durable)


def unbind(session: Session, channel: Channel, method: Exchange.Unbind) -> None:
    """exchange.unbind"""
    source, destination = strip(method.source), strip(method.destination)
    durable = remove_binding(session, source, "exchange", destination, method.routing_key, cast("Table", method.arguments))
    if not method.nowait:
        reply(channel, make(Exchange.UnbindOk), durable)


def add_binding(session: Session, source: str, kind: str, destination: str, routing_key: str, arguments: Table) -> bool:
    """Bind, for queue.bind and exchange.bind (`kind` of the destination); returns whether the binding is durable."""
    vhost = session.vhost
    _check_access(session, source, kind, destination)
    exchange = vhost.exchange(source)
    if exchange.type == "topic":
        session.identity.check_topic("read", vhost.name, source, routing_key)
    found = _destination(session, kind, destination)
    if found is None:
        text = vhost.queue_text(destination) if kind == "queue" else vhost.exchange_text(destination)
        raise ChannelException(NOT_FOUND, f"no {text}")
    vhost.bind(exchange, found, routing_key, arguments)
    return exchange.durable and found.durable


def remove_binding(session: Session, source: str, kind: str, destination: str, routing_key: str, arguments: Table) -> bool:
    """Unbind, likewise; whatever is missing is fine (contract 3.6)."""
    vhost = session.vhost
    _check_access(session, source, kind, destination)
    exchange = vhost.exchanges.get(source)
    if exchange is not None and exchange.type == "topic":
        session.identity.check_topic("read", vhost.name, source, routing_key)
    found = _destination(session, kind, destination)
    if exchange is None or found is None:
        return False
    durable = exchange.durable and found.durable
    vhost.unbind(exchange, found, routing_key, arguments)
    return durable


def _check_access(session: Session, source: str, kind: str, destination: str) -> None:
    """Binding writes to the destination and reads from the source (contract 9.2)."""
    vhost = session.vhost.name
    session.identity.check("write", "queue" if kind == "queue" else "exchange", destination, vhost)
    if kind == "exchange":
        check_not_default(destination)
    check_not_default(source)
    session.identity.check("read", "exchange", source, vhost)


def _destination(session: Session, kind: str, name: str) -> Queue | DeclaredExchange | None:
    """The destination of a binding, if it is there and this session may touch it."""
    if kind == "exchange":
        return session.vhost.exchanges.get(name)
    queue = session.vhost.queues.get(name)
    if queue is not None:
        check_owner(session, queue)
    return queue

"""Class channel, and access.request (contract 1.13, 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol.constants import NOT_IMPLEMENTED
from protocol.errors import ConnectionException
from protocol.methods import Access, Channel, make

if TYPE_CHECKING:
    from broker.core.channel import Channel as OpenChannel
    from broker.core.session import Session


def close(session: Session, channel: OpenChannel, method: Channel.Close) -> None:
    """channel.close: close-ok is sent when the unacked are back (contract 1.12)."""
    session.end_channel(channel.number).send(make(Channel.CloseOk))


def flow(session: Session, channel: OpenChannel, method: Channel.Flow) -> None:
    """channel.flow: stopping the broker this way was never built into RabbitMQ (contract 2.2)."""
    if not method.active:
        raise ConnectionException(NOT_IMPLEMENTED, "active=false")
    channel.send(make(Channel.FlowOk, active=True))


def access_request(session: Session, channel: OpenChannel, method: Access.Request) -> None:
    """access.request: a ticket that means nothing."""
    channel.send(make(Access.RequestOk, ticket=1))

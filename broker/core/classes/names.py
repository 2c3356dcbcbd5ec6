"""What the names in methods mean: shortcuts, reserved prefixes, and who may touch an exclusive queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol.constants import ACCESS_REFUSED, NOT_FOUND, RESOURCE_LOCKED
from protocol.errors import ChannelException

if TYPE_CHECKING:
    from broker.core.channel import Channel
    from broker.core.queue import Queue
    from broker.core.session import Session

RESERVED_PREFIX = "amq."


def strip(name: str) -> str:
    """RabbitMQ drops CR and LF from names (contract 3.2)."""
    return name.replace("\r", "").replace("\n", "")


def check_not_reserved(kind: str, name: str) -> None:
    """`amq.` is the broker's. Raises ChannelException 403."""
    if name.startswith(RESERVED_PREFIX):
        raise ChannelException(ACCESS_REFUSED, f"{kind} name '{name}' contains reserved prefix 'amq.*'")


def check_not_default(name: str) -> None:
    """The default exchange can't be declared, bound or deleted. Raises ChannelException 403 (contract 3.3)."""
    if not name:
        raise ChannelException(ACCESS_REFUSED, "operation not permitted on the default exchange")


def last_queue(channel: Channel, name: str) -> str:
    """The queue that a name means: an empty one is the channel's last. Raises ChannelException 404 (contract 4.1)."""
    if name:
        return name
    if not channel.last_queue:
        raise ChannelException(NOT_FOUND, "no previously declared queue")
    return channel.last_queue


def check_owner(session: Session, queue: Queue) -> None:
    """An exclusive queue is its connection's alone. Raises ChannelException 405 (contract 4.3)."""
    if queue.owner is not None and queue.owner is not session:
        raise locked(queue)


def locked(queue: Queue) -> ChannelException:
    """The queue is exclusive, and not yours or not declared so."""
    text = (
        f"cannot obtain exclusive access to locked {queue.vhost.queue_text(queue.name)}. It could be originally declared on another "
        "connection or the exclusive property value does not match that of the original declaration."
    )
    return ChannelException(RESOURCE_LOCKED, text)

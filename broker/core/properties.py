"""The properties of a publish that the broker acts on: reply-to, user-id, expiration, CC and BCC (contract 3.8, 5.1, 6.8)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from protocol import content
from protocol.constants import INTERNAL_ERROR, PRECONDITION_FAILED
from protocol.errors import ChannelException, ConnectionException
from protocol.tables import type_name

if TYPE_CHECKING:
    from broker.core.channel import Channel
    from broker.core.permissions import Identity
    from protocol.tables import Table

REPLY_TO = content.DIRECT_REPLY_TO.decode()
"""The pseudo-queue of direct reply-to (https://www.rabbitmq.com/docs/direct-reply-to)."""
EXPIRATION_MAX_MS = 315_360_000_000
"""Ten years: RabbitMQ's upper limit of every time to live."""

_INTEGER = re.compile(r"[+-]?[0-9]+")


def undecodable(error: content.MalformedProperties) -> ConnectionException:
    """The content header's properties make no sense."""
    return ConnectionException(INTERNAL_ERROR, f"cannot decode the properties of the message: {error}")


def expand_reply_to(header: bytes, channel: Channel) -> bytes:
    """Put the address of the channel's reply consumer in place of the pseudo-queue. Raises ChannelException 406 without one."""
    if channel.reply_consumer is None:
        raise ChannelException(PRECONDITION_FAILED, "fast reply consumer does not exist")
    return content.with_reply_to(header, channel.reply_address)


def check_user_id(header: bytes, identity: Identity) -> None:
    """user-id, if given, is the user's name, impersonators excepted. Raises ChannelException 406."""
    claimed = content.user_id(header)
    if claimed != identity.name and not identity.is_impersonator:
        text = f"user_id property set to '{claimed}' but authenticated user was '{identity.name}'"
        raise ChannelException(PRECONDITION_FAILED, text)


def check_expiration(header: bytes) -> int:
    """The expiration property in milliseconds. Raises ChannelException 406."""
    text = content.expiration(header) or ""
    found = _INTEGER.match(text)
    if found is None:
        problem = "no_integer"
    elif found.end() != len(text):
        problem = f'{{leftover_string,"{text[found.end() :]}"}}'
    elif (value := int(text)) < 0:
        problem = f"{{value_negative,{value}}}"
    elif value > EXPIRATION_MAX_MS:
        problem = f"{{value_too_large,{value}}}"
    else:
        return value
    raise ChannelException(PRECONDITION_FAILED, f"invalid expiration '{text}': {problem}")


def senders(table: Table, name: str) -> list[str]:
    """The routing keys in a CC or BCC header that was checked when the message was published."""
    field = table.get(name)
    return [each.value.decode("utf-8", "surrogateescape") for each in field.value if each.kind == "S"] if field is not None else []


def take_senders(header: bytes) -> tuple[list[str], bytes]:
    """The extra routing keys of the CC and BCC headers, and the content header without BCC. Raises ChannelException 406."""
    table = content.headers(header)
    keys: list[str] = []
    for name in ("CC", "BCC"):
        field = table.get(name)
        if field is None:
            continue
        if field.kind != "A":
            text = f'invalid message: {{unacceptable_type_in_header,"{name}",{type_name(field)}}}'
            raise ChannelException(PRECONDITION_FAILED, text)
        keys += senders(table, name)
    if "BCC" in table:
        header = content.with_headers(header, {name: field for name, field in table.items() if name != "BCC"})
    return keys, header

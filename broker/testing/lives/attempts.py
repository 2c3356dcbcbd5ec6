"""Publishes that never became messages: refused with an error, or in a transaction that was not committed."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from broker.core.message import split_routing
from broker.testing.lives import kinds
from broker.testing.talk.wording import quoted
from protocol.constants import NOT_FOUND
from protocol.errors import ChannelException
from protocol.events import MANDATORY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broker.core.publisher import Publish
    from broker.testing.lives.life import Who
    from broker.testing.lives.trace import Trace
    from broker.testing.lives.vhost import RememberingVHost
    from protocol.errors import AmqpError


def failed(vhost: RememberingVHost, who: Who, routing: bytes, bits: int, messages: Sequence[tuple[bytes, bytes]], error: AmqpError) -> None:
    """The publish of these messages (content header and body) was refused; those behind the first were not even looked at."""
    closed = "channel" if isinstance(error, ChannelException) else "connection"
    detail = f"the {closed} was closed: {error.code} {error.reply_text}{_nearest_exchange(vhost, routing, error)}"
    for header, body in messages:
        _keep(vhost, kinds.FAILED, who, (0, routing, header, body), bits, detail)


def _nearest_exchange(vhost: RememberingVHost, routing: bytes, error: AmqpError) -> str:
    name = split_routing(routing)[0]
    if error.code != NOT_FOUND or name in vhost.exchanges:
        return ""
    near = get_close_matches(name, [each for each in vhost.exchanges if each], 1)
    return f"; nearest: {quoted(near[0])}" if near else ""


def rolled_back(vhost: RememberingVHost, who: Who, publishes: Iterable[Publish], traces: dict[Publish, Trace]) -> None:
    """A transaction with these publishes is over, and was not committed."""
    for publish in publishes:
        _keep(
            vhost, kinds.ROLLED_BACK, who, (0, publish.routing, publish.header, publish.body), publish.bits, vhost.history.cause,
            traces.get(publish),
        )  # fmt: skip


def _keep(
    vhost: RememberingVHost, kind: str, who: Who, message: tuple[int, bytes, bytes, bytes], bits: int, detail: str | None,
    trace: Trace | None = None,
) -> None:  # fmt: skip
    history = vhost.history
    life = history.begin(kind, who)
    life.read(message)
    life.mandatory = bits & MANDATORY != 0
    if trace is not None:
        life.keys, life.routes = trace.keys, dict(trace.ways)
        life.miss = trace.miss
    history.keep(life, None)
    history.note(life, kind, who=who, detail=detail)
    history.conclude(life)

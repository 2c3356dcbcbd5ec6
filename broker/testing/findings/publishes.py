"""Publishes, judged after the broker has taken them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.core.message import HEADER, ID, ROUTING, split_routing
from broker.core.publisher import REPLY_TO_PREFIX
from broker.testing.findings.declared import DEDUPLICATION, DELAYED
from broker.testing.findings.rules import MESSAGE_BYTES_MAX
from protocol.content import PERSISTENT, scan
from protocol.events import MANDATORY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.core.channel import Channel
    from broker.core.exchange import Exchange
    from broker.core.queue import Queue
    from broker.testing.findings.judge import Judge, Scene


class Unroutable:
    """What a channel could not route, from now on."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._dropped = dict(channel.dropped)

    @property
    def dropped(self) -> list[tuple[Exchange, int]]:
        """Exchanges, and how many messages for each were dropped."""
        before = self._dropped
        return [(exchange, more) for exchange, count in self._channel.dropped.items() if (more := count - before.get(exchange, 0)) > 0]


def judge_run(
    judge: Judge, scene: Scene, unroutable: Unroutable, routing: bytes, bits: int, headers: Sequence[bytes], bodies: Sequence[bytes]
) -> None:
    """A run of publishes with one exchange and key (see Events.on_publishes)."""
    name, routing_key = split_routing(routing)
    largest = max(map(len, bodies), default=0)
    if largest > MESSAGE_BYTES_MAX:
        judge.note("large-message", {**scene.place, "exchange": name}, {"size": largest})
    if name == "" and routing_key.startswith(REPLY_TO_PREFIX):
        if bits & MANDATORY:
            judge.note("reply-mandatory", {**scene.place, "exchange": name}, count=len(bodies))
        return
    _judge_dropped(judge, scene, unroutable, routing_key)
    _judge_taken(judge, scene)
    exchange = scene.session.vhost.exchanges.get(name)
    if exchange is not None and exchange.type == DELAYED and exchange.durable and _is_unsure(scene):
        persistent = sum(bool(scan(header) & PERSISTENT) for header in headers) * (len(bodies) if len(headers) == 1 else 1)
        if persistent:
            place = {**scene.place, "exchange": name, "queue": f"amq.delayed.{name}"}
            judge.note("no-confirms", place, count=persistent)


def judge_commit(judge: Judge, scene: Scene, unroutable: Unroutable) -> None:
    """All publishes of a transaction."""
    _judge_dropped(judge, scene, unroutable, None)
    _judge_taken(judge, scene)


def _is_unsure(scene: Scene) -> bool:
    """Its publisher hears of nothing."""
    assert scene.channel is not None
    return scene.channel.confirms is None and scene.channel.transaction is None


def _judge_dropped(judge: Judge, scene: Scene, unroutable: Unroutable, routing_key: str | None) -> None:
    """`routing_key` is None if there may be several."""
    vhost = scene.session.vhost
    for exchange, count in unroutable.dropped:
        if any(each.type == DEDUPLICATION for each in vhost.exchanges.values()):
            continue  # that it has been there before is a reason, too
        place = {**scene.place, "exchange": exchange.name}
        if exchange.alternate is not None and exchange.alternate not in vhost.exchanges:
            judge.note("no-alternate-exchange", place, {"alternate": exchange.alternate}, count=count)
        elif exchange.type == "fanout":
            judge.note("no-subscriber", place, count=count)
        else:
            judge.note("unroutable", place, {"routing_key": "..." if routing_key is None else routing_key}, count=count)


def _judge_taken(judge: Judge, scene: Scene) -> None:
    """What queues took, and what they refused."""
    safe = {message[ID] for queue, messages in scene.enqueued if queue.durable for message in messages}
    facts: dict[bytes, int] = {}
    for queue, messages in scene.enqueued:
        persistent = 0
        kept_elsewhere = 0
        for message in messages:
            header = message[HEADER]
            if header not in facts:
                facts[header] = scan(header)
            if facts[header] & PERSISTENT:
                persistent += 1
                kept_elsewhere += message[ID] in safe
        place = _place(scene, queue, messages[0][ROUTING])
        _judge_queue(judge, scene, queue, place, (persistent, kept_elsewhere, len(messages) - persistent))
    if scene.refused and _is_unsure(scene):
        for queue in scene.refused:
            judge.note("refused", {**scene.place, "queue": queue.name})


def _judge_queue(judge: Judge, scene: Scene, queue: Queue, place: dict[str, Any], counts: tuple[int, int, int]) -> None:
    """`counts`: persistent messages, those of them that are in a durable queue too, transient messages."""
    persistent, kept_elsewhere, transient = counts
    if queue.durable:
        lasting = persistent + transient if queue.is_quorum else persistent
        if lasting and _is_unsure(scene):
            judge.note("no-confirms", place, count=lasting)
        if transient and not queue.is_quorum:
            judge.note("transient-message", place, count=transient)
    elif persistent > kept_elsewhere and queue.owner is None:
        judge.note("persistent-to-transient", place, count=persistent - kept_elsewhere)


def _place(scene: Scene, queue: Queue, routing: bytes) -> dict[str, Any]:
    return {**scene.place, "queue": queue.name, "exchange": split_routing(routing)[0]}

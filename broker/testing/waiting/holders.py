"""Who holds the messages of a queue, and why nobody takes the others, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from broker.core.consumers import Consumer
from broker.testing.talk.wording import number, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.channel import Channel
    from broker.core.consumers import Holder
    from broker.core.message import Message
    from broker.core.queue import Queue
    from broker.core.session import Session
    from broker.testing.broker import WatchedBroker
    from broker.testing.faults.consumers import FaultyConsumer

NAMED = 3
"""Holders and consumers that a sentence names; of the others it has the number."""


class Held(NamedTuple):
    """What one holder has of a queue. `since_ms` is when it got the oldest of it, by the broker's clock, None if that isn't known any more;
    `tags` has the delivery tags, but for those that a transaction is about to settle."""

    holder: Holder
    messages: list[Message]
    tags: list[int]
    since_ms: int | None


def name_of(session: Session) -> str:
    """What a connection is called: the name that the client gave it, or else where it comes from."""
    return session.own_name or session.peer.name.partition(" -> ")[0]


def held_of(queue: Queue) -> list[Held]:
    """Everybody who holds messages of the queue."""
    if not queue.unacked:
        return []
    found: dict[Holder, Held] = {}
    for channel in queue.vhost.broker.open_channels():
        for tag, holder, message in _leases(channel):
            if holder.queue is queue:
                held = found.get(holder)
                if held is None:
                    held = found[holder] = Held(holder, [], [], None if tag is None else given_ms(channel, tag))
                held.messages.append(message)
                if tag is not None:
                    held.tags.append(tag)
    return list(found.values())


def _leases(channel: Channel) -> Iterator[tuple[int | None, Holder, Message]]:
    if channel.transaction is not None:
        for holder, message in channel.transaction.leases():
            yield None, holder, message
    for tag, (holder, message) in channel.unacked.items():
        yield tag, holder, message


def given_ms(channel: Channel, tag: int) -> int | None:
    """When a delivery went out, by the broker's clock; None if that isn't known any more."""
    conversation = cast("WatchedBroker", channel.session.broker).rig.conversations.of(channel.session)
    return None if conversation is None else conversation.given_ms(channel.number, tag)


def holder_text(holder: Holder) -> str:
    """`consumer 'ctag1' of connection 'worker'`"""
    who = f"consumer '{holder.tag}'" if isinstance(holder, Consumer) else "basic.get"
    return f"{who} of connection '{name_of(holder.channel.session)}'"


def unacked_text(queue: Queue) -> str:
    """Who holds what is unacked: `held by consumer 'ctag1' of connection 'worker' for 4.8 s of broker time`; empty if nothing is."""
    everybody = held_of(queue)
    now_ms = queue.outbox.clock()
    told = []
    for held in everybody[:NAMED]:
        share = f"{len(held.messages):,} " if len(everybody) > 1 else ""
        since = "" if held.since_ms is None else f" for {seconds(now_ms - held.since_ms)} of broker time"
        told.append(f"{share}held by {holder_text(held.holder)}{since}")
    if len(everybody) > NAMED:
        told.append(f"the others by {number(len(everybody) - NAMED, 'other')}")
    return ", ".join(told)


def takers(queue: Queue) -> list[Consumer]:
    """The consumers that what is ready could be given to, now or as soon as their connections take more."""
    consumers = queue.consumers
    return [each for each in consumers if each.prefetch_left() > 0 and (not consumers.single_active or each is consumers.active)]


def untaken_text(queue: Queue) -> str:
    """Why what is ready isn't taken: `there is no consumer`, `no consumer could take more: prefetch 1 is used up`."""
    if not len(queue.consumers):
        return "there is no consumer"
    if found := takers(queue):
        return f"{holder_text(found[0])} could take more, but {_hindrance(queue, found[0])}"
    told = []
    for consumer in list(queue.consumers)[:NAMED]:
        whose = f" of {holder_text(consumer)}" if len(queue.consumers) > 1 else ""
        if queue.consumers.single_active and consumer is not queue.consumers.active:
            told.append(f"{holder_text(consumer)} waits for the active one to end")
        elif cast("FaultyConsumer", consumer).is_held:
            told.append(f"a fault holds back what {holder_text(consumer)} is to get")
        elif consumer.channel.prefetch_shared:
            told.append(f"prefetch {consumer.channel.prefetch_shared}, shared by its channel,{whose} is used up")
        else:
            told.append(f"prefetch {consumer.prefetch}{whose} is used up")
    return f"no consumer could take more: {', '.join(told)}"


def _hindrance(queue: Queue, consumer: Consumer) -> str:
    session = consumer.channel.session
    if session.congested and not session.had_its_share:
        return "its connection doesn't read what it was sent"
    if consumer.channel.held is not None:
        return "its channel waits for the disk"
    if queue.is_cold:
        return "the message is still being read from the disk"
    return "hasn't been given it yet"

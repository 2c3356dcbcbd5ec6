"""Idle: nothing goes on in a vhost, and nothing will unless a client says something new or the broker's time moves.

A vhost is idle if all of this is so:

- no queue of it has something to do that the broker puts off to its next turn;
- of no queue a message is unacked, and no basic.get waits;
- no message is ready that a consumer could be given: there is no consumer, or its prefetch is used up, or it isn't the active one;
- nobody waits for a confirm (but for one that a fault holds back), and no transaction has a publish that isn't committed;
- no connection of it has output that the socket hasn't taken, or input that isn't read: in the broker, half a frame too, or in the socket;
- what its clients did is durable, as far as it ever will be;
- clients and broker have said nothing to each other for `quiet` seconds of real time, counted from the call at the earliest. Heartbeats
  don't count.

So messages without a consumer, and those that wait for their time (a delay, a time to live), are idle. The quiet is for what the broker
can't know: a consumer that has acked and goes on to publish, or that was given a message without having to ack it.

A client whose machine, or whose interpreter, has too much to do may take longer than that to come to its next word, and there are signs
of it. One that takes long from a delivery to its next word is given three times that, but not more than PACE_SECONDS_MAX: it may just have
had something to do. One that was heard again after a silence in which nothing else kept the vhost from being idle, and somebody waited for
that, is given four times that silence, but not more than SILENCE_SECONDS_MAX. Both are forgotten little by little.
So a client that is starved is hardly ever missed. One that thinks for a second, and holds nothing, can't be told from one that is done.
"""

from __future__ import annotations

import select
import time
from itertools import chain
from typing import TYPE_CHECKING, cast

from broker.admin.errors import Missing
from broker.testing.talk.wording import number
from broker.testing.waiting.holders import name_of, takers, unacked_text, untaken_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from broker.core.channel import Channel
    from broker.core.queue import Queue
    from broker.core.vhost import VHost
    from broker.testing.connection import WatchedConnection
    from broker.testing.faults.confirms import FaultyConfirms
    from broker.testing.rig import Rig
    from broker.testing.vhost import WatchedVHost

QUIET_SECONDS = 0.02
PACE_SECONDS_MAX = 0.1
PACE_TIMES = 3
SILENCE_SECONDS_MAX = 1.0
SILENCE_TIMES = 4
FORGETTING = 0.9
"""What is left of a pace at the next delivery, and of a silence the next time that somebody waits."""
TOLD = 3
"""Things that keep a vhost from being idle, and that a text names."""
LOOK_SECONDS = 0.002
"""After which it is looked whether a socket has taken or given what there was: nobody tells the broker."""


class Activity:
    """When clients of a vhost and the broker last said something to each other, by time.monotonic; and the batch that what it did went
    into, or a later one. `pace_seconds` is how long clients have lately taken from a delivery to their next word, `silence_seconds`
    how long they were silent before they went on by themselves."""

    __slots__ = ("at", "batch", "pace_seconds", "silence_seconds")

    def __init__(self) -> None:
        self.at = 0.0
        self.batch = 0
        self.pace_seconds = self.silence_seconds = 0.0

    def pace(self, seconds: float) -> None:
        """A client took so long from a delivery to its next word."""
        self.pace_seconds = max(seconds, self.pace_seconds * FORGETTING)

    @property
    def patience_seconds(self) -> float:
        """How long it should be quiet, by these signs."""
        return max(min(PACE_TIMES * self.pace_seconds, PACE_SECONDS_MAX), min(SILENCE_TIMES * self.silence_seconds, SILENCE_SECONDS_MAX))


class Idle:
    """See the module; a condition of waits.py, over one vhost or several."""

    def __init__(self, rig: Rig, vhosts: Sequence[VHost], quiet_seconds: float = QUIET_SECONDS, held_seconds: float | None = None) -> None:
        """`held_seconds`: what clients hold without a word for so long doesn't count any more; None: it always does."""
        self._rig = rig
        self._vhosts = cast("Sequence[WatchedVHost]", vhosts)
        self._quiet = quiet_seconds
        self._held = held_seconds
        self._begun = time.monotonic()
        self._look_at: float | None = None
        self._last = 0.0
        """When something was said, as far as that has been looked at."""
        self._is_calm = False
        """But for that, they would have been idle since."""

    # --- broker.testing.waiting.waits.Condition -----------------------------------------------------------------------------

    def is_met(self) -> bool:
        """See Condition. Raises Missing if a vhost is gone."""
        for vhost in self._vhosts:
            if self._rig.broker.vhosts.get(vhost.name) is not vhost:
                raise Missing(f"vhost '{vhost.name}' was deleted meanwhile")
        self._look_at = None
        self._learn()
        if (over_at := self._over_at()) > time.monotonic():
            self._is_calm = self._is_calm or next(self._movements(), None) is None
            self._look_at = self._look_at or over_at
            return False
        if next(self._movements(), None) is not None:
            return False
        for vhost in self._vhosts:
            vhost.activity.silence_seconds *= FORGETTING
        return True

    def look_at(self) -> float | None:
        """See Condition."""
        return self._look_at

    def close(self) -> None:
        """See Condition."""

    def concerns(self, vhost: VHost) -> bool:
        """See Condition."""
        return vhost in self._vhosts

    def wanted(self) -> str:
        """See Condition."""
        names = ", ".join(f"'{vhost.name}'" for vhost in self._vhosts[:TOLD])
        more = f" and {number(len(self._vhosts) - TOLD, 'other')}" if len(self._vhosts) > TOLD else ""
        return f"vhost{'s' * (len(self._vhosts) > 1)} {names}{more} to be idle"

    def found(self) -> str:
        """See Condition."""
        told: list[str] = []
        for obstacle in chain(self._movements(), self._noise()):
            if len(told) == TOLD:
                told.append("and more")
                break
            told.append(obstacle)
        return "; ".join(told) or "it is now"

    # --- what goes on -----------------------------------------------------------------------------------------------

    def _learn(self) -> None:
        """Somebody was silent, everything else was over, and it went on: they may need longer."""
        last = max((vhost.activity.at for vhost in self._vhosts), default=0.0)
        if last != self._last:
            if self._is_calm:
                silence = last - max(self._last, self._begun)
                for vhost in self._vhosts:
                    vhost.activity.silence_seconds = max(vhost.activity.silence_seconds, silence)
            self._last, self._is_calm = last, False

    def _over_at(self) -> float:
        """When it will have been quiet for long enough, by time.monotonic."""
        quiet = max([self._quiet, *(vhost.activity.patience_seconds for vhost in self._vhosts)])
        return max(self._last, self._begun) + quiet

    def _is_busy(self, queue: Queue) -> bool:
        """Something goes on there."""
        if queue.kept_for is not None:
            return False
        if has_work(queue):
            return True
        if self._held is None or not queue.unacked:
            return bool(queue.unacked)
        patient_until = max(self._begun, *(vhost.activity.at for vhost in self._vhosts)) + self._held
        if time.monotonic() >= patient_until:
            return False
        self._look_at = patient_until if self._look_at is None else min(self._look_at, patient_until)
        return True

    def _noise(self) -> Iterator[str]:
        """In words, if it isn't quiet."""
        now, over_at = time.monotonic(), self._over_at()
        if now < over_at:
            begun = max(self._last, self._begun)
            yield f"clients and broker have been quiet for {now - begun:.3f} s, and it has to be {over_at - begun:.3g} s"

    def _movements(self) -> Iterator[str]:
        """What keeps the vhosts from being idle, but for what is being said, the cheapest to see first."""
        outbox = self._rig.broker.outbox
        for queue in outbox.touched:
            if queue.vhost in self._vhosts:
                yield f"queue '{queue.name}' has messages on their way"
        for vhost in self._vhosts:
            yield from map(_of_queue, filter(self._is_busy, vhost.queues.values()))
            for session in vhost.sessions:
                for channel in session.channels.values():
                    yield from _of_channel(channel)
            for busy in self._rig.busy:
                if (what := busy(vhost)) is not None:
                    yield what
        yield from self._of_connections()
        if not self._is_durable():
            yield "what clients did is on its way to the disk"

    def _of_connections(self) -> Iterator[str]:
        """Bytes that are on their way between client and broker."""
        inputs: dict[int, WatchedConnection] = {}
        for connection in self._rig.server.connections:
            session = connection.session
            if not session.entered or session.vhost not in self._vhosts:
                continue
            watched = cast("WatchedConnection", connection)
            name = name_of(session)
            if watched.unsent_bytes:
                self._look_soon()
                yield f"connection '{name}' hasn't read {number(watched.unsent_bytes, 'byte')} that it was sent"
            if watched.wire.unfinished_bytes:
                why = f": it isn't read from ({', '.join(watched.pauses)})" if watched.is_paused else ""
                yield f"connection '{name}' has sent {number(watched.wire.unfinished_bytes, 'byte')} that are no whole frames yet{why}"
            elif watched.is_paused:
                yield f"connection '{name}' isn't read from ({', '.join(watched.pauses)})"
            else:
                inputs[watched.descriptor] = watched
        for descriptor in readable(inputs):
            self._look_soon()
            yield f"connection '{name_of(inputs[descriptor].session)}' has just sent something"

    def _look_soon(self) -> None:
        self._look_at = time.monotonic() + LOOK_SECONDS

    def _is_durable(self) -> bool:
        """All batches are, up to the one that the last thing clients did went into."""
        batch = max((vhost.activity.batch for vhost in self._vhosts), default=0)
        outbox, committer = self._rig.broker.outbox, self._rig.server.turn.committer
        if outbox.number <= batch and outbox.has_batch:
            return False
        return committer.oldest is None or committer.oldest.number > batch


def has_work(queue: Queue) -> bool:
    """Something is ready that somebody is to be given."""
    return bool(queue.getters or (len(queue.ready) and len(queue.consumers) and takers(queue)))


def _of_queue(queue: Queue) -> str:
    if queue.unacked:
        return f"queue '{queue.name}' has {number(queue.unacked, 'message')} unacked, {unacked_text(queue)}"
    if queue.getters:
        return f"a basic.get from queue '{queue.name}' waits for the disk"
    return f"queue '{queue.name}' has {len(queue.ready):,} ready: {untaken_text(queue)}"


def _of_channel(channel: Channel) -> Iterator[str]:
    where = f"channel {channel.number} of connection '{name_of(channel.session)}'"
    if channel.confirms is not None and (awaited := cast("FaultyConfirms", channel.confirms).awaited):
        yield f"{where} waits for {number(awaited, 'confirm')}"
    if channel.gets:
        yield f"{where} waits for the answer to a basic.get"
    if channel.transaction is not None and channel.transaction.publishes:
        count = len(channel.transaction.publishes)
        yield f"{where} has published {number(count, 'message')} and not committed {'it' if count == 1 else 'them'}"


def readable(descriptors: Collection[int]) -> list[int]:
    """Those of the sockets that have bytes, or an end, which the event loop hasn't come to yet."""
    if not descriptors:
        return []
    if not hasattr(select, "poll"):  # Windows
        return select.select(descriptors, (), (), 0)[0]
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(0)]

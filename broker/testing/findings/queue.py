"""A queue as far as it is judged: what comes in, what comes back, and what dies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from broker.core.dead_letter import DELIVERY_LIMIT, EXPIRED, MAXLEN, REJECTED, DeadLetters
from broker.core.message import HEADER, ID
from broker.core.publisher import X_DEATH
from broker.core.queue import Queue
from broker.testing.findings.rules import DEFAULT_DELIVERY_LIMIT, REDELIVERIES
from protocol import content
from protocol.methods import Basic

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broker.core.envelope import Envelope
    from broker.core.message import Message
    from broker.testing.broker import WatchedBroker
    from broker.testing.findings.judge import Judge

_DROPPED: Final = {REJECTED: "rejected", EXPIRED: "expired", MAXLEN: "dropped", DELIVERY_LIMIT: "given-up"}
"""Reasons to die, and what it is called if nobody gets the dead letter."""
_RETURNS: Final = (Basic.Nack, Basic.Recover, Basic.RecoverAsync)
"""What gives messages back without a failure, for RabbitMQ 4.3: for it, basic.reject and the end of a channel are failures."""
_NORMAL_PRIORITY: Final = 4
_PRIORITY_MAX: Final = 31


def has_history(header: bytes) -> bool:
    """There is an x-death among the headers."""
    return X_DEATH in header and X_DEATH.decode() in content.headers(header)


class JudgedDeadLetters(DeadLetters):
    """Where dead letters find nobody."""

    __slots__ = ()

    def _deliver(self, envelope: Envelope, found: Sequence[Queue], taken: Sequence[Queue]) -> None:
        if not taken:
            queue = cast("JudgedQueue", self._queue)
            code = "dead-letter-cycle" if found else "dead-letter-unroutable"
            key_text = "" if found else f" with key '{envelope.keys[0]}'"
            queue.judge.note(code, {**queue.judge.place(queue), "exchange": self.exchange}, {"key_text": key_text})
        super()._deliver(envelope, found, taken)


class JudgedQueue(Queue):
    """See the module."""

    dead_letters_type: ClassVar[type[DeadLetters]] = JudgedDeadLetters

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.with_history: set[int] = set()
        """Ids of messages that publishers gave an x-death."""
        self.failures: dict[int, int] = {}
        """How often a message came back as RabbitMQ 4.3 counts it, by id."""
        self.priorities: tuple[set[int], set[int]] = (set(), set())
        """Those of what came in, as RabbitMQ 4.0 and 4.3 have them."""
        super().__init__(*arguments, **keywords)

    @property
    def judge(self) -> Judge:
        """Who collects findings."""
        return cast("WatchedBroker", self.vhost.broker).rig.judge

    # --- in ---------------------------------------------------------------------------------------------------------

    def enqueue(self, messages: list[Message], body_bytes: int, overhead: int, expiration_ms: int | None = None) -> None:
        """See Queue."""
        scene = self.judge.scene
        if scene is not None:
            scene.enqueued.append((self, messages))
            self.with_history.update(message[ID] for message in messages if has_history(message[HEADER]))
        if self.is_quorum:
            self._judge_priorities(messages)
        super().enqueue(messages, body_bytes, overhead, expiration_ms)

    def _judge_priorities(self, messages: Sequence[Message]) -> None:
        levels, priorities = self.priorities
        before = len(levels), len(priorities)
        for header in {message[HEADER] for message in messages}:
            priority = content.priority(header)
            levels.add(int(priority is not None and priority > _NORMAL_PRIORITY))
            priorities.add(_NORMAL_PRIORITY if priority is None else min(priority, _PRIORITY_MAX))
        if len(levels) > 1 >= before[0]:
            self.judge.note("quorum-priority", self.judge.place(self), since="4.0", until="4.3")
        if len(priorities) > 1 >= before[1]:
            self.judge.note("quorum-priority", self.judge.place(self), since="4.3")

    def refuses(self, routing: bytes, header: bytes, body: bytes) -> bool:
        """See Queue."""
        refused = super().refuses(routing, header, body)
        if refused and self.judge.scene is not None:
            self.judge.scene.refused.append(self)
        return refused

    # --- back -------------------------------------------------------------------------------------------------------

    def requeue(self, messages: list[Message]) -> None:
        """See Queue."""
        if not self.deleted:
            self._judge_returns(messages)
        super().requeue(messages)

    def _judge_returns(self, messages: Sequence[Message]) -> None:
        judge, counts = self.judge, self.delivery_counts
        has_failed = judge.scene is None or judge.scene.method not in _RETURNS
        is_limitless = self.is_quorum and self.delivery_limit is None
        for message in messages:
            identity = message[ID]
            count = counts.get(identity, 0) + 1
            if count == REDELIVERIES + 1:
                judge.note("requeue-loop", judge.place(self))
            if not is_limitless:
                continue
            if count == DEFAULT_DELIVERY_LIMIT + 1:
                judge.note("delivery-limit", judge.place(self), until="4.3")
            if has_failed:
                self.failures[identity] = failures = self.failures.get(identity, 0) + 1
                if failures == DEFAULT_DELIVERY_LIMIT + 1:
                    judge.note("delivery-limit", judge.place(self), since="4.3")

    # --- gone -------------------------------------------------------------------------------------------------------

    def settle(self, messages: list[Message]) -> None:
        """See Queue."""
        if self.with_history or self.failures:
            self._forget(message[ID] for message in messages)
        super().settle(messages)

    def _forget(self, ids: Iterable[int]) -> None:
        for identity in ids:
            self.with_history.discard(identity)
            self.failures.pop(identity, None)

    def _die(self, messages: Sequence[Message], reason: str) -> None:
        judge = self.judge
        if self.dead_letters is not None and self.with_history:
            counted_on = sum(message[ID] in self.with_history for message in messages)
            if counted_on and self.vhost.broker.compat.trusts_published_x_death:
                judge.note("published-deaths", judge.place(self), count=counted_on)
        # What becomes of dead letters isn't the client's doing.
        place = judge.place(self)
        self._judge_deaths(len(messages), reason, place)
        with judge.watching(None):
            super()._die(messages, reason)

    def _drop_paged(self, count: int) -> int:
        dropped = super()._drop_paged(count)
        self._judge_deaths(dropped, MAXLEN, self.judge.place(self))
        return dropped

    def _judge_deaths(self, count: int, reason: str, place: dict[str, Any]) -> None:
        if self.dead_letters is None:
            if self.owner is None:
                self.judge.note(_DROPPED[reason], place, count=count)
        elif self.dead_letters.exchange not in self.vhost.exchanges:
            self.judge.note("no-dead-letter-exchange", {**place, "exchange": self.dead_letters.exchange}, count=count)

"""The dead letters of a queue under test: each has a life of its own, which knows of the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from broker.core.dead_letter import DeadLetters
from broker.testing.lives import kinds
from broker.testing.lives.words import exchange_text
from broker.testing.talk.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.core.envelope import Envelope
    from broker.core.message import Message
    from broker.core.queue import Queue
    from broker.testing.lives.life import Life
    from broker.testing.lives.queue import RememberingQueue


class RememberingDeadLetters(DeadLetters):
    """See the module."""

    __slots__ = ("_fate",)

    def publish(self, messages: Sequence[Message], reason: str) -> None:
        """See DeadLetters."""
        queue = cast("RememberingQueue", self._queue)
        if self.exchange not in queue.vhost.exchanges:
            for life in filter(None, (queue.life_of(message) for message in messages)):
                detail = f"its dead-letter exchange {quoted(self.exchange)} doesn't exist"
                queue.history.note(life, kinds.LOST, queue.name, detail=detail)
        super().publish(messages, reason)

    def _publish(self, message: Message, reason: str) -> None:
        queue = cast("RememberingQueue", self._queue)
        history, before = queue.history, queue.life_of(message)
        life = history.begin(kinds.DEAD_LETTER, None if before is None else before.by)
        history.note(
            life, kinds.DEAD_LETTER, detail=f"{reason} in {quoted(queue.name)}", other=None if before is None else before.id or None
        )
        self._fate = ""
        with queue.remembering_outbox.bearing(history, life):
            super()._publish(message, reason)
        if before is None:
            return
        if life.ids:
            self._link(before, life, reason)
        else:
            history.note(before, kinds.LOST, queue.name, detail=f"its dead letter {self._fate}")

    def _link(self, before: Life, life: Life, reason: str) -> None:
        queue = cast("RememberingQueue", self._queue)
        life.previous = before.id or None
        before.next.append(life.ids[0])
        detail = f"{reason}: to {exchange_text(life.exchange)} with key {quoted(life.routing_key)}"
        queue.history.note(before, kinds.DEAD_LETTERED, queue.name, detail=detail, other=life.id)

    def _deliver(self, envelope: Envelope, found: Sequence[Queue], taken: Sequence[Queue]) -> None:
        vhost = cast("RememberingQueue", self._queue).remembering_vhost
        trace = vhost.trace
        if taken:
            self._fate = f"was taken by none of its queues: {', '.join(quoted(each.name) for each in taken)}"
        elif found:
            self._fate = f"would go round for ever: it died in {quoted(found[0].name)} before"
        else:
            where = f"was published to {exchange_text(self.exchange)} with key {quoted(envelope.keys[0])}"
            self._fate = f"{where} and {trace.miss.text}" if trace is not None and trace.miss is not None else where
        super()._deliver(envelope, found, taken)

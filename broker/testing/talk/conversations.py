"""The conversations of all connections: those that are open by session, those that are closed with their vhost."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, cast

from broker.testing.talk.conversation import Conversation

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.session import Session
    from broker.core.vhost import VHost
    from broker.testing.vhost import WatchedVHost

CLOSED_MAX = 100
"""Conversations that a vhost keeps of connections that are closed, and the broker of those that were never let in."""


class Conversations:
    """See the module. `clock_ms` is the broker's."""

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self._open: dict[Session, Conversation] = {}
        self._strangers: deque[Conversation] = deque(maxlen=CLOSED_MAX)
        """Of connections that are closed and never were in a vhost."""

    def begin(self, session: Session) -> Conversation:
        """A connection came in."""
        conversation = self._open[session] = Conversation(session, self._clock_ms)
        return conversation

    def end(self, session: Session, *, has_spoken: bool = True) -> None:
        """The connection is gone. Nobody asks for those that never said anything."""
        conversation = self._open.pop(session, None)
        if conversation is None:
            return
        conversation.end()
        vhost = getattr(session, "vhost", None)
        if vhost is not None:
            cast("WatchedVHost", vhost).conversations.append(conversation)
        elif has_spoken:
            self._strangers.append(conversation)

    @property
    def refused(self) -> list[Conversation]:
        """Of connections that were not let in: their login was refused, or they broke the handshake."""
        there = [each for each in self._open.values() if each.errors and not each.is_let_in]
        return [*(each for each in self._strangers if each.errors), *there]

    def of(self, session: Session) -> Conversation | None:
        """That of an open connection."""
        return self._open.get(session)

    def note(self, session: Session, text: str) -> None:
        """Write down what a fault did on an open connection."""
        if (conversation := self._open.get(session)) is not None:
            conversation.note(text)

    def in_vhost(self, vhost: VHost) -> list[Conversation]:
        """All of one vhost, in the order in which they began."""
        there = [conversation for session, conversation in self._open.items() if session.vhost_name is not None and session.vhost is vhost]
        return sorted([*cast("WatchedVHost", vhost).conversations, *there], key=lambda each: each.begun_at)

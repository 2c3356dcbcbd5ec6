"""What the core needs of whoever checks logins and permissions; broker/access does it.

The core is synchronous, and another server's decision isn't. A check that can't be decided now raises `Undecided`, before anything
was changed; whoever runs the core asks the question it carries, hands in the answer, and has the same event tried again
(Session.retry).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from broker.core.permissions import Identity
    from broker.core.session import Peer


class LoginRefused(Exception):
    """The login is refused; the text is for the log, the peer isn't told why. `user` is the name that was tried, None without one."""

    def __init__(self, text: str, user: str | None = None) -> None:
        super().__init__(text)
        self.user = user


class Answer(NamedTuple):
    """What another server said: the body of its answer, or else why there is none."""

    body: str = ""
    error: str = ""


class Query:
    """A question for another server.

    `kind` is user, vhost, resource or topic; `fields` are its parameters in order, the values in octets. `answered` is to be called
    once, with what came back.
    """

    __slots__ = ("answered", "fields", "kind")

    def __init__(self, kind: str, fields: tuple[tuple[str, bytes], ...], answered: Callable[[Answer], None]) -> None:
        self.kind = kind
        self.fields = fields
        self.answered = answered

    def __repr__(self) -> str:
        # The fields may hold a password.
        return f"Query({self.kind})"


class Delay(NamedTuple):
    """A question that only time answers: try again after so many seconds."""

    seconds: float


Question = Query | Delay


class Undecided(Exception):
    """It can't be decided yet, and nothing was changed: ask `question`, then try the same again."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.question = question


class Attempt:
    """One login: what was found out about it so far. After each Undecided the same one is handed in again."""

    __slots__ = ("answers", "has_waited")

    def __init__(self) -> None:
        self.answers: dict[Hashable, Answer] = {}
        self.has_waited = False

    def ask(self, key: Hashable, kind: str, fields: tuple[tuple[str, bytes], ...]) -> Answer:
        """The answer to a question, which has the key from then on. Raises Undecided as long as there is none."""
        answer = self.answers.get(key)
        if answer is None:
            raise Undecided(Query(kind, fields, lambda given: self.answers.update({key: given})))
        return answer


class Authenticator(Protocol):
    """Checks SASL responses."""

    def mechanisms(self, peer: Peer) -> tuple[str, ...]:
        """What connection.start offers this peer, in order."""

    def authenticate(self, mechanism: str, response: bytes, peer: Peer, attempt: Attempt) -> Identity:
        """Who the peer is. Raises LoginRefused, HandshakeFailed for a response that makes no sense, and Undecided."""

"""Answers what the core left undecided (broker.core.login.Undecided): waits, and asks other servers, while everything else goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broker.core.login import Answer, Delay

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.login import Query, Question
    from broker.runtime.http_client import HttpClient, Request


class Decider:
    """One per event loop; with a client where an HTTP backend is configured."""

    def __init__(self, loop: asyncio.AbstractEventLoop, client: HttpClient | None) -> None:
        self._loop = loop
        self._client = client

    def ask(self, question: Question, decided: Callable[[], None]) -> Asked:
        """Have a question answered, then call `decided`, on the event loop."""
        if isinstance(question, Delay):
            return Asked(self._loop.call_later(question.seconds, decided))
        client = self._client
        assert client is not None
        asked = Asked(None)

        def answered(answer: Answer) -> None:
            if not asked.is_cancelled:
                asked.cancel()
                question.answered(answer)
                decided()

        def too_late() -> None:
            answered(Answer(error=f"auth_http.{question.kind}_path: no answer within {client.timeout_seconds:g} s"))

        asked.timer = self._loop.call_later(client.timeout_seconds, too_late)
        asked.request = self._send(client, question, answered)
        return asked

    def _send(self, client: HttpClient, query: Query, answered: Callable[[Answer], None]) -> Request:
        def from_thread(answer: Answer) -> None:
            try:
                self._loop.call_soon_threadsafe(answered, answer)
            except RuntimeError:
                # The loop is closed: the broker has ended.
                pass

        return client.ask(query, from_thread)


class Asked:
    """A question under way."""

    __slots__ = ("is_cancelled", "request", "timer")

    def __init__(self, timer: asyncio.TimerHandle | None) -> None:
        self.timer = timer
        self.request: Request | None = None
        self.is_cancelled = False

    def cancel(self) -> None:
        """Nobody waits for it any more, or it is answered."""
        self.is_cancelled = True
        if self.timer is not None:
            self.timer.cancel()
        if self.request is not None:
            self.request.give_up()

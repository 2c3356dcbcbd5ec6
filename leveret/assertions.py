"""Assertions whose messages tell what happened instead, and why.

They wait: what is on its way has `timeout` seconds to get there, and what holds already is looked at once more when nothing is under way,
so that one message too many is seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from leveret.asking import given
from leveret.errors import LeveretError, NotInTime, Refused
from leveret.looking import Looking
from leveret.waits import Waits

if TYPE_CHECKING:
    from collections.abc import Collection

    from leveret.messages import Life, Message

SECONDS: Final = 2.0
SETTLE_SECONDS: Final = 0.5
"""Who never is quiet is not waited for any longer."""
QUIET_SECONDS: Final = 0.01
HELD_SECONDS: Final = 0.05
"""Who holds a message for so long without a word isn't waited for: a test that got one and looks around meanwhile."""
_NO_QUEUE: Final = "there is no queue '"
_WORDS: Final = {"queue": "in queue", "exchange": "to exchange", "routing_key": "with key", "message_id": "with message_id"}


class Assertions(Waits, Looking):
    """See the module. All raise AssertionError."""

    def assert_messages(self, queue: str, count: int, *, timeout: float = SECONDS) -> list[Message]:
        """There are so many messages in the queue, ready and unacked ones; they are returned. Without such a queue it
        fails as well."""
        __tracebackhide__ = True
        self._give_time("queue", timeout, queue=queue, messages=count)
        try:
            found = self.messages(queue)
        except Refused as refused:
            # A typo is what the test got wrong, and no error of its own. A vhost that is gone is another matter.
            if not refused.reason.startswith(_NO_QUEUE):
                raise
            text = f"expected {_messages(count)} in '{queue}', but {refused.reason}"
            raise AssertionError(self._with_why(text, count, 0, queue=queue)) from None
        if len(found) != count:
            text = f"expected {_messages(count)} in '{queue}', found {len(found)}"
            raise AssertionError(self._with_why(text, count, len(found), queue=queue))
        return found

    def assert_empty(self, queue: str, *, timeout: float = SECONDS) -> None:
        """Nothing is in the queue, neither ready nor unacked."""
        __tracebackhide__ = True
        self.assert_messages(queue, 0, timeout=timeout)

    def assert_published(
        self,
        *,
        exchange: str | None = None,
        routing_key: str | None = None,
        queue: str | None = None,
        message_id: str | None = None,
        count: int | None = None,
        timeout: float = SECONDS,
    ) -> list[Life]:
        """A message that fits was published, or exactly `count` were (0: none was); their lives are returned. `queue`: one that they were
        routed to."""
        __tracebackhide__ = True
        which = {"exchange": exchange, "routing_key": routing_key, "queue": queue, "message_id": message_id}
        return self._assert_lives("published", count, timeout, which)

    def assert_delivered(
        self, queue: str | None = None, *, message_id: str | None = None, count: int | None = None, timeout: float = SECONDS
    ) -> list[Life]:
        """A message of that queue was delivered to somebody, or exactly `count` were."""
        __tracebackhide__ = True
        return self._assert_lives("delivered", count, timeout, {"queue": queue, "message_id": message_id})

    def assert_acked(
        self, queue: str | None = None, *, message_id: str | None = None, count: int | None = None, timeout: float = SECONDS
    ) -> list[Life]:
        """A message of that queue was acked, or exactly `count` were."""
        __tracebackhide__ = True
        return self._assert_lives("acked", count, timeout, {"queue": queue, "message_id": message_id})

    def assert_rejected(
        self, queue: str | None = None, *, message_id: str | None = None, count: int | None = None, timeout: float = SECONDS
    ) -> list[Life]:
        """A message of that queue was rejected for good, or exactly `count` were."""
        __tracebackhide__ = True
        return self._assert_lives("rejected", count, timeout, {"queue": queue, "message_id": message_id})

    def assert_dead_lettered(
        self, queue: str | None = None, *, message_id: str | None = None, count: int | None = None, timeout: float = SECONDS
    ) -> list[Life]:
        """A message of that queue was dead-lettered, or exactly `count` were."""
        __tracebackhide__ = True
        return self._assert_lives("dead-lettered", count, timeout, {"queue": queue, "message_id": message_id})

    def assert_expired(
        self, queue: str | None = None, *, message_id: str | None = None, count: int | None = None, timeout: float = SECONDS
    ) -> list[Life]:
        """A message of that queue has expired, or exactly `count` have."""
        __tracebackhide__ = True
        return self._assert_lives("expired", count, timeout, {"queue": queue, "message_id": message_id})

    def assert_unroutable(
        self,
        *,
        exchange: str | None = None,
        routing_key: str | None = None,
        message_id: str | None = None,
        count: int | None = None,
        timeout: float = SECONDS,
    ) -> list[Life]:
        """A message that fits was published and no queue got it, or exactly `count` were (0: none was)."""
        __tracebackhide__ = True
        return self._assert_lives(
            "unroutable", count, timeout, {"exchange": exchange, "routing_key": routing_key, "message_id": message_id}
        )

    def assert_no_findings(self, for_version: str | None = None, *, severity: Collection[str] = (), ignore: Collection[str] = ()) -> None:
        """Clients did nothing that breaks elsewhere, or may lose messages; see `findings`."""
        __tracebackhide__ = True
        found = self.findings(for_version, severity=severity, ignore=ignore)
        if found:
            lines = [f"{len(found)} finding{'s' * (len(found) > 1)}:", *(f"  {each}" for each in found)]
            raise AssertionError("\n".join(lines))

    def _assert_lives(self, state: str, count: int | None, timeout: float, which: dict[str, Any]) -> list[Life]:
        __tracebackhide__ = True
        which = given(**which)
        self._give_time("message", timeout, **which, state=state, count=1 if count is None else count)
        found = self.history(**which, state=state)
        if not found if count is None else len(found) != count:
            words = "".join(f" {_WORDS[name]} '{value}'" for name, value in which.items())
            text = f"expected {'a message' if count is None else _messages(count)} {state}{words}, found {len(found) or 'none'}"
            raise AssertionError(self._with_why(text, 1 if count is None else count, len(found), **which, state=state))
        return found

    def _give_time(self, what: str, timeout: float, **conditions: Any) -> None:
        """To what is wanted, then to what else is under way."""
        try:
            if conditions.get("count") != 0:
                self._wait_for(what, timeout, **conditions)
            self._wait_for("idle", min(timeout, SETTLE_SECONDS), quiet=QUIET_SECONDS, held=HELD_SECONDS)
        except NotInTime:
            # The assertion tells what there is.
            pass

    def _with_why(self, text: str, wanted: int, found: int, **which: Any) -> str:
        """The text with what the broker knows about it."""
        try:
            why = self._ask_vhost("GET", "/why", query={**which, "wanted": wanted, "found": found})["text"]
        except LeveretError:
            # What is known has to be said.
            return text
        return f"{text}; {why}" if why else text


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages" if count else "no messages"

"""A session of a broker under test, as far as faults go: logins that are refused, and events that are put off."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from broker.core.login import Delay, LoginRefused, Undecided
from broker.core.session import Session
from broker.testing.faults.publisher import FaultyPublisher

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.broker import Broker
    from broker.core.login import Attempt
    from broker.core.session import Peer
    from broker.testing.faults.connection import FaultyConnection


class FaultySession(Session):
    """See the module."""

    publisher_type = FaultyPublisher
    publisher: FaultyPublisher

    def __init__(self, broker: Broker, peer: Peer) -> None:
        super().__init__(broker, peer)
        self.connection: FaultyConnection | None = None
        """None for a channel without a socket."""
        self.refused_user: str | None = None
        """This user's login is to be refused, though it may be in order."""
        self.got_from: str | None = None
        """The queue of the last basic.get."""

    def _log_in(self, response: bytes, client_properties: bytes, attempt: Attempt) -> None:
        if self.refused_user is not None:
            user = self.refused_user
            raise self._refusal(LoginRefused(f"{self.mechanism} login refused: user '{user}' - a test has ordered it", user))
        super()._log_in(response, client_properties, attempt)

    def put_off(self, channel: int, event: Callable[[], object], seconds: float) -> NoReturn:
        """Have the event take place so much later, by the event loop's time, and what follows it on this connection after it."""
        self._try_again(channel, event)
        raise Undecided(Delay(seconds))

    def go_on_with(self, rest: Callable[[], object]) -> None:
        """The event that was put off, or that waits for a decision, is one of several: these come after it."""
        first, self._again = self._again, None
        assert first is not None

        def again() -> None:
            try:
                first()
            except Undecided:
                self.go_on_with(rest)
                raise
            rest()

        self._again = again

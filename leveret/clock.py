"""The broker's clock, and the order in which consumers get what there is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from leveret.asking import Asking, given

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class Advanced(NamedTuple):
    """What a move of the clock did: what time it is, and how many timers have fired on the way."""

    now: datetime
    fired: int


class Clock(Asking):
    """See the module."""

    @property
    def now(self) -> datetime:
        """What time it is for the broker, in UTC."""
        return moment(self._ask("GET", "/clock")["now_ms"])

    @property
    def is_frozen(self) -> bool:
        """Its clock stands still, but for `advance`."""
        return bool(self._ask("GET", "/clock")["frozen"])

    def advance(self, seconds: float | timedelta, *, settle: bool = False, timeout: float = 10.0) -> Advanced:
        """Move the clock: what was to happen in that time (messages expire, delays end, idle queues go, consumers are late) happens now, in
        its order. With `settle` clients finish what each step has brought them before the next one, for `timeout` seconds at the most.

        The clock is the broker's: it moves for all sandboxes, and never back. Heartbeats go by real time. Raises NotInTime.
        """
        length = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
        body: dict[str, Any] = {"seconds": length, **({"settle": True, "timeout": timeout} if settle else {})}
        answer = self._wait("POST", "/clock/advance", body, timeout)
        return Advanced(moment(answer["now_ms"]), answer["fired"])

    def freeze(self) -> None:
        """Stop the clock, until `resume`, or until all sandboxes that have stopped it are over; `advance` still moves it."""
        self._ask("POST", "/clock/freeze", {"by": self.vhost})
        self._note_frozen(True)

    def resume(self) -> None:
        """Have it go on, whoever has stopped it."""
        self._ask("POST", "/clock/resume")
        self._note_frozen(False)

    def adversarial(self, seed: int | None = None) -> Scheduling:
        """Have the consumers of this vhost get messages in an order that is within AMQP's promises and as unlike the usual one as may be:
        what depends on an order that isn't promised shows. Until `.end()`, or the end of a `with` block. The broker's seed decides, or one
        that is given."""
        self._ask_vhost("PUT", "/scheduling", {"mode": "adversarial", **given(seed=seed)})
        return Scheduling(self)

    def _note_frozen(self, is_frozen: bool) -> None:
        """For who resumes the clock when nobody else does."""


class Scheduling:
    """The adversarial order of one vhost's deliveries, while it lasts."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.end()

    def end(self) -> None:
        """Deliver in turn again."""
        self._clock._ask_vhost("PUT", "/scheduling", {"mode": "fair"})


def moment(ms: int) -> datetime:
    """Of the broker's clock."""
    return datetime.fromtimestamp(ms / 1000, UTC)

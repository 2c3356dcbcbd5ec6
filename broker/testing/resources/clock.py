"""The broker's clock: what time it is there, and how it is moved."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from broker.admin.errors import BadRequest, HttpError
from broker.admin.routing import Access, Route
from broker.testing.resources.info import ROOT, rig_of
from broker.testing.timing.advance import TooSlow
from broker.testing.timing.clock import LATEST_MS

if TYPE_CHECKING:
    from broker.admin.bodies import Body
    from broker.admin.call import Call

TIMEOUT_SECONDS: Final = 10.0


def get_clock(call: Call) -> Any:
    """Tells what time it is for the broker, and whether its clock stands."""
    clock = rig_of(call).clock
    return {"now_ms": clock.now_ms(), "frozen": clock.is_frozen, "offset_ms": clock.offset_ms}


async def advance(call: Call) -> Any:
    """Lets time pass, by so many `seconds` or until the moment `until_ms`: all timers on the way are called, in order."""
    body = await call.body()
    clock, passing = rig_of(call).clock, rig_of(call).time
    how: dict[str, Any] = {"settle": body.flag("settle"), "timeout_seconds": _seconds(body, "timeout", TIMEOUT_SECONDS)}
    if ("until_ms" in body) == ("seconds" in body):
        raise BadRequest("say how many seconds, or until_ms which moment")
    until_ms = body.number("until_ms") if "until_ms" in body else clock.now_ms() + round(_seconds(body, "seconds", 0) * 1000)
    if until_ms < clock.now_ms():
        raise BadRequest(f"until_ms: that moment is over, it is {clock.now_ms()} there, and the clock never goes back")
    if until_ms > LATEST_MS:
        raise BadRequest("the clock can't go past the year 9998: many clients can't read timestamps behind it")
    try:
        if "until_ms" in body:
            fired = await passing.until(until_ms, **how)
        else:
            fired = await passing.by(round(_seconds(body, "seconds", 0) * 1000), **how)
    except TooSlow as error:
        reason = f"not done after {how['timeout_seconds']:g} s: {error}; the clock stands at {clock.now_ms()}, where it had got to"
        raise HttpError(408, "timeout", reason) from error
    await call.commit()
    return {"now_ms": clock.now_ms(), "fired": fired}


async def freeze(call: Call) -> Any:
    """Stops the clock, also for restarts to come; it can still be moved. `by` is whoever lets it go on when that one's time is over."""
    body = await call.body()
    rig_of(call).clock.frozen_by.add(body.text("by"))
    await rig_of(call).time.freeze()
    await call.commit()
    return get_clock(call)


async def resume(call: Call) -> Any:
    """Lets the clock go on from where it stood; or, for `by`, unless somebody else has stopped it too."""
    body = await call.body()
    clock, by = rig_of(call).clock, body.text("by")
    clock.frozen_by = clock.frozen_by - {by} if by else set()
    if not clock.frozen_by:
        await rig_of(call).time.resume()
    await call.commit()
    return get_clock(call)


def _seconds(body: Body, name: str, default: float) -> float:
    """Raises BadRequest for what is no number of seconds."""
    value = body.values.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise BadRequest(f"{name}: expected seconds, 0 or more, as a number")
    return value


SCHEMAS: Final = {
    "Clock": {"now_ms offset_ms": "integer!", "frozen": "boolean!"},
    "Advanced": {"now_ms fired": "integer!"},
}
_ADVANCE: Final = {"seconds timeout": "number", "until_ms": "integer", "settle": "boolean"}
ROUTES: Final = (
    Route("GET", f"{ROOT}/clock", get_clock, Access.TESTING, shows="Clock"),
    Route("POST", f"{ROOT}/clock/advance", advance, Access.TESTING, _ADVANCE, shows="Advanced", refusals=(408,)),
    Route("POST", f"{ROOT}/clock/freeze", freeze, Access.TESTING, {"by": "string"}, shows="Clock"),
    Route("POST", f"{ROOT}/clock/resume", resume, Access.TESTING, {"by": "string"}, shows="Clock"),
)

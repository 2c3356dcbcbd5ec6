"""Waiting for something to become true, instead of sleeping."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast

from broker.admin.errors import BadRequest, HttpError
from broker.admin.routing import Access, Route
from broker.admin.steps import carry_out
from broker.testing.lives.kinds import WORDS
from broker.testing.lives.recovered import read
from broker.testing.resources.info import ROOT, rig_of
from broker.testing.waiting.conditions import AT_LEAST_ONE, HasBinding, HasConnection, HasConsumer, Number, QueueHas
from broker.testing.waiting.idle import QUIET_SECONDS, Idle
from broker.testing.waiting.message_waits import MessageIs
from broker.testing.waiting.waits import TimedOut

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.admin.bodies import Body
    from broker.admin.call import Call
    from broker.core.vhost import VHost
    from broker.testing.lives.vhost import RememberingVHost
    from broker.testing.waiting.waits import Condition

TIMEOUT_SECONDS: Final = 5.0
TIMEOUT_SECONDS_MAX: Final = 86_400.0
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "idle": ("quiet", "held"),
    "queue": ("queue", "ready", "unacked", "messages", "consumers"),
    "consumer": ("queue", "tag", "count"),
    "binding": ("queue", "exchange", "routing_key"),
    "connection": ("client_name", "count"),
    "message": ("queue", "exchange", "routing_key", "message_id", "state", "count"),
}
"""What may be waited for, and what may be said of it."""
_ALWAYS: Final = ("for", "timeout")


async def wait(call: Call) -> Any:
    """Waits until something is true of a vhost; 408 with what there is instead if it doesn't become true in time."""
    vhost, body = call.vhost, await call.body()
    what = body.values.get("for")
    if not isinstance(what, str) or what not in _FIELDS:
        raise BadRequest(f"for: expected one of {', '.join(_FIELDS)}, not {json.dumps(what)}")
    known = (*_ALWAYS, *_FIELDS[what])
    if unknown := [name for name in body.values if name not in known]:
        raise BadRequest(f"{unknown[0]}: unknown where one waits for '{what}', there is {', '.join(_FIELDS[what])} and timeout")
    timeout = _seconds(body, "timeout", TIMEOUT_SECONDS)
    condition: Condition
    match what:
        case "idle":
            held = _seconds(body, "held", 0) if "held" in body else None
            condition = Idle(rig_of(call), [vhost], _seconds(body, "quiet", QUIET_SECONDS), held)
        case "queue":
            counts = {name: _number(body, name) for name in ("ready", "unacked", "messages", "consumers")}
            condition = QueueHas(vhost, _name(body, "queue"), **counts)
        case "consumer":
            condition = HasConsumer(vhost, _name(body, "queue"), _text(body, "tag"), _number(body, "count") or AT_LEAST_ONE)
        case "binding":
            condition = HasBinding(vhost, _text(body, "queue"), _text(body, "exchange"), _text(body, "routing_key"))
        case "connection":
            condition = HasConnection(vhost, _text(body, "client_name"), _number(body, "count") or AT_LEAST_ONE)
        case _:
            condition = await _message(call, vhost, body)
    try:
        return {"seconds": round(await rig_of(call).waits.until(condition, timeout), 6)}
    except TimedOut as late:
        raise HttpError(408, "timeout", str(late)) from late


async def _message(call: Call, vhost: VHost, body: Body) -> MessageIs:
    """Messages are counted as they go by, so a number is the least of it."""
    texts = {name: _text(body, name) for name in ("queue", "exchange", "routing_key", "message_id", "state")}
    if texts["state"] is not None and texts["state"] not in WORDS:
        raise BadRequest(f"state: expected one of {', '.join(sorted(WORDS))}, not {json.dumps(texts['state'])}")
    count = _number(body, "count") or AT_LEAST_ONE
    if count.least == count.most:
        count = Number(count.least)
    remembering = cast("RememberingVHost", vhost)
    if any(life.header is None for life in remembering.history):
        await carry_out(call, read(remembering))
    return MessageIs(vhost, **texts, count=count)


def _name(body: Body, name: str) -> str:
    value = _text(body, name)
    if value is None:
        raise BadRequest(f"{name}: it has to be given")
    return value


def _text(body: Body, name: str) -> str | None:
    return None if body.values.get(name) is None else body.string(name)


def _seconds(body: Body, name: str, default: float) -> float:
    value = body.values.get(name)
    if value is None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= TIMEOUT_SECONDS_MAX:
        raise BadRequest(f"{name}: expected seconds, 0 to {TIMEOUT_SECONDS_MAX:.0f}, not {json.dumps(value)}")
    return value


def _number(body: Body, name: str) -> Number | None:
    """A number, or {"min": ..., "max": ...}, either of which may be missing."""
    value = body.values.get(name)
    if value is None:
        return None
    if _is_count(value):
        return Number(value, value)
    if isinstance(value, dict) and value and value.keys() <= {"min", "max"} and all(map(_is_count, value.values())):
        return Number(value.get("min"), value.get("max"))
    raise BadRequest(f'{name}: expected a number or {{"min": number, "max": number}}, not {json.dumps(value)}')


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


ROUTES: Final = (
    Route(
        "POST",
        f"{ROOT}/vhosts/{{vhost}}/wait",
        wait,
        Access.TESTING,
        body={"for": "string!", "timeout": "number"},
        shows="object",
        refusals=(408,),
    ),
)

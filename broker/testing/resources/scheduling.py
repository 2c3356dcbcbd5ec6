"""In which order a vhost's queues and consumers are served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from broker.admin.errors import BadRequest
from broker.admin.routing import Access, Route
from broker.testing.resources.info import ROOT, rig_of
from broker.testing.timing.scheduling import Unfairness

if TYPE_CHECKING:
    from broker.admin.call import Call
    from broker.testing.vhost import WatchedVHost

FAIR: Final = "fair"
ADVERSARIAL: Final = "adversarial"


def get_scheduling(call: Call) -> Any:
    """Tells whether a vhost's queues and consumers are served fairly."""
    unfairness = cast("WatchedVHost", call.vhost).unfairness
    return {"mode": FAIR, "seed": None} if unfairness is None else {"mode": ADVERSARIAL, "seed": unfairness.seed}


async def put_scheduling(call: Call) -> Any:
    """Has a vhost's queues and consumers served fairly, or in an order that only a seed knows."""
    rig, vhost = rig_of(call), cast("WatchedVHost", call.vhost)
    body = await call.body()
    mode = body.string("mode")
    if mode not in (FAIR, ADVERSARIAL):
        raise BadRequest(f"mode: expected {FAIR} or {ADVERSARIAL}")
    seed = body.number("seed") if body.values.get("seed") is not None else rig.chance(f"scheduling/{vhost.name}").getrandbits(32)
    rig.scheduling.set(vhost, Unfairness(seed) if mode == ADVERSARIAL else None)
    call.context.node.schedule_turn()
    return get_scheduling(call)


_MODE: Final = {"mode": f"'{FAIR}'|'{ADVERSARIAL}'!"}
SCHEMAS: Final = {"Scheduling": {**_MODE, "seed": "integer|null!"}}
_PATH: Final = f"{ROOT}/vhosts/{{vhost}}/scheduling"
ROUTES: Final = (
    Route("GET", _PATH, get_scheduling, Access.TESTING, shows="Scheduling"),
    Route("PUT", _PATH, put_scheduling, Access.TESTING, {**_MODE, "seed": "integer"}, shows="Scheduling", statuses=(200,)),
)

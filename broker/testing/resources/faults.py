"""Faults: what is to go wrong, where, and how often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from broker.admin import jsons
from broker.admin.call import Answer, done
from broker.admin.errors import BadRequest, Missing
from broker.admin.routing import Access, Route
from broker.testing.faults.actions import ACTIONS
from broker.testing.faults.order import InvalidOrder
from broker.testing.resources.info import ROOT, rig_of

if TYPE_CHECKING:
    from broker.admin.call import Call
    from broker.admin.schemas import Fields
    from broker.testing.faults.rule import Rule

FAULTS: Final = f"{ROOT}/faults"
ORDER: Final[Fields] = {
    "do": "string!",
    "on when vhost queue exchange routing_key client_name user consumer_tag": "string",
    "skip times": "integer",
    "chance": "number",
    "seed": "any",
} | {name: "any" for action in ACTIONS.values() for name in action.options}


async def post_fault(call: Call) -> Answer:
    """Orders a fault, which is in effect from now on."""
    body = await call.body()
    try:
        rule = rig_of(call).faults.add(body.values)
    except InvalidOrder as error:
        raise BadRequest(str(error)) from error
    call.context.node.schedule_turn()
    location = f"{FAULTS}/{quote(rule.id)}"
    return Answer(201, jsons.dumps(rule.facts), {"Location": location})


def get_faults(call: Call) -> list[Any]:
    """Lists the faults that were ordered, with how often each has hit."""
    return [rule.facts for rule in rig_of(call).faults.of(call.query.get("vhost"))]


def delete_faults(call: Call) -> Answer:
    """Takes all faults away, or all of a vhost: what they hold back is let go."""
    faults = rig_of(call).faults
    for rule in faults.of(call.query.get("vhost")):
        faults.remove(rule)
    call.context.node.schedule_turn()
    return done()


def get_fault(call: Call) -> dict[str, Any]:
    """Tells how often a fault has hit, and when and on which connection the last time."""
    return _rule(call).facts


def delete_fault(call: Call) -> Answer:
    """Takes a fault away: what it holds back is let go."""
    rig_of(call).faults.remove(_rule(call))
    call.context.node.schedule_turn()
    return done()


def get_actions(call: Call) -> list[Any]:
    """Lists what can go wrong, and what a test may say of it."""
    return [
        {
            "do": action.name,
            "what": " ".join((action.__doc__ or "").split()),
            "methods": sorted(action.methods),
            "on": action.on,
            "when": [when for when in action.whens if action.methods],
            "times": action.times,
            "options": {
                name: {"type": option.kind, "what": option.what, "default": option.default, "required": option.is_required}
                for name, option in action.options.items()
            },
            "whole_broker": action.is_of_the_broker,
        }
        for action in ACTIONS.values()
    ]


def _rule(call: Call) -> Rule:
    rule = rig_of(call).faults.find(call.path["fault"])
    if rule is None:
        raise Missing(f"there is no fault '{call.path['fault']}'")
    return rule


VHOST: Final = {"vhost": "string: only those of this vhost"}
ROUTES: Final = (
    Route("GET", FAULTS, get_faults, Access.TESTING, query=VHOST, shows="[object]"),
    Route("POST", FAULTS, post_fault, Access.TESTING, body=ORDER, shows="object", statuses=(201,)),
    Route("DELETE", FAULTS, delete_faults, Access.TESTING, query=VHOST),
    Route("GET", f"{FAULTS}/actions", get_actions, Access.TESTING, shows="[object]"),
    Route("GET", f"{FAULTS}/{{fault}}", get_fault, Access.TESTING, shows="object"),
    Route("DELETE", f"{FAULTS}/{{fault}}", delete_fault, Access.TESTING),
)
